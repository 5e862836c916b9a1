//! What Milvus 2.2 writes once it runs on migrated metadata.

use super::*;
use crate::layout::messages::common::{CollectionInfo, CollectionSchema, FieldSchema, KeyValuePair};
use crate::layout::messages::target::{
    AliasInfo, CollectionLoadInfo, FieldIndex, IndexInfo, PartitionInfo, PartitionLoadInfo, SegmentIndex,
};

/// Later than everything in the sample.
const NOW: u64 = 480_000_000_000_000_000;
const NEW: i64 = 480_000_000_000_000_001;

/// Writes a record as 2.2 does: plain and as a snapshot.
fn save(keys: &mut Keys, plain: &Plain, time: u64, value: impl Into<Bytes>) {
    let value = value.into();
    put(keys, &Key::Plain(plain.clone()), value.clone());
    put(keys, &Key::Snapshot(plain.clone(), time), value);
}

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.into(), value: value.into() }
}

fn assert_clean(keys: &Keys) {
    let findings = verify(keys).findings;
    assert!(findings.is_empty(), "{findings:#?}");
}

/// A collection that 2.2 makes, with properties (field 14), two fields and two partitions.
fn create(keys: &mut Keys, id: i64, name: &str, state: i32) {
    let schema = CollectionSchema { name: name.into(), fields: vec![] };
    let mut value = CollectionInfo { id, schema: Some(schema), state, ..Default::default() }.encode_to_vec();
    value.extend([0x72, 0x06, 0x0A, 0x01, b't', 0x12, 0x01, b'1']);
    save(keys, &Plain::Collection(id), NOW, value);
    for (field, name) in [(100, "pk"), (101, "vector")] {
        let record =
            FieldSchema { field_id: field, name: name.into(), is_primary_key: field == 100, ..Default::default() };
        save(keys, &Plain::Field { collection: id, field }, NOW, record.encode_to_vec());
    }
    add_partition(keys, id, id + 1, "_default", NOW);
    add_partition(keys, id, id + 2, "later", NOW + 9);
}

fn add_partition(keys: &mut Keys, collection_id: i64, partition_id: i64, name: &str, time: u64) {
    let record = PartitionInfo {
        partition_id,
        partition_name: name.into(),
        partition_created_timestamp: time,
        collection_id,
        state: 0,
    };
    save(keys, &Plain::Partition { collection: collection_id, partition: partition_id }, time, record.encode_to_vec());
}

/// An index as 2.2 makes it: parameters in no order, and perhaps none by the user.
fn add_index(keys: &mut Keys, collection_id: i64, index_id: i64, deleted: bool) {
    let info = IndexInfo {
        collection_id,
        field_id: 101,
        index_name: "vector".into(),
        index_id,
        type_params: vec![pair("dim", "8")],
        index_params: vec![pair("nlist", "128"), pair("metric_type", "L2"), pair("index_type", "IVF_FLAT")],
        user_index_params: vec![],
    };
    let record = FieldIndex { index_info: Some(info), deleted, create_time: NOW };
    put(keys, &Key::FieldIndex { collection: collection_id, index: index_id }, record.encode_to_vec());
}

fn add_segment_index(keys: &mut Keys, collection: i64, index: i64, build: i64, state: i32) {
    let (partition, segment) = (collection + 1, collection + 50);
    let finished = state == 3;
    let record = SegmentIndex {
        collection_id: collection,
        partition_id: partition,
        segment_id: segment,
        num_rows: 3000,
        index_id: index,
        build_id: build,
        index_version: 2,
        state,
        index_file_keys: if finished { vec!["IVF".into()] } else { vec![] },
        write_handoff: finished,
        ..Default::default()
    };
    put(keys, &Key::SegmentIndex { collection, partition, segment, build }, record.encode_to_vec());
}

/// What a drop leaves until Milvus cleans up: tombstones.
fn drop_everything_of(keys: &mut Keys, id: i64, time: u64) {
    let of_collection = |plain: &Plain| match plain {
        Plain::Collection(collection) | Plain::Partition { collection, .. } | Plain::Field { collection, .. } => {
            *collection == id
        }
        _ => false,
    };
    let parsed = keys.keys().filter_map(|key| match Key::parse(key) {
        Ok(Key::Plain(plain)) if of_collection(&plain) => Some(plain),
        _ => None,
    });
    for plain in parsed.collect::<Vec<_>>() {
        save(keys, &plain, time, TOMBSTONE);
    }
}

#[test]
fn a_new_collection_with_index_builds_under_way_and_loading_passes() {
    let mut keys = migrated();
    create(&mut keys, NEW, "new", 0);
    add_index(&mut keys, NEW, 7, false);
    for state in 0..=5 {
        add_segment_index(&mut keys, NEW, 7, i64::from(state) + 1000, state);
    }
    let load = CollectionLoadInfo {
        collection_id: NEW,
        replica_number: 2,
        status: 1,
        field_index_id: [(101, 7)].into(),
        ..Default::default()
    };
    put(&mut keys, &Key::CollectionLoad(NEW), load.encode_to_vec());
    assert_clean(&keys);
}

