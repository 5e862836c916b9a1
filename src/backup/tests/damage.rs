//! Our own files, cut, changed and forged.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::legacy::{StreamHeader, record, stream};
use super::*;
use crate::backup::stream::{MAX_RECORD_BYTES, read_record};

const MANIFEST_MAGIC: u32 = 0x184D_2A5D;

/// The bytes of a backup of `entries`.
fn ours(entries: &Entries) -> Vec<u8> {
    let (_dir, path) = place();
    write(&path, entries);
    fs::read(path).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn frame(stream: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    std::io::Write::write_all(&mut encoder, stream).unwrap();
    encoder.finish().unwrap()
}

fn skippable(magic: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&magic.to_le_bytes()[..], &length.to_le_bytes(), payload].concat()
}

fn manifest(json: &[u8]) -> Vec<u8> {
    skippable(MANIFEST_MAGIC, &[&Sha256::digest(json)[..], json].concat())
}

/// A manifest in which everything is right for this frame of this stream.
fn facts(stream: &[u8], frame: &[u8], keys: u64) -> Value {
    json!({
        "format_version": 1,
        "tool_version": "0.1.0",
        "created": "2024-02-29T12:00:00Z",
        "meta_root": "by-dev/meta",
        "etcd_cluster_id": "1",
        "etcd_revision": 1,
        "source_version": null,
        "layout": "2.1",
        "keys": keys,
        "stream_bytes": stream.len(),
        "stream_sha256": hex(stream),
        "frame_bytes": frame.len(),
        "frame_sha256": hex(frame),
        "counts": { "a/": keys },
    })
}

/// A file of ours around any stream, whose checksums are right, with the manifest changed by `change`.
fn forged(stream: &[u8], keys: u64, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let frame = frame(stream);
    let mut facts = facts(stream, &frame, keys);
    change(&mut facts);
    [frame, manifest(&serde_json::to_vec(&facts).unwrap())].concat()
}

fn two_keys() -> Vec<u8> {
    stream(
        &StreamHeader { entries: 2, ..StreamHeader::default() },
        &entries(&[("by-dev/meta/a/1", "x"), ("by-dev/meta/a/2", "y")]),
    )
}

#[test]
fn a_forged_file_in_which_everything_is_right_is_read() {
    let (backup, found) = read_bytes(&forged(&two_keys(), 2, |_| {})).unwrap();
    assert_eq!((backup.keys, found), (2, entries(&[("a/1", "x"), ("a/2", "y")])));
}

#[test]
fn every_cut_is_found() {
    let whole = ours(&few());
    let frame_bytes = read_bytes(&whole).map(|(backup, _)| match backup.format {
        Format::Ours(manifest) => usize::try_from(manifest.frame_bytes).unwrap(),
        Format::Legacy => 0,
    });
    for length in 0..whole.len() {
        let (name, text) = refusal(&whole[..length]);
        let expected = match length {
            0 => "Empty",
            1..4 => "NoBackup",
            _ => "Cut",
        };
        assert_eq!(name, expected, "{length} of {} bytes: {text}", whole.len());
    }
    let without_manifest = refusal(&whole[..frame_bytes.unwrap()]).1;
    assert!(without_manifest.contains("manifest is missing") && without_manifest.contains("after 3 keys"));
}

#[test]
fn every_flipped_bit_is_found() {
    let whole = ours(&few());
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (name, text) = refusal(&flipped);
        // A length that grew reaches beyond the end; the first four bytes say what kind of file it is.
        let expected: &[&str] = if bit < 32 { &["NoBackup"] } else { &["Damaged", "Cut"] };
        assert!(expected.contains(&name), "bit {bit}: {name}: {text}");
    }
}

#[test]
fn the_frame_has_a_checksum_of_its_own_for_those_who_unpack_it_with_zstd() {
    const CHECKSUM_FLAG: u8 = 1 << 2;
    assert_eq!(ours(&few())[4] & CHECKSUM_FLAG, CHECKSUM_FLAG);
}

