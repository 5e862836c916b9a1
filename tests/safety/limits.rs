//! What etcd takes at once.

use crate::Scene;
use crate::common::state::{assert_same, below, copy, value};
use crate::common::{Etcd, Tool, Version, on_both_versions, said};
use meta_migration::layout::families::Family;

on_both_versions![
    an_etcd_with_small_transactions_gets_smaller_ones,
    an_etcd_with_the_smallest_transactions_takes_the_first_and_the_last,
    an_etcd_with_small_requests_gets_smaller_ones,
    a_value_as_large_as_etcd_takes_is_carried_over,
];

fn an_etcd_with_small_transactions_gets_smaller_ones(version: Version) {
    migrates_and_goes_back(version, "--max-txn-ops=16", &[]);
}

/// What begins and ends a run or a rollback cannot be cut.
fn an_etcd_with_the_smallest_transactions_takes_the_first_and_the_last(version: Version) {
    for told in [&[][..], &["--max-txn-ops=8"]] {
        migrates_and_goes_back(version, "--max-txn-ops=8", told);
    }
}

fn an_etcd_with_small_requests_gets_smaller_ones(version: Version) {
    migrates_and_goes_back(version, "--max-request-bytes=6000", &[]);
}

/// The tool is told what is in `options`, and begins with its own limits otherwise: 128 operations, 1.5 MiB.
fn migrates_and_goes_back(version: Version, limit: &str, options: &[&str]) {
    let unlimited = Scene::on(version);
    let etcd = Etcd::with(version).arg(limit).start();
    copy(&unlimited.before, &etcd);
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    for (command, expected) in [("run", &unlimited.migrated), ("rollback", &unlimited.before)] {
        let revision = etcd.revision();
        let done = tool.call(&[&[command], options].concat()).code(0);
        assert_same(expected, &etcd.dump(), command);
        let transactions = etcd.revision() - revision - 2;
        assert!(transactions >= 10, "{transactions} transactions only: {}", said(&done));
    }
}

fn a_value_as_large_as_etcd_takes_is_carried_over(version: Version) {
    const FIELD_99: [u8; 2] = [0x9a, 0x06];
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let key = Family::Collection.key([470_605_839_296_564_545]).to_string();
    let absolute = format!("by-dev/meta/{key}");
    let unknown = vec![b'u'; 1_468_000];
    // The record and its newest snapshot: the two do not fit into one transaction.
    let sample = etcd.dump();
    let newest = below(&sample, &format!("snapshots/{key}_ts")).last().unwrap().0;
    for absolute in [absolute, format!("by-dev/meta/{newest}")] {
        let mut record = etcd.get(absolute.clone()).unwrap();
        record.extend(FIELD_99);
        record.extend(varint(unknown.len() as u64));
        record.extend(&unknown);
        etcd.put(absolute, record);
    }
    let before = etcd.dump();

    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    tool.call(&["run"]).code(0);
    let after = etcd.dump();
    let migrated = value(&after, &key).unwrap();
    let field: Vec<u8> = [FIELD_99.to_vec(), varint(unknown.len() as u64), unknown].concat();
    assert!(migrated.ends_with(&field) && migrated.len() < before[format!("by-dev/meta/{key}").as_bytes()].len());
    assert!(tool.call(&["run"]).code(0).get_output().status.success());
    assert_same(&after, &etcd.dump(), "a second run");
    tool.call(&["rollback"]).code(0);
    assert_same(&before, &etcd.dump(), "after rollback");
}

fn varint(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(number, &mut bytes);
    bytes
}
