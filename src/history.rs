//! What was done to the metadata: one key of ours under the meta root.
//!
//! The layouts alone do not say which way it was going: keys of both can be an interrupted run, an interrupted rollback, a newer
//! Milvus that was started first, or another tool's work, and each wants something else. `run`, `repair` and `rollback` write this
//! key in their first transaction and at their end; every transaction in between depends on its value.

use std::fmt;

use bytes::Bytes;
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::layout::keys::HISTORY;
use crate::message_log::MessageLog;
use crate::shell::as_argument;

/// The format of the value that this edition writes and reads.
const FORMAT: u32 = 1;

/// What is done to the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// A migration.
    Run,
    /// What another tool migrated is brought into the target's own layout.
    Repair,
    /// A backup is restored.
    Rollback,
}

impl Operation {
    /// The command that does it, and that goes on with it when it was interrupted.
    pub fn command(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Repair => "repair",
            Self::Rollback => "rollback",
        }
    }
}

/// How far it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Completion {
    /// Begun, and not ended.
    Running,
    /// Ended. A finished rollback leaves no history.
    Done,
}

/// Options that change the result: an interrupted run is finished with the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Choices {
    /// `--skip-invalid`
    pub skip_invalid: bool,
    /// `--keep-newer`
    pub keep_newer: bool,
    /// `--rebuild-handed-over`, of a rollback
    pub rebuild_handed_over: bool,
    /// `--rebuild-index`
    pub rebuild_index: Vec<String>,
    /// `--keep-index-files`
    pub keep_index_files: bool,
    /// `--rename-collection`, each as `OLD=NEW`
    pub rename_collection: Vec<String>,
    /// `--rename-alias`, each as `OLD=NEW`
    pub rename_alias: Vec<String>,
    /// `--rename-partition`, each as `COLLECTION/PARTITION=NEW`
    pub rename_partition: Vec<String>,
    /// `--message-log`, or what Milvus's own configuration says
    pub message_log: Option<MessageLog>,
}

impl Choices {
    /// What of it says which indexes are handed over.
    pub fn options(&self) -> crate::catalog::Options {
        crate::catalog::Options {
            rebuild_index: self.rebuild_index.clone(),
            keep_index_files: self.keep_index_files,
            ..crate::catalog::Options::default()
        }
    }

    /// The options that change what a conversion comes to and that others do not have, as they are typed; empty if there are none.
    pub fn conversion_beyond(&self, others: &Self) -> String {
        let beyond = |own: &[String], others: &[String]| -> Vec<String> {
            own.iter().filter(|one| !others.contains(one)).cloned().collect()
        };
        let beyond = Self {
            keep_index_files: self.keep_index_files && !others.keep_index_files,
            rebuild_index: beyond(&self.rebuild_index, &others.rebuild_index),
            rename_collection: beyond(&self.rename_collection, &others.rename_collection),
            rename_alias: beyond(&self.rename_alias, &others.rename_alias),
            rename_partition: beyond(&self.rename_partition, &others.rename_partition),
            // Not the message log: what it changes is where channels begin, which the Milvus that was started since has moved on.
            ..Self::default()
        };
        beyond.flags()
    }

    /// The command line that chooses this.
    pub fn flags(&self) -> String {
        let mut flags = Vec::new();
        for (flag, is_set) in [
            ("--skip-invalid", self.skip_invalid),
            ("--keep-newer", self.keep_newer),
            ("--keep-index-files", self.keep_index_files),
        ] {
            flags.extend(is_set.then(|| flag.to_owned()));
        }
        for (flag, values) in [
            ("--rebuild-index", &self.rebuild_index),
            ("--rename-collection", &self.rename_collection),
            ("--rename-alias", &self.rename_alias),
            ("--rename-partition", &self.rename_partition),
        ] {
            flags.extend(values.iter().map(|value| format!("{flag} {}", as_argument(value))));
        }
        flags.extend(self.message_log.map(|log| format!("--message-log {log}")));
        flags.join(" ")
    }
}

impl fmt::Display for BackupRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        let sha256 = self.sha256.iter().map(|sum| format!("SHA-256 of the data {sum}"));
        let revision = self.revision.iter().map(|revision| format!("revision {revision}"));
        let details: Vec<String> = sha256.chain(revision).collect();
        if details.is_empty() { Ok(()) } else { write!(f, " ({})", details.join(", ")) }
    }
}

/// The backup that is the way back, or that is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupRecord {
    /// Where the file was, as seen by the tool: the whole path, for the next command may run in another folder.
    pub file: String,
    /// SHA-256 of the data in it, in hexadecimal digits; none for a file of the original tool.
    pub sha256: Option<String>,
    /// The etcd revision at which it was made.
    pub revision: Option<i64>,
    /// The ID of the etcd cluster that it was made from, in hexadecimal digits.
    pub cluster_id: Option<String>,
}

