//! `verify`: is the metadata complete for the target, and just what the migration of a backup gives? Changes nothing.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use semver::Version;

use super::way_back::find_it_first;
use super::{Context, describe};
use crate::amounts::many;
use crate::backup::Backup;
use crate::catalog::check::{self, Checked};
use crate::catalog::problem::Problem;
use crate::catalog::records::Records;
use crate::catalog::{self, Conversion, Precedence};
use crate::cli::{ConversionOptions, VerifyOptions};
use crate::config::Config;
use crate::course::{self, Course};
use crate::diff::{Diff, Differ};
use crate::etcd::Etcd;
use crate::exit::Exit;
use crate::garbage;
use crate::guard::{Session, components_and_lock};
use crate::history::{Choices, History, Operation};
use crate::layout::families::Family;
use crate::layout::keys::{family_of, is_metadata, printable};
use crate::outcome::failed::Failure;
use crate::outcome::ticket;
use crate::outcome::verified::{ComparisonOutcome, VerifyOutcome, ended, text};
use crate::outcome::words::refusals;
use crate::outcome::{Next, Step};
use crate::packed::Packer;
use crate::state::{Situation, State};
use crate::version::Layout;

/// The components that are registered, and the migration lock if another command holds it.
type AtWork = (Vec<Session>, Option<Session>);

/// What the migration of a backup gives.
struct Expected {
    file: String,
    should: Vec<(Bytes, Bytes)>,
    problems: Vec<Problem>,
}

pub(super) async fn execute(context: &Context, options: &VerifyOptions) -> Result<Exit, Failure> {
    if options.against_backup.is_none()
        && (options.skip_invalid.is_some() || options.conversion != ConversionOptions::default())
    {
        let error = anyhow!(
            "--skip-invalid, --rebuild-index, --keep-index-files and the --rename options mean something with --against-backup only"
        );
        return Err(error.into());
    }
    // The file is read and checked before etcd is even asked.
    let file = options.against_backup.as_ref().map(|file| context.named_backup(file)).transpose()?;
    let backup = file.as_deref().map(|file| read_backup(context, file)).transpose()?;
    let etcd = context.connect().await?;
    let at_work = components_and_lock(&etcd, &context.root).await?;
    let outcome = examine(context, &etcd, options, backup, at_work).await?;
    context.report(|surroundings| ticket::of_verify(&outcome, surroundings));
    context.console.result(&outcome, || text(&outcome, context.details));
    Ok(if outcome.consistent { Exit::Done } else { Exit::NothingWritten })
}

/// Judges what is in etcd now, and holds it against the migration of a backup.
pub(super) async fn examine(
    context: &Context,
    etcd: &Etcd,
    options: &VerifyOptions,
    backup: Option<NamedKeys>,
    at_work: AtWork,
) -> Result<VerifyOutcome> {
    let (mut all, mut records) = (Vec::new(), Records::default());
    let revision = read(context, etcd, &mut all, &mut records).await?;
    let situation = context.situation(&records)?;
    if situation.state == State::NoMilvus {
        context.console.warn(&context.nothing_here(etcd).await);
    }
    let target = target_of(situation.history.as_ref(), context.config.target_version.as_ref());
    let layout = target.as_ref().map(Layout::of);
    let checked = check::check(all.iter().map(|(key, value)| (key, value)), layout);
    let kept_newer = situation.history.as_ref().is_some_and(keeps_newer);
    let conversion = conversion_of(options, situation.history.as_ref(), &context.config);
    let expected = backup.map(|backup| work_out(&conversion, kept_newer, backup, target.as_ref())).transpose()?;
    let comparison = expected.map(|expected| compared(expected, &all));
    let mut outcome = judge(context, &situation, target.as_ref(), checked, comparison, at_work, revision);
    if outcome.header.next.code == Step::StartNew && context.is_way_back_away(situation.history.as_ref()) {
        outcome.header.next = find_it_first(&outcome.header.next);
    }
    Ok(outcome)
}

