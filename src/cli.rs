//! The command line. It only declares; what the values mean is decided in [`crate::config`].

mod documents;
mod environment;
mod object_storage;
mod options;

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::builder::{BoolishValueParser, RangedU64ValueParser};
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use semver::Version;

use crate::config::{self, CommandType, Config, Overrides, PASSWORD_VARIABLE, Password, files};
use crate::exit::Exit;
use crate::terminal::console::{LogFormat, OutputFormat};
use crate::version;
pub use object_storage::StorageFlags;
pub use options::{
    BackupOptions, CheckFilesOptions, ConversionOptions, InspectOptions, PlanOptions, RepairOptions, RollbackOptions,
    RunArgs, VerifyOptions,
};

/// Upgrades the metadata of a Milvus 2.1.x cluster, which lives in etcd, to the layout of 2.2, 2.3 or 2.4.
///
/// Stop Milvus before. Without a command, cmd.type in the configuration file says what to do. A flag goes before its
/// environment variable, that before the file, and the file before the default.
#[derive(Debug, Clone, Parser)]
#[command(name = "meta-migration", version)]
pub struct Cli {
    /// What all commands take.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where the values come from.
    #[arg(skip)]
    given: Given,
}

/// Which values of [`Common`] are not defaults, by the names of their flags, like `--root-path`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Given {
    by_variable: BTreeSet<String>,
    on_the_command_line: BTreeSet<String>,
}

