//! New names for collections, partitions and aliases.

use super::alias_record;
use super::cluster::{Cluster, LAYOUTS};
use super::steps::{Part, apply, halfway, orders, steps};
use crate::catalog::Options;
use crate::catalog::names::{Rename, is_legal};
use crate::layout::messages::common::CollectionInfo;
use crate::layout::messages::target::{AliasInfo, PartitionInfo};

fn renames(list: &[(&str, &str)]) -> Vec<Rename> {
    list.iter().map(|(old, new)| Rename { old: (*old).into(), new: (*new).into() }).collect()
}

fn options(collections: &[(&str, &str)], aliases: &[(&str, &str)]) -> Options {
    Options { rename_collection: renames(collections), rename_alias: renames(aliases), ..Options::default() }
}

fn partitions(list: &[(&str, &str)]) -> Options {
    Options { rename_partition: renames(list), ..Options::default() }
}

fn shop() -> Cluster {
    Cluster::new()
        .collection(1, "pri$es")
        .snapshot(5)
        .partition(11, "p")
        .snapshot(9)
        .alias("late$t", &[6, 8])
        .vector_index(500)
        .segment_index(500, 1, 800)
        .loaded()
        .collection(2, "stock")
        .snapshot(7)
        .alias("old", &[8])
        .bury("root-coord/collection-alias/old", 10)
}

/// The refusals, of which there must be some; each must name all of `parts`.
fn refused(cluster: &Cluster, options: &Options, parts: &[&str]) {
    let refusals = cluster.migrate_with(options).conversion.refusals;
    assert!(!refusals.is_empty());
    for part in parts {
        assert!(refusals.iter().any(|refusal| refusal.contains(part)), "{refusals:?}");
    }
}

#[test]
fn the_default_partition_keeps_its_name_unless_there_are_two() {
    let one = Cluster::new().collection(1, "c");
    for wish in ["c/_default", "1/10"] {
        refused(&one, &partitions(&[(wish, "x")]), &["_default", "Milvus looks for it by that name"]);
    }
    let two = one.partition(21, "_default");
    assert_eq!(two.migrate_with(&partitions(&[("1/21", "x")])).conversion.refusals, [""; 0]);
}

#[test]
fn a_collection_has_its_new_name_in_its_record_and_newest_snapshot_and_nothing_else_changes() {
    let done = shop().migrate_with(&options(&[("pri$es", "prices")], &[]));
    let plain = shop().migrate();
    let name = |key: &str| done.after.get::<CollectionInfo>(key).schema.unwrap().name;
    assert_eq!(name("root-coord/collection/1"), "prices");
    assert_eq!(name("snapshots/root-coord/collection/1_ts9"), "prices");
    assert_eq!(name("snapshots/root-coord/collection/1_ts5"), "pri$es", "its history stays as it was");
    assert!(done.conversion.refusals.is_empty());
    assert_eq!(done.report().renamed.len(), 1);
    assert_eq!(done.report().loaded[0].collection, "prices");
    let differences = done.after.differences(&plain.after);
    assert_eq!(differences.len(), 2, "{differences:#?}");
}

#[test]
fn what_the_tool_has_no_message_for_survives_a_new_name() {
    let tail = |value: &[u8]| value.ends_with(super::cluster::TAIL);
    let done = shop().migrate_with(&options(&[("pri$es", "prices")], &[]));
    assert!(tail(done.after.value("root-coord/collection/1")));
    let unknown_in_schema = b"\x12\x0a\x0a\x01c\xa2\x06\x04deep".to_vec();
    let record = [&shop().value("root-coord/collection/1")[..], &unknown_in_schema[..]].concat();
    let done = shop().put("root-coord/collection/1", record).migrate_with(&options(&[("c", "d")], &[]));
    let value = done.after.value("root-coord/collection/1");
    assert!(value.windows(4).any(|bytes| bytes == b"deep"));
    assert_eq!(done.after.get::<CollectionInfo>("root-coord/collection/1").schema.unwrap().name, "d");
}

