use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::backup::write::Origin;
use crate::backup::{Backup, Writer, stream};
use crate::layout::Found;

type Pair = (Vec<u8>, Vec<u8>);

fn pairs(number: usize) -> Vec<Pair> {
    // Values that do not compress away, so that the file has many blocks.
    let mut state = 1u64;
    let mut value = |length: usize| {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        (0..length).map(|_| next()).collect::<Vec<u8>>()
    };
    (0..number).map(|id| (format!("indexes/{id:06}").into_bytes(), value(300))).collect()
}

fn write(path: &Path, pairs: &[Pair]) -> Vec<u8> {
    let origin = Origin {
        created: "2026-05-04T03:02:01Z".into(),
        root_path: "by-dev".into(),
        meta_sub_path: "meta".into(),
        etcd_cluster_id: 1,
        etcd_revision: 2,
        source_version: None,
        while_running: false,
    };
    let mut writer = Writer::create(path, origin, pairs.len() as u64).unwrap();
    pairs.iter().for_each(|(key, value)| writer.add(key, value).unwrap());
    writer.finish(Found::Source).unwrap();
    fs::read(path).unwrap()
}

fn legacy(pairs: &[Pair]) -> Vec<u8> {
    let entries =
        pairs.iter().map(|(key, value)| stream::encode_entry([b"by-dev/meta/", &**key].concat(), value.clone()));
    let header = stream::encode_header("by-dev", "meta", pairs.len() as i64, false);
    header.into_iter().chain(entries.flatten()).collect()
}

/// What can be seen of these bytes; whether a restore would take them is always the same.
fn look(path: &Path, bytes: &[u8]) -> Result<(Examination, Vec<Pair>)> {
    fs::write(path, bytes).unwrap();
    let mut read = Vec::new();
    let examination = examine(path, &mut |record| {
        read.push((record.relative.to_vec(), record.value.to_vec()));
        Ok(())
    });
    let mut restored = Vec::new();
    let backup = Backup::read(path, |key, value| restored.push((key.to_vec(), value.to_vec())));
    let birdwatcher = bytes.starts_with(&GZIP_MAGIC);
    assert!(
        birdwatcher || examination.as_ref().is_ok_and(|it| it.sound) == backup.is_ok(),
        "{examination:?}\n{backup:?}"
    );
    let examination = examination?;
    if let Ok(backup) = backup {
        assert_eq!((backup.keys, backup.left_out), (examination.keys, examination.left_out));
        assert!(backup.left_out > 0 || restored == read);
    }
    Ok((examination, read))
}

#[test]
fn a_sound_file_gives_back_all_that_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    let pairs = pairs(50);
    for bytes in [write(&path, &pairs), legacy(&pairs)] {
        let (examination, read) = look(&path, &bytes).unwrap();
        assert!(examination.sound && examination.damage.is_empty() && read == pairs, "{examination:?}");
        assert_eq!((examination.keys, examination.lost_keys), (50, Some(0)));
    }
}

#[test]
fn a_cut_file_gives_back_the_blocks_before_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    let pairs = pairs(4000);
    let bytes = write(&path, &pairs);
    let (examination, read) = look(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(!examination.sound && examination.manifest.is_none() && !examination.data_checksum_matches);
    assert!(read.len() > 1500 && read.len() < 2500 && pairs.starts_with(&read), "{}", read.len());
    assert_eq!(examination.lost_keys, Some(4000 - read.len() as u64));
    let damage = examination.damage.last().unwrap();
    assert_eq!((damage.record, damage.what.as_str()), (read.len() as u64 + 1, "it ends within its compressed data"));
    assert_eq!(damage.file_offset, Some(bytes.len() as u64 / 2));
}

#[test]
fn the_manifest_is_found_behind_damaged_data_and_tells_what_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    let pairs = pairs(4000);
    let bytes = write(&path, &pairs);
    for at in [0, 5, bytes.len() / 2] {
        let mut damaged = bytes.clone();
        // A whole stretch, so that no block survives it by luck.
        damaged[at..at + 200].iter_mut().for_each(|byte| *byte ^= 0x55);
        let (examination, read) = look(&path, &damaged).unwrap();
        assert!(!examination.sound, "{at}");
        assert_eq!(examination.manifest.as_ref().unwrap().keys, 4000, "{at}");
        assert_eq!(examination.lost_keys, Some(4000 - read.len() as u64), "{at}");
    }
}

#[test]
fn data_are_read_in_front_of_a_damaged_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    let pairs = pairs(20);
    let bytes = write(&path, &pairs);
    let mut flipped = bytes.clone();
    flipped[bytes.len() - 3] ^= 1;
    let followed = [&*bytes, b"more"].concat();
    for (bytes, problem) in [
        (&flipped[..], "its manifest does not match its checksum"),
        (&bytes[..bytes.len() - 30], "but the file ends within it"),
        (&followed, "4 bytes follow it, and no part of it"),
    ] {
        let (examination, read) = look(&path, bytes).unwrap();
        assert!(!examination.sound && examination.data_checksum_matches && read == pairs);
        let failed: Vec<_> = examination.checks.iter().filter(|check| check.verdict == Verdict::Failed).collect();
        assert!(failed.len() == 1 && failed[0].detail.as_ref().unwrap().contains(problem), "{failed:?}");
    }
}

