//! Segment indexes (docs/layouts.md, rule 4).

use super::cluster::{
    BINARY_VECTOR, BOOL, Cluster, DOUBLE, FLOAT, FLOAT_VECTOR, GARBAGE, INT8, INT16, INT32, INT64, Migrated, VECTOR,
};
use crate::catalog::Options;
use crate::catalog::report::RepairKind;
use crate::layout::TOMBSTONE;
use crate::layout::messages::common::IndexState;
use crate::layout::messages::source::{IndexInfo, IndexMeta, SegmentIndexInfo};
use crate::layout::messages::target::SegmentIndex;

const SORT: &[(&str, &str)] = &[("index_type", "STL_SORT")];

fn indexed() -> Cluster {
    Cluster::new().collection(1, "c").vector_index(500)
}

/// The segment index that `indexed().segment_index(500, 9, 800)` becomes.
fn finished() -> SegmentIndex {
    SegmentIndex {
        collection_id: 1,
        partition_id: 10,
        segment_id: 9,
        num_rows: 3000,
        index_id: 500,
        build_id: 800,
        node_id: 7,
        index_version: 2,
        state: IndexState::Finished as i32,
        fail_reason: String::new(),
        index_file_keys: vec!["IVF".into(), "SLICE_META".into()],
        deleted: false,
        create_time: 7009,
        serialize_size: 4096,
        write_handoff: true,
    }
}

/// A segment index that the target builds anew.
fn handed_over() -> SegmentIndex {
    SegmentIndex {
        state: IndexState::Unissued as i32,
        index_version: 1,
        index_file_keys: vec![],
        serialize_size: 0,
        node_id: 0,
        write_handoff: false,
        ..finished()
    }
}

/// The build IDs given to segments without a build, by segment index record.
fn own_ids(done: &Migrated) -> Vec<String> {
    let records = done.after.keys("segment-index/").into_iter();
    records.filter(|key| done.after.get::<SegmentIndex>(key).index_version == 1).collect()
}

/// The one segment index of `indexed().segment_index(500, 9, 800)` with its build changed.
fn with_build(change: impl FnOnce(&mut IndexMeta)) -> SegmentIndex {
    let cluster = indexed().segment_index(500, 9, 800).alter("indexes/800", change);
    cluster.migrate().after.get("segment-index/1/10/9/800")
}

#[test]
fn a_segment_index_is_joined_with_its_build() {
    let done = indexed().segment_index(500, 9, 800).migrate();
    assert_eq!(done.after.get::<SegmentIndex>("segment-index/1/10/9/800"), finished());
    assert_eq!([done.after.keys("root-coord/segment-index/"), done.after.keys("indexes/")], [[""; 0]; 2]);
    assert_eq!(done.report().segment_indexes, [("finished".to_owned(), 1)].into());
}

#[test]
fn states_that_are_not_finished_are_carried_without_a_handoff() {
    for state in [IndexState::None, IndexState::Unissued, IndexState::InProgress, IndexState::Failed].map(i32::from) {
        let record = with_build(|meta| {
            meta.state = state;
            meta.fail_reason = "out of memory".into();
            meta.index_file_paths.clear();
        });
        let fail_reason = "out of memory".into();
        assert_eq!(
            record,
            SegmentIndex { state, fail_reason, index_file_keys: vec![], write_handoff: false, ..finished() }
        );
    }
}

#[test]
fn a_build_marked_deleted_gives_a_deleted_segment_index() {
    assert_eq!(with_build(|meta| meta.mark_deleted = true), SegmentIndex { deleted: true, ..finished() });
}

#[test]
fn a_build_without_files_or_with_any_root_before_them_is_fine() {
    assert_eq!(with_build(|meta| meta.index_file_paths.clear()).index_file_keys, [""; 0]);
    for root in ["", "/", "a/b/c/", "index_files/1/2/3/4/"] {
        let record = with_build(|meta| meta.index_file_paths = vec![format!("{root}index_files/800/2/10/9/x_ts1")]);
        assert_eq!(record.index_file_keys, ["x_ts1"]);
    }
}

