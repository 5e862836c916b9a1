//! What a migration does, by name: for the person who reads it afterwards.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// Everything that a conversion does, by name. Each kind of record fills its part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// Collections that get converted, by ID.
    #[serde(serialize_with = "values")]
    #[schemars(with = "Vec<CollectionSummary>")]
    pub collections: BTreeMap<i64, CollectionSummary>,
    /// Names of aliases that get converted, with their collection's ID.
    pub aliases: BTreeMap<String, i64>,
    /// Collections, aliases and partitions that get another name, because the user asks for it.
    pub renamed: Vec<Renamed>,
    /// Aliases that were dropped: their snapshots move along, a record they have not.
    pub dropped_aliases: Vec<String>,
    /// Collections and aliases that had no snapshot and get one, by name.
    pub snapshots_added: Vec<String>,
    /// Segment indexes by state.
    pub segment_indexes: BTreeMap<String, u64>,
    /// Segment indexes handed over for a rebuild, by index.
    pub rebuilt: Vec<Rebuilt>,
    /// What becomes of the lists of files in segment records.
    pub segments: SegmentSummary,
    /// Where each channel goes on reading the message log.
    pub checkpoints: CheckpointSummary,
    /// Load states carried over.
    pub loaded: Vec<Loaded>,
    /// Load states that are not carried over, and partitions that stay released.
    pub released: Vec<Released>,
    /// Replica records that are converted.
    pub replicas: u64,
    /// Repairs: what was not as the target needs it.
    pub repairs: Vec<Repair>,
    /// Records that are left out without being wrong.
    pub left_out: Vec<LeftOut>,
    /// Records of a newer Milvus that stand where 2.1 has one for the same thing.
    pub kept_newer: Vec<LeftOut>,
    /// What newer versions of Milvus cannot do with what is there, and what can be done about it.
    pub limits: Vec<Limit>,
    /// Things a person should know of.
    pub warnings: Vec<String>,
    /// Keys of the 2.1 layout that are removed, by prefix.
    pub removed: BTreeMap<String, u64>,
}

/// In JSON a collection tells its ID itself.
fn values<S: Serializer>(collections: &BTreeMap<i64, CollectionSummary>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(collections.values())
}

/// A collection that gets converted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CollectionSummary {
    /// Its ID.
    pub id: i64,
    /// The name afterwards.
    pub name: String,
    /// Names of its partitions.
    pub partitions: Vec<String>,
    /// Number of fields, system fields among them.
    pub fields: usize,
    /// Its indexes.
    pub indexes: Vec<IndexSummary>,
    /// Number of its segment indexes.
    pub segment_indexes: u64,
}

/// What a new name is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Named {
    /// A collection.
    Collection,
    /// An alias.
    Alias,
    /// A partition.
    Partition,
}

/// A new name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Renamed {
    /// What it is for.
    pub what: Named,
    /// The name in the 2.1 metadata.
    pub old: String,
    /// The name afterwards.
    pub new: String,
}

/// An index that gets converted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct IndexSummary {
    /// Its ID.
    pub id: i64,
    /// Name of its field.
    pub field: String,
    /// The index type, as the parameter `index_type` says.
    pub kind: String,
    /// The metric, as the parameter `metric_type` says; empty for scalar indexes.
    pub metric: String,
    /// The name in the 2.1 metadata.
    pub old_name: String,
    /// The name afterwards.
    pub new_name: String,
    /// Whether the index was being dropped.
    pub deleted: bool,
}

/// Segment indexes of one index that are handed over for a rebuild: the target builds them anew when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rebuilt {
    /// Name of the collection.
    pub collection: String,
    /// Name of the field.
    pub field: String,
    /// Name of the index.
    pub index: String,
    /// Its type.
    pub kind: String,
    /// IDs of the segments.
    pub segments: Vec<i64>,
    /// IDs of their builds.
    pub builds: Vec<i64>,
    /// Why.
    pub reason: String,
}

/// What becomes of the lists of files in segment records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SegmentSummary {
    /// Segments whose lists move to keys of their own.
    pub moved: u64,
    /// Keys that hold these lists afterwards.
    pub log_keys: u64,
    /// Segments whose last statslog is repeated.
    pub padded: u64,
    /// Bytes of bloom filters that are loaded more than once because of that.
    pub padded_bytes: i64,
    /// Living segments that have binlogs and no statslogs, or the reverse, by ID: where the target counts them, it does not save such a
    /// segment, so that a delete in it ends in a crash loop.
    pub without_statslogs: Vec<i64>,
    /// Segments whose binlogs get their number of rows from what 2.1's compaction does.
    pub rows_known: u64,
    /// Segments whose rows are shared out in proportion to the sizes of their binlogs, by ID.
    pub rows_shared: Vec<i64>,
}

/// Where channels go on reading the message log, by where that is known from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CheckpointSummary {
    /// From the earliest position of a living segment.
    pub from_segments: u64,
    /// Those of them that are offsets in Kafka, whose retention may have passed them.
    pub kafka_offsets: u64,
    /// When the message at the oldest of these offsets was written: RFC 3339, UTC, to the millisecond.
    pub oldest_kafka_offset: Option<String>,
    /// From the start position of the collection.
    pub from_collection: u64,
    /// From the first message left in Kafka, in the stead of the collection's start.
    pub from_first_left: u64,
    /// Channels that get none.
    pub unknown: u64,
    /// Channels without any segment position: what their collection was given and 2.1 never flushed comes from the message log.
    pub never_flushed: Vec<String>,
    /// Channels of which every segment was dropped.
    pub only_dropped: Vec<String>,
}

