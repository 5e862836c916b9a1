//! Channel checkpoints: from where the target goes on reading the message log (docs/layouts.md, rule 6).
//!
//! A data node that has none replays from the collection's start: on a cluster of some age that brings rows of dropped partitions
//! back, and where Kafka's retention has passed the start, rows that are still in the log are lost (both seen on real servers).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use time::OffsetDateTime;
use time::macros::format_description;

use super::collection::Collections;
use super::records::{Records, Writing};
use crate::layout::families::Family;
use crate::layout::messages::common::{CollectionInfo, MsgPosition, SegmentInfo, SegmentState};
use crate::layout::wire;
use crate::message_log::MessageLog;

/// Field numbers of data.SegmentInfo.
const START_POSITION: u32 = 9;
const DML_POSITION: u32 = 10;
/// A Kafka offset is below this; rocksmq's message IDs are around 4.7e17.
const LARGEST_KAFKA_OFFSET: u64 = 1 << 48;
/// librdkafka's "first one left" as a message ID: offset -2.
const FIRST_LEFT: [u8; 8] = (-2i64).to_le_bytes();

/// A channel of a collection, and where the collection begins on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelStart {
    /// The virtual channel.
    pub channel: String,
    /// The message ID of the start position, if the record tells it.
    pub message_id: Option<Vec<u8>>,
}

impl ChannelStart {
    /// Takes the channels out of a collection record.
    pub fn of(info: &CollectionInfo) -> Vec<Self> {
        let channels = info.virtual_channel_names.iter().enumerate();
        channels
            .map(|(at, channel)| {
                let physical = info.physical_channel_names.get(at);
                let start = physical
                    .and_then(|physical| info.start_positions.iter().find(|position| position.key == *physical))
                    .filter(|position| !position.data.is_empty());
                Self { channel: channel.clone(), message_id: start.map(|start| start.data.clone()) }
            })
            .collect()
    }
}

/// How far each channel was read, by the positions of its living segments.
#[derive(Debug, Default)]
pub struct Positions {
    /// The earliest position of each virtual channel, with its timestamp, as it stands in the segment's record.
    earliest: BTreeMap<String, (u64, Bytes)>,
    /// Channels with segments that were dropped.
    dropped: BTreeSet<String>,
    /// Whether every message ID seen looks like an offset of Kafka, and whether there was any.
    ids: MessageIds,
}

#[derive(Debug, Default, Clone, Copy)]
struct MessageIds {
    like_kafka: bool,
    unlike_kafka: bool,
}

impl MessageIds {
    fn take(&mut self, id: &[u8]) {
        let offset = <[u8; 8]>::try_from(id).map(u64::from_le_bytes);
        match offset {
            Ok(offset) if offset < LARGEST_KAFKA_OFFSET => self.like_kafka = true,
            _ => self.unlike_kafka = true,
        }
    }
}

impl Positions {
    /// Takes in a segment with its record. Segments that were dropped, never existed or are being imported read nothing more.
    pub fn take(&mut self, info: &SegmentInfo, record: &[u8]) {
        if info.state == SegmentState::SegmentDropped as i32 {
            self.dropped.insert(info.insert_channel.clone());
        }
        let positions = [(&info.dml_position, DML_POSITION), (&info.start_position, START_POSITION)];
        let known = positions.iter().filter_map(|(position, number)| Some((position.as_ref()?, *number)));
        let mut known = known.filter(|(position, _)| !position.msg_id.is_empty());
        let Some((position, number)) = known.next() else { return };
        self.ids.take(&position.msg_id);
        let ended = [SegmentState::NotExist, SegmentState::SegmentDropped, SegmentState::Importing];
        if ended.iter().any(|state| *state as i32 == info.state) {
            return;
        }
        let timestamp = position.timestamp;
        if self.earliest.get(&info.insert_channel).is_none_or(|(earliest, _)| timestamp < *earliest) {
            // The last one counts, as for every decoder; there is one in practice.
            let raw = wire::last_payload(record, number).unwrap_or_default();
            self.earliest.insert(info.insert_channel.clone(), (timestamp, Bytes::copy_from_slice(raw)));
        }
    }
}