#[test]
fn a_file_that_is_not_where_newer_versions_look_for_it_is_a_problem_of_the_build_record() {
    for path in [
        "files/index_files/801/2/10/9/IVF",
        "files/index_files/800/1/10/9/IVF",
        "files/index_files/800/2/11/9/IVF",
        "files/index_files/800/2/10/8/IVF",
        "files/indexes/800/2/10/9/IVF",
        "files/index_files/800/2/10/9/IVF/part",
        "files/index_files/800/2/10/9/",
        "800/2/10/9/IVF",
        "IVF",
        "",
    ] {
        for before in [true, false] {
            let misplace = |meta: &mut IndexMeta| {
                let at = if before { 0 } else { meta.index_file_paths.len() };
                meta.index_file_paths.insert(at, path.into());
            };
            let cluster = indexed().segment_index(500, 9, 800).segment_index(500, 5, 801);
            let done = cluster.alter("indexes/800", misplace).migrate_without_invalid();
            let [build, segment] = done.problems()[..] else { panic!("{:?}", done.problems()) };
            assert_eq!((build.0, build.2), ("indexes/800", None));
            assert!(
                build.1.contains("is not at index_files/800/2/10/9/<file>, where newer versions look"),
                "{build:?}"
            );
            assert_eq!((segment.0, segment.2), ("root-coord/segment-index/1/500/10/9", Some("indexes/800")));
            assert_eq!(done.after.keys("segment-index/"), ["segment-index/1/10/5/801"]);
        }
    }
}

#[test]
fn misplaced_files_do_not_matter_where_they_are_built_anew() {
    let misplace = |meta: &mut IndexMeta| meta.index_file_paths = vec!["elsewhere/IVF".into()];
    let cluster = indexed().segment_index(500, 9, 800).alter("indexes/800", misplace);
    let options = Options { rebuild_index: vec!["ivf_flat".into()], ..Options::default() };
    let done = cluster.migrate_with(&options);
    assert_eq!(done.after.get::<SegmentIndex>("segment-index/1/10/9/800"), handed_over());
}

#[test]
fn a_segment_below_the_threshold_is_finished_without_files_with_its_rows_and_a_build_id_of_its_own() {
    let done = indexed().segment_index(500, 8, 800).buildless(500, 9, 250).migrate();
    let expected = SegmentIndex {
        num_rows: 250,
        build_id: 799,
        node_id: 0,
        index_version: 1,
        index_file_keys: vec![],
        serialize_size: 0,
        ..finished()
    };
    assert_eq!(done.after.get::<SegmentIndex>("segment-index/1/10/9/799"), expected);
    assert!(expected.write_handoff && expected.state == IndexState::Finished as i32);
    let [repair] = &done.report().repairs[..] else { panic!("{:?}", done.report().repairs) };
    assert_eq!((repair.kind, &*repair.key), (RepairKind::BuildId, "root-coord/segment-index/1/500/10/9"));
}

#[test]
fn two_indexes_without_build_on_one_segment_do_not_share_a_key() {
    let cluster = indexed().field(102, "x", INT64).index(501, 102, "i", SORT);
    let done = cluster.buildless(501, 9, 250).buildless(500, 9, 250).migrate();
    assert_eq!(done.after.keys("segment-index/"), ["segment-index/1/10/9/1", "segment-index/1/10/9/2"]);
    assert_eq!(
        [1, 2].map(|id| done.after.get::<SegmentIndex>(&format!("segment-index/1/10/9/{id}")).index_id),
        [500, 501]
    );
}

#[test]
fn own_build_ids_count_down_in_order_of_collection_segment_and_index() {
    let done = Cluster::new()
        .collection(2, "d")
        .vector_index(400)
        .buildless(400, 1, 1)
        .collection(1, "c")
        .vector_index(500)
        .field(102, "x", INT64)
        .index(501, 102, "i", SORT)
        .buildless(501, 9, 1)
        .buildless(500, 10, 1)
        .buildless(500, 9, 1)
        .segment_index(500, 7, 800)
        .migrate();
    let ids = |key: &str| done.after.get::<SegmentIndex>(key).index_id;
    assert_eq!(ids("segment-index/1/10/9/799"), 500);
    assert_eq!(ids("segment-index/1/10/9/798"), 501);
    assert_eq!(ids("segment-index/1/10/10/797"), 500);
    assert_eq!(ids("segment-index/2/20/1/796"), 400);
}

#[test]
fn where_no_build_id_is_in_use_own_ones_go_from_1_up() {
    let done = indexed().buildless(500, 7, 1).buildless(500, 8, 1).buildless(500, 9, 1).migrate();
    assert_eq!(own_ids(&done), ["segment-index/1/10/7/1", "segment-index/1/10/8/2", "segment-index/1/10/9/3"]);
}

