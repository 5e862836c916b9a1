//! Fields that no descriptor knows, at any depth of a message.

use crate::layout::descriptors::MessageShape;
use crate::layout::keys::Key;
use crate::layout::{is_tombstone, wire};

/// So many fields of one record are named. More than these are no newer Milvus but damage.
const MOST: usize = 10;

/// What stands for the rest of them.
const MORE: &str = "others";

/// The fields of the value of `key` that its message does not have, as paths such as `CollectionInfo.schema.field 99`, in the
/// order of the wire, each once; after the first ten only that there are others. Nothing for tombstones, and for what is no
/// message. Messages that are copies of what another record holds are not looked into.
pub fn unknown_fields(key: &Key, value: &[u8]) -> Vec<String> {
    let mut unknown = Vec::new();
    if !is_tombstone(value)
        && let Some(message) = MessageShape::of(key.family)
    {
        collect(message, value, &Path { above: None, name: message.short_name() }, &mut unknown);
    }
    unknown
}

/// The way to a message: a text is made of it only where there is something to say.
struct Path<'a> {
    above: Option<&'a Path<'a>>,
    name: &'a str,
}

impl Path<'_> {
    fn text(&self) -> String {
        self.above.map_or_else(|| self.name.to_owned(), |above| format!("{}.{}", above.text(), self.name))
    }
}

/// Messages of ours do not contain themselves, so the depth is that of the descriptors.
fn collect(message: &MessageShape, value: &[u8], path: &Path<'_>, unknown: &mut Vec<String>) {
    for field in wire::iter(value) {
        let Ok(field) = field else { return };
        match message.field(field.number) {
            None => add(unknown, || format!("{}.field {}", path.text(), field.number)),
            Some(known) if field.delimited && !known.copy => {
                if let Some(inner) = known.message() {
                    collect(inner, &value[field.payload], &Path { above: Some(path), name: &known.name }, unknown);
                }
            }
            Some(_) => {}
        }
    }
}

fn add(unknown: &mut Vec<String>, field: impl FnOnce() -> String) {
    // The list is full, and says so.
    if unknown.len() > MOST {
        return;
    }
    let field = field();
    if !unknown.contains(&field) {
        unknown.push(if unknown.len() == MOST { MORE.to_owned() } else { field });
    }
}
