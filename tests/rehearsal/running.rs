//! `backup --while-running`, and what may be done with such a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use etcd_client::GetOptions;
use meta_migration::backup::{Backup, Format, Manifest};

use crate::common::state::assert_same;
use crate::common::{Etcd, Tool, Version, on_both_versions, said};
use crate::{running_milvus, says, stopped_milvus};

on_both_versions![
    a_running_milvus_is_backed_up_at_one_revision_without_a_lock,
    it_is_a_way_back_only_as_long_as_nothing_has_changed,
];

const RESTORE: &str = "--restore-backup-of-running-milvus";

fn read(file: &Path) -> (Manifest, BTreeMap<Vec<u8>, Vec<u8>>) {
    let mut keys = BTreeMap::new();
    let backup = Backup::read(file, |key, value| drop(keys.insert(key.to_vec(), value.to_vec()))).unwrap();
    let Format::Ours(manifest) = backup.format else { panic!("{} is of another tool", file.display()) };
    (*manifest, keys)
}

/// Keys without a lease under the meta root, as they were at a revision.
fn at(etcd: &Etcd, revision: i64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let options = GetOptions::new().with_prefix().with_revision(revision);
    let answer = etcd.run(async |client| {
        client.kv_client().max_decoding_message_size(1 << 30).get("by-dev/meta/", Some(options)).await
    });
    let relative = |key: &[u8]| key["by-dev/meta/".len()..].to_vec();
    let kept = answer.kvs().iter().filter(|kv| kv.lease() == 0);
    kept.map(|kv| (relative(kv.key()), kv.value().to_vec())).collect()
}

fn a_running_milvus_is_backed_up_at_one_revision_without_a_lock(version: Version) {
    let etcd = running_milvus(version);
    let tool = Tool::new(&etcd);
    let leases = etcd.leases();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0_u64.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                // Keys come, change and go all over the place.
                etcd.put("by-dev/meta/channelwatch/a", number.to_string());
                etcd.put(format!("by-dev/meta/zz/{}", number % 7), number.to_string());
                etcd.delete(format!("by-dev/meta/zz/{}", (number + 3) % 7));
            }
        });
        // Asserted on only when the writer has been told to stop.
        let called = tool.call(&["backup", "--while-running"]);
        ended.store(true, Ordering::Relaxed);
        let text = said(&called.code(0));
        assert!(text.contains("no lock is taken") && text.contains("This is no way back"), "{text}");
    });
    assert_eq!(etcd.leases(), leases, "no lease was taken");
    let (manifest, keys) = read(&tool.backup_file());
    assert!(manifest.while_running && manifest.format_version == 2, "{manifest:?}");
    assert_same(&at(&etcd, manifest.etcd_revision), &keys, "what there was at that revision");
    let text = says(&tool, &["inspect", "migration.bak"], 0);
    assert!(text.contains("made       WHILE MILVUS WAS RUNNING"), "{text}");
    let text = says(&tool, &["status"], 0);
    assert!(text.contains("WHILE MILVUS WAS RUNNING (a look at that moment, no way back)"), "{text}");
    // It is what a rehearsal is made from.
    let text = says(&tool, &["plan", "--from-backup", "migration.bak"], 0);
    assert!(text.contains("`run` would go through"), "{text}");
}

fn it_is_a_way_back_only_as_long_as_nothing_has_changed(version: Version) {
    let etcd = stopped_milvus(version);
    let before = etcd.dump();
    let tool = Tool::new(&etcd);
    says(&tool, &["backup", "--while-running"], 0);
    let changed = "by-dev/meta/channelwatch/14/new";
    etcd.put(changed, "since");
    let text = says(&tool, &["run", "--with-backup=false"], 1);
    assert!(text.contains("It was made while Milvus was running, before a change"), "{text}");
    let other = etcd.dump();
    let text = says(&tool, &["rollback"], 1);
    assert!(
        text.contains("was made while Milvus was running: what Milvus has changed since") && text.contains(RESTORE),
        "{text}"
    );
    assert_same(&other, &etcd.dump(), "refused");
    let text = says(&tool, &["rollback", RESTORE], 0);
    assert!(text.contains("going on, as --restore-backup-of-running-milvus says"), "{text}");
    assert_same(&before, &etcd.dump(), "restored on purpose");

    // Milvus has stopped, and it holds just what is there: `run` says so on record, and the way back needs no flag.
    says(&tool, &["run", "--with-backup=false"], 0);
    says(&tool, &["rollback"], 0);
    assert_same(&before, &etcd.dump(), "rolled back");
}

#[test]
fn without_its_manifest_it_is_told_by_its_header() {
    let etcd = stopped_milvus(Version::V3_5);
    let tool = Tool::new(&etcd);
    says(&tool, &["backup", "--while-running"], 0);
    let packed = std::fs::read(tool.backup_file()).unwrap();
    let mut decoder = zstd::stream::read::Decoder::with_buffer(&packed[..]).unwrap().single_frame();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
    std::fs::write(tool.dir().join("plain.bak"), plain).unwrap();
    etcd.put("by-dev/meta/channelwatch/14/new", "since");
    let text = says(&tool, &["rollback", "--backup-file", "plain.bak"], 1);
    assert!(text.contains(RESTORE), "{text}");
    let text = says(&tool, &["inspect", "plain.bak"], 0);
    assert!(text.contains("WHILE MILVUS WAS RUNNING"), "{text}");
}

#[test]
fn a_schedule_never_moves_a_way_back_aside_and_keeps_as_many_as_it_is_told() {
    let etcd = running_milvus(Version::V3_5);
    let tool = Tool::new(&etcd);
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(tool.dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("bak"))
            .collect();
        names.sort();
        names
    };
    let scheduled = ["backup", "--while-running", "--keep=2", "--backup-file=running.bak"];
    let mut revisions = Vec::new();
    for number in 0..4 {
        etcd.put("by-dev/meta/channelwatch/a", number.to_string());
        if number == 1 {
            std::fs::write(tool.dir().join("running.bak.7"), "somebody's own").unwrap();
        }
        says(&tool, &scheduled, 0);
        revisions.push(read(&tool.dir().join("running.bak")).0.etcd_revision);
    }
    assert_eq!(names(), ["running.bak", "running.bak.1", "running.bak.7"]);
    assert_eq!(read(&tool.dir().join("running.bak.1")).0.etcd_revision, revisions[2], "the older ones went");

    // A backup made with Milvus stopped.
    let stopped = stopped_milvus(Version::V3_5);
    Tool::new(&stopped).call(&["backup"]).code(0);
    let stopped = Tool::new(&stopped);
    stopped.call(&["backup"]).code(0);
    let way_back = std::fs::read(stopped.backup_file()).unwrap();
    let text = says(&stopped, &["backup", "--while-running"], 1);
    assert!(text.contains("it is the way back from a migration, and keeps its place"), "{text}");
    assert_eq!(std::fs::read(stopped.backup_file()).unwrap(), way_back);
    says(&stopped, &["backup", "--keep", "2"], 1);
}
