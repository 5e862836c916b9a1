//! Plain keys and their snapshots.

use super::*;
use crate::layout::messages::common::{CollectionInfo, FieldSchema};
use crate::layout::messages::target::AliasInfo;

#[test]
fn an_embedded_newest_snapshot_alone_is_found_too() {
    assert_finds(|keys| {
        let id = bare(keys);
        let snapshot = record(id).at(newest(keys, id));
        let embedded = source()[snapshot.to_string().as_bytes()].clone();
        put(keys, &snapshot, embedded);
        vec![
            (Invariant::NothingEmbedded, snapshot.to_string()),
            (Invariant::NewestSnapshotAgrees, record(id).to_string()),
        ]
    });
}

#[test]
fn a_record_other_than_its_newest_snapshot_is_found() {
    assert_finds(|keys| {
        let collection = collection(keys);
        let key = field(collection, 101);
        edit(keys, &key, |field: &mut FieldSchema| field.name.push('2'));
        vec![(Invariant::NewestSnapshotAgrees, key.to_string())]
    });
}

#[test]
fn a_tombstone_on_one_side_alone_is_found() {
    assert_finds(|keys| {
        let collection = collection(keys);
        let dropped = field(collection, 101);
        drop_key(keys, &dropped);
        let later = newest(keys, collection) + 1;
        drop_key(keys, &field(collection, 102).at(later));
        let half_dropped = field(collection, 102);
        [dropped, half_dropped].map(|key| (Invariant::NewestSnapshotAgrees, key.to_string())).to_vec()
    });
}

#[test]
fn a_field_or_partition_of_which_only_the_snapshot_is_left_is_found() {
    assert_finds(|keys| {
        let collection = collection(keys);
        let gone = [field(collection, 101), partitions(keys, collection).remove(1)];
        gone.iter().for_each(|key| drop(remove(keys, key)));
        gone.map(|key| (Invariant::NewestSnapshotAgrees, key.to_string())).to_vec()
    });
}

#[test]
fn a_snapshot_of_a_collection_or_an_alias_without_its_record_is_a_warning() {
    assert_warns(|keys| {
        let alias = Family::Alias.named("history");
        let info = AliasInfo { alias_name: "history".into(), collection_id: 7, ..Default::default() };
        let collection = CollectionInfo { id: 7, ..Default::default() };
        let snapshots = [alias.at(5), record(7).at(5)];
        put(keys, &snapshots[0], info.encode_to_vec());
        put(keys, &snapshots[1], collection.encode_to_vec());
        snapshots.map(|key| (Invariant::NewestSnapshotAgrees, key.to_string())).to_vec()
    });
}

#[test]
fn fields_and_partitions_without_a_snapshot_or_with_a_younger_one_are_found() {
    let damage = |keys: &mut Keys| {
        let collection = collection(keys);
        let time = newest(keys, collection);
        let partitions = partitions(keys, collection);
        let without = [field(collection, 101), partitions[0].clone()];
        without.iter().for_each(|plain| drop(remove(keys, &plain.clone().at(time))));
        let late = [field(collection, 102), partitions[1].clone()];
        for plain in &late {
            let value = remove(keys, &plain.clone().at(time));
            put(keys, &plain.clone().at(time + 1), value);
        }
        [found(Invariant::SnapshotForEverything, without), found(Invariant::SnapshotTimes, late)].concat()
    };
    assert_finds(damage);
    assert_finds_for("2.4.23", Severity::Error, |keys| {
        damage(keys);
        vec![]
    });
    let mut keys = migrated();
    let expected = damage(&mut keys);
    assert_found(&check(&keys, None), Severity::Warning, expected);
}

#[test]
fn what_has_no_snapshot_is_found_where_the_target_builds_its_catalog_from_snapshots() {
    for target in ["2.2.0", "2.2.16", "2.3.5", "2.4.13", "2.4.14", "2.4.23"] {
        assert_finds_for(target, Severity::Error, |keys| {
            remove_all(keys, "snapshots/");
            let families = [
                Family::Collection,
                Family::DatabaseCollection,
                Family::Alias,
                Family::DatabaseAlias,
                Family::Field,
                Family::Partition,
            ];
            let all = || families.into_iter().flat_map(|family| all(keys, family));
            let (dropped, live): (Vec<_>, Vec<_>) = all().partition(|key| value(keys, key) == TOMBSTONE);
            assert!(dropped.len() > 1 && live.len() > 100);
            let live = live.into_iter().map(|key| (Invariant::SnapshotForEverything, key.to_string()));
            let dropped = dropped.into_iter().map(|key| (Invariant::TombstonesWithSnapshot, key.to_string()));
            // From 2.4.14 on snapshots expire.
            if target.starts_with("2.4") && target != "2.4.13" {
                dropped.collect()
            } else {
                live.chain(dropped).collect()
            }
        });
    }
}

#[test]
fn a_collection_without_any_snapshot_is_found_once_for_each_of_its_records() {
    assert_finds(|keys| {
        let id = bare(keys);
        for kind in ["collection", "fields", "partitions"] {
            remove_all(keys, &format!("snapshots/root-coord/{kind}/{id}"));
        }
        let parts = [all(keys, Family::Field), partitions(keys, id)].concat().into_iter();
        let parts = parts.filter(|key| key.ids::<2>()[0] == id).chain([record(id)]);
        parts.map(|key| (Invariant::SnapshotForEverything, key.to_string())).collect()
    });
}

#[test]
fn an_older_snapshot_that_is_stripped_or_holds_field_indexes_is_found() {
    assert_finds(|keys| {
        let id = collection(keys);
        let times = times(keys, id);
        let older = [times[0], times[1]].map(|time| record(id).at(time));
        let stripped = keys[record(id).to_string().as_bytes()].clone();
        put(keys, &older[0], stripped);
        let mut with_index = keys[older[1].to_string().as_bytes()].to_vec();
        with_index.extend([0x32, 0x02, 0x08, 0x64]);
        put(keys, &older[1], with_index);
        [0, 0, 1].map(|at| (Invariant::OlderSnapshotsSelfContained, older[at].to_string())).to_vec()
    });
}

#[test]
fn a_tombstone_without_a_snapshot_is_found() {
    assert_finds(|keys| {
        let dropped = [record(7), field(7, 100), Family::Alias.named("gone")];
        dropped.iter().for_each(|plain| drop_key(keys, &plain.clone()));
        dropped.map(|plain| (Invariant::TombstonesWithSnapshot, plain.to_string())).to_vec()
    });
}
