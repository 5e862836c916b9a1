//! Refuses before the first write what would fail half way: no room in etcd, no right to write.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use etcd_client::{Compare, CompareOp, Txn, TxnOp};

use super::Context;
use crate::catalog::records::Records;
use crate::etcd::Etcd;
use crate::etcd::health::{Alarm, Health};
use crate::layout::keys::{BUILD_TRIPWIRE, HISTORY, INDEX_TRIPWIRE, SEGMENT_TRIPWIRE, prefix_of, printable};
use crate::outcome::words::bytes;
use crate::plan::{Change, Plan};

/// What a put takes in etcd's database beyond key and value, and a deleted key at all: revision, tree, index.
const BYTES_A_KEY: u64 = 256;
/// A value that every etcd takes, however it is configured: its default limit is six times this.
const SURELY_TAKEN: usize = 256 << 10;
/// Operations that every etcd takes in a transaction, however it is configured.
const FEWEST_OPS: usize = 8;

impl Context {
    /// Makes sure that a plan can be carried out to its end, and that there is room for the way back.
    pub(super) async fn check_room_and_rights(&self, etcd: &Etcd, plan: &Plan, records: &Records) -> Result<()> {
        // Room first: once the quota is used up, etcd 3.5 raises the alarm NOSPACE at any transaction, one that puts nothing too.
        self.check_room(&etcd.health().await, plan, way_back_bytes(plan, records))?;
        self.check_rights(etcd, plan).await?;
        self.check_largest(etcd, plan).await
    }

    /// How much room there is for there and back, and how much it takes, of the member that has the least.
    pub(super) async fn room_in_words(&self, etcd: &Etcd, plan: &Plan, records: &Records) -> String {
        let takes = format!(
            "about {} to be written, about {} for the way back",
            bytes(added_bytes(plan)),
            bytes(way_back_bytes(plan, records))
        );
        let health = etcd.health().await;
        let known = health.endpoints.iter().filter_map(|member| Some((member.quota_bytes?, member.db_bytes?)));
        match known.min_by_key(|(quota, size)| quota.saturating_sub(*size)) {
            Some((quota, size)) => format!("{takes}; etcd's database has {} of {}", bytes(size), bytes(quota)),
            None => format!("{takes}; how much etcd has left is not known"),
        }
    }

    /// Lets etcd see a request as large as the largest that will be written. Its condition never holds, so nothing is written.
    async fn check_largest(&self, etcd: &Etcd, plan: &Plan) -> Result<()> {
        let Some(largest) = plan.changes().max_by_key(|change| change.bytes()) else { return Ok(()) };
        let Change::Put { key, value } = largest else { return Ok(()) };
        if largest.bytes() < SURELY_TAKEN {
            return Ok(());
        }
        let absolute = [self.root.as_bytes(), key].concat();
        let never = Compare::version(absolute.clone(), CompareOp::Less, 0);
        let txn = Txn::new().when([never]).and_then([TxnOp::put(absolute, value.to_vec(), None)]);
        let what =
            format!("let etcd see the largest value, that of {} ({})", printable(key), bytes(value.len() as u64));
        let asked = etcd.kv(&what, async |mut kv| kv.txn(txn.clone()).await).await;
        asked.map(drop).context("the largest value would not be taken. Start etcd with a larger --max-request-bytes")
    }

    /// Asks etcd to delete, for every kind of key that the plan writes, a key that cannot exist because it ends in a slash: it
    /// changes nothing, but etcd looks at the user's rights.
    async fn check_rights(&self, etcd: &Etcd, plan: &Plan) -> Result<()> {
        let kinds: BTreeSet<_> = plan.changes().map(|change| prefix_of(change.key())).collect();
        let frame = [HISTORY, INDEX_TRIPWIRE, BUILD_TRIPWIRE, SEGMENT_TRIPWIRE].map(|key| prefix_of(key.as_bytes()));
        let kinds: Vec<_> = kinds.into_iter().chain(frame).collect();
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

    fn check_room(&self, health: &Health, plan: &Plan, way_back: u64) -> Result<()> {
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
            if size + added + way_back > quota {
                bail!(
                    "there is not enough room in etcd at {}: its database has {}, about {} will be written, the way back takes about {}, \
                     and its quota is {}. Make room on each member: `etcdctl compact {}`, then `etcdctl defrag`; or raise \
                     --quota-backend-bytes",
                    member.endpoint,
                    bytes(size),
                    bytes(added),
                    bytes(way_back),
                    bytes(quota),
                    plan.revision
                );
            }
        }
        Ok(())
    }
}

/// How much etcd's database may grow by a rollback: what is overwritten or deleted is put back, what is new is deleted.
fn way_back_bytes(plan: &Plan, records: &Records) -> u64 {
    let written: BTreeSet<&[u8]> =
        plan.changes().filter(|change| matches!(change, Change::Put { .. })).map(|change| &**change.key()).collect();
    let ranges: BTreeMap<&[u8], &[u8]> = plan
        .changes()
        .filter_map(|change| match change {
            Change::Delete { first, last, .. } => Some((&**first, &**last)),
            Change::Put { .. } => None,
        })
        .collect();
    let is_deleted = |key: &[u8]| ranges.range(..=key).next_back().is_some_and(|(_, last)| key <= *last);
    let back = records.iter().filter(|record| written.contains(&*record.key) || is_deleted(&record.key));
    let restored: u64 = back.map(|record| (record.key.len() + record.value.len()) as u64 + BYTES_A_KEY).sum();
    restored + written.len() as u64 * BYTES_A_KEY
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