#[test]
fn an_alias_moves_to_its_new_name_with_its_history() {
    let done = shop().migrate_with(&options(&[], &[("late$t", "latest")]));
    let alias =
        |created_time| AliasInfo { alias_name: "latest".into(), collection_id: 1, created_time, state: 0, db_id: 0 };
    assert_eq!(done.after.get::<AliasInfo>("root-coord/aliases/latest"), alias(0));
    assert_eq!(done.after.get::<AliasInfo>("snapshots/root-coord/aliases/latest_ts6"), alias(6));
    assert_eq!(done.after.get::<AliasInfo>("snapshots/root-coord/aliases/latest_ts8"), alias(8));
    assert!(done.after.keys("").iter().all(|key| !key.contains("late$t")));
    assert_eq!(done.report().aliases, [("latest".to_owned(), 1)].into());
    assert_eq!(done.report().renamed[0].old, "late$t");
}

#[test]
fn names_can_be_swapped() {
    let swap = options(&[("pri$es", "stock"), ("stock", "prices")], &[]);
    let done = shop().migrate_with(&swap);
    assert!(done.conversion.refusals.is_empty(), "{:?}", done.conversion.refusals);
    let name = |id| done.after.get::<CollectionInfo>(&format!("root-coord/collection/{id}")).schema.unwrap().name;
    assert_eq!([name(1), name(2)], ["stock", "prices"]);
}

#[test]
fn what_is_to_have_two_names_is_refused() {
    refused(&shop(), &options(&[("pri$es", "x"), ("pri$es", "y")], &[]), &["renamed twice"]);
    refused(&shop(), &options(&[("pri$es", "x"), ("1", "y")], &[]), &["renamed twice"]);
    refused(&shop(), &options(&[], &[("late$t", "x"), ("late$t", "y")]), &["renamed twice"]);
    refused(&shop(), &partitions(&[("pri$es/p", "x"), ("1/11", "y")]), &["renamed twice"]);
}

/// 2.1 allows two of one name in some order of calls.
#[test]
fn of_two_with_one_name_the_id_says_which() {
    let cluster = shop().collection(3, "stock").partition(31, "p").partition(32, "p");
    refused(&cluster, &options(&[("stock", "x")], &[]), &["2 collections are named \"stock\"", "(2, 3)", "2=NEW"]);
    let done = cluster.migrate_with(&options(&[("3", "x")], &[]));
    let name = |id| done.after.get::<CollectionInfo>(&format!("root-coord/collection/{id}")).schema.unwrap().name;
    assert_eq!([name(2), name(3)], ["stock", "x"]);
    refused(&cluster, &partitions(&[("3/p", "x")]), &["2 partitions of collection \"stock\"", "(31, 32)", "3/31=NEW"]);
    let done = cluster.migrate_with(&partitions(&[("3/32", "x")]));
    let name = |id| done.after.get::<PartitionInfo>(&format!("root-coord/partitions/3/{id}")).partition_name;
    assert_eq!([name(31), name(32)], ["p", "x"]);
}

#[test]
fn a_partition_has_its_new_name_in_its_record_and_snapshot_and_nothing_else_changes() {
    let done = shop().migrate_with(&partitions(&[("pri$es/p", "q")]));
    let record = |key: &str| done.after.get::<PartitionInfo>(key).partition_name;
    assert_eq!(record("root-coord/partitions/1/11"), "q");
    assert_eq!(record("snapshots/root-coord/partitions/1/11_ts9"), "q");
    assert_eq!(done.after.differences(&shop().migrate().after).len(), 2);
    assert_eq!((&*done.report().renamed[0].old, &*done.report().renamed[0].new), ("p", "q"));
    refused(&shop(), &partitions(&[("p", "q")]), &["COLLECTION/PARTITION"]);
    refused(&shop(), &partitions(&[("pri$es/no", "q")]), &["has no partition \"no\"", "\"_default\", \"p\""]);
    let wish: Rename = "c/a=b/c=new".parse().unwrap();
    assert_eq!((&*wish.old, &*wish.new), ("c/a=b/c", "new"), "an old name may hold anything");
}

