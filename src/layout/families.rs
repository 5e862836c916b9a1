//! The one table of key families: what a key under the meta root is, which layout has it, which message it holds.
//!
//! Parsing, building, counting, sorting and printing follow from it. Source: docs/layouts.md.

/// The database that everything of 2.1 belongs to from 2.2.9 on (`DefaultDBID` in Milvus's internal/util).
pub const DEFAULT_DATABASE: i64 = 1;

/// A kind of key, named as Milvus names what it holds. `Source…` families are those that only 2.1 reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the table below says what each is")]
pub enum Family {
    Collection,
    SourceAlias,
    SourceIndex,
    SourceSegmentIndex,
    DdOperation,
    DdMsgSend,
    Partition,
    Field,
    Alias,
    DatabaseCollection,
    DatabaseAlias,
    Build,
    SourceLoadState,
    SourceReplica,
    Segment,
    Binlog,
    Statslog,
    Deltalog,
    FieldIndex,
    SegmentIndex,
    CollectionLoad,
    PartitionLoad,
    Replica,
    ChannelCheckpoint,
    /// `session/…`: components, the counter `session/id`, the migration lock. Neither backed up nor compared.
    Session,
    /// `meta-migration/history`: what this tool did to the metadata. Neither backed up nor compared.
    History,
    /// Keys that keep a 2.1 from starting on the new layout (docs/layouts.md, tripwires).
    Tripwire,
    /// None of ours: stays as it is, byte for byte.
    Other,
}

/// Which layout a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Only 2.1 reads it; it goes.
    Source,
    /// Only 2.2 and later read it.
    Target,
    /// Both read it, in different forms: collection and segment records.
    Both,
    /// A migration does not change it.
    Neither,
}

/// A part of a key behind its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A decimal int64 of this name.
    Id(&'static str),
    /// Text of this name, to the end of the key.
    Name(&'static str),
}
use Part::{Id, Name};

/// A row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) family: Family,
    /// With its trailing slash; the whole key where there are no parts.
    pub(super) prefix: &'static str,
    pub(super) parts: &'static [Part],
    /// The protobuf message in `proto/`, without `layout.`; empty where a value is no message.
    pub(super) message: &'static str,
    /// Whether the root coordinator keeps snapshots of it.
    pub(super) has_snapshots: bool,
    pub(super) side: Side,
}

const fn row(
    family: Family,
    prefix: &'static str,
    parts: &'static [Part],
    message: &'static str,
    has_snapshots: bool,
    side: Side,
) -> Row {
    Row { family, prefix, parts, message, has_snapshots, side }
}

const COLLECTION_ID: Part = Id("collectionID");
const PARTITION_ID: Part = Id("partitionID");
const SEGMENT_ID: Part = Id("segmentID");
const INDEX_ID: Part = Id("indexID");
const FIELD_ID: Part = Id("fieldID");
const SEGMENT_PARTS: [Part; 3] = [COLLECTION_ID, PARTITION_ID, SEGMENT_ID];
const LOG_PARTS: [Part; 4] = [COLLECTION_ID, PARTITION_ID, SEGMENT_ID, FIELD_ID];

