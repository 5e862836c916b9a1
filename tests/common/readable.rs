//! Metadata as text: every record whole, so that a person can read a dump, and a test can tell what has changed.
//!
//! The messages are written down here once more, field by field from the specification: those of the tool leave out what it
//! has no need of.

use std::fmt::Write;

use meta_migration::layout::keys::{Key, Plain};
use meta_migration::layout::messages::{common::KeyValuePair, source, target};
use meta_migration::layout::{TOMBSTONE, is_tombstone};
use prost::Message;
use sha2::{Digest, Sha256};

use super::state::{Dump, below};

/// etcd.CollectionInfo, of both layouts.
#[derive(Clone, PartialEq, Message)]
pub struct CollectionInfo {
    #[prost(int64, tag = "1")]
    pub id: i64,
    #[prost(message, optional, tag = "2")]
    pub schema: Option<CollectionSchema>,
    #[prost(uint64, tag = "3")]
    pub create_time: u64,
    #[prost(int64, repeated, tag = "4")]
    pub partition_ids: Vec<i64>,
    #[prost(string, repeated, tag = "5")]
    pub partition_names: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    pub field_indexes: Vec<FieldIndexInfo>,
    #[prost(string, repeated, tag = "7")]
    pub virtual_channel_names: Vec<String>,
    #[prost(string, repeated, tag = "8")]
    pub physical_channel_names: Vec<String>,
    #[prost(uint64, repeated, tag = "9")]
    pub partition_created_timestamps: Vec<u64>,
    #[prost(int32, tag = "10")]
    pub shards_num: i32,
    #[prost(message, repeated, tag = "11")]
    pub start_positions: Vec<KeyDataPair>,
    #[prost(int32, tag = "12")]
    pub consistency_level: i32,
    #[prost(int32, tag = "13")]
    pub state: i32,
    #[prost(message, repeated, tag = "14")]
    pub properties: Vec<KeyValuePair>,
}

/// schema.CollectionSchema
#[derive(Clone, PartialEq, Message)]
pub struct CollectionSchema {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub description: String,
    #[prost(bool, tag = "3")]
    pub auto_id: bool,
    #[prost(message, repeated, tag = "4")]
    pub fields: Vec<FieldSchema>,
}

/// schema.FieldSchema
#[derive(Clone, PartialEq, Message)]
pub struct FieldSchema {
    #[prost(int64, tag = "1")]
    pub field_id: i64,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(bool, tag = "3")]
    pub is_primary_key: bool,
    #[prost(string, tag = "4")]
    pub description: String,
    #[prost(int32, tag = "5")]
    pub data_type: i32,
    #[prost(message, repeated, tag = "6")]
    pub type_params: Vec<KeyValuePair>,
    #[prost(message, repeated, tag = "7")]
    pub index_params: Vec<KeyValuePair>,
    #[prost(bool, tag = "8")]
    pub auto_id: bool,
    #[prost(int32, tag = "9")]
    pub state: i32,
}

/// etcd.FieldIndexInfo
#[derive(Clone, PartialEq, Message)]
pub struct FieldIndexInfo {
    #[prost(int64, tag = "1")]
    pub field_id: i64,
    #[prost(int64, tag = "2")]
    pub index_id: i64,
}

/// common.KeyDataPair
#[derive(Clone, PartialEq, Message)]
pub struct KeyDataPair {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
}

/// Decodes a value that must be such a message.
#[track_caller]
pub fn decode<M: Message + Default>(value: &[u8]) -> M {
    M::decode(value).unwrap_or_else(|error| panic!("{error}: {}", value.escape_ascii()))
}

/// A live value in the 2.1 or 2.2 layout, or `None` for a tombstone.
pub fn live<M: Message + Default>(value: &[u8]) -> Option<M> {
    (!is_tombstone(value)).then(|| decode(value))
}

/// All keys under the meta root, one on a line, with what their values say.
pub fn text(dump: &Dump) -> String {
    let mut text = String::new();
    for (key, value) in below(dump, "") {
        writeln!(text, "{key}  {}", record(key, value)).unwrap();
    }
    text
}

fn record(key: &str, value: &[u8]) -> String {
    if value == TOMBSTONE {
        return "(tombstone)".into();
    }
    match Key::parse(key.as_bytes()).expect("a key in the right form") {
        Key::Snapshot(Plain::Collection(_), _) => {
            let info: CollectionInfo = decode(value);
            let schema = info.schema.clone().unwrap_or_default();
            if schema.fields.is_empty() { format!("{info:?}") } else { summary(&info, &schema) }
        }
        Key::Plain(plain) | Key::Snapshot(plain, _) => match plain {
            Plain::Collection(_) | Plain::SourceAlias(_) => format!("{:?}", decode::<CollectionInfo>(value)),
            Plain::Partition { .. } => format!("{:?}", decode::<target::PartitionInfo>(value)),
            Plain::Field { .. } => format!("{:?}", decode::<FieldSchema>(value)),
            Plain::Alias(_) => format!("{:?}", decode::<target::AliasInfo>(value)),
            Plain::SourceIndex { .. } => format!("{:?}", decode::<source::IndexInfo>(value)),
            Plain::SourceSegmentIndex { .. } => format!("{:?}", decode::<source::SegmentIndexInfo>(value)),
            Plain::DdOperation | Plain::DdMsgSend => digest(value),
        },
        Key::Build(_) => format!("{:?}", decode::<source::IndexMeta>(value)),
        Key::FieldIndex { .. } => format!("{:?}", decode::<target::FieldIndex>(value)),
        Key::SegmentIndex { .. } => format!("{:?}", decode::<target::SegmentIndex>(value)),
        Key::ChannelCheckpoint(_) => format!("{:?}", decode::<target::MsgPosition>(value)),
        Key::CollectionLoad(_) => format!("{:?}", decode::<target::CollectionLoadInfo>(value)),
        Key::PartitionLoad { .. } => format!("{:?}", decode::<target::PartitionLoadInfo>(value)),
        Key::LoadState(_) | Key::Segment { .. } | Key::Session | Key::Other => digest(value),
    }
}

/// Older states of a collection stay as they were but for their indexes.
fn summary(info: &CollectionInfo, schema: &CollectionSchema) -> String {
    format!(
        "CollectionInfo {{ id: {}, name: {:?}, {} fields, partitions: {:?}, {} field indexes, … }}",
        info.id,
        schema.name,
        schema.fields.len(),
        info.partition_names,
        info.field_indexes.len()
    )
}

/// Of records that nobody takes apart.
fn digest(value: &[u8]) -> String {
    let hash = Sha256::digest(value);
    let start: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes, SHA-256 {start}…", value.len())
}
