//! The command line. It only declares; what the values mean is decided in [`crate::config`].

mod applies;
mod asked;
mod common;
mod documents;
mod environment;
mod job;
mod manual;
mod object_storage;
mod options;

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{CommandType, Config, Overrides, PASSWORD_VARIABLE, Password, input_files};
use crate::exit::Exit;
use crate::terminal::console::Volume;
pub use asked::{Asked, text_of};
pub use common::Common;
pub use job::{Job, RunOptions};
pub use object_storage::StorageFlags;
pub use options::{
    BackupOptions, CheckFilesOptions, ConversionOptions, InspectOptions, ManOptions, PlanOptions, RepairOptions,
    RollbackOptions, RunArgs, UpgradeArgs, VerifyOptions,
};

/// What `--version` says: which release, from which commit (if that is known), for which target it was built (build.rs). Man pages
/// have the release alone, so that they are the same for every target.
const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_OF_META_MIGRATION"), ")");

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

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Write all metadata to the backup file
    Backup(BackupOptions),
    /// Migrate the metadata from the source version to the target version
    Run(RunArgs),
    /// The whole window in one command: wait until Milvus has stopped, back up, migrate, verify. Run again, it goes on where it ended
    Upgrade(UpgradeArgs),
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
    /// Write man pages: all, or that of one command, to standard output; or all into a folder
    Man(ManOptions),
}

/// Said to whoever names no command.
pub const WAY_IN: &str = "no command. The way, each step with --help:

  meta-migration status    what there is, and what to do next; writes nothing
  meta-migration plan      what run would do, by name; writes nothing, Milvus may be up
  meta-migration backup    with Milvus stopped: the way back, into a file
  meta-migration run       migrate
  meta-migration verify    whether the new Milvus can be started on it

`rollback` goes back, `meta-migration --help` has all commands. Where etcd is, say --endpoints (and --root-path), --milvus-config FILE
or --config FILE; a --config FILE with cmd.type says what to do, too";

/// Reads the arguments, the program's name first, and the environment.
///
/// # Errors
/// Bad usage, or help or version were asked for; [`exit_of`] tells which.
pub fn parse_from(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let matches = declaration().long_version(LONG_VERSION).try_get_matches_from(with_two_dashes(args))?;
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
    let declaration = Cli::command().mut_args(|arg| {
        let is_empty = |name: &OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
        if arg.get_env().is_some_and(is_empty) { arg.env(None::<&str>) } else { arg }
    });
    let declaration = declaration.after_help(manual::examples_in_help("")).mut_subcommands(|command| {
        let examples = manual::examples_in_help(command.get_name());
        command.after_help(examples)
    });
    applies::narrowed(declaration)
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
            Some(Command::Upgrade(_)) => "upgrade",
            Some(Command::Repair(_)) => "repair",
            Some(Command::Rollback(_)) => "rollback",
            Some(Command::Plan(_)) => "plan",
            Some(Command::Status) => "status",
            Some(Command::Verify(_)) => "verify",
            Some(Command::CheckFiles(_)) => "check-files",
            Some(Command::Inspect(_)) => "inspect",
            Some(Command::Completions { .. }) => "completions",
            Some(Command::Man(_)) => "man",
        }
    }

    /// How much is to be said on the way.
    pub fn volume(&self) -> Volume {
        match (self.common.quiet, self.common.verbose) {
            (true, _) => Volume::Quiet,
            (false, true) => Volume::Verbose,
            (false, false) => Volume::Normal,
        }
    }

    /// Whether nothing at all says what to do: neither a command nor a configuration file that might.
    pub fn is_bare(&self) -> bool {
        self.command.is_none() && self.common.config.is_none()
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
            user: common.user.as_deref().map(|user| without_line_end(user).to_owned()),
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
                    bail!("{WAY_IN}")
                }
            },
        };
        Ok(match command {
            Command::Backup(options) => Job::Backup(options),
            Command::Rollback(options) => Job::Rollback(options),
            Command::Plan(options) => Job::Plan(options),
            Command::Status => Job::Status,
            // Written before any configuration is looked at.
            Command::Completions { .. } | Command::Man(_) => bail!("this command takes no configuration"),
            Command::Verify(options) => Job::Verify(options),
            Command::CheckFiles(options) => Job::CheckFiles(options),
            Command::Inspect(options) => Job::Inspect(options),
            Command::Run(typed) => Job::Run(run_options(typed, config)),
            Command::Upgrade(typed) => Job::Upgrade(run_options(typed.into(), config)),
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
        report: typed.ticket.report,
    }
}

fn password_in(path: &Path, what: &str) -> Result<Password> {
    const MAX_BYTES: u64 = 4096;
    let text = input_files::read_text(path, MAX_BYTES)?;
    let line = without_line_end(&text);
    if line.is_empty() {
        bail!("{}: is empty, expected {what}", path.display());
    }
    Ok(Password::from(line.to_owned()))
}

/// Editors and echo end what they write with a line break, in files and in what becomes a Secret: it is part of no name or password.
fn without_line_end(text: &str) -> &str {
    let line = text.strip_suffix('\n').unwrap_or(text);
    line.strip_suffix('\r').unwrap_or(line)
}

fn password_from(variable: &str, flag: &str, value: Option<OsString>) -> Result<Option<Password>> {
    match value.filter(|value| !value.is_empty()).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(password)) => Ok(Some(Password::from(without_line_end(&password).to_owned()))),
        // The value is not shown: it is the password.
        Some(Err(_)) => bail!("{variable}: is not UTF-8 text: correct it, or use {flag}"),
    }
}

#[cfg(test)]
mod tests;
