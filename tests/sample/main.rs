//! What a real Milvus 2.1.0 wrote: backed up, migrated, brought back.

#[path = "../common/mod.rs"]
mod common;

mod backup;
mod facts;
mod names;
mod rollback;
mod storage;

use std::path::Path;

use meta_migration::layout::families::{Family, Side};
use meta_migration::layout::keys::family_of;
use meta_migration::layout::messages::common::CollectionInfo;
use meta_migration::layout::messages::target;
use meta_migration::layout::{TOMBSTONE, is_tombstone};

use common::readable::{self, decode};
use common::state::{Dump, assert_same, below, value};
use common::{Etcd, Tool, Version, on_both_versions, said, testdata};

/// Keys under the meta root of the migrated sample, the session counter among them (testdata/README.md).
const MIGRATED_KEYS: usize = 1_069;
/// What stands there besides: our history.
const HISTORY_KEYS: usize = 1;

on_both_versions![
    the_migrated_sample_is_as_in_the_golden_dump,
    keys_of_both_layouts_and_of_neither_are_untouched,
    dropped_collections_and_aliases_stay_dropped,
    fields_and_partitions_have_snapshots_of_the_same_time_as_their_collection,
    older_snapshots_of_collections_stay_whole_but_for_their_indexes,
    running_again_has_nothing_to_do_and_writes_nothing,
];

/// An etcd with the sample, what was in it, the tool, and what is in it after `run`.
struct Migrated {
    etcd: Etcd,
    tool: Tool,
    before: Dump,
    after: Dump,
}

impl Migrated {
    fn on(version: Version) -> Self {
        let etcd = Etcd::start(version);
        etcd.load_milvus();
        let tool = Tool::new(&etcd);
        let before = etcd.dump();
        tool.call(&["backup"]).code(0);
        assert_same(&before, &etcd.dump(), "backup changes nothing");
        tool.call(&["run"]).code(0);
        let after = etcd.dump();
        Self { etcd, tool, before, after }
    }
}

fn the_migrated_sample_is_as_in_the_golden_dump(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let before = etcd.dump();
    for target in ["2.2.0", "2.2.16", "2.4.23"] {
        etcd.start_over(&before);
        Tool::new(&etcd).call(&["run", "--target-version", target]).code(0);
        let mut after = etcd.dump();
        // Its times are never the same twice.
        after.remove(b"by-dev/meta/meta-migration/history".as_slice()).expect("the history");
        let found = readable::text(&after);
        assert!(found.len() < 500_000, "{} bytes are too many to be read", found.len());
        compare_with_golden(&testdata(&format!("golden/milvus-2.1.0-to-{target}.txt")), &found);
    }
}

/// `UPDATE_GOLDEN=1` writes the file anew.
fn compare_with_golden(file: &Path, found: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        // Renamed into place: the test with the other etcd may be reading it.
        let new = file.with_extension(format!("{:?}", std::thread::current().id()));
        std::fs::write(&new, found).unwrap();
        std::fs::rename(new, file).unwrap();
    }
    let expected = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let changed = |(expected, found): (&str, &str)| (expected != found).then(|| format!("- {expected}\n+ {found}"));
    let difference = expected.lines().zip(found.lines()).find_map(changed);
    assert!(
        expected == found,
        "not as in {} ({} lines there, {} now); the first difference:\n{}\nUPDATE_GOLDEN=1 writes it anew",
        file.display(),
        expected.lines().count(),
        found.lines().count(),
        difference.unwrap_or_else(|| "one ends earlier".into())
    );
}

