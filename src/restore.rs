//! From what is there back to what a backup holds: backup and etcd in, plan out. Purely.
//!
//! Afterwards the meta root holds exactly the keys and values of the backup, sessions aside.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::layout::keys::{Key, Plain, SESSIONS, Side, count, prefix_of, side};
use crate::plan::{Change, DeleteRanges, Phase, Plan};

/// How backup and etcd differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// Keys that are missing in etcd, by prefix.
    pub missing: BTreeMap<String, u64>,
    /// Keys with another value, by prefix.
    pub different: BTreeMap<String, u64>,
    /// Keys that the backup does not have, by prefix.
    pub extra: BTreeMap<String, u64>,
    /// Keys that are as in the backup.
    pub equal: u64,
}

/// Compares a backup with etcd, key by key in ascending order.
#[derive(Debug)]
pub struct Comparison {
    backup: std::iter::Peekable<std::vec::IntoIter<(Bytes, Bytes)>>,
    /// Records that only one layout has: the other does not look at them.
    own: Phase,
    shared: Phase,
    /// Collection records with their snapshots, by collection: the instant at which the layout changes.
    collections: BTreeMap<Option<i64>, Vec<Change>>,
    remove: DeleteRanges,
    untouched: BTreeMap<String, u64>,
    differences: Differences,
}

impl Comparison {
    /// Begins with the keys (relative to the meta root) and values of a backup, in any order.
    pub fn new(mut backup: Vec<(Bytes, Bytes)>) -> Self {
        backup.retain(|(key, _)| !key.starts_with(SESSIONS.as_bytes()));
        backup.sort();
        Self {
            backup: backup.into_iter().peekable(),
            own: Phase::new("restoring the records of one layout"),
            shared: Phase::new("restoring the other records"),
            collections: BTreeMap::new(),
            remove: DeleteRanges::default(),
            untouched: BTreeMap::new(),
            differences: Differences::default(),
        }
    }

    /// Takes in the next key that is in etcd.
    pub fn add(&mut self, key: Bytes, value: &[u8]) {
        if key.starts_with(SESSIONS.as_bytes()) {
            return;
        }
        while let Some((missing, value)) = self.backup.next_if(|(backup, _)| *backup < key) {
            self.put_missing(missing, value);
        }
        match self.backup.next_if(|(backup, _)| *backup == key) {
            None => self.delete(key),
            Some((_, backup)) if backup == value => {
                self.remove.close();
                self.differences.equal += 1;
                count(&mut self.untouched, &key);
            }
            Some((_, backup)) => {
                count(&mut self.differences.different, &key);
                self.put(key, backup);
            }
        }
    }

    /// The plan, after all keys in etcd were added. They were read at `revision`.
    pub fn finish(mut self, revision: i64) -> (Plan, Differences) {
        while let Some((missing, value)) = self.backup.next() {
            self.put_missing(missing, value);
        }
        let remove = Phase { changes: self.remove.finish(), ..Phase::new("removing what the backup does not have") };
        let phases = vec![self.own, self.shared, switch(self.collections), remove];
        (Plan { revision, phases, untouched: self.untouched, problems: Vec::new() }, self.differences)
    }

    fn put_missing(&mut self, key: Bytes, value: Bytes) {
        count(&mut self.differences.missing, &key);
        self.put(key, value);
    }

    fn put(&mut self, key: Bytes, value: Bytes) {
        self.remove.close();
        match side(&key) {
            Side::Source | Side::Target => self.own.put(key, value),
            Side::Neither => self.shared.put(key, value),
            Side::Both => self.switch(Change::Put { key, value }),
        }
    }

    fn delete(&mut self, key: Bytes) {
        count(&mut self.differences.extra, &key);
        match side(&key) {
            Side::Source | Side::Target => return self.remove.delete(key.clone(), &prefix_of(&key)),
            Side::Neither => self.shared.delete(key),
            Side::Both => self.switch(Change::Delete { first: key.clone(), last: key, keys: 1 }),
        }
        self.remove.close();
    }

    fn switch(&mut self, change: Change) {
        let collection = match Key::parse(change.key()) {
            Ok(Key::Plain(Plain::Collection(id)) | Key::Snapshot(Plain::Collection(id), _)) => Some(id),
            _ => None,
        };
        // Plain keys sort before snapshots: the record that decides comes first.
        self.collections.entry(collection).or_default().push(change);
    }
}

