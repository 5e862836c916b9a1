//! `rollback`: afterwards the meta root holds exactly the keys and values of the backup, sessions aside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use semver::Version;
use time::OffsetDateTime;

use super::gone::since;
use super::metadata::Reading;
use super::read_back::{ReadBack, cuts};
use super::way_back::record_of;
use super::{Context, describe, interrupted, log_changes, refusal};
use crate::amounts::{many, thousands};
use crate::backup::Backup;
use crate::catalog::handed_over::{handed_over, reset_builds};
use crate::catalog::records::Records;
use crate::catalog::tripwire::all_tripwires;
use crate::catalog::{collection_record, records::Versions};
use crate::cli::RollbackOptions;
use crate::course;
use crate::diff::Diff;
use crate::etcd::Etcd;
use crate::exit::Exit;
use crate::guard::Guard;
use crate::history::{Choices, Completion, History, Operation};
use crate::layout::Found;
use crate::layout::families::Family;
use crate::layout::keys::{HISTORY, family_of, is_metadata};
use crate::outcome::backed_up::BackupFile;
use crate::outcome::failed::Failure;
use crate::outcome::rolled_back::{CollectionChanges, RestoredBackup, RollbackOutcome};
use crate::outcome::{Ended, Next, Step, ticket};
use crate::packed::Packer;
use crate::plan::{Change, Plan, closing_of_rollback};
use crate::state::{Situation, State};
use crate::version::has_21_layout;

/// What the copy of what is overwritten is called while it is written: always the same, so that what a killed rollback leaves is
/// overwritten by the next.
const COPY_SUFFIX: &str = ".before-rollback";

pub(super) async fn execute(context: &Context, options: &RollbackOptions) -> Result<Exit, Failure> {
    let begun = Instant::now();
    // All of the file is read and checked before etcd is even asked.
    let (backup, entries) = read_backup(context, options)?;
    context.say(format!("rollback: {} goes back to {}", context.config.meta_root, backup.path.display()));
    context.say(format!("the backup is sound: {}", describe(&backup)));
    let etcd = context.connect().await?;
    let guard = context.lock(&etcd).await?;
    let mut job = Restoring { context, options, etcd: &etcd, guard: &guard, backup: &backup, entries };
    let result = job.guarded().await;
    guard.release().await;
    let mut outcome = result?;
    outcome.seconds = begun.elapsed().as_secs_f64();
    context.report(|surroundings| ticket::of_rollback(&outcome, surroundings));
    if let Some(revision) = outcome.verified_revision {
        context.say(format!("rolled back at revision {revision} in {:.1} s", outcome.seconds));
    }
    context.say(format!("next: {}", outcome.header.next.text));
    context.console.object(&outcome);
    Ok(Exit::Done)
}

fn read_backup(context: &Context, options: &RollbackOptions) -> Result<(Backup, Vec<(Bytes, Bytes)>)> {
    let file = context.backup_file()?;
    let (mut entries, mut packer) = (Vec::new(), Packer::default());
    let backup = Backup::read(&file, |key, value| entries.push(packer.pair(key, value)))
        .context("nothing can be restored (`status` names the backup that is on record)")?;
    // Neither sessions nor our history are restored.
    entries.retain(|(key, _)| is_metadata(key));
    entries.sort();
    if entries.is_empty() {
        bail!("{} holds no keys of metadata: restoring it would delete all there is", file.display());
    }
    if backup.meta_root != context.config.meta_root.to_string() && !options.allow_other_root {
        bail!(
            "{} is a backup of the meta root {}, but the configuration says {root}: correct etcd.rootPath and etcd.metaSubPath, \
             or move its keys to {root} on purpose with --allow-other-root",
            file.display(),
            backup.meta_root,
            root = context.config.meta_root
        );
    }
    Ok((backup, entries))
}

/// A rollback under the lock.
pub(super) struct Restoring<'a> {
    pub(super) context: &'a Context,
    pub(super) options: &'a RollbackOptions,
    pub(super) etcd: &'a Etcd,
    guard: &'a Guard,
    pub(super) backup: &'a Backup,
    /// What should be: the backup's keys and values, but for builds that 2.1 is to do again.
    pub(super) entries: Vec<(Bytes, Bytes)>,
}

/// What was found before anything is written.
struct BeforeRollback {
    reading: Reading,
    diff: Diff,
    plan: Plan,
    /// What the first and the last transaction do besides.
    frame: (Vec<Change>, Vec<Change>),
    /// The history key's value.
    previous: Option<Bytes>,
    /// What is there may be anything, a history key that cannot be read too: it is overwritten all the same.
    situation: Option<Situation>,
    choices: Choices,
    target: Option<Version>,
    outcome: RollbackOutcome,
}

