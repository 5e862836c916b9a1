//! The values of each family of keys.

use std::collections::BTreeSet;

use base64::Engine;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::{UNKNOWN, one_line, pair};
use crate::decode::{unknown_fields, value};
use crate::layout::descriptors::pool;
use crate::layout::families::Family;
use crate::layout::keys::Key;
use crate::layout::messages::common::{
    Binlog, CollectionInfo, CollectionSchema, FieldBinlog, FieldSchema, MsgPosition,
};
use crate::layout::messages::{common, source, target};

/// A key, its value, and what a person sees: the kind and the value in a line.
type Shown = (&'static str, Vec<u8>, &'static str, &'static str);

fn collections() -> Vec<Shown> {
    let collection =
        CollectionInfo { id: 1, consistency_level: 2, state: 1, db_id: 1, ..Default::default() }.encode_to_vec();
    let alias = CollectionInfo {
        id: 1,
        schema: Some(CollectionSchema { name: "a".into(), ..Default::default() }),
        ..Default::default()
    };
    let field =
        FieldSchema { field_id: 1, name: "f".into(), data_type: 21, auto_id: true, state: 3, ..Default::default() };
    let partition = target::PartitionInfo {
        partition_id: 1,
        partition_name: "p".into(),
        collection_id: 3,
        state: 9,
        ..Default::default()
    };
    let new_alias = target::AliasInfo { alias_name: "a".into(), collection_id: 1, created_time: 2, state: 1, db_id: 1 }
        .encode_to_vec();
    let shown = "{ID: 1, consistency_level: 2 (bounded), state: 1 (creating), db_id: 1}";
    let shown_alias = r#"{alias_name: "a", collection_id: 1, created_time: 2, state: 1 (creating), db_id: 1}"#;
    vec![
        ("root-coord/collection/1", collection.clone(), "etcd.CollectionInfo", shown),
        ("root-coord/database/collection-info/1/1", collection, "etcd.CollectionInfo", shown),
        (
            "snapshots/root-coord/collection-alias/a_ts5",
            alias.encode_to_vec(),
            "etcd.CollectionInfo",
            r#"{ID: 1, schema: {name: "a"}}"#,
        ),
        (
            "root-coord/fields/1/1",
            field.encode_to_vec(),
            "schema.FieldSchema",
            r#"{fieldID: 1, name: "f", data_type: 21 (VarChar), autoID: true, state: 3 (dropped)}"#,
        ),
        (
            "root-coord/partitions/3/1",
            partition.encode_to_vec(),
            "etcd.PartitionInfo",
            r#"{partitionID: 1, partitionName: "p", collection_id: 3, state: 9}"#,
        ),
        ("root-coord/aliases/a", new_alias.clone(), "etcd.AliasInfo", shown_alias),
        ("snapshots/root-coord/database/aliases/1/a_ts2", new_alias, "etcd.AliasInfo", shown_alias),
    ]
}

fn indexes() -> Vec<Shown> {
    let index = source::IndexInfo {
        index_name: "i".into(),
        index_id: 1,
        index_params: vec![pair("a", "b")],
        deleted: true,
        create_time: 2,
    };
    let segment_index =
        source::SegmentIndexInfo { segment_id: 3, build_id: -6, enable_index: true, ..Default::default() };
    let request = source::BuildIndexRequest { data_paths: vec!["x".into()], num_rows: 5, ..Default::default() };
    let build = source::IndexMeta { state: 2, req: Some(request), recycled: true, ..Default::default() };
    let field_index = target::FieldIndex {
        index_info: Some(target::IndexInfo {
            index_name: "i".into(),
            state: 5,
            is_auto_index: true,
            user_index_params: vec![pair("params", "{\"M\": 16}")],
            ..Default::default()
        }),
        deleted: true,
        create_time: 4,
    };
    let new_segment_index = target::SegmentIndex {
        build_id: 6,
        state: 3,
        index_file_keys: vec!["a".into(), "b".into()],
        ..Default::default()
    };
    vec![
        (
            "root-coord/index/1/1",
            index.encode_to_vec(),
            "etcd.IndexInfo",
            r#"{index_name: "i", indexID: 1, index_params: [{key: "a", value: "b"}], deleted: true, create_time: 2}"#,
        ),
        (
            "root-coord/segment-index/1/2/3/4",
            segment_index.encode_to_vec(),
            "etcd.SegmentIndexInfo",
            "{segmentID: 3, buildID: -6, enable_index: true}",
        ),
        (
            "indexes/1",
            build.encode_to_vec(),
            "index.IndexMeta",
            r#"{state: 2 (in progress), req: {data_paths: ["x"], num_rows: 5}, recycled: true}"#,
        ),
        (
            "field-index/1/2",
            field_index.encode_to_vec(),
            "index.FieldIndex",
            r#"{index_info: {index_name: "i", state: 5 (retry), is_auto_index: true, user_index_params: [{key: "params", value: "{\"M\": 16}"}]}, deleted: true, create_time: 4}"#,
        ),
        (
            "segment-index/1/2/3/6",
            new_segment_index.encode_to_vec(),
            "index.SegmentIndex",
            r#"{buildID: 6, state: 3 (finished), index_file_keys: ["a", "b"]}"#,
        ),
    ]
}

fn loaded() -> Vec<Shown> {
    let states = vec![source::PartitionStates { partition_id: 2, state: 4, in_memory_percentage: 100 }];
    let source_load =
        source::LoadState { partition_i_ds: vec![2], partition_states: states, load_type: 1, ..Default::default() };
    let shard = source::ShardReplica { leader_addr: "h:1".into(), ..Default::default() };
    let source_replica =
        source::ReplicaInfo { replica_id: 1, shard_replicas: vec![shard], node_ids: vec![10], ..Default::default() };
    let load = target::CollectionLoadInfo { replica_number: 3, status: 2, load_type: 2, ..Default::default() };
    let field_index_id = [(100, 5), (101, 6)].into();
    let partition = target::PartitionLoadInfo { status: 1, field_index_id, ..Default::default() };
    let replica = target::Replica {
        id: 1,
        nodes: vec![7],
        resource_group: "__default_resource_group".into(),
        ..Default::default()
    };
    vec![
        (
            "queryCoord-collectionMeta/1",
            source_load.encode_to_vec(),
            "query.CollectionInfo",
            "{partitionIDs: [2], partition_states: [{partitionID: 2, state: 4, inMemory_percentage: 100}], load_type: 1 (partition)}",
        ),
        (
            "queryCoord-ReplicaMeta/1",
            source_replica.encode_to_vec(),
            "milvus.ReplicaInfo",
            r#"{replicaID: 1, shard_replicas: [{leader_addr: "h:1"}], node_ids: [10]}"#,
        ),
        (
            "querycoord-collection-loadinfo/1",
            load.encode_to_vec(),
            "query.CollectionLoadInfo",
            "{replica_number: 3, status: 2 (loaded), load_type: 2 (collection)}",
        ),
        (
            "querycoord-partition-loadinfo/1/2",
            partition.encode_to_vec(),
            "query.PartitionLoadInfo",
            "{status: 1 (loading), field_indexID: [{key: 100, value: 5}, {key: 101, value: 6}]}",
        ),
        (
            "querycoord-replica/1/1",
            replica.encode_to_vec(),
            "query.Replica",
            r#"{ID: 1, nodes: [7], resource_group: "__default_resource_group"}"#,
        ),
    ]
}

fn segments() -> Vec<Shown> {
    let position =
        MsgPosition { channel_name: "c".into(), msg_id: vec![0xFF], timestamp: u64::MAX, ..Default::default() };
    let segment = common::SegmentInfo {
        state: 6,
        dml_position: Some(position.clone()),
        compaction_from: vec![8, 9],
        is_fake: true,
        ..Default::default()
    };
    let logs = FieldBinlog {
        field_id: 100,
        binlogs: vec![Binlog { entries_num: 1, log_size: 2, log_id: 3, ..Default::default() }],
    };
    let shown = "{fieldID: 100, binlogs: [{entries_num: 1, log_size: 2, logID: 3}]}";
    let log = |key| (key, logs.encode_to_vec(), "data.FieldBinlog", shown);
    vec![
        (
            "datacoord-meta/s/1/2/3",
            segment.encode_to_vec(),
            "data.SegmentInfo",
            r#"{state: 6 (dropped), dml_position: {channel_name: "c", msgID: 0xff, timestamp: 18446744073709551615}, compactionFrom: [8, 9], is_fake: true}"#,
        ),
        log("datacoord-meta/binlog/1/2/3/100"),
        log("datacoord-meta/statslog/1/2/3/100"),
        log("datacoord-meta/deltalog/1/2/3/100"),
        (
            "datacoord-meta/channel-cp/c",
            position.encode_to_vec(),
            "internal.MsgPosition",
            r#"{channel_name: "c", msgID: 0xff, timestamp: 18446744073709551615}"#,
        ),
    ]
}

fn families() -> impl Iterator<Item = Family> {
    Family::all().filter(|family| family.message().is_some())
}

#[test]
fn the_values_of_every_family_have_their_names() {
    let all = [collections(), indexes(), loaded(), segments()].concat();
    let mut seen = BTreeSet::new();
    for (key, bytes, kind, expected) in all {
        let decoded = value(key.as_bytes(), &bytes);
        assert_eq!((decoded.kind(), &*decoded.one_line()), (kind, expected), "{key}");
        let key = Key::parse(key.as_bytes()).unwrap();
        seen.insert(key.family);
        let unnamed = [&bytes[..], UNKNOWN].concat();
        assert_eq!(unknown_fields(&key, &bytes), Vec::<String>::new(), "{key}");
        assert_eq!(unknown_fields(&key, &unnamed).len(), 1, "{key}");
        assert!(one_line(&key.to_string(), &unnamed).ends_with(", 99: 3}"), "{key}");
    }
    assert_eq!(seen, families().collect());
}

/// A message with something in each of its fields, and their names.
fn full(message: &MessageDescriptor, names: &mut Vec<String>) -> DynamicMessage {
    let mut full = DynamicMessage::new(message.clone());
    for field in message.fields() {
        names.push(field.name().to_owned());
        let value = match &field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let value = filled(&entry.map_entry_value_field(), names);
                Value::Map([(MapKey::I64(7), value)].into())
            }
            _ if field.is_list() => Value::List(vec![filled(&field, names), filled(&field, names)]),
            _ => filled(&field, names),
        };
        full.set_field(&field, value);
    }
    full
}

