//! The migration lock: one tool at a time, be it this one or the original.

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use predicates::prelude::*;
use predicates::str::{contains, is_match};

use crate::common::gate::Moment;
use crate::common::state::{LOCK, assert_same};
use crate::common::{Etcd, Tool, Version, on_both_versions, said};
use crate::{Scene, newest_change};

on_both_versions![
    a_killed_run_leaves_a_lock_that_is_told_until_it_ends,
    of_two_tools_at_once_one_is_refused,
    of_two_tools_started_together_exactly_one_migrates,
    the_original_tool_at_work_is_told,
    of_this_tool_and_the_original_exactly_one_gets_the_lock,
    a_lease_that_ends_before_the_lock_is_held_is_asked_for_again,
    a_lock_that_is_gone_stops_the_run,
    a_lock_that_is_somebody_elses_now_stops_the_run,
    the_lock_is_given_back_at_the_end_and_after_a_refusal,
];

fn a_killed_run_leaves_a_lock_that_is_told_until_it_ends(version: Version) {
    let scene = Scene::on(version);
    let running = scene.run_caught_after(10);
    let id = running.id();
    running.kill();
    let (half, revision) = (scene.dump(), scene.etcd.revision());
    for command in ["run", "backup", "rollback"] {
        scene
            .tool
            .call(&[command])
            .code(1)
            .stderr(contains("another migration is at work: migration (server ID 0"))
            .stderr(is_match(format!(r"at [^ ]+:{id}, ends in [0-9]+ s unless it is renewed\), key {LOCK}")).unwrap())
            .stderr(contains("then run again"));
    }
    scene
        .tool
        .call(&["status"])
        .code(0)
        .stdout(contains("another migration is at work").and(contains("an interrupted run")));
    assert_same(&half, &scene.dump(), "refused");
    assert_eq!(scene.etcd.revision(), revision);
    let lease = scene.etcd.lease_of(LOCK).unwrap();
    let seconds = scene.etcd.run(async |mut client| client.lease_time_to_live(lease, None).await);
    assert!((1..=30).contains(&seconds.granted_ttl()), "{seconds:?}");
    scene.etcd.end_lock();
    scene.tool.call(&["run"]).code(0);
    assert_same(&scene.migrated, &scene.etcd.dump(), "finished afterwards");
}

fn of_two_tools_at_once_one_is_refused(version: Version) {
    let scene = Scene::on(version);
    let first = scene.run_caught_after(10);
    let other = Tool::new(&scene.etcd);
    for command in [["run"].as_slice(), &["backup"], &["run", "--force"]] {
        other
            .call(command)
            .code(1)
            .stderr(contains("another migration is at work").and(contains(format!(":{}, ends in", first.id()))));
    }
    first.go_on();
    first.wait().code(0);
    assert_same(&scene.migrated, &scene.etcd.dump(), "the first one");
}

fn of_two_tools_started_together_exactly_one_migrates(version: Version) {
    let scene = Scene::on(version);
    for _ in 0..3 {
        scene.etcd.start_over(&scene.before);
        let tools = [Tool::new(&scene.etcd), Tool::new(&scene.etcd)];
        let running = [0, 1].map(|one| tools[one].start(&["run", "--max-txn-ops=8"]));
        let mut migrated = 0;
        for done in running.map(crate::common::Running::wait) {
            let text = said(&done);
            match done.get_output().status.code() {
                Some(0) if text.contains("done at revision") => migrated += 1,
                Some(0) => assert!(text.contains("nothing to do"), "{text}"),
                _ => drop(done.code(1).stderr(contains("another migration is at work"))),
            }
        }
        assert_eq!(migrated, 1);
        assert_same(&scene.migrated, &scene.etcd.dump(), "two at once");
    }
}

/// As the original tool registers itself, by its `pkg/util/sessionutil`.
const ORIGINAL: &str =
    r#"{"ServerID":1,"ServerName":"migration","Address":"10.9.8.7","Exclusive":false,"Version":"2.2.0"}"#;

fn the_original_tool_at_work_is_told(version: Version) {
    let scene = Scene::on(version);
    let lease = scene.etcd.put_with_lease(LOCK, ORIGINAL, 60);
    let before = scene.etcd.entries();
    for command in ["backup", "run", "rollback"] {
        scene.tool.call(&[command]).code(1).stderr(
            contains("another migration is at work: migration (server ID 1, at 10.9.8.7, ends in ")
                .and(contains("Wait until it has ended")),
        );
    }
    assert_eq!(format!("{:?}", scene.etcd.entries()), format!("{before:?}"));
    scene.etcd.revoke(lease);
    // One that somebody put there by hand never ends.
    scene.etcd.put(LOCK, "by hand");
    scene
        .tool
        .call(&["run"])
        .code(1)
        .stderr(contains("without a lease").and(contains(format!("etcdctl del '{LOCK}'"))));
    assert_eq!(scene.etcd.get(LOCK).as_deref(), Some(&b"by hand"[..]));
}

