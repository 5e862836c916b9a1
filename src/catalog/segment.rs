//! Segments: the lists of files leave the segment record and get keys of their own (docs/layouts.md, rule 7).
//!
//! From 2.3.0 on a state change writes the record back without its lists and does not write the keys: rows of segments that were
//! being flushed would be gone after the second start (seen on 2.3.5).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, int64, skip_field, uint64,
};

use super::channel::Positions;
use super::collection::Collections;
use super::problem::Problem;
use super::records::{Record, Writing, decode, same_id};
use super::report::SegmentSummary;
use crate::layout::families::Family;
use crate::layout::keys::Key;
use crate::layout::messages::common::{Binlog, SegmentInfo, SegmentState};
use crate::layout::wire::{self, WireError};
use crate::version::{Layout, StatslogPadding};

/// Field numbers of data.SegmentInfo that leave the record, each with the family that its entries get keys of.
const LISTS: [(u32, Family); 3] = [(11, Family::Binlog), (12, Family::Statslog), (13, Family::Deltalog)];
/// Field numbers of data.FieldBinlog.
const FIELD_ID: u32 = 1;
const BINLOGS: u32 = 2;
/// Field numbers of data.Binlog.
const ENTRIES_NUM: u32 = 1;
const TIMESTAMP_FROM: u32 = 2;
const TIMESTAMP_TO: u32 = 3;
const LOG_PATH: u32 = 4;
const LOG_SIZE: u32 = 5;
const LOG_ID: u32 = 6;

/// Bytes that 2.1's compaction gathers before it cuts a file, for vectors of 4-byte floats (`dataNode.flush.insertBufSize`).
const COMPACTION_BUFFER: i64 = 16 << 20;

const LOST: &str = "the rows of the segment would be lost";

/// The files of one kind and field.
struct FieldLogs<'a> {
    family: Family,
    field: i64,
    logs: Vec<Log<'a>>,
    /// What else is in the list: fields that this tool does not know.
    rest: Vec<u8>,
}

/// A file, decoded and as it stands on the wire. There are millions of them, so nothing of it is copied.
#[derive(Clone, Copy)]
struct Log<'a> {
    raw: &'a [u8],
    path: &'a str,
    /// Rows; 0 where it does not say.
    entries: i64,
    /// Bytes.
    size: i64,
    id: i64,
}

/// Converts all segment records, and lets go of the values of those that get another one; says besides how far each channel was
/// read.
pub fn convert(records: &mut [Record], collections: &Collections, layout: Layout) -> (Writing, Positions) {
    let mut writing = Writing::default();
    let mut positions = Positions::default();
    let mut scratch = Scratch::default();
    for record in records {
        let Ok(key) = Key::parse(&record.key) else { continue };
        let ids @ [collection, partition, segment] = key.ids();
        let separated = separate(&record.value, ids, &mut scratch);
        // The lists are most of the record, and are decoded by now.
        let rest = separated.as_ref().map_or(&*record.value, |(rest, _)| rest);
        let info = decode::<SegmentInfo>(rest).and_then(|info| {
            same_id("collectionID", info.collection_id, collection)?;
            same_id("partitionID", info.partition_id, partition)?;
            same_id("ID", info.id, segment).map(|()| info)
        });
        let info = match info {
            Ok(info) => info,
            Err(what) => {
                writing.problems.push(Problem::new(&key, what, LOST));
                continue;
            }
        };
        positions.take(&info, &record.value);
        let dimension = collections.live(collection).and_then(super::collection::Collection::last_dimension);
        match separated {
            Ok((_, logs)) if logs.is_empty() => writing.put(&key, record.value.clone()),
            Ok((rest, logs)) => {
                put_separate(&mut writing, &mut scratch, &key, &info, (&rest, logs), dimension, layout);
                scratch.rest = rest;
                record.let_go();
            }
            Err(what) => writing.problems.push(Problem::new(&key, what, LOST)),
        }
    }
    (writing, positions)
}

/// Memory that one segment leaves to the next. There are so many small pieces that two threads would wait for the allocator, and
/// for each other: where a piece grows, glibc locks the arena that it came from, which is that of the other thread where that one had
/// it first.
#[derive(Default)]
struct Scratch {
    rest: Vec<u8>,
    folder: String,
    value: Vec<u8>,
    log: Vec<u8>,
}

