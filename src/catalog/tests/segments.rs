//! Segments and the lists of their files (docs/layouts.md, rule 7).

use prost::Message;

use super::cluster::{Cluster, FLOAT_VECTOR, Migrated, TARGETS, pairs};
use super::{files, position};
use crate::layout::messages::common::{Binlog, FieldBinlog, SegmentInfo, SegmentState};
use crate::layout::wire;

const KEY: &str = "datacoord-meta/s/1/10/9";

/// A collection with segment 9.
fn with(change: impl FnOnce(&mut SegmentInfo)) -> Cluster {
    Cluster::new().collection(1, "c").channel("dml_0", b"01234567").segment(9, change)
}

fn logs(done: &Migrated, kind: &str, field: i64) -> FieldBinlog {
    done.after.get(&format!("datacoord-meta/{kind}/1/10/9/{field}"))
}

fn log_keys(done: &Migrated) -> Vec<String> {
    ["binlog", "deltalog", "statslog"].map(|kind| done.after.keys(&format!("datacoord-meta/{kind}/"))).concat()
}

/// A log as newer versions note it.
fn log(log_id: i64, entries_num: i64) -> Binlog {
    Binlog {
        entries_num,
        timestamp_from: 3,
        timestamp_to: 4,
        log_path: String::new(),
        log_size: entries_num * 100,
        log_id,
    }
}

/// Four binlogs of fields 0 and 100, one statslog for all of them.
fn one_statslog(info: &mut SegmentInfo) {
    info.num_of_rows = 100;
    let four = [(41, 10), (42, 20), (43, 30), (44, 40)];
    info.binlogs = vec![files("insert_log", 100, &four), files("insert_log", 0, &four)];
    info.statslogs = vec![files("stats_log", 100, &[(51, 100)])];
}

#[test]
fn the_lists_become_a_key_per_kind_and_field_and_all_else_stays_byte_for_byte() {
    for target in TARGETS {
        for state in 0..=7 {
            let bare = |info: &mut SegmentInfo| {
                info.num_of_rows = 30;
                info.state = state;
                info.max_row_num = 99;
                info.start_position = position("dml_0_1v0", b"abcdefgh", 5);
                info.compaction_from = vec![7, 8];
                info.created_by_compaction = true;
                info.dropped_at = 12;
            };
            let done = with(|info| {
                bare(info);
                info.binlogs = vec![
                    files("insert_log", 100, &[(41, 10), (42, 20)]),
                    files("insert_log", 0, &[(43, 10), (44, 20)]),
                ];
                info.statslogs = vec![files("stats_log", 100, &[(45, 10), (46, 20)])];
                info.deltalogs = vec![files("delta_log", 0, &[(47, 2)])];
            })
            .migrate_to(target);
            assert_eq!(done.after.value(KEY), with(bare).value(KEY), "{target}");
            let expected = |field_id, binlogs: &[Binlog]| FieldBinlog { field_id, binlogs: binlogs.to_vec() };
            assert_eq!(logs(&done, "binlog", 0), expected(0, &[log(43, 10), log(44, 20)]));
            assert_eq!(logs(&done, "binlog", 100), expected(100, &[log(41, 10), log(42, 20)]));
            assert_eq!(logs(&done, "statslog", 100), expected(100, &[log(45, 10), log(46, 20)]));
            assert_eq!(logs(&done, "deltalog", 0), expected(0, &[log(47, 2)]));
            assert_eq!(log_keys(&done).len(), 4);
            let told = &done.report().segments;
            assert_eq!(
                (told.moved, told.log_keys, told.padded, told.rows_known, told.rows_shared.len()),
                (1, 4, 0, 0, 0)
            );
        }
    }
}

#[test]
fn lists_of_one_field_are_merged_in_order() {
    let done = with(|info| {
        info.binlogs = vec![
            files("insert_log", 100, &[(41, 10)]),
            files("insert_log", 0, &[(43, 10)]),
            files("insert_log", 100, &[(42, 20), (40, 5)]),
        ];
    })
    .migrate();
    assert_eq!(logs(&done, "binlog", 100).binlogs, [log(41, 10), log(42, 20), log(40, 5)]);
    assert_eq!(done.report().segments.log_keys, 2);
}

