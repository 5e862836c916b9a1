//! The Milvus Operator's side of a `MilvusUpgrade`, step by step: a pod for the backup, started again when it fails; one
//! for `run`; and one for `rollback` when that fails or is asked for. All on the same volume, with nothing but a
//! configuration file and an exit code between them.

use std::path::PathBuf;

use predicates::str::contains;

use crate::common::gate::{Gate, Moment};
use crate::common::state::{Dump, LOCK, assert_same};
use crate::common::{Cluster, Etcd, Running, Tool, Version, on_both_versions, wait_until};
use crate::{by_operator, host_and_port, migrated_keys};

on_both_versions![
    an_upgrade_goes_through_and_can_be_taken_back,
    a_backup_that_fails_is_tried_three_times_more,
    the_last_of_the_three_retries_can_still_succeed,
    an_upgrade_after_one_that_was_taken_back_keeps_both_backups,
    a_run_that_is_refused_is_rolled_back_without_harm,
    a_run_that_fails_half_way_is_rolled_back,
    after_a_run_that_was_killed_the_rollback_waits_for_the_lock,
];

const SESSION: &str = "by-dev/meta/session/proxy-3";
/// spec.maxRetry, unless it is set.
const MAX_RETRY: usize = 3;

/// A Milvus in Kubernetes, and the volume of its upgrade.
struct Scene {
    endpoints: Vec<String>,
    /// The folder is the container's root, so to say.
    tool: Tool,
}

impl Scene {
    fn new(etcds: &[Etcd]) -> Self {
        let scene = Self {
            endpoints: etcds.iter().map(host_and_port).collect(),
            tool: Tool::configured("replaced by each pod"),
        };
        std::fs::create_dir_all(scene.volume()).unwrap();
        scene
    }

    /// What is mounted at /milvus/data.
    fn volume(&self) -> PathBuf {
        self.tool.dir().join("milvus/data")
    }

    /// The files on the volume, but the copies that each rollback makes of what it overwrites.
    fn files(&self) -> Vec<String> {
        let mut names = self.all_files();
        names.retain(|name| !name.contains(".before-rollback-"));
        names
    }

    fn all_files(&self) -> Vec<String> {
        let entries = self.volume().read_dir().unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn backup(&self) -> Vec<u8> {
        std::fs::read(self.volume().join("migration.bak")).unwrap()
    }

    /// The configuration of a pod as the operator makes it from spec.sourceVersion (v2.1.4), spec.targetVersion and the
    /// Milvus, blank at a line's end included. Each endpoint has a key of its own.
    fn configuration(&self, command: &str) -> String {
        let endpoints: String =
            self.endpoints.iter().map(|endpoint| format!("\n  endpoints:\n    - {endpoint}")).collect();
        let blank = ' ';
        format!(
            "cmd:
  type: {command}

config:
  sourceVersion: 2.1.4
  targetVersion: 2.2.16
  backupFilePath: {}/migration.bak

metastore:
  type: etcd

etcd:{endpoints}
  rootPath: by-dev{blank}
  metaSubPath: meta
  kvSubPath: kv
",
            self.volume().display()
        )
    }

    /// Starts a pod.
    fn start(&self, command: &str) -> Running {
        self.tool.configure(&self.configuration(command));
        by_operator(&self.tool)
    }

    /// Runs a pod to its end. The exit code is all that the operator sees of it.
    fn pod(&self, command: &str) -> i32 {
        self.start(command).wait().get_output().status.code().unwrap()
    }

    /// Backup pods until one succeeds or there have been too many; `before` is called before each, with its number.
    fn back_up(&self, before: impl Fn(usize)) -> Vec<i32> {
        let mut codes = Vec::new();
        while codes.len() <= MAX_RETRY && codes.last() != Some(&0) {
            before(codes.len());
            codes.push(self.pod("backup"));
        }
        codes
    }
}

fn loaded(version: Version) -> (Etcd, Dump) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let before = etcd.dump();
    (etcd, before)
}

fn an_upgrade_goes_through_and_can_be_taken_back(version: Version) {
    let (etcd, before) = loaded(version);
    upgrade_and_take_back(&Scene::new(std::slice::from_ref(&etcd)), &etcd, &before);
}

#[test]
fn three_endpoints_have_a_key_each() {
    let cluster = Cluster::start(Version::V3_5);
    let etcd = &cluster.members[0];
    etcd.load_milvus();
    let scene = Scene::new(&cluster.members);
    assert_eq!(scene.configuration("run").matches("  endpoints:\n    - 127.0.0.1:").count(), 3);
    upgrade_and_take_back(&scene, etcd, &etcd.dump());
}

/// spec.operation is set to rollback after a success.
fn upgrade_and_take_back(scene: &Scene, etcd: &Etcd, before: &Dump) {
    assert_eq!(scene.back_up(|_| ()), [0]);
    assert_same(before, &etcd.dump(), "backup");
    assert_eq!(scene.pod("run"), 0);
    assert_eq!(etcd.dump().len(), migrated_keys("2.2.16"));
    assert_eq!(scene.pod("rollback"), 0);
    assert_same(before, &etcd.dump(), "rollback");
    assert_eq!(scene.files(), ["migration.bak"]);
    assert_eq!(scene.all_files().len(), 2, "what was overwritten is saved");
    assert_eq!((etcd.get(LOCK), etcd.leases().len()), (None, 0));
}

