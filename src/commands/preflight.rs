//! Refuses before the first write what would fail half way: no room in etcd, no right to write.

use anyhow::{Context as _, Result, bail};
use etcd_client::{Compare, CompareOp, DeleteOptions, Txn, TxnOp};

use super::Context;
use crate::etcd::health::{Alarm, Health};
use crate::etcd::{Etcd, prefix_end};
use crate::layout::keys::MIGRATION_SESSION;
use crate::plan::{Change, Plan};
use crate::report::text::bytes;

/// What a put takes in etcd's database beyond key and value, and a deleted key at all: revision, tree, index.
const BYTES_A_KEY: u64 = 256;

impl Context {
    /// Makes sure that a plan can be carried out to its end.
    pub(super) async fn check_room_and_rights(&self, etcd: &Etcd, plan: &Plan) -> Result<()> {
        self.check_rights(etcd).await?;
        self.check_room(&etcd.health().await, plan)
    }

    /// A transaction that can never be carried out tells whether the user may write: etcd looks at the rights for all of its
    /// operations before it looks at its compares.
    async fn check_rights(&self, etcd: &Etcd) -> Result<()> {
        let everything = DeleteOptions::new().with_range(prefix_end(self.root.as_bytes()));
        let never = Compare::create_revision(format!("{}{MIGRATION_SESSION}", self.root), CompareOp::Less, 0);
        let txn = Txn::new().when([never]).and_then([TxnOp::delete(self.root.as_str(), Some(everything))]);
        let what = format!("make sure that all keys under {} may be written", self.config.meta_root);
        etcd.kv(&what, async |mut kv| kv.txn(txn.clone()).await).await?;
        Ok(())
    }

    fn check_room(&self, health: &Health, plan: &Plan) -> Result<()> {
        let alarms = health.alarms.as_deref().unwrap_or_default();
        if let Some(alarm) = alarms.iter().find(|alarm| alarm.kind == Alarm::NOSPACE) {
            bail!(
                "etcd member {:x} has the alarm NOSPACE, so etcd refuses all writes: compact (`etcdctl compact <revision>`), \
                 `etcdctl defrag` each member, or raise --quota-backend-bytes; then `etcdctl alarm disarm`",
                alarm.member
            );
        }
        if let Some(alarm) = alarms.iter().find(|alarm| alarm.kind == Alarm::CORRUPT) {
            bail!("etcd member {:x} has the alarm CORRUPT: mend etcd before anything else", alarm.member);
        }
        let added = added_bytes(plan);
        for member in &health.endpoints {
            let (Some(size), Some(quota)) = (member.db_bytes, member.quota_bytes) else { continue };
            if size + added > quota {
                bail!(
                    "there is not enough room in etcd at {}: its database has {}, about {} more will be written, and its quota is {}. \
                     Compact (`etcdctl compact <revision>`) and `etcdctl defrag` each member, or raise --quota-backend-bytes",
                    member.endpoint,
                    bytes(size),
                    bytes(added),
                    bytes(quota)
                );
            }
        }
        Ok(())
    }

    /// Makes sure that the backup file that was announced is there and sound; it is the way back.
    pub(super) fn check_announced_backup(&self) -> Result<()> {
        let Some(file) = &self.config.backup_file else { return Ok(()) };
        if !file.exists() {
            self.console.warn(&format!(
                "there is no backup at {}: without one there is no way back. Make one first with `backup`, or use --with-backup",
                file.display()
            ));
            return Ok(());
        }
        crate::backup::Backup::check(file)
            .context("the backup that is to be the way back cannot be used: make a new one with `backup`, or correct config.backupFilePath")
            .map(drop)
    }
}

/// How much etcd's database may grow: puts with their values, deletes as marks.
fn added_bytes(plan: &Plan) -> u64 {
    plan.changes()
        .map(|change| match change {
            Change::Put { .. } => change.bytes() as u64 + BYTES_A_KEY,
            Change::Delete { keys, .. } => keys * BYTES_A_KEY,
        })
        .sum()
}