/// The version that is to be started: the one on record, or the one that is given where it reads the same layout.
fn target_of(history: Option<&History>, given: Option<&Version>) -> Option<Version> {
    let recorded = history.and_then(History::target);
    let is_as_good = |given: &&Version| recorded.as_ref().is_none_or(|was| Layout::of(was) == Layout::of(given));
    given.filter(is_as_good).cloned().or(recorded)
}

fn judge(
    context: &Context,
    situation: &Situation,
    target: Option<&Version>,
    checked: Checked,
    comparison: Option<ComparisonOutcome>,
    (sessions, lock): AtWork,
    revision: i64,
) -> VerifyOutcome {
    let is_still = sessions.is_empty() && lock.is_none();
    let errors = checked.errors().count();
    let differs = comparison.as_ref().is_some_and(|comparison| comparison.keys() > 0);
    let is_whole = !matches!(
        situation.state,
        State::RunInterrupted
            | State::RepairInterrupted
            | State::RollbackInterrupted
            | State::NoMilvus
            | State::InMysql
    );
    let consistent = errors == 0 && !differs && is_whole;
    let verdict = match (consistent, target) {
        (true, _) if checked.collections == 0 => "no collections: nothing to migrate, and nothing to verify".to_owned(),
        (true, Some(target)) if is_still => {
            format!("complete and consistent: Milvus {target} can be started on it")
        }
        (true, Some(target)) => {
            let who =
                if sessions.is_empty() { "another command holds the migration lock" } else { "Milvus is running" };
            format!("complete and consistent for Milvus {target}, at that one revision: {who}")
        }
        (true, None) => {
            "nothing wrong was found, but it is not known for which target this is: give --target-version".to_owned()
        }
        (false, _) if !is_whole => format!("NOT to be started on: {}", situation.headline()),
        (false, _) if errors > 0 => format!("NOT to be started on: {}", many(errors, "error", "errors")),
        (false, _) => "NOT what the migration of the backup gives".to_owned(),
    };
    let next = match (consistent, target) {
        (true, Some(target)) if is_still && checked.collections > 0 => {
            Next::new(Step::StartNew, format!("start Milvus {target}; {}", garbage::in_a_sentence(target)))
        }
        (true, _) => Next::new(Step::Nothing, "nothing"),
        (false, _) if !is_whole || situation.state != State::Migrated => course::next(situation),
        (false, _) => Next::new(
            Step::Rollback,
            format!(
                "look at each finding; if Milvus has not been started on it, go back with {} and run again",
                situation.history.as_ref().map_or_else(|| "`rollback`".into(), History::way_back)
            ),
        ),
    };
    let (consistent, verdict, next) = match other_target(context, situation) {
        Some((why, way_on)) => (false, format!("NOT for the target version that was given: {why}"), way_on),
        None => (consistent, verdict, next),
    };
    VerifyOutcome {
        header: context.header("verify", ended(consistent), situation.state, next),
        found: situation.headline(),
        target_version: target.map(ToString::to_string),
        revision,
        keys: checked.keys,
        collections: checked.collections,
        sessions,
        lock,
        consistent,
        source_keys: checked.source_keys,
        findings: checked.findings,
        comparison,
        verdict,
    }
}

/// Why what was migrated is not for the target version that was given, if so; with the way on.
fn other_target(context: &Context, situation: &Situation) -> Option<(String, Next)> {
    let given = context.config.target_version.as_ref()?;
    let history = situation.history.as_ref().filter(|_| situation.state == State::Migrated)?;
    match course::of_migrated(situation, history, given, &Choices::default()) {
        Course::Refuse(why, next) => Some((why, next)),
        Course::Convert | Course::Nothing(..) => None,
    }
}

/// A backup's file name, and its keys with their values in ascending order.
pub(super) type NamedKeys = (String, Vec<(Bytes, Bytes)>);