/// A component that does not end. Without a backup the operator makes no rollback: it starts the old version.
fn a_backup_that_fails_is_tried_three_times_more(version: Version) {
    let (etcd, before) = loaded(version);
    let scene = Scene::new(std::slice::from_ref(&etcd));
    let lease = etcd.put_with_lease(SESSION, "{}", 3600);
    let with_session = etcd.dump();
    assert_eq!(scene.back_up(|_| ()), [1, 1, 1, 1]);
    assert_same(&with_session, &etcd.dump(), "nothing was written");
    assert_eq!(scene.files(), Vec::<String>::new());
    // The next MilvusUpgrade, with the same volume.
    etcd.revoke(lease);
    upgrade_and_take_back(&scene, &etcd, &before);
}

fn the_last_of_the_three_retries_can_still_succeed(version: Version) {
    let (etcd, before) = loaded(version);
    let scene = Scene::new(std::slice::from_ref(&etcd));
    let lease = etcd.put_with_lease(SESSION, "{}", 3600);
    let codes = scene.back_up(|number| {
        match number {
            // Of a pod that was killed in the middle of writing.
            1 => std::fs::write(scene.volume().join("migration.bak.partial"), "as far as it came").unwrap(),
            // Nothing mounted, or somebody else's file: it is moved aside, never lost.
            2 => std::fs::write(scene.volume().join("migration.bak"), "not ours").unwrap(),
            3 => etcd.revoke(lease),
            _ => (),
        }
    });
    assert_eq!(codes, [1, 1, 1, 0]);
    assert_eq!(scene.files(), ["migration.bak", "migration.bak.1"]);
    assert_eq!(std::fs::read(scene.volume().join("migration.bak.1")).unwrap(), b"not ours");
    assert_eq!((scene.pod("run"), scene.pod("rollback")), (0, 0));
    assert_same(&before, &etcd.dump(), "rollback");
}

/// Its volume stays if it is named in spec.backupPVC.
fn an_upgrade_after_one_that_was_taken_back_keeps_both_backups(version: Version) {
    let (etcd, before) = loaded(version);
    let scene = Scene::new(std::slice::from_ref(&etcd));
    upgrade_and_take_back(&scene, &etcd, &before);
    let first = scene.backup();
    etcd.put("by-dev/meta/queryCoord-later", "Milvus 2.1 went on for a while");
    let later = etcd.dump();
    assert_eq!((scene.back_up(|_| ()), scene.pod("run"), scene.pod("rollback")), (vec![0], 0, 0));
    assert_same(&later, &etcd.dump(), "rollback");
    assert_eq!(scene.files(), ["migration.bak", "migration.bak.1"]);
    assert_eq!(std::fs::read(scene.volume().join("migration.bak.1")).unwrap(), first);
}

/// A component that came up after the backup, and is stopped by the operator before the rollback.
fn a_run_that_is_refused_is_rolled_back_without_harm(version: Version) {
    let (etcd, before) = loaded(version);
    let scene = Scene::new(std::slice::from_ref(&etcd));
    assert_eq!(scene.back_up(|_| ()), [0]);
    let lease = etcd.put_with_lease(SESSION, "{}", 3600);
    assert_eq!(scene.pod("run"), 1);
    etcd.revoke(lease);
    let revision = etcd.revision();
    scene.start("rollback").wait().code(0).stderr(contains("nothing to do"));
    assert_same(&before, &etcd.dump(), "nothing was written");
    // The lock came and went, and nothing else.
    assert_eq!(etcd.revision(), revision + 2);
}

fn a_run_that_fails_half_way_is_rolled_back(version: Version) {
    let (etcd, before) = loaded(version);
    let mut scene = Scene::new(std::slice::from_ref(&etcd));
    assert_eq!(scene.back_up(|_| ()), [0]);
    let backup = scene.backup();
    let (run, gate) = catch_run(&mut scene, &etcd);
    let lease = etcd.put_with_lease(SESSION, "{}", 3600);
    gate.open();
    run.wait().code(2);
    // The operator stops Milvus before it starts the pod.
    etcd.revoke(lease);
    assert_ne!(etcd.dump(), before);
    assert_eq!(scene.pod("rollback"), 0);
    assert_same(&before, &etcd.dump(), "rollback");
    assert_eq!((scene.backup(), scene.files()), (backup, vec!["migration.bak".to_owned()]));
}

/// Out of memory, or the node is lost: nobody gives the lock back. The rollback pod comes before the lock's lease has ended.
fn after_a_run_that_was_killed_the_rollback_waits_for_the_lock(version: Version) {
    let (etcd, before) = loaded(version);
    let mut scene = Scene::new(std::slice::from_ref(&etcd));
    assert_eq!(scene.back_up(|_| ()), [0]);
    let (run, _gate) = catch_run(&mut scene, &etcd);
    assert!(run.kill());
    scene.start("rollback").wait().code(1).stderr(contains("another migration is at work"));
    etcd.end_lock();
    assert_ne!(etcd.dump(), before);
    assert_eq!(scene.pod("rollback"), 0);
    assert_same(&before, &etcd.dump(), "rollback");
}

/// A `run` pod that is held up when it has written something, and is not done; with its way to etcd.
fn catch_run(scene: &mut Scene, etcd: &Etcd) -> (Running, Gate) {
    let gate = Gate::to(etcd);
    gate.hold("Write", 2, Moment::After);
    let direct = std::mem::replace(&mut scene.endpoints, vec![gate.endpoint()]);
    let run = scene.start("run");
    scene.endpoints = direct;
    wait_until("a transaction is held", || gate.is_holding());
    (run, gate)
}
