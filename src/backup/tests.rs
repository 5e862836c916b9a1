//! What is written comes back, and what was not written so is refused.

mod damage;
mod files;
mod legacy;
mod random;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::write::{Origin, Written};
use super::{Backup, BackupError, Format, Writer};
use crate::layout::Found;

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// An empty folder, and a path for a backup in it.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("migration.bak");
    (dir, path)
}

fn origin() -> Origin {
    Origin {
        created: "2024-02-29T12:00:00Z".into(),
        root_path: "by-dev".into(),
        meta_sub_path: "meta".into(),
        etcd_cluster_id: 0xC872_7C0A_1234_5678,
        etcd_revision: 2038,
        source_version: Some("2.1.4".into()),
        while_running: false,
    }
}

fn entries(entries: &[(&str, &str)]) -> Entries {
    entries.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// Three keys, which make the smallest backup that has something of everything.
fn few() -> Entries {
    entries(&[
        ("datacoord-meta/s/1/2/3", "segment"),
        ("root-coord/collection/1", "collection"),
        ("snapshots/root-coord/collection/1_ts7", ""),
    ])
}

fn begun(path: &Path, entries: &Entries) -> Writer {
    let mut writer = Writer::create(path, origin(), entries.len() as u64).unwrap();
    entries.iter().for_each(|(key, value)| writer.add(key, value).unwrap());
    writer
}

fn write(path: &Path, entries: &Entries) -> Written {
    begun(path, entries).finish(Found::Source).unwrap()
}

fn read(path: &Path) -> Result<(Backup, Entries), BackupError> {
    let mut entries = Entries::new();
    let backup = Backup::read(path, |key, value| entries.push((key.to_vec(), value.to_vec())))?;
    Ok((backup, entries))
}

/// Reads these bytes as a backup file.
fn read_bytes(bytes: &[u8]) -> Result<(Backup, Entries), BackupError> {
    let (_dir, path) = place();
    fs::write(&path, bytes).unwrap();
    read(&path)
}

/// What is wrong with these bytes, as the name of the error and its text.
fn refusal(bytes: &[u8]) -> (&'static str, String) {
    let error = read_bytes(bytes).expect_err("a file that should be refused was read");
    (name(&error), error.to_string())
}

fn name(error: &BackupError) -> &'static str {
    match error {
        BackupError::Io { .. } => "Io",
        BackupError::NoRoom { .. } => "NoRoom",
        BackupError::NotRegular { .. } => "NotRegular",
        BackupError::Busy(_) => "Busy",
        BackupError::Disturbed(_) => "Disturbed",
        BackupError::Missing(_) => "Missing",
        BackupError::Empty(_) => "Empty",
        BackupError::NoBackup { .. } => "NoBackup",
        BackupError::Cut { .. } => "Cut",
        BackupError::Damaged { .. } => "Damaged",
        BackupError::Count { .. } => "Count",
        BackupError::Unsound(_) => "Unsound",
        BackupError::Newer { .. } => "Newer",
    }
}

#[track_caller]
fn assert_refused(bytes: &[u8], expected: &str, words: &str) {
    let (name, text) = refusal(bytes);
    assert_eq!(name, expected, "{text}");
    assert!(text.contains(words), "{words:?} is not in: {text}");
    assert!(!text.contains('\n'), "more than a line: {text}");
}

fn names_in(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes that do not compress, always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[track_caller]
fn assert_comes_back(written: &Entries) {
    let (_dir, path) = place();
    let told = write(&path, written);
    let (backup, found) = read(&path).unwrap();
    assert!(found == *written, "{} keys were written, {} other ones came back", written.len(), found.len());
    assert_eq!((backup.keys, backup.left_out), (written.len() as u64, 0));
    assert_eq!(backup.counts.values().sum::<u64>(), backup.keys);
    assert_eq!(backup.format, Format::Ours(Box::new(told.manifest)));
    assert_eq!(told.file_bytes, fs::metadata(&path).unwrap().len());
}

#[test]
fn keys_of_every_byte_come_back() {
    let mut keys: Entries = (0..=255).map(|byte| (vec![byte], vec![byte, 0, byte])).collect();
    keys.push(((0..=255).rev().collect(), (0..=255).collect()));
    keys.sort();
    assert_comes_back(&keys);
}

#[test]
fn values_of_no_bytes_and_of_as_many_as_etcd_takes_come_back() {
    let large = noise(1_468_006);
    assert_comes_back(&vec![(b"a".to_vec(), large), (b"b".to_vec(), Vec::new()), (b"c".to_vec(), vec![0; 1_468_006])]);
}

#[test]
fn a_backup_of_no_keys_is_read_as_one() {
    assert_comes_back(&Entries::new());
}

#[test]
fn ten_thousand_keys_come_back() {
    let keys = (0..10_000).map(|n| (format!("segment-index/1/2/{n:08}").into_bytes(), noise(n % 300))).collect();
    assert_comes_back(&keys);
}

#[test]
fn the_key_of_the_meta_root_itself_comes_back() {
    // `by-dev/meta/`, which nobody writes, but etcd would take.
    assert_comes_back(&entries(&[("", "root"), ("a", "b")]));
}

#[test]
fn the_manifest_tells_where_the_backup_comes_from() {
    let (_dir, path) = place();
    let manifest = write(&path, &few()).manifest;
    let found = (manifest.format_version, &*manifest.meta_root, &*manifest.created, &*manifest.etcd_cluster_id);
    assert_eq!(found, (1, "by-dev/meta", "2024-02-29T12:00:00Z", "c8727c0a12345678"));
    let found = (manifest.etcd_revision, manifest.source_version.as_deref(), manifest.layout, manifest.keys);
    assert_eq!(found, (2038, Some("2.1.4"), Found::Source, 3));
    assert_eq!(manifest.tool_version, env!("CARGO_PKG_VERSION"));
    let counts: Vec<_> = manifest.counts.iter().map(|(prefix, keys)| (&**prefix, *keys)).collect();
    let expected = ["datacoord-meta/s/", "root-coord/collection/", "snapshots/root-coord/collection/"];
    assert_eq!(counts, expected.map(|prefix| (prefix, 1)));
}
