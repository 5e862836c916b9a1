//! Every state of docs/operating.md, made for real, and every command in it: the same name and the same way on from each.

mod common;

use common::readable::decode;
use common::state::{Dump, LOCK, assert_same, below, value};
use common::{Etcd, Tool, Version, on_both_versions, said, testdata};
use meta_migration::layout::families::{Family, Side};
use meta_migration::layout::is_tombstone;
use meta_migration::layout::keys::family_of;
use meta_migration::layout::messages::common::CollectionInfo;
use prost::Message;
use serde_json::Value;

/// The target that the original tool migrates to; its records have their form.
const ORIGINAL: &str = "2.2.0";
const TARGET: &str = "2.2.16";
const HISTORY: &str = "by-dev/meta/meta-migration/history";

on_both_versions![
    ready,
    run_interrupted,
    rollback_interrupted,
    repair_interrupted,
    migrated,
    newer_started_first,
    migrated_by_the_original_tool,
    migrated_without_history,
    metadata_of_a_newer_milvus,
    nothing_to_migrate,
    a_catalog_in_mysql,
    no_milvus,
];

/// An etcd in some state, and the tool.
struct Walk {
    etcd: Etcd,
    tool: Tool,
}

impl Walk {
    fn of_the_sample(version: Version) -> Self {
        let etcd = Etcd::start(version);
        etcd.load_milvus();
        let tool = Tool::new(&etcd);
        Self { etcd, tool }
    }

    /// Migrated metadata of the sample, and what it was before.
    fn migrated(version: Version, target: &str) -> (Self, Dump) {
        let walk = Self::of_the_sample(version);
        let before = walk.etcd.dump();
        walk.does(&["backup"]);
        walk.does(&["run", "--target-version", target]);
        (walk, before)
    }

    /// What `status` calls it, and what it says to do.
    #[track_caller]
    fn is(&self, state: &str, way_on: &[&str]) {
        let status = self.tool.call(&["status", "--output", "json"]).code(0);
        let status: Value = serde_json::from_slice(&status.get_output().stdout).unwrap();
        assert_eq!(status["state"], state, "{status:#}");
        let next = status["next"]["text"].as_str().unwrap();
        way_on.iter().for_each(|words| assert!(next.contains(words), "{words:?} is not in: {next}"));
    }

    /// Ends with 0.
    #[track_caller]
    fn does(&self, args: &[&str]) -> String {
        said(&self.tool.call(args).code(0))
    }

    /// Ends with 1, says why and what to do, and changes nothing.
    #[track_caller]
    fn refuses(&self, args: &[&str], words: &[&str]) {
        let before = self.etcd.dump();
        let text = said(&self.tool.call(args).code(1));
        words.iter().for_each(|words| assert!(text.contains(words), "{args:?}: {words:?} is not in: {text}"));
        assert_same(&before, &self.etcd.dump(), args);
    }

    /// Kills a command after so many transactions.
    fn kill(&self, args: &[&str], transactions: u64) {
        self.tool.catch(args, &self.etcd, transactions, || ()).kill();
        if self.etcd.get(LOCK).is_some() {
            self.etcd.end_lock();
        }
    }

    /// What is there, but for what we say about ourselves.
    fn records(&self) -> Dump {
        let mut records = self.etcd.dump();
        records.remove(HISTORY.as_bytes());
        records
    }
}

fn ready(version: Version) {
    let walk = Walk::of_the_sample(version);
    let before = walk.etcd.dump();
    walk.is("ready", &["look first with `plan`", "`backup`, then `run`"]);
    walk.does(&["plan"]);
    walk.refuses(&["repair"], &["not migrated yet", "`repair` is for what another tool"]);
    walk.refuses(&["verify"], &[]);
    walk.refuses(&["rollback"], &["there is no backup file"]);
    for target in ["2.2.0", TARGET] {
        let command = ["run", "--force", "--source-version", "2.2.0", "--target-version", target];
        walk.refuses(&command, &["the source version is 2.2.0", "2.1"]);
    }
    walk.does(&["backup"]);
    walk.does(&["run"]);
    walk.does(&["verify"]);
    walk.does(&["rollback"]);
    walk.is("ready", &[]);
    assert_same(&before, &walk.etcd.dump(), "rolled back");
}

