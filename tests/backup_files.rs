//! Backup files: those of the original tool are restored, bad ones refused before anything is written, good ones never lost.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::assert::Assert;
use common::state::{Dump, assert_same};
use common::tool::PROGRAM;
use common::{Etcd, Tool, Version, on_both_versions, said};
use meta_migration::backup::Backup;
use meta_migration::layout::messages::backup::{BackupHeader, Entry};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use prost::Message;
use sha2::{Digest, Sha256};

const SESSION_COUNTER: &str = "by-dev/meta/session/id";
/// Takes from root what lets it ignore permissions; others do not have it anyway.
const WITHOUT_POWER: &[&str] = &["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
/// A mount that nobody else sees and that ends with the process.
const WITH_OWN_MOUNTS: &[&str] = &["unshare", "--mount"];

fn loaded(version: Version) -> Etcd {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    etcd
}

/// The header of a file of the original tool.
fn header(entries: usize) -> BackupHeader {
    BackupHeader {
        version: 0,
        instance: "by-dev".into(),
        meta_path: "meta".into(),
        entries: i64::try_from(entries).unwrap(),
        component: String::new(),
        extra: r#"{"entry_include_root_path":true}"#.into(),
    }
}

fn record(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    [&(bytes.len() as u64).to_le_bytes()[..], &bytes].concat()
}

/// A file as the original tool writes it: in the order of Go's maps, which is none.
fn legacy(header: &BackupHeader, keys: &Dump) -> Vec<u8> {
    let mut records: Vec<Vec<u8>> =
        keys.iter().map(|(key, data)| record(&Entry { key: key.clone(), data: data.clone() })).collect();
    records.sort_by_cached_key(|record| Sha256::digest(record).to_vec());
    [record(header), records.concat()].concat()
}

/// Keys under the meta root that the original tool backs up: all of them, after Milvus was stopped.
fn metadata(etcd: &Etcd) -> Dump {
    etcd.dump_prefix("by-dev/meta/")
}

fn without_counter(mut dump: Dump) -> Dump {
    dump.remove(SESSION_COUNTER.as_bytes());
    dump
}

/// Fails with exit code 1, one line of error and no panic; returns that line.
#[track_caller]
fn error_of(assert: &Assert) -> String {
    let said = said(assert);
    assert_eq!(assert.get_output().status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
    let errors: Vec<&str> = said.lines().filter_map(|line| line.split_once(" ERROR ")).map(|(_, text)| text).collect();
    assert_eq!(errors.len(), 1, "{said}");
    errors[0].to_owned()
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs a shell script; `$0` is the program, `$1` the configuration file, `$2` a folder.
fn shell(tool: &Tool, wrapper: &[&str], script: &str, folder: &Path) -> Assert {
    let words = [wrapper, &["sh", "-euc", script, PROGRAM]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(tool.config_file()).arg(folder);
    tool.spawn(command).wait()
}

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        println!("skipped: only root may mount a file system");
    }
    root
}

on_both_versions![
    a_file_of_the_original_tool_is_restored_onto_migrated_metadata_byte_for_byte,
    a_file_of_another_meta_root_is_refused_unless_its_keys_are_to_be_moved,
];

fn a_file_of_the_original_tool_is_restored_onto_migrated_metadata_byte_for_byte(version: Version) {
    let etcd = loaded(version);
    let before = etcd.dump();
    let tool = Tool::new(&etcd);
    fs::write(tool.backup_file(), legacy(&header(metadata(&etcd).len()), &metadata(&etcd))).unwrap();
    tool.call(&["run"]).code(0);
    assert_ne!(before, etcd.dump());
    // What a Milvus 2.2 did before somebody decided to go back.
    etcd.put("by-dev/meta/field-index/1/2", "created by 2.2");
    etcd.put("by-dev/meta/session/id", "99");
    etcd.put("by-dev/kv/gid/timestamp", "later");
    let assert = tool.call(&["rollback"]).code(0);
    assert!(said(&assert).contains("made by the original tool"), "{}", said(&assert));
    let mut expected = before;
    expected.insert(b"by-dev/meta/session/id".to_vec(), b"99".to_vec());
    expected.insert(b"by-dev/kv/gid/timestamp".to_vec(), b"later".to_vec());
    assert_same(&expected, &etcd.dump(), "after the rollback");
    assert_eq!(etcd.leases().len(), 0);
}

#[test]
fn a_file_of_the_original_tool_with_keys_of_a_neighbour_leaves_those_alone() {
    let etcd = loaded(Version::V3_5);
    etcd.put("by-dev/meta2/root-coord/collection/1", "as backed up");
    // Without a slash behind the meta root, as the original tool asks for it.
    let taken = etcd.dump_prefix("by-dev/meta");
    let tool = Tool::new(&etcd);
    fs::write(tool.backup_file(), legacy(&header(taken.len()), &taken)).unwrap();
    let before = metadata(&etcd);
    tool.call(&["run"]).code(0);
    etcd.put("by-dev/meta2/root-coord/collection/1", "changed since");
    let assert = tool.call(&["rollback"]).code(0);
    assert!(said(&assert).contains("1 key is not under by-dev/meta and left alone"), "{}", said(&assert));
    assert_same(&before, &metadata(&etcd), "after the rollback");
    let neighbour = etcd.get("by-dev/meta2/root-coord/collection/1").unwrap();
    assert_eq!(String::from_utf8(neighbour).unwrap(), "changed since");
}

#[test]
fn a_file_of_the_original_tool_for_a_root_path_with_a_leading_slash_is_restored() {
    let etcd = Etcd::start(Version::V3_5);
    let keys: Dump = [("/by-dev/meta/root-coord/collection/1", "one"), ("/by-dev/meta/indexes/2", "two")]
        .map(|(key, value)| (key.into(), value.into()))
        .into();
    let tool = Tool::new(&etcd);
    // Its header says by-dev, without the slash.
    fs::write(tool.backup_file(), legacy(&header(2), &keys)).unwrap();
    tool.call(&["rollback", "--root-path", "/by-dev"]).code(0);
    assert_same(&keys, &etcd.dump(), "after the rollback");
}

fn a_file_of_another_meta_root_is_refused_unless_its_keys_are_to_be_moved(version: Version) {
    let etcd = loaded(version);
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    etcd.put("prod/meta/root-coord/collection/1", "to be replaced");
    let (before, revision) = (etcd.dump(), etcd.revision());
    let text = error_of(&tool.call(&["rollback", "--root-path", "prod"]));
    for words in ["migration.bak", "of the meta root by-dev/meta", "prod/meta", "etcd.rootPath", "--allow-other-root"] {
        assert!(text.contains(words), "{words:?} is not in: {text}");
    }
    assert_eq!(etcd.revision(), revision);
    // What lies there is of another Milvus: that is a question of its own.
    let refused = contains("none of the 1 collection here").and(contains("--other-cluster"));
    tool.call(&["rollback", "--root-path", "prod", "--allow-other-root"]).code(1).stderr(refused);
    assert_same(&before, &etcd.dump(), "refused");
    tool.call(&["rollback", "--root-path", "prod", "--allow-other-root", "--other-cluster"]).code(0);
    let mut expected = before.clone();
    expected.remove(b"prod/meta/root-coord/collection/1".as_slice());
    for (key, value) in without_counter(metadata(&etcd)) {
        let relative = key.strip_prefix(b"by-dev/".as_slice()).unwrap();
        expected.insert([b"prod/", relative].concat(), value);
    }
    assert_same(&expected, &etcd.dump(), "after the rollback");
}

/// Bad backup files by name, each with the words that its refusal must have.
fn bad_files(etcd: &Etcd, folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let tool = Tool::new(etcd);
    tool.call(&["backup"]).code(0);
    let ours = fs::read(tool.backup_file()).unwrap();
    let legacy_file = legacy(&header(metadata(etcd).len()), &metadata(etcd));
    let one_less = legacy(&header(metadata(etcd).len() + 1), &metadata(etcd));
    let of_no_keys = legacy(&header(0), &Dump::new());
    let counter: Dump = [(SESSION_COUNTER.into(), b"7".to_vec())].into();
    let elsewhere: Dump = [(b"by-dev/kv/gid/timestamp".to_vec(), Vec::new())].into();
    let mut flipped = ours.clone();
    flipped[ours.len() / 2] ^= 1;
    let newer = br#"{"format_version":3}"#;
    let length = u32::try_from(32 + newer.len()).unwrap().to_le_bytes();
    let frame = zstd::encode_all(&of_no_keys[..], 3).unwrap();
    let newer = [&frame[..], b"\x5D\x2A\x4D\x18", &length, &Sha256::digest(newer), newer].concat();
    let birdwatcher = record(&BackupHeader { version: 2, ..BackupHeader::default() });
    let files: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "is empty"),
        ("text", b"cmd: { type: run }\n".to_vec(), "is no backup file"),
        ("zeros", vec![0; 4096], "is no backup file"),
        ("gzip", b"\x1F\x8B\x08\x00\x00\x00\x00\x00\x00\x03".to_vec(), "is a gzip file"),
        ("birdwatcher", birdwatcher, "Birdwatcher"),
        ("cut", ours[..ours.len() / 2].to_vec(), "is cut off"),
        ("cut-by-one", ours[..ours.len() - 1].to_vec(), "manifest is missing or incomplete"),
        ("flipped", flipped, "is damaged"),
        ("longer", [&ours[..], b"\n"].concat(), "something follows"),
        ("newer", newer, "format version 3"),
        ("legacy-cut", legacy_file[..legacy_file.len() - 1].to_vec(), "is cut off"),
        ("legacy-lacking", one_less, "it is incomplete or damaged"),
        ("legacy-elsewhere", legacy(&header(1), &elsewhere), "by-dev/kv/gid/timestamp is not under its meta root"),
        ("legacy-no-keys", of_no_keys, "holds no keys"),
        ("legacy-only-sessions", legacy(&header(1), &counter), "holds no keys"),
    ];
    let write = |(name, bytes, words): (&str, Vec<u8>, _)| {
        fs::write(folder.join(name), bytes).unwrap();
        (folder.join(name), words)
    };
    let mut files: Vec<_> = files.into_iter().map(write).collect();
    fs::create_dir(folder.join("folder")).unwrap();
    files.push((folder.join("folder"), "s a directory"));
    files.push((folder.join("missing"), "there is no backup file"));
    files.push((folder.join("text/below-a-file"), "Not a directory"));
    files
}

