//! What the conversion gives is what the check accepts: for the sample, and for what once went wrong (testdata/cases).

use super::*;
use crate::catalog::names::Rename;
use crate::catalog::{Options, Precedence};

const TARGETS: [&str; 7] = ["2.2.0", "2.2.3", "2.2.9", "2.2.16", "2.3.5", "2.4.0", "2.4.23"];

#[track_caller]
fn assert_converts(name: &str, options: &Options) {
    assert_converts_to(&TARGETS, name, options);
}

#[track_caller]
fn assert_converts_to(targets: &[&str], name: &str, options: &Options) {
    for target in targets {
        let before = if name.is_empty() { sample::sample() } else { sample::case(name) };
        let done = before.convert(target, options);
        assert_eq!(done.conversion.refusals, [""; 0], "{name} for {target}");
        let expected: Vec<Finding> = Vec::new();
        // `plan` and `run` look at what would be, `verify` at all that is there.
        assert_eq!(judge(&done.conversion.should, target).findings, expected, "{name} for {target}");
        assert_eq!(judge(done.after.records(), target).findings, expected, "{name} for {target}");
        assert_eq!(check(done.after.records(), None).findings, expected, "{name} for {target}");
    }
}

#[test]
fn the_sample() {
    assert_converts("", &Options::default());
    for target in TARGETS {
        let checked = judge(&migrated_to(target), target);
        assert_eq!((checked.collections, checked.source_keys), (20, BTreeMap::new()), "{target}");
    }
}

#[test]
fn every_case_that_migrates() {
    for name in [
        "history-pruned",
        "dangling-alias",
        "one-statslog",
        "flushing",
        "compacted",
        "released-partition",
        "unfinished-drop",
        "fresh-2.1",
    ] {
        assert_converts(name, &Options::default());
    }
}

#[test]
fn what_a_2_2_made_that_was_started_first() {
    let options = Options { precedence: Precedence::Newer, ..Options::default() };
    let (before_databases, since) = TARGETS.split_at(2);
    assert_converts_to(since, "2.2-started-first.full", &options);
    // What 2.2.16 wrote, an older one cannot read: that is refused.
    for target in before_databases {
        let done = sample::case("2.2-started-first.full").convert(target, &options);
        let checked = judge(&done.conversion.should, target);
        assert!(checked.errors().any(|one| one.invariant == Invariant::TargetForm && one.what.contains("c_new_in_22")));
    }
}

/// Names that clash are found with the way out, and with that they pass.
#[test]
fn names_that_clash() {
    let other = 470_605_849_087_442_945_i64;
    for (name, invariant, remedy) in [
        ("alias-named-like-a-collection", Invariant::AliasNameFree, "--rename-alias 'c_mixed=NEW'".to_owned()),
        ("two-collections-one-name", Invariant::CollectionNamesUnique, format!("--rename-collection {other}=NEW")),
        (
            "two-partitions-one-name",
            Invariant::PartitionNamesUnique,
            "--rename-partition 470605839296564545/470605839375007745=NEW".to_owned(),
        ),
    ] {
        for target in TARGETS {
            let done = sample::case(name).migrate_to(target);
            let findings = judge(&done.conversion.should, target).findings;
            let [finding] = &findings[..] else { panic!("{name}: {findings:#?}") };
            assert_eq!((finding.invariant, finding.severity), (invariant, Severity::Error), "{target}");
            assert_eq!(finding.remedy.as_ref(), Some(&remedy), "{target}");
        }
        let (option, wish) = remedy.split_once(' ').unwrap();
        let old = wish.trim_matches('\'').strip_suffix("=NEW").unwrap().to_owned();
        let renames = vec![Rename { old, new: "another".into() }];
        let mut options = Options::default();
        match option {
            "--rename-alias" => options.rename_alias = renames,
            "--rename-collection" => options.rename_collection = renames,
            _ => options.rename_partition = renames,
        }
        assert_converts(name, &options);
    }
}