/// The record without its lists, and what was in these.
fn separate<'a>(
    record: &'a [u8],
    ids: [i64; 3],
    scratch: &mut Scratch,
) -> Result<(Vec<u8>, Vec<FieldLogs<'a>>), String> {
    let wrong = |error: WireError| format!("the value does not decode as protobuf ({error})");
    let mut rest = std::mem::take(&mut scratch.rest);
    rest.clear();
    let mut lists: Vec<FieldLogs<'_>> = Vec::new();
    for field in wire::iter(record) {
        let field = field.map_err(wrong)?;
        match LISTS.iter().find(|(number, _)| *number == field.number) {
            Some((_, family)) => {
                let (field, logs, rest) = read_logs(&record[field.payload])?;
                scratch.folder.clear();
                write_folder(&mut scratch.folder, *family, ids, field);
                logs.iter().try_for_each(|log| log.is_in(&scratch.folder))?;
                lists.push(FieldLogs { family: *family, field, logs, rest });
            }
            None => rest.extend_from_slice(&record[field.whole]),
        }
    }
    // What a field has in several lists belongs together, in their order.
    lists.sort_by_key(|list| (list.family, list.field));
    lists.dedup_by(|next, list| {
        let is_same = (next.family, next.field) == (list.family, list.field);
        if is_same {
            list.logs.append(&mut next.logs);
            list.rest.append(&mut next.rest);
        }
        is_same
    });
    Ok((rest, lists))
}

/// Where newer versions look for the files of a field: they build the whole path from the IDs (`metautil.BuildInsertLogPath` and its
/// kin).
fn write_folder(folder: &mut String, family: Family, [collection, partition, segment]: [i64; 3], field: i64) {
    // A text that grows takes everything.
    let _ = match family {
        Family::Binlog => write!(folder, "insert_log/{collection}/{partition}/{segment}/{field}/"),
        Family::Statslog => write!(folder, "stats_log/{collection}/{partition}/{segment}/{field}/"),
        // The only ones without a field.
        _ => write!(folder, "delta_log/{collection}/{partition}/{segment}/"),
    };
}

/// The field that a data.FieldBinlog is of, its files, and what else is in it.
fn read_logs(list: &[u8]) -> Result<(i64, Vec<Log<'_>>, Vec<u8>), String> {
    let wrong = |error: WireError| format!("the value does not decode as protobuf ({error})");
    let (mut id, mut logs, mut rest) = (0, Vec::new(), Vec::new());
    for field in wire::iter(list) {
        let field = field.map_err(wrong)?;
        match field.number {
            FIELD_ID => id = wire::number(&list[field.whole]).map_err(wrong)? as i64,
            BINLOGS => logs.push(Log::read(&list[field.payload])?),
            _ => rest.extend_from_slice(&list[field.whole]),
        }
    }
    Ok((id, logs, rest))
}

impl<'a> Log<'a> {
    fn read(raw: &'a [u8]) -> Result<Self, String> {
        let mut log = match Self::decode(raw) {
            Some(log) => log,
            // The same again, for the words.
            None => return Err(decode::<Binlog>(raw).err().unwrap_or_else(|| "a file in its lists is damaged".into())),
        };
        let name = log.path.rsplit('/').next().unwrap_or_default();
        log.id = match (name.parse(), log.id) {
            (Ok(id), _) if id > 0 => id,
            // What a newer Milvus has written has an ID in the stead of a path.
            (_, id) if log.path.is_empty() && id > 0 => id,
            _ => {
                let path = log.path;
                return Err(format!(
                    "its file {path:?} does not end in a number, by which newer versions would find it"
                ));
            }
        };
        Ok(log)
    }

    /// As prost decodes a `Binlog`, but that the path stays where it is. Its `id` is what stands on the wire.
    fn decode(raw: &'a [u8]) -> Option<Self> {
        let mut log = Self { raw, path: "", entries: 0, size: 0, id: 0 };
        let mut rest = raw;
        while !rest.is_empty() {
            let (number, kind) = decode_key(&mut rest).ok()?;
            let context = DecodeContext::default();
            match number {
                ENTRIES_NUM => int64::merge(kind, &mut log.entries, &mut rest, context).ok()?,
                TIMESTAMP_FROM | TIMESTAMP_TO => uint64::merge(kind, &mut 0, &mut rest, context).ok()?,
                LOG_PATH if kind == WireType::LengthDelimited => {
                    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                    let (path, after) = rest.split_at_checked(length)?;
                    log.path = std::str::from_utf8(path).ok()?;
                    rest = after;
                }
                LOG_PATH => return None,
                LOG_SIZE => int64::merge(kind, &mut log.size, &mut rest, context).ok()?,
                LOG_ID => int64::merge(kind, &mut log.id, &mut rest, context).ok()?,
                _ => {
                    // No message of Milvus has any. They may be nested deeper than what writes the log again can follow.
                    if kind == WireType::StartGroup {
                        wire::fields(raw).ok()?;
                    }
                    skip_field(kind, number, &mut rest, context).ok()?;
                }
            }
        }
        Some(log)
    }

