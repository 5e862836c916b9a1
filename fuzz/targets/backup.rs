//! The reader of backup files, in both its manners, on any bytes: as they are, or (by the first byte) packed into one of the formats with right
//! checksums, so that what is behind the checksums gets its share.
#![no_main]

use std::collections::BTreeMap;
use std::io::Write;

use libfuzzer_sys::fuzz_target;
use meta_migration::backup::Backup;
use meta_migration::backup::examine::examine;
use meta_migration::layout::keys::count;
use meta_migration_fuzz::mutate::varint;
use meta_migration_fuzz::{file, pairs::Input};
use sha2::{Digest, Sha256};

fuzz_target!(|data: &[u8]| {
    let Some((form, rest)) = data.split_first() else { return };
    let bytes = match form % 6 {
        0 => rest.to_vec(),
        1 => gzip(rest),
        2 => ours(rest, &BTreeMap::new(), 0),
        3 => [zstd::bulk::compress(rest, 1).expect("memory"), rest.to_vec()].concat(),
        4 => records(rest).0,
        _ => {
            let (stream, counts, keys) = records(rest);
            ours(&stream, &counts, keys)
        }
    };
    let path = file::with("backup.bak", &bytes);
    let mut keys = Vec::new();
    let read = Backup::read(&path, |key, value| keys.push((key.to_vec(), value.to_vec())));
    let mut looked_at = Vec::new();
    let examined = examine(&path, &mut |record| {
        looked_at.push((record.relative.to_vec(), record.value.to_vec()));
        Ok(())
    });
    if let Err(error) = &read {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    // Only Birdwatcher's files can be looked into without being restored.
    let birdwatcher = bytes.starts_with(&[0x1F, 0x8B]);
    let sound = examined.as_ref().is_ok_and(|examination| examination.sound);
    assert!(birdwatcher || sound == read.is_ok(), "{examined:?}\n{read:?}");
    if let Ok(examination) = &examined {
        assert_eq!(examination.keys + examination.left_out, looked_at.len() as u64);
        serde_json::to_string(examination).expect("it is plain data");
        if let Ok(backup) = &read {
            assert_eq!((examination.keys, examination.left_out), (backup.keys, backup.left_out), "{examination:?}");
            assert!(backup.left_out > 0 || looked_at == keys, "{examination:?}");
        }
    }
});

fn gzip(stream: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(stream).expect("memory");
    encoder.finish().expect("memory")
}

/// A stream of the original tool: header, records.
fn records(bytes: &[u8]) -> (Vec<u8>, BTreeMap<String, u64>, u64) {
    let input = Input::decode(bytes);
    let mut counts = BTreeMap::new();
    let mut entries = Vec::new();
    let all = input.keys();
    for (key, value) in &all {
        count(&mut counts, key);
        let absolute = [b"r/m/", &key[..]].concat();
        record(&mut entries, &[delimited(1, &absolute), delimited(2, value)].concat());
    }
    let mut stream = Vec::new();
    let announced = varint(all.len() as u64);
    let extra = delimited(6, br#"{"entry_include_root_path":true}"#);
    record(&mut stream, &[delimited(2, b"r"), delimited(3, b"m"), [vec![0x20], announced].concat(), extra].concat());
    stream.extend_from_slice(&entries);
    (stream, counts, all.len() as u64)
}

fn record(stream: &mut Vec<u8>, message: &[u8]) {
    stream.extend_from_slice(&(message.len() as u64).to_le_bytes());
    stream.extend_from_slice(message);
}

fn delimited(number: u8, payload: &[u8]) -> Vec<u8> {
    [vec![number << 3 | 2], varint(payload.len() as u64), payload.to_vec()].concat()
}

/// A file of ours around any stream, with right checksums.
fn ours(stream: &[u8], counts: &BTreeMap<String, u64>, keys: u64) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("memory");
    encoder.include_checksum(true).expect("zstd knows checksums");
    encoder.write_all(stream).expect("memory");
    let mut file = encoder.finish().expect("memory");
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let manifest = serde_json::json!({
        "format_version": 1, "tool_version": "0", "created": "2026-05-04T03:02:01Z", "meta_root": "r/m",
        "etcd_cluster_id": "1", "etcd_revision": 2, "source_version": null, "layout": "2.1", "keys": keys,
        "stream_bytes": stream.len(), "stream_sha256": hex(stream), "frame_bytes": file.len(), "frame_sha256": hex(&file),
        "counts": counts,
    });
    let json = serde_json::to_vec(&manifest).expect("JSON");
    file.extend_from_slice(&0x184D_2A5D_u32.to_le_bytes());
    file.extend_from_slice(&(32 + json.len() as u32).to_le_bytes());
    file.extend_from_slice(&Sha256::digest(&json));
    file.extend_from_slice(&json);
    file
}
