//! One value that nobody can read is one finding: what cannot be known because of it is not claimed.

use super::*;
use crate::catalog::tests::cluster::LAYOUTS;

/// Kinds of records whose values are messages.
const FAMILIES: [Family; 15] = [
    Family::Collection,
    Family::DatabaseCollection,
    Family::Partition,
    Family::Field,
    Family::Alias,
    Family::DatabaseAlias,
    Family::FieldIndex,
    Family::SegmentIndex,
    Family::Segment,
    Family::Binlog,
    Family::Statslog,
    Family::ChannelCheckpoint,
    Family::CollectionLoad,
    Family::PartitionLoad,
    Family::Replica,
];

#[test]
fn one_value_that_does_not_decode_is_one_finding_in_every_layout() {
    let mut wrong = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for target in LAYOUTS {
        let migrated = migrated_to(target);
        for family in FAMILIES {
            let first = all(&migrated, family).into_iter().find(|key| value(&migrated, key) != TOMBSTONE);
            let Some(key) = first else { continue };
            seen.insert(format!("{family:?}"));
            let mut keys = migrated.clone();
            put(&mut keys, &key, Bytes::from_static(&[0xFF; 12]));
            let found = judge(&keys, target).findings;
            let found: Vec<_> = found.iter().map(|one| (one.invariant, one.severity, one.key.as_str())).collect();
            if found != [(Invariant::ValuesDecode, Severity::Error, &*key.to_string())] {
                wrong.push(format!("{target}: {key}: {found:?}"));
            }
        }
    }
    assert_eq!(seen.len(), FAMILIES.len(), "the sample has one of each: {seen:?}");
    assert_eq!(wrong, [""; 0]);
}
