//! What `plan` found.

use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::going_back::WayBack;
use super::migration::{MigrationSummary, headline, summary, wrongs};
use super::surveyed::ConfiguredBackup;
use super::words::{Text, refusals};
use super::{Ended, Header, Step};
use crate::amounts::{many, thousands};
use crate::guard::Session;
use crate::version::{self, bad_target};

/// What `plan` found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanOutcome {
    /// What all outcomes begin with.
    #[serde(flatten)]
    pub header: Header,
    /// Where the metadata was read: an etcd endpoint or a backup file.
    pub source: String,
    /// The version of Milvus that the metadata comes from.
    pub source_version: Option<String>,
    /// The version of Milvus that it is for.
    pub target_version: String,
    /// The state in one line, with what is on record.
    pub found: String,
    /// Number of metadata keys: without sessions, lock and history.
    pub keys: u64,
    /// Components that have to stop first.
    pub sessions: Vec<Session>,
    /// What `run` would do.
    pub migration: MigrationSummary,
    /// The backup file that is configured; none for a plan that is made from a backup.
    pub backup: Option<ConfiguredBackup>,
    /// Why `run` would refuse, beside what is wrong in the metadata.
    pub refusals: Vec<String>,
    /// What a person has to do that metadata cannot.
    pub advice: Vec<String>,
    /// What it takes to go back, until when that is open, and what keeps it open.
    pub going_back: WayBack,
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
    text.line(outcome.verdict());
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
    if outcome.shows_migration() {
        text.line(summary(migration, details));
        text.list("before and after", outcome.advice.iter().cloned());
        for change in outcome.diff.iter().flatten() {
            text.line(key_change(change));
        }
        text.line(outcome.size());
        text.line("the way back:");
        outcome.going_back.lines(outcome.backup.as_ref()).iter().for_each(|line| text.line(format!("  {line}")));
    }
    text.line(format!("nothing was written. next: {}", outcome.header.next.text));
    text.finish()
}

impl PlanOutcome {
    /// Whether what a conversion would do means anything: not where it is refused for what this is.
    pub fn shows_migration(&self) -> bool {
        let is_meant =
            self.header.ended != Ended::NotOk || matches!(self.header.next.code, Step::Mend | Step::MendEtcd);
        is_meant && self.header.ended != Ended::NothingToDo
    }

    /// How much is written, in one line.
    pub fn size(&self) -> String {
        format!("{}; about {:.0} s", self.migration.size(), self.estimated_seconds.ceil())
    }

    /// What it comes down to, in one line.
    pub fn verdict(&self) -> String {
        let report = &self.migration.report;
        let command = if self.header.command == "repair" { "`repair`" } else { "`run`" };
        match self.header.ended {
            Ended::NotOk => format!("{command} would refuse, and write nothing"),
            Ended::NothingToDo => format!("{command} would find nothing to do"),
            _ => {
                let when = if self.sessions.is_empty() { "" } else { " once Milvus has stopped" };
                let target = version::parse(&self.target_version).ok();
                let bad = target.and_then(|target| bad_target(&target).first().map(|bad| bad.in_words(&target)));
                let bad = bad.map_or_else(String::new, |bad| format!("; BUT {bad}"));
                let limits = match report.limits.len() {
                    0 => String::new(),
                    number => {
                        format!(
                            "; {} that newer versions of Milvus cannot do with this",
                            many(number, "thing", "things")
                        )
                    }
                };
                let way_back = way_back(self.backup.as_ref());
                format!("{command} would go through{when}: {}{limits}{bad}; {way_back}", headline(report))
            }
        }
    }
}

fn way_back(backup: Option<&ConfiguredBackup>) -> String {
    match backup {
        Some(backup) if backup.is_way_back => format!("way back: {}", backup.path),
        Some(backup) => format!("way back: none yet ({})", backup.text),
        None => "way back: none yet".to_owned(),
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