#[rustfmt::skip]
pub(super) const TABLE: [Row; 24] = [
    row(Family::Collection, "root-coord/collection/", &[COLLECTION_ID], "common.CollectionInfo", true, Side::Both),
    row(Family::SourceAlias, "root-coord/collection-alias/", &[Name("alias")], "common.CollectionInfo", true, Side::Source),
    row(Family::SourceIndex, "root-coord/index/", &[COLLECTION_ID, INDEX_ID], "source.IndexInfo", true, Side::Source),
    row(Family::SourceSegmentIndex, "root-coord/segment-index/", &[COLLECTION_ID, INDEX_ID, PARTITION_ID, SEGMENT_ID], "source.SegmentIndexInfo", true, Side::Source),
    row(Family::DdOperation, "root-coord/dd-operation", &[], "", true, Side::Source),
    row(Family::DdMsgSend, "root-coord/dd-msg-send", &[], "", true, Side::Source),
    row(Family::Partition, "root-coord/partitions/", &[COLLECTION_ID, PARTITION_ID], "target.PartitionInfo", true, Side::Target),
    row(Family::Field, "root-coord/fields/", &[COLLECTION_ID, FIELD_ID], "common.FieldSchema", true, Side::Target),
    row(Family::Alias, "root-coord/aliases/", &[Name("alias")], "target.AliasInfo", true, Side::Target),
    row(Family::DatabaseCollection, "root-coord/database/collection-info/", &[Id("databaseID"), COLLECTION_ID], "common.CollectionInfo", true, Side::Target),
    row(Family::DatabaseAlias, "root-coord/database/aliases/", &[Id("databaseID"), Name("alias")], "target.AliasInfo", true, Side::Target),
    row(Family::Build, "indexes/", &[Id("buildID")], "source.IndexMeta", false, Side::Source),
    row(Family::SourceLoadState, "queryCoord-collectionMeta/", &[COLLECTION_ID], "source.LoadState", false, Side::Neither),
    row(Family::SourceReplica, "queryCoord-ReplicaMeta/", &[Id("replicaID")], "source.ReplicaInfo", false, Side::Source),
    row(Family::Segment, "datacoord-meta/s/", &SEGMENT_PARTS, "common.SegmentInfo", false, Side::Both),
    row(Family::Binlog, "datacoord-meta/binlog/", &LOG_PARTS, "common.FieldBinlog", false, Side::Target),
    row(Family::Statslog, "datacoord-meta/statslog/", &LOG_PARTS, "common.FieldBinlog", false, Side::Target),
    row(Family::Deltalog, "datacoord-meta/deltalog/", &LOG_PARTS, "common.FieldBinlog", false, Side::Target),
    row(Family::FieldIndex, "field-index/", &[COLLECTION_ID, INDEX_ID], "target.FieldIndex", false, Side::Target),
    row(Family::SegmentIndex, "segment-index/", &[COLLECTION_ID, PARTITION_ID, SEGMENT_ID, Id("buildID")], "target.SegmentIndex", false, Side::Target),
    row(Family::CollectionLoad, "querycoord-collection-loadinfo/", &[COLLECTION_ID], "target.CollectionLoadInfo", false, Side::Target),
    row(Family::PartitionLoad, "querycoord-partition-loadinfo/", &[COLLECTION_ID, PARTITION_ID], "target.PartitionLoadInfo", false, Side::Target),
    row(Family::Replica, "querycoord-replica/", &[COLLECTION_ID, Id("replicaID")], "target.Replica", false, Side::Target),
    row(Family::ChannelCheckpoint, "datacoord-meta/channel-cp/", &[Name("virtual channel")], "common.MsgPosition", false, Side::Target),
];

impl Family {
    /// All families with a row in the table.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.family)
    }

    pub(super) fn row(self) -> Option<&'static Row> {
        // The families come in the order of the table; those behind its end have no row.
        TABLE.get(self as usize)
    }

    /// Which layout its keys belong to.
    pub fn side(self) -> Side {
        self.row().map_or(Side::Neither, |row| row.side)
    }

    /// The prefix with its slash (the whole key of `root-coord/dd-…`); empty for what has no row.
    pub fn prefix(self) -> &'static str {
        self.row().map_or("", |row| row.prefix)
    }

    /// The full name of the protobuf message in `proto/`, if a value is one.
    pub fn message(self) -> Option<String> {
        self.row().filter(|row| !row.message.is_empty()).map(|row| format!("layout.{}", row.message))
    }

    /// Whether the root coordinator keeps snapshots of such keys.
    pub fn has_snapshots(self) -> bool {
        self.row().is_some_and(|row| row.has_snapshots)
    }

    /// Whether there are as many of these keys as segments, or more: millions in a large cluster.
    pub fn is_bulk(self) -> bool {
        use Family::{Binlog, Build, Deltalog, Segment, SegmentIndex, SourceSegmentIndex, Statslog};
        matches!(self, Build | SourceSegmentIndex | Segment | Binlog | Statslog | Deltalog | SegmentIndex)
    }
}

impl Row {
    /// Whether a plain key has its prefix, or is its one key.
    pub(super) fn is_of(&self, key: &[u8]) -> bool {
        match self.parts {
            [] => key == self.prefix.as_bytes(),
            _ => key.starts_with(self.prefix.as_bytes()),
        }
    }

    /// `root-coord/index/<collectionID>/<indexID>`
    pub(super) fn form(&self) -> String {
        let parts: Vec<String> = self.parts.iter().map(|(Id(name) | Name(name))| format!("<{name}>")).collect();
        format!("{}{}", self.prefix, parts.join("/"))
    }
}
