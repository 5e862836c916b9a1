//! Segment indexes: index records of segments joined with their build records (docs/layouts.md, rule 4).

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message;

use super::Options;
use super::build::{Build, Builds};
use super::collection::{Collections, Form, Standing};
use super::index::{Index, Indexes};
use super::problem::Problem;
use super::records::{Record, Records, Writing, decode, same_id};
use super::report::{Rebuilt, Repair, RepairKind};
use crate::layout::families::Family;
use crate::layout::is_tombstone;
use crate::layout::keys::Key;
use crate::layout::messages::common::{DataType, IndexState, SegmentInfo};
use crate::layout::messages::{source, target};

const LOST: &str = "the segment would have to be indexed again";
/// The index type of scalar fields, whose files of 2.1 newer servers misread for small values.
const STL_SORT: &str = "STL_SORT";

/// The segment indexes of 2.1, and what of other records they need besides their builds.
#[derive(Debug, Default)]
pub struct SourceIndexes {
    infos: Vec<source::SegmentIndexInfo>,
    /// Rows of the segments that are below the index threshold; an error stands for a record that does not decode. What is missing
    /// is not there.
    rows: HashMap<[i64; 3], Result<i64, ()>>,
    problems: Vec<Problem>,
}

/// What one segment index of 2.1 is joined with, beside its build.
struct Joining<'a> {
    rows: &'a HashMap<[i64; 3], Result<i64, ()>>,
    collections: &'a Collections,
    indexes: &'a Indexes,
    options: &'a Options,
}

/// Converts all segment indexes of 2.1, and lets go of the values of the builds.
pub fn convert(
    indexed: SourceIndexes,
    builds: &mut [Record],
    collections: &Collections,
    indexes: &Indexes,
    options: &Options,
) -> Writing {
    let SourceIndexes { infos: source, rows, problems } = indexed;
    let mut writing = Writing { problems, ..Writing::default() };
    let mut builds = Builds::of(builds);
    let mut own_ids = own_build_ids(&source, &builds);
    let joining = Joining { rows: &rows, collections, indexes, options };
    let mut used = HashSet::new();
    let mut rebuilt = BTreeMap::new();
    for info in &source {
        let own_id = is_buildless(info).then(|| own_ids.next()).flatten();
        let is_first_use = own_id.is_some() || used.insert(info.build_id);
        joining.convert_one(&mut writing, info, (own_id, is_first_use), &mut builds, &mut rebuilt);
    }
    writing.report.rebuilt.extend(rebuilt.into_values());
    builds.finish(&mut writing, &used);
    writing
}

/// Reads all segment indexes of 2.1, sorted by collection and segment.
pub fn read(records: &Records) -> SourceIndexes {
    let mut source = SourceIndexes::default();
    for (key, record) in records.of(Family::SourceSegmentIndex).filter(|(_, record)| !is_tombstone(&record.value)) {
        let decoded = decode::<source::SegmentIndexInfo>(&record.value).and_then(|info| {
            let [collection, index, partition, segment] = key.ids();
            same_id("collectionID", info.collection_id, collection)?;
            same_id("indexID", info.index_id, index)?;
            same_id("partitionID", info.partition_id, partition)?;
            same_id("segmentID", info.segment_id, segment)?;
            Ok(info)
        });
        match decoded {
            Ok(info) => source.infos.push(info),
            Err(what) => source.problems.push(Problem::new(&key, what, LOST)),
        }
    }
    source.infos.sort_by_key(|info| (info.collection_id, info.segment_id, info.index_id, info.partition_id));
    for info in source.infos.iter().filter(|info| is_buildless(info)) {
        if let Some(value) = records.get(&segment_of(info)) {
            let rows = SegmentInfo::decode(&**value).map(|segment| segment.num_of_rows);
            source.rows.insert(segment_of(info).ids(), rows.map_err(drop));
        }
    }
    source
}

