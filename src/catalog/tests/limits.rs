//! What is told of names and indexes that newer versions do not take.

use super::cluster::{BINARY_VECTOR, Cluster, VECTOR};
use crate::catalog::report::Limit;
use crate::layout::messages::source::IndexInfo;

/// Versions and things, and what helps.
fn told(cluster: &Cluster) -> Vec<(&'static str, String, String)> {
    let limits = cluster.migrate().report().limits.clone();
    limits.into_iter().map(|Limit { versions, what, remedy, .. }| (versions, what, remedy)).collect()
}

#[test]
fn names_with_a_dollar_are_told_with_the_option_that_helps() {
    let cluster = Cluster::new().collection(1, "a$b").partition(11, "p$x").alias("v$1", &[5]);
    let cluster = cluster.collection(2, "c").partition(12, "9 lives").alias("v_1", &[5]);
    let told = told(&cluster);
    let expected = [
        ("2.2 and newer", "alias v$1", "`--rename-alias 'v$1=NEW'`"),
        ("2.2 and newer", "collection a$b", "`--rename-collection 'a$b=a_b'`"),
        ("2.2 and newer", "partition p$x of collection a$b", "`--rename-partition '1/p$x=p_x'`"),
    ];
    let told: Vec<_> = told.iter().map(|(versions, what, remedy)| (*versions, &**what, &**remedy)).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_name_that_is_given_as_the_report_says_is_no_limit_any_more() {
    let cluster = Cluster::new().collection(1, "a$b").alias("v$1", &[5]);
    let options = crate::catalog::Options {
        rename_collection: vec!["a$b=a_b".parse().unwrap()],
        rename_alias: vec!["v$1=v_1".parse().unwrap()],
        ..Default::default()
    };
    assert_eq!(cluster.migrate_with(&options).report().limits, []);
}

#[test]
fn indexes_that_newer_versions_do_not_take_are_told_by_version() {
    let versions = |field: i64, data_type: i32, kind: &str, metric: &str| -> Vec<&'static str> {
        let params = [("index_type", kind), ("metric_type", metric)];
        let cluster = Cluster::new().collection(1, "c").field(102, "bits", data_type).index(500, field, "i", &params);
        told(&cluster).into_iter().map(|(versions, ..)| versions).collect()
    };
    for kind in ["RHNSW_FLAT", "RHNSW_SQ", "RHNSW_PQ", "NSG", "IVF_SQ8_HYBRID", "NGT_ONNG"] {
        assert_eq!(versions(VECTOR, BINARY_VECTOR, kind, "L2"), ["2.2 and newer"], "{kind}");
    }
    assert_eq!(versions(VECTOR, BINARY_VECTOR, "ANNOY", "L2"), ["2.2", "2.3 and newer"]);
    assert_eq!(versions(102, BINARY_VECTOR, "BIN_FLAT", "JACCARD"), [""; 0]);
    assert_eq!(versions(102, BINARY_VECTOR, "BIN_FLAT", "TANIMOTO"), ["2.3 and newer"]);
    assert_eq!(versions(102, BINARY_VECTOR, "BIN_IVF_FLAT", "TANIMOTO"), ["2.3 and newer"]);
    for kind in ["FLAT", "IVF_FLAT", "IVF_SQ8", "IVF_PQ", "HNSW"] {
        assert_eq!(versions(VECTOR, BINARY_VECTOR, kind, "IP"), [""; 0], "{kind}");
    }
}

#[test]
fn an_index_that_is_being_dropped_is_nobodys_limit() {
    let cluster = Cluster::new().collection(1, "c").index(500, VECTOR, "i", &[("index_type", "ANNOY")]);
    let dropped = cluster.alter("root-coord/index/1/500", |info: &mut IndexInfo| info.deleted = true);
    assert_eq!(told(&dropped), []);
}
