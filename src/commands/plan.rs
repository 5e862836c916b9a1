//! `plan`: what `run` would do. Takes no lock and writes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use semver::Version;

use super::from_snapshot::from_snapshot;
use super::metadata::Reading;
use super::roots::registered;
use super::run::{is_needless, versions};
use super::{Context, course_of, refusal, settled};
use crate::backup::{Backup, Format};
use crate::catalog::records::Records;
use crate::cli::{PlanOptions, RunOptions};
use crate::course::{self, Course};
use crate::diff::Diff;
use crate::etcd::Etcd;
use crate::exit::Exit;
use crate::expect;
use crate::guard::{Session, components_and_lock};
use crate::history::Operation;
use crate::layout::keys::printable;
use crate::outcome::failed::Failure;
use crate::outcome::going_back::WayBack;
use crate::outcome::planned::{KeyChange, PlanOutcome, text};
use crate::outcome::surveyed::ConfiguredBackup;
use crate::outcome::ticket;
use crate::outcome::{Ended, Next, Step};
use crate::packed::Packer;
use crate::plan::Plan;
use crate::state::State;

/// Keys that are read in a second, at the least: measured, see docs/performance.md.
const KEYS_A_SECOND: f64 = 100_000.0;
/// What a transaction takes on an etcd with an ordinary disk and network.
const SECONDS_A_TRANSACTION: f64 = 0.01;

/// What a plan is made from.
pub(super) struct PlannedFrom {
    pub(super) name: String,
    pub(super) meta_root: String,
    pub(super) reading: Reading,
    pub(super) sessions: Vec<Session>,
    /// Where `run` would write.
    pub(super) etcd: Option<Etcd>,
    /// What a person has to know of where it comes from.
    pub(super) notes: Vec<String>,
}

pub(super) async fn execute(context: &Context, options: &PlanOptions) -> Result<Exit, Failure> {
    let run = RunOptions {
        skip_invalid: options.skip_invalid.unwrap_or(context.config.skip_invalid),
        conversion: options.conversion.clone(),
        keep_newer: options.keep_newer,
        ..RunOptions::default()
    };
    let target = versions(context, Operation::Run)?;
    // A target that there is no way to is refused before anything is asked.
    is_needless(context, Operation::Run, &target)?;
    if options.require_way_back_settings && context.config.keeping.is_none() {
        let next = "give Milvus's own configuration with --milvus-config (META_MIGRATION_MILVUS_CONFIG), or leave the option out";
        return Err(
            refusal("--require-way-back-settings has nothing to look into", Next::new(Step::Correct, next)).into()
        );
    }
    let origin = match (&options.from_backup, &options.from_snapshot) {
        (Some(file), _) => from_backup(&context.named_backup(file)?)?,
        (None, Some(file)) => from_snapshot(context, file)?,
        (None, None) => from_etcd(context).await?,
    };
    let unexpected = match &origin.etcd {
        Some(etcd) if !options.expect_address.is_empty() => {
            let root = context.config.meta_root.to_string();
            expect::judge(&options.expect_address, &root, &registered(etcd, &root).await?).err()
        }
        _ => None,
    };
    let mut outcome = plan(context, &run, Operation::Run, &target, origin, options.diff).await?;
    if options.require_way_back_settings
        && outcome.header.state == State::Ready
        && let Some(lacking) = lacking(&outcome.going_back)
    {
        outcome.header.ended = Ended::NotOk;
        outcome.refusals.push(lacking);
        outcome.header.next = Next::new(Step::Mend, way_around(false));
    }
    if let Some(unexpected) = unexpected {
        outcome.header.ended = Ended::NotOk;
        outcome.refusals.insert(0, unexpected);
        outcome.header.next = Next::new(Step::Correct, "correct the root path or the addresses, then `plan` again");
    }
    context.report(|surroundings| ticket::of_plan(&outcome, surroundings));
    context.console.result(&outcome, || text(&outcome, context.details));
    Ok(match (outcome.header.ended, options.detailed_exitcode) {
        (Ended::NotOk, _) => Exit::NothingWritten,
        (Ended::Done, true) => Exit::Interrupted,
        _ => Exit::Done,
    })
}

/// What `repair` would do.
pub(super) async fn of_repair(context: &Context, options: &RunOptions) -> Result<Exit, Failure> {
    let target = versions(context, Operation::Repair)?;
    let origin = from_etcd(context).await?;
    let outcome = plan(context, options, Operation::Repair, &target, origin, false).await?;
    context.report(|surroundings| ticket::of_plan(&outcome, surroundings));
    context.console.result(&outcome, || text(&outcome, context.details));
    Ok(if outcome.header.ended == Ended::NotOk { Exit::NothingWritten } else { Exit::Done })
}

