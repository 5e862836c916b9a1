//! Refuses before the first write what would fail half way: no room in etcd, no right to write.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use etcd_client::{Txn, TxnOp};

use super::Context;
use crate::backup::Backup;
use crate::etcd::Etcd;
use crate::etcd::health::{Alarm, Health};
use crate::layout::keys::prefix_of;
use crate::plan::{Change, Plan};
use crate::report::text::bytes;

/// What a put takes in etcd's database beyond key and value, and a deleted key at all: revision, tree, index.
const BYTES_A_KEY: u64 = 256;
/// Operations that every etcd takes in a transaction, however it is configured.
const FEWEST_OPS: usize = 8;

impl Context {
    /// Makes sure that a plan can be carried out to its end.
    pub(super) async fn check_room_and_rights(&self, etcd: &Etcd, plan: &Plan) -> Result<()> {
        // Room first: once the quota is used up, etcd 3.5 raises the alarm NOSPACE at any transaction, one that puts nothing too.
        self.check_room(&etcd.health().await, plan)?;
        self.check_rights(etcd, plan).await
    }

    /// Asks etcd to delete, for every kind of key that the plan writes, a key that cannot exist because it ends in a slash: it
    /// changes nothing, but etcd looks at the user's rights.
    async fn check_rights(&self, etcd: &Etcd, plan: &Plan) -> Result<()> {
        let kinds: BTreeSet<_> = plan.changes().map(|change| prefix_of(change.key())).collect();
        let kinds: Vec<_> = kinds.into_iter().collect();
        for some in kinds.chunks(FEWEST_OPS) {
            let deletes: Vec<TxnOp> = some
                .iter()
                .map(|kind| TxnOp::delete(format!("{}{}/", self.root, kind.trim_end_matches('/')), None))
                .collect();
            let txn = Txn::new().and_then(deletes);
            let what = format!("make sure that the keys under {} may be written", self.config.meta_root);
            etcd.kv(&what, async |mut kv| kv.txn(txn.clone()).await).await?;
        }
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

    /// Makes sure that the backup that is announced as the way back is there and sound.
    pub(super) fn check_announced_backup(&self) -> Result<()> {
        let Some(file) = &self.config.backup_file else {
            self.console.warn("no backup file is configured: without a backup there is no way back");
            return Ok(());
        };
        let checked = Backup::check(file).map(drop);
        checked.context(
            "the backup that is to be the way back cannot be used: make one with `backup` or `run --with-backup`, correct \
             config.backupFilePath (is the volume mounted?), or go on without one on purpose with --force",
        )
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
