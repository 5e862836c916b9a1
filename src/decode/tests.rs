use proptest::prelude::*;
use prost::Message;

use super::value;
use crate::layout::messages::common::{CollectionInfo, CollectionSchema, FieldIndexInfo, FieldSchema, KeyValuePair};
use crate::layout::messages::{source, target};

fn one_line(key: &str, bytes: &[u8]) -> String {
    value(key.as_bytes(), bytes).one_line()
}

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.into(), value: value.into() }
}

/// A collection with all fields that our protos know, and 15, which they do not.
fn collection() -> Vec<u8> {
    let field = |field_id, name: &str| FieldSchema {
        field_id,
        name: name.into(),
        data_type: 101,
        type_params: vec![pair("dim", "128")],
        ..Default::default()
    };
    let mut bytes = CollectionInfo {
        id: 7,
        schema: Some(CollectionSchema { name: "c".into(), fields: vec![field(100, "pk"), field(101, "vec")] }),
        partition_ids: (470605839296564546..470605839296564553).collect(),
        partition_names: vec!["_default".into(), "p\n".into()],
        field_indexes: vec![FieldIndexInfo { field_id: 101, index_id: 8 }],
        partition_created_timestamps: vec![u64::MAX, 0],
        state: 2,
        ..Default::default()
    }
    .encode_to_vec();
    bytes.extend([0x78, 3]);
    bytes
}

