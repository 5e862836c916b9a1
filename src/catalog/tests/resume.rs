//! Safe at every instant: a run that stops after any single step, or change where a step does not fit into one transaction, is
//! finished by the next one, and ends in the same bytes as if nothing had happened (lessons 2 and 17).

use proptest::prelude::*;

use super::cluster::{Cluster, GARBAGE, LAYOUTS};
use super::problems::everything_wrong;
use super::steps::{Dice, apply, in_some_order, orders, steps};
use super::{dropped_alone, everything};
use crate::catalog::Options;
use crate::layout::TOMBSTONE;

fn may_stop_anywhere(before: &Cluster, target: &str) {
    let done = before.convert(target, &Options::default());
    for order in orders(before, &done, 1) {
        let mut now = before.clone();
        for step in &order {
            apply(&mut now, step);
            let next = now.convert(target, &Options::default());
            assert_eq!(next.after.differences(&done.after), [""; 0], "{target}: stopped after {step:?}");
        }
        assert_eq!(now.differences(&done.after), [""; 0], "the steps lead to the end");
    }
}

#[test]
fn a_run_that_stops_after_any_single_step_is_finished_by_the_next_one() {
    for target in LAYOUTS {
        may_stop_anywhere(&everything(), target);
    }
}

#[test]
fn a_run_that_was_interrupted_has_no_problems_that_an_undisturbed_one_has_not() {
    let before = everything();
    for target in ["2.2.0", "2.2.16", "2.4.23"] {
        let done = before.migrate_to(target);
        for order in orders(&before, &done, 1) {
            let mut now = before.clone();
            for step in &order {
                apply(&mut now, step);
                let next = now.convert(target, &Options::default());
                assert_eq!(next.conversion.problems, [], "{target}: after {step:?}");
            }
        }
    }
}

#[test]
fn a_cluster_whose_collections_are_all_dropped_may_stop_anywhere_too() {
    for target in ["2.2.0", "2.2.16", "2.4.23"] {
        may_stop_anywhere(&dropped_alone(), target);
    }
}

#[test]
fn a_run_that_leaves_out_what_is_wrong_may_stop_anywhere_too() {
    let before = everything_wrong();
    assert_ne!(before.convert("2.2.0", &Options::default()).conversion.problems, []);
    for target in ["2.2.0", "2.2.16", "2.4.23"] {
        may_stop_anywhere(&before, target);
    }
}

#[test]
fn runs_that_stop_again_and_again_come_to_the_same_end() {
    let before = everything();
    for (seed, target) in (1..=20).zip(LAYOUTS.into_iter().cycle()) {
        let end = before.migrate_to(target).after;
        let mut dice = Dice::new(seed);
        let mut now = before.clone();
        loop {
            let left = in_some_order(&steps(&now, &now.migrate_to(target).after), &mut dice);
            if left.is_empty() {
                break;
            }
            let stop = 1 + dice.below(left.len());
            left[..stop].iter().for_each(|step| apply(&mut now, step));
        }
        assert_eq!(now.differences(&end), [""; 0]);
    }
}

/// Damage to one record: it goes, is cut, becomes a tombstone, garbage, or the value of another record.
pub(super) fn damage(cluster: Cluster, at: usize, kind: usize, other: usize) -> Cluster {
    let keys = cluster.keys("");
    let key = &keys[at % keys.len()];
    let value = cluster.value(key).clone();
    match kind {
        0 => cluster.remove(key),
        1 => cluster.put(key, &value[..value.len() / 2]),
        2 => cluster.put(key, TOMBSTONE),
        3 => cluster.put(key, GARBAGE),
        _ => {
            let value = cluster.value(&keys[other % keys.len()]).to_vec();
            cluster.put(key, value)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn however_the_metadata_is_damaged_a_run_may_stop_anywhere(
        damages in prop::collection::vec((any::<usize>(), 0..5usize, any::<usize>()), 1..6),
        target in prop::sample::select(&LAYOUTS[..]),
        seed in any::<u64>(),
        stop in any::<prop::sample::Index>()
    ) {
        let before = damages.into_iter().fold(everything(), |cluster, (at, kind, other)| damage(cluster, at, kind, other));
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
