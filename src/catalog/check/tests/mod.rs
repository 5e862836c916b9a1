//! The checks on what a real Milvus 2.1.0 wrote, migrated, then damaged or used.

mod collections;
mod comparison;
mod indexes;
mod layouts;
mod outcome;
mod robustness;
mod used;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message;
use serde_json::Value;

use super::*;
use crate::layout::TOMBSTONE;
use crate::migrate::{self, Inventory, Options};

/// All keys under a meta root, relative to it.
type Keys = BTreeMap<Bytes, Bytes>;

/// What a real Milvus 2.1.0 left behind.
fn sample() -> Keys {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/milvus-2.1.0/keys.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let entries = lines.filter_map(|line| {
        let key = line["key"].as_str()?.strip_prefix("by-dev/meta/")?.to_owned();
        Some((Bytes::from(key), Bytes::from(unbase64(line["value_b64"].as_str().unwrap()))))
    });
    entries.collect()
}

fn unbase64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut pool, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let sextet = ALPHABET.iter().position(|known| *known == letter).unwrap();
        pool = pool << 6 | u32::try_from(sextet).unwrap();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((pool >> bits & 0xff) as u8);
        }
    }
    bytes
}

fn inventory(keys: &Keys) -> Inventory {
    let mut inventory = Inventory::default();
    for (key, value) in keys {
        inventory.add(key.clone(), Record { value: value.clone(), mod_revision: 1 });
    }
    inventory
}

/// The sample as the migration leaves it.
fn migrated() -> Keys {
    static MIGRATED: LazyLock<Keys> = LazyLock::new(|| {
        let mut keys = sample();
        let migration = migrate::plan(inventory(&keys), 1, &Options::default());
        assert!(migration.plan.problems.is_empty(), "{:?}", migration.plan.problems);
        migration.plan.apply_to(&mut keys);
        keys
    });
    MIGRATED.clone()
}

fn verify(keys: &Keys) -> Verification {
    let mut verifier = Verifier::default();
    for (key, value) in keys {
        verifier.add(key, &Record { value: value.clone(), mod_revision: 1 });
    }
    verifier.finish()
}

/// Damages the migrated sample, and checks that exactly this is found: each as invariant and key.
fn assert_finds(damage: impl FnOnce(&mut Keys) -> Vec<(Invariant, String)>) {
    assert_finds_as(Severity::Error, damage);
}

fn assert_warns(damage: impl FnOnce(&mut Keys) -> Vec<(Invariant, String)>) {
    assert_finds_as(Severity::Warning, damage);
}

fn assert_finds_as(severity: Severity, damage: impl FnOnce(&mut Keys) -> Vec<(Invariant, String)>) {
    let mut keys = migrated();
    let mut expected: Vec<_> =
        damage(&mut keys).into_iter().map(|(invariant, key)| (invariant, severity, key)).collect();
    expected.sort_by_key(|(invariant, _, key)| (*invariant, key.clone()));
    let verification = verify(&keys);
    let found: Vec<_> = verification
        .findings
        .iter()
        .map(|finding| (finding.invariant, finding.severity, finding.key.clone()))
        .collect();
    assert_eq!(found, expected, "{:#?}", verification.findings);
}

fn put(keys: &mut Keys, key: &Key, value: impl Into<Bytes>) {
    keys.insert(Bytes::from(key.to_string()), value.into());
}

fn remove(keys: &mut Keys, key: &Key) -> Bytes {
    keys.remove(key.to_string().as_bytes()).unwrap_or_else(|| panic!("{key} is not there"))
}

fn drop_key(keys: &mut Keys, key: &Key) {
    put(keys, key, TOMBSTONE);
}

/// Changes a message in place.
fn edit<M: Message + Default>(keys: &mut Keys, key: &Key, change: impl FnOnce(&mut M)) {
    let mut message = M::decode(remove(keys, key)).unwrap();
    change(&mut message);
    put(keys, key, message.encode_to_vec());
}

/// The first key that `choose` takes something of.
fn find<T: Debug>(keys: &Keys, choose: impl Fn(Key, &Bytes) -> Option<T>) -> T {
    keys.iter().find_map(|(key, value)| choose(Key::parse(key).unwrap(), value)).expect("the sample has such a key")
}

/// A live collection that has a live index, several snapshots, and is loaded as a whole: its ID.
fn collection(keys: &Keys) -> i64 {
    find(keys, |key, _| match key {
        Key::CollectionLoad(id) if snapshots(keys, id).len() > 1 => Some(id),
        _ => None,
    })
}

/// Times of a collection's snapshots, ascending.
fn snapshots(keys: &Keys, collection: i64) -> Vec<u64> {
    let times = keys.keys().filter_map(|key| match Key::parse(key).unwrap() {
        Key::Snapshot(Plain::Collection(id), time) if id == collection => Some(time),
        _ => None,
    });
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    times
}
