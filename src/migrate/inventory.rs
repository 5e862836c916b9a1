//! What is under the meta root, decoded and sorted by kind: the input of a plan.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use prost::Message;

use super::unknown::UnknownFields;
use crate::layout::keys::{self, Key, KeyError, Plain, Side};
use crate::layout::messages::source;
use crate::layout::{Found, is_tombstone};
use crate::plan::{DeleteRanges, Problems};

/// A value with the revision of its last change; 0 where it is not known (from a backup file).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The value.
    pub value: Bytes,
    /// etcd's mod_revision.
    pub mod_revision: i64,
}

/// A plain key's newest value and its snapshots by timestamp.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    /// The plain key, if there is one.
    pub plain: Option<Record>,
    /// The snapshots.
    pub snapshots: BTreeMap<u64, Bytes>,
}

/// A record of a kind that only the 2.1 layout has, or why it cannot be used. What is wrong has been reported already.
pub type Decoded<T> = Result<T, Unusable>;

/// Stands for a record that does not decode or contradicts its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusable;

/// `index.IndexMeta`, reduced to what is carried over.
#[derive(Debug, Clone)]
pub struct Build {
    /// The state, as a number so that any survives.
    pub state: i32,
    pub fail_reason: String,
    /// Rows of the segment as the build request says; `None` without a request.
    pub num_rows: Option<i64>,
    pub files: Files,
    pub mark_deleted: bool,
    pub node_id: i64,
    pub index_version: i64,
    pub serialize_size: u64,
}

/// The index files of a build: their last path elements, and where the paths say that they are.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Last path elements.
    pub keys: Vec<String>,
    /// Partition and segment, as all paths say; `None` without files.
    pub location: Option<(i64, i64)>,
    /// The first path that does not end as 2.2 expects.
    pub unexpected: Option<String>,
}

/// Everything under a meta root, sorted by kind. Filled key by key, in ascending order.
#[derive(Debug, Default)]
pub struct Inventory {
    pub(super) collections: BTreeMap<i64, Versions>,
    pub(super) aliases: BTreeMap<String, Versions>,
    pub(super) indexes: BTreeMap<(i64, i64), Decoded<source::IndexInfo>>,
    pub(super) segment_indexes: Vec<source::SegmentIndexInfo>,
    pub(super) builds: HashMap<i64, Decoded<Build>>,
    pub(super) load_states: BTreeMap<i64, source::LoadState>,
    pub(super) segment_rows: HashMap<(i64, i64, i64), Decoded<i64>>,
    /// Keys of the 2.2 layout that are there already.
    pub(super) target: BTreeMap<Bytes, Record>,
    /// Keys of the 2.1 layout, in ranges.
    pub(super) source_ranges: DeleteRanges,
    pub(super) source_counts: BTreeMap<String, u64>,
    /// All keys but sessions, by prefix.
    pub(super) present: BTreeMap<String, u64>,
    /// What is wrong with records that only the 2.1 layout has: of no interest once every collection is in the 2.2 layout.
    pub(super) source_problems: Problems,
    /// What is wrong with the rest.
    pub(super) problems: Problems,
    /// Keys among the collection records that are none.
    pub(super) stray: Vec<Bytes>,
    /// What a person should know of keys that stay.
    pub(super) warnings: Vec<String>,
    /// What cannot be carried over.
    pub(super) unknown_fields: UnknownFields,
    sessions: u64,
}

impl Inventory {
    /// Takes in one key (relative to the meta root) with its value. Keys must come in ascending order.
    pub fn add(&mut self, key: Bytes, record: Record) {
        let parsed = Key::parse(&key);
        if parsed == Ok(Key::Session) {
            self.sessions += 1;
            self.source_ranges.close();
            return;
        }
        let side = parsed.as_ref().map_or_else(|error| error.side, Key::side);
        if side == Side::Source {
            self.source_ranges.delete(key.clone(), &keys::prefix_of(&key));
            keys::count(&mut self.source_counts, &key);
        } else {
            self.source_ranges.close();
        }
        keys::count(&mut self.present, &key);
        match parsed {
            Ok(parsed) => self.sort(parsed, key, record),
            Err(error) => self.malformed(key, &error),
        }
    }