/// Reads a backup whole, for [`examine`].
pub(super) fn read_backup(context: &Context, file: &Path) -> Result<NamedKeys> {
    let (mut entries, mut packer) = (Vec::new(), Packer::default());
    let backup = Backup::read(file, |key, value| entries.push(packer.pair(key, value)))?;
    context.say(format!("comparing with {}: {}", file.display(), describe(&backup)));
    if backup.meta_root != context.config.meta_root.to_string() {
        context.console.warn(&format!(
            "{} is a backup of the meta root {}, but what is verified is {}",
            file.display(),
            backup.meta_root,
            context.config.meta_root
        ));
    }
    entries.retain(|(key, _)| is_metadata(key));
    entries.sort();
    Ok((file.display().to_string(), entries))
}

/// Whether what a newer Milvus wrote before counted in the run or repair on record.
fn keeps_newer(history: &History) -> bool {
    history.options.keep_newer || history.operation == Operation::Repair
}

/// The options that the migration is worked out with: as given; where none are, as they are on record.
fn conversion_of(options: &VerifyOptions, history: Option<&History>, config: &Config) -> ConversionOptions {
    match history {
        Some(history) if options.conversion == ConversionOptions::default() => ConversionOptions::of(&history.options),
        _ => options.conversion.settled(history, config),
    }
}

/// Works the migration out again from the backup.
fn work_out(
    conversion: &ConversionOptions,
    kept_newer: bool,
    (file, entries): NamedKeys,
    target: Option<&Version>,
) -> Result<Expected> {
    let target = target.with_context(|| {
        "it is not known for which target the backup is to be migrated: give --target-version".to_owned()
    })?;
    let mut records: Records = entries.iter().cloned().collect();
    let precedence = if kept_newer { Precedence::Newer } else { Precedence::Source };
    let chosen = conversion.options(precedence, kept_newer);
    let Conversion { should, problems, refusals: refused, .. } =
        catalog::convert(&mut records, Layout::of(target), &chosen);
    if !refused.is_empty() {
        return Err(anyhow!("{}", refusals(&refused)));
    }
    let mut should: Vec<(Bytes, Bytes)> = should.into_iter().collect();
    should.extend(entries.into_iter().filter(|(key, _)| family_of(key) == Family::Other));
    should.sort();
    Ok(Expected { file, should, problems })
}

fn compared(expected: Expected, all: &[(Bytes, Bytes)]) -> ComparisonOutcome {
    let mut differ = Differ::new(expected.should);
    all.iter().for_each(|(key, value)| differ.add(key.clone(), value));
    let diff: Diff = differ.finish();
    let mut outcome = ComparisonOutcome {
        path: expected.file,
        problems: expected.problems,
        equal: diff.equal.values().sum(),
        missing: Vec::new(),
        different: Vec::new(),
        extra: Vec::new(),
    };
    for edit in &diff.edits {
        let list = match (edit.is_there, &edit.put) {
            (false, _) => &mut outcome.missing,
            (true, Some(_)) => &mut outcome.different,
            (true, None) => &mut outcome.extra,
        };
        list.push(printable(&edit.key));
    }
    outcome
}

/// Reads everything at one revision.
async fn read(context: &Context, etcd: &Etcd, all: &mut Vec<(Bytes, Bytes)>, records: &mut Records) -> Result<i64> {
    let read = context.starting_over(async || {
        all.clear();
        *records = Records::default();
        let mut packer = Packer::default();
        let mut snapshot = etcd.snapshot(context.root.as_str()).await?;
        let bar = context.progress.reading("verifying", snapshot.total());
        while let Some(page) = snapshot.next_page().await? {
            context.stop.check()?;
            bar.read(page.len() as u64, context.metadata_keys(&page));
            for entry in page.into_iter().filter(|entry| entry.lease == 0) {
                let (key, value) = packer.pair(&entry.key[context.root.len()..], &entry.value);
                records.add(key.clone(), value.clone());
                if is_metadata(&key) {
                    all.push((key, value));
                }
            }
        }
        bar.finish();
        Ok(snapshot.revision())
    });
    context.unless_stopped(read).await.with_context(|| format!("cannot read {}", context.config.meta_root))
}
