//! Fields that Milvus 2.1 does not have, in records that become other messages. There is no place for them in the new layout, so
//! they cannot be carried over; but they do not vanish without a word either.

use std::collections::BTreeMap;

use super::records::Record;
use crate::amounts::many;
use crate::decode;
use crate::layout::families::Family;
use crate::layout::keys::{Key, prefix_of, printable};

/// Records of a kind that are named; of more there is only the number.
const NAMED: usize = 20;

/// Families whose records become other messages.
const CONCERNED: [Family; 7] = [
    Family::Collection,
    Family::SourceAlias,
    Family::SourceIndex,
    Family::SourceSegmentIndex,
    Family::Build,
    Family::SourceLoadState,
    Family::SourceReplica,
];

/// What to tell of such fields.
pub fn warnings<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<String> {
    let mut found: BTreeMap<String, (Vec<String>, u64)> = BTreeMap::new();
    for record in records {
        if !CONCERNED.contains(&record.family) {
            continue;
        }
        let Ok(key) = Key::parse(&record.key) else { continue };
        let mut fields = decode::unknown_fields(&key, &record.value);
        if key.family == Family::Collection {
            // Of a collection's record only the list of its indexes becomes something else.
            fields.retain(|path| path.contains(".field_indexes."));
        }
        if fields.is_empty() {
            continue;
        }
        let (named, more) = found.entry(prefix_of(&record.key).into_owned()).or_default();
        if named.len() == NAMED {
            *more += 1;
            continue;
        }
        named.push(format!(
            "{}: it has fields that Milvus 2.1 does not have, and the new layout has no place for them: {}. They are not carried over",
            printable(&record.key),
            fields.join(", ")
        ));
    }
    let tell = found.into_iter().flat_map(|(prefix, (named, more))| {
        let more = (more > 0).then(|| {
            format!(
                "{prefix}: {} fields that Milvus 2.1 does not have and that are not carried over",
                many(more, "more record has", "more records have")
            )
        });
        named.into_iter().chain(more)
    });
    tell.collect()
}