impl Restoring<'_> {
    async fn guarded(&mut self) -> Result<RollbackOutcome, Failure> {
        let mut found = self.look().await?;
        if found.diff.is_empty() && found.previous.is_none() {
            let keys = thousands(found.outcome.differences.equal);
            self.context.say(format!("nothing to do: all {keys} metadata keys are as in the backup"));
            return Ok(found.outcome);
        }
        self.confirm(&found).await?;
        found.outcome.copy = self.save_what_is_there(&mut found).await?;
        self.restore(found).await
    }

    async fn look(&mut self) -> Result<BeforeRollback> {
        let context = self.context;
        let recorded = self.recorded().await?;
        let choices = self.choices(recorded.as_ref());
        let backup: Records = self.entries.iter().cloned().collect();
        let handed_over = handed_over(&backup, &choices.options());
        if choices.rebuild_handed_over {
            reset_builds(&mut self.entries, &handed_over)
                .map_err(|(key, what)| anyhow!("{}: {key}: {what}. Nothing was written", self.backup.path.display()))?;
        }
        let expected = || self.entries.iter().cloned();
        let copy_to = self.copy_to(recorded.as_ref());
        let (mut reading, diff) = context.read_records_against(self.etcd, copy_to.as_deref(), expected).await?;
        if reading.records.keys() == 0 || (diff.is_empty() && reading.records.history().is_none()) {
            // There is nothing to save, or nothing to do.
            reading.copy = None;
        }
        context.check_copy(&mut reading).context("what is there now cannot be saved before it is overwritten (make room beside the backup, or give --no-copy)")?;
        let collection_changes = collections(&reading.records, &backup);
        self.is_of_this_milvus(&reading, &collection_changes, recorded.as_ref()).await?;
        let target = recorded.as_ref().and_then(History::target);
        let situation = context.situation(&reading.records).ok();
        let state = state_of(&backup);
        self.is_a_way_back(recorded.as_ref(), state)?;
        let next = match Situation::of(&backup) {
            // What was there before was a mixture already.
            Ok(situation) if state == State::NewerStartedFirst => course::next(&situation),
            _ => next(context, state, target.as_ref()),
        };
        let since = since(
            recorded.as_ref(),
            situation.as_ref().map(|found| found.state),
            &backup,
            &handed_over,
            &reading.records,
        );
        let frame = self.frame(&reading.records);
        let previous = reading.records.history().cloned();
        // All that remains to be known is in the difference, and a plan takes much memory itself.
        drop((backup, std::mem::take(&mut reading.records)));
        let plan = Plan::of_rollback(&diff, reading.revision);
        let outcome = RollbackOutcome {
            header: context.header("rollback", Ended::NothingToDo, state, next),
            backup: RestoredBackup {
                path: self.backup.path.display().to_string(),
                keys: self.entries.len() as u64,
                revision: record_of(self.backup).revision,
            },
            copy: None,
            collection_changes,
            since,
            files: self.check_files(&handed_over, choices.rebuild_handed_over).await?,
            to_build_again: if choices.rebuild_handed_over { handed_over } else { Vec::new() },
            differences: diff.counts(),
            totals: plan.totals(),
            verified_revision: None,
            seconds: 0.0,
        };
        Ok(BeforeRollback { reading, diff, plan, frame, previous, situation, choices, target, outcome })
    }

    /// Says what is going to happen, whether it can, and asks.
    async fn confirm(&self, found: &BeforeRollback) -> Result<()> {
        let context = self.context;
        context.say(found.outcome.collection_changes.in_words());
        self.warn_of_files(&found.outcome, found.target.as_ref());
        context.say(format!("plan: {}", found.outcome.in_words()));
        context.check_room_and_rights(self.etcd, &found.plan, &[]).await?;
        let question = format!(
            "This will be written now:\n  etcd cluster {:x} at {}\n  meta root    {}\n  becomes      what {} holds: {}\n",
            found.reading.cluster_id,
            self.etcd.endpoint(),
            context.config.meta_root,
            self.backup.path.display(),
            describe(self.backup)
        );
        context.ask(self.options.yes, "", &question).await?;
        Ok(())
    }

    /// Where what is there is copied to, beside the backup, while it is read. Half a restored backup is worth no copy: it was made when
    /// that rollback began.
    fn copy_to(&self, recorded: Option<&History>) -> Option<PathBuf> {
        let is_resumed = recorded
            .is_some_and(|history| history.operation == Operation::Rollback && history.state == Completion::Running);
        (!self.options.no_copy && !is_resumed).then(|| with_suffix(&self.backup.path, COPY_SUFFIX))
    }

    async fn save_what_is_there(&self, found: &mut BeforeRollback) -> Result<Option<BackupFile>> {
        let context = self.context;
        if let Some(Ok(copy)) = &mut found.reading.copy {
            copy.writer.name(copy_name(&self.backup.path));
        }
        let layout = found.situation.as_ref().map_or(Found::Mixed, |situation| situation.found);
        let Some(written) = context.finish_copy(self.guard, &mut found.reading, layout).await? else { return Ok(None) };
        context.say(format!("what was there before is saved in {}", written.path.display()));
        Ok(Some(BackupFile::from(&written)))
    }

    async fn restore(&self, found: BeforeRollback) -> Result<RollbackOutcome, Failure> {
        let context = self.context;
        let BeforeRollback { reading, diff, plan, frame, previous, choices, mut outcome, .. } = found;
        let cuts = cuts(&context.root, self.entries.iter().map(|(key, value)| (key, value)), &reading.cuts);
        drop(reading);
        let history =
            History { backup: Some(record_of(self.backup)), options: choices, ..History::begin(Operation::Rollback) };
        let written = self.write(&plan, &diff, frame, (previous, history), cuts).await;
        let revision = written.map_err(|failure| match outcome.copy {
            Some(_) => Failure { exit: Exit::Interrupted, ..failure },
            None => failure,
        })?;
        context.say(format!("done: {}", outcome.in_words()));
        outcome.differences_in_words().iter().for_each(|line| context.say(format!("  {line}")));
        context.say_compaction(self.etcd, revision, outcome.totals).await;
        outcome.header.ended = Ended::Done;
        outcome.verified_revision = Some(revision);
        Ok(outcome)
    }

    /// Another file than the one that is on record is restored only on purpose: it is of another moment, so records that came in between
    /// would be lost, and those that went in between would come back.
    fn is_on_record(&self, history: Option<&History>) -> Result<()> {
        let Some(recorded) = history.and_then(|history| history.backup.as_ref()) else { return Ok(()) };
        if recorded.sha256 == record_of(self.backup).sha256 {
            return Ok(());
        }
        let file = self.backup.path.display();
        let what = format!("{file} is not the backup that is on record, which is {recorded}: it holds another state");
        if self.options.other_backup {
            self.context.console.warn(&format!("{what}; going on, as --other-backup says"));
            return Ok(());
        }
        let next = "give the one on record with --backup-file (one that was moved aside has a number behind its name; `inspect` tells the \
                    SHA-256 of each); or, if just this one is meant, --other-backup";
        Err(refusal(what, Next::new(Step::Correct, next)))
    }

    /// A backup that was made while Milvus was running is restored only on purpose; or where it is on record as the way back, because
    /// `run` found that it held just what was there with Milvus stopped, or because this goes on with such a rollback.
    fn is_a_way_back(&self, history: Option<&History>, state: State) -> Result<()> {
        self.is_on_record(history)?;
        let expects_21 = self.context.config.source_version.as_ref().is_none_or(has_21_layout);
        let is_migrated = expects_21 && is_migrated(state);
        if !self.backup.while_running && !is_migrated {
            return Ok(());
        }
        let on_record = history.and_then(|history| history.backup.as_ref());
        let found = record_of(self.backup);
        if on_record.is_some_and(|recorded| found.sha256.is_some() && recorded.sha256 == found.sha256) {
            return Ok(());
        }
        let file = self.backup.path.display();
        if is_migrated && !self.options.restore_migrated {
            bail!(
                "{file} holds metadata that is migrated already, as the copies that a rollback makes of what it overwrites: it is no way \
                 back to Milvus 2.1. Take the backup from before the migration; or, if just this is to come back, --restore-migrated. \
                 Nothing was written"
            );
        }
        if !self.backup.while_running {
            return Ok(());
        }
        let danger = "was made while Milvus was running: what Milvus has changed since (collections, segments, indexes) would be lost, files \
                      that only the newer metadata names with it, and something that was under way then may come back half done";
        if !self.options.restore_backup_of_running_milvus {
            bail!(
                "{file} {danger}. Take the backup that was made with Milvus stopped; or, if there is none, restore this one on purpose with \
                 --restore-backup-of-running-milvus. Nothing was written"
            );
        }
        self.context.console.warn(&format!("{file} {danger}; going on, as --restore-backup-of-running-milvus says"));
        Ok(())
    }

    /// The tripwires that the first transaction puts, and the changes of the last one.
    fn frame(&self, records: &Records) -> (Vec<Change>, Vec<Change>) {
        let tripwires = all_tripwires();
        let there: BTreeMap<&Bytes, &Bytes> = records
            .iter()
            .filter(|record| family_of(&record.key) == Family::Tripwire)
            .map(|record| (&record.key, &record.value))
            .collect();
        let missing = tripwires.iter().filter(|(key, value)| there.get(key) != Some(&value));
        let opening = missing.map(|(key, value)| Change::Put { key: key.clone(), value: value.clone() }).collect();
        let in_backup = self.entries.iter().filter(|(key, _)| family_of(key) == Family::Tripwire).cloned().collect();
        (opening, closing_of_rollback(&tripwires, &in_backup))
    }

    /// Writes everything, reads it back, and takes tripwires and history away at the very end.
    async fn write(
        &self,
        plan: &Plan,
        diff: &Diff,
        (opening, closing): (Vec<Change>, Vec<Change>),
        (previous, history): (Option<Bytes>, History),
        cuts: BTreeSet<Vec<u8>>,
    ) -> Result<i64, Failure> {
        let context = self.context;
        let way_on = format!(
            "run {} again: it goes on where this one ended. Do not start Milvus before it is done",
            history.way_on()
        );
        let way_on = Next::new(Step::RollbackAgain, way_on);
        let state = State::RollbackInterrupted;
        log_changes(plan);
        context.progress.expect(plan, plan.totals().puts);
        let mut applier = context.applier(self.etcd, self.guard);
        applier.history = previous;
        let fail = |error, applier: &crate::apply::Applier| {
            interrupted(error, applier.done().may_have_written(), state, &way_on)
        };
        if let Err(error) = applier.turn(&opening, plan.revision, Some(history.write())).await {
            return Err(fail(error, &applier));
        }
        if let Err(error) = applier.apply(plan).await {
            return Err(fail(error, &applier));
        }
        let tripwires = closing.iter().filter(|change| matches!(change, Change::Delete { .. })).count() as u64;
        let wanted = ReadBack { diff, plan, opening: &opening, keys: self.entries.len() as u64, tripwires, cuts };
        let read_back = context.read_back(self.etcd, &wanted, &way_on).await;
        let revision = read_back.map_err(|failure| Failure { state: Some(state), ..failure })?;
        if let Err(error) = applier.turn(&closing, revision, None).await {
            return Err(fail(error, &applier));
        }
        tracing::debug!("removed {HISTORY} and {}", many(tripwires, "tripwire", "tripwires"));
        Ok(revision)
    }
}

