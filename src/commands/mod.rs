//! One file per command, each reading like the steps of a runbook.

mod backup;
mod check_files;
mod copy_out;
mod from_snapshot;
mod gone;
mod growth;
mod inspect;
mod metadata;
mod of_this_milvus;
mod plan;
mod preflight;
mod read_back;
mod report_file;
mod rollback;
mod roots;
mod run;
mod session;
mod status;
mod upgrade;
mod verify;
mod way_back;
mod way_out;
mod while_running;
mod work_out;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use semver::Version;

use crate::amounts::many;
use crate::apply::{Applier, ApplyError};
use crate::backup::Backup;
use crate::batches::Limits;
use crate::catalog::records::Records;
use crate::cli::{Cli, Command, Job, RunOptions};
use crate::config::{self, Config, StorageConfig};
use crate::course::{self, Course};
use crate::etcd::Etcd;
use crate::exit::Exit;
use crate::guard::Guard;
use crate::history::Operation;
use crate::outcome::failed::{Failure, FailureOutcome, Refusal};
use crate::outcome::ticket;
use crate::outcome::{Ended, Header, Next};
use crate::pace::Pace;
use crate::plan::{Change, Plan};
use crate::state::{Situation, State};
use crate::stop::Stop;
use crate::terminal::console::Console;
use crate::terminal::progress::Progress;
use report_file::ReportFile;
use way_out::next_of;

/// What every command works with.
struct Context {
    config: Config,
    console: Console,
    progress: Progress,
    stop: Stop,
    limits: Limits,
    pace: Pace,
    /// Meta root with its slash.
    root: String,
    /// How long to wait for live sessions to end.
    wait: Option<Duration>,
    /// Whether lists are shown whole.
    details: bool,
    /// Where the object storage is, for what looks into it.
    storage: Option<StorageConfig>,
    /// The state that was found, as soon as it is.
    state: OnceLock<State>,
    /// Which etcd cluster this is, once it has answered.
    cluster_id: OnceLock<String>,
    /// Whether a report is wanted, and what it says so far.
    has_report: bool,
    report: Mutex<Option<String>>,
}

/// Does what the command line says.
///
/// # Errors
/// Whatever keeps it from being done, with the exit code that tells how far it got; a defect of the tool too.
pub fn execute(cli: &Cli, console: &Console) -> Result<Exit, Box<FailureOutcome>> {
    catching(cli.name(), || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.context("cannot start the runtime").map_err(|error| failed(cli.name(), error.into()))?;
        runtime.block_on(prepare_and_execute(cli, console))
    })
}

/// A panic is a defect: it is told as such, and has an object like every failure.
fn catching(
    command: &'static str,
    work: impl FnOnce() -> Result<Exit, Box<FailureOutcome>>,
) -> Result<Exit, Box<FailureOutcome>> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Box::new(FailureOutcome::of_defect(command))))
}

async fn prepare_and_execute(cli: &Cli, console: &Console) -> Result<Exit, Box<FailureOutcome>> {
    // A file can be looked into where neither etcd nor a configuration is at hand.
    if let Some(Command::Inspect(options)) = &cli.command {
        let file = options.file.as_ref().or(cli.common.backup_file.as_ref());
        return inspect::execute(console, options, file.map(PathBuf::as_path))
            .map_err(|failure| failed("inspect", failure));
    }
    let (context, job) = prepare(cli, console).map_err(|error| failed(cli.name(), error.into()))?;
    let command = job.command();
    execute_job(&context, job, command).await.map_err(|failure| {
        let state = context.state.get().copied().unwrap_or(State::Unknown);
        let header = context.header(command, Ended::Failed, state, next_of(&failure));
        Box::new(FailureOutcome::of_command(header, &failure))
    })
}

/// A failure before anything was looked at.
fn failed(command: &'static str, failure: Failure) -> Box<FailureOutcome> {
    let header = Header::new(command, Ended::Failed, State::Unknown, next_of(&failure));
    Box::new(FailureOutcome::of_command(header, &failure))
}

