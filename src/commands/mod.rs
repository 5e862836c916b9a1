//! One file per command, each reading like the steps of a runbook.

mod backup;
mod inspect;
mod metadata;
mod plan;
mod preflight;
mod rollback;
mod roots;
mod run;
mod session;
mod status;
mod verify;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::apply::{Applier, ApplyError, Limits};
use crate::backup::Backup;
use crate::cli::{Cli, Command, Job};
use crate::config::{self, Config};
use crate::etcd::Etcd;
use crate::exit::{Exit, Failure};
use crate::guard::Guard;
use crate::plan::{Change, Plan};
use crate::readback::read_back;
use crate::report::console::Console;
use crate::report::progress::Progress;
use crate::report::text::thousands;
use crate::stop::Stop;

/// What every command works with.
struct Context {
    config: Config,
    console: Console,
    progress: Progress,
    stop: Stop,
    limits: Limits,
    /// Meta root with its slash.
    root: String,
    /// How long to wait for live sessions to end.
    wait: Option<Duration>,
    /// Whether every key is to be listed.
    verbose: bool,
}

/// Does what the command line says.
///
/// # Errors
/// Whatever keeps it from being done, with the exit code that tells how far it got.
pub async fn execute(cli: &Cli, console: &Console) -> Result<Exit, Failure> {
    // A file can be looked into where neither etcd nor a configuration is at hand.
    if let Some(Command::Inspect(options)) = &cli.command {
        return inspect::execute(console, options);
    }
    let config = config::load(cli.common.config.as_deref(), &cli.overrides()?)?;
    config.warnings.iter().for_each(|warning| console.warn(warning));
    let job = cli.job(&config)?;
    let context = Context {
        console: console.clone(),
        progress: console.progress(),
        stop: Stop::on_signals().context("cannot listen for signals")?,
        limits: Limits { max_txn_ops: cli.common.max_txn_ops, max_request_bytes: cli.common.max_request_bytes },
        root: config.meta_root.prefix(),
        verbose: cli.common.verbose,
        wait: cli.common.wait_for_sessions.map(Into::into),
        config,
    };
    match job {
        Job::Backup(options) => backup::execute(&context, &options).await,
        Job::Run(options) => run::execute(&context, &options).await,
        Job::Rollback(options) => rollback::execute(&context, &options).await,
        Job::Plan(options) => plan::execute(&context, &options).await,
        Job::Status => status::execute(&context).await,
        Job::Verify(options) => verify::execute(&context, &options).await,
        Job::Inspect(options) => inspect::execute(&context.console, &options),
    }
}

impl Context {
    fn say(&self, text: impl AsRef<str>) {
        self.console.say(text.as_ref());
    }

    async fn connect(&self) -> Result<Etcd> {
        let endpoints: Vec<_> = self.config.etcd.endpoints.iter().map(|endpoint| endpoint.uri.as_str()).collect();
        tracing::debug!("connecting to {}", endpoints.join(", "));
        let etcd = self.unless_stopped(async { Ok(Etcd::connect(&self.config.etcd).await?) }).await?;
        let version = etcd.server().map_or_else(String::new, |server| format!(" (etcd {})", server.version));
        self.say(format!("etcd at {}{version}, meta root {}", etcd.endpoint(), self.config.meta_root));
        Ok(etcd)
    }

    /// Does what can be left off at any point: as soon as the process is told to stop, it is.
    async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            stopped = self.stop.requested() => Err(stopped.into()),
        }
    }

    fn backup_file(&self) -> Result<PathBuf> {
        self.config
            .backup_file
            .clone()
            .context("no backup file: set config.backupFilePath in the configuration file, or give --backup-file FILE")
    }

    fn source_version(&self) -> Option<String> {
        self.config.source_version.as_ref().map(ToString::to_string)
    }

    /// Carries a plan out, reads everything back, and tells both.
    async fn carry_out(&self, etcd: &Etcd, guard: &Guard, plan: &Plan, way_on: &str) -> Result<i64, Failure> {
        plan.changes().for_each(log_change);
        self.progress.expect(plan);
        let applier =
            Applier { etcd, guard, root: &self.root, limits: self.limits, stop: &self.stop, progress: &self.progress };
        let (done, result) = applier.apply(plan).await;
        if let Err(error) = result {
            return Err(interrupted(error, done.may_have_written(), way_on));
        }
        let found = self
            .starting_over(async || Ok(read_back(etcd, &self.root, plan, &self.progress).await?))
            .await
            .context("everything was written, but could not be read back and compared")
            .map_err(|error| Failure::interrupted(error.context(way_on.to_owned())))?;
        if found.different > 0 {
            let list = found.differences.join("\n  ");
            let error = anyhow::anyhow!(
                "everything was written, but {} key(s) are not as planned at revision {}:\n  {list}\n{way_on}",
                thousands(found.different),
                found.revision
            );
            return Err(Failure::interrupted(error));
        }
        self.say(format!(
            "read back at revision {} and compared: all {} keys are as planned",
            found.revision,
            thousands(found.keys)
        ));
        Ok(found.revision)
    }
}

/// One line per change, for those who asked for it.
fn log_change(change: &Change) {
    match change {
        Change::Put { key, value } => tracing::debug!("put {} ({} bytes)", key.escape_ascii(), value.len()),
        Change::Delete { first, keys: 1, .. } => tracing::debug!("delete {}", first.escape_ascii()),
        Change::Delete { first, last, keys } => {
            tracing::debug!("delete {keys} keys from {} to {}", first.escape_ascii(), last.escape_ascii());
        }
    }
}

fn interrupted(error: ApplyError, written: bool, way_on: &str) -> Failure {
    let error = anyhow::Error::new(error);
    if written {
        Failure::interrupted(error.context(format!("stopped in the middle of writing. {way_on}")))
    } else {
        Failure::nothing_written(error.context("stopped before the first write: the metadata is as it was"))
    }
}

/// What a backup is, in a few words.
fn describe(backup: &Backup) -> String {
    match &backup.format {
        crate::backup::Format::Ours(manifest) => format!(
            "{} keys of {}, made {} at revision {}, layout {}",
            thousands(backup.keys),
            backup.meta_root,
            manifest.created,
            manifest.etcd_revision,
            manifest.layout
        ),
        crate::backup::Format::Legacy => {
            let left_out = match backup.left_out {
                0 => String::new(),
                keys => format!("; {} key(s) that are not under {} are left alone", thousands(keys), backup.meta_root),
            };
            format!("{} keys of {}, made by the original tool{left_out}", thousands(backup.keys), backup.meta_root)
        }
    }
}