    /// A file anywhere else would not be found, and its rows be gone without a word.
    fn is_in(&self, folder: &str) -> Result<(), String> {
        let path = self.path;
        let (above, name) = path.rsplit_once('/').map_or(("", path), |(above, name)| (&path[..=above.len()], name));
        let is_there = above.strip_suffix(folder).is_some_and(|root| root.is_empty() || root.ends_with('/'));
        // Its ID could be spelt in another way (`007`), and then it has another path.
        if path.is_empty() || (is_there && name.starts_with(|first| ('1'..='9').contains(&first))) {
            return Ok(());
        }
        Err(format!("its file {path:?} is not where newer versions look for it: …/{folder}{}", self.id))
    }

    /// Whether it does not say how many rows are in it.
    fn is_uncounted(&self) -> bool {
        self.entries <= 0
    }

    /// As newer versions write it: the ID in the stead of the path, and this number of rows.
    fn write(&self, entries: i64, log: &mut Vec<u8>) {
        if entries != 0 {
            int64::encode(ENTRIES_NUM, &entries, log);
        }
        // It was decoded, so every field is whole.
        for field in wire::iter(self.raw).map_while(Result::ok) {
            if ![ENTRIES_NUM, LOG_PATH, LOG_ID].contains(&field.number) {
                log.extend_from_slice(&self.raw[field.whole]);
            }
        }
        int64::encode(LOG_ID, &self.id, log);
    }
}

