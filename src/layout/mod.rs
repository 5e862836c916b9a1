//! The keys and messages of both metadata layouts: parsing and building, nothing else.
//!
//! All keys here are relative to the meta root (`by-dev/meta/`).

pub mod descriptors;
pub mod families;
pub mod keys;
pub mod messages;
pub mod wire;

/// The value that Milvus's snapshot storage writes for a deleted key, plain and as the newest snapshot. It is no message.
pub const TOMBSTONE: &[u8] = &[0xE2, 0x9B, 0xBC];

/// Whether a value says "deleted".
pub fn is_tombstone(value: &[u8]) -> bool {
    value == TOMBSTONE
}

/// The meta root of a root path and a meta sub-path, without a slash at the end: Go's `path.Join`, with which Milvus builds its
/// keys, but that nothing at all stays empty.
pub fn join_root(first: &str, second: &str) -> String {
    let path = match (first, second) {
        ("", only) | (only, "") => only.to_owned(),
        (first, second) => format!("{first}/{second}"),
    };
    let is_rooted = path.starts_with('/');
    let mut words: Vec<&str> = Vec::new();
    for word in path.split('/') {
        match word {
            "" | "." => {}
            ".." if words.last().is_some_and(|last| *last != "..") => {
                words.pop();
            }
            ".." if is_rooted => {}
            word => words.push(word),
        }
    }
    let slash = if is_rooted { "/" } else { "" };
    format!("{slash}{}", words.join("/"))
}
