//! Fields that 2.1 does not have, in records that become other messages: they are told, never dropped without a word.

use super::cluster::Cluster;
use super::everything;
use crate::catalog::Options;

/// A field 500 with the number 1.
const UNKNOWN: &[u8] = b"\xa0\x1f\x01";

fn with_unknown(cluster: Cluster, key: &str) -> Cluster {
    let value = [&cluster.value(key)[..], UNKNOWN].concat();
    cluster.put(key, value)
}

fn nested(cluster: Cluster, key: &str, number: u8, inner: &[u8]) -> Cluster {
    let value = [&cluster.value(key)[..], &[number << 3 | 2, inner.len() as u8], inner].concat();
    cluster.put(key, value)
}

fn cluster() -> Cluster {
    Cluster::new().collection(1, "c").alias("a", &[5]).vector_index(7).segment_index(7, 8, 9).loaded().snapshot(5)
}

#[test]
fn each_record_that_becomes_another_one_is_named_with_its_unknown_fields() {
    for key in [
        "indexes/9",
        "queryCoord-collectionMeta/1",
        "root-coord/collection-alias/a",
        "root-coord/index/1/7",
        "root-coord/segment-index/1/7/10/8",
        "snapshots/root-coord/collection-alias/a_ts5",
    ] {
        let done = with_unknown(cluster(), key).migrate();
        let warnings = &done.report().warnings;
        assert_eq!(warnings.len(), 1, "{key}: {warnings:?}");
        assert!(warnings[0].starts_with(&format!("{key}: ")) && warnings[0].contains(".field 500."), "{warnings:?}");
        assert!(done.after.differences(&cluster().migrate().after).iter().all(|line| line.contains("queryCoord")));
    }
}

#[test]
fn they_are_seen_within_nested_messages() {
    for (key, number, path) in [
        ("indexes/9", 4, ".req.field 500."),
        ("queryCoord-collectionMeta/1", 3, ".partition_states.field 500."),
        ("root-coord/index/1/7", 3, ".index_params.field 500."),
        ("root-coord/collection/1", 6, ".field_indexes.field 500."),
    ] {
        // The entry of the index again, so that it is none of a new index.
        let inner = if number == 6 { [b"\x08\x65\x10\x07", UNKNOWN].concat() } else { UNKNOWN.to_vec() };
        let done = nested(cluster(), key, number, &inner).convert("2.2.0", &Options::default());
        let warnings = &done.report().warnings;
        assert!(warnings.len() == 1 && warnings[0].contains(path), "{key}: {warnings:?}");
    }
}

#[test]
fn what_2_1_knows_or_what_is_kept_elsewhere_is_not_told() {
    // The schema in a load state and in a build request: the collection's own record carries its fields over.
    let copies =
        nested(nested(cluster(), "queryCoord-collectionMeta/1", 5, UNKNOWN), "indexes/9", 4, b"\x4a\x03\xa0\x1f\x01");
    // The request in full, and fields of the collection that stay where they are.
    let request = b"\x08\x09\x12\x01n\x18\x07\x2a\x01p\x32\x00\x3a\x00\x50\x08";
    let known = with_unknown(nested(everything(), "indexes/800", 4, request), "root-coord/collection/1");
    for cluster in [copies, known] {
        assert!(!cluster.migrate().report().warnings.iter().any(|warning| warning.contains("does not have")));
    }
}

#[test]
fn very_many_are_counted() {
    let cluster = (1..=25).fold(Cluster::new().collection(1, "c").vector_index(7), |cluster, build| {
        with_unknown(cluster.segment_index(7, 100 + build, build), &format!("indexes/{build}"))
    });
    let done = cluster.migrate();
    let report = done.report();
    assert_eq!(report.warnings.len(), 21);
    assert!(report.warnings.contains(
        &"indexes/: 5 more records have fields that Milvus 2.1 does not have and that are not carried over".into()
    ));
}

#[test]
fn of_what_is_only_left_over_nothing_is_told() {
    let done = cluster().migrate();
    let leftover = done.after.put("indexes/9", UNKNOWN.to_vec());
    assert_eq!(leftover.migrate().report().warnings, Vec::<String>::new());
}