impl CheckpointSummary {
    /// Number of checkpoints that are written.
    pub fn written(&self) -> u64 {
        self.from_segments + self.from_collection + self.from_first_left
    }
}

/// Something that worked with 2.1 and does not with a newer version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Loaded {
    /// Name of the collection.
    pub collection: String,
    /// Names of the loaded partitions; empty where the whole collection is loaded.
    pub partitions: Vec<String>,
    /// Number of replicas.
    pub replicas: i32,
}

/// A load state that is not carried over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Released {
    /// Name of the collection, or its ID where it has none.
    pub collection: String,
    /// Names or IDs of the partitions concerned; empty for the whole collection.
    pub partitions: Vec<String>,
    /// Why.
    pub reason: String,
}

/// Something that was not as the target needs it, and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Repair {
    /// The kind of repair.
    pub kind: RepairKind,
    /// The key.
    pub key: String,
    /// What was wrong, and what it becomes.
    pub what: String,
}

/// The kinds of repairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RepairKind {
    /// A segment below the index threshold gets a build ID of its own and its real number of rows.
    BuildId,
    /// An index name that another index of the collection has.
    IndexName,
    /// A replica number of 0.
    ReplicaNumber,
    /// A schema that the record lost, taken from an older snapshot.
    LostSchema,
}

/// A record that is left out without being wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct LeftOut {
    /// The key.
    pub key: String,
    /// Why.
    pub why: String,
}

impl LeftOut {
    /// A record and why it is left out.
    pub fn new(key: impl ToString, why: impl Into<String>) -> Self {
        Self { key: key.to_string(), why: why.into() }
    }
}

impl Report {
    /// Takes in what another kind of record tells.
    pub fn append(&mut self, other: Self) {
        for (id, other) in other.collections {
            self.collections.entry(id).or_default().append(other);
        }
        self.aliases.extend(other.aliases);
        self.renamed.extend(other.renamed);
        self.dropped_aliases.extend(other.dropped_aliases);
        self.snapshots_added.extend(other.snapshots_added);
        for (state, number) in other.segment_indexes {
            *self.segment_indexes.entry(state).or_default() += number;
        }
        self.rebuilt.extend(other.rebuilt);
        self.segments.append(other.segments);
        self.checkpoints.append(other.checkpoints);
        self.loaded.extend(other.loaded);
        self.released.extend(other.released);
        self.replicas += other.replicas;
        self.repairs.extend(other.repairs);
        self.left_out.extend(other.left_out);
        self.kept_newer.extend(other.kept_newer);
        self.limits.extend(other.limits);
        self.warnings.extend(other.warnings);
        self.removed.extend(other.removed);
    }

    /// Brings the lists into an order that does not depend on how they came about.
    pub fn sort(&mut self) {
        self.left_out.sort();
        self.kept_newer.sort();
        self.repairs.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
        self.released.sort_by(|a, b| (&a.collection, &a.partitions).cmp(&(&b.collection, &b.partitions)));
        self.loaded.sort_by(|a, b| a.collection.cmp(&b.collection));
        self.rebuilt.sort_by(|a, b| (&a.collection, &a.index).cmp(&(&b.collection, &b.index)));
        self.renamed.sort();
        self.dropped_aliases.sort();
        self.snapshots_added.sort();
        self.limits.sort();
        self.warnings.sort();
    }

    /// Number of partitions of all collections.
    pub fn partitions(&self) -> usize {
        self.collections.values().map(|collection| collection.partitions.len()).sum()
    }

    /// Number of fields of all collections.
    pub fn fields(&self) -> usize {
        self.collections.values().map(|collection| collection.fields).sum()
    }

    /// Number of indexes of all collections.
    pub fn indexes(&self) -> usize {
        self.collections.values().map(|collection| collection.indexes.len()).sum()
    }
}

impl CollectionSummary {
    /// Each kind of record tells its part.
    fn append(&mut self, other: Self) {
        if !other.name.is_empty() {
            self.id = other.id;
            self.name = other.name;
            self.partitions = other.partitions;
            self.fields = other.fields;
        }
        self.indexes.extend(other.indexes);
        self.segment_indexes += other.segment_indexes;
    }
}

impl SegmentSummary {
    fn append(&mut self, other: Self) {
        self.moved += other.moved;
        self.log_keys += other.log_keys;
        self.padded += other.padded;
        self.padded_bytes += other.padded_bytes;
        self.without_statslogs.extend(other.without_statslogs);
        self.rows_known += other.rows_known;
        self.rows_shared.extend(other.rows_shared);
    }
}

impl CheckpointSummary {
    fn append(&mut self, other: Self) {
        self.from_segments += other.from_segments;
        self.kafka_offsets += other.kafka_offsets;
        self.oldest_kafka_offset = self.oldest_kafka_offset.take().into_iter().chain(other.oldest_kafka_offset).min();
        self.from_collection += other.from_collection;
        self.from_first_left += other.from_first_left;
        self.unknown += other.unknown;
        self.never_flushed.extend(other.never_flushed);
        self.only_dropped.extend(other.only_dropped);
    }
}
