//! Small inputs that once went wrong (testdata/cases): edits to the sample. Each goes the whole way with the binary, against a real
//! etcd: plan, backup, run, verify, rollback.

mod common;

use assert_cmd::assert::Assert;
use meta_migration::layout::families::{Family, Side};
use meta_migration::layout::keys::{Key, family_of};
use meta_migration::layout::messages::common::{CollectionInfo, FieldBinlog, SegmentInfo};
use meta_migration::layout::messages::target::{
    AliasInfo, CollectionLoadInfo, LoadType, PartitionInfo, PartitionLoadInfo, Replica,
};

use common::readable::decode;
use common::state::{Dump, assert_same, below, value};
use common::{Etcd, Tool, Version, lived, on_both_versions, said, testdata};

/// The target that cases are about, unless they say otherwise.
const TARGET: &str = "2.2.16";
/// `c_ivfflat`, when it was made, and its partitions `_default`, `p1`, `p2`, `p$3_`.
const IVFFLAT: i64 = 470_605_839_296_564_545;
const CREATED: u64 = 470_605_839_296_364_552;
const PARTITIONS: [i64; 4] =
    [470_605_839_296_564_546, 470_605_839_335_686_145, 470_605_839_375_007_745, 470_605_839_414_591_489];
/// The segment of its first partition that cases change.
const SEGMENT: i64 = 470_605_839_322_578_945;
const MIXED: i64 = 470_605_845_692_678_145;
/// `c_empty_noidx`, which a case gives the name of `c_mixed`.
const EMPTY: i64 = 470_605_849_087_442_945;
/// The index that 2.2 made on `c_ivfflat` when it was started first.
const INDEX_OF_2_2: i64 = 470_722_124_976_426_468;

on_both_versions![
    what_has_no_history_gets_snapshots_and_verify_misses_them,
    a_dangling_alias_is_left_out_and_listed,
    an_alias_named_like_a_collection_is_refused_until_it_is_renamed,
    two_collections_of_one_name_are_refused_until_one_is_renamed,
    two_partitions_of_one_name_are_refused_until_one_is_renamed,
    one_statslog_becomes_as_many_as_the_target_wants,
    a_segment_that_was_being_flushed_keeps_its_logs,
    rows_of_a_compacted_segment_are_shared_out,
    a_released_partition_stays_released,
    leftovers_of_a_drop_are_refused_or_left_out,
    without_collections_there_is_nothing_to_migrate,
    no_metadata_and_a_catalog_in_mysql_are_refused,
    what_a_newer_milvus_made_is_named_and_kept,
    another_cluster_is_not_rolled_back_unasked,
    another_milvus_in_an_etcd_of_the_same_id_is_not_rolled_back_unasked,
    looking_writes_nothing_whatever_is_there,
    keys_called_like_a_tripwire_come_back,
    a_backup_that_does_not_fit_is_no_way_back,
];

/// An etcd with a case in it, what that is, and the tool.
struct Scene {
    etcd: Etcd,
    tool: Tool,
    before: Dump,
}

impl Scene {
    /// The sample, edited as the case says.
    fn of(case: &str, version: Version) -> Self {
        let etcd = Etcd::start(version);
        etcd.load_milvus();
        Self::with(etcd, case)
    }

    fn with(etcd: Etcd, case: &str) -> Self {
        etcd.edit(&testdata(&format!("cases/{case}.jsonl")));
        let tool = Tool::new(&etcd);
        let before = etcd.dump();
        Self { etcd, tool, before }
    }

    fn call(&self, command: &str, target: &str, options: &[&str]) -> Assert {
        self.tool.call(&[&[command, "--target-version", target], options].concat())
    }

    /// Plan, backup, run and verify, all of which end with 0. Returns what plan and run said, and what is in etcd then.
    fn migrate(&self, target: &str, options: &[&str]) -> (String, Dump) {
        let planned = said(&self.call("plan", target, &[options, &["--details"]].concat()).code(0));
        self.call("backup", target, &[]).code(0);
        assert_same(&self.before, &self.etcd.dump(), "plan and backup change nothing");
        let ran = said(&self.call("run", target, &[options, &["--details"]].concat()).code(0));
        let after = self.etcd.dump();
        self.call("verify", target, &[]).code(0);
        // What an option of the run alone comes to, verify knows from the history.
        let options: Vec<_> = options.iter().copied().filter(|option| *option != "--keep-newer").collect();
        let compared = self.call("verify", target, &[&options[..], &["--backup", "migration.bak"]].concat()).code(0);
        assert!(said(&compared).contains("complete and consistent"), "{}", said(&compared));
        assert_same(&after, &self.etcd.dump(), "verify changes nothing");
        (planned + &ran, after)
    }

