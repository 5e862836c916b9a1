//! Replicas (docs/layouts.md, rule 5).

use super::cluster::{Cluster, GARBAGE, TARGETS};
use crate::layout::messages::source::{IndexInfo, LoadState, ReplicaInfo};
use crate::layout::messages::target::Replica;

const GONE: &str = "queryCoord-ReplicaMeta/";

fn indexed() -> Cluster {
    Cluster::new().collection(1, "c").vector_index(500)
}

#[test]
fn replicas_of_what_stays_loaded_are_converted_without_the_nodes_of_2_1() {
    for target in TARGETS {
        for (cluster, ids) in [
            (indexed().loaded(), &[101, 102][..]),
            (indexed().loaded_partitions(&[(10, 100)]), &[101]),
            (indexed().partition(11, "p").loaded_partitions(&[(10, 100), (11, 5)]), &[101]),
        ] {
            let done = cluster.migrate_to(target);
            assert_eq!(done.after.keys("querycoord-replica/"), ids.iter().map(key).collect::<Vec<_>>(), "{target}");
            for id in ids {
                let expected = Replica { id: *id, collection_id: 1, nodes: vec![], resource_group: String::new() };
                assert_eq!(done.after.get::<Replica>(&key(id)), expected);
            }
            assert_eq!((done.report().replicas, done.after.keys(GONE)), (ids.len() as u64, vec![]));
        }
    }
}

fn key(id: &i64) -> String {
    format!("querycoord-replica/1/{id}")
}

/// Left in place they come back at every start, and after a release and load `get_replicas` fails for ever.
#[test]
fn replicas_of_what_is_not_loaded_go_and_are_not_written() {
    let drop = |info: &mut IndexInfo| info.deleted = true;
    let half = |state: &mut LoadState| state.in_memory_percentage = 50;
    for cluster in [
        indexed().replica(101),
        Cluster::new().collection(1, "c").loaded(),
        indexed().loaded().alter("root-coord/index/1/500", drop),
        indexed().loaded().alter("queryCoord-collectionMeta/1", half),
        indexed().loaded_partitions(&[(10, 99)]),
        indexed().snapshot(3).loaded().remove("root-coord/index/1/500").bury("root-coord/collection/1", 9),
        indexed().loaded().remove("root-coord/index/1/500").remove("root-coord/collection/1"),
    ] {
        let done = cluster.migrate_to("2.4.23");
        assert_eq!([done.after.keys("querycoord-"), done.after.keys(GONE)], [[""; 0]; 2]);
        assert_eq!(done.report().replicas, 0);
    }
}

#[test]
fn a_loaded_collection_without_a_replica_is_released_by_name() {
    let bare = indexed().loaded().remove("queryCoord-ReplicaMeta/101").remove("queryCoord-ReplicaMeta/102");
    for target in TARGETS {
        for cluster in [bare.clone(), bare.clone().collection(2, "d").replica(201)] {
            let done = cluster.migrate_to(target);
            assert_eq!(done.after.keys("querycoord-"), [""; 0]);
            let [released] = &done.report().released[..] else { panic!("{:?}", done.report().released) };
            assert_eq!((&*released.collection, released.partitions.len()), ("c", 0));
            assert!(released.reason.contains("no replica record"), "{}", released.reason);
        }
    }
}

#[test]
fn a_replica_record_that_does_not_fit_is_a_problem_and_left_out() {
    let first = "queryCoord-ReplicaMeta/101";
    let other = |info: &mut ReplicaInfo| info.replica_id = 7;
    for (cluster, what) in [
        (indexed().loaded().put(first, GARBAGE), "the value does not decode as protobuf"),
        (indexed().loaded().alter(first, other), "its replicaID is 7, but the key says 101"),
    ] {
        let done = cluster.migrate_without_invalid();
        assert!(done.only_problem(first).starts_with(what), "{:?}", done.problems());
        assert_eq!(done.after.keys("querycoord-replica/"), [key(&102)]);
        assert_eq!(done.after.keys(GONE), [""; 0]);
    }
    let done = indexed().loaded().put("queryCoord-ReplicaMeta/x", "any").migrate_without_invalid();
    assert!(done.only_problem("queryCoord-ReplicaMeta/x").starts_with("the key does not have the form"));
}
