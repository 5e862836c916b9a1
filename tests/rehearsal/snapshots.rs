//! `plan --from-snapshot`: from files of `etcdctl snapshot save`.

use std::path::{Path, PathBuf};
use std::process::Command;

use meta_migration::etcd::saved::{Saved, SavedError};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::state::{Dump, assert_same};
use crate::common::{Etcd, Tool, Version, on_both_versions, said};
use crate::{running_milvus, says, stopped_milvus};

on_both_versions![
    a_plan_from_a_snapshot_is_the_plan_from_the_etcd,
    whatever_happened_in_an_etcd_a_snapshot_is_read_as_it_was_in_the_end,
];

/// Has etcdctl save a snapshot.
fn save(etcd: &Etcd, version: Version, file: &Path) -> PathBuf {
    let etcdctl = version.binary().with_file_name("etcdctl");
    let saved = Command::new(etcdctl)
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &etcd.endpoint(), "snapshot", "save"])
        .arg(file)
        .output()
        .unwrap();
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    file.to_owned()
}

fn read(file: &Path, prefix: &str) -> Result<Saved, SavedError> {
    Saved::read(file, prefix.as_bytes(), |_| None, |_| Ok(()))
}

#[track_caller]
fn assert_reads_as(etcd: &Etcd, file: &Path) {
    let saved = read(file, "").unwrap();
    let found: Dump = saved.entries.iter().map(|(key, entry)| (key.to_vec(), entry.value.to_vec())).collect();
    assert_same(&etcd.dump(), &found, "the snapshot against etcd");
    assert_eq!(saved.revision, etcd.revision());
    for kv in etcd.entries() {
        let entry = &saved.entries[kv.key()];
        assert_eq!((entry.mod_revision, entry.lease), (kv.mod_revision(), kv.lease()));
    }
}

fn json(tool: &Tool, args: &[&str]) -> Value {
    let ended = tool.call(&[args, &["--output", "json", "--diff"]].concat()).code(0);
    serde_json::from_slice(&ended.get_output().stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&ended)))
}

fn a_plan_from_a_snapshot_is_the_plan_from_the_etcd(version: Version) {
    let etcd = running_milvus(version);
    let tool = Tool::new(&etcd);
    save(&etcd, version, &tool.dir().join("etcd.snap"));
    let mut live = json(&tool, &["plan"]);
    // Nothing listens there.
    let mut saved = json(&tool, &["plan", "--from-snapshot", "etcd.snap", "--endpoints", "127.0.0.1:1"]);
    let advice = saved["advice"].to_string();
    assert!(
        advice.contains("Milvus was running when the snapshot was taken") && advice.contains("rootcoord"),
        "{advice}"
    );
    assert_eq!(saved["source"], "etcd snapshot etcd.snap");
    for plan in [&mut live, &mut saved] {
        for field in ["source", "cluster_id", "sessions", "advice", "next", "backup"] {
            plan.as_object_mut().unwrap().remove(field);
        }
        // Only an etcd that runs tells how much room it has.
        plan["going_back"].as_object_mut().unwrap().remove("room");
    }
    assert_eq!(live, saved);
}

fn whatever_happened_in_an_etcd_a_snapshot_is_read_as_it_was_in_the_end(version: Version) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("etcd.snap");
    let etcd = Etcd::start(version);
    etcd.put("a", "");
    // So little that the bucket stands within its parent's page.
    assert_reads_as(&etcd, &save(&etcd, version, &file));
    // Values of many pages, of none, and keys of every byte.
    etcd.put("large", vec![b'x'; 1 << 20]);
    etcd.put("empty", "");
    etcd.put_all((0..=255_u8).map(|byte| (vec![byte, 0, byte], vec![byte], 0)));
    // Enough for several levels; changed, deleted, made anew, and all in one transaction.
    for round in 0..3 {
        etcd.put_all((0..4000).map(|key| (format!("many/{key:05}").into(), vec![round; 100 + key % 300], 0)));
    }
    (0..4000).step_by(3).for_each(|key| etcd.delete(format!("many/{key:05}")));
    (0..4000).step_by(9).for_each(|key| etcd.put(format!("many/{key:05}"), "anew"));
    etcd.put_with_lease("leased", "x", 3600);
    assert_reads_as(&etcd, &save(&etcd, version, &file));
    // Compacted to the very end, where the last change is a deletion: its revision is left in no record.
    etcd.delete("empty");
    etcd.compact(etcd.revision());
    etcd.run(async |mut client| client.defragment().await);
    assert_reads_as(&etcd, &save(&etcd, version, &file));
    etcd.load_milvus();
    assert_reads_as(&etcd, &save(&etcd, version, &file));
}