    /// Number of keys but sessions.
    pub fn keys(&self) -> u64 {
        self.present.values().sum()
    }

    /// Which layout is there. Collection records alone tell by what is embedded in them.
    pub fn found(&self) -> Found {
        let source = !self.source_counts.is_empty() || self.has_embedded_collections();
        match (source, !self.target.is_empty()) {
            (true, true) => Found::Mixed,
            (true, false) => Found::Source,
            (false, true) => Found::Target,
            (false, false) => Found::Neither,
        }
    }

    /// Whether any collection is still in the 2.1 layout.
    pub(super) fn has_embedded_collections(&self) -> bool {
        self.collections
            .values()
            .any(|versions| versions.plain.as_ref().is_some_and(|plain| super::collections::has_embedded(&plain.value)))
    }

    /// Whether there are keys that tell of an interrupted run of ours: of kinds that only the 2.1 layout has. What 2.0 left among
    /// the snapshots does not count, because the original tool does not remove it (`Clean` in Milvus's etcd210.go).
    pub(super) fn has_source_keys(&self) -> bool {
        const LEFT_BY_2_0: [&str; 2] = ["snapshots/root-coord/index/", "snapshots/root-coord/segment-index/"];
        self.source_counts.keys().any(|prefix| !LEFT_BY_2_0.contains(&&**prefix))
    }

    fn malformed(&mut self, key: Bytes, error: &KeyError) {
        let meaning = "Milvus 2.2 could not read it: what it holds would be left out";
        match error.side {
            Side::Source => self.source_problems.add(&key, error.to_string(), meaning),
            Side::Both => {
                self.problems.add(&key, error.to_string(), meaning);
                self.stray.push(key);
            }
            // Not ours to change, whoever left it there; but `verify` is going to complain of it, so that is said beforehand.
            Side::Target => self.warnings.push(format!(
                "{}: {error}. It stays, and Milvus 2.2 may fail to start on it: look at it, and remove it if nobody needs it",
                keys::printable(&key)
            )),
            Side::Neither => {
                self.source_problems.add(&key, error.to_string(), "its load state would not be carried over")
            }
        }
    }

    fn sort(&mut self, parsed: Key, key: Bytes, record: Record) {
        self.unknown_fields.look(&parsed, &key, &record.value);
        match parsed {
            Key::Plain(Plain::Collection(id)) => self.collections.entry(id).or_default().plain = Some(record),
            Key::Snapshot(Plain::Collection(id), timestamp) => {
                self.collections.entry(id).or_default().snapshots.insert(timestamp, record.value);
            }
            Key::Plain(Plain::SourceAlias(name)) => self.aliases.entry(name).or_default().plain = Some(record),
            Key::Snapshot(Plain::SourceAlias(name), timestamp) => {
                self.aliases.entry(name).or_default().snapshots.insert(timestamp, record.value);
            }
            Key::Plain(Plain::SourceIndex { collection, index }) => {
                self.add_index(collection, index, &key, &record.value)
            }
            Key::Plain(Plain::SourceSegmentIndex { collection, index, partition, segment }) => {
                self.add_segment_index([collection, index, partition, segment], &key, &record.value);
            }
            Key::Build(build) => self.add_build(build, &key, &record.value),
            Key::LoadState(collection) => self.add_load_state(collection, &key, &record.value),
            Key::Segment { collection, partition, segment } => {
                let rows = source::SegmentInfo::decode(record.value).map(|info| info.num_of_rows).map_err(|_| Unusable);
                self.segment_rows.insert((collection, partition, segment), rows);
            }
            _ if parsed.side() == Side::Target => {
                self.target.insert(key, record);
            }
            _ => {}
        }
    }

    /// A tombstone is a deleted index (clusters that came from 2.0 have them): as if it were not there.
    fn add_index(&mut self, collection: i64, index: i64, key: &[u8], value: &Bytes) {
        if is_tombstone(value) {
            return;
        }
        let decoded =
            decode::<source::IndexInfo>(value).and_then(|info| same_id("indexID", info.index_id, index).map(|()| info));
        let usable = decoded.map_err(|what| {
            self.source_problems.add(key, what, "the index would be lost, with its segment indexes");
            Unusable
        });
        self.indexes.insert((collection, index), usable);
    }

