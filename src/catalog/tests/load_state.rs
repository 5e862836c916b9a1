//! Load states (docs/layouts.md, rule 5).

use prost::Message;

use super::cluster::{Cluster, FLOAT, GARBAGE, Migrated, TARGETS, VECTOR, layout};
use crate::catalog::report::RepairKind;
use crate::layout::messages::source::{IndexInfo, LoadState, LoadType};
use crate::layout::messages::target::{self, CollectionLoadInfo, LoadStatus, PartitionLoadInfo};
use crate::layout::wire;

const STATE: &str = "queryCoord-collectionMeta/1";
const LOADED: i32 = LoadStatus::Loaded as i32;

fn indexed() -> Cluster {
    Cluster::new().collection(1, "c").partition(11, "p").partition(12, "q").vector_index(500)
}

fn load_keys(done: &Migrated) -> Vec<String> {
    [done.after.keys("querycoord-collection-"), done.after.keys("querycoord-partition-")].concat()
}

/// Collections and partitions that are released, with the beginning of the reason.
fn released(done: &Migrated) -> Vec<(&str, Vec<&str>, &str)> {
    let released = done.report().released.iter();
    released.map(|one| (&*one.collection, one.partitions.iter().map(|name| &**name).collect(), &*one.reason)).collect()
}

fn whole(load_type: target::LoadType) -> CollectionLoadInfo {
    CollectionLoadInfo {
        collection_id: 1,
        released_partitions: vec![],
        replica_number: 2,
        status: LOADED,
        field_index_id: [(VECTOR, 500), (102, 501)].into(),
        load_type: load_type as i32,
    }
}

/// The record of a partition in `expected` collection's record.
fn partition(partition_id: i64, expected: &CollectionLoadInfo) -> PartitionLoadInfo {
    let CollectionLoadInfo { collection_id, replica_number, status, field_index_id, .. } = expected.clone();
    PartitionLoadInfo { collection_id, partition_id, replica_number, status, field_index_id }
}

const ALL: [&str; 4] = [
    "querycoord-collection-loadinfo/1",
    "querycoord-partition-loadinfo/1/10",
    "querycoord-partition-loadinfo/1/11",
    "querycoord-partition-loadinfo/1/12",
];

#[test]
fn a_loaded_collection_stays_loaded_with_each_fields_live_index() {
    let cluster = indexed().field(102, "x", FLOAT).index(501, 102, "i", &[]).loaded();
    for target in TARGETS {
        let done = cluster.migrate_to(target);
        let (load_type, keys) = match layout(target).load_type {
            true => (target::LoadType::LoadCollection, &ALL[..]),
            false => (target::LoadType::UnknownLoad, &ALL[..1]),
        };
        assert_eq!(load_keys(&done), keys, "{target}");
        assert_eq!(done.after.get::<CollectionLoadInfo>(keys[0]), whole(load_type));
        for key in &keys[1..] {
            let id = key.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(done.after.get::<PartitionLoadInfo>(key), partition(id, &whole(load_type)));
        }
        assert_eq!((done.report().loaded.len(), released(&done)), (1, vec![]));
        assert_eq!(done.report().loaded[0].partitions, [""; 0]);
    }
}

/// No target goes by `released_partitions` when it loads.
#[test]
fn of_a_loaded_collection_with_released_partitions_the_rest_is_loaded_by_partition() {
    let release = |state: &mut LoadState| state.released_partition_i_ds = vec![12, 99];
    let cluster = indexed().field(102, "x", FLOAT).index(501, 102, "i", &[]).loaded().alter(STATE, release);
    for target in TARGETS {
        let done = cluster.migrate_to(target);
        let keys = if layout(target).load_type { &ALL[..3] } else { &ALL[1..3] };
        assert_eq!(load_keys(&done), keys, "{target}");
        let expected = whole(target::LoadType::LoadPartition);
        if layout(target).load_type {
            assert_eq!(done.after.get::<CollectionLoadInfo>(ALL[0]), expected);
        }
        for (key, id) in [(ALL[1], 10), (ALL[2], 11)] {
            assert_eq!(done.after.get::<PartitionLoadInfo>(key), partition(id, &expected));
        }
        let reason = "released in 2.1, and stays so: the others are loaded by partition";
        assert_eq!(released(&done), [("c", vec!["q"], reason)]);
        assert_eq!(done.report().loaded[0].partitions, ["_default", "p"]);
    }
}