/// Flags that all commands take, before or after the command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Configuration file: YAML as in milvus.yaml, with cmd and config added (-config FILE works too)
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_CONFIG", global = true, help_heading = GENERAL)]
    pub config: Option<PathBuf>,

    /// Milvus's own configuration (milvus.yaml, or default.yaml and then user.yaml): endpoints, root, TLS and login are
    /// taken from it, and whatever is said elsewhere must agree with it; comma-separated or repeated, later ones win
    #[arg(
        long,
        value_name = "FILE",
        value_delimiter = ',',
        env = "META_MIGRATION_MILVUS_CONFIG",
        global = true,
        help_heading = ETCD
    )]
    pub milvus_config: Vec<PathBuf>,

    /// How results are given out: text for people, or one JSON object on standard output (docs/json.md)
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, env = "META_MIGRATION_OUTPUT", global = true)]
    pub output: OutputFormat,

    /// How log lines are written, for log collectors
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, env = "META_MIGRATION_LOG_FORMAT", global = true)]
    pub log_format: LogFormat,

    /// Wait so long (90s, 5m) until the last Milvus component and any other migration has ended, instead of refusing at once
    #[arg(long, value_name = "TIME", env = "META_MIGRATION_WAIT_FOR_SESSIONS", global = true)]
    pub wait_for_sessions: Option<humantime::Duration>,

    /// Show lists whole, however long
    #[arg(
        long,
        env = "META_MIGRATION_DETAILS",
        value_parser = BoolishValueParser::new(),
        global = true,
        help_heading = GENERAL
    )]
    pub details: bool,

    /// Write one line per key that is changed
    #[arg(short, long, env = "META_MIGRATION_VERBOSE", value_parser = BoolishValueParser::new(), global = true, help_heading = GENERAL)]
    pub verbose: bool,

    /// etcd servers, comma-separated: host:port, http://host:port or https://host:port [default: localhost:2379]
    #[arg(long, value_name = "LIST", env = "ETCD_ENDPOINTS", hide_env_values = true, global = true, help_heading = ETCD)]
    pub endpoints: Option<String>,

    /// First half of the meta root, etcd.rootPath [default: by-dev]
    #[arg(long, value_name = "PATH", env = "META_MIGRATION_ROOT_PATH", global = true, help_heading = ETCD)]
    pub root_path: Option<String>,

    /// Second half of the meta root, etcd.metaSubPath [default: meta]
    #[arg(long, value_name = "PATH", env = "META_MIGRATION_META_SUB_PATH", global = true, help_heading = ETCD)]
    pub meta_sub_path: Option<String>,

    /// How long to wait for one answer of etcd [default: 10000]
    #[arg(
        long,
        value_name = "MS",
        env = "META_MIGRATION_REQUEST_TIMEOUT",
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=config::MAX_TIMEOUT_MS),
        global = true,
        help_heading = ETCD
    )]
    pub request_timeout: Option<u64>,

    /// How many operations one etcd transaction may have, the server's --max-txn-ops
    #[arg(
        long,
        value_name = "N",
        env = "META_MIGRATION_MAX_TXN_OPS",
        default_value_t = 128,
        value_parser = RangedU64ValueParser::<usize>::new().range(8..=100_000),
        global = true,
        help_heading = ETCD
    )]
    pub max_txn_ops: usize,

    /// How large one request to etcd may be, the server's --max-request-bytes
    #[arg(
        long,
        value_name = "N",
        env = "META_MIGRATION_MAX_REQUEST_BYTES",
        default_value_t = 1_572_864,
        value_parser = RangedU64ValueParser::<usize>::new().range(65_536..=1 << 30),
        global = true,
        help_heading = ETCD
    )]
    pub max_request_bytes: usize,

    /// Use TLS for endpoints without http:// or https://
    #[arg(
        long,
        value_name = "BOOL",
        env = "META_MIGRATION_TLS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new(),
        global = true,
        help_heading = ETCD
    )]
    pub tls: Option<bool>,

    /// Certificates to trust, PEM [default: those of the machine]
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_TLS_CA", global = true, help_heading = ETCD)]
    pub tls_ca: Option<PathBuf>,

    /// Our own certificate, PEM
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_TLS_CERT", global = true, help_heading = ETCD)]
    pub tls_cert: Option<PathBuf>,

    /// The private key of our certificate, PEM
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_TLS_KEY", global = true, help_heading = ETCD)]
    pub tls_key: Option<PathBuf>,

    /// Oldest version of TLS to use, 1.2 or 1.3 [default: 1.3]
    #[arg(long, value_name = "VERSION", env = "META_MIGRATION_TLS_MIN_VERSION", global = true, help_heading = ETCD)]
    pub tls_min_version: Option<String>,

    /// etcd user; the password comes from the file, --password-file or META_MIGRATION_ETCD_PASSWORD
    #[arg(long, value_name = "NAME", env = "META_MIGRATION_ETCD_USER", global = true, help_heading = ETCD)]
    pub user: Option<String>,

    /// File with the password of the etcd user; goes before META_MIGRATION_ETCD_PASSWORD
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_ETCD_PASSWORD_FILE", global = true, help_heading = ETCD)]
    pub password_file: Option<PathBuf>,

    /// Version of Milvus that wrote the metadata, like 2.1.4
    #[arg(
        long,
        value_name = "VERSION",
        env = "META_MIGRATION_SOURCE_VERSION",
        value_parser = version::parse,
        global = true,
        help_heading = MIGRATION
    )]
    pub source_version: Option<Version>,

    /// Version of Milvus that is to read it, like 2.2.16
    #[arg(
        long,
        value_name = "VERSION",
        env = "META_MIGRATION_TARGET_VERSION",
        value_parser = version::parse,
        global = true,
        help_heading = MIGRATION
    )]
    pub target_version: Option<Version>,

    /// The backup file to write or to restore
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_BACKUP_FILE", global = true, help_heading = MIGRATION)]
    pub backup_file: Option<PathBuf>,

    /// Where the object storage is.
    #[command(flatten)]
    pub storage: StorageFlags,
}

