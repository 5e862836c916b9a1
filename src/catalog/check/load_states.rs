//! What is loaded.

use std::collections::{BTreeMap, BTreeSet};

use super::collections::CollectionCheck;
use super::finding::Findings;
use super::indexes::IndexCheck;
use super::invariant::Invariant;
use super::read;
use crate::amounts::many;
use crate::catalog::records::same_id;
use crate::layout::families::Family;
use crate::layout::messages::target::{CollectionLoadInfo, LoadStatus, LoadType, PartitionLoadInfo, Replica};
use crate::version::Layout;

/// A load state, reduced to what other records are held against.
#[derive(Debug)]
struct CheckedLoad {
    collection: i64,
    partition: Option<i64>,
    /// Number of replicas; `None` if the value cannot be read.
    replicas: Option<i32>,
    /// Index IDs by field ID; `None` if the value cannot be read.
    indexes: Option<BTreeMap<i64, i64>>,
}

/// All load states.
#[derive(Debug, Default)]
pub(super) struct LoadStates {
    records: Vec<CheckedLoad>,
    /// Collections that are loaded as a whole, as 2.2 writes it: alone.
    whole: BTreeSet<i64>,
    /// Load types of collections that tell it.
    load_types: BTreeMap<i64, i32>,
    /// Collections whose record cannot be read: nobody knows its kind.
    unreadable: BTreeSet<i64>,
    /// Numbers of replica records.
    replicas: BTreeMap<i64, i32>,
}

impl CheckedLoad {
    fn key(&self) -> String {
        match self.partition {
            None => Family::CollectionLoad.key([self.collection]),
            Some(partition) => Family::PartitionLoad.key([self.collection, partition]),
        }
        .to_string()
    }
}

impl LoadStates {
    pub(super) fn add_collection(&mut self, collection: i64, key: &[u8], value: &[u8], findings: &mut Findings) {
        let record = read(key, value, findings, |record: &CollectionLoadInfo| {
            same_id("collectionID", record.collection_id, collection)
        });
        if let Some(record) = &record {
            check_status(key, record.status, record.replica_number, findings);
        }
        // From 2.3 on there is a record of the collection and one of each partition; the load type tells such records.
        match record.as_ref().map(|record| record.load_type) {
            None => drop(self.unreadable.insert(collection)),
            Some(0) => drop(self.whole.insert(collection)),
            Some(load_type) => drop(self.load_types.insert(collection, load_type)),
        }
        let replicas = record.as_ref().map(|record| record.replica_number);
        let indexes = record.map(|record| record.field_index_id);
        self.records.push(CheckedLoad { collection, partition: None, replicas, indexes });
    }

    pub(super) fn add_partition(&mut self, ids: (i64, i64), key: &[u8], value: &[u8], findings: &mut Findings) {
        let record = read(key, value, findings, |record: &PartitionLoadInfo| {
            same_id("collectionID", record.collection_id, ids.0)?;
            same_id("partitionID", record.partition_id, ids.1)
        });
        if let Some(record) = &record {
            check_status(key, record.status, record.replica_number, findings);
        }
        let replicas = record.as_ref().map(|record| record.replica_number);
        let indexes = record.map(|record| record.field_index_id);
        self.records.push(CheckedLoad { collection: ids.0, partition: Some(ids.1), replicas, indexes });
    }

    pub(super) fn add_replica(&mut self, ids: (i64, i64), key: &[u8], value: &[u8], findings: &mut Findings) {
        let _ = read(key, value, findings, |record: &Replica| {
            same_id("collectionID", record.collection_id, ids.0)?;
            same_id("ID", record.id, ids.1)
        });
        // One that cannot be read has been reported; it is not missing.
        *self.replicas.entry(ids.0).or_default() += 1;
    }

    pub(super) fn check(
        &self,
        collections: &CollectionCheck,
        indexes: &IndexCheck,
        layout: Option<Layout>,
        findings: &mut Findings,
    ) {
        if layout.is_some_and(|layout| layout.load_type) {
            self.check_form(collections, findings);
        }
        self.check_replicas(findings);
        for record in &self.records {
            if !collections.exists(record.collection) {
                let what = format!("its collection {} does not exist", record.collection);
                findings.error(Invariant::LoadOwnerExists, record.key(), what);
                continue;
            }
            if let Some(partition) = record.partition {
                self.check_partition(record, partition, collections, findings);
            }
            check_indexes(record, collections, indexes, findings);
        }
    }