#[test]
fn a_list_without_any_file_is_no_key() {
    let done = with(|info| {
        info.binlogs = vec![files("insert_log", 100, &[(41, 10)])];
        info.deltalogs = vec![files("delta_log", 0, &[]), files("delta_log", 100, &[])];
    })
    .migrate();
    assert_eq!(log_keys(&done), ["datacoord-meta/binlog/1/10/9/100"]);
    assert_eq!(done.after.get::<SegmentInfo>(KEY).deltalogs, []);
    assert_eq!(done.report().segments.log_keys, 1);
}

#[test]
fn a_record_without_lists_stays_as_it_is() {
    let before = with(|info| info.num_of_rows = 5);
    let done = before.migrate();
    assert_eq!((done.after.value(KEY), done.report().segments.moved), (before.value(KEY), 0));
}

#[test]
fn fields_that_the_tool_does_not_know_survive_in_record_list_and_log() {
    const UNKNOWN: &[u8] = b"\xa0\x1f\x05\xb2\x1f\x02\xff\xfe";
    let delimited = |number: u8, payload: &[u8]| [&[number << 3 | 2, payload.len() as u8], payload].concat();
    let log = [UNKNOWN, b"\x22\x17insert_log/1/10/9/100/5\x08\x07", UNKNOWN].concat();
    let list = [b"\x08\x64", UNKNOWN, &delimited(2, &log)].concat();
    let record = [with(|_| ()).value(KEY), UNKNOWN, &delimited(11, &list), UNKNOWN].concat();
    let done = with(|_| ()).put(KEY, record).migrate();
    assert_eq!(done.after.value(KEY), &[with(|_| ()).value(KEY), UNKNOWN, UNKNOWN].concat());
    let value = done.after.value("datacoord-meta/binlog/1/10/9/100");
    let unknown = value.windows(UNKNOWN.len()).filter(|bytes| *bytes == UNKNOWN).count();
    assert_eq!(unknown, 3, "{value:?}");
    assert_eq!(
        (logs(&done, "binlog", 100).binlogs[0].log_id, logs(&done, "binlog", 100).binlogs[0].entries_num),
        (5, 7)
    );
}

#[test]
fn zero_is_not_on_the_wire_and_the_size_in_memory_is_left_to_the_loaders() {
    let done = with(|info| info.deltalogs = vec![files("delta_log", 0, &[(47, 0)])]).migrate();
    let value = done.after.value("datacoord-meta/deltalog/1/10/9/0");
    assert_eq!(wire::fields(value).unwrap().iter().map(|field| field.number).collect::<Vec<_>>(), [2]);
    let log = wire::last_payload(value, 2).unwrap();
    assert_eq!(wire::fields(log).unwrap().iter().map(|field| field.number).collect::<Vec<_>>(), [2, 3, 6]);
}

#[test]
fn a_file_whose_path_does_not_end_in_a_number_is_a_problem_and_the_segment_is_left_out() {
    for path in ["", "files/insert_log/1/10/9/100/x", "files/41/", "files/-41", "files/0", "99999999999999999999"] {
        let done = with(|info| {
            info.binlogs = vec![files("insert_log", 100, &[(41, 10)])];
            info.binlogs[0].binlogs[0].log_path = path.into();
        })
        .migrate_without_invalid();
        assert!(done.only_problem(KEY).contains("does not end in a number"), "{:?}", done.problems());
        assert_eq!((done.after.has(KEY), log_keys(&done)), (false, vec![]));
    }
}