/// The value of the history key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The format of this value.
    pub format: u32,
    /// What is done.
    pub operation: Operation,
    /// How far it got.
    pub state: Completion,
    /// The version of this tool.
    pub tool_version: String,
    /// The version of Milvus that the metadata came from, where that is known.
    pub from_version: Option<String>,
    /// The version of Milvus that it is for.
    pub to_version: Option<String>,
    /// The layout that is written, in words.
    pub layout: Option<String>,
    /// Options that change the result.
    pub options: Choices,
    /// When it began, in UTC (RFC 3339).
    pub started: String,
    /// When it ended, in UTC (RFC 3339).
    pub ended: Option<String>,
    /// The way back; of a rollback, what is restored.
    pub backup: Option<BackupRecord>,
    /// The host that it ran on.
    pub host: String,
}

/// The history key does not hold what this edition can read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the key {HISTORY}, which tells what was done to this metadata, cannot be read: {0}. Use the edition of meta-migration that wrote \
     it. Without knowing, nothing but `rollback` goes: it brings back what its backup file holds, whatever is there"
)]
pub struct HistoryError(String);

impl History {
    /// Something begins now.
    pub fn begin(operation: Operation) -> Self {
        Self {
            format: FORMAT,
            operation,
            state: Completion::Running,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            from_version: None,
            to_version: None,
            layout: None,
            options: Choices::default(),
            started: now(),
            ended: None,
            backup: None,
            host: this_host(),
        }
    }

    /// The same, ended now.
    pub fn end(mut self) -> Self {
        self.state = Completion::Done;
        self.ended = Some(now());
        self
    }

    /// Reads the value of the history key.
    ///
    /// # Errors
    /// It is not JSON of this format.
    pub fn read(value: &[u8]) -> Result<Self, HistoryError> {
        let history: Self = serde_json::from_slice(value).map_err(|error| HistoryError(error.to_string()))?;
        if history.format != FORMAT {
            return Err(HistoryError(format!("it has format {}, this edition knows {FORMAT}", history.format)));
        }
        Ok(history)
    }

    /// The value for the history key.
    pub fn write(&self) -> Bytes {
        // Plain structs with string keys: that cannot fail.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The version of Milvus that the metadata is for.
    pub fn target(&self) -> Option<Version> {
        self.to_version.as_deref()?.parse().ok()
    }

    /// The command line that finishes what was interrupted.
    pub fn way_on(&self) -> String {
        let mut command = format!("`{}", self.operation.command());
        match self.operation {
            Operation::Rollback => {
                let file = self.backup.as_ref().map_or("FILE".into(), |backup| as_argument(&backup.file));
                command.push_str(&format!(" --backup-file {file}"));
                if self.options.rebuild_handed_over {
                    command.push_str(" --rebuild-handed-over");
                }
            }
            Operation::Run | Operation::Repair => {
                for (flag, version) in
                    [("--source-version", &self.from_version), ("--target-version", &self.to_version)]
                {
                    if let Some(version) = version {
                        command.push_str(&format!(" {flag} {version}"));
                    }
                }
                if let Some(backup) = &self.backup {
                    command.push_str(&format!(" --backup-file {}", as_argument(&backup.file)));
                }
                let flags = self.options.flags();
                if !flags.is_empty() {
                    command.push_str(&format!(" {flags}"));
                }
            }
        }
        command.push('`');
        command
    }

    /// The command line that goes back.
    pub fn way_back(&self) -> String {
        match &self.backup {
            Some(backup) => format!("`rollback --backup-file {}`", as_argument(&backup.file)),
            None => "`rollback` with the backup made before".to_owned(),
        }
    }
}

/// The name of this machine.
pub fn this_host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

fn now() -> String {
    let now = OffsetDateTime::now_utc().truncate_to_second();
    // Years of four digits can be written; the clock of a machine that is beyond them tells nothing anyway.
    now.format(&Rfc3339).unwrap_or_else(|_| now.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let mut history = History::begin(Operation::Run);
        history.to_version = Some("2.2.16".into());
        history.options.rename_alias.push("a=b".into());
        assert_eq!(History::read(&history.write()), Ok(history.clone()));
        assert_eq!(History::read(&history.clone().end().write()).map(|read| read.state), Ok(Completion::Done));
        assert_eq!(history.way_on(), "`run --target-version 2.2.16 --rename-alias 'a=b'`");
    }

    #[test]
    fn another_format_is_refused_and_not_guessed_at() {
        let newer = History { format: FORMAT + 1, ..History::begin(Operation::Run) };
        assert!(History::read(&newer.write()).unwrap_err().to_string().contains("format 2"));
        assert!(History::read(b"{}").is_err());
        assert!(History::read(b"\xff").is_err());
    }
}
