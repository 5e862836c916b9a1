//! Builds of 2.1: what an index build made, and where its files are (docs/layouts.md, rule 4). Newer versions have it in the record of
//! the segment index ([`super::segment_index`]).

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::problem::Problem;
use super::records::{Record, Writing, decode, same_id};
use super::report::LeftOut;
use crate::layout::families::Family;
use crate::layout::keys::Key;
use crate::layout::messages::source;

/// `index.IndexMeta`, reduced to what is carried over.
#[derive(Debug)]
pub(super) struct Build {
    /// The state, as a number so that any survives.
    pub(super) state: i32,
    pub(super) fail_reason: String,
    /// Rows of the segment as the build request says; `None` without a request.
    pub(super) num_rows: Option<i64>,
    pub(super) files: Files,
    pub(super) mark_deleted: bool,
    pub(super) node_id: i64,
    pub(super) index_version: i64,
    pub(super) serialize_size: u64,
}

/// The index files of a build: their last path elements, and where the paths say that they are.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Last path elements.
    pub(super) keys: Vec<String>,
    /// Partition and segment, as all paths say; `None` without files.
    location: Option<(i64, i64)>,
    /// The first path that does not end as newer versions expect.
    unexpected: Option<String>,
}

/// The builds of 2.1 that were not read yet. Each is read when it is joined with its segment index, so that there are not millions of
/// them in memory at a time.
pub(super) struct Builds<'a> {
    records: &'a mut [Record],
    /// Where the record of a build is.
    unread: HashMap<i64, usize>,
    /// Memory that one leaves to the next.
    folder: String,
}

impl<'a> Builds<'a> {
    /// Finds the builds among the records of their prefix.
    pub(super) fn of(records: &'a mut [Record]) -> Self {
        let mut unread = HashMap::with_capacity(records.len());
        for (at, record) in records.iter().enumerate() {
            // A tripwire is among them, and none.
            if let Some(key) = Key::parse(&record.key).ok().filter(|key| key.family == Family::Build) {
                let [id] = key.ids();
                unread.insert(id, at);
            }
        }
        Self { records, unread, folder: String::new() }
    }

    /// The IDs of those that were not read yet.
    pub(super) fn ids(&self) -> impl Iterator<Item = i64> {
        self.unread.keys().copied()
    }

    /// Reads a build, and lets go of its value; an error stands for one that cannot be used and is reported. None if it is not there,
    /// or was read before.
    pub(super) fn read(&mut self, id: i64, problems: &mut Vec<Problem>) -> Option<Result<Build, ()>> {
        let at = self.unread.remove(&id)?;
        Some(self.read_at(id, at, problems))
    }

    fn read_at(&mut self, id: i64, at: usize, problems: &mut Vec<Problem>) -> Result<Build, ()> {
        let record = &mut self.records[at];
        let decoded = decode::<source::IndexMeta>(&record.value).and_then(|meta| {
            same_id("indexBuildID", meta.index_build_id, id).map(|()| Build::of(meta, &mut self.folder))
        });
        record.let_go();
        decoded.map_err(|what| {
            let meaning = "the index files of its segment would not be found";
            problems.push(Problem::new(&Family::Build.key([id]), what, meaning));
        })
    }

    /// Reads what is left, and says what is wrong with any. What no segment index uses is left out: builds of dropped indexes, or on
    /// their way to be recycled.
    pub(super) fn finish(mut self, writing: &mut Writing, used: &HashSet<i64>) {
        for (id, at) in std::mem::take(&mut self.unread) {
            if let Ok(build) = self.read_at(id, at, &mut writing.problems)
                && !used.contains(&id)
            {
                let why = match build.mark_deleted {
                    true => "the build record of a dropped index",
                    false => "a build record that no segment index uses; newer versions of Milvus remove its files",
                };
                writing.report.left_out.push(LeftOut::new(Family::Build.key([id]), why));
            }
        }
    }
}

impl Build {
    /// Reduces a record; `folder` is memory that one leaves to the next.
    fn of(meta: source::IndexMeta, folder: &mut String) -> Self {
        folder.clear();
        // A text that grows takes everything.
        let _ = write!(folder, "/index_files/{}/{}", meta.index_build_id, meta.index_version);
        Self {
            state: meta.state,
            num_rows: meta.req.map(|request| request.num_rows),
            files: Files::from_paths(meta.index_file_paths, folder),
            fail_reason: meta.fail_reason,
            mark_deleted: meta.mark_deleted,
            node_id: meta.node_id,
            index_version: meta.index_version,
            serialize_size: meta.serialize_size,
        }
    }

    /// Holds the paths of the index files against the place where newer versions look for them: an index with files elsewhere would be
    /// lost without a word.
    pub(super) fn check_files(&self, info: &source::SegmentIndexInfo) -> Result<(), String> {
        let (partition, segment) = (info.partition_id, info.segment_id);
        let elsewhere = self.files.location.filter(|location| *location != (partition, segment));
        let path = match (&self.files.unexpected, elsewhere) {
            (Some(path), _) => path.clone(),
            (None, Some((partition, segment))) => {
                format!("…/{partition}/{segment}/{}", self.files.keys.first().map_or("", |key| key))
            }
            (None, None) => return Ok(()),
        };
        Err(format!(
            "its index file {path:?} is not at index_files/{}/{}/{partition}/{segment}/<file>, where newer versions look for it",
            info.build_id, self.index_version
        ))
    }
}

impl Files {
    /// Takes paths apart. Newer versions look for files at
    /// `<bucket root>/index_files/<buildID>/<index_version>/<partitionID>/<segmentID>/<file key>`.
    /// `folder` is what stands before the partition.
    fn from_paths(paths: Vec<String>, folder: &str) -> Self {
        let mut files = Self::default();
        for mut path in paths {
            match Self::split(&path, folder) {
                Some((location, above)) if files.location.is_none_or(|first| first == location) => {
                    files.location = Some(location);
                    path.drain(..above);
                    files.keys.push(path);
                }
                _ => {
                    files.unexpected = Some(path);
                    break;
                }
            }
        }
        files
    }

    /// Partition and segment of a path that goes through `folder`, which begins with a slash; and how many bytes stand before the file
    /// key.
    fn split(path: &str, folder: &str) -> Option<((i64, i64), usize)> {
        let (above, key) = path.rsplit_once('/').filter(|(_, key)| !key.is_empty())?;
        let (above, segment) = above.rsplit_once('/')?;
        let (above, partition) = above.rsplit_once('/')?;
        let is_there = above.ends_with(folder) || Some(above) == folder.strip_prefix('/');
        is_there.then_some(((partition.parse().ok()?, segment.parse().ok()?), path.len() - key.len()))
    }
}
