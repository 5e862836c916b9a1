//! The conversion of odd metadata, in memory.

use bytes::Bytes;
use meta_migration::catalog::check::check;
use meta_migration::catalog::{self, Conversion, Options};
use meta_migration::layout::families::Family;
use meta_migration::layout::keys::{family_of, printable};
use meta_migration::layout::messages::common::FieldSchema;
use meta_migration::layout::messages::target::{AliasInfo, CollectionLoadInfo, SegmentIndex};
use meta_migration::version::Layout;
use prost::Message;

use crate::shapes::{Keys, LARGE, Odd, alias, collection, delimited, garbage};

fn layout() -> Layout {
    Layout::of(&semver::Version::new(2, 2, 0))
}

fn plan(keys: &Keys) -> Conversion {
    let entries = keys.iter().map(|(key, value)| (key.clone(), value.clone()));
    catalog::convert(&mut entries.collect(), layout(), &Options::default())
}

/// Migrates metadata without problems: `verify` finds no error, and a second run has nothing to do.
fn migrated(before: &Keys) -> Keys {
    let made = plan(before);
    let warnings = &made.report.warnings;
    assert!(made.problems.is_empty() && warnings.is_empty(), "{:#?} {warnings:#?}", made.problems);
    let mut after: Keys = made.should.clone().into_iter().collect();
    let checked = check(&after, Some(layout()));
    assert!(checked.is_consistent(), "{:#?}", checked.findings);
    assert_eq!(plan(&after).should, made.should, "a second run has something to do");
    // What no conversion looks at stays.
    for (key, value) in before.iter().filter(|(key, _)| family_of(key) == Family::Other) {
        after.insert(key.clone(), value.clone());
    }
    after
}

fn problems(keys: &Keys) -> Vec<String> {
    plan(keys).problems.into_iter().map(|problem| problem.key).collect()
}

fn get<M: Message + Default>(keys: &Keys, key: impl ToString) -> M {
    let key = key.to_string();
    M::decode(keys.get(key.as_bytes()).unwrap_or_else(|| panic!("there is no {key}")).clone()).unwrap()
}

fn count(keys: &Keys, prefix: &str) -> usize {
    keys.keys().filter(|key| key.starts_with(prefix.as_bytes())).count()
}

#[test]
fn ids_at_both_ends_are_ids() {
    let mut odd = Odd::default();
    // Every ID that is there at the ends; 0 is no ID of Milvus, and tripwires have it. Build IDs are positive and the largest one is in use.
    for (at, id) in [i64::MIN, -1, 2, 1, i64::MAX].into_iter().enumerate() {
        let (index, build) = (id, [5, 4, 7, 6, i64::MAX][at]);
        odd.collection(&collection(id, [i64::MIN, 0, i64::MAX], index), &[]);
        odd.indexed(id, i64::MAX, index, build);
        odd.message(Family::SourceAlias.named(&format!("a{id}")), &alias(&format!("a{id}"), id));
    }
    // Of the segments without a build three get the IDs below the smallest one, and for the others there is none left.
    let gone: Vec<String> = problems(&odd.0);
    let of = |collection: i64| {
        let (partition, segment) = (i64::MAX, i64::MAX);
        Family::SourceSegmentIndex.key([collection, collection, partition, segment]).to_string()
    };
    assert_eq!(gone, [of(2), of(i64::MAX)]);
    for key in gone {
        odd.0.remove(key.as_bytes());
    }
    let after = migrated(&odd.0);
    for id in [i64::MIN, -1, 2, 1, i64::MAX] {
        let load: CollectionLoadInfo = get(&after, Family::CollectionLoad.key([id]));
        assert_eq!((load.field_index_id, load.replica_number), ([(101, id)].into(), i32::MAX));
        assert_eq!(get::<AliasInfo>(&after, Family::Alias.named(&format!("a{id}"))).collection_id, id);
        assert_eq!(count(&after, &format!("root-coord/partitions/{id}/")), 3);
    }
    let largest = Family::SegmentIndex.key([i64::MAX, i64::MAX, i64::MIN, i64::MAX]);
    let record: SegmentIndex = get(&after, largest);
    assert_eq!((record.num_rows, record.serialize_size, record.create_time), (i64::MAX, u64::MAX, u64::MAX));
}

#[test]
fn ids_that_repeat_are_problems_of_their_collection() {
    let key = Family::Collection.key([1]).to_string();
    for case in 0..3 {
        let mut info = collection(1, [10, 11], 500);
        let fields = &mut info.schema.as_mut().unwrap().fields;
        match case {
            0 => fields.push(FieldSchema { field_id: 101, name: "again".into(), ..FieldSchema::default() }),
            1 => fields[1] = fields[0].clone(),
            _ => info.partition_i_ds[1] = 10,
        }
        let mut odd = Odd::default();
        odd.collection(&info, &[]);
        odd.indexed(1, 10, 500, 800);
        assert!(problems(&odd.0).contains(&key), "case {case}");
    }
    // An index that is listed twice is still one index.
    let mut info = collection(1, [10], 500);
    info.field_indexes.push(info.field_indexes[0]);
    let mut odd = Odd::default();
    odd.collection(&info, &[]);
    odd.indexed(1, 10, 500, 800);
    assert_eq!(count(&migrated(&odd.0), "field-index/"), 1);
}

