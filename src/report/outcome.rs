//! What each command found or did: one object each, from which both the text and `--output json` come.
//!
//! docs/json.md describes the objects, docs/outcome.schema.json is their schema.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::backup::write::Written;
use crate::etcd::health::EndpointHealth;
use crate::exit::Exit;
use crate::guard::Session;
use crate::layout::Found;
use crate::migrate::Report;
use crate::plan::{Problem, Totals};
use crate::restore::Differences;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Done, or fine.
    Done,
    /// There was nothing to do.
    NothingToDo,
    /// Something is wrong with what was looked at; see the object.
    NotOk,
    /// Refused or failed before anything was written.
    Failed,
    /// Failed after a backup was finished or writing had begun.
    Interrupted,
    /// The tool itself is wrong: how far it got is not known.
    Defect,
}

/// An outcome that does not name its command itself.
#[derive(Debug, Serialize)]
pub struct Labelled<'a, T> {
    /// The command.
    pub command: &'static str,
    /// How it ended.
    pub ended: Ended,
    /// What it found.
    #[serde(flatten)]
    pub outcome: &'a T,
}

/// A command that failed.
#[derive(Debug, Serialize)]
pub struct FailureOutcome {
    /// How it ended.
    pub ended: Ended,
    /// The exit code.
    pub exit_code: u8,
    /// What was attempted, what is wrong, what to do.
    pub error: String,
}

impl FailureOutcome {
    /// The object for an error.
    pub fn new(exit: Exit, error: String) -> Self {
        let ended = match exit {
            Exit::Interrupted => Ended::Interrupted,
            Exit::Unexpected => Ended::Defect,
            Exit::Done | Exit::NothingWritten => Ended::Failed,
        };
        Self { ended, exit_code: exit as u8, error }
    }
}

/// A backup file.
#[derive(Debug, Clone, Serialize)]
pub struct BackupFile {
    /// Where it is.
    pub path: String,
    /// Number of keys.
    pub keys: u64,
    /// The etcd revision at which all keys were read.
    pub revision: i64,
    /// The layout of the metadata.
    pub layout: Found,
    /// Size of the file.
    pub file_bytes: u64,
    /// Size of the data in it, uncompressed.
    pub stream_bytes: u64,
    /// SHA-256 of the uncompressed data.
    pub stream_sha256: String,
    /// Where the file is now that was at the path before.
    pub moved: Option<String>,
}

impl From<&Written> for BackupFile {
    fn from(written: &Written) -> Self {
        let shown = |path: &Path| path.display().to_string();
        Self {
            path: shown(&written.path),
            keys: written.manifest.keys,
            revision: written.manifest.etcd_revision,
            layout: written.manifest.layout,
            file_bytes: written.file_bytes,
            stream_bytes: written.manifest.stream_bytes,
            stream_sha256: written.manifest.stream_sha256.clone(),
            moved: written.moved.as_deref().map(shown),
        }
    }
}

/// What `backup` did.
#[derive(Debug, Serialize)]
pub struct BackupOutcome {
    pub command: &'static str,
    pub ended: Ended,
    pub meta_root: String,
    pub backup: BackupFile,
}

/// What a migration would do or did.
#[derive(Debug, Clone, Serialize)]
pub struct MigrationSummary {
    /// The revision that the plan was made from.
    pub revision: i64,
    /// Puts and deletes.
    pub totals: Totals,
    /// Number of transactions.
    pub transactions: usize,
    /// Everything by name.
    pub report: Report,
    /// Keys that stay, by prefix.
    pub untouched: BTreeMap<String, u64>,
    /// Whatever is wrong.
    pub problems: Vec<Problem>,
}

/// What `plan` found.
#[derive(Debug, Serialize)]
pub struct PlanOutcome {
    pub command: &'static str,
    pub ended: Ended,
    pub meta_root: String,
    /// Where the metadata was read: an etcd endpoint or a backup file.
    pub source: String,
    /// Number of keys, sessions aside.
    pub keys: u64,
    /// Components that have to stop first.
    pub sessions: Vec<Session>,
    pub migration: MigrationSummary,
    /// What the options ask for and the metadata cannot give: `run` would refuse.
    pub refusals: Vec<String>,
    /// What keeps `run` from writing, beside problems in the metadata: no room in etcd, no right to write.
    pub obstacle: Option<String>,
    /// About how long `run` takes.
    pub estimated_seconds: f64,
    /// The changes one by one, with `--diff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<Vec<KeyChange>>,
}

/// A change of one key, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyChange {
    pub key: String,
    /// The value before; none if the key is new.
    pub old: Option<String>,
    /// The value afterwards; none if the key goes.
    pub new: Option<String>,
}

/// What `run` did.
#[derive(Debug, Serialize)]
pub struct RunOutcome {
    pub command: &'static str,
    pub ended: Ended,
    pub meta_root: String,
    pub source_version: String,
    pub target_version: String,
    /// The backup made in this run.
    pub backup: Option<BackupFile>,
    /// What was done; none where nothing was to be read at all.
    pub migration: Option<MigrationSummary>,
    /// The revision at which everything was read back and compared.
    pub verified_revision: Option<i64>,
    pub seconds: f64,
}

/// What `rollback` did.
#[derive(Debug, Serialize)]
pub struct RollbackOutcome {
    pub command: &'static str,
    pub ended: Ended,
    pub meta_root: String,
    /// The backup file.
    pub backup: String,
    /// How the backup and etcd differed.
    pub differences: Differences,
    pub totals: Totals,
    /// The revision at which everything was read back and compared.
    pub verified_revision: Option<i64>,
    pub seconds: f64,
}

/// What `status` found.
#[derive(Debug, Serialize)]
pub struct StatusOutcome {
    pub command: &'static str,
    pub ended: Ended,
    pub endpoints: Vec<EndpointHealth>,
    /// Alarms that are raised, such as NOSPACE; none if the user may not ask.
    pub alarms: Option<Vec<String>>,
    /// All meta roots in this etcd; none if the user may not look.
    pub meta_roots: Option<Vec<String>>,
    pub meta_root: String,
    /// Number of keys under our meta root, sessions aside.
    pub keys: u64,
    /// The layout there; none without any keys.
    pub layout: Option<Found>,
    /// Live components.
    pub sessions: Vec<Session>,
    /// The migration lock, if somebody holds it.
    pub lock: Option<Session>,
    /// The next sensible step.
    pub next: String,
}