fn run_interrupted(version: Version) {
    let walk = Walk::of_the_sample(version);
    let before = walk.etcd.dump();
    walk.does(&["backup"]);
    walk.kill(&["run"], 40);
    let ways = ["run --source-version 2.1.4 --target-version 2.2.0", "rollback"];
    walk.is("run-interrupted", &ways);
    walk.refuses(&["backup"], &["half migrated", "--force"]);
    walk.refuses(&["repair"], &["`repair` is for what another tool", ways[0]]);
    walk.refuses(&["run", "--target-version", "2.4.23"], &["an interrupted run for Milvus 2.2.0 is here", ways[0]]);
    walk.refuses(&["run", "--keep-index-files"], &["begun with other options", ways[0]]);
    walk.refuses(&["verify"], &[]);
    walk.does(&["plan"]);
    let killed = walk.etcd.dump();
    walk.does(&["run"]);
    walk.is("migrated", &[]);
    walk.does(&["verify"]);
    // The other way.
    walk.etcd.start_over(&killed);
    walk.does(&["rollback"]);
    assert_same(&before, &walk.etcd.dump(), "rolled back");
}

fn rollback_interrupted(version: Version) {
    let (walk, before) = Walk::migrated(version, TARGET);
    walk.kill(&["rollback"], 40);
    walk.is("rollback-interrupted", &["finish it with `rollback", "Do not start Milvus"]);
    walk.refuses(&["backup"], &["half restored"]);
    walk.refuses(&["backup", "--force"], &["half restored"]);
    for command in [&["run", "--force"][..], &["plan"], &["plan", "--target-version", TARGET]] {
        walk.refuses(command, &["only `rollback` goes on from here"]);
    }
    walk.refuses(&["repair"], &["`repair` is for what another tool", "finish it with `rollback"]);
    walk.refuses(&["verify"], &[]);
    walk.does(&["rollback"]);
    assert_same(&before, &walk.etcd.dump(), "rolled back");
    walk.is("ready", &[]);
}

fn repair_interrupted(version: Version) {
    let walk = by_the_original_tool(version);
    let before = walk.etcd.dump();
    walk.does(&["backup", "--force"]);
    walk.kill(&["repair", "--target-version", TARGET], 10);
    walk.is("repair-interrupted", &["finish it with `repair", "or go back with `rollback"]);
    walk.refuses(&["run", "--force"], &["`repair` has to be finished first"]);
    walk.refuses(&["backup"], &["half migrated"]);
    walk.refuses(&["repair", "--target-version", "2.4.23"], &["an interrupted repair for Milvus 2.2.16 is here"]);
    let killed = walk.etcd.dump();
    walk.does(&["repair", "--target-version", TARGET]);
    walk.does(&["verify", "--target-version", TARGET]);
    walk.etcd.start_over(&killed);
    walk.does(&["rollback"]);
    assert_same(&before, &walk.etcd.dump(), "rolled back");
}

fn migrated(version: Version) {
    let (walk, before) = Walk::migrated(version, TARGET);
    walk.is("migrated", &["check the metadata with `verify`, then start Milvus 2.2.16", "rollback"]);
    let text = walk.does(&["plan", "--target-version", "2.2.15"]);
    assert!(text.contains("in the layout of Milvus 2.2.15 already (migrated on 20"), "{text}");
    let after = walk.etcd.dump();
    walk.does(&["run", "--target-version", TARGET]);
    walk.does(&["repair", "--target-version", TARGET]);
    assert_same(&after, &walk.etcd.dump(), "nothing was to be done");
    for command in ["plan", "run", "repair"] {
        let words = ["migrated for Milvus 2.2.16", "another form than that of 2.4.23", "run again for 2.4.23"];
        walk.refuses(&[command, "--target-version", "2.4.23"], &words);
    }
    walk.refuses(&["backup"], &["no way back to 2.1"]);
    walk.does(&["verify", "--target-version", TARGET]);
    walk.does(&["rollback"]);
    assert_same(&before, &walk.etcd.dump(), "rolled back");
}