const GENERAL: &str = "General";
const ETCD: &str = "etcd";
const MIGRATION: &str = "Migration";

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Write all metadata to the backup file
    Backup(BackupOptions),
    /// Migrate the metadata from the source version to the target version
    Run(RunArgs),
    /// Bring what another tool (or an earlier edition of this one) migrated into the target's own layout
    Repair(RepairOptions),
    /// Bring the metadata back to what the backup file holds
    Rollback(RollbackOptions),
    /// Show what run would do, without writing anything; Milvus may be up
    Plan(PlanOptions),
    /// Show etcd, the meta root, live components, the lock, and the next sensible step
    Status,
    /// Check that the metadata is complete and consistent for the target version; changes nothing
    Verify(VerifyOptions),
    /// Check that all files that the metadata names are in the object storage; changes nothing
    CheckFiles(CheckFilesOptions),
    /// Look into a backup file, damaged ones too; needs neither etcd nor a configuration file
    Inspect(InspectOptions),
    /// Write shell completions to standard output
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages to standard output
    Man,
}

/// What is to be done, with all that was said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Write a backup.
    Backup(BackupOptions),
    /// Migrate.
    Run(RunOptions),
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
}

/// Reads the arguments, the program's name first, and the environment.
///
/// # Errors
/// Bad usage, or help or version were asked for; [`exit_of`] tells which.
pub fn parse_from(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = declaration().try_get_matches_from(with_two_dashes(args))?;
    Ok(Cli { given: Given::of(&matches), ..Cli::from_arg_matches(&matches)? })
}

impl Given {
    fn of(matches: &clap::ArgMatches) -> Self {
        let mut given = Self::default();
        for arg in Common::augment_args(clap::Command::new("common")).get_arguments() {
            let Some(flag) = arg.get_long().map(|name| format!("--{name}")) else { continue };
            match matches.value_source(arg.get_id().as_str()) {
                Some(ValueSource::EnvVariable) => given.by_variable.insert(flag),
                Some(ValueSource::CommandLine) => given.on_the_command_line.insert(flag),
                _ => false,
            };
        }
        given
    }
}

/// What the process ends with after [`parse_from`] failed; the argument parser's own answer to bad usage would be 2.
pub fn exit_of(error: &clap::Error) -> Exit {
    if error.use_stderr() { Exit::NothingWritten } else { Exit::Done }
}

/// An environment variable that is set to nothing, as manifests do, counts as not set.
fn declaration() -> clap::Command {
    Cli::command().mut_args(|arg| {
        let is_empty = |name: &OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
        if arg.get_env().is_some_and(is_empty) { arg.env(None::<&str>) } else { arg }
    })
}

/// `-config` is how the original tool spells it, and `migrate.sh` and the operator with it.
fn with_two_dashes(args: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut only_values_follow = false;
    args.into_iter().map(move |arg| {
        only_values_follow |= arg == "--";
        let bytes = arg.as_encoded_bytes();
        if only_values_follow || !(bytes == b"-config" || bytes.starts_with(b"-config=")) {
            return arg;
        }
        let mut with_two = OsString::from("-");
        with_two.push(arg);
        with_two
    })
}

