//! `run`: from the 2.1 layout to the target's own. `repair`: the same for what another tool migrated.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use semver::Version;

use super::metadata::{Compared, Reading};
use super::{Context, course_of, interrupted, log_changes, refusal, take};
use crate::apply::transactions;
use crate::backup::write::Written;
use crate::catalog::{self, Conversion, check};
use crate::cli::RunOptions;
use crate::course;
use crate::diff::{Diff, Differ};
use crate::etcd::Etcd;
use crate::exit::{Exit, Failure};
use crate::garbage;
use crate::guard::Guard;
use crate::history::{BackupRecord, Choices, History, Operation};
use crate::layout::families::Family;
use crate::layout::keys::{family_of, is_metadata};
use crate::outcome::backed_up::BackupFile;
use crate::outcome::migration::{MigrationSummary, headline, summary, wrongs};
use crate::outcome::ran::RunOutcome;
use crate::outcome::words::{self, refusals, thousands};
use crate::outcome::{Ended, Next, Step};
use crate::plan::{Plan, opening_of_run};
use crate::state::{Situation, State};
use crate::version::{Layout, Way, bad_target, way};

/// What a conversion comes to: worked out alike by `plan` and `run`.
pub(super) struct Worked {
    pub(super) conversion: Conversion,
    pub(super) diff: Diff,
    pub(super) plan: Plan,
    pub(super) summary: MigrationSummary,
}

pub(super) async fn execute(context: &Context, options: &RunOptions, operation: Operation) -> Result<Exit, Failure> {
    let target = versions(context, operation)?;
    let begun = Instant::now();
    let mut outcome = RunOutcome {
        header: context.header(operation.command(), Ended::NothingToDo, None, None),
        source_version: context.source_version(),
        target_version: target.to_string(),
        backup: None,
        migration: None,
        verified_revision: None,
        seconds: 0.0,
    };
    if is_needless(context, operation, &target)? {
        let source = context.source_version().unwrap_or_default();
        context.say(format!("nothing to do: Milvus {source} and {target} read the same layout"));
    } else {
        check_backup_is_named(context, options)?;
        let from = context.source_version().map_or_else(String::new, |source| format!("from Milvus {source} "));
        context.say(format!(
            "{}: the metadata under {} goes {from}to {target}",
            operation.command(),
            context.config.meta_root
        ));
        let etcd = context.connect().await?;
        let guard = context.lock(&etcd).await?;
        let result = Job { context, options, etcd: &etcd, guard: &guard, operation, target: &target }
            .guarded(&mut outcome)
            .await;
        guard.release().await;
        result?;
    }
    outcome.seconds = begun.elapsed().as_secs_f64();
    if let Some(revision) = outcome.verified_revision {
        context.say(format!("done at revision {revision} in {:.1} s", outcome.seconds));
        let text = format!("`verify`, then start Milvus {target}; {}", garbage::in_a_sentence(&target));
        context.say(format!("next: {text}"));
        outcome.header.next = Some(Next::new(Step::Verify, text));
    }
    context.console.object(&outcome);
    Ok(Exit::Done)
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

/// Whether the versions say that there is nothing to migrate.
pub(super) fn is_needless(context: &Context, operation: Operation, target: &Version) -> Result<bool> {
    match (&context.config.source_version, operation) {
        (Some(source), Operation::Run) => Ok(way(source, target)? == Way::NothingToDo),
        _ => Ok(false),
    }
}

/// No backup, no run, unless that is said.
fn check_backup_is_named(context: &Context, options: &RunOptions) -> Result<()> {
    if options.with_backup {
        return context.backup_file().map(drop);
    }
    if context.config.backup_file.is_none() && !options.no_backup {
        bail!(
            "there is no backup, and so no way back: give --with-backup --backup-file FILE (cmd.runWithBackup, config.backupFilePath), or \
             the --backup-file that `backup` made. To go on without any on purpose, --no-backup. Nothing was written"
        );
    }
    Ok(())
}

impl Context {
    /// Works out what a conversion comes to.
    pub(super) fn work_out(
        &self,
        reading: &Reading,
        situation: &Situation,
        options: &RunOptions,
        operation: Operation,
        target: &Version,
    ) -> Worked {
        let layout = Layout::of(target);
        let restore_schemas = options.keep_newer || operation == Operation::Repair;
        let chosen = options.conversion.options(situation.precedence(), restore_schemas);
        let mut conversion = catalog::convert(&reading.records, layout, &chosen);
        let bad = bad_target(target).into_iter();
        conversion.report.warnings.extend(
            bad.map(|bad| format!("Milvus {target} is better not taken: {}. Take {} instead", bad.why, bad.instead)),
        );
        let mut differ = Differ::new(conversion.should.iter().map(|(key, value)| (key.clone(), value.clone())));
        reading.records.iter().for_each(|record| differ.add(record.key.clone(), &record.value));
        let diff = differ.finish();
        let plan = Plan::of_run(&diff, reading.revision);
        let checked = check::check(&conversion.should, Some(layout));
        let mut untouched = diff.equal.clone();
        for (prefix, keys) in reading.records.others() {
            *untouched.entry(prefix.clone()).or_default() += keys;
        }
        let summary = MigrationSummary {
            revision: reading.revision,
            totals: plan.totals(),
            transactions: transactions(&plan, self.limits, self.root.len()) + 2,
            report: conversion.report.clone(),
            untouched,
            problems: conversion.problems.clone(),
            findings: checked.errors().cloned().collect(),
        };
        Worked { conversion, diff, plan, summary }
    }
}

/// A run or repair under the lock.
struct Job<'a> {
    context: &'a Context,
    options: &'a RunOptions,
    etcd: &'a Etcd,
    guard: &'a Guard,
    operation: Operation,
    target: &'a Version,
}

