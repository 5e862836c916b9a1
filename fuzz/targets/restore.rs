//! A backup file is written, read, held against any state of etcd, and restored: then etcd holds exactly what the backup holds.
#![no_main]

use std::fs;

use bytes::Bytes;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use meta_migration::backup::write::Origin;
use meta_migration::backup::{Backup, Writer};
use meta_migration::layout::Found;
use meta_migration::layout::keys::SESSIONS;
use meta_migration::migrate::Options;
use meta_migration::restore::Comparison;
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
        checks::plan(&etcd.clone(), &Options::default()).plan.apply_to(&mut etcd);
    }
    let read = match input.choices & THROUGH_A_FILE {
        0 => backup.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        _ => through_a_file(&backup),
    };
    let mut comparison = Comparison::new(read);
    for (key, value) in &etcd {
        comparison.add(key.clone(), value);
    }
    let (plan, differences) = comparison.finish(7);
    let is_session = |key: &Bytes| key.starts_with(SESSIONS.as_bytes());
    let sessions: Vec<_> =
        etcd.iter().filter(|(key, _)| is_session(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
    checks::carry_out(&plan, &mut etcd);
    backup.retain(|key, _| !is_session(key));
    assert_eq!(differences.equal, plan.untouched_keys());
    let equal = differences.equal + plan.totals().puts;
    assert_eq!(equal, backup.len() as u64);
    backup.extend(sessions);
    assert!(etcd == backup, "etcd does not hold what the backup holds");
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
    Backup::read(&path, |key, value| read.push((Bytes::from(key), Bytes::from(value))))
        .expect("what was written can be read");
    assert!(read.iter().map(|(key, value)| (key, value)).eq(keys), "the file holds something else");
    read
}