#[test]
fn which_milvus_is_meant_is_never_guessed() {
    let etcd = stopped_milvus(Version::V3_5);
    let tool = Tool::new(&etcd);
    let snapshot = ["plan", "--from-snapshot", "etcd.snap"];
    // Only another root, deleted ones aside.
    etcd.put("gone/meta/root-coord/collection/1", "x");
    etcd.delete("gone/meta/root-coord/collection/1");
    save(&etcd, Version::V3_5, &tool.dir().join("etcd.snap"));
    says(&tool, &snapshot, 0);
    let text = says(&tool, &[&snapshot[..], &["--root-path", "other"]].concat(), 1);
    assert!(text.contains("no metadata under other/meta in etcd.snap. These look like Milvus: by-dev/meta"), "{text}");
    assert!(!text.contains("gone/meta"), "{text}");
    // A second one: by-dev is only the default then.
    etcd.put("second/meta/root-coord/collection/1", "x");
    save(&etcd, Version::V3_5, &tool.dir().join("etcd.snap"));
    let text = says(&tool, &snapshot, 1);
    assert!(text.contains("there are several Milvus in etcd.snap") && text.contains("second/meta"), "{text}");
    says(&tool, &[&snapshot[..], &["--root-path", "by-dev"]].concat(), 0);
    // None at all.
    etcd.start_over(&Dump::from([(b"x".to_vec(), b"y".to_vec())]));
    save(&etcd, Version::V3_5, &tool.dir().join("etcd.snap"));
    let text = says(&tool, &snapshot, 1);
    assert!(text.contains("nothing else in it looks like Milvus"), "{text}");
    for other in [["--from-backup", "b"], ["--expect-address", "h"]] {
        says(&tool, &[&snapshot[..], &other].concat(), 1);
    }
}

#[test]
fn what_is_no_sound_snapshot_is_called_by_its_name() {
    let etcd = stopped_milvus(Version::V3_5);
    let tool = Tool::new(&etcd);
    let file = save(&etcd, Version::V3_5, &tool.dir().join("etcd.snap"));
    tool.call(&["backup"]).code(0);
    let sound = std::fs::read(&file).unwrap();
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    let cases = [
        ("cut", sound[..sound.len() / 2 + 100].to_vec(), "it was cut off"),
        ("cut at a page", sound[..sound.len() / 8192 * 4096].to_vec(), "has no checksum at its end"),
        ("cut by a byte", sound[..sound.len() - 1].to_vec(), "has no checksum at its end"),
        // As member/snap/db lies in the data directory.
        ("without a checksum", sound[..sound.len() - 32].to_vec(), "a copy of a member's own database"),
        ("cut where it looks like one", sound[..sound.len() / 2 / 512 * 512 + 32].to_vec(), "but has"),
        ("flipped", flipped, "do not match the checksum at its end"),
        ("a backup", std::fs::read(tool.backup_file()).unwrap(), "is for --from-backup"),
        ("text", b"etcd".to_vec(), "too short for one"),
        ("empty", Vec::new(), "it is empty"),
    ];
    for (name, bytes, words) in cases {
        std::fs::write(tool.dir().join(name), bytes).unwrap();
        let text = says(&tool, &["plan", "--from-snapshot", name], 1);
        assert!(text.contains(words) && text.contains(name), "{name}: {text}");
    }
    let text = says(&tool, &["plan", "--from-snapshot", "."], 1);
    assert!(text.contains("it is no regular file"), "{text}");
    let text = says(&tool, &["plan", "--from-snapshot", "none"], 1);
    assert!(text.contains("cannot read the snapshot none: No such file"), "{text}");
}

#[test]
fn no_damage_that_its_checksum_agrees_with_makes_it_panic_or_read_for_ever() {
    let etcd = Etcd::start(Version::V3_5);
    for round in 0..2 {
        etcd.put_all((0..1500).map(|key| (format!("many/{key:05}").into(), vec![round; 100], 0)));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = save(&etcd, Version::V3_5, &folder.path().join("etcd.snap"));
    let sound = std::fs::read(&file).unwrap();
    let data = sound.len() - 32;
    let expected = read(&file, "").unwrap().entries;
    let mut refused = 0;
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    for number in 0..300 {
        let mut bytes = sound[..data].to_vec();
        // Half of them where pages begin: that is where a reader is led.
        let at = if number % 2 == 0 { next() % (data / 4096) * 4096 + next() % 48 } else { next() % data };
        bytes[at] = bytes[at].wrapping_add((1 + next() % 255) as u8);
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        std::fs::write(&file, &bytes).unwrap();
        match read(&file, "") {
            Err(_) => refused += 1,
            Ok(saved) => assert!(saved.entries.len() <= expected.len() + 1, "{at}"),
        }
    }
    assert!(refused > 20, "{refused} of 300 were noticed");
}