#[test]
fn renamed_and_altered_collections_pass() {
    let mut keys = migrated();
    let id = collection(&keys);
    for (step, name) in [(1, "renamed"), (2, "renamed again")] {
        let key = Key::Plain(Plain::Collection(id));
        let mut info = CollectionInfo::decode(keys[key.to_string().as_bytes()].clone()).unwrap();
        info.schema.as_mut().unwrap().name = name.into();
        save(&mut keys, &Plain::Collection(id), NOW + step, info.encode_to_vec());
    }
    add_partition(&mut keys, id, NEW, "added", NOW + 5);
    assert_clean(&keys);
}

#[test]
fn a_dropped_partition_and_a_changed_and_a_dropped_alias_pass() {
    let mut keys = migrated();
    let id = collection(&keys);
    add_partition(&mut keys, id, NEW, "added", NOW);
    save(&mut keys, &Plain::Partition { collection: id, partition: NEW }, NOW + 1, TOMBSTONE);
    let alias = AliasInfo { alias_name: "a_main".into(), collection_id: id, created_time: NOW, state: 0 };
    save(&mut keys, &Plain::Alias("a_main".into()), NOW, alias.encode_to_vec());
    save(&mut keys, &Plain::Alias("a_second".into()), NOW, TOMBSTONE);
    assert_clean(&keys);
}

#[test]
fn collections_on_their_way_in_or_out_pass_with_whatever_is_missing() {
    for state in [1, 2] {
        let mut keys = migrated();
        // Its name may be taken by another already.
        create(&mut keys, NEW, "taken", state);
        create(&mut keys, NEW + 100, "taken", 0);
        add_index(&mut keys, NEW, 7, true);
        add_segment_index(&mut keys, NEW, 7, 1000, 3);
        keys.retain(|key, _| !key.starts_with(format!("root-coord/fields/{NEW}/").as_bytes()));
        keys.retain(|key, _| !key.starts_with(format!("snapshots/root-coord/fields/{NEW}/").as_bytes()));
        assert_clean(&keys);
    }
}

#[test]
fn a_dropped_collection_passes_while_its_deleted_index_waits_to_be_cleaned_up() {
    let mut keys = migrated();
    create(&mut keys, NEW, "dropped", 0);
    add_index(&mut keys, NEW, 7, true);
    add_segment_index(&mut keys, NEW, 7, 1000, 3);
    drop_everything_of(&mut keys, NEW, NOW + 20);
    assert_clean(&keys);
    let id = find(&keys, |key, _| match key {
        Key::Plain(Plain::Collection(id)) if snapshots(&keys, id).len() == 1 => Some(id),
        _ => None,
    });
    let unused = |key: &Bytes| {
        let text = String::from_utf8_lossy(key).into_owned();
        ["field-index/", "segment-index/", "querycoord-collection-loadinfo/", "querycoord-partition-loadinfo/"]
            .iter()
            .all(|kind| !text.starts_with(&format!("{kind}{id}")))
    };
    keys.retain(|key, _| unused(key));
    drop_everything_of(&mut keys, id, NOW);
    let aliases = verify(&keys).findings;
    assert!(aliases.iter().all(|finding| finding.invariant == Invariant::AliasTargetExists), "{aliases:#?}");
}

#[test]
fn load_states_of_later_2_2_releases_name_the_collection_and_its_partitions() {
    let mut keys = migrated();
    create(&mut keys, NEW, "new", 0);
    add_index(&mut keys, NEW, 7, false);
    let field_index_id = std::collections::BTreeMap::from([(101, 7)]);
    let whole = CollectionLoadInfo {
        collection_id: NEW,
        replica_number: 1,
        status: 2,
        field_index_id: field_index_id.clone(),
        ..Default::default()
    };
    let with_load_type = [whole.encode_to_vec(), vec![0x30, 0x02]].concat();
    put(&mut keys, &Key::CollectionLoad(NEW), with_load_type);
    let part =
        PartitionLoadInfo { collection_id: NEW, partition_id: NEW + 1, replica_number: 1, status: 2, field_index_id };
    put(&mut keys, &Key::PartitionLoad { collection: NEW, partition: NEW + 1 }, part.encode_to_vec());
    assert_clean(&keys);
}

#[test]
fn a_collection_that_was_moved_into_a_database_still_exists() {
    let mut keys = migrated();
    let id = collection(&keys);
    let moved = Bytes::from(format!("root-coord/database/collection-info/1/{id}"));
    let value = keys[Key::Plain(Plain::Collection(id)).to_string().as_bytes()].clone();
    save(&mut keys, &Plain::Collection(id), NOW, TOMBSTONE);
    assert!(!verify(&keys).is_consistent(), "without the moved record the collection is gone");
    keys.insert(moved, value);
    assert_clean(&keys);
}
