use super::*;

#[test]
fn the_migrated_sample_is_consistent() {
    let keys = migrated();
    let verification = verify(&keys);
    assert_eq!(verification.findings, [], "{:#?}", verification.findings);
    assert_eq!(verification.found, Found::Target);
    let sessions = keys.keys().filter(|key| key.starts_with(b"session/")).count();
    assert_eq!(verification.keys, (keys.len() - sessions) as u64);
}

#[test]
fn metadata_that_is_not_migrated_gives_one_finding_that_says_what_to_do() {
    let verification = verify(&sample());
    assert_eq!(verification.found, Found::Source);
    let [finding] = &verification.findings[..] else { panic!("{:#?}", verification.findings) };
    assert_eq!(finding.invariant, Invariant::Migrated);
    assert!(finding.what.contains("not migrated yet") && finding.what.contains("`run`"), "{}", finding.what);
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
fn an_interrupted_migration_is_told_as_such_with_the_rest() {
    let mut keys = sample();
    let mut plan = migrate::plan(inventory(&keys), 1, &Options::default()).plan;
    plan.phases.truncate(1);
    plan.apply_to(&mut keys);
    let verification = verify(&keys);
    assert_eq!(verification.found, Found::Mixed);
    let found = |invariant| verification.findings.iter().filter(|finding| finding.invariant == invariant).count();
    assert_eq!(found(Invariant::Migrated), 1);
    assert!(verification.findings[0].what.contains("`run` again"));
    let collections = keys.keys().filter(|key| key.starts_with(b"snapshots/root-coord/partitions/")).count();
    assert!(found(Invariant::NothingEmbedded) > collections, "every record and every newest snapshot");
}

#[test]
fn nothing_at_all_and_nothing_of_either_layout_are_findings() {
    for keys in [Keys::new(), Keys::from([(Bytes::from("root-coord/credential/users/root"), Bytes::from("{}"))])] {
        let verification = verify(&keys);
        let found: Vec<_> = verification.findings.iter().map(|finding| finding.invariant).collect();
        assert_eq!((verification.found, &found[..]), (Found::Neither, &[Invariant::LayoutPresent][..]));
        assert!(!verification.is_consistent());
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
fn every_invariant_has_a_name_and_a_sentence_of_its_own() {
    let names: std::collections::BTreeSet<_> = Invariant::ALL.iter().map(|invariant| invariant.name()).collect();
    let sentences: std::collections::BTreeSet<_> =
        Invariant::ALL.iter().map(|invariant| invariant.sentence()).collect();
    assert_eq!((names.len(), sentences.len()), (31, 31));
    assert!(names.iter().all(|name| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-')));
}
