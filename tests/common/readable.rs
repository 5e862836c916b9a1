//! Metadata as text: every record whole, so that a person can read a dump, and a test can tell what has changed.

use std::fmt::Write;

use meta_migration::decode;
use meta_migration::layout::families::Family;
use meta_migration::layout::is_tombstone;
use meta_migration::layout::keys::Key;
use meta_migration::layout::messages::common::CollectionInfo;
use prost::Message;
use sha2::{Digest, Sha256};

use super::state::{Dump, below};

/// Decodes a value that must be such a message.
#[track_caller]
pub fn decode<M: Message + Default>(value: &[u8]) -> M {
    M::decode(value).unwrap_or_else(|error| panic!("{error}: {}", value.escape_ascii()))
}

/// A live value of either layout, or `None` for a tombstone.
pub fn live<M: Message + Default>(value: &[u8]) -> Option<M> {
    (!is_tombstone(value)).then(|| decode(value))
}

/// All keys under the meta root, one on a line, with what their values say.
pub fn text(dump: &Dump) -> String {
    let mut text = String::new();
    for (key, value) in below(dump, "") {
        writeln!(text, "{key}  {}", record(key, value)).unwrap();
    }
    text
}

fn record(key: &str, value: &[u8]) -> String {
    let parsed = Key::parse(key.as_bytes()).expect("a key in the right form");
    if matches!(parsed.family, Family::Collection | Family::DatabaseCollection)
        && parsed.snapshot.is_some()
        && let Some(info) = live::<CollectionInfo>(value)
        && let Some(summary) = summary(&info)
    {
        return summary;
    }
    if is_tombstone(value) || parsed.family.message().is_some() {
        return decode::value(key.as_bytes(), value).one_line();
    }
    digest(value)
}

/// Older states of a collection stay as they were but for their indexes: nothing more than that is told of them.
fn summary(info: &CollectionInfo) -> Option<String> {
    let schema = info.schema.as_ref().filter(|schema| !schema.fields.is_empty())?;
    Some(format!(
        "{{ID: {}, name: {:?}, {} fields, partitionNames: {:?}, {} field indexes, …}}",
        info.id,
        schema.name,
        schema.fields.len(),
        info.partition_names,
        info.field_indexes.len()
    ))
}

/// Of records that nobody takes apart.
fn digest(value: &[u8]) -> String {
    let hash = Sha256::digest(value);
    let start: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes, SHA-256 {start}…", value.len())
}
