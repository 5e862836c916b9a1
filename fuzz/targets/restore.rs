//! A backup file is written, read, held against any state of etcd, and restored: then etcd holds exactly what the backup holds.
#![no_main]

use std::fs;

use bytes::Bytes;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use meta_migration::backup::write::Origin;
use meta_migration::backup::{Backup, Writer};
use meta_migration::catalog::Options;
use meta_migration::catalog::tripwire::all_tripwires;
use meta_migration::layout::Found;
use meta_migration::layout::families::Family;
use meta_migration::layout::keys::{family_of, is_metadata, printable};
use meta_migration::plan::{self, Plan, closing_of_rollback};
use meta_migration::version::{Layout, parse};
use meta_migration_fuzz::checks::{self, Keys};
use meta_migration_fuzz::{file, mutate, pairs::Input};

const NOT_IN_BACKUP: u8 = 1;
const NOT_IN_ETCD: u8 = 2;
const OTHER_IN_ETCD: u8 = 4;
/// A choice: etcd is migrated before it is compared.
const MIGRATED: u8 = 1;
/// A choice: the backup goes through a file, which is slow.
const THROUGH_A_FILE: u8 = 2;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::pairs(data, size, max_size, seed) });

fuzz_target!(|data: &[u8]| {
    let input = Input::decode(data);
    let (mut backup, mut etcd) = (Keys::new(), Keys::new());
    for pair in input.pairs.iter().filter(|pair| !pair.key.is_empty()) {
        let (key, value) = (Bytes::from(pair.key.clone()), Bytes::from(pair.value.clone()));
        if pair.flags & NOT_IN_ETCD == 0 {
            let other = || [&pair.value[..], b"!"].concat().into();
            etcd.insert(key.clone(), if pair.flags & OTHER_IN_ETCD == 0 { value.clone() } else { other() });
        }
        if pair.flags & NOT_IN_BACKUP == 0 {
            backup.insert(key, value);
        }
    }
    if input.choices & MIGRATED != 0 {
        let target = parse("2.2.16").expect("a version");
        checks::plan(&etcd.clone(), Layout::of(&target), &Options::default()).1.apply_to(&mut etcd);
    }
    let mut should: Keys = match input.choices & THROUGH_A_FILE {
        0 => backup.clone(),
        _ => through_a_file(&backup).into_iter().collect(),
    };
    should.retain(|key, _| is_metadata(key));
    let before = etcd.clone();
    let diff = checks::held_against(&should, before.iter().filter(|(key, _)| is_metadata(key)));
    checks::carry_out(&Plan::of_rollback(&diff, 7), &mut etcd);
    // Tripwires come with the first transaction and go with the last.
    let tripwires = all_tripwires();
    etcd.extend(tripwires.iter().cloned());
    let in_backup = should
        .iter()
        .filter(|(key, _)| family_of(key) == Family::Tripwire)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    closing_of_rollback(&tripwires, &in_backup).iter().for_each(|change| plan::apply(change, &mut etcd));
    for (key, value) in &should {
        assert_eq!(etcd.get(key), Some(value), "{}", printable(key));
    }
    for (key, value) in &etcd {
        let expected = if is_metadata(key) { should.get(key) } else { before.get(key) };
        assert_eq!(expected, Some(value), "{}", printable(key));
    }
});

fn through_a_file(keys: &Keys) -> Vec<(Bytes, Bytes)> {
    let path = file::folder().join("restore.bak");
    let _ = fs::remove_file(&path);
    let origin = Origin {
        created: "2026-05-04T03:02:01Z".into(),
        root_path: "by-dev".into(),
        meta_sub_path: "meta".into(),
        etcd_cluster_id: 1,
        etcd_revision: 2,
        source_version: None,
        while_running: false,
    };
    let mut writer = Writer::create(&path, origin, keys.len() as u64).expect("a backup can be begun");
    for (key, value) in keys {
        writer.add(key, value).expect("a key can be written");
    }
    writer.finish(Found::Source).expect("a backup can be finished");
    let mut read = Vec::new();
    Backup::read(&path, |key, value| read.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))))
        .expect("what was written can be read");
    assert!(read.iter().map(|(key, value)| (key, value)).eq(keys), "the file holds something else");
    read
}
