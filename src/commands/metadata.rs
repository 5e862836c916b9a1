//! Reading the metadata under the meta root, for the commands that do.

use std::path::Path;

use anyhow::{Context as _, Result};
use bytes::Bytes;

use super::Context;
use super::copy_out::CopyOut;
use super::roots::meta_roots;
use crate::backup::BackupError;
use crate::backup::content::Content;
use crate::backup::room::Amount;
use crate::catalog::records::Records;
use crate::diff::{Diff, Differ};
use crate::etcd::{Entry, Etcd, EtcdError};
use crate::history::{History, HistoryError};
use crate::layout::families::Family;
use crate::layout::keys::{HISTORY, family_of, is_metadata};
use crate::packed::Packer;

/// How often reading starts over when etcd compacts the revision away meanwhile.
const ATTEMPTS: usize = 3;

impl Context {
    /// All metadata at one revision.
    pub(super) async fn read_records(&self, etcd: &Etcd) -> Result<Reading> {
        self.read_and_copy(etcd, None).await
    }

    /// The same, and writes a backup of it meanwhile.
    pub(super) async fn read_and_copy(&self, etcd: &Etcd, copy_to: Option<&Path>) -> Result<Reading> {
        let read = async || self.try_read_records(etcd, "reading the metadata", copy_to, |_, _| Keep::Copy).await;
        let read = self.starting_over(read);
        self.unless_stopped(read).await.with_context(|| format!("cannot read {}", self.config.meta_root))
    }

    /// What the history key has on record, if it can be read. Under the lock: nobody else writes it.
    pub(super) async fn recorded_history(&self, etcd: &Etcd) -> Result<Option<Result<History, HistoryError>>> {
        let read = async { Ok(etcd.get(format!("{}{HISTORY}", self.root)).await?) };
        let entry = self.unless_stopped(read).await?;
        Ok(entry.map(|entry| History::read(&entry.value)))
    }

    /// The same, held against what should be while it is read: what is equal is in memory once, and values of logs are not kept.
    pub(super) async fn read_records_against<I: Iterator<Item = (Bytes, Bytes)>>(
        &self,
        etcd: &Etcd,
        copy_to: Option<&Path>,
        should: impl Fn() -> I,
    ) -> Result<(Reading, Diff)> {
        let read = self.starting_over(async || {
            let mut differ = Differ::new(should());
            let each = |key: &Bytes, value: &[u8]| {
                if !is_metadata(key) {
                    differ.pass();
                    return Keep::Copy;
                }
                match (differ.add_and_share(key.clone(), value), family_of(key)) {
                    (Some(same), _) => Keep::Same(same),
                    // Of the lists of files only the difference is made.
                    (None, Family::Binlog | Family::Statslog | Family::Deltalog) => Keep::Key,
                    (None, _) => Keep::Copy,
                }
            };
            let reading = self.try_read_records(etcd, "comparing with the backup", copy_to, each).await?;
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

    async fn try_read_records(
        &self,
        etcd: &Etcd,
        name: &str,
        copy_to: Option<&Path>,
        mut each: impl FnMut(&Bytes, &[u8]) -> Keep,
    ) -> Result<Reading> {
        let (mut records, mut content, mut cuts) = (Records::default(), Content::default(), Vec::new());
        let (mut load, mut packer) = (Amount { keys: 0, bytes: 0 }, Packer::default());
        let mut snapshot = etcd.snapshot(self.root.as_str()).await?;
        let mut copy = match copy_to {
            Some(file) => Some(self.begin_copy(etcd, &snapshot, file, false).await?),
            None => None,
        };
        let bar = self.progress.reading(name, snapshot.total());
        while let Some(page) = snapshot.next_page().await? {
            self.stop.check()?;
            copy = copy.map(|copy| copy.and_then(|copy| copy.with(&page, &self.root)));
            bar.read(page.len() as u64, self.metadata_keys(&page));
            cuts.extend(page.last().map(|last| last.key.to_vec()));
            for entry in page {
                let (key, value) = (packer.key(&entry.key[self.root.len()..]), &*entry.value);
                if entry.lease == 0 {
                    content.add(&key, value);
                    load.keys += 1;
                    load.bytes += (entry.key.len() + value.len()) as u64;
                }
                match each(&key, value) {
                    Keep::Copy => records.add(key, packer.value(value)),
                    Keep::Same(value) => records.add(key, value),
                    Keep::Key => records.add_let_go(key, value.len()),
                }
            }
        }
        bar.finish();
        let (revision, cluster_id) = (snapshot.revision(), snapshot.cluster_id());
        let copy = match copy {
            Some(copy) => Some(self.whole(etcd, copy, revision).await?),
            None => None,
        };
        Ok(Reading { records, content, load, cuts, revision, cluster_id, copy })
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

    /// How many of these are keys of metadata: without sessions, lock and history.
    pub(super) fn metadata_keys(&self, page: &[Entry]) -> u64 {
        page.iter().filter(|entry| is_metadata(&entry.key[self.root.len()..])).count() as u64
    }
}

/// What is kept in memory of a value that was read.
enum Keep {
    Copy,
    /// This one, which is the same and is kept anyhow.
    Same(Bytes),
    /// Only the key, of a family in the table.
    Key,
}

impl Reading {
    /// Of a file: no backup is held against it, none is made of it, and nothing is read back.
    pub(super) fn of_file(records: Records, revision: i64) -> Self {
        let load = Amount { keys: 0, bytes: 0 };
        Self { records, content: Content::default(), load, cuts: Vec::new(), revision, cluster_id: 0, copy: None }
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
    /// A backup of it that lacks only its end, or why there is none; where one was asked for.
    pub(super) copy: Option<Result<CopyOut, BackupError>>,
}

fn is_compacted(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<EtcdError>(), Some(EtcdError::Compacted { .. }))
}
