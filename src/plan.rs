//! The plan: what will be written, in which order. A plain value, made before the first write.
//!
//! The order keeps every instant whole (docs/design.md). `run`: records that 2.1 does not know, leftovers, segments with the keys of
//! their logs, collection records, then what only 2.1 knows. `rollback`: the same backwards. Both are framed by a transaction that
//! puts the history key and the tripwires, and one that ends it ([`crate::apply`]).

use std::collections::BTreeMap;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use crate::diff::{Diff, Edit};
use crate::layout::families::{Family, Side};
use crate::layout::keys::{Key, SNAPSHOTS, family_of, prefix_of};

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
    /// The deletion of one key.
    pub fn delete(key: impl Into<Bytes>) -> Self {
        let key = key.into();
        Self::Delete { first: key.clone(), last: key, keys: 1 }
    }

    /// The key that the change begins with.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. } | Self::Delete { first: key, .. } => key,
        }
    }

    /// How many keys are changed.
    pub fn keys(&self) -> u64 {
        match self {
            Self::Put { .. } => 1,
            Self::Delete { keys, .. } => *keys,
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
    /// Indexes of the changes that should go into one transaction with the change before them, in ascending order; where they do not
    /// fit into one, they are written after it.
    pub joined: Vec<usize>,
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

    /// Whether the change at this index should go into one transaction with the one before it.
    pub fn is_joined(&self, at: usize) -> bool {
        self.joined.binary_search(&at).is_ok()
    }

    /// Adds changes that belong together, in this order.
    fn push_group(&mut self, changes: impl IntoIterator<Item = Change>) {
        let first = self.changes.len();
        self.changes.extend(changes);
        self.joined.extend(first + 1..self.changes.len());
    }
}

/// A range that is deleted takes in no more keys than this, so that no single transaction keeps etcd busy for long.
const MAX_KEYS_PER_RANGE: usize = 1_000;

/// What will be done. Made purely from what was read at `revision`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The etcd revision that the plan was made from.
    pub revision: i64,
    /// The changes, in the order of writing.
    pub phases: Vec<Phase>,
}

/// The size of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Totals {
    /// Keys to put.
    pub puts: u64,
    /// Bytes of the keys and values to put.
    pub put_bytes: u64,
    /// Keys to delete.
    pub deletes: u64,
}

impl Plan {
    /// The plan of a migration. Tripwires are not in it: they go with the first transaction ([`opening_of_run`]).
    pub fn of_run(diff: &Diff, revision: i64) -> Self {
        let [mut prepare, mut leftovers, mut segments, mut switch, mut clean_up, mut leave_out] = [
            Phase::new("writing the records of the new layout"),
            Phase::new("removing records of the new layout that do not stay"),
            Phase::new("moving the logs of the segments"),
            Phase { in_order: true, ..Phase::new("switching the collections") },
            Phase::new("removing the records of 2.1"),
            Phase::new("removing records that cannot be used"),
        ];
        Groups::of(&diff.edits, Direction::Forth).each(&diff.edits, |stage, only_deletes, changes| {
            let phase = match stage {
                Stage::Frame => return,
                Stage::Put => &mut prepare,
                Stage::DeleteOfTarget => &mut leftovers,
                Stage::Segment | Stage::Collection if only_deletes => &mut leave_out,
                Stage::Segment => &mut segments,
                Stage::Collection => &mut switch,
                Stage::Delete => &mut clean_up,
            };
            phase.push_group(changes);
        });
        Self { revision, phases: vec![prepare, leftovers, segments, switch, clean_up, leave_out] }
    }

    /// The plan of a rollback. Tripwires that the backup does not have are not in it: they go with the last transaction
    /// ([`closing_of_rollback`]).
    pub fn of_rollback(diff: &Diff, revision: i64) -> Self {
        let [mut own, mut segments, mut switch, mut remove] = [
            Phase::new("restoring the records"),
            Phase::new("restoring the segments"),
            Phase { in_order: true, ..Phase::new("switching the collections back") },
            Phase::new("removing what the backup does not have"),
        ];
        Groups::of(&diff.edits, Direction::Back).each(&diff.edits, |stage, _, changes| {
            let phase = match stage {
                Stage::Frame => return,
                Stage::Put => &mut own,
                Stage::Segment => &mut segments,
                Stage::Collection => &mut switch,
                Stage::DeleteOfTarget | Stage::Delete => &mut remove,
            };
            phase.push_group(changes);
        });
        Self { revision, phases: vec![own, segments, switch, remove] }
    }

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
        self.changes().for_each(|change| apply(change, keys));
    }
}

