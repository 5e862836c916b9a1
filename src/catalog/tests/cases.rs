//! Small inputs that once went wrong (testdata/cases): edits to the sample, each with what it must give.

use std::collections::BTreeMap;

use prost::Message;

use super::cluster::{Migrated, TARGETS, layout};
use super::sample::{case, sample};
use crate::catalog::names::Rename;
use crate::catalog::{Options, Precedence};
use crate::layout::families::Side;
use crate::layout::keys::family_of;
use crate::layout::messages::common::{CollectionInfo, FieldBinlog, SegmentInfo};
use crate::layout::messages::target::{
    AliasInfo, CollectionLoadInfo, LoadStatus, LoadType, PartitionInfo, PartitionLoadInfo,
};

/// The collection that most cases are about, and its partitions: `_default`, `p1`, `p2`, `p$3_`.
const IVFFLAT: i64 = 470_605_839_296_564_545;
const PARTITIONS: [i64; 4] =
    [470_605_839_296_564_546, 470_605_839_335_686_145, 470_605_839_375_007_745, 470_605_839_414_591_489];
/// Its segment in `_default` that cases change, and a log of it.
const SEGMENT: &str = "470605839296564545/470605839296564546/470605839322578945";

/// By key the value for the sample, and for the case.
type Differences = BTreeMap<String, [Option<Vec<u8>>; 2]>;

/// What the case has beyond the sample, and what it lacks or has changed, for a target; both without problems.
fn differences(name: &str, target: &str) -> (Migrated, Differences) {
    let (done, plain) = (case(name).migrate_to(target), sample().migrate_to(target));
    let keys = done.after.keys("").into_iter().chain(plain.after.keys(""));
    let value = |of: &Migrated, key: &str| of.after.has(key).then(|| of.after.value(key).to_vec());
    let pairs = keys.map(|key| (key.clone(), [value(&plain, &key), value(&done, &key)]));
    let different = pairs.filter(|(_, [without, with])| without != with).collect();
    (done, different)
}

fn log(done: &Migrated, kind: &str, field: i64) -> FieldBinlog {
    done.after.get(&format!("datacoord-meta/{kind}/{SEGMENT}/{field}"))
}

#[test]
fn history_pruned() {
    for target in TARGETS {
        let (done, different) = differences("history-pruned", target);
        let (collection, alias, db_id) = match layout(target).in_database {
            true => {
                (format!("root-coord/database/collection-info/1/{IVFFLAT}"), "root-coord/database/aliases/1/a_main", 1)
            }
            false => (format!("root-coord/collection/{IVFFLAT}"), "root-coord/aliases/a_main", 0),
        };
        let created =
            case("history-pruned").get::<CollectionInfo>(&format!("root-coord/collection/{IVFFLAT}")).create_time;
        // The snapshots of the collection, of its fields and partitions, of the alias are another one; nothing else is.
        for (key, [_, now]) in &different {
            let kind =
                ["root-coord/fields/", "root-coord/partitions/"].map(|kind| format!("snapshots/{kind}{IVFFLAT}/"));
            let concerns = kind.iter().any(|kind| key.starts_with(kind))
                || [&*collection, alias].iter().any(|plain| key.starts_with(&format!("snapshots/{plain}_ts")));
            assert!(concerns, "{target}: {key}");
            assert_eq!(now.is_some(), key.ends_with(&format!("_ts{created}")), "{target}: {key}");
        }
        let snapshot = format!("snapshots/{collection}_ts{created}");
        assert_eq!(done.after.value(&snapshot), done.after.value(&collection));
        for key in [
            done.after.keys(&format!("root-coord/fields/{IVFFLAT}/")),
            done.after.keys(&format!("root-coord/partitions/{IVFFLAT}/")),
        ]
        .concat()
        {
            assert_eq!(done.after.value(&format!("snapshots/{key}_ts{created}")), done.after.value(&key));
        }
        let expected =
            AliasInfo { alias_name: "a_main".into(), collection_id: IVFFLAT, created_time: created, state: 0, db_id };
        let of_collection =
            |id| case("history-pruned").get::<CollectionInfo>(&format!("root-coord/collection/{id}")).create_time;
        let found: AliasInfo = done.after.get(alias);
        let created = of_collection(found.collection_id);
        let expected = AliasInfo { collection_id: found.collection_id, created_time: created, ..expected };
        assert_eq!(done.after.get::<AliasInfo>(&format!("snapshots/{alias}_ts{created}")), expected);
        assert_eq!(done.after.keys(&format!("snapshots/{alias}_ts")).len(), 1);
        assert_eq!(done.report().snapshots_added, ["alias a_main", "collection c_ivfflat"]);
    }
}