fn put_separate(
    writing: &mut Writing,
    scratch: &mut Scratch,
    key: &Key,
    info: &SegmentInfo,
    (rest, mut lists): (&[u8], Vec<FieldLogs<'_>>),
    dimension: Option<i64>,
    layout: Layout,
) {
    let summary = &mut writing.report.segments;
    summary.moved += 1;
    if is_padded(info, layout) {
        pad_statslogs(&mut lists, summary);
    }
    if layout.statslog_padding != StatslogPadding::Nobody && lacks_one_kind(info, &lists) {
        summary.without_statslogs.push(info.id);
    }
    let rows = rows_of_binlogs(info, &lists, dimension, summary);
    summary.log_keys += lists.len() as u64;
    let [collection, partition, segment] = key.ids();
    let Scratch { value, log: one, .. } = scratch;
    for FieldLogs { family, field, logs, rest } in &lists {
        if logs.is_empty() {
            writing.report.segments.log_keys -= 1;
            continue;
        }
        value.clear();
        // As every encoder does: zero is not written.
        if *field != 0 {
            int64::encode(FIELD_ID, field, value);
        }
        for (at, log) in logs.iter().enumerate() {
            let shared = rows.as_ref().filter(|_| *family == Family::Binlog).and_then(|rows| rows.get(field));
            one.clear();
            log.write(shared.map_or(log.entries, |rows| rows[at]), one);
            encode_key(BINLOGS, WireType::LengthDelimited, value);
            encode_varint(one.len() as u64, value);
            value.extend_from_slice(one);
        }
        value.extend_from_slice(rest);
        writing.put_copy(&family.key([collection, partition, segment, *field]), value);
    }
    writing.put_copy(key, rest);
}

/// 2.2.3 to 2.2.16 (all segments) and 2.3 (those that no compaction made) refuse to save a segment that has another number of
/// statslogs than of binlogs: one delete, and the data node is in a crash loop (seen on 2.2.16).
fn is_padded(info: &SegmentInfo, layout: Layout) -> bool {
    match layout.statslog_padding {
        StatslogPadding::Nobody => false,
        StatslogPadding::Everybody => true,
        StatslogPadding::NotCompacted => info.compaction_from.is_empty(),
    }
}

/// Where statslogs are counted, a segment is not saved either that has binlogs and no statslogs, or the reverse, whatever made it
/// (`checkBinlogs` of datacoord's catalog).
fn lacks_one_kind(info: &SegmentInfo, lists: &[FieldLogs<'_>]) -> bool {
    let has = |family| lists.iter().any(|list| list.family == family && !list.logs.is_empty());
    info.state != SegmentState::SegmentDropped as i32 && has(Family::Binlog) != has(Family::Statslog)
}

/// Repeats the last statslog up to the number of binlogs of the first field: 2.1.2 to 2.1.4 keep one that covers all rows.
fn pad_statslogs(lists: &mut [FieldLogs<'_>], summary: &mut SegmentSummary) {
    let first = lists.iter().find(|list| list.family == Family::Binlog && !list.logs.is_empty());
    let binlogs = first.map_or(0, |list| list.logs.len());
    let mut padded = false;
    for list in lists.iter_mut().filter(|list| list.family == Family::Statslog) {
        let Some(last) = list.logs.last() else { continue };
        let missing = binlogs.saturating_sub(list.logs.len());
        let last = *last;
        padded |= missing > 0;
        summary.padded_bytes += last.size.saturating_mul(missing as i64);
        list.logs.extend(std::iter::repeat_n(last, missing));
    }
    summary.padded += u64::from(padded);
}

/// Rows of each binlog by field, where 2.1's compaction left them at 0: later versions add them up at any change of the segment,
/// take the whole for unknown if a single one has none (`CalcRowCountFromBinLog`), and a collection with a segment of 0 or -1 rows
/// cannot be loaded (seen on 2.3.5).
fn rows_of_binlogs(
    info: &SegmentInfo,
    lists: &[FieldLogs<'_>],
    dimension: Option<i64>,
    summary: &mut SegmentSummary,
) -> Option<BTreeMap<i64, Vec<i64>>> {
    let rows = info.num_of_rows;
    let without = |list: &&FieldLogs<'_>| list.family == Family::Binlog && list.logs.iter().any(Log::is_uncounted);
    let concerned: Vec<&FieldLogs<'_>> = lists.iter().filter(without).collect();
    if rows <= 0 || concerned.is_empty() {
        return None;
    }
    let mut shared = false;
    // One row has the same place in the files of every field, so the sizes of the first field count for all that are cut alike.
    let sizes_of = |list: &FieldLogs<'_>| list.logs.iter().map(|log| log.size).collect::<Vec<_>>();
    let first = sizes_of(concerned[0]);
    let by_field = concerned.iter().map(|list| {
        if !list.logs.iter().all(Log::is_uncounted) {
            shared = true;
            return (list.field, count_the_rest(rows, &list.logs));
        }
        let number = list.logs.len();
        let cut = (number == 1).then(|| vec![rows]).or_else(|| cut_by_compaction(rows, number, dimension));
        let counts = cut.unwrap_or_else(|| {
            shared = true;
            let own = sizes_of(list);
            share_out(rows, if own.len() == first.len() { &first } else { &own })
        });
        (list.field, counts)
    });
    let by_field = by_field.collect();
    if shared {
        summary.rows_shared.push(info.id);
    } else {
        summary.rows_known += 1;
    }
    Some(by_field)
}

/// As 2.1's compaction cuts: every file but the last holds 16 MiB of vectors. `None` if that gives another number of files.
fn cut_by_compaction(rows: i64, number: usize, dimension: Option<i64>) -> Option<Vec<i64>> {
    let each = COMPACTION_BUFFER.checked_div(dimension.filter(|dimension| *dimension > 0)?.checked_mul(4)?)?;
    let number = i64::try_from(number).ok()?;
    if each == 0 || (rows - 1) / each + 1 != number {
        return None;
    }
    let mut counts = vec![each; number as usize];
    *counts.last_mut()? = rows - each * (number - 1);
    Some(counts)
}

/// What is noted stays, and the other files share the rows that are left. Where that is not one each, all files share all rows: newer
/// versions take the sum for the segment's own number (`ReCalcRowCount`), so the sum has to be right.
fn count_the_rest(rows: i64, logs: &[Log<'_>]) -> Vec<i64> {
    let (uncounted, counted): (Vec<_>, Vec<_>) = logs.iter().partition(|log| log.is_uncounted());
    let noted = counted.iter().fold(0, |sum: i64, log: &&Log<'_>| sum.saturating_add(log.entries));
    let sizes: Vec<i64> = uncounted.iter().map(|log| log.size).collect();
    let left = rows.saturating_sub(noted);
    if left < sizes.len() as i64 {
        let all: Vec<i64> = logs.iter().map(|log| log.size).collect();
        return share_out(rows, &all);
    }
    let mut shares = share_out(left, &sizes).into_iter();
    let number = |log: &Log<'_>| if log.is_uncounted() { shares.next().unwrap_or(1) } else { log.entries };
    logs.iter().map(number).collect()
}

/// Rows in proportion to sizes: at least one each, and exactly `rows` in all where that is possible.
fn share_out(rows: i64, sizes: &[i64]) -> Vec<i64> {
    let number = sizes.len() as i64;
    if rows <= number {
        return vec![1; sizes.len()];
    }
    let weight = |size: &i64| i128::from((*size).max(0));
    let total: i128 = sizes.iter().map(weight).sum();
    // Without any size all are alike.
    let weights: Vec<i128> = if total == 0 { vec![1; sizes.len()] } else { sizes.iter().map(weight).collect() };
    let (all, total) = (i128::from(rows), weights.iter().sum::<i128>());
    let mut counts: Vec<i64> = weights.iter().map(|weight| ((all * weight / total) as i64).max(1)).collect();
    // What rounding leaves goes to the largest remainders.
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|at| std::cmp::Reverse(all * weights[*at] % total));
    let mut over = counts.iter().map(|count| i128::from(*count)).sum::<i128>() - all;
    for at in by_remainder {
        if over < 0 {
            counts[at] += 1;
            over += 1;
        }
    }
    while over > 0 {
        // Only where small files were rounded up to one row: taken from the largest.
        let Some(largest) = counts.iter_mut().max() else { break };
        let take = i64::try_from(over).unwrap_or(i64::MAX).min(*largest - 1).max(1);
        *largest -= take;
        over -= i128::from(take);
    }
    counts
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn rows_are_cut_as_the_compaction_of_2_1_does() {
        // What a real 2.1.0 wrote for 12,000 rows of dimension 1024.
        assert_eq!(cut_by_compaction(12_000, 3, Some(1024)), Some(vec![4096, 4096, 3808]));
        assert_eq!(cut_by_compaction(12_000, 2, Some(1024)), None);
        assert_eq!(cut_by_compaction(12_000, 3, None), None);
    }

    #[test]
    fn what_no_message_knows_is_carried_over_or_refused_but_never_lost() {
        let in_groups = |depth: usize| {
            let group = [[0x9b, 0x06].repeat(depth), [0x9c, 0x06].repeat(depth)].concat();
            let mut raw = group.clone();
            prost::encoding::string::encode(LOG_PATH, &"insert_log/1/2/3/4/5".to_owned(), &mut raw);
            int64::encode(LOG_SIZE, &77, &mut raw);
            (group, raw)
        };
        let (group, raw) = in_groups(3);
        let mut written = Vec::new();
        Log::read(&raw).unwrap().write(9, &mut written);
        let mut expected = Vec::new();
        int64::encode(ENTRIES_NUM, &9, &mut expected);
        expected.extend(group);
        int64::encode(LOG_SIZE, &77, &mut expected);
        int64::encode(LOG_ID, &5, &mut expected);
        assert_eq!(written, expected);
        // prost follows these, what writes them again does not.
        let (_, raw) = in_groups(40);
        assert!(Binlog::decode(&*raw).is_ok() && Log::read(&raw).is_err());
    }

    #[test]
    fn rows_are_shared_out_in_proportion_and_exactly() {
        assert_eq!(share_out(1000, &[1000, 2000, 3000, 4000]), [100, 200, 300, 400]);
        assert_eq!(share_out(7, &[1, 1, 1]).iter().sum::<i64>(), 7);
        assert_eq!(share_out(5, &[0, 0, 1_000_000]), [1, 1, 3]);
        assert_eq!(share_out(2, &[5, 5, 5]), [1, 1, 1]);
        assert_eq!(share_out(-3, &[5, 5]), [1, 1]);
        assert_eq!(share_out(9, &[0, 0, 0]), [3, 3, 3]);
        assert_eq!(share_out(i64::MAX, &[i64::MAX, i64::MAX]).iter().sum::<i64>(), i64::MAX);
    }
}