/// Carries one change out in memory.
pub fn apply(change: &Change, keys: &mut BTreeMap<Bytes, Bytes>) {
    match change {
        Change::Put { key, value } => drop(keys.insert(key.clone(), value.clone())),
        Change::Delete { first, last, .. } => {
            let deleted: Vec<Bytes> = keys.range(first.clone()..=last.clone()).map(|(key, _)| key.clone()).collect();
            for key in deleted {
                keys.remove(&key);
            }
        }
    }
}

/// What the first transaction of a run puts beside the history key: tripwires that are missing.
pub fn opening_of_run(diff: &Diff) -> Vec<Change> {
    let tripwires = diff.edits.iter().filter(|edit| family_of(&edit.key) == Family::Tripwire);
    tripwires.filter_map(|edit| Some(Change::Put { key: edit.key.clone(), value: edit.put.clone()? })).collect()
}

/// What the last transaction of a rollback does beside removing the history key: tripwires go, and where the backup has a key of
/// such a name (2.1's own, or a tripwire in one of migrated metadata), it holds the backup's value again.
pub fn closing_of_rollback(tripwires: &[(Bytes, Bytes)], in_backup: &BTreeMap<Bytes, Bytes>) -> Vec<Change> {
    let change = |(key, tripwire): &(Bytes, Bytes)| match in_backup.get(key) {
        None => Some(Change::delete(key.clone())),
        Some(value) => (value != tripwire).then(|| Change::Put { key: key.clone(), value: value.clone() }),
    };
    tripwires.iter().filter_map(change).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forth,
    Back,
}

/// What a change is about, of which the order of writing follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// A tripwire: written with the first and the last transaction.
    Frame,
    Put,
    DeleteOfTarget,
    Segment,
    Collection,
    Delete,
}

/// What is written together: a thing of which no part may be there without the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Whole {
    Collection(i64),
    Segment([i64; 3]),
    Alias(String),
    Load(i64),
}

/// A change that has its place: an edit, or neighbouring keys to delete, which etcd deletes as a range with one operation.
struct Placed {
    stage: Stage,
    is_delete: bool,
    /// Whether its record decides what the others of its whole stand for.
    decides: bool,
    /// The first and the last of its edits.
    first: usize,
    last: usize,
}

impl Placed {
    /// The order within a whole, in case that it does not fit into one transaction: the record that decides comes after what it
    /// stands for, and nothing goes before what takes its place is there. Of deletes the deciding record goes first: what is left of
    /// it afterwards stands for nothing.
    fn rank(&self) -> (bool, bool, usize) {
        (self.is_delete, self.decides != self.is_delete, self.first)
    }

    fn change(&self, edits: &[Edit]) -> Change {
        let first = &edits[self.first];
        match &first.put {
            Some(value) => Change::Put { key: first.key.clone(), value: value.clone() },
            None => Change::Delete {
                first: first.key.clone(),
                last: edits[self.last].key.clone(),
                keys: (self.last - self.first + 1) as u64,
            },
        }
    }
}

/// All changes in groups that are written together: wholes in their order, then what stands alone in that of its keys.
#[derive(Default)]
struct Groups {
    wholes: Vec<(Whole, Placed)>,
    singles: Vec<Placed>,
}

impl Groups {
    fn of(edits: &[Edit], direction: Direction) -> Self {
        let mut groups = Self::default();
        // Neighbouring keys to delete, with what all of them begin with.
        let mut open: Option<(Option<Whole>, Placed, &[u8])> = None;
        for (at, edit) in edits.iter().enumerate() {
            let (whole, placed) = place(at, edit, direction);
            if !placed.is_delete {
                groups.take(open.take());
                groups.add(whole, placed);
                continue;
            }
            // A range never leaves the prefix of its keys' kind: between two kinds there may be keys that were not looked at.
            let prefix = prefix_of_kind(&edit.key);
            match &mut open {
                Some((range_of, range, kind))
                    if edit.adjacent
                        && range.last - range.first + 1 < MAX_KEYS_PER_RANGE
                        && (range.stage, &*range_of, *kind) == (placed.stage, &whole, prefix) =>
                {
                    range.last = at;
                }
                _ => groups.take(open.replace((whole, placed, prefix))),
            }
        }
        groups.take(open);
        groups.wholes.sort_unstable_by(|(one, here), (other, there)| {
            (here.stage, one, here.rank()).cmp(&(there.stage, other, there.rank()))
        });
        groups
    }

