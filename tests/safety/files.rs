//! A `backup` that is killed at any byte of its file.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use meta_migration::backup::Backup;

use crate::common::tool::PROGRAM;
use crate::common::{Tool, Version};
use crate::{Scene, stress};

/// What the kernel sends to whoever writes beyond the limit of a file's size (signal(7)).
const SIGXFSZ: i32 = 25;

#[test]
fn a_backup_killed_at_any_byte_leaves_no_half_of_one() {
    killed_at_bytes(&Scene::on(Version::V3_5), 12);
}

#[test]
#[ignore = "takes minutes; scripts/stress.sh"]
fn many_bytes_of_a_backup() {
    let sample = killed_at_bytes(&Scene::on(Version::V3_5), 400);
    stress::report("killed in the middle of writing the backup file: sample", sample);
    let made = killed_at_bytes(&Scene::of_segments(2_000), 200);
    stress::report("killed in the middle of writing the backup file: 2,000 segments", made);
}

/// Kills `backup` after so many bytes of its file, at `points` points, with and without an earlier backup in its place.
fn killed_at_bytes(scene: &Scene, points: u64) -> u64 {
    let first = scene.tool.backup_file();
    let (earlier, size) = (std::fs::read(&first).unwrap(), std::fs::metadata(&first).unwrap().len());
    let keys = Backup::check(&first).unwrap().keys;
    for point in 0..points {
        // The last one is a byte short of the whole file.
        let bytes = if point + 1 == points { size - 1 } else { size * point / points };
        let fresh = Tool::new(&scene.etcd);
        killed_at(&fresh, bytes);
        assert_eq!(names(fresh.dir()), ["migration.bak.partial", "migration.yaml"], "after {bytes} bytes");
        assert_eq!(std::fs::metadata(fresh.dir().join("migration.bak.partial")).unwrap().len(), bytes);
        scene.etcd.end_lock();
        fresh.call(&["backup"]).code(0);
        assert_eq!(names(fresh.dir()), ["migration.bak", "migration.yaml"]);
        assert_eq!(Backup::check(&fresh.backup_file()).unwrap().keys, keys, "made again after {bytes} bytes");

        killed_at(&scene.tool, bytes);
        assert_eq!(std::fs::read(&first).unwrap(), earlier, "the earlier backup, after {bytes} bytes");
        scene.etcd.end_lock();
        std::fs::remove_file(scene.tool.dir().join("migration.bak.partial")).unwrap();
    }
    2 * points
}

/// The kernel kills the process as it writes beyond so many bytes of any file.
fn killed_at(tool: &Tool, bytes: u64) {
    let status = Command::new("prlimit")
        .args([&format!("--fsize={bytes}"), "--core=0", "--"])
        .args([PROGRAM, "--config", "migration.yaml", "backup"])
        .current_dir(tool.dir())
        // Its output goes to no file: that would meet the limit first.
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(SIGXFSZ), "{bytes} bytes: {status}");
}

fn names(dir: &Path) -> Vec<String> {
    let names = dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
