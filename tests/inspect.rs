//! `inspect` on sound and damaged files of every format.

mod common;

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use common::files;
use tempfile::TempDir;

/// A folder for the files of a test.
struct Folder(TempDir);

/// What a run of the program left.
struct Run {
    out: String,
    err: String,
    code: i32,
}

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A folder with the backup `b` of the recorded keys.
    fn with_sample() -> Self {
        let folder = Self::new();
        files::write_ours(&folder.path("b"), &files::sample());
        folder
    }

    fn with(name: &str, bytes: &[u8]) -> Self {
        let folder = Self::new();
        fs::write(folder.path(name), bytes).unwrap();
        folder
    }

    /// Runs `inspect`. Sizes that depend on the compressor, and the folder, are left out of what it prints.
    fn inspect(&self, args: &[&str]) -> Run {
        let output = Command::cargo_bin("meta-migration")
            .unwrap()
            .current_dir(self.0.path())
            .env("META_MIGRATION_CONFIG", "/nowhere.yaml")
            .arg("inspect")
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Run { out: text(output.stdout), err: text(output.stderr), code: output.status.code().unwrap() }
    }
    /// The summary, without what depends on the version of the compressor.
    fn summary(&self, name: &str) -> String {
        let run = self.inspect(&[name]);
        let lines = run.out.lines().map(|line| match line.strip_prefix("  size ") {
            Some(_) => "  size       [...]".to_owned(),
            None => without_file_offset(line),
        });
        let text = format!("{}\n\nexit {}{}", lines.collect::<Vec<_>>().join("\n"), run.code, warning(&run.err));
        text.replace(OUR_VERSION, "meta-migration [version]")
    }
}

/// A release changes no snapshot.
const OUR_VERSION: &str = concat!("meta-migration ", env!("CARGO_PKG_VERSION"));

fn without_file_offset(line: &str) -> String {
    match line.split_once("; at or before byte ") {
        Some((before, after)) => {
            let (_, after) = after.split_once(" of the file").unwrap();
            format!("{before}; at or before byte [...] of the file{after}")
        }
        None => line.to_owned(),
    }
}

/// What stands behind the time and the level of a log line.
fn warning(err: &str) -> String {
    err.lines().map(|line| format!("\n{}", line.split_once(' ').unwrap().1.trim())).collect()
}

fn cut(bytes: &[u8], at: usize) -> &[u8] {
    &bytes[..at]
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x10;
    bytes
}

#[test]
fn a_sound_backup_is_summed_up() {
    let folder = Folder::with_sample();
    insta::assert_snapshot!(folder.summary("b"));
}

#[test]
fn a_backup_of_the_original_tool_is_summed_up() {
    let folder = Folder::with("legacy", &files::legacy(&files::sample(), true));
    insta::assert_snapshot!(folder.summary("legacy"));
}

#[test]
fn backups_of_birdwatcher_are_summed_up() {
    let folder = Folder::with("bw_1.bak.gz", &files::birdwatcher_1(&files::sample()));
    fs::write(folder.path("bw_2.bak.gz"), files::birdwatcher_2(&files::sample())).unwrap();
    insta::assert_snapshot!("birdwatcher_1", folder.summary("bw_1.bak.gz"));
    insta::assert_snapshot!("birdwatcher_2", folder.summary("bw_2.bak.gz"));
}

#[test]
fn a_damaged_backup_of_birdwatcher_is_told_from_a_sound_one() {
    let bytes = files::birdwatcher_2(&files::sample());
    for damaged in [cut(&bytes, bytes.len() - 1), cut(&bytes, bytes.len() / 2), &flipped(&bytes, bytes.len() - 6)] {
        let folder = Folder::with("b", damaged);
        let run = folder.inspect(&["b"]);
        assert_eq!(run.code, 1, "{}", run.out);
        assert!(run.out.starts_with("b: a backup of Birdwatcher, version 2, DAMAGED"), "{}", run.out);
    }
}

#[test]
fn a_cut_legacy_file_tells_record_and_byte() {
    let bytes = files::legacy(&files::sample(), true);
    let folder = Folder::with("b", cut(&bytes, 100_000));
    insta::assert_snapshot!(folder.summary("b"));
}

#[test]
fn a_legacy_file_with_a_damaged_length_tells_record_and_byte() {
    let pairs = files::sample();
    let bytes = files::legacy(&pairs, true);
    let before: usize = pairs[..200].iter().map(|(key, value)| files::entry(key, value).len()).sum();
    let header = bytes.len() - pairs.iter().map(|(key, value)| files::entry(key, value).len()).sum::<usize>();
    // The highest byte of the length of record 201.
    let folder = Folder::with("b", &flipped(&bytes, header + before + 7));
    insta::assert_snapshot!(folder.summary("b"));
}