#[test]
fn a_released_partition_that_was_dropped_since_does_not_matter() {
    let release = |state: &mut LoadState| state.released_partition_i_ds = vec![99];
    let done = indexed().loaded().alter(STATE, release).migrate();
    assert_eq!((load_keys(&done), released(&done)), (vec![ALL[0].to_owned()], vec![]));
}

#[test]
fn a_collection_of_which_every_partition_was_released_is_released() {
    let release = |state: &mut LoadState| state.released_partition_i_ds = vec![10, 11, 12];
    let done = indexed().loaded().alter(STATE, release).migrate_to("2.4.23");
    assert_eq!(done.after.keys("querycoord-"), [""; 0], "no replicas either");
    assert_eq!(released(&done)[0].1, ["_default", "p", "q"]);
    // No word of others, for there are none.
    assert!(!done.report().released[0].reason.contains("others"), "{:?}", done.report().released);
    assert_eq!(done.report().loaded, []);
}

#[test]
fn from_2_3_on_loaded_partitions_are_told_by_the_collection_too() {
    for target in TARGETS.into_iter().filter(|target| layout(target).load_type) {
        let done = indexed().loaded_partitions(&[(11, 100), (12, 100)]).migrate_to(target);
        assert_eq!(load_keys(&done), [ALL[0], ALL[2], ALL[3]]);
        let expected = CollectionLoadInfo {
            replica_number: 1,
            field_index_id: [(VECTOR, 500)].into(),
            ..whole(target::LoadType::LoadPartition)
        };
        assert_eq!(done.after.get::<CollectionLoadInfo>(ALL[0]), expected);
        assert_eq!(done.after.get::<PartitionLoadInfo>(ALL[3]), partition(12, &expected));
    }
}

/// Nothing is silently dropped: 2.1 has a record of it.
#[test]
fn a_partition_load_without_any_partition_is_told() {
    let done = indexed().loaded_partitions(&[]).migrate();
    assert_eq!(load_keys(&done), [""; 0]);
    assert_eq!(released(&done).len(), 1, "{:?}", released(&done));
}

#[test]
fn the_2_1_record_stays_for_those_who_roll_back_by_hand() {
    let before = indexed().loaded();
    assert_eq!(before.migrate().after.value(STATE), before.value(STATE));
}

#[test]
fn loaded_partitions_stay_loaded_each_with_a_record() {
    let done = indexed().loaded_partitions(&[(11, 100), (12, 100)]).migrate();
    assert_eq!(load_keys(&done), ["querycoord-partition-loadinfo/1/11", "querycoord-partition-loadinfo/1/12"]);
    for partition_id in [11, 12] {
        let expected = PartitionLoadInfo {
            collection_id: 1,
            partition_id,
            replica_number: 1,
            status: LOADED,
            field_index_id: [(VECTOR, 500)].into(),
        };
        let key = format!("querycoord-partition-loadinfo/1/{partition_id}");
        assert_eq!(done.after.get::<PartitionLoadInfo>(&key), expected);
    }
    assert_eq!(done.report().loaded[0].partitions, ["p", "q"]);
}

#[test]
fn for_2_2_the_load_type_stays_unset_on_the_wire() {
    let whole = indexed().loaded().migrate().after;
    let parts = indexed().loaded_partitions(&[(11, 100)]).migrate().after;
    for value in [whole.value("querycoord-collection-loadinfo/1"), parts.value("querycoord-partition-loadinfo/1/11")] {
        let numbers: Vec<_> = wire::fields(value).unwrap().into_iter().map(|field| field.number).collect();
        assert!(numbers.iter().all(|number| *number <= 5), "{numbers:?}");
    }
}

#[test]
fn partitions_that_are_not_loaded_to_the_end_are_released_by_name() {
    let done = indexed().loaded_partitions(&[(10, 99), (11, 100), (12, 0)]).migrate();
    assert_eq!(load_keys(&done), ["querycoord-partition-loadinfo/1/11"]);
    assert_eq!(
        released(&done),
        [
            ("c", vec!["_default"], "the partition was loaded to 99 % only"),
            ("c", vec!["q"], "the partition was loaded to 0 % only")
        ]
    );
}