/// The key of the segment that it is of.
fn segment_of(info: &source::SegmentIndexInfo) -> Key {
    Family::Segment.key([info.collection_id, info.partition_id, info.segment_id])
}

/// Why a segment index cannot be converted.
enum Unfit {
    /// Its own record is at fault, or lacks another one; and what leaving it out costs.
    Own(String, &'static str),
    /// Another record is at fault, and has been reported.
    Reported { key: String, what: String },
    /// Another record is at fault.
    Other { key: Key, fault: String },
}

impl Unfit {
    fn tell(self, writing: &mut Writing, key: &Key) {
        match self {
            Self::Own(what, meaning) => writing.problems.push(Problem::new(key, what, meaning)),
            Self::Reported { key: cause, what } => writing.problems.push(Problem::caused(key, what, LOST, cause)),
            Self::Other { key: cause, fault } => {
                let what = format!("it needs the record {cause}, which cannot be used");
                writing.problems.push(Problem::caused(key, what, LOST, cause.to_string()));
                writing.problems.push(Problem::new(&cause, fault, LOST));
            }
        }
    }
}

fn key_of(info: &source::SegmentIndexInfo) -> Key {
    Family::SourceSegmentIndex.key([info.collection_id, info.index_id, info.partition_id, info.segment_id])
}

/// A segment below the index threshold: 2.1 notes it, but builds nothing.
fn is_buildless(info: &source::SegmentIndexInfo) -> bool {
    info.build_id == 0 && !info.enable_index
}

/// Build IDs for the segment indexes that have none, because newer versions keep a map by build ID: below the smallest one in use,
/// counting down; from 1 up where there is none. IDs that would not be positive are taken from above the largest one instead.
fn own_build_ids(source: &[source::SegmentIndexInfo], builds: &Builds<'_>) -> impl Iterator<Item = i64> + use<> {
    let in_use = || source.iter().map(|info| info.build_id).filter(|id| *id != 0).chain(builds.ids());
    // Those of a newer Milvus do not count: they are larger than any of 2.1, and those of an earlier run must come out again.
    let smallest = in_use().min().unwrap_or(1);
    let largest = in_use().max().unwrap_or(0).max(0);
    let below = (1..smallest).rev();
    let above = (1..i64::MAX - largest).map(move |step| largest + step);
    below.chain(above)
}

impl Joining<'_> {
    fn convert_one(
        &self,
        writing: &mut Writing,
        info: &source::SegmentIndexInfo,
        (own_id, is_first_use): (Option<i64>, bool),
        builds: &mut Builds<'_>,
        rebuilt: &mut BTreeMap<(i64, i64), Rebuilt>,
    ) {
        let key = key_of(info);
        if !self.belongs(writing, info, &key) {
            return;
        }
        if !is_first_use {
            let build = info.build_id;
            let what =
                format!("another segment index has the build ID {build} too, and newer versions keep one by build ID");
            return writing.problems.push(Problem::new(&key, what, LOST));
        }
        let joined = self.find_index(info).and_then(|index| match own_id {
            Some(id) => self.without_build(writing, info, id),
            None => self.with_build(info, index, builds, &mut writing.problems, rebuilt),
        });
        match joined {
            Ok(record) => put(writing, info, &record),
            Err(unfit) => unfit.tell(writing, &key),
        }
    }

    /// Whether a segment index is to be converted at all; reports it if its collection is gone.
    fn belongs(&self, writing: &mut Writing, info: &source::SegmentIndexInfo, key: &Key) -> bool {
        let id = info.collection_id;
        match self.collections.standing(id) {
            Standing::Live(collection) if collection.form == Form::Embedded => {
                return !self.indexes.is_superseded(id, info.index_id);
            }
            Standing::Live(_) | Standing::Passing => {}
            Standing::Invalid | Standing::Lost => {
                let cause = Family::Collection.key([id]).to_string();
                writing.problems.push(Problem::caused(key, "its collection cannot be used", LOST, cause));
            }
            Standing::Gone => {
                let what =
                    format!("its collection {id} does not exist: the leftover of a drop that 2.1 did not finish");
                writing.problems.push(Problem::new(key, what, "leaving it out costs nothing"));
            }
        }
        false
    }

