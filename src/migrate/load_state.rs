//! Load states: which collections and partitions are loaded (layouts.md, rule 5).

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::builder::Builder;
use super::collections::{Collection, SourceCollection};
use super::indexes::Indexes;
use super::report::{Loaded, Released, RepairKind};
use crate::layout::keys::Key;
use crate::layout::messages::source::{LoadState, LoadType};
use crate::layout::messages::target::{CollectionLoadInfo, LoadStatus, PartitionLoadInfo};

const FULLY_LOADED: i64 = 100;

/// Plans all load states.
pub(super) fn convert(
    builder: &mut Builder,
    records: BTreeMap<i64, LoadState>,
    collections: &BTreeMap<i64, Collection>,
    indexes: &Indexes,
) {
    for (id, state) in records {
        match collections.get(&id) {
            Some(Collection::Source(collection)) => convert_one(builder, id, state, collection, indexes.live(id)),
            Some(Collection::Target) => {}
            Some(Collection::Invalid) => release(builder, id.to_string(), Vec::new(), "its collection cannot be used"),
            Some(Collection::Gone) | None => {
                release(builder, id.to_string(), Vec::new(), "its collection does not exist")
            }
        }
    }
}

fn convert_one(
    builder: &mut Builder,
    id: i64,
    state: LoadState,
    collection: &SourceCollection,
    live_indexes: BTreeMap<i64, i64>,
) {
    let name = collection.name.clone();
    if live_indexes.is_empty() {
        return release(
            builder,
            name,
            Vec::new(),
            "it has no index, and Milvus 2.2 loads only collections with an index",
        );
    }
    match state.load_type() {
        LoadType::LoadCollection if state.in_memory_percentage == FULLY_LOADED => {
            load_collection(builder, id, state, name, live_indexes);
        }
        LoadType::LoadCollection => {
            let reason = format!("it was loaded to {} % only", state.in_memory_percentage);
            release(builder, name, Vec::new(), &reason);
        }
        LoadType::LoadPartition => load_partitions(builder, id, &state, collection, &live_indexes),
        LoadType::Unknown => release(builder, name, Vec::new(), "its record does not tell what was loaded"),
    }
}

fn load_collection(builder: &mut Builder, id: i64, state: LoadState, name: String, field_index_id: BTreeMap<i64, i64>) {
    let replica_number = replicas(builder, id, &state);
    let record = CollectionLoadInfo {
        collection_id: id,
        released_partitions: state.released_partition_ids,
        replica_number,
        status: LoadStatus::Loaded as i32,
        field_index_id,
    };
    builder.prepare(&Key::CollectionLoad(id), record.encode_to_vec());
    builder.report.loaded.push(Loaded { collection: name, partitions: Vec::new(), replicas: replica_number });
}

fn load_partitions(
    builder: &mut Builder,
    id: i64,
    state: &LoadState,
    collection: &SourceCollection,
    field_index_id: &BTreeMap<i64, i64>,
) {
    let replica_number = replicas(builder, id, state);
    let mut loaded = Vec::new();
    // A partition that is listed twice is still loaded once; etcd refuses to put a key twice in a transaction.
    let partitions: BTreeSet<i64> = state.partition_ids.iter().copied().collect();
    for partition in &partitions {
        let Some(name) = collection.partitions.get(partition) else {
            release(builder, collection.name.clone(), vec![partition.to_string()], "the partition does not exist");
            continue;
        };
        let percentage = percentage_of(state, *partition);
        if percentage != FULLY_LOADED {
            let reason = format!("the partition was loaded to {percentage} % only");
            release(builder, collection.name.clone(), vec![name.clone()], &reason);
            continue;
        }
        let record = PartitionLoadInfo {
            collection_id: id,
            partition_id: *partition,
            replica_number,
            status: LoadStatus::Loaded as i32,
            field_index_id: field_index_id.clone(),
        };
        builder.prepare(&Key::PartitionLoad { collection: id, partition: *partition }, record.encode_to_vec());
        loaded.push(name.clone());
    }
    if !loaded.is_empty() {
        builder.report.loaded.push(Loaded {
            collection: collection.name.clone(),
            partitions: loaded,
            replicas: replica_number,
        });
    }
}

/// How far a partition is loaded: as its own state says, else as the collection's record says.
fn percentage_of(state: &LoadState, partition: i64) -> i64 {
    let own = state.partition_states.iter().find(|own| own.partition_id == partition);
    own.map_or(state.in_memory_percentage, |own| own.in_memory_percentage)
}

/// The replica number; 0 (from before replicas) means 1, because 2.2 releases a collection with 0.
fn replicas(builder: &mut Builder, id: i64, state: &LoadState) -> i32 {
    if state.replica_number != 0 {
        return state.replica_number;
    }
    builder.report.repair(RepairKind::ReplicaNumber, Key::LoadState(id).to_string(), "replica number 1 instead of 0");
    1
}

fn release(builder: &mut Builder, collection: String, partitions: Vec<String>, reason: &str) {
    builder.report.released.push(Released { collection, partitions, reason: reason.to_owned() });
}
