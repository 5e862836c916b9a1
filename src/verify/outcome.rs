//! The outcome of `verify`: all that is told, as one value.

use serde::Serialize;

use super::comparison::Differences;
use super::{Finding, Invariant, Severity, Verification};
use crate::layout::Found;
use crate::report::outcome::Ended;

/// Everything that `verify` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyOutcome {
    /// Which command this is the outcome of.
    pub command: &'static str,
    /// How it ended.
    pub ended: Ended,
    /// The meta root, without a slash at the end.
    pub meta_root: String,
    /// The revision at which all was read.
    pub revision: i64,
    /// Number of keys but sessions.
    pub keys: u64,
    /// The layout that was found.
    pub layout: Found,
    /// Components that were alive meanwhile.
    pub live_sessions: Vec<String>,
    /// Every invariant, whether it holds or not.
    pub invariants: Vec<InvariantOutcome>,
    /// Whatever does not hold, by invariant and key.
    pub findings: Vec<Finding>,
    /// The comparison with a backup, if one was given.
    pub comparison: Option<ComparisonOutcome>,
    /// Whether nothing was found but warnings, and etcd is as the migration of the backup gives it.
    pub consistent: bool,
    /// All of it in a sentence.
    pub verdict: String,
    /// What to do now.
    pub next_step: String,
}

/// How an invariant fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InvariantOutcome {
    /// Which; a stable name.
    pub invariant: Invariant,
    /// What should hold.
    pub sentence: &'static str,
    /// Whether it was looked at; of metadata that is not migrated yet most is not.
    pub checked: bool,
    /// Number of findings that are errors.
    pub errors: u64,
    /// Number of findings that are warnings.
    pub warnings: u64,
}

/// How the comparison with a backup fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComparisonOutcome {
    /// The backup.
    pub backup: String,
    /// Whether records with problems may be left out.
    pub skip_invalid: bool,
    /// The differences.
    #[serde(flatten)]
    pub differences: Differences,
}

/// Where and when the metadata was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The meta root, without a slash at the end.
    pub meta_root: String,
    /// The revision.
    pub revision: i64,
    /// Components that were alive.
    pub live_sessions: Vec<String>,
}

impl ComparisonOutcome {
    /// Whether etcd is as the migration of the backup gives it.
    pub fn is_equal(&self) -> bool {
        self.differences.keys() == 0 && (self.skip_invalid || self.differences.problems.is_empty())
    }
}

impl VerifyOutcome {
    /// Draws the sum.
    pub fn new(reading: Reading, verification: Verification, comparison: Option<ComparisonOutcome>) -> Self {
        let equal = comparison.as_ref().is_none_or(ComparisonOutcome::is_equal);
        let consistent = verification.is_consistent() && equal;
        let (verdict, next_step) = conclude(&verification, comparison.as_ref());
        Self {
            command: "verify",
            ended: if consistent { Ended::Done } else { Ended::NotOk },
            meta_root: reading.meta_root,
            revision: reading.revision,
            keys: verification.keys,
            layout: verification.found,
            live_sessions: reading.live_sessions,
            invariants: Invariant::ALL.map(|invariant| fared(invariant, &verification)).to_vec(),
            findings: verification.findings,
            comparison,
            consistent,
            verdict,
            next_step: next_step.to_owned(),
        }
    }
}

fn fared(invariant: Invariant, verification: &Verification) -> InvariantOutcome {
    let findings = &verification.findings;
    let count = |severity| {
        findings.iter().filter(|finding| finding.invariant == invariant && finding.severity == severity).count() as u64
    };
    InvariantOutcome {
        invariant,
        sentence: invariant.sentence(),
        checked: verification.found != Found::Source || invariant == Invariant::Migrated,
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
    }
}

/// The verdict and the next step.
fn conclude(verification: &Verification, comparison: Option<&ComparisonOutcome>) -> (String, &'static str) {
    let errors = verification.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = verification.findings.len() - errors;
    match (verification.found, verification.source_keys.is_empty()) {
        (Found::Source, _) => {
            return (
                "not migrated yet: the metadata is wholly in the 2.1 layout".into(),
                "migrate it with `run`, after a backup; do not start Milvus 2.2 before",
            );
        }
        (_, false) => {
            return (
                format!("half migrated: both layouts are there ({errors} error(s) in all)"),
                "`run` again, it goes on where it ended, or go back with `rollback`; do not start Milvus before",
            );
        }
        (Found::Neither, _) if errors > 0 => {
            return (
                "there is no metadata of Milvus here".into(),
                "check etcd.rootPath, etcd.metaSubPath and the etcd",
            );
        }
        _ => {}
    }
    if errors > 0 {
        return (
            format!("not consistent: {errors} error(s), {warnings} warning(s)"),
            "do what stands beside each finding before Milvus is started, or restarted",
        );
    }
    let notes = if warnings > 0 { format!(", with {warnings} warning(s)") } else { String::new() };
    match comparison {
        Some(comparison) if !comparison.is_equal() => (
            format!(
                "consistent{notes}, but not what the migration of the backup gives: {} key(s) differ, {} problem(s) in the backup",
                comparison.differences.keys(),
                comparison.differences.problems.len()
            ),
            "look at the keys: Milvus may have changed them since; was `run` given the same options (--skip-invalid, \
             --rebuild-index, --keep-index-files)?",
        ),
        Some(_) => (
            format!("consistent{notes}, and exactly what the migration of the backup gives"),
            "Milvus 2.2 or later can be started on it",
        ),
        None => (format!("consistent{notes}: a complete 2.2 layout"), "Milvus 2.2 or later can be started on it"),
    }
}
