//! Fields that no table knows, at any depth of a message.

use super::names::{Field, Kind, Message, message_at};
use crate::layout::keys::Key;
use crate::layout::{is_tombstone, wire};

/// Copies of a collection's schema. What is unknown in them is in the collection's own record too.
const SCHEMA_COPIES: [(&str, &str); 2] =
    [("query.CollectionInfo", "schema"), ("index.BuildIndexRequest", "field_schema")];

/// More fields of one record than these are not listed.
const MOST: usize = 10;

/// The fields of the value of `key` that its message does not have, as paths such as `7` and `req.7`, in the order of the wire,
/// each once, the first few of them; only those whose path begins with `below`. Nothing for tombstones, and for what is no message.
pub fn unknown_fields(key: &Key, value: &[u8], below: &str) -> Vec<String> {
    let mut unknown = Vec::new();
    if !is_tombstone(value)
        && let Some(message) = message_at(key)
    {
        collect(message, value, "", below, &mut unknown);
    }
    unknown
}

fn collect(message: &Message, value: &[u8], path: &str, below: &str, unknown: &mut Vec<String>) {
    for field in wire::iter(value) {
        let Ok(field) = field else { return };
        match message.field(field.number) {
            None => {
                let path = format!("{path}{}", field.number);
                if unknown.len() < MOST && path.starts_with(below) && !unknown.contains(&path) {
                    unknown.push(path);
                }
            }
            Some(known) if field.delimited && !is_copy(message, known) => {
                if let Kind::Message(inner) = known.kind {
                    collect(inner, &value[field.payload], &format!("{path}{}.", known.name), below, unknown);
                }
            }
            Some(_) => {}
        }
    }
}

fn is_copy(message: &Message, field: &Field) -> bool {
    SCHEMA_COPIES.contains(&(message.name, field.name))
}
