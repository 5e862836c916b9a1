//! Aliases (docs/layouts.md, rule 2).

use super::alias_record;
use super::cluster::{Cluster, GARBAGE, TARGETS, layout};
use crate::layout::TOMBSTONE;
use crate::layout::messages::target::AliasInfo;

fn alias(name: &str, collection_id: i64, created_time: u64) -> AliasInfo {
    AliasInfo { alias_name: name.into(), collection_id, created_time, state: 0, db_id: 0 }
}

#[test]
fn an_alias_becomes_a_record_of_its_own_with_the_time_in_its_snapshots_only() {
    let done = Cluster::new().collection(1, "c").alias("a", &[5, 9]).migrate();
    assert_eq!(done.after.get::<AliasInfo>("root-coord/aliases/a"), alias("a", 1, 0));
    assert_eq!(done.after.get::<AliasInfo>("snapshots/root-coord/aliases/a_ts5"), alias("a", 1, 5));
    assert_eq!(done.after.get::<AliasInfo>("snapshots/root-coord/aliases/a_ts9"), alias("a", 1, 9));
    assert_eq!(done.after.keys("root-coord/collection-alias/"), [""; 0]);
    assert_eq!(done.after.keys("snapshots/root-coord/collection-alias/"), [""; 0]);
    assert_eq!(done.report().aliases, [("a".to_owned(), 1)].into());
}

#[test]
fn a_name_with_the_timestamp_mark_in_it_is_a_name_like_any_other() {
    for name in ["my_tshirts", "v_ts2022", "_ts", "_ts7", "a_ts1_ts2"] {
        let done = Cluster::new().collection(1, "c").alias(name, &[5]).migrate();
        assert_eq!(done.after.get::<AliasInfo>(&format!("root-coord/aliases/{name}")), alias(name, 1, 0));
        assert_eq!(done.after.get::<AliasInfo>(&format!("snapshots/root-coord/aliases/{name}_ts5")), alias(name, 1, 5));
        assert_eq!(done.after.keys("root-coord/aliases/").len(), 1);
        assert_eq!(done.after.keys("snapshots/root-coord/aliases/").len(), 1);
    }
}

#[test]
fn a_name_may_have_every_legal_character() {
    let name: String = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain(['_', '$']).collect();
    let done = Cluster::new().collection(1, &name).partition(11, &name).alias(&name, &[5]).migrate();
    assert_eq!(done.after.get::<AliasInfo>(&format!("root-coord/aliases/{name}")), alias(&name, 1, 0));
    let summary = &done.report().collections[&1];
    assert_eq!((&summary.name, &summary.partitions[1]), (&name, &name));
}

#[test]
fn an_altered_alias_keeps_its_history() {
    let done = Cluster::new().collection(1, "old").alias("a", &[5]).collection(2, "new").alias("a", &[8]).migrate();
    assert_eq!(done.after.get::<AliasInfo>("root-coord/aliases/a"), alias("a", 2, 0));
    assert_eq!(done.after.get::<AliasInfo>("snapshots/root-coord/aliases/a_ts5"), alias("a", 1, 5));
    assert_eq!(done.after.get::<AliasInfo>("snapshots/root-coord/aliases/a_ts8"), alias("a", 2, 8));
}

#[test]
fn a_dropped_alias_stays_dropped_at_its_time() {
    let done = Cluster::new().collection(1, "c").alias("a", &[5]).bury("root-coord/collection-alias/a", 9).migrate();
    assert_eq!(done.after.keys("root-coord/aliases/"), [""; 0]);
    assert_eq!(done.after.get::<AliasInfo>("snapshots/root-coord/aliases/a_ts5"), alias("a", 1, 5));
    assert_eq!(done.after.value("snapshots/root-coord/aliases/a_ts9"), TOMBSTONE);
    assert_eq!(done.after.keys("root-coord/collection-alias/"), [""; 0]);
    assert_eq!(done.report().dropped_aliases, ["a"]);
    assert_eq!(done.report().aliases, [].into());
}