fn filled(field: &FieldDescriptor, names: &mut Vec<String>) -> Value {
    match field.kind() {
        Kind::Int32 => Value::I32(-2),
        Kind::Int64 => Value::I64(-2),
        Kind::Uint64 => Value::U64(u64::MAX),
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String("text".into()),
        Kind::Bytes => Value::Bytes(vec![0xFF].into()),
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Message(message) => Value::Message(full(&message, names)),
        kind => panic!("{kind:?}"),
    }
}

#[test]
fn every_field_that_proto_has_is_shown_by_name() {
    let pool = pool().unwrap();
    for family in families() {
        let message = pool.get_message_by_name(&family.message().unwrap()).unwrap();
        let mut names = Vec::new();
        let bytes = full(&message, &mut names).encode_to_vec();
        let key = family.key_with([1, 2, 3, 4], "a");
        let shown = one_line(&key.to_string(), &bytes);
        for name in &names {
            assert!(shown.contains(&format!("{name}: ")), "{name} of {family:?} in {shown}");
        }
        let labels = shown.split([' ', '{', '[']).filter_map(|word| word.strip_suffix(':'));
        assert!(labels.clone().count() >= names.len(), "{shown}");
        for label in labels {
            assert!(!label.starts_with(|first: char| first.is_ascii_digit()), "{label} of {family:?} in {shown}");
        }
        assert_eq!(unknown_fields(&key, &bytes), Vec::<String>::new(), "{family:?}");
    }
}