impl Job<'_> {
    async fn guarded(&self, outcome: &mut RunOutcome) -> Result<(), Failure> {
        let context = self.context;
        let reading = context.read_records(self.etcd).await?;
        let situation = Situation::of(&reading.records)?;
        outcome.header.state = Some(situation.state);
        context.say(format!(
            "found {} metadata keys at revision {}: {}",
            thousands(reading.records.keys()),
            reading.revision,
            situation.headline()
        ));
        if situation.state == State::NoMilvus {
            return Err(anyhow!("{}", context.nothing_here(self.etcd).await).into());
        }
        let choices = self.choices();
        let course = course_of(context, &situation, self.operation, self.target, self.options);
        if let Some(why) = take(course)? {
            context.say(format!("nothing to do: {why}"));
            outcome.header.next = Some(course::next(&situation));
            return Ok(());
        }
        let worked = context.work_out(&reading, &situation, self.options, self.operation, self.target);
        self.check_problems(&worked)?;
        outcome.migration = Some(worked.summary.clone());
        self.carry_out(&reading, &situation, &worked, choices, outcome).await
    }

    fn choices(&self) -> Choices {
        self.options.conversion.choices(self.options.skip_invalid, self.options.keep_newer)
    }

    /// Whatever is wrong stops the migration before the first write, unless the user goes on without exactly that.
    fn check_problems(&self, worked: &Worked) -> Result<()> {
        let conversion = &worked.conversion;
        if !conversion.refusals.is_empty() {
            bail!("{}\nNothing was written", refusals(&conversion.refusals));
        }
        if !worked.summary.findings.is_empty() {
            bail!("{}\nNothing was written", wrongs(&worked.summary).unwrap_or_default());
        }
        if conversion.problems.is_empty() {
            return Ok(());
        }
        let list = words::problems(&conversion.problems);
        if self.options.skip_invalid {
            self.context.console.warn(&format!("{list}\ngoing on without these records, as --skip-invalid says"));
            return Ok(());
        }
        bail!(
            "{list}\nNothing was written. Mend these records, or go on without exactly them with --skip-invalid \
             (cmd.skipInvalid: true); make a backup first"
        )
    }

    async fn carry_out(
        &self,
        reading: &Reading,
        situation: &Situation,
        worked: &Worked,
        choices: Choices,
        outcome: &mut RunOutcome,
    ) -> Result<(), Failure> {
        let context = self.context;
        let totals = worked.plan.totals();
        let opening = opening_of_run(&worked.diff);
        let is_resumed = situation.history.is_some();
        if worked.plan.is_empty() && opening.is_empty() && !is_resumed {
            context.say("nothing to do: everything is as it should be already");
            return Ok(());
        }
        context.say(format!(
            "plan: {} puts ({}), {} deletes, in {} transactions",
            thousands(totals.puts),
            words::bytes(totals.put_bytes),
            thousands(totals.deletes),
            thousands(worked.summary.transactions as u64)
        ));
        context.check_room_and_rights(self.etcd, &worked.plan, &reading.records).await?;
        let way_back = self.way_back(reading, situation)?;
        if way_back.is_none() && (!self.options.with_backup || is_resumed) {
            context.console.warn("there is no backup: there is no way back from here");
        }
        context.ask(self.options.yes, &summary(&worked.summary, context.details), &self.question(reading)).await?;
        let (written, record) = self.back_up(reading, situation, way_back).await?;
        outcome.backup = written.as_ref().map(BackupFile::from);
        let source = context.config.source_version.as_ref();
        let history = match &situation.history {
            // Resumed: what is on record stays, the way back above all.
            Some(history) if is_resumed => history.clone(),
            _ => History { backup: record, ..course::begin(self.operation, source, self.target, choices) },
        };
        let done = self.write(reading, worked, opening, history).await;
        let revision = done.map_err(|failure| match outcome.backup {
            Some(_) => Failure::interrupted(failure.error),
            None => failure,
        })?;
        context.say(format!(
            "done: {}\n{}",
            headline(&worked.conversion.report),
            summary(&worked.summary, context.details)
        ));
        if !worked.conversion.problems.is_empty() {
            let problems = words::problems(&worked.conversion.problems);
            context.console.warn(&format!("left out, as --skip-invalid says: {problems}"));
        }
        outcome.header.ended = Ended::Done;
        outcome.header.state = Some(State::Migrated);
        outcome.verified_revision = Some(revision);
        Ok(())
    }

    fn question(&self, reading: &Reading) -> String {
        format!(
            "This will be written now: {} in the etcd cluster {:x}, for Milvus {}.",
            self.context.config.meta_root, reading.cluster_id, self.target
        )
    }

    /// The backup that is the way back, where it was made before: it has to fit. None where one is made now, or none is wanted.
    fn way_back(&self, reading: &Reading, situation: &Situation) -> Result<Option<BackupRecord>> {
        let Some(file) = &self.context.config.backup_file else { return Ok(None) };
        match &situation.history {
            Some(history) if !self.options.no_backup => {
                let recorded = self.context.recorded_backup(file, history).map_err(|error| {
                    let next = Next::new(
                        Step::RunAgain,
                        "give the backup that is on record with --backup-file, or go on without it on purpose with --no-backup",
                    );
                    refusal(&format!("this run was interrupted, and the way back has to be there while it is finished: {error:#}"), &next)
                })?;
                self.context.say(format!("the way back is {}, made before this was interrupted", file.display()));
                Ok(Some(recorded))
            }
            None if !self.options.with_backup && !self.options.no_backup => {
                self.context.fitting_backup(file, reading).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Writes the backup of the very revision that the plan was made from, if one is to be made now.
    async fn back_up(
        &self,
        reading: &Reading,
        situation: &Situation,
        way_back: Option<BackupRecord>,
    ) -> Result<(Option<Written>, Option<BackupRecord>)> {
        if !self.options.with_backup || situation.history.is_some() {
            return Ok((None, way_back));
        }
        let file = self.context.backup_file()?;
        let written = self.context.write_backup(self.etcd, &file, Some(reading.revision), situation.found).await?;
        self.context.say_backup(&written);
        let record = BackupRecord {
            file: file.display().to_string(),
            sha256: Some(written.manifest.stream_sha256.clone()),
            revision: Some(reading.revision),
            cluster_id: Some(written.manifest.etcd_cluster_id.clone()),
        };
        Ok((Some(written), Some(record)))
    }

    /// Writes everything, reads it back, and puts the end on record.
    async fn write(
        &self,
        reading: &Reading,
        worked: &Worked,
        opening: Vec<crate::plan::Change>,
        history: History,
    ) -> Result<i64, Failure> {
        let context = self.context;
        let way_on = format!(
            "Run again with {}: it goes on where this one ended. Or go back with {}. Do not start Milvus before one of the two is done",
            history.way_on(),
            history.way_back()
        );
        log_changes(&worked.plan);
        context.progress.expect(&worked.plan, reading.records.keys() + worked.plan.totals().puts);
        let mut applier = context.applier(self.etcd, self.guard);
        applier.history = reading.records.history().cloned();
        let fail =
            |error, applier: &crate::apply::Applier| interrupted(error, applier.done().may_have_written(), &way_on);
        if let Err(error) = applier.turn(&opening, reading.revision, Some(history.write())).await {
            return Err(fail(error, &applier));
        }
        if let Err(error) = applier.apply(&worked.plan).await {
            return Err(fail(error, &applier));
        }
        let revision = self.read_back(&worked.conversion.should, reading, &way_on).await?;
        if let Err(error) = applier.turn(&[], revision, Some(history.end().write())).await {
            return Err(fail(error, &applier));
        }
        Ok(revision)
    }

    /// Holds everything against what should be.
    async fn read_back(
        &self,
        should: &BTreeMap<Bytes, Bytes>,
        reading: &Reading,
        way_on: &str,
    ) -> Result<i64, Failure> {
        let expected = || should.iter().map(|(key, value)| (key.clone(), value.clone()));
        let others: u64 = reading.records.others().values().sum();
        self.context.read_back(self.etcd, expected, is_converted, should.len() as u64 + others, way_on).await
    }
}

/// Whether a key takes part in a conversion; others are only counted.
fn is_converted(key: &[u8]) -> bool {
    is_metadata(key) && family_of(key) != Family::Other
}

impl Context {
    /// Reads everything back and compares: what takes part is as it should be, and nothing came or went besides.
    pub(super) async fn read_back<I: Iterator<Item = (Bytes, Bytes)>>(
        &self,
        etcd: &Etcd,
        should: impl Fn() -> I,
        is_part: impl Fn(&[u8]) -> bool,
        keys: u64,
        way_on: &str,
    ) -> Result<i64, Failure> {
        let compared = self.compare(etcd, "reading back and comparing", should, is_part).await;
        let Compared { diff, revision, keys: found } = compared.map_err(|error| {
            let error = error.context("everything was written, but could not be read back and compared");
            Failure::interrupted(error.context(way_on.to_owned()))
        })?;
        let mut wrong: Vec<String> = diff.in_words().collect();
        if wrong.is_empty() && found != keys {
            wrong.push(format!("there are {} metadata keys instead of {}", thousands(found), thousands(keys)));
        }
        if wrong.is_empty() {
            self.say(format!(
                "read back at revision {revision} and compared: all {} metadata keys are as planned",
                thousands(found)
            ));
            return Ok(revision);
        }
        const LISTED: usize = 20;
        let list = wrong.iter().take(LISTED).cloned().collect::<Vec<_>>().join("\n  ");
        Err(Failure::interrupted(anyhow!(
            "everything was written, but {} key(s) are not as planned at revision {revision}:\n  {list}\n{way_on}",
            thousands(wrong.len() as u64)
        )))
    }
}
