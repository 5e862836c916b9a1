//! Load states: which collections and partitions are loaded (docs/layouts.md, rule 5).

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::Precedence;
use super::collection::{Collection, Collections, Form, Standing};
use super::index::Indexes;
use super::problem::Problem;
use super::records::{Records, Writing, decode, same_id};
use super::replica::Replicas;
use super::report::{LeftOut, Loaded, Released, Repair, RepairKind};
use crate::layout::families::Family;
use crate::layout::messages::source::{LoadState, LoadType};
use crate::layout::messages::target::{self, CollectionLoadInfo, LoadStatus, PartitionLoadInfo};
use crate::version::Layout;

const FULLY_LOADED: i64 = 100;
/// Why partitions of a collection that was loaded as a whole are not loaded.
pub(super) const STAYS_RELEASED: &str = "released in 2.1, and stays so: the others are loaded by partition";
const ALL_RELEASED: &str = "released in 2.1, each of its partitions, and stays so";

/// What a collection is loaded with, whichever layout said so.
struct LoadRecord {
    collection: i64,
    /// Whether the whole collection is loaded.
    whole: bool,
    /// Its loaded partitions.
    partitions: BTreeSet<i64>,
    replica_number: i32,
    field_index_id: BTreeMap<i64, i64>,
}

impl LoadRecord {
    /// Writes it in the target's own form.
    fn write(&self, writing: &mut Writing, layout: Layout) {
        let partition = |partition: i64| PartitionLoadInfo {
            collection_id: self.collection,
            partition_id: partition,
            replica_number: self.replica_number,
            status: LoadStatus::Loaded as i32,
            field_index_id: self.field_index_id.clone(),
        };
        if self.whole || layout.load_type {
            let load_type = match (layout.load_type, self.whole) {
                (false, _) => target::LoadType::UnknownLoad,
                (true, true) => target::LoadType::LoadCollection,
                (true, false) => target::LoadType::LoadPartition,
            };
            let record = CollectionLoadInfo {
                collection_id: self.collection,
                released_partitions: Vec::new(),
                replica_number: self.replica_number,
                status: LoadStatus::Loaded as i32,
                field_index_id: self.field_index_id.clone(),
                load_type: load_type as i32,
            };
            writing.put_message(&Family::CollectionLoad.key([self.collection]), &record);
        }
        if !self.whole || layout.load_type {
            for id in &self.partitions {
                let key = Family::PartitionLoad.key([self.collection, *id]);
                writing.put_message(&key, &partition(*id));
            }
        }
    }
}

/// Converts all load states of 2.1, with the replicas of what stays loaded.
pub fn convert(
    records: &Records,
    collections: &Collections,
    indexes: &Indexes,
    layout: Layout,
    precedence: Precedence,
) -> Writing {
    let mut writing = Writing::default();
    let replicas = Replicas::read(records, &mut writing);
    let newer = loaded_by_newer(records);
    for (key, record) in records.of(Family::SourceLoadState) {
        let [id] = key.ids();
        let state = decode::<LoadState>(&record.value)
            .and_then(|state| same_id("collectionID", state.collection_id, id).map(|()| state));
        let state = match state {
            Ok(state) => state,
            Err(what) => {
                writing.problems.push(Problem::new(&key, what, "the collection would not be loaded afterwards"));
                continue;
            }
        };
        match collections.standing(id) {
            Standing::Live(collection) if collection.form == Form::Embedded => {
                if precedence == Precedence::Newer && newer.contains(&id) {
                    let why = format!("a newer Milvus has loaded collection {:?} itself", collection.name);
                    writing.report.kept_newer.push(LeftOut::new(&key, why));
                    continue;
                }
                convert_one(&mut writing, &state, collection, indexes, &replicas, layout);
            }
            Standing::Live(_) | Standing::Passing => {}
            Standing::Invalid | Standing::Lost => {
                release(&mut writing, id.to_string(), Vec::new(), "its collection cannot be used");
            }
            Standing::Gone => release(&mut writing, id.to_string(), Vec::new(), "its collection does not exist"),
        }
    }
    if precedence == Precedence::Newer {
        complete_replicas(&mut writing, records, collections, &replicas);
        complete(&mut writing, records, collections, layout);
    }
    writing
}