#[test]
fn an_alias_dropped_and_made_again_is_alive() {
    let done = Cluster::new()
        .collection(1, "c")
        .alias("a", &[5])
        .bury("root-coord/collection-alias/a", 9)
        .alias("a", &[12])
        .migrate();
    assert_eq!(done.after.get::<AliasInfo>("root-coord/aliases/a"), alias("a", 1, 0));
    assert_eq!(done.after.value("snapshots/root-coord/aliases/a_ts9"), TOMBSTONE);
    assert_eq!(done.after.get::<AliasInfo>("snapshots/root-coord/aliases/a_ts12"), alias("a", 1, 12));
}

#[test]
fn a_tombstone_without_a_snapshot_is_left_out_because_newer_versions_cannot_load_it() {
    let done = Cluster::new().collection(1, "c").put("root-coord/collection-alias/a", TOMBSTONE).migrate();
    assert_eq!(done.after.keys("root-coord/aliases/"), [""; 0]);
    assert_eq!(done.after.keys("root-coord/collection-alias/"), [""; 0]);
    assert_eq!(done.report().left_out[0].key, "root-coord/collection-alias/a");
    assert!(done.report().dropped_aliases.is_empty());
}

#[test]
fn snapshots_without_a_plain_key_move_along() {
    let history = "snapshots/root-coord/collection-alias/a";
    let done = Cluster::new()
        .collection(1, "c")
        .put(format!("{history}_ts5"), alias_record("a", 1))
        .put(format!("{history}_ts6"), TOMBSTONE)
        .migrate();
    assert_eq!(done.after.keys("root-coord/aliases/"), [""; 0]);
    assert_eq!(done.after.get::<AliasInfo>("snapshots/root-coord/aliases/a_ts5"), alias("a", 1, 5));
    assert_eq!(done.after.value("snapshots/root-coord/aliases/a_ts6"), TOMBSTONE);
    assert_eq!(done.after.keys(history), [""; 0]);
}

/// create_alias of that name would be a SIGSEGV of 2.2.16 and 2.3.5.
#[test]
fn a_dangling_alias_is_left_out_with_its_history_and_told() {
    let dropped = Cluster::new().collection(1, "c").alias("a", &[5]).snapshot(3).bury("root-coord/collection/1", 9);
    let never_there = Cluster::new().put("root-coord/collection-alias/a", alias_record("a", 1));
    for cluster in [dropped, never_there] {
        for target in TARGETS {
            let done = cluster.migrate_to(target);
            assert!(!done.after.keys("").iter().any(|key| key.contains("alias")), "{:?}", done.after.keys(""));
            assert!(done.left_out("root-coord/collection-alias/a").contains("its collection 1 does not exist"));
            assert_eq!(done.report().aliases, [].into());
        }
    }
}

#[test]
fn from_2_2_9_on_an_alias_with_its_history_belongs_to_the_database_of_its_collection() {
    let cluster = Cluster::new().collection(1, "c").alias("a", &[5]).bury("root-coord/collection-alias/a", 9);
    let cluster = cluster.alias("a", &[12]).alias("gone", &[6]).bury("root-coord/collection-alias/gone", 7);
    for target in TARGETS.into_iter().filter(|target| layout(target).in_database) {
        let after = cluster.migrate_to(target).after;
        let expected = |created_time| AliasInfo { db_id: 1, ..alias("a", 1, created_time) };
        assert_eq!(after.get::<AliasInfo>("root-coord/database/aliases/1/a"), expected(0));
        let history = "snapshots/root-coord/database/aliases/1/a_ts";
        assert_eq!(after.get::<AliasInfo>(&format!("{history}5")), expected(5));
        assert_eq!(after.value(&format!("{history}9")), TOMBSTONE);
        assert_eq!(after.get::<AliasInfo>(&format!("{history}12")), expected(12));
        // 2.2.16 would take a plain tombstone for an older record, and remove an alias made anew under that name.
        assert!(!after.has("root-coord/database/aliases/1/gone"));
        assert_eq!(after.value("snapshots/root-coord/database/aliases/1/gone_ts7"), TOMBSTONE);
        assert_eq!([after.keys("root-coord/aliases/"), after.keys("snapshots/root-coord/aliases/")], [[""; 0]; 2]);
    }
}

