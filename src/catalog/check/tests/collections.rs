use super::*;
use crate::layout::messages::common::{CollectionInfo, FieldSchema};
use crate::layout::messages::target::{AliasInfo, CollectionAddition, PartitionInfo};

fn record(id: i64) -> Key {
    Key::Plain(Plain::Collection(id))
}

fn field(collection: i64, field: i64) -> Plain {
    Plain::Field { collection, field }
}

/// Edits a record and its newest snapshot alike.
fn edit_both<M: Message + Default>(keys: &mut Keys, plain: &Plain, time: u64, change: impl Fn(&mut M)) {
    edit(keys, &Key::Plain(plain.clone()), &change);
    edit(keys, &Key::Snapshot(plain.clone(), time), &change);
}

fn newest(keys: &Keys, collection: i64) -> u64 {
    *snapshots(keys, collection).last().unwrap()
}

/// A collection without indexes.
fn bare(keys: &Keys) -> i64 {
    find(keys, |key, value| match key {
        Key::Plain(Plain::Collection(id)) if value != TOMBSTONE => {
            let index = format!("field-index/{id}/");
            (!keys.keys().any(|key| key.starts_with(index.as_bytes()))).then_some(id)
        }
        _ => None,
    })
}

fn partitions(keys: &Keys, collection: i64) -> Vec<Plain> {
    let parsed = keys.keys().filter_map(|key| match Key::parse(key).unwrap() {
        Key::Plain(plain @ Plain::Partition { collection: id, .. }) if id == collection => Some(plain),
        _ => None,
    });
    parsed.collect()
}

/// Removes the keys of a kind that a collection has, with their snapshots.
fn remove_parts(keys: &mut Keys, kind: &str, collection: i64) {
    let prefixes = ["", "snapshots/"].map(|start| format!("{start}root-coord/{kind}/{collection}/"));
    let before = keys.len();
    keys.retain(|key, _| !prefixes.iter().any(|prefix| key.starts_with(prefix.as_bytes())));
    assert!(keys.len() < before);
}

#[test]
fn a_collection_without_fields_is_found() {
    assert_finds(|keys| {
        let id = bare(keys);
        remove_parts(keys, "fields", id);
        vec![(Invariant::CollectionFields, record(id).to_string())]
    });
}

#[test]
fn a_collection_without_partitions_is_found() {
    assert_finds(|keys| {
        let id = bare(keys);
        remove_parts(keys, "partitions", id);
        vec![(Invariant::CollectionPartitions, record(id).to_string())]
    });
}

#[test]
fn a_collection_with_no_or_two_primary_keys_is_found() {
    for (id, is_primary_key) in [(100, false), (101, true)] {
        assert_finds(|keys| {
            let collection = collection(keys);
            let time = newest(keys, collection);
            edit_both(keys, &field(collection, id), time, |field: &mut FieldSchema| {
                assert_ne!(field.is_primary_key, is_primary_key);
                field.is_primary_key = is_primary_key;
            });
            vec![(Invariant::CollectionPrimaryKey, record(collection).to_string())]
        });
    }
}

#[test]
fn records_left_embedded_as_the_original_tool_does_are_found() {
    assert_finds(|keys| {
        let id = bare(keys);
        let embedded = [record(id), Key::Snapshot(Plain::Collection(id), newest(keys, id))];
        let sample = sample();
        for key in &embedded {
            let value = sample[key.to_string().as_bytes()].clone();
            put(keys, key, value);
        }
        embedded.map(|key| (Invariant::NothingEmbedded, key.to_string())).to_vec()
    });
}

#[test]
fn an_embedded_newest_snapshot_alone_is_found_too() {
    assert_finds(|keys| {
        let id = bare(keys);
        let snapshot = Key::Snapshot(Plain::Collection(id), newest(keys, id));
        let embedded = sample()[snapshot.to_string().as_bytes()].clone();
        put(keys, &snapshot, embedded);
        vec![
            (Invariant::NothingEmbedded, snapshot.to_string()),
            (Invariant::NewestSnapshotAgrees, record(id).to_string()),
        ]
    });
}

