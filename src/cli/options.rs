//! The options of the commands.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use crate::catalog::names::Rename;
use crate::catalog::{self, Precedence};
use crate::config::Config;
use crate::expect::ExpectedAddress;
use crate::history::{Choices, History};
use crate::message_log::MessageLog;

/// The heading in help of what can be chosen about the conversion.
const CONVERSION: &str = "Conversion";

/// Options of `backup`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct BackupOptions {
    /// Back up although the metadata is not wholly in the layout of the source version
    #[arg(long)]
    pub force: bool,

    /// Back up while Milvus runs, for a schedule: at one moment, without the lock. No way back: rollback refuses such a file
    #[arg(long)]
    pub while_running: bool,

    /// With --while-running: keep so many such backups, this one and the numbered ones beside it, and remove older ones [default: all]
    #[arg(long, value_name = "N", requires = "while_running", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub keep: Option<usize>,
}

/// Options of `run` as typed; [`super::RunOptions`] has the file's settings merged in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RunArgs {
    /// Write a backup first, of the very metadata that is migrated [default: cmd.runWithBackup]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub with_backup: Option<bool>,

    /// Leave out what cannot be migrated, and list it, instead of refusing [default: cmd.skipInvalid]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub skip_invalid: Option<bool>,

    /// How to convert.
    #[command(flatten)]
    pub conversion: ConversionOptions,

    /// Do not ask before writing; without a terminal it never asks
    #[arg(long, short)]
    pub yes: bool,

    /// Go on without a backup: there is no way back then
    #[arg(long, alias = "force")]
    pub no_backup: bool,

    /// Where a newer Milvus was started before the migration: keep all that it wrote, and migrate the rest
    #[arg(long)]
    pub keep_newer: bool,

    /// For a change ticket.
    #[command(flatten)]
    pub ticket: TicketOptions,
}

/// Options of `upgrade`: as of run, which always makes its backup first here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct UpgradeArgs {
    /// Leave out what cannot be migrated, and list it, instead of refusing [default: cmd.skipInvalid]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub skip_invalid: Option<bool>,

    /// How to convert.
    #[command(flatten)]
    pub conversion: ConversionOptions,

    /// Do not ask before writing; without a terminal it never asks
    #[arg(long, short)]
    pub yes: bool,

    /// Where a newer Milvus was started before the migration: keep all that it wrote, and migrate the rest
    #[arg(long)]
    pub keep_newer: bool,

    /// For a change ticket.
    #[command(flatten)]
    pub ticket: TicketOptions,
}

impl From<UpgradeArgs> for RunArgs {
    fn from(args: UpgradeArgs) -> Self {
        let UpgradeArgs { skip_invalid, conversion, yes, keep_newer, ticket } = args;
        Self { with_backup: Some(true), skip_invalid, conversion, yes, no_backup: false, keep_newer, ticket }
    }
}

/// Options of `repair`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RepairOptions {
    /// Show what would be done, without writing anything
    #[arg(long)]
    pub dry_run: bool,

    /// As of run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What goes into a change ticket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct TicketOptions {
    /// Write a Markdown report for a change ticket into this file too: what there is, what will happen or was done, the verdict, the way
    /// back. An earlier report there is replaced
    #[arg(long, value_name = "FILE.md")]
    pub report: Option<PathBuf>,
}

/// What can be chosen about the conversion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ConversionOptions {
    /// Have the new Milvus rebuild indexes of this type (ANNOY, IVF_PQ, ...); comma-separated or repeated
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = index_type, help_heading = CONVERSION)]
    pub rebuild_index: Vec<String>,

    /// Have no index rebuilt, not even those on whose files the new Milvus is known to crash or to answer wrongly
    #[arg(long, conflicts_with = "rebuild_index", help_heading = CONVERSION)]
    pub keep_index_files: bool,

    /// Give a collection another name, one that the new Milvus takes ('pri$es=prices'); repeat it for more
    #[arg(long, value_name = "OLD=NEW", help_heading = CONVERSION)]
    pub rename_collection: Vec<Rename>,

    /// Give an alias another name; repeat it for more
    #[arg(long, value_name = "OLD=NEW", help_heading = CONVERSION)]
    pub rename_alias: Vec<Rename>,

    /// Give a partition another name, collection and partition by name or ID; repeat it for more
    #[arg(long, value_name = "COLLECTION/PARTITION=NEW", help_heading = CONVERSION)]
    pub rename_partition: Vec<Rename>,

    /// The message log of this Milvus: on Kafka, channels without a position begin at the first message that is left [default: by
    /// --milvus-config where that leaves no choice, else by the form of the message IDs]
    #[arg(long, value_enum, value_name = "LOG", help_heading = CONVERSION)]
    pub message_log: Option<MessageLog>,
}