/// What a real Milvus 2.1.0 wrote.
#[test]
fn nothing_in_the_sample_is_unknown_or_not_what_its_key_says() {
    let sample = include_str!("../../../testdata/milvus-2.1.0/keys.jsonl");
    let mut named = 0;
    for line in sample.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let Some(key) = entry["key"].as_str().and_then(|key| key.strip_prefix("by-dev/meta/")) else { continue };
        let bytes = base64::engine::general_purpose::STANDARD.decode(entry["value_b64"].as_str().unwrap()).unwrap();
        let (parsed, decoded) = (Key::parse(key.as_bytes()).unwrap(), value(key.as_bytes(), &bytes));
        assert_eq!(unknown_fields(&parsed, &bytes), Vec::<String>::new(), "{key}");
        assert!(!decoded.one_line().starts_with("(not "), "{key}: {}", decoded.one_line());
        if let Some(message) = parsed.family.message() {
            let name = message.rsplit_once('.').unwrap().1;
            let expected = if name == "LoadState" { "CollectionInfo" } else { name };
            assert!(decoded.kind().ends_with(expected) || decoded.kind() == "tombstone", "{key}: {}", decoded.kind());
            named += 1;
        }
    }
    // Of 393 keys. The others are of Milvus's nodes and channels, and of families without a message.
    assert_eq!(named, 240);
}