#[test]
fn a_file_that_is_not_where_newer_versions_look_is_a_problem_and_the_segment_is_left_out() {
    let place = "insert_log/1/10/9/100/41";
    let others = [
        "41",
        "files/insert_log/2/10/9/100/41",
        "files/insert_log/1/10/9/101/41",
        "files/insert_log/1/10/9/41",
        "files/stats_log/1/10/9/100/41",
        "files/my_insert_log/1/10/9/100/41",
    ];
    let at = |path: &str| {
        with(|info| {
            info.binlogs = vec![files("insert_log", 100, &[(41, 10)])];
            info.binlogs[0].binlogs[0].log_path = path.into();
        })
    };
    for path in others {
        let done = at(path).migrate_without_invalid();
        assert!(done.only_problem(KEY).contains("is not where newer versions look for it"), "{:?}", done.problems());
        assert_eq!((done.after.has(KEY), log_keys(&done)), (false, vec![]), "{path}");
    }
    // Whatever the root path of the object storage is.
    for root in ["", "files/", "/var/lib/milvus/data/"] {
        assert_eq!(logs(&at(&format!("{root}{place}")).migrate(), "binlog", 100).binlogs[0].log_id, 41);
    }
    let field = with(|info| {
        info.deltalogs = vec![files("delta_log", 0, &[(46, 2)])];
        info.deltalogs[0].binlogs[0].log_path = "files/delta_log/1/10/9/0/46".into();
    });
    assert!(field.migrate_without_invalid().only_problem(KEY).contains("…/delta_log/1/10/9/46"));
}

#[test]
fn a_record_that_does_not_fit_its_key_is_a_problem_and_left_out() {
    type Edit = fn(&mut SegmentInfo);
    let edits: [(Edit, &str); 3] = [
        (|info| info.id = 7, "its ID is 7, but the key says 9"),
        (|info| info.collection_id = 7, "its collectionID is 7, but the key says 1"),
        (|info| info.partition_id = 7, "its partitionID is 7, but the key says 10"),
    ];
    for (edit, what) in edits {
        let done = with(one_statslog).alter(KEY, edit).migrate_without_invalid();
        assert_eq!(done.only_problem(KEY), what);
        assert_eq!((done.after.has(KEY), log_keys(&done)), (false, vec![]));
    }
}

/// 2.2.3 to 2.2.16 refuse to save a segment whose numbers differ, 2.3 one that no compaction made.
#[test]
fn the_last_statslog_is_repeated_for_the_targets_that_count() {
    let grown = with(one_statslog);
    let compacted = grown.clone().alter(KEY, |info: &mut SegmentInfo| info.compaction_from = vec![3]);
    for (target, of_grown, of_compacted) in [
        ("2.2.0", 1, 1),
        ("2.2.2", 1, 1),
        ("2.2.3", 4, 4),
        ("2.2.8", 4, 4),
        ("2.2.9", 4, 4),
        ("2.2.16", 4, 4),
        ("2.3.0", 4, 1),
        ("2.3.5", 4, 1),
        ("2.3.22", 4, 1),
        ("2.4.0", 1, 1),
        ("2.4.4", 1, 1),
        ("2.4.23", 1, 1),
    ] {
        for (cluster, number) in [(&grown, of_grown), (&compacted, of_compacted)] {
            let done = cluster.migrate_to(target);
            assert_eq!(logs(&done, "statslog", 100).binlogs, vec![log(51, 100); number], "{target}");
            assert_eq!(logs(&done, "binlog", 100).binlogs.len(), 4);
            let told = &done.report().segments;
            let repeated = number as i64 - 1;
            assert_eq!((told.padded, told.padded_bytes), (u64::from(number > 1), repeated * 10_000), "{target}");
        }
    }
}

#[test]
fn of_several_statslogs_the_last_one_is_repeated_and_none_is_taken_away() {
    let cluster = with(|info| {
        one_statslog(info);
        info.statslogs = vec![files("stats_log", 100, &[(51, 60), (52, 40)])];
    });
    let done = cluster.migrate_to("2.2.16");
    assert_eq!(logs(&done, "statslog", 100).binlogs, [log(51, 60), log(52, 40), log(52, 40), log(52, 40)]);
    let more = with(|info| {
        info.binlogs = vec![files("insert_log", 100, &[(41, 10)])];
        info.statslogs = vec![files("stats_log", 100, &[(51, 60), (52, 40)])];
    });
    let done = more.migrate_to("2.2.16");
    assert_eq!((logs(&done, "statslog", 100).binlogs.len(), done.report().segments.padded), (2, 0));
}

