//! The keys and messages of both metadata layouts: parsing and building, nothing else.
//!
//! All keys here are relative to the meta root (`by-dev/meta/`).

pub mod keys;
pub mod messages;
pub mod wire;

/// The value that Milvus's snapshot storage writes for a deleted key, plain and as the newest snapshot. It is no message.
pub const TOMBSTONE: &[u8] = &[0xE2, 0x9B, 0xBC];

/// Whether a value says "deleted".
pub fn is_tombstone(value: &[u8]) -> bool {
    value == TOMBSTONE
}

/// What of both layouts is found under a meta root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// Neither layout: no keys that only one of them has.
    Neither,
    /// Wholly the 2.1 layout.
    #[serde(rename = "2.1")]
    Source,
    /// An interrupted migration or rollback: keys of both layouts.
    Mixed,
    /// Wholly the 2.2 layout.
    #[serde(rename = "2.2")]
    Target,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Neither => "no collections, indexes or aliases of either layout",
            Self::Source => "2.1",
            Self::Mixed => "2.1 and 2.2 mixed (an interrupted migration or rollback)",
            Self::Target => "2.2",
        })
    }
}

/// The meta root of a root path and a meta sub-path, joined as Go's `path.Join` does it (Milvus builds its keys so): doubled
/// slashes and those at the end go, one at the beginning stays. Without a slash at the end.
pub fn join_root(root_path: &str, meta_sub_path: &str) -> String {
    let parts: Vec<&str> = [root_path, meta_sub_path]
        .into_iter()
        .flat_map(|path| path.split('/'))
        .filter(|part| !part.is_empty())
        .collect();
    let first = if root_path.is_empty() { meta_sub_path } else { root_path };
    let slash = if first.starts_with('/') { "/" } else { "" };
    format!("{slash}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn roots_are_joined_as_milvus_joins_them() {
        for (root, sub, joined) in [
            ("by-dev", "meta", "by-dev/meta"),
            ("by-dev/", "/meta/", "by-dev/meta"),
            ("/by-dev", "meta", "/by-dev/meta"),
            ("a//b", "meta", "a/b/meta"),
            ("", "meta", "meta"),
            ("by-dev", "", "by-dev"),
            ("", "", ""),
        ] {
            assert_eq!(super::join_root(root, sub), joined);
        }
    }
}
