//! Collections with their partitions and fields (docs/layouts.md, rule 1).

use prost::Message;

use super::cluster::{Cluster, FLOAT, GARBAGE, TAIL, TARGETS, VECTOR, layout};
use crate::catalog::report::RepairKind;
use crate::catalog::{Options, Precedence};
use crate::layout::TOMBSTONE;
use crate::layout::messages::common::{CollectionInfo, CollectionSchema, FieldSchema};
use crate::layout::messages::target::PartitionInfo;

/// Fields of numbers 500 to 504, none of which any message here has: a varint, fixed64, bytes, fixed32 and a group.
const UNKNOWN: &[u8] = b"\xa0\x1f\x05\xa9\x1f12345678\xb2\x1f\x02\xff\xfe\xbd\x1f1234\xc3\x1f\x08\x01\xc4\x1f";

/// A collection record of the 2.2 layout: nothing but the ID, the name and what the tool does not know.
fn stripped(id: i64, name: &str) -> Vec<u8> {
    let schema = Some(CollectionSchema { name: name.into(), ..Default::default() });
    let create_time = 2000 + id as u64;
    [CollectionInfo { id, schema, create_time, ..CollectionInfo::default() }.encode_to_vec(), TAIL.to_vec()].concat()
}

fn partition(collection_id: i64, partition_id: i64, name: &str) -> PartitionInfo {
    let partition_created_timestamp = 1000 + partition_id as u64;
    PartitionInfo { partition_id, partition_name: name.into(), partition_created_timestamp, collection_id, state: 0 }
}

/// A delimited protobuf field.
fn delimited(number: u8, payload: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(payload.len()).unwrap()], payload].concat()
}

#[test]
fn partitions_and_fields_leave_the_record_and_nothing_else_of_it_changes() {
    let before = Cluster::new().collection(7, "c").partition(71, "p").vector_index(500);
    let after = before.migrate().after;
    assert_eq!(after.value("root-coord/collection/7"), &stripped(7, "c"));
    assert_eq!(after.keys("root-coord/partitions/"), ["root-coord/partitions/7/70", "root-coord/partitions/7/71"]);
    assert_eq!(after.get::<PartitionInfo>("root-coord/partitions/7/70"), partition(7, 70, "_default"));
    assert_eq!(after.get::<PartitionInfo>("root-coord/partitions/7/71"), partition(7, 71, "p"));
    let embedded: CollectionInfo = before.get("root-coord/collection/7");
    for field in embedded.schema.unwrap().fields {
        let key = format!("root-coord/fields/7/{}", field.field_id);
        assert_eq!(after.get::<FieldSchema>(&key), field);
    }
    assert_eq!(after.keys("root-coord/fields/").len(), 4);
}

/// 2.2.3 to 2.4.13 build their catalog from snapshots alone: a collection without any would not exist for them.
#[test]
fn a_collection_without_a_snapshot_gets_one_at_its_create_time_with_all_that_belongs_to_it() {
    for target in TARGETS {
        let done = Cluster::new().collection(1, "c").alias("a", &[]).migrate_to(target);
        for key in done.after.keys("root-coord/") {
            let snapshot = format!("snapshots/{key}_ts2001");
            if key.contains("/aliases/") {
                assert!(done.after.has(&snapshot), "{snapshot} is missing");
            } else {
                assert_eq!(done.after.value(&snapshot), done.after.value(&key), "{target}");
            }
        }
        assert_eq!(done.after.keys("snapshots/").len(), done.after.keys("root-coord/").len());
        assert_eq!(done.report().snapshots_added, ["alias a", "collection c"]);
    }
    let with_history = Cluster::new().collection(1, "c").snapshot(5).migrate();
    assert!(!with_history.after.has("snapshots/root-coord/collection/1_ts2001"));
    assert_eq!(with_history.report().snapshots_added, [""; 0]);
}

#[test]
fn where_newer_records_count_a_partition_that_has_no_snapshot_gets_one_though_the_collection_embeds_others() {
    let cluster = Cluster::new().collection(1, "c").snapshot(5);
    let cluster = cluster.message("root-coord/partitions/1/77", &partition(1, 77, "made by another tool"));
    let options = Options { precedence: Precedence::Newer, ..Options::default() };
    let done = cluster.migrate_with(&options);
    assert_eq!(done.after.get::<PartitionInfo>("snapshots/root-coord/partitions/1/77_ts5").partition_id, 77);
    assert_eq!(done.after.keys("root-coord/partitions/").len(), 2);
    // Else it is of an interrupted run, and 2.1 has dropped it since.
    assert_eq!(cluster.migrate().after.keys("root-coord/partitions/"), ["root-coord/partitions/1/10"]);
}