async fn plan(
    context: &Context,
    options: &RunOptions,
    operation: Operation,
    target: &Version,
    origin: PlannedFrom,
    with_diff: bool,
) -> Result<PlanOutcome> {
    let PlannedFrom { name, meta_root, mut reading, sessions, etcd, mut notes } = origin;
    let situation = context.situation(&reading.records)?;
    if situation.state == State::NoMilvus
        && let Some(etcd) = &etcd
    {
        bail!("{}", context.nothing_here(etcd).await);
    }
    let options = &settled(context, options, &situation);
    let course = course_of(context, &situation, operation, target, options);
    // What is converted is let go.
    let before = with_diff.then(|| reading.records.clone());
    let room_for_backup = match (&etcd, &context.config.backup_file) {
        (Some(_), Some(file)) => context.check_room_for_backup(file, &reading),
        _ => Ok(()),
    };
    let worked = context.work_out((&mut reading.records, reading.revision), &situation, options, operation, target);
    let mut refusals = worked.conversion.refusals.clone();
    let mut ended = Ended::Done;
    let history = situation.history.as_ref();
    let backup = etcd.as_ref().and_then(|_| context.configured_backup(&reading, history));
    // What was interrupted is finished as it was begun: `backup` would refuse, and 2.1 cannot be started any more.
    let is_resumed = course::is_interrupted(situation.state);
    let mut next = if is_resumed {
        course::next(&situation)
    } else {
        next(backup.as_ref().filter(|_| sessions.is_empty()), operation, options, target)
    };
    match course {
        Course::Convert => {
            let is_asked_too_much = !refusals.is_empty();
            if let Some(etcd) = &etcd
                && let Err(error) =
                    context.check_room_and_rights(etcd, &worked.plan, &worked.back(&reading.records)).await
            {
                refusals.push(format!("{error:#}"));
            }
            let only_etcd_refuses = !refusals.is_empty() && !is_asked_too_much && worked.summary.findings.is_empty();
            // As `run` will be told by the same configuration; or `backup`, which may be told of another place.
            if !backup.as_ref().is_some_and(|backup| backup.is_way_back)
                && let Err(error) = room_for_backup
            {
                let told = if context.config.run_with_backup { &mut refusals } else { &mut notes };
                told.push(format!("{error:#}"));
            }
            let problems = !worked.conversion.problems.is_empty() && !options.skip_invalid;
            if problems || !refusals.is_empty() || !worked.summary.findings.is_empty() {
                ended = Ended::NotOk;
                next = match only_etcd_refuses && !problems {
                    true => Next::new(Step::MendEtcd, "mend etcd as named above, then the same again"),
                    false => course::mend(&situation, way_around(problems)),
                };
            }
        }
        Course::Nothing(why, then) => {
            ended = Ended::NothingToDo;
            refusals.clear();
            next = Next { text: format!("{why}; {}", then.text), ..then };
        }
        Course::Refuse(why, way_on) => {
            ended = Ended::NotOk;
            refusals = vec![why];
            next = way_on;
        }
    }
    if !sessions.is_empty() && ended == Ended::Done {
        next.code = Step::StopMilvus;
    }
    let going_back = context.going_back(&reading, &worked, target, etcd.as_ref()).await;
    let command = if operation == Operation::Repair { "repair" } else { "plan" };
    let diff = before.map(|before| differences(&worked.diff, &before));
    Ok(PlanOutcome {
        header: crate::outcome::Header {
            meta_root: Some(meta_root),
            ..context.header(command, ended, situation.state, next)
        },
        source: name,
        source_version: context.source_version(),
        target_version: target.to_string(),
        found: situation.headline(),
        keys: reading.records.keys(),
        sessions,
        advice: notes
            .into_iter()
            .chain(advice(&reading.records, is_resumed || operation == Operation::Repair))
            .collect(),
        estimated_seconds: estimate(reading.records.keys(), &worked.plan, worked.summary.transactions),
        migration: worked.summary,
        backup,
        going_back,
        refusals,
        diff,
    })
}

/// What Milvus's own configuration lacks for the way back to stay open.
fn lacking(going_back: &WayBack) -> Option<String> {
    let lacking: Vec<String> = going_back.lacking().iter().map(ToString::to_string).collect();
    (!lacking.is_empty()).then(|| {
        format!(
            "Milvus's own configuration does not keep the way back open: the new Milvus would collect files that only the old metadata \
             names. Set {}; or go on without, on purpose",
            lacking.join("; ")
        )
    })
}

