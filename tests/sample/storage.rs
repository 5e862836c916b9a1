//! Are the files that the metadata names in the object storage? And what a rollback does where they are not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::assert::Assert;
use meta_migration::layout::families::Family;
use meta_migration::layout::keys::Key;
use meta_migration::layout::messages::common::{IndexState, SegmentInfo};
use meta_migration::layout::messages::source::IndexMeta;
use prost::Message;
use serde_json::Value;

use super::Migrated;
use crate::common::readable::decode;
use crate::common::state::{Dump, assert_same, below};
use crate::common::{Bucket, Etcd, Tool, Version, free_ports, on_both_versions, said};

on_both_versions![
    all_files_are_there_before_and_after_a_migration_and_a_rollback,
    a_rollback_that_hands_builds_back_ends_the_same_wherever_it_was_killed,
];

/// A local storage with every file that any record of 2.1 names, dropped segments among them.
struct Site {
    dir: tempfile::TempDir,
    /// Paths in it.
    files: BTreeSet<String>,
}

impl Site {
    fn of(dump: &Dump) -> Self {
        let files = files_of(dump);
        let site = Self { dir: tempfile::tempdir().unwrap(), files };
        for file in &site.files {
            let path = site.path(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        site
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn flag(&self) -> String {
        format!("--storage-dir={}", self.dir.path().display())
    }

    fn of_kind(&self, kind: &str) -> Vec<&String> {
        self.files.iter().filter(|file| file.starts_with(&format!("files/{kind}/"))).collect()
    }
}

/// As the records have it, without what the tool makes of them.
fn files_of(dump: &Dump) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for (_, value) in below(dump, "datacoord-meta/s/") {
        let info: SegmentInfo = decode(value);
        let lists = info.binlogs.iter().chain(&info.statslogs).chain(&info.deltalogs);
        files.extend(lists.flat_map(|list| &list.binlogs).map(|log| log.log_path.clone()));
    }
    for (key, value) in below(dump, "indexes/").filter(|(key, _)| *key != "indexes/0") {
        let meta = IndexMeta::decode(value).unwrap_or_else(|error| panic!("{key}: {error}"));
        files.extend(meta.index_file_paths);
    }
    files
}

fn object(assert: &Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap_or_else(|error| panic!("{error}: {}", said(assert)))
}

#[track_caller]
fn look(tool: &Tool, args: &[&str], code: i32) -> Value {
    object(&tool.call(&[&["check-files", "--output", "json"], args].concat()).code(code))
}

/// The one index that the sample hands over: STL_SORT of FLOAT, c_scalaridx / f32.
const HANDED_OVER: i64 = 470_605_844_630_994_945;

/// Its builds.
fn handed_over(before: &Dump) -> Vec<(String, IndexMeta)> {
    let builds = below(before, "indexes/").map(|(key, value)| (key.to_owned(), decode::<IndexMeta>(value)));
    let found: Vec<_> =
        builds.filter(|(_, meta)| meta.req.as_ref().is_some_and(|req| req.index_id == HANDED_OVER)).collect();
    assert!(!found.is_empty() && found.iter().all(|(_, meta)| !meta.index_file_paths.is_empty()));
    found
}

fn all_files_are_there_before_and_after_a_migration_and_a_rollback(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let before = etcd.dump();
    let site = Site::of(&before);
    let tool = Tool::new(&etcd);
    let storage = &*site.flag();
    let found = look(&tool, &[storage], 0);
    let named = found["files"]["named"].as_u64().unwrap();
    assert!(named > 300 && named <= site.files.len() as u64, "{found:#}");
    assert_eq!((&found["files"]["lacking"], &found["ended"]), (&0.into(), &"done".into()));
    assert_same(&before, &etcd.dump(), "it only looks");
    tool.call(&["backup"]).code(0);
    assert_eq!(look(&tool, &[storage, "--from-backup", "migration.bak"], 0)["files"]["named"], named);
    tool.call(&["run"]).code(0);
    // What is handed over has no files any more.
    let fewer: usize = handed_over(&before).iter().map(|(_, meta)| meta.index_file_paths.len()).sum();
    assert!(fewer > 0);
    let found = look(&tool, &[storage, "--storage-root-path=files"], 0);
    assert_eq!(found["files"]["named"], named - fewer as u64);
    tool.call(&["rollback", "--check-files", storage]).code(0);
    assert_eq!(look(&tool, &[storage], 0)["files"]["named"], named);
}

#[test]
fn what_is_missing_or_empty_is_told_by_collection() {
    let etcd = Etcd::start(Version::V3_5);
    etcd.load_milvus();
    let site = Site::of(&etcd.dump());
    let tool = Tool::new(&etcd);
    let named = look(&tool, &[&site.flag()], 0)["files"]["named"].clone();
    // Of collection c_binary.
    let of =
        |kind: &str| site.of_kind(kind).into_iter().find(|file| file.contains("470605842599641089")).unwrap().clone();
    let (binlog, statslog) = (of("insert_log"), of("stats_log"));
    let index = site.of_kind("index_files")[0].clone();
    std::fs::remove_file(site.path(&binlog)).unwrap();
    std::fs::remove_file(site.path(&index)).unwrap();
    std::fs::write(site.path(&statslog), "").unwrap();
    let found = look(&tool, &[&site.flag()], 1);
    assert_eq!((&found["files"]["lacking"], &found["files"]["named"]), (&3.into(), &named), "{found:#}");
    let collections = found["files"]["collections"].as_array().unwrap();
    let binary = collections.iter().find(|one| one["name"] == "c_binary").unwrap_or_else(|| panic!("{found:#}"));
    let files: Vec<_> = binary["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["path"].as_str().unwrap(), file["empty"] == true))
        .collect();
    assert!(files.contains(&(&*binlog, false)) && files.contains(&(&*statslog, true)), "{found:#}");
    assert!(binary["unreachable_rows"].as_i64().unwrap() > 0, "{found:#}");
    assert!(collections.iter().any(|one| !one["indexes"].as_array().unwrap().is_empty()), "{found:#}");
    let text = tool.call(&["check-files", &site.flag()]).code(1);
    let text = said(&text);
    assert!(text.starts_with("etcd at") || text.contains("3 of "), "{text}");
    for expected in
        [&*binlog, &format!("{statslog} (there, but empty)"), &index, "rows cannot be reached", "has to be built again"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn another_place_is_an_error_and_not_a_list_of_everything() {
    let Migrated { etcd: _etcd, tool, before, .. } = Migrated::on(Version::V3_5);
    let site = Site::of(&before);
    let empty = tempfile::tempdir().unwrap();
    let file = empty.path().join("file");
    let said_of = |args: &[&str]| said(&tool.call(&[&["check-files"], args].concat()).code(1));
    // Newer versions have no root path but the directory.
    let text = said_of(&[&site.flag()]);
    assert!(
        text.contains("nothing at all is under \"insert_log\"") || text.contains("nothing at all is under"),
        "{text}"
    );
    assert!(text.contains("what is there: files/"), "{text}");
    let text = said_of(&[&format!("--storage-dir={}", empty.path().display()), "--storage-root-path=files"]);
    assert!(text.contains("nothing at all is under") && text.contains("it is empty"), "{text}");
    let text = said_of(&[&format!("--storage-dir={}", file.display())]);
    assert!(text.contains("cannot be looked into") && text.contains("No such file"), "{text}");
    std::fs::write(&file, "x").unwrap();
    let text = said_of(&[&format!("--storage-dir={}", file.display())]);
    assert!(text.contains("is no directory"), "{text}");
    let text = said_of(&[]);
    assert!(text.contains("where the object storage is, is not known"), "{text}");
    // Of the backup the records say where; another root path is a contradiction.
    let args = ["--from-backup", "migration.bak", "--storage-address=127.0.0.1:1", "--storage-root-path=other"];
    let text = said_of(&args);
    assert!(text.contains("under \"files\", but the root path is said to be \"other\""), "{text}");
}

/// Where only root is there, it becomes nobody, whom a mode keeps out.
#[test]
fn a_folder_that_may_not_be_read_is_an_error() {
    let Migrated { tool, before, .. } = Migrated::on(Version::V3_5);
    let site = Site::of(&before);
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("backup");
    std::fs::copy(tool.backup_file(), &backup).unwrap();
    let locked = site.path("files/insert_log/470605842599641089");
    let mode = |path: &Path, mode: &str| {
        assert!(Command::new("chmod").arg(mode).arg(path).status().unwrap().success());
    };
    mode(dir.path(), "755");
    mode(&backup, "644");
    mode(site.dir.path(), "755");
    mode(&locked, "000");
    let is_root = std::fs::read_dir(&locked).is_ok();
    let program = assert_cmd::cargo::cargo_bin!("meta-migration");
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(["check-files", "--from-backup"]).arg(&backup).arg(site.flag());
    let output = command.current_dir(dir.path()).output().unwrap();
    mode(&locked, "755");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("470605842599641089") && text.contains("may not read that folder"), "{text}");
}

#[test]
fn a_bucket_is_listed_in_pages_and_its_refusals_are_told() {
    let Migrated { etcd: _etcd, tool, before, .. } = Migrated::on(Version::V3_5);
    let files = files_of(&before);
    let lost = files.iter().find(|file| file.contains("insert_log/470605842599641089")).unwrap().clone();
    let bystanders = (0..2_500).map(|at| format!("files/index_files/1/1/1/{at}/of_nobody"));
    let bucket = Bucket::with(files.into_iter().filter(|file| *file != lost).chain(bystanders));
    let milvus = tool.dir().join("milvus.yaml");
    let configure = |bucket_name: &str, key: &str, root: &str| {
        let (host, port) = bucket.address().split_once(':').unwrap();
        let text = format!(
            "minio: {{ address: {host}, port: {port}, accessKeyID: {key}, secretAccessKey: s3cret, bucketName: {bucket_name}, rootPath: {root} }}\n\
             common: {{ storageType: minio }}\n"
        );
        std::fs::write(&milvus, text).unwrap();
    };
    let call = |code| tool.call(&["check-files", "--milvus-config", "milvus.yaml"]).code(code);
    configure("milvus", "reader", "files");
    let text = said(&call(1));
    assert!(text.contains("1 of ") && text.contains(&lost), "{text}");
    for (name, key, root, expected) in [
        ("milvus", "stranger", "files", "The keys are wrong"),
        ("other", "reader", "files", "There is no such bucket"),
        ("milvus", "reader", "else/where", "what is there: files/"),
    ] {
        configure(name, key, root);
        let text = said(&call(1));
        assert!(text.contains(expected) && !text.contains("s3cret"), "{expected}: {text}");
    }
    let closed = format!("--storage-address=127.0.0.1:{}", free_ports(1)[0]);
    let text = said(&tool.call(&["check-files", &closed, "--storage-bucket=milvus"]).code(1));
    assert!(text.contains("Nothing answers there"), "{text}");
}

#[test]
fn a_rollback_refuses_where_files_are_missing_and_says_what_helps() {
    let Migrated { etcd, tool, before, after } = Migrated::on(Version::V3_5);
    let site = Site::of(&before);
    let storage = &*site.flag();
    for (_, meta) in handed_over(&before) {
        meta.index_file_paths.iter().for_each(|file| std::fs::remove_file(site.path(file)).unwrap());
    }
    let text = said(&tool.call(&["rollback", "--check-files", storage]).code(1));
    assert!(text.contains("--rebuild-handed-over") && text.contains("Nothing was written"), "{text}");
    assert_same(&after, &etcd.dump(), "refused");
    let done = tool.call(&["rollback", "--check-files", "--rebuild-handed-over", storage, "--output", "json"]).code(0);
    let done = object(&done);
    assert_eq!(done["to_build_again"][0]["collection"], "c_scalaridx", "{done:#}");
    assert_eq!(done["files"]["lacking"], 0, "{done:#}");
    assert_same(&with_builds_handed_back(&before), &etcd.dump(), "rolled back");
    // Rows cannot be built again.
    tool.call(&["rollback"]).code(0);
    let binlog = site.of_kind("insert_log").into_iter().find(|file| file.contains("470605842599641089")).unwrap();
    std::fs::remove_file(site.path(binlog)).unwrap();
    tool.call(&["run"]).code(0);
    let args = ["rollback", "--check-files", "--rebuild-handed-over", storage];
    let text = said(&tool.call(&args).code(1));
    assert!(text.contains(&**binlog) && !text.contains("have Milvus 2.1 build"), "{text}");
    tool.call(&[&args[..], &["--accept-missing-files"]].concat()).code(0);
    assert_same(&with_builds_handed_back(&before), &etcd.dump(), "rolled back all the same");
}

/// What 2.1 is to build again when it starts.
fn with_builds_handed_back(before: &Dump) -> Dump {
    let mut expected = before.clone();
    for (key, meta) in handed_over(before) {
        let reset = IndexMeta {
            state: IndexState::Unissued as i32,
            index_file_paths: Vec::new(),
            node_id: 0,
            serialize_size: 0,
            recycled: false,
            fail_reason: String::new(),
            ..meta
        };
        expected.insert(format!("by-dev/meta/{key}").into_bytes(), reset.encode_to_vec());
    }
    assert_ne!(expected, *before);
    expected
}

/// The one that goes on does not even have to say it.
fn a_rollback_that_hands_builds_back_ends_the_same_wherever_it_was_killed(version: Version) {
    let Migrated { etcd, tool, before, after } = Migrated::on(version);
    let expected = with_builds_handed_back(&before);
    for transactions in [1, 10, 20, 28] {
        let running = tool.catch(&["rollback", "--rebuild-handed-over", "--no-copy"], &etcd, transactions, || {
            etcd.start_over(&after);
        });
        assert!(running.kill(), "it ended before {transactions} transactions");
        etcd.end_lock();
        tool.call(&["rollback", "--no-copy"]).code(0);
        assert_same(&expected, &etcd.dump(), transactions);
    }
}

/// What the newer Milvus did since is told, and that nobody has looked.
#[test]
fn what_may_be_gone_is_told() {
    let Migrated { etcd, tool, before, .. } = Migrated::on(Version::V3_5);
    let dump = etcd.dump();
    let (key, _) = below(&dump, "datacoord-meta/s/470605842599641089/").next().unwrap();
    etcd.delete(format!("by-dev/meta/{key}"));
    let build: i64 = handed_over(&before)[0].0.rsplit('/').next().unwrap().parse().unwrap();
    let is_of = |key: &&str| Key::parse(key.as_bytes()).is_ok_and(|key| key.ids::<4>()[3] == build);
    let index = below(&dump, Family::SegmentIndex.prefix()).map(|(key, _)| key).find(is_of).unwrap();
    etcd.delete(format!("by-dev/meta/{index}"));
    let text = said(&tool.call(&["rollback"]).code(0));
    for expected in [
        "c_binary: 1 segment with",
        "this was migrated for Milvus 2.2.0",
        "c_scalaridx",
        "nobody has looked",
        "--rebuild-handed-over",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn builds_are_not_handed_back_where_nothing_tells_which_were_handed_over() {
    let Migrated { etcd, tool, .. } = Migrated::on(Version::V3_5);
    etcd.put("by-dev/meta/meta-migration/history", "{");
    let before = etcd.dump();
    let text = said(&tool.call(&["rollback", "--rebuild-handed-over"]).code(1));
    assert!(
        text.contains("not known which indexes were handed over") && text.contains("Nothing was written"),
        "{text}"
    );
    assert!(before == etcd.dump(), "something was written");
    // Without it the unreadable key obstructs nothing.
    tool.call(&["rollback"]).code(0);
}
