//! The files in object storage that the metadata names, in whichever layout: what can be read only while they are there.
//!
//! 2.1 writes whole paths into its records, newer versions only the last part of them and build the rest
//! (`metautil.BuildInsertLogPath` and its kin). Segments that are dropped, and those of collections and partitions that are gone,
//! do not count: nobody reads their files any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::Serialize;

use super::collection::{self, Collections, Form, Standing};
use super::problem::Problem;
use super::records::{Records, decode};
use crate::layout::families::Family;
use crate::layout::is_tombstone;
use crate::layout::messages::common::{FieldBinlog, IndexState, SegmentInfo, SegmentState};
use crate::layout::messages::{source, target};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Rows.
    Binlog,
    /// Bloom filters over primary keys.
    Statslog,
    /// Which rows were deleted.
    Deltalog,
    /// Part of an index.
    Index,
}

impl FileKind {
    /// The folder under the root path (`internal/common/common.go`).
    fn folder(self) -> &'static str {
        match self {
            Self::Binlog => "insert_log",
            Self::Statslog => "stats_log",
            Self::Deltalog => "delta_log",
            Self::Index => "index_files",
        }
    }
}

/// Whose file it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Collection ID.
    pub collection: i64,
    /// Segment ID.
    pub segment: i64,
    /// What it is.
    pub kind: FileKind,
    /// Index and build of an index file.
    pub build: Option<(i64, i64)>,
}

/// A folder that named files are in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Folder {
    /// What stands before it, where the record says so: 2.1's own root path. Else the one that Milvus is configured with.
    pub root: Option<String>,
    /// The path from there: `insert_log/<collection>/<partition>`, `index_files`.
    pub path: String,
}

/// A file in a [`Folder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The path from its folder.
    pub path: Box<str>,
    /// Whose it is, in [`NamedFiles::owners`].
    pub owner: u32,
}

/// A living segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LivingSegment {
    /// Collection ID.
    pub collection: i64,
    /// Rows, as the record says.
    pub rows: i64,
}

/// Segments whose files do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NotCounted {
    /// Dropped segments: replaced by a compaction, or of something that was dropped.
    pub dropped: u64,
    /// Segments of collections or partitions that are gone.
    pub of_what_is_gone: u64,
}

/// All files that the metadata names.
#[derive(Debug, Clone, Default)]
pub struct NamedFiles {
    /// By folder, in ascending order, none twice.
    pub folders: BTreeMap<Folder, Vec<NamedFile>>,
    /// Whose files these are.
    pub owners: Vec<Owner>,
    /// Living segments by ID.
    pub segments: BTreeMap<i64, LivingSegment>,
    /// Names of the collections by ID.
    pub collections: BTreeMap<i64, String>,
    /// Names of the indexes by collection and index ID.
    pub indexes: BTreeMap<(i64, i64), String>,
    /// Segments whose files do not count.
    pub not_counted: NotCounted,
    /// Records that do not tell their files.
    pub problems: Vec<Problem>,
}

/// Everything that the records name.
pub fn named(records: &Records) -> NamedFiles {
    let collections = collection::read(records, false);
    let names = collections.iter().map(|found| (found.id, found.name.clone())).collect();
    let mut files = NamedFiles { collections: names, ..NamedFiles::default() };
    files.read_segments(records, &collections);
    files.read_logs(records);
    files.read_source_indexes(records, &collections);
    files.read_indexes(records);
    for named in files.folders.values_mut() {
        // A statslog can be listed more than once: the last one is repeated for targets that count them.
        named.sort_by(|a, b| a.path.cmp(&b.path));
        named.dedup_by(|a, b| a.path == b.path);
    }
    files
}

impl NamedFiles {
    /// Number of files.
    pub fn count(&self) -> u64 {
        self.folders.values().map(|files| files.len() as u64).sum()
    }