/// What is in no database is lost there: altered aliases at the next restart, renames, properties, drops.
#[test]
fn from_2_2_9_on_record_snapshots_and_tombstones_move_to_the_database() {
    let before = Cluster::new()
        .collection(1, "c")
        .vector_index(500)
        .snapshot(5)
        .snapshot(9)
        .collection(2, "dropped")
        .snapshot(3)
        .bury("root-coord/collection/2", 8);
    for target in TARGETS.into_iter().filter(|target| layout(target).in_database) {
        let (done, plain) = (before.migrate_to(target), before.migrate());
        assert_eq!(
            [done.after.keys("root-coord/collection/"), done.after.keys("snapshots/root-coord/collection/")],
            [[""; 0]; 2]
        );
        for old in
            [plain.after.keys("root-coord/collection/"), plain.after.keys("snapshots/root-coord/collection/")].concat()
        {
            let new = old.replace("root-coord/collection/", "root-coord/database/collection-info/1/");
            let value = plain.after.value(&old);
            let db_id = if value == TOMBSTONE { &b""[..] } else { &b"\x78\x01"[..] };
            assert_eq!(done.after.value(&new), &[value, db_id].concat(), "{target}: {new}");
        }
        assert_eq!(done.after.keys("root-coord/database/collection-info/1/").len(), 2);
        assert_eq!(done.after.keys("snapshots/root-coord/database/collection-info/1/").len(), 4);
        // Partitions and fields have no database in their keys.
        for prefix in ["root-coord/partitions/", "root-coord/fields/", "snapshots/root-coord/fields/"] {
            assert_eq!(done.after.keys(prefix), plain.after.keys(prefix));
        }
    }
    let again = Cluster::new().collection(1, "c").edit(|info| info.db_id = 1).migrate_to("2.2.16");
    let record = again.after.value("root-coord/database/collection-info/1/1");
    assert_eq!(record.windows(2).filter(|bytes| bytes == b"\x78\x01").count(), 1, "one database only: {record:?}");
}

#[test]
fn a_schema_that_was_lost_is_taken_from_an_older_snapshot_where_that_is_asked_for() {
    let sound = Cluster::new().collection(1, "c").vector_index(500).snapshot(5).snapshot(7);
    let lost = sound.clone().put("root-coord/collection/1", stripped(1, "c"));
    let lost = lost.put("snapshots/root-coord/collection/1_ts9", stripped(1, "c"));
    let refused = lost.migrate_without_invalid();
    assert!(refused.problems()[0].1.contains("has lost its schema"), "{:?}", refused.problems());
    let options = Options { restore_schemas: true, ..Options::default() };
    let done = lost.remove("root-coord/index/1/500").migrate_with(&options);
    let [repair] = &done.report().repairs[..] else { panic!("{:?}", done.report().repairs) };
    assert_eq!((repair.kind, &*repair.key), (RepairKind::LostSchema, "root-coord/collection/1"));
    assert!(repair.what.contains("_ts7"), "{}", repair.what);
    for key in sound.migrate().after.keys("root-coord/fields/") {
        assert!(done.after.has(&key) && done.after.has(&format!("snapshots/{key}_ts9")), "{key}");
    }
    let gone = Cluster::new().put("root-coord/collection/1", stripped(1, "c")).put("root-coord/collection/2", "");
    let done = gone.convert("2.2.0", &options);
    assert!(done.problems()[0].1.contains("no snapshot has it"), "{:?}", done.problems());
}

#[test]
fn partitions_and_fields_get_snapshots_at_the_time_of_the_collections_newest() {
    let before = Cluster::new().collection(1, "c").snapshot(5).partition(11, "p").snapshot(18446744073709551615);
    let after = before.migrate().after;
    let mut expected = Vec::new();
    for key in ["fields/1/0", "fields/1/100", "fields/1/101", "fields/1/1", "partitions/1/10", "partitions/1/11"] {
        let snapshot = format!("snapshots/root-coord/{key}_ts18446744073709551615");
        assert_eq!(after.value(&snapshot), after.value(&format!("root-coord/{key}")));
        expected.push(snapshot);
    }
    assert_eq!(
        [after.keys("snapshots/root-coord/fields/"), after.keys("snapshots/root-coord/partitions/")].concat(),
        expected
    );
}

