//! `run`: from the 2.1 layout to the 2.2 layout.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};

use super::{Context, describe};
use crate::apply::transactions;
use crate::cli::RunOptions;
use crate::etcd::Etcd;
use crate::exit::{Exit, Failure};
use crate::guard::Guard;
use crate::layout::Found;
use crate::migrate::{self, Migration, Options};
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
    if way(source, target)? == Way::NothingToDo {
        context.say(format!("nothing to do: Milvus {source} and {target} read the same layout"));
        return Ok(Exit::Done);
    }
    context.say(format!("run: the metadata under {} goes from Milvus {source} to {target}", context.config.meta_root));
    let etcd = context.connect().await?;
    let guard = context.lock(&etcd).await?;
    let result = migrate_guarded(context, options, &etcd, &guard).await;
    guard.release().await;
    result
}

async fn migrate_guarded(context: &Context, options: &RunOptions, etcd: &Etcd, guard: &Guard) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let (inventory, revision) = context.read_inventory(etcd).await?;
    let found = inventory.found();
    context.say(format!("found {} keys at revision {revision}, layout: {found}", text::thousands(inventory.keys())));
    let choice = Options { rebuild_index: options.rebuild_index.clone(), keep_index_files: options.keep_index_files };
    let migration = migrate::plan(inventory, revision, &choice);
    check_problems(context, options, &migration)?;
    if migration.plan.is_empty() {
        context.say("nothing to do: everything is in the 2.2 layout already");
        return Ok(Exit::Done);
    }
    announce(context, &migration);
    let backed_up = options.with_backup && back_up(context, options, etcd, &migration, found).await?;
    let way_on = way_on(context);
    let revision = context.carry_out(etcd, guard, &migration.plan, &way_on).await.map_err(|mut failure| {
        if backed_up {
            failure.exit = Exit::Interrupted;
        }
        failure
    })?;
    summarize(context, &migration, revision, begun);
    Ok(Exit::Done)
}

/// Whatever is wrong stops the migration before the first write, unless the user goes on without exactly that.
fn check_problems(context: &Context, options: &RunOptions, migration: &Migration) -> Result<()> {
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

/// Writes the backup of the very revision that the plan was made from. Returns whether one was written in this run.
async fn back_up(
    context: &Context,
    options: &RunOptions,
    etcd: &Etcd,
    migration: &Migration,
    found: Found,
) -> Result<bool> {
    let file = context.backup_file()?;
    if found == Found::Mixed && !options.force {
        return keep_earlier_backup(context, &file).map(|()| false);
    }
    let written = context.write_backup(etcd, &file, Some(migration.plan.revision), found).await?;
    context.say_backup(&written);
    Ok(true)
}

/// Half-migrated metadata is not backed up: the backup from before is the way back.
fn keep_earlier_backup(context: &Context, file: &Path) -> Result<()> {
    let earlier = context.earlier_backup(file).with_context(|| {
        format!(
            "the metadata is half migrated, so a backup of it would not be a way back, and {} is no backup from before. \
             Go on without a backup (cmd.runWithBackup: false), or back up the half-migrated state with --force",
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

fn summarize(context: &Context, migration: &Migration, revision: i64, begun: Instant) {
    context.say(format!("done: {}", text::migration(&migration.report, &migration.plan)));
    if !migration.plan.problems.is_empty() {
        context
            .console
            .warn(&format!("left out, as --skip-invalid says: {}", text::problems(&migration.plan.problems)));
    }
    context.say(format!("migrated at revision {revision} in {:.1} s", begun.elapsed().as_secs_f64()));
    let target = context.config.target_version.as_ref().map(ToString::to_string).unwrap_or_default();
    context.say(format!("next: start Milvus {target}"));
}
