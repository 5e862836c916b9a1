//! Components of Milvus that are alive, before and during the work.

use std::path::Path;

use predicates::prelude::*;
use predicates::str::{contains, is_match};

use crate::common::gate::Moment;
use crate::common::state::{LOCK, assert_same};
use crate::common::{Etcd, Running, Tool, Version, on_both_versions, said, testdata};
use crate::whole::assert_whole;
use crate::{SMALL, Scene, USUAL, newest_change, stress};

on_both_versions![
    nothing_is_done_while_components_are_alive_and_each_is_named,
    a_session_without_a_lease_is_told_with_the_way_to_remove_it,
    any_other_key_among_the_sessions_counts_as_one,
    a_component_that_comes_up_at_any_transaction_stops_all_writing,
];

fn nothing_is_done_while_components_are_alive_and_each_is_named(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    let backup = std::fs::read(tool.backup_file()).unwrap();
    etcd.load(&testdata("milvus-2.1.0/with-sessions.jsonl"));
    let (before, revision, leases) = (etcd.dump(), etcd.revision(), etcd.leases());
    assert_eq!(leases.len(), 8);

    for command in [["backup"].as_slice(), &["run"], &["run", "--with-backup"], &["run", "--force"], &["rollback"]] {
        let refused = tool.call(command).code(1).stderr(contains("8 Milvus components are still registered"));
        let mut refused = Some(refused);
        for (role, key, id, address) in [
            ("rootcoord", "rootcoord", 9, "10.77.0.1:53100"),
            ("querynode", "querynode-10", 10, "10.77.0.1:21123"),
            ("datacoord", "datacoord", 11, "10.77.0.1:13333"),
            ("indexcoord", "indexcoord", 12, "10.77.0.1:31000"),
            ("indexnode", "indexnode-13", 13, "10.77.0.1:21121"),
            ("datanode", "datanode-14", 14, "10.77.0.1:21124"),
            ("querycoord", "querycoord", 15, "10.77.0.1:19531"),
            ("proxy", "proxy-16", 16, "10.77.0.1:19529"),
        ] {
            // The harness gives leases of an hour.
            let line = format!(
                r"{role} \(server ID {id}, at {address}, ends in 3[0-9]{{3}} s unless it is renewed\), key by-dev/meta/session/{key}"
            );
            refused = refused.map(|refused| refused.stderr(is_match(line).unwrap()));
        }
        assert_eq!(etcd.revision(), revision, "{command:?}");
        assert_same(&before, &etcd.dump(), command);
        assert_eq!(etcd.leases(), leases, "{command:?}");
    }
    assert_eq!(std::fs::read(tool.backup_file()).unwrap(), backup);
    assert_eq!(files(tool.dir()), ["migration.bak", "migration.yaml"]);
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn a_session_without_a_lease_is_told_with_the_way_to_remove_it(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    etcd.put(
        "by-dev/meta/session/querynode-7",
        r#"{"ServerID":7,"ServerName":"querynode","Address":"10.0.0.7:21123"}"#,
    );
    let revision = etcd.revision();
    let tool = Tool::new(&etcd);
    for command in ["backup", "run"] {
        tool.call(&[command])
            .code(1)
            .stderr(contains("querynode (server ID 7, at 10.0.0.7:21123, without a lease)"))
            .stderr(contains("never goes away by itself"))
            .stderr(contains("etcdctl del 'by-dev/meta/session/querynode-7'"));
    }
    assert_eq!(etcd.revision(), revision);
    etcd.delete("by-dev/meta/session/querynode-7");
    tool.call(&["run"]).code(0);
}

fn any_other_key_among_the_sessions_counts_as_one(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let tool = Tool::new(&etcd);
    // Sorted before, between and behind the two keys that are no sessions.
    for key in ["aaa", "id2", "id/3", "migrati", "migration-4", "zzz", ""] {
        let key = format!("by-dev/meta/session/{key}");
        let lease = etcd.put_with_lease(key.clone(), "no JSON", 3600);
        let revision = etcd.revision();
        tool.call(&["run"]).code(1).stderr(contains(format!("key {key}")));
        assert_eq!(etcd.revision(), revision);
        etcd.revoke(lease);
    }
    tool.call(&["run"]).code(0);
}

const ROOTCOORD: &str = r#"{"ServerID":18,"ServerName":"rootcoord","Address":"10.0.0.1:53100","Exclusive":true}"#;

fn a_component_that_comes_up_at_any_transaction_stops_all_writing(version: Version) {
    let scene = Scene::on(version);
    assert_eq!(comes_up_everywhere(&scene, "run", USUAL, |_| true), 12);
    let all = scene.transactions("run", SMALL);
    comes_up_everywhere(&scene, "run", SMALL, |number| [all / 2, all - 5, all].contains(&number));
    assert!(comes_up_everywhere(&scene, "rollback", USUAL, |_| true) >= 3);
}

#[test]
#[ignore = "takes minutes; scripts/stress.sh"]
fn every_transaction_finds_a_component() {
    for version in [Version::V3_4, Version::V3_5] {
        let scene = Scene::on(version);
        for command in ["run", "rollback"] {
            let times = comes_up_everywhere(&scene, command, SMALL, |_| true);
            stress::report(
                &format!("component comes up before every transaction: {command} {SMALL}, {version:?}"),
                times,
            );
        }
    }
    let scene = Scene::of_segments(2_000);
    for command in ["run", "rollback"] {
        let times = comes_up_everywhere(&scene, command, USUAL, |_| true);
        stress::report(&format!("component comes up before every transaction: {command}, 2,000 segments"), times);
    }
}

/// A component comes up just before each write transaction (of which `chosen` says so) reaches etcd; not one is applied after that.
/// Returns how many times.
fn comes_up_everywhere(scene: &Scene, command: &str, options: &str, chosen: impl Fn(u64) -> bool) -> u64 {
    let mut times = 0;
    for number in (1..=scene.transactions(command, options)).filter(|number| chosen(*number)) {
        scene.start_over_for(command);
        let running = scene.tool.catch_at(&[command, options], &scene.etcd, "Write", number, Moment::Before);
        comes_up(scene, running, command, number == 1);
        scene.tool.call(&[command]).code(0);
        assert_same(scene.after(command), &scene.etcd.dump(), ("finished afterwards", command, number));
        times += 1;
    }
    times
}

fn comes_up(scene: &Scene, running: Running, command: &str, is_first: bool) {
    let lease = scene.etcd.put_with_lease("by-dev/meta/session/rootcoord", ROOTCOORD, 3600);
    let revision = scene.etcd.revision();
    running.go_on();
    let (code, says) = match (is_first, command) {
        // What a rollback overwrites has been saved by then, and a finished backup is exit 2.
        (true, "rollback") => (2, "the metadata is as it was"),
        (true, _) => (1, "the metadata is as it was"),
        _ => (2, "next: run "),
    };
    let stopped = running.wait().code(code).stderr(
        contains("rootcoord (server ID 18, at 10.0.0.1:53100, ends in 3")
            .and(contains("key by-dev/meta/session/rootcoord"))
            .and(contains(says)),
    );
    // Nothing came after it but the end of the lock.
    assert_eq!(newest_change(&scene.etcd), revision, "{}", said(&stopped));
    assert_eq!(scene.etcd.revision(), revision + 1, "{}", said(&stopped));
    assert_eq!(scene.etcd.get(LOCK), None);
    scene.etcd.revoke(lease);
    assert_whole(&scene.before, &scene.migrated, &scene.dump(), "a component came up");
}
