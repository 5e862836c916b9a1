//! Segments with the keys of their logs, and where channels go on reading.

use std::collections::{BTreeSet, HashMap};

use super::collections::CollectionCheck;
use super::finding::Findings;
use super::invariant::Invariant;
use super::read;
use crate::amounts::many;
use crate::catalog::records::same_id;
use crate::layout::families::Family;
use crate::layout::keys::Key;
use crate::layout::messages::common::{FieldBinlog, MsgPosition, SegmentInfo, SegmentState};
use crate::version::{Layout, StatslogPadding};

/// The log ID of the one statslog that 2.3 merges all others of a segment into; then it reads no other.
const COMPOUND_STATSLOG: i64 = 1;

type Ids = [i64; 3];

/// A segment, reduced to what its logs are held against: there may be hundreds of thousands.
#[derive(Debug, Clone, Copy)]
struct CheckedSegment {
    rows: i64,
    is_flushed: bool,
    is_compacted: bool,
    is_dropped: bool,
}

/// What the log keys of a segment hold.
#[derive(Debug, Clone, Copy, Default)]
struct Logs {
    /// Of the field with the lowest ID that has any: number of binlogs, and of rows in them.
    binlogs: Option<(usize, i64)>,
    /// Whether one of these does not say how many rows are in it.
    has_uncounted: bool,
    /// Number of fields that have binlogs.
    fields: u32,
    /// Of the first field that has any: number of statslogs. Milvus compares it with that of the binlogs.
    statslogs: Option<usize>,
    has_compound: bool,
    /// Whether one of the keys does not decode, which is found as such.
    is_unreadable: bool,
}

/// All segments with their logs, and all checkpoints.
#[derive(Debug, Default)]
pub(super) struct Segments {
    segments: HashMap<Ids, CheckedSegment>,
    logs: HashMap<Ids, Logs>,
    checkpoints: BTreeSet<String>,
}

impl Segments {
    pub(super) fn add(&mut self, ids: Ids, key: &[u8], value: &[u8], findings: &mut Findings) {
        let record = read(key, value, findings, |info: &SegmentInfo| {
            same_id("collectionID", info.collection_id, ids[0])?;
            same_id("partitionID", info.partition_id, ids[1])?;
            same_id("ID", info.id, ids[2])
        });
        let Some(info) = record else { return };
        if !(info.binlogs.is_empty() && info.statslogs.is_empty() && info.deltalogs.is_empty()) {
            findings.error(Invariant::SegmentsSeparate, key, "it embeds its lists of files");
        }
        let is_flushed = info.state == SegmentState::Flushed as i32;
        let is_compacted = !info.compaction_from.is_empty();
        let is_dropped = info.state == SegmentState::SegmentDropped as i32;
        self.segments.insert(ids, CheckedSegment { rows: info.num_of_rows, is_flushed, is_compacted, is_dropped });
    }

    /// Takes in a key of logs: binlogs come before statslogs, and fields in the order of their digits.
    pub(super) fn add_logs(&mut self, parsed: &Key, key: &[u8], value: &[u8], findings: &mut Findings) {
        let [collection, partition, segment, field] = parsed.ids();
        let record = read(key, value, findings, |record: &FieldBinlog| same_id("fieldID", record.field_id, field));
        let logs = self.logs.entry([collection, partition, segment]).or_default();
        let Some(record) = record else {
            logs.is_unreadable = true;
            return;
        };
        if let Some(log) = record.binlogs.iter().find(|log| log.log_id <= 0 || !log.log_path.is_empty()) {
            let what = format!("a file is named {:?} and has the log ID {}", log.log_path, log.log_id);
            findings.error(Invariant::LogIds, key, what);
        }
        let number = record.binlogs.len();
        if parsed.family == Family::Binlog && number > 0 {
            logs.fields += 1;
        }
        match parsed.family {
            Family::Binlog if logs.binlogs.is_none() => {
                let rows = record.binlogs.iter().map(|log| log.entries_num);
                logs.binlogs = Some((number, rows.fold(0, i64::saturating_add)));
                logs.has_uncounted = record.binlogs.iter().any(|log| log.entries_num <= 0);
            }
            Family::Statslog if logs.statslogs.is_none() => {
                logs.statslogs = Some(number);
                logs.has_compound = record.binlogs.iter().any(|log| log.log_id == COMPOUND_STATSLOG);
            }
            _ => {}
        }
    }

    pub(super) fn add_checkpoint(&mut self, channel: &str, key: &[u8], value: &[u8], findings: &mut Findings) {
        self.checkpoints.insert(channel.to_owned());
        if let Some(position) = read(key, value, findings, |_: &MsgPosition| Ok(()))
            && position.msg_id.is_empty()
        {
            findings.error(Invariant::CheckpointPresent, key, "it holds no message ID");
        }
    }

