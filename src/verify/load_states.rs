//! What is loaded.

use std::collections::{BTreeMap, BTreeSet};

use super::collections::Collections;
use super::indexes::Indexes;
use super::invariant::{Findings, Invariant};
use super::read;
use crate::layout::keys::Key;
use crate::layout::messages::target::{CollectionLoadInfo, LoadStatus, PartitionLoadInfo};
use crate::layout::wire::unknown_fields;
use crate::migrate::inventory::same_id;

/// A load state, reduced to what other records are held against.
#[derive(Debug)]
struct Kept {
    collection: i64,
    partition: Option<i64>,
    /// Index IDs by field ID; `None` if the value cannot be read.
    indexes: Option<BTreeMap<i64, i64>>,
}

/// All load states.
#[derive(Debug, Default)]
pub(super) struct LoadStates {
    records: Vec<Kept>,
    /// Collections that are loaded as a whole, as 2.2 writes it.
    whole: BTreeSet<i64>,
}

impl Kept {
    fn key(&self) -> String {
        match self.partition {
            None => Key::CollectionLoad(self.collection),
            Some(partition) => Key::PartitionLoad { collection: self.collection, partition },
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
        // From 2.2.9 on there is a record of the collection and one of each partition; a further field tells such records.
        if unknown_fields(value, &[1, 2, 3, 4, 5]).is_ok_and(|unknown| unknown.is_empty()) {
            self.whole.insert(collection);
        }
        self.records.push(Kept { collection, partition: None, indexes: record.map(|record| record.field_index_id) });
    }

    pub(super) fn add_partition(&mut self, ids: (i64, i64), key: &[u8], value: &[u8], findings: &mut Findings) {
        let record = read(key, value, findings, |record: &PartitionLoadInfo| {
            same_id("collectionID", record.collection_id, ids.0)?;
            same_id("partitionID", record.partition_id, ids.1)
        });
        if let Some(record) = &record {
            check_status(key, record.status, record.replica_number, findings);
        }
        let indexes = record.map(|record| record.field_index_id);
        self.records.push(Kept { collection: ids.0, partition: Some(ids.1), indexes });
    }

    pub(super) fn check(&self, collections: &Collections, indexes: &Indexes, findings: &mut Findings) {
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

    fn check_partition(&self, record: &Kept, partition: i64, collections: &Collections, findings: &mut Findings) {
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

fn check_indexes(record: &Kept, collections: &Collections, indexes: &Indexes, findings: &mut Findings) {
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
