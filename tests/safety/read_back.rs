//! Reading back: whatever somebody else did between the last write and the end is found, and nothing is put on record as done.

use predicates::prelude::*;
use predicates::str::contains;

use crate::Scene;
use crate::common::gate::Moment;
use crate::common::state::{assert_same, value};
use crate::common::{Etcd, Version, on_both_versions, said};
use crate::whole::assert_whole;

on_both_versions![
    what_somebody_else_did_meanwhile_is_found_after_a_run,
    what_somebody_else_did_meanwhile_is_found_after_a_rollback,
];

/// A key that a migration neither reads nor writes, and one that it reads and leaves.
const OTHER: &str = "by-dev/meta/channelwatch/since";
const UNTOUCHED: &str = "queryCoord-collectionMeta/";

/// What somebody does, with what is to be said.
type Deed = (&'static str, fn(&Etcd, &Keys), &'static str);

/// Keys of each kind.
struct Keys {
    put: String,
    deleted: String,
    untouched: String,
}

const DEEDS: [Deed; 8] = [
    ("a key of the plan gets another value", |etcd, keys| etcd.put(&*keys.put, "x"), "has another value"),
    ("a key of the plan is deleted", |etcd, keys| etcd.delete(&*keys.put), "is missing"),
    ("a deleted key comes back", |etcd, keys| etcd.put(&*keys.deleted, "x"), "was changed by somebody else"),
    ("an untouched key is changed", |etcd, keys| etcd.put(&*keys.untouched, "x"), "was changed by somebody else"),
    ("an untouched key is deleted", |etcd, keys| etcd.delete(&*keys.untouched), "metadata keys instead of"),
    ("a key that takes no part is changed", |etcd, _| etcd.put(OTHER, "y"), "was changed by somebody else"),
    ("a key that takes no part is deleted", |etcd, _| etcd.delete(OTHER), "metadata keys instead of"),
    (
        "one goes and another comes, so that the number is right",
        |etcd, keys| {
            etcd.delete(&*keys.untouched);
            etcd.put("by-dev/meta/another", "x");
        },
        "was changed by somebody else",
    ),
];

fn what_somebody_else_did_meanwhile_is_found_after_a_run(version: Version) {
    found("run", version);
}

fn what_somebody_else_did_meanwhile_is_found_after_a_rollback(version: Version) {
    found("rollback", version);
}

fn found(command: &str, version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    etcd.put(OTHER, "x");
    let scene = Scene::of(etcd);
    let only = |in_one: &crate::common::state::Dump, other: &crate::common::state::Dump| {
        let key = in_one.keys().find(|key| !other.contains_key(*key) && key.starts_with(b"by-dev/meta/root-coord/"));
        String::from_utf8(key.unwrap().clone()).unwrap()
    };
    let (is, will_be) = match command {
        "run" => (&scene.before, &scene.migrated),
        _ => (&scene.migrated, &scene.before),
    };
    let untouched = is
        .iter()
        .find(|(key, value)| will_be.get(*key) == Some(value) && String::from_utf8_lossy(key).contains(UNTOUCHED));
    let keys = Keys {
        put: only(will_be, is),
        deleted: only(is, will_be),
        untouched: String::from_utf8(untouched.unwrap().0.clone()).unwrap(),
    };
    for (what, deed, complaint) in DEEDS {
        scene.start_over_for(command);
        let options: &[&str] = if command == "rollback" { &["--no-copy"] } else { &[] };
        let running = scene.tool.catch_at(&[&[command], options].concat(), &scene.etcd, "Page", 2, Moment::Before);
        deed(&scene.etcd, &keys);
        running.go_on();
        let stopped = running.wait();
        assert!(said(&stopped).contains(complaint), "{command}, {what}:\n{}", said(&stopped));
        stopped.code(2).stderr(contains("everything was written, but").and(contains("again")));
        let half = scene.dump();
        let history = value(&half, "meta-migration/history").unwrap();
        assert!(contains("\"running\"").eval(&String::from_utf8_lossy(history)), "{command}, {what}");
    }
    // Nobody does anything: it ends well, so it was the deeds that were found.
    scene.start_over_for(command);
    scene.tool.call(&[command]).code(0);
    assert_same(scene.after(command), &scene.etcd.dump(), command);
    assert_whole(&scene.before, &scene.migrated, &scene.etcd.dump(), command);
}
