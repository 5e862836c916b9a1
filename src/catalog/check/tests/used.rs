//! What newer versions write once they run on migrated metadata.

use super::*;
use crate::layout::messages::common::{
    Binlog, CollectionInfo, CollectionSchema, FieldBinlog, FieldSchema, KeyDataPair, KeyValuePair, MsgPosition,
    SegmentInfo, SegmentState,
};
use crate::layout::messages::target::{
    AliasInfo, CollectionLoadInfo, FieldIndex, IndexInfo, LoadStatus, LoadType, PartitionInfo, PartitionLoadInfo,
    Replica, SegmentIndex,
};

/// Versions that may be running: each layout, and one whose snapshots expire.
const RUNNING: [&str; 4] = ["2.2.0", "2.2.16", "2.3.5", "2.4.23"];
/// Later than everything in the sample.
const NOW: u64 = 480_000_000_000_000_000;
const NEW: i64 = 480_000_000_000_000_001;

/// Writes a record as the root coordinator does: plain and as a snapshot.
fn save(keys: &mut Keys, plain: &Key, time: u64, value: impl Into<Bytes>) {
    let value = value.into();
    put(keys, plain, value.clone());
    put(keys, &plain.clone().at(time), value);
}

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.into(), value: value.into() }
}

/// The database of what that version makes; 0 before there were any.
fn database(target: &str) -> i64 {
    i64::from(layout(target).in_database)
}

fn key_of(target: &str, id: i64) -> Key {
    match database(target) {
        0 => record(id),
        database => Family::DatabaseCollection.key([database, id]),
    }
}

fn alias_of(target: &str, name: &str) -> Key {
    match database(target) {
        0 => Family::Alias.named(name),
        database => Family::DatabaseAlias.key_with([database], name),
    }
}

/// A collection that is made, with properties, a channel with its checkpoint, two fields and two partitions.
fn create(keys: &mut Keys, target: &str, id: i64, name: &str, state: i32) {
    let channel = format!("dml_0_{id}v0");
    let info = CollectionInfo {
        id,
        schema: Some(CollectionSchema { name: name.into(), ..Default::default() }),
        state,
        db_id: database(target),
        virtual_channel_names: vec![channel.clone()],
        physical_channel_names: vec!["dml_0".into()],
        start_positions: vec![KeyDataPair { key: "dml_0".into(), data: vec![7] }],
        properties: vec![pair("t", "1")],
        ..Default::default()
    };
    save(keys, &key_of(target, id), NOW, info.encode_to_vec());
    let position = MsgPosition { channel_name: channel.clone(), msg_id: vec![9], timestamp: NOW, ..Default::default() };
    put_message(keys, &Family::ChannelCheckpoint.named(&channel), &position);
    for (number, name) in [(100, "pk"), (101, "vector")] {
        let record =
            FieldSchema { field_id: number, name: name.into(), is_primary_key: number == 100, ..Default::default() };
        save(keys, &field(id, number), NOW, record.encode_to_vec());
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
    save(keys, &Family::Partition.key([collection_id, partition_id]), time, record.encode_to_vec());
}

/// An index as newer versions make it: parameters in no order, and perhaps none by the user.
fn add_index(keys: &mut Keys, collection_id: i64, index_id: i64, deleted: bool) {
    let info = IndexInfo {
        collection_id,
        field_id: 101,
        index_name: "vector".into(),
        index_id,
        type_params: vec![pair("dim", "8")],
        index_params: vec![pair("nlist", "128"), pair("metric_type", "L2"), pair("index_type", "IVF_FLAT")],
        ..Default::default()
    };
    let record = FieldIndex { index_info: Some(info), deleted, create_time: NOW };
    put_message(keys, &Family::FieldIndex.key([collection_id, index_id]), &record);
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
        // 2.2 hands it off a little later, 2.3 and later write none.
        write_handoff: finished && build % 2 == 0,
        ..Default::default()
    };
    put_message(keys, &Family::SegmentIndex.key([collection, partition, segment, build]), &record);
}

