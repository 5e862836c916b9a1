//! `backup --while-running`: a look at one moment of a living Milvus, for a schedule. Takes no lock, and writes nothing into etcd.
//!
//! It is no way back: Milvus goes on, and what was under way at that moment is half done in it. So it is marked, never takes the
//! place of a backup that is one, and `rollback` wants to be told that it is meant.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::Context;
use super::backup::write;
use crate::amounts::many;
use crate::backup::{Backup, Format, folder_of};
use crate::cli::BackupOptions;
use crate::exit::Exit;
use crate::guard::components_and_lock;
use crate::outcome::backed_up::{BackupFile, BackupOutcome};
use crate::outcome::failed::Failure;
use crate::outcome::{Ended, Next, Step};
use crate::shell::as_argument;

pub(super) async fn execute(context: &Context, options: &BackupOptions, file: &Path) -> Result<Exit, Failure> {
    spare_the_way_back(file)?;
    context.say(format!(
        "backup of one moment, while Milvus runs: every key under {} goes to {}",
        context.config.meta_root,
        file.display()
    ));
    let etcd = context.connect().await?;
    let (components, _) = components_and_lock(&etcd, &context.root).await?;
    context.say(format!("{} registered; no lock is taken", many(components.len(), "component is", "components are")));
    // Should etcd compact this revision away meanwhile, a later one is just as good.
    let (written, situation) = write(context, &etcd, file, true, options).await?;
    context.say_backup(&written);
    // The backup is there, whatever becomes of older ones.
    let removed = options.keep.map(|keep| remove_older(context, file, keep)).unwrap_or_default();
    let next = Next::new(
        Step::Nothing,
        format!(
            "rehearse with `plan --from-backup {}`. This is no way back: before `run`, stop Milvus and make another with `backup`",
            as_argument(&file.to_string_lossy())
        ),
    );
    context.say(format!("next: {}", next.text));
    context.console.object(&BackupOutcome {
        header: context.header("backup", Ended::Done, situation.state, next),
        backup: BackupFile::from(&written),
        removed,
    });
    Ok(Exit::Done)
}

/// A schedule must not move a backup aside that is a way back: `run` and `rollback` look for it under this name.
fn spare_the_way_back(file: &Path) -> Result<()> {
    match Backup::check(file) {
        Ok(backup) if !backup.while_running => bail!(
            "{} was made with Milvus stopped: it is the way back from a migration, and keeps its place. Give backups of a running Milvus \
             another name with --backup-file. Nothing was written",
            file.display()
        ),
        // Nothing there, or nothing that anybody could go back to: it is moved aside as ever.
        _ => Ok(()),
    }
}

/// Removes all but the newest backups of a running Milvus at this path and beside it. What is anything else stays.
fn remove_older(context: &Context, file: &Path, keep: usize) -> Vec<String> {
    let mut backups: Vec<(String, i64, PathBuf)> = numbered(file)
        .into_iter()
        .filter_map(|path| match Backup::check(&path).ok()?.format {
            Format::Ours(manifest) if manifest.while_running => Some((manifest.created, manifest.etcd_revision, path)),
            _ => None,
        })
        .collect();
    backups.sort();
    // The one just made is not among the numbered ones.
    let surplus = (backups.len() + 1).saturating_sub(keep);
    let mut removed = Vec::new();
    for (_, _, path) in backups.into_iter().take(surplus) {
        match fs::remove_file(&path).with_context(|| format!("cannot remove the older backup {}", path.display())) {
            Ok(()) => removed.push(path.display().to_string()),
            Err(error) => context.console.warn(&format!("{error:#}")),
        }
    }
    if !removed.is_empty() {
        context.say(format!("removed, as --keep {keep} says: {}", removed.join(", ")));
    }
    removed
}

/// `<file>.1`, `<file>.2` and so on, as far as they are there.
fn numbered(file: &Path) -> Vec<PathBuf> {
    let folder = folder_of(file);
    let Some(name) = file.file_name() else { return Vec::new() };
    let is_numbered = |other: &Path| {
        let rest = other.file_name()?.as_encoded_bytes().strip_prefix(name.as_encoded_bytes())?.strip_prefix(b".")?;
        (!rest.is_empty() && rest.iter().all(u8::is_ascii_digit)).then_some(())
    };
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    entries.filter(|path| is_numbered(path).is_some() && path.is_file()).collect()
}
