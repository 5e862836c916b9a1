//! What must hold whatever the metadata is.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use meta_migration::catalog::check::Checker;
use meta_migration::catalog::records::Records;
use meta_migration::catalog::{Conversion, Options, convert};
use meta_migration::diff::{Diff, Differ};
use meta_migration::layout::families::{Family, Side};
use meta_migration::layout::keys;
use meta_migration::plan::{self, Change, Phase, Plan};
use meta_migration::version::Layout;

pub type Keys = BTreeMap<Bytes, Bytes>;

const REVISION: i64 = 7;

/// What a run would do: what should be, and the changes that lead there, the tripwires before all others.
pub fn plan(keys: &Keys, layout: Layout, options: &Options) -> (Conversion, Plan) {
    let mut records: Records = keys.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let conversion = convert(&mut records, layout, options);
    let diff = records.held_against(&conversion.should);
    let mut plan = Plan::of_run(&diff, REVISION);
    let changes = plan::opening_of_run(&diff);
    plan.phases.insert(0, Phase { changes, ..Phase::new("tripwires") });
    (conversion, plan)
}

/// What differs between what should be and what is.
pub fn held_against<'a>(should: &Keys, is: impl Iterator<Item = (&'a Bytes, &'a Bytes)>) -> Diff {
    let mut differ = Differ::new(should.iter().map(|(key, value)| (key.clone(), value.clone())));
    is.for_each(|(key, value)| differ.add(key.clone(), value));
    differ.finish()
}

/// Carries a plan out, holding each phase against what it may do: no key put twice, no range with other keys in it than it says.
pub fn carry_out(plan: &Plan, keys: &mut Keys) {
    for phase in &plan.phases {
        check_phase(phase, keys);
        phase.changes.iter().for_each(|change| plan::apply(change, keys));
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

/// The conversion as a whole. `cut` is where a first run is killed.
pub fn conversion(before: &Keys, layout: Layout, options: &Options, cut: usize) {
    let (made, changes) = plan(before, layout, options);
    let mut after = before.clone();
    carry_out(&changes, &mut after);
    nobody_elses_key_changes(before, &after);
    let of_source = |key: &&Bytes| keys::family_of(key).side() == Side::Source;
    assert_eq!(after.keys().find(of_source), None, "2.1 keys are left");
    serde_json::to_string(&(&made.report, &made.problems)).expect("a report is plain data");
    judged(&after, layout);
    if !made.problems.is_empty() {
        return;
    }
    let (again, rest) = plan(&after, layout, options);
    assert!(rest.is_empty() && again.problems.is_empty(), "a second run has something to do: {rest:#?}");
    a_killed_run_goes_on(before, layout, options, &changes, cut, &after);
}

fn nobody_elses_key_changes(before: &Keys, after: &Keys) {
    let ours = |key: &Bytes| matches!(keys::family_of(key), Family::Other | Family::Session | Family::History);
    for (key, value) in before.iter().filter(|(key, _)| ours(key)) {
        assert_eq!(after.get(key), Some(value), "{}", keys::printable(key));
    }
}

/// Whatever it finds, it says so in one line for each.
fn judged(keys: &Keys, layout: Layout) {
    let mut checker = Checker::new(Some(layout));
    keys.iter().for_each(|(key, value)| checker.add(key, value));
    for finding in checker.finish().findings {
        serde_json::to_string(&finding).expect("a finding is plain data");
        assert!(!finding.what.contains('\n'), "{finding:?}");
    }
}

fn a_killed_run_goes_on(before: &Keys, layout: Layout, options: &Options, made: &Plan, cut: usize, after: &Keys) {
    let mut killed = before.clone();
    for change in interrupted(made, cut) {
        plan::apply(change, &mut killed);
    }
    let (again, rest) = plan(&killed, layout, options);
    assert!(again.problems.is_empty(), "{:#?}", again.problems);
    carry_out(&rest, &mut killed);
    let differs = |key: &&Bytes| killed.get(*key) != after.get(*key);
    let different: Vec<_> = killed.keys().chain(after.keys()).filter(differs).map(|key| keys::printable(key)).collect();
    assert!(different.is_empty(), "after a kill these end otherwise: {different:?}");
}

/// The changes that a run has written when it is killed between two transactions.
fn interrupted(made: &Plan, cut: usize) -> Vec<&Change> {
    let mut cut = cut % (made.changes().count() + 1);
    let mut written = Vec::new();
    for phase in &made.phases {
        for (at, change) in phase.changes.iter().enumerate() {
            let joined = phase.is_joined(at);
            if cut == 0 && !joined {
                return written;
            }
            cut = cut.saturating_sub(1);
            written.push(change);
        }
    }
    written
}
