//! Which layout is there, and whether it is that of the target.

use super::*;
use crate::layout::keys::{BUILD_TRIPWIRE, CHANNEL_TRIPWIRE, INDEX_TRIPWIRE, SEGMENT_TRIPWIRE};
use crate::layout::messages::common::CollectionInfo;
use crate::layout::messages::target::AliasInfo;

#[test]
fn the_migrated_sample_is_consistent() {
    let keys = migrated();
    let checked = judge(&keys, FIRST);
    assert_eq!(checked.findings, [], "{:#?}", checked.findings);
    assert!(checked.is_consistent());
    let sessions = keys.keys().filter(|key| key.starts_with(b"session/")).count();
    assert_eq!(checked.keys, (keys.len() - sessions) as u64);
}

#[test]
fn metadata_that_is_not_migrated_gives_one_finding_that_says_so() {
    let checked = judge(&source(), FIRST);
    let [finding] = &checked.findings[..] else { panic!("{:#?}", checked.findings) };
    assert_eq!((finding.invariant, finding.severity), (Invariant::Migrated, Severity::Error));
    assert!(finding.what.contains("not migrated yet"), "{}", finding.what);
    assert!(checked.source_keys.values().sum::<u64>() > 100);
}

#[test]
fn leftovers_of_the_source_layout_are_counted_by_prefix() {
    assert_finds(|keys| {
        for key in ["indexes/1", "indexes/x", "root-coord/dd-operation", "snapshots/root-coord/dd-operation_ts7"] {
            keys.insert(Bytes::from(key), Bytes::new());
        }
        let prefixes = ["indexes/", "root-coord/dd-operation", "snapshots/root-coord/dd-operation"];
        let left = prefixes.map(|prefix| (Invariant::NoSourceKeys, prefix.to_owned()));
        [(Invariant::Migrated, String::new())].into_iter().chain(left).collect()
    });
}

#[test]
fn a_migration_half_way_is_told_as_such_with_the_rest() {
    let mut keys = source();
    let target = migrated();
    let put_first = target.iter().filter(|(key, _)| !source().contains_key(*key));
    keys.extend(put_first.map(|(key, value)| (key.clone(), value.clone())));
    let checked = judge(&keys, FIRST);
    let number = |invariant| checked.findings.iter().filter(|finding| finding.invariant == invariant).count();
    assert_eq!(number(Invariant::Migrated), 1);
    let live = all(&keys, Family::Collection).into_iter().filter(|key| value(&keys, key) != TOMBSTONE).count();
    assert!(number(Invariant::NothingEmbedded) > live, "every record and every newest snapshot");
    assert!(number(Invariant::NoSourceKeys) > 3 && number(Invariant::SegmentsSeparate) > 40);
}

#[test]
fn no_collections_are_no_finding() {
    for keys in [Keys::new(), Keys::from([(Bytes::from("root-coord/credential/users/root"), Bytes::from("{}"))])] {
        for target in [None, Some(layout("2.2.16"))] {
            let checked = check(&keys, target);
            assert_eq!((checked.findings, checked.collections, checked.keys), (vec![], 0, keys.len() as u64));
        }
    }
}

#[test]
fn a_key_without_the_form_of_its_kind_is_found() {
    assert_finds(|keys| {
        keys.insert(Bytes::from("root-coord/fields/seven/1"), Bytes::new());
        keys.insert(Bytes::from(&b"field-index/\xFF"[..]), Bytes::new());
        // Nobody reads these any more.
        keys.insert(Bytes::from("queryCoord-collectionMeta/x"), Bytes::new());
        vec![
            (Invariant::KeysParse, "root-coord/fields/seven/1".to_owned()),
            (Invariant::KeysParse, "field-index/\\xff".to_owned()),
        ]
    });
}

#[test]
fn a_value_that_is_no_message_is_found_once_and_nothing_follows_from_it() {
    for kind in [
        "root-coord/collection/",
        "root-coord/fields/",
        "root-coord/aliases/",
        "field-index/",
        "segment-index/",
        "querycoord-c",
        "datacoord-meta/s/",
    ] {
        assert_finds(|keys| {
            let key =
                keys.keys().find(|key| key.starts_with(kind.as_bytes()) && keys[*key] != TOMBSTONE).unwrap().clone();
            keys.insert(key.clone(), Bytes::from_static(&[0xFF; 12]));
            vec![(Invariant::ValuesDecode, String::from_utf8(key.to_vec()).unwrap())]
        });
    }
}

