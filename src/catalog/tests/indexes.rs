//! Indexes (docs/layouts.md, rule 3).

use super::cluster::{Cluster, FLOAT, INT64, Migrated, TARGETS, VECTOR, pairs};
use crate::catalog::report::RepairKind;
use crate::layout::TOMBSTONE;
use crate::layout::messages::common::FieldIndexInfo;
use crate::layout::messages::source::IndexInfo as SourceIndexInfo;
use crate::layout::messages::target::{CollectionLoadInfo, FieldIndex, IndexInfo};

/// The parameters that an index on the vector with this JSON under `params` has in 2.2.
fn unfolded(params: &str) -> Vec<(String, String)> {
    let params = [("params", params), ("index_type", "HNSW")];
    let done = Cluster::new().collection(1, "c").index(500, VECTOR, "i", &params).migrate();
    let record: FieldIndex = done.after.get("field-index/1/500");
    let info = record.index_info.unwrap();
    info.index_params.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

fn name(done: &Migrated, index: i64) -> String {
    let record: FieldIndex = done.after.get(&format!("field-index/1/{index}"));
    record.index_info.unwrap().index_name
}

fn renamed(done: &Migrated) -> Vec<&str> {
    let repairs = done.report().repairs.iter().filter(|repair| repair.kind == RepairKind::IndexName);
    repairs.map(|repair| &*repair.key).collect()
}

#[test]
fn an_index_becomes_a_record_with_the_parameters_of_its_field() {
    let expected = FieldIndex {
        index_info: Some(IndexInfo {
            collection_id: 1,
            field_id: VECTOR,
            index_name: "_default_idx_101".into(),
            index_id: 500,
            type_params: pairs(&[("dim", "8")]),
            index_params: pairs(&[("index_type", "IVF_FLAT"), ("metric_type", "L2"), ("nlist", "128")]),
            user_index_params: pairs(&[
                ("index_type", "IVF_FLAT"),
                ("metric_type", "L2"),
                ("params", r#"{"nlist":128}"#),
            ]),
            ..IndexInfo::default()
        }),
        deleted: false,
        create_time: 6500,
    };
    for target in TARGETS {
        let after = Cluster::new().collection(1, "c").vector_index(500).migrate_to(target).after;
        assert_eq!(after.get::<FieldIndex>("field-index/1/500"), expected, "{target}");
        assert_eq!(after.keys("root-coord/index/"), [""; 0]);
    }
}

#[test]
fn parameters_keep_their_json_spelling() {
    for (json, spelt) in [
        ("1000000", "1000000"),
        ("10000000000000000000000", "10000000000000000000000"),
        ("1e6", "1e6"),
        ("0.10", "0.10"),
        ("-1", "-1"),
        ("true", "true"),
        ("null", "null"),
        ("128", "128"),
        (r#""128""#, "128"),
        (r#""a \"b\" \u00fc""#, "a \"b\" ü"),
        (r#""""#, ""),
        (r#"{"a": [1, {"b":1e6}]}"#, r#"{"a": [1, {"b":1e6}]}"#),
        ("[ 1,2 ]", "[ 1,2 ]"),
    ] {
        let params = unfolded(&format!(r#"{{"nlist": {json} }}"#));
        assert_eq!(params, [("index_type".into(), "HNSW".into()), ("nlist".into(), spelt.into())]);
    }
}

#[test]
fn parameters_are_sorted_by_key_so_that_two_runs_write_the_same_bytes() {
    let keys: Vec<_> = unfolded(r#"{"z":1,"M":2,"efConstruction":3,"a":4}"#).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["M", "a", "efConstruction", "index_type", "z"]);
}

#[test]
fn an_empty_object_unfolds_to_nothing_and_without_params_the_list_stays() {
    assert_eq!(unfolded("{}"), [("index_type".into(), "HNSW".into())]);
    let after = Cluster::new().collection(1, "c").index(500, VECTOR, "i", &[("index_type", "FLAT")]).migrate().after;
    let info = after.get::<FieldIndex>("field-index/1/500").index_info.unwrap();
    assert_eq!(info.index_params, pairs(&[("index_type", "FLAT")]));
    assert_eq!(info.user_index_params, info.index_params);
}

#[test]
fn params_that_are_no_json_object_are_a_problem_that_takes_the_segment_indexes_along() {
    for params in ["", "nlist=128", "[1]", "1", r#"{"nlist": 128"#, r#"{"nlist": 01}"#] {
        let cluster = Cluster::new().collection(1, "c").index(500, VECTOR, "i", &[("params", params)]);
        let done = cluster.segment_index(500, 9, 800).migrate_without_invalid();
        let [index, segment] = done.problems()[..] else { panic!("{:?}", done.problems()) };
        assert_eq!((index.0, index.2), ("root-coord/index/1/500", None));
        assert!(index.1.starts_with("its parameter \"params\" is not a JSON object"), "{index:?}");
        assert_eq!((segment.0, segment.2), ("root-coord/segment-index/1/500/10/9", Some("root-coord/index/1/500")));
        assert_eq!([done.after.keys("field-index/"), done.after.keys("segment-index/")], [[""; 0]; 2]);
    }
}

#[test]
fn a_name_that_the_user_gave_stays() {
    let done = Cluster::new().collection(1, "c").index(500, VECTOR, "my_index", &[]).migrate();
    assert_eq!((name(&done, 500), renamed(&done)), ("my_index".into(), vec![]));
}

#[test]
fn a_generated_name_gives_way_to_the_same_name_given_by_a_user() {
    for user_first in [true, false] {
        let (user, default) = if user_first { (500, 501) } else { (501, 500) };
        let done = Cluster::new()
            .collection(1, "c")
            .field(102, "a", INT64)
            .index(user, VECTOR, "_default_idx_102", &[])
            .index(default, 102, "_default_idx", &[])
            .migrate();
        assert_eq!(name(&done, user), "_default_idx_102");
        assert_eq!(name(&done, default), "_default_idx_102_102");
        assert_eq!(renamed(&done), [format!("field-index/1/{default}")]);
    }
}

#[test]
fn the_name_that_a_generated_one_gives_way_to_may_be_taken_too() {
    let done = Cluster::new()
        .collection(1, "c")
        .field(102, "a", INT64)
        .field(103, "b", INT64)
        .index(500, VECTOR, "_default_idx_102", &[])
        .index(501, 103, "_default_idx_102_102", &[])
        .index(502, 102, "_default_idx", &[])
        .migrate();
    assert_eq!(name(&done, 502), "_default_idx_102_102_102");
}

#[test]
fn of_indexes_with_one_name_that_of_the_lowest_field_keeps_it() {
    let done = Cluster::new()
        .collection(1, "c")
        .field(102, "a", INT64)
        .field(103, "b", INT64)
        .index(500, 103, "same", &[])
        .index(501, VECTOR, "same", &[])
        .index(502, 102, "same", &[])
        .migrate();
    assert_eq!([500, 501, 502].map(|index| name(&done, index)), ["same_103", "same", "same_102"]);
    assert_eq!(renamed(&done), ["field-index/1/500", "field-index/1/502"]);
}

#[test]
fn names_of_different_collections_do_not_collide() {
    let cluster = Cluster::new().collection(1, "c").vector_index(500).collection(2, "d").vector_index(500);
    let done = cluster.migrate();
    assert_eq!(name(&done, 500), "_default_idx_101");
    assert_eq!(renamed(&done), [""; 0]);
}

#[test]
fn an_index_that_is_being_dropped_is_carried_as_such_and_takes_no_name_and_no_field_away() {
    let done = Cluster::new()
        .collection(1, "c")
        .vector_index(500)
        .vector_index(501)
        .alter("root-coord/index/1/501", |info: &mut SourceIndexInfo| info.deleted = true)
        .loaded()
        .migrate();
    assert!(done.after.get::<FieldIndex>("field-index/1/501").deleted);
    assert!(!done.after.get::<FieldIndex>("field-index/1/500").deleted);
    assert_eq!([500, 501].map(|index| name(&done, index)), ["_default_idx_101"; 2].map(String::from));
    assert_eq!(renamed(&done), [""; 0]);
    let load: CollectionLoadInfo = done.after.get("querycoord-collection-loadinfo/1");
    assert_eq!(load.field_index_id, [(VECTOR, 500)].into());
    assert!(done.report().warnings.is_empty());
    assert_eq!(done.report().collections[&1].indexes.iter().filter(|index| index.deleted).count(), 1);
}

#[test]
fn two_live_indexes_on_one_field_are_a_warning() {
    let done = Cluster::new().collection(1, "c").vector_index(500).vector_index(501).loaded().migrate();
    assert_eq!([500, 501].map(|index| name(&done, index)), ["_default_idx_101", "_default_idx_101_101"]);
    assert!(done.report().warnings[0].contains("field 101 of collection \"c\" has 2 live indexes"));
    let load: CollectionLoadInfo = done.after.get("querycoord-collection-loadinfo/1");
    assert_eq!(load.field_index_id, [(VECTOR, 501)].into());
}

#[test]
fn tombstones_and_snapshots_of_2_0_are_as_if_they_were_not_there() {
    let done = Cluster::new()
        .collection(1, "c")
        .vector_index(500)
        .put("root-coord/index/1/400", TOMBSTONE)
        .put("root-coord/index/99/400", TOMBSTONE)
        .put("snapshots/root-coord/index/1/400_ts3", "any")
        .put("snapshots/root-coord/index/1/400_ts4", TOMBSTONE)
        .put("snapshots/root-coord/index/1/500_ts4", "any")
        .migrate();
    assert_eq!(done.after.keys("field-index/"), ["field-index/1/500"]);
    assert_eq!(done.after.keys("root-coord/index/"), [""; 0]);
    assert_eq!(done.after.keys("snapshots/root-coord/index/"), [""; 0]);
}

#[test]
fn an_index_record_that_no_collection_lists_is_left_out_and_told() {
    let cluster = Cluster::new().collection(1, "c").vector_index(500).vector_index(501);
    let done = cluster.edit(|info| _ = info.field_indexes.pop()).migrate();
    assert_eq!(done.after.keys("field-index/"), ["field-index/1/500"]);
    assert_eq!(done.left_out("root-coord/index/1/501"), "an index that its collection does not list");
}

#[test]
fn a_listed_index_without_a_record_or_a_field_is_a_problem_of_the_collection_record() {
    let entry = |field_id, index_id| FieldIndexInfo { filed_id: field_id, index_id };
    let sound = Cluster::new().collection(1, "c").vector_index(500).segment_index(500, 8, 800);
    let no_record = sound.clone().edit(|info| info.field_indexes.push(entry(100, 501)));
    let buried = no_record.clone().put("root-coord/index/1/501", TOMBSTONE);
    let no_field = sound.vector_index(501).edit(|info| info.field_indexes[1] = entry(999, 501));
    for (cluster, what) in [
        (no_record, "it lists index 501 on field 100, but there is no record root-coord/index/1/501"),
        (buried, "it lists index 501 on field 100, but there is no record root-coord/index/1/501"),
        (no_field, "it lists index 501 on field 999, which its schema does not have"),
    ] {
        let done = cluster.segment_index(501, 9, 801).migrate_without_invalid();
        let [index, segment] = done.problems()[..] else { panic!("{:?}", done.problems()) };
        assert_eq!(index, ("root-coord/collection/1", what, None));
        assert_eq!((segment.0, segment.2), ("root-coord/segment-index/1/501/10/9", Some("root-coord/collection/1")));
        assert_eq!(done.after.keys("field-index/"), ["field-index/1/500"]);
        assert_eq!(done.after.keys("segment-index/"), ["segment-index/1/10/8/800"]);
        assert!(done.after.has("root-coord/fields/1/101"), "the collection itself is migrated");
    }
}

#[test]
fn the_report_names_each_index_with_its_type_and_both_names() {
    let params = [("index_type", "FLAT"), ("index_type", "STL_SORT")];
    let cluster = Cluster::new().collection(1, "c").field(102, "price", FLOAT).index(500, 102, "_default_idx", &params);
    let done = cluster.migrate();
    let index = &done.report().collections[&1].indexes[0];
    assert_eq!((&*index.field, &*index.kind), ("price", "STL_SORT"));
    assert_eq!((&*index.old_name, &*index.new_name), ("_default_idx", "_default_idx_102"));
}
