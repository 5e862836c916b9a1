//! Odd metadata through a real etcd: backup, run, verify, rollback.

use bytes::Bytes;

use crate::common::state::{Dump, assert_same};
use crate::common::{Etcd, Tool, Version, on_both_versions};
use crate::shapes::{Keys, LARGE, Odd, collection, delimited, garbage};

on_both_versions![odd_metadata_goes_there_and_back];

fn odd_metadata_goes_there_and_back(version: Version) {
    let etcd = Etcd::start(version);
    etcd.put_all(metadata().into_iter().map(|(key, value)| (absolute(&key), value.to_vec(), 0)));
    let before = etcd.dump();
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    tool.call(&["run"]).code(0);
    let after = etcd.dump();
    tool.call(&["verify", "--backup", "migration.bak"]).code(0);
    holds_what_is_odd(&before, &after);
    tool.call(&["run"]).code(0);
    assert_same(&after, &etcd.dump(), "a second run");
    tool.call(&["rollback"]).code(0);
    assert_same(&before, &etcd.dump(), "after the rollback");
}

fn metadata() -> Keys {
    let mut odd = Odd::default();
    odd.collection(&collection(i64::MIN, 1..=10_000, 500), &garbage());
    odd.indexed(i64::MIN, 10_000, 500, 800);
    odd.collection(&collection(i64::MAX, [10], 600), &[]);
    odd.indexed(i64::MAX, 10, 600, 801);
    // Too large for a transaction together with its snapshot.
    odd.collection(&collection(0, [10], 700), &delimited(900, &vec![b'u'; LARGE / 4]));
    odd.indexed(0, 10, 700, 802);
    odd.put("channelwatch/large", vec![0xff; LARGE]);
    for byte in 0..=255_u8 {
        odd.put([b"channelwatch/".as_slice(), &[byte]].concat(), [byte]);
        // What begins like a session is none of what is backed up.
        odd.put([byte, 0, 0xff], [byte]);
    }
    odd.0
}

fn holds_what_is_odd(before: &Dump, after: &Dump) {
    let others = before.iter().filter(|(key, _)| key.contains(&0xff) || key.starts_with(b"by-dev/meta/channelwatch/"));
    for (key, value) in others {
        assert_eq!(after.get(key), Some(value), "{}", key.escape_ascii());
    }
    let record = &after[&absolute(format!("root-coord/fields/{}/100", i64::MIN).as_bytes())];
    assert!(record.ends_with(&garbage()));
    let partitions = absolute(format!("root-coord/partitions/{}/", i64::MIN).as_bytes());
    assert_eq!(after.keys().filter(|key| key.starts_with(&partitions)).count(), 10_000);
}

fn absolute(key: &[u8]) -> Vec<u8> {
    Bytes::from([b"by-dev/meta/", key].concat()).to_vec()
}