#[test]
fn an_alias_without_a_snapshot_gets_one_at_the_time_of_its_collection() {
    let cluster = Cluster::new().collection(1, "c").snapshot(5).alias("a", &[]);
    for target in TARGETS {
        let done = cluster.migrate_to(target);
        let (prefix, db_id) =
            if layout(target).in_database { ("root-coord/database/aliases/1/", 1) } else { ("root-coord/aliases/", 0) };
        let snapshot = AliasInfo { db_id, ..alias("a", 1, 2001) };
        assert_eq!(done.after.keys(&format!("snapshots/{prefix}")), [format!("snapshots/{prefix}a_ts2001")]);
        assert_eq!(done.after.get::<AliasInfo>(&format!("snapshots/{prefix}a_ts2001")), snapshot);
        assert_eq!(done.report().snapshots_added, ["alias a"]);
    }
}

/// 2.2.3 to 2.4.13 build their catalog from snapshots alone, and would bring it back.
#[test]
fn snapshots_of_an_alias_that_is_not_there_and_was_not_dropped_are_left_out_and_told() {
    let snapshot = "snapshots/root-coord/collection-alias/a_ts5";
    let done = Cluster::new().collection(1, "c").put(snapshot, alias_record("a", 1)).migrate();
    assert_eq!(done.after.keys("snapshots/root-coord/aliases/"), [""; 0]);
    assert!(done.left_out(snapshot).contains("would bring it back"));
}

#[test]
fn an_alias_record_that_does_not_fit_its_key_is_a_problem_and_left_out_with_its_history() {
    for (value, what) in [
        (alias_record("b", 1), "the record is of the alias \"b\", but the key says \"a\""),
        (GARBAGE.to_vec(), "the value does not decode as protobuf"),
        (vec![], "the record is of the alias \"\", but the key says \"a\""),
    ] {
        let cluster = Cluster::new().collection(1, "c").alias("a", &[5]).alias("other", &[]);
        let done = cluster.put("root-coord/collection-alias/a", value).migrate_without_invalid();
        assert!(done.only_problem("root-coord/collection-alias/a").starts_with(what), "{:?}", done.problems());
        assert_eq!(done.after.keys("root-coord/aliases/"), ["root-coord/aliases/other"]);
        assert_eq!(done.after.keys("snapshots/root-coord/aliases/"), ["snapshots/root-coord/aliases/other_ts2001"]);
    }
}

#[test]
fn of_an_older_state_that_does_not_fit_only_that_state_is_left_out() {
    let broken = "snapshots/root-coord/collection-alias/a_ts5";
    let cluster = Cluster::new().collection(1, "c").alias("a", &[4, 5, 6]).put(broken, alias_record("b", 1));
    let done = cluster.migrate_without_invalid();
    done.only_problem(broken);
    assert!(done.after.has("root-coord/aliases/a"));
    let kept = ["snapshots/root-coord/aliases/a_ts4", "snapshots/root-coord/aliases/a_ts6"];
    assert_eq!(done.after.keys("snapshots/root-coord/aliases/"), kept);
}

#[test]
fn an_alias_of_an_unusable_collection_names_the_cause() {
    let done = Cluster::new()
        .collection(1, "c")
        .alias("a", &[5])
        .edit(|info| info.partition_names.clear())
        .migrate_without_invalid();
    let problem = &done.problems()[0];
    assert_eq!(problem.0, "root-coord/collection-alias/a");
    assert_eq!(problem.2, Some("root-coord/collection/1"));
    assert_eq!(done.after.keys("root-coord/aliases/"), [""; 0]);
    assert_eq!(done.after.keys("snapshots/root-coord/aliases/"), [""; 0]);
}