/// A load state in the form of that version, with two replicas.
fn load(keys: &mut Keys, target: &str, status: LoadStatus) {
    let (replica_number, status) = (2, status as i32);
    let field_index_id = BTreeMap::from([(101, 7)]);
    let with_type = layout(target).load_type;
    let whole = CollectionLoadInfo {
        collection_id: NEW,
        replica_number,
        status,
        field_index_id: field_index_id.clone(),
        load_type: if with_type { LoadType::LoadCollection as i32 } else { 0 },
        ..Default::default()
    };
    put_message(keys, &Family::CollectionLoad.key([NEW]), &whole);
    for partition_id in [NEW + 1, NEW + 2].into_iter().filter(|_| with_type) {
        let field_index_id = field_index_id.clone();
        let part = PartitionLoadInfo { collection_id: NEW, partition_id, replica_number, status, field_index_id };
        put_message(keys, &Family::PartitionLoad.key([NEW, partition_id]), &part);
    }
    for id in [1, 2] {
        let replica = Replica { id, collection_id: NEW, nodes: vec![4], ..Default::default() };
        put_message(keys, &Family::Replica.key([NEW, id]), &replica);
    }
}

fn add_segment(keys: &mut Keys, id: i64, state: SegmentState, rows: i64, change: impl FnOnce(&mut SegmentInfo)) -> Key {
    let mut info = SegmentInfo {
        id,
        collection_id: NEW,
        partition_id: NEW + 1,
        state: state as i32,
        num_of_rows: rows,
        ..Default::default()
    };
    change(&mut info);
    let key = Family::Segment.key([NEW, NEW + 1, id]);
    put_message(keys, &key, &info);
    key
}

fn add_logs(keys: &mut Keys, kind: Family, segment: i64, logs: &[(i64, i64)]) {
    let log = |(log_id, entries_num): &(i64, i64)| Binlog {
        log_id: *log_id,
        entries_num: *entries_num,
        ..Default::default()
    };
    // Of every field there are binlogs; all else is of the primary key.
    let fields: Vec<i64> = match kind {
        Family::Binlog => {
            all(keys, Family::Field).iter().map(Key::ids).filter(|[id, _]| *id == NEW).map(|[_, field]| field).collect()
        }
        _ => vec![100],
    };
    for field_id in fields {
        let record = FieldBinlog { field_id, binlogs: logs.iter().map(log).collect() };
        put_message(keys, &kind.key([NEW, NEW + 1, segment, field_id]), &record);
    }
}

/// What a drop leaves until Milvus cleans up: tombstones.
fn drop_everything_of(keys: &mut Keys, id: i64, time: u64) {
    let is_of = |key: &Key| match key.family {
        Family::Collection | Family::Partition | Family::Field => key.ids::<1>()[0] == id,
        Family::DatabaseCollection => key.ids::<2>()[1] == id,
        _ => false,
    };
    let parsed = keys.keys().filter_map(|key| Key::parse(key).ok());
    for plain in parsed.filter(|key| key.snapshot.is_none() && is_of(key)).collect::<Vec<_>>() {
        save(keys, &plain, time, TOMBSTONE);
    }
}

#[test]
fn a_new_collection_with_index_builds_under_way_and_loading_passes() {
    for target in RUNNING {
        for status in [LoadStatus::Loading, LoadStatus::Loaded] {
            let mut keys = migrated_to(target);
            create(&mut keys, target, NEW, "new", 0);
            add_index(&mut keys, NEW, 7, false);
            for state in 0..=5 {
                add_segment_index(&mut keys, NEW, 7, i64::from(state) + 1000, state);
            }
            add_segment_index(&mut keys, NEW, 7, 1007, 3);
            load(&mut keys, target, status);
            assert_clean(&keys, target);
            assert_found(&check(&keys, None), Severity::Error, vec![]);
        }
    }
}

#[test]
fn segments_in_every_state_pass() {
    for target in RUNNING {
        let mut keys = migrated_to(target);
        create(&mut keys, target, NEW, "new", 0);
        // Growing and importing ones have no files yet, or some of them; L0 segments have deltalogs alone.
        add_segment(&mut keys, 1, SegmentState::Growing, 500, |_| ());
        add_segment(&mut keys, 2, SegmentState::Importing, 0, |info| info.is_importing = true);
        add_segment(&mut keys, 3, SegmentState::Sealed, 800, |_| ());
        add_logs(&mut keys, Family::Binlog, 3, &[(10, 300)]);
        add_logs(&mut keys, Family::Statslog, 3, &[(11, 300)]);
        add_segment(&mut keys, 4, SegmentState::Flushed, 0, |_| ());
        add_logs(&mut keys, Family::Deltalog, 4, &[(12, 3)]);
        // Compacted: the ones that it was made of are dropped, and lose their files before their records.
        add_segment(&mut keys, 5, SegmentState::Flushed, 900, |info| info.compaction_from = vec![6, 7]);
        add_logs(&mut keys, Family::Binlog, 5, &[(13, 900)]);
        add_logs(&mut keys, Family::Statslog, 5, &[(14, 900)]);
        add_segment(&mut keys, 6, SegmentState::SegmentDropped, 400, |info| info.dropped_at = NOW);
        add_logs(&mut keys, Family::Binlog, 6, &[(15, 400)]);
        add_segment(&mut keys, 7, SegmentState::SegmentDropped, 500, |info| info.dropped_at = NOW);
        add_segment(&mut keys, 8, SegmentState::NotExist, 0, |_| ());
        assert_clean(&keys, target);
    }
    // 2.3 merges the statslogs of a segment into one.
    let mut keys = migrated_to("2.3.5");
    create(&mut keys, "2.3.5", NEW, "new", 0);
    add_segment(&mut keys, 1, SegmentState::Flushed, 30, |_| ());
    add_logs(&mut keys, Family::Binlog, 1, &[(10, 10), (11, 20)]);
    add_logs(&mut keys, Family::Statslog, 1, &[(1, 30)]);
    assert_clean(&keys, "2.3.5");
}

