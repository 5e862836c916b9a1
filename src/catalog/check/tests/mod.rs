//! The checks on what a real Milvus 2.1.0 wrote, converted, then damaged or used.

mod collections;
mod converted;
mod indexes;
mod layouts;
mod loads;
mod robustness;
mod segments;
mod snapshots;
mod unreadable;
mod used;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use prost::Message;

use super::*;
use crate::catalog::tests::cluster::layout;
use crate::catalog::tests::sample;
use crate::layout::TOMBSTONE;

/// All keys under a meta root, relative to it.
type Keys = BTreeMap<Bytes, Bytes>;

/// The first target: its keys are the shortest.
const FIRST: &str = "2.2.0";

/// What a real Milvus 2.1.0 left behind.
fn source() -> Keys {
    sample::sample().records().clone()
}

/// The sample as it should be for the first target.
fn migrated() -> Keys {
    migrated_to(FIRST)
}

/// The sample as it should be for a target.
fn migrated_to(target: &str) -> Keys {
    static MIGRATED: Mutex<BTreeMap<String, Keys>> = Mutex::new(BTreeMap::new());
    let mut migrated = MIGRATED.lock().unwrap_or_else(PoisonError::into_inner);
    let convert = || sample::sample().migrate_to(target).after.records().clone();
    migrated.entry(target.to_owned()).or_insert_with(convert).clone()
}

fn judge<'a>(keys: impl IntoIterator<Item = (&'a Bytes, &'a Bytes)>, target: &str) -> Checked {
    check(keys, Some(layout(target)))
}

/// Damages the migrated sample, and checks that exactly this is found: each as invariant and key.
#[track_caller]
fn assert_finds(damage: impl FnOnce(&mut Keys) -> Vec<(Invariant, String)>) {
    assert_finds_for(FIRST, Severity::Error, damage);
}

#[track_caller]
fn assert_warns(damage: impl FnOnce(&mut Keys) -> Vec<(Invariant, String)>) {
    assert_finds_for(FIRST, Severity::Warning, damage);
}

#[track_caller]
fn assert_finds_for(target: &str, severity: Severity, damage: impl FnOnce(&mut Keys) -> Vec<(Invariant, String)>) {
    let mut keys = migrated_to(target);
    let expected = damage(&mut keys);
    assert_found(&judge(&keys, target), severity, expected);
}

#[track_caller]
fn assert_found(checked: &Checked, severity: Severity, mut expected: Vec<(Invariant, String)>) {
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|(invariant, key)| (invariant, severity, key)).collect();
    let found = checked.findings.iter().map(|finding| (finding.invariant, finding.severity, finding.key.clone()));
    assert_eq!(found.collect::<Vec<_>>(), expected, "{:#?}", checked.findings);
}

#[track_caller]
fn assert_clean(keys: &Keys, target: &str) {
    assert_found(&judge(keys, target), Severity::Error, vec![]);
}

fn value<'a>(keys: &'a Keys, key: &Key) -> &'a Bytes {
    keys.get(key.to_string().as_bytes()).unwrap_or_else(|| panic!("{key} is not there"))
}

fn get<M: Message + Default>(keys: &Keys, key: &Key) -> M {
    M::decode(value(keys, key).clone()).unwrap()
}

fn put(keys: &mut Keys, key: &Key, value: impl Into<Bytes>) {
    keys.insert(Bytes::from(key.to_string()), value.into());
}

fn put_message(keys: &mut Keys, key: &Key, message: &impl Message) {
    put(keys, key, message.encode_to_vec());
}

fn remove(keys: &mut Keys, key: &Key) -> Bytes {
    keys.remove(key.to_string().as_bytes()).unwrap_or_else(|| panic!("{key} is not there"))
}

/// Removes all keys with a prefix; there must be some.
fn remove_all(keys: &mut Keys, prefix: &str) {
    let before = keys.len();
    keys.retain(|key, _| !key.starts_with(prefix.as_bytes()));
    assert!(keys.len() < before, "there is no {prefix}");
}

fn drop_key(keys: &mut Keys, key: &Key) {
    put(keys, key, TOMBSTONE);
}

/// Changes a message in place.
fn edit<M: Message + Default>(keys: &mut Keys, key: &Key, change: impl FnOnce(&mut M)) {
    let mut message = get(keys, key);
    change(&mut message);
    put_message(keys, key, &message);
}

/// All keys of a family, without snapshots.
fn all(keys: &Keys, family: Family) -> Vec<Key> {
    let parsed = keys.keys().filter_map(|key| Key::parse(key).ok());
    parsed.filter(|key| key.family == family && key.snapshot.is_none()).collect()
}

/// The first plain key of a family that `is_it` says yes to.
#[track_caller]
fn find(keys: &Keys, family: Family, is_it: impl Fn(&Key) -> bool) -> Key {
    all(keys, family).into_iter().find(is_it).expect("the sample has such a key")
}

/// A live collection that has a live index, several snapshots, and is loaded as a whole: its ID.
fn collection(keys: &Keys) -> i64 {
    find(keys, Family::CollectionLoad, |key| times(keys, key.ids::<1>()[0]).len() > 1).ids::<1>()[0]
}

/// A live collection without indexes: its ID.
fn bare(keys: &Keys) -> i64 {
    let indexed: Vec<i64> = all(keys, Family::FieldIndex).iter().map(|key| key.ids::<2>()[0]).collect();
    find(keys, Family::Collection, |key| value(keys, key) != TOMBSTONE && !indexed.contains(&key.ids::<1>()[0]))
        .ids::<1>()[0]
}

fn record(collection: i64) -> Key {
    Family::Collection.key([collection])
}

fn field(collection: i64, field: i64) -> Key {
    Family::Field.key([collection, field])
}

/// Partitions of a collection.
fn partitions(keys: &Keys, collection: i64) -> Vec<Key> {
    let all = all(keys, Family::Partition).into_iter();
    all.filter(|key| key.ids::<2>()[0] == collection).collect()
}

/// Times of a collection's snapshots, ascending.
fn times(keys: &Keys, collection: i64) -> Vec<u64> {
    let parsed = keys.keys().filter_map(|key| Key::parse(key).ok());
    let is_it = |key: &Key| match key.family {
        Family::Collection => key.ids::<1>()[0] == collection,
        Family::DatabaseCollection => key.ids::<2>()[1] == collection,
        _ => false,
    };
    let mut times: Vec<u64> = parsed.filter(is_it).filter_map(|key| key.snapshot).collect();
    times.sort_unstable();
    times
}

fn newest(keys: &Keys, collection: i64) -> u64 {
    *times(keys, collection).last().unwrap()
}

/// What was found, with the keys as text.
fn found<const N: usize>(invariant: Invariant, keys: [Key; N]) -> Vec<(Invariant, String)> {
    keys.map(|key| (invariant, key.to_string())).to_vec()
}
