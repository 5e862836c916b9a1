//! Reading and backing up the metadata under the meta root, for the commands that do.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Context;
use super::roots::meta_roots;
use crate::amounts::{bytes, thousands};
use crate::backup::Writer;
use crate::backup::content::Content;
use crate::backup::room::{Amount, Room};
use crate::backup::write::{Origin, Written};
use crate::catalog::records::Records;
use crate::diff::{Diff, Differ};
use crate::etcd::{Entry, Etcd, EtcdError, ReadOptions, Snapshot};
use crate::history::{History, HistoryError};
use crate::layout::Found;
use crate::layout::keys::{HISTORY, SESSIONS, is_history, is_metadata};

/// How often reading starts over when etcd compacts the revision away meanwhile.
const ATTEMPTS: usize = 3;

impl Context {
    /// All metadata at one revision.
    pub(super) async fn read_records(&self, etcd: &Etcd) -> Result<Reading> {
        let read = self.starting_over(async || self.try_read_records(etcd, "reading the metadata", |_, _| ()).await);
        self.unless_stopped(read).await.with_context(|| format!("cannot read {}", self.config.meta_root))
    }

    /// What the history key has on record, if it can be read. Under the lock: nobody else writes it.
    pub(super) async fn recorded_history(&self, etcd: &Etcd) -> Result<Option<Result<History, HistoryError>>> {
        let read = async { Ok(etcd.get(format!("{}{HISTORY}", self.root)).await?) };
        let entry = self.unless_stopped(read).await?;
        Ok(entry.map(|entry| History::read(&entry.value)))
    }

    /// The same, held against what should be while it is read.
    pub(super) async fn read_records_against<I: Iterator<Item = (Bytes, Bytes)>>(
        &self,
        etcd: &Etcd,
        should: impl Fn() -> I,
    ) -> Result<(Reading, Diff)> {
        let read = self.starting_over(async || {
            let mut differ = Differ::new(should());
            let each = |key: &Bytes, value: &Bytes| {
                if is_metadata(key) {
                    differ.add(key.clone(), value);
                }
            };
            let reading = self.try_read_records(etcd, "comparing with the backup", each).await?;
            Ok((reading, differ.finish()))
        });
        self.unless_stopped(read).await.with_context(|| format!("cannot read {}", self.config.meta_root))
    }

    /// Reads, anew from the beginning when etcd compacts the revision away meanwhile, three times at most.
    pub(super) async fn starting_over<T>(&self, mut read: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        for _ in 1..ATTEMPTS {
            match read().await {
                Err(error) if is_compacted(&error) => self.console.warn(&format!("{error:#}; starting over")),
                result => return result,
            }
        }
        read().await
    }

    async fn try_read_records(&self, etcd: &Etcd, name: &str, mut each: impl FnMut(&Bytes, &Bytes)) -> Result<Reading> {
        let (mut records, mut content, mut cuts) = (Records::default(), Content::default(), Vec::new());
        let mut load = Amount { keys: 0, bytes: 0 };
        let mut snapshot = etcd.snapshot(self.root.as_str()).await?;
        let bar = self.progress.reading(name, snapshot.total());
        while let Some(page) = snapshot.next_page().await? {
            self.stop.check()?;
            bar.read(page.len() as u64, self.metadata_keys(&page));
            cuts.extend(page.last().map(|last| last.key.to_vec()));
            for entry in page {
                let key = entry.key.slice(self.root.len()..);
                if entry.lease == 0 {
                    content.add(&key, &entry.value);
                    load.keys += 1;
                    load.bytes += (entry.key.len() + entry.value.len()) as u64;
                }
                each(&key, &entry.value);
                records.add(key, entry.value);
            }
        }
        bar.finish();
        let (revision, cluster_id) = (snapshot.revision(), snapshot.cluster_id());
        Ok(Reading { records, content, load, cuts, revision, cluster_id })
    }