#[test]
fn dangling_alias() {
    for target in TARGETS {
        let (done, different) = differences("dangling-alias", target);
        assert_eq!(different, BTreeMap::new(), "{target}: it is as if it were not there");
        assert!(done.left_out("root-coord/collection-alias/a_old").contains("leads nowhere"));
    }
}

/// That they clash is for the one judgement over what would be; the conversion itself gives each what it has.
#[test]
fn names_that_clash_are_carried_as_they_are_and_can_be_renamed() {
    let renames = |old: &str, new: &str| vec![Rename { old: old.into(), new: new.into() }];
    let converted = |name: &str, options: &Options| {
        let done = case(name).migrate_with(options);
        assert_eq!(done.conversion.refusals, [""; 0], "{name}");
        done
    };
    let done = converted(
        "alias-named-like-a-collection",
        &Options { rename_alias: renames("c_mixed", "a_mixed"), ..Options::default() },
    );
    assert!(done.after.has("root-coord/aliases/a_mixed") && !done.after.has("root-coord/aliases/c_mixed"));
    assert!(converted("alias-named-like-a-collection", &Options::default()).after.has("root-coord/aliases/c_mixed"));

    let twice = 470_605_849_087_442_945_i64;
    let name = |done: &Migrated| {
        let record: CollectionInfo = done.after.get(&format!("root-coord/collection/{twice}"));
        record.schema.unwrap().name
    };
    assert_eq!(name(&converted("two-collections-one-name", &Options::default())), "c_mixed");
    let by_id = Options { rename_collection: renames(&twice.to_string(), "c_other"), ..Options::default() };
    assert_eq!(name(&converted("two-collections-one-name", &by_id)), "c_other");
    let by_name = Options { rename_collection: renames("c_mixed", "c_other"), ..Options::default() };
    let refusals = case("two-collections-one-name").migrate_with(&by_name).conversion.refusals;
    assert!(
        refusals.len() == 1 && refusals[0].contains(&twice.to_string()),
        "by ID, where the name is not unique: {refusals:?}"
    );

    let names = |done: &Migrated| {
        PARTITIONS
            .map(|id| done.after.get::<PartitionInfo>(&format!("root-coord/partitions/{IVFFLAT}/{id}")).partition_name)
    };
    let done = converted("two-partitions-one-name", &Options::default());
    assert_eq!(names(&done), ["_default", "p1", "p1", "p$3_"]);
    let wish = format!("c_ivfflat/{}", PARTITIONS[2]);
    let by_id = Options { rename_partition: renames(&wish, "p2"), ..Options::default() };
    assert_eq!(names(&converted("two-partitions-one-name", &by_id)), ["_default", "p1", "p2", "p$3_"]);
    let by_name = Options { rename_partition: renames("c_ivfflat/p1", "p2"), ..Options::default() };
    let refusals = case("two-partitions-one-name").migrate_with(&by_name).conversion.refusals;
    assert!(refusals.len() == 1 && refusals[0].contains(&PARTITIONS[2].to_string()), "{refusals:?}");
}

#[test]
fn one_statslog() {
    let before: SegmentInfo = case("one-statslog").get(&format!("datacoord-meta/s/{SEGMENT}"));
    assert!(before.binlogs.iter().all(|list| list.binlogs.len() == 4));
    let [list] = &before.statslogs[..] else { panic!("{:?}", before.statslogs) };
    assert_eq!((list.field_id, list.binlogs.len()), (100, 1));
    for target in TARGETS {
        let done = case("one-statslog").migrate_to(target);
        let number = if target.starts_with("2.4") || target == "2.2.0" { 1 } else { 4 };
        let statslogs = log(&done, "statslog", 100).binlogs;
        assert_eq!(statslogs.len(), number, "{target}");
        assert!(statslogs.iter().all(|log| *log == statslogs[0] && log.log_path.is_empty() && log.log_id > 0));
        for list in &before.binlogs {
            let rows: Vec<_> = list.binlogs.iter().map(|log| log.entries_num).collect();
            let kept: Vec<_> = log(&done, "binlog", list.field_id).binlogs.iter().map(|log| log.entries_num).collect();
            assert_eq!(kept, rows);
        }
        let told = &done.report().segments;
        let bytes = list.binlogs[0].log_size * (number as i64 - 1);
        assert_eq!((told.padded, told.padded_bytes), (u64::from(number > 1), bytes), "{target}");
    }
}

