//! Safe at every instant: a run that stops after any single change leaves each collection whole, and running again ends in the
//! same bytes as if nothing had happened (lessons.md, 2 and 17).

use proptest::prelude::*;

use super::cluster::{Cluster, GARBAGE, dropped_alone, everything};
use super::problems::everything_wrong;
use crate::layout::TOMBSTONE;
use crate::layout::messages::common::CollectionInfo;
use crate::layout::messages::source::{IndexInfo, LoadState, SegmentIndexInfo};
use crate::layout::messages::target::{
    AliasInfo, CollectionLoadInfo, FieldIndex, PartitionInfo, PartitionLoadInfo, SegmentIndex,
};
use crate::plan::{Change, Plan};

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

/// The changes of a plan in an order in which they may be written: phases one after the other, and within those that do not
/// say otherwise in any order.
pub fn in_some_order(plan: &Plan, dice: &mut Dice) -> Vec<Change> {
    let mut ordered = Vec::new();
    for phase in &plan.phases {
        let mut changes = phase.changes.clone();
        if !phase.in_order {
            for last in (1..changes.len()).rev() {
                changes.swap(last, dice.below(last + 1));
            }
        }
        ordered.extend(changes);
    }
    ordered
}

/// Orders to try: as planned, and some shuffled.
pub fn orders(plan: &Plan, shuffled: u64) -> Vec<Vec<Change>> {
    let shuffled = (1..=shuffled).map(|seed| in_some_order(plan, &mut Dice::new(seed)));
    std::iter::once(plan.changes().cloned().collect()).chain(shuffled).collect()
}

#[derive(Debug, PartialEq)]
enum Layout {
    Source,
    Target,
}

/// The layout that a collection is whole in. It must be exactly one.
fn layout_of(before: &Cluster, now: &Cluster, collection: i64) -> Layout {
    let source = missing_in_source(before, now, collection);
    let target = missing_in_target(before, now, collection);
    match (source.is_empty(), target.is_empty()) {
        (true, false) => Layout::Source,
        (false, true) => Layout::Target,
        (true, true) => panic!("collection {collection} is whole in both layouts"),
        (false, false) => {
            panic!("collection {collection} lacks {source:#?} in the 2.1 layout and {target:#?} in the 2.2 layout")
        }
    }
}

/// Live aliases of a collection in 2.1.
fn aliases(before: &Cluster, collection: i64) -> Vec<String> {
    let live = |key: &String| before.value(key) != TOMBSTONE && before.get::<CollectionInfo>(key).id == collection;
    before.keys("root-coord/collection-alias/").into_iter().filter(live).collect()
}

fn segment_indexes(before: &Cluster, collection: i64) -> Vec<String> {
    before.keys(&format!("root-coord/segment-index/{collection}/"))
}

fn missing_in_source(before: &Cluster, now: &Cluster, collection: i64) -> Vec<String> {
    let mut needed = vec![format!("root-coord/collection/{collection}")];
    needed.extend(before.keys(&format!("snapshots/root-coord/collection/{collection}_ts")));
    needed.extend(before.keys(&format!("root-coord/index/{collection}/")));
    for key in segment_indexes(before, collection) {
        let build = before.get::<SegmentIndexInfo>(&key).build_id;
        needed.extend((build != 0).then(|| format!("indexes/{build}")));
        needed.push(key);
    }
    needed.extend(aliases(before, collection));
    needed.retain(|key| !now.has(key) || now.value(key) != before.value(key));
    needed
}

fn missing_in_target(before: &Cluster, now: &Cluster, id: i64) -> Vec<String> {
    let mut missing = Vec::new();
    let mut need = |is_there: bool, key: String| missing.extend((!is_there).then_some(key));
    let key = format!("root-coord/collection/{id}");
    let old: CollectionInfo = before.get(&key);
    let new: CollectionInfo = now.get(&key);
    let bare = new.partition_ids.is_empty() && new.partition_names.is_empty() && new.field_indexes.is_empty();
    need(bare && new.partition_created_timestamps.is_empty() && new.schema.unwrap().fields.is_empty(), key);

    let newest = before.keys(&format!("snapshots/root-coord/collection/{id}_ts"));
    let newest = newest.iter().map(|key| key.rsplit_once("_ts").unwrap().1.parse::<u64>().unwrap()).max();
    let with_snapshot = |plain: &str| {
        now.has(plain)
            && newest.is_none_or(|at| {
                let snapshot = format!("snapshots/{plain}_ts{at}");
                now.has(&snapshot) && now.value(&snapshot) == now.value(plain)
            })
    };
    for (partition, name) in old.partition_ids.iter().zip(&old.partition_names) {
        let key = format!("root-coord/partitions/{id}/{partition}");
        need(with_snapshot(&key) && now.get::<PartitionInfo>(&key).partition_name == *name, key);
    }
    for field in old.schema.unwrap().fields {
        let key = format!("root-coord/fields/{id}/{}", field.field_id);
        need(with_snapshot(&key) && field == now.get(&key), key);
    }
    let mut loadable = false;
    for entry in &old.field_indexes {
        loadable |= !before.get::<IndexInfo>(&format!("root-coord/index/{id}/{}", entry.index_id)).deleted;
        let key = format!("field-index/{id}/{}", entry.index_id);
        let is_of_field = |index: FieldIndex| index.index_info.unwrap().field_id == entry.field_id;
        need(now.has(&key) && is_of_field(now.get(&key)), key);
    }
    for source in segment_indexes(before, id) {
        let info: SegmentIndexInfo = before.get(&source);
        let records = now.keys(&format!("segment-index/{id}/{}/{}/", info.partition_id, info.segment_id));
        let same = records.iter().filter(|key| now.get::<SegmentIndex>(key).index_id == info.index_id);
        need(same.count() == 1, source);
    }
    for key in aliases(before, id) {
        let key = key.replace("/collection-alias/", "/aliases/");
        need(now.has(&key) && now.get::<AliasInfo>(&key).collection_id == id, key);
    }
    let state = format!("queryCoord-collectionMeta/{id}");
    if loadable && before.has(&state) {
        let partitions = before.get::<LoadState>(&state).partition_ids;
        for partition in &partitions {
            let key = format!("querycoord-partition-loadinfo/{id}/{partition}");
            need(now.has(&key) && !now.get::<PartitionLoadInfo>(&key).field_index_id.is_empty(), key);
        }
        let key = format!("querycoord-collection-loadinfo/{id}");
        let is_loaded = || now.has(&key) && !now.get::<CollectionLoadInfo>(&key).field_index_id.is_empty();
        need(!partitions.is_empty() || is_loaded(), key.clone());
    }
    missing
}

