//! `run`: from the 2.1 layout to the 2.2 layout.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};

use super::{Context, describe};
use crate::apply::transactions;
use crate::cli::RunOptions;
use crate::etcd::Etcd;
use crate::exit::{Exit, Failure};
use crate::guard::Guard;
use crate::layout::Found;
use crate::migrate::{self, Migration};
use crate::report::outcome::{BackupFile, Ended, RunOutcome};
use crate::report::text;
use crate::version::{Way, way};

pub(super) async fn execute(context: &Context, options: &RunOptions) -> Result<Exit, Failure> {
    let (Some(source), Some(target)) = (&context.config.source_version, &context.config.target_version) else {
        return Err(anyhow!(
            "the versions are missing: set config.sourceVersion and config.targetVersion in the configuration file, \
             or give --source-version and --target-version"
        )
        .into());
    };
    let begun = Instant::now();
    let mut outcome = RunOutcome {
        command: "run",
        ended: Ended::NothingToDo,
        meta_root: context.config.meta_root.to_string(),
        source_version: source.to_string(),
        target_version: target.to_string(),
        backup: None,
        migration: None,
        verified_revision: None,
        seconds: 0.0,
    };
    if way(source, target)? == Way::NothingToDo {
        context.say(format!("nothing to do: Milvus {source} and {target} read the same layout"));
    } else {
        if options.with_backup {
            context.backup_file()?;
        }
        context
            .say(format!("run: the metadata under {} goes from Milvus {source} to {target}", context.config.meta_root));
        let etcd = context.connect().await?;
        let guard = context.lock(&etcd).await?;
        let result = migrate_guarded(context, options, &etcd, &guard, &mut outcome).await;
        guard.release().await;
        result?;
    }
    outcome.seconds = begun.elapsed().as_secs_f64();
    if let Some(revision) = outcome.verified_revision {
        context.say(format!("migrated at revision {revision} in {:.1} s", outcome.seconds));
        context.say(format!("next: `verify`, then start Milvus {target}"));
    }
    context.console.object(&outcome)?;
    Ok(Exit::Done)
}

async fn migrate_guarded(
    context: &Context,
    options: &RunOptions,
    etcd: &Etcd,
    guard: &Guard,
    outcome: &mut RunOutcome,
) -> Result<(), Failure> {
    let (inventory, revision) = context.read_inventory(etcd).await?;
    let found = inventory.found();
    context.say(format!("found {} keys at revision {revision}, layout: {found}", text::thousands(inventory.keys())));
    let migration = migrate::plan(inventory, revision, &(&options.conversion).into());
    check_problems(context, options, &migration)?;
    outcome.migration = Some(context.summary(&migration));
    if migration.plan.is_empty() {
        context.say("nothing to do: everything is in the 2.2 layout already");
        return Ok(());
    }
    announce(context, &migration);
    context.check_room_and_rights(etcd, &migration.plan).await?;
    if !options.with_backup && !options.force {
        context.check_announced_backup()?;
    }
    ask(context, options, &migration).await?;
    if options.with_backup {
        outcome.backup = back_up(context, options, etcd, &migration, found).await?;
    }
    let carried_out = context.carry_out(etcd, guard, &migration.plan, &way_on(context)).await;
    let revision = carried_out.map_err(|failure| match outcome.backup {
        Some(_) => Failure::interrupted(failure.error),
        None => failure,
    })?;
    summarize(context, &migration);
    outcome.ended = Ended::Done;
    outcome.verified_revision = Some(revision);
    Ok(())
}

/// A person at a terminal sees what will be done, and is asked.
async fn ask(context: &Context, options: &RunOptions, migration: &Migration) -> Result<()> {
    if options.yes || !context.console.can_ask() {
        return Ok(());
    }
    context.say(text::summary(&migration.report, &migration.plan.untouched));
    tokio::select! {
        answer = context.console.confirms("This will be written now.") => match answer.context("cannot ask")? {
            true => Ok(()),
            false => bail!("not confirmed: nothing was written"),
        },
        stopped = context.stop.requested() => Err(stopped).context("not confirmed: nothing was written"),
    }
}

/// Whatever is wrong stops the migration before the first write, unless the user goes on without exactly that.
fn check_problems(context: &Context, options: &RunOptions, migration: &Migration) -> Result<()> {
    if !migration.refusals.is_empty() {
        return Err(anyhow!("{}\nNothing was written", text::refusals(&migration.refusals)));
    }
    let problems = &migration.plan.problems;
    if problems.is_empty() {
        return Ok(());
    }
    let list = text::problems(problems);
    if options.skip_invalid {
        context.console.warn(&format!("{list}\ngoing on without these records, as --skip-invalid says"));
        return Ok(());
    }
    Err(anyhow!(
        "{list}\nNothing was written. Mend these records, or go on without exactly them with --skip-invalid \
         (cmd.skipInvalid: true); make a backup first"
    ))
}

fn announce(context: &Context, migration: &Migration) {
    let totals = migration.plan.totals();
    context.say(format!(
        "plan: {} puts ({}), {} deletes, in {} transactions",
        text::thousands(totals.puts),
        text::bytes(totals.put_bytes),
        text::thousands(totals.deletes),
        text::thousands(transactions(&migration.plan, context.limits, context.root.len()) as u64)
    ));
}

/// Writes the backup of the very revision that the plan was made from. Returns the one that was written in this run, if any.
async fn back_up(
    context: &Context,
    options: &RunOptions,
    etcd: &Etcd,
    migration: &Migration,
    found: Found,
) -> Result<Option<BackupFile>> {
    let file = context.backup_file()?;
    if found == Found::Mixed && !options.force {
        return keep_earlier_backup(context, &file).map(|()| None);
    }
    let written = context.write_backup(etcd, &file, Some(migration.plan.revision), found).await?;
    context.say_backup(&written);
    Ok(Some(BackupFile::from(&written)))
}

/// Half-migrated metadata is not backed up: the backup from before is the way back.
fn keep_earlier_backup(context: &Context, file: &Path) -> Result<()> {
    let earlier = context.earlier_backup(file).with_context(|| {
        format!(
            "the metadata is half migrated, so a backup of it would not be a way back, and {} is no backup from before. \
             Go on without any (`run --with-backup=false --force`), or back up the half-migrated state with --force",
            file.display()
        )
    })?;
    context.say(format!(
        "the metadata is half migrated, so it is not backed up; the way back is {}: {}",
        file.display(),
        describe(&earlier)
    ));
    Ok(())
}

fn way_on(context: &Context) -> String {
    let back = match &context.config.backup_file {
        Some(file) => format!("`rollback --backup-file {}`", file.display()),
        None => "`rollback` with the backup made before".to_owned(),
    };
    format!(
        "Run again: it goes on where this run ended. Or go back with {back}. Do not start Milvus before one of the two is done"
    )
}

fn summarize(context: &Context, migration: &Migration) {
    context.say(format!("done: {}", text::summary(&migration.report, &migration.plan.untouched)));
    if !migration.plan.problems.is_empty() {
        context
            .console
            .warn(&format!("left out, as --skip-invalid says: {}", text::problems(&migration.plan.problems)));
    }
}