#[test]
fn a_collection_has_a_line_for_each_field_and_room_for_its_lists() {
    let bytes = collection();
    let decoded = value(b"root-coord/collection/7", &bytes);
    insta::assert_snapshot!(decoded, @r#"
    ID: 7
    schema:
      name: "c"
      fields:
        - {fieldID: 100, name: "pk", data_type: 101 (FloatVector), type_params: [{key: "dim", value: "128"}]}
        - {fieldID: 101, name: "vec", data_type: 101 (FloatVector), type_params: [{key: "dim", value: "128"}]}
    partitionIDs:
      - 470605839296564546
      - 470605839296564547
      - 470605839296564548
      - 470605839296564549
      - 470605839296564550
      - 470605839296564551
      - 470605839296564552
    partitionNames: ["_default", "p\n"]
    field_indexes: [{filedID: 101, indexID: 8}]
    partition_created_timestamps: [18446744073709551615, 0]
    state: 2 (dropping)
    15: 3
    "#);
    assert_eq!(decoded.kind(), "etcd.CollectionInfo");
    let snapshot = value(b"snapshots/root-coord/collection/7_ts5", &bytes);
    assert_eq!(snapshot.one_line(), decoded.one_line());
    assert!(!snapshot.one_line().contains('\n'));
}

#[test]
fn every_message_of_the_new_layout_has_its_names() {
    let index = target::FieldIndex {
        index_info: Some(target::IndexInfo {
            collection_id: 1,
            field_id: 2,
            index_name: "i".into(),
            index_id: 3,
            type_params: vec![pair("dim", "8")],
            index_params: vec![pair("M", "16")],
            user_index_params: vec![pair("params", "{\"M\": 16}")],
        }),
        deleted: true,
        create_time: 4,
    };
    let segment = target::SegmentIndex {
        collection_id: 1,
        partition_id: 2,
        segment_id: 3,
        num_rows: 4,
        index_id: 5,
        build_id: -6,
        node_id: 7,
        index_version: 8,
        state: 3,
        fail_reason: "f".into(),
        index_file_keys: vec!["a".into(), "b".into()],
        deleted: true,
        create_time: 9,
        serialize_size: 10,
        write_handoff: true,
    };
    let fields = [(100, 5), (101, 6)].into();
    let load = target::PartitionLoadInfo {
        collection_id: 1,
        partition_id: 2,
        replica_number: 3,
        status: 2,
        field_index_id: fields,
    };
    let partition = target::PartitionInfo {
        partition_id: 1,
        partition_name: "p".into(),
        partition_created_timestamp: 2,
        collection_id: 3,
        state: 9,
    };
    let alias = target::AliasInfo { alias_name: "a".into(), collection_id: 1, created_time: 2, state: 1 };
    for (key, bytes, expected) in [
        (
            "field-index/1/2",
            index.encode_to_vec(),
            r#"{index_info: {collectionID: 1, fieldID: 2, index_name: "i", indexID: 3, type_params: [{key: "dim", value: "8"}], index_params: [{key: "M", value: "16"}], user_index_params: [{key: "params", value: "{\"M\": 16}"}]}, deleted: true, create_time: 4}"#,
        ),
        (
            "segment-index/1/2/3/4",
            segment.encode_to_vec(),
            r#"{collectionID: 1, partitionID: 2, segmentID: 3, num_rows: 4, indexID: 5, buildID: -6, nodeID: 7, index_version: 8, state: 3 (finished), fail_reason: "f", index_file_keys: ["a", "b"], deleted: true, create_time: 9, serialize_size: 10, write_handoff: true}"#,
        ),
        (
            "querycoord-partition-loadinfo/1/2",
            load.encode_to_vec(),
            "{collectionID: 1, partitionID: 2, replica_number: 3, status: 2 (loaded), field_indexID: [{key: 100, value: 5}, {key: 101, value: 6}]}",
        ),
        (
            "root-coord/partitions/3/1",
            partition.encode_to_vec(),
            r#"{partitionID: 1, partitionName: "p", partition_created_timestamp: 2, collection_id: 3, state: 9}"#,
        ),
        (
            "snapshots/root-coord/aliases/a_ts2",
            alias.encode_to_vec(),
            r#"{alias_name: "a", collection_id: 1, created_time: 2, state: 1 (creating)}"#,
        ),
    ] {
        assert_eq!(one_line(key, &bytes), expected);
    }
}

#[test]
fn messages_of_the_old_layout_have_their_names() {
    let index = source::IndexInfo {
        index_name: "i".into(),
        index_id: 1,
        index_params: vec![pair("a", "b")],
        deleted: true,
        create_time: 2,
    };
    assert_eq!(
        one_line("root-coord/index/1/2", &index.encode_to_vec()),
        r#"{index_name: "i", indexID: 1, index_params: [{key: "a", value: "b"}], deleted: true, create_time: 2}"#
    );
    let load = source::LoadState {
        collection_id: 1,
        partition_ids: vec![2],
        partition_states: vec![source::PartitionStates { partition_id: 2, in_memory_percentage: 100 }],
        load_type: 1,
        released_partition_ids: vec![3],
        in_memory_percentage: 4,
        replica_number: 5,
    };
    assert_eq!(
        one_line("queryCoord-collectionMeta/1", &load.encode_to_vec()),
        "{collectionID: 1, partitionIDs: [2], partition_states: [{partitionID: 2, inMemory_percentage: 100}], \
         load_type: 1 (partition), released_partitionIDs: [3], inMemory_percentage: 4, replica_number: 5}"
    );
}

#[test]
fn values_without_a_message_are_what_they_look_like() {
    for (key, bytes, expected) in [
        ("root-coord/collection/1", &[0xE2, 0x9B, 0xBC][..], "(tombstone)"),
        ("anything", &[0xE2, 0x9B, 0xBC], "(tombstone)"),
        ("root-coord/collection/1", b"", "(empty)"),
        ("x", b"", "(empty)"),
        ("session/id", b"17", "17"),
        ("root-coord/dd-msg-send", b"true", "true"),
        ("x", b"(tombstone)", r#""(tombstone)""#),
        ("x", b"0x00", r#""0x00""#),
        ("x", b"a\nb", r#""a\nb""#),
        ("x", b"a\x1b[31m", "0x611b5b33316d"),
        ("x", "a\u{202e}b".as_bytes(), "0x61e280ae62"),
        ("x", b"\xff\xfe", "0xfffe"),
        ("session/x", br#"{ "b":1e400, "a" :["\u00e9", {}, [ ]] }"#, r#"{"b": 1e400, "a": ["\u00e9", {}, []]}"#),
        ("x", b"{not json", r#""{not json""#),
        ("x", b"\x08\x05\x12\x03abc\x1a\x02\x08\x01", r#"{1: 5, 2: "abc", 3: {1: 1}}"#),
        ("x", b"\x0a\x02\xff\xfe\x0d\x01\x02\x03\x04", "{1: [0xfffe, 0x01020304]}"),
        ("root-coord/collection/1", b"\x0a", r#"(not etcd.CollectionInfo: it ends within a field) 0x0a"#),
        ("root-coord/collection/1", b"0", r#"(not etcd.CollectionInfo: it ends within a field) 0"#),
    ] {
        assert_eq!(one_line(key, bytes), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn json_in_lines_keeps_its_spelling() {
    let decoded = value(b"session/x", br#"{"ServerID":9,"l":[1.50,{"a,b":"}"}],"e":{}}"#).to_string();
    insta::assert_snapshot!(decoded, @r#"
    {
      "ServerID": 9,
      "l": [
        1.50,
        {
          "a,b": "}"
        }
      ],
      "e": {}
    }
    "#);
}

#[test]
fn long_bytes_are_cut_but_two_different_ones_never_read_the_same() {
    let bytes = vec![0xFF; 100];
    let mut other = bytes.clone();
    other[50] = 0xFE;
    let (decoded, other) = (one_line("x", &bytes), one_line("x", &other));
    assert!(decoded.starts_with("0xffff") && decoded.contains('…'), "{decoded}");
    assert!(decoded.contains("(100 bytes, SHA-256 "), "{decoded}");
    assert_ne!(decoded, other);
}

/// Messages within messages, which get the deepest indentation.
fn nested() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::collection::vec(Just([0x48, 0, 0x08, 0]).prop_map(|pair| pair.to_vec()), 0..20)
            .prop_map(|v| v.concat()),
    ];
    leaf.prop_recursive(12, 400, 4, |inner| {
        (1u8..16, proptest::collection::vec(inner, 1..4)).prop_map(|(number, parts)| {
            parts.into_iter().fold(Vec::new(), |mut bytes, part| {
                bytes.push(number << 3 | 2);
                prost::encoding::encode_varint(part.len() as u64, &mut bytes);
                bytes.extend(part);
                bytes
            })
        })
    })
}

fn keys() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "root-coord/collection/1",
        "indexes/1",
        "datacoord-meta/s/1/2/3",
        "field-index/1/2",
        "segment-index/1/2/3/4",
        "session/x",
        "other",
    ])
}

fn check_size(key: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    let decoded = value(key.as_bytes(), bytes);
    let limit = 40 * bytes.len() + 200;
    let (lines, line) = (decoded.to_string(), decoded.one_line());
    prop_assert!(lines.len() <= limit && line.len() <= limit, "{} bytes become {lines}", bytes.len());
    prop_assert!(!line.contains('\n') && !lines.chars().any(|c| c.is_control() && c != '\n'));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic_or_the_text_explode(key in keys(), bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_size(key, &bytes)?;
    }

    #[test]
    fn no_nesting_makes_it_panic_or_the_text_explode(key in keys(), bytes in nested()) {
        check_size(key, &bytes)?;
    }

    #[test]
    fn no_json_makes_it_panic_or_the_text_explode(text in r#"[\[\]{},:"1a \u{7f}\\]{0,80}"#, depth in 0usize..300) {
        check_size("session/x", text.as_bytes())?;
        check_size("session/x", format!("{}1,1,1{}", "[".repeat(depth), "]".repeat(depth)).as_bytes())?;
    }
}
