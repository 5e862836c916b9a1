//! `status`: what there is, and what to do next.

use predicates::prelude::*;
use predicates::str::{contains, ends_with, is_match};
use serde_json::json;

use crate::common::state::LOCK;
use crate::common::{Cluster, Etcd, Tool, Version, on_both_versions, testdata, wait_until};
use crate::{
    add_users, assert_snapshot, half_migrate, json_of, mask, sample, stdout, tool_of, use_up_space, writing_nothing,
};

on_both_versions![
    every_layout_is_told_with_the_next_step,
    sessions_are_listed_with_the_time_they_have_left,
    the_migration_lock_is_told_with_its_holder,
    alarms_come_first,
    all_meta_roots_are_listed,
    a_user_who_sees_the_meta_root_only_sees_that,
    the_quota_of_etcd_is_shown,
];

#[test]
fn the_status_of_the_sample_is_told() {
    let etcd = sample(Version::V3_5);
    let status = writing_nothing(&etcd, || stdout(&Tool::new(&etcd).call(&["status"]).code(0)));
    let status = mask(&mask(&mask(&status, "http://", ":"), "…:", " etcd"), "database ", ", quota");
    let status = mask(&mask(&status, "… etcd ", ", leader"), "etcd cluster ", "\n");
    assert_snapshot!("status_of_the_sample", status);
}

/// The state and the next step, as the text and as the object have them.
#[track_caller]
fn assert_told(etcd: &Etcd, tool: &Tool, state: (&str, &str), next: &str) {
    let text = writing_nothing(etcd, || stdout(&tool.call(&["status"]).code(0)));
    assert!(text.contains(&format!("state: {}", state.0)), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("next: ") && last.contains(next), "{text}");
    let object = json_of(tool, &["status"], 0);
    assert_eq!(object["state"], json!(state.1));
    assert!(object["next"]["text"].as_str().unwrap().contains(next), "{object}");
}

fn every_layout_is_told_with_the_next_step(version: Version) {
    let etcd = Etcd::start(version);
    let tool = Tool::new(&etcd);
    let nothing = || ("no Milvus metadata", "no-milvus");
    assert_told(&etcd, &tool, nothing(), "correct the etcd endpoints, etcd.rootPath and etcd.metaSubPath");
    // Sessions are no metadata.
    etcd.put("by-dev/meta/session/id", "17");
    etcd.put_with_lease("by-dev/meta/session/proxy-16", "{}", 3600);
    assert_told(&etcd, &tool, nothing(), "correct the etcd endpoints, etcd.rootPath and etcd.metaSubPath");
    etcd.delete("by-dev/meta/session/proxy-16");

    etcd.put("by-dev/meta/root-coord/credential/users/root", "{}");
    let neither = ("Milvus without any collection", "nothing-to-migrate");
    assert_told(&etcd, &tool, neither, "start the new Milvus");

    etcd.load_milvus();
    let source = || ("Milvus 2.1 metadata, not migrated yet", "ready");
    assert_told(&etcd, &tool, source(), "look first with `plan`; `backup`, then `run`");
    let session = etcd.put_with_lease("by-dev/meta/session/proxy-16", "{}", 3600);
    let stop = "stop Milvus (its components are listed above), then ";
    assert_told(&etcd, &tool, source(), &format!("look first with `plan`; {stop}`backup`, then `run`"));
    etcd.revoke(session);
    tool.call(&["backup"]).code(0);
    assert_told(&etcd, &tool, source(), "look first with `plan`; `run`");

    half_migrate(&etcd, &tool);
    let mixed = ("an interrupted run for Milvus 2.2.0", "run-interrupted");
    let way_on = "finish it with `run --source-version 2.1.4 --target-version 2.2.0`, or go back with `rollback";
    assert_told(&etcd, &tool, mixed, way_on);

    tool.call(&["run"]).code(0);
    let target = || ("migrated for Milvus 2.2.0 on 20", "migrated");
    assert_told(&etcd, &tool, target(), "check the metadata with `verify`, then start Milvus 2.2.0");
    etcd.put_with_lease("by-dev/meta/session/proxy-16", "{}", 3600);
    assert_told(&etcd, &tool, target(), "Milvus runs on it");
}

fn sessions_are_listed_with_the_time_they_have_left(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load(&testdata("milvus-2.1.0/with-sessions.jsonl"));
    let tool = Tool::new(&etcd);
    let querynode = r"\n  querynode \(server ID 10, at 10\.77\.0\.1:21123, ends in 3[0-9]{3} s unless it is renewed\), key by-dev/meta/session/querynode-10\n";
    tool.call(&["status"])
        .code(0)
        .stdout(contains("live Milvus components: 8\n").and(is_match(querynode).unwrap()))
        .stdout(contains("migration lock: free\n"));
    let status = json_of(&tool, &["status"], 0);
    for session in status["sessions"].as_array().unwrap() {
        assert!((3000..=3600).contains(&session["seconds_left"].as_i64().unwrap()), "{session}");
    }

    // One that will never end by itself.
    etcd.leases().into_iter().for_each(|lease| etcd.revoke(lease));
    etcd.put("by-dev/meta/session/querynode-7", "not even JSON");
    tool.call(&["status"])
        .code(0)
        .stdout(contains("\n  querynode-7 (without a lease), key by-dev/meta/session/querynode-7\n"))
        .stdout(contains("remove their keys, which have no lease (`etcdctl del`), then `backup`"));
}