#[test]
fn own_build_ids_stay_positive_and_distinct_where_there_is_no_room_below() {
    let cluster = indexed().segment_index(500, 5, 3).segment_index(500, 6, 900);
    let done = cluster.buildless(500, 7, 1).buildless(500, 8, 1).buildless(500, 9, 1).migrate();
    assert_eq!(own_ids(&done), ["segment-index/1/10/7/2", "segment-index/1/10/8/1", "segment-index/1/10/9/901"]);
}

#[test]
fn build_ids_count_as_in_use_wherever_they_stand() {
    let orphan = indexed().buildless(500, 9, 1).message("indexes/300", &build(300));
    let broken = indexed().buildless(500, 9, 1).put("indexes/300", GARBAGE);
    let tombstoned = orphan.clone().put("root-coord/segment-index/1/500/10/8", TOMBSTONE);
    let missing = indexed().buildless(500, 9, 1).segment_index(500, 8, 300).remove("indexes/300");
    for cluster in [orphan, broken, tombstoned, missing] {
        let done = cluster.convert("2.2.0", &Options::default());
        assert_eq!(own_ids(&done), ["segment-index/1/10/9/299"]);
    }
}

#[test]
fn a_build_that_no_segment_index_uses_is_left_out_and_told() {
    let dropped = IndexMeta { mark_deleted: true, ..build(301) };
    let done = indexed().message("indexes/300", &build(300)).message("indexes/301", &dropped).migrate();
    let left_out: Vec<_> = done.report().left_out.iter().map(|one| (&*one.key, &*one.why)).collect();
    let why = "a build record that no segment index uses; newer versions of Milvus remove its files";
    assert_eq!(left_out, [("indexes/300", why), ("indexes/301", "the build record of a dropped index")]);
    assert_eq!([done.after.keys("indexes/"), done.after.keys("segment-index/")], [[""; 0]; 2]);
}

#[test]
fn a_segment_that_no_longer_exists_has_0_rows_and_a_warning() {
    let cluster = indexed().buildless(500, 9, 250).remove("datacoord-meta/s/1/10/9");
    let done = cluster.migrate();
    assert_eq!(done.after.get::<SegmentIndex>("segment-index/1/10/9/1").num_rows, 0);
    let warnings = &done.report().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("segment 9 no longer exists"), "{warnings:?}");
}

#[test]
fn a_segment_record_that_does_not_decode_takes_its_index_along_where_its_rows_are_needed() {
    let broken = indexed().buildless(500, 9, 250).put("datacoord-meta/s/1/10/9", GARBAGE);
    let done = broken.migrate_without_invalid();
    let [segment, index] = done.problems()[..] else { panic!("{:?}", done.problems()) };
    assert_eq!((segment.0, segment.2), ("datacoord-meta/s/1/10/9", None));
    assert_eq!((index.0, index.2), ("root-coord/segment-index/1/500/10/9", Some("datacoord-meta/s/1/10/9")));
    assert_eq!(done.after.keys("segment-index/"), [""; 0]);
    let built = indexed().segment_index(500, 9, 800).put("datacoord-meta/s/1/10/9", GARBAGE).migrate_without_invalid();
    built.only_problem("datacoord-meta/s/1/10/9");
    assert_eq!(built.after.keys("segment-index/"), ["segment-index/1/10/9/800"]);
}

#[test]
fn indexes_whose_files_are_misread_are_handed_over_for_a_rebuild() {
    let sorted = [BOOL, INT8, INT16, INT32, FLOAT].map(|data_type| (data_type, "STL_SORT"));
    let vectors = [(FLOAT_VECTOR, "FLAT"), (BINARY_VECTOR, "BIN_FLAT"), (BINARY_VECTOR, "BIN_IVF_FLAT")];
    for (data_type, kind) in sorted.into_iter().chain(vectors) {
        let metric = if kind == "BIN_IVF_FLAT" { "TANIMOTO" } else { "JACCARD" };
        let params = [("index_type", kind), ("metric_type", metric)];
        let cluster = Cluster::new().collection(1, "c").field(102, "price", data_type).index(500, 102, "i", &params);
        let done = cluster.segment_index(500, 9, 800).segment_index(500, 8, 801).migrate();
        assert_eq!(done.after.get::<SegmentIndex>("segment-index/1/10/9/800"), handed_over());
        let [rebuilt] = &done.report().rebuilt[..] else { panic!("{:?}", done.report().rebuilt) };
        assert_eq!((&*rebuilt.collection, &*rebuilt.field, &*rebuilt.index), ("c", "price", "i"));
        assert_eq!((&*rebuilt.kind, &rebuilt.segments[..]), (kind, &[8, 9][..]));
    }
}