#[test]
fn a_file_of_a_later_version_is_not_called_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    let bytes = write(&path, &pairs(3));
    let (Examination { manifest, .. }, _) = look(&path, &bytes).unwrap();
    let mut manifest = manifest.unwrap();
    let mut later = bytes[..usize::try_from(manifest.frame_bytes).unwrap()].to_vec();
    manifest.format_version = 3;
    manifest.write(&mut later).unwrap();
    let error = look(&path, &later).unwrap_err().to_string();
    assert!(error.contains("has format version 3; this tool reads versions up to 2"), "{error}");
}

#[test]
fn a_record_that_does_not_decode_costs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    let pairs = pairs(9);
    let mut bytes = legacy(&pairs);
    let record = stream::encode_entry([b"by-dev/meta/", &*pairs[4].0].concat(), pairs[4].1.clone());
    let at = bytes.windows(record.len()).position(|window| window == record).unwrap();
    bytes[at + 8] = 0xFF;
    let (examination, read) = look(&path, &bytes).unwrap();
    assert_eq!(read.len(), 8);
    assert_eq!((examination.damage[0].record, examination.damage[0].data_offset), (5, at as u64));
    assert!(!examination.sound && examination.lost_keys == Some(1));
}

#[test]
fn keys_that_occur_twice_are_damage_but_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    let mut pairs = pairs(3);
    pairs.push(pairs[1].clone());
    let (examination, read) = look(&path, &legacy(&pairs)).unwrap();
    assert!(!examination.sound && read == pairs);
    assert!(examination.damage[0].what.contains("indexes/000001 occurs twice"), "{:?}", examination.damage);
}

#[test]
fn what_is_no_backup_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    for (bytes, why) in [
        (&b""[..], "is empty"),
        (b"hello, world", "it begins neither like a file of this tool nor like one of the original tool"),
        (b"abc", "it begins neither like a file of this tool nor like one of the original tool"),
        (&[4, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255], "its header does not decode"),
        (&[0x1F, 0x8B, 8, 0], "a gzip file, but not of Birdwatcher"),
    ] {
        let error = look(&path, bytes).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let error = examine(&folder.path().join("none"), &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("there is no backup file"), "{error}");
}

/// A backup of the original tool with these whole keys.
fn of_the_original(root: &str, keys: &[&str]) -> Vec<u8> {
    let entries = keys.iter().map(|key| stream::encode_entry(key.as_bytes().to_vec(), b"value".to_vec()));
    stream::encode_header(root, "meta", keys.len() as i64, false).into_iter().chain(entries.flatten()).collect()
}

#[test]
fn keys_of_a_neighbour_are_left_out_and_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    let bytes = of_the_original("by-dev", &["by-dev/meta/a/1", "by-dev/meta2/a/1"]);
    let (examination, read) = look(&path, &bytes).unwrap();
    assert!(examination.sound, "{examination:?}");
    assert_eq!((examination.keys, examination.left_out, examination.lost_keys), (1, 1, Some(0)));
    assert_eq!(read.len(), 2, "all that is in the file is shown");
    assert!(examination.notes[0].contains("1 key belongs to a neighbour"), "{:?}", examination.notes);
}

#[test]
fn a_root_path_that_begins_with_a_slash_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    let (examination, read) = look(&path, &of_the_original("dev", &["/dev/meta/a/1"])).unwrap();
    assert!(examination.sound, "{examination:?}");
    assert_eq!((examination.header.unwrap().meta_root.as_str(), read[0].0.as_slice()), ("/dev/meta", &b"a/1"[..]));
}

#[test]
fn a_key_that_belongs_elsewhere_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    let (examination, _) = look(&path, &of_the_original("by-dev", &["by-dev/meta/a/1", "by-dev/kv/gid"])).unwrap();
    let failed: Vec<_> = examination.checks.iter().filter(|check| check.verdict == Verdict::Failed).collect();
    assert!(failed.len() == 1 && failed[0].what == "all keys under the meta root", "{failed:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_flipped_bit_and_no_cut_of_our_files_goes_unnoticed(at in 0.0..1.0f64, bit in 0..8u8) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        let pairs = pairs(20);
        let bytes = write(&path, &pairs);
        let at = (at * bytes.len() as f64) as usize;
        if let Ok((examination, read)) = look(&path, &bytes[..at]) {
            prop_assert!(!examination.sound && pairs.starts_with(&read));
        }
        let mut flipped = bytes;
        flipped[at] ^= 1 << bit;
        let (examination, _) = look(&path, &flipped).unwrap();
        prop_assert!(!examination.sound);
    }

    #[test]
    fn no_cut_of_a_legacy_file_goes_unnoticed_and_no_damage_makes_it_panic(at in 0.0..1.0f64, bit in 0..8u8) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        let pairs = pairs(5);
        let bytes = legacy(&pairs);
        let at = (at * bytes.len() as f64) as usize;
        if let Ok((examination, read)) = look(&path, &bytes[..at]) {
            prop_assert!(!examination.sound && pairs.starts_with(&read));
        }
        let mut flipped = bytes;
        flipped[at] ^= 1 << bit;
        let _ = look(&path, &flipped);
    }

    #[test]
    fn no_bytes_make_it_panic(start in prop::sample::select(vec![&b""[..], &ZSTD_MAGIC, &GZIP_MAGIC, &[20, 0, 0, 0, 0, 0, 0, 0]]), rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        let _ = look(&folder.path().join("b"), &[start, &rest].concat());
    }
}
