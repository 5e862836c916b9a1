//! Snapshots of collections, held against those of their fields and partitions.

use std::collections::BTreeMap;

use super::collections::{CollectionCheck, CollectionSnapshot, Embedded, Partition, ids_of, of};
use super::finding::{Findings, Severity};
use super::invariant::Invariant;
use super::versions;
use crate::layout::families::Family;
use crate::layout::keys::Key;
use crate::version::Layout;

impl CollectionCheck {
    pub(super) fn check_snapshots(
        &self,
        plain: &Key,
        snapshots: &BTreeMap<u64, CollectionSnapshot>,
        layout: Option<Layout>,
        findings: &mut Findings,
    ) {
        // Where snapshots expire, those of fields and partitions do so before the newer ones of their collection.
        let missing = versions::snapshots(layout);
        let id = ids_of(plain).1;
        let is_created = self.is_created(id);
        let newest = self.records.get(plain).and_then(|versions| versions.newest.as_ref()).map(|(time, _)| *time);
        for (time, snapshot) in snapshots {
            let key = plain.clone().at(*time).to_string();
            if is_created && newest == Some(*time) {
                if snapshot.embeds.any() {
                    let what = format!("the newest snapshot embeds {}", snapshot.embeds.list());
                    findings.error(Invariant::NothingEmbedded, &key, what);
                }
                self.check_times(id, *time, snapshot.embeds, missing, findings);
                continue;
            }
            if snapshot.embeds.field_indexes {
                let what = "an older snapshot holds field indexes";
                findings.error(Invariant::OlderSnapshotsSelfContained, &key, what);
            }
            // Of a dropped collection, fields and partitions may be cleaned up before it.
            if is_created && snapshot.created {
                self.check_older(id, *time, snapshot.embeds, &key, missing, findings);
            }
        }
    }

    /// A read at the time of the newest snapshot finds every field, and every partition that was there by then. Those that have no
    /// snapshot at all are reported by themselves.
    fn check_times(&self, id: i64, time: u64, embeds: Embedded, missing: Option<Severity>, findings: &mut Findings) {
        let late = |findings: &mut Findings, key: Key, oldest: u64| {
            let what = format!("its oldest snapshot is at {oldest}, but the newest one of its collection at {time}");
            findings.demand(missing, Invariant::SnapshotTimes, &key.to_string(), what);
        };
        for (field, versions) in of(&self.fields, id).filter(|_| !embeds.fields) {
            if let (Some(_), Some(oldest)) = (versions.live(), versions.oldest_live.filter(|oldest| *oldest > time)) {
                late(findings, Family::Field.key([id, field]), oldest);
            }
        }
        let was_there = |record: &Partition| record.created && record.created_time <= time;
        for (partition, versions) in of(&self.partitions, id).filter(|_| !embeds.partitions) {
            if versions.live().is_some_and(was_there)
                && let Some(oldest) = versions.oldest_live.filter(|oldest| *oldest > time)
            {
                late(findings, Family::Partition.key([id, partition]), oldest);
            }
        }
    }

    fn check_older(
        &self,
        id: i64,
        time: u64,
        embeds: Embedded,
        key: &str,
        missing: Option<Severity>,
        findings: &mut Findings,
    ) {
        let readable_fields = || of(&self.fields, id).any(|(_, versions)| versions.is_readable_at(time));
        let readable_partitions = || of(&self.partitions, id).any(|(_, versions)| versions.is_readable_at(time));
        for (there, name) in
            [(embeds.fields || readable_fields(), "fields"), (embeds.partitions || readable_partitions(), "partitions")]
        {
            if !there {
                let what = format!("it embeds no {name}, and none have a snapshot as old");
                findings.demand(missing, Invariant::OlderSnapshotsSelfContained, key, what);
            }
        }
    }
}
