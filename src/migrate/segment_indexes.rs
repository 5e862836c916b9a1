//! Segment indexes: index records of segments joined with their build records (layouts.md, rule 4).

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message;

use super::Options;
use super::builder::Builder;
use super::collections::Collection;
use super::indexes::{Index, Indexes};
use super::inventory::{Build, Decoded};
use super::report::{Rebuilt, RepairKind};
use crate::layout::keys::{Key, Plain};
use crate::layout::messages::common::{DataType, IndexState};
use crate::layout::messages::{source, target};

const LOST: &str = "the segment would have to be indexed anew";
/// The index type of scalar fields, whose files of 2.1 newer servers misread for small values.
const STL_SORT: &str = "STL_SORT";

/// The records that segment indexes are joined from.
pub(super) struct Records {
    pub segment_indexes: Vec<source::SegmentIndexInfo>,
    pub builds: HashMap<i64, Decoded<Build>>,
    /// Rows of the segments by collection, partition and segment.
    pub segment_rows: HashMap<(i64, i64, i64), Decoded<i64>>,
}

/// Plans all segment indexes.
pub(super) fn convert(
    builder: &mut Builder,
    mut records: Records,
    collections: &BTreeMap<i64, Collection>,
    indexes: &Indexes,
    options: &Options,
) {
    records.segment_indexes.sort_by_key(|info| (info.collection_id, info.segment_id, info.index_id, info.partition_id));
    let mut own_ids = own_build_ids(&records);
    let mut used = HashSet::new();
    let mut rebuilt = BTreeMap::new();
    for info in &records.segment_indexes {
        let own_id = is_buildless(info).then(|| own_ids.next()).flatten();
        let is_first_use = own_id.is_some() || used.insert(info.build_id);
        let key = key_of(info);
        if !belongs(builder, info, &key, collections) {
            continue;
        }
        if !is_first_use {
            let what = format!(
                "another segment index has the build ID {} too, and Milvus 2.2 keeps one by build ID",
                info.build_id
            );
            builder.problems.add(&key, what, LOST);
            continue;
        }
        let joined = find_index(info, indexes).and_then(|index| match own_id {
            Some(id) => without_build(builder, info, id, &records),
            None => with_build(builder, info, index, &records, options, &mut rebuilt),
        });
        match joined {
            Ok(record) => write(builder, info, &record),
            Err(unfit) => unfit.report(builder, &key),
        }
    }
    builder.report.rebuilt.extend(rebuilt.into_values());
    report_unused_builds(builder, &records, &used);
}

/// Why a segment index cannot be converted.
enum Unfit {
    /// Its own record is at fault, or lacks another one.
    Own(String),
    /// Another record is at fault, and has been reported.
    Reported { key: String, what: String },
    /// Another record is at fault.
    Other { key: String, fault: String },
}

impl Unfit {
    fn report(self, builder: &mut Builder, key: &str) {
        match self {
            Self::Own(what) => builder.problems.add(key, what, LOST),
            Self::Reported { key: cause, what } => builder.problems.add_caused(key, what, LOST, cause),
            Self::Other { key: cause, fault } => {
                builder.problems.add_caused(
                    key,
                    format!("it needs the record {cause}, which cannot be used"),
                    LOST,
                    &cause,
                );
                builder.problems.add(cause, fault, LOST);
            }
        }
    }
}

fn key_of(info: &source::SegmentIndexInfo) -> String {
    Plain::SourceSegmentIndex {
        collection: info.collection_id,
        index: info.index_id,
        partition: info.partition_id,
        segment: info.segment_id,
    }
    .to_string()
}

/// A segment below the index threshold: 2.1 notes it, but builds nothing.
fn is_buildless(info: &source::SegmentIndexInfo) -> bool {
    info.build_id == 0 && !info.enable_index
}

/// Build IDs for the segment indexes that have none, because 2.2 keeps a map by build ID: below the smallest one in use,
/// counting down; from 1 up where there is none. IDs that would not be positive are taken from above the largest one instead.
fn own_build_ids(records: &Records) -> impl Iterator<Item = i64> + use<> {
    let in_use = || {
        let noted = records.segment_indexes.iter().map(|info| info.build_id).filter(|id| *id != 0);
        noted.chain(records.builds.keys().copied())
    };
    let smallest = in_use().min().unwrap_or(1);
    let largest = in_use().max().unwrap_or(0).max(0);
    let below = (1..smallest).rev();
    let above = (1..i64::MAX - largest).map(move |step| largest + step);
    below.chain(above)
}

/// Whether a segment index is to be converted at all; reports it if its collection is gone.
fn belongs(
    builder: &mut Builder,
    info: &source::SegmentIndexInfo,
    key: &str,
    collections: &BTreeMap<i64, Collection>,
) -> bool {
    let id = info.collection_id;
    match collections.get(&id) {
        Some(Collection::Source(_)) => return true,
        Some(Collection::Target) => {}
        Some(Collection::Invalid) => {
            let cause = Plain::Collection(id).to_string();
            builder.problems.add_caused(key, "its collection cannot be used", LOST, cause);
        }
        Some(Collection::Gone) | None => {
            builder.problems.add(key, format!("its collection {id} does not exist"), "it would be left out");
        }
    }
    false
}

fn find_index<'a>(info: &source::SegmentIndexInfo, indexes: &'a Indexes) -> Result<&'a Index, Unfit> {
    let (collection, index) = (info.collection_id, info.index_id);
    if let Some(index) = indexes.get(collection, index) {
        return Ok(index);
    }
    Err(match indexes.problem_of(collection, index) {
        Some(cause) => Unfit::Reported { key: cause.clone(), what: format!("its index {index} cannot be used") },
        None => Unfit::Own(format!("its index {index} is none of the collection's indexes")),
    })
}

