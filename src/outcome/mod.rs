//! What each command found or did: one plain struct each, its text beside it, and its JSON schema derived from it.
//!
//! docs/json.md describes the objects; docs/outcome.schema.json is written from [`AnyOutcome`].

pub mod against;
pub mod backed_up;
pub mod failed;
pub mod files_checked;
pub mod going_back;
pub mod inspected;
pub mod migration;
pub mod planned;
pub mod ran;
pub mod rolled_back;
pub mod surveyed;
pub mod ticket;
pub mod upgraded;
pub mod verified;
pub mod words;

use schemars::JsonSchema;
use serde::Serialize;

use crate::state::State;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
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

/// The next sensible step, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Correct what is named (command line, configuration, file, disk), then the same command again.
    Correct,
    /// The same command again.
    Again,
    /// `status`.
    Status,
    /// Mend etcd.
    MendEtcd,
    /// Wait until another migration has ended.
    Wait,
    /// Stop Milvus.
    StopMilvus,
    /// Mend what is wrong in the metadata, or choose a way around it.
    Mend,
    /// `backup`, then `run`.
    Backup,
    /// `run`.
    Run,
    /// `run` once more, to finish it.
    RunAgain,
    /// `repair`.
    Repair,
    /// `rollback`.
    Rollback,
    /// `rollback` once more, to finish it.
    RollbackAgain,
    /// `run --keep-newer`, or `rollback`.
    KeepNewer,
    /// `verify`.
    Verify,
    /// Start the new Milvus.
    StartNew,
    /// Start the old Milvus.
    StartOld,
    /// Nothing.
    Nothing,
}

/// The next sensible step, as a code and as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Next {
    /// For scripts.
    pub code: Step,
    /// For people.
    pub text: String,
}

impl Next {
    /// A step with its words.
    pub fn new(code: Step, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// What all outcomes begin with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Header {
    /// The command.
    pub command: &'static str,
    /// The version of this tool.
    pub tool_version: &'static str,
    /// How it ended.
    pub ended: Ended,
    /// The meta root, without a slash at the end; none where the command has none, or failed before it was known.
    pub meta_root: Option<String>,
    /// The ID of the etcd cluster, hexadecimal, as in etcd's log; none where etcd was not asked, or did not answer.
    pub cluster_id: Option<String>,
    /// The state that the metadata is in now.
    pub state: State,
    /// The next sensible step.
    pub next: Next,
}

impl Header {
    /// The header of a command without a meta root.
    pub fn new(command: &'static str, ended: Ended, state: State, next: Next) -> Self {
        Self { command, tool_version: env!("CARGO_PKG_VERSION"), ended, meta_root: None, cluster_id: None, state, next }
    }
}

/// Every object that `--output json` can give out.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AnyOutcome {
    /// `status`
    Surveyed(Box<surveyed::StatusOutcome>),
    /// `plan`
    Planned(Box<planned::PlanOutcome>),
    /// `backup`
    BackedUp(backed_up::BackupOutcome),
    /// `run` and `repair`
    Ran(Box<ran::RunOutcome>),
    /// `upgrade`
    Upgraded(Box<upgraded::UpgradeOutcome>),
    /// `rollback`
    RolledBack(rolled_back::RollbackOutcome),
    /// `verify`
    Verified(verified::VerifyOutcome),
    /// `check-files`
    FilesChecked(files_checked::CheckFilesOutcome),
    /// `inspect`
    Inspected(Box<inspected::InspectOutcome>),
    /// Any command that failed, or was not understood
    Failed(failed::FailureOutcome),
}
