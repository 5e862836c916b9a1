//! What a migration does, by name: for the person who reads it afterwards.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::layout::Found;

/// Everything that a plan does, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The layout that was found.
    pub found: Option<Found>,
    /// Collections that get converted.
    pub collections: Vec<CollectionSummary>,
    /// Names of aliases that get converted, with their collection's ID.
    pub aliases: BTreeMap<String, i64>,
    /// Collections that get another name, because the user asks for it.
    pub renamed_collections: Vec<Renamed>,
    /// Aliases that get another name, because the user asks for it.
    pub renamed_aliases: Vec<Renamed>,
    /// Aliases that were dropped: their snapshots move along, a record they have not.
    pub dropped_aliases: Vec<String>,
    /// Segment indexes by state.
    pub segment_indexes: BTreeMap<String, u64>,
    /// Segment indexes handed over for a rebuild, by index.
    pub rebuilt: Vec<Rebuilt>,
    /// Number of channel checkpoints that are written.
    pub checkpoints: u64,
    /// Load states carried over.
    pub loaded: Vec<Loaded>,
    /// Load states that are not carried over.
    pub released: Vec<Released>,
    /// Repairs: what was not as 2.2 needs it.
    pub repairs: Vec<Repair>,
    /// Records that are left out without being wrong.
    pub left_out: Vec<LeftOut>,
    /// What newer versions of Milvus cannot do with what is there, and what can be done about it.
    pub limits: Vec<Limit>,
    /// Things a person should know of.
    pub warnings: Vec<String>,
    /// Keys of the 2.1 layout that are removed, by prefix.
    pub removed: BTreeMap<String, u64>,
}

/// A collection that gets converted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CollectionSummary {
    pub id: i64,
    /// The name afterwards.
    pub name: String,
    pub partitions: Vec<String>,
    pub fields: usize,
    pub indexes: Vec<IndexSummary>,
    pub segment_indexes: u64,
}

/// A new name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Renamed {
    pub old: String,
    pub new: String,
}

/// An index that gets converted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IndexSummary {
    pub id: i64,
    pub field: String,
    /// The index type, as the parameter `index_type` says.
    pub kind: String,
    /// The metric, as the parameter `metric_type` says; empty for scalar indexes.
    pub metric: String,
    pub old_name: String,
    pub new_name: String,
    /// Whether the index was being dropped.
    pub deleted: bool,
}

/// Segment indexes of one index that are handed over for a rebuild: 2.2 builds them anew when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    pub collection: String,
    pub field: String,
    pub index: String,
    pub kind: String,
    pub segments: Vec<i64>,
    pub reason: String,
}

/// Something that worked with 2.1 and does not with a newer version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Limit {
    /// Versions of Milvus that have this limit, in words.
    pub versions: &'static str,
    /// The thing concerned, by name.
    pub what: String,
    /// What will happen.
    pub effect: &'static str,
    /// What can be done.
    pub remedy: String,
}

/// A load state that is carried over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loaded {
    pub collection: String,
    /// Names of the loaded partitions; empty where the whole collection is loaded.
    pub partitions: Vec<String>,
    pub replicas: i32,
}

/// A load state that is not carried over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Released {
    pub collection: String,
    /// Names or IDs of the partitions concerned; empty for the whole collection.
    pub partitions: Vec<String>,
    pub reason: String,
}

/// Something that was not as 2.2 needs it, and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repair {
    pub kind: RepairKind,
    pub key: String,
    pub what: String,
}

/// The kinds of repairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepairKind {
    /// A segment below the index threshold gets a build ID of its own and its real number of rows.
    BuildId,
    /// An index name that another index of the collection has.
    IndexName,
    /// A replica number of 0.
    ReplicaNumber,
}

/// A record that is left out without being wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    pub key: String,
    pub why: String,
}

impl Report {
    /// Notes a record that is left out without being wrong.
    pub(super) fn leave_out(&mut self, key: impl Into<String>, why: &str) {
        self.left_out.push(LeftOut { key: key.into(), why: why.to_owned() });
    }

    /// Notes a repair.
    pub(super) fn repair(&mut self, kind: RepairKind, key: impl Into<String>, what: impl Into<String>) {
        self.repairs.push(Repair { kind, key: key.into(), what: what.into() });
    }

    /// Brings the lists into an order that does not depend on how they came about.
    pub(super) fn sort(&mut self) {
        self.left_out.sort_by(|a, b| a.key.cmp(&b.key));
        self.repairs.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
        self.released.sort_by(|a, b| (&a.collection, &a.partitions).cmp(&(&b.collection, &b.partitions)));
        self.loaded.sort_by(|a, b| a.collection.cmp(&b.collection));
        self.rebuilt.sort_by(|a, b| (&a.collection, &a.index).cmp(&(&b.collection, &b.index)));
        self.renamed_collections.sort();
        self.renamed_aliases.sort();
        self.dropped_aliases.sort();
        self.warnings.sort();
    }

    /// Number of partitions of all collections.
    pub fn partitions(&self) -> usize {
        self.collections.iter().map(|collection| collection.partitions.len()).sum()
    }

    /// Number of fields of all collections.
    pub fn fields(&self) -> usize {
        self.collections.iter().map(|collection| collection.fields).sum()
    }

    /// Number of indexes of all collections.
    pub fn indexes(&self) -> usize {
        self.collections.iter().map(|collection| collection.indexes.len()).sum()
    }
}
