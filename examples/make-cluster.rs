//! Makes the metadata of a synthetic 2.1 cluster, as 2.1.4 writes it.
//!
//! `cargo run --release --example make-cluster -- SEGMENTS FILE` writes a backup file that `rollback` puts into an etcd.
//! `cargo run --release --example make-cluster -- SEGMENTS http://127.0.0.1:2379` writes into an etcd, each key three times, as it
//! comes about: etcd keeps all three versions until it is compacted.
//!
//! Collections of 1,000 segments with seven fields (two of the system's, a key, a vector, three scalars) and four indexes; for every
//! ten a dropped one, of which the history is left. A segment has 1 to 32 binlogs a field (mostly a few: 4.4 on average), one
//! statslog, and a third of them deltalogs; and for every index a record and a build with six files. The same number of segments
//! always gives the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use etcd_client::{Client, Txn, TxnOp};
use futures::stream::{self, StreamExt, TryStreamExt};
use meta_migration::backup::Writer;
use meta_migration::backup::write::Origin;
use meta_migration::layout::families::Family;
use meta_migration::layout::messages::common::{
    Binlog, CollectionInfo, CollectionSchema, FieldBinlog, FieldIndexInfo, FieldSchema, KeyDataPair, KeyValuePair,
    MsgPosition, SegmentInfo, SegmentState,
};
use meta_migration::layout::messages::source::{BuildIndexRequest, IndexInfo, IndexMeta, SegmentIndexInfo};
use meta_migration::layout::{Found, TOMBSTONE};
use prost::Message;

