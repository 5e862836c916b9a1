//! What does not fit together (docs/layouts.md, rule 9): all of it in one report, each with its key.

use super::alias_record;
use super::cluster::{Cluster, GARBAGE, Migrated};
use crate::layout::messages::common::FieldIndexInfo;
use crate::layout::messages::source::{IndexInfo, IndexMeta};

fn sound() -> Cluster {
    Cluster::new()
        .collection(1, "sound")
        .snapshot(5)
        .vector_index(500)
        .segment_index(500, 9, 800)
        .alias("a", &[5])
        .loaded()
}

/// What `sound()` becomes is there in full, and nothing else of the 2.2 layout.
fn is_all_that_is_migrated(done: &Migrated) {
    let expected = sound().migrate().after;
    for prefix in ["root-coord/", "snapshots/", "field-index/", "segment-index/", "querycoord-", "indexes/"] {
        assert_eq!(done.after.keys(prefix), expected.keys(prefix));
    }
}

#[test]
fn a_key_that_does_not_parse_is_a_problem_and_goes() {
    for key in [
        "root-coord/collection/one",
        "root-coord/collection/1/2",
        "root-coord/collection/007",
        "root-coord/collection/",
        "snapshots/root-coord/collection/1",
        "snapshots/root-coord/collection/1_ts",
        "snapshots/root-coord/collection/1_ts-5",
        "snapshots/root-coord/collection/1_ts05",
        "root-coord/collection-alias/",
        "snapshots/root-coord/collection-alias/a_tsx",
        "snapshots/root-coord/collection-alias/my_tshirts",
        "root-coord/index/1",
        "root-coord/index/1/500/2",
        "root-coord/segment-index/1/500/10",
        "root-coord/segment-index/1/500/10/x",
        "snapshots/root-coord/index/1_ts5",
        "indexes/",
        "indexes/8e2",
    ] {
        let done = sound().put(key, "any").migrate_without_invalid();
        let what = done.only_problem(key);
        assert!(what.starts_with("the key does not have the form "), "{what}");
        is_all_that_is_migrated(&done);
    }
}

#[test]
fn a_key_that_is_not_text_is_a_problem_of_its_kind_or_not_ours() {
    let key = b"root-coord/collection-alias/\xff";
    let done = sound().put(key, alias_record("a", 1)).migrate_without_invalid();
    done.only_problem("root-coord/collection-alias/\\xff");
    is_all_that_is_migrated(&done);
    let done = sound().put(b"channelwatch/\xff", "any").migrate();
    assert_eq!(done.after.keys("channelwatch/").len(), 1);
}

#[test]
fn records_of_a_collection_that_is_gone_are_problems() {
    let gone = sound().collection(2, "gone").vector_index(600).segment_index(600, 9, 900);
    let never_there = gone.clone().remove("root-coord/collection/2");
    let dropped = gone.snapshot(3).bury("root-coord/collection/2", 9);
    for (cluster, keys) in [(never_there, 0), (dropped, 3)] {
        let done = cluster.migrate_without_invalid();
        assert!(done.conversion.problems.iter().all(|problem| problem.meaning == "leaving it out costs nothing"));
        let what = "its collection 2 does not exist: the leftover of a drop that 2.1 did not finish";
        assert_eq!(
            done.problems(),
            [("root-coord/index/2/600", what, None), ("root-coord/segment-index/2/600/20/9", what, None),]
        );
        let left = |key: &String| key.contains("/2") && !key.contains("datacoord");
        assert_eq!(done.after.keys("").into_iter().filter(left).count(), keys);
    }
}

#[test]
fn what_an_unusable_collection_owns_names_it_as_the_cause() {
    let done = sound()
        .collection(2, "bad")
        .edit(|info| info.partition_names.clear())
        .vector_index(600)
        .segment_index(600, 9, 900)
        .alias("b", &[5])
        .loaded()
        .migrate_without_invalid();
    let cause = Some("root-coord/collection/2");
    let found: Vec<_> = done.problems().into_iter().map(|(key, _, cause)| (key, cause)).collect();
    assert_eq!(
        found,
        [
            ("root-coord/collection-alias/b", cause),
            ("root-coord/collection/2", None),
            ("root-coord/index/2/600", cause),
            ("root-coord/segment-index/2/600/20/9", cause),
        ]
    );
    is_all_that_is_migrated(&done);
    assert_eq!(done.report().released[0].collection, "2");
}

#[test]
fn an_index_record_that_does_not_fit_takes_its_segment_indexes_along() {
    let cluster = sound().collection(2, "d").vector_index(600).segment_index(600, 9, 900);
    for (cluster, what) in [
        (cluster.clone().put("root-coord/index/2/600", GARBAGE), "the value does not decode as protobuf"),
        (
            cluster.alter("root-coord/index/2/600", |info: &mut IndexInfo| info.index_id = 7),
            "its indexID is 7, but the key says 600",
        ),
    ] {
        let done = cluster.migrate_without_invalid();
        let [index, segment] = done.problems()[..] else { panic!("{:?}", done.problems()) };
        assert!(index.0 == "root-coord/index/2/600" && index.1.starts_with(what) && index.2.is_none(), "{index:?}");
        let cause = Some("root-coord/index/2/600");
        assert_eq!((segment.0, segment.2), ("root-coord/segment-index/2/600/20/9", cause));
        assert_eq!(done.after.keys("field-index/"), ["field-index/1/500"]);
        assert_eq!(done.after.keys("segment-index/"), ["segment-index/1/10/9/800"]);
    }
}

