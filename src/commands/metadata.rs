//! Reading and backing up the metadata under the meta root, for the commands that do.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures::future::try_join_all;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Context;
use super::roots::meta_roots;
use crate::backup::write::{Origin, Written};
use crate::backup::{Backup, Format, Writer};
use crate::etcd::{Entry, Etcd, EtcdError, ReadOptions, Snapshot};
use crate::layout::Found;
use crate::layout::keys::{SESSIONS, target_prefixes};
use crate::migrate::{Inventory, Record};
use crate::report::text::{self, thousands};

/// How often reading starts over when etcd compacts the revision away meanwhile.
const ATTEMPTS: usize = 3;

impl Context {
    /// All metadata at one revision, decoded. There must be some.
    pub(super) async fn read_inventory(&self, etcd: &Etcd) -> Result<(Inventory, i64)> {
        let (inventory, revision) = self.read_inventory_with(etcd, |_, _| {}).await?;
        if inventory.keys() == 0 {
            bail!("{}", self.nothing_here(etcd).await);
        }
        Ok((inventory, revision))
    }

    /// As [`Context::read_inventory`], but nothing will do too, and hands every key (relative to the meta root) and value to `each`; all of them again
    /// if reading has to start over.
    pub(super) async fn read_inventory_with(
        &self,
        etcd: &Etcd,
        mut each: impl FnMut(&Bytes, &Bytes),
    ) -> Result<(Inventory, i64)> {
        let read = self.starting_over(async || self.try_read_inventory(etcd, &mut each).await);
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

    async fn try_read_inventory(&self, etcd: &Etcd, each: &mut impl FnMut(&Bytes, &Bytes)) -> Result<(Inventory, i64)> {
        let mut inventory = Inventory::default();
        let mut snapshot = etcd.snapshot(self.root.as_str()).await?;
        let bar = self.progress.reading("reading the metadata", snapshot.total());
        while let Some(page) = snapshot.next_page().await? {
            self.stop.check()?;
            bar.read(page.len() as u64);
            for entry in page {
                let key = entry.key.slice(self.root.len()..);
                each(&key, &entry.value);
                inventory.add(key, Record { value: entry.value, mod_revision: entry.mod_revision });
            }
        }
        bar.finish();
        Ok((inventory, snapshot.revision()))
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

    /// Whether anything of the 2.2 layout is there. Only the 2.2 layout has these keys, so this is quick in 2.1 metadata.
    pub(super) async fn has_target_keys(&self, etcd: &Etcd) -> Result<bool, EtcdError> {
        let counts = target_prefixes().map(|prefix| etcd.count(format!("{}{prefix}", self.root)));
        Ok(try_join_all(counts).await?.into_iter().any(|count| count > 0))
    }

    /// Writes a backup of all keys without a lease, as they were at `revision` (or are now). `found` is their layout.
    pub(super) async fn write_backup(
        &self,
        etcd: &Etcd,
        file: &Path,
        revision: Option<i64>,
        found: Found,
    ) -> Result<Written> {
        let write = async || self.try_write_backup(etcd, file, revision, found).await;
        let written = self.unless_stopped(async {
            // Another revision than the given one would not do.
            if revision.is_some() { write().await } else { self.starting_over(write).await }
        });
        match written.await.with_context(|| format!("cannot back up {}", self.config.meta_root))? {
            Some(written) => Ok(written),
            None => bail!("{}", self.nothing_here(etcd).await),
        }
    }

    /// `None` if there is nothing but sessions.
    async fn try_write_backup(
        &self,
        etcd: &Etcd,
        file: &Path,
        revision: Option<i64>,
        found: Found,
    ) -> Result<Option<Written>> {
        let mut snapshot =
            etcd.snapshot_with(self.root.as_str(), ReadOptions { revision, ..ReadOptions::default() }).await?;
        let sessions = etcd.get_range(format!("{}{SESSIONS}", self.root)).await?;
        // The migration lock is always among them.
        if snapshot.total() <= sessions.len() as u64 {
            return Ok(None);
        }
        let leased = sessions.iter().filter(|session| session.lease != 0).count() as u64;
        let revision = snapshot.revision();
        // The number of keys stands at the beginning of the file. Keys with a lease do not count, and it takes a whole read to
        // know how many have one; sessions are the only ones in practice.
        let mut expected = snapshot.total().saturating_sub(leased);
        loop {
            let mut writer = Writer::create(file, self.origin(&snapshot)?, expected)?;
            self.copy(&mut snapshot, &mut writer).await?;
            if writer.keys() == expected {
                return Ok(Some(writer.finish(found)?));
            }
            expected = writer.keys();
            let again = ReadOptions { revision: Some(revision), ..ReadOptions::default() };
            snapshot = etcd.snapshot_with(self.root.as_str(), again).await?;
        }
    }

    async fn copy(&self, snapshot: &mut Snapshot, writer: &mut Writer) -> Result<()> {
        let bar = self.progress.reading("backing up", snapshot.total());
        while let Some(page) = snapshot.next_page().await? {
            self.stop.check()?;
            for Entry { key, value, lease, .. } in &page {
                if *lease == 0 {
                    writer.add(&key[self.root.len()..], value)?;
                }
            }
            bar.read(page.len() as u64);
        }
        bar.finish();
        Ok(())
    }

    fn origin(&self, snapshot: &Snapshot) -> Result<Origin> {
        Ok(Origin {
            created: OffsetDateTime::now_utc().truncate_to_second().format(&Rfc3339).context("cannot tell the time")?,
            root_path: self.config.meta_root.root_path().to_owned(),
            meta_sub_path: self.config.meta_root.meta_sub_path().to_owned(),
            etcd_cluster_id: snapshot.cluster_id(),
            etcd_revision: snapshot.revision(),
            source_version: self.source_version(),
        })
    }

    /// Tells what was backed up where.
    pub(super) fn say_backup(&self, written: &Written) {
        if let Some(moved) = &written.moved {
            self.say(format!("the file that was there before is now {}", moved.display()));
        }
        self.say(format!(
            "backup {}: {} keys at revision {}, {} ({} uncompressed), SHA-256 of the data {}",
            written.path.display(),
            thousands(written.manifest.keys),
            written.manifest.etcd_revision,
            text::bytes(written.file_bytes),
            text::bytes(written.manifest.stream_bytes),
            written.manifest.stream_sha256
        ));
    }

    /// A backup from before an interrupted migration that stands at `file`: the one to keep.
    pub(super) fn earlier_backup(&self, file: &Path) -> Option<Backup> {
        let backup = Backup::check(file).ok()?;
        let wholly_source = match &backup.format {
            Format::Ours(manifest) => matches!(manifest.layout, Found::Source | Found::Neither),
            Format::Legacy => true,
        };
        (wholly_source && backup.meta_root == self.config.meta_root.to_string()).then_some(backup)
    }
}

fn is_compacted(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<EtcdError>(), Some(EtcdError::Compacted { .. }))
}