const SEGMENTS_A_COLLECTION: i64 = 1_000;
const COLLECTIONS_A_DROPPED_ONE: i64 = 10;
/// IDs as the timestamp oracle gives them.
const FIRST_ID: i64 = 470_605_839_296_564_545;
const IDS_A_COLLECTION: i64 = 1_000_000_000;
const IDS_A_SEGMENT: i64 = 1_000;
const ROWS: i64 = 5_000;
const MOST_LOGS: i64 = 32;
/// Fields with an index, each with its type and parameters.
const INDEXED: [(i64, &str, &str); 4] =
    [(101, "IVF_FLAT", r#"{"nlist": 1024}"#), (102, "STL_SORT", "{}"), (103, "Trie", "{}"), (104, "STL_SORT", "{}")];
/// Fields of the system and of the user.
const FIELDS: [i64; 7] = [0, 1, 100, 101, 102, 103, 104];
const PK: i64 = 100;

/// A key, relative to the meta root, with its value.
type Record = (String, Vec<u8>);

/// Which of its versions a record is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Just made.
    Begun,
    /// On the way.
    Growing,
    /// As it stays.
    Last,
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: make-cluster SEGMENTS FILE|http://ENDPOINT";
    let segments: i64 = args.next().context(usage)?.parse().context(usage)?;
    let to = args.next().context(usage)?;
    if to.starts_with("http") {
        return tokio::runtime::Runtime::new()?.block_on(put(segments, to));
    }
    let origin = Origin {
        created: "2022-12-01T00:00:00Z".into(),
        root_path: "by-dev".into(),
        meta_sub_path: "meta".into(),
        etcd_cluster_id: 0,
        etcd_revision: 0,
        source_version: Some("2.1.4".into()),
        while_running: false,
    };
    // A backup has its keys in order, as etcd has.
    let all: BTreeMap<String, Vec<u8>> =
        collections(segments).flat_map(|(collection, here)| records(collection, here, Stage::Last)).collect();
    let mut writer = Writer::create(Path::new(&to), origin, all.len() as u64)?;
    for (key, value) in &all {
        writer.add(key.as_bytes(), value)?;
    }
    let written = writer.finish(Found::Source)?;
    println!("{}: {} keys", written.path.display(), written.manifest.keys);
    Ok(())
}

/// Puts everything into an etcd, three times; prints how many keys there are, and their bytes.
async fn put(segments: i64, endpoint: String) -> Result<()> {
    let client = Client::connect([endpoint], None).await?;
    let (mut keys, mut bytes) = (0, 0);
    for (collection, here) in collections(segments) {
        for stage in [Stage::Begun, Stage::Growing, Stage::Last] {
            let records = records(collection, here, stage);
            if stage == Stage::Last {
                keys += records.len();
                bytes += records.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
            }
            commit(&client, records).await?;
        }
    }
    println!("{keys} {bytes}");
    Ok(())
}

async fn commit(client: &Client, records: Vec<Record>) -> Result<()> {
    let (mut batches, mut bytes) = (vec![Vec::new()], 0);
    for (key, value) in records {
        bytes += key.len() + value.len();
        let batch = batches.last_mut().context("there is one")?;
        batch.push(TxnOp::put(format!("by-dev/meta/{key}"), value, None));
        if batch.len() == 128 || bytes > 1 << 19 {
            batches.push(Vec::new());
            bytes = 0;
        }
    }
    stream::iter(batches.into_iter().filter(|batch| !batch.is_empty()))
        .map(|batch| {
            let mut kv = client.kv_client();
            async move { kv.txn(Txn::new().and_then(batch)).await }
        })
        .buffer_unordered(8)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

/// All keys, relative to the meta root, with their values.
pub fn cluster(segments: i64) -> BTreeMap<String, Vec<u8>> {
    collections(segments).flat_map(|(collection, here)| records(collection, here, Stage::Last)).collect()
}

/// The collections by their number, each with its number of segments.
fn collections(segments: i64) -> impl Iterator<Item = (i64, i64)> {
    let last = (segments - 1).div_euclid(SEGMENTS_A_COLLECTION).max(0);
    (0..=last).map(move |number| (number, (segments - number * SEGMENTS_A_COLLECTION).min(SEGMENTS_A_COLLECTION)))
}

/// All keys of a collection, and those that are left of a dropped one where there is one.
fn records(number: i64, segments: i64, stage: Stage) -> Vec<Record> {
    let id = FIRST_ID + number * IDS_A_COLLECTION;
    let mut records = Vec::new();
    let (partition, time) = (id + 1, id.cast_unsigned() + 3);
    let record = collection(id, partition).encode_to_vec();
    records.push((Family::Collection.key([id]).at(time).to_string(), record.clone()));
    records.push((Family::Collection.key([id]).to_string(), record.clone()));
    if number.rem_euclid(COLLECTIONS_A_DROPPED_ONE) == 0 {
        let dropped = id + IDS_A_COLLECTION / 2;
        let record = collection(dropped, dropped + 1).encode_to_vec();
        records.push((Family::Collection.key([dropped]).at(time + 10).to_string(), record));
        records.push((Family::Collection.key([dropped]).at(time + 20).to_string(), TOMBSTONE.to_vec()));
        records.push((Family::Collection.key([dropped]).to_string(), TOMBSTONE.to_vec()));
    }
    for (index, (field, kind, params)) in (id + 10..).zip(INDEXED) {
        let info = IndexInfo {
            index_name: format!("index_of_{field}"),
            index_id: index,
            index_params: vec![pair("index_type", kind), pair("metric_type", "L2"), pair("params", params)],
            deleted: false,
            create_time: id.cast_unsigned() + 4,
        };
        records.push((Family::SourceIndex.key([id, index]).to_string(), info.encode_to_vec()));
    }
    for number in 0..segments {
        let segment = id + 1_000_000 + IDS_A_SEGMENT * number;
        add_segment(&mut records, [id, partition, segment], stage);
    }
    records
}

fn collection(id: i64, partition: i64) -> CollectionInfo {
    let field = |field_id: i64, name: &str, data_type: i32, type_params: Vec<KeyValuePair>| FieldSchema {
        field_id,
        name: name.into(),
        is_primary_key: field_id == PK,
        data_type,
        type_params,
        ..FieldSchema::default()
    };
    // INT64, FLOAT_VECTOR, DOUBLE, VARCHAR
    let fields = vec![
        field(PK, "pk", 5, Vec::new()),
        field(101, "vec", 101, vec![pair("dim", "128")]),
        field(102, "price", 11, Vec::new()),
        field(103, "title", 21, vec![pair("max_length", "256")]),
        field(104, "time", 5, Vec::new()),
    ];
    let field_indexes = (id + 10..).zip(INDEXED);
    CollectionInfo {
        id,
        schema: Some(CollectionSchema { name: format!("collection_{id}"), fields, ..CollectionSchema::default() }),
        partition_i_ds: vec![partition],
        create_time: id.cast_unsigned(),
        virtual_channel_names: vec![channel(id)],
        physical_channel_names: vec![PHYSICAL.into()],
        start_positions: vec![KeyDataPair { key: PHYSICAL.into(), data: id.to_le_bytes().to_vec() }],
        partition_names: vec!["_default".into()],
        field_indexes: field_indexes
            .map(|(index, (field, _, _))| FieldIndexInfo { filed_id: field, index_id: index })
            .collect(),
        partition_created_timestamps: vec![id.cast_unsigned() + 3],
        ..CollectionInfo::default()
    }
}

fn add_segment(records: &mut Vec<Record>, [collection, partition, segment]: [i64; 3], stage: Stage) {
    let record = segment_info([collection, partition, segment], stage).encode_to_vec();
    records.push((Family::Segment.key([collection, partition, segment]).to_string(), record));
    for ((index, build), (field, kind, _)) in (collection + 10..).zip(segment + 1..).zip(INDEXED) {
        let info = SegmentIndexInfo {
            collection_id: collection,
            partition_id: partition,
            segment_id: segment,
            field_id: field,
            index_id: index,
            build_id: build,
            enable_index: true,
            create_time: collection.cast_unsigned() + 4,
        };
        let key = Family::SourceSegmentIndex.key([collection, index, partition, segment]);
        records.push((key.to_string(), info.encode_to_vec()));
        let meta = build_record([partition, segment, build], kind, stage);
        records.push((Family::Build.key([build]).to_string(), meta.encode_to_vec()));
    }
}

/// Not begun, being built, finished.
fn build_record([partition, segment, build]: [i64; 3], kind: &str, stage: Stage) -> IndexMeta {
    let files = ["0", "1", "2", "3"].map(|part| format!("{kind}_{part}"));
    let files = ["indexParams".to_owned()].into_iter().chain(files).chain(["SLICE_META".to_owned()]);
    let path = |file| format!("files/index_files/{build}/1/{partition}/{segment}/{file}");
    let is_last = stage == Stage::Last;
    IndexMeta {
        index_build_id: build,
        state: 1 + stage as i32,
        req: Some(BuildIndexRequest { num_rows: ROWS, ..BuildIndexRequest::default() }),
        index_file_paths: if is_last { files.map(path).collect() } else { Vec::new() },
        index_version: i64::from(stage > Stage::Begun),
        serialize_size: if is_last { 123_456 } else { 0 },
        ..IndexMeta::default()
    }
}

/// How many binlogs a field of this segment has: one or two mostly, at times up to 32.
fn number_of_logs(segment: i64) -> i64 {
    let number = (segment / IDS_A_SEGMENT).cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let part = number as f64 / f64::from(u32::MAX);
    1 + ((MOST_LOGS as f64 * part.powi(8)) as i64).min(MOST_LOGS - 1)
}

/// Growing without files, with half of them, flushed.
fn segment_info([collection, partition, segment]: [i64; 3], stage: Stage) -> SegmentInfo {
    let number = match stage {
        Stage::Begun => 0,
        Stage::Growing => number_of_logs(segment) / 2,
        Stage::Last => number_of_logs(segment),
    };
    let place = format!("{collection}/{partition}/{segment}");
    let logs = |folder: &str, field: i64, first: i64, number: i64| FieldBinlog {
        field_id: field,
        binlogs: (0..number)
            .map(|at| Binlog {
                entries_num: ROWS / number + i64::from(at < ROWS % number),
                timestamp_from: segment.cast_unsigned(),
                timestamp_to: segment.cast_unsigned() + 1_000,
                log_path: format!("files/{folder}/{}", first + at),
                log_size: 100_000 + at,
                ..Binlog::default()
            })
            .collect(),
    };
    let binlogs = (0..)
        .zip(FIELDS)
        .map(|(at, field)| logs(&format!("insert_log/{place}/{field}"), field, segment + 10 + at * MOST_LOGS, number));
    let has_files = number > 0;
    let has_deletes = has_files && segment / IDS_A_SEGMENT % 3 == 0;
    SegmentInfo {
        id: segment,
        collection_id: collection,
        partition_id: partition,
        insert_channel: channel(collection),
        num_of_rows: ROWS,
        state: if stage == Stage::Last { SegmentState::Flushed } else { SegmentState::Growing } as i32,
        dml_position: Some(MsgPosition {
            channel_name: PHYSICAL.into(),
            msg_id: segment.to_le_bytes().to_vec(),
            timestamp: segment.cast_unsigned(),
            ..MsgPosition::default()
        }),
        binlogs: if has_files { binlogs.collect() } else { Vec::new() },
        statslogs: has_files
            .then(|| logs(&format!("stats_log/{place}/{PK}"), PK, segment + 300, 1))
            .into_iter()
            .collect(),
        deltalogs: has_deletes.then(|| logs(&format!("delta_log/{place}"), 0, segment + 301, 1)).into_iter().collect(),
        ..SegmentInfo::default()
    }
}

const PHYSICAL: &str = "by-dev-rootcoord-dml_0";

fn channel(collection: i64) -> String {
    format!("{PHYSICAL}_{collection}v0")
}

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.into(), value: value.into() }
}
