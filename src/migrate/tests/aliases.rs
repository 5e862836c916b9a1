use super::cluster::{Cluster, GARBAGE, alias_record};
use crate::layout::TOMBSTONE;
use crate::layout::messages::target::AliasInfo;

fn alias(name: &str, collection_id: i64, created_time: u64) -> AliasInfo {
    AliasInfo { alias_name: name.into(), collection_id, created_time, state: 0 }
}

#[test]
fn an_alias_becomes_a_record_of_its_own_with_the_time_in_its_snapshots_only() {
    let done = Cluster::new().collection(1, "c").alias("a", &[5, 9]).migrate();
    assert_eq!(done.after.get::<AliasInfo>("root-coord/aliases/a"), alias("a", 1, 0));
    assert_eq!(done.after.get::<AliasInfo>("snapshots/root-coord/aliases/a_ts5"), alias("a", 1, 5));
    assert_eq!(done.after.get::<AliasInfo>("snapshots/root-coord/aliases/a_ts9"), alias("a", 1, 9));
    assert_eq!(done.after.keys("root-coord/collection-alias/"), [""; 0]);
    assert_eq!(done.after.keys("snapshots/root-coord/collection-alias/"), [""; 0]);
    assert_eq!(done.migration.report.aliases, [("a".to_owned(), 1)].into());
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
    let summary = &done.migration.report.collections[0];
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
    assert_eq!(done.migration.report.dropped_aliases, ["a"]);
    assert_eq!(done.migration.report.aliases, [].into());
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
fn a_tombstone_without_a_snapshot_is_left_out_because_2_2_cannot_load_it() {
    let done = Cluster::new().collection(1, "c").put("root-coord/collection-alias/a", TOMBSTONE).migrate();
    assert_eq!(done.after.keys("root-coord/aliases/"), [""; 0]);
    assert_eq!(done.after.keys("root-coord/collection-alias/"), [""; 0]);
    assert_eq!(done.migration.report.left_out[0].key, "root-coord/collection-alias/a");
    assert!(done.migration.report.dropped_aliases.is_empty());
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

#[test]
fn a_dangling_alias_is_carried_over_with_a_warning() {
    let dropped = Cluster::new().collection(1, "c").alias("a", &[5]).snapshot(3).bury("root-coord/collection/1", 9);
    let never_there = Cluster::new().put("root-coord/collection-alias/a", alias_record("a", 1));
    for cluster in [dropped, never_there] {
        let done = cluster.migrate();
        assert_eq!(done.after.get::<AliasInfo>("root-coord/aliases/a"), alias("a", 1, 0));
        let warnings = &done.migration.report.warnings;
        assert!(warnings.len() == 1 && warnings[0].contains("alias \"a\" leads nowhere"), "{warnings:?}");
    }
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
        assert_eq!(done.after.keys("snapshots/root-coord/aliases/"), [""; 0]);
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