#[test]
fn renamed_and_altered_collections_pass() {
    for target in RUNNING {
        let mut keys = migrated_to(target);
        let id = collection(&keys);
        let key = key_of(target, id);
        for (step, name) in [(1, "renamed"), (2, "renamed again")] {
            let mut info: CollectionInfo = get(&keys, &key);
            info.schema.as_mut().unwrap().name = name.into();
            save(&mut keys, &key, NOW + step, info.encode_to_vec());
        }
        add_partition(&mut keys, id, NEW, "added", NOW + 5);
        // It is loaded as a whole, and from 2.3 on the new partition with it.
        if layout(target).load_type {
            let partition = find(&keys, Family::PartitionLoad, |key| key.ids::<1>()[0] == id);
            let info = PartitionLoadInfo { partition_id: NEW, ..get(&keys, &partition) };
            put_message(&mut keys, &Family::PartitionLoad.key([id, NEW]), &info);
        }
        assert_clean(&keys, target);
    }
}

/// 2.4.14 and later remove snapshots that are older than a day.
#[test]
fn expired_snapshots_pass_where_they_expire() {
    let mut keys = migrated_to("2.4.23");
    let id = collection(&keys);
    let key = key_of("2.4.23", id);
    let mut info: CollectionInfo = get(&keys, &key);
    info.schema.as_mut().unwrap().name = "renamed".into();
    let live = |keys: &Keys, key: &Bytes| {
        let key = Key::parse(key).unwrap();
        key.snapshot.is_none() || keys.get(key.plain().to_string().as_bytes()).is_none_or(|value| value == TOMBSTONE)
    };
    let before = keys.clone();
    keys.retain(|key, _| live(&before, key));
    assert!(before.len() > keys.len() + 200);
    save(&mut keys, &key, NOW, info.encode_to_vec());
    assert_clean(&keys, "2.4.23");
    let checked = check(&keys, None);
    assert!(checked.is_consistent() && !checked.findings.is_empty(), "unknown is for which target");
}

#[test]
fn a_dropped_partition_and_a_changed_and_a_dropped_alias_pass() {
    for target in RUNNING {
        let mut keys = migrated_to(target);
        let id = bare_of(&keys, target);
        add_partition(&mut keys, id, NEW, "added", NOW);
        save(&mut keys, &Family::Partition.key([id, NEW]), NOW + 1, TOMBSTONE);
        let alias = |name: &str, state| AliasInfo {
            alias_name: name.into(),
            collection_id: id,
            created_time: NOW,
            state,
            db_id: database(target),
        };
        save(&mut keys, &alias_of(target, "a_main"), NOW, alias("a_main", 0).encode_to_vec());
        save(&mut keys, &alias_of(target, "a_second"), NOW, TOMBSTONE);
        // On its way out.
        let dropping = AliasInfo { collection_id: 7, ..alias("c_mixed", 2) };
        save(&mut keys, &alias_of(target, "c_mixed"), NOW, dropping.encode_to_vec());
        assert_clean(&keys, target);
    }
}

/// A collection of the sample that is not loaded.
fn bare_of(keys: &Keys, target: &str) -> i64 {
    let ids = |family| all(keys, family).into_iter().map(|key| key.ids::<1>()[0]).collect::<Vec<_>>();
    let loaded = [ids(Family::CollectionLoad), ids(Family::PartitionLoad)].concat();
    let collections = all(keys, key_of(target, 1).family).into_iter();
    let mut ids = collections.filter(|key| value(keys, key) != TOMBSTONE).map(|key| key.ids::<2>());
    let id = |[first, second]: [i64; 2]| if database(target) == 0 { first } else { second };
    ids.find_map(|ids| Some(id(ids)).filter(|id| !loaded.contains(id))).unwrap()
}