    /// The living segments, with the files that 2.1 lists in their records.
    fn read_segments(&mut self, records: &Records, collections: &Collections) {
        for (key, record) in records.of(Family::Segment) {
            let [collection, partition, id] = key.ids();
            let info = match decode::<SegmentInfo>(&record.value) {
                Ok(info) => info,
                Err(what) => {
                    self.problems.push(Problem::new(&key, what, "which files it has is not known"));
                    continue;
                }
            };
            if matches!(info.state(), SegmentState::SegmentDropped | SegmentState::NotExist) {
                self.not_counted.dropped += 1;
                continue;
            }
            if is_gone(collections, collection, partition) {
                self.not_counted.of_what_is_gone += 1;
                continue;
            }
            self.segments.insert(id, LivingSegment { collection, rows: info.num_of_rows });
            for (kind, lists) in [
                (FileKind::Binlog, &info.binlogs),
                (FileKind::Statslog, &info.statslogs),
                (FileKind::Deltalog, &info.deltalogs),
            ] {
                self.add_logs(kind, [collection, partition, id], lists);
            }
        }
    }

    /// Lists that have keys of their own.
    fn read_logs(&mut self, records: &Records) {
        for (family, kind) in [
            (Family::Binlog, FileKind::Binlog),
            (Family::Statslog, FileKind::Statslog),
            (Family::Deltalog, FileKind::Deltalog),
        ] {
            for (key, record) in records.of(family) {
                let [collection, partition, segment] = key.ids();
                if !self.segments.contains_key(&segment) {
                    continue;
                }
                match decode::<FieldBinlog>(&record.value) {
                    Ok(list) => self.add_logs(kind, [collection, partition, segment], &[list]),
                    Err(what) => {
                        self.problems.push(Problem::new(&key, what, "which files it has is not known"));
                    }
                }
            }
        }
    }

    fn add_logs(&mut self, kind: FileKind, [collection, partition, segment]: [i64; 3], lists: &[FieldBinlog]) {
        if lists.iter().all(|list| list.binlogs.is_empty()) {
            return;
        }
        let owner = self.owner(Owner { collection, segment, kind, build: None });
        for list in lists {
            for log in &list.binlogs {
                if !log.log_path.is_empty() {
                    self.add_path(kind, owner, &log.log_path);
                    continue;
                }
                let folder = format!("{}/{collection}/{partition}", kind.folder());
                let path = match kind {
                    FileKind::Deltalog => format!("{segment}/{}", log.log_id),
                    _ => format!("{segment}/{}/{}", list.field_id, log.log_id),
                };
                self.add(None, folder, path, owner);
            }
        }
    }

    /// Indexes of 2.1: finished builds that a segment index of a living index names.
    fn read_source_indexes(&mut self, records: &Records, collections: &Collections) {
        let mut builds: HashMap<i64, Vec<String>> = HashMap::new();
        for (key, record) in records.of(Family::Build) {
            match decode::<source::IndexMeta>(&record.value) {
                Ok(meta) if meta.state() == IndexState::Finished && !meta.mark_deleted => {
                    builds.insert(key.ids::<1>()[0], meta.index_file_paths);
                }
                Ok(_) => {}
                Err(what) => self.problems.push(Problem::new(&key, what, "which files it has is not known")),
            }
        }
        for (key, record) in records.of(Family::SourceSegmentIndex).filter(|(_, record)| !is_tombstone(&record.value)) {
            let [collection, index, _, segment] = key.ids();
            let Ok(info) = decode::<source::SegmentIndexInfo>(&record.value) else { continue };
            if !self.segments.contains_key(&segment) || !has_index(collections, collection, index) {
                continue;
            }
            let Some(paths) = builds.remove(&info.build_id) else { continue };
            self.name_index(collection, index, || {
                let value = records.get(&Family::SourceIndex.key([collection, index]))?;
                decode::<source::IndexInfo>(value).ok().map(|info| info.index_name)
            });
            let build = Some((index, info.build_id));
            let owner = self.owner(Owner { collection, segment, kind: FileKind::Index, build });
            for path in paths {
                self.add_path(FileKind::Index, owner, &path);
            }
        }
    }