#[test]
fn ids_that_contradict_the_key_are_found() {
    assert_finds(|keys| {
        let collection = collection(keys);
        let key = Key::Plain(field(collection, 101));
        edit(keys, &key, |field: &mut FieldSchema| field.field_id = 111);
        let partition = Key::Plain(partitions(keys, collection).remove(0));
        edit(keys, &partition, |partition: &mut PartitionInfo| partition.collection_id += 1);
        let other = Key::Plain(Plain::Collection(bare(keys)));
        edit(keys, &other, |info: &mut CollectionInfo| info.id += 1);
        [key, partition, other].map(|key| (Invariant::IdsAgree, key.to_string())).to_vec()
    });
}

#[test]
fn a_record_other_than_its_newest_snapshot_is_found() {
    assert_finds(|keys| {
        let collection = collection(keys);
        let key = Key::Plain(field(collection, 101));
        edit(keys, &key, |field: &mut FieldSchema| field.name.push('2'));
        vec![(Invariant::NewestSnapshotAgrees, key.to_string())]
    });
}

#[test]
fn a_tombstone_on_one_side_alone_is_found() {
    assert_finds(|keys| {
        let collection = collection(keys);
        let dropped = Key::Plain(field(collection, 101));
        drop_key(keys, &dropped);
        let later = newest(keys, collection) + 1;
        drop_key(keys, &Key::Snapshot(field(collection, 102), later));
        let half_dropped = Key::Plain(field(collection, 102));
        [dropped, half_dropped].map(|key| (Invariant::NewestSnapshotAgrees, key.to_string())).to_vec()
    });
}

#[test]
fn a_field_or_partition_of_which_only_the_snapshot_is_left_is_found() {
    assert_finds(|keys| {
        let collection = collection(keys);
        let gone = [Key::Plain(field(collection, 101)), Key::Plain(partitions(keys, collection).remove(1))];
        gone.iter().for_each(|key| drop(remove(keys, key)));
        gone.map(|key| (Invariant::NewestSnapshotAgrees, key.to_string())).to_vec()
    });
}

#[test]
fn a_snapshot_of_a_collection_or_an_alias_without_its_record_is_a_warning() {
    assert_warns(|keys| {
        let alias = Plain::Alias("history".into());
        let info = AliasInfo { alias_name: "history".into(), collection_id: 7, ..Default::default() };
        let collection = CollectionInfo { id: 7, ..Default::default() };
        let snapshots = [Key::Snapshot(alias, 5), Key::Snapshot(Plain::Collection(7), 5)];
        put(keys, &snapshots[0], info.encode_to_vec());
        put(keys, &snapshots[1], collection.encode_to_vec());
        snapshots.map(|key| (Invariant::NewestSnapshotAgrees, key.to_string())).to_vec()
    });
}

#[test]
fn fields_and_partitions_without_a_snapshot_or_with_a_younger_one_are_found() {
    assert_finds(|keys| {
        let collection = collection(keys);
        let time = newest(keys, collection);
        let partition = partitions(keys, collection).remove(0);
        for plain in [field(collection, 101), partition.clone()] {
            remove(keys, &Key::Snapshot(plain, time));
        }
        let late = remove(keys, &Key::Snapshot(field(collection, 102), time));
        put(keys, &Key::Snapshot(field(collection, 102), time + 1), late);
        let late = partitions(keys, collection).remove(1);
        let value = remove(keys, &Key::Snapshot(late.clone(), time));
        put(keys, &Key::Snapshot(late.clone(), time + 1), value);
        let plains = [field(collection, 101), field(collection, 102), partition, late];
        plains.map(|plain| (Invariant::SnapshotTimes, plain.to_string())).to_vec()
    });
}

#[test]
fn a_collection_without_snapshots_needs_none_of_its_parts() {
    assert_finds(|keys| {
        let id = bare(keys);
        let prefixes = ["collection", "fields", "partitions"].map(|kind| format!("snapshots/root-coord/{kind}/{id}"));
        keys.retain(|key, _| !prefixes.iter().any(|prefix| key.starts_with(prefix.as_bytes())));
        vec![]
    });
}

