//! `check-files`: are the files that the metadata names in the object storage? Takes no lock, changes nothing.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::Context;
use crate::amounts::thousands;
use crate::backup::{Backup, Format};
use crate::catalog::files::{self, NamedFiles};
use crate::catalog::records::Records;
use crate::cli::CheckFilesOptions;
use crate::config::StorageConfig;
use crate::exit::Exit;
use crate::guard::{Session, components_and_lock};
use crate::layout::keys::is_metadata;
use crate::outcome::failed::Failure;
use crate::outcome::files_checked::{CheckFilesOutcome, FilesFound, text};
use crate::outcome::{Ended, Next, Step};
use crate::packed::Packer;
use crate::state::{Situation, State};
use crate::storage::Storage;

/// The metadata whose files are looked for.
struct LookedAt {
    name: String,
    meta_root: String,
    revision: Option<i64>,
    sessions: Vec<Session>,
    /// Which state it is in.
    state: State,
    named: NamedFiles,
}

pub(super) async fn execute(context: &Context, options: &CheckFilesOptions) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let storage = context.storage()?;
    let origin = match &options.from_backup {
        Some(file) => from_backup(&context.named_backup(file)?)?,
        None => from_etcd(context).await?,
    };
    let found = context.look_for_files(storage, &origin.named).await?;
    let ended = if found.is_whole() { Ended::Done } else { Ended::NotOk };
    let next = match (found.is_whole(), found.lacking == found.named) {
        (true, _) => Next::new(Step::Nothing, "nothing"),
        (false, true) if found.lacking > 0 => {
            Next::new(Step::Correct, "make sure that this is the right storage, bucket and root path; then look again")
        }
        (false, _) => Next::new(
            Step::Mend,
            "bring the files back from a copy of the storage, if there is one; indexes can be dropped and made again, rows have to be \
             inserted again",
        ),
    };
    let outcome = CheckFilesOutcome {
        header: crate::outcome::Header {
            meta_root: Some(origin.meta_root),
            ..context.header("check-files", ended, origin.state, next)
        },
        source: origin.name,
        revision: origin.revision,
        sessions: origin.sessions,
        files: found,
        seconds: begun.elapsed().as_secs_f64(),
    };
    context.console.result(&outcome, || text(&outcome, context.details));
    Ok(if ended == Ended::Done { Exit::Done } else { Exit::NothingWritten })
}

impl Context {
    /// Where the object storage is.
    pub(super) fn storage(&self) -> Result<&StorageConfig> {
        self.storage.as_ref().context("where the object storage is, was not asked for")
    }

    /// Looks for the files in the storage.
    pub(super) async fn look_for_files(&self, config: &StorageConfig, named: &NamedFiles) -> Result<FilesFound> {
        check_root(config, named)?;
        let storage = Storage::new(config)?;
        self.say(format!("looking for {} files in the {}", thousands(named.count()), storage.name()));
        let bar = self.progress.files("looking for files", named.count());
        let lacking = self.unless_stopped(storage.lacking(named, &|files| bar.looked(files))).await?;
        bar.finish();
        Ok(FilesFound::new(storage.name(), named, lacking))
    }
}

/// 2.1 writes its root path into its records. Where another one is configured, newer versions would look elsewhere.
fn check_root(config: &StorageConfig, named: &NamedFiles) -> Result<()> {
    if !config.root_is_said {
        return Ok(());
    }
    let other = named.folders.keys().filter_map(|folder| folder.root.as_ref()).find(|root| **root != config.root_path);
    if let Some(root) = other {
        bail!(
            "the metadata names files under {root:?}, but the root path is said to be {:?} (minio.rootPath, --storage-root-path): correct \
             it; newer versions of Milvus find their files by it alone. Nothing was looked for",
            config.root_path
        );
    }
    Ok(())
}

async fn from_etcd(context: &Context) -> Result<LookedAt> {
    let etcd = context.connect().await?;
    let (live, lock) = components_and_lock(&etcd, &context.root).await?;
    if let Some(lock) = lock {
        context
            .console
            .warn(&format!("the migration lock is held ({lock}): what is under way may change which files are named"));
    }
    let reading = context.read_records(&etcd).await?;
    let state = context.situation(&reading.records)?.state;
    if state == State::NoMilvus {
        bail!("{}", context.nothing_here(&etcd).await);
    }
    Ok(LookedAt {
        name: format!("etcd at {}", etcd.endpoint()),
        meta_root: context.config.meta_root.to_string(),
        revision: Some(reading.revision),
        sessions: live,
        state,
        named: files::named(&reading.records),
    })
}

fn from_backup(file: &Path) -> Result<LookedAt> {
    let (mut entries, mut packer) = (Vec::new(), Packer::default());
    let backup = Backup::read(file, |key, value| entries.push(packer.pair(key, value)))
        .with_context(|| format!("cannot take the metadata from {}", file.display()))?;
    entries.retain(|(key, _)| is_metadata(key));
    entries.sort();
    let records: Records = entries.into_iter().collect();
    Ok(LookedAt {
        name: format!("backup file {}", file.display()),
        meta_root: backup.meta_root.clone(),
        revision: match &backup.format {
            Format::Ours(manifest) => Some(manifest.etcd_revision),
            Format::Legacy => None,
        },
        sessions: Vec::new(),
        state: Situation::of(&records).map_or(State::Unknown, |situation| situation.state),
        named: files::named(&records),
    })
}
