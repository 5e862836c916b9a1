//! What holds for metadata as a whole.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;

use super::cluster::{Cluster, Migrated, TAIL, everything};
use super::problems::everything_wrong;
use crate::layout::messages::common::{CollectionInfo, CollectionSchema, FieldSchema};
use crate::layout::messages::target::PartitionInfo;
use crate::layout::{Found, TOMBSTONE};
use crate::plan::Change;

/// Keys that are none of ours, some of them nearly.
const FOREIGN: &[&str] = &[
    "channelwatch/1/by-dev-rootcoord-dml_0",
    "datacoord-meta/binlog/1/10/9/100",
    "datacoord-meta/s/1/10/x",
    "flushed-segments",
    "indexes2/800",
    "queryCoord-ReplicaMeta/1",
    "queryCoord-collectionMeta2/1",
    "queryCoord-segmentMeta/1/10/9",
    "querycoord-collection-loadinfo2/1",
    "root-coord/collection",
    "root-coord/collection-aliases/a",
    "root-coord/collections/1",
    "root-coord/credential/users/root",
    "root-coord/dd-operation-2",
    "root-coord/index2/1/500",
    "root-coord/segment-index2/1/500/10/9",
    "segment-index-2/1",
    "session/id",
    "session/rootcoord",
    "snapshots/root-coord/credential/users/root_ts5",
    "snapshots/root-coord/indexes/1_ts5",
    "snapshots2/root-coord/collection/1_ts5",
];

/// Prefixes of what 2.2 does not know.
const GONE: &[&str] = &[
    "indexes/",
    "root-coord/collection-alias/",
    "root-coord/dd-msg-send",
    "root-coord/dd-operation",
    "root-coord/index/",
    "root-coord/segment-index/",
    "snapshots/root-coord/collection-alias/",
    "snapshots/root-coord/dd-msg-send",
    "snapshots/root-coord/dd-operation",
    "snapshots/root-coord/index/",
    "snapshots/root-coord/segment-index/",
];

/// A collection as 2.2 makes it.
fn made_by_2_2(cluster: Cluster, id: i64) -> Cluster {
    let schema = Some(CollectionSchema { name: "new".into(), fields: vec![] });
    let record = [CollectionInfo { id, schema, ..CollectionInfo::default() }.encode_to_vec(), TAIL.to_vec()].concat();
    let mut records = BTreeMap::from([(format!("root-coord/collection/{id}"), record)]);
    let partition = PartitionInfo { partition_id: 1, collection_id: id, ..PartitionInfo::default() };
    records.insert(format!("root-coord/partitions/{id}/1"), partition.encode_to_vec());
    records.insert(
        format!("root-coord/fields/{id}/100"),
        FieldSchema { field_id: 100, ..Default::default() }.encode_to_vec(),
    );
    records.into_iter().fold(cluster, |cluster, (key, value)| {
        cluster.put(format!("snapshots/{key}_ts7"), value.clone()).put(key, value)
    })
}

/// What the original tool makes of a cluster: the 2.2 layout, but fields and partitions still embedded.
fn migrated_by_the_original_tool(before: &Cluster) -> Cluster {
    let mut after = before.migrate().after;
    for kind in ["fields", "partitions"] {
        for key in
            [after.keys(&format!("root-coord/{kind}/")), after.keys(&format!("snapshots/root-coord/{kind}/"))].concat()
        {
            after = after.remove(&key);
        }
    }
    for collection in [1, 2, 3] {
        after = after.again(collection).edit(|info| info.field_indexes.clear());
    }
    after.again(1).snapshot(9).again(3).snapshot(7)
}

/// Carrying out is the end: nothing is left to do.
fn is_done(done: &Migrated) {
    let next = done.after.plan();
    assert!(next.plan.is_empty(), "{:#?}", next.plan.phases);
}

#[test]
fn nothing_that_only_2_1_reads_is_left_and_load_states_stay() {
    let before = everything();
    assert!(GONE.iter().all(|prefix| !before.keys(prefix).is_empty()), "the test would not see it go");
    let done = before.migrate();
    for prefix in GONE {
        assert_eq!(done.after.keys(prefix), [""; 0]);
    }
    let stays = "queryCoord-collectionMeta/";
    assert_eq!(done.after.keys(stays), before.keys(stays));
    let removed: u64 = done.migration.report.removed.values().sum();
    let source: usize = GONE.iter().map(|prefix| before.keys(prefix).len()).sum();
    assert_eq!(removed, source as u64);
}

