//! What a real Milvus 2.1.0 wrote (testdata/milvus-2.1.0), and edits to it (testdata/cases).

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::cluster::{Cluster, LAYOUTS, Migrated, TARGETS, layout};
use super::steps::{Dice, apply, in_some_order, orders, steps};
use crate::catalog::Options;
use crate::layout::TOMBSTONE;
use crate::layout::families::Family;
use crate::layout::keys::{family_of, prefix_of};

const META_ROOT: &str = "by-dev/meta/";

fn lines(file: &str) -> Vec<Value> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "testdata", file].iter().collect();
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn value(line: &Value) -> Bytes {
    BASE64_STANDARD.decode(line["value_b64"].as_str().unwrap()).unwrap().into()
}

/// The key under the meta root; keys elsewhere are none of ours.
fn key(line: &Value, field: &str) -> Option<Bytes> {
    let key = line[field].as_str()?.strip_prefix(META_ROOT)?;
    Some(Bytes::copy_from_slice(key.as_bytes()))
}

/// The sample.
pub(crate) fn sample() -> Cluster {
    let lines = lines("milvus-2.1.0/keys.jsonl");
    lines.iter().filter_map(|line| Some((key(line, "key")?, value(line)))).collect()
}

/// The sample with the edits of a case; a `full` one holds everything itself.
pub(crate) fn case(name: &str) -> Cluster {
    let mut cluster = if name.ends_with(".full") { Cluster::new() } else { sample() };
    for line in lines(&format!("cases/{name}.jsonl")) {
        if let Some(put) = key(&line, "put") {
            cluster.set(&put, Some(&value(&line)));
        } else if let Some(gone) = key(&line, "delete") {
            assert!(cluster.records().contains_key(&gone), "{name}: there is no {gone:?}");
            cluster.set(&gone, None);
        }
    }
    cluster
}

/// Numbers of keys by kind, with sessions and tripwires.
fn counts(done: &Migrated) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for key in done.after.records().keys() {
        *counts.entry(prefix_of(key).into_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn the_sample_has_as_many_keys_afterwards_as_an_independent_implementation_gives() {
    for (target, number) in [("2.2.0", 1069), ("2.2.16", 1070), ("2.4.23", 1089)] {
        assert_eq!(sample().migrate_to(target).after.records().len(), number, "{target}");
    }
}

/// Numbers that follow from what testdata/milvus-2.1.0 holds: 22 collections, of them 2 tombstones, 6 living aliases, 18 indexes,
/// 35 segment indexes, 47 segments, 15 load states, of them 2 without an index.
#[test]
fn the_sample_becomes_so_many_records_of_each_kind() {
    for target in TARGETS {
        let found = counts(&sample().migrate_to(target));
        let layout = layout(target);
        let (collections, aliases) = match layout.in_database {
            true => ("root-coord/database/collection-info/", "root-coord/database/aliases/"),
            false => ("root-coord/collection/", "root-coord/aliases/"),
        };
        // One is loaded by partition, by two of them.
        let (whole, partitions) = if layout.load_type { (13, 20) } else { (12, 2) };
        // Nobody reads what 2.1's query coordinator left, but for the tripwire that it finds there.
        let watched = sample().keys("queryCoord-dmChannelWatchInfo/").len();
        let expected = [
            (collections, 22),
            (&format!("snapshots/{collections}"), 37),
            (aliases, 6),
            (&format!("snapshots/{aliases}"), 14),
            ("root-coord/partitions/", 31),
            ("snapshots/root-coord/partitions/", 31),
            ("root-coord/fields/", 142),
            ("snapshots/root-coord/fields/", 142),
            ("field-index/", 18),
            ("segment-index/", 35),
            ("datacoord-meta/s/", 47),
            ("datacoord-meta/binlog/", 318),
            ("datacoord-meta/statslog/", 45 + usize::from(layout.segment_tripwire)),
            ("datacoord-meta/channel-cp/", 29),
            ("querycoord-collection-loadinfo/", whole),
            ("querycoord-partition-loadinfo/", partitions),
            ("querycoord-replica/", 13),
            ("queryCoord-collectionMeta/", 15),
            ("root-coord/index/", 1),
            ("indexes/", 1),
            ("queryCoord-dmChannelWatchInfo/", watched + 1),
        ];
        for (prefix, number) in expected {
            assert_eq!(found.get(prefix), Some(&number), "{target}: {prefix}");
        }
        let ours: usize = expected.iter().map(|(_, number)| number).sum();
        let is_other = |key: &&Bytes| family_of(key) == Family::Other;
        let others = sample().records().keys().filter(is_other).count() - watched;
        assert_eq!(found.values().sum::<usize>(), ours + others + 1, "{target}: nothing else but session/id");
    }
}

#[test]
fn the_sample_without_its_snapshots_has_all_its_collections_and_aliases_in_snapshots_afterwards() {
    let mut bare = sample();
    for key in bare.keys("snapshots/root-coord/collection") {
        bare = bare.remove(&key);
    }
    for target in TARGETS {
        let after = bare.migrate_to(target).after;
        for key in after.keys("root-coord/") {
            let has_snapshots =
                ["/collection", "/aliases/", "/fields/", "/partitions/"].iter().any(|part| key.contains(part));
            let is_live = after.value(&key) != TOMBSTONE;
            let snapshot = format!("snapshots/{key}_ts");
            assert!(!has_snapshots || !is_live || after.keys(&snapshot).len() == 1, "{target}: {snapshot}");
        }
    }
}

#[test]
fn the_sample_may_stop_anywhere() {
    for target in ["2.2.0", "2.4.23"] {
        let before = sample();
        let done = before.migrate_to(target);
        for order in orders(&before, &done, 0) {
            let mut now = before.clone();
            // Not after each of some thousand changes, but near all of them.
            for (at, step) in order.iter().enumerate() {
                apply(&mut now, step);
                if at % 151 == 0 {
                    let next = now.convert(target, &Options::default());
                    assert_eq!(next.after.differences(&done.after), [""; 0], "{target}: stopped after {step:?}");
                }
            }
        }
    }
}

/// One byte of one value after the other gets another bit.
fn flipped(cluster: Cluster, flips: &[(prop::sample::Index, prop::sample::Index, u8)]) -> Cluster {
    flips.iter().fold(cluster, |mut cluster, (which, at, bit)| {
        let (key, value) = cluster.records().iter().nth(which.index(cluster.records().len())).unwrap();
        let (key, mut value) = (key.clone(), value.to_vec());
        if !value.is_empty() {
            let at = at.index(value.len());
            value[at] ^= 1 << bit;
        }
        cluster.set(&key, Some(&value.into()));
        cluster
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn whatever_bits_flip_in_the_sample_it_ends_well_and_may_stop_anywhere(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..8u8), 1..9),
        target in prop::sample::select(&LAYOUTS[..]),
        seed in any::<u64>(),
        stop in any::<prop::sample::Index>()
    ) {
        let before = flipped(sample(), &flips);
        let done = before.convert(target, &Options::default());
        let again = done.after.convert(target, &Options::default());
        prop_assert_eq!(again.after.differences(&done.after), [""; 0], "the second of two runs");
        let order = in_some_order(&steps(&before, &done.after), &mut Dice::new(seed));
        let mut now = before.clone();
        order[..stop.index(order.len() + 1)].iter().for_each(|step| apply(&mut now, step));
        let next = now.convert(target, &Options::default());
        prop_assert_eq!(next.after.differences(&done.after), [""; 0]);
    }
}
