//! Fields that no descriptor knows.

use crate::decode::unknown_fields;
use crate::layout::TOMBSTONE;
use crate::layout::keys::Key;

use super::UNKNOWN;

fn unknown(key: &str, value: &[u8]) -> Vec<String> {
    unknown_fields(&Key::parse(key.as_bytes()).unwrap(), value)
}

/// A length-delimited field.
fn nested(number: u8, inner: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, inner.len() as u8], inner].concat()
}

#[test]
fn they_are_named_with_the_way_to_them() {
    for (key, value, expected) in [
        ("root-coord/collection/1", UNKNOWN.to_vec(), "CollectionInfo.field 99"),
        ("root-coord/collection/1", nested(2, UNKNOWN), "CollectionInfo.schema.field 99"),
        (
            "root-coord/collection/1",
            nested(2, &nested(4, &nested(6, UNKNOWN))),
            "CollectionInfo.schema.fields.type_params.field 99",
        ),
        ("snapshots/root-coord/collection-alias/a_ts5", UNKNOWN.to_vec(), "CollectionInfo.field 99"),
        ("indexes/9", nested(4, UNKNOWN), "IndexMeta.req.field 99"),
        ("indexes/9", nested(4, b"\x20\x01"), "IndexMeta.req.field 4"),
        ("queryCoord-collectionMeta/1", nested(3, UNKNOWN), "CollectionInfo.partition_states.field 99"),
        ("queryCoord-ReplicaMeta/1", nested(4, UNKNOWN), "ReplicaInfo.shard_replicas.field 99"),
        ("root-coord/index/1/7", nested(3, UNKNOWN), "IndexInfo.index_params.field 99"),
        ("datacoord-meta/s/1/2/3", nested(11, &nested(2, UNKNOWN)), "SegmentInfo.binlogs.binlogs.field 99"),
        ("querycoord-partition-loadinfo/1/2", nested(5, UNKNOWN), "PartitionLoadInfo.field_indexID.field 99"),
    ] {
        assert_eq!(unknown(key, &value), [expected], "{key}");
    }
}

#[test]
fn each_is_named_once_in_the_order_of_the_wire() {
    let value = [UNKNOWN, &nested(2, UNKNOWN), b"\xc0\x0c\x01", UNKNOWN, &nested(2, UNKNOWN)].concat();
    let expected = ["CollectionInfo.field 99", "CollectionInfo.schema.field 99", "CollectionInfo.field 200"];
    assert_eq!(unknown("root-coord/collection/1", &value), expected);
}

#[test]
fn of_very_many_the_first_are_named_and_that_there_are_others() {
    // Numbers from 16 on have tags of two bytes.
    let fields = |count: u8| (0..count).flat_map(|at| [0x80 | (at << 3 & 0x78), 3 + (at >> 4), 1]).collect::<Vec<u8>>();
    let ten = unknown("field-index/1/2", &fields(10));
    assert_eq!((ten.len(), &*ten[9]), (10, "FieldIndex.field 57"));
    let more = unknown("field-index/1/2", &fields(16));
    assert_eq!((more.len(), &more[..10], &*more[10]), (11, &ten[..], "others"));
    assert_eq!(unknown("field-index/1/2", &fields(10).repeat(2)), ten);
}

#[test]
fn copies_of_what_another_record_holds_are_not_looked_into() {
    assert!(unknown("queryCoord-collectionMeta/1", &nested(5, UNKNOWN)).is_empty());
    assert!(unknown("indexes/9", &nested(4, &nested(9, UNKNOWN))).is_empty());
}

#[test]
fn what_is_no_message_has_none() {
    for (key, value) in [
        ("root-coord/collection/1", TOMBSTONE),
        ("root-coord/collection/1", b""),
        ("root-coord/dd-operation", UNKNOWN),
        ("session/x", UNKNOWN),
        ("indexes/0", UNKNOWN),
        ("other", UNKNOWN),
        // The beginning of a field, and what a string field holds.
        ("root-coord/collection/1", b"\x98"),
        ("root-coord/aliases/a", b"\x0a\x03\x98\x06\x03"),
    ] {
        assert!(unknown(key, value).is_empty(), "{key}");
    }
}
