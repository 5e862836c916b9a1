//! `run`: from the 2.1 layout to the target's own. `repair`: the same for what another tool migrated.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use semver::Version;

use super::metadata::Reading;
use super::read_back::{ReadBack, cuts};
use super::way_back::{record_of, whole_path};
use super::work_out::Worked;
use super::{Context, course_of, describe, interrupted, log_changes, next_of, refusal, settled, take};
use crate::amounts::thousands;
use crate::apply::Applier;
use crate::backup::Backup;
use crate::backup::write::Written;
use crate::catalog::entries::Entries;
use crate::cli::RunOptions;
use crate::course::{self, Course};
use crate::etcd::Etcd;
use crate::exit::Exit;
use crate::garbage;
use crate::guard::Guard;
use crate::history::{BackupRecord, Choices, History, Operation};
use crate::outcome::backed_up::BackupFile;
use crate::outcome::failed::Failure;
use crate::outcome::migration::{headline, summary, wrongs};
use crate::outcome::ran::RunOutcome;
use crate::outcome::ticket;
use crate::outcome::words::{self, refusals};
use crate::outcome::{Ended, Next, Step};
use crate::parallel::both;
use crate::plan::{Change, opening_of_run};
use crate::state::{Situation, State};
use crate::version::{Way, bad_target, way};

pub(super) async fn execute(context: &Context, options: &RunOptions, operation: Operation) -> Result<Exit, Failure> {
    let target = versions(context, operation)?;
    let begun = Instant::now();
    let mut outcome = nothing_done(context, operation.command(), &target);
    let done =
        carry_out(context, options, (operation, operation.command()), &target, &mut outcome, async |_, _| Ok(())).await;
    outcome.seconds = begun.elapsed().as_secs_f64();
    done.inspect_err(|failure| {
        // What the terminal says is what stays in the ticket.
        outcome.header.next = next_of(failure);
        context.report(|surroundings| ticket::of_run(&outcome, Some(failure), surroundings));
    })?;
    if let Some(revision) = outcome.verified_revision {
        context.say(format!("done at revision {revision} in {:.1} s", outcome.seconds));
        let way_back = match &outcome.way_back {
            Some(_) => garbage::in_a_sentence(&target),
            None => "no backup is on record, so there is no way back".to_owned(),
        };
        let text = format!("`verify`, then start Milvus {target}; {way_back}");
        context.say(format!("next: {text}"));
        outcome.header.next = Next::new(Step::Verify, text);
    }
    context.report(|surroundings| ticket::of_run(&outcome, None, surroundings));
    context.console.object(&outcome);
    Ok(Exit::Done)
}

/// Does what is to be done, under the lock; `after` comes under the same one, when it is done or was done before.
pub(super) async fn carry_out(
    context: &Context,
    options: &RunOptions,
    (operation, command): (Operation, &str),
    target: &Version,
    outcome: &mut RunOutcome,
    after: impl AsyncFnOnce(&Etcd, &RunOutcome) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if is_needless(context, operation, target)? {
        // Nothing is written, so nothing is locked. But it is looked at: whoever is told that there is nothing to do starts the target.
        let etcd = context.connect().await?;
        let (_, situation) = look(context, &etcd, None, outcome).await?;
        let course = course_of(context, &situation, operation, target, options);
        return nothing_to_do(context, course, outcome).map(drop);
    }
    if options.with_backup {
        context.backup_file()?;
    }
    let from = context.source_version().map_or_else(String::new, |source| format!("from Milvus {source} "));
    context.say(format!("{command}: the metadata under {} goes {from}to {target}", context.config.meta_root));
    let etcd = context.connect().await?;
    let guard = context.lock(&etcd).await?;
    let job = Migration { context, options, etcd: &etcd, guard: &guard, operation, target };
    let done = async {
        job.guarded(outcome).await?;
        after(&etcd, outcome).await
    }
    .await;
    guard.release().await;
    done
}

/// The outcome of a run that has not begun.
pub(super) fn nothing_done(context: &Context, command: &'static str, target: &Version) -> RunOutcome {
    RunOutcome {
        header: context.header(command, Ended::NothingToDo, State::Unknown, nothing_needed()),
        source_version: context.source_version(),
        target_version: target.to_string(),
        backup: None,
        way_back: None,
        migration: None,
        verified_revision: None,
        seconds: 0.0,
    }
}

