//! Whether a backup is of the Milvus that is here, and what is here of a Milvus at all: the keys below the meta root become those of the
//! backup, whatever they were.

use anyhow::Result;

use super::metadata::Reading;
use super::refusal;
use super::rollback::Restoring;
use super::roots::meta_roots_below;
use super::way_back::{other_cluster, record_of};
use crate::amounts::{many, thousands};
use crate::history::History;
use crate::outcome::rolled_back::CollectionChanges;
use crate::outcome::{Next, Step};

impl Restoring<'_> {
    /// Refuses, unless it is said, what is not of this Milvus; and never writes over what is no metadata of Milvus.
    pub(super) async fn is_of_this_milvus(
        &self,
        reading: &Reading,
        changes: &CollectionChanges,
        recorded: Option<&History>,
    ) -> Result<()> {
        // What an interrupted rollback of ours was half-way through is that of this Milvus.
        if recorded.is_none() {
            self.is_a_meta_root(reading).await?;
        }
        let what = other_cluster(self.backup, reading.cluster_id).or_else(|| self.other_collections(changes, recorded));
        match what {
            Some(what) if !self.options.other_cluster => {
                let next = "correct the etcd endpoints or the backup file; if this is the etcd that is meant, say so with --other-cluster";
                Err(refusal(what, Next::new(Step::Correct, next)))
            }
            Some(what) => {
                self.context.console.warn(&format!("{what}; going on, as --other-cluster says"));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// etcd makes its cluster ID from the names and addresses of its members, so two that were started alike have the same one.
    /// Collection IDs are timestamps: no two Milvus have one in common.
    fn other_collections(&self, changes: &CollectionChanges, recorded: Option<&History>) -> Option<String> {
        let on_record = recorded.and_then(|history| history.backup.as_ref()).and_then(|backup| backup.sha256.as_ref());
        let is_on_record = on_record.is_some() && on_record == record_of(self.backup).sha256.as_ref();
        let is_another = changes.stay.is_empty() && !changes.go.is_empty() && !is_on_record;
        is_another.then(|| {
            let (file, here) = (self.backup.path.display(), many(changes.go.len(), "collection", "collections"));
            format!("{file} has none of the {here} here: it is of another Milvus, or of another time")
        })
    }

    /// A root path or sub path that is mistyped may lie above the metadata of a Milvus, or beside it where its oracles are.
    async fn is_a_meta_root(&self, reading: &Reading) -> Result<()> {
        let keys = reading.records.keys();
        if keys == 0 {
            return Ok(());
        }
        let root = &self.context.config.meta_root;
        let refuse = |what: String| {
            let next = "correct etcd.rootPath and etcd.metaSubPath; if what is there is to go, delete it first with `etcdctl del`";
            Err(refusal(what, Next::new(Step::Correct, next)))
        };
        let below = meta_roots_below(self.etcd, &self.context.root).await?;
        if let Some(below) = below.first() {
            return refuse(format!(
                "{root} is no meta root: that of a Milvus lies below it, {below}, and would be deleted"
            ));
        }
        if !reading.records.are_of_milvus() {
            let there = format!("{} there, which would be deleted", thousands(keys));
            return refuse(format!(
                "{root} is no meta root: none of the keys below it is of Milvus's metadata ({there})"
            ));
        }
        Ok(())
    }
}