#[test]
fn other_indexes_keep_their_files() {
    let flat = &[("index_type", "BIN_IVF_FLAT"), ("metric_type", "JACCARD")];
    let other = &[("index_type", "OTHER")];
    for (data_type, params) in
        [(INT64, SORT), (DOUBLE, SORT), (BINARY_VECTOR, flat), (FLOAT, other), (FLOAT, &[])] as [(i32, &[_]); 5]
    {
        let cluster = Cluster::new().collection(1, "c").field(102, "price", data_type).index(500, 102, "i", params);
        let done = cluster.segment_index(500, 9, 800).migrate();
        assert_eq!(done.after.get::<SegmentIndex>("segment-index/1/10/9/800"), finished());
        assert!(done.report().rebuilt.is_empty());
    }
}

#[test]
fn only_finished_builds_of_live_indexes_are_handed_over() {
    let sorted = Cluster::new().collection(1, "c").field(102, "price", FLOAT).index(500, 102, "i", SORT);
    let sorted = sorted.segment_index(500, 9, 800);
    let failed = sorted.clone().alter("indexes/800", |meta: &mut IndexMeta| meta.state = IndexState::Failed as i32);
    let marked = sorted.clone().alter("indexes/800", |meta: &mut IndexMeta| meta.mark_deleted = true);
    let dropped = sorted.alter("root-coord/index/1/500", |info: &mut IndexInfo| info.deleted = true);
    for cluster in [failed, marked, dropped] {
        let done = cluster.migrate();
        assert_eq!(done.after.get::<SegmentIndex>("segment-index/1/10/9/800").index_file_keys, ["IVF", "SLICE_META"]);
        assert!(done.report().rebuilt.is_empty());
    }
}

#[test]
fn options_ask_for_more_rebuilds_or_for_none() {
    let cluster = Cluster::new()
        .collection(1, "c")
        .field(102, "price", FLOAT)
        .index(500, VECTOR, "i", &[("index_type", "ANNOY")])
        .index(501, 102, "j", SORT)
        .segment_index(500, 9, 800)
        .segment_index(501, 9, 801);
    let rebuilt = |kinds: &[&str], keep_index_files| {
        let rebuild_index = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let options = Options { rebuild_index, keep_index_files, ..Options::default() };
        let done = cluster.migrate_with(&options);
        assert_eq!(done.report().rebuilt.len(), own_ids(&done).len());
        own_ids(&done)
    };
    assert_eq!(rebuilt(&[], false), ["segment-index/1/10/9/801"]);
    assert_eq!(rebuilt(&["HNSW", "annoy"], false), ["segment-index/1/10/9/800", "segment-index/1/10/9/801"]);
    assert_eq!(rebuilt(&["HNSW"], false), ["segment-index/1/10/9/801"]);
    assert_eq!(rebuilt(&["ANNOY"], true), [""; 0]);
}

#[test]
fn tombstones_and_snapshots_of_2_0_are_as_if_they_were_not_there() {
    let done = indexed()
        .segment_index(500, 9, 800)
        .put("root-coord/segment-index/1/500/10/8", TOMBSTONE)
        .put("root-coord/segment-index/99/500/10/8", TOMBSTONE)
        .put("snapshots/root-coord/segment-index/1/500/10/8_ts3", "any")
        .put("snapshots/root-coord/segment-index/1/500/10/8_ts4", TOMBSTONE)
        .migrate();
    assert_eq!(done.after.keys("segment-index/"), ["segment-index/1/10/9/800"]);
    assert_eq!(done.after.keys("root-coord/segment-index/"), [""; 0]);
    assert_eq!(done.after.keys("snapshots/root-coord/segment-index/"), [""; 0]);
}

