//! Which meta roots there are in an etcd: for those who mistyped theirs.

use std::collections::BTreeSet;

use etcd_client::GetOptions;

use crate::etcd::{Etcd, EtcdError, prefix_end};
use crate::expect::Registered;
use crate::guard::sessions;
use crate::layout::keys::{MIGRATION_SESSION, SESSIONS};

/// What a meta root has below it.
const MARKS: [&str; 3] = ["root-coord/", SESSIONS, "snapshots/root-coord/"];
/// Folders are looked into down to this depth, and only so many of them.
const MAX_DEPTH: usize = 4;
const MAX_FOLDERS: usize = 200;

/// Meta roots, without a slash at the end: folders that hold what only Milvus writes.
///
/// # Errors
/// etcd does not answer, or the user may not read all keys.
pub async fn meta_roots(etcd: &Etcd) -> Result<Vec<String>, EtcdError> {
    meta_roots_below(etcd, "").await
}

/// Those that lie below a folder that is none itself (with a slash at its end; all of etcd if it is empty).
///
/// # Errors
/// etcd does not answer, or the user may not read all keys there.
pub async fn meta_roots_below(etcd: &Etcd, folder: &str) -> Result<Vec<String>, EtcdError> {
    let mut roots = BTreeSet::new();
    if !folder.is_empty() && is_meta_root(etcd, folder).await? {
        return Ok(Vec::new());
    }
    let mut folders = vec![(folder.to_owned(), 0)];
    let mut seen = 0;
    while let Some((folder, depth)) = folders.pop() {
        seen += 1;
        if seen > MAX_FOLDERS {
            break;
        }
        if depth > 0 && is_meta_root(etcd, &folder).await? {
            roots.insert(folder.trim_end_matches('/').to_owned());
        } else if depth < MAX_DEPTH {
            let children = children(etcd, &folder).await?;
            folders.extend(children.into_iter().map(|child| (child, depth + 1)));
        }
    }
    Ok(roots.into_iter().collect())
}

/// The sessions under every meta root of this etcd, for [`crate::expect::judge`]; `root` (without a slash at the end) is among
/// them even if others may not be looked at.
///
/// # Errors
/// etcd does not answer.
pub async fn registered(etcd: &Etcd, root: &str) -> Result<Vec<Registered>, EtcdError> {
    // Asking for all keys needs more rights than one root alone.
    let mut roots: BTreeSet<String> = meta_roots(etcd).await.unwrap_or_default().into_iter().collect();
    roots.insert(root.to_owned());
    let mut all = Vec::new();
    for root in roots {
        let sessions = sessions(etcd, &format!("{root}/")).await?;
        all.push(Registered { root, sessions });
    }
    Ok(all)
}

/// The meta root that a key is under, if it is one that only Milvus writes; without a slash at the end.
pub fn root_of(key: &[u8]) -> Option<String> {
    let key = std::str::from_utf8(key).ok()?;
    let folders = key.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    let root =
        folders.map(|at| key.split_at(at)).find(|(_, rest)| MARKS.iter().any(|mark| rest[1..].starts_with(mark)));
    root.map(|(root, _)| root.to_owned())
}

async fn is_meta_root(etcd: &Etcd, folder: &str) -> Result<bool, EtcdError> {
    // Our own lock makes no folder one of Milvus.
    let lock = etcd.count(format!("{folder}{MIGRATION_SESSION}")).await?;
    for mark in MARKS {
        let keys = etcd.count(format!("{folder}{mark}")).await?;
        if keys > if mark == SESSIONS { lock } else { 0 } {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Folders directly below a folder: the first key tells one, then the search goes on behind it.
async fn children(etcd: &Etcd, folder: &str) -> Result<Vec<String>, EtcdError> {
    let mut children = Vec::new();
    let end = prefix_end(folder.as_bytes());
    let mut start = if folder.is_empty() { vec![0] } else { folder.as_bytes().to_vec() };
    while children.len() < MAX_FOLDERS {
        let options = GetOptions::new().with_range(end.clone()).with_limit(1).with_keys_only();
        let request = "look for other meta roots";
        let answer = etcd.kv(request, async |mut kv| kv.get(start.clone(), Some(options.clone())).await).await?;
        let Some(key) = answer.kvs().first().map(|kv| kv.key().to_vec()) else { break };
        let rest = &key[folder.len()..];
        // A leading slash belongs to the name of the first folder.
        let slash = rest.iter().skip(usize::from(folder.is_empty())).position(|byte| *byte == b'/');
        start = match slash.map(|at| at + usize::from(folder.is_empty())) {
            Some(at) => {
                let child = key[..=folder.len() + at].to_vec();
                let behind = prefix_end(&child);
                if let Ok(child) = String::from_utf8(child) {
                    children.push(child);
                }
                behind
            }
            None => [&key[..], &[0]].concat(),
        };
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_key_is_what_stands_before_what_only_milvus_writes() {
        for (key, root) in [
            ("by-dev/meta/root-coord/collection/1", Some("by-dev/meta")),
            ("by-dev/meta/snapshots/root-coord/collection/1_ts5", Some("by-dev/meta")),
            ("/a/b/meta/session/rootcoord", Some("/a/b/meta")),
            ("meta/root-coord/root-coord/x", Some("meta")),
            ("by-dev/kv/gid/timestamp", None),
            ("by-dev/meta/indexes/1", None),
            ("root-coord/collection/1", None),
            ("", None),
        ] {
            assert_eq!(root_of(key.as_bytes()).as_deref(), root, "{key}");
        }
        assert_eq!(root_of(b"\xff/root-coord/"), None);
    }
}