/// Something wrong of every kind, beside what is sound.
pub fn everything_wrong() -> Cluster {
    sound()
        .collection(2, "bad arrays")
        .alias("c", &[5])
        .edit(|info| info.partition_created_timestamps.clear())
        .collection(3, "many")
        .vector_index(700)
        .edit(|info| info.field_indexes.push(FieldIndexInfo { filed_id: 100, index_id: 77 }))
        .segment_index(700, 1, 901)
        .segment_index(700, 2, 902)
        .segment_index(700, 3, 903)
        .buildless(700, 4, 250)
        .buildless(700, 5, 250)
        .remove("indexes/901")
        .alter("indexes/902", |meta: &mut IndexMeta| meta.index_file_paths[0] = "elsewhere".into())
        .put("indexes/903", GARBAGE)
        .put("datacoord-meta/s/3/30/4", GARBAGE)
        .put("root-coord/collection/four", "any")
        .put("root-coord/index/99/990", sound().value("root-coord/index/1/500").clone())
        .put("root-coord/collection-alias/b", GARBAGE)
        .put("queryCoord-collectionMeta/3", GARBAGE)
        .put("snapshots/root-coord/collection/3_ts5", GARBAGE)
}

#[test]
fn all_that_is_wrong_is_in_one_report_each_once_and_sorted() {
    let done = everything_wrong().migrate_without_invalid();
    let found: Vec<_> = done.problems().into_iter().map(|(key, _, cause)| (key, cause)).collect();
    assert_eq!(
        found,
        [
            ("datacoord-meta/s/3/30/4", None),
            ("indexes/902", None),
            ("indexes/903", None),
            ("queryCoord-collectionMeta/3", None),
            ("root-coord/collection-alias/b", None),
            ("root-coord/collection-alias/c", Some("root-coord/collection/2")),
            ("root-coord/collection/2", None),
            ("root-coord/collection/3", None),
            ("root-coord/collection/four", None),
            ("root-coord/index/99/990", None),
            ("root-coord/segment-index/3/700/30/1", None),
            ("root-coord/segment-index/3/700/30/2", Some("indexes/902")),
            ("root-coord/segment-index/3/700/30/3", Some("indexes/903")),
            ("root-coord/segment-index/3/700/30/4", Some("datacoord-meta/s/3/30/4")),
            ("snapshots/root-coord/collection/3_ts5", None),
        ]
    );
    assert!(done.conversion.problems.iter().all(|problem| !problem.what.is_empty() && !problem.meaning.is_empty()));
}

#[test]
fn going_on_without_what_is_wrong_leaves_out_exactly_that() {
    let after = everything_wrong().migrate_without_invalid().after;
    assert_eq!(after.keys("root-coord/collection/"), ["root-coord/collection/1", "root-coord/collection/3"]);
    assert_eq!(after.keys("root-coord/aliases/"), ["root-coord/aliases/a"]);
    assert_eq!(after.keys("field-index/"), ["field-index/1/500", "field-index/3/700"]);
    assert_eq!(after.keys("segment-index/"), ["segment-index/1/10/9/800", "segment-index/3/30/5/798"]);
    assert_eq!(
        after.keys("querycoord-"),
        ["querycoord-collection-loadinfo/1", "querycoord-replica/1/101", "querycoord-replica/1/102"]
    );
    assert_eq!(after.keys("datacoord-meta/s/3/").len(), 4);
    assert_eq!(
        after.keys("snapshots/root-coord/collection/"),
        ["snapshots/root-coord/collection/1_ts5", "snapshots/root-coord/collection/3_ts2003"]
    );
    for gone in [
        "queryCoord-ReplicaMeta/",
        "root-coord/collection-alias/",
        "root-coord/index/",
        "root-coord/segment-index/",
        "indexes/",
    ] {
        assert_eq!(after.keys(gone), [""; 0]);
    }
}

#[test]
fn what_was_left_out_is_no_problem_of_the_next_run() {
    let after = everything_wrong().migrate_without_invalid().after;
    let next = after.migrate();
    assert_eq!(next.after.differences(&after), [""; 0]);
}

#[test]
fn a_key_of_the_2_2_layout_that_does_not_parse_stays_and_is_told() {
    let key = "querycoord-collection-loadinfo/1/x";
    let done = sound().put(key, "any").migrate();
    let warnings = &done.report().warnings;
    assert!(warnings.len() == 1 && warnings[0].starts_with(&format!("{key}: the key does not have")), "{warnings:?}");
    assert_eq!(done.after.value(key), "any");
}