/// Whoever adds up what the phases of a run say they wrote gets what the plan announced.
#[test]
fn the_phases_of_a_log_add_up_to_its_plan() {
    let etcd = Etcd::start(Version::V3_5);
    etcd.load_milvus();
    let tool = Tool::new(&etcd);
    let log = said(&tool.call(&["run", "--with-backup"]).code(0));
    let number_before = |line: &str, word: &str| {
        let text = line.split(word).next().and_then(|before| before.rsplit(' ').next()).unwrap_or_default();
        text.replace(',', "").parse::<u64>().unwrap_or_else(|_| panic!("no number before {word:?} in {line}"))
    };
    let planned = log.lines().find(|line| line.contains(" INFO plan: ")).expect("a plan");
    let (puts, deletes) = (number_before(planned, " puts"), number_before(planned, " deletes"));
    let phases = log.lines().filter(|line| line.contains(" keys in ") && !line.contains(" metadata keys in "));
    let written: Vec<u64> = phases.map(|line| number_before(line, " keys in ")).collect();
    assert_eq!(written.iter().sum::<u64>(), puts + deletes, "{written:?} in {log}");
}

#[test]
fn two_etcds_get_identical_bytes() {
    let [old, new] = [Version::V3_4, Version::V3_5].map(Migrated::on);
    assert_same(&old.after, &new.after, "etcd 3.4 and 3.5");
}

fn keys_of_both_layouts_and_of_neither_are_untouched(version: Version) {
    let Migrated { before, after, .. } = Migrated::on(version);
    let count = |dump: &Dump, prefix: &str| dump.keys().filter(|key| key.starts_with(prefix.as_bytes())).count();
    assert_eq!(count(&before, "by-dev/meta/"), 393);
    assert_eq!(count(&after, "by-dev/meta/"), MIGRATED_KEYS + HISTORY_KEYS);
    assert_eq!((count(&before, "by-dev/kv/"), count(&after, "by-dev/kv/")), (4, 4));
    assert_eq!(after.len(), MIGRATED_KEYS + HISTORY_KEYS + 4);

    let mut untouched = 0;
    for (key, value) in &before {
        let relative = key.strip_prefix(b"by-dev/meta/");
        match relative.map_or(Side::Neither, |key| family_of(key).side()) {
            Side::Neither => {
                assert_eq!(after.get(key), Some(value), "{}", key.escape_ascii());
                untouched += 1;
            }
            Side::Source => assert!(!after.contains_key(key), "{}", key.escape_ascii()),
            Side::Both => assert!(after.contains_key(key), "{}", key.escape_ascii()),
            Side::Target => panic!("the sample has the key {}", key.escape_ascii()),
        }
    }
    // Of each kind as many as testdata's README says.
    assert_eq!(untouched, 2 + 15 + 30 + 45 + 29 + 1 + 4);
    for prefix in [
        "root-coord/collection-alias/",
        "root-coord/index/",
        "root-coord/segment-index/",
        "indexes/",
        "root-coord/dd-operation",
        "root-coord/dd-msg-send",
    ] {
        for prefix in [prefix.to_owned(), format!("snapshots/{prefix}")] {
            let is_tripwire = |key: &str| family_of(key.as_bytes()) == Family::Tripwire;
            assert_eq!(below(&after, &prefix).find(|(key, _)| !is_tripwire(key)), None, "{prefix}");
        }
    }
}

fn dropped_collections_and_aliases_stay_dropped(version: Version) {
    let Migrated { before, after, .. } = Migrated::on(version);
    let dropped: Vec<_> = below(&before, "root-coord/collection/").filter(|(_, value)| is_tombstone(value)).collect();
    assert_eq!(dropped.len(), 2);
    for (key, _) in dropped {
        assert_eq!(value(&after, key), Some(TOMBSTONE), "{key}");
        for kind in ["partitions", "fields"] {
            let parts = key.replace("collection", kind) + "/";
            assert_eq!(below(&after, &parts).next(), None, "{parts}");
            assert_eq!(below(&after, &format!("snapshots/{parts}")).next(), None, "{parts}");
        }
    }
    let (mut live, mut dropped, mut snapshots) = (0, 0, 0);
    for (key, before) in below(&before, "root-coord/collection-alias/") {
        let now = value(&after, &key.replace("collection-alias", "aliases"));
        if is_tombstone(before) {
            dropped += 1;
            assert_eq!(now, None, "{key}");
        } else {
            live += 1;
            assert!(now.is_some_and(|now| !is_tombstone(now)), "{key}");
        }
    }
    for (key, before) in below(&before, "snapshots/root-coord/collection-alias/") {
        let now = value(&after, &key.replace("collection-alias", "aliases")).expect(key);
        snapshots += 1;
        if is_tombstone(before) {
            assert_eq!(now, TOMBSTONE);
            continue;
        }
        let (name, timestamp) = key.rsplit_once("_ts").unwrap();
        let expected = target::AliasInfo {
            alias_name: name.rsplit('/').next().unwrap().to_owned(),
            collection_id: decode::<CollectionInfo>(before).id,
            created_time: timestamp.parse().unwrap(),
            ..target::AliasInfo::default()
        };
        assert_eq!(decode::<target::AliasInfo>(now), expected, "{key}");
    }
    assert_eq!((live, dropped, snapshots), (6, 2, 14));
}

