//! What a starting Milvus of the target version relies on, by name.

use std::fmt;

use serde::Serialize;

/// Something that holds in a complete, consistent layout of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each has its sentence in `facts`")]
pub enum Invariant {
    Migrated,
    TargetForm,
    Tripwires,
    SnapshotForEverything,
    NoSourceKeys,
    KeysParse,
    ValuesDecode,
    IdsAgree,
    CollectionFields,
    CollectionPrimaryKey,
    CollectionPartitions,
    NothingEmbedded,
    NewestSnapshotAgrees,
    SnapshotTimes,
    OlderSnapshotsSelfContained,
    TombstonesWithSnapshot,
    OwnerExists,
    AliasTargetExists,
    AliasNameFree,
    CollectionNamesUnique,
    PartitionNamesUnique,
    IndexFieldExists,
    IndexNamesUnique,
    IndexParamsUnfolded,
    SegmentIndexOwnerExists,
    BuildIdsUnique,
    SegmentIndexState,
    SegmentIndexFiles,
    SegmentIndexRows,
    LoadOwnerExists,
    LoadStatus,
    LoadIndexesLive,
    LoadOneKind,
    LoadForm,
    ReplicasComplete,
    SegmentsSeparate,
    LogIds,
    BinlogsComplete,
    StatslogsComplete,
    RowsCounted,
    CheckpointPresent,
}