    /// The number of rows of a segment.
    pub(super) fn rows(&self, ids: Ids) -> Option<i64> {
        self.segments.get(&ids).map(|segment| segment.rows)
    }

    pub(super) fn check(&self, collections: &CollectionCheck, layout: Option<Layout>, findings: &mut Findings) {
        let fields = collections.number_of_fields();
        for (ids, segment) in &self.segments {
            let logs = self.logs.get(ids).copied().unwrap_or_default();
            check_statslogs(*ids, *segment, logs, layout, findings);
            if segment.is_flushed {
                check_rows(*ids, segment.rows, logs, findings);
                check_fields(*ids, fields.get(&ids[0]).copied().unwrap_or_default(), logs, findings);
            }
        }
        for (id, collection) in collections.created() {
            for start in collection.channels.iter().filter(|start| !self.checkpoints.contains(&start.channel)) {
                let key = Family::ChannelCheckpoint.named(&start.channel).to_string();
                let what =
                    format!("channel {} of collection {:?} ({id}) has no checkpoint", start.channel, collection.name);
                // Where the collection's record does not tell where the channel begins, nobody can know.
                match start.message_id {
                    Some(_) => findings.error(Invariant::CheckpointPresent, key, what),
                    None => findings.warn(Invariant::CheckpointPresent, key, what),
                }
            }
        }
    }
}

/// Where it counts them, the target refuses to save a segment that has another number of statslogs than of binlogs.
fn check_statslogs(ids: Ids, segment: CheckedSegment, logs: Logs, layout: Option<Layout>, findings: &mut Findings) {
    let counts = layout.is_some_and(|layout| match layout.statslog_padding {
        StatslogPadding::Nobody => false,
        StatslogPadding::Everybody => true,
        StatslogPadding::NotCompacted => !segment.is_compacted,
    });
    let is_living = !segment.is_dropped;
    let counts_any = layout.is_some_and(|layout| layout.statslog_padding != StatslogPadding::Nobody);
    if is_living && counts_any && !logs.is_unreadable && logs.binlogs.is_some() != logs.statslogs.is_some() {
        let what = match logs.binlogs {
            Some(_) => "it has binlogs, and no statslogs",
            None => "it has statslogs, and no binlogs",
        };
        findings.warn(Invariant::StatslogsComplete, Family::Segment.key(ids).to_string(), what);
    }
    if let (Some((binlogs, _)), Some(statslogs)) = (logs.binlogs, logs.statslogs)
        && is_living
        && counts
        && statslogs != binlogs
        && !logs.has_compound
    {
        let what = format!(
            "it has {} for {} of a field",
            many(statslogs, "statslog", "statslogs"),
            many(binlogs, "binlog", "binlogs")
        );
        let way = "another target: 2.4 does not count them".to_owned();
        findings.error_with(Invariant::StatslogsComplete, Family::Segment.key(ids).to_string(), what, way);
    }
}

/// A flushed segment has files of every field, the two system fields among them: they are written together.
fn check_fields(ids: Ids, fields: u32, logs: Logs, findings: &mut Findings) {
    if logs.fields > 0 && logs.fields < fields && !logs.is_unreadable {
        let what = format!("it has binlogs of {} of the {fields} fields", logs.fields);
        findings.warn(Invariant::BinlogsComplete, Family::Segment.key(ids).to_string(), what);
    }
}

/// A flushed segment has all of its rows in files.
fn check_rows(ids: Ids, rows: i64, logs: Logs, findings: &mut Findings) {
    let key = || Family::Segment.key(ids).to_string();
    match logs.binlogs {
        Some((_, found)) if found != 0 && logs.has_uncounted => findings.warn(
            Invariant::RowsCounted,
            key(),
            format!(
                "one of its files does not say how many rows are in it; the others have {found}, the segment {rows}"
            ),
        ),
        _ if rows == logs.binlogs.map_or(0, |(_, found)| found) => {}
        // Newer versions pass over a segment without files when they load (GetRecoveryInfo).
        None => findings.warn(
            Invariant::RowsCounted,
            key(),
            format!("it has {}, but no binlogs", many(rows, "row", "rows")),
        ),
        Some((_, 0)) => {
            findings.error(Invariant::RowsCounted, key(), format!("its files have 0 rows, but it has {rows}"));
        }
        Some((_, found)) => {
            findings.warn(Invariant::RowsCounted, key(), format!("its files have {found} rows, but it has {rows}"));
        }
    }
}