    /// From 2.3 on: the collection's record tells the load type, and every loaded partition has a record.
    fn check_form(&self, collections: &CollectionCheck, findings: &mut Findings) {
        for id in &self.whole {
            let key = Family::CollectionLoad.key([*id]).to_string();
            findings.error(Invariant::LoadForm, key, "it tells no load type");
        }
        let loaded: BTreeSet<(i64, i64)> =
            self.records.iter().filter_map(|record| Some((record.collection, record.partition?))).collect();
        for (collection, partition) in &loaded {
            let has_record = self.whole.contains(collection)
                || self.load_types.contains_key(collection)
                || self.unreadable.contains(collection);
            if !has_record {
                let key = Family::PartitionLoad.key([*collection, *partition]).to_string();
                findings.error(Invariant::LoadForm, key, "there is no load state of its collection");
            }
        }
        let whole = self.load_types.iter().filter(|(_, load_type)| **load_type == LoadType::LoadCollection as i32);
        for id in whole.map(|(id, _)| *id).chain(self.whole.iter().copied()) {
            let missing: Vec<i64> = collections.partitions_of(id).filter(|one| !loaded.contains(&(id, *one))).collect();
            if !missing.is_empty() {
                let (noun, verb) = if missing.len() == 1 { ("partition", "has") } else { ("partitions", "have") };
                let missing = missing.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
                let key = Family::CollectionLoad.key([id]).to_string();
                let what = format!("it is loaded as a whole, but its {noun} {missing} {verb} no load state");
                findings.error(Invariant::LoadForm, key, what);
            }
        }
    }

    fn check_replicas(&self, findings: &mut Findings) {
        let mut told = BTreeSet::new();
        for record in self.records.iter().filter(|record| told.insert(record.collection)) {
            match self.replicas.get(&record.collection).copied().unwrap_or_default() {
                0 => findings.error(Invariant::ReplicasComplete, record.key(), "its collection has no replica record"),
                found if record.replicas.is_some_and(|replicas| replicas != found) => {
                    let replicas = record.replicas.unwrap_or_default();
                    let what = format!(
                        "it has {}, but {}",
                        many(replicas, "replica", "replicas"),
                        many(found, "replica record", "replica records")
                    );
                    findings.warn(Invariant::ReplicasComplete, record.key(), what);
                }
                _ => {}
            }
        }
    }

    fn check_partition(
        &self,
        record: &CheckedLoad,
        partition: i64,
        collections: &CollectionCheck,
        findings: &mut Findings,
    ) {
        if collections.is_created(record.collection) && !collections.has_partition((record.collection, partition)) {
            findings.error(
                Invariant::LoadOwnerExists,
                record.key(),
                format!("its partition {partition} does not exist"),
            );
        }
        if self.whole.contains(&record.collection) {
            let what = format!("collection {} is loaded as a whole, too", record.collection);
            findings.error(Invariant::LoadOneKind, record.key(), what);
        }
    }
}

fn check_status(key: &[u8], status: i32, replicas: i32, findings: &mut Findings) {
    if ![LoadStatus::Loading as i32, LoadStatus::Loaded as i32].contains(&status) {
        findings.error(
            Invariant::LoadStatus,
            key,
            format!("its status is {status}, neither loading (1) nor loaded (2)"),
        );
    }
    if replicas < 1 {
        findings.error(Invariant::LoadStatus, key, format!("its number of replicas is {replicas}"));
    }
}

fn check_indexes(record: &CheckedLoad, collections: &CollectionCheck, indexes: &IndexCheck, findings: &mut Findings) {
    let Some(named) = &record.indexes else { return };
    if named.is_empty() {
        findings.error(Invariant::LoadIndexesLive, record.key(), "it names no index (field_indexID is empty)");
    }
    for (field, index) in named {
        let what = match indexes.get(record.collection, *index) {
            None => format!("its index {index} on field {field} does not exist"),
            Some(Some(found)) if found.deleted => format!("its index {index} on field {field} is deleted"),
            Some(Some(found)) if found.field != *field => {
                format!("it names index {index} for field {field}, but that is on field {}", found.field)
            }
            _ if collections.is_created(record.collection) && !collections.has_field((record.collection, *field)) => {
                format!("it names field {field}, which the collection does not have")
            }
            _ => continue,
        };
        findings.error(Invariant::LoadIndexesLive, record.key(), what);
    }
}
