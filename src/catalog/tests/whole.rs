//! What holds for metadata as a whole.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;

use super::cluster::{Cluster, Migrated, TAIL, TARGETS};
use super::everything;
use super::problems::everything_wrong;
use crate::catalog::{Options, Precedence};
use crate::layout::TOMBSTONE;
use crate::layout::families::{Family, Side};
use crate::layout::keys::family_of;
use crate::layout::messages::common::{CollectionInfo, CollectionSchema, FieldSchema};
use crate::layout::messages::target::PartitionInfo;

/// Keys that are none of ours, some of them nearly.
const FOREIGN: &[&str] = &[
    "channelwatch/1/by-dev-rootcoord-dml_0",
    "datacoord-meta/segments/1/10/9",
    "flushed-segments",
    "indexes2/800",
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
    "queryCoord-ReplicaMeta/",
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
    let schema = Some(CollectionSchema { name: "new".into(), ..Default::default() });
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

/// What differs, but for tripwires.
fn but_tripwires(here: &Cluster, there: &Cluster) -> Vec<String> {
    let mut there = there.clone();
    for (key, value) in here.records().iter().filter(|(key, _)| family_of(key) == Family::Tripwire) {
        there.set(key, Some(value));
    }
    here.differences(&there)
}

/// Carrying out is the end: nothing is left to do.
fn is_done(done: &Migrated, target: &str) {
    let next = done.after.convert(target, &Options::default());
    assert_eq!(next.after.differences(&done.after), [""; 0]);
}

/// Some of it in either place, as random values had it: the living one was edited only by a second run.
#[test]
fn what_is_left_of_a_dropped_collection_in_two_places_comes_together() {
    let living = b"\x08\x01\x12\x0a\x0a\x08my_tshir".to_vec();
    for (old, new) in [(TOMBSTONE, &*living), (&*living, TOMBSTONE)] {
        let times = if old == TOMBSTONE { (1, 0) } else { (0, 1) };
        let before = Cluster::new()
            .put(format!("snapshots/root-coord/collection/1_ts{}", times.0), old)
            .put(format!("snapshots/root-coord/database/collection-info/1/1_ts{}", times.1), new);
        let done = before.convert("2.2.9", &Options::default());
        is_done(&done, "2.2.9");
        assert_eq!(done.after.keys("snapshots/root-coord/").len(), 2, "{:?}", done.after.records());
        assert!(done.after.has("snapshots/root-coord/database/collection-info/1/1_ts0"));
        assert!(done.after.has("snapshots/root-coord/database/collection-info/1/1_ts1"));
    }
}

#[test]
fn nothing_that_only_2_1_reads_is_left_and_load_states_stay() {
    let before = everything();
    assert!(GONE.iter().all(|prefix| !before.keys(prefix).is_empty()), "the test would not see it go");
    for target in TARGETS {
        let done = before.migrate_to(target);
        for prefix in GONE {
            assert_eq!(done.after.keys(prefix), [""; 0], "{target}");
        }
        for key in before.keys("queryCoord-collectionMeta/") {
            assert_eq!(done.after.value(&key), before.value(&key));
        }
        let removed: u64 = done.report().removed.values().sum();
        let source: usize = GONE.iter().map(|prefix| before.keys(prefix).len()).sum();
        assert_eq!(removed, source as u64);
    }
}

#[test]
fn whatever_is_not_ours_stays_byte_for_byte() {
    let before = FOREIGN.iter().fold(everything(), |cluster, key| cluster.put(key, b"\x00\xff any"));
    for target in TARGETS {
        let done = before.migrate_to(target);
        for key in FOREIGN {
            assert_eq!(done.after.value(key), &b"\x00\xff any"[..], "{target}: {key}");
            assert!(done.conversion.should.get(key.as_bytes()).is_none(), "{key} is none of the table");
        }
    }
}

#[test]
fn converting_the_result_again_changes_nothing_whichever_records_count() {
    for target in TARGETS {
        let done = everything().migrate_to(target);
        assert_eq!(done.after.migrate_to(target).after.differences(&done.after), [""; 0], "{target}");
        let options = Options { precedence: Precedence::Newer, ..Options::default() };
        let again = done.after.convert(target, &options);
        assert_eq!(again.after.differences(&done.after), [""; 0], "{target}");
        assert_eq!(again.conversion.problems, []);
    }
}

#[test]
fn two_conversions_of_the_same_metadata_are_equal() {
    for cluster in [everything(), everything_wrong()] {
        let of = || cluster.convert("2.2.16", &Options::default()).conversion;
        let first = of();
        for _ in 0..5 {
            let next = of();
            assert_eq!((&next.should, &next.report, &next.problems), (&first.should, &first.report, &first.problems));
        }
    }
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
    assert_eq!(but_tripwires(&cluster.migrate().after, &cluster), [""; 0]);
}

#[test]
fn a_2_2_collection_that_lost_its_schema_is_reported_and_stays_as_it_is() {
    let sound = made_by_2_2(made_by_2_2(Cluster::new(), 1), 2);
    let no_fields = sound.clone().remove("root-coord/fields/1/100");
    let no_partitions = sound.clone().remove("root-coord/partitions/1/1");
    let neither = no_fields.clone().remove("root-coord/partitions/1/1");
    let buried = sound.put("root-coord/fields/1/100", TOMBSTONE);
    for cluster in [no_fields, no_partitions, neither, buried] {
        let done = cluster.migrate_without_invalid();
        assert!(done.only_problem("root-coord/collection/1").contains("lost its schema"), "{:?}", done.problems());
        assert_eq!(but_tripwires(&done.after, &cluster), [""; 0]);
    }
}

#[test]
fn a_2_2_collection_that_is_being_made_or_dropped_may_lack_its_fields() {
    for state in 1..=3 {
        let record = CollectionInfo { id: 1, state, ..CollectionInfo::default() };
        let cluster = Cluster::new().message("root-coord/collection/1", &record);
        assert_eq!(cluster.migrate().after.differences(&cluster), [""; 0]);
    }
}

#[test]
fn aliases_of_a_collection_that_is_being_made_or_dropped_are_not_lost_without_a_word() {
    let record = CollectionInfo { id: 1, state: 2, ..CollectionInfo::default() };
    let cluster = Cluster::new().collection(1, "c").alias("a", &[5]).message("root-coord/collection/1", &record);
    let done = cluster.migrate();
    assert!(done.left_out("root-coord/collection-alias/a").contains("making or dropping its collection 1"));
}

/// Its fields and partitions are still embedded; what it has written beside stays, as what any newer Milvus has.
#[test]
fn of_metadata_migrated_by_the_original_tool_nothing_goes_where_newer_records_count() {
    let clean = migrated_by_the_original_tool(&everything());
    // The original does not remove what 2.0 left among the snapshots.
    let with_2_0 = clean
        .clone()
        .put("snapshots/root-coord/index/1/400_ts3", "any")
        .put("snapshots/root-coord/segment-index/1/400/10/1_ts3", "any");
    let options = Options { precedence: Precedence::Newer, ..Options::default() };
    for cluster in [clean, with_2_0] {
        let done = cluster.convert("2.2.0", &options);
        assert_eq!(done.conversion.problems, []);
        assert_eq!(done.after.differences(&everything().migrate().after), [""; 0]);
        let released: Vec<_> = done.report().released.iter().map(|one| &*one.collection).collect();
        assert_eq!(released, ["films, without snapshots and indexes"], "the others are loaded");
        let databases = cluster.convert("2.2.16", &options).after;
        for prefix in ["field-index/", "segment-index/", "querycoord-"] {
            for key in cluster.keys(prefix) {
                assert_eq!(databases.value(&key), cluster.value(&key));
            }
        }
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
        "queryCoord-ReplicaMeta/#",
        "datacoord-meta/s/#/#/#",
        "datacoord-meta/binlog/#/#/#/#",
        "datacoord-meta/statslog/#/#/#/#",
        "datacoord-meta/channel-cp/dml_0_#v#",
        "root-coord/database/collection-info/1/#",
        "root-coord/database/aliases/1/#",
        "querycoord-replica/#/#",
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
        2 => prop::sample::select(everything().records().values().map(|value| value.to_vec()).collect::<Vec<_>>()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn whatever_the_values_are_it_ends_well_and_what_is_not_ours_stays(
        records in prop::collection::vec((any_key(), any_value()), 0..40),
        target in prop::sample::select(&TARGETS[..])
    ) {
        let before = records.iter().fold(Cluster::new(), |cluster, (key, value)| cluster.put(key, value.clone()));
        let done = before.convert(target, &Options::default());
        for prefix in ["channelwatch/", "session/", "queryCoord-collectionMeta/", "snapshots/channelwatch/"] {
            for key in before.keys(prefix) {
                prop_assert_eq!(done.after.value(&key), before.value(&key));
            }
            prop_assert_eq!(done.after.keys(prefix), before.keys(prefix));
        }
        is_done(&done, target);
    }

    #[test]
    fn where_newer_records_count_none_of_them_goes(
        records in prop::collection::vec((any_key(), any_value()), 0..40),
        target in prop::sample::select(&TARGETS[..])
    ) {
        let before = records.iter().fold(Cluster::new(), |cluster, (key, value)| cluster.put(key, value.clone()));
        let options = Options { precedence: Precedence::Newer, ..Options::default() };
        let done = before.convert(target, &options);
        for key in before.records().keys().filter(|key| family_of(key).side() == Side::Target) {
            let key = std::str::from_utf8(key).unwrap();
            let moved = key.replace("root-coord/aliases/", "root-coord/database/aliases/1/");
            prop_assert!(done.after.has(key) || done.after.has(&moved), "{} is gone", key);
        }
        prop_assert_eq!(done.after.convert(target, &options).after.differences(&done.after), [""; 0]);
    }

    #[test]
    fn bytes_in_a_key_that_are_no_text_do_not_matter(
        prefix in prop::sample::select([GONE, FOREIGN, &["root-coord/collection/", "session/"]].concat()),
        rest in prop::collection::vec(any::<u8>(), 0..9)
    ) {
        let before = everything().put([prefix.as_bytes(), &rest].concat(), "any");
        is_done(&before.convert("2.2.0", &Options::default()), "2.2.0");
    }
}
