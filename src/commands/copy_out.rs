//! A backup that is written while the metadata are read: in one reading, and of the very revision that is judged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Context;
use super::metadata::Reading;
use crate::amounts::{bytes, thousands};
use crate::backup::room::Room;
use crate::backup::write::{Origin, Written};
use crate::backup::{BackupError, Writer};
use crate::catalog::records::Records;
use crate::etcd::{Entry, Etcd, ReadOptions, Snapshot};
use crate::guard::Guard;
use crate::layout::Found;
use crate::layout::keys::{HISTORY, SESSIONS, is_history, is_metadata};
use crate::state::{Situation, State};

/// A backup that lacks only its end, or not even that. Dropped, it leaves nothing behind.
pub(super) struct CopyOut {
    pub(super) writer: Writer,
    room: Room,
    file: PathBuf,
    origin: Origin,
    /// Number of keys in all that are read.
    all: u64,
    /// Number of keys that its beginning speaks of.
    expected: u64,
}

impl CopyOut {
    fn begin(file: PathBuf, origin: Origin, all: u64, expected: u64) -> Result<Self, BackupError> {
        let writer = Writer::create(&file, origin.clone(), expected)?;
        Ok(Self { writer, room: Room::of(&file), file, origin, all, expected })
    }

    /// Adds what belongs into a backup: neither what has a lease, nor our own history.
    pub(super) fn with(mut self, page: &[Entry], root: &str) -> Result<Self, BackupError> {
        for Entry { key, value, lease, .. } in page {
            let relative = &key[root.len()..];
            if *lease == 0 && !is_history(relative) {
                self.writer.add(relative, value)?;
            }
        }
        self.room.check(&self.file, self.writer.keys(), self.all)?;
        Ok(self)
    }

    /// Whether it holds as many keys as its beginning says.
    fn is_whole(&self) -> bool {
        self.writer.keys() == self.expected
    }
}

impl Context {
    /// Writes a backup of all keys without a lease. It is read once: `judge` sees what went into the file, and tells its layout, or why
    /// there is to be no file; then none is left.
    pub(super) async fn write_backup(
        &self,
        etcd: &Etcd,
        file: &Path,
        while_running: bool,
        mut judge: impl FnMut(&Records, i64) -> Result<Found>,
    ) -> Result<Written> {
        let copied = self.starting_over(async || self.try_copy_out(etcd, file, while_running).await);
        match self.unless_stopped(copied).await.with_context(|| self.cannot_back_up())? {
            Some((copy, records, revision)) => {
                let layout = judge(&records, revision)?;
                copy.writer.finish(layout).with_context(|| self.cannot_back_up())
            }
            None => bail!("{}", self.nothing_here(etcd).await),
        }
    }

    /// What was copied, what is in it (the bulk counted), and the revision of it. `None` if there is nothing of Milvus but sessions.
    async fn try_copy_out(
        &self,
        etcd: &Etcd,
        file: &Path,
        while_running: bool,
    ) -> Result<Option<(CopyOut, Records, i64)>> {
        let mut snapshot = etcd.snapshot(self.root.as_str()).await?;
        let mut copy = self.begin_copy(etcd, &snapshot, file, while_running).await??;
        let mut records = Records::default();
        let bar = self.progress.reading("backing up", snapshot.total());
        while let Some(page) = snapshot.next_page().await? {
            self.stop.check()?;
            copy = copy.with(&page, &self.root)?;
            page.iter().for_each(|entry| records.add_bulk_counted(&entry.key[self.root.len()..], &entry.value));
            bar.read(page.len() as u64, self.metadata_keys(&page));
        }
        bar.finish();
        if !is_milvus(&records) {
            return Ok(None);
        }
        let copy = self.whole(etcd, Ok(copy), snapshot.revision()).await??;
        Ok(Some((copy, records, snapshot.revision())))
    }

    /// How many keys a backup will hold: their number stands at the beginning of the file. Keys with a lease do not count, and it takes
    /// a whole read to know how many have one; sessions are the only ones in practice.
    async fn expected(&self, etcd: &Etcd, snapshot: &Snapshot) -> Result<u64> {
        let sessions = etcd.get_range(format!("{}{SESSIONS}", self.root)).await?;
        let history = u64::from(etcd.get(format!("{}{HISTORY}", self.root)).await?.is_some());
        let leased = sessions.iter().filter(|session| session.lease != 0).count() as u64 + history;
        Ok(snapshot.total().saturating_sub(leased))
    }