#[test]
fn empty_values_are_named_each() {
    let mut odd = Odd::default();
    let named = [
        "datacoord-meta/s/1/10/9",
        "indexes/800",
        "queryCoord-collectionMeta/1",
        "root-coord/collection-alias/a",
        "root-coord/index/1/500",
        "root-coord/segment-index/1/500/10/9",
        "snapshots/root-coord/collection/1_ts5",
    ];
    // Snapshots of what does not exist are left out, and listed: newer versions would bring it back.
    let left_out = "snapshots/root-coord/collection-alias/b_ts5";
    odd.put(left_out, []);
    let others = ["root-coord/dd-operation", "snapshots/root-coord/index/1/500_ts5", "other"];
    for key in named.iter().chain(&others) {
        odd.put(*key, []);
    }
    let mut keys = problems(&odd.0);
    keys.dedup();
    assert_eq!(keys, named);
    assert!(plan(&odd.0).report.left_out.iter().any(|left| left.key == left_out));
    // A message in which everything has its default is empty: that of collection 0, say. It has no fields.
    let mut odd = Odd::default();
    odd.put("root-coord/collection/0", []);
    assert_eq!(plan(&odd.0).should.get(b"root-coord/collection/0"), Some(&Bytes::new()), "`repair` may need it");
    assert_eq!(problems(&odd.0), ["root-coord/collection/0"]);
}

#[test]
fn garbage_in_unknown_fields_survives_where_its_record_survives() {
    let mut odd = Odd::default();
    odd.collection(&collection(1, [10], 500), &garbage());
    odd.indexed(1, 10, 500, 800);
    let after = migrated(&odd.0);
    for key in ["root-coord/collection/1", "root-coord/fields/1/100", "root-coord/fields/1/101"] {
        assert!(after[key.as_bytes()].ends_with(&garbage()), "{key}");
        let snapshot = format!("snapshots/{key}_ts5");
        assert_eq!(after[snapshot.as_bytes()], after[key.as_bytes()], "{snapshot}");
    }
    let record = &after[&b"root-coord/collection/1"[..]];
    let schema = delimited(2, &[delimited(1, b"c1"), garbage()].concat());
    assert!(record.windows(schema.len()).any(|part| part == schema), "the schema has lost something");
}

#[test]
fn groups_without_end_are_told_and_not_followed() {
    let mut odd = Odd::default();
    // Groups in groups, more than any stack holds.
    odd.collection(&collection(1, [10], 500), &[0x0B; 200_000]);
    odd.indexed(1, 10, 500, 800);
    assert!(problems(&odd.0).contains(&"root-coord/collection/1".to_owned()));
}

#[test]
fn keys_with_any_byte_stay_or_are_named() {
    let mut odd = Odd::default();
    odd.collection(&collection(1, [10], 500), &[]);
    odd.indexed(1, 10, 500, 800);
    for byte in 0..=255_u8 {
        odd.put([b"channelwatch/".as_slice(), &[byte]].concat(), [byte]);
        odd.put([byte, 0, 0xff], [byte]);
    }
    let after = migrated(&odd.0);
    let others = odd.0.iter().filter(|(key, _)| key.starts_with(b"channelwatch/") || key.ends_with(&[0, 0xff]));
    assert_eq!(others.filter(|(key, value)| after.get(*key) == Some(value)).count(), 512);
    // Names are UTF-8 in Milvus: an alias that is not is told, readably.
    odd.put(b"root-coord/collection-alias/\xff\x00\n", []);
    assert_eq!(problems(&odd.0), [r"root-coord/collection-alias/\xff\x00\n"]);
    assert_eq!(printable(b"\xff\x00\n"), r"\xff\x00\n");
}

#[test]
fn ten_thousand_partitions_get_records() {
    let mut odd = Odd::default();
    odd.collection(&collection(1, 1..=10_000, 500), &[]);
    odd.indexed(1, 10_000, 500, 800);
    let after = migrated(&odd.0);
    assert_eq!(count(&after, "root-coord/partitions/1/"), 10_000);
    assert_eq!(count(&after, "snapshots/root-coord/partitions/1/"), 10_000);
}

#[test]
fn a_hundred_thousand_aliases_get_records() {
    let mut odd = Odd::default();
    odd.collection(&collection(1, [10], 500), &[]);
    odd.indexed(1, 10, 500, 800);
    for number in 0..100_000 {
        let name = format!("alias_ts{number}");
        odd.message(Family::SourceAlias.named(&name), &alias(&name, 1));
    }
    assert_eq!(count(&migrated(&odd.0), "root-coord/aliases/"), 100_000);
}

#[test]
fn large_values_are_carried_over_whole() {
    let mut odd = Odd::default();
    odd.collection(&collection(1, [10], 500), &delimited(900, &vec![b'u'; LARGE / 4]));
    odd.indexed(1, 10, 500, 800);
    odd.put("channelwatch/large", vec![0xff; LARGE]);
    let after = migrated(&odd.0);
    assert_eq!(after[&b"channelwatch/large"[..]], Bytes::from(vec![0xff; LARGE]));
    assert!(after[&b"root-coord/fields/1/100"[..]].len() > LARGE / 4);
}
