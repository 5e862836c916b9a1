//! `plan --diff`, and plans from backup files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::common::files::{legacy, sample as sample_keys};
use crate::common::state::{Dump, below};
use crate::common::tool::PROGRAM;
use crate::common::{Tool, Version};
use crate::{json_of, object, sample, stdout};

/// Keys that a migration changes, each with whether there is a value before and after.
fn changed(before: &Dump, after: &Dump) -> BTreeMap<String, (bool, bool)> {
    let mut changed = BTreeMap::new();
    for (key, _) in below(before, "").chain(below(after, "")) {
        let absolute = format!("by-dev/meta/{key}").into_bytes();
        let (old, new) = (before.get(&absolute), after.get(&absolute));
        if old != new {
            changed.insert(key.to_owned(), (old.is_some(), new.is_some()));
        }
    }
    changed
}

#[test]
fn the_differences_are_just_what_a_run_changes() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    let plan = json_of(&tool, &["plan", "--diff"], 0);
    let text = stdout(&tool.call(&["plan", "--diff"]).code(0));
    let before = etcd.dump();
    tool.call(&["run", "--force"]).code(0);
    let mut after = etcd.dump();
    // What was done is no part of what is to be done.
    after.remove(b"by-dev/meta/meta-migration/history".as_slice()).expect("the history");
    let expected = changed(&before, &after);
    assert_eq!(expected.len(), 1_091);

    let diff = plan["diff"].as_array().unwrap();
    let found: Vec<_> = diff
        .iter()
        .map(|change| {
            (change["key"].as_str().unwrap().to_owned(), (change["old"].is_string(), change["new"].is_string()))
        })
        .collect();
    // In the order of the keys, each once.
    assert_eq!(found, expected.clone().into_iter().collect::<Vec<_>>());

    let is_change = |line: &&str| expected.contains_key(*line);
    let keys: Vec<&str> = text.lines().filter(is_change).collect();
    assert_eq!(keys, expected.keys().map(String::as_str).collect::<Vec<_>>());
    let signs = |sign: &str| text.lines().filter(|line| line.starts_with(&format!("  {sign} "))).count();
    assert!(signs("-") >= 190 && signs("+") >= 475, "{} and {}", signs("-"), signs("+"));
}

#[test]
fn without_diff_no_differences_are_given() {
    let etcd = sample(Version::V3_5);
    assert_eq!(json_of(&Tool::new(&etcd), &["plan"], 0).get("diff"), None);
}

/// What a plan says beside where it comes from.
fn essence(mut plan: Value) -> Value {
    plan.as_object_mut()
        .unwrap()
        .retain(|field, _| !["source", "cluster_id", "sessions", "backup", "going_back"].contains(&field.as_str()));
    plan["migration"].as_object_mut().unwrap().remove("revision");
    plan
}

/// Calls it without any etcd and without a configuration file.
fn plan_from(file: &Path) -> Value {
    let folder = Tool::configured("");
    let mut command = Command::new(PROGRAM);
    command.args(["--source-version", "2.1.4", "--target-version", "2.2.0"]);
    command.args(["plan", "--diff", "--output", "json", "--backup-file", "migration.bak", "--from-backup"]).arg(file);
    object(&folder.spawn(command).wait().code(0))
}

fn legacy_file(tool: &Tool) -> PathBuf {
    let file = tool.dir().join("legacy.bak");
    std::fs::write(&file, legacy(&sample_keys(), true)).unwrap();
    file
}

#[test]
fn a_plan_from_a_backup_file_is_the_plan_from_etcd_and_needs_none() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    let from_etcd = json_of(&tool, &["plan", "--diff"], 0);
    let backup = json_of(&tool, &["backup"], 0);
    drop(etcd);
    let ours = plan_from(&tool.backup_file());
    assert_eq!(ours["source"], json!(format!("backup file {}", tool.backup_file().display())));
    assert_eq!(ours["sessions"], json!([]));
    assert_eq!(ours["migration"]["revision"], backup["backup"]["revision"]);
    let from_etcd = essence(from_etcd);
    assert_eq!(essence(ours), from_etcd);
    assert_eq!(essence(plan_from(&legacy_file(&tool))), from_etcd);
}

#[test]
fn a_plan_from_a_backup_file_is_of_the_meta_root_in_the_file() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    let plan = json_of(&tool, &["plan", "--from-backup", "migration.bak", "--root-path", "by-prod"], 0);
    assert_eq!(plan["meta_root"], json!("by-dev/meta"));
}
