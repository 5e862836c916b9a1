//! `backup`: every key without a lease, at one revision, into a file.

use anyhow::{Result, anyhow};

use super::metadata::Copied;
use super::{Context, take};
use crate::catalog::records::Records;
use crate::cli::BackupOptions;
use crate::course;
use crate::etcd::Etcd;
use crate::exit::{Exit, Failure};
use crate::outcome::backed_up::{BackupFile, BackupOutcome};
use crate::outcome::words::thousands;
use crate::outcome::{Ended, Next, Step};
use crate::state::{Situation, State};

pub(super) async fn execute(context: &Context, options: &BackupOptions) -> Result<Exit, Failure> {
    let file = context.backup_file()?;
    context.say(format!("backup: every key under {} goes to {}", context.config.meta_root, file.display()));
    let etcd = context.connect().await?;
    let guard = context.lock(&etcd).await?;
    let result = async {
        let Copied { writer, outline, revision } = context.copy(&etcd, &file, None).await?;
        // What is refused now was written aside, and leaves nothing behind.
        let situation = judge(context, &etcd, options, &outline, revision).await?;
        let written = writer.finish(situation.found)?;
        Ok::<_, anyhow::Error>((written, situation))
    }
    .await;
    let still_guarded = guard.check().await;
    guard.release().await;
    let (written, situation) = result?;
    context.say_backup(&written);
    if let Err(error) = still_guarded {
        // The backup is sound, but it may not be the newest state any more.
        return Err(Failure::interrupted(
            anyhow::Error::new(error)
                .context("the backup was written, but Milvus came back meanwhile: make it again before migrating"),
        ));
    }
    let next = match situation.state {
        State::Ready => Next::new(
            Step::Run,
            format!(
                "migrate with `run`; to go back, `rollback --backup-file {}`. Keep a copy of the file elsewhere",
                file.display()
            ),
        ),
        _ => course::next(&situation),
    };
    context.say(format!("next: {}", next.text));
    context.console.object(&BackupOutcome {
        header: context.header("backup", Ended::Done, Some(situation.state), Some(next)),
        backup: BackupFile::from(&written),
    });
    Ok(Exit::Done)
}

/// Refuses to back up what would be no way back.
async fn judge(
    context: &Context,
    etcd: &Etcd,
    options: &BackupOptions,
    outline: &Records,
    revision: i64,
) -> Result<Situation> {
    let situation = Situation::of(outline)?;
    if situation.state == State::NoMilvus {
        return Err(anyhow!("{}", context.nothing_here(etcd).await));
    }
    context.say(format!(
        "found {} metadata keys at revision {}: {}",
        thousands(outline.keys()),
        revision,
        situation.headline()
    ));
    let course = course::of_backup(&situation, context.config.source_version.as_ref(), options.force);
    match take(course)? {
        Some(why) => Err(anyhow!("{why}")),
        None => Ok(situation),
    }
}