fn way_around(problems: bool) -> &'static str {
    if problems {
        "mend what is listed above; or `run --skip-invalid`, which leaves out exactly the records that are listed"
    } else {
        "mend what is listed above, or choose the way around it that is named there"
    }
}

fn next(backup: Option<&ConfiguredBackup>, operation: Operation, options: &RunOptions, target: &Version) -> Next {
    // As it was planned.
    let flags = options.conversion.choices(options.skip_invalid, options.keep_newer).flags();
    let run = format!("`{}`", [operation.command(), &flags].join(" ").trim_end());
    let afterwards = format!("afterwards `verify`, then start Milvus {target}");
    match backup {
        // It holds just what is here: Milvus has been stopped, or is to be left as it is.
        Some(backup) if backup.is_way_back => {
            Next::new(Step::Run, format!("the backup is made, so {run}; {afterwards}"))
        }
        _ => Next::new(Step::Backup, format!("flush all collections, stop Milvus, `backup`, then {run}; {afterwards}")),
    }
}

/// What a person has to do that metadata cannot.
fn advice(records: &Records, is_resumed: bool) -> Vec<String> {
    let flush = "flush all collections before Milvus 2.1 is stopped: what is only in the message log has to be read from there again";
    let mut advice: Vec<String> = (!is_resumed).then(|| flush.to_owned()).into_iter().collect();
    advice.push(
        "2.1 clients ask for indexes by the name _default_idx, which newer versions do not have: upgrade clients with the servers".to_owned(),
    );
    let users = users(records);
    if !users.is_empty() {
        advice.push(format!(
            "users other than root have no rights from 2.2 on until they get roles: {}",
            users.join(", ")
        ));
    }
    advice
}

/// Users with credentials, root aside.
fn users(records: &Records) -> Vec<String> {
    records.users().iter().filter(|name| *name != "root").cloned().collect()
}

async fn from_etcd(context: &Context) -> Result<PlannedFrom> {
    let etcd = context.connect().await?;
    let (sessions, lock) = components_and_lock(&etcd, &context.root).await?;
    let notes = lock.iter().map(|lock| {
        format!("another migration holds the lock ({lock}): `run` is refused until it has ended, or its lease has if it was killed")
    });
    let notes = notes.collect();
    let reading = context.read_records(&etcd).await?;
    let name = format!("etcd at {}", etcd.endpoint());
    let meta_root = context.config.meta_root.to_string();
    Ok(PlannedFrom { name, meta_root, reading, sessions, etcd: Some(etcd), notes })
}

fn from_backup(file: &Path) -> Result<PlannedFrom> {
    let (mut entries, mut packer) = (BTreeMap::new(), Packer::default());
    let backup = Backup::read(file, |key, value| entries.extend([packer.pair(key, value)]))
        .with_context(|| format!("cannot plan from {}", file.display()))?;
    let revision = match &backup.format {
        Format::Ours(manifest) => manifest.etcd_revision,
        Format::Legacy => 0,
    };
    let records: Records = entries.into_iter().collect();
    let name = format!("backup file {}", file.display());
    let reading = Reading::of_file(records, revision);
    let running = "the backup was made while Milvus was running: what Milvus has changed since is not in this plan, and `run` takes it for \
                   the way back only if nothing has";
    let notes = backup.while_running.then(|| running.to_owned()).into_iter().collect();
    Ok(PlannedFrom { name, meta_root: backup.meta_root, reading, sessions: Vec::new(), etcd: None, notes })
}

/// Reading everything before, what was put afterwards, and the transactions in between.
fn estimate(keys: u64, plan: &Plan, transactions: usize) -> f64 {
    (keys + plan.totals().puts) as f64 / KEYS_A_SECOND + transactions as f64 * SECONDS_A_TRANSACTION
}

/// The changes key by key, decoded, sorted by key.
fn differences(diff: &Diff, records: &Records) -> Vec<KeyChange> {
    let values: BTreeMap<&Bytes, &Bytes> = records.iter().map(|record| (&record.key, &record.value)).collect();
    let shown = |key: &Bytes, value: &Bytes| crate::decode::value(key, value).to_string();
    diff.edits
        .iter()
        .map(|edit| KeyChange {
            key: printable(&edit.key),
            old: values.get(&edit.key).map(|old| shown(&edit.key, old)),
            new: edit.put.as_ref().map(|new| shown(&edit.key, new)),
        })
        .collect()
}
