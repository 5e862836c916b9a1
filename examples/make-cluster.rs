//! Makes the metadata of a synthetic 2.1 cluster, as a backup file that `rollback` puts into an etcd.
//!
//! `cargo run --release --example make-cluster -- SEGMENTS FILE`
//!
//! Per segment a segment-index record, a build record with six index files, and its data.SegmentInfo as 2.1.4 writes it: binlogs of
//! four fields (one to eight each) and one statslog, in collections of 1,000 segments. The same number of segments always gives the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use meta_migration::backup::Writer;
use meta_migration::backup::write::Origin;
use meta_migration::layout::Found;
use meta_migration::layout::families::Family;
use meta_migration::layout::messages::common::{
    Binlog, CollectionInfo, CollectionSchema, FieldBinlog, FieldIndexInfo, FieldSchema, KeyDataPair, KeyValuePair,
    MsgPosition, SegmentInfo, SegmentState,
};
use meta_migration::layout::messages::source::{BuildIndexRequest, IndexInfo, IndexMeta, SegmentIndexInfo};
use prost::Message;

const SEGMENTS_A_COLLECTION: i64 = 1_000;
/// IDs as the timestamp oracle gives them.
const FIRST_ID: i64 = 470_605_839_296_564_545;
const ROWS: i64 = 5_000;
const FINISHED: i32 = 3;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: make-cluster SEGMENTS FILE";
    let segments: i64 = args.next().context(usage)?.parse().context(usage)?;
    let file = args.next().context(usage)?;
    let keys = cluster(segments);
    let origin = Origin {
        created: "2022-12-01T00:00:00Z".into(),
        root_path: "by-dev".into(),
        meta_sub_path: "meta".into(),
        etcd_cluster_id: 0,
        etcd_revision: 0,
        source_version: Some("2.1.4".into()),
        while_running: false,
    };
    let mut writer = Writer::create(Path::new(&file), origin, keys.len() as u64)?;
    for (key, value) in &keys {
        writer.add(key.as_bytes(), value)?;
    }
    let written = writer.finish(Found::Source)?;
    println!("{}: {} keys", written.path.display(), written.manifest.keys);
    Ok(())
}

/// All keys, relative to the meta root, with their values.
pub fn cluster(segments: i64) -> BTreeMap<String, Vec<u8>> {
    let mut keys = BTreeMap::new();
    for collection in 0..segments.div_euclid(SEGMENTS_A_COLLECTION).max(1) {
        let here = segments.min(SEGMENTS_A_COLLECTION);
        add_collection(&mut keys, FIRST_ID + collection * 1_000_000_000, here);
    }
    keys
}

fn add_collection(keys: &mut BTreeMap<String, Vec<u8>>, id: i64, segments: i64) {
    let (partition, index) = (id + 1, id + 2);
    let record = collection(id, partition, index).encode_to_vec();
    keys.insert(Family::Collection.key([id]).at(id as u64 + 3).to_string(), record.clone());
    keys.insert(Family::Collection.key([id]).to_string(), record);
    let info = IndexInfo {
        index_name: "_default_idx".into(),
        index_id: index,
        index_params: vec![
            pair("index_type", "IVF_FLAT"),
            pair("metric_type", "L2"),
            pair("params", r#"{"nlist": 1024}"#),
        ],
        deleted: false,
        create_time: id as u64 + 4,
    };
    keys.insert(Family::SourceIndex.key([id, index]).to_string(), info.encode_to_vec());
    for number in 0..segments {
        let segment = id + 1_000 + 2 * number;
        add_segment(keys, [id, partition, index, segment, segment + 1]);
    }
}

fn collection(id: i64, partition: i64, index: i64) -> CollectionInfo {
    let pk =
        FieldSchema { field_id: 100, name: "pk".into(), is_primary_key: true, data_type: 5, ..FieldSchema::default() };
    let vector = FieldSchema {
        field_id: 101,
        name: "vec".into(),
        data_type: 101,
        type_params: vec![pair("dim", "128")],
        ..FieldSchema::default()
    };
    CollectionInfo {
        id,
        schema: Some(CollectionSchema {
            name: format!("collection_{id}"),
            fields: vec![pk, vector],
            ..CollectionSchema::default()
        }),
        partition_i_ds: vec![partition],
        create_time: id as u64,
        virtual_channel_names: vec![channel(id)],
        physical_channel_names: vec![PHYSICAL.into()],
        start_positions: vec![KeyDataPair { key: PHYSICAL.into(), data: id.to_le_bytes().to_vec() }],
        partition_names: vec!["_default".into()],
        field_indexes: vec![FieldIndexInfo { filed_id: 101, index_id: index }],
        partition_created_timestamps: vec![id as u64 + 3],
        ..CollectionInfo::default()
    }
}

fn add_segment(keys: &mut BTreeMap<String, Vec<u8>>, [collection, partition, index, segment, build]: [i64; 5]) {
    let info = SegmentIndexInfo {
        collection_id: collection,
        partition_id: partition,
        segment_id: segment,
        field_id: 101,
        index_id: index,
        build_id: build,
        enable_index: true,
        create_time: collection as u64 + 4,
    };
    let files = ["indexParams", "IVF_0", "IVF_1", "IVF_2", "IVF_3", "SLICE_META"];
    let meta = IndexMeta {
        index_build_id: build,
        state: FINISHED,
        req: Some(BuildIndexRequest { num_rows: ROWS, ..BuildIndexRequest::default() }),
        index_file_paths: files.map(|file| format!("files/index_files/{build}/1/{partition}/{segment}/{file}")).into(),
        index_version: 1,
        serialize_size: 123_456,
        ..IndexMeta::default()
    };
    let key = Family::SourceSegmentIndex.key([collection, index, partition, segment]);
    keys.insert(key.to_string(), info.encode_to_vec());
    keys.insert(Family::Build.key([build]).to_string(), meta.encode_to_vec());
    let record = segment_info([collection, partition, segment]).encode_to_vec();
    keys.insert(Family::Segment.key([collection, partition, segment]).to_string(), record);
}

/// A flushed segment with one to eight binlogs a field.
fn segment_info([collection, partition, segment]: [i64; 3]) -> SegmentInfo {
    let number = 1 + segment.rem_euclid(8);
    let logs = |kind: &str, field: i64, number: i64| FieldBinlog {
        field_id: field,
        binlogs: (0..number)
            .map(|at| Binlog {
                entries_num: ROWS / number + i64::from(at < ROWS % number),
                log_path: format!("files/{kind}/{collection}/{partition}/{segment}/{field}/{}", segment + 10 + at),
                log_size: 100_000 + at,
                ..Binlog::default()
            })
            .collect(),
    };
    SegmentInfo {
        id: segment,
        collection_id: collection,
        partition_id: partition,
        insert_channel: channel(collection),
        num_of_rows: ROWS,
        state: SegmentState::Flushed as i32,
        dml_position: Some(MsgPosition {
            channel_name: PHYSICAL.into(),
            msg_id: segment.to_le_bytes().to_vec(),
            timestamp: segment.cast_unsigned(),
            ..MsgPosition::default()
        }),
        binlogs: [0, 1, 100, 101].map(|field| logs("insert_log", field, number)).into(),
        statslogs: vec![logs("stats_log", 100, 1)],
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
