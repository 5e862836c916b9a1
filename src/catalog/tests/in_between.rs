//! Milvus at work between an interrupted run and the next one: what it did there counts, and nothing comes back to life.

use prost::Message;

use super::cluster::{Cluster, TAIL};
use super::everything;
use super::steps::{Dice, Part, apply, halfway, in_some_order, orders, steps};
use crate::layout::TOMBSTONE;
use crate::layout::messages::common::{CollectionInfo, CollectionSchema};
use crate::layout::messages::source::{IndexInfo, IndexMeta};
use crate::layout::messages::target::{AliasInfo, CollectionLoadInfo, FieldIndex, SegmentIndex};

/// What somebody does with Milvus.
type Work = fn(Cluster) -> Cluster;

fn delete_all(cluster: Cluster, prefix: &str) -> Cluster {
    cluster.keys(prefix).iter().fold(cluster, |cluster, key| cluster.remove(key))
}

fn mark_build(cluster: Cluster, build: i64) -> Cluster {
    cluster.alter(&format!("indexes/{build}"), |meta: &mut IndexMeta| meta.mark_deleted = true)
}

/// 2.1 drops an index: its entry, its record and its segment indexes go, its builds are marked.
fn drop_index(cluster: Cluster, index: i64, builds: &[i64]) -> Cluster {
    let cluster = cluster.again(1).edit(|info| info.field_indexes.retain(|entry| entry.index_id != index));
    let cluster = delete_all(
        cluster.remove(&format!("root-coord/index/1/{index}")),
        &format!("root-coord/segment-index/1/{index}/"),
    );
    builds.iter().fold(cluster, |cluster, build| mark_build(cluster, *build))
}

/// 2.1 drops a collection with all that belongs to it.
fn drop_collection(cluster: Cluster, id: i64, aliases: &[&str], builds: &[i64]) -> Cluster {
    let cluster = delete_all(cluster, &format!("root-coord/index/{id}/"));
    let cluster = delete_all(cluster, &format!("root-coord/segment-index/{id}/"));
    let cluster = delete_all(cluster, &format!("queryCoord-collectionMeta/{id}"));
    let cluster = builds.iter().fold(cluster, |cluster, build| mark_build(cluster, *build));
    let bury = |cluster: Cluster, alias: &&str| cluster.bury(&format!("root-coord/collection-alias/{alias}"), 20);
    aliases.iter().fold(cluster, bury).bury(&format!("root-coord/collection/{id}"), 20)
}

const WORK_OF_2_1: &[(&str, Work)] = &[
    ("dropped an index", |cluster| drop_index(cluster, 502, &[802])),
    ("dropped an index with segments that have no build", |cluster| drop_index(cluster, 501, &[801])),
    ("dropped an index and made it anew", |cluster| {
        drop_index(cluster, 500, &[800]).vector_index(510).segment_index(510, 1, 810)
    }),
    ("began to drop an index", |cluster| {
        cluster.alter("root-coord/index/1/500", |info: &mut IndexInfo| info.deleted = true)
    }),
    ("dropped an alias", |cluster| cluster.bury("root-coord/collection-alias/my_tshirts", 20)),
    ("dropped the dangling alias", |cluster| cluster.bury("root-coord/collection-alias/nowhere", 20)),
    ("altered an alias", |cluster| cluster.again(3).alias("my_tshirts", &[20])),
    ("made a dropped alias again", |cluster| cluster.again(3).alias("gone", &[20])),
    ("released a collection", |cluster| cluster.remove("queryCoord-collectionMeta/1")),
    ("released partitions", |cluster| cluster.remove("queryCoord-collectionMeta/3")),
    ("loaded partitions instead", |cluster| cluster.again(1).loaded_partitions(&[(11, 100)])),
    ("made a partition", |cluster| cluster.again(1).partition(12, "q").snapshot(20)),
    ("dropped a partition", |cluster| {
        let drop = |info: &mut CollectionInfo| {
            info.partition_i_ds.pop();
            info.partition_names.pop();
            info.partition_created_timestamps.pop();
        };
        cluster.again(1).edit(drop).snapshot(20)
    }),
    ("compacted a segment", |cluster| {
        let old = "root-coord/segment-index/1/500/10/1";
        mark_build(cluster.remove(old), 800).again(1).segment_index(500, 7, 807)
    }),
    ("made a collection", |cluster| cluster.collection(6, "new").snapshot(20).vector_index(900).buildless(900, 1, 5)),
    ("dropped a collection", |cluster| drop_collection(cluster, 1, &["my_tshirts"], &[800, 801, 802])),
    ("dropped another collection", |cluster| drop_collection(cluster, 3, &["v_ts2022"], &[803])),
];

