//! Back to 2.1 from wherever one is.

use meta_migration::layout::TOMBSTONE;
use meta_migration::layout::families::Family;
use meta_migration::layout::keys::Key;
use meta_migration::layout::messages::common::{CollectionInfo, CollectionSchema, FieldSchema, KeyValuePair};
use meta_migration::layout::messages::target;
use prost::Message;

use super::Migrated;
use crate::common::readable::decode;
use crate::common::state::{assert_same, below, value};
use crate::common::{Etcd, Tool, Version, on_both_versions, said};

on_both_versions![
    what_was_not_touched_needs_no_rollback,
    a_rolled_back_migration_leaves_every_byte_as_before,
    a_half_done_migration_is_rolled_back,
    what_2_2_did_after_the_migration_is_rolled_back,
];

/// A collection that 2.2 made after the migration.
const NEW: i64 = 470_700_000_000_000_001;
/// One of the sample, with an index and loaded.
const BINARY: i64 = 470_605_842_599_641_089;
/// One of the sample with partitions and aliases.
const IVFFLAT: i64 = 470_605_839_296_564_545;

fn what_was_not_touched_needs_no_rollback(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    let before = etcd.dump();
    let rollback = tool.call(&["rollback"]).code(0);
    assert!(said(&rollback).contains("nothing to do"), "{}", said(&rollback));
    assert_same(&before, &etcd.dump(), "after rollback");
}

fn a_rolled_back_migration_leaves_every_byte_as_before(version: Version) {
    let Migrated { etcd, tool, before, after } = Migrated::on(version);
    tool.call(&["rollback"]).code(0);
    assert_same(&before, &etcd.dump(), "after rollback");
    let again = tool.call(&["rollback"]).code(0);
    assert!(said(&again).contains("nothing to do"), "{}", said(&again));
    // And forward once more.
    tool.call(&["run"]).code(0);
    assert_same(&after, &etcd.dump(), "migrated a second time");
}

fn a_half_done_migration_is_rolled_back(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let before = etcd.dump();
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    for transactions in [1, 30, 51, 54] {
        tool.catch(&["run"], &etcd, transactions, || etcd.start_over(&before)).kill();
        etcd.end_lock();
        tool.call(&["rollback"]).code(0);
        assert_same(&before, &etcd.dump(), transactions);
    }
}

fn what_2_2_did_after_the_migration_is_rolled_back(version: Version) {
    let Migrated { etcd, tool, before, .. } = Migrated::on(version);
    use_in_2_2(&etcd);
    let changed = etcd.dump();
    let rollback = tool.call(&["rollback"]).code(0);
    assert!(said(&rollback).contains("deleted, is not in the backup: root-coord/partitions/"), "{}", said(&rollback));
    let mut expected = before;
    // Given out by 2.2, and never again.
    expected.insert(b"by-dev/meta/session/id".into(), b"31".into());
    expected.insert(b"by-dev/kv/gid/timestamp".into(), b"a later time".into());
    assert_same(&expected, &etcd.dump(), "after rollback");
    assert_ne!(changed, expected);
}

