//! Backups made by hand, by `run`, and again by whoever starts over.

use std::path::PathBuf;

use meta_migration::backup::{Backup, Format, Manifest};
use meta_migration::layout::Found;
use predicates::prelude::*;
use predicates::str::contains;

use crate::common::gate::Moment;
use crate::common::state::{Dump, LOCK, assert_same};
use crate::common::{Etcd, Tool, Version, on_both_versions, said};
use crate::{by_operator, migrate_sh_config, migrated_keys};

on_both_versions![
    a_run_with_backup_backs_up_the_revision_that_it_migrates,
    what_others_keep_there_with_a_lease_is_in_no_backup,
    a_run_that_fails_before_its_backup_has_its_name_is_exit_1,
    a_run_that_fails_after_its_backup_is_exit_2,
    a_second_backup_moves_the_first_one_aside_unchanged,
    migrated_metadata_is_backed_up_only_by_force,
    half_migrated_metadata_is_not_backed_up_over_the_backup_from_before,
    half_migrated_metadata_without_a_backup_from_before_is_left_to_the_user,
    a_failed_backup_leaves_the_earlier_one_alone,
    a_killed_backup_is_made_again_by_the_next_pod,
    a_mistyped_root_path_makes_no_backup,
];

struct Scene {
    etcd: Etcd,
    tool: Tool,
    before: Dump,
}

fn scene(version: Version) -> Scene {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let before = etcd.dump();
    let tool = Tool::new(&etcd);
    Scene { etcd, tool, before }
}

impl Scene {
    /// Sets cmd.runWithBackup, as it stands in the file of migrate.sh.
    fn run_with_backup(&self) {
        let config = migrate_sh_config(&self.tool, &self.etcd, "run");
        self.tool.configure(&config.replace("runWithBackup: false", "runWithBackup: true"));
    }

    /// A `run` was killed half way, and its lock has ended.
    fn half_migrate(&self) -> Dump {
        self.tool.catch(&["run", "--with-backup=false"], &self.etcd, 51, || self.etcd.start_over(&self.before)).kill();
        self.etcd.end_lock();
        self.etcd.dump()
    }

    fn backup(&self) -> Vec<u8> {
        std::fs::read(self.tool.backup_file()).unwrap()
    }

    /// The names of the backups.
    fn backups(&self) -> Vec<String> {
        let entries = self.tool.dir().read_dir().unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "migration.yaml").collect();
        names.sort();
        names
    }
}

fn manifest(file: PathBuf) -> Manifest {
    let Format::Ours(manifest) = Backup::check(&file).unwrap().format else { panic!("not ours") };
    *manifest
}

fn a_run_with_backup_backs_up_the_revision_that_it_migrates(version: Version) {
    let scene = scene(version);
    scene.run_with_backup();
    let mut running = by_operator(&scene.tool);
    // Others use this etcd, too: its revision never stands still.
    while running.is_running() {
        scene.etcd.put("other-cluster/kv/gid/timestamp", "the time");
    }
    let done = running.wait().code(0);
    let manifest = manifest(scene.tool.backup_file());
    let revision = format!("found 392 metadata keys at revision {}: Milvus 2.1 metadata", manifest.etcd_revision);
    assert!(said(&done).contains(&revision), "not {revision:?}: {}", said(&done));
    scene.etcd.delete("other-cluster/kv/gid/timestamp");
    assert_eq!((manifest.keys, manifest.layout), (393, Found::Source));
    assert_eq!(manifest.source_version.as_deref(), Some("2.1.4"));
    assert_eq!(scene.etcd.dump().len(), migrated_keys("2.2.0"));
    // Nothing to do, so nothing to back up: the way back stays.
    let backup = scene.backup();
    by_operator(&scene.tool).wait().code(0).stderr(contains("nothing to do"));
    assert_eq!((scene.backup(), scene.backups()), (backup, vec!["migration.bak".to_owned()]));
    scene.tool.call(&["rollback"]).code(0);
    assert_same(&scene.before, &scene.etcd.dump(), "rollback");
}

/// The number of keys stands at the beginning of the file, and sessions alone are taken off it.
fn what_others_keep_there_with_a_lease_is_in_no_backup(version: Version) {
    let scene = scene(version);
    scene.etcd.put_with_lease("by-dev/meta/somebody/else", "1", 3600);
    scene.run_with_backup();
    by_operator(&scene.tool).wait().code(0);
    assert_eq!(manifest(scene.tool.backup_file()).keys, 393);
    // The copy that a rollback makes is written while it reads, too.
    scene.tool.call(&["rollback"]).code(0);
    let copy = scene.backups().into_iter().find(|name| name.contains("before-rollback")).unwrap();
    let copied = manifest(scene.tool.dir().join(copy));
    assert_eq!(copied.layout, Found::Target);
    assert!(!copied.counts.keys().any(|prefix| prefix.contains("somebody")), "{copied:?}");
}

