//! A process that is killed or told to stop, at any point.

use meta_migration::apply::IN_FLIGHT;
use predicates::prelude::*;
use predicates::str::contains;

use crate::common::gate::Moment;
use crate::common::state::{Dump, LOCK, assert_same, value};
use crate::common::{Etcd, Tool, Version, on_both_versions, said};
use crate::whole::assert_whole;
use crate::{SMALL, Scene, USUAL, newest_change, stress};

on_both_versions![
    a_run_killed_at_any_transaction_can_be_finished_or_rolled_back,
    a_rollback_killed_at_any_transaction_can_be_finished_or_migrated_again,
    a_run_told_to_stop_ends_in_order,
    a_run_told_to_stop_before_the_first_write_says_so,
    a_run_told_to_stop_while_it_connects_stops_at_once,
    a_backup_told_to_stop_leaves_no_file,
];

const BOTH: &[Moment] = &[Moment::Before, Moment::After];
const AFTER: &[Moment] = &[Moment::After];

fn a_run_killed_at_any_transaction_can_be_finished_or_rolled_back(version: Version) {
    let scene = Scene::on(version);
    assert!(killed_everywhere(&scene, "run", USUAL, BOTH, |_| true) >= 20);
    let all = scene.transactions("run", SMALL);
    killed_everywhere(&scene, "run", SMALL, AFTER, |number| turning_points(all).contains(&number));
}

fn a_rollback_killed_at_any_transaction_can_be_finished_or_migrated_again(version: Version) {
    let scene = Scene::on(version);
    assert!(killed_everywhere(&scene, "rollback", USUAL, BOTH, |_| true) >= 6);
    let all = scene.transactions("rollback", SMALL);
    killed_everywhere(&scene, "rollback", SMALL, AFTER, |number| turning_points(all).contains(&number));
}

/// The first transaction, some in the middle of the phases, and the last ones: the end of the switch, of the removal, of it all.
fn turning_points(all: u64) -> [u64; 6] {
    [1, all / 4, all / 2, all - 6, all - 3, all - 1]
}

#[test]
fn a_run_over_many_segments_is_killed_at_its_turning_points() {
    let scene = Scene::of_segments(600);
    let (run, rollback) = (scene.transactions("run", USUAL), scene.transactions("rollback", USUAL));
    assert!(run > 15 && rollback > 30, "{run} {rollback}");
    killed_everywhere(&scene, "run", USUAL, AFTER, |number| number == run / 2 || number + 1 == run);
    killed_everywhere(&scene, "rollback", USUAL, AFTER, |number| number == rollback / 2);
}

#[test]
#[ignore = "takes minutes; scripts/stress.sh"]
fn every_transaction_of_the_sample() {
    for version in [Version::V3_4, Version::V3_5] {
        let scene = Scene::on(version);
        for (command, options) in [("run", USUAL), ("run", SMALL), ("rollback", USUAL), ("rollback", SMALL)] {
            let kills = killed_everywhere(&scene, command, options, BOTH, |_| true);
            stress::report(
                &format!("SIGKILL around every transaction: {command} {options}, sample, {version:?}"),
                kills,
            );
        }
    }
}

#[test]
#[ignore = "takes minutes; scripts/stress.sh"]
fn every_transaction_of_two_thousand_segments() {
    let scene = Scene::of_segments(2_000);
    for (command, options) in [("run", USUAL), ("rollback", USUAL), ("run", "--max-txn-ops=40")] {
        let kills = killed_everywhere(&scene, command, options, BOTH, |_| true);
        stress::report(&format!("SIGKILL around every transaction: {command} {options}, 2,000 segments"), kills);
    }
}

/// Kills a command just before or just after each of its write transactions (of which `chosen` says so) takes effect; goes on from
/// there both ways. Returns the number of kills.
fn killed_everywhere(
    scene: &Scene,
    command: &str,
    options: &str,
    moments: &[Moment],
    chosen: impl Fn(u64) -> bool,
) -> u64 {
    let mut kills = 0;
    for number in (1..=scene.transactions(command, options)).filter(|number| chosen(*number)) {
        for &moment in moments {
            scene.start_over_for(command);
            let running = scene.tool.catch_at(&[command, options], &scene.etcd, "Write", number, moment);
            assert!(running.kill());
            check_what_a_kill_left(scene, command, (command, options, number, moment));
            kills += 1;
        }
    }
    kills
}

/// Nothing is lost, `status` tells the way on, and both ways on work.
fn check_what_a_kill_left(scene: &Scene, command: &str, point: impl std::fmt::Debug + Copy) {
    let half = scene.dump();
    // At once: looking through a large cluster may take longer than the lock lives.
    scene.etcd.end_lock();
    assert_whole(&scene.before, &scene.migrated, &half, point);
    let is_interrupted = half != scene.before && !is_done(&half);
    if is_interrupted {
        let status = scene.tool.call(&["status"]).code(0);
        status
            .stdout(contains(format!("state: an interrupted {command}")).and(contains("rollback --backup-file")))
            .stdout(contains(format!("finish it with `{command}")));
    }
    if is_interrupted && command == "rollback" {
        // Half restored metadata is migrated by nobody, and no backup of it is made.
        scene.tool.call(&["run"]).code(1).stderr(contains("only `rollback` goes on from here"));
        scene.tool.call(&["backup", "--backup-file=other.bak"]).code(1).stderr(contains("no way back"));
        assert_same(&half, &scene.dump(), ("refused", point));
    } else {
        scene.tool.call(&["run"]).code(0);
        assert_same(&scene.migrated, &scene.etcd.dump(), ("run after a kill", point));
        scene.etcd.start_over(&half);
    }
    scene.tool.call(&["rollback"]).code(0);
    assert_same(&scene.before, &scene.etcd.dump(), ("rollback after a kill", point));
}