/// Options of `plan`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct PlanOptions {
    /// Make the plan from the backup file (--backup-file); no etcd is needed
    // The file after this flag is how it was spelt first.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub from_backup: Option<Option<PathBuf>>,

    /// Make the plan from a file of `etcdctl snapshot save`; no etcd is needed
    #[arg(long, value_name = "FILE", conflicts_with = "from_backup")]
    pub from_snapshot: Option<PathBuf>,

    /// Show every change key by key, decoded
    #[arg(long)]
    pub diff: bool,

    /// Refuse unless the components that are registered under the meta root are at these addresses (host or host:port), and
    /// say under which root these are; comma-separated or repeated
    #[arg(long, value_name = "HOST,…", value_delimiter = ',', conflicts_with_all = ["from_backup", "from_snapshot"])]
    pub expect_address: Vec<ExpectedAddress>,

    /// Refuse where Milvus's own configuration (--milvus-config) lacks a setting that keeps the way back open, unless a migration
    /// has begun already
    #[arg(long, conflicts_with_all = ["from_backup", "from_snapshot"])]
    pub require_way_back_settings: bool,

    /// For a change ticket.
    #[command(flatten)]
    pub ticket: TicketOptions,

    /// End with 0 if there is nothing to do, 1 if run would refuse, 2 if there is something to do
    #[arg(long)]
    pub detailed_exitcode: bool,

    /// Leave out what cannot be migrated, as given to run [default: cmd.skipInvalid]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub skip_invalid: Option<bool>,

    /// As given to run
    #[arg(long)]
    pub keep_newer: bool,

    /// How to convert.
    #[command(flatten)]
    pub conversion: ConversionOptions,
}

/// Options of `rollback`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct RollbackOptions {
    /// Accept a backup of another meta root; its keys are moved to this one
    #[arg(long)]
    pub allow_other_root: bool,

    /// Accept a backup of another etcd cluster, or one that has none of the collections here; an etcd that was restored may have a new
    /// cluster ID
    #[arg(long)]
    pub other_cluster: bool,

    /// Restore a backup that was made while Milvus was running, although what Milvus has changed since is lost, and something that was
    /// under way then may come back half done
    #[arg(long)]
    pub restore_backup_of_running_milvus: bool,

    /// Restore a file of metadata that is migrated already (a copy that an earlier rollback made of what it overwrote): afterwards the
    /// newer Milvus is the one to start, not 2.1
    #[arg(long)]
    pub restore_migrated: bool,

    /// Restore this file although another one is on record as the way back: what is there afterwards is of another moment
    #[arg(long)]
    pub other_backup: bool,

    /// Do not save what is there now before it is overwritten
    #[arg(long)]
    pub no_copy: bool,

    /// Do not ask before writing; without a terminal it never asks
    #[arg(long, short)]
    pub yes: bool,

    /// Look first whether all files that the backup names are in the object storage (see check-files), and refuse if not
    #[arg(long)]
    pub check_files: bool,

    /// Go back although files are missing: what they hold is lost for Milvus 2.1
    #[arg(long, requires = "check_files")]
    pub accept_missing_files: bool,

    /// Have Milvus 2.1 build the indexes again that were handed over to the newer one: their files may be gone
    #[arg(long)]
    pub rebuild_handed_over: bool,

    /// For a change ticket.
    #[command(flatten)]
    pub ticket: TicketOptions,
}

/// Options of `check-files`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct CheckFilesOptions {
    /// Take the metadata from the backup file (--backup-file); no etcd is needed
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub from_backup: Option<Option<PathBuf>>,
}