    fn find_index(&self, info: &source::SegmentIndexInfo) -> Result<&Index, Unfit> {
        let (collection, index) = (info.collection_id, info.index_id);
        if let Some(index) = self.indexes.get(collection, index) {
            return Ok(index);
        }
        Err(match self.indexes.problem_of(collection, index) {
            Some(cause) => Unfit::Reported { key: cause.clone(), what: format!("its index {index} cannot be used") },
            None => Unfit::Own(
                format!(
                    "its index {index} is none of the collection's indexes: the leftover of a drop that 2.1 did not finish"
                ),
                "leaving it out costs nothing",
            ),
        })
    }

    /// A segment index without a build becomes a finished one without files.
    fn without_build(
        &self,
        writing: &mut Writing,
        info: &source::SegmentIndexInfo,
        build_id: i64,
    ) -> Result<target::SegmentIndex, Unfit> {
        let segment = info.segment_id;
        let num_rows = match self.rows_of(info) {
            Some(rows) => rows?,
            None => {
                let warning = format!(
                    "{}: segment {segment} no longer exists; newer versions of Milvus remove its index",
                    key_of(info)
                );
                writing.report.warnings.push(warning);
                0
            }
        };
        let what = format!(
            "segment {segment} below the index threshold: build ID {build_id} instead of 0, {num_rows} rows instead of 0"
        );
        writing.report.repairs.push(Repair { kind: RepairKind::BuildId, key: key_of(info).to_string(), what });
        Ok(target::SegmentIndex {
            num_rows,
            build_id,
            index_version: 1,
            state: IndexState::Finished as i32,
            write_handoff: true,
            ..base(info)
        })
    }

    /// The rows of a segment, if its record is there. One that does not decode has been reported.
    fn rows_of(&self, info: &source::SegmentIndexInfo) -> Option<Result<i64, Unfit>> {
        let key = segment_of(info);
        Some(self.rows.get(&key.ids())?.map_err(|()| {
            let what = format!("the number of its rows is in the record {key}, which cannot be used");
            Unfit::Reported { key: key.to_string(), what }
        }))
    }

    fn with_build(
        &self,
        info: &source::SegmentIndexInfo,
        index: &Index,
        builds: &mut Builds<'_>,
        problems: &mut Vec<Problem>,
        rebuilt: &mut BTreeMap<(i64, i64), Rebuilt>,
    ) -> Result<target::SegmentIndex, Unfit> {
        let build_key = Family::Build.key([info.build_id]);
        let build = match builds.read(info.build_id, problems) {
            Some(Ok(build)) => build,
            Some(Err(())) => {
                let what = format!("its build record {build_key} cannot be used");
                return Err(Unfit::Reported { key: build_key.to_string(), what });
            }
            None => {
                let what = format!(
                    "its build record {build_key} is missing: the leftover of a drop that 2.1 did not finish, or a lost record"
                );
                return Err(Unfit::Own(
                    what,
                    "leaving it out costs time only: if the index still exists, the segment is indexed again",
                ));
            }
        };
        let Some(num_rows) = build.num_rows else {
            return Err(Unfit::Other { key: build_key, fault: "it does not tell the number of rows".into() });
        };
        let record =
            target::SegmentIndex { num_rows, build_id: info.build_id, deleted: build.mark_deleted, ..base(info) };
        if let Some(reason) = rebuild_reason(&build, index, self.options) {
            let at = (info.collection_id, info.index_id);
            let handed_over = rebuilt.entry(at).or_insert_with(|| self.begin_rebuilt(info, index, reason));
            handed_over.segments.push(info.segment_id);
            handed_over.builds.push(info.build_id);
            return Ok(for_rebuild(record));
        }
        build.check_files(info).map_err(|fault| Unfit::Other { key: build_key, fault })?;
        Ok(target::SegmentIndex {
            node_id: build.node_id,
            index_version: build.index_version,
            state: build.state,
            fail_reason: build.fail_reason,
            index_file_keys: build.files.keys,
            serialize_size: build.serialize_size,
            write_handoff: build.state == IndexState::Finished as i32,
            ..record
        })
    }