#[test]
fn whatever_is_not_ours_stays_byte_for_byte() {
    let before = FOREIGN.iter().fold(everything(), |cluster, key| cluster.put(key, b"\x00\xff any"));
    let after = before.migrate().after;
    for key in FOREIGN {
        assert_eq!(after.value(key), &b"\x00\xff any"[..], "{key}");
    }
}

#[test]
fn planning_again_on_the_result_is_empty() {
    let done = everything().migrate();
    is_done(&done);
    assert_eq!(
        (done.migration.report.found, done.after.plan().report.found),
        (Some(Found::Source), Some(Found::Target))
    );
    assert_eq!(done.after.plan().plan.problems, []);
}

#[test]
fn two_plans_of_the_same_metadata_are_equal() {
    for cluster in [everything(), everything_wrong()] {
        let first = cluster.plan();
        for _ in 0..5 {
            assert_eq!(cluster.plan(), first);
        }
    }
}

#[test]
fn many_neighbouring_keys_are_deleted_in_ranges_of_a_thousand() {
    let many = (0..2500).fold(Cluster::new().collection(1, "c"), |cluster, at| {
        cluster.put(format!("snapshots/root-coord/dd-operation_ts{at}"), "any")
    });
    let done = many.put("root-coord/collection-alias/a", TOMBSTONE).put("root-coord/dd-operation", "any").migrate();
    let ranges = done.plan().changes().filter_map(|change| match change {
        Change::Delete { keys, .. } => Some(*keys),
        Change::Put { .. } => None,
    });
    assert_eq!(ranges.collect::<Vec<_>>(), [1, 1, 1000, 1000, 500]);
    assert_eq!(done.after.keys("snapshots/"), [""; 0]);
}

#[test]
fn metadata_made_by_2_2_alone_needs_nothing() {
    let cluster = made_by_2_2(made_by_2_2(Cluster::new(), 1), 2)
        .put("root-coord/aliases/a", TOMBSTONE)
        .put("snapshots/root-coord/aliases/a_ts9", TOMBSTONE)
        .put("root-coord/collection/3", TOMBSTONE)
        .put("snapshots/root-coord/collection/3_ts9", TOMBSTONE)
        .put("field-index/1/500", "any")
        .put("session/id", "5");
    let migration = cluster.plan();
    assert!(migration.plan.is_empty(), "{:#?}", migration.plan);
    assert_eq!((&migration.plan.problems[..], migration.report.found), (&[][..], Some(Found::Target)));
}

#[test]
fn a_2_2_collection_that_lost_its_schema_is_reported_and_stays_as_it_is() {
    let sound = made_by_2_2(made_by_2_2(Cluster::new(), 1), 2);
    let no_fields = sound.clone().remove("root-coord/fields/1/100");
    let no_partitions = sound.clone().remove("root-coord/partitions/1/1");
    let neither = no_fields.clone().remove("root-coord/partitions/1/1");
    let buried = sound.put("root-coord/fields/1/100", TOMBSTONE);
    for (cluster, lacks) in [
        (no_fields, "no fields embedded"),
        (no_partitions, "no partitions embedded"),
        (neither, "no fields and partitions embedded"),
        (buried, "no fields embedded"),
    ] {
        let done = cluster.migrate_without_invalid();
        assert!(done.only_problem("root-coord/collection/1").contains(lacks), "{:?}", done.problems());
        assert!(done.plan().is_empty());
    }
}

#[test]
fn a_2_2_collection_that_is_being_made_or_dropped_may_lack_its_fields() {
    for state in 1..=3 {
        let record = CollectionInfo { id: 1, state, ..CollectionInfo::default() };
        assert_eq!(Cluster::new().message("root-coord/collection/1", &record).plan().plan.problems, []);
    }
}

/// It stands alone among 2.1 records, so no 2.2 has made it: its aliases would be lost without a word.
#[test]
fn a_collection_without_fields_among_2_1_records_is_reported_whatever_its_state() {
    let record = CollectionInfo { id: 1, state: 2, ..CollectionInfo::default() };
    let cluster = Cluster::new().collection(1, "c").alias("a", &[5]).message("root-coord/collection/1", &record);
    let problems = cluster.plan().plan.problems;
    assert_eq!(problems.iter().map(|problem| &*problem.key).collect::<Vec<_>>(), ["root-coord/collection/1"]);
}