#[test]
fn what_2_1_did_after_a_run_that_stopped_while_preparing_is_what_gets_migrated() {
    let before = everything();
    for target in ["2.2.0", "2.4.23"] {
        let parts = steps(&before, &before.migrate_to(target).after);
        let preparing = parts[&Part::Tripwires].len() + parts[&Part::NewRecords].len();
        for (seed, (name, work)) in (1..).zip(WORK_OF_2_1) {
            let expected = work(before.clone()).migrate_to(target).after;
            let mut now = before.clone();
            for step in &in_some_order(&parts, &mut Dice::new(seed))[..preparing] {
                apply(&mut now, step);
                let after = work(now.clone()).migrate_to(target).after;
                assert_eq!(after.differences(&expected), [""; 0], "{target}: 2.1 {name} after {step:?}");
            }
        }
    }
}

/// 2.2 writes a key and its snapshot.
fn save(cluster: Cluster, plain: &str, value: &[u8]) -> Cluster {
    cluster.put(format!("snapshots/{plain}_ts100"), value).put(plain, value)
}

const WORK_OF_2_2: &[(&str, Work)] = &[
    ("dropped an alias", |cluster| save(cluster, "root-coord/aliases/my_tshirts", TOMBSTONE)),
    ("dropped the dangling alias", |cluster| save(cluster, "root-coord/aliases/nowhere", TOMBSTONE)),
    ("altered an alias", |cluster| {
        let record =
            AliasInfo { alias_name: "my_tshirts".into(), collection_id: 3, created_time: 100, state: 0, db_id: 0 };
        save(cluster, "root-coord/aliases/my_tshirts", &record.encode_to_vec())
    }),
    ("made a dropped alias again", |cluster| {
        let record = AliasInfo { alias_name: "gone".into(), collection_id: 3, created_time: 100, state: 0, db_id: 0 };
        save(cluster, "root-coord/aliases/gone", &record.encode_to_vec())
    }),
    ("renamed a collection", |cluster| {
        let schema = Some(CollectionSchema { name: "volumes".into(), ..Default::default() });
        let record = CollectionInfo { id: 1, schema, ..CollectionInfo::default() }.encode_to_vec();
        save(cluster, "root-coord/collection/1", &[&record, TAIL].concat())
    }),
    ("made an index", |cluster| {
        cluster
            .message("field-index/2/900", &FieldIndex { create_time: 100, ..FieldIndex::default() })
            .message("segment-index/2/20/5/950", &SegmentIndex { build_id: 950, ..SegmentIndex::default() })
            .message("querycoord-collection-loadinfo/2", &CollectionLoadInfo { collection_id: 2, ..Default::default() })
    }),
    ("began to drop an index", |cluster| {
        cluster.alter("field-index/1/500", |index: &mut FieldIndex| index.deleted = true)
    }),
    ("dropped an index", |cluster| cluster.remove("field-index/1/502").remove("segment-index/1/10/1/802")),
    ("built an index anew", |cluster| {
        cluster.alter("segment-index/1/10/1/801", |index: &mut SegmentIndex| index.index_version = 2)
    }),
    ("released a collection", |cluster| cluster.remove("querycoord-collection-loadinfo/1")),
    ("dropped a partition", |cluster| save(cluster, "root-coord/partitions/1/11", TOMBSTONE)),
    ("dropped a collection", |cluster| {
        let owned = [cluster.keys("root-coord/fields/1/"), cluster.keys("root-coord/partitions/1/")].concat();
        let cluster = owned.iter().fold(cluster, |cluster, key| save(cluster, key, TOMBSTONE));
        let cluster = save(cluster, "root-coord/aliases/my_tshirts", TOMBSTONE);
        let cluster = save(cluster, "root-coord/collection/1", TOMBSTONE);
        cluster.remove("querycoord-collection-loadinfo/1").remove("field-index/1/500")
    }),
];

#[test]
fn after_a_run_that_stopped_while_cleaning_up_and_work_of_2_2_the_next_one_only_removes_what_2_2_does_not_know() {
    let before = everything();
    let done = before.migrate();
    let cleaning_up = steps(&before, &done.after)[&Part::OldRecords].len();
    for (name, work) in WORK_OF_2_2 {
        let expected = work(done.after.clone());
        for order in orders(&before, &done, 1) {
            let (switched, cleaned) = order.split_at(order.len() - cleaning_up);
            let mut now = before.clone();
            switched.iter().for_each(|step| apply(&mut now, step));
            for step in cleaned {
                let next = work(now.clone()).migrate();
                assert_eq!(next.after.differences(&expected), [""; 0], "2.2 {name} before {step:?}");
                apply(&mut now, step);
            }
            assert_eq!(
                work(now.clone()).migrate().after.differences(&work(now)),
                [""; 0],
                "2.2 {name} after a whole run"
            );
        }
    }
}

#[test]
fn a_leftover_of_the_interrupted_run_is_told_when_it_goes() {
    let before = everything();
    let now = halfway(&before, &before.migrate(), Part::NewRecords);
    let done = drop_index(now, 502, &[802]).migrate();
    for key in ["field-index/1/502", "segment-index/1/10/1/802"] {
        assert_eq!(done.left_out(key), "left by an interrupted run; no record of 2.1 stands behind it any more");
    }
}