    /// Why there may be nothing under the meta root, and where there is something.
    pub(super) async fn nothing_here(&self, etcd: &Etcd) -> String {
        let root = self.config.meta_root.to_string();
        let hint = match meta_roots(etcd).await {
            // Our own lock makes this one look like Milvus.
            Ok(roots) => match roots.into_iter().filter(|other| *other != root).collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => {
                    "Nothing in this etcd looks like Milvus metadata: is it the right etcd?".into()
                }
                roots => format!("These look like Milvus: {roots}. Set etcd.rootPath and etcd.metaSubPath accordingly"),
            },
            Err(error) => format!("Check etcd.rootPath and etcd.metaSubPath; others could not be looked for: {error}"),
        };
        format!("there is no metadata under {root}: probably the wrong root path. {hint}")
    }

    /// Writes a backup of all keys without a lease. It is read once: `judge` sees what went into the file, and tells its layout, or why
    /// there is to be no file; then none is left.
    pub(super) async fn write_backup(
        &self,
        etcd: &Etcd,
        file: &Path,
        of: Moment,
        mut judge: impl FnMut(&Records, i64) -> Result<Found>,
    ) -> Result<Written> {
        let copy = async || self.try_copy_out(etcd, file, of).await;
        let copied = self.unless_stopped(async {
            // Another revision than the given one would not do.
            if of.revision.is_some() { copy().await } else { self.starting_over(copy).await }
        });
        let doing = || format!("cannot back up {}", self.config.meta_root);
        match copied.await.with_context(doing)? {
            Some((writer, records, revision)) => {
                let layout = judge(&records, revision)?;
                writer.finish(layout).with_context(doing)
            }
            None => bail!("{}", self.nothing_here(etcd).await),
        }
    }

    /// A backup that lacks only its end, what is in it (the bulk counted), and the revision of it. `None` if there is nothing but
    /// sessions.
    async fn try_copy_out(&self, etcd: &Etcd, file: &Path, of: Moment) -> Result<Option<(Writer, Records, i64)>> {
        let at = ReadOptions { revision: of.revision, ..ReadOptions::default() };
        let mut snapshot = etcd.snapshot_with(self.root.as_str(), at).await?;
        let sessions = etcd.get_range(format!("{}{SESSIONS}", self.root)).await?;
        let history = u64::from(etcd.get(format!("{}{HISTORY}", self.root)).await?.is_some());
        let leased = sessions.iter().filter(|session| session.lease != 0).count() as u64 + history;
        let revision = snapshot.revision();
        // The number of keys stands at the beginning of the file. Keys with a lease do not count, and it takes a whole read to
        // know how many have one; sessions are the only ones in practice.
        let mut expected = snapshot.total().saturating_sub(leased);
        loop {
            let mut writer = Writer::create(file, self.origin(&snapshot, of)?, expected)?;
            let records = self.copy(&mut snapshot, &mut writer, file).await?;
            if records.keys() == 0 {
                return Ok(None);
            }
            if writer.keys() == expected {
                return Ok(Some((writer, records, revision)));
            }
            expected = writer.keys();
            let again = ReadOptions { revision: Some(revision), ..ReadOptions::default() };
            snapshot = etcd.snapshot_with(self.root.as_str(), again).await?;
        }
    }

    async fn copy(&self, snapshot: &mut Snapshot, writer: &mut Writer, file: &Path) -> Result<Records> {
        let room = Room::of(file);
        let mut records = Records::default();
        let bar = self.progress.reading("backing up", snapshot.total());
        while let Some(page) = snapshot.next_page().await? {
            self.stop.check()?;
            for Entry { key, value, lease, .. } in &page {
                let relative = &key[self.root.len()..];
                if *lease == 0 && !is_history(relative) {
                    writer.add(relative, value)?;
                }
                records.add_bulk_counted(relative, value);
            }
            room.check(file, writer.keys(), snapshot.total())?;
            bar.read(page.len() as u64, self.metadata_keys(&page));
        }
        bar.finish();
        Ok(records)
    }

    /// How many of these are keys of metadata: without sessions, lock and history.
    pub(super) fn metadata_keys(&self, page: &[Entry]) -> u64 {
        page.iter().filter(|entry| is_metadata(&entry.key[self.root.len()..])).count() as u64
    }

    fn origin(&self, snapshot: &Snapshot, of: Moment) -> Result<Origin> {
        Ok(Origin {
            created: OffsetDateTime::now_utc().truncate_to_second().format(&Rfc3339).context("cannot tell the time")?,
            root_path: self.config.meta_root.root_path().to_owned(),
            meta_sub_path: self.config.meta_root.meta_sub_path().to_owned(),
            etcd_cluster_id: snapshot.cluster_id(),
            etcd_revision: snapshot.revision(),
            source_version: self.source_version(),
            while_running: of.while_running,
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

/// What a backup is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// At which revision; now, if that does not matter.
    pub(super) revision: Option<i64>,
    /// Whether Milvus may be running: nobody holds the lock.
    pub(super) while_running: bool,
}

impl Reading {
    /// Of a file: no backup is held against it, none is made of it, and nothing is read back.
    pub(super) fn of_file(records: Records, revision: i64) -> Self {
        let load = Amount { keys: 0, bytes: 0 };
        Self { records, content: Content::default(), load, cuts: Vec::new(), revision, cluster_id: 0 }
    }
}

/// What was read at one revision.
pub(super) struct Reading {
    pub(super) records: Records,
    /// What tells whether a backup holds just this.
    pub(super) content: Content,
    /// What a backup of it would hold.
    pub(super) load: Amount,
    /// The last key of each page, with the meta root: between two of them lies no more than one answer of etcd.
    pub(super) cuts: Vec<Vec<u8>>,
    pub(super) revision: i64,
    pub(super) cluster_id: u64,
}

fn is_compacted(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<EtcdError>(), Some(EtcdError::Compacted { .. }))
}