/// Options of `verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct VerifyOptions {
    /// Work the migration out again from the backup file (--backup-file), and compare etcd with it value by value
    // `--backup FILE` is how it was spelt first.
    #[arg(long, alias = "backup", value_name = "FILE", num_args = 0..=1)]
    pub against_backup: Option<Option<PathBuf>>,

    /// For a change ticket.
    #[command(flatten)]
    pub ticket: TicketOptions,

    /// With --against-backup: as given to the run that is compared with [default: cmd.skipInvalid]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub skip_invalid: Option<bool>,

    /// With --against-backup: as given to the run that is compared with.
    #[command(flatten)]
    pub conversion: ConversionOptions,
}

/// Options of `inspect`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct InspectOptions {
    /// Backup file of this tool, of the original tool or of Birdwatcher (bw_etcd_*.bak.gz); or give it with --backup-file
    pub file: Option<PathBuf>,

    /// List the keys with the sizes of their values, all or those that begin with PREFIX
    #[arg(long, value_name = "PREFIX", num_args = 0..=1, default_missing_value = "", group = "view")]
    pub list: Option<String>,

    /// Show the value of a key, decoded; with or without the meta root before it
    #[arg(long, value_name = "KEY", group = "view")]
    pub key: Option<String>,

    /// Show what came, went and changed against another backup, the earlier one: collections, partitions, aliases, indexes, load
    /// states, users. Ends with 0 if both hold the same, else with 1
    #[arg(long, value_name = "FILE", group = "view")]
    pub against: Option<PathBuf>,

    /// Write all keys as JSON lines into a new file in DIR, or - for standard output
    #[arg(long, value_name = "DIR|-", group = "view")]
    pub export: Option<PathBuf>,
}

/// Options of `man`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ManOptions {
    /// The command whose page is wanted
    pub command: Option<String>,

    /// Write all pages into this folder, each into a file of its own
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

impl ConversionOptions {
    /// The options of a conversion.
    pub fn options(&self, precedence: Precedence, restore_schemas: bool) -> catalog::Options {
        catalog::Options {
            rebuild_index: self.rebuild_index.clone(),
            keep_index_files: self.keep_index_files,
            rename_collection: self.rename_collection.clone(),
            rename_alias: self.rename_alias.clone(),
            rename_partition: self.rename_partition.clone(),
            message_log: self.message_log,
            precedence,
            restore_schemas,
        }
    }

    /// The same with the message log as it is on record where something is, else as Milvus's own configuration leaves no choice; unless
    /// it was given.
    pub fn settled(&self, history: Option<&History>, config: &Config) -> Self {
        let known = history.map_or(config.message_log.log, |history| history.options.message_log);
        Self { message_log: self.message_log.or(known), ..self.clone() }
    }

    /// As they are on record.
    pub fn of(choices: &Choices) -> Self {
        // They were read from a command line once; a history key that somebody wrote by hand may hold anything, which then is none.
        let read = |renames: &[String]| renames.iter().filter_map(|one| one.parse().ok()).collect();
        Self {
            rebuild_index: choices.rebuild_index.clone(),
            keep_index_files: choices.keep_index_files,
            rename_collection: read(&choices.rename_collection),
            rename_alias: read(&choices.rename_alias),
            rename_partition: read(&choices.rename_partition),
            message_log: choices.message_log,
        }
    }

    /// What goes into the history key.
    pub fn choices(&self, skip_invalid: bool, keep_newer: bool) -> Choices {
        let spelt = |renames: &[Rename]| renames.iter().map(|one| format!("{}={}", one.old, one.new)).collect();
        Choices {
            skip_invalid,
            keep_newer,
            rebuild_handed_over: false,
            rebuild_index: self.rebuild_index.clone(),
            keep_index_files: self.keep_index_files,
            rename_collection: spelt(&self.rename_collection),
            rename_alias: spelt(&self.rename_alias),
            rename_partition: spelt(&self.rename_partition),
            message_log: self.message_log,
        }
    }
}

fn index_type(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("expected a type like ANNOY"),
        name => Ok(name.to_owned()),
    }
}