#[test]
fn a_segment_index_that_lacks_something_is_a_problem_and_left_out() {
    let sound = indexed().segment_index(500, 8, 801).segment_index(500, 9, 800);
    let enabled_without_build = |info: &mut SegmentIndexInfo| info.build_id = 0;
    for (cluster, what) in [
        (sound.clone().remove("indexes/800"), "its build record indexes/800 is missing"),
        (
            sound.clone().alter("root-coord/segment-index/1/500/10/9", enabled_without_build),
            "its build record indexes/0 is missing",
        ),
        (
            // Read after the sound one, which so keeps the build.
            sound
                .clone()
                .alter("root-coord/segment-index/1/500/10/9", |info: &mut SegmentIndexInfo| info.build_id = 801),
            "another segment index has the build ID 801 too, and newer versions keep one by build ID",
        ),
        (
            sound
                .clone()
                .remove("root-coord/segment-index/1/500/10/9")
                .message("root-coord/segment-index/1/77/10/9", &SegmentIndexInfo { index_id: 77, ..info() }),
            "its index 77 is none of the collection's indexes",
        ),
        (sound.clone().put("root-coord/segment-index/1/500/10/9", GARBAGE), "the value does not decode as protobuf"),
        (
            sound
                .clone()
                .alter("root-coord/segment-index/1/500/10/9", |info: &mut SegmentIndexInfo| info.collection_id = 2),
            "its collectionID is 2, but the key says 1",
        ),
        (
            sound
                .clone()
                .alter("root-coord/segment-index/1/500/10/9", |info: &mut SegmentIndexInfo| info.index_id = 501),
            "its indexID is 501, but the key says 500",
        ),
        (
            sound
                .clone()
                .alter("root-coord/segment-index/1/500/10/9", |info: &mut SegmentIndexInfo| info.partition_id = 2),
            "its partitionID is 2, but the key says 10",
        ),
        (
            sound.alter("root-coord/segment-index/1/500/10/9", |info: &mut SegmentIndexInfo| info.segment_id = 2),
            "its segmentID is 2, but the key says 9",
        ),
    ] {
        let done = cluster.migrate_without_invalid();
        let [(key, found, None)] = done.problems()[..] else { panic!("{:?}", done.problems()) };
        assert!(key.starts_with("root-coord/segment-index/1/") && key.ends_with("/10/9"), "{key}");
        assert!(found.starts_with(what), "{found}");
        assert_eq!(done.after.keys("segment-index/"), ["segment-index/1/10/8/801"]);
    }
}

#[test]
fn a_build_record_that_does_not_fit_takes_its_segment_index_along() {
    let sound = indexed().segment_index(500, 8, 801).segment_index(500, 9, 800);
    for (cluster, what) in [
        (sound.clone().put("indexes/800", GARBAGE), "the value does not decode as protobuf"),
        (
            sound.clone().alter("indexes/800", |meta: &mut IndexMeta| meta.index_build_id = 7),
            "its indexBuildID is 7, but the key says 800",
        ),
        (sound.alter("indexes/800", |meta: &mut IndexMeta| meta.req = None), "it does not tell the number of rows"),
    ] {
        let done = cluster.migrate_without_invalid();
        let [build, segment] = done.problems()[..] else { panic!("{:?}", done.problems()) };
        assert!(build.0 == "indexes/800" && build.1.starts_with(what) && build.2.is_none(), "{build:?}");
        assert_eq!((segment.0, segment.2), ("root-coord/segment-index/1/500/10/9", Some("indexes/800")));
        assert_eq!(done.after.keys("segment-index/"), ["segment-index/1/10/8/801"]);
    }
}

#[test]
fn a_damaged_build_is_a_problem_whether_a_segment_index_is_joined_with_it_or_not() {
    let unused = indexed().segment_index(500, 9, 800).put("indexes/300", GARBAGE);
    // Its collection is gone, so that nobody gets as far as the build.
    let of_nobody = SegmentIndexInfo { collection_id: 77, build_id: 300, ..info() };
    let used = unused.clone().message("root-coord/segment-index/77/500/10/9", &of_nobody);
    for cluster in [unused, used] {
        let done = cluster.migrate_without_invalid();
        let of_build: Vec<_> = done.problems().into_iter().filter(|problem| problem.0 == "indexes/300").collect();
        let [(_, what, None)] = of_build[..] else { panic!("{:?}", done.problems()) };
        assert!(what.starts_with("the value does not decode as protobuf"), "{what}");
        assert!(done.report().left_out.is_empty());
        assert_eq!(done.after.keys("segment-index/"), ["segment-index/1/10/9/800"]);
    }
}

fn build(id: i64) -> IndexMeta {
    IndexMeta { index_build_id: id, ..indexed().segment_index(500, 9, 800).get("indexes/800") }
}

fn info() -> SegmentIndexInfo {
    indexed().segment_index(500, 9, 800).get("root-coord/segment-index/1/500/10/9")
}