#[test]
fn an_older_snapshot_that_is_stripped_or_holds_field_indexes_is_found() {
    assert_finds(|keys| {
        let id = collection(keys);
        let times = snapshots(keys, id);
        let older = [times[0], times[1]].map(|time| Key::Snapshot(Plain::Collection(id), time));
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
        let dropped = [Plain::Collection(7), field(7, 100), Plain::Alias("gone".into())];
        dropped.iter().for_each(|plain| drop_key(keys, &Key::Plain(plain.clone())));
        dropped.map(|plain| (Invariant::TombstonesWithSnapshot, plain.to_string())).to_vec()
    });
}

#[test]
fn fields_and_partitions_of_no_collection_are_found() {
    assert_finds(|keys| {
        let collection = collection(keys);
        let stray = Key::Plain(field(7, 101));
        let value = keys[Key::Plain(field(collection, 101)).to_string().as_bytes()].clone();
        put(keys, &stray, value);
        let partition = Key::Plain(Plain::Partition { collection: 7, partition: 8 });
        put(
            keys,
            &partition,
            PartitionInfo { partition_id: 8, collection_id: 7, ..Default::default() }.encode_to_vec(),
        );
        [stray, partition].map(|key| (Invariant::OwnerExists, key.to_string())).to_vec()
    });
}

#[test]
fn two_collections_of_one_name_are_found_unless_they_are_in_two_databases() {
    let rename = |keys: &mut Keys, database: i64| {
        let (first, second) = (collection(keys), bare(keys));
        let name =
            CollectionInfo::decode(keys[record(first).to_string().as_bytes()].clone()).unwrap().schema.unwrap().name;
        let time = newest(keys, second);
        edit_both(keys, &Plain::Collection(second), time, |info: &mut CollectionInfo| {
            info.schema.as_mut().unwrap().name.clone_from(&name);
        });
        let in_database = CollectionAddition { db_id: database }.encode_to_vec();
        for key in [Key::Plain(Plain::Collection(second)), Key::Snapshot(Plain::Collection(second), time)] {
            let value = keys.get_mut(key.to_string().as_bytes()).unwrap();
            *value = [&value[..], &in_database].concat().into();
        }
        first.max(second)
    };
    for database in [0, 1] {
        assert_finds(|keys| vec![(Invariant::CollectionNamesUnique, record(rename(keys, database)).to_string())]);
    }
    assert_finds(|keys| {
        rename(keys, 2);
        vec![]
    });
}

#[test]
fn two_partitions_of_one_name_are_found() {
    assert_finds(|keys| {
        let collection = collection(keys);
        let time = newest(keys, collection);
        let second = partitions(keys, collection).remove(1);
        edit_both(keys, &second, time, |partition: &mut PartitionInfo| partition.partition_name = "_default".into());
        vec![(Invariant::PartitionNamesUnique, second.to_string())]
    });
}

#[test]
fn an_alias_that_leads_nowhere_is_a_warning() {
    assert_warns(|keys| {
        let dangling = Plain::Alias("dangling".into());
        let info = AliasInfo { alias_name: "dangling".into(), collection_id: 7, ..Default::default() };
        put(keys, &Key::Plain(dangling.clone()), info.encode_to_vec());
        vec![(Invariant::AliasTargetExists, dangling.to_string())]
    });
}

#[test]
fn an_alias_with_the_name_of_a_collection_or_with_another_name_than_its_key_is_found() {
    assert_finds(|keys| {
        let id = collection(keys);
        let info = CollectionInfo::decode(keys[record(id).to_string().as_bytes()].clone()).unwrap();
        let name = info.schema.unwrap().name;
        let hiding = Plain::Alias(name.clone());
        let record = AliasInfo { alias_name: name, collection_id: id, ..Default::default() }.encode_to_vec();
        put(keys, &Key::Plain(hiding.clone()), record.clone());
        let misnamed = Plain::Alias("misnamed".into());
        put(keys, &Key::Plain(misnamed.clone()), record);
        vec![(Invariant::AliasNameFree, hiding.to_string()), (Invariant::IdsAgree, misnamed.to_string())]
    });
}