/// A segment index without a build becomes a finished one without files.
fn without_build(
    builder: &mut Builder,
    info: &source::SegmentIndexInfo,
    build_id: i64,
    records: &Records,
) -> Result<target::SegmentIndex, Unfit> {
    let (collection, partition, segment) = (info.collection_id, info.partition_id, info.segment_id);
    let num_rows = match records.segment_rows.get(&(collection, partition, segment)) {
        Some(Ok(rows)) => *rows,
        Some(Err(_)) => {
            let key = Key::Segment { collection, partition, segment }.to_string();
            let fault =
                "the value does not decode as protobuf, so the number of the segment's rows is not known".into();
            return Err(Unfit::Other { key, fault });
        }
        None => {
            let warning =
                format!("{}: segment {segment} no longer exists; Milvus 2.2 will remove its index", key_of(info));
            builder.report.warnings.push(warning);
            0
        }
    };
    let what = format!(
        "segment {segment} below the index threshold: build ID {build_id} instead of 0, {num_rows} rows instead of 0"
    );
    builder.report.repair(RepairKind::BuildId, key_of(info), what);
    Ok(target::SegmentIndex {
        num_rows,
        build_id,
        index_version: 1,
        state: IndexState::Finished as i32,
        write_handoff: true,
        ..base(info)
    })
}

fn with_build(
    builder: &Builder,
    info: &source::SegmentIndexInfo,
    index: &Index,
    records: &Records,
    options: &Options,
    rebuilt: &mut BTreeMap<(i64, i64), Rebuilt>,
) -> Result<target::SegmentIndex, Unfit> {
    let build_key = Key::Build(info.build_id).to_string();
    let build = match records.builds.get(&info.build_id) {
        Some(Ok(build)) => build,
        Some(Err(_)) => {
            let what = format!("its build record {build_key} cannot be used");
            return Err(Unfit::Reported { key: build_key, what });
        }
        None => return Err(Unfit::Own(format!("its build record {build_key} is missing"))),
    };
    let Some(num_rows) = build.num_rows else {
        return Err(Unfit::Other { key: build_key, fault: "it does not tell the number of rows".into() });
    };
    let record = target::SegmentIndex { num_rows, build_id: info.build_id, deleted: build.mark_deleted, ..base(info) };
    if let Some(reason) = rebuild_reason(build, index, options) {
        let at = (info.collection_id, info.index_id);
        rebuilt.entry(at).or_insert_with(|| begin_rebuilt(builder, info, index, reason)).segments.push(info.segment_id);
        return Ok(for_rebuild(record));
    }
    check_files(info, build).map_err(|fault| Unfit::Other { key: build_key, fault })?;
    Ok(target::SegmentIndex {
        node_id: build.node_id,
        index_version: build.index_version,
        state: build.state,
        fail_reason: build.fail_reason.clone(),
        index_file_keys: build.files.keys.clone(),
        serialize_size: build.serialize_size,
        write_handoff: build.state == IndexState::Finished as i32,
        ..record
    })
}

/// Holds the paths of the index files against the place where 2.2 looks for them: an index with files elsewhere would be lost
/// without a word.
fn check_files(info: &source::SegmentIndexInfo, build: &Build) -> Result<(), String> {
    let (partition, segment) = (info.partition_id, info.segment_id);
    let elsewhere = build.files.location.filter(|location| *location != (partition, segment));
    let path = match (&build.files.unexpected, elsewhere) {
        (Some(path), _) => path.clone(),
        (None, Some((partition, segment))) => {
            format!("…/{partition}/{segment}/{}", build.files.keys.first().map_or("", |key| key))
        }
        (None, None) => return Ok(()),
    };
    Err(format!(
        "its index file {path:?} is not at index_files/{}/{}/{partition}/{segment}/<file>, where Milvus 2.2 looks for it",
        info.build_id, build.index_version
    ))
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

fn write(builder: &mut Builder, info: &source::SegmentIndexInfo, record: &target::SegmentIndex) {
    let state = state_name(record.state).to_owned();
    *builder.report.segment_indexes.entry(state).or_default() += 1;
    builder.count_segment_index(info.collection_id);
    let key = Key::SegmentIndex {
        collection: info.collection_id,
        partition: info.partition_id,
        segment: info.segment_id,
        build: record.build_id,
    };
    builder.prepare(&key, record.encode_to_vec());
}

/// Why the files of an index must be built anew, if they must. Only finished files of live indexes can be in anybody's way.
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

fn begin_rebuilt(builder: &Builder, info: &source::SegmentIndexInfo, index: &Index, reason: String) -> Rebuilt {
    Rebuilt {
        collection: builder.collection_name(info.collection_id),
        field: index.field.name.clone(),
        index: index.name.clone(),
        kind: index.kind.clone(),
        segments: Vec::new(),
        reason,
    }
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

/// Build records that no segment index uses: of dropped indexes, or on their way to be recycled.
fn report_unused_builds(builder: &mut Builder, records: &Records, used: &HashSet<i64>) {
    for (id, build) in &records.builds {
        if let Ok(build) = build
            && !used.contains(id)
        {
            let why = match build.mark_deleted {
                true => "the build record of a dropped index",
                false => "a build record that no segment index uses; Milvus 2.2 removes its files",
            };
            builder.report.leave_out(Key::Build(*id).to_string(), why);
        }
    }
}
