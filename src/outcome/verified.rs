//! What `verify` found.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::migration::finding;
use super::words::{Text, problems};
use super::{Ended, Header};
use crate::amounts::{many, thousands};
use crate::catalog::check::{Finding, Severity};
use crate::catalog::problem::Problem;
use crate::guard::Session;

/// What `verify` found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VerifyOutcome {
    /// What all outcomes begin with.
    #[serde(flatten)]
    pub header: Header,
    /// The state in one line, with what is on record.
    pub found: String,
    /// The version of Milvus that it is judged for; none where that is not known.
    pub target_version: Option<String>,
    /// The revision at which everything was read.
    pub revision: i64,
    /// Number of metadata keys: without sessions, lock and history.
    pub keys: u64,
    /// Number of living collections.
    pub collections: usize,
    /// Live components.
    pub sessions: Vec<Session>,
    /// The migration lock, if somebody holds it.
    pub lock: Option<Session>,
    /// Whether Milvus can be started on it: no errors, and as the backup gives it.
    pub consistent: bool,
    /// Keys that only 2.1 has, by prefix.
    pub source_keys: BTreeMap<String, u64>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How it differs from what the migration of a backup gives, with `--backup`.
    pub comparison: Option<ComparisonOutcome>,
    /// What it comes down to.
    pub verdict: String,
}

/// How etcd differs from what the migration of a backup gives.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ComparisonOutcome {
    /// The backup file.
    pub path: String,
    /// What is wrong with the metadata in the backup; a migration leaves these records out.
    pub problems: Vec<Problem>,
    /// Keys that are as they should be.
    pub equal: u64,
    /// Keys that are missing in etcd.
    pub missing: Vec<String>,
    /// Keys that have another value in etcd.
    pub different: Vec<String>,
    /// Keys that are in etcd and should not be.
    pub extra: Vec<String>,
}

impl VerifyOutcome {
    /// That Milvus is up, or another command at work, where it is so.
    pub fn running(&self) -> Option<String> {
        let roles: Vec<_> = self.sessions.iter().map(|session| session.role.as_str()).collect();
        let who = match &self.lock {
            _ if !roles.is_empty() => format!("Milvus is running ({})", roles.join(", ")),
            Some(lock) => format!("the migration lock is held ({lock}): what is under way may still change this"),
            None => return None,
        };
        Some(format!("{who}: this is about that one revision"))
    }
}

impl ComparisonOutcome {
    /// The keys that are not as they should be, by what is wrong with them.
    pub fn lists(&self) -> [(&'static str, &[String]); 3] {
        [("missing in etcd", &self.missing), ("with another value", &self.different), ("only in etcd", &self.extra)]
    }

    /// Number of keys that are not as they should be.
    pub fn keys(&self) -> usize {
        self.missing.len() + self.different.len() + self.extra.len()
    }
}

/// The outcome for people.
pub fn text(outcome: &VerifyOutcome, details: bool) -> String {
    format!("{}\nnext: {}", text_without_next(outcome, details), outcome.header.next.text)
}

/// The same without the next step, for who has one of its own.
pub fn text_without_next(outcome: &VerifyOutcome, details: bool) -> String {
    let mut text = Text::new(details);
    text.line(&outcome.verdict);
    text.line(format!(
        "{}, at revision {}: {}, {}; {}",
        outcome.header.meta_root.as_deref().unwrap_or_default(),
        outcome.revision,
        many(outcome.keys, "metadata key", "metadata keys"),
        many(outcome.collections, "collection", "collections"),
        outcome.found
    ));
    if let Some(running) = outcome.running() {
        text.line(running);
    }
    for (severity, title) in [(Severity::Error, "errors"), (Severity::Warning, "warnings")] {
        let findings = outcome.findings.iter().filter(|finding| finding.severity == severity);
        text.list(title, findings.map(|one| format!("{}: {}", one.invariant, finding(one))));
    }
    if let Some(comparison) = &outcome.comparison {
        compared(&mut text, comparison);
    }
    text.finish()
}

fn compared(text: &mut Text, comparison: &ComparisonOutcome) {
    text.line(format!(
        "compared with the migration of {}: {} keys are the same",
        comparison.path,
        thousands(comparison.equal)
    ));
    if !comparison.problems.is_empty() {
        text.line(format!("in the backup: {}", problems(&comparison.problems)));
    }
    for (what, keys) in comparison.lists() {
        text.list(what, keys.iter().cloned());
    }
}

/// How `verify` ends.
pub fn ended(consistent: bool) -> Ended {
    if consistent { Ended::Done } else { Ended::NotOk }
}