#[test]
fn collections_on_their_way_in_or_out_pass_with_whatever_is_missing() {
    for target in RUNNING {
        for state in [1, 2, 3] {
            let mut keys = migrated_to(target);
            // Its name may be taken by another already.
            create(&mut keys, target, NEW, "taken", state);
            create(&mut keys, target, NEW + 100, "taken", 0);
            add_index(&mut keys, NEW, 7, true);
            add_segment_index(&mut keys, NEW, 7, 1000, 3);
            remove_all(&mut keys, &format!("root-coord/fields/{NEW}/"));
            remove_all(&mut keys, &format!("snapshots/root-coord/fields/{NEW}/"));
            remove_all(&mut keys, &format!("datacoord-meta/channel-cp/dml_0_{NEW}v0"));
            assert_clean(&keys, target);
        }
    }
}

#[test]
fn a_dropped_collection_passes_while_its_deleted_index_waits_to_be_cleaned_up() {
    for target in RUNNING {
        let mut keys = migrated_to(target);
        create(&mut keys, target, NEW, "dropped", 0);
        add_index(&mut keys, NEW, 7, true);
        add_segment_index(&mut keys, NEW, 7, 1000, 3);
        add_segment(&mut keys, 1, SegmentState::SegmentDropped, 500, |_| ());
        drop_everything_of(&mut keys, NEW, NOW + 20);
        assert_clean(&keys, target);

        // One that was migrated, with an alias that leads to it.
        let aliases = all(&keys, alias_of(target, "").family);
        let id = get::<AliasInfo>(&keys, &aliases[0]).collection_id;
        for family in
            [Family::FieldIndex, Family::SegmentIndex, Family::CollectionLoad, Family::PartitionLoad, Family::Replica]
        {
            let gone = all(&keys, family).into_iter().filter(|key| key.ids::<1>()[0] == id);
            gone.for_each(|key| drop(remove(&mut keys, &key)));
        }
        drop_everything_of(&mut keys, id, NOW);
        let dangling = aliases.into_iter().filter(|key| get::<AliasInfo>(&keys, key).collection_id == id);
        let dangling: Vec<_> = dangling.map(|key| (Invariant::AliasTargetExists, key.to_string())).collect();
        assert!(!dangling.is_empty());
        assert_found(&judge(&keys, target), Severity::Error, dangling);
    }
}

#[test]
fn load_states_of_later_2_2_releases_name_the_collection_and_its_partitions() {
    let mut keys = migrated_to("2.2.16");
    create(&mut keys, "2.2.16", NEW, "new", 0);
    add_index(&mut keys, NEW, 7, false);
    load(&mut keys, "2.3.5", LoadStatus::Loaded);
    assert_clean(&keys, "2.2.16");
}

/// 2.3.18 and later, and 2.4.5 and later, move what belongs to no database, and leave tombstones behind.
#[test]
fn a_collection_that_was_moved_into_a_database_still_exists() {
    for target in ["2.2.16", "2.4.23"] {
        let mut keys = migrated_to(target);
        let moved: Vec<Key> = all(&keys, Family::DatabaseCollection);
        let live: Vec<&Key> = moved.iter().filter(|key| value(&keys, key) != TOMBSTONE).collect();
        let before: Vec<Key> = live.iter().map(|key| record(key.ids::<2>()[1])).collect();
        for (old, key) in before.iter().zip(live) {
            let info = CollectionInfo { db_id: 0, ..get(&keys, key) };
            let time = newest(&keys, info.id);
            put_message(&mut keys, &old.clone().at(time), &info);
            save(&mut keys, old, u64::MAX, TOMBSTONE);
        }
        // An alias that was made anew loses the key that it had before.
        save(&mut keys, &Family::Alias.named("a_main"), NOW, TOMBSTONE);
        let checked = judge(&keys, target);
        let errors = checked.errors().map(|one| (one.invariant, one.key.clone())).collect::<Vec<_>>();
        assert_eq!(errors, [], "{target}");
        let without = before[0].ids::<1>()[0];
        remove(&mut keys, &key_of(target, without));
        remove_all(&mut keys, &format!("snapshots/{}_ts", key_of(target, without)));
        assert!(!judge(&keys, target).is_consistent(), "without the moved record the collection is gone");
    }
}