fn fields_and_partitions_have_snapshots_of_the_same_time_as_their_collection(version: Version) {
    let Migrated { after, .. } = Migrated::on(version);
    let mut parts = 0;
    for kind in ["partitions", "fields"] {
        for (key, value) in below(&after, &format!("root-coord/{kind}/")) {
            let collection: i64 = key.split('/').nth(2).unwrap().parse().unwrap();
            let newest = newest_snapshot(&after, collection).expect("a snapshot of the collection");
            let snapshots: Vec<_> = below(&after, &format!("snapshots/{key}_ts")).collect();
            assert_eq!(snapshots, [(&*format!("snapshots/{key}_ts{newest}"), value)], "{key}");
            parts += 1;
        }
        let snapshots = below(&after, &format!("snapshots/root-coord/{kind}/")).count();
        assert_eq!(snapshots, below(&after, &format!("root-coord/{kind}/")).count());
    }
    assert_eq!(parts, 31 + 142);
}

fn newest_snapshot(dump: &Dump, collection: i64) -> Option<u64> {
    let prefix = format!("snapshots/{}_ts", Family::Collection.key([collection]));
    below(dump, &prefix).map(|(key, _)| key[prefix.len()..].parse().unwrap()).max()
}

fn older_snapshots_of_collections_stay_whole_but_for_their_indexes(version: Version) {
    let Migrated { before, after, .. } = Migrated::on(version);
    let (mut newest, mut older) = (0, 0);
    for (key, before_value) in below(&before, "snapshots/root-coord/collection/") {
        let after_value = value(&after, key).expect(key);
        if is_tombstone(before_value) {
            assert_eq!(after_value, TOMBSTONE, "{key}");
            continue;
        }
        let mut expected: CollectionInfo = decode(before_value);
        expected.field_indexes.clear();
        let timestamp: u64 = key.rsplit_once("_ts").unwrap().1.parse().unwrap();
        let plain = value(&after, &Family::Collection.key([expected.id]).to_string()).unwrap();
        if Some(timestamp) == newest_snapshot(&after, expected.id) && !is_tombstone(plain) {
            newest += 1;
            facts::strip(&mut expected);
        } else {
            older += 1;
            assert!(!expected.partition_i_ds.is_empty() && !expected.schema.as_ref().unwrap().fields.is_empty());
        }
        assert_eq!(decode::<CollectionInfo>(after_value), expected, "{key}");
    }
    assert_eq!((newest, older), (20, 15));
}

fn running_again_has_nothing_to_do_and_writes_nothing(version: Version) {
    let Migrated { etcd, tool, after, .. } = Migrated::on(version);
    let newest = |etcd: &Etcd| etcd.entries().iter().map(etcd_client::KeyValue::mod_revision).max();
    let before = newest(&etcd);
    for args in [["run"].as_slice(), &["run", "--with-backup"], &["run", "--skip-invalid"]] {
        let second = tool.call(args).code(0);
        assert!(said(&second).contains("nothing to do"), "{}", said(&second));
    }
    // What changes the result comes too late, and is not taken for done.
    let late = tool.call(&["run", "--rebuild-index=HNSW"]).code(1);
    assert!(said(&late).contains("migrated already, without --rebuild-index HNSW"), "{}", said(&late));
    assert_same(&after, &etcd.dump(), "a second run");
    assert_eq!(newest(&etcd), before);
    assert_eq!(etcd.leases().len(), 0);
}
