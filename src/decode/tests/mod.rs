mod families;
mod unknown;

use proptest::prelude::*;
use prost::Message;

use super::{unknown_fields, value};
use crate::layout::families::Family;
use crate::layout::keys::Key;
use crate::layout::messages::common::{CollectionInfo, CollectionSchema, FieldIndexInfo, FieldSchema, KeyValuePair};

fn one_line(key: &str, bytes: &[u8]) -> String {
    value(key.as_bytes(), bytes).one_line()
}

/// A field 99 with the number 3.
const UNKNOWN: &[u8] = b"\x98\x06\x03";

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.into(), value: value.into() }
}

/// A collection with a field 99, which no Milvus has.
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
        schema: Some(CollectionSchema {
            name: "c".into(),
            fields: vec![field(100, "pk"), field(101, "vec")],
            ..Default::default()
        }),
        partition_i_ds: (470605839296564546..470605839296564553).collect(),
        partition_names: vec!["_default".into(), "p\n".into()],
        field_indexes: vec![FieldIndexInfo { filed_id: 101, index_id: 8 }],
        partition_created_timestamps: vec![u64::MAX, 0],
        state: 2,
        ..Default::default()
    }
    .encode_to_vec();
    bytes.extend(UNKNOWN);
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
    99: 3
    "#);
    assert_eq!(decoded.kind(), "etcd.CollectionInfo");
    let snapshot = value(b"snapshots/root-coord/collection/7_ts5", &bytes);
    assert_eq!(snapshot.one_line(), decoded.one_line());
    assert!(!snapshot.one_line().contains('\n'));
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
        // Not what the descriptor says: several numbers in a field of one, a text for a number, a number for a text.
        ("root-coord/collection/1", b"\x0a\x02\x05\x06", "{ID: 0x0506}"),
        ("root-coord/collection/1", b"\x0a\x03abc\x28\x07", r#"{ID: "abc", partitionNames: [7]}"#),
        ("root-coord/collection/1", b"\x68\x09\x60\x81\x80\x80\x80\x10", "{state: 9, consistency_level: 4294967297}"),
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

/// A key of each family, and of none.
fn keys() -> impl Strategy<Value = String> {
    let families = Family::all().map(|family| {
        let name = if family.has_snapshots() { "a" } else { "" };
        family.key_with([1, 2, 3, 4], name).to_string()
    });
    prop::sample::select(families.chain(["session/x".into(), "other".into()]).collect::<Vec<_>>())
}

fn check_size(key: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    let decoded = value(key.as_bytes(), bytes);
    let limit = 40 * bytes.len() + 200;
    let (lines, line) = (decoded.to_string(), decoded.one_line());
    prop_assert!(lines.len() <= limit && line.len() <= limit, "{} bytes become {lines}", bytes.len());
    if let Ok(key) = Key::parse(key.as_bytes()) {
        prop_assert!(unknown_fields(&key, bytes).len() <= 11);
    }
    prop_assert!(!line.contains('\n') && !lines.chars().any(|c| c.is_control() && c != '\n'));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic_or_the_text_explode(key in keys(), bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_size(&key, &bytes)?;
    }

    #[test]
    fn no_nesting_makes_it_panic_or_the_text_explode(key in keys(), bytes in nested()) {
        check_size(&key, &bytes)?;
    }

    #[test]
    fn no_json_makes_it_panic_or_the_text_explode(text in r#"[\[\]{},:"1a \u{7f}\\]{0,80}"#, depth in 0usize..300) {
        check_size("session/x", text.as_bytes())?;
        check_size("session/x", format!("{}1,1,1{}", "[".repeat(depth), "]".repeat(depth)).as_bytes())?;
    }
}
