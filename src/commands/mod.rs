//! One file per command, each reading like the steps of a runbook.

mod backup;
mod check_files;
mod gone;
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
mod way_back;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use semver::Version;

use crate::apply::{Applier, ApplyError, Limits};
use crate::backup::Backup;
use crate::cli::{Cli, Command, Job, RunOptions};
use crate::config::{self, Config, StorageConfig};
use crate::course::{self, Course};
use crate::etcd::Etcd;
use crate::exit::{Exit, Failure};
use crate::guard::Guard;
use crate::history::Operation;
use crate::outcome::words::thousands;
use crate::outcome::{Ended, Header, Next};
use crate::plan::{Change, Plan};
use crate::state::{Situation, State};
use crate::stop::Stop;
use crate::terminal::console::Console;
use crate::terminal::progress::Progress;

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
    /// Whether lists are shown whole.
    details: bool,
    /// Where the object storage is, for what looks into it.
    storage: Option<StorageConfig>,
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
    let overrides = cli.overrides()?;
    let config = config::load(cli.common.config.as_deref(), &overrides)?;
    config.warnings.iter().for_each(|warning| console.warn(warning));
    let job = cli.job(&config)?;
    let looks_for_files = match &job {
        Job::CheckFiles(_) => true,
        Job::Rollback(options) => options.check_files,
        _ => false,
    };
    let storage =
        looks_for_files.then(|| config::load_storage(cli.common.config.as_deref(), &overrides)).transpose()?;
    let context = Context {
        console: console.clone(),
        progress: console.progress(),
        stop: Stop::on_signals().context("cannot listen for signals")?,
        limits: Limits { max_txn_ops: cli.common.max_txn_ops, max_request_bytes: cli.common.max_request_bytes },
        root: config.meta_root.prefix(),
        details: cli.common.details || cli.common.verbose,
        wait: cli.common.wait_for_sessions.map(Into::into),
        storage,
        config,
    };
    match job {
        Job::Backup(options) => backup::execute(&context, &options).await,
        Job::Run(options) => run::execute(&context, &options, Operation::Run).await,
        Job::Repair { dry_run: true, options } => plan::of_repair(&context, &options).await,
        Job::Repair { options, .. } => run::execute(&context, &options, Operation::Repair).await,
        Job::Rollback(options) => rollback::execute(&context, &options).await,
        Job::Plan(options) => plan::execute(&context, &options).await,
        Job::Status => status::execute(&context).await,
        Job::Verify(options) => verify::execute(&context, &options).await,
        Job::CheckFiles(options) => check_files::execute(&context, &options).await,
        Job::Inspect(options) => inspect::execute(&context.console, &options),
    }
}

impl Context {
    fn say(&self, text: impl AsRef<str>) {
        self.console.say(text.as_ref());
    }

    fn header(&self, command: &'static str, ended: Ended, state: Option<State>, next: Option<Next>) -> Header {
        Header { meta_root: Some(self.config.meta_root.to_string()), state, next, ..Header::new(command, ended) }
    }

    async fn connect(&self) -> Result<Etcd> {
        let endpoints: Vec<_> = self.config.etcd.endpoints.iter().map(|endpoint| endpoint.uri.as_str()).collect();
        tracing::debug!("connecting to {}", endpoints.join(", "));
        let etcd = self.unless_stopped(async { Ok(Etcd::connect(&self.config.etcd).await?) }).await?;
        let version = etcd
            .server()
            .map_or_else(String::new, |server| format!(" (etcd {}, cluster {:x})", server.version, server.cluster_id));
        self.say(format!("etcd at {}{version}, meta root {}", etcd.endpoint(), self.config.meta_root));
        self.say(self.config.stated_in_words());
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
        let file = self.config.backup_file.clone().context(
            "no backup file: set config.backupFilePath in the configuration file, or give --backup-file FILE",
        )?;
        crate::backup::regular(&file)?;
        Ok(file)
    }

    fn source_version(&self) -> Option<String> {
        self.config.source_version.as_ref().map(ToString::to_string)
    }

    fn applier<'a>(&'a self, etcd: &'a Etcd, guard: &'a Guard) -> Applier<'a> {
        Applier {
            etcd,
            guard,
            root: &self.root,
            limits: self.limits,
            stop: &self.stop,
            progress: &self.progress,
            history: None,
            counter: Default::default(),
        }
    }

    /// A person at a terminal sees what will be done, and is asked.
    async fn ask(&self, yes: bool, text: &str, question: &str) -> Result<()> {
        if yes || !self.console.can_ask() {
            return Ok(());
        }
        self.say(text);
        tokio::select! {
            answer = self.console.confirms(question) => match answer.context("cannot ask")? {
                true => Ok(()),
                false => anyhow::bail!("not confirmed: nothing was written"),
            },
            stopped = self.stop.requested() => Err(stopped).context("not confirmed: nothing was written"),
        }
    }
}

/// What is refused, as an error.
fn refusal(why: &str, next: &Next) -> anyhow::Error {
    anyhow::anyhow!("{why}. Nothing was written.\nNext: {}", next.text)
}

/// Why there is nothing to do, if so; what is refused is an error.
fn take(course: Course) -> Result<Option<String>> {
    match course {
        Course::Convert => Ok(None),
        Course::Nothing(why) => Ok(Some(why)),
        Course::Refuse(why, next) => Err(refusal(&why, &next)),
    }
}

/// What is to be done by `run` or `repair`.
fn course_of(
    context: &Context,
    situation: &Situation,
    operation: Operation,
    target: &Version,
    options: &RunOptions,
) -> Course {
    let choices = options.conversion.choices(options.skip_invalid, options.keep_newer);
    match operation {
        Operation::Repair => course::of_repair(situation, target, &choices),
        _ => course::of_run(situation, context.config.source_version.as_ref(), target, &choices),
    }
}

/// One line per change, for those who asked for it.
fn log_changes(plan: &Plan) {
    for change in plan.changes() {
        match change {
            Change::Put { key, value } => tracing::debug!("put {} ({} bytes)", key.escape_ascii(), value.len()),
            Change::Delete { first, keys: 1, .. } => tracing::debug!("delete {}", first.escape_ascii()),
            Change::Delete { first, last, keys } => {
                tracing::debug!("delete {keys} keys from {} to {}", first.escape_ascii(), last.escape_ascii());
            }
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