fn the_migration_lock_is_told_with_its_holder(version: Version) {
    let etcd = sample(version);
    let tool = Tool::new(&etcd);
    let holder = r#"{"ServerID":0,"ServerName":"migration","Address":"jump-host:4711"}"#;
    let lease = etcd.put_with_lease(LOCK, holder, 3600);
    let held = r"migration lock: held by migration \(server ID 0, at jump-host:4711, ends in 3[0-9]{3} s unless it is renewed\), key ";
    let status = tool.call(&["status"]).code(0).stdout(is_match(held).unwrap());
    status.stdout(contains("next: another migration is at work").and(ends_with("wait until it has ended\n")));
    let status = json_of(&tool, &["status"], 0);
    assert_eq!((&status["lock"]["address"], &status["sessions"]), (&json!("jump-host:4711"), &json!([])));

    etcd.revoke(lease);
    etcd.put(LOCK, holder);
    let remedy =
        format!("next: the migration lock has no lease: if no migration runs, remove it: etcdctl del '{LOCK}'\n");
    tool.call(&["status"]).code(0).stdout(ends_with(remedy));
}

#[test]
fn each_member_is_told_and_the_dead_one_with_the_reason() {
    let mut cluster = Cluster::start(Version::V3_5);
    cluster.members[0].load_milvus();
    let endpoints = cluster.endpoints();
    let tool = Tool::new(&cluster.members[0]);
    // Not the one that leads: the others would be busy with electing another.
    let victim = if cluster.leader(0) == Some(2) { 1 } else { 2 };
    cluster.members[victim].kill();
    let args = ["status", "--endpoints", &endpoints.join(",")];
    let dead = format!("\n  {}: NOT reachable: connection refused", endpoints[victim]);
    let status = stdout(&tool.call(&args).code(0));
    assert!(status.contains(&dead), "{status}");
    // With two of three nothing else may happen to etcd while something is written.
    let advice = "next: look after m";
    let danger = "etcd stops as soon as one more fails, in the middle of a run too; look first with `plan`";
    assert!(status.contains(advice) && status.contains(danger), "{status}");
    let told = &json_of(&tool, &args, 0)["endpoints"];
    let names: Vec<&str> = told.as_array().unwrap().iter().map(|one| one["endpoint"].as_str().unwrap()).collect();
    assert_eq!(names, endpoints);
    for member in 0..3 {
        assert_eq!(told[member]["problem"].is_string(), member == victim, "{told}");
        assert_eq!(told[member]["version"].is_string(), member != victim, "{told}");
    }
    let leaders = (0..3).filter(|member| told[*member]["is_leader"] == json!(true)).count();
    assert_eq!(leaders, 1, "{told}");
}

fn alarms_come_first(version: Version) {
    let etcd = Etcd::with(version).arg("--quota-backend-bytes=4194304").start();
    etcd.load_milvus();
    use_up_space(&etcd);
    let alarm = format!("NOSPACE (member {:x})", etcd.member_id());
    let tool = Tool::new(&etcd);
    tool.call(&["status"])
        .code(0)
        .stdout(contains(format!("\n  ALARMS: {alarm}\n")))
        .stdout(ends_with(format!("next: mend etcd first: {alarm}\n")));
    assert_eq!(json_of(&tool, &["status"], 0)["alarms"], json!([alarm]));
}

fn all_meta_roots_are_listed(version: Version) {
    let etcd = sample(version);
    for key in [
        "by-prod/meta/root-coord/collection/1",
        "teams/a/b/meta/session/rootcoord",
        "/slash/meta/snapshots/root-coord/collection/1_ts2",
        "registry/pods/default/milvus-rootcoord",
        "plain",
    ] {
        etcd.put(key, "x");
    }
    let tool = Tool::new(&etcd);
    let roots = json!(["/slash/meta", "by-dev/meta", "by-prod/meta", "teams/a/b/meta"]);
    assert_eq!(json_of(&tool, &["status"], 0)["meta_roots"], roots);
    let line = "meta roots: /slash/meta, by-dev/meta, by-prod/meta, teams/a/b/meta\n";
    tool.call(&["status"]).code(0).stdout(contains(line));
    let empty = Etcd::start(version);
    Tool::new(&empty).call(&["status"]).code(0).stdout(contains("meta roots: nothing here looks like Milvus\n"));
}

fn a_user_who_sees_the_meta_root_only_sees_that(version: Version) {
    let etcd = sample(version);
    add_users(&etcd);
    let tool = tool_of(&etcd, "reader");
    let status = writing_nothing(&etcd, || stdout(&tool.call(&["status"]).code(0)));
    assert!(status.contains("meta roots: this user may not look at all keys\n"), "{status}");
    assert!(status.contains("by-dev/meta: 392 metadata keys, 20 collections\n"), "{status}");
    assert_eq!(json_of(&tool, &["status"], 0)["meta_roots"], json!(null));
    let other = tool.call(&["status", "--root-path", "by-prod"]).code(1);
    other.stderr(contains("etcd denies it to user \"reader\""));
}

fn the_quota_of_etcd_is_shown(version: Version) {
    let etcd = Etcd::with(version).arg("--quota-backend-bytes=8388608").start();
    etcd.load_milvus();
    // etcd tells the size as of its last commit, which comes a little later.
    let size = || etcd.run(async |mut client| client.status().await).db_size();
    wait_until("the sample is in the database file", || size() > 100_000);
    let tool = Tool::new(&etcd);
    tool.call(&["status"]).code(0).stdout(contains(" in use), quota 8.0 MiB\n"));
    let endpoint = &json_of(&tool, &["status"], 0)["endpoints"][0];
    assert_eq!(endpoint["quota_bytes"], json!(8_388_608));
    let size = |field: &str| endpoint[field].as_u64().unwrap();
    assert!(size("db_bytes") >= size("db_bytes_in_use") && size("db_bytes_in_use") > 100_000, "{endpoint}");
}