/// The target version; `run` needs the source version too.
pub(super) fn versions(context: &Context, operation: Operation) -> Result<Version> {
    let config = &context.config;
    match (&config.source_version, &config.target_version) {
        (Some(_), Some(target)) => Ok(target.clone()),
        (None, Some(target)) if operation == Operation::Repair => Ok(target.clone()),
        _ => bail!(
            "the versions are missing: set config.sourceVersion and config.targetVersion in the configuration file, \
             or give --source-version and --target-version"
        ),
    }
}

/// Reads everything, with a backup of it if there is to be one, and says what state it is in.
async fn look(
    context: &Context,
    etcd: &Etcd,
    copy_to: Option<&Path>,
    outcome: &mut RunOutcome,
) -> Result<(Reading, Situation), Failure> {
    let reading = context.read_and_copy(etcd, copy_to).await?;
    let situation = context.situation(&reading.records)?;
    outcome.header.state = situation.state;
    context.say(format!(
        "found {} metadata keys at revision {}: {}",
        thousands(reading.records.keys()),
        reading.revision,
        situation.headline()
    ));
    if situation.state == State::NoMilvus {
        return Err(anyhow!("{}", context.nothing_here(etcd).await).into());
    }
    Ok((reading, situation))
}

/// Says so where there is nothing to do.
///
/// # Errors
/// It is refused.
fn nothing_to_do(context: &Context, course: Course, outcome: &mut RunOutcome) -> Result<bool, Failure> {
    let Some((why, next)) = take(course)? else { return Ok(false) };
    context.say(format!("nothing to do: {why}"));
    outcome.header.next = next;
    Ok(true)
}

/// Whether the versions say that there is nothing to migrate.
pub(super) fn is_needless(context: &Context, operation: Operation, target: &Version) -> Result<bool> {
    match (&context.config.source_version, operation) {
        (Some(source), Operation::Run) => Ok(way(source, target)? == Way::NothingToDo),
        _ => Ok(false),
    }
}

/// Both versions read the same layout.
fn nothing_needed() -> Next {
    Next::new(Step::Nothing, "both versions read the same layout: there is nothing to migrate")
}

/// No backup, no run, unless that is said.
fn check_backup_is_named(context: &Context, options: &RunOptions) -> Result<()> {
    if !options.with_backup && context.config.backup_file.is_none() && !options.no_backup {
        let next = "give --with-backup --backup-file FILE (cmd.runWithBackup, config.backupFilePath), or the --backup-file that `backup` \
                    made; to go on without any on purpose, --no-backup";
        return Err(refusal("there is no backup, and so no way back", Next::new(Step::Backup, next)));
    }
    Ok(())
}

/// A run or repair under the lock.
struct Migration<'a> {
    context: &'a Context,
    options: &'a RunOptions,
    etcd: &'a Etcd,
    guard: &'a Guard,
    operation: Operation,
    target: &'a Version,
}