/// Whether a newer Milvus is to be started on it.
fn is_migrated(state: State) -> bool {
    matches!(state, State::Migrated | State::MigratedByOriginalTool | State::MigratedWithoutHistory | State::Newer)
}

/// The state that the metadata is in afterwards.
fn state_of(backup: &Records) -> State {
    Situation::of(backup).map_or(State::Unknown, |situation| situation.state)
}

fn collections(records: &Records, backup: &Records) -> CollectionChanges {
    let (here, there) = (names(records), names(backup));
    let only = |some: &BTreeMap<i64, String>, others: &BTreeMap<i64, String>, both: bool| -> Vec<String> {
        some.iter().filter(|(id, _)| others.contains_key(id) == both).map(|(_, name)| name.clone()).collect()
    };
    CollectionChanges {
        stay: only(&here, &there, true),
        go: only(&here, &there, false),
        come_back: only(&there, &here, false),
    }
}

fn next(context: &Context, state: State, target: Option<&Version>) -> Next {
    if is_migrated(state) {
        let text = "this is migrated metadata: start the newer Milvus that it was migrated for, NOT 2.1; `verify --target-version` tells \
                    whether it is what that version demands";
        return Next::new(Step::Verify, text);
    }
    let version = context.source_version().map_or_else(
        || "the Milvus version that the backup was made with".to_owned(),
        |version| format!("Milvus {version}"),
    );
    let log = context.config.message_log.back(target);
    Next::new(
        Step::StartOld,
        format!("mind the message log ({log}); start {version}, and look whether searches work before you rely on it"),
    )
}

/// Names of the living collections by ID.
fn names(records: &Records) -> BTreeMap<i64, String> {
    let mut names = BTreeMap::new();
    for family in [Family::Collection, Family::DatabaseCollection] {
        for (key, record) in records.of(family).filter(|(_, record)| collection_record::is_living(&record.value)) {
            let id = if family == Family::Collection { key.ids::<1>()[0] } else { key.ids::<2>()[1] };
            let versions = Versions { plain: Some(record.value.clone()), ..Versions::default() };
            names.insert(id, collection_record::name_of(&versions).unwrap_or_else(|| id.to_string()));
        }
    }
    names
}

/// Beside the backup: `<name>.before-rollback-<time>`.
fn copy_name(backup: &Path) -> PathBuf {
    let now = OffsetDateTime::now_utc();
    let time = format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second()
    );
    with_suffix(backup, &format!("{COPY_SUFFIX}-{time}"))
}

fn with_suffix(backup: &Path, suffix: &str) -> PathBuf {
    let mut name = backup.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    backup.with_file_name(name)
}