#[test]
fn the_newest_snapshot_is_stripped_and_older_ones_lose_their_field_indexes_alone() {
    let before = Cluster::new()
        .collection(1, "c")
        .snapshot(5)
        .vector_index(500)
        .partition(11, "p")
        .snapshot(9)
        .partition(12, "q")
        .snapshot(10);
    let after = before.migrate().after;
    let snapshot = |timestamp| format!("snapshots/root-coord/collection/1_ts{timestamp}");
    assert_eq!(after.value(&snapshot(5)), before.value(&snapshot(5)), "it had no field indexes");
    let bare = before.clone().edit(|info| {
        info.field_indexes.clear();
        info.partition_i_ds.pop();
        info.partition_names.pop();
        info.partition_created_timestamps.pop();
    });
    assert_eq!(after.value(&snapshot(9)), bare.value("root-coord/collection/1"));
    assert_eq!(after.value(&snapshot(10)), &stripped(1, "c"));
}

#[test]
fn timestamps_are_compared_as_numbers() {
    let after = Cluster::new().collection(1, "c").snapshot(9).snapshot(10).migrate().after;
    assert_eq!(after.value("snapshots/root-coord/collection/1_ts10"), &stripped(1, "c"));
    assert!(after.has("snapshots/root-coord/fields/1/0_ts10"));
}

#[test]
fn all_of_64_partitions_get_records() {
    let cluster = (1..64)
        .fold(Cluster::new().collection(1, "c"), |cluster, at| cluster.partition(1000 + at, &format!("p_ts{at}")));
    let done = cluster.snapshot(5).migrate();
    assert_eq!(done.after.keys("root-coord/partitions/1/").len(), 64);
    assert_eq!(done.after.keys("snapshots/root-coord/partitions/1/").len(), 64);
    for at in 1..64 {
        let record: PartitionInfo = done.after.get(&format!("root-coord/partitions/1/{}", 1000 + at));
        assert_eq!(record, partition(1, 1000 + at, &format!("p_ts{at}")));
    }
    assert_eq!(done.report().partitions(), 64);
}

#[test]
fn unknown_fields_of_collection_schema_and_field_survive_byte_for_byte() {
    let field =
        [&FieldSchema { field_id: 100, name: "pk".into(), ..FieldSchema::default() }.encode_to_vec(), UNKNOWN].concat();
    let schema = [UNKNOWN, &delimited(4, &field), b"\x0a\x01c", UNKNOWN].concat();
    let partitions = b"\x20\x0a\x2a\x01p\x48\x05"; // with the numbers not packed
    let value = [UNKNOWN, b"\x08\x01", &delimited(2, &schema), partitions, UNKNOWN].concat();
    let done = Cluster::new()
        .put("root-coord/collection/1", value.clone())
        .put("snapshots/root-coord/collection/1_ts4", [&value[..], b"\x32\x00"].concat())
        .put("snapshots/root-coord/collection/1_ts5", value.clone())
        .migrate();
    let bare = [UNKNOWN, b"\x08\x01", &delimited(2, &[UNKNOWN, b"\x0a\x01c", UNKNOWN].concat()), UNKNOWN].concat();
    assert_eq!(done.after.value("root-coord/collection/1"), &bare);
    assert_eq!(done.after.value("snapshots/root-coord/collection/1_ts5"), &bare);
    assert_eq!(done.after.value("snapshots/root-coord/collection/1_ts4"), &value);
    assert_eq!(done.after.value("root-coord/fields/1/100"), &field);
    assert_eq!(done.after.value("snapshots/root-coord/fields/1/100_ts5"), &field);
}

#[test]
fn a_schema_in_two_pieces_on_the_wire_loses_no_field() {
    let piece =
        |id| delimited(2, &delimited(4, &FieldSchema { field_id: id, ..FieldSchema::default() }.encode_to_vec()));
    let value = [b"\x08\x01", &piece(100)[..], b"\x22\x01\x0a\x2a\x01p\x4a\x01\x05", &piece(VECTOR)].concat();
    let after = Cluster::new().put("root-coord/collection/1", value).migrate().after;
    assert_eq!(after.keys("root-coord/fields/"), ["root-coord/fields/1/100", "root-coord/fields/1/101"]);
    assert_eq!(after.value("root-coord/collection/1"), &b"\x08\x01\x12\x00\x12\x00"[..]);
}

