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

/// Which layouts have keys under a meta root; it stands in every backup file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// Neither layout: no keys that only one of them has.
    Neither,
    /// The layout of 2.1 alone.
    #[serde(rename = "2.1")]
    Source,
    /// Keys of both.
    Mixed,
    /// The layout of 2.2 and later alone.
    #[serde(rename = "2.2")]
    Target,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Neither => "no collections, indexes or aliases of either layout",
            Self::Source => "2.1",
            Self::Mixed => "keys of 2.1 and of 2.2 or later",
            Self::Target => "2.2 or later",
        })
    }
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
