use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Beginnings of keys of every kind.
const KINDS: [&str; 30] = [
    "",
    "root-coord/collection/",
    "root-coord/partitions/1/",
    "root-coord/fields/1/",
    "root-coord/aliases/",
    "snapshots/root-coord/collection/1_ts",
    "snapshots/root-coord/partitions/1/1_ts",
    "snapshots/root-coord/fields/1/1_ts",
    "snapshots/root-coord/aliases/1_ts",
    "snapshots/",
    "field-index/1/",
    "segment-index/1/1/1/",
    "querycoord-collection-loadinfo/",
    "querycoord-partition-loadinfo/1/",
    "datacoord-meta/s/1/1/",
    "root-coord/collection-alias/",
    "root-coord/index/1/",
    "indexes/",
    "queryCoord-collectionMeta/",
    "root-coord/dd-operation",
    "session/",
    "root-coord/database/collection-info/1/",
    "snapshots/root-coord/database/collection-info/1/1_ts",
    "root-coord/database/aliases/1/",
    "datacoord-meta/binlog/1/1/1/",
    "datacoord-meta/statslog/1/1/1/",
    "datacoord-meta/deltalog/1/1/1/",
    "datacoord-meta/channel-cp/",
    "querycoord-replica/1/",
    "datacoord-meta/statslog/0/0/0/",
];

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    let rest = prop_oneof![
        (-1..3i64).prop_map(|number| number.to_string().into_bytes()),
        any::<u64>().prop_map(|number| number.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    (select(&KINDS[..]), rest).prop_map(|(kind, rest)| [kind.as_bytes(), &rest].concat())
}

fn any_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(TOMBSTONE.to_vec()),
        // Fields 1 to 15 with small numbers: messages of every kind, with IDs that often fit.
        proptest::collection::vec((1..16u8, 0..4u8), 0..12)
            .prop_map(|fields| fields.into_iter().flat_map(|(number, value)| [number << 3, value]).collect()),
        proptest::collection::vec(any::<u8>(), 0..60),
    ]
}

fn any_layout() -> impl Strategy<Value = Option<Layout>> {
    select(&["", "2.2.0", "2.2.16", "2.3.5", "2.4.23"][..])
        .prop_map(|target| (!target.is_empty()).then(|| layout(target)))
}

proptest! {
    #[test]
    fn no_keys_and_values_make_it_panic(
        entries in proptest::collection::vec((any_key(), any_value()), 0..60),
        layout in any_layout()
    ) {
        let mut checker = Checker::new(layout);
        for (key, value) in &entries {
            checker.add(&Bytes::from(key.clone()), &Bytes::from(value.clone()));
        }
        let checked = checker.finish();
        prop_assert!(checked.keys as usize <= entries.len());
    }

    #[test]
    fn a_damaged_byte_in_real_metadata_does_not_make_it_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        target in select(&["2.2.0", "2.4.23"][..])
    ) {
        let mut keys = migrated_to(target);
        let key = at.get(&keys.keys().cloned().collect::<Vec<_>>()).clone();
        let mut value = keys[&key].to_vec();
        if !value.is_empty() {
            let at = at.index(value.len());
            value[at] = byte;
        }
        keys.insert(key, Bytes::from(value));
        judge(&keys, target);
    }
}
