use super::*;
use crate::layout::messages::common::KeyValuePair;
use crate::layout::messages::target::{CollectionLoadInfo, FieldIndex, PartitionLoadInfo, SegmentIndex};

/// A live index of the loaded collection whose parameters were unfolded: its key.
fn index(keys: &Keys) -> Key {
    let id = collection(keys);
    find(keys, |key, value| match key {
        Key::FieldIndex { collection, .. } if collection == id => {
            let info = FieldIndex::decode(value.clone()).unwrap().index_info.unwrap();
            info.user_index_params.iter().any(|pair| pair.key == "params").then_some(key)
        }
        _ => None,
    })
}

fn index_id(key: &Key) -> i64 {
    let Key::FieldIndex { index, .. } = key else { panic!("{key} is no index") };
    *index
}

/// A finished segment index of the loaded collection, with files: its key.
fn segment_index(keys: &Keys) -> Key {
    let id = collection(keys);
    find(keys, |key, value| match key {
        Key::SegmentIndex { collection, .. } if collection == id => {
            (!SegmentIndex::decode(value.clone()).unwrap().index_file_keys.is_empty()).then_some(key)
        }
        _ => None,
    })
}

fn load(keys: &Keys) -> Key {
    Key::CollectionLoad(collection(keys))
}

fn partition_load(keys: &Keys) -> (i64, i64) {
    find(keys, |key, _| match key {
        Key::PartitionLoad { collection, partition } => Some((collection, partition)),
        _ => None,
    })
}

/// Damages one segment index; exactly that is found.
fn assert_segment_index_finds(invariants: &[Invariant], damage: impl FnOnce(&mut SegmentIndex)) {
    assert_finds(|keys| {
        let key = segment_index(keys);
        edit(keys, &key, damage);
        invariants.iter().map(|invariant| (*invariant, key.to_string())).collect()
    });
}

#[test]
fn an_index_on_a_field_that_is_not_there_is_found_with_the_load_state_that_names_it() {
    assert_finds(|keys| {
        let key = index(keys);
        edit(keys, &key, |index: &mut FieldIndex| index.index_info.as_mut().unwrap().field_id = 999);
        vec![(Invariant::IndexFieldExists, key.to_string()), (Invariant::LoadIndexesLive, load(keys).to_string())]
    });
}

#[test]
fn a_live_index_of_no_collection_is_found_and_a_deleted_one_is_not() {
    for deleted in [false, true] {
        assert_finds(|keys| {
            let mut record = FieldIndex::decode(keys[index(keys).to_string().as_bytes()].clone()).unwrap();
            record.index_info.as_mut().unwrap().collection_id = 7;
            record.deleted = deleted;
            let key = Key::FieldIndex { collection: 7, index: index_id(&index(keys)) };
            put(keys, &key, record.encode_to_vec());
            if deleted { vec![] } else { vec![(Invariant::IndexFieldExists, key.to_string())] }
        });
    }
}

#[test]
fn an_index_without_its_description_or_with_other_ids_is_found() {
    assert_finds(|keys| {
        let key = index(keys);
        edit(keys, &key, |index: &mut FieldIndex| index.index_info.as_mut().unwrap().index_id = 7);
        let empty = Key::FieldIndex { collection: collection(keys), index: 8 };
        put(keys, &empty, Bytes::new());
        [key, empty].map(|key| (Invariant::IdsAgree, key.to_string())).to_vec()
    });
}

#[test]
fn two_live_indexes_of_one_name_are_found_and_a_deleted_one_does_not_count() {
    for deleted in [false, true] {
        assert_finds(|keys| {
            let first = index(keys);
            let mut record = FieldIndex::decode(keys[first.to_string().as_bytes()].clone()).unwrap();
            record.index_info.as_mut().unwrap().index_id = i64::MAX;
            record.deleted = deleted;
            let key = Key::FieldIndex { collection: collection(keys), index: i64::MAX };
            put(keys, &key, record.encode_to_vec());
            if deleted { vec![] } else { vec![(Invariant::IndexNamesUnique, key.to_string())] }
        });
    }
}

#[test]
fn parameters_that_are_not_unfolded_or_lost_on_the_way_are_found() {
    let folded: fn(&mut Vec<KeyValuePair>) =
        |params| params.push(KeyValuePair { key: "params".into(), value: "{}".into() });
    let lost: fn(&mut Vec<KeyValuePair>) =
        |params| params.retain(|pair| ["index_type", "metric_type"].contains(&&*pair.key));
    for damage in [folded, lost] {
        assert_finds(|keys| {
            let key = index(keys);
            edit(keys, &key, |index: &mut FieldIndex| damage(&mut index.index_info.as_mut().unwrap().index_params));
            vec![(Invariant::IndexParamsUnfolded, key.to_string())]
        });
    }
}

#[test]
fn a_segment_index_of_an_index_that_is_not_there_is_found() {
    assert_segment_index_finds(&[Invariant::SegmentIndexOwnerExists], |record| record.index_id = 7);
}

#[test]
fn a_segment_index_of_a_collection_that_is_not_there_is_found() {
    assert_finds(|keys| {
        let id = collection(keys);
        let parts = [format!("root-coord/fields/{id}/"), format!("root-coord/partitions/{id}/")];
        keys.retain(|key, _| {
            let text = std::str::from_utf8(key).unwrap();
            let is_part = parts.iter().any(|part| text.contains(part.as_str()));
            let is_record = text.contains(&format!("root-coord/collection/{id}"));
            let is_alias = text.contains("root-coord/aliases/");
            !is_part && !is_record && !is_alias
        });
        remove(keys, &Key::CollectionLoad(id));
        let mut expected = Vec::new();
        for key in keys.keys().map(|key| Key::parse(key).unwrap()) {
            match key {
                Key::FieldIndex { collection, .. } if collection == id => {
                    expected.push((Invariant::IndexFieldExists, key.to_string()));
                }
                Key::SegmentIndex { collection, .. } if collection == id => {
                    expected.push((Invariant::SegmentIndexOwnerExists, key.to_string()));
                }
                _ => {}
            }
        }
        assert!(expected.len() > 2);
        expected
    });
}