fn newer_started_first(version: Version) {
    let etcd = Etcd::start(version);
    etcd.edit(&testdata("cases/2.2-started-first.full.jsonl"));
    let walk = Walk { tool: Tool::new(&etcd), etcd };
    let before = walk.etcd.dump();
    let ways = ["run --keep-newer", "rollback"];
    walk.is("newer-started-first", &ways);
    walk.refuses(&["plan"], &["collection made: c_new_in_22", ways[0]]);
    walk.refuses(&["run", "--force"], &["collection made: c_new_in_22", ways[0]]);
    walk.refuses(&["repair"], &["`repair` is for what another tool", ways[0]]);
    walk.does(&["backup"]);
    walk.does(&["run", "--keep-newer", "--target-version", TARGET]);
    walk.is("migrated", &[]);
    walk.does(&["verify", "--target-version", TARGET]);
    walk.does(&["rollback"]);
    assert_same(&before, &walk.etcd.dump(), "rolled back");
    walk.is("newer-started-first", &ways);
}

/// What the original tool makes of the sample (lessons of its users' reports): aliases, indexes and load states of the new layout;
/// collections that still embed their fields and partitions, segments with their lists, replicas of 2.1, no checkpoints.
fn by_the_original_tool(version: Version) -> Walk {
    let (walk, before) = Walk::migrated(version, ORIGINAL);
    let mut shape = walk.records();
    let new = [Family::Partition, Family::Field, Family::ChannelCheckpoint, Family::Replica, Family::Tripwire];
    let logs = [Family::Binlog, Family::Statslog, Family::Deltalog];
    let relative = |key: &[u8]| key.strip_prefix(b"by-dev/meta/".as_slice()).unwrap_or(key).to_vec();
    shape.retain(|key, _| ![&new[..], &logs].concat().contains(&family_of(&relative(key))));
    for (key, old) in &before {
        let family = family_of(&relative(key));
        match family {
            Family::Collection => drop(shape.insert(key.clone(), without_indexes(old))),
            Family::Segment | Family::SourceReplica => drop(shape.insert(key.clone(), old.clone())),
            _ => {}
        }
    }
    walk.etcd.start_over(&shape);
    std::fs::remove_file(walk.tool.backup_file()).unwrap();
    walk
}

fn without_indexes(record: &[u8]) -> Vec<u8> {
    if is_tombstone(record) {
        return record.to_vec();
    }
    let mut info: CollectionInfo = decode(record);
    info.field_indexes.clear();
    info.encode_to_vec()
}

fn migrated_by_the_original_tool(version: Version) {
    let walk = by_the_original_tool(version);
    let before = walk.etcd.dump();
    walk.is("migrated-by-original-tool", &["`repair --target-version VERSION --with-backup`", "repair --dry-run"]);
    walk.refuses(&["run", "--force"], &["names, schemas and load states get lost later", "`repair"]);
    walk.refuses(&["plan"], &["`repair"]);
    walk.refuses(&["verify"], &[]);
    walk.refuses(&["backup"], &["no way back to 2.1"]);
    walk.does(&["repair", "--dry-run", "--target-version", TARGET]);
    assert_same(&before, &walk.etcd.dump(), "a dry run");
    walk.refuses(&["repair", "--target-version", TARGET], &["backup"]);
    walk.does(&["repair", "--target-version", TARGET, "--with-backup"]);
    walk.is("migrated", &["start Milvus 2.2.16"]);
    walk.does(&["verify", "--target-version", TARGET]);
    as_if_migrated_by_us(&walk, version);
    walk.does(&["rollback"]);
    assert_same(&before, &walk.etcd.dump(), "rolled back");
    walk.is("migrated-by-original-tool", &[]);
}