#[test]
fn every_invariant_has_a_name_and_words_of_its_own() {
    let distinct = |of: fn(Invariant) -> &'static str| {
        Invariant::ALL.iter().map(|invariant| of(*invariant)).collect::<std::collections::BTreeSet<_>>()
    };
    let names = distinct(Invariant::name);
    assert_eq!((names.len(), distinct(Invariant::sentence).len()), (41, 41));
    assert!(names.iter().all(|name| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-')));
    for invariant in Invariant::ALL {
        assert_eq!(serde_json::to_value(invariant).unwrap(), invariant.name());
    }
}

/// The form of one target is not that of another, and there is never a quiet word about it.
#[test]
fn collections_and_aliases_are_where_the_target_writes_them() {
    let families = |keys: &Keys, family| all(keys, family).into_iter();
    for (is, target, family, alias) in [
        ("2.2.0", "2.2.9", Family::Collection, Family::Alias),
        ("2.2.0", "2.2.16", Family::Collection, Family::Alias),
        ("2.2.16", "2.2.8", Family::DatabaseCollection, Family::DatabaseAlias),
    ] {
        let keys = migrated_to(is);
        let checked = judge(&keys, target);
        let live = families(&keys, family).filter(|key| value(&keys, key) != TOMBSTONE).count();
        let expected = live + families(&keys, alias).count();
        let errors: Vec<_> = checked.errors().filter(|one| one.invariant == Invariant::TargetForm).collect();
        assert_eq!(errors.len(), expected, "{is} for {target}: {errors:#?}");
        assert!(expected > 20);
    }
}

#[test]
fn one_collection_in_both_forms_is_found() {
    assert_finds_for("2.2.16", Severity::Error, |keys| {
        let moved = find(keys, Family::DatabaseCollection, |key| value(keys, key) != TOMBSTONE);
        let info = CollectionInfo { db_id: 0, ..get(keys, &moved) };
        let legacy = record(moved.ids::<2>()[1]);
        let time = newest(keys, moved.ids::<2>()[1]);
        [legacy.clone(), legacy.at(time)].iter().for_each(|key| put_message(keys, key, &info));
        found(Invariant::TargetForm, [moved])
    });
}

#[test]
fn a_database_other_than_the_key_says_is_found() {
    assert_finds_for("2.3.5", Severity::Error, |keys| {
        let collection = find(keys, Family::DatabaseCollection, |key| {
            value(keys, key) != TOMBSTONE
                && !all(keys, Family::FieldIndex).iter().any(|index| index.ids::<1>()[0] == key.ids::<2>()[1])
        });
        let alias = find(keys, Family::DatabaseAlias, |_| true);
        edit(keys, &collection, |info: &mut CollectionInfo| info.db_id = 0);
        edit(keys, &alias, |info: &mut AliasInfo| info.db_id = 2);
        found(Invariant::IdsAgree, [collection, alias])
    });
}

#[test]
fn tripwires_are_missed_and_their_values_looked_at() {
    for (target, expected) in [
        ("2.2.0", &[BUILD_TRIPWIRE, CHANNEL_TRIPWIRE, INDEX_TRIPWIRE][..]),
        ("2.2.16", &[SEGMENT_TRIPWIRE, BUILD_TRIPWIRE, CHANNEL_TRIPWIRE, INDEX_TRIPWIRE]),
        ("2.4.23", &[SEGMENT_TRIPWIRE, BUILD_TRIPWIRE, CHANNEL_TRIPWIRE, INDEX_TRIPWIRE]),
    ] {
        let told = || expected.iter().map(|key| (Invariant::Tripwires, (*key).to_owned())).collect();
        assert_finds_for(target, Severity::Warning, |keys| {
            expected.iter().for_each(|key| drop(keys.remove(key.as_bytes()).unwrap()));
            told()
        });
        // Nothing at all decodes as any message.
        assert_finds_for(target, Severity::Warning, |keys| {
            expected.iter().for_each(|key| drop(keys.insert(Bytes::from(*key), Bytes::new()).unwrap()));
            told()
        });
    }
}

#[test]
fn a_tripwire_that_disturbs_the_target_is_an_error() {
    assert_finds_for("2.2.0", Severity::Error, |keys| {
        keys.insert(Bytes::from(SEGMENT_TRIPWIRE), Bytes::from_static(&crate::catalog::tripwire::SEGMENT_VALUE));
        vec![(Invariant::Tripwires, SEGMENT_TRIPWIRE.to_owned())]
    });
    let mut keys = migrated_to("2.2.16");
    keys.insert(Bytes::from(SEGMENT_TRIPWIRE), Bytes::from("a sentence"));
    let checked = judge(&keys, "2.2.16");
    let errors: Vec<_> = checked.errors().map(|one| (one.invariant, &*one.key)).collect();
    assert_eq!(errors, [(Invariant::ValuesDecode, SEGMENT_TRIPWIRE)]);
}
