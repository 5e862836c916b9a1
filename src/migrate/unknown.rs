//! Fields that Milvus 2.1 does not have, in records that become other messages. There is no place for them in the 2.2 layout, so
//! they cannot be carried over; but they do not vanish without a word either.

use std::collections::BTreeMap;

use crate::decode;
use crate::layout::keys::{Key, Plain, prefix_of, printable};

/// Records of a kind that are named; of more there is only the number.
const NAMED: usize = 20;

/// Records with such fields, by the prefix of their keys.
#[derive(Debug, Default)]
pub(super) struct UnknownFields(BTreeMap<String, Found>);

#[derive(Debug, Default)]
struct Found {
    named: Vec<String>,
    more: u64,
}

impl UnknownFields {
    /// Looks for such fields in a record.
    pub(super) fn look(&mut self, parsed: &Key, key: &[u8], value: &[u8]) {
        if !becomes_another_message(parsed) {
            return;
        }
        // The rest of a collection record stays as it is, byte for byte.
        let below = if matches!(parsed, Key::Plain(Plain::Collection(_))) { "field_indexes." } else { "" };
        let fields = decode::unknown_fields(parsed, value, below);
        if fields.is_empty() {
            return;
        }
        let found = self.0.entry(prefix_of(key).into_owned()).or_default();
        if found.named.len() == NAMED {
            found.more += 1;
            return;
        }
        found.named.push(format!(
            "{}: it has fields that Milvus 2.1 does not have, and the 2.2 layout has no place for them: number {}. They are not carried over",
            printable(key),
            fields.join(", ")
        ));
    }

    /// What to tell of them.
    pub(super) fn into_warnings(self) -> impl Iterator<Item = String> {
        self.0.into_iter().flat_map(|(prefix, Found { named, more })| {
            let more = (more > 0).then(|| {
                format!("{prefix}: {more} more record(s) have fields that Milvus 2.1 does not have and that are not carried over")
            });
            named.into_iter().chain(more)
        })
    }
}

fn becomes_another_message(key: &Key) -> bool {
    matches!(
        key,
        Key::Plain(
            Plain::Collection(_) | Plain::SourceAlias(_) | Plain::SourceIndex { .. } | Plain::SourceSegmentIndex { .. }
        ) | Key::Snapshot(Plain::SourceAlias(_), _)
            | Key::Build(_)
            | Key::LoadState(_)
    )
}
