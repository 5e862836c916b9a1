//! `backup`: every key without a lease, at one revision, into a file.

use std::path::Path;

use anyhow::{Result, anyhow, bail};

use super::{Context, take, while_running};
use crate::amounts::thousands;
use crate::backup::write::Written;
use crate::catalog::records::Records;
use crate::cli::BackupOptions;
use crate::course;
use crate::etcd::Etcd;
use crate::exit::Exit;
use crate::outcome::backed_up::{BackupFile, BackupOutcome};
use crate::outcome::failed::Failure;
use crate::outcome::{Ended, Next, Step};
use crate::shell::as_argument;
use crate::state::{Situation, State};

pub(super) async fn execute(context: &Context, options: &BackupOptions) -> Result<Exit, Failure> {
    let file = context.backup_file()?;
    if options.while_running {
        return while_running::execute(context, options, &file).await;
    }
    context.say(format!("backup: every key under {} goes to {}", context.config.meta_root, file.display()));
    let etcd = context.connect().await?;
    let guard = context.lock(&etcd).await?;
    // Nothing changes under the lock, so any later revision will do, should etcd compact this one away.
    let result = write(context, &etcd, &file, false, options).await;
    let still_guarded = guard.check().await;
    guard.release().await;
    let (written, situation) = result?;
    context.say_backup(&written);
    if let Err(error) = still_guarded {
        // The backup is sound, but it may not be the newest state any more.
        let next = Next::new(Step::Backup, "stop Milvus, and make the backup again before migrating");
        let error = anyhow::Error::new(error).context("the backup was written, but Milvus came back meanwhile");
        return Err(Failure::interrupted(error).with_next(next));
    }
    let next = match situation.state {
        State::Ready => Next::new(
            Step::Run,
            format!(
                "migrate with `run`; to go back, `rollback --backup-file {}`. Keep a copy of the file elsewhere",
                as_argument(&file.to_string_lossy())
            ),
        ),
        _ => course::next(&situation),
    };
    context.say(format!("next: {}", next.text));
    context.console.object(&BackupOutcome {
        header: context.header("backup", Ended::Done, situation.state, next),
        backup: BackupFile::from(&written),
        removed: Vec::new(),
    });
    Ok(Exit::Done)
}

/// Writes it, but for what would be no way back.
pub(super) async fn write(
    context: &Context,
    etcd: &Etcd,
    file: &Path,
    while_running: bool,
    options: &BackupOptions,
) -> Result<(Written, Situation)> {
    let mut found = None;
    let judge = |records: &Records, revision: i64| {
        let situation = context.situation(records)?;
        let keys = thousands(records.keys());
        context.say(format!("found {keys} metadata keys at revision {revision}: {}", situation.headline()));
        let course = course::of_backup(&situation, context.config.source_version.as_ref(), options.force);
        if let Some((why, _)) = take(course)? {
            bail!("{why}");
        }
        if let Some(history) = &situation.history
            && history.backup.is_some()
            && file.exists()
            && context.recorded_backup(file, history).is_ok()
        {
            bail!(
                "{} is the backup that is on record, the way back: it stays where it is. Give this one another name with --backup-file",
                file.display()
            );
        }
        Ok(found.insert(situation).found)
    };
    let written = context.write_backup(etcd, file, while_running, judge).await?;
    let situation = found.ok_or_else(|| anyhow!("a backup was written that nobody looked at: this is a defect"))?;
    Ok((written, situation))
}
