//! `upgrade`: wait, back up, migrate and verify in one command; from every state, and killed at any step.

use assert_cmd::assert::Assert;
use meta_migration::exit::Exit;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

use crate::common::state::assert_same;
use crate::common::{Etcd, Tool, Version, on_both_versions, said, testdata};
use crate::{Scene, newest_change};

on_both_versions![it_waits_backs_up_migrates_and_verifies, it_goes_on_where_it_was_killed];

fn object(assert: &Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap_or_else(|error| panic!("{error}: {}", said(assert)))
}

/// Without the backup that the scene was made with.
fn scene(version: Version) -> Scene {
    let scene = Scene::on(version);
    std::fs::remove_file(scene.tool.backup_file()).unwrap();
    scene
}

fn files(tool: &Tool) -> usize {
    std::fs::read_dir(tool.dir())
        .unwrap()
        .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|extension| extension != "yaml"))
        .count()
}

fn it_waits_backs_up_migrates_and_verifies(version: Version) {
    let scene = scene(version);
    scene.etcd.load(&testdata("milvus-2.1.0/with-sessions.jsonl"));
    let before = scene.etcd.dump();
    let mut running = scene.tool.start(&["upgrade", "--output", "json"]);
    // Without being told to.
    running.wait_for_output("waiting for sessions to end: ");
    assert_same(&before, &scene.dump(), "nothing is written while it waits");
    scene.etcd.leases().into_iter().for_each(|lease| scene.etcd.revoke(lease));
    let done = object(&running.wait().code(0));
    assert_eq!(
        (&done["command"], &done["ended"], &done["state"]),
        (&"upgrade".into(), &"done".into(), &"migrated".into())
    );
    assert_eq!(done["next"]["code"], "start-new");
    assert!(done["backup"]["path"].is_string() && done["verified_revision"].is_i64(), "{done:#}");
    assert_eq!(done["verification"]["consistent"], true);
    assert!(done["verification"]["comparison"]["equal"].as_u64().unwrap() > 500, "{done:#}");
    assert_same(&scene.migrated, &scene.dump(), "upgrade");

    // Again: nothing is written, no second backup is made, and what is there is verified.
    let newest = newest_change(&scene.etcd);
    let again = object(&scene.tool.call(&["upgrade", "--output", "json"]).code(0));
    assert_eq!((&again["ended"], &again["backup"]), (&"nothing-to-do".into(), &Value::Null));
    assert_eq!(
        (&again["verification"]["consistent"], &again["verification"]["comparison"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!((newest_change(&scene.etcd), files(&scene.tool)), (newest, 1));

    scene.tool.call(&["rollback", "--no-copy"]).code(0);
    assert_same(&scene.before, &scene.dump(), "rollback");
}

fn it_goes_on_where_it_was_killed(version: Version) {
    let scene = scene(version);
    for transactions in [0, 1, 20, 52, 56] {
        let running =
            scene.tool.catch(&["upgrade"], &scene.etcd, transactions, || scene.etcd.start_over(&scene.before));
        assert!(running.kill(), "{transactions}");
        scene.etcd.end_lock();
        scene.tool.call(&["upgrade"]).code(0).stderr(contains("complete and consistent"));
        assert_same(&scene.migrated, &scene.dump(), transactions);
        scene.tool.call(&["rollback", "--no-copy"]).code(0);
        assert_same(&scene.before, &scene.dump(), ("rollback", transactions));
    }
}

#[test]
fn what_does_not_pass_verification_is_told_from_what_was_not_written() {
    let scene = scene(Version::V3_5);
    // Refused before anything is written.
    scene.etcd.put("by-dev/meta/root-coord/collection/7", "no message");
    scene.tool.call(&["upgrade"]).code(Exit::NothingWritten as i32).stderr(contains("root-coord/collection/7"));
    assert_eq!(files(&scene.tool), 0, "no backup of what is not migrated");
    scene.etcd.start_over(&scene.migrated);
    scene.etcd.put("by-dev/meta/root-coord/fields/470605839296564545/100", "no message");
    scene.tool.call(&["upgrade"]).code(Exit::Interrupted as i32).stderr(
        contains("the metadata is migrated, but does not pass verification").and(contains("NOT to be started on")),
    );
}

#[test]
fn where_there_is_nothing_to_migrate_no_backup_is_made() {
    let etcd = Etcd::start(Version::V3_5);
    let tool = Tool::new(&etcd);
    tool.call(&["upgrade"]).code(1).stderr(contains("there is no metadata under by-dev/meta"));
    etcd.put("by-dev/meta/root-coord/credential/users/root", "{}");
    let done = object(&tool.call(&["upgrade", "--output", "json"]).code(0));
    assert_eq!((&done["ended"], &done["state"]), (&"nothing-to-do".into(), &"nothing-to-migrate".into()));
    assert_eq!((&done["verification"], files(&tool)), (&Value::Null, 0));
    tool.configure(&format!(
        "config: {{ sourceVersion: 2.1.4, targetVersion: 2.2.0 }}\netcd: {{ endpoints: ['{}'] }}\n",
        etcd.endpoint()
    ));
    tool.call(&["upgrade"]).code(1).stderr(contains("no backup file"));
}