/// Writes the checkpoints of all collections that get converted, but for those channels that a newer Milvus has a checkpoint of
/// where `keeps` says so.
pub fn write(
    records: &Records,
    collections: &Collections,
    mut positions: Positions,
    log: Option<MessageLog>,
    keep_newer: bool,
) -> Writing {
    let mut writing = Writing::default();
    let starts = || collections.iter().flat_map(|collection| &collection.channels);
    starts().filter_map(|start| start.message_id.as_ref()).for_each(|id| positions.ids.take(id));
    let shared = channels_named_twice(starts().map(|start| &*start.channel));
    let on_kafka = match log {
        Some(MessageLog::Kafka) => true,
        Some(MessageLog::Other) => false,
        None => positions.ids.like_kafka && !positions.ids.unlike_kafka,
    };
    let concerned = collections.iter().filter(|found| keep_newer || found.form == super::collection::Form::Embedded);
    for collection in concerned {
        for start in &collection.channels {
            let key = Family::ChannelCheckpoint.named(&start.channel);
            if keep_newer && records.get(&key).is_some() {
                continue;
            }
            // A key without a name would be none; and no two collections share a virtual channel.
            if start.channel.is_empty() || shared.contains(&*start.channel) {
                unknown(&mut writing, &collection.name, &start.channel);
                continue;
            }
            let summary = &mut writing.report.checkpoints;
            match positions.earliest.get(&start.channel).filter(|(timestamp, _)| *timestamp > 0) {
                Some((timestamp, position)) => {
                    summary.from_segments += 1;
                    if on_kafka {
                        summary.kafka_offsets += 1;
                        summary.oldest_kafka_offset =
                            summary.oldest_kafka_offset.take().into_iter().chain(written_at(*timestamp)).min();
                    }
                    writing.put(&key, position.clone());
                }
                None => {
                    let name = format!("{} / {}", collection.name, start.channel);
                    if positions.dropped.contains(&start.channel) {
                        summary.only_dropped.push(name.clone());
                    }
                    summary.never_flushed.push(name);
                    write_start(&mut writing, collection, start, on_kafka);
                }
            }
        }
    }
    writing
}

/// The position at which a collection begins. On Kafka the first message that is left in its stead: 2.1 would begin there, the newer
/// ones at the end of the log (seen on 2.2.16 and 2.3.5 clusters after retention).
fn write_start(
    writing: &mut Writing,
    collection: &super::collection::Collection,
    start: &ChannelStart,
    on_kafka: bool,
) {
    let Some(id) = &start.message_id else { return unknown(writing, &collection.name, &start.channel) };
    let summary = &mut writing.report.checkpoints;
    if on_kafka {
        summary.from_first_left += 1;
    } else {
        summary.from_collection += 1;
    }
    let position = MsgPosition {
        // As Milvus writes it itself. Readers cut it at its last `_` to find the physical channel; where a physical one stands, only later
        // releases put the virtual one in its place first (a repair of what 2.2.2 once wrote).
        channel_name: start.channel.clone(),
        msg_id: if on_kafka { FIRST_LEFT.to_vec() } else { id.clone() },
        msg_group: String::new(),
        timestamp: collection.create_time,
    };
    writing.put_message(&Family::ChannelCheckpoint.named(&start.channel), &position);
}

/// The physical part of a hybrid timestamp of Milvus, which counts milliseconds from bit 18 on.
fn written_at(timestamp: u64) -> Option<String> {
    let nanoseconds = i128::from(timestamp >> 18) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .ok()?
        .format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"))
        .ok()
}

fn unknown(writing: &mut Writing, collection: &str, channel: &str) {
    writing.report.checkpoints.unknown += 1;
    writing.report.warnings.push(format!(
        "collection {collection:?}: its record does not tell where channel {channel:?} begins, so it gets no checkpoint. If the new \
         Milvus panics at its first start (FromDmlCPLoadDelete), start it once more"
    ));
}

fn channels_named_twice<'a>(channels: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    channels.filter(|channel| !seen.insert(*channel)).collect()
}

/// The collection that a virtual channel belongs to: `<physical channel>_<collectionID>v<shard>`.
pub fn owner(channel: &str) -> Option<i64> {
    let (rest, shard) = channel.rsplit_once('v')?;
    shard.parse::<u32>().ok()?;
    rest.rsplit_once('_')?.1.parse().ok()
}
