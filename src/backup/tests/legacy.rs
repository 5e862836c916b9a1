//! Files of the original tool, put together by hand from the description of the format.

use super::*;

/// The header of such a file; what is empty or zero is not on the wire, as proto3 has it.
pub(super) struct StreamHeader {
    pub version: i64,
    pub instance: &'static str,
    pub meta_path: &'static str,
    pub entries: i64,
    pub extra: &'static str,
}

impl Default for StreamHeader {
    fn default() -> Self {
        let extra = r#"{"entry_include_root_path":true}"#;
        Self { version: 0, instance: "by-dev", meta_path: "meta", entries: 0, extra }
    }
}

impl StreamHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_number(&mut bytes, 1, self.version);
        put_bytes(&mut bytes, 2, self.instance.as_bytes());
        put_bytes(&mut bytes, 3, self.meta_path.as_bytes());
        put_number(&mut bytes, 4, self.entries);
        put_bytes(&mut bytes, 6, self.extra.as_bytes());
        bytes
    }
}

fn put_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn put_number(to: &mut Vec<u8>, field: u8, number: i64) {
    if number != 0 {
        to.push(field << 3);
        put_varint(to, number as u64);
    }
}

fn put_bytes(to: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        to.push(field << 3 | 2);
        put_varint(to, bytes.len() as u64);
        to.extend_from_slice(bytes);
    }
}

/// A length of eight bytes, and so many bytes.
pub(super) fn record(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}

/// A whole file; the keys are as they stand in it.
pub(super) fn stream(header: &StreamHeader, entries: &Entries) -> Vec<u8> {
    let mut stream = record(&header.encode());
    for (key, value) in entries {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key);
        put_bytes(&mut entry, 2, value);
        stream.extend(record(&entry));
    }
    stream
}

fn with_prefix(prefix: &str, entries: &Entries) -> Entries {
    entries.iter().map(|(key, value)| ([prefix.as_bytes(), key].concat(), value.clone())).collect()
}

/// A file of `few()`, as the original tool writes it.
fn sound() -> Vec<u8> {
    stream(&StreamHeader { entries: 3, ..StreamHeader::default() }, &with_prefix("by-dev/meta/", &few()))
}

#[track_caller]
fn assert_read(bytes: &[u8], meta_root: &str, expected: &Entries) {
    let (backup, found) = read_bytes(bytes).unwrap();
    assert_eq!((backup.format, &*backup.meta_root), (Format::Legacy, meta_root));
    assert_eq!((backup.keys, &found), (expected.len() as u64, expected));
}

#[test]
fn ours_unpacked_is_such_a_file_byte_for_byte() {
    let mut keys = few();
    keys.push((b"z\xFF\x00".to_vec(), noise(200_000)));
    let (_dir, path) = place();
    write(&path, &keys);
    // As `zstd -d` does it, the skippable frame with the manifest included.
    let unpacked = zstd::stream::decode_all(fs::File::open(&path).unwrap()).unwrap();
    let by_hand = stream(&StreamHeader { entries: 4, ..StreamHeader::default() }, &with_prefix("by-dev/meta/", &keys));
    assert!(unpacked == by_hand, "{} bytes, by hand {}", unpacked.len(), by_hand.len());
    assert_read(&unpacked, "by-dev/meta", &keys);
}

#[test]
fn keys_in_any_order_are_read() {
    let mut keys = few();
    keys.reverse();
    let bytes = stream(&StreamHeader { entries: 3, ..StreamHeader::default() }, &with_prefix("by-dev/meta/", &keys));
    assert_read(&bytes, "by-dev/meta", &keys);
}

#[test]
fn keys_are_relative_where_the_header_does_not_call_them_absolute() {
    for extra in ["", "{}", r#"{"entry_include_root_path":false}"#, r#"{"entry_include_root_path":1}"#, "no JSON"] {
        assert_read(
            &stream(&StreamHeader { entries: 3, extra, ..StreamHeader::default() }, &few()),
            "by-dev/meta",
            &few(),
        );
    }
}

#[test]
fn a_meta_root_with_control_characters_is_none() {
    for instance in ["by-dev/\nmeta", "\u{1b}[2J"] {
        let error = read_bytes(&stream(&StreamHeader { instance, ..StreamHeader::default() }, &Vec::new()))
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with("is no backup file: its header names a root path with control characters in it"),
            "{error}"
        );
    }
}

#[test]
fn every_meta_root_is_found_again() {
    for (instance, meta_path, in_keys, meta_root) in [
        ("by-dev", "meta", "by-dev/meta/", "by-dev/meta"),
        ("team/a", "meta", "team/a/meta/", "team/a/meta"),
        // A root path without a sub-path, and the other way round.
        ("meta", "", "meta/", "meta"),
        ("", "meta", "meta/", "meta"),
        // A leading slash, as it should be; and as the original tool writes it.
        ("/by-dev", "meta", "/by-dev/meta/", "/by-dev/meta"),
        ("by-dev", "meta", "/by-dev/meta/", "/by-dev/meta"),
        ("", "meta", "/meta/", "/meta"),
    ] {
        let header = StreamHeader { instance, meta_path, entries: 3, ..StreamHeader::default() };
        assert_read(&stream(&header, &with_prefix(in_keys, &few())), meta_root, &few());
    }
}