/// An embedded list without files becomes no key, so the next field is the first one that the target sees.
#[test]
fn a_list_without_files_is_not_the_first_field() {
    let cluster = with(|info| {
        one_statslog(info);
        info.binlogs[1].binlogs.clear();
    });
    assert_eq!(logs(&cluster.migrate_to("2.2.16"), "statslog", 100).binlogs.len(), 4);
}

#[test]
fn a_segment_without_statslogs_gets_none_and_is_told_where_the_target_minds() {
    for (target, minds) in [("2.2.0", false), ("2.2.16", true), ("2.3.5", true), ("2.4.23", false)] {
        let lacking = with(|info| {
            one_statslog(info);
            info.statslogs.clear();
            info.compaction_from = vec![3];
        });
        let done = lacking.migrate_to(target);
        assert_eq!((done.after.keys("datacoord-meta/statslog/"), done.report().segments.padded), (vec![], 0));
        assert_eq!(done.report().segments.without_statslogs, if minds { vec![9] } else { vec![] }, "{target}");
        let dropped = lacking.alter(KEY, |info: &mut SegmentInfo| info.state = SegmentState::SegmentDropped as i32);
        assert_eq!(dropped.migrate_to(target).report().segments.without_statslogs, [0; 0]);
    }
    let reverse = with(|info| {
        one_statslog(info);
        info.binlogs.clear();
    });
    assert_eq!(reverse.migrate_to("2.2.16").report().segments.without_statslogs, [9]);
}

/// Segment 9 as compaction of 2.1 leaves it: files of these sizes without numbers of rows.
fn compacted(rows: i64, sizes: &[i64]) -> impl FnOnce(&mut SegmentInfo) {
    let logs: Vec<_> = (41..).zip(sizes).map(|(id, _)| (id, 0)).collect();
    let mut list = files("insert_log", 100, &logs);
    list.binlogs.iter_mut().zip(sizes).for_each(|(log, size)| log.log_size = *size);
    move |info| {
        info.num_of_rows = rows;
        info.compaction_from = vec![3];
        info.binlogs = vec![list];
    }
}

fn rows(done: &Migrated) -> Vec<i64> {
    logs(done, "binlog", 100).binlogs.iter().map(|log| log.entries_num).collect()
}

#[test]
fn the_only_binlog_of_a_field_takes_all_rows() {
    for target in TARGETS {
        let done = with(compacted(2010, &[7])).migrate_to(target);
        assert_eq!(rows(&done), [2010]);
        assert_eq!((done.report().segments.rows_known, done.report().segments.rows_shared.len()), (1, 0));
    }
}

/// What a real 2.1.0 wrote: 12,000 rows of dimension 1024 in three files.
#[test]
fn where_the_number_of_binlogs_is_that_of_2_1s_compaction_its_cuts_are_taken() {
    let cluster = with(compacted(12_000, &[1, 1, 1]));
    let dimension = |dim: &str| {
        let field = |info: &mut crate::layout::messages::common::CollectionInfo| {
            info.schema.as_mut().unwrap().fields.last_mut().unwrap().type_params = pairs(&[("dim", dim)]);
        };
        cluster.clone().edit(field).migrate()
    };
    let done = dimension("1024");
    assert_eq!(rows(&done), [4096, 4096, 3808]);
    assert_eq!((done.report().segments.rows_known, done.report().segments.rows_shared.len()), (1, 0));
    for other in ["1023", "512", "0", "-4", "x", "9223372036854775807"] {
        if other == "1023" {
            assert_eq!(rows(&dimension(other)), [4100, 4100, 3800]);
            continue;
        }
        let done = dimension(other);
        assert_eq!(rows(&done), [4000, 4000, 4000], "{other}");
        assert_eq!(done.report().segments.rows_shared, [9]);
    }
    // The last vector field counts.
    let two = cluster
        .edit(|info| info.schema.as_mut().unwrap().fields.last_mut().unwrap().type_params = pairs(&[("dim", "8")]));
    let two = two.field(103, "second", FLOAT_VECTOR).edit(|info| {
        info.schema.as_mut().unwrap().fields.last_mut().unwrap().type_params = pairs(&[("dim", "1024")]);
    });
    assert_eq!(rows(&two.migrate()), [4096, 4096, 3808]);
}