impl Cli {
    /// The name of the command that was typed; empty where the file says what to do.
    pub fn name(&self) -> &'static str {
        match &self.command {
            None => "",
            Some(Command::Backup(_)) => "backup",
            Some(Command::Run(_)) => "run",
            Some(Command::Repair(_)) => "repair",
            Some(Command::Rollback(_)) => "rollback",
            Some(Command::Plan(_)) => "plan",
            Some(Command::Status) => "status",
            Some(Command::Verify(_)) => "verify",
            Some(Command::CheckFiles(_)) => "check-files",
            Some(Command::Inspect(_)) => "inspect",
            Some(Command::Completions { .. }) => "completions",
            Some(Command::Man) => "man",
        }
    }

    /// What the flags and the environment say in place of the file, the password read.
    ///
    /// # Errors
    /// A variable is set that means nothing, the password file cannot be read or is empty, or the password in the environment is not UTF-8.
    pub fn overrides(&self) -> Result<Overrides> {
        environment::refuse_unknown(env::vars_os())?;
        let common = &self.common;
        let mut from_variables = self.given.by_variable.clone();
        let password = match &common.password_file {
            Some(path) => Some(password_in(path, "the password of the etcd user")?),
            None => {
                from_variables.insert(PASSWORD_VARIABLE.to_owned());
                password_from(PASSWORD_VARIABLE, "--password-file", env::var_os(PASSWORD_VARIABLE))?
            }
        };
        Ok(Overrides {
            milvus_config: common.milvus_config.clone(),
            from_variables,
            endpoints: common.endpoints.clone(),
            root_path: common.root_path.clone(),
            meta_sub_path: common.meta_sub_path.clone(),
            request_timeout: common.request_timeout.map(Duration::from_millis),
            tls: common.tls,
            tls_ca: common.tls_ca.clone(),
            tls_cert: common.tls_cert.clone(),
            tls_key: common.tls_key.clone(),
            tls_min_version: common.tls_min_version.clone(),
            user: common.user.clone(),
            password,
            source_version: common.source_version.clone(),
            target_version: common.target_version.clone(),
            backup_file: common.backup_file.clone(),
            storage: common.storage.overrides()?,
        })
    }

    /// Which command to carry out and how: the one typed, or `cmd.type` of the file.
    ///
    /// # Errors
    /// Neither says what to do.
    pub fn job(&self, config: &Config) -> Result<Job> {
        let command = match (&self.command, config.command) {
            (Some(command), _) => command.clone(),
            (None, Some(CommandType::Backup)) => Command::Backup(BackupOptions::default()),
            (None, Some(CommandType::Run)) => Command::Run(RunArgs::default()),
            (None, Some(CommandType::Rollback)) => Command::Rollback(RollbackOptions::default()),
            (None, None) => match &self.common.config {
                Some(path) => bail!(
                    "{}: cmd.type: missing, expected run, backup or rollback: set it, or put the command on the command line",
                    path.display()
                ),
                None => {
                    bail!(
                        "no command: say backup, run, rollback or verify, or give a --config FILE with cmd.type (see --help)"
                    )
                }
            },
        };
        Ok(match command {
            Command::Backup(options) => Job::Backup(options),
            Command::Rollback(options) => Job::Rollback(options),
            Command::Plan(options) => Job::Plan(options),
            Command::Status => Job::Status,
            // Written before any configuration is looked at.
            Command::Completions { .. } | Command::Man => bail!("this command takes no configuration"),
            Command::Verify(options) => Job::Verify(options),
            Command::CheckFiles(options) => Job::CheckFiles(options),
            Command::Inspect(options) => Job::Inspect(options),
            Command::Run(typed) => Job::Run(run_options(typed, config)),
            Command::Repair(typed) => Job::Repair { dry_run: typed.dry_run, options: run_options(typed.run, config) },
        })
    }
}

fn run_options(typed: RunArgs, config: &Config) -> RunOptions {
    RunOptions {
        with_backup: typed.with_backup.unwrap_or(config.run_with_backup),
        skip_invalid: typed.skip_invalid.unwrap_or(config.skip_invalid),
        conversion: typed.conversion,
        yes: typed.yes,
        no_backup: typed.no_backup,
        keep_newer: typed.keep_newer,
    }
}

fn password_in(path: &Path, what: &str) -> Result<Password> {
    const MAX_BYTES: u64 = 4096;
    let text = files::read_text(path, MAX_BYTES)?;
    // Editors and echo end the file with a line break, which is no part of the password.
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        bail!("{}: is empty, expected {what}", path.display());
    }
    Ok(Password::from(line.to_owned()))
}

fn password_from(variable: &str, flag: &str, value: Option<OsString>) -> Result<Option<Password>> {
    match value.filter(|value| !value.is_empty()).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(password)) => Ok(Some(Password::from(password))),
        // The value is not shown: it is the password.
        Some(Err(_)) => bail!("{variable}: is not UTF-8 text: correct it, or use {flag}"),
    }
}

#[cfg(test)]
mod tests;