/// Stable name, the sentence that holds, and what it means where it does not.
type InvariantFacts = (&'static str, &'static str, &'static str);

const RESTORE: &str = "put the record right by hand, or go back with `rollback` and migrate again";

impl Invariant {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 41] = [
        Self::Migrated,
        Self::TargetForm,
        Self::Tripwires,
        Self::SnapshotForEverything,
        Self::NoSourceKeys,
        Self::KeysParse,
        Self::ValuesDecode,
        Self::IdsAgree,
        Self::CollectionFields,
        Self::CollectionPrimaryKey,
        Self::CollectionPartitions,
        Self::NothingEmbedded,
        Self::NewestSnapshotAgrees,
        Self::SnapshotTimes,
        Self::OlderSnapshotsSelfContained,
        Self::TombstonesWithSnapshot,
        Self::OwnerExists,
        Self::AliasTargetExists,
        Self::AliasNameFree,
        Self::CollectionNamesUnique,
        Self::PartitionNamesUnique,
        Self::IndexFieldExists,
        Self::IndexNamesUnique,
        Self::IndexParamsUnfolded,
        Self::SegmentIndexOwnerExists,
        Self::BuildIdsUnique,
        Self::SegmentIndexState,
        Self::SegmentIndexFiles,
        Self::SegmentIndexRows,
        Self::LoadOwnerExists,
        Self::LoadStatus,
        Self::LoadIndexesLive,
        Self::LoadOneKind,
        Self::LoadForm,
        Self::ReplicasComplete,
        Self::SegmentsSeparate,
        Self::LogIds,
        Self::BinlogsComplete,
        Self::StatslogsComplete,
        Self::RowsCounted,
        Self::CheckpointPresent,
    ];

    /// The stable name, for scripts.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// What holds.
    pub fn sentence(self) -> &'static str {
        self.facts().1
    }

    /// What it means where it does not hold, and what to do.
    pub fn meaning(self) -> &'static str {
        self.facts().2
    }

    fn facts(self) -> InvariantFacts {
        match self {
            Self::Migrated | Self::NoSourceKeys | Self::TargetForm | Self::Tripwires => self.layout_facts(),
            Self::KeysParse | Self::ValuesDecode | Self::IdsAgree => self.record_facts(),
            Self::CollectionFields
            | Self::CollectionPrimaryKey
            | Self::CollectionPartitions
            | Self::NothingEmbedded
            | Self::OwnerExists
            | Self::CollectionNamesUnique
            | Self::PartitionNamesUnique
            | Self::AliasTargetExists
            | Self::AliasNameFree => self.collection_facts(),
            Self::SnapshotForEverything
            | Self::NewestSnapshotAgrees
            | Self::SnapshotTimes
            | Self::OlderSnapshotsSelfContained
            | Self::TombstonesWithSnapshot => self.snapshot_facts(),
            Self::IndexFieldExists
            | Self::IndexNamesUnique
            | Self::IndexParamsUnfolded
            | Self::SegmentIndexOwnerExists
            | Self::BuildIdsUnique
            | Self::SegmentIndexState
            | Self::SegmentIndexFiles
            | Self::SegmentIndexRows => self.index_facts(),
            Self::LoadOwnerExists
            | Self::LoadStatus
            | Self::LoadIndexesLive
            | Self::LoadOneKind
            | Self::LoadForm
            | Self::ReplicasComplete => self.load_facts(),
            Self::SegmentsSeparate
            | Self::LogIds
            | Self::StatslogsComplete
            | Self::BinlogsComplete
            | Self::RowsCounted
            | Self::CheckpointPresent => self.data_facts(),
        }
    }

    fn layout_facts(self) -> InvariantFacts {
        match self {
            Self::TargetForm => (
                "target-form",
                "collections and aliases are where the target version writes them itself",
                "later changes are lost at restarts: go back with `rollback`, and run again for this target",
            ),
            Self::Tripwires => (
                "tripwires",
                "the keys are there that keep a Milvus 2.1 from starting on this",
                "a 2.1 that is started on it by mistake deletes files: do not start one",
            ),
            Self::Migrated => {
                ("migrated", "the metadata is wholly in the new layout", "no newer Milvus must be started on it")
            }
            _ => (
                "no-source-keys",
                "no key is left that only the 2.1 layout has",
                "newer versions do not look at them, or take them for their own; `run` again removes what an interrupted run left",
            ),
        }
    }

    fn record_facts(self) -> InvariantFacts {
        match self {
            Self::KeysParse => (
                "keys-parse",
                "every key has the form of its kind",
                "Milvus may fail to start: remove the key, or go back with `rollback`",
            ),
            Self::ValuesDecode => (
                "values-decode",
                "every value is a message of its kind",
                "Milvus fails to start, or the record is lost: put the value right by hand, or go back with `rollback`",
            ),
            _ => ("ids-agree", "the IDs in a value are those in its key", RESTORE),
        }
    }

    fn collection_facts(self) -> InvariantFacts {
        match self {
            Self::CollectionFields => (
                "collection-fields",
                "every collection has fields",
                "the schema is lost: go back with `rollback` and migrate again",
            ),
            Self::CollectionPrimaryKey => (
                "collection-primary-key",
                "every collection has exactly one primary key",
                "Milvus says \"Schema must have a primary key field\": go back with `rollback` and migrate again",
            ),
            Self::CollectionPartitions => (
                "collection-partitions",
                "every collection has partitions",
                "no data of it can be found: go back with `rollback` and migrate again",
            ),
            Self::NothingEmbedded => (
                "nothing-embedded",
                "no collection record and no newest snapshot embeds fields, partitions or field indexes",
                "Milvus loses what is embedded when it next writes the record (a rename, a property, the start of 2.4.23): go back with `rollback`, if a backup from before exists, and migrate with this tool",
            ),
            Self::OwnerExists => (
                "owner-exists",
                "every field and partition belongs to a collection that exists",
                "nobody uses the record: it can be removed by hand",
            ),
            Self::CollectionNamesUnique => {
                ("collection-names-unique", "no two collections share a name", "Milvus finds only one of them by name")
            }
            Self::PartitionNamesUnique => (
                "partition-names-unique",
                "no two partitions of a collection share a name",
                "Milvus finds only one of them by name",
            ),
            Self::AliasTargetExists => (
                "alias-target-exists",
                "every alias leads to a collection that exists",
                "2.1 allowed such an alias, too: drop it if nobody waits for its collection",
            ),
            _ => (
                "alias-name-free",
                "no alias has the name of a collection",
                "one hides the other: drop or rename one of them",
            ),
        }
    }

    fn snapshot_facts(self) -> InvariantFacts {
        match self {
            Self::SnapshotForEverything => (
                "snapshot-for-everything",
                "every record of the root coordinator has a snapshot",
                "Milvus 2.2.3 to 2.4.13 do not see the record at all: go back with `rollback` and migrate again",
            ),
            Self::NewestSnapshotAgrees => (
                "newest-snapshot-agrees",
                "the newest snapshot of a record is the same as the record",
                "Milvus reads now the one and now the other: put the snapshot right by hand, or go back with `rollback` and migrate again",
            ),
            Self::SnapshotTimes => (
                "snapshot-times",
                "where a collection has snapshots, its fields and partitions have some at least as old as its newest one",
                "a read at that time finds the collection without them, and the next write of the collection loses them: go back with `rollback` and migrate again",
            ),
            Self::OlderSnapshotsSelfContained => (
                "older-snapshots-self-contained",
                "older snapshots of a collection have their fields and partitions, embedded or in snapshots as old, and no field indexes",
                "only reads at that time are affected: nothing that runs now",
            ),
            _ => (
                "tombstones-with-snapshot",
                "every record that says \"dropped\" has a snapshot",
                "the loader of Milvus 2.2 fails on it: remove the key by hand",
            ),
        }
    }

    fn index_facts(self) -> InvariantFacts {
        match self {
            Self::IndexFieldExists => (
                "index-field-exists",
                "every index is on a field of a collection that exists",
                "the index is lost: drop and make it again",
            ),
            Self::IndexNamesUnique => (
                "index-names-unique",
                "no two live indexes of a collection share a name",
                "Milvus drops both together: never drop one of them by name",
            ),
            Self::IndexParamsUnfolded => (
                "index-params-unfolded",
                "index_params holds every parameter by itself and none called `params`",
                "Milvus builds and loads the index with other parameters, or not at all: go back with `rollback` and migrate again",
            ),
            Self::SegmentIndexOwnerExists => (
                "segment-index-owner-exists",
                "every segment index belongs to an index of a collection that exists",
                "nobody uses the record: it can be removed by hand",
            ),
            Self::BuildIdsUnique => (
                "build-ids-unique",
                "build IDs are positive and no two segment indexes share one",
                "Milvus keeps one segment index by build ID and forgets the others: go back with `rollback` and migrate again",
            ),
            Self::SegmentIndexState => (
                "segment-index-state",
                "every segment index has a known state, and is handed off when finished and not before",
                "Milvus waits for it forever, or does not build it",
            ),
            Self::SegmentIndexFiles => (
                "segment-index-files",
                "index files are named without folders, and an index not yet issued has none",
                "Milvus does not find the files, so the segment is searched without index: drop and make the index again",
            ),
            _ => (
                "segment-index-rows",
                "the rows of a finished segment index are those of its segment",
                "index progress is shown wrong, and may never complete",
            ),
        }
    }

    fn load_facts(self) -> InvariantFacts {
        match self {
            Self::LoadOwnerExists => (
                "load-owner-exists",
                "whatever is loaded exists",
                "Milvus tries to load it over and over: remove the record by hand",
            ),
            Self::LoadStatus => (
                "load-status",
                "load states are loading or loaded, with at least one replica",
                "Milvus releases the collection when it starts: load it again afterwards",
            ),
            Self::LoadIndexesLive => (
                "load-indexes-live",
                "whatever is loaded names live indexes on its fields",
                "Milvus cannot load it: release and load it again",
            ),
            Self::LoadForm => (
                "load-form",
                "load states are whole, in the form of the target",
                "Milvus takes the collection for released: load it again afterwards, or go back with `rollback` and migrate again",
            ),
            Self::ReplicasComplete => (
                "replicas-complete",
                "whatever is loaded has as many replica records as replicas",
                "Milvus does not get it loaded: release and load it again",
            ),
            _ => (
                "load-one-kind",
                "no collection is loaded as a whole and by partitions at once",
                "release the collection and load it again",
            ),
        }
    }

    fn data_facts(self) -> InvariantFacts {
        match self {
            Self::SegmentsSeparate => (
                "segments-separate",
                "no segment record embeds its lists of files",
                "from 2.3 on its rows are lost at a change of its state: go back with `rollback` and migrate again",
            ),
            Self::LogIds => (
                "log-ids",
                "every file of a segment is named by its log ID",
                "Milvus does not find the file, and its rows are missing: go back with `rollback` and migrate again",
            ),
            Self::BinlogsComplete => (
                "binlogs-complete",
                "a flushed segment that has binlogs has some of every field",
                "the segment cannot be loaded: see with `check-files` what is there, and with an earlier backup what it had (`inspect --against`)",
            ),
            Self::StatslogsComplete => (
                "statslogs-complete",
                "a segment has as many statslogs as binlogs where the target counts them",
                "a delete in that segment ends in a crash loop of the data node: go back with `rollback` and migrate again",
            ),
            Self::RowsCounted => (
                "rows-counted",
                "the numbers of rows of a segment's files make up its own",
                "the segment cannot be loaded after its next change: go back with `rollback` and migrate again",
            ),
            _ => (
                "checkpoint-present",
                "every channel has a checkpoint that says where to go on reading",
                "2.2.7 to 2.2.16 panic at their start, others read everything again: go back with `rollback` and migrate again",
            ),
        }
    }
}

impl Serialize for Invariant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