#[test]
fn keys_of_neighbours_that_the_original_tool_took_along_are_left_out() {
    let mut keys = with_prefix("by-dev/meta/", &few());
    keys.insert(0, (b"by-dev/meta2/root-coord/collection/1".to_vec(), b"theirs".to_vec()));
    keys.push((b"by-dev/meta".to_vec(), b"nobody's".to_vec()));
    let header = StreamHeader { entries: 5, ..StreamHeader::default() };
    assert_read(&stream(&header, &keys), "by-dev/meta", &few());
    assert_eq!(read_bytes(&stream(&header, &keys)).unwrap().0.left_out, 2);
    keys.push((b"by-dev/kv/gid/timestamp".to_vec(), b"elsewhere".to_vec()));
    let header = StreamHeader { entries: 6, ..StreamHeader::default() };
    assert_refused(
        &stream(&header, &keys),
        "Damaged",
        "by-dev/kv/gid/timestamp is not under its meta root by-dev/meta",
    );
}

#[test]
fn a_slash_in_front_of_some_keys_only_is_refused() {
    let keys = entries(&[("by-dev/meta/a", ""), ("/by-dev/meta/b", "")]);
    assert_refused(
        &stream(&StreamHeader { entries: 2, ..StreamHeader::default() }, &keys),
        "Damaged",
        "/by-dev/meta/b is not under",
    );
}

#[test]
fn a_cut_at_a_record_is_found_by_the_count_and_any_other_as_a_cut() {
    let whole = sound();
    let mut boundaries = Vec::new();
    let mut end = 0;
    while end < whole.len() {
        end += 8 + usize::try_from(u64::from_le_bytes(*whole[end..].first_chunk().unwrap())).unwrap();
        boundaries.push(end);
    }
    assert_eq!(boundaries.len(), 4);
    for length in 0..whole.len() {
        let expected = match length {
            0 => "Empty",
            1..8 => "NoBackup",
            _ if boundaries.contains(&length) => "Count",
            _ => "Cut",
        };
        let (name, text) = refusal(&whole[..length]);
        assert_eq!(name, expected, "{length} of {} bytes: {text}", whole.len());
    }
}

#[test]
fn another_number_of_keys_than_the_header_says_is_refused() {
    for announced in [0, 2, 4, -1, i64::MIN, i64::MAX] {
        let bytes = stream(
            &StreamHeader { entries: announced, ..StreamHeader::default() },
            &with_prefix("by-dev/meta/", &few()),
        );
        assert_refused(&bytes, "Count", &format!("says that it holds {announced} keys, but holds 3"));
    }
}

#[test]
fn the_same_key_twice_is_refused() {
    let keys = with_prefix("by-dev/meta/", &[few(), few()[..1].to_vec()].concat());
    let bytes = stream(&StreamHeader { entries: 4, ..StreamHeader::default() }, &keys);
    assert_refused(&bytes, "Damaged", "datacoord-meta/s/1/2/3 occurs twice");
}

#[test]
fn impossible_lengths_are_refused() {
    let length = |length: u64| [&length.to_le_bytes()[..], &sound()[8..]].concat();
    for (header_length, kind) in [
        (0, "NoBackup"),
        (1, "NoBackup"),
        (64 << 10, "Cut"),
        ((64 << 10) + 1, "NoBackup"),
        (1 << 63, "NoBackup"),
        (u64::MAX, "NoBackup"),
    ] {
        let (name, text) = refusal(&length(header_length));
        assert_eq!(name, kind, "{header_length}: {text}");
    }
    let header = record(&StreamHeader { entries: 1, ..StreamHeader::default() }.encode());
    for (entry_length, kind, words) in [
        (0, "Damaged", "a record has no key"),
        (200 << 20, "Cut", "after 0 of 209715200 bytes"),
        (257 << 20, "Damaged", "impossible"),
        (u64::MAX, "Damaged", "impossible"),
    ] {
        assert_refused(&[&header[..], &u64::to_le_bytes(entry_length)].concat(), kind, words);
    }
}

#[test]
fn a_header_that_is_none_is_refused() {
    for (header, words) in [
        (StreamHeader { instance: "", meta_path: "", ..StreamHeader::default() }, "root path"),
        (StreamHeader { instance: "/", meta_path: "/", ..StreamHeader::default() }, "root path"),
        (StreamHeader { version: 1, ..StreamHeader::default() }, "Birdwatcher"),
        (StreamHeader { version: 2, instance: "", meta_path: "", ..StreamHeader::default() }, "Birdwatcher"),
    ] {
        assert_refused(&stream(&header, &Entries::new()), "NoBackup", words);
    }
    assert_refused(&record(b"\xFF\xFF\xFF\xFF"), "NoBackup", "its header does not decode");
}

#[test]
fn a_record_that_does_not_decode_is_refused_with_the_number_of_those_before() {
    let bytes = [sound(), record(b"\x0A\xFFnot so long")].concat();
    assert_refused(&bytes, "Damaged", "(after 3 keys)");
}