#[test]
fn flushing() {
    let before = case("flushing");
    let record = format!("datacoord-meta/s/{SEGMENT}");
    assert_eq!(before.get::<SegmentInfo>(&record).state, 5);
    for target in TARGETS {
        let done = before.migrate_to(target);
        let after: SegmentInfo = done.after.get(&record);
        assert_eq!((after.state, after.num_of_rows), (5, before.get::<SegmentInfo>(&record).num_of_rows));
        assert_eq!((after.binlogs.len(), after.statslogs.len(), after.deltalogs.len()), (0, 0, 0));
        for (kind, lists) in [
            ("binlog", before.get::<SegmentInfo>(&record).binlogs),
            ("statslog", before.get::<SegmentInfo>(&record).statslogs),
        ] {
            assert_eq!(done.after.keys(&format!("datacoord-meta/{kind}/{SEGMENT}/")).len(), lists.len());
            for list in lists {
                let logs = log(&done, kind, list.field_id).binlogs;
                let ids = |logs: &[crate::layout::messages::common::Binlog]| -> Vec<String> {
                    logs.iter()
                        .map(|log| format!("{}{}", log.log_path.rsplit('/').next().unwrap(), log.log_id))
                        .collect()
                };
                // 2.1 has a path and the ID 0, newer versions the ID alone.
                let expected: Vec<_> = ids(&list.binlogs).iter().map(|id| id[..id.len() - 1].to_owned()).collect();
                assert_eq!(ids(&logs), expected);
            }
        }
    }
}

#[test]
fn compacted() {
    let before: SegmentInfo = case("compacted").get(&format!("datacoord-meta/s/{SEGMENT}"));
    assert_eq!((before.num_of_rows, before.compaction_from.is_empty()), (2010, false));
    for target in TARGETS {
        let done = case("compacted").migrate_to(target);
        for list in &before.binlogs {
            let rows: Vec<_> = log(&done, "binlog", list.field_id).binlogs.iter().map(|log| log.entries_num).collect();
            assert_eq!(rows, [201, 402, 603, 804], "{target}: field {}", list.field_id);
        }
        let told = &done.report().segments;
        assert_eq!(told.rows_shared, [470_605_839_322_578_945]);
        let is_repeated = target.starts_with("2.2") && target != "2.2.0";
        assert_eq!(log(&done, "statslog", 100).binlogs.len(), if is_repeated { 4 } else { 1 }, "{target}");
    }
}

#[test]
fn released_partition() {
    for target in TARGETS {
        let (done, different) = differences("released-partition", target);
        let whole = format!("querycoord-collection-loadinfo/{IVFFLAT}");
        let partition = |id: i64| format!("querycoord-partition-loadinfo/{IVFFLAT}/{id}");
        let left = [PARTITIONS[0], PARTITIONS[2], PARTITIONS[3]];
        let mut expected: Vec<String> = left.iter().map(|id| partition(*id)).collect();
        expected.sort();
        assert_eq!(done.after.keys(&partition(0)[..partition(0).len() - 1]), expected, "{target}");
        let field_index_id: BTreeMap<i64, i64> = [(104, 470_605_840_213_868_545)].into();
        let status = LoadStatus::Loaded as i32;
        for id in left {
            let record = PartitionLoadInfo {
                collection_id: IVFFLAT,
                partition_id: id,
                replica_number: 1,
                status,
                field_index_id: field_index_id.clone(),
            };
            assert_eq!(done.after.get::<PartitionLoadInfo>(&partition(id)), record);
        }
        if layout(target).load_type {
            let record = CollectionLoadInfo {
                collection_id: IVFFLAT,
                released_partitions: vec![],
                replica_number: 1,
                status,
                field_index_id,
                load_type: LoadType::LoadPartition as i32,
            };
            assert_eq!(done.after.get::<CollectionLoadInfo>(&whole), record);
        } else {
            assert!(!done.after.has(&whole));
        }
        let concerned = |key: &String| key.contains(&IVFFLAT.to_string()) && key.contains("oord-");
        assert!(different.keys().all(concerned), "{target}: {:?}", different.keys());
        let told: Vec<_> = done
            .report()
            .released
            .iter()
            .filter(|one| one.collection == "c_ivfflat")
            .map(|one| &*one.partitions)
            .collect();
        assert_eq!(told, [["p1"]]);
    }
}

