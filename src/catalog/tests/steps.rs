//! What a run writes, step by step and in the order of docs/design.md, for tests of runs that stop half-way. A conversion says only
//! what should be there at the end.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::cluster::{Cluster, Migrated};
use crate::layout::families::{Family, Side};
use crate::layout::keys::{Key, family_of};

/// A key, and the value that it gets; none if it goes.
pub type Change = (Bytes, Option<Bytes>);

/// What is written in one transaction.
pub type Step = Vec<Change>;

/// The parts of a run, one after the other. Within a part the steps may be written in any order, but for the collections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Tripwires,
    NewRecords,
    Leftovers,
    Segments,
    Collections,
    OldRecords,
    LeftOut,
}

/// Numbers that look like chance and are the same in every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// The steps from one state to another, by part.
pub fn steps(before: &Cluster, after: &Cluster) -> BTreeMap<Part, Vec<Step>> {
    let mut wholes: BTreeMap<(Part, String), Step> = BTreeMap::new();
    let keys: std::collections::BTreeSet<&Bytes> = before.records().keys().chain(after.records().keys()).collect();
    for key in keys {
        let (is, should) = (before.records().get(key), after.records().get(key));
        if is != should {
            let (part, whole) = place(key, should.is_some());
            wholes.entry((part, whole)).or_default().push((key.clone(), should.cloned()));
        }
    }
    let mut parts: BTreeMap<Part, Vec<Step>> = BTreeMap::new();
    for ((part, _), mut step) in wholes {
        step.sort_by_cached_key(rank);
        let part = match part {
            Part::Segments | Part::Collections if step.iter().all(|(_, value)| value.is_none()) => Part::LeftOut,
            part => part,
        };
        parts.entry(part).or_default().push(step);
    }
    parts
}

/// The part that a change belongs to, and what it must not be torn from.
fn place(key: &Bytes, is_put: bool) -> (Part, String) {
    let parsed = Key::parse(key).ok();
    let ids = parsed.as_ref().map_or([0; 3], Key::ids::<3>);
    let alone = || format!("{key:?}");
    match family_of(key) {
        Family::Tripwire => (Part::Tripwires, String::new()),
        Family::Collection => (Part::Collections, format!("{:20}", ids[0])),
        Family::DatabaseCollection => (Part::Collections, format!("{:20}", ids[1])),
        Family::Segment | Family::Binlog | Family::Statslog | Family::Deltalog => (Part::Segments, format!("{ids:?}")),
        _ if is_put => (Part::NewRecords, alone()),
        family if family.side() == Side::Target => (Part::Leftovers, alone()),
        _ => (Part::OldRecords, alone()),
    }
}

/// The order within a step that does not fit into one transaction: nothing goes before what takes its place is there, and the record
/// that decides comes after what it stands for.
fn rank((key, value): &Change) -> (bool, bool, Bytes) {
    let is_delete = value.is_none();
    let decides = Key::parse(key).is_ok_and(|key| match key.family {
        Family::Segment => true,
        Family::Collection | Family::DatabaseCollection => key.snapshot.is_none(),
        _ => false,
    });
    (is_delete, decides != is_delete, key.clone())
}

/// Orders to try: as planned, as planned with every step torn into single changes, and some shuffled.
pub fn orders(before: &Cluster, done: &Migrated, shuffled: u64) -> Vec<Vec<Step>> {
    let parts = steps(before, &done.after);
    let planned: Vec<Step> = parts.values().flatten().cloned().collect();
    let torn = planned.iter().flatten().map(|change| vec![change.clone()]).collect();
    let shuffled = (1..=shuffled).map(|seed| in_some_order(&parts, &mut Dice::new(seed)));
    [planned, torn].into_iter().chain(shuffled).collect()
}

/// An order in which the steps may be written.
pub fn in_some_order(parts: &BTreeMap<Part, Vec<Step>>, dice: &mut Dice) -> Vec<Step> {
    let mut ordered = Vec::new();
    for (part, steps) in parts {
        let mut steps = steps.clone();
        if *part != Part::Collections {
            for last in (1..steps.len()).rev() {
                steps.swap(last, dice.below(last + 1));
            }
        }
        ordered.extend(steps);
    }
    ordered
}

pub fn apply(cluster: &mut Cluster, step: &Step) {
    step.iter().for_each(|(key, value)| cluster.set(key, value.as_ref()));
}

/// The state after all parts up to `last` of a run were written.
pub fn halfway(before: &Cluster, done: &Migrated, last: Part) -> Cluster {
    let mut now = before.clone();
    for steps in steps(before, &done.after).range(..=last).map(|(_, steps)| steps) {
        steps.iter().for_each(|step| apply(&mut now, step));
    }
    now
}
