//! Odd metadata, made by hand. Keys are relative to the meta root.

use std::collections::BTreeMap;

use bytes::Bytes;
use meta_migration::layout::families::Family;
use meta_migration::layout::messages::common::{
    CollectionInfo, CollectionSchema, FieldIndexInfo, FieldSchema, SegmentInfo,
};
use meta_migration::layout::messages::source::{
    BuildIndexRequest, IndexInfo, IndexMeta, LoadState, LoadType, ReplicaInfo, SegmentIndexInfo,
};
use prost::Message;

pub type Keys = BTreeMap<Bytes, Bytes>;

/// Just below what etcd takes in a request by default.
pub const LARGE: usize = 1_468_000;
/// A field that every collection has.
pub const VECTOR: i64 = 101;

/// Metadata in the making.
#[derive(Default)]
pub struct Odd(pub Keys);

impl Odd {
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.insert(Bytes::from(key.into()), Bytes::from(value.into()));
    }

    pub fn message(&mut self, key: impl ToString, message: &impl Message) {
        self.put(key.to_string(), message.encode_to_vec());
    }

    /// The record of a collection, and its newest snapshot. `unknown` stands at the end of record, schema and field.
    pub fn collection(&mut self, info: &CollectionInfo, unknown: &[u8]) {
        let mut bare = info.clone();
        let schema = bare.schema.take().unwrap();
        let field = |field: &FieldSchema| delimited(4, &[&field.encode_to_vec(), unknown].concat());
        let fields: Vec<u8> = schema.fields.iter().flat_map(field).collect();
        let schema = [&delimited(1, schema.name.as_bytes()), &fields, unknown].concat();
        let record = [&bare.encode_to_vec(), &delimited(2, &schema), unknown].concat();
        self.put(Family::Collection.key([info.id]).to_string(), record.clone());
        self.put(Family::Collection.key([info.id]).at(5).to_string(), record);
    }

    /// An index on the vector of a collection, one segment with a finished build, one without a build, and a load state.
    pub fn indexed(&mut self, collection: i64, partition: i64, index: i64, build: i64) {
        let info = IndexInfo { index_name: "i".into(), index_id: index, ..IndexInfo::default() };
        self.message(Family::SourceIndex.key([collection, index]), &info);
        for (segment, build_id) in [(i64::MIN, build), (i64::MAX, 0)] {
            let record = SegmentIndexInfo {
                collection_id: collection,
                partition_id: partition,
                segment_id: segment,
                field_id: VECTOR,
                index_id: index,
                build_id,
                enable_index: build_id != 0,
                create_time: u64::MAX,
            };
            self.message(Family::SourceSegmentIndex.key([collection, index, partition, segment]), &record);
            let rows = SegmentInfo {
                id: segment,
                collection_id: collection,
                partition_id: partition,
                num_of_rows: i64::MAX,
                ..SegmentInfo::default()
            };
            self.message(Family::Segment.key([collection, partition, segment]), &rows);
        }
        let meta = IndexMeta {
            index_build_id: build,
            state: 3,
            req: Some(BuildIndexRequest { num_rows: i64::MAX, ..BuildIndexRequest::default() }),
            index_file_paths: vec![format!("files/index_files/{build}/{}/{partition}/{}/f", i64::MAX, i64::MIN)],
            index_version: i64::MAX,
            serialize_size: u64::MAX,
            ..IndexMeta::default()
        };
        self.message(Family::Build.key([build]), &meta);
        let loaded = LoadState {
            collection_id: collection,
            load_type: LoadType::LoadCollection as i32,
            in_memory_percentage: 100,
            replica_number: i32::MAX,
            ..LoadState::default()
        };
        self.message(Family::SourceLoadState.key([collection]), &loaded);
        let replica = ReplicaInfo { replica_id: collection, collection_id: collection, ..ReplicaInfo::default() };
        self.message(Family::SourceReplica.key([collection]), &replica);
    }
}

/// A collection with a primary key, a vector with an index, and partitions with these IDs.
pub fn collection(id: i64, partitions: impl IntoIterator<Item = i64>, index: i64) -> CollectionInfo {
    let field = |field_id, is_primary_key| FieldSchema {
        field_id,
        name: format!("f{field_id}"),
        is_primary_key,
        ..FieldSchema::default()
    };
    let partition_ids: Vec<i64> = partitions.into_iter().collect();
    CollectionInfo {
        id,
        schema: Some(CollectionSchema {
            name: format!("c{id}"),
            fields: vec![field(100, true), field(VECTOR, false)],
            ..Default::default()
        }),
        partition_names: partition_ids.iter().map(|id| format!("p{id}")).collect(),
        partition_created_timestamps: vec![3; partition_ids.len()],
        partition_i_ds: partition_ids,
        field_indexes: vec![FieldIndexInfo { filed_id: VECTOR, index_id: index }],
        ..CollectionInfo::default()
    }
}

/// An alias record of 2.1.
pub fn alias(name: &str, collection: i64) -> CollectionInfo {
    let schema = Some(CollectionSchema { name: name.into(), ..Default::default() });
    CollectionInfo { id: collection, schema, ..CollectionInfo::default() }
}

/// What no message has: every wire type, bytes of every value, and messages within messages, a thousand deep.
pub fn garbage() -> Vec<u8> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let deep = (0..1000).fold(b"\x08\x01".to_vec(), |inner, _| delimited(900, &inner));
    // Field 900 as a varint, as 8 bytes, as 4 bytes, and as a group with a field in it.
    let others = b"\xa0\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xa1\x38\xff\xff\xff\xff\xff\xff\xff\xff\xa5\x38\x00\x00\x00\x00\xa3\x38\x08\x01\xa4\x38";
    [&delimited(900, &every_byte), &deep, &others[..]].concat()
}

/// A field with bytes, a string or a message in it.
pub fn delimited(number: u64, payload: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(payload.len() as u64), payload.to_vec()].concat()
}

fn varint(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(number, &mut bytes);
    bytes
}