fn loaded_by_newer(records: &Records) -> BTreeSet<i64> {
    let collections = records.of(Family::CollectionLoad).map(|(key, _)| key.ids::<1>()[0]);
    collections.chain(records.of(Family::PartitionLoad).map(|(key, _)| key.ids::<2>()[0])).collect()
}

fn convert_one(
    writing: &mut Writing,
    state: &LoadState,
    collection: &Collection,
    indexes: &Indexes,
    replicas: &Replicas,
    layout: Layout,
) {
    let id = collection.id;
    let field_index_id = indexes.live(id);
    if field_index_id.is_empty() {
        let reason = "it has no index, and newer versions load only collections with an index";
        return release(writing, collection.name.clone(), Vec::new(), reason);
    }
    let Some((whole, partitions)) = loaded_partitions(writing, state, collection) else { return };
    if partitions.is_empty() {
        return;
    }
    if !replicas.has(id) {
        let reason = "it has no replica record: load it again, with as many replicas as it should have";
        return release(writing, collection.name.clone(), Vec::new(), reason);
    }
    let replica_number = replica_number(writing, id, state);
    let record = LoadRecord { collection: id, whole, partitions, replica_number, field_index_id };
    record.write(writing, layout);
    replicas.write(writing, id);
    let names = |ids: &BTreeSet<i64>| ids.iter().filter_map(|id| collection.partitions.get(id)).cloned().collect();
    let partitions = if whole { Vec::new() } else { names(&record.partitions) };
    let loaded = Loaded { collection: collection.name.clone(), partitions, replicas: replica_number };
    writing.report.loaded.push(loaded);
}

/// Whether the whole collection is loaded, and which partitions are; `None` if it is not, and has been told.
fn loaded_partitions(
    writing: &mut Writing,
    state: &LoadState,
    collection: &Collection,
) -> Option<(bool, BTreeSet<i64>)> {
    let name = || collection.name.clone();
    match state.load_type() {
        LoadType::LoadCollection if state.in_memory_percentage == FULLY_LOADED => {
            // No target goes by `released_partitions` when it loads: a whole load would take more memory than 2.1 did.
            let released: BTreeSet<i64> = state.released_partition_i_ds.iter().copied().collect();
            let (stay, rest): (BTreeSet<i64>, BTreeSet<i64>) =
                collection.partitions.keys().copied().partition(|id| released.contains(id));
            if !stay.is_empty() {
                let names = stay.iter().filter_map(|id| collection.partitions.get(id)).cloned().collect();
                let reason = if rest.is_empty() { ALL_RELEASED } else { STAYS_RELEASED };
                release(writing, name(), names, reason);
            }
            Some((stay.is_empty(), rest))
        }
        LoadType::LoadCollection => {
            let reason = format!("it was loaded to {} % only", state.in_memory_percentage);
            release(writing, name(), Vec::new(), &reason);
            None
        }
        LoadType::LoadPartition if state.partition_i_ds.is_empty() => {
            release(writing, name(), Vec::new(), "its record names no partition that was loaded");
            None
        }
        LoadType::LoadPartition => Some((false, fully_loaded_partitions(writing, state, collection))),
        LoadType::Unknown => {
            release(writing, name(), Vec::new(), "its record does not tell what was loaded");
            None
        }
    }
}