impl Migration<'_> {
    /// Everything that is done under the lock; `outcome` tells what it came to.
    async fn guarded(&self, outcome: &mut RunOutcome) -> Result<(), Failure> {
        let context = self.context;
        let copy_to = self.copy_to().await?;
        let (mut reading, situation) = look(context, self.etcd, copy_to.as_deref(), outcome).await?;
        let options = settled(context, self.options, &situation);
        let choices = options.conversion.choices(options.skip_invalid, options.keep_newer);
        let course = course_of(context, &situation, self.operation, self.target, &options);
        if nothing_to_do(context, course, outcome)? {
            return Ok(());
        }
        check_backup_is_named(context, self.options)?;
        if situation.history.is_some() {
            // It was begun before there was one: another command has held the lock in between.
            reading.copy = None;
        }
        // A backup of a large cluster takes as long to check as the plan to be made.
        let (fitting, worked) = both(
            || {
                let file = self.backup_to_lean_on(&situation);
                file.map(|file| context.fitting_backup(file, reading.cluster_id, &reading.content))
            },
            || {
                context.work_out(
                    (&mut reading.records, reading.revision),
                    &situation,
                    &options,
                    self.operation,
                    self.target,
                )
            },
        );
        self.check_problems(&worked, &situation)?;
        outcome.migration = Some(worked.summary.clone());
        self.migrate(reading, &situation, (worked, fitting), choices, outcome).await
    }

    /// Whatever is wrong stops the migration before the first write, unless the user goes on without exactly that.
    fn check_problems(&self, worked: &Worked, situation: &Situation) -> Result<()> {
        let mend = |text| course::mend(situation, text);
        let conversion = &worked.conversion;
        if !conversion.refusals.is_empty() {
            return Err(refusal(refusals(&conversion.refusals), mend("choose another way, as named above")));
        }
        if !worked.summary.findings.is_empty() {
            let wrongs = wrongs(&worked.summary).unwrap_or_default();
            return Err(refusal(wrongs, mend("mend these records, each as named above")));
        }
        if conversion.problems.is_empty() {
            return Ok(());
        }
        let list = words::problems(&conversion.problems);
        if self.options.skip_invalid {
            self.context.console.warn(&format!("{list}\ngoing on without these records, as --skip-invalid says"));
            return Ok(());
        }
        Err(refusal(
            list,
            mend(
                "mend these records, or go on without exactly them with --skip-invalid (cmd.skipInvalid: true); make a backup first",
            ),
        ))
    }

    async fn migrate(
        &self,
        mut reading: Reading,
        situation: &Situation,
        (mut worked, fitting): (Worked, Option<Result<Backup>>),
        choices: Choices,
        outcome: &mut RunOutcome,
    ) -> Result<(), Failure> {
        let context = self.context;
        let totals = worked.plan.totals();
        let opening = opening_of_run(&worked.diff);
        let is_resumed = situation.history.is_some();
        // A repair that has nothing to change puts on record that it is so: without, nobody could know.
        let lacks_history = self.operation == Operation::Repair && situation.history.is_none();
        if worked.plan.is_empty() && opening.is_empty() && !is_resumed && !lacks_history {
            context.say("nothing to do: everything is as it should be already");
            outcome.header.next =
                Next::new(Step::Verify, format!("check the metadata with `verify`, then start Milvus {}", self.target));
            return Ok(());
        }
        context.say(format!("plan: {}", worked.summary.size()));
        context.check_room_and_rights(self.etcd, &worked.plan, &worked.back(&reading.records)).await?;
        context.check_copy(&mut reading)?;
        let way_back = self.way_back(situation, fitting)?;
        if way_back.is_none() && (!self.options.with_backup || is_resumed) {
            context.console.warn("there is no backup: there is no way back from here");
        }
        bad_target(self.target).iter().for_each(|bad| context.console.warn(&bad.in_words(self.target)));
        let report = summary(&worked.summary, context.details);
        let question = self.question(&reading, situation, way_back.as_ref());
        let is_shown = context.ask(self.options.yes, &report, &question).await?;
        let (written, record) = self.back_up(&mut reading, situation, way_back).await?;
        outcome.backup = written.as_ref().map(BackupFile::from);
        let source = context.config.source_version.as_ref();
        let history = match &situation.history {
            // Resumed: what is on record stays, the way back above all.
            Some(history) if is_resumed => history.clone(),
            _ => History { backup: record, ..course::begin(self.operation, source, self.target, choices) },
        };
        outcome.way_back = history.backup.is_some().then(|| history.way_back());
        let kept = Kept::of(reading, &context.root, std::mem::take(&mut worked.conversion.should));
        let done = self.write(kept, &worked, opening, history).await;
        let revision = done.map_err(|failure| match outcome.backup {
            Some(_) => Failure { exit: Exit::Interrupted, ..failure },
            None => failure,
        })?;
        context.say(format!("done: {}", headline(&worked.conversion.report)));
        if !is_shown {
            context.say(report);
        }
        context.say_compaction(self.etcd, revision, totals).await;
        if !worked.conversion.problems.is_empty() {
            let problems = words::problems(&worked.conversion.problems);
            context.console.warn(&format!("left out, as --skip-invalid says: {problems}"));
        }
        outcome.header.ended = Ended::Done;
        outcome.header.state = State::Migrated;
        outcome.verified_revision = Some(revision);
        Ok(())
    }

    /// Names all that a slip could have made another than is meant.
    fn question(&self, reading: &Reading, situation: &Situation, way_back: Option<&BackupRecord>) -> String {
        let config = &self.context.config;
        let from = config.source_version.as_ref().map_or_else(String::new, |version| format!(" from {version}"));
        let makes_one = self.options.with_backup && situation.history.is_none();
        let backup = match (way_back, &config.backup_file) {
            (None, Some(file)) if makes_one => format!("{}, written first", file.display()),
            (Some(backup), _) => backup.file.clone(),
            (None, _) => "NONE".to_owned(),
        };
        format!(
            "This will be written now:\n  etcd cluster {:x} at {}\n  meta root    {}\n  Milvus      {from} to {}\n  way back     {backup}\n",
            reading.cluster_id,
            self.etcd.endpoint(),
            config.meta_root,
            self.target
        )
    }

    /// The backup that was made before, where it has to be the way back.
    fn backup_to_lean_on(&self, situation: &Situation) -> Option<&Path> {
        let is_made_before = situation.history.is_none() && !self.options.with_backup && !self.options.no_backup;
        self.context.config.backup_file.as_deref().filter(|_| is_made_before)
    }

    /// The backup that is the way back, where it was made before: it has to fit. None where one is made now, or none is wanted.
    fn way_back(&self, situation: &Situation, fitting: Option<Result<Backup>>) -> Result<Option<BackupRecord>> {
        if let Some(backup) = fitting.transpose()? {
            self.context.say(format!("the way back is {}: {}", backup.path.display(), describe(&backup)));
            return Ok(Some(record_of(&backup)));
        }
        let Some(file) = &self.context.config.backup_file else { return Ok(None) };
        match &situation.history {
            // Begun without any: what is at that path now was not made for it.
            Some(history) if history.backup.is_none() => Ok(None),
            Some(history) if !self.options.no_backup => {
                let recorded = self.context.recorded_backup(file, history).map_err(|error| {
                    let next = Next::new(
                        Step::RunAgain,
                        "give the backup that is on record with --backup-file, or go on without it on purpose with `run --no-backup`",
                    );
                    let why = "this run was interrupted, and the way back has to be there while it is finished";
                    refusal(format!("{why}: {error:#}"), next)
                })?;
                self.context.say(format!("the way back is {}, made before this was interrupted", file.display()));
                Ok(Some(recorded))
            }
            _ => Ok(None),
        }
    }

    /// Where a backup is written to while everything is read, if one is to be made: not where a run was interrupted, which has one.
    async fn copy_to(&self) -> Result<Option<PathBuf>> {
        if !self.options.with_backup || self.context.recorded_history(self.etcd).await?.is_some() {
            return Ok(None);
        }
        self.context.backup_file().map(Some)
    }

    /// Puts the backup of what was read in its place, if one is to be made now.
    async fn back_up(
        &self,
        reading: &mut Reading,
        situation: &Situation,
        way_back: Option<BackupRecord>,
    ) -> Result<(Option<Written>, Option<BackupRecord>)> {
        let Some(written) = self.context.finish_copy(self.guard, reading, situation.found).await? else {
            return Ok((None, way_back));
        };
        self.context.say_backup(&written);
        let record = BackupRecord {
            file: whole_path(&written.path),
            sha256: Some(written.manifest.stream_sha256.clone()),
            revision: Some(reading.revision),
            cluster_id: Some(written.manifest.etcd_cluster_id.clone()),
        };
        Ok((Some(written), Some(record)))
    }

    /// Writes everything, reads it back, and puts the end on record.
    async fn write(&self, kept: Kept, worked: &Worked, opening: Vec<Change>, history: History) -> Result<i64, Failure> {
        let context = self.context;
        let (state, code) = match self.operation {
            Operation::Repair => (State::RepairInterrupted, Step::Repair),
            _ => (State::RunInterrupted, Step::RunAgain),
        };
        let plan = &worked.plan;
        let way_on = format!(
            "run again with {}: it goes on where this one ended. Or go back with {}. Do not start Milvus before one of the two is done",
            history.way_on(),
            history.way_back()
        );
        let way_on = Next::new(code, way_on);
        log_changes(plan);
        context.progress.expect(plan, plan.totals().puts);
        let mut applier = context.applier(self.etcd, self.guard);
        applier.history = kept.history;
        let fail = |error, applier: &Applier| interrupted(error, applier.done().may_have_written(), state, &way_on);
        if let Err(error) = applier.turn(&opening, plan.revision, Some(history.write())).await {
            return Err(fail(error, &applier));
        }
        if let Err(error) = applier.apply(plan).await {
            return Err(fail(error, &applier));
        }
        let wanted =
            ReadBack { diff: &worked.diff, plan, opening: &opening, keys: kept.keys, tripwires: 0, cuts: kept.cuts };
        let read_back = context.read_back(self.etcd, &wanted, &way_on).await;
        let revision = read_back.map_err(|failure| Failure { state: Some(state), ..failure })?;
        if let Err(error) = applier.turn(&[], revision, Some(history.end().write())).await {
            return Err(fail(error, &applier));
        }
        Ok(revision)
    }
}

/// What is kept of what was read, while writing: the values are in the plan, or they stay as they are.
struct Kept {
    /// How many metadata keys there should be in the end.
    keys: u64,
    cuts: BTreeSet<Vec<u8>>,
    history: Option<Bytes>,
}

impl Kept {
    fn of(reading: Reading, root: &str, should: Entries) -> Self {
        let others: u64 = reading.records.others().values().sum();
        Self {
            keys: should.len() as u64 + others,
            cuts: cuts(root, should.iter(), &reading.cuts),
            history: reading.records.history().cloned(),
        }
    }
}
