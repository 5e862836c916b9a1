//! `rollback`: afterwards the meta root holds exactly the keys and values of the backup, sessions aside.

use std::time::Instant;

use anyhow::{Result, bail};
use bytes::Bytes;

use super::{Context, describe};
use crate::backup::Backup;
use crate::cli::RollbackOptions;
use crate::etcd::Etcd;
use crate::exit::{Exit, Failure};
use crate::guard::Guard;
use crate::layout::keys::SESSIONS;
use crate::plan::Plan;
use crate::report::outcome::{Ended, RollbackOutcome};
use crate::report::text::{bytes, thousands};
use crate::restore::{Comparison, Differences};

type Entries = Vec<(Bytes, Bytes)>;

pub(super) async fn execute(context: &Context, options: &RollbackOptions) -> Result<Exit, Failure> {
    let begun = Instant::now();
    // All of the file is read and checked before etcd is even asked.
    let (backup, entries) = read_backup(context, options)?;
    context.say(format!("rollback: {} goes back to {}", context.config.meta_root, backup.path.display()));
    context.say(format!("the backup is sound: {}", describe(&backup)));
    let etcd = context.connect().await?;
    let guard = context.lock(&etcd).await?;
    let result = restore_guarded(context, &etcd, &guard, &backup, entries).await;
    guard.release().await;
    let mut outcome = result?;
    outcome.seconds = begun.elapsed().as_secs_f64();
    if let Some(revision) = outcome.verified_revision {
        context.say(format!("rolled back at revision {revision} in {:.1} s", outcome.seconds));
        context.say("next: start the Milvus version that the backup was made with");
    }
    context.console.object(&outcome)?;
    Ok(Exit::Done)
}

fn read_backup(context: &Context, options: &RollbackOptions) -> Result<(Backup, Entries)> {
    let file = context.backup_file()?;
    let mut entries = Vec::new();
    let backup = Backup::read(&file, |key, value| entries.push((Bytes::from(key), Bytes::from(value))))?;
    // Sessions are not restored.
    if entries.iter().all(|(key, _)| key.starts_with(SESSIONS.as_bytes())) {
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

async fn restore_guarded(
    context: &Context,
    etcd: &Etcd,
    guard: &Guard,
    backup: &Backup,
    entries: Entries,
) -> Result<RollbackOutcome, Failure> {
    let compared = context.starting_over(async || compare(context, etcd, entries.clone()).await);
    let (plan, differences) = context.unless_stopped(compared).await?;
    let totals = plan.totals();
    let mut outcome = RollbackOutcome {
        command: "rollback",
        ended: Ended::NothingToDo,
        meta_root: context.config.meta_root.to_string(),
        backup: backup.path.display().to_string(),
        differences,
        totals,
        verified_revision: None,
        seconds: 0.0,
    };
    let differences = &outcome.differences;
    if plan.is_empty() {
        context.say(format!("nothing to do: all {} keys are as in the backup", thousands(differences.equal)));
        return Ok(outcome);
    }
    context.check_room_and_rights(etcd, &plan).await?;
    let changes = format!(
        "{} keys put back ({} missing, {} different; {}), {} deleted that the backup does not have, {} left as they are",
        thousands(totals.puts),
        thousands(differences.missing.values().sum()),
        thousands(differences.different.values().sum()),
        bytes(totals.put_bytes),
        thousands(totals.deletes),
        thousands(differences.equal)
    );
    context.say(format!("plan: {changes}"));
    let way_on = "Run `rollback` again: it goes on where this one ended. Do not start Milvus before it is done";
    let revision = context.carry_out(etcd, guard, &plan, way_on).await?;
    context.say(format!("done: {changes}"));
    for (what, counts) in
        [("missing", &differences.missing), ("different", &differences.different), ("extra", &differences.extra)]
    {
        for (prefix, keys) in counts {
            context.say(format!("  {what}: {prefix} {}", thousands(*keys)));
        }
    }
    outcome.ended = Ended::Done;
    outcome.verified_revision = Some(revision);
    Ok(outcome)
}

async fn compare(context: &Context, etcd: &Etcd, entries: Entries) -> Result<(Plan, Differences)> {
    let mut comparison = Comparison::new(entries);
    let mut snapshot = etcd.snapshot(context.root.as_str()).await?;
    let bar = context.progress.reading("comparing with the backup", snapshot.total());
    while let Some(page) = snapshot.next_page().await? {
        context.stop.check()?;
        bar.read(page.len() as u64);
        for entry in page {
            comparison.add(entry.key.slice(context.root.len()..), &entry.value);
        }
    }
    bar.finish();
    Ok(comparison.finish(snapshot.revision()))
}