/// What happens to the keys while 2.2 runs for a while.
fn use_in_2_2(etcd: &Etcd) {
    let put = |key: &str, value: &[u8]| etcd.put(format!("by-dev/meta/{key}"), value);
    let delete = |key: &str| etcd.delete(format!("by-dev/meta/{key}"));
    let put_with_snapshot = |plain: Key, time: u64, value: &[u8]| {
        put(&plain.to_string(), value);
        put(&format!("snapshots/{plain}_ts{time}"), value);
    };
    put("session/id", b"31");
    etcd.put("by-dev/kv/gid/timestamp", "a later time");
    create_collection(&put_with_snapshot);
    put(
        &format!("field-index/{NEW}/{}", NEW + 7),
        &target::FieldIndex { index_info: None, deleted: false, create_time: 1 }.encode_to_vec(),
    );
    put(&format!("querycoord-collection-loadinfo/{NEW}"), b"\x08\x01");
    put(&format!("querycoord-replica/{NEW}/5"), b"\x08\x05");

    let now = etcd.dump();
    drop_collection(etcd, &put_with_snapshot);
    // Renamed, with a property.
    let mut info: CollectionInfo = decode(value(&now, &Family::Collection.key([IVFFLAT]).to_string()).unwrap());
    info.schema.as_mut().unwrap().name = "renamed".into();
    info.properties.push(KeyValuePair { key: "collection.ttl.seconds".into(), value: "3600".into() });
    put_with_snapshot(Family::Collection.key([IVFFLAT]), 470_700_000_000_000_100, &info.encode_to_vec());
    // A new alias, and a dropped one.
    let alias = target::AliasInfo { alias_name: "a_new".into(), collection_id: IVFFLAT, ..Default::default() };
    put_with_snapshot(Family::Alias.named("a_new"), 470_700_000_000_000_200, &alias.encode_to_vec());
    put_with_snapshot(Family::Alias.named("a_second"), 470_700_000_000_000_201, TOMBSTONE);

    // Channels go to other nodes, segments are compacted, nodes and users come and go.
    let keys = |prefix| below(&now, prefix).map(|(key, _)| key);
    let mut channels = keys("channelwatch/");
    let [changed, moved, gone] = [(); 3].map(|()| channels.next().unwrap());
    put(changed, b"watched by somebody else");
    put(
        &moved.replace("channelwatch/14/", "channelwatch/27/"),
        now[format!("by-dev/meta/{moved}").as_bytes()].as_slice(),
    );
    delete(moved);
    delete(gone);
    let mut segments = keys("datacoord-meta/s/");
    delete(segments.next().unwrap());
    put(segments.next().unwrap(), b"compacted");
    put(&format!("datacoord-meta/s/{NEW}/1/2"), b"\x08\x02");
    put(&format!("datacoord-meta/binlog/{NEW}/1/2/100"), b"\x08\x02");
    put("datacoord-meta/channel-cp/by-dev-rootcoord-dml_0v0", b"\x08\x02");
    keys("queryCoord-ReplicaMeta/").for_each(delete);
    delete(keys("segment-index/").last().unwrap());
    put("root-coord/credential/users/bob", b"{\"username\":\"bob\"}");
    delete("root-coord/credential/users/alice");
}

fn create_collection(put: &impl Fn(Key, u64, &[u8])) {
    let time = 470_700_000_000_000_010;
    let schema = CollectionSchema { name: "of_2_2".into(), ..CollectionSchema::default() };
    let info = CollectionInfo { id: NEW, schema: Some(schema), shards_num: 1, ..CollectionInfo::default() };
    put(Family::Collection.key([NEW]), time, &info.encode_to_vec());
    for field in [0, 1, 100, 101] {
        let record = FieldSchema { field_id: field, name: format!("f{field}"), ..FieldSchema::default() };
        put(Family::Field.key([NEW, field]), time, &record.encode_to_vec());
    }
    let partition = NEW + 1;
    let record = target::PartitionInfo {
        partition_id: partition,
        partition_name: "_default".into(),
        partition_created_timestamp: time,
        collection_id: NEW,
        state: 0,
    };
    put(Family::Partition.key([NEW, partition]), time, &record.encode_to_vec());
}

/// All that is versioned becomes a tombstone, the rest goes.
fn drop_collection(etcd: &Etcd, put: &impl Fn(Key, u64, &[u8])) {
    let now = etcd.dump();
    put(Family::Collection.key([BINARY]), 470_700_000_000_000_300, TOMBSTONE);
    for kind in ["partitions", "fields"] {
        for (key, _) in below(&now, &format!("root-coord/{kind}/{BINARY}/")) {
            let id: i64 = key.rsplit('/').next().unwrap().parse().unwrap();
            let plain = match kind {
                "partitions" => Family::Partition.key([BINARY, id]),
                _ => Family::Field.key([BINARY, id]),
            };
            put(plain, 470_700_000_000_000_300, TOMBSTONE);
        }
    }
    for kind in ["field-index", "segment-index", "querycoord-collection-loadinfo", "datacoord-meta/s"] {
        for (key, _) in below(&now, &format!("{kind}/{BINARY}")) {
            etcd.delete(format!("by-dev/meta/{key}"));
        }
    }
}