    fn begin_rebuilt(&self, info: &source::SegmentIndexInfo, index: &Index, reason: String) -> Rebuilt {
        Rebuilt {
            collection: self.collections.live(info.collection_id).map(|found| found.name.clone()).unwrap_or_default(),
            field: index.field.name.clone(),
            index: index.name.clone(),
            kind: index.kind.clone(),
            segments: Vec::new(),
            builds: Vec::new(),
            reason,
        }
    }
}

fn base(info: &source::SegmentIndexInfo) -> target::SegmentIndex {
    target::SegmentIndex {
        collection_id: info.collection_id,
        partition_id: info.partition_id,
        segment_id: info.segment_id,
        index_id: info.index_id,
        create_time: info.create_time,
        ..target::SegmentIndex::default()
    }
}

fn put(writing: &mut Writing, info: &source::SegmentIndexInfo, record: &target::SegmentIndex) {
    let state = state_name(record.state).to_owned();
    *writing.report.segment_indexes.entry(state).or_default() += 1;
    writing.report.collections.entry(info.collection_id).or_default().segment_indexes += 1;
    let ids = [info.collection_id, info.partition_id, info.segment_id, record.build_id];
    writing.put_message(&Family::SegmentIndex.key(ids), record);
}

/// Why the files of an index must be built again, if they must. Only finished files of live indexes can be in anybody's way.
fn rebuild_reason(build: &Build, index: &Index, options: &Options) -> Option<String> {
    if build.state != IndexState::Finished as i32 || build.mark_deleted || index.deleted || options.keep_index_files {
        return None;
    }
    if options.rebuild_index.iter().any(|kind| kind.eq_ignore_ascii_case(&index.kind)) {
        return Some("asked for".into());
    }
    misread(index).map(str::to_owned)
}

/// Why newer engines must not get the files that 2.1 built for such an index, if so.
///
/// Found with real servers (docs/compatibility.md). An entry of an STL_SORT file was a value and a 64-bit number in 2.1.0, 16 bytes
/// for any type, and is less now for types of at most 4 bytes. FLAT and BIN_FLAT files do not keep their metric.
fn misread(index: &Index) -> Option<&'static str> {
    const SMALL: [DataType; 5] = [DataType::Bool, DataType::Int8, DataType::Int16, DataType::Int32, DataType::Float];
    match &*index.kind {
        STL_SORT if SMALL.iter().any(|kind| *kind as i32 == index.field.data_type) => {
            Some("2.2 and 2.3 crash on the files that 2.1 built for such a field, or find wrong rows with them")
        }
        "FLAT" | "BIN_FLAT" => {
            Some("with the files that 2.1 built, 2.2 answers by another metric, and 2.3 crashes on a search")
        }
        _ if index.metric == "TANIMOTO" => {
            Some("2.3 does not know TANIMOTO, and crashes on a search with the files of 2.1")
        }
        _ => None,
    }
}

/// A segment index as real 2.2.16 and 2.3.5 servers build it anew when they start.
fn for_rebuild(record: target::SegmentIndex) -> target::SegmentIndex {
    target::SegmentIndex { state: IndexState::Unissued as i32, index_version: 1, ..record }
}

fn state_name(state: i32) -> &'static str {
    match IndexState::try_from(state) {
        Ok(IndexState::None) => "none",
        Ok(IndexState::Unissued) => "unissued",
        Ok(IndexState::InProgress) => "in progress",
        Ok(IndexState::Finished) => "finished",
        Ok(IndexState::Failed) => "failed",
        Ok(IndexState::Retry) => "retry",
        Err(_) => "unknown",
    }
}