    fn take(&mut self, open: Option<(Option<Whole>, Placed, &[u8])>) {
        if let Some((whole, placed, _)) = open {
            self.add(whole, placed);
        }
    }

    fn add(&mut self, whole: Option<Whole>, placed: Placed) {
        match whole {
            Some(whole) => self.wholes.push((whole, placed)),
            None => self.singles.push(placed),
        }
    }

    /// Each group of changes that are written together, with its stage, and whether it only deletes.
    fn each(self, edits: &[Edit], mut group: impl FnMut(Stage, bool, &mut dyn Iterator<Item = Change>)) {
        for whole in self.wholes.chunk_by(|(one, here), (other, there)| (here.stage, one) == (there.stage, other)) {
            let only_deletes = whole.iter().all(|(_, placed)| placed.is_delete);
            group(whole[0].1.stage, only_deletes, &mut whole.iter().map(|(_, placed)| placed.change(edits)));
        }
        for single in self.singles {
            group(single.stage, single.is_delete, &mut std::iter::once(single.change(edits)));
        }
    }
}

/// Where an edit belongs, and which whole it is part of.
fn place(at: usize, edit: &Edit, direction: Direction) -> (Option<Whole>, Placed) {
    let is_delete = edit.put.is_none();
    let family = family_of(&edit.key);
    let stage = match family {
        Family::Tripwire => Stage::Frame,
        Family::Collection | Family::DatabaseCollection => Stage::Collection,
        Family::Segment => Stage::Segment,
        Family::Binlog | Family::Statslog | Family::Deltalog if direction == Direction::Forth => Stage::Segment,
        _ if !is_delete => Stage::Put,
        _ if family.side() == Side::Target => Stage::DeleteOfTarget,
        _ => Stage::Delete,
    };
    let (whole, decides) = whole_of(&edit.key, family, stage).unzip();
    (whole, Placed { stage, is_delete, decides: decides.unwrap_or(false), first: at, last: at })
}

/// The whole that a key is part of, and whether its record decides what the others stand for. Only keys of these families are taken
/// apart; there are millions of others.
fn whole_of(key: &[u8], family: Family, stage: Stage) -> Option<(Whole, bool)> {
    let parse = || Key::parse(key).ok();
    Some(match (family, stage) {
        (Family::Collection | Family::DatabaseCollection, _) => {
            let key = parse()?;
            let [first, second] = key.ids();
            let id = if family == Family::Collection { first } else { second };
            (Whole::Collection(id), key.snapshot.is_none())
        }
        (_, Stage::Segment) => (Whole::Segment(parse()?.ids()), family == Family::Segment),
        (Family::Alias | Family::DatabaseAlias, Stage::Put) => {
            let key = parse()?;
            (Whole::Alias(key.name().to_owned()), key.snapshot.is_none())
        }
        (Family::CollectionLoad | Family::PartitionLoad | Family::Replica, Stage::Put) => {
            let [collection] = parse()?.ids();
            (Whole::Load(collection), family == Family::CollectionLoad)
        }
        _ => return None,
    })
}

/// What the keys of its kind begin with, by their bytes alone: one that is damaged still lies where it lies.
fn prefix_of_kind(key: &[u8]) -> &[u8] {
    let snapshots = if key.starts_with(SNAPSHOTS.as_bytes()) { SNAPSHOTS.len() } else { 0 };
    let prefix = family_of(key).prefix().as_bytes();
    if !prefix.is_empty() && key[snapshots..].starts_with(prefix) {
        return &key[..snapshots + prefix.len()];
    }
    // Of no family: as far as its kind is counted.
    let counted = prefix_of(key).len();
    key.get(..counted).unwrap_or(key)
}

#[cfg(test)]
mod tests;