#[test]
fn a_build_id_used_twice_or_not_positive_is_found() {
    for build in [None, Some(0), Some(-5)] {
        assert_finds(|keys| {
            let Key::SegmentIndex { collection, partition, build: used, .. } = segment_index(keys) else { panic!() };
            let mut record = SegmentIndex::decode(keys[segment_index(keys).to_string().as_bytes()].clone()).unwrap();
            let build = build.unwrap_or(used);
            (record.segment_id, record.build_id) = (i64::MAX, build);
            let key = Key::SegmentIndex { collection, partition, segment: i64::MAX, build };
            put(keys, &key, record.encode_to_vec());
            vec![(Invariant::BuildIdsUnique, key.to_string())]
        });
    }
}

#[test]
fn segment_indexes_with_ids_of_another_are_found() {
    for damage in [
        (|record| record.collection_id += 1) as fn(&mut SegmentIndex),
        |record| record.partition_id += 1,
        |record| record.segment_id += 1,
        |record| record.build_id += 1,
    ] {
        assert_segment_index_finds(&[Invariant::IdsAgree], damage);
    }
}

#[test]
fn unknown_states_and_untimely_hand_offs_are_found() {
    assert_segment_index_finds(&[Invariant::SegmentIndexState], |record| record.state = 6);
    assert_segment_index_finds(&[Invariant::SegmentIndexState], |record| record.state = 2);
    assert_warns(|keys| {
        let key = segment_index(keys);
        edit(keys, &key, |record: &mut SegmentIndex| record.write_handoff = false);
        vec![(Invariant::SegmentIndexState, key.to_string())]
    });
}

#[test]
fn files_that_milvus_would_not_find_or_expect_are_found() {
    assert_segment_index_finds(&[Invariant::SegmentIndexFiles], |record| record.index_file_keys[0].insert(0, '/'));
    assert_segment_index_finds(&[Invariant::SegmentIndexFiles], |record| {
        (record.state, record.write_handoff) = (1, false);
    });
}

#[test]
fn rows_other_than_the_segment_has_are_a_warning_and_negative_ones_an_error() {
    assert_warns(|keys| {
        let key = segment_index(keys);
        edit(keys, &key, |record: &mut SegmentIndex| record.num_rows += 1);
        vec![(Invariant::SegmentIndexRows, key.to_string())]
    });
    assert_segment_index_finds(&[Invariant::SegmentIndexRows], |record| {
        (record.num_rows, record.state, record.write_handoff) = (-1, 2, false);
    });
}

#[test]
fn a_finished_segment_index_may_have_no_files() {
    assert_segment_index_finds(&[], |record| record.index_file_keys.clear());
}

#[test]
fn what_is_loaded_and_not_there_is_found() {
    assert_finds(|keys| {
        let mut whole = CollectionLoadInfo::decode(keys[load(keys).to_string().as_bytes()].clone()).unwrap();
        whole.collection_id = 7;
        put(keys, &Key::CollectionLoad(7), whole.encode_to_vec());
        let (collection, partition) = partition_load(keys);
        let key = Key::PartitionLoad { collection, partition };
        let mut part = PartitionLoadInfo::decode(keys[key.to_string().as_bytes()].clone()).unwrap();
        part.partition_id = 7;
        let gone = Key::PartitionLoad { collection, partition: 7 };
        put(keys, &gone, part.encode_to_vec());
        [Key::CollectionLoad(7), gone].map(|key| (Invariant::LoadOwnerExists, key.to_string())).to_vec()
    });
}

#[test]
fn load_states_without_status_or_replicas_are_found() {
    assert_finds(|keys| {
        let whole = load(keys);
        edit(keys, &whole, |load: &mut CollectionLoadInfo| load.status = 0);
        let (collection, partition) = partition_load(keys);
        let part = Key::PartitionLoad { collection, partition };
        edit(keys, &part, |load: &mut PartitionLoadInfo| load.replica_number = 0);
        [whole, part].map(|key| (Invariant::LoadStatus, key.to_string())).to_vec()
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
        let key = index(keys);
        edit(keys, &key, |index: &mut FieldIndex| index.deleted = true);
        vec![(Invariant::LoadIndexesLive, load(keys).to_string())]
    });
}

#[test]
fn a_collection_loaded_as_a_whole_and_by_partitions_is_found() {
    assert_finds(|keys| {
        let id = collection(keys);
        let whole = CollectionLoadInfo::decode(keys[load(keys).to_string().as_bytes()].clone()).unwrap();
        let partition = find(keys, |key, _| match key {
            Key::Plain(Plain::Partition { collection, partition }) if collection == id => Some(partition),
            _ => None,
        });
        let part = PartitionLoadInfo {
            collection_id: id,
            partition_id: partition,
            replica_number: 1,
            status: 2,
            field_index_id: whole.field_index_id,
        };
        let key = Key::PartitionLoad { collection: id, partition };
        put(keys, &key, part.encode_to_vec());
        vec![(Invariant::LoadOneKind, key.to_string())]
    });
}