/// Record and snapshots of a collection change in one transaction where they fit.
fn switch(collections: BTreeMap<Option<i64>, Vec<Change>>) -> Phase {
    let mut phase = Phase { in_order: true, ..Phase::new("switching the collections back") };
    for changes in collections.into_values() {
        let first = phase.changes.len();
        phase.changes.extend(changes);
        phase.joined.extend(first + 1..phase.changes.len());
    }
    phase
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::from(text.to_owned())
    }

    fn compare(backup: &[(&str, &str)], etcd: &[(&str, &str)]) -> (Plan, Differences) {
        let mut comparison = Comparison::new(backup.iter().map(|(key, value)| (bytes(key), bytes(value))).collect());
        let mut etcd = etcd.to_vec();
        etcd.sort_unstable();
        for (key, value) in etcd {
            comparison.add(bytes(key), value.as_bytes());
        }
        comparison.finish(7)
    }

    #[test]
    fn equal_metadata_needs_nothing() {
        let both = [("root-coord/collection/1", "a"), ("indexes/1", "b")];
        let (plan, differences) = compare(&both, &both);
        assert!(plan.is_empty());
        assert_eq!((differences.equal, plan.untouched_keys()), (2, 2));
    }

    #[test]
    fn what_is_missing_or_different_is_put_and_what_is_extra_deleted() {
        let (plan, differences) =
            compare(&[("a/1", "x"), ("a/2", "x"), ("a/3", "x")], &[("a/2", "y"), ("a/3", "x"), ("a/4", "z")]);
        let totals = plan.totals();
        assert_eq!((totals.puts, totals.deletes, differences.equal), (2, 1, 1));
    }

    #[test]
    fn sessions_are_neither_restored_nor_deleted() {
        let (plan, _) = compare(&[("session/id", "5")], &[("session/id", "9"), ("session/migration", "m")]);
        assert!(plan.is_empty());
    }

    #[test]
    fn one_layouts_records_come_first_and_go_last_and_collections_change_in_between() {
        let (plan, _) = compare(
            &[
                ("indexes/1", "old"),
                ("root-coord/collection/1", "embedded"),
                ("snapshots/root-coord/collection/1_ts5", "s"),
            ],
            &[("field-index/1/1", "new"), ("root-coord/collection/1", "bare"), ("root-coord/collection/2", "of 2.2")],
        );
        let keys: Vec<Vec<String>> = plan
            .phases
            .iter()
            .map(|phase| {
                phase.changes.iter().map(|change| String::from_utf8_lossy(change.key()).into_owned()).collect()
            })
            .collect();
        assert_eq!(keys[0], ["indexes/1"]);
        assert!(keys[1].is_empty());
        assert_eq!(
            keys[2],
            ["root-coord/collection/1", "snapshots/root-coord/collection/1_ts5", "root-coord/collection/2"]
        );
        assert_eq!(keys[3], ["field-index/1/1"]);
        assert_eq!(plan.phases[2].joined.iter().copied().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn ranges_reach_over_no_key_that_stays_or_is_put() {
        let (plan, _) = compare(
            &[("field-index/1/2", "put"), ("field-index/1/4", "kept")],
            &[
                ("field-index/1/1", ""),
                ("field-index/1/3", ""),
                ("field-index/1/4", "kept"),
                ("field-index/1/5", ""),
                ("field-index/1/6", ""),
            ],
        );
        let ranges: Vec<(&[u8], &[u8])> = plan.phases[3]
            .changes
            .iter()
            .map(|change| match change {
                Change::Delete { first, last, .. } => (&first[..], &last[..]),
                Change::Put { .. } => panic!("a put among the deletes"),
            })
            .collect();
        assert_eq!(
            ranges,
            [
                (&b"field-index/1/1"[..], &b"field-index/1/1"[..]),
                (b"field-index/1/3", b"field-index/1/3"),
                (b"field-index/1/5", b"field-index/1/6")
            ]
        );
    }

    fn any_key() -> impl Strategy<Value = Bytes> {
        let kinds = select(
            &[
                "indexes/",
                "root-coord/collection/",
                "field-index/1/",
                "session/",
                "snapshots/root-coord/collection/1_ts",
                "",
            ][..],
        );
        let rest = prop_oneof![(0..9u8).prop_map(|digit| vec![b'0' + digit]), vec(any::<u8>(), 0..4)];
        (kinds, rest).prop_map(|(kind, rest)| [kind.as_bytes(), &rest].concat().into())
    }

    proptest! {
        #[test]
        fn whatever_there_is_in_the_end_it_is_what_the_backup_holds(
            backup in btree_map(any_key(), 0..3u8, 0..40),
            etcd in btree_map(any_key(), 0..3u8, 0..40),
        ) {
            let value = |value: u8| Bytes::from(vec![value]);
            let backup: Vec<_> = backup.into_iter().map(|(key, of)| (key, value(of))).collect();
            let mut etcd: BTreeMap<_, _> = etcd.into_iter().map(|(key, of)| (key, value(of))).collect();
            let mut comparison = Comparison::new(backup.iter().rev().cloned().collect());
            for (key, value) in &etcd {
                comparison.add(key.clone(), value);
            }
            let is_session = |key: &Bytes| key.starts_with(SESSIONS.as_bytes());
            let mut expected: BTreeMap<_, _> = etcd.clone().into_iter().filter(|(key, _)| is_session(key)).collect();
            expected.extend(backup.into_iter().filter(|(key, _)| !is_session(key)));
            comparison.finish(7).0.apply_to(&mut etcd);
            prop_assert_eq!(etcd, expected);
        }
    }
}