#[test]
fn the_field_with_id_0_which_is_absent_on_the_wire_gets_its_record() {
    let after = Cluster::new().collection(1, "c").migrate().after;
    let field: FieldSchema = after.get("root-coord/fields/1/0");
    assert_eq!((field.field_id, &*field.name), (0, "RowID"));
    assert!(!after.value("root-coord/fields/1/0").starts_with(b"\x08"), "a field ID on the wire that was not there");
}

#[test]
fn a_dropped_collection_stays_dropped_and_its_history_loses_field_indexes_alone() {
    let living = Cluster::new().collection(1, "c").snapshot(4).vector_index(500).partition(11, "p").snapshot(5);
    let done = living.clone().bury("root-coord/collection/1", 9).remove("root-coord/index/1/500").migrate();
    assert_eq!(done.after.value("root-coord/collection/1"), TOMBSTONE);
    assert_eq!(done.after.value("snapshots/root-coord/collection/1_ts9"), TOMBSTONE);
    let history = "snapshots/root-coord/collection/1_ts4";
    assert_eq!(done.after.value(history), living.value(history));
    let bare = living.edit(|info| info.field_indexes.clear());
    assert_eq!(done.after.value("snapshots/root-coord/collection/1_ts5"), bare.value("root-coord/collection/1"));
    assert_eq!(done.after.keys("").len(), 4, "no records of partitions or fields");
    assert!(done.report().collections.is_empty());
}

#[test]
fn a_collection_tombstone_without_a_snapshot_is_removed_because_newer_versions_cannot_load_it() {
    let done = Cluster::new().put("root-coord/collection/1", TOMBSTONE).collection(2, "c").migrate();
    assert!(!done.after.has("root-coord/collection/1"));
    assert_eq!(done.report().left_out[0].key, "root-coord/collection/1");
}

/// 2.2.3 to 2.4.13 build their catalog from snapshots alone: they would bring the collection back.
#[test]
fn snapshots_of_a_dropped_collection_without_a_tombstone_are_left_out_and_told() {
    let before = Cluster::new().collection(1, "c").vector_index(500).snapshot(5);
    let gone = before.put("root-coord/collection/1", TOMBSTONE).remove("root-coord/index/1/500");
    for target in TARGETS {
        let done = gone.migrate_to(target);
        assert_eq!(done.after.keys(""), [""; 0]);
        assert!(done.left_out("snapshots/root-coord/collection/1_ts5").contains("would bring it back"));
    }
}

/// 2.1 drops with tombstones: what lacks its record and has a living snapshot was lost, and nothing of it is the leftover of a drop.
#[test]
fn a_collection_that_lost_its_record_is_a_problem_and_so_is_what_hangs_on_it() {
    let before = Cluster::new().collection(1, "c").vector_index(500).snapshot(5);
    let lost = before.remove("root-coord/collection/1");
    for target in TARGETS {
        let done = lost.convert(target, &Options::default());
        let [record, index] = &done.conversion.problems[..] else { panic!("{:?}", done.conversion.problems) };
        assert_eq!(record.key, "root-coord/collection/1");
        assert!(record.what.contains("its newest snapshot (_ts5) (c) is alive"), "{record:?}");
        assert!(record.meaning.starts_with("the collection would be lost"), "{record:?}");
        assert_eq!(index.caused_by.as_deref(), Some("root-coord/collection/1"));
    }
}

#[test]
fn a_cluster_without_collections_has_nothing_to_write() {
    for cluster in [Cluster::new(), Cluster::new().put("session/id", "9").put("root-coord/credential/users/u", "x")] {
        let done = cluster.migrate();
        assert_eq!(done.after.differences(&cluster), [""; 0]);
        assert_eq!(done.after.tripwires(), [""; 0]);
    }
}