/// What repair makes is what `run` makes of the same 2.1 metadata: no collection, field, partition, alias, index, segment or load
/// state is missing or has another value.
fn as_if_migrated_by_us(walk: &Walk, version: Version) {
    let (ours, _) = Walk::migrated(version, TARGET);
    let (repaired, ours) = (walk.records(), ours.records());
    for family in Family::all().filter(|family| family.side() != Side::Source && *family != Family::ChannelCheckpoint) {
        for (key, expected) in below(&ours, family.prefix()) {
            assert_eq!(value(&repaired, key), Some(expected), "{key}");
        }
        let extra: Vec<_> = below(&repaired, family.prefix()).filter(|(key, _)| value(&ours, key).is_none()).collect();
        assert!(extra.is_empty(), "{extra:?}");
    }
}

fn migrated_without_history(version: Version) {
    let (walk, _) = Walk::migrated(version, ORIGINAL);
    walk.etcd.delete(HISTORY);
    let before = walk.etcd.dump();
    walk.is("migrated-without-history", &["`repair --target-version VERSION --with-backup`"]);
    walk.refuses(&["run", "--force"], &["its form may not be the target's own"]);
    walk.refuses(&["plan"], &["`verify` tells"]);
    walk.does(&["verify", "--target-version", ORIGINAL]);
    std::fs::remove_file(walk.tool.backup_file()).unwrap();
    walk.does(&["repair", "--target-version", TARGET, "--with-backup"]);
    walk.is("migrated", &[]);
    walk.does(&["verify", "--target-version", TARGET]);
    walk.does(&["rollback"]);
    assert_same(&before, &walk.etcd.dump(), "rolled back");
}

fn metadata_of_a_newer_milvus(version: Version) {
    let (walk, _) = Walk::migrated(version, TARGET);
    let mut newer = walk.records();
    newer.retain(|key, _| !key.starts_with(b"by-dev/meta/queryCoord-"));
    walk.etcd.start_over(&newer);
    walk.is("newer", &["nothing is to be migrated"]);
    walk.refuses(&["run", "--force"], &["there is nothing to migrate from 2.1"]);
    walk.refuses(&["plan"], &["there is nothing to migrate from 2.1"]);
    walk.refuses(&["backup"], &["no way back to 2.1"]);
    walk.does(&["verify", "--target-version", TARGET]);
}

fn nothing_to_migrate(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    etcd.edit(&testdata("cases/fresh-2.1.jsonl"));
    let walk = Walk { tool: Tool::new(&etcd), etcd };
    let before = walk.etcd.dump();
    walk.is("nothing-to-migrate", &["start the new Milvus"]);
    for command in ["plan", "backup", "run", "repair", "verify", "rollback"] {
        walk.does(&[command]);
        assert_same(&before, &walk.etcd.dump(), command);
    }
}

fn a_catalog_in_mysql(version: Version) {
    let walk = Walk::of_the_sample(version);
    let mut rest = walk.etcd.dump();
    rest.retain(|key, _| !key.starts_with(b"by-dev/meta/root-coord/") && !key.starts_with(b"by-dev/meta/snapshots/"));
    walk.etcd.start_over(&rest);
    walk.is("in-mysql", &["stay with Milvus 2.1", "etcd.rootPath"]);
    for command in [&["plan"][..], &["run", "--force"], &["repair"]] {
        walk.refuses(command, &["MySQL"]);
    }
}

fn no_milvus(version: Version) {
    let etcd = Etcd::start(version);
    let walk = Walk { tool: Tool::new(&etcd), etcd };
    walk.is("no-milvus", &["etcd.rootPath"]);
    for command in [&["plan"][..], &["run", "--force"], &["repair"], &["backup"], &["verify"]] {
        walk.refuses(command, &["there is no metadata under by-dev/meta"]);
    }
}
