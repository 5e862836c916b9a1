//! `verify` with the real binary on real etcds.

mod common;

use std::path::Path;
use std::process::Output;

use common::state::LOCK;
use common::{Etcd, Version, on_both_versions};
use predicates::prelude::*;
use predicates::str::contains;

on_both_versions![migrated_metadata_is_consistent_and_what_the_backup_gives, damage_is_found_by_name_and_key,];

fn meta_migration(etcd: &Etcd, args: &[&str]) -> Output {
    let mut command = assert_cmd::Command::cargo_bin("meta-migration").unwrap();
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("META_MIGRATION_")) {
        command.env_remove(name);
    }
    command.env_remove("ETCD_ENDPOINTS").args(args).args(["--endpoints", &etcd.plain_endpoint()]);
    command.output().unwrap()
}

/// Runs `verify`, which changes nothing, and returns exit code and stdout.
fn verify(etcd: &Etcd, args: &[&str]) -> (i32, String) {
    let before = etcd.revision();
    let output = meta_migration(etcd, &[&["verify"], args].concat());
    assert_eq!(etcd.revision(), before, "verify has written something");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

fn migrate(etcd: &Etcd, backup: &Path) {
    let versions = ["--source-version", "2.1.0", "--target-version", "2.2.16"];
    let file = ["--backup-file", backup.to_str().unwrap()];
    let output = meta_migration(etcd, &[&["run", "--with-backup"], &versions[..], &file[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn assert_says(text: &str, expected: impl Predicate<str>) {
    assert!(expected.eval(text), "expected {expected} in:\n{text}");
}

fn migrated_metadata_is_consistent_and_what_the_backup_gives(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("backup");
    migrate(&etcd, &backup);
    let (code, text) = verify(&etcd, &[]);
    assert_eq!(code, 0, "{text}");
    assert_says(&text, contains("complete and consistent: Milvus 2.2.16 can be started on it"));
    assert_says(&text, contains("errors:").not().and(contains("warnings:").not()));

    let (code, text) = verify(&etcd, &["--backup", backup.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    assert_says(&text, contains("complete and consistent").and(contains(": 1,069 keys are the same")));
}

fn damage_is_found_by_name_and_key(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("backup");
    migrate(&etcd, &backup);
    let key = |prefix: &str| {
        let keys = etcd.dump_prefix(format!("by-dev/meta/{prefix}"));
        String::from_utf8(keys.into_keys().next().unwrap()).unwrap()
    };
    let (gone, broken) = (key("snapshots/root-coord/fields/"), key("segment-index/"));
    etcd.delete(gone.clone());
    etcd.put(broken.clone(), [0xFF; 3]);
    etcd.put("by-dev/meta/indexes/77", "");
    etcd.put("by-dev/meta/root-coord/aliases/nowhere", b"\x0A\x07nowhere\x10\x07".to_vec());
    let (code, text) = verify(&etcd, &["--backup", backup.to_str().unwrap()]);
    assert_eq!(code, 1, "{text}");
    let gone = gone.strip_prefix("by-dev/meta/").unwrap();
    let broken = broken.strip_prefix("by-dev/meta/").unwrap();
    let field = gone.strip_prefix("snapshots/").unwrap().rsplit_once("_ts").unwrap().0;
    assert_says(&text, contains(format!("\n  snapshot-for-everything: {field}: ")));
    assert_says(&text, contains(format!("\n  values-decode: {broken}: ")));
    assert_says(&text, contains("\n  no-source-keys: indexes/: 1 key"));
    assert_says(&text, contains("\n  alias-target-exists: root-coord/aliases/nowhere: "));
    assert_says(&text, contains(format!("missing in etcd: 1\n  {gone}\n")));
    assert_says(&text, contains(format!("with another value: 1\n  {broken}\n")));
    assert_says(&text, contains("only in etcd: 2\n"));
    assert_says(&text, contains("NOT to be started on: ").and(contains("go back with `rollback --backup-file")));
}

#[test]
fn what_is_not_migrated_yet_is_one_finding() {
    let etcd = Etcd::start(Version::V3_5);
    etcd.load_milvus();
    let (code, text) = verify(&etcd, &[]);
    assert_eq!(code, 1);
    assert_says(&text, contains("NOT to be started on: 1 error").and(contains("errors: 1\n  migrated: ")));
    assert_says(&text, contains("not migrated yet").and(contains("`backup`, then `run`")));
}

#[test]
fn an_empty_etcd_is_no_consistent_layout() {
    let etcd = Etcd::start(Version::V3_5);
    let (code, text) = verify(&etcd, &[]);
    assert_eq!(code, 1);
    assert_says(
        &text,
        contains("NOT to be started on: no Milvus metadata").and(contains("correct the etcd endpoints")),
    );
}

#[test]
fn it_works_while_milvus_runs_and_says_so() {
    let etcd = Etcd::start(Version::V3_5);
    etcd.load_milvus();
    migrate(&etcd, &tempfile::tempdir().unwrap().path().join("backup"));
    let session = r#"{"ServerID":9,"ServerName":"rootcoord","Address":"10.0.0.1:53100"}"#;
    etcd.put_with_lease("by-dev/meta/session/rootcoord", session, 60);
    let (code, text) = verify(&etcd, &[]);
    assert_eq!(code, 0, "{text}");
    assert_says(&text, contains("Milvus is running (rootcoord): this is about that one revision"));
}

#[test]
fn whoever_holds_the_migration_lock_is_no_milvus_but_may_still_change_what_was_found() {
    let etcd = Etcd::start(Version::V3_5);
    etcd.load_milvus();
    migrate(&etcd, &tempfile::tempdir().unwrap().path().join("backup"));
    etcd.put_with_lease(LOCK, r#"{"ServerName":"migration","Address":"jump-host:4711"}"#, 60);
    let (code, text) = verify(&etcd, &[]);
    assert_eq!(code, 0, "{text}");
    assert_says(&text, contains("the migration lock is held (migration").and(contains("at jump-host:4711")));
    assert_says(&text, contains("can be started on it").not().and(contains("Milvus is running").not()));
}

#[test]
fn of_many_findings_the_first_are_listed_and_with_verbose_all() {
    let etcd = Etcd::start(Version::V3_5);
    etcd.load_milvus();
    migrate(&etcd, &tempfile::tempdir().unwrap().path().join("backup"));
    let stray = |number: u32| format!("by-dev/meta/root-coord/fields/x/{number}").into_bytes();
    etcd.put_all((0..25).map(|number| (stray(number), Vec::new(), 0)));
    let (_, text) = verify(&etcd, &[]);
    assert_eq!(text.matches("\n  keys-parse: root-coord/fields/x/").count(), 10);
    assert_says(&text, contains("… and 15 more (--details shows all)"));
    let (_, text) = verify(&etcd, &["--details"]);
    assert_eq!(text.matches("\n  keys-parse: root-coord/fields/x/").count(), 25);
}

#[test]
fn a_backup_that_cannot_be_read_is_refused_before_anything_is_asked() {
    let etcd = Etcd::start(Version::V3_5);
    let output = meta_migration(&etcd, &["verify", "--backup", "/nowhere/backup"]);
    assert_eq!(output.status.code(), Some(1));
    assert_says(&String::from_utf8_lossy(&output.stderr), contains("there is no backup file /nowhere/backup"));
    assert!(output.stdout.is_empty());
}

#[test]
fn options_of_the_run_mean_something_with_a_backup_only() {
    let etcd = Etcd::start(Version::V3_5);
    let output = meta_migration(&etcd, &["verify", "--keep-index-files"]);
    assert_eq!(output.status.code(), Some(1));
    assert_says(&String::from_utf8_lossy(&output.stderr), contains("--against-backup only"));
}