/// Whether a run has put its end on record.
fn is_done(dump: &Dump) -> bool {
    value(dump, "meta-migration/history")
        .is_some_and(|history| contains("\"done\"").eval(&String::from_utf8_lossy(history)))
}

fn a_run_told_to_stop_ends_in_order(version: Version) {
    let scene = Scene::on(version);
    let all = scene.transactions("run", SMALL);
    told_to_stop(&scene, "TERM", 21, IN_FLIGHT);
    // The collections are switched one after the other; after that come three transactions that remove, and the end.
    told_to_stop(&scene, "INT", all - 5, 1);
    told_to_stop(&scene, "HUP", all / 2, IN_FLIGHT);
}

/// Tells a `run` to stop while its `number`th transaction is in flight, of at most so many at the same time.
fn told_to_stop(scene: &Scene, signal: &str, number: u64, in_flight: usize) {
    scene.start_over_for("run");
    let mut running = scene.tool.catch_at(&["run", SMALL], &scene.etcd, "Write", number, Moment::Before);
    let revision = scene.etcd.revision();
    running.signal(signal);
    running.wait_for_output("stopping: what is in flight");
    running.go_on();
    let stopped = running.wait();
    // What was in flight is finished, nothing else was begun; the end of the lock is a revision, too.
    assert_eq!((scene.etcd.get(LOCK), scene.etcd.leases().len()), (None, 0));
    let half = scene.dump();
    if said(&stopped).contains("stopped by a signal") {
        let written = usize::try_from(scene.etcd.revision() - revision - 1).unwrap();
        assert!((1..=in_flight).contains(&written), "{number}: {written}");
        stopped.code(2).stderr(contains("stopped in the middle of writing").and(contains("next: run again")));
    } else {
        // It was the last one: nothing is left but to read back.
        stopped.code(0);
        assert_same(&scene.migrated, &half, number);
    }
    assert_whole(&scene.before, &scene.migrated, &half, (signal, number));
    scene.tool.call(&["run"]).code(0);
    assert_same(&scene.migrated, &scene.etcd.dump(), "finished afterwards");
}

#[test]
#[ignore = "takes minutes; scripts/stress.sh"]
fn every_transaction_is_told_to_stop() {
    for version in [Version::V3_4, Version::V3_5] {
        let scene = Scene::on(version);
        let times = scene.transactions("run", SMALL);
        for number in 1..=times {
            told_to_stop(&scene, if number % 2 == 0 { "TERM" } else { "INT" }, number, IN_FLIGHT);
        }
        stress::report(
            &format!("SIGTERM or Ctrl-C while each transaction is in flight: run {SMALL}, {version:?}"),
            times,
        );
    }
}

fn a_run_told_to_stop_before_the_first_write_says_so(version: Version) {
    let scene = Scene::on(version);
    for (kind, moment) in [("Lock", Moment::After), ("Page", Moment::Before), ("Page", Moment::After)] {
        let mut running = scene.tool.catch_at(&["run"], &scene.etcd, kind, 1, moment);
        running.signal("TERM");
        running.wait_for_output("stopping: what is in flight");
        running.go_on();
        let stopped = running.wait().code(1);
        assert!(said(&stopped).contains("stopped by a signal"), "{}", said(&stopped));
        assert_same(&scene.before, &scene.etcd.dump(), (kind, moment));
        assert_eq!(scene.etcd.leases().len(), 0);
    }
}

fn a_run_told_to_stop_while_it_connects_stops_at_once(version: Version) {
    let (etcd, tool) = paused(version);
    for command in ["run", "backup", "status"] {
        let mut running = tool.start(&[command, "--verbose"]);
        running.wait_for_output("connecting to");
        running.signal("TERM");
        // etcd does not answer before this is over.
        running.wait().code(1).stderr(contains("stopped by a signal"));
    }
    etcd.resume();
    assert_untouched(&etcd);
    let files: Vec<_> = tool.dir().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["migration.yaml"]);
}

fn a_backup_told_to_stop_leaves_no_file(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let tool = Tool::new(&etcd);
    let mut running = tool.catch_at(&["backup"], &etcd, "Page", 1, Moment::Before);
    running.signal("TERM");
    running.wait_for_output("stopping: what is in flight");
    running.go_on();
    running.wait().code(1).stderr(contains("stopped by a signal"));
    assert_untouched(&etcd);
    let files: Vec<_> = tool.dir().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["migration.yaml"]);
}

/// An etcd that does not answer until it is resumed.
fn paused(version: Version) -> (Etcd, Tool) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let tool = Tool::new(&etcd);
    etcd.pause();
    (etcd, tool)
}

fn assert_untouched(etcd: &Etcd) {
    let sample = Etcd::start(Version::V3_5);
    sample.load_milvus();
    assert_same(&sample.dump(), &etcd.dump(), "nothing was written");
    assert_eq!(newest_change(etcd), newest_change(&sample));
    assert_eq!(etcd.leases().len(), 0);
}
