//! What is loaded.

use super::*;
use crate::layout::messages::target::{CollectionLoadInfo, FieldIndex, LoadType, PartitionLoadInfo, Replica};

/// A collection that is loaded as a whole.
fn load(keys: &Keys) -> Key {
    Family::CollectionLoad.key([collection(keys)])
}

/// A partition that is loaded.
fn partition_load(keys: &Keys) -> Key {
    find(keys, Family::PartitionLoad, |_| true)
}

/// Replica records of a collection.
fn replicas(keys: &Keys, collection: i64) -> Vec<Key> {
    all(keys, Family::Replica).into_iter().filter(|key| key.ids::<1>()[0] == collection).collect()
}

fn add_replica(keys: &mut Keys, collection_id: i64, id: i64) {
    put_message(keys, &Family::Replica.key([collection_id, id]), &Replica { id, collection_id, ..Default::default() });
}

#[test]
fn what_is_loaded_and_not_there_is_found() {
    assert_finds(|keys| {
        let whole = CollectionLoadInfo { collection_id: 7, ..get(keys, &load(keys)) };
        put_message(keys, &Family::CollectionLoad.key([7]), &whole);
        add_replica(keys, 7, 70);
        let part = PartitionLoadInfo { partition_id: 7, ..get(keys, &partition_load(keys)) };
        let gone = Family::PartitionLoad.key([part.collection_id, 7]);
        put_message(keys, &gone, &part);
        found(Invariant::LoadOwnerExists, [Family::CollectionLoad.key([7]), gone])
    });
}

#[test]
fn load_states_without_status_or_replicas_are_found() {
    assert_finds(|keys| {
        let (whole, part) = (load(keys), partition_load(keys));
        edit(keys, &whole, |load: &mut CollectionLoadInfo| load.status = 0);
        edit(keys, &part, |load: &mut PartitionLoadInfo| load.status = 3);
        found(Invariant::LoadStatus, [whole, part])
    });
    let mut keys = migrated();
    let whole = load(&keys);
    edit(&mut keys, &whole, |load: &mut CollectionLoadInfo| load.replica_number = 0);
    let errors: Vec<_> = judge(&keys, FIRST).errors().map(|finding| finding.invariant).collect();
    assert_eq!(errors, [Invariant::LoadStatus]);
}

#[test]
fn a_load_state_of_another_collection_than_its_key_says_is_found() {
    assert_finds(|keys| {
        let (whole, part) = (load(keys), partition_load(keys));
        edit(keys, &whole, |load: &mut CollectionLoadInfo| load.collection_id += 1);
        edit(keys, &part, |load: &mut PartitionLoadInfo| load.partition_id += 1);
        let replica = find(keys, Family::Replica, |key| key.ids::<1>() != whole.ids::<1>());
        edit(keys, &replica, |replica: &mut Replica| replica.id += 1);
        found(Invariant::IdsAgree, [whole, part, replica])
    });
}

#[test]
fn as_many_replica_records_as_replicas_are_expected() {
    for target in [FIRST, "2.4.23"] {
        assert_finds_for(target, Severity::Error, |keys| {
            let id = collection(keys);
            let records = replicas(keys, id);
            assert_eq!(records.len(), 1);
            remove(keys, &records[0]);
            found(Invariant::ReplicasComplete, [load(keys)])
        });
        assert_finds_for(target, Severity::Warning, |keys| {
            add_replica(keys, collection(keys), 70);
            found(Invariant::ReplicasComplete, [load(keys)])
        });
    }
}

/// 2.1's replica records come back at every start.
#[test]
fn replica_records_of_2_1_are_left_over() {
    assert_finds(|keys| {
        keys.insert(Bytes::from("queryCoord-ReplicaMeta/5"), Bytes::new());
        let prefix = "queryCoord-ReplicaMeta/".to_owned();
        vec![(Invariant::Migrated, String::new()), (Invariant::NoSourceKeys, prefix)]
    });
}

#[test]
fn load_states_without_live_indexes_are_found() {
    let empty: fn(&mut CollectionLoadInfo) = |load| load.field_index_id.clear();
    let unknown: fn(&mut CollectionLoadInfo) = |load| *load.field_index_id.values_mut().next().unwrap() = 7;
    let of_another_field: fn(&mut CollectionLoadInfo) = |load| {
        let (_, index) = load.field_index_id.pop_first().unwrap();
        load.field_index_id.insert(101, index);
    };
    for damage in [empty, unknown, of_another_field] {
        assert_finds(|keys| {
            let key = load(keys);
            edit(keys, &key, damage);
            vec![(Invariant::LoadIndexesLive, key.to_string())]
        });
    }
    assert_finds(|keys| {
        let load = get::<CollectionLoadInfo>(keys, &load(keys));
        let index = *load.field_index_id.values().next().unwrap();
        let key = Family::FieldIndex.key([load.collection_id, index]);
        edit(keys, &key, |index: &mut FieldIndex| index.deleted = true);
        found(Invariant::LoadIndexesLive, [Family::CollectionLoad.key([load.collection_id])])
    });
}

#[test]
fn a_collection_loaded_as_a_whole_and_by_partitions_is_found() {
    assert_finds(|keys| {
        let whole = get::<CollectionLoadInfo>(keys, &load(keys));
        let key = Family::PartitionLoad.key(partitions(keys, whole.collection_id)[0].ids::<2>());
        let part = PartitionLoadInfo {
            collection_id: whole.collection_id,
            partition_id: key.ids::<2>()[1],
            replica_number: 1,
            status: 2,
            field_index_id: whole.field_index_id,
        };
        put_message(keys, &key, &part);
        found(Invariant::LoadOneKind, [key])
    });
}

/// 2.4.22 and later take a collection for released whose load state is in the form of 2.2.
#[test]
fn from_2_3_on_load_states_are_whole() {
    for target in ["2.3.0", "2.4.23"] {
        assert_finds_for(target, Severity::Error, |keys| {
            let id = collection(keys);
            let part = find(keys, Family::PartitionLoad, |key| key.ids::<1>()[0] == id);
            remove(keys, &part);
            found(Invariant::LoadForm, [load(keys)])
        });
        assert_finds_for(target, Severity::Error, |keys| {
            let by_partition = find(keys, Family::CollectionLoad, |key| {
                get::<CollectionLoadInfo>(keys, key).load_type == LoadType::LoadPartition as i32
            });
            remove(keys, &by_partition);
            let parts = all(keys, Family::PartitionLoad).into_iter();
            let parts = parts.filter(|key| key.ids::<1>() == by_partition.ids::<1>());
            let expected: Vec<_> = parts.map(|key| (Invariant::LoadForm, key.to_string())).collect();
            assert_eq!(expected.len(), 2);
            expected
        });
        let of_2_2 = migrated_to("2.2.16");
        let checked = judge(&of_2_2, target);
        let without_type = |finding: &&Finding| finding.what.contains("no load type");
        assert_eq!(checked.errors().filter(without_type).count(), all(&of_2_2, Family::CollectionLoad).len());
        assert!(
            checked
                .findings
                .iter()
                .all(|finding| finding.invariant == Invariant::LoadForm || finding.invariant == Invariant::LoadOneKind)
        );
    }
}

#[test]
fn without_a_target_either_form_passes() {
    for target in ["2.2.0", "2.2.16", "2.3.5", "2.4.23"] {
        assert_found(&check(&migrated_to(target), None), Severity::Error, vec![]);
    }
}