fn fully_loaded_partitions(writing: &mut Writing, state: &LoadState, collection: &Collection) -> BTreeSet<i64> {
    // A partition that is listed twice is still loaded once.
    let mut partitions: BTreeSet<i64> = state.partition_i_ds.iter().copied().collect();
    partitions.retain(|partition| {
        let name = collection.name.clone();
        let Some(partition_name) = collection.partitions.get(partition) else {
            release(writing, name, vec![partition.to_string()], "the partition does not exist");
            return false;
        };
        let percentage = percentage_of(state, *partition);
        if percentage != FULLY_LOADED {
            let reason = format!("the partition was loaded to {percentage} % only");
            release(writing, name, vec![partition_name.clone()], &reason);
        }
        percentage == FULLY_LOADED
    });
    partitions
}

/// How far a partition is loaded: as its own state says, else as the collection's record says.
fn percentage_of(state: &LoadState, partition: i64) -> i64 {
    let own = state.partition_states.iter().find(|own| own.partition_id == partition);
    own.map_or(state.in_memory_percentage, |own| own.in_memory_percentage)
}

/// The replica number; 0 (from before replicas) means 1, because newer versions release a collection with 0.
fn replica_number(writing: &mut Writing, id: i64, state: &LoadState) -> i32 {
    if state.replica_number != 0 {
        return state.replica_number;
    }
    let key = Family::SourceLoadState.key([id]).to_string();
    let what = "replica number 1 instead of 0".to_owned();
    writing.report.repairs.push(Repair { kind: RepairKind::ReplicaNumber, key, what });
    1
}

fn release(writing: &mut Writing, collection: String, partitions: Vec<String>, reason: &str) {
    writing.report.released.push(Released { collection, partitions, reason: reason.to_owned() });
}

/// Replicas of what a newer Milvus, or another tool, has as loaded.
fn complete_replicas(writing: &mut Writing, records: &Records, collections: &Collections, replicas: &Replicas) {
    let mut loaded = BTreeMap::new();
    for (key, record) in records.of(Family::PartitionLoad) {
        if let Ok(info) = PartitionLoadInfo::decode(&*record.value) {
            loaded.insert(key.ids::<2>()[0], info.replica_number);
        }
    }
    for (key, record) in records.of(Family::CollectionLoad) {
        if let Ok(info) = CollectionLoadInfo::decode(&*record.value) {
            loaded.insert(key.ids::<1>()[0], info.replica_number);
        }
    }
    for (collection, number) in loaded.into_iter().filter(|(id, _)| collections.live(*id).is_some()) {
        replicas.complete(writing, records, collection, number.max(1));
    }
}

/// Load states that a 2.2 wrote, or another tool, in the target's own form: from 2.4.22 on nobody makes up what 2.2's form lacks
/// (milvus pull request 39756).
fn complete(writing: &mut Writing, records: &Records, collections: &Collections, layout: Layout) {
    if !layout.load_type {
        return;
    }
    let mut by_partition: BTreeMap<i64, Vec<PartitionLoadInfo>> = BTreeMap::new();
    for (key, record) in records.of(Family::PartitionLoad) {
        if let Ok(info) = PartitionLoadInfo::decode(&*record.value) {
            by_partition.entry(key.ids::<2>()[0]).or_default().push(info);
        }
    }
    for (key, record) in records.of(Family::CollectionLoad) {
        let [id] = key.ids();
        let loaded = by_partition.remove(&id);
        let (Ok(info), Some(collection)) = (CollectionLoadInfo::decode(&*record.value), collections.live(id)) else {
            continue;
        };
        if info.load_type == target::LoadType::UnknownLoad as i32 && loaded.is_none() {
            let record = LoadRecord {
                collection: id,
                whole: true,
                partitions: collection.partitions.keys().copied().collect(),
                replica_number: info.replica_number.max(1),
                field_index_id: info.field_index_id,
            };
            record.write(writing, layout);
        }
    }
    for (id, partitions) in by_partition {
        let (Some(first), Some(_)) = (partitions.first(), collections.live(id)) else { continue };
        let record = LoadRecord {
            collection: id,
            whole: false,
            partitions: partitions.iter().map(|info| info.partition_id).collect(),
            replica_number: first.replica_number.max(1),
            field_index_id: first.field_index_id.clone(),
        };
        record.write(writing, layout);
    }
}
