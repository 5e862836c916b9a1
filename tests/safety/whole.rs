//! The invariant: at every instant each collection is whole in exactly one of the layouts.

use std::fmt::Debug;

use meta_migration::layout::families::{Family, Side};
use meta_migration::layout::keys::{Key, family_of};

use crate::common::state::{Dump, assert_same, below};

/// Every collection is in exactly one of the layouts, and in that one nothing of it is missing.
pub fn assert_whole(before: &Dump, migrated: &Dump, half: &Dump, what: impl Debug) {
    let is_as_in = |key: &[u8], dump: &Dump| half.get(key) == dump.get(key);
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for (relative, value) in below(before, "root-coord/collection/") {
        let key = format!("by-dev/meta/{relative}").into_bytes();
        if migrated[&key] == value {
            // A tombstone in both.
            continue;
        }
        let in_new_layout = is_as_in(&key, migrated);
        let expected = if in_new_layout { migrated } else { before };
        assert!(is_as_in(&key, expected), "{what:?}: {relative} is in neither layout");
        let snapshots = format!("by-dev/meta/snapshots/{relative}_ts").into_bytes();
        let newest = expected.keys().rfind(|key| key.starts_with(&snapshots)).unwrap();
        assert!(is_as_in(newest, expected), "{what:?}: {relative} and its newest snapshot are in different layouts");
        if in_new_layout { new.push(relative) } else { old.push(relative) }
    }
    assert_segments(before, migrated, half, &what);
    // Where any collection needs them, the records of a layout are all there.
    for (collections, dump, its_side) in [(&old, before, Side::Source), (&new, migrated, Side::Target)] {
        if collections.is_empty() {
            continue;
        }
        for (relative, value) in below(dump, "").filter(|(key, _)| side_of(key) == its_side) {
            let found = half.get(format!("by-dev/meta/{relative}").as_bytes()).map(Vec::as_slice);
            let needed = collections.len();
            assert_eq!(found, Some(value), "{what:?}: {relative} is missing or changed while {needed} need it");
        }
    }
    assert_same(&neither(before), &neither(half), ("what neither layout changes", what));
}

/// A segment has its lists, or every key of its logs.
fn assert_segments(before: &Dump, migrated: &Dump, half: &Dump, what: &impl Debug) {
    for (relative, value) in below(before, "datacoord-meta/s/") {
        let key = format!("by-dev/meta/{relative}").into_bytes();
        if half.get(&key).map(Vec::as_slice) == Some(value) && migrated[&key] != value {
            continue;
        }
        assert_eq!(half.get(&key), migrated.get(&key), "{what:?}: {relative} has neither form");
        let ids = relative.strip_prefix("datacoord-meta/s/").unwrap();
        for kind in ["binlog", "statslog", "deltalog"] {
            let logs = format!("datacoord-meta/{kind}/{ids}/");
            for (log, value) in below(migrated, &logs) {
                let found = half.get(format!("by-dev/meta/{log}").as_bytes()).map(Vec::as_slice);
                assert_eq!(found, Some(value), "{what:?}: {log} is missing, and {relative} has no lists any more");
            }
        }
    }
}

/// The keys of logs go with their segments.
fn side_of(key: &str) -> Side {
    match family_of(key.as_bytes()) {
        Family::Binlog | Family::Statslog | Family::Deltalog => Side::Both,
        family => family.side(),
    }
}

/// What no layout changes.
fn neither(dump: &Dump) -> Dump {
    let changes = |key: &[u8]| match key.strip_prefix(b"by-dev/meta/").map(Key::parse) {
        Some(key) => {
            let key = key.unwrap();
            key.side() != Side::Neither || matches!(key.family, Family::Tripwire | Family::History)
        }
        None => false,
    };
    dump.iter().filter(|(key, _)| !changes(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}
