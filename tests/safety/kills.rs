//! A process that is killed or told to stop, at any point.

use meta_migration::layout::keys::{Key, Plain, Side, side};

use crate::common::state::{Dump, LOCK, assert_same, below};
use crate::common::{Etcd, Tool, Version, on_both_versions, said};
use crate::{Scene, newest_change};

on_both_versions![
    a_killed_run_can_be_finished_or_rolled_back,
    a_killed_rollback_can_be_finished_or_migrated_again,
    a_run_told_to_stop_ends_in_order,
    a_run_told_to_stop_before_the_first_write_says_so,
    a_backup_told_to_stop_leaves_no_file,
];

const RUN_POINTS: [u64; 11] = [1, 9, 25, 41, 47, 49, 50, 51, 52, 53, 54];
const ROLLBACK_POINTS: [u64; 8] = [1, 9, 15, 17, 18, 19, 20, 22];

fn a_killed_run_can_be_finished_or_rolled_back(version: Version) {
    let scene = Scene::on(version);
    let mut mixed = 0;
    for point in RUN_POINTS {
        assert!(scene.run_caught_after(point).kill(), "{point}");
        let half = scene.dump();
        assert_whole(&scene, &half);
        mixed += usize::from(half != scene.before && half != scene.migrated);

        scene.etcd.end_lock();
        scene.tool.call(&["run"]).code(0);
        assert_same(&scene.migrated, &scene.etcd.dump(), ("run again after a kill", point));

        scene.etcd.start_over(&half);
        scene.tool.call(&["rollback"]).code(0);
        assert_same(&scene.before, &scene.etcd.dump(), ("rollback after a kill", point));
    }
    assert!(mixed > RUN_POINTS.len() / 2, "only {mixed} kills came in the middle");
}

fn a_killed_rollback_can_be_finished_or_migrated_again(version: Version) {
    let scene = Scene::on(version);
    for point in ROLLBACK_POINTS {
        assert!(scene.rollback_caught_after(point).kill(), "{point}");
        let half = scene.dump();
        assert_whole(&scene, &half);

        scene.etcd.end_lock();
        scene.tool.call(&["rollback"]).code(0);
        assert_same(&scene.before, &scene.etcd.dump(), ("rollback again after a kill", point));

        scene.etcd.start_over(&half);
        scene.tool.call(&["run"]).code(0);
        assert_same(&scene.migrated, &scene.etcd.dump(), ("run after a killed rollback", point));
    }
}

/// Every collection is in exactly one of the layouts, and in that one nothing of it is missing.
fn assert_whole(scene: &Scene, half: &Dump) {
    let is_as_in = |key: &[u8], dump: &Dump| half.get(key) == dump.get(key);
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for (relative, value) in below(&scene.before, "root-coord/collection/") {
        let key = format!("by-dev/meta/{relative}").into_bytes();
        if scene.migrated[&key] == value {
            // A tombstone in both.
            continue;
        }
        let in_new_layout = is_as_in(&key, &scene.migrated);
        let expected = if in_new_layout { &scene.migrated } else { &scene.before };
        assert!(is_as_in(&key, expected), "{relative} is in neither layout");
        let snapshots = format!("by-dev/meta/snapshots/{relative}_ts").into_bytes();
        let newest = expected.keys().rfind(|key| key.starts_with(&snapshots)).unwrap();
        assert!(is_as_in(newest, expected), "{relative} and its newest snapshot are in different layouts");
        if in_new_layout { new.push(relative) } else { old.push(relative) }
    }
    // Where any collection needs them, the records of a layout are all there.
    for (collections, dump, its_side) in [(&old, &scene.before, Side::Source), (&new, &scene.migrated, Side::Target)] {
        if collections.is_empty() {
            continue;
        }
        for (relative, value) in below(dump, "").filter(|(key, _)| side(key.as_bytes()) == its_side) {
            let found = half.get(format!("by-dev/meta/{relative}").as_bytes()).map(Vec::as_slice);
            assert_eq!(found, Some(value), "{relative} is missing or changed while {} need it", collections.len());
        }
    }
    let other = |dump: &Dump| -> Dump {
        let changes = |key: &[u8]| match key.strip_prefix(b"by-dev/meta/").map(Key::parse) {
            Some(Ok(Key::Plain(Plain::Collection(_)) | Key::Snapshot(Plain::Collection(_), _))) => true,
            Some(key) => key.unwrap().side() != Side::Neither,
            None => false,
        };
        dump.iter().filter(|(key, _)| !changes(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    assert_same(&other(&scene.before), &other(half), "what neither layout changes");
}

fn a_run_told_to_stop_ends_in_order(version: Version) {
    let scene = Scene::on(version);
    for signal in ["TERM", "INT"] {
        let running = scene.run_caught_after(20);
        running.signal(signal);
        running.go_on();
        let stopped = running.wait().code(2);
        assert!(said(&stopped).contains("stopped by a signal"), "{}", said(&stopped));
        assert!(said(&stopped).contains("Run again"), "{}", said(&stopped));
        assert_eq!(scene.etcd.get(LOCK), None);
        assert_eq!(scene.etcd.leases().len(), 0);
        assert_whole(&scene, &scene.dump());
        scene.tool.call(&["run"]).code(0);
        assert_same(&scene.migrated, &scene.etcd.dump(), "finished afterwards");
    }
}

fn a_run_told_to_stop_before_the_first_write_says_so(version: Version) {
    let (etcd, tool) = paused(version);
    let mut running = tool.start(&["run"]);
    running.wait_for_output("run: the metadata");
    running.signal("TERM");
    running.wait_for_output("told to stop");
    etcd.resume();
    let stopped = running.wait().code(1);
    assert!(said(&stopped).contains("stopped by a signal"), "{}", said(&stopped));
    assert_untouched(&etcd);
}

fn a_backup_told_to_stop_leaves_no_file(version: Version) {
    let (etcd, tool) = paused(version);
    let mut running = tool.start(&["backup"]);
    running.wait_for_output("backup: every key");
    running.signal("TERM");
    running.wait_for_output("told to stop");
    etcd.resume();
    running.wait().code(1);
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
