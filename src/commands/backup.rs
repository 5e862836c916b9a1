//! `backup`: every key without a lease, at one revision, into a file.

use anyhow::{Result, bail};

use super::Context;
use crate::cli::BackupOptions;
use crate::etcd::Etcd;
use crate::exit::{Exit, Failure};
use crate::layout::Found;
use crate::report::outcome::{BackupFile, BackupOutcome, Ended};
use crate::version::has_21_layout;

pub(super) async fn execute(context: &Context, options: &BackupOptions) -> Result<Exit, Failure> {
    let file = context.backup_file()?;
    context.say(format!("backup: every key under {} goes to {}", context.config.meta_root, file.display()));
    let etcd = context.connect().await?;
    let guard = context.lock(&etcd).await?;
    let result = async {
        let found = check_layout(context, &etcd, options).await?;
        let written = context.write_backup(&etcd, &file, None, found).await?;
        Ok::<_, anyhow::Error>(written)
    }
    .await;
    let still_guarded = guard.check().await;
    guard.release().await;
    let written = result?;
    context.say_backup(&written);
    if let Err(error) = still_guarded {
        // The backup is sound, but it may not be the newest state any more.
        return Err(Failure::interrupted(
            anyhow::Error::new(error)
                .context("the backup was written, but Milvus came back meanwhile: make it again before migrating"),
        ));
    }
    context.say(format!(
        "next: migrate with `run`; to go back, `rollback --backup-file {}`. Keep a copy of the file elsewhere",
        file.display()
    ));
    context.console.object(&BackupOutcome {
        command: "backup",
        ended: Ended::Done,
        meta_root: context.config.meta_root.to_string(),
        backup: BackupFile::from(&written),
    })?;
    Ok(Exit::Done)
}

/// Refuses to back up what is not wholly in the layout of the source version: restoring it would not be a rollback.
async fn check_layout(context: &Context, etcd: &Etcd, options: &BackupOptions) -> Result<Found> {
    let has_target_keys = context.has_target_keys(etcd).await?;
    let expects_source = context.config.source_version.as_ref().is_none_or(has_21_layout);
    let (inventory_found, fits) = if has_target_keys {
        // Rare, so that it may take a second read: 2.2, or half of each.
        let found = context.read_inventory(etcd).await?.0.found();
        (found, if expects_source { false } else { found == Found::Target })
    } else {
        (Found::Source, expects_source)
    };
    if fits || options.force {
        return Ok(inventory_found);
    }
    let version = context.source_version().unwrap_or_else(|| "2.1".into());
    let way_on = match inventory_found {
        Found::Mixed => "Finish the migration with `run`, or go back with `rollback` and the backup made before it",
        _ => "If a migration has been done, the backup made before it is the one to keep",
    };
    bail!(
        "the metadata under {} is in layout {inventory_found}, not wholly in that of Milvus {version} (source version): \
         a backup of it would not be a way back. {way_on}. To back it up all the same, use --force",
        context.config.meta_root
    )
}