#[test]
fn a_partition_without_a_state_of_its_own_is_loaded_as_far_as_the_record_says() {
    for (percent, kept) in [(100, 1), (50, 0)] {
        let done = indexed()
            .loaded_partitions(&[(11, 0)])
            .alter(STATE, |state: &mut LoadState| {
                state.partition_states.clear();
                state.in_memory_percentage = percent;
            })
            .migrate();
        assert_eq!((load_keys(&done).len(), released(&done).len()), (kept, 1 - kept));
    }
}

#[test]
fn a_partition_that_no_longer_exists_is_released_by_its_id() {
    let done = indexed().loaded_partitions(&[(11, 100), (99, 100)]).migrate();
    assert_eq!(load_keys(&done), ["querycoord-partition-loadinfo/1/11"]);
    assert_eq!(released(&done), [("c", vec!["99"], "the partition does not exist")]);
}

#[test]
fn a_collection_that_is_not_loaded_to_the_end_is_released() {
    for percent in [0, 50, 99] {
        let cluster = indexed().loaded();
        let done = cluster.alter(STATE, |state: &mut LoadState| state.in_memory_percentage = percent).migrate();
        assert_eq!(load_keys(&done), [""; 0]);
        assert_eq!(released(&done), [("c", vec![], &*format!("it was loaded to {percent} % only"))]);
    }
}

#[test]
fn a_collection_without_a_live_index_is_released_however_it_was_loaded() {
    let none = Cluster::new().collection(1, "c");
    let drop = |info: &mut IndexInfo| info.deleted = true;
    let dropped = Cluster::new().collection(1, "c").vector_index(500).alter("root-coord/index/1/500", drop);
    for cluster in [none, dropped] {
        for cluster in [cluster.clone().loaded(), cluster.clone().loaded_partitions(&[(10, 100)])] {
            let done = cluster.migrate();
            assert_eq!(load_keys(&done), [""; 0]);
            let reason = "it has no index, and newer versions load only collections with an index";
            assert_eq!(released(&done), [("c", vec![], reason)]);
        }
    }
}

#[test]
fn a_replica_number_of_0_means_1() {
    let none = |state: &mut LoadState| state.replica_number = 0;
    let whole = indexed().loaded().alter(STATE, none).migrate();
    assert_eq!(whole.after.get::<CollectionLoadInfo>("querycoord-collection-loadinfo/1").replica_number, 1);
    let parts = indexed().loaded_partitions(&[(11, 100), (12, 100)]).alter(STATE, none).migrate();
    assert_eq!(parts.after.get::<PartitionLoadInfo>("querycoord-partition-loadinfo/1/12").replica_number, 1);
    for done in [whole, parts] {
        let [repair] = &done.report().repairs[..] else { panic!("{:?}", done.report().repairs) };
        assert_eq!((repair.kind, &*repair.key), (RepairKind::ReplicaNumber, STATE));
        assert_eq!(done.report().loaded[0].replicas, 1);
    }
}

#[test]
fn a_record_that_does_not_tell_what_was_loaded_is_released() {
    for load_type in [LoadType::Unknown as i32, 7] {
        let done = indexed().loaded().alter(STATE, |state: &mut LoadState| state.load_type = load_type).migrate();
        assert_eq!(load_keys(&done), [""; 0]);
        assert_eq!(released(&done), [("c", vec![], "its record does not tell what was loaded")]);
    }
}

#[test]
fn the_load_state_of_a_collection_that_is_gone_is_released_by_id() {
    let done = Cluster::new().collection(2, "d").message(STATE, &loaded_state()).migrate();
    assert_eq!(load_keys(&done), [""; 0]);
    assert_eq!(released(&done), [("1", vec![], "its collection does not exist")]);
}

#[test]
fn a_load_state_that_does_not_fit_is_a_problem_and_not_carried() {
    let other = LoadState { collection_id: 2, ..loaded_state() }.encode_to_vec();
    for (key, value, what) in [
        (STATE, other, "its collectionID is 2, but the key says 1"),
        (STATE, GARBAGE.to_vec(), "the value does not decode as protobuf"),
        ("queryCoord-collectionMeta/one", vec![], "the key does not have the form queryCoord-collectionMeta/<coll"),
    ] {
        let before = indexed().put(key, value);
        let done = before.migrate_without_invalid();
        assert!(done.only_problem(key).starts_with(what), "{:?}", done.problems());
        assert_eq!(load_keys(&done), [""; 0]);
        assert_eq!(done.after.value(key), before.value(key), "the key is not ours to remove");
    }
}

fn loaded_state() -> LoadState {
    indexed().loaded().get(STATE)
}
