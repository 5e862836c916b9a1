//! Requests and answers that get lost, come late or in pieces, and an etcd that says "not now".

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use predicates::prelude::*;
use predicates::str::contains;
use tonic::Code;

use crate::common::gate::{Call, Gate, Moment, Verdict};
use crate::common::state::assert_same;
use crate::common::{Etcd, Harm, Version, Wire, block_on, on_both_versions, said};
use crate::whole::assert_whole;
use crate::{Scene, stress};

on_both_versions![
    a_transaction_whose_answer_is_lost_is_sent_again,
    a_first_transaction_that_may_have_been_applied_is_not_called_nothing_written,
    every_request_may_be_lost_once,
    what_may_pass_is_waited_for,
    connections_may_be_reset_in_the_middle_of_an_answer,
];

/// All that can become of a request or its answer on the way.
const LOSSES: [(Moment, Verdict); 4] = [
    (Moment::Before, Verdict::Lose),
    (Moment::After, Verdict::Lose),
    (Moment::Before, Verdict::Cut),
    (Moment::After, Verdict::Cut),
];

/// What etcd says when it cannot answer now.
const NOT_NOW: [Verdict; 6] = [
    Verdict::Refuse(Code::Unavailable, "etcdserver: leader changed"),
    Verdict::Refuse(Code::Unavailable, "etcdserver: no leader"),
    Verdict::Refuse(Code::Unavailable, "etcdserver: request timed out"),
    Verdict::Refuse(Code::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure"),
    Verdict::Refuse(Code::ResourceExhausted, "etcdserver: too many requests"),
    Verdict::Refuse(Code::Unavailable, "etcdserver: server stopped"),
];

/// What the gate does to one request.
#[derive(Debug, Clone)]
struct Fault {
    kind: String,
    number: u64,
    moment: Moment,
    verdict: Verdict,
}

impl Fault {
    fn new(kind: &str, number: u64, (moment, verdict): (Moment, Verdict)) -> Self {
        Self { kind: kind.to_owned(), number, moment, verdict }
    }

    fn applies_to(&self, call: &Call) -> bool {
        call.is(&self.kind, self.number, self.moment)
    }
}

/// A command that nothing but the fault disturbs ends in success.
#[track_caller]
fn overcomes(scene: &Scene, command: &[&str], fault: Fault) {
    scene.start_over_for(command[0]);
    let gate = Gate::to(&scene.etcd);
    let rule = fault.clone();
    gate.rule(move |call| if rule.applies_to(call) { rule.verdict.clone() } else { Verdict::Pass });
    let done = scene.tool.call(&[command, &["--endpoints", &gate.endpoint()]].concat());
    assert_eq!(done.get_output().status.code(), Some(0), "{command:?} {fault:?}: {}", said(&done));
    assert!(gate.count(&fault.kind) >= fault.number, "{fault:?} never came");
    assert_same(scene.after(command[0]), &scene.dump(), (command, fault));
}

/// How many requests of each kind an undisturbed command makes.
fn requests(scene: &Scene, command: &[&str]) -> Vec<(String, u64)> {
    scene.start_over_for(command[0]);
    let gate = Gate::to(&scene.etcd);
    scene.tool.call(&[command, &["--endpoints", &gate.endpoint()]].concat()).code(0);
    gate.counts().into_iter().collect()
}

fn writes(scene: &Scene, command: &[&str]) -> u64 {
    requests(scene, command).into_iter().find(|(kind, _)| kind == "Write").map_or(0, |(_, count)| count)
}

fn a_transaction_whose_answer_is_lost_is_sent_again(version: Version) {
    let scene = Scene::on(version);
    for command in ["run", "rollback"] {
        for number in 1..=writes(&scene, &[command]) {
            overcomes(&scene, &[command], Fault::new("Write", number, (Moment::After, Verdict::Lose)));
        }
    }
}

/// The first transaction is applied and its answer lost; then a component comes up, and etcd refuses the second attempt and all else.
fn a_first_transaction_that_may_have_been_applied_is_not_called_nothing_written(version: Version) {
    let scene = Scene::on(version);
    scene.start_over_for("run");
    let gate = Gate::to(&scene.etcd);
    let (client, is_up) = (scene.etcd.client(), Arc::new((Mutex::new(false), Condvar::new())));
    gate.rule(move |call| match (call.is_write(), call.moment) {
        (true, Moment::After) if call.number == 1 => {
            let mut client = client.kv_client();
            block_on(client.put("by-dev/meta/session/proxy-3", r#"{"ServerName":"proxy"}"#, None)).unwrap();
            *is_up.0.lock().unwrap() = true;
            is_up.1.notify_all();
            Verdict::Lose
        }
        (true, Moment::Before) if call.number > 1 => {
            drop(is_up.1.wait_while(is_up.0.lock().unwrap(), |up| !*up).unwrap());
            Verdict::Pass
        }
        _ => Verdict::Pass,
    });
    scene
        .tool
        .call(&["run", "--endpoints", &gate.endpoint()])
        .code(2)
        .stderr(contains("proxy").and(contains("stopped in the middle of writing")));
    assert_ne!(scene.before, scene.dump());
    scene.etcd.delete("by-dev/meta/session/proxy-3");
    assert_whole(&scene.before, &scene.migrated, &scene.dump(), "first answer lost");
    scene.tool.call(&["run"]).code(0);
    assert_same(&scene.migrated, &scene.etcd.dump(), "finished afterwards");
}

fn every_request_may_be_lost_once(version: Version) {
    let scene = Scene::on(version);
    let loss = || (if version == Version::V3_4 { Moment::Before } else { Moment::After }, Verdict::Cut);
    for (kind, _) in requests(&scene, &["run"]) {
        overcomes(&scene, &["run"], Fault::new(&kind, 1, loss()));
    }
}

fn what_may_pass_is_waited_for(version: Version) {
    let scene = Scene::on(version);
    let places = [("Range", 1), ("Write", 1), ("Lock", 1), ("Write", 4), ("Page", 2), ("Write", 6)];
    for ((kind, number), verdict) in places.into_iter().zip(NOT_NOW) {
        overcomes(&scene, &["run"], Fault::new(kind, number, (Moment::Before, verdict)));
    }
}

fn connections_may_be_reset_in_the_middle_of_an_answer(version: Version) {
    let scene = Scene::on(version);
    let total = answer_bytes(&scene, "run", Harm::default());
    for part in 1..8 {
        assert_eq!(resets_overcome(&scene, "run", vec![total * part / 8]), 1);
    }
    // Many in one run, and in crumbs.
    resets_overcome(&scene, "rollback", (1..6).map(|part| total * part / 6).collect());
    answer_bytes(&scene, "run", Harm { piece: 700, delay: Duration::from_millis(1), ..Harm::default() });
}

/// How many bytes etcd answers during a command that is disturbed as little as this, and ends in success.
fn answer_bytes(scene: &Scene, command: &str, harm: Harm) -> u64 {
    scene.start_over_for(command);
    let wire = Wire::to(&scene.etcd, harm.clone());
    let done = scene.tool.call(&[command, "--endpoints", &wire.endpoint()]);
    assert_eq!(done.get_output().status.code(), Some(0), "{command} {harm:?}: {}", said(&done));
    assert_same(scene.after(command), &scene.dump(), (command, harm));
    wire.passed()
}

/// A command ends in success though the connection is reset after so many bytes. Returns how often it was.
fn resets_overcome(scene: &Scene, command: &str, resets: Vec<u64>) -> u64 {
    scene.start_over_for(command);
    let wire = Wire::to(&scene.etcd, Harm { resets: resets.clone(), ..Harm::default() });
    let done = scene.tool.call(&[command, "--endpoints", &wire.endpoint()]);
    assert_eq!(done.get_output().status.code(), Some(0), "{command} {resets:?}: {}", said(&done));
    assert_same(scene.after(command), &scene.dump(), (command, &resets));
    (resets.len() - wire.resets_to_come()) as u64
}

#[test]
fn a_login_that_expires_during_the_run_is_renewed() {
    let scene = Scene::of(with_short_logins());
    for (command, number) in [("run", 3), ("run", 5), ("rollback", 2)] {
        scene.start_over_for(command);
        let running = scene.tool.catch_at(&[command], &scene.etcd, "Write", number, Moment::Before);
        let logins = running.gate().count("Authenticate");
        // A token is good for a second; it is looked at twice as often.
        std::thread::sleep(Duration::from_millis(2500));
        running.go_on();
        let gate = running.gate().counter();
        running.wait().code(0);
        assert!(gate.count("Authenticate") > logins, "the login never expired");
        assert_same(scene.after(command), &scene.dump(), (command, number));
    }
}

/// An etcd with the sample that forgets a login after a second.
fn with_short_logins() -> Etcd {
    let etcd = Etcd::with(Version::V3_5).arg("--auth-token-ttl=1").start();
    etcd.load_milvus();
    etcd.enable_auth();
    etcd
}

#[test]
#[ignore = "takes minutes; scripts/stress.sh"]
fn every_request_is_lost_or_refused() {
    for version in [Version::V3_4, Version::V3_5] {
        let scene = Scene::on(version);
        for command in [["run"].as_slice(), &["run", "--max-txn-ops=9"], &["rollback"], &["backup"]] {
            let requests = requests(&scene, command);
            let (mut lost, mut refused) = (0, 0);
            for (kind, number) in
                requests.iter().flat_map(|(kind, count)| (1..=*count).map(move |number| (kind, number)))
            {
                for loss in LOSSES {
                    overcomes(&scene, command, Fault::new(kind, number, loss));
                    lost += 1;
                }
                let verdict = NOT_NOW[refused as usize % NOT_NOW.len()].clone();
                overcomes(&scene, command, Fault::new(kind, number, (Moment::Before, verdict)));
                refused += 1;
            }
            let command = command.join(" ");
            stress::report(
                &format!("each request or its answer lost, with or without the connection: {command}, {version:?}"),
                lost,
            );
            stress::report(
                &format!("each request refused as if by an election or overload: {command}, {version:?}"),
                refused,
            );
        }
    }
}

#[test]
#[ignore = "takes minutes; scripts/stress.sh"]
fn the_connection_is_reset_at_many_bytes() {
    const POINTS: u64 = 250;
    for version in [Version::V3_4, Version::V3_5] {
        let scene = Scene::on(version);
        for command in ["run", "rollback"] {
            let total = answer_bytes(&scene, command, Harm::default());
            let one: u64 = (1..POINTS).map(|part| resets_overcome(&scene, command, vec![total * part / POINTS])).sum();
            let many: u64 = (1..20)
                .map(|seed| {
                    resets_overcome(&scene, command, (1..10).map(|part| total * part / 10 + 97 * seed).collect())
                })
                .sum();
            stress::report(
                &format!("connection reset (RST) in the middle of an answer: {command}, {version:?}"),
                one + many,
            );
        }
        for (piece, delay) in [(1, 0), (13, 0), (100, 1), (1000, 5), (0, 50)] {
            for command in ["run", "rollback"] {
                answer_bytes(&scene, command, Harm { piece, delay: Duration::from_millis(delay), resets: Vec::new() });
            }
        }
        stress::report(&format!("answers in pieces of 1 byte to 1,000, late by up to 50 ms each: {version:?}"), 10);
    }
}