#[test]
fn a_dropped_alias_keeps_its_name_for_its_history() {
    refused(&shop(), &options(&[], &[("late$t", "old")]), &["was dropped"]);
    refused(&shop(), &options(&[], &[("old", "older")]), &["there is no alias \"old\"", "\"late$t\""]);
}

#[test]
fn what_is_not_there_is_refused_with_what_there_is() {
    refused(
        &shop(),
        &options(&[("prices", "x")], &[]),
        &["there is no collection \"prices\"", "\"pri$es\", \"stock\""],
    );
    refused(&Cluster::new(), &options(&[("prices", "x")], &[]), &["there is none at all"]);
}

#[test]
fn after_any_interruption_the_same_wishes_end_in_the_same_bytes() {
    let wishes = options(&[("pri$es", "prices")], &[("late$t", "latest")]);
    let cluster = shop();
    let undisturbed = cluster.migrate_with(&wishes);
    for order in orders(&cluster, &undisturbed, 3) {
        let mut interrupted = cluster.clone();
        for step in order {
            apply(&mut interrupted, &step);
            let resumed = interrupted.migrate_with(&wishes);
            assert_eq!(resumed.conversion.refusals, [""; 0]);
            assert_eq!(resumed.after.differences(&undisturbed.after), [""; 0]);
        }
    }
}

#[test]
fn the_wish_given_up_after_an_interruption_leaves_nothing_of_the_new_name() {
    let wishes = options(&[], &[("late$t", "latest")]);
    for target in LAYOUTS {
        let prepared = shop().convert(target, &wishes);
        let mut now = halfway(&shop(), &prepared, Part::Tripwires);
        for step in &steps(&shop(), &prepared.after)[&Part::NewRecords] {
            apply(&mut now, step);
            let done = now.migrate_to(target);
            assert_eq!(done.after.differences(&shop().migrate_to(target).after), [""; 0], "{target}: after {step:?}");
        }
        assert!(now.keys("snapshots/").iter().any(|key| key.contains("latest_ts")), "there is something to leave");
    }
}

#[test]
fn what_is_in_the_new_layout_already_is_not_renamed() {
    let switched = Cluster::new().collection(3, "prices").migrate().after;
    let mut both = shop();
    for key in switched.keys("") {
        both = both.put(key.clone(), switched.value(&key).clone());
    }
    refused(&both, &options(&[("prices", "x")], &[]), &["in the new layout already"]);
}

/// It is left out, under whatever name.
#[test]
fn an_alias_that_leads_nowhere_is_left_out_with_a_new_name_too() {
    let cluster = Cluster::new().collection(1, "c").put("root-coord/collection-alias/lo$t", alias_record("lo$t", 9));
    let done = cluster.migrate_with(&options(&[], &[("lo$t", "lost")]));
    assert_eq!(done.after.keys("root-coord/aliases/"), [""; 0]);
    assert!(done.left_out("root-coord/collection-alias/lo$t").contains("leads nowhere"));
    assert_eq!(done.conversion.refusals, [""; 0]);
}

#[test]
fn new_names_are_those_that_2_2_takes() {
    for name in ["a", "_", "_a1", "A_b_9", &"x".repeat(255)] {
        assert!(is_legal(name), "{name}");
        assert_eq!(format!("old={name}").parse::<Rename>().unwrap().new, name);
    }
    for text in ["old=", "old", "=new", "old=1a", "old=a$b", "old=a-b", "old=a b", "old=ä", "old=a="] {
        assert!(text.parse::<Rename>().is_err(), "{text}");
    }
    assert!(format!("old={}", "x".repeat(256)).parse::<Rename>().unwrap_err().contains("256"));
}