/// Whoever has lost the lock may hold what another command has changed since: that must not take the place of a good backup.
fn a_run_that_fails_before_its_backup_has_its_name_is_exit_1(version: Version) {
    let scene = scene(version);
    scene.tool.call(&["backup"]).code(0);
    let good = scene.backup();
    let running = scene.tool.catch(&["run", "--with-backup"], &scene.etcd, 0, || scene.etcd.start_over(&scene.before));
    scene.etcd.end_lock();
    running.go_on();
    running.wait().code(1).stderr(contains("cannot back up by-dev/meta"));
    assert_same(&scene.before, &scene.etcd.dump(), "nothing was written");
    assert_eq!((scene.backup(), scene.backups()), (good, vec!["migration.bak".to_owned()]));
}

fn a_run_that_fails_after_its_backup_is_exit_2(version: Version) {
    let scene = scene(version);
    scene.etcd.start_over(&scene.before);
    let running = scene.tool.catch_at(&["run", "--with-backup"], &scene.etcd, "Write", 1, Moment::Before);
    assert_eq!(scene.backups(), ["migration.bak"]);
    let lease = scene.etcd.put_with_lease("by-dev/meta/session/proxy-3", r#"{"ServerName":"proxy"}"#, 3600);
    running.go_on();
    running
        .wait()
        .code(2)
        .stderr(contains("proxy (ends in 3").and(contains("backup")).and(contains("read back").not()));
    scene.etcd.revoke(lease);
    assert_same(&scene.before, &scene.etcd.dump(), "nothing was written");
    assert_eq!(scene.etcd.get(LOCK), None);
    assert_eq!(manifest(scene.tool.backup_file()).keys, 393);
    scene.tool.call(&["rollback"]).code(0).stderr(contains("nothing to do"));
}

fn a_second_backup_moves_the_first_one_aside_unchanged(version: Version) {
    let scene = scene(version);
    scene.tool.call(&["backup"]).code(0);
    let first = scene.backup();
    scene.etcd.put("by-dev/meta/queryCoord-later", "changed since");
    scene.tool.call(&["backup"]).code(0).stderr(contains("migration.bak.1"));
    let second = scene.backup();
    scene.run_with_backup();
    by_operator(&scene.tool).wait().code(0).stderr(contains("migration.bak.2"));
    assert_eq!(scene.backups(), ["migration.bak", "migration.bak.1", "migration.bak.2"]);
    let aside = |number: u32| std::fs::read(scene.tool.dir().join(format!("migration.bak.{number}"))).unwrap();
    assert_eq!((aside(1), aside(2)), (first, second));
    assert_eq!(manifest(scene.tool.backup_file()).keys, 394);
    // Any of them can be gone back to, on purpose.
    let migrated = scene.etcd.dump();
    let refused = contains("migration.bak.1 is not the backup that is on record").and(contains("--other-backup"));
    scene.tool.call(&["rollback", "--backup-file=migration.bak.1"]).code(1).stderr(refused);
    assert_same(&migrated, &scene.etcd.dump(), "nothing was written");
    assert_eq!(scene.backups(), ["migration.bak", "migration.bak.1", "migration.bak.2"]);
    scene.tool.call(&["rollback", "--backup-file=migration.bak.1", "--other-backup"]).code(0);
    assert_same(&scene.before, &scene.etcd.dump(), "the first one");
}

fn migrated_metadata_is_backed_up_only_by_force(version: Version) {
    let scene = scene(version);
    scene.tool.call(&["backup"]).code(0);
    let good = scene.backup();
    scene.tool.call(&["run"]).code(0);
    scene
        .tool
        .call(&["backup"])
        .code(1)
        .stderr(contains("this is not metadata of Milvus 2.1").and(contains("--force")));
    assert_eq!((scene.backup(), scene.backups().len()), (good.clone(), 1));
    let migrated = scene.etcd.dump();
    // The way back is not even moved aside.
    let stays = contains("is the backup that is on record, the way back").and(contains("--backup-file"));
    scene.tool.call(&["backup", "--force"]).code(1).stderr(stays);
    let elsewhere = "--backup-file=migrated.bak";
    scene.tool.call(&["backup", "--force", elsewhere]).code(0);
    assert_eq!((scene.backup(), scene.backups()), (good, vec!["migrated.bak".to_owned(), "migration.bak".to_owned()]));
    assert_eq!(manifest(scene.tool.dir().join("migrated.bak")).layout, Found::Target);
    // Who says that it is of 2.2 need not force anything.
    scene.tool.call(&["backup", elsewhere, "--source-version=2.2.0", "--target-version=2.2.16"]).code(0);

    scene.tool.call(&["rollback"]).code(0);
    assert_same(&scene.before, &scene.etcd.dump(), "back to 2.1");
    scene.tool.call(&["rollback", elsewhere]).code(1).stderr(contains("holds metadata that is migrated already"));
    assert_same(&scene.before, &scene.etcd.dump(), "nothing was written");
    scene.tool.call(&["rollback", elsewhere, "--restore-migrated"]).code(0);
    let mut expected = migrated;
    // What was done is in no backup.
    expected.retain(|key, _| !key.ends_with(b"meta-migration/history"));
    assert_same(&expected, &scene.etcd.dump(), "and to 2.2 again");
}

fn half_migrated_metadata_is_not_backed_up_over_the_backup_from_before(version: Version) {
    let scene = scene(version);
    scene.tool.call(&["backup"]).code(0);
    let good = scene.backup();
    let half = scene.half_migrate();
    scene
        .tool
        .call(&["backup"])
        .code(1)
        .stderr(contains("an interrupted run").and(contains("`run --source-version 2.1.4")));
    assert_same(&half, &scene.etcd.dump(), "refused");
    scene.run_with_backup();
    by_operator(&scene.tool)
        .wait()
        .code(0)
        .stderr(contains("the way back is").and(contains("made before this was interrupted")));
    assert_eq!(scene.etcd.dump().len(), migrated_keys("2.2.0"));
    assert_eq!((scene.backup(), scene.backups().len()), (good, 1));
    scene.tool.call(&["rollback"]).code(0);
    assert_same(&scene.before, &scene.etcd.dump(), "rollback");
}

fn half_migrated_metadata_without_a_backup_from_before_is_left_to_the_user(version: Version) {
    let scene = scene(version);
    scene.tool.call(&["backup"]).code(0);
    let half = scene.half_migrate();
    std::fs::remove_file(scene.tool.backup_file()).unwrap();
    scene.run_with_backup();
    for content in [None, Some("no backup at all")] {
        if let Some(content) = content {
            std::fs::write(scene.tool.backup_file(), content).unwrap();
        }
        let backups = scene.backups();
        by_operator(&scene.tool)
            .wait()
            .code(1)
            .stderr(contains("the way back has to be there").and(contains("--no-backup")));
        assert_same(&half, &scene.etcd.dump(), "refused");
        assert_eq!(scene.backups(), backups);
    }
    scene.tool.call(&["run", "--with-backup=false", "--force"]).code(0);
    assert_eq!(scene.etcd.dump().len(), migrated_keys("2.2.0"));
}

fn a_failed_backup_leaves_the_earlier_one_alone(version: Version) {
    let scene = scene(version);
    scene.tool.call(&["backup"]).code(0);
    let good = scene.backup();
    let lease = scene.etcd.put_with_lease("by-dev/meta/session/proxy-3", "{}", 3600);
    scene.tool.call(&["backup"]).code(1);
    scene.etcd.revoke(lease);
    // A component that comes up while the backup is being made: the file is sound, but may be old already.
    let running = scene.tool.catch(&["backup"], &scene.etcd, 0, || ());
    let lease = scene.etcd.put_with_lease("by-dev/meta/session/proxy-3", "{}", 3600);
    assert_eq!((scene.backup(), scene.backups()), (good.clone(), vec!["migration.bak".to_owned()]));
    running.go_on();
    running.wait().code(2).stderr(contains("make the backup again before migrating"));
    scene.etcd.revoke(lease);
    assert_eq!(std::fs::read(scene.tool.dir().join("migration.bak.1")).unwrap(), good);
    assert_same(&scene.before, &scene.etcd.dump(), "backups change nothing");
}

fn a_killed_backup_is_made_again_by_the_next_pod(version: Version) {
    let scene = scene(version);
    assert!(scene.tool.catch(&["backup"], &scene.etcd, 0, || ()).kill());
    std::fs::write(scene.tool.dir().join("migration.bak.partial"), "as far as it came").unwrap();
    scene.tool.call(&["backup"]).code(1).stderr(contains("another migration is at work"));
    scene.etcd.end_lock();
    scene.tool.call(&["backup"]).code(0);
    assert_eq!(scene.backups(), ["migration.bak"]);
    assert_eq!(manifest(scene.tool.backup_file()).keys, 393);
}

fn a_mistyped_root_path_makes_no_backup(version: Version) {
    let scene = scene(version);
    scene.tool.call(&["backup"]).code(0);
    let good = scene.backup();
    scene
        .tool
        .call(&["backup", "--root-path=by-mistake"])
        .code(1)
        .stderr(contains("no metadata under by-mistake/meta").and(contains("These look like Milvus: by-dev/meta")));
    assert_eq!((scene.backup(), scene.backups()), (good, vec!["migration.bak".to_owned()]));
    assert_same(&scene.before, &scene.etcd.dump(), "nothing was written");
}
