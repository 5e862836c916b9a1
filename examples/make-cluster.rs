//! Makes the metadata of a synthetic 2.1 cluster, as a backup file that `rollback` puts into an etcd.
//!
//! `cargo run --release --example make-cluster -- SEGMENTS FILE`
//!
//! Per segment a segment-index record, a build record with six index files, and its data.SegmentInfo with 450 bytes that nobody
//! looks at, in collections of 1,000 segments. The same number of segments always gives the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use meta_migration::backup::Writer;
use meta_migration::backup::write::Origin;
use meta_migration::layout::Found;
use meta_migration::layout::keys::{Key, Plain};
use meta_migration::layout::messages::common::{
    CollectionInfo, CollectionSchema, FieldIndexInfo, FieldSchema, KeyValuePair,
};
use meta_migration::layout::messages::source::{
    BuildIndexRequest, IndexInfo, IndexMeta, SegmentIndexInfo, SegmentInfo,
};
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
    keys.insert(Key::Snapshot(Plain::Collection(id), id as u64 + 3).to_string(), record.clone());
    keys.insert(Key::Plain(Plain::Collection(id)).to_string(), record);
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
    keys.insert(Key::Plain(Plain::SourceIndex { collection: id, index }).to_string(), info.encode_to_vec());
    for number in 0..segments {
        let segment = id + 1_000 + 2 * number;
        add_segment(keys, [id, partition, index, segment, segment + 1]);
    }
}

fn collection(id: i64, partition: i64, index: i64) -> CollectionInfo {
    let pk = FieldSchema { field_id: 100, name: "pk".into(), is_primary_key: true, data_type: 5, type_params: vec![] };
    let vector = FieldSchema {
        field_id: 101,
        name: "vec".into(),
        is_primary_key: false,
        data_type: 101,
        type_params: vec![pair("dim", "128")],
    };
    CollectionInfo {
        id,
        schema: Some(CollectionSchema { name: format!("collection_{id}"), fields: vec![pk, vector] }),
        partition_ids: vec![partition],
        partition_names: vec!["_default".into()],
        field_indexes: vec![FieldIndexInfo { field_id: 101, index_id: index }],
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
        req: Some(BuildIndexRequest { num_rows: ROWS }),
        index_file_paths: files.map(|file| format!("files/index_files/{build}/1/{partition}/{segment}/{file}")).into(),
        index_version: 1,
        serialize_size: 123_456,
        ..IndexMeta::default()
    };
    let mut rows = SegmentInfo { id: segment, num_of_rows: ROWS }.encode_to_vec();
    // Binlog paths and positions, which take most of a real record.
    prost::encoding::bytes::encode(100, &noise(segment as u64, 450), &mut rows);
    let key = Plain::SourceSegmentIndex { collection, index, partition, segment };
    keys.insert(Key::Plain(key).to_string(), info.encode_to_vec());
    keys.insert(Key::Build(build).to_string(), meta.encode_to_vec());
    keys.insert(Key::Segment { collection, partition, segment }.to_string(), rows);
}

/// Bytes that do not compress (xorshift).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.into(), value: value.into() }
}
