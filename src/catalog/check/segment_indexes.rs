//! Indexes of segments.

use super::collections::CollectionCheck;
use super::finding::Findings;
use super::indexes::IndexCheck;
use super::invariant::Invariant;
use super::read;
use super::segments::Segments;
use crate::catalog::records::same_id;
use crate::layout::families::Family;
use crate::layout::messages::common::IndexState;
use crate::layout::messages::target::SegmentIndex;

/// A segment index, reduced to what other records are held against: there may be hundreds of thousands.
#[derive(Debug, Clone, Copy)]
struct IndexedSegment {
    collection: i64,
    partition: i64,
    segment: i64,
    build: i64,
    /// Index and rows; `None` if the value cannot be read.
    index: Option<i64>,
    rows: i64,
    finished: bool,
    deleted: bool,
}

/// All segment indexes.
#[derive(Debug, Default)]
pub(super) struct SegmentIndexes {
    records: Vec<IndexedSegment>,
}

impl IndexedSegment {
    fn key(&self) -> String {
        let Self { collection, partition, segment, build, .. } = *self;
        Family::SegmentIndex.key([collection, partition, segment, build]).to_string()
    }
}

impl SegmentIndexes {
    pub(super) fn add(&mut self, ids: [i64; 4], key: &[u8], value: &[u8], findings: &mut Findings) {
        let [collection, partition, segment, build] = ids;
        let record = read(key, value, findings, |record: &SegmentIndex| {
            same_id("collectionID", record.collection_id, collection)?;
            same_id("partitionID", record.partition_id, partition)?;
            same_id("segmentID", record.segment_id, segment)?;
            same_id("buildID", record.build_id, build)
        });
        if let Some(record) = &record {
            check_record(key, record, findings);
        }
        self.records.push(IndexedSegment {
            collection,
            partition,
            segment,
            build,
            index: record.as_ref().map(|record| record.index_id),
            rows: record.as_ref().map_or(0, |record| record.num_rows),
            finished: record.as_ref().is_some_and(|record| record.state == IndexState::Finished as i32),
            deleted: record.as_ref().is_some_and(|record| record.deleted),
        });
    }

    pub(super) fn check(
        mut self,
        collections: &CollectionCheck,
        indexes: &IndexCheck,
        segments: &Segments,
        findings: &mut Findings,
    ) {
        self.records.sort_unstable_by_key(|record| (record.build, record.collection, record.partition, record.segment));
        let mut last: Option<&IndexedSegment> = None;
        for record in &self.records {
            check_build(record, last, findings);
            last = Some(record);
            if let Some(index) = record.index.filter(|_| !record.deleted) {
                check_owner(record, index, collections, indexes, findings);
                check_rows(record, segments, findings);
            }
        }
    }
}

fn check_rows(record: &IndexedSegment, segments: &Segments, findings: &mut Findings) {
    let segment = segments.rows([record.collection, record.partition, record.segment]);
    if let Some(rows) = segment
        && record.finished
        && rows != record.rows
    {
        let what = format!("it has {} rows, but its segment has {rows}", record.rows);
        findings.warn(Invariant::SegmentIndexRows, record.key(), what);
    }
}

/// What one record must fulfil by itself.
fn check_record(key: &[u8], record: &SegmentIndex, findings: &mut Findings) {
    let finished = record.state == IndexState::Finished as i32;
    if IndexState::try_from(record.state).is_err() {
        findings.error(
            Invariant::SegmentIndexState,
            key,
            format!("its state {} is none of the known ones", record.state),
        );
    } else if record.write_handoff && !finished && !record.deleted {
        findings.error(Invariant::SegmentIndexState, key, "it is handed off (write_handoff), but not finished");
    }
    if let Some(file) = record.index_file_keys.iter().find(|file| file.contains('/') || file.is_empty()) {
        findings.error(Invariant::SegmentIndexFiles, key, format!("its file key {file:?} is not the name of a file"));
    }
    if record.state == IndexState::Unissued as i32 && !record.index_file_keys.is_empty() {
        let what = format!("it is not issued yet, but has {} files", record.index_file_keys.len());
        findings.error(Invariant::SegmentIndexFiles, key, what);
    }
    if record.num_rows < 0 {
        findings.error(Invariant::SegmentIndexRows, key, format!("its number of rows is {}", record.num_rows));
    }
}

fn check_build(record: &IndexedSegment, last: Option<&IndexedSegment>, findings: &mut Findings) {
    if record.build <= 0 {
        findings.error(Invariant::BuildIdsUnique, record.key(), format!("its build ID is {}", record.build));
    }
    if let Some(last) = last.filter(|last| last.build == record.build) {
        let what = format!("{} has the same build ID", last.key());
        findings.error(Invariant::BuildIdsUnique, record.key(), what);
    }
}

fn check_owner(
    record: &IndexedSegment,
    index: i64,
    collections: &CollectionCheck,
    indexes: &IndexCheck,
    findings: &mut Findings,
) {
    let what = match indexes.get(record.collection, index) {
        None => format!("its index {index} does not exist"),
        // Segment indexes of a deleted index stay until Milvus cleans up, whatever became of the collection.
        Some(Some(index)) if index.deleted => return,
        Some(_) if !collections.exists(record.collection) => {
            format!("its collection {} does not exist", record.collection)
        }
        Some(_) => return,
    };
    findings.error(Invariant::SegmentIndexOwnerExists, record.key(), what);
}