    /// Indexes of newer versions.
    fn read_indexes(&mut self, records: &Records) {
        let mut deleted = BTreeSet::new();
        for (key, record) in records.of(Family::FieldIndex) {
            let Ok(info) = decode::<target::FieldIndex>(&record.value) else { continue };
            let [collection, index] = key.ids();
            if info.deleted {
                deleted.insert((collection, index));
            }
            self.name_index(collection, index, || info.index_info.map(|info| info.index_name));
        }
        for (key, record) in records.of(Family::SegmentIndex) {
            let [collection, partition, segment, build] = key.ids();
            let info = match decode::<target::SegmentIndex>(&record.value) {
                Ok(info) => info,
                Err(what) => {
                    self.problems.push(Problem::new(&key, what, "which files it has is not known"));
                    continue;
                }
            };
            let is_built = info.state() == IndexState::Finished && !info.deleted;
            if !is_built || !self.segments.contains_key(&segment) || deleted.contains(&(collection, info.index_id)) {
                continue;
            }
            let build_of = Some((info.index_id, build));
            let owner = self.owner(Owner { collection, segment, kind: FileKind::Index, build: build_of });
            for file in &info.index_file_keys {
                let path = format!("{build}/{}/{partition}/{segment}/{file}", info.index_version);
                self.add(None, FileKind::Index.folder().to_owned(), path, owner);
            }
        }
    }

    fn name_index(&mut self, collection: i64, index: i64, name: impl FnOnce() -> Option<String>) {
        self.indexes.entry((collection, index)).or_insert_with(|| name().unwrap_or_else(|| index.to_string()));
    }

    fn owner(&mut self, owner: Owner) -> u32 {
        self.owners.push(owner);
        // More than four billion owners do not fit into memory.
        (self.owners.len() - 1) as u32
    }

    /// A whole path as 2.1 writes it, taken apart at the folder of its kind.
    fn add_path(&mut self, kind: FileKind, owner: u32, path: &str) {
        let path = path.trim_start_matches('/');
        let place = format!("/{path}").rfind(&format!("/{}/", kind.folder())).and_then(|at| {
            let depth = if kind == FileKind::Index { 0 } else { 2 };
            let (end, _) = path[at..].match_indices('/').nth(depth)?;
            Some((&path[..at], &path[at..at + end], &path[at + end + 1..]))
        });
        // Anywhere else: its folder is what stands before its name.
        let (root, folder, rest) = place.unwrap_or_else(|| match path.rsplit_once('/') {
            Some((folder, name)) => ("", folder, name),
            None => ("", "", path),
        });
        self.add(Some(root.trim_end_matches('/').to_owned()), folder.to_owned(), rest.to_owned(), owner);
    }

    fn add(&mut self, root: Option<String>, path: String, file: String, owner: u32) {
        self.folders.entry(Folder { root, path }).or_default().push(NamedFile { path: file.into(), owner });
    }
}

/// Whether nobody reads the segments of a partition any more. What cannot be told counts as there.
fn is_gone(collections: &Collections, collection: i64, partition: i64) -> bool {
    match collections.standing(collection) {
        Standing::Live(found) => !found.partitions.contains_key(&partition),
        Standing::Passing | Standing::Gone => true,
        Standing::Lost | Standing::Invalid => false,
    }
}

/// Whether a collection of 2.1 lists an index: what it does not list is left of a drop.
fn has_index(collections: &Collections, collection: i64, index: i64) -> bool {
    match collections.live(collection) {
        Some(found) if found.form == Form::Embedded => {
            found.field_indexes.iter().any(|field_index| field_index.index_id == index)
        }
        _ => true,
    }
}