#[test]
fn unfinished_drop() {
    let index = "root-coord/index/470605000000000001/470605000000000009";
    for target in TARGETS {
        let done = case("unfinished-drop").convert(target, &Options::default());
        let [gone, without_build] = &done.conversion.problems[..] else { panic!("{:?}", done.conversion.problems) };
        assert_eq!(gone.key, index);
        assert!(gone.what.contains("the leftover of a drop that 2.1 did not finish"), "{gone:?}");
        assert_eq!(gone.meaning, "leaving it out costs nothing");
        assert!(without_build.key.starts_with("root-coord/segment-index/470605839296564545/"), "{without_build:?}");
        assert!(without_build.what.contains("indexes/470605840229335042"), "{without_build:?}");
        assert!(without_build.what.contains("the leftover of a drop that 2.1 did not finish"), "{without_build:?}");
        assert!(without_build.meaning.contains("is indexed again"), "{without_build:?}");
        // Left out is exactly that.
        let plain = sample().migrate_to(target);
        let missing: Vec<_> = plain.after.keys("").into_iter().filter(|key| !done.after.has(key)).collect();
        let [missing] = &missing[..] else { panic!("{missing:?}") };
        assert!(missing.starts_with("segment-index/") && missing.ends_with("/470605840229335042"), "{missing}");
        assert_eq!(done.after.differences(&plain.after.remove(missing)), [""; 0], "{target}");
    }
}

#[test]
fn fresh_2_1() {
    let before = case("fresh-2.1");
    for target in TARGETS {
        let done = before.migrate_to(target);
        assert_eq!(done.after.differences(&before), [""; 0], "{target}: nothing to migrate");
        assert_eq!(done.after.tripwires(), [""; 0]);
    }
}

#[test]
fn every_case_decodes_and_is_done_after_one_run() {
    for name in ["history-pruned", "dangling-alias", "one-statslog", "flushing", "compacted", "released-partition"] {
        for target in TARGETS {
            let done = case(name).migrate_to(target);
            assert_eq!(done.after.migrate_to(target).after.differences(&done.after), [""; 0], "{name} for {target}");
            for key in done.after.keys("datacoord-meta/binlog/") {
                assert!(FieldBinlog::decode(done.after.value(&key).clone()).is_ok(), "{key}");
            }
        }
    }
}

/// What 2.2.16 made: a collection with an index, an index on c_ivfflat in the stead of 2.1's, an alias; and it began to drop
/// c_empty_noidx.
#[test]
fn started_first_by_2_2_all_of_its_own_stays_and_the_rest_is_migrated() {
    let before = case("2.2-started-first.full");
    let options = Options { precedence: Precedence::Newer, ..Options::default() };
    for target in ["2.2.16", "2.3.5", "2.4.23"] {
        let done = before.convert(target, &options);
        assert_eq!(done.conversion.problems, [], "{target}");
        for (key, value) in before.records().iter().filter(|(key, _)| family_of(key).side() == Side::Target) {
            let key = std::str::from_utf8(key).unwrap();
            if key.contains("root-coord/aliases/a_new") {
                let moved = key.replace("root-coord/aliases/", "root-coord/database/aliases/1/");
                let expected = AliasInfo { db_id: 1, ..before.get(key) };
                assert_eq!(done.after.get::<AliasInfo>(&moved), expected);
                assert!(!done.after.has(key));
            } else {
                assert_eq!(done.after.value(key), value, "{target}: {key}");
            }
        }
        let dropping = "root-coord/collection/470605849087442945";
        for key in [before.keys(dropping), before.keys(&format!("snapshots/{dropping}_ts"))].concat() {
            assert_eq!(done.after.value(&key), before.value(&key), "{target}: 2.2.16 goes on dropping it");
        }
        assert_eq!(done.after.keys("root-coord/collection/"), [dropping]);
        // 19 living ones of 2.1, 2 tombstones, the new one.
        assert_eq!(done.report().collections.len(), 19);
        assert_eq!(done.after.keys("root-coord/database/collection-info/1/").len(), 22);
        assert_eq!(done.after.keys("root-coord/database/aliases/1/").len(), 7);
        assert_eq!(done.after.keys("field-index/").len(), 17 + 2);
        assert_eq!(done.after.keys("segment-index/").len(), 27 + 9);
        let [kept] = &done.report().kept_newer[..] else { panic!("{:?}", done.report().kept_newer) };
        assert_eq!(kept.key, format!("root-coord/index/{IVFFLAT}/470605840213868545"));
        let load: CollectionLoadInfo = done.after.get(&format!("querycoord-collection-loadinfo/{IVFFLAT}"));
        assert_eq!(load.field_index_id, [(104, 470_722_124_976_426_468)].into(), "the index that stands");
        let again = done.after.convert(target, &options);
        assert_eq!(again.after.differences(&done.after), [""; 0], "{target}");
    }
}