#[test]
fn after_any_single_change_every_collection_is_whole_in_exactly_one_layout() {
    let before = everything();
    let plan = before.plan().plan;
    for order in orders(&plan, 3) {
        let mut now = before.clone();
        let mut switched = 0;
        for change in &order {
            now.apply(change);
            let layouts = [1, 2, 3].map(|collection| layout_of(&before, &now, collection));
            let in_target = layouts.iter().filter(|layout| **layout == Layout::Target).count();
            assert!(in_target == switched || in_target == switched + 1, "{change:?} switches more than one collection");
            switched = in_target;
        }
        assert_eq!(switched, 3);
    }
}

fn may_stop_anywhere(before: &Cluster) {
    let done = before.carry_out(before.plan());
    for order in orders(done.plan(), 3) {
        let mut now = before.clone();
        for change in &order {
            now.apply(change);
            let next = now.carry_out(now.plan());
            assert_eq!(next.after.differences(&done.after), [""; 0], "stopped after {change:?}");
        }
    }
}

#[test]
fn a_run_that_stops_after_any_single_change_is_finished_by_the_next_one() {
    let before = everything();
    may_stop_anywhere(&before);
    let mut now = before.clone();
    for change in before.plan().plan.changes() {
        now.apply(change);
        assert_eq!(now.plan().plan.problems, [], "after {change:?}");
    }
}

#[test]
fn a_cluster_whose_collections_are_all_dropped_may_stop_anywhere_too() {
    may_stop_anywhere(&dropped_alone());
}

#[test]
fn a_run_that_leaves_out_what_is_wrong_may_stop_anywhere_too() {
    let before = everything_wrong();
    assert_ne!(before.plan().plan.problems, []);
    may_stop_anywhere(&before);
}

#[test]
fn runs_that_stop_again_and_again_come_to_the_same_end() {
    let before = everything();
    let end = before.migrate().after;
    for seed in 1..=20 {
        let mut dice = Dice::new(seed);
        let mut now = before.clone();
        let mut left = now.plan().plan;
        while !left.is_empty() {
            let order = in_some_order(&left, &mut dice);
            let stop = 1 + dice.below(order.len());
            order[..stop].iter().for_each(|change| now.apply(change));
            left = now.plan().plan;
        }
        assert_eq!(now.differences(&end), [""; 0]);
    }
}

#[test]
fn what_a_run_has_written_is_not_written_again() {
    let before = everything();
    let plan = before.plan().plan;
    let mut now = before.clone();
    for (done, change) in plan.changes().enumerate() {
        now.apply(change);
        assert_eq!(now.plan().plan.changes().count(), plan.changes().count() - done - 1, "after {change:?}");
    }
}

/// Damage to one record: it goes, is cut, becomes a tombstone, garbage, or the value of another record.
fn damage(cluster: Cluster, at: usize, kind: usize, other: usize) -> Cluster {
    let keys = cluster.keys("");
    let key = &keys[at % keys.len()];
    let value = cluster.value(key).clone();
    match kind {
        0 => cluster.remove(key),
        1 => cluster.put(key, &value[..value.len() / 2]),
        2 => cluster.put(key, TOMBSTONE),
        3 => cluster.put(key, GARBAGE),
        _ => {
            let value = cluster.value(&keys[other % keys.len()]).to_vec();
            cluster.put(key, value)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn however_the_metadata_is_damaged_a_run_may_stop_anywhere(
        damages in prop::collection::vec((any::<usize>(), 0..5usize, any::<usize>()), 1..6),
        seed in any::<u64>(),
        stop in any::<prop::sample::Index>()
    ) {
        let before = damages.into_iter().fold(everything(), |cluster, (at, kind, other)| damage(cluster, at, kind, other));
        let done = before.carry_out(before.plan());
        prop_assert!(done.after.plan().plan.is_empty(), "{:#?}", done.after.plan().plan.phases);
        let order = in_some_order(done.plan(), &mut Dice::new(seed));
        let mut now = before.clone();
        order[..stop.index(order.len() + 1)].iter().for_each(|change| now.apply(change));
        let next = now.carry_out(now.plan());
        prop_assert_eq!(next.after.differences(&done.after), [""; 0]);
    }
}
