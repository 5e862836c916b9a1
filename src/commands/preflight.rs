//! Refuses before the first write what would fail half way: no room in etcd, no right to write.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use etcd_client::{Compare, CompareOp, Txn, TxnOp};

use super::Context;
use super::metadata::Reading;
use crate::amounts::bytes;
use crate::backup::room::{self, Room};
use crate::catalog::records::{LARGE, Record};
use crate::etcd::health::{Alarm, Health};
use crate::etcd::{Etcd, make_room};
use crate::guard::fence_like;
use crate::layout::keys::{HISTORY, TRIPWIRES, prefix_of, printable};
use crate::plan::{Change, Plan};

/// What a put takes in etcd's database beyond key and value, and a deleted key at all: revision, tree, index.
const BYTES_A_KEY: u64 = 256;
/// As long as our history gets, which every transaction depends on.
const HISTORY_BYTES: usize = 768;
/// Operations that every etcd takes in a transaction, however it is configured.
const FEWEST_OPS: usize = 8;

impl Context {
    /// Makes sure that a plan can be carried out to its end, and that there is room for the way back, which puts back `back`.
    pub(super) async fn check_room_and_rights(&self, etcd: &Etcd, plan: &Plan, back: &[&Record]) -> Result<()> {
        // Room first: once the quota is used up, etcd 3.5 raises the alarm NOSPACE at any transaction, one that puts nothing too.
        let health = etcd.health().await;
        self.check_room(&health, plan, way_back_bytes(plan, back))?;
        self.say_growth(&health, added_bytes(plan));
        self.check_rights(etcd, plan).await?;
        self.check_largest(etcd, plan, back).await
    }

    /// How much room there is for there and back, and how much it takes, of the member that has the least.
    pub(super) async fn room_in_words(&self, etcd: &Etcd, plan: &Plan, back: &[&Record]) -> String {
        let takes = format!(
            "about {} to be written, about {} for the way back",
            bytes(added_bytes(plan)),
            bytes(way_back_bytes(plan, back))
        );
        let health = etcd.health().await;
        let known = health.endpoints.iter().filter_map(|member| Some((member.quota_bytes?, member.db_bytes?)));
        match known.min_by_key(|(quota, size)| quota.saturating_sub(*size)) {
            Some((quota, size)) => format!("{takes}; etcd's database has {} of {}", bytes(size), bytes(quota)),
            None => format!("{takes}; how much etcd has left is not known"),
        }
    }

    /// Foresees whether there is room for a backup of what was read, as far as can be told.
    pub(super) fn check_room_for_backup(&self, file: &Path, reading: &Reading) -> Result<()> {
        let Some(free) = room::free(file) else { return Ok(()) };
        let records = reading.records.iter().map(|record| (&*record.key, &*record.value));
        let (needed, reserve) = (room::estimate(reading.load, records), Room::of(file).reserve());
        if needed + reserve > free {
            bail!(
                "there is not enough room for the backup {}: it takes about {}, and {} are free there, of which a backup leaves {}. Make \
                 room, or use another --backup-file. Nothing was written",
                file.display(),
                bytes(needed),
                bytes(free),
                bytes(reserve)
            );
        }
        Ok(())
    }

    /// Lets etcd see requests as large as the largest that will be written, and the largest that the way back would write: with its
    /// value, and with a condition as long as that of every transaction, but one that never holds. So nothing is written.
    async fn check_largest(&self, etcd: &Etcd, plan: &Plan, back: &[&Record]) -> Result<()> {
        let puts = plan.changes().filter_map(|change| match change {
            Change::Put { key, value } => Some((key, value)),
            Change::Delete { .. } => None,
        });
        let back = back.iter().map(|record| (&record.key, &record.value));
        let size = |(key, value): &(&Bytes, &Bytes)| key.len() + value.len();
        let written = puts.max_by_key(size).map(|largest| (largest, "would not be taken"));
        let back = back.max_by_key(size).map(|largest| (largest, "could not be put back by `rollback`"));
        for ((key, value), what) in written.into_iter().chain(back) {
            if key.len() + value.len() < LARGE {
                continue;
            }
            let absolute = [self.root.as_bytes(), key].concat();
            let mut compares = fence_like(&self.root);
            compares.push(Compare::value(
                format!("{}{HISTORY}", self.root),
                CompareOp::Equal,
                vec![b' '; HISTORY_BYTES],
            ));
            compares.push(Compare::version(absolute.clone(), CompareOp::Less, 0));
            let txn = Txn::new().when(compares).and_then([TxnOp::put(absolute, value.to_vec(), None)]);
            let see =
                format!("let etcd see the largest value, that of {} ({})", printable(key), bytes(value.len() as u64));
            let asked = etcd.kv(&see, async |mut kv| kv.txn(txn.clone()).await).await;
            asked.map(drop).with_context(|| {
                format!("the largest value {what}. Start etcd with a larger --max-request-bytes. Nothing was written")
            })?;
        }
        Ok(())
    }

    /// Asks etcd to delete a key of every kind that the plan writes, on a condition that never holds: it changes nothing, whatever is
    /// there, but etcd looks at the user's rights for either branch of a transaction (auth in server/etcdserver/apply_auth.go).
    async fn check_rights(&self, etcd: &Etcd, plan: &Plan) -> Result<()> {
        let kinds: BTreeSet<_> = plan.changes().map(|change| prefix_of(change.key())).collect();
        let frame = [HISTORY].into_iter().chain(TRIPWIRES).map(|key| prefix_of(key.as_bytes()));
        let kinds: Vec<_> = kinds.into_iter().chain(frame).collect();
        for some in kinds.chunks(FEWEST_OPS) {
            let keys: Vec<String> =
                some.iter().map(|kind| format!("{}{}/", self.root, kind.trim_end_matches('/'))).collect();
            let never = keys.first().map(|key| Compare::version(key.clone(), CompareOp::Less, 0));
            let deletes: Vec<TxnOp> = keys.into_iter().map(|key| TxnOp::delete(key, None)).collect();
            let txn = Txn::new().when(never.into_iter().collect::<Vec<_>>()).and_then(deletes);
            let what = format!("make sure that the keys under {} may be written", self.config.meta_root);
            etcd.kv(&what, async |mut kv| kv.txn(txn.clone()).await).await?;
        }
        Ok(())
    }

    fn check_room(&self, health: &Health, plan: &Plan, way_back: u64) -> Result<()> {
        let alarms = health.alarms.as_deref().unwrap_or_default();
        if let Some(alarm) = alarms.iter().find(|alarm| alarm.kind == Alarm::NOSPACE) {
            bail!(
                "etcd member {:x} has the alarm NOSPACE, so etcd refuses all writes: {}; or raise --quota-backend-bytes. Then `etcdctl \
                 alarm disarm`",
                alarm.member,
                make_room(Some(plan.revision))
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
                     and its quota is {}. Make room: {}; or raise --quota-backend-bytes",
                    member.endpoint,
                    bytes(size),
                    bytes(added),
                    bytes(way_back),
                    bytes(quota),
                    make_room(Some(plan.revision))
                );
            }
        }
        Ok(())
    }
}

/// How much etcd's database may grow by a rollback: what is overwritten or deleted is put back, what is new is deleted.
fn way_back_bytes(plan: &Plan, back: &[&Record]) -> u64 {
    let restored: u64 = back.iter().map(|record| (record.key.len() + record.value_bytes()) as u64 + BYTES_A_KEY).sum();
    restored + plan.totals().puts * BYTES_A_KEY
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