fn prepare(cli: &Cli, console: &Console) -> Result<(Context, Job)> {
    let overrides = cli.overrides()?;
    let file = cli.common.config.as_deref();
    let config = config::load(file, &overrides)?;
    config.warnings.iter().for_each(|warning| console.warn(warning));
    let job = cli.job(&config)?;
    let storage = job.looks_for_files().then(|| config::load_storage(file, &overrides)).transpose()?;
    let wait = cli.common.wait_for_sessions.map(Into::into);
    let context = Context {
        console: console.clone(),
        progress: console.progress(),
        stop: Stop::on_signals().context("cannot listen for signals")?,
        limits: Limits { max_txn_ops: cli.common.max_txn_ops, max_request_bytes: cli.common.max_request_bytes },
        pace: Pace::new(cli.common.max_rate),
        root: config.meta_root.prefix(),
        details: cli.common.details || cli.common.verbose,
        // An upgrade begins with waiting: it is for those who have just told Milvus to stop.
        wait: wait.or(matches!(job, Job::Upgrade(_)).then_some(upgrade::DEFAULT_WAIT)),
        storage,
        state: OnceLock::new(),
        cluster_id: OnceLock::new(),
        has_report: job.report().is_some(),
        report: Mutex::new(None),
        config,
    };
    Ok((context, job))
}

async fn execute_job(context: &Context, job: Job, command: &'static str) -> Result<Exit, Failure> {
    // Before anything is done.
    let report = job.report().map(|path| ReportFile::begin(context, path)).transpose()?;
    let done = carry_out(context, job).await;
    if let Some(report) = report {
        let said = context.report.lock().ok().and_then(|mut text| text.take());
        let failed = || {
            done.as_ref()
                .err()
                .map(|failure| ticket::of_failure(command, failure, &next_of(failure), &context.surroundings()))
        };
        report.finish(context, &said.or_else(failed).unwrap_or_default());
    }
    done
}

async fn carry_out(context: &Context, job: Job) -> Result<Exit, Failure> {
    match job {
        Job::Backup(options) => backup::execute(context, &options).await,
        Job::Run(options) => run::execute(context, &options, Operation::Run).await,
        Job::Upgrade(options) => upgrade::execute(context, &options).await,
        Job::Repair { dry_run: true, options } => plan::of_repair(context, &options).await,
        Job::Repair { options, .. } => run::execute(context, &options, Operation::Repair).await,
        Job::Rollback(options) => rollback::execute(context, &options).await,
        Job::Plan(options) => plan::execute(context, &options).await,
        Job::Status => status::execute(context).await,
        Job::Verify(options) => verify::execute(context, &options).await,
        Job::CheckFiles(options) => check_files::execute(context, &options).await,
        Job::Inspect(options) => inspect::execute(&context.console, &options, options.file.as_deref()),
    }
}

impl Context {
    fn say(&self, text: impl AsRef<str>) {
        self.console.say(text.as_ref());
    }

    fn header(&self, command: &'static str, ended: Ended, state: State, next: Next) -> Header {
        let (meta_root, cluster_id) = (Some(self.config.meta_root.to_string()), self.cluster_id.get().cloned());
        Header { meta_root, cluster_id, ..Header::new(command, ended, state, next) }
    }

    /// The situation of what was read; its state is kept for whatever fails afterwards.
    fn situation(&self, records: &Records) -> Result<Situation> {
        let situation = Situation::of(records)?;
        self.state.get_or_init(|| situation.state);
        Ok(situation)
    }

