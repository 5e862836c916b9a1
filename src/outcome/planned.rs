//! What `plan` found.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::going_back::WayBack;
use super::migration::{MigrationSummary, headline, summary, wrongs};
use super::words::{Text, bytes, refusals, thousands};
use super::{Ended, Header, Step};
use crate::guard::Session;

/// What `plan` found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanOutcome {
    /// What all outcomes begin with.
    #[serde(flatten)]
    pub header: Header,
    /// Where the metadata was read: an etcd endpoint or a backup file.
    pub source: String,
    /// The state in one line, with what is on record.
    pub found: String,
    /// Number of metadata keys: without sessions, lock and history.
    pub keys: u64,
    /// Components that have to stop first.
    pub sessions: Vec<Session>,
    /// What `run` would do.
    pub migration: MigrationSummary,
    /// Why `run` would refuse, beside what is wrong in the metadata.
    pub refusals: Vec<String>,
    /// What a person has to do that metadata cannot.
    pub advice: Vec<String>,
    /// The way back.
    pub way_back: WayBack,
    /// About how long `run` takes, in seconds.
    pub estimated_seconds: f64,
    /// The changes one by one, with `--diff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<Vec<KeyChange>>,
}

/// A change of one key, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyChange {
    /// The key.
    pub key: String,
    /// The value before; none if the key is new.
    pub old: Option<String>,
    /// The value afterwards; none if the key goes.
    pub new: Option<String>,
}

/// The outcome for people.
pub fn text(outcome: &PlanOutcome, details: bool) -> String {
    let migration = &outcome.migration;
    let mut text = Text::new(details);
    text.line(verdict(outcome));
    let root = outcome.header.meta_root.as_deref().unwrap_or_default();
    text.line(format!(
        "{root}, from {} at revision {}: {} metadata keys, {}",
        outcome.source,
        migration.revision,
        thousands(outcome.keys),
        outcome.found
    ));
    if !outcome.refusals.is_empty() {
        text.line(refusals(&outcome.refusals));
    }
    if let Some(wrongs) = wrongs(migration) {
        text.line(wrongs);
    }
    text.list("Milvus components that have to stop first", outcome.sessions.iter().map(ToString::to_string));
    // Where it is refused for what this is, what a conversion would do means nothing.
    let is_meant = outcome.header.ended != Ended::NotOk
        || outcome.header.next.as_ref().is_some_and(|next| next.code == Step::Mend);
    if is_meant && outcome.header.ended != Ended::NothingToDo {
        text.line(summary(migration, details));
        text.list("before and after", outcome.advice.iter().cloned());
        for change in outcome.diff.iter().flatten() {
            text.line(key_change(change));
        }
        text.line(format!(
            "{} puts ({}), {} deletes, in {} transactions; about {:.0} s",
            thousands(migration.totals.puts),
            bytes(migration.totals.put_bytes),
            thousands(migration.totals.deletes),
            thousands(migration.transactions as u64),
            outcome.estimated_seconds.ceil()
        ));
        outcome.way_back.list(&mut text);
    }
    if let Some(next) = &outcome.header.next {
        text.line(format!("nothing was written. next: {}", next.text));
    }
    text.finish()
}

fn verdict(outcome: &PlanOutcome) -> String {
    let report = &outcome.migration.report;
    match outcome.header.ended {
        Ended::NotOk => "`run` would refuse, and write nothing".to_owned(),
        Ended::NothingToDo => "`run` would find nothing to do".to_owned(),
        _ if outcome.sessions.is_empty() => format!("`run` would go through: {}", headline(report)),
        _ => format!("`run` would go through once Milvus has stopped: {}", headline(report)),
    }
}

fn key_change(change: &KeyChange) -> String {
    let mut text = change.key.clone();
    for (sign, value) in [('-', &change.old), ('+', &change.new)] {
        for line in value.iter().flat_map(|value| value.lines()) {
            let _ = write!(text, "\n  {sign} {line}");
        }
    }
    text
}
