//! The rules of the conversion (docs/layouts.md, 1 to 10) on hand-made metadata, on real metadata, and on anything at all.

mod aliases;
mod cases;
mod checkpoints;
pub(crate) mod cluster;
mod collections;
mod in_between;
mod indexes;
mod limits;
mod load_state;
mod names;
mod problems;
mod ranges;
mod replicas;
mod resume;
pub(crate) mod sample;
mod segment_indexes;
mod segments;
mod steps;
mod tripwires;
mod unknown;
mod user_params;
mod whole;

use prost::Message;

use crate::layout::TOMBSTONE;
use crate::layout::messages::common::{
    Binlog, CollectionInfo, CollectionSchema, FieldBinlog, MsgPosition, SegmentInfo,
};
use crate::layout::messages::source::IndexInfo;
use cluster::{Cluster, FLOAT, INT64};

/// An alias as 2.1 writes it: in the shape of a collection.
pub(crate) fn alias_record(name: &str, collection: i64) -> Vec<u8> {
    let schema = Some(CollectionSchema { name: name.into(), ..CollectionSchema::default() });
    CollectionInfo { id: collection, schema, ..CollectionInfo::default() }.encode_to_vec()
}

/// A list of files as 2.1 embeds it: of each the ID and the number of rows; the sizes are a hundred times that.
pub(crate) fn files(kind: &str, field_id: i64, logs: &[(i64, i64)]) -> FieldBinlog {
    // The files of deletes are of no field.
    let field = if kind == "delta_log" { String::new() } else { format!("{field_id}/") };
    let log = |(id, entries_num): &(i64, i64)| Binlog {
        entries_num: *entries_num,
        timestamp_from: 3,
        timestamp_to: 4,
        log_path: format!("files/{kind}/1/10/9/{field}{id}"),
        log_size: entries_num * 100,
        log_id: 0,
    };
    FieldBinlog { field_id, binlogs: logs.iter().map(log).collect() }
}

/// A place in the message log of a virtual channel.
pub(crate) fn position(channel: &str, id: &[u8], timestamp: u64) -> Option<MsgPosition> {
    let msg_group = "group".into();
    Some(MsgPosition { channel_name: channel.into(), msg_id: id.to_vec(), msg_group, timestamp })
}

/// Two fields with two binlogs each, one statslog, one deltalog, and a position.
fn with_files(info: &mut SegmentInfo) {
    info.num_of_rows = 30;
    info.binlogs = vec![files("insert_log", 100, &[(41, 10), (42, 20)]), files("insert_log", 0, &[(43, 10), (44, 20)])];
    info.statslogs = vec![files("stats_log", 100, &[(45, 30)])];
    info.deltalogs = vec![files("delta_log", 0, &[(46, 2)])];
    // In the folder of this segment.
    let here = format!("/{}/{}/{}/", info.collection_id, info.partition_id, info.id);
    let lists = [&mut info.binlogs, &mut info.statslogs, &mut info.deltalogs];
    for log in lists.into_iter().flatten().flat_map(|list| &mut list.binlogs) {
        log.log_path = log.log_path.replace("/1/10/9/", &here);
    }
    info.dml_position = position(&info.insert_channel, b"abcdefgh", 50);
}

/// A cluster with everything that is sound: live, dropped, altered, loaded, released, built, not built, flushed, growing, and left
/// from 2.0.
pub(crate) fn everything() -> Cluster {
    const SORT: &[(&str, &str)] = &[("index_type", "STL_SORT")];
    Cluster::new()
        .collection(1, "books")
        .field(102, "price", FLOAT)
        .field(103, "year", INT64)
        .channel("dml_0", b"01234567")
        .channel("dml_1", b"76543210")
        .snapshot(5)
        .alias("my_tshirts", &[6])
        .alias("v_ts2022", &[6])
        .vector_index(500)
        .index(501, 102, "_default_idx", SORT)
        .partition(11, "p_ts1")
        .snapshot(9)
        .index(502, 103, "_default_idx_102", SORT)
        .vector_index(503)
        .alter("root-coord/index/1/503", |info: &mut IndexInfo| info.deleted = true)
        .segment(1, with_files)
        .segment_index(500, 1, 800)
        .segment_index(501, 1, 801)
        .segment_index(502, 1, 802)
        .buildless(500, 2, 250)
        .buildless(501, 2, 250)
        .loaded()
        .collection(2, "films, without snapshots and indexes")
        .alias("no_history", &[])
        .loaded()
        .collection(3, "songs")
        .vector_index(600)
        .snapshot(7)
        .alias("v_ts2022", &[12])
        .segment_index(600, 3, 803)
        .buildless(600, 4, 40)
        .segment(5, with_files)
        .loaded_partitions(&[(30, 100)])
        .collection(4, "dropped")
        .snapshot(3)
        .alias("gone", &[4])
        .alias("nowhere", &[4])
        .bury("root-coord/collection-alias/gone", 7)
        .bury("root-coord/collection/4", 8)
        .put("root-coord/collection/5", TOMBSTONE)
        .put("root-coord/collection-alias/unborn", TOMBSTONE)
        .put("root-coord/index/4/400", TOMBSTONE)
        .put("root-coord/segment-index/4/400/40/1", TOMBSTONE)
        .put("snapshots/root-coord/index/4/400_ts3", "any")
        .put("snapshots/root-coord/segment-index/4/400/40/1_ts3", "any")
        .put("root-coord/dd-operation", "any")
        .put("root-coord/dd-msg-send", "true")
        .put("snapshots/root-coord/dd-operation_ts3", "any")
        .put("snapshots/root-coord/dd-msg-send_ts3", "true")
        .put("root-coord/credential/users/root", "any")
        .put("channelwatch/9/c", "any")
        .put("session/id", "12")
}

/// A cluster in which nothing is left but what was dropped, and an alias that leads nowhere.
pub(crate) fn dropped_alone() -> Cluster {
    Cluster::new()
        .collection(4, "dropped")
        .snapshot(3)
        .alias("gone", &[4])
        .alias("nowhere", &[4])
        .bury("root-coord/collection-alias/gone", 7)
        .bury("root-coord/collection/4", 8)
        .put("root-coord/collection-alias/unborn", TOMBSTONE)
        .put("snapshots/root-coord/collection-alias/history_ts4", TOMBSTONE)
}
