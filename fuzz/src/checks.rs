//! What must hold whatever the metadata is.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use meta_migration::layout::Found;
use meta_migration::layout::keys::{self, Key, Side};
use meta_migration::migrate::{self, Inventory, Migration, Options, Record};
use meta_migration::plan::{Change, Phase, Plan};
use meta_migration::verify::{Invariant, Severity, Verifier};

use crate::source;

pub type Keys = BTreeMap<Bytes, Bytes>;

const REVISION: i64 = 7;

pub fn plan(keys: &Keys, options: &Options) -> Migration {
    let mut inventory = Inventory::default();
    for (key, value) in keys {
        inventory.add(key.clone(), Record { value: value.clone(), mod_revision: REVISION });
    }
    migrate::plan(inventory, REVISION, options)
}

/// Carries a plan out, holding each phase against what it may do: no key put twice, no range with other keys in it than it says.
pub fn carry_out(plan: &Plan, keys: &mut Keys) {
    for phase in &plan.phases {
        check_phase(phase, keys);
        carry_out_phase(phase, usize::MAX, keys);
    }
}

fn check_phase(phase: &Phase, before: &Keys) {
    let mut put = BTreeSet::new();
    for change in &phase.changes {
        match change {
            Change::Put { key, .. } => assert!(put.insert(key), "{} is put twice", keys::printable(key)),
            Change::Delete { first, last, keys } => {
                assert!(first <= last, "{change:?}");
                assert_eq!(before.range(first.clone()..=last.clone()).count() as u64, *keys, "{change:?}");
            }
        }
    }
    for change in &phase.changes {
        if let Change::Delete { first, last, .. } = change {
            assert_eq!(put.range::<&Bytes, _>(first..=last).next(), None, "{change:?} deletes what is put");
        }
    }
}

fn carry_out_phase(phase: &Phase, changes: usize, keys: &mut Keys) {
    let changes = phase.changes.iter().take(changes).cloned().collect();
    Plan { phases: vec![Phase { changes, ..Phase::default() }], ..Plan::default() }.apply_to(keys);
}

/// The conversion as a whole. `cut` is where a first run is killed.
pub fn conversion(before: &Keys, options: &Options, cut: usize) {
    let Migration { plan: made, report, refusals: _ } = plan(before, options);
    let mut after = before.clone();
    carry_out(&made, &mut after);
    nobody_elses_key_changes(before, &after);
    assert!(!after.keys().any(|key| keys::side(key) == Side::Source), "2.1 keys are left");
    let stays: u64 = before
        .keys()
        .filter(|key| !matches!(Key::parse(key), Ok(Key::Session)) && after.get(*key) == before.get(*key))
        .count() as u64;
    assert!(made.untouched_keys() <= stays + made.totals().puts, "{} stay, not {}", stays, made.untouched_keys());
    serde_json::to_string(&(&report, &made.problems)).expect("a report can be told");
    if !made.problems.is_empty() || report.found != Some(Found::Source) {
        return;
    }
    if !source::is_odd(before) {
        verify_finds_nothing(&after);
    }
    let again = plan(&after, options).plan;
    assert!(again.is_empty() && again.problems.is_empty(), "a second run has something to do: {again:#?}");
    a_killed_run_goes_on(before, &made, options, cut, &after);
}

fn nobody_elses_key_changes(before: &Keys, after: &Keys) {
    for (key, value) in before {
        if keys::side(key) == Side::Neither {
            assert_eq!(after.get(key), Some(value), "{}", keys::printable(key));
        }
    }
}

fn verify_finds_nothing(keys: &Keys) {
    let mut verifier = Verifier::default();
    for (key, value) in keys {
        verifier.add(key, &Record { value: value.clone(), mod_revision: REVISION });
    }
    let findings = verifier.finish().findings;
    // Where no collection is, none is found.
    let told = |severity, invariant| severity == Severity::Error && invariant != Invariant::LayoutPresent;
    let errors: Vec<_> = findings.iter().filter(|finding| told(finding.severity, finding.invariant)).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

fn a_killed_run_goes_on(before: &Keys, made: &Plan, options: &Options, cut: usize, after: &Keys) {
    let changes: usize = made.phases.iter().map(|phase| phase.changes.len()).sum();
    let mut left = cut % (changes + 1);
    let mut killed = before.clone();
    for phase in &made.phases {
        carry_out_phase(phase, left, &mut killed);
        left = left.saturating_sub(phase.changes.len());
    }
    let rest = plan(&killed, options).plan;
    assert!(rest.problems.is_empty(), "{:#?}", rest.problems);
    carry_out(&rest, &mut killed);
    let differs = |key: &&bytes::Bytes| killed.get(*key) != after.get(*key);
    let different: Vec<_> = killed.keys().chain(after.keys()).filter(differs).map(|key| keys::printable(key)).collect();
    assert!(different.is_empty(), "after a kill these end otherwise: {different:?}");
}