    /// Back to what was there before; the next migration makes a backup of its own.
    fn roll_back(&self) {
        self.tool.call(&["rollback"]).code(0);
        assert_same(&self.before, &self.etcd.dump(), "after rollback");
        std::fs::remove_file(self.tool.backup_file()).unwrap();
    }

    /// Plan and run refuse and write nothing, with the same words on it.
    fn refused(&self, options: &[&str], words: &[&str]) -> String {
        let mut told = String::new();
        for (command, waiver) in [("plan", &[][..]), ("run", &["--no-backup"])] {
            told = said(&self.call(command, TARGET, &[options, waiver].concat()).code(1));
            assert_says(&told, words);
            assert_same(&self.before, &self.etcd.dump(), command);
        }
        told
    }
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

#[track_caller]
fn found<M: prost::Message + Default>(dump: &Dump, key: &Key) -> M {
    decode(value(dump, &key.to_string()).unwrap_or_else(|| panic!("there is no {key}")))
}

fn segment(dump: &Dump) -> SegmentInfo {
    found(dump, &Family::Segment.key([IVFFLAT, PARTITIONS[0], SEGMENT]))
}

fn logs(dump: &Dump, family: Family, field: i64) -> FieldBinlog {
    found(dump, &family.key([IVFFLAT, PARTITIONS[0], SEGMENT, field]))
}

fn what_has_no_history_gets_snapshots_and_verify_misses_them(version: Version) {
    let scene = Scene::of("history-pruned", version);
    let (told, after) = scene.migrate(TARGET, &[]);
    assert_says(&told, &["would not see it: 2", "alias a_main", "collection c_ivfflat"]);
    let collection = Family::DatabaseCollection.key([1, IVFFLAT]);
    let alias = Family::DatabaseAlias.key_with([1], "a_main");
    let added = [collection.clone().at(CREATED), alias.clone().at(CREATED)];
    for (plain, added) in [collection, alias].iter().zip(&added) {
        let all: Vec<_> = below(&after, &format!("snapshots/{plain}_ts")).map(|(key, _)| key.to_owned()).collect();
        assert_eq!(all, [added.to_string()]);
    }
    assert_eq!(found::<AliasInfo>(&after, &added[1]).created_time, CREATED);
    for snapshot in added {
        let key = format!("by-dev/meta/{snapshot}").into_bytes();
        scene.etcd.delete(key.clone());
        let verified = said(&scene.call("verify", TARGET, &[]).code(1));
        assert_says(&verified, &[&snapshot.plain().to_string()]);
        scene.etcd.put(key.clone(), after[&key].clone());
    }
    scene.call("verify", TARGET, &[]).code(0);
    scene.roll_back();
}

fn a_dangling_alias_is_left_out_and_listed(version: Version) {
    let scene = Scene::of("dangling-alias", version);
    let (told, after) = scene.migrate(TARGET, &[]);
    assert_says(&told, &["root-coord/collection-alias/a_old: the alias leads nowhere"]);
    assert_eq!(told.matches("root-coord/collection-alias/a_old: ").count(), 2, "once by plan, once by run:\n{told}");
    let of_alias = below(&after, "").filter(|(key, _)| key.contains("a_old"));
    assert_eq!(of_alias.count(), 0);
    scene.roll_back();
}

/// The option that a refusal names, with this in the place of the new name.
#[track_caller]
fn remedy(told: &str, new: &str) -> [String; 2] {
    let line = told.lines().find_map(|line| line.split_once("what helps: ")).expect("a remedy").1;
    let (option, value) = line.split_once(' ').unwrap();
    [option.to_owned(), value.trim_matches('\'').replace("NEW", new)]
}

fn an_alias_named_like_a_collection_is_refused_until_it_is_renamed(version: Version) {
    let scene = Scene::of("alias-named-like-a-collection", version);
    let told = scene.refused(&[], &["aliases/1/c_mixed: ", "collection 470605845692678145 has that name"]);
    let [option, value] = remedy(&told, "a_mixed");
    assert_eq!((&*option, &*value), ("--rename-alias", "c_mixed=a_mixed"));
    let (told, after) = scene.migrate(TARGET, &[&option, &value]);
    assert_says(&told, &["c_mixed becomes a_mixed"]);
    let alias: AliasInfo = found(&after, &Family::DatabaseAlias.key_with([1], "a_mixed"));
    assert_eq!((&*alias.alias_name, alias.collection_id), ("a_mixed", IVFFLAT));
    assert_eq!(below(&after, "root-coord/database/aliases/1/c_mixed").next(), None);
    scene.roll_back();
}

fn two_collections_of_one_name_are_refused_until_one_is_renamed(version: Version) {
    let scene = Scene::of("two-collections-one-name", version);
    let told = scene.refused(&[], &["\"c_mixed\"", &MIXED.to_string(), &EMPTY.to_string()]);
    // By its ID: the name would not tell which.
    let [option, value] = remedy(&told, "c_other");
    assert_eq!((&*option, value), ("--rename-collection", format!("{EMPTY}=c_other")));
    scene.refused(&["--rename-collection", "c_mixed=c_other"], &["c_mixed"]);
    let (_, after) = scene.migrate(TARGET, &["--rename-collection", &format!("{EMPTY}=c_other")]);
    for (id, name) in [(MIXED, "c_mixed"), (EMPTY, "c_other")] {
        let collection: CollectionInfo = found(&after, &Family::DatabaseCollection.key([1, id]));
        assert_eq!(collection.schema.unwrap().name, name);
    }
    scene.roll_back();
}

fn two_partitions_of_one_name_are_refused_until_one_is_renamed(version: Version) {
    let scene = Scene::of("two-partitions-one-name", version);
    let told = scene.refused(&[], &["\"p1\"", &PARTITIONS[1].to_string(), &PARTITIONS[2].to_string()]);
    let [option, value] = remedy(&told, "p2");
    assert_eq!((&*option, value.clone()), ("--rename-partition", format!("{IVFFLAT}/{}=p2", PARTITIONS[2])));
    let (_, after) = scene.migrate(TARGET, &[&option, &value]);
    let names = ["_default", "p1", "p2", "p$3_"];
    for (partition, name) in PARTITIONS.into_iter().zip(names) {
        let record: PartitionInfo = found(&after, &Family::Partition.key([IVFFLAT, partition]));
        assert_eq!(record.partition_name, name);
    }
    scene.roll_back();
}

fn one_statslog_becomes_as_many_as_the_target_wants(version: Version) {
    let scene = Scene::of("one-statslog", version);
    for (target, number) in [("2.2.0", 1), (TARGET, 4), ("2.3.5", 4), ("2.4.23", 1)] {
        let (told, after) = scene.migrate(target, &[]);
        let repeated =
            "segments whose last statslog is repeated, because the new Milvus wants as many as binlogs: 1 (538.8 KiB";
        assert_eq!(told.matches(repeated).count(), if number == 4 { 2 } else { 0 }, "{target}:\n{told}");
        let statslogs = logs(&after, Family::Statslog, 100).binlogs;
        assert_eq!(statslogs.len(), number, "{target}");
        assert!(statslogs.iter().all(|log| *log == statslogs[0] && log.log_id > 0), "{target}: {statslogs:?}");
        assert_eq!(logs(&after, Family::Binlog, 100).binlogs.len(), 4, "{target}");
        scene.roll_back();
    }
}

fn a_segment_that_was_being_flushed_keeps_its_logs(version: Version) {
    let scene = Scene::of("flushing", version);
    let was = segment(&scene.before);
    assert_eq!((was.state, was.binlogs.len()), (5, 7));
    for target in [TARGET, "2.3.5"] {
        let (_, after) = scene.migrate(target, &[]);
        let is = segment(&after);
        assert_eq!((is.state, is.num_of_rows), (5, was.num_of_rows));
        assert_eq!((is.binlogs.len(), is.statslogs.len(), is.deltalogs.len()), (0, 0, 0));
        for list in &was.binlogs {
            let moved = logs(&after, Family::Binlog, list.field_id);
            let ids = |logs: &FieldBinlog| -> Vec<i64> {
                let id = |path: &str| path.rsplit('/').next().unwrap().parse().unwrap();
                logs.binlogs
                    .iter()
                    .map(|log| if log.log_path.is_empty() { log.log_id } else { id(&log.log_path) })
                    .collect()
            };
            assert_eq!(ids(&moved), ids(list), "{target}, field {}", list.field_id);
            assert!(moved.binlogs.iter().all(|log| log.log_path.is_empty()));
        }
        scene.roll_back();
    }
}

fn rows_of_a_compacted_segment_are_shared_out(version: Version) {
    let scene = Scene::of("compacted", version);
    let rows = segment(&scene.before).num_of_rows;
    for (target, statslogs) in [(TARGET, 4), ("2.3.5", 1)] {
        let (told, after) = scene.migrate(target, &[]);
        assert_says(&told, &[&SEGMENT.to_string()]);
        assert_eq!(told.matches("compacted segments whose rows are shared out by size: 1").count(), 2, "{told}");
        for field in [0, 1, 100, 101, 102, 103, 104] {
            let shared: Vec<i64> =
                logs(&after, Family::Binlog, field).binlogs.iter().map(|log| log.entries_num).collect();
            assert_eq!(shared, [rows / 10, rows * 2 / 10, rows * 3 / 10, rows * 4 / 10], "{target}, field {field}");
            assert_eq!(shared.iter().sum::<i64>(), rows);
        }
        assert_eq!(logs(&after, Family::Statslog, 100).binlogs.len(), statslogs, "{target}");
        scene.roll_back();
    }
}

fn a_released_partition_stays_released(version: Version) {
    let scene = Scene::of("released-partition", version);
    for (target, load_type) in [(TARGET, None), ("2.4.23", Some(LoadType::LoadPartition))] {
        let (told, after) = scene.migrate(target, &[]);
        assert_says(
            &told,
            &[
                "c_ivfflat / p1: released in 2.1, and stays so",
                "c_ivfflat / _default, p2, p$3_, 1 replica",
                "a delete that names no partition is kept, but not seen",
            ],
        );
        let loaded: Vec<i64> = below(&after, &format!("querycoord-partition-loadinfo/{IVFFLAT}/"))
            .map(|(_, value)| decode::<PartitionLoadInfo>(value).partition_id)
            .collect();
        assert_eq!(loaded, [PARTITIONS[0], PARTITIONS[2], PARTITIONS[3]], "{target}");
        let whole = value(&after, &Family::CollectionLoad.key([IVFFLAT]).to_string()).map(decode::<CollectionLoadInfo>);
        assert_eq!(whole.map(|whole| whole.load_type), load_type.map(i32::from), "{target}");
        scene.roll_back();
    }
}

fn leftovers_of_a_drop_are_refused_or_left_out(version: Version) {
    let scene = Scene::of("unfinished-drop", version);
    let words = [
        "root-coord/index/470605000000000001/470605000000000009",
        "the leftover of a drop that 2.1 did not finish; leaving it out costs nothing",
        "root-coord/segment-index/470605839296564545/470605840213868545/470605839296564546/470605839322578945",
        "its build record indexes/470605840229335042 is missing: the leftover of a drop that 2.1 did not finish",
        "the segment is indexed again",
    ];
    scene.refused(&[], &words);
    let (told, after) = scene.migrate(TARGET, &["--skip-invalid"]);
    assert_says(&told, &words);
    let of_segment = format!("segment-index/{IVFFLAT}/{}/{SEGMENT}/", PARTITIONS[0]);
    assert_eq!(below(&after, &of_segment).next(), None);
    assert_eq!(below(&after, &format!("segment-index/{IVFFLAT}/")).count(), 7);
    assert_eq!(below(&after, "field-index/470605000000000001/").next(), None);
    scene.roll_back();
}

fn without_collections_there_is_nothing_to_migrate(version: Version) {
    const NOTHING: &str = "no collections: nothing to migrate";
    let scene = Scene::of("fresh-2.1", version);
    for target in [TARGET, "2.4.23"] {
        assert_says(&said(&scene.call("plan", target, &[]).code(0)), &[NOTHING]);
        scene.call("backup", target, &[]).code(0);
        assert_says(&said(&scene.call("run", target, &[]).code(0)), &[NOTHING]);
        assert_says(&said(&scene.call("verify", target, &[]).code(0)), &[NOTHING]);
        // No tripwires and no history.
        assert_same(&scene.before, &scene.etcd.dump(), target);
        scene.roll_back();
    }
}

fn no_metadata_and_a_catalog_in_mysql_are_refused(version: Version) {
    let mut scene = Scene::of("fresh-2.1", version);
    scene.etcd.start_over(&Dump::new());
    scene.before = Dump::new();
    scene.refused(&[], &["there is no metadata under by-dev/meta"]);

    scene.etcd.load_milvus();
    let mut rest = scene.etcd.dump();
    rest.retain(|key, _| !key.starts_with(b"by-dev/meta/root-coord/") && !key.starts_with(b"by-dev/meta/snapshots/"));
    assert!(rest.keys().any(|key| key.starts_with(b"by-dev/meta/datacoord-meta/s/")));
    scene.etcd.start_over(&rest);
    scene.before = rest;
    scene.refused(&[], &["MySQL"]);
}

fn what_a_newer_milvus_made_is_named_and_kept(version: Version) {
    let scene = Scene::with(Etcd::start(version), "2.2-started-first.full");
    let made = [
        "collection made: c_new_in_22",
        "alias made: a_new",
        "collection dropped: c_empty_noidx",
        "on c_ivfflat / vec",
    ];
    let status = said(&scene.tool.call(&["status"]).code(0));
    assert_says(&status, &made);
    let first = "2.2 or later was started on this before it was migrated: 1 collection made there, 1 collection dropped, \
                 2 indexes made there, 1 alias made there";
    assert_says(&status, &[first, "--keep-newer"]);
    let refused = scene.refused(&[], &made);
    assert_says(&refused, &["what it made there is not touched unasked", "--keep-newer"]);

    let (told, after) = scene.migrate(TARGET, &["--keep-newer"]);
    assert_says(&told, &made);
    let inspected = said(&scene.tool.call(&["inspect", "migration.bak"]).code(0));
    assert_says(&inspected, &["layout keys of 2.1 and of 2.2 or later"]);
    for text in [&status, &refused, &told, &inspected] {
        assert!(!text.contains("interrupted"), "{text}");
    }
    all_of_the_newer_is_kept(&scene.before, &after);
    // The rest is migrated: 22 collections of 2.1 less the two dropped in 2.1 and the one dropped in 2.2.
    assert_says(&told, &["19 collections migrated"]);
    let load: CollectionLoadInfo = found(&after, &Family::CollectionLoad.key([IVFFLAT]));
    assert_eq!(load.field_index_id.values().copied().collect::<Vec<_>>(), [INDEX_OF_2_2]);
    let replicas = below(&after, "querycoord-replica/").map(|(_, value)| decode::<Replica>(value));
    assert_eq!(replicas.count(), 13);
    scene.roll_back();
}

/// Byte for byte, but for the alias, which moves to its place in the database.
fn all_of_the_newer_is_kept(before: &Dump, after: &Dump) {
    let mut kept = 0;
    for (key, record) in below(before, "").filter(|(key, _)| family_of(key.as_bytes()).side() == Side::Target) {
        if family_of(key.as_bytes()) != Family::Alias {
            assert_eq!(value(after, key), Some(record), "{key}");
            kept += 1;
        }
    }
    assert!(kept > 60, "only {kept}");
    let was: AliasInfo = found(before, &Family::Alias.named("a_new"));
    let is: AliasInfo = found(after, &Family::DatabaseAlias.key_with([1], "a_new"));
    assert_eq!(is, AliasInfo { db_id: 1, ..was });
    // What 2.2 dropped is not brought back.
    assert_eq!(value(after, &Family::DatabaseCollection.key([1, EMPTY]).to_string()), None);
    let dropped = Family::Collection.key([EMPTY]).to_string();
    assert_eq!(value(after, &dropped), value(before, &dropped));
}

fn another_cluster_is_not_rolled_back_unasked(version: Version) {
    let scene = Scene::of("dangling-alias", version);
    scene.migrate(TARGET, &[]);
    let other = Etcd::with(version).arg("--initial-cluster-token=another").start();
    other.load_milvus();
    let before = other.dump();
    let roll_back =
        |option: &[&str]| scene.tool.call(&[&["rollback", "--endpoints", &other.endpoint()], option].concat());
    let refused = said(&roll_back(&[]).code(1));
    assert_says(&refused, &["was made from the etcd cluster ", "--other-cluster", "Nothing was written"]);
    assert_same(&before, &other.dump(), "refused");
    roll_back(&["--other-cluster"]).code(0);
    assert_same(&scene.before, &other.dump(), "as asked");
}

/// etcd makes its ID from names and addresses: two that were started alike have the same one.
fn another_milvus_in_an_etcd_of_the_same_id_is_not_rolled_back_unasked(version: Version) {
    let etcd = Etcd::start(version);
    let tool = Tool::new(&etcd);
    etcd.load_lines(&lived());
    tool.call(&["backup"]).code(0);
    let lived = etcd.dump_prefix("by-dev/meta/root-coord/");

    let other = Etcd::start(version);
    other.load_milvus();
    let before = other.dump();
    let oracles = other.dump_prefix("by-dev/kv/");
    let roll_back = |option: &[&str]| tool.call(&[&["rollback", "--endpoints", &other.endpoint()], option].concat());
    let refused = said(&roll_back(&[]).code(1));
    assert_says(&refused, &["has none of the 20 collections here", "--other-cluster", "Nothing was written"]);
    for (sub_path, what) in [("", "that of a Milvus lies below it, by-dev/meta"), ("kv", "none of the keys below it")] {
        let options = ["--allow-other-root", "--other-cluster", "--meta-sub-path", sub_path];
        assert_says(&said(&roll_back(&options).code(1)), &["is no meta root: ", what, "Nothing was written"]);
    }
    assert_same(&before, &other.dump(), "refused");
    roll_back(&["--other-cluster"]).code(0);
    assert_same(&lived, &other.dump_prefix("by-dev/meta/root-coord/"), "as asked");
    assert_eq!(other.dump_prefix("by-dev/kv/"), oracles);
}

/// What etcd is asked to delete, so as to see the user's rights, may be there.
fn looking_writes_nothing_whatever_is_there(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    for kind in ["root-coord/collection-alias", "root-coord/index", "indexes", "datacoord-meta/s", "meta-migration"] {
        etcd.put(format!("by-dev/meta/{kind}/"), "damaged, and the only copy");
    }
    let (before, tool) = (etcd.dump(), Tool::new(&etcd));
    for options in [&["plan"][..], &["plan", "--skip-invalid"], &["run", "--with-backup"], &["status"], &["verify"]] {
        tool.call(options);
        assert_same(&before, &etcd.dump(), options.join(" "));
    }
}

fn keys_called_like_a_tripwire_come_back(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    for key in meta_migration::layout::keys::TRIPWIRES {
        etcd.put(format!("by-dev/meta/{key}"), vec![0x10, 3]);
    }
    let (before, tool) = (etcd.dump(), Tool::new(&etcd));
    tool.call(&["backup"]).code(0);
    tool.call(&["run", "--skip-invalid", "--target-version=2.2.16"]).code(0);
    assert_ne!(etcd.dump(), before);
    assert_says(
        &said(&tool.call(&["rollback", "--target-version=2.2.16"]).code(0)),
        &["all 396 metadata keys are as planned"],
    );
    assert_same(&before, &etcd.dump(), "rolled back");
}

fn a_backup_that_does_not_fit_is_no_way_back(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let made_before = Tool::new(&etcd);
    made_before.call(&["backup"]).code(0);
    let scene = Scene::with(etcd, "dangling-alias");
    std::fs::copy(made_before.backup_file(), scene.tool.backup_file()).unwrap();
    let refused = said(&scene.call("run", TARGET, &[]).code(1));
    assert_says(&refused, &["migration.bak does not hold what is in etcd now", "--no-backup"]);
    assert_same(&scene.before, &scene.etcd.dump(), "refused");

    let bytes = std::fs::read(scene.tool.backup_file()).unwrap();
    std::fs::write(scene.tool.backup_file(), &bytes[..bytes.len() / 2]).unwrap();
    let refused = said(&scene.call("run", TARGET, &[]).code(1));
    assert_says(&refused, &["migration.bak", "--no-backup"]);
    assert_same(&scene.before, &scene.etcd.dump(), "cut");

    std::fs::remove_file(scene.tool.backup_file()).unwrap();
    scene.migrate(TARGET, &[]);
    scene.roll_back();
}