#[test]
fn every_bad_file_is_refused_with_its_own_words_before_etcd_is_asked() {
    let etcd = loaded(Version::V3_5);
    let folder = tempfile::tempdir().unwrap();
    let files = bad_files(&etcd, folder.path());
    let tool = Tool::new(&etcd);
    let revision = etcd.revision();
    for (file, words) in files {
        let file = file.to_str().unwrap();
        let text = error_of(&tool.call(&["rollback", "--backup-file", file]));
        assert!(text.contains(file) && text.contains(words), "{words:?} or {file:?} is not in: {text}");
        assert!(text.chars().count() < 400, "too long: {text}");
        assert_eq!(etcd.revision(), revision, "something was written: {text}");
        let unreachable = ["rollback", "--backup-file", file, "--endpoints", "127.0.0.1:1"];
        assert_eq!(error_of(&tool.call(&unreachable)), text, "etcd was asked first");
    }
}

#[test]
fn a_file_that_may_not_be_read_is_refused_with_its_name() {
    let etcd = loaded(Version::V3_5);
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    fs::set_permissions(tool.backup_file(), Permissions::from_mode(0o000)).unwrap();
    let revision = etcd.revision();
    let text = error_of(&shell(&tool, WITHOUT_POWER, r#"exec "$0" --config "$1" rollback"#, tool.dir()));
    assert!(text.contains("migration.bak: Permission denied") && text.contains("owner and mode"), "{text}");
    assert_eq!(etcd.revision(), revision);
}

#[test]
fn the_owner_alone_may_read_a_backup_whatever_the_umask() {
    let etcd = loaded(Version::V3_5);
    for umask in ["0000", "0777"] {
        let tool = Tool::new(&etcd);
        shell(&tool, &[], &format!(r#"umask {umask}; exec "$0" --config "$1" backup"#), tool.dir()).code(0);
        assert_eq!(fs::metadata(tool.backup_file()).unwrap().mode() & 0o7777, 0o600, "umask {umask}");
    }
}

#[test]
fn an_earlier_backup_is_moved_aside_and_its_new_name_told() {
    let etcd = loaded(Version::V3_5);
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    let first = fs::read(tool.backup_file()).unwrap();
    etcd.put("by-dev/meta/another", "key");
    let assert = tool.call(&["backup"]).code(0);
    assert!(said(&assert).contains("the file that was there before is now migration.bak.1"), "{}", said(&assert));
    assert_eq!(fs::read(tool.dir().join("migration.bak.1")).unwrap(), first);
    let keys = |file: &str| Backup::check(&tool.dir().join(file)).unwrap().keys;
    assert_eq!(keys("migration.bak"), keys("migration.bak.1") + 1);
    assert_eq!(names_in(tool.dir()), ["migration.bak", "migration.bak.1", "migration.yaml"]);
}

#[test]
fn what_the_system_says_is_said_once() {
    let etcd = loaded(Version::V3_5);
    let tool = Tool::new(&etcd);
    for args in [&["backup", "--backup-file", "nowhere/x.bak"][..], &["plan", "--from-snapshot", "nowhere.snap"]] {
        let text = error_of(&tool.call(args).code(1));
        assert_eq!(text.matches("No such file").count(), 1, "{text}");
    }
}

#[test]
fn a_full_disk_leaves_no_partial_file_and_the_earlier_backup() {
    if !is_root() {
        return;
    }
    let etcd = loaded(Version::V3_5);
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    let noise: Vec<u8> = (0..4096_u32).flat_map(|n| Sha256::digest(n.to_le_bytes()).to_vec()).collect();
    etcd.put("by-dev/meta/large", noise);
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        mount -t tmpfs -o size=64k tmpfs "$2"
        cp migration.bak "$2/migration.bak"
        cd "$2"
        "$0" --config "$1" COMMAND && exit 77 || code=$?
        cmp migration.bak "$OLDPWD/migration.bak"
        test "$(ls -A)" = migration.bak
        exit $code"#;
    let before = etcd.dump();
    // It is written while everything is read: that it does not fit shows when it does not, before anything is written into etcd.
    for command in ["backup", "run --with-backup"] {
        let what = "migration.bak.partial: No space left on device";
        let assert = shell(&tool, WITH_OWN_MOUNTS, &script.replace("COMMAND", command), folder.path());
        let text = error_of(&assert);
        assert!(text.contains(what) && text.contains("Make room"), "{text}");
        assert!(assert.get_output().stdout.is_empty(), "{}", said(&assert));
        assert_same(&before, &etcd.dump(), command);
        assert_eq!(etcd.leases().len(), 0);
    }
    // Here there is room.
    tool.call(&["backup"]).code(0);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused_and_stays_as_it_is() {
    let etcd = loaded(Version::V3_5);
    let tool = Tool::new(&etcd);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("directory")).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
    let before = etcd.dump();
    let check = |wrapper: &[&str], script: &str, words: &[&str]| {
        for command in ["backup", "run --with-backup"] {
            let text = error_of(&shell(&tool, wrapper, &script.replace("COMMAND", command), folder.path()));
            assert!(words.iter().all(|words| text.contains(words)), "{words:?} are not in: {text}");
            assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
            assert_same(&before, &etcd.dump(), command);
            assert_eq!(etcd.leases().len(), 0);
            assert_eq!(names_in(folder.path()), ["directory"]);
        }
    };
    let backup_to = |file: &str| format!(r#""$0" --config "$1" COMMAND --backup-file "$2/{file}""#);
    check(WITHOUT_POWER, &backup_to("file"), &["file.partial: Permission denied", "owner and mode"]);
    check(&["env"], &backup_to("no/such/file"), &["no/such/file.partial: No such file", "volume mounted"]);
    check(&["env"], &backup_to("directory"), &["directory: is a directory", "path of a file is expected"]);
    if is_root() {
        let read_only = r#"mount --bind "$2" "$2"; mount -o remount,bind,ro "$2"; "#;
        let script = format!("{read_only}{}", backup_to("file"));
        check(WITH_OWN_MOUNTS, &script, &["file.partial: Read-only file system", "--backup-file"]);
    }
}

/// A FIFO waits for ever to be opened, and a device would be renamed.
#[test]
fn what_is_no_regular_file_is_refused_and_left_alone() {
    let etcd = loaded(Version::V3_5);
    let before = etcd.dump();
    let tool = Tool::new(&etcd);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    // Links, never the device itself: a tool that is wrong must not rename that of the machine.
    std::os::unix::fs::symlink("/dev/null", path("link-to-device")).unwrap();
    std::os::unix::fs::symlink("fifo", path("link-to-fifo")).unwrap();
    let names = names_in(folder.path());
    for (name, what) in
        [("fifo", "a FIFO"), ("link-to-fifo", "a FIFO"), ("socket", "a socket"), ("link-to-device", "a device")]
    {
        let file = path(name).display().to_string();
        for args in [
            &["backup", "--backup-file", &file][..],
            &["run", "--with-backup", "--backup-file", &file],
            &["run", "--with-backup=false", "--backup-file", &file],
            &["rollback", "--backup-file", &file],
            &["verify", "--target-version=2.2.0", "--backup", &file],
            &["plan", "--from-backup", &file],
            &["inspect", &file],
        ] {
            let text = said(&tool.call(args).code(1));
            assert!(text.contains(&format!("{file} is no regular file but {what}")), "{args:?}: {text}");
            assert_eq!(names_in(folder.path()), names, "{args:?}");
        }
    }
    assert_same(&before, &etcd.dump(), "refused");
}