#[test]
fn elsewhere_rows_are_shared_out_by_size_and_the_segment_is_told() {
    for (sizes, number, expected) in [
        (&[1000, 2000, 3000, 4000][..], 2010, &[201, 402, 603, 804][..]),
        (&[1, 1, 1_000_000], 10, &[1, 1, 8]),
        (&[0, 0], 3, &[2, 1]),
        // One each at least: a file without any makes the number of the whole segment unknown.
        (&[5, 5, 5], 2, &[1, 1, 1]),
    ] {
        let done = with(compacted(number, sizes)).migrate();
        assert_eq!(rows(&done), expected);
        assert_eq!((done.report().segments.rows_known, &done.report().segments.rows_shared[..]), (0, &[9][..]));
    }
}

#[test]
fn files_without_numbers_of_rows_share_what_the_others_leave() {
    for (noted, number, expected) in [
        (&[0, 1010][..], 2010, &[1000, 1010][..]),
        (&[0, 7, 0], 27, &[10, 7, 10]),
        (&[-1, 5], 6, &[1, 5]),
        // What is noted makes up all: newer versions take the sum for the number of rows, so it is shared anew.
        (&[0, 2010], 2010, &[1005, 1005]),
    ] {
        let done = with(|info| {
            compacted(number, &vec![1; noted.len()])(info);
            info.binlogs[0].binlogs.iter_mut().zip(noted).for_each(|(log, noted)| log.entries_num = *noted);
        });
        let done = done.migrate();
        assert_eq!(rows(&done), expected, "{noted:?}");
        assert_eq!(rows(&done).iter().sum::<i64>(), number, "{noted:?}");
        assert_eq!((done.report().segments.rows_known, &done.report().segments.rows_shared[..]), (0, &[9][..]));
    }
}

#[test]
fn numbers_of_rows_that_2_1_noted_stay() {
    let done = with(one_statslog).migrate();
    assert_eq!(rows(&done), [10, 20, 30, 40]);
    // A segment without rows has none to share out.
    let none = with(compacted(0, &[1, 1])).migrate();
    assert_eq!((rows(&none), none.report().segments.rows_shared.len()), (vec![0, 0], 0));
}

#[test]
fn rows_of_statslogs_and_deltalogs_are_left_alone() {
    let done = with(|info| {
        compacted(2010, &[7])(info);
        info.statslogs = vec![files("stats_log", 100, &[(51, 0)])];
        info.deltalogs = vec![files("delta_log", 0, &[(52, 0)])];
    })
    .migrate();
    assert_eq!(logs(&done, "statslog", 100).binlogs[0].entries_num, 0);
    assert_eq!(logs(&done, "deltalog", 0).binlogs[0].entries_num, 0);
}

/// As a newer Milvus keeps it: with an ID in the stead of a path.
#[test]
fn lists_that_a_newer_milvus_embedded_are_taken_by_their_ids() {
    let done = with(|info| info.binlogs = vec![FieldBinlog { field_id: 100, binlogs: vec![log(41, 10)] }]).migrate();
    assert_eq!(logs(&done, "binlog", 100).binlogs, [log(41, 10)]);
}

#[test]
fn segments_of_collections_that_are_gone_are_converted_like_the_others() {
    let cluster = with(one_statslog).snapshot(3).bury("root-coord/collection/1", 9);
    let dropped = cluster.alter(KEY, |info: &mut SegmentInfo| info.state = SegmentState::SegmentDropped as i32);
    let done = dropped.migrate_to("2.3.5");
    assert_eq!(log_keys(&done).len(), 3);
    assert!(done.after.get::<SegmentInfo>(KEY).encoded_len() > 0);
}