#[test]
fn a_collection_record_that_does_not_fit_is_a_problem_and_left_out() {
    type Edit = fn(&mut CollectionInfo);
    let cases: [(Edit, &str); 9] = [
        (|info| info.id = 2, "its ID is 2, but the key says 1"),
        (|info| _ = info.partition_names.pop(), "it has 2 partition IDs, 1 partition names and 2 partition timestamps"),
        (|info| _ = info.partition_i_ds.pop(), "it has 1 partition IDs, 2 partition names and 2 partition timestamps"),
        (|info| info.partition_created_timestamps.push(1), "it has 2 partition IDs, 2 partition names and 3 partition"),
        (|info| info.partition_i_ds[1] = 10, "a partition ID occurs twice"),
        (
            |info| {
                info.partition_i_ds.clear();
                info.partition_names.clear();
                info.partition_created_timestamps.clear();
            },
            "it has no partitions",
        ),
        (|info| info.schema.as_mut().unwrap().fields.clear(), "its schema has no fields"),
        (|info| info.schema.as_mut().unwrap().fields[1].field_id = 0, "a field ID occurs twice"),
        (|info| info.schema = None, "its schema has no fields"),
    ];
    for (edit, what) in cases {
        let cluster = Cluster::new().collection(1, "c").partition(11, "p").collection(2, "sound").again(1);
        let done = cluster.edit(edit).migrate_without_invalid();
        assert!(done.only_problem("root-coord/collection/1").starts_with(what), "{:?}", done.problems());
        assert_eq!(done.after.keys("root-coord/collection/"), ["root-coord/collection/2"]);
        assert!(done.after.keys("root-coord/fields/").iter().all(|key| key.starts_with("root-coord/fields/2/")));
        assert_eq!(done.after.keys("root-coord/partitions/"), ["root-coord/partitions/2/20"]);
    }
}

#[test]
fn a_live_collection_whose_newest_snapshot_says_dropped_is_a_problem() {
    let cluster = Cluster::new().collection(1, "c").snapshot(5).put("snapshots/root-coord/collection/1_ts9", TOMBSTONE);
    let done = cluster.migrate_without_invalid();
    assert!(
        done.only_problem("root-coord/collection/1").contains("its newest snapshot (_ts9) says that it was dropped")
    );
    assert!(!done.after.has("root-coord/collection/1"));
}

#[test]
fn of_snapshots_that_do_not_fit_only_those_are_left_out_and_the_newest_sound_one_counts() {
    let other = CollectionInfo { id: 2, ..CollectionInfo::default() }.encode_to_vec();
    for (broken, newest) in [(5, 9), (9, 5)] {
        let broken = format!("snapshots/root-coord/collection/1_ts{broken}");
        let newest = format!("snapshots/root-coord/collection/1_ts{newest}");
        for value in [GARBAGE.to_vec(), other.clone()] {
            let cluster = Cluster::new().collection(1, "c").snapshot(5).snapshot(9).put(&broken, value);
            let done = cluster.migrate_without_invalid();
            done.only_problem(&broken);
            assert_eq!(done.after.keys("snapshots/root-coord/collection/"), [&*newest]);
            assert_eq!(done.after.value(&newest), &stripped(1, "c"));
            assert_eq!(done.after.keys("snapshots/root-coord/fields/").len(), 4);
        }
    }
}

#[test]
fn the_report_tells_what_becomes_of_each_collection() {
    let cluster = Cluster::new().collection(2, "two").collection(1, "one").partition(11, "p").field(102, "x", FLOAT);
    let done = cluster.vector_index(500).segment_index(500, 9, 800).migrate();
    let report = done.report();
    let told: Vec<_> =
        report.collections.values().map(|one| (one.id, &*one.name, one.partitions.len(), one.fields)).collect();
    assert_eq!(told, [(1, "one", 2, 5), (2, "two", 1, 4)]);
    assert_eq!((report.indexes(), report.collections[&1].segment_indexes), (1, 1));
}

/// Not what Milvus writes; but whatever is there, a killed run must end as an undisturbed one.
#[test]
fn a_newest_snapshot_with_another_name_gets_that_of_the_record_and_a_second_run_changes_nothing() {
    let newest = "snapshots/root-coord/collection/1_ts5";
    let rename = |info: &mut CollectionInfo| info.schema.as_mut().unwrap().name = "d".into();
    let done = Cluster::new().collection(1, "c").snapshot(5).alter(newest, rename).migrate();
    assert_eq!(done.after.get::<CollectionInfo>(newest).schema.unwrap().name, "c");
}
