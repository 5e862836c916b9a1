//! Replicas: the records of 2.1 become those of newer versions, without the nodes of 2.1 (docs/layouts.md, rule 5).
//!
//! Left in place they come back at every start, and after a release and load `get_replicas` fails for ever (seen on 2.2.16 and
//! 2.3.5).

use std::collections::{BTreeMap, BTreeSet};

use super::problem::Problem;
use super::records::{Records, Writing, decode, same_id};
use crate::layout::families::Family;
use crate::layout::messages::{source, target};

/// IDs of the replicas of each collection.
#[derive(Debug, Default)]
pub struct Replicas(BTreeMap<i64, Vec<i64>>);

impl Replicas {
    /// Reads the replica records of 2.1.
    pub fn read(records: &Records, writing: &mut Writing) -> Self {
        let mut replicas = Self::default();
        for (key, record) in records.of(Family::SourceReplica) {
            let [id] = key.ids();
            let info = decode::<source::ReplicaInfo>(&record.value)
                .and_then(|info| same_id("replicaID", info.replica_id, id).map(|()| info));
            match info {
                Ok(info) => replicas.0.entry(info.collection_id).or_default().push(id),
                Err(what) => {
                    let meaning = "its collection would have one replica less";
                    writing.problems.push(Problem::new(&key, what, meaning));
                }
            }
        }
        replicas
    }

    /// Whether a collection has any.
    pub fn has(&self, collection: i64) -> bool {
        self.0.contains_key(&collection)
    }

    /// Writes those of a collection that stays loaded.
    pub fn write(&self, writing: &mut Writing, collection: i64) {
        for id in self.0.get(&collection).into_iter().flatten() {
            write_one(writing, collection, *id);
        }
    }

    /// Writes those that a collection lacks, which a newer Milvus, or another tool, has as loaded with so many replicas: newer
    /// versions keep a replica in the form of 2.1 until they change it (`querycoordv2/meta/store.go`).
    pub fn complete(&self, writing: &mut Writing, records: &Records, collection: i64, number: i32) {
        let of_newer = records.of(Family::Replica).map(|(key, _)| key.ids::<2>());
        let there: BTreeSet<i64> = of_newer.filter(|[owner, _]| *owner == collection).map(|[_, id]| id).collect();
        let missing = usize::try_from(number).unwrap_or_default().saturating_sub(there.len());
        let of_source = self.0.get(&collection).into_iter().flatten().filter(|id| !there.contains(id));
        for id in of_source.take(missing) {
            write_one(writing, collection, *id);
        }
    }
}

fn write_one(writing: &mut Writing, collection: i64, id: i64) {
    let record = target::Replica { id, collection_id: collection, ..target::Replica::default() };
    writing.put_message(&Family::Replica.key([collection, id]), &record);
    writing.report.replicas += 1;
}