#[test]
fn metadata_migrated_by_the_original_tool_is_reported() {
    let clean = migrated_by_the_original_tool(&everything());
    // The original does not remove what 2.0 left among the snapshots.
    let with_2_0 = clean
        .clone()
        .put("snapshots/root-coord/index/1/400_ts3", "any")
        .put("snapshots/root-coord/segment-index/1/400/10/1_ts3", "any");
    for cluster in [clean, with_2_0] {
        let done = cluster.migrate_without_invalid();
        let found: Vec<_> =
            done.problems().into_iter().map(|(key, what, _)| (key, what.contains("another tool"))).collect();
        assert_eq!(found, [("root-coord/collection/1", true), ("root-coord/collection/3", true)]);
        for prefix in ["field-index/", "segment-index/", "querycoord-", "root-coord/aliases/"] {
            assert_eq!(done.after.keys(prefix), cluster.keys(prefix), "with --skip-invalid its indexes stay");
        }
        assert_eq!(done.after.keys("root-coord/fields/"), everything().migrate().after.keys("root-coord/fields/"));
        let released: Vec<_> = done.migration.report.released.iter().map(|one| &*one.collection).collect();
        assert_eq!(released, ["films, without snapshots and indexes"], "the others are loaded");
        is_done(&done);
    }
}

/// Keys of every kind, with few IDs so that they meet.
fn any_key() -> impl Strategy<Value = String> {
    let form = prop::sample::select(vec![
        "root-coord/collection/#",
        "root-coord/collection-alias/#",
        "root-coord/index/#/#",
        "root-coord/segment-index/#/#/#/#",
        "root-coord/dd-operation",
        "root-coord/partitions/#/#",
        "root-coord/fields/#/#",
        "root-coord/aliases/#",
        "indexes/#",
        "queryCoord-collectionMeta/#",
        "datacoord-meta/s/#/#/#",
        "field-index/#/#",
        "segment-index/#/#/#/#",
        "querycoord-collection-loadinfo/#",
        "querycoord-partition-loadinfo/#/#",
        "channelwatch/#",
        "session/#",
    ]);
    let id = prop::sample::select(vec!["1", "2", "0", "-1", "9223372036854775807", "x", ""]);
    (form, prop::collection::vec(id, 4), prop::option::of(0..3u64)).prop_map(|(form, ids, snapshot)| {
        let key = ids.iter().fold(form.to_owned(), |key, id| key.replacen('#', id, 1));
        snapshot.map_or(key.clone(), |timestamp| format!("snapshots/{key}_ts{timestamp}"))
    })
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => Just(TOMBSTONE.to_vec()),
        // Small numbers make fields that many messages have.
        4 => prop::collection::vec(prop_oneof![0..64u8, any::<u8>()], 0..40),
        2 => prop::sample::select(everything().values().map(|value| value.to_vec()).collect::<Vec<_>>()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_the_values_are_it_ends_well_and_what_is_not_ours_stays(
        records in prop::collection::vec((any_key(), any_value()), 0..40)
    ) {
        let before = records.iter().fold(Cluster::new(), |cluster, (key, value)| cluster.put(key, value.clone()));
        let done = before.carry_out(before.plan());
        for prefix in ["channelwatch/", "session/", "datacoord-meta/", "queryCoord-", "snapshots/channelwatch/"] {
            for key in before.keys(prefix) {
                prop_assert_eq!(done.after.value(&key), before.value(&key));
            }
            prop_assert_eq!(done.after.keys(prefix), before.keys(prefix));
        }
        is_done(&done);
    }

    #[test]
    fn bytes_in_a_key_that_are_no_text_do_not_matter(
        prefix in prop::sample::select([GONE, FOREIGN, &["root-coord/collection/", "session/"]].concat()),
        rest in prop::collection::vec(any::<u8>(), 0..9)
    ) {
        let before = everything().put([prefix.as_bytes(), &rest].concat(), "any");
        is_done(&before.carry_out(before.plan()));
    }
}
