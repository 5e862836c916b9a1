//! The meta root: where in etcd Milvus keeps its metadata.

use std::fmt;

use crate::layout::join_root as join;

/// `<rootPath>/<metaSubPath>`, joined as Milvus joins them.
///
/// Milvus 2.1 takes Go's `path.Join` (`EtcdConfig.initMetaRootPath`), so doubled and trailing slashes vanish while a
/// leading one stays: `/dev/` and `meta` make `/dev/meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaRoot {
    root_path: String,
    meta_sub_path: String,
    joined: String,
}

impl MetaRoot {
    /// Joins the two halves; `None` if they come to no prefix of its own, as two empty ones or `/` do, or have control characters
    /// in them: a backup that names such a root is refused, too.
    pub fn new(root_path: &str, meta_sub_path: &str) -> Option<Self> {
        let joined = join(root_path, meta_sub_path);
        let is_prefix = joined.split('/').any(|word| !matches!(word, "" | ".."));
        (is_prefix && !joined.contains(char::is_control)).then(|| Self {
            root_path: join(root_path, ""),
            meta_sub_path: join(meta_sub_path, ""),
            joined,
        })
    }

    /// The first half, `etcd.rootPath`; backup files call it the instance.
    pub fn root_path(&self) -> &str {
        &self.root_path
    }

    /// The second half, `etcd.metaSubPath`.
    pub fn meta_sub_path(&self) -> &str {
        &self.meta_sub_path
    }

    /// What all keys of the metadata begin with, and no others: `by-dev/meta/`, its slash keeps `by-dev/meta2` out.
    pub fn prefix(&self) -> String {
        format!("{}/", self.joined)
    }
}

impl fmt::Display for MetaRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(root_path: &str, meta_sub_path: &str) -> Option<String> {
        MetaRoot::new(root_path, meta_sub_path).map(|root| root.to_string())
    }

    #[test]
    fn is_joined_as_go_joins_paths() {
        for (root_path, meta_sub_path, expected) in [
            ("by-dev", "meta", "by-dev/meta"),
            ("by-dev/", "meta/", "by-dev/meta"),
            ("by-dev//", "//meta", "by-dev/meta"),
            ("/dev", "meta", "/dev/meta"),
            ("//dev", "meta", "/dev/meta"),
            ("team/a", "b/meta", "team/a/b/meta"),
            ("", "meta", "meta"),
            ("", "/meta", "/meta"),
            ("/", "meta", "/meta"),
            ("by-dev", "", "by-dev"),
            ("./by-dev/.", "meta", "by-dev/meta"),
            ("by-dev", "../meta", "meta"),
            ("/../by-dev", "meta", "/by-dev/meta"),
            ("../by-dev", "meta", "../by-dev/meta"),
            ("Entwicklung ä", "meta", "Entwicklung ä/meta"),
        ] {
            assert_eq!(joined(root_path, meta_sub_path).as_deref(), Some(expected), "{root_path:?} {meta_sub_path:?}");
        }
    }

    #[test]
    fn is_refused_when_nothing_is_left_of_it() {
        for (root_path, meta_sub_path) in
            [("", ""), ("/", ""), ("/", "/"), ("", "//"), (".", "."), ("a", ".."), ("a", "../..")]
        {
            assert_eq!(joined(root_path, meta_sub_path), None, "{root_path:?} {meta_sub_path:?}");
        }
    }

    #[test]
    fn the_prefix_ends_in_one_slash_and_the_halves_are_clean() {
        let root = MetaRoot::new("/by-dev//", "meta/").unwrap();
        assert_eq!(
            (root.prefix().as_str(), root.root_path(), root.meta_sub_path()),
            ("/by-dev/meta/", "/by-dev", "meta")
        );
    }
}