#[test]
fn bits_flipped_in_a_large_value_are_found() {
    let whole = ours(&vec![(b"a".to_vec(), noise(300_000)), (b"b".to_vec(), vec![b'x'; 300_000])]);
    for byte in (0..whole.len()).step_by(29_989) {
        let mut flipped = whole.clone();
        flipped[byte] ^= 0x10;
        assert_ne!(refusal(&flipped).0, "Io", "byte {byte}");
    }
}

#[test]
fn another_manifest_than_belongs_to_the_data_is_refused() {
    for (key, value, kind, words) in [
        ("keys", json!(3), "Count", "3 keys, but holds 2"),
        ("keys", json!(u64::MAX), "Count", "but holds 2"),
        ("stream_bytes", json!(7), "Damaged", "the size of its data"),
        ("stream_sha256", json!(hex(b"other")), "Damaged", "the checksum of its data"),
        ("frame_bytes", json!(7), "Damaged", "the size of its compressed data"),
        ("frame_sha256", json!(hex(b"other")), "Damaged", "the checksum of its compressed data"),
        ("meta_root", json!("by-dev/other"), "Damaged", "its meta root"),
        ("counts", json!({ "b/": 2 }), "Damaged", "the number of keys by kind"),
        ("counts", json!(null), "Damaged", "its manifest cannot be read"),
        ("format_version", json!("one"), "Damaged", "its manifest cannot be read"),
        ("format_version", json!(3), "Newer", "format version 3"),
        // A version of its own, and the marks in manifest and header: all or none.
        ("format_version", json!(2), "Damaged", "of Milvus running"),
        ("while_running", json!(true), "Damaged", "of Milvus running"),
    ] {
        assert_refused(&forged(&two_keys(), 2, |facts| facts[key] = value), kind, words);
    }
}

#[test]
fn a_newer_file_is_called_so_whatever_else_its_manifest_has_or_lacks() {
    let other = |facts: &mut Value| *facts = json!({ "format_version": 9, "layout": "as of 2.6" });
    assert_refused(&forged(&two_keys(), 2, other), "Newer", "use the tool that wrote it");
}

#[test]
fn a_wrong_number_of_keys_in_the_header_is_refused() {
    for announced in [0, 1, 3, -1, i64::MIN, i64::MAX] {
        let keys = entries(&[("by-dev/meta/a/1", "x"), ("by-dev/meta/a/2", "y")]);
        let stream = stream(&StreamHeader { entries: announced, ..StreamHeader::default() }, &keys);
        assert_refused(&forged(&stream, 2, |_| {}), "Count", &format!("{announced} keys, but holds 2"));
    }
}

#[test]
fn keys_that_we_would_not_have_written_so_are_refused() {
    for (keys, words) in [
        (["by-dev/meta/a/1", "by-dev/meta2/a/1"], "by-dev/meta2/a/1 is not under its meta root by-dev/meta"),
        (["by-dev/meta/a/1", "by-dev/kv/gid"], "by-dev/kv/gid is not under"),
        (["by-dev/meta/a/1", "/by-dev/meta/a/2"], "/by-dev/meta/a/2 is not under"),
        (["by-dev/meta/a/1", "by-dev/meta"], "by-dev/meta is not under"),
        (["by-dev/meta/a/1", "by-dev/meta/a/1"], "a/1 occurs twice or out of order"),
        (["by-dev/meta/a/2", "by-dev/meta/a/1"], "a/1 occurs twice or out of order"),
        (["by-dev/meta/a/1", ""], "a record has no key"),
    ] {
        let keys = entries(&keys.map(|key| (key, "value")));
        let stream = stream(&StreamHeader { entries: 2, ..StreamHeader::default() }, &keys);
        assert_refused(&forged(&stream, 2, |_| {}), "Damaged", words);
    }
}

