//! The plan: what will be written, in which order, what stays, and what is wrong. A plain value, made before the first write.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::layout::keys::printable;

/// One change of etcd. Keys are relative to the meta root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Put this value.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Delete all keys from `first` to `last`, both included. At the plan's revision these were `keys` keys, all of them to go.
    Delete {
        /// The first key.
        first: Bytes,
        /// The last key.
        last: Bytes,
        /// How many keys there are.
        keys: u64,
    },
}

impl Change {
    /// The key that the change begins with.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { first: key, .. } => key,
        }
    }

    /// What the change costs etcd, about, in units of half a key that is deleted in a range (docs/performance.md).
    pub fn cost(&self) -> u64 {
        match self {
            Self::Put { .. } => 5,
            Self::Delete { keys, .. } => keys.saturating_mul(2),
        }
    }

    /// Bytes that the change takes in a request, without etcd's few bytes of framing.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { first, last, .. } => first.len() + last.len(),
        }
    }
}

/// Changes that may be written in any order among themselves; the next phase begins when all of them are done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Phase {
    /// What the phase does, for people.
    pub name: &'static str,
    /// The changes.
    pub changes: Vec<Change>,
    /// Indexes of the changes that should go into one transaction with the change before them.
    pub joined: std::collections::BTreeSet<usize>,
    /// Whether the transactions must be written one after the other.
    pub in_order: bool,
}

impl Phase {
    /// A phase without changes.
    pub fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// What all changes cost etcd, about.
    pub fn cost(&self) -> u64 {
        self.changes.iter().map(Change::cost).sum()
    }

    /// Adds a put.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.push(Change::Put { key: key.into(), value: value.into() });
    }

    /// Adds a put that should go into one transaction with the change before it.
    pub fn put_joined(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.joined.insert(self.changes.len());
        self.put(key, value);
    }

    /// Adds the deletion of one key.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        let key = key.into();
        self.changes.push(Change::Delete { first: key.clone(), last: key, keys: 1 });
    }
}

/// Neighbouring keys to delete, taken together into ranges: etcd deletes a range with one operation.
#[derive(Debug, Default)]
pub struct DeleteRanges {
    open: Option<(Bytes, Bytes, u64)>,
    prefix: String,
    closed: Vec<Change>,
}

/// A range takes in no more keys than this, so that no single transaction keeps etcd busy for long.
const MAX_KEYS_PER_RANGE: u64 = 1_000;

impl DeleteRanges {
    /// Takes in the next key to delete. Keys come in ascending order. A range never leaves the prefix of its keys' kind, because
    /// between two kinds that go (`root-coord/dd-operation`, `root-coord/index/`) there may be room for one that is written
    /// (`root-coord/fields/`).
    pub fn delete(&mut self, key: Bytes, prefix: &str) {
        match &mut self.open {
            Some((_, last, keys)) if *keys < MAX_KEYS_PER_RANGE && self.prefix == prefix => {
                *last = key;
                *keys += 1;
            }
            _ => {
                self.close();
                self.open = Some((key.clone(), key, 1));
                prefix.clone_into(&mut self.prefix);
            }
        }
    }

    /// A key that stays, or that gets written: no range may reach over it.
    pub fn close(&mut self) {
        if let Some((first, last, keys)) = self.open.take() {
            self.closed.push(Change::Delete { first, last, keys });
        }
    }

    /// All ranges.
    pub fn finish(mut self) -> Vec<Change> {
        self.close();
        self.closed
    }
}

/// Something in the metadata that does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The key, relative to the meta root.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What it means: what would be missing afterwards with `--skip-invalid`.
    pub meaning: String,
    /// The key of another problem that this one follows from, if it does.
    pub caused_by: Option<String>,
}

/// What will be done. Made purely from what was read at `revision`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The etcd revision that the plan was made from.
    pub revision: i64,
    /// The changes, in the order of writing.
    pub phases: Vec<Phase>,
    /// Keys that stay as they are, by prefix. Sessions do not count.
    pub untouched: BTreeMap<String, u64>,
    /// Whatever is wrong, sorted by key.
    pub problems: Vec<Problem>,
}

/// The size of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Keys to put.
    pub puts: u64,
    /// Bytes of the keys and values to put.
    pub put_bytes: u64,
    /// Keys to delete.
    pub deletes: u64,
}

impl Plan {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.phases.iter().all(|phase| phase.changes.is_empty())
    }

    /// Counts puts and deletes.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for change in self.changes() {
            match change {
                Change::Put { .. } => {
                    totals.puts += 1;
                    totals.put_bytes += change.bytes() as u64;
                }
                Change::Delete { keys, .. } => totals.deletes += keys,
            }
        }
        totals
    }

    /// All changes in the order of writing.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.phases.iter().flat_map(|phase| &phase.changes)
    }

    /// Carries the plan out in memory: `keys` becomes what etcd will hold afterwards.
    pub fn apply_to(&self, keys: &mut BTreeMap<Bytes, Bytes>) {
        for change in self.changes() {
            match change {
                Change::Put { key, value } => {
                    keys.insert(key.clone(), value.clone());
                }
                Change::Delete { first, last, .. } => {
                    let deleted: Vec<Bytes> = keys
                        .range(first.clone()..)
                        .take_while(|(key, _)| *key <= last)
                        .map(|(key, _)| key.clone())
                        .collect();
                    for key in deleted {
                        keys.remove(&key);
                    }
                }
            }
        }
    }

    /// Number of keys that stay as they are.
    pub fn untouched_keys(&self) -> u64 {
        self.untouched.values().sum()
    }
}

/// Collects problems.
#[derive(Debug, Clone, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes that something is wrong with the record at `key`.
    pub fn add(&mut self, key: impl AsRef<[u8]>, what: impl Into<String>, meaning: impl Into<String>) {
        self.push(key.as_ref(), what.into(), meaning.into(), None);
    }

    /// Notes that the record at `key` cannot be used because of a problem at another key.
    pub fn add_caused(
        &mut self,
        key: impl AsRef<[u8]>,
        what: impl Into<String>,
        meaning: impl Into<String>,
        caused_by: impl AsRef<[u8]>,
    ) {
        self.push(key.as_ref(), what.into(), meaning.into(), Some(printable(caused_by.as_ref())));
    }

    fn push(&mut self, key: &[u8], what: String, meaning: String, caused_by: Option<String>) {
        self.0.push(Problem { key: printable(key), what, meaning, caused_by });
    }

    /// Takes in all of another collection.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// All problems, sorted by key, each once.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.0.sort_by(|a, b| (&a.key, &a.what).cmp(&(&b.key, &b.what)));
        self.0.dedup();
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carried_out_in_memory_it_puts_and_deletes_whole_ranges_in_the_order_of_its_phases() {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let mut keys = ["a", "b", "c", "d"].map(|key| (bytes(key), bytes("old"))).into_iter().collect();
        let mut first = Phase::new("first");
        first.put("b", "new");
        first.put("e", "new");
        let mut second = Phase::new("second");
        second.changes.push(Change::Delete { first: bytes("c"), last: bytes("e"), keys: 3 });
        Plan { phases: vec![first, second], ..Plan::default() }.apply_to(&mut keys);
        assert_eq!(keys, [("a", "old"), ("b", "new")].map(|(key, value)| (bytes(key), bytes(value))).into());
    }
}
