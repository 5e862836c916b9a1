//! Backup files made of recorded keys: ours, the original tool's, Birdwatcher's.

use std::io::Write;
use std::path::Path;

use meta_migration::backup::Writer;
use meta_migration::backup::write::Origin;
use meta_migration::layout::Found;
use meta_migration::layout::messages::backup::{BackupHeader, Entry};
use prost::Message;
use serde_json::Value;

use super::{testdata, unbase64};

/// Absolute key and value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The recorded keys of a Milvus 2.1.0 under its meta root, sorted.
pub fn sample() -> Vec<Pair> {
    let text = std::fs::read_to_string(testdata("milvus-2.1.0/keys.jsonl")).unwrap();
    pairs(&text).into_iter().filter(|(key, _)| key.starts_with(b"by-dev/meta/")).collect()
}

/// The keys of JSON lines, sorted.
pub fn pairs(jsonl: &str) -> Vec<Pair> {
    let lines = jsonl.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let bytes = |line: &Value, field: &str| unbase64(line[field].as_str().unwrap());
    let mut pairs: Vec<Pair> = lines
        .filter(|line| line["key_b64"].is_string())
        .map(|line| (bytes(&line, "key_b64"), bytes(&line, "value_b64")))
        .collect();
    pairs.sort();
    pairs
}

/// Writes a backup of ours, always with the same bytes.
pub fn write_ours(path: &Path, pairs: &[Pair]) {
    let origin = Origin {
        created: "2026-05-04T03:02:01Z".into(),
        root_path: "by-dev".into(),
        meta_sub_path: "meta".into(),
        etcd_cluster_id: 0xc8735ffb61b2a000,
        etcd_revision: 2038,
        source_version: Some("2.1.0".into()),
        while_running: false,
    };
    let mut writer = Writer::create(path, origin, pairs.len() as u64).unwrap();
    for (key, value) in pairs {
        writer.add(key.strip_prefix(b"by-dev/meta/").unwrap(), value).unwrap();
    }
    writer.finish(Found::Source).unwrap();
}

/// The bytes of a backup as the original tool writes it; with keys without the meta root, as it did before 2.2.0.
pub fn legacy(pairs: &[Pair], absolute: bool) -> Vec<u8> {
    let header = BackupHeader {
        instance: "by-dev".into(),
        meta_path: "meta".into(),
        entries: pairs.len() as i64,
        extra: if absolute { br#"{"entry_include_root_path":true}"#.to_vec() } else { Vec::new() },
        ..Default::default()
    };
    let mut bytes = record(&header.encode_to_vec());
    for (key, value) in pairs {
        let key = if absolute { key } else { key.strip_prefix(b"by-dev/meta/").unwrap() };
        bytes.extend(entry(key, value));
    }
    bytes
}

/// The bytes of a backup as Birdwatcher writes it in version 1.
pub fn birdwatcher_1(pairs: &[Pair]) -> Vec<u8> {
    let header = BackupHeader {
        version: 1,
        instance: "by-dev".into(),
        meta_path: "meta".into(),
        entries: pairs.len() as i64,
        ..Default::default()
    };
    let entries = pairs.iter().flat_map(|(key, value)| entry(key, value));
    gzip(&record(&header.encode_to_vec()).into_iter().chain(entries).collect::<Vec<_>>())
}

/// The bytes of a backup as Birdwatcher writes it in version 2: the keys, then metrics that it has not written to their end.
pub fn birdwatcher_2(pairs: &[Pair]) -> Vec<u8> {
    let header = BackupHeader { version: 2, ..Default::default() };
    let extra = format!(r#"{{"cnt":"{0}","instance":"by-dev","metaPath":"meta","rev":"{0}"}}"#, pairs.len());
    let mut bytes = record(&header.encode_to_vec());
    bytes.extend(record(&part_header(1, extra.as_bytes())));
    bytes.extend(pairs.iter().flat_map(|(key, value)| entry(key, value)));
    bytes.extend(record(&[]));
    bytes.extend(record(&part_header(2, &[])));
    bytes.extend(record(br#"{"ServerID":9,"ServerName":"rootcoord"}"#));
    bytes.extend(&record(&[b'#'; 5000])[..4096]);
    gzip(&bytes)
}

/// Part type, a length of -1 ("not sure"), extra.
fn part_header(part_type: u8, extra: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x08, part_type, 0x10];
    bytes.extend([0xFF; 9]);
    bytes.push(1);
    if !extra.is_empty() {
        bytes.extend([0x1A, u8::try_from(extra.len()).unwrap()]);
        bytes.extend(extra);
    }
    bytes
}

/// A record of one key.
pub fn entry(key: &[u8], value: &[u8]) -> Vec<u8> {
    record(&Entry { key: key.to_vec(), data: value.to_vec() }.encode_to_vec())
}

fn record(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}

/// Packs bytes.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
