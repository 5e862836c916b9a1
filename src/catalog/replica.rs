//! Replicas: the records of 2.1 become those of newer versions, without the nodes of 2.1 (docs/layouts.md, rule 5).
//!
//! Left in place they come back at every start, and after a release and load `get_replicas` fails for ever (seen on 2.2.16 and
//! 2.3.5).

use std::collections::BTreeMap;

use prost::Message;

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
            let record = target::Replica { id: *id, collection_id: collection, ..target::Replica::default() };
            writing.put(Family::Replica.key([collection, *id]), record.encode_to_vec());
            writing.report.replicas += 1;
        }
    }
}
