//! What the conversion gives is what the check accepts: for the sample, and for what once went wrong (testdata/cases).

use super::*;
use crate::catalog::names::Rename;
use crate::catalog::tests::cluster::TARGETS;
use crate::catalog::{Options, Precedence};

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

/// Cases that migrate as they are.
const SOUND: [&str; 8] = [
    "history-pruned",
    "dangling-alias",
    "one-statslog",
    "flushing",
    "compacted",
    "released-partition",
    "unfinished-drop",
    "fresh-2.1",
];

/// Cases that need an option, each with a test of its own below.
const WITH_OPTION: [&str; 4] =
    ["2.2-started-first.full", "alias-named-like-a-collection", "two-collections-one-name", "two-partitions-one-name"];

#[test]
fn every_case_that_migrates() {
    for name in SOUND {
        assert_converts(name, &Options::default());
    }
}

#[test]
fn no_case_is_forgotten() {
    let folder: std::path::PathBuf = [env!("CARGO_MANIFEST_DIR"), "testdata", "cases"].iter().collect();
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut there: Vec<_> = files.filter_map(|name| Some(name.strip_suffix(".jsonl")?.to_owned())).collect();
    there.sort();
    let mut known = [&SOUND[..], &WITH_OPTION].concat();
    known.sort_unstable();
    assert_eq!(there, known);
}

#[test]
fn what_a_2_2_made_that_was_started_first() {
    let options = Options { precedence: Precedence::Newer, ..Options::default() };
    let (since, before_databases): (Vec<_>, Vec<_>) =
        TARGETS.into_iter().partition(|target| layout(target).in_database);
    assert!(!since.is_empty() && !before_databases.is_empty());
    assert_converts_to(&since, "2.2-started-first.full", &options);
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