#[test]
fn what_follows_the_data_must_be_the_manifest_and_nothing_else() {
    let whole = ours(&few());
    let stream = two_keys();
    let frame = frame(&stream);
    let json = serde_json::to_vec(&facts(&stream, &frame, 2)).unwrap();
    let manifest = manifest(&json);
    let with = |rest: &[u8]| [&frame[..], rest].concat();
    let oversized = [&MANIFEST_MAGIC.to_le_bytes()[..], &u32::MAX.to_le_bytes()].concat();
    let unchecked = skippable(MANIFEST_MAGIC, &[&[0; 32][..], &json].concat());
    for (file, kind, words) in [
        ([&whole[..], b"\n"].concat(), "Damaged", "something follows its manifest"),
        ([&whole[..], &whole].concat(), "Damaged", "something follows its manifest"),
        (with(&[&manifest[..], &manifest].concat()), "Damaged", "something follows its manifest"),
        (with(&frame), "Damaged", "not its manifest"),
        (with(&whole), "Damaged", "not its manifest"),
        (with(&skippable(MANIFEST_MAGIC + 1, &manifest[8..])), "Damaged", "not its manifest"),
        (with(&skippable(MANIFEST_MAGIC, b"short")), "Damaged", "length of its manifest"),
        (with(&oversized), "Damaged", "length of its manifest"),
        (with(&unchecked), "Damaged", "does not match its checksum"),
        (with(&self::manifest(b"no JSON")), "Damaged", "cannot be read"),
        (with(&self::manifest(b"")), "Damaged", "cannot be read"),
        (with(b""), "Cut", "its manifest is missing"),
        (manifest.clone(), "NoBackup", "begins neither like"),
    ] {
        assert_refused(&file, kind, words);
    }
}

#[test]
fn a_stream_that_is_none_is_refused_although_all_checksums_are_right() {
    let header = record(&StreamHeader::default().encode());
    let other = record(&StreamHeader { version: 1, ..StreamHeader::default() }.encode());
    for (stream, kind, words) in [
        (Vec::new(), "Cut", "before its header"),
        (b"abc".to_vec(), "Cut", "within the length of a record"),
        (noise(5_000), "Damaged", "impossible"),
        (other, "Damaged", "format version 1"),
        ([&header[..], &[5]].concat(), "Cut", "within the length of a record"),
        ([&header[..], &5_u64.to_le_bytes(), b"abcd"].concat(), "Cut", "after 4 of 5 bytes"),
        ([&header[..], &u64::MAX.to_le_bytes()].concat(), "Damaged", "impossible"),
        ([&header[..], &record(b"\xFF\xFF\xFF")].concat(), "Damaged", "does not decode"),
    ] {
        assert_refused(&forged(&stream, 0, |_| {}), kind, words);
    }
}

#[test]
fn other_files_are_called_no_backup() {
    for (bytes, words) in [
        (noise(10_000), "begins neither like"),
        (vec![0; 10_000], "begins neither like"),
        (vec![0xFF; 10_000], "begins neither like"),
        (b"cmd:\n  type: run\n".to_vec(), "begins neither like"),
        (b"x".to_vec(), "begins neither like"),
        (b"\x1F\x8B\x08\x00\x00\x00\x00\x00\x00\x03".to_vec(), "gzip"),
        (b"PK\x03\x04\x14\x00\x00\x00".to_vec(), "begins neither like"),
    ] {
        assert_refused(&bytes, "NoBackup", words);
    }
}

#[test]
fn a_missing_file_and_a_directory_are_named() {
    let (dir, path) = place();
    let missing = read(&path).unwrap_err();
    assert!(matches!(missing, BackupError::Missing(_)) && missing.to_string().contains("mount"), "{missing}");
    let directory = read(dir.path()).unwrap_err();
    assert_eq!(name(&directory), "Io");
    let text = directory.to_string();
    assert!(text.contains(&dir.path().display().to_string()) && text.contains("docker run -v"), "{text}");
}

#[test]
fn what_is_announced_is_not_allocated() {
    /// Records how much it is asked for at once, and ends soon.
    struct Short {
        bytes: std::io::Cursor<Vec<u8>>,
        largest: usize,
    }
    impl std::io::Read for Short {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.largest = self.largest.max(into.len());
            self.bytes.read(into)
        }
    }
    let bytes = [&(200_u64 << 20).to_le_bytes()[..], b"abc"].concat();
    let mut short = Short { bytes: std::io::Cursor::new(bytes), largest: 0 };
    assert!(read_record(&mut short, MAX_RECORD_BYTES).is_err());
    assert!(short.largest < 1 << 20, "{} bytes at once", short.largest);
}