    /// Begins a backup of what is going to be read. That it cannot be written is no reason not to read: whoever needs it is told.
    pub(super) async fn begin_copy(
        &self,
        etcd: &Etcd,
        snapshot: &Snapshot,
        file: &Path,
        while_running: bool,
    ) -> Result<Result<CopyOut, BackupError>> {
        let expected = self.expected(etcd, snapshot).await?;
        let origin = self.origin(snapshot, while_running)?;
        Ok(CopyOut::begin(file.to_owned(), origin, snapshot.total(), expected))
    }

    /// Makes sure that the backup of what was read could be written so far.
    pub(super) fn check_copy(&self, reading: &mut Reading) -> Result<()> {
        match reading.copy.take_if(|copy| copy.is_err()) {
            Some(Err(error)) => Err(error).with_context(|| self.cannot_back_up()),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// The backup of what was read, with the right number at its beginning. Where not only sessions had a lease that takes a second
    /// reading, of the same revision.
    pub(super) async fn whole(
        &self,
        etcd: &Etcd,
        copy: Result<CopyOut, BackupError>,
        revision: i64,
    ) -> Result<Result<CopyOut, BackupError>> {
        let (file, origin, keys) = match copy {
            Ok(copy) if !copy.is_whole() => (copy.file.clone(), copy.origin.clone(), copy.writer.keys()),
            settled => return Ok(settled),
        };
        let at = ReadOptions { revision: Some(revision), ..ReadOptions::default() };
        let mut snapshot = etcd.snapshot_with(self.root.as_str(), at).await?;
        let mut copy = CopyOut::begin(file, origin, snapshot.total(), keys);
        while let Some(page) = snapshot.next_page().await? {
            self.stop.check()?;
            copy = copy.and_then(|copy| copy.with(&page, &self.root));
        }
        Ok(copy)
    }

    /// Ends the backup of what was read, if one was begun, and puts it in its place. Only while the lock is ours: whoever lost it holds
    /// what another command may have changed since, and must not put that in the place of a backup.
    pub(super) async fn finish_copy(
        &self,
        guard: &Guard,
        reading: &mut Reading,
        layout: Found,
    ) -> Result<Option<Written>> {
        let Some(copy) = reading.copy.take() else { return Ok(None) };
        let copy = copy.with_context(|| self.cannot_back_up())?;
        guard.check().await.with_context(|| self.cannot_back_up())?;
        copy.writer.finish(layout).map(Some).with_context(|| self.cannot_back_up())
    }

    fn cannot_back_up(&self) -> String {
        format!("cannot back up {}", self.config.meta_root)
    }

    fn origin(&self, snapshot: &Snapshot, while_running: bool) -> Result<Origin> {
        Ok(Origin {
            created: OffsetDateTime::now_utc().truncate_to_second().format(&Rfc3339).context("cannot tell the time")?,
            root_path: self.config.meta_root.root_path().to_owned(),
            meta_sub_path: self.config.meta_root.meta_sub_path().to_owned(),
            etcd_cluster_id: snapshot.cluster_id(),
            etcd_revision: snapshot.revision(),
            source_version: self.source_version(),
            while_running,
        })
    }

    /// Says what was backed up where.
    pub(super) fn say_backup(&self, written: &Written) {
        if let Some(moved) = &written.moved {
            self.say(format!("the file that was there before is now {}", moved.display()));
        }
        self.say(format!(
            "backup {}: {} at revision {}, {} ({} uncompressed), SHA-256 of the data {}",
            written.path.display(),
            keys_in_words(&written.manifest.counts),
            written.manifest.etcd_revision,
            bytes(written.file_bytes),
            bytes(written.manifest.stream_bytes),
            written.manifest.stream_sha256
        ));
    }
}

/// How many keys of metadata there are among those counted by prefix, and whether Milvus's counter of sessions is with them: it is no
/// metadata, but a backup has it.
pub(super) fn keys_in_words(by_prefix: &BTreeMap<String, u64>) -> String {
    let keys: u64 = by_prefix.iter().filter(|(prefix, _)| is_metadata(prefix.as_bytes())).map(|(_, keys)| keys).sum();
    let with_counter = by_prefix.keys().any(|prefix| !is_metadata(prefix.as_bytes()));
    format!("{} metadata keys{}", thousands(keys), if with_counter { " and the counter of sessions" } else { "" })
}

/// Whether this is a meta root of Milvus, as far as that can be told: what a history that cannot be read was about, can't.
fn is_milvus(records: &Records) -> bool {
    Situation::of(records).map_or(records.keys() > 0, |situation| situation.state != State::NoMilvus)
}