#[test]
fn our_file_is_described_wherever_it_is_damaged() {
    let folder = Folder::with_sample();
    let bytes = fs::read(folder.path("b")).unwrap();
    for (name, damaged) in [
        ("cut_within_the_data", cut(&bytes, bytes.len() / 2).to_vec()),
        ("cut_within_the_manifest", cut(&bytes, bytes.len() - 10).to_vec()),
        ("first_byte_flipped", flipped(&bytes, 0)),
        ("manifest_flipped", flipped(&bytes, bytes.len() - 10)),
    ] {
        fs::write(folder.path("damaged"), damaged).unwrap();
        let summary = folder.summary("damaged");
        let manifest_at = |line: &str| match line.split_once("begins at byte ") {
            Some((before, after)) => format!("{before}begins at byte [...],{}", after.split_once(',').unwrap().1),
            None => line.to_owned(),
        };
        insta::assert_snapshot!(name, summary.lines().map(manifest_at).collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn keys_are_listed_with_their_sizes() {
    let folder = Folder::with_sample();
    let run = folder.inspect(&["b", "--list", "root-coord/c"]);
    insta::assert_snapshot!(run.out);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let absolute = folder.inspect(&["b", "--list", "by-dev/meta/root-coord/c"]);
    assert_eq!(absolute.out.lines().count(), run.out.lines().count());
    let all = folder.inspect(&["b", "--list"]);
    assert_eq!(all.out.lines().count(), files::sample().len() + 1);
    assert!(folder.inspect(&["b", "--list", "nothing"]).out.starts_with("0 keys"));
}

#[test]
fn values_are_shown_decoded() {
    let folder = Folder::with_sample();
    let shown: Vec<String> = [
        "root-coord/collection/470605839296564545",
        "root-coord/collection/470605855549292545",
        "root-coord/collection-alias/v_ts2022",
        "root-coord/index/470605839296564545/470605840213868545",
        "root-coord/segment-index/470605839296564545/470605840213868545/470605839296564546/470605839322578945",
        "indexes/470605840216227842",
        "datacoord-meta/s/470605839296564545/470605839296564546/470605839322578945",
        "queryCoord-collectionMeta/470605839296564545",
        "queryCoord-ReplicaMeta/470605837798735874",
        "queryCoord-queryNodeInfo/10",
        "channelwatch/14/by-dev-rootcoord-dml_0_470605839296564545v0",
        "root-coord/dd-operation",
        "root-coord/dd-msg-send",
        "session/id",
    ]
    .into_iter()
    .map(|key| {
        let run = folder.inspect(&["b", "--key", key]);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{key}");
        assert_eq!(folder.inspect(&["b", "--key", &format!("by-dev/meta/{key}")]).out, run.out);
        run.out
    })
    .collect();
    insta::assert_snapshot!(shown.join("\n---\n"));
}

#[test]
fn a_key_that_is_not_there_is_an_error() {
    let folder = Folder::with_sample();
    let run = folder.inspect(&["b", "--key", "indexes/5"]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("indexes/5 is not among the 393 keys in b"), "{}", run.err);
}

#[test]
fn an_export_holds_what_was_backed_up() {
    let sample = files::sample();
    let folder = Folder::with_sample();
    for (name, bytes) in [
        ("legacy", files::legacy(&sample, true)),
        ("relative", files::legacy(&sample, false)),
        ("bw1", files::birdwatcher_1(&sample)),
        ("bw2", files::birdwatcher_2(&sample)),
    ] {
        fs::write(folder.path(name), bytes).unwrap();
    }
    for name in ["b", "legacy", "relative", "bw1", "bw2"] {
        let run = folder.inspect(&[name, "--export", "-"]);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{name}");
        assert_eq!(files::pairs(&run.out), sample, "{name}");
        assert!(run.out.starts_with(r#"{"key":"by-dev/meta/channelwatch/"#), "{name}");
    }
}

#[test]
fn an_exported_file_belongs_to_its_owner_alone_and_is_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::with_sample();
    fs::create_dir(folder.path("out")).unwrap();
    let run = folder.inspect(&["b", "--export", "out"]);
    assert_eq!((run.code, run.out.as_str()), (0, "393 keys exported to out/b.jsonl\n"));
    let path = folder.path("out/b.jsonl");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(files::pairs(&fs::read_to_string(&path).unwrap()), files::sample());
    fs::write(&path, "mine").unwrap();
    let again = folder.inspect(&["b", "--export", "out"]);
    assert!(again.code == 1 && again.err.contains("out/b.jsonl is there already"), "{}", again.err);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    assert_eq!(fs::read_dir(folder.path("out")).unwrap().count(), 1, "nothing half written is left");
    let nowhere = folder.inspect(&["b", "--export", "nowhere"]);
    assert!(nowhere.code == 1 && nowhere.err.contains("nowhere"), "{}", nowhere.err);
}

#[test]
fn the_readable_part_of_a_damaged_file_is_shown_with_a_warning() {
    let sample = files::sample();
    let bytes = files::legacy(&sample, true);
    let folder = Folder::with("b", cut(&bytes, 100_000));
    for args in [&["b", "--list"][..], &["b", "--key", "indexes/470605840216227842"], &["b", "--export", "-"]] {
        let run = folder.inspect(args);
        assert_eq!(run.code, 1, "{args:?}");
        assert!(run.err.contains("b IS DAMAGED: 195 keys could be read, 198 could not"), "{args:?}: {}", run.err);
        assert!(!run.out.is_empty(), "{args:?}");
    }
    let exported = files::pairs(&folder.inspect(&["b", "--export", "-"]).out);
    assert!(exported.len() == 195 && exported.iter().all(|pair| sample.contains(pair)));
}

#[test]
fn what_cannot_be_inspected_is_refused_with_the_reason() {
    let folder = Folder::with("text", b"hello, this is a text");
    fs::write(folder.path("x.gz"), files::gzip(b"hello, this is a text")).unwrap();
    fs::write(folder.path("bw3"), files::gzip(&[2, 0, 0, 0, 0, 0, 0, 0, 8, 3])).unwrap();
    for (args, why) in [
        (&["text"][..], "text is no backup file"),
        (&["x.gz"], "it is a gzip file, but not of Birdwatcher"),
        (&["bw3"], "in version 3 of its format, which this tool cannot read"),
        (&["none"], "there is no backup file none"),
        (&["."], "directory"),
        (&[], "no backup file to look into"),
        (&["text", "--list", "--key", "x"], "cannot be used with"),
    ] {
        let run = folder.inspect(args);
        assert_eq!((run.code, run.out.as_str()), (1, ""), "{args:?}");
        assert!(run.err.contains(why), "{args:?}: {}", run.err);
    }
}
