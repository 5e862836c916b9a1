//! What happens to etcd in the middle of the work: compaction, no space, a lease that ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use etcd_client::{AlarmAction, AlarmType, Client};
use predicates::prelude::*;
use predicates::str::contains;

use crate::common::gate::{Call, Gate, Moment, Verdict};
use crate::common::state::{Dump, LOCK, assert_same};
use crate::common::{Version, block_on, on_both_versions, said, wait_until_for};
use crate::whole::assert_whole;
use crate::{SMALL, Scene, USUAL, newest_change, stress};

on_both_versions![
    an_etcd_that_runs_out_of_space_stops_the_run_and_lets_it_go_on_later,
    a_process_that_was_stopped_for_longer_than_its_lease_writes_nothing_more,
];

#[test]
fn what_is_compacted_away_between_two_pages_is_read_anew() {
    let scene = Scene::of_segments(1_000);
    for command in ["backup", "run", "verify", "rollback"] {
        // Looking (what is saved is saved meanwhile, and a rollback compares), and reading back.
        let readings = if matches!(command, "backup" | "verify") { 1 } else { 2 };
        assert_eq!(compacted_in_every_reading(&scene, command), readings, "{command}");
    }
}

/// etcd compacts before the second page of each reading. Returns how often.
fn compacted_in_every_reading(scene: &Scene, command: &str) -> u64 {
    scene.start_over_for(command);
    let gate = Gate::to(&scene.etcd);
    let (client, times, readings) = (scene.etcd.client(), Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let (counter, last) = (Arc::clone(&times), AtomicU64::new(0));
    gate.rule(move |call: &Call| {
        match (call.kind.as_str(), call.moment) {
            ("Page", Moment::Before) => drop(readings.fetch_add(1, Ordering::Relaxed)),
            // Every other reading gets through: the one that starts over.
            ("NextPage", Moment::Before) => {
                let reading = readings.load(Ordering::Relaxed);
                // Several pages are asked for at a time.
                if reading % 2 == 1 && last.swap(reading, Ordering::Relaxed) != reading {
                    compact(client.clone());
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
            _ => {}
        }
        Verdict::Pass
    });
    let endpoint = gate.endpoint();
    let extra: &[&str] = if command == "backup" { &["--backup-file", "another.bak"] } else { &[] };
    let args = [&[command, "--endpoints", &endpoint], extra].concat();
    scene.tool.call(&args).code(0).stderr(contains("compacted").and(contains("starting over")));
    assert_same(scene.after(command), &without_elsewhere(scene), command);
    times.load(Ordering::Relaxed)
}

/// Drops every revision but the newest.
fn compact(client: Client) {
    block_on(async {
        let mut kv = client.kv_client();
        let put = kv.put("elsewhere", "", None).await.unwrap();
        kv.compact(put.header().unwrap().revision(), None).await.unwrap();
    });
}

fn without_elsewhere(scene: &Scene) -> Dump {
    let mut dump = scene.dump();
    dump.remove(&b"elsewhere"[..]);
    dump
}

fn an_etcd_that_runs_out_of_space_stops_the_run_and_lets_it_go_on_later(version: Version) {
    let scene = Scene::on(version);
    out_of_space_everywhere(&scene, "run", SMALL, |number| matches!(number, 1 | 20 | 51));
    out_of_space_everywhere(&scene, "rollback", USUAL, |number| number == 2);
}

/// The alarm NOSPACE is raised just before each write transaction (of which `chosen` says so).
fn out_of_space_everywhere(scene: &Scene, command: &str, options: &str, chosen: impl Fn(u64) -> bool) -> u64 {
    let alarm = |action| scene.etcd.run(async |mut client| client.alarm(action, AlarmType::Nospace, None).await);
    let remedy = || contains("space quota").and(contains("etcdctl alarm disarm"));
    let mut times = 0;
    for number in (1..=scene.transactions(command, options)).filter(|number| chosen(*number)) {
        scene.start_over_for(command);
        let running = scene.tool.catch_at(&[command, options], &scene.etcd, "Write", number, Moment::Before);
        alarm(AlarmAction::Activate);
        running.go_on();
        let stopped = running.wait();
        let half = scene.etcd.dump();
        match half == *scene.after(command) {
            // Nothing but deletes was left to do, and those a full etcd takes.
            true => stopped.code(0),
            false => stopped.code(2).stderr(remedy()),
        };
        assert_eq!(scene.etcd.get(LOCK), None, "etcd still lets leases go");
        assert_whole(&scene.before, &scene.migrated, &half, (command, number));
        for command in ["run", "rollback"] {
            let refused = scene.tool.call(&[command]);
            let idle = said(&refused).contains("nothing to do");
            refused.code(if idle { 0 } else { 1 }).stderr(contains("nothing to do").or(remedy()));
        }
        assert_same(&half, &scene.etcd.dump(), "refused");
        alarm(AlarmAction::Deactivate);
        scene.tool.call(&[command]).code(0);
        assert_same(scene.after(command), &scene.etcd.dump(), ("finished afterwards", command, number));
        times += 1;
    }
    times
}

fn a_process_that_was_stopped_for_longer_than_its_lease_writes_nothing_more(version: Version) {
    let scene = Scene::on(version);
    for number in [1, 30, 51, 56] {
        stopped_for_longer(&scene, number, || scene.etcd.end_lock());
    }
}

/// Stops a `run` (SIGSTOP) before its `number`th write transaction reaches etcd until its lock has ended, as `wait` does it.
fn stopped_for_longer(scene: &Scene, number: u64, wait: impl Fn()) {
    scene.start_over_for("run");
    let running = scene.tool.catch_at(&["run", SMALL], &scene.etcd, "Write", number, Moment::Before);
    running.signal("STOP");
    wait();
    assert_eq!(scene.etcd.get(LOCK), None);
    // Milvus, say, that somebody started meanwhile, and that writes.
    let key = "by-dev/meta/channelwatch/since";
    scene.etcd.put(key, "then");
    let revision = scene.etcd.revision();
    running.go_on();
    running.signal("CONT");
    let code = if number == 1 { 1 } else { 2 };
    running.wait().code(code).stderr(contains("our migration lock is gone").and(contains("Run again")));
    assert_eq!((newest_change(&scene.etcd), scene.etcd.revision()), (revision, revision), "not one more write");
    scene.etcd.delete(key);
    assert_whole(&scene.before, &scene.migrated, &scene.dump(), number);
    scene.tool.call(&["run"]).code(0);
    assert_same(&scene.migrated, &scene.etcd.dump(), ("finished afterwards", number));
}

#[test]
#[ignore = "takes minutes; scripts/stress.sh"]
fn every_transaction_meets_a_full_etcd_or_a_lock_that_has_ended() {
    for version in [Version::V3_4, Version::V3_5] {
        let scene = Scene::on(version);
        for command in ["run", "rollback"] {
            let times = out_of_space_everywhere(&scene, command, SMALL, |_| true);
            stress::report(&format!("alarm NOSPACE before every transaction: {command} {SMALL}, {version:?}"), times);
        }
        let times = scene.transactions("run", SMALL);
        (1..=times).for_each(|number| stopped_for_longer(&scene, number, || scene.etcd.end_lock()));
        stress::report(
            &format!("stopped while its lease ended, before every transaction: run {SMALL}, {version:?}"),
            times,
        );
        // For real: 30 s is what the lease lasts.
        // Not the first one: its answer may be on its way when the time for it is over, so nobody can say that nothing was written.
        for number in [2, 30, 51] {
            stopped_for_longer(&scene, number, || {
                wait_until_for("the lease ends", 60, || scene.etcd.get(LOCK).is_none());
            });
        }
        stress::report(&format!("stopped (SIGSTOP) for longer than its lease of 30 s: run {SMALL}, {version:?}"), 3);
    }
}

#[test]
#[ignore = "takes minutes; scripts/stress.sh"]
fn every_reading_is_compacted_away() {
    let scene = Scene::of_segments(2_000);
    for command in ["backup", "run", "verify", "rollback"] {
        let times: u64 = (0..10).map(|_| compacted_in_every_reading(&scene, command)).sum();
        stress::report(
            &format!("compaction between two pages of reading or reading back: {command}, 2,000 segments"),
            times,
        );
    }
}
