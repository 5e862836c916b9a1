//! What a conversion comes to: the same for `plan` and `run`.

use semver::Version;

use super::Context;
use crate::batches::transactions;
use crate::catalog::records::{Record, Records};
use crate::catalog::report::Report;
use crate::catalog::{self, Conversion, check};
use crate::cli::RunOptions;
use crate::diff::Diff;
use crate::history::Operation;
use crate::outcome::migration::MigrationSummary;
use crate::parallel::both;
use crate::plan::{Plan, opening_of_run};
use crate::state::{Situation, State};
use crate::version::{Layout, bad_target};

/// What a conversion comes to.
pub(super) struct Worked {
    pub(super) conversion: Conversion,
    pub(super) diff: Diff,
    pub(super) plan: Plan,
    pub(super) summary: MigrationSummary,
}

impl Worked {
    /// What a rollback would put back of the records that this was worked out of.
    pub(super) fn back<'a>(&self, records: &'a Records) -> Vec<&'a Record> {
        records.changed_by(&self.diff).collect()
    }
}

/// What is asked for and comes to nothing, and what may be missing before anything is done.
fn doubts(situation: &Situation, options: &RunOptions, report: &Report) -> Vec<String> {
    let is_begun = situation.history.is_some();
    let is_rebuilt = |kind: &str| report.rebuilt.iter().any(|index| index.kind.eq_ignore_ascii_case(kind));
    let idle = options.conversion.rebuild_index.iter().filter(|kind| !is_begun && !is_rebuilt(kind));
    let mut doubts: Vec<String> = idle
        .map(|kind| format!("--rebuild-index {kind} changes nothing: no index here is of that type and has files"))
        .collect();
    if situation.state == State::NewerStartedFirst && options.keep_newer {
        doubts.push(
            "the newer Milvus that was started first removes, ten minutes after its start (2.2), the index files of 2.1 that its own metadata \
             does not name: see with `check-files` what is left; what it misses, --rebuild-index TYPE has the new Milvus build again"
                .to_owned(),
        );
    }
    doubts
}

impl Context {
    /// Works out what a conversion comes to.
    pub(super) fn work_out(
        &self,
        (records, revision): (&mut Records, i64),
        situation: &Situation,
        options: &RunOptions,
        operation: Operation,
        target: &Version,
    ) -> Worked {
        let layout = Layout::of(target);
        let restore_schemas = options.keep_newer || operation == Operation::Repair;
        let chosen = options.conversion.options(situation.precedence(), restore_schemas);
        let mut conversion = catalog::convert(records, layout, &chosen);
        conversion.report.warnings.extend(bad_target(target).iter().map(|bad| bad.in_words(target)));
        conversion.report.warnings.extend(doubts(situation, options, &conversion.report));
        let (checked, (diff, plan)) = both(
            || check::check(&conversion.should, Some(layout)),
            || {
                let diff = records.held_against(&conversion.should);
                let plan = Plan::of_run(&diff, revision);
                (diff, plan)
            },
        );
        let mut untouched = diff.equal.clone();
        for (prefix, keys) in records.others() {
            *untouched.entry(prefix.clone()).or_default() += keys;
        }
        let summary = MigrationSummary {
            revision,
            totals: plan.totals(),
            tripwires: opening_of_run(&diff).len(),
            transactions: transactions(&plan, self.limits, self.root.len()) + 2,
            report: conversion.report.clone(),
            made_by_newer: situation.made.clone(),
            untouched,
            problems: conversion.problems.clone(),
            findings: checked.errors().cloned().collect(),
        };
        Worked { conversion, diff, plan, summary }
    }
}
