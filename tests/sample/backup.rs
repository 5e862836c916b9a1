//! What is in a backup, and what is not.

use meta_migration::backup::{Backup, Format, Manifest};
use meta_migration::layout::messages::backup::{BackupHeader, Entry};

use super::Migrated;
use crate::common::readable::decode;
use crate::common::state::{Dump, assert_same, value};
use crate::common::{Etcd, Tool, Version, on_both_versions};
use etcd_client::Permission;

on_both_versions![
    a_backup_holds_every_key_under_the_meta_root_and_none_beside_it,
    keys_with_a_lease_are_not_backed_up,
    neighbours_of_the_meta_root_are_neither_read_nor_changed_nor_backed_up,
    the_session_counter_is_neither_restored_nor_deleted,
];

/// What is in a backup file, read without the tool's own reader.
struct Content {
    header: BackupHeader,
    keys: Dump,
    manifest: Manifest,
}

impl Content {
    fn of(tool: &Tool) -> Self {
        // What follows the data is a frame that zstd itself skips.
        let stream = zstd::decode_all(&*std::fs::read(tool.backup_file()).unwrap()).unwrap();
        let mut records = Vec::new();
        let mut rest = &*stream;
        while let Some((length, record)) = rest.split_first_chunk::<8>() {
            let (record, next) = record.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
            records.push(record);
            rest = next;
        }
        assert!(rest.is_empty());
        let keys = records[1..].iter().map(|record| decode::<Entry>(record)).map(|entry| (entry.key, entry.data));
        let Format::Ours(manifest) = Backup::check(&tool.backup_file()).unwrap().format else { panic!("not ours") };
        Self { header: decode(records[0]), keys: keys.collect(), manifest: *manifest }
    }
}

fn a_backup_holds_every_key_under_the_meta_root_and_none_beside_it(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let revision = etcd.revision();
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    let Content { header, keys, manifest } = Content::of(&tool);
    assert_same(&etcd.dump_prefix("by-dev/meta/"), &keys, "the backup");
    assert_eq!(keys.len(), 393);
    assert_eq!((header.instance.as_str(), header.meta_path.as_str(), header.entries), ("by-dev", "meta", 393));
    assert_eq!(header.extra, br#"{"entry_include_root_path":true}"#);
    assert_eq!((manifest.keys, manifest.meta_root.as_str()), (393, "by-dev/meta"));
    // The lock is written before the backup is read, and has a lease.
    assert_eq!(manifest.etcd_revision, revision + 1);
}

fn keys_with_a_lease_are_not_backed_up(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let expected = etcd.dump_prefix("by-dev/meta/");
    for key in ["aaa", "queryCoord-queryNodeInfo/99", "root-coord/collection/1", "zzz"] {
        etcd.put_with_lease(format!("by-dev/meta/{key}"), "soon gone", 3600);
    }
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    let Content { header, keys, manifest } = Content::of(&tool);
    assert_same(&expected, &keys, "the backup");
    assert_eq!((header.entries, manifest.keys), (393, 393));
}

/// The user may read and write below by-dev/meta/ only: etcd would refuse any look beyond.
fn neighbours_of_the_meta_root_are_neither_read_nor_changed_nor_backed_up(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    for key in [
        "by-dev/meta",
        "by-dev/meta-/root-coord/collection/1",
        "by-dev/meta0",
        "by-dev/meta2/root-coord/collection/1",
        "by-dev/meta2/session/rootcoord",
        "by-dev/metadata",
        "by-dev/metadata/indexes/1",
        "by-dev/session/rootcoord",
    ] {
        etcd.put(key, "no metadata of ours");
    }
    let before = etcd.dump();
    etcd.add_user("milvus", "secret", &[Permission::read_write("by-dev/meta/").with_prefix()]);
    etcd.enable_auth();
    let tool = Tool::new(&etcd);
    std::fs::write(tool.dir().join("password"), "secret\n").unwrap();
    let login = ["--user=milvus", "--password-file=password"];
    let call = |command: &[&str]| tool.call(&[command, &login].concat()).code(0);

    call(&["backup"]);
    assert_same(&etcd.dump_prefix("by-dev/meta/"), &Content::of(&tool).keys, "the backup");
    call(&["run"]);
    let beside =
        |dump: Dump| -> Dump { dump.into_iter().filter(|(key, _)| !key.starts_with(b"by-dev/meta/")).collect() };
    assert_same(&beside(before.clone()), &beside(etcd.dump()), "beside the meta root");
    call(&["rollback"]);
    assert_same(&before, &etcd.dump(), "after rollback");
}

/// IDs must never be given out twice.
fn the_session_counter_is_neither_restored_nor_deleted(version: Version) {
    let Migrated { etcd, tool, before, after, .. } = Migrated::on(version);
    assert_eq!((value(&before, "session/id"), value(&after, "session/id")), (Some(&b"17"[..]), Some(&b"17"[..])));
    etcd.put("by-dev/meta/session/id", "42");
    tool.call(&["rollback"]).code(0);
    let mut expected = before;
    expected.insert(b"by-dev/meta/session/id".into(), b"42".into());
    assert_same(&expected, &etcd.dump(), "with a newer counter");

    tool.call(&["run"]).code(0);
    etcd.delete("by-dev/meta/session/id");
    tool.call(&["rollback"]).code(0);
    expected.remove(&b"by-dev/meta/session/id"[..]);
    assert_same(&expected, &etcd.dump(), "without a counter");
}