    async fn connect(&self) -> Result<Etcd> {
        let endpoints: Vec<_> = self.config.etcd.endpoints.iter().map(|endpoint| endpoint.uri.as_str()).collect();
        tracing::debug!("connecting to {}", endpoints.join(", "));
        let etcd = self.unless_stopped(async { Ok(Etcd::connect(&self.config.etcd).await?) }).await?;
        let version = etcd.server().map_or_else(String::new, |server| {
            let id = self.cluster_id.get_or_init(|| format!("{:x}", server.cluster_id));
            format!(" (etcd {}, cluster {id})", server.version)
        });
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

    /// The file that goes with a flag about a backup: the one behind it, or else the configured one.
    fn named_backup(&self, behind_the_flag: &Option<PathBuf>) -> Result<PathBuf> {
        behind_the_flag.clone().map_or_else(|| self.backup_file(), Ok)
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
            pace: &self.pace,
            stop: &self.stop,
            progress: &self.progress,
            history: None,
            is_far: false,
            counter: Default::default(),
        }
    }

    /// A person at a terminal sees what will be done, and is asked. Returns whether `text` was shown: it is not to be shown again.
    async fn ask(&self, yes: bool, text: &str, question: &str) -> Result<bool> {
        if yes || !self.console.can_ask() {
            return Ok(false);
        }
        self.say(text);
        tokio::select! {
            answer = self.console.confirms(question) => match answer.context("cannot ask")? {
                true => Ok(true),
                false => anyhow::bail!("not confirmed: nothing was written"),
            },
            stopped = self.stop.requested() => Err(stopped).context("not confirmed: nothing was written"),
        }
    }
}

/// What is refused, as an error.
fn refusal(why: impl Into<String>, next: Next) -> anyhow::Error {
    Refusal { why: why.into(), next }.into()
}

/// Why there is nothing to do, if so; what is refused is an error.
fn take(course: Course) -> Result<Option<(String, Next)>> {
    match course {
        Course::Convert => Ok(None),
        Course::Nothing(why, next) => Ok(Some((why, next))),
        Course::Refuse(why, next) => Err(refusal(why, next)),
    }
}

/// The options of a run, with what only what was read, or Milvus's own configuration, tells.
fn settled(context: &Context, options: &RunOptions, situation: &Situation) -> RunOptions {
    RunOptions {
        conversion: options.conversion.settled(situation.history.as_ref(), &context.config),
        ..options.clone()
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

/// Writing failed: `written` says whether anything was, `state` in which state that leaves the metadata, and `way_on` what to do then.
fn interrupted(error: ApplyError, written: bool, state: State, way_on: &Next) -> Failure {
    let error = anyhow::Error::new(error);
    if written {
        let failure = Failure::interrupted(error.context("stopped in the middle of writing")).with_next(way_on.clone());
        Failure { state: Some(state), ..failure }
    } else {
        Failure::nothing_written(error.context("stopped before the first write: the metadata is as it was"))
    }
}

/// What a backup is, in a few words.
fn describe(backup: &Backup) -> String {
    match &backup.format {
        crate::backup::Format::Ours(manifest) => format!(
            "{} of {}, made {}{} at revision {}, layout {}",
            copy_out::keys_in_words(&backup.counts),
            backup.meta_root,
            manifest.created,
            if backup.while_running { " WHILE MILVUS WAS RUNNING (a look at that moment, no way back)" } else { "" },
            manifest.etcd_revision,
            manifest.layout
        ),
        crate::backup::Format::Legacy => {
            let left_out = match backup.left_out {
                0 => String::new(),
                keys => format!("; {} not under {} and left alone", many(keys, "key is", "keys are"), backup.meta_root),
            };
            let made = if backup.while_running {
                "unpacked from a backup made WHILE MILVUS WAS RUNNING (a look at that moment, no way back)"
            } else {
                "made by the original tool"
            };
            let keys = copy_out::keys_in_words(&backup.counts);
            format!("{keys} of {}, {made}{left_out}", backup.meta_root)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_with_an_object_of_its_own() {
        let failure = catching("run", || panic!("on purpose")).unwrap_err();
        assert_eq!((failure.exit(), failure.exit_code), (Exit::Unexpected, 100));
        assert_eq!((failure.header.command, failure.header.ended), ("run", Ended::Defect));
        assert_eq!(failure.header.next.code, crate::outcome::Step::Status);
    }
}
