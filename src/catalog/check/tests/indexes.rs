use super::*;
use crate::layout::messages::common::KeyValuePair;
use crate::layout::messages::target::{FieldIndex, SegmentIndex};

/// A live index of the loaded collection whose parameters were unfolded: its key.
fn index(keys: &Keys) -> Key {
    let id = collection(keys);
    find(keys, Family::FieldIndex, |key| {
        let info = get::<FieldIndex>(keys, key).index_info.unwrap();
        key.ids::<2>()[0] == id && info.user_index_params.iter().any(|pair| pair.key == "params")
    })
}

/// A finished segment index of the loaded collection, with files: its key.
fn segment_index(keys: &Keys) -> Key {
    let id = collection(keys);
    find(keys, Family::SegmentIndex, |key| {
        key.ids::<4>()[0] == id && !get::<SegmentIndex>(keys, key).index_file_keys.is_empty()
    })
}

fn load(keys: &Keys) -> Key {
    Family::CollectionLoad.key([collection(keys)])
}

/// Damages one segment index; exactly that is found.
#[track_caller]
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
            let mut record = get::<FieldIndex>(keys, &index(keys));
            record.index_info.as_mut().unwrap().collection_id = 7;
            record.deleted = deleted;
            let key = Family::FieldIndex.key([7, index(keys).ids::<2>()[1]]);
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
        let empty = Family::FieldIndex.key([collection(keys), 8]);
        put(keys, &empty, Bytes::new());
        [key, empty].map(|key| (Invariant::IdsAgree, key.to_string())).to_vec()
    });
}

#[test]
fn two_live_indexes_of_one_name_are_found_and_a_deleted_one_does_not_count() {
    for deleted in [false, true] {
        assert_finds(|keys| {
            let first = index(keys);
            let mut record = get::<FieldIndex>(keys, &first);
            record.index_info.as_mut().unwrap().index_id = i64::MAX;
            record.deleted = deleted;
            let key = Family::FieldIndex.key([collection(keys), i64::MAX]);
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
        for kind in ["fields", "partitions", "collection"] {
            remove_all(keys, &format!("root-coord/{kind}/{id}"));
            remove_all(keys, &format!("snapshots/root-coord/{kind}/{id}"));
        }
        remove_all(keys, "root-coord/aliases/");
        remove_all(keys, "snapshots/root-coord/aliases/");
        remove(keys, &Family::CollectionLoad.key([id]));
        let mine = |family| all(keys, family).into_iter().filter(|key| key.ids::<1>()[0] == id);
        let indexes = mine(Family::FieldIndex).map(|key| (Invariant::IndexFieldExists, key.to_string()));
        let segments = mine(Family::SegmentIndex).map(|key| (Invariant::SegmentIndexOwnerExists, key.to_string()));
        let expected: Vec<_> = indexes.chain(segments).collect();
        assert!(expected.len() > 2);
        expected
    });
}

#[test]
fn a_build_id_used_twice_or_not_positive_is_found() {
    for build in [None, Some(0), Some(-5)] {
        assert_finds(|keys| {
            let [collection, partition, _, used] = segment_index(keys).ids();
            let mut record = get::<SegmentIndex>(keys, &segment_index(keys));
            let build = build.unwrap_or(used);
            (record.segment_id, record.build_id) = (i64::MAX, build);
            let key = Family::SegmentIndex.key([collection, partition, i64::MAX, build]);
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
    // Later versions write none, and 2.2 marks those of dropped indexes with the others of their segment.
    assert_segment_index_finds(&[], |record| record.write_handoff = false);
    assert_segment_index_finds(&[], |record| (record.state, record.deleted) = (2, true));
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
