//! What is to be done: the command line and the file together.

use std::path::{Path, PathBuf};

use super::{
    BackupOptions, CheckFilesOptions, ConversionOptions, InspectOptions, PlanOptions, RollbackOptions, VerifyOptions,
};

/// What is to be done, with all that was said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Write a backup.
    Backup(BackupOptions),
    /// Migrate.
    Run(RunOptions),
    /// Wait, back up, migrate, verify.
    Upgrade(RunOptions),
    /// Repair what another tool migrated.
    Repair {
        /// Only show what would be done.
        dry_run: bool,
        /// As of a run.
        options: RunOptions,
    },
    /// Restore a backup.
    Rollback(RollbackOptions),
    /// Show what would be done.
    Plan(PlanOptions),
    /// Show what there is.
    Status,
    /// Check.
    Verify(VerifyOptions),
    /// Look into the object storage.
    CheckFiles(CheckFilesOptions),
    /// Look into a backup.
    Inspect(InspectOptions),
}

impl Job {
    /// The name of its command.
    pub fn command(&self) -> &'static str {
        match self {
            Self::Backup(_) => "backup",
            Self::Run(_) => "run",
            Self::Upgrade(_) => "upgrade",
            Self::Repair { .. } => "repair",
            Self::Rollback(_) => "rollback",
            Self::Plan(_) => "plan",
            Self::Status => "status",
            Self::Verify(_) => "verify",
            Self::CheckFiles(_) => "check-files",
            Self::Inspect(_) => "inspect",
        }
    }
}

/// Options of `run`, from the command line and the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Write a backup first.
    pub with_backup: bool,
    /// Leave out what cannot be migrated.
    pub skip_invalid: bool,
    /// How to convert.
    pub conversion: ConversionOptions,
    /// Do not ask.
    pub yes: bool,
    /// Go on without a backup.
    pub no_backup: bool,
    /// Keep what a newer Milvus wrote.
    pub keep_newer: bool,
    /// Where a report goes.
    pub report: Option<PathBuf>,
}

impl Job {
    /// Where a report goes, if one is wanted.
    pub fn report(&self) -> Option<&Path> {
        match self {
            Self::Run(options) | Self::Upgrade(options) | Self::Repair { options, .. } => options.report.as_deref(),
            Self::Plan(options) => options.ticket.report.as_deref(),
            Self::Verify(options) => options.ticket.report.as_deref(),
            Self::Rollback(options) => options.ticket.report.as_deref(),
            Self::Backup(_) | Self::Status | Self::CheckFiles(_) | Self::Inspect(_) => None,
        }
    }

    /// Whether it looks into the object storage.
    pub fn looks_for_files(&self) -> bool {
        match self {
            Self::CheckFiles(_) => true,
            Self::Rollback(options) => options.check_files,
            _ => false,
        }
    }
}