/// Both look, see nobody, and then take the lock as they do: if there is none.
fn of_this_tool_and_the_original_exactly_one_gets_the_lock(version: Version) {
    let scene = Scene::on(version);
    for (moment, ours) in [(Moment::Before, false), (Moment::After, true)] {
        scene.start_over_for("run");
        let running = scene.tool.catch_at(&["run"], &scene.etcd, "Lock", 1, moment);
        let lease = scene.etcd.run(async |mut client| client.lease_grant(60, None).await).id();
        let absent = Compare::version(LOCK, CompareOp::Equal, 0);
        let register = TxnOp::put(LOCK, ORIGINAL, Some(PutOptions::new().with_lease(lease)));
        let registered =
            scene.etcd.run(async |mut client| client.txn(Txn::new().when([absent]).and_then([register])).await);
        assert_eq!(registered.succeeded(), !ours);
        running.go_on();
        let ended = running.wait();
        if ours {
            ended.code(0);
            assert_same(&scene.migrated, &scene.dump(), "ours");
        } else {
            ended.code(1).stderr(contains("another migration is at work: migration (server ID 1, at 10.9.8.7"));
            assert_same(&scene.before, &scene.dump(), "the original's");
        }
        scene.etcd.revoke(lease);
    }
}

/// etcd stands still while the lock is taken, for longer than the lease.
fn a_lease_that_ends_before_the_lock_is_held_is_asked_for_again(version: Version) {
    let scene = Scene::on(version);
    for moment in [Moment::Before, Moment::After] {
        scene.start_over_for("run");
        let running = scene.tool.catch_at(&["run"], &scene.etcd, "Lock", 1, moment);
        scene.etcd.leases().into_iter().for_each(|lease| scene.etcd.revoke(lease));
        running.go_on();
        running.wait().code(0);
        assert_same(&scene.migrated, &scene.dump(), moment);
        assert_eq!((scene.etcd.get(LOCK), scene.etcd.leases().len()), (None, 0));
    }
}

fn a_lock_that_is_gone_stops_the_run(version: Version) {
    let scene = Scene::on(version);
    for transactions in [1, 51] {
        let running = scene.run_caught_after(transactions);
        scene.etcd.delete(LOCK);
        let revision = scene.etcd.revision();
        running.go_on();
        let stopped = running
            .wait()
            .code(2)
            .stderr(contains("our migration lock is gone").and(contains(LOCK)).and(contains("Run again")));
        assert_eq!(scene.etcd.revision(), revision, "{}", said(&stopped));
        scene.tool.call(&["run"]).code(0);
        assert_same(&scene.migrated, &scene.etcd.dump(), ("finished afterwards", transactions));
    }
}

fn a_lock_that_is_somebody_elses_now_stops_the_run(version: Version) {
    let scene = Scene::on(version);
    let running = scene.run_caught_after(30);
    scene.etcd.delete(LOCK);
    let lease = scene.etcd.put_with_lease(LOCK, ORIGINAL, 60);
    let revision = scene.etcd.revision();
    running.go_on();
    running.wait().code(2).stderr(contains("our migration lock is gone"));
    assert_eq!(scene.etcd.revision(), revision);
    assert_eq!(scene.etcd.get(LOCK).as_deref(), Some(ORIGINAL.as_bytes()), "the other's lock stays");
    scene.etcd.revoke(lease);
    scene.tool.call(&["run"]).code(0);
    assert_same(&scene.migrated, &scene.etcd.dump(), "finished afterwards");
}

fn the_lock_is_given_back_at_the_end_and_after_a_refusal(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let tool = Tool::new(&etcd);
    let newest = newest_change(&etcd);
    tool.call(&["backup"]).code(0);
    tool.call(&["run", "--root-path=by-mistake"]).code(1);
    tool.call(&["backup", "--backup-file=/no/such/folder/file"]).code(1);
    assert_eq!((newest_change(&etcd), etcd.get(LOCK), etcd.leases().len()), (newest, None, 0));
    assert_eq!(etcd.get("by-mistake/meta/session/migration"), None);
    tool.call(&["run"]).code(0);
    tool.call(&["rollback"]).code(0);
    assert_eq!((etcd.get(LOCK), etcd.leases().len()), (None, 0));
}