    fn add_segment_index(&mut self, ids: [i64; 4], key: &[u8], value: &Bytes) {
        if is_tombstone(value) {
            return;
        }
        let decoded = decode::<source::SegmentIndexInfo>(value).and_then(|info| {
            let [collection, index, partition, segment] = ids;
            same_id("collectionID", info.collection_id, collection)?;
            same_id("indexID", info.index_id, index)?;
            same_id("partitionID", info.partition_id, partition)?;
            same_id("segmentID", info.segment_id, segment)?;
            Ok(info)
        });
        match decoded {
            Ok(info) => self.segment_indexes.push(info),
            Err(what) => self.source_problems.add(key, what, "the segment would have to be indexed anew"),
        }
    }

    fn add_build(&mut self, build: i64, key: &[u8], value: &Bytes) {
        let decoded = decode::<source::IndexMeta>(value)
            .and_then(|meta| same_id("indexBuildID", meta.index_build_id, build).map(|()| Build::from(meta)));
        let usable = decoded.map_err(|what| {
            self.source_problems.add(key, what, "the index files of its segment would not be found");
            Unusable
        });
        self.builds.insert(build, usable);
    }

    fn add_load_state(&mut self, collection: i64, key: &[u8], value: &Bytes) {
        let decoded = decode::<source::LoadState>(value)
            .and_then(|state| same_id("collectionID", state.collection_id, collection).map(|()| state));
        match decoded {
            Ok(state) => {
                self.load_states.insert(collection, state);
            }
            Err(what) => self.source_problems.add(key, what, "the collection would not be loaded afterwards"),
        }
    }
}

impl From<source::IndexMeta> for Build {
    fn from(meta: source::IndexMeta) -> Self {
        Self {
            state: meta.state,
            num_rows: meta.req.map(|request| request.num_rows),
            files: Files::from_paths(&meta.index_file_paths, meta.index_build_id, meta.index_version),
            fail_reason: meta.fail_reason,
            mark_deleted: meta.mark_deleted,
            node_id: meta.node_id,
            index_version: meta.index_version,
            serialize_size: meta.serialize_size,
        }
    }
}

impl Files {
    /// Takes paths apart. 2.2 looks for files at
    /// `<bucket root>/index_files/<buildID>/<index_version>/<partitionID>/<segmentID>/<file key>`.
    fn from_paths(paths: &[String], build: i64, version: i64) -> Self {
        let mut files = Self::default();
        let folders = [version.to_string(), build.to_string(), "index_files".to_owned()];
        for path in paths {
            match Self::split(path, &folders) {
                Some((location, key)) if files.location.is_none_or(|first| first == location) => {
                    files.location = Some(location);
                    files.keys.push(key.to_owned());
                }
                _ => {
                    files.unexpected = Some(path.clone());
                    break;
                }
            }
        }
        files
    }

    /// Partition, segment and file key of a path that goes through `folders`, the innermost one first.
    fn split<'a>(path: &'a str, folders: &[String]) -> Option<((i64, i64), &'a str)> {
        let mut parts = path.rsplit('/');
        let key = parts.next().filter(|key| !key.is_empty())?;
        let segment: i64 = parts.next()?.parse().ok()?;
        let partition: i64 = parts.next()?.parse().ok()?;
        folders.iter().all(|folder| parts.next() == Some(folder)).then_some(((partition, segment), key))
    }
}

/// Decodes a message, or tells in words why it is none.
pub(crate) fn decode<M: Message + Default>(value: &[u8]) -> Result<M, String> {
    M::decode(value).map_err(|error| format!("the value does not decode as protobuf ({error})"))
}

/// Holds an ID in a record against the one in its key.
pub(crate) fn same_id(name: &str, record: i64, key: i64) -> Result<(), String> {
    if record == key { Ok(()) } else { Err(format!("its {name} is {record}, but the key says {key}")) }
}
