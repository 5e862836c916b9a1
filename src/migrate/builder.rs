//! Puts a plan together: what goes into which phase, and what is there already.
//!
//! Three phases keep every collection whole in exactly one layout at every instant (docs/design.md):
//! *prepare* writes keys that 2.1 does not know, *switch* changes the collection records, *clean up* removes what 2.2 does not know.
//! With `--skip-invalid` a fourth one removes collection records that cannot be used: last, because as long as they are there
//! they tell that what hangs on them is to be left out.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use super::collections::complete_collections;
use super::inventory::{Inventory, Record};
use super::report::{CollectionSummary, Report};
use crate::layout::keys::{Key, Plain, prefix_of};
use crate::layout::messages::common::CollectionInfo;
use crate::layout::messages::target::AliasInfo;
use crate::layout::{Found, TOMBSTONE, is_tombstone};
use crate::plan::{Change, Phase, Plan, Problems};

/// A plan in the making.
#[derive(Debug)]
pub(super) struct Builder {
    prepare: Phase,
    switch: Phase,
    clean_up: Phase,
    leave_out: Phase,
    /// Keys of the 2.2 layout that were there before and that the plan has not come by yet.
    existing: BTreeMap<Bytes, Record>,
    /// Collections with live field records and with live partition records in the 2.2 layout.
    complete: [BTreeSet<i64>; 2],
    /// All keys but sessions, by prefix; those that the plan overwrites or deletes get subtracted.
    untouched: BTreeMap<String, u64>,
    /// How many collections name a virtual channel, in either layout: an interrupted run must find the same.
    pub(super) channels: BTreeMap<String, u32>,
    pub(super) problems: Problems,
    pub(super) report: Report,
}

impl Builder {
    /// Begins a plan. Takes over from the inventory what all kinds share.
    pub(super) fn new(inventory: &mut Inventory) -> Self {
        let existing = std::mem::take(&mut inventory.target);
        let mut builder = Self {
            prepare: Phase::new("writing the 2.2 records"),
            switch: Phase { in_order: true, ..Phase::new("switching the collections") },
            clean_up: Phase::new("removing the 2.1 records"),
            leave_out: Phase::new("removing collection records that cannot be used"),
            complete: complete_collections(existing.iter().map(|(key, record)| (key, &record.value))),
            existing,
            untouched: std::mem::take(&mut inventory.present),
            channels: BTreeMap::new(),
            problems: std::mem::take(&mut inventory.problems),
            report: Report { removed: inventory.source_counts.clone(), ..Report::default() },
        };
        for (prefix, keys) in &inventory.source_counts {
            builder.subtract(prefix, *keys);
        }
        builder.clean_up.changes = std::mem::take(&mut inventory.source_ranges).finish();
        for key in std::mem::take(&mut inventory.stray) {
            builder.delete_existing(key, |builder| &mut builder.clean_up);
        }
        builder
    }

    /// Plans a record of the 2.2 layout, unless it is there already just so.
    pub(super) fn prepare(&mut self, key: &Key, value: Vec<u8>) {
        let key = Bytes::from(key.to_string());
        match self.existing.remove(&key) {
            Some(record) if record.value == value => return,
            Some(_) => self.subtract_key(&key),
            None => {}
        }
        self.prepare.put(key, value);
    }

    /// Plans a plain record and, with a timestamp, its snapshot.
    pub(super) fn prepare_versioned(&mut self, plain: Plain, timestamp: Option<u64>, value: Vec<u8>) {
        if let Some(timestamp) = timestamp {
            self.prepare(&Key::Snapshot(plain.clone(), timestamp), value.clone());
        }
        self.prepare(&Key::Plain(plain), value);
    }

    /// The revision of the last change of a record of the 2.2 layout, if it is there.
    pub(super) fn existing_revision(&self, key: &Key) -> Option<i64> {
        self.existing.get(key.to_string().as_bytes()).map(|record| record.mod_revision)
    }

    /// Keeps a record of the 2.2 layout as it is.
    pub(super) fn keep(&mut self, key: &Key) {
        self.existing.remove(key.to_string().as_bytes());
    }

    /// Plans the stripped record of a collection and that of its newest snapshot, in one transaction where they fit.
    pub(super) fn switch_collection(&mut self, id: i64, plain: Vec<u8>, newest: Option<(u64, Vec<u8>)>) {
        let key = Plain::Collection(id).to_string();
        self.subtract_key(key.as_bytes());
        self.switch.put(key, plain);
        if let Some((timestamp, value)) = newest {
            let key = Key::Snapshot(Plain::Collection(id), timestamp).to_string();
            self.subtract_key(key.as_bytes());
            self.switch.put_joined(key, value);
        }
    }

    /// Plans an edited older snapshot of a collection.
    pub(super) fn clean_up_collection(&mut self, id: i64, timestamp: u64, value: Vec<u8>) {
        let key = Key::Snapshot(Plain::Collection(id), timestamp).to_string();
        self.subtract_key(key.as_bytes());
        self.clean_up.put(key, value);
    }

    /// Removes a plain tombstone that has no snapshot: the loader of 2.2 fails on it.
    pub(super) fn remove_tombstone(&mut self, plain: &Plain) {
        let key = plain.to_string();
        self.report.leave_out(&key, "a tombstone without a snapshot, which Milvus 2.2 cannot load");
        self.delete_existing(Bytes::from(key), |builder| &mut builder.clean_up);
    }

    /// Leaves out a collection record that cannot be used. Only carried out with `--skip-invalid`.
    pub(super) fn delete_invalid(&mut self, key: &str) {
        self.delete_existing(Bytes::from(key.to_owned()), |builder| &mut builder.leave_out);
    }

    /// Whether fields and partitions of a collection have snapshots of this time in the 2.2 layout.
    pub(super) fn has_field_snapshots(&self, collection: i64, timestamp: u64) -> bool {
        let suffix = format!("_ts{timestamp}");
        ["fields", "partitions"].iter().all(|kind| {
            let prefix = format!("snapshots/root-coord/{kind}/{collection}/");
            self.existing
                .range(Bytes::from(prefix.clone())..)
                .take_while(|(key, _)| key.starts_with(prefix.as_bytes()))
                .any(|(key, _)| key.ends_with(suffix.as_bytes()))
        })
    }

    /// Reports a collection in the 2.2 layout that has no fields or no partitions: the mark of a lost schema.
    pub(super) fn check_complete(&mut self, key: &str, id: i64, info: &CollectionInfo) {
        // 2.2 makes and drops collections key by key; but where no other key is of the 2.2 layout, 2.2 has not been at work.
        let being_created_or_dropped = info.state != 0 && self.report.found != Some(Found::Source);
        let [with_fields, with_partitions] = &self.complete;
        let lacks = match (with_fields.contains(&id), with_partitions.contains(&id)) {
            (true, true) => return,
            (false, true) => "fields",
            (true, false) => "partitions",
            (false, false) => "fields and partitions",
        };
        if !being_created_or_dropped {
            self.problems.add(
                key,
                format!("the record has no {lacks} embedded, and there are no records of them either"),
                "the collection has lost its schema and stays as it is: Milvus cannot use it",
            );
        }
    }

    /// Removes leftovers of an earlier, interrupted migration: records of the 2.2 layout that belong to a collection which is
    /// still in the 2.1 layout or was dropped there, but that no 2.1 record stands behind (any more).
    pub(super) fn remove_leftovers(&mut self, is_of_2_1: impl Fn(i64) -> bool) {
        let leftovers: Vec<Bytes> = self
            .existing
            .iter()
            .filter(|(key, record)| owner(key, &record.value).is_some_and(&is_of_2_1))
            .map(|(key, _)| key.clone())
            .collect();
        leftovers.into_iter().for_each(|key| self.remove_left(key));
    }

    /// Removes such a record.
    pub(super) fn remove_leftover(&mut self, key: &Key) {
        self.remove_left(Bytes::from(key.to_string()));
    }

    fn remove_left(&mut self, key: Bytes) {
        self.report.leave_out(
            String::from_utf8_lossy(&key),
            "left by an interrupted migration; its 2.1 record is no longer there",
        );
        self.delete_existing(key, |builder| &mut builder.prepare);
    }

    /// Counts a segment index for its collection's summary.
    pub(super) fn count_segment_index(&mut self, collection: i64) {
        if let Some(summary) = self.summary(collection) {
            summary.segment_indexes += 1;
        }
    }

    /// The name of a collection that gets converted.
    pub(super) fn collection_name(&self, id: i64) -> String {
        let summaries = &self.report.collections;
        let found = summaries.binary_search_by_key(&id, |summary| summary.id);
        found.map_or_else(|_| id.to_string(), |at| summaries[at].name.clone())
    }

    /// The summary of a collection that gets converted. They are in order of their IDs.
    pub(super) fn summary(&mut self, id: i64) -> Option<&mut CollectionSummary> {
        let at = self.report.collections.binary_search_by_key(&id, |summary| summary.id).ok()?;
        self.report.collections.get_mut(at)
    }

    /// The plan as it stands.
    pub(super) fn finish(mut self, revision: i64) -> (Plan, Report) {
        self.report.limits = super::limits::of(&self.report);
        self.report.sort();
        self.untouched.retain(|_, keys| *keys > 0);
        let plan = Plan {
            revision,
            phases: vec![self.prepare, self.switch, self.clean_up, self.leave_out],
            untouched: self.untouched,
            problems: self.problems.into_sorted(),
        };
        (plan, self.report)
    }

    fn delete_existing(&mut self, key: Bytes, phase: impl Fn(&mut Self) -> &mut Phase) {
        self.subtract_key(&key);
        self.existing.remove(&key);
        phase(self).changes.push(Change::Delete { first: key.clone(), last: key, keys: 1 });
    }

    fn subtract_key(&mut self, key: &[u8]) {
        self.subtract(&prefix_of(key), 1);
    }

    fn subtract(&mut self, prefix: &str, keys: u64) {
        if let Some(left) = self.untouched.get_mut(prefix) {
            *left = left.saturating_sub(keys);
        }
    }
}

/// The collection that a record of the 2.2 layout belongs to. Tombstones belong to none: they do no harm.
fn owner(key: &[u8], value: &[u8]) -> Option<i64> {
    if is_tombstone(value) {
        return None;
    }
    match Key::parse(key).ok()? {
        Key::Plain(Plain::Partition { collection, .. } | Plain::Field { collection, .. })
        | Key::Snapshot(Plain::Partition { collection, .. } | Plain::Field { collection, .. }, _)
        | Key::FieldIndex { collection, .. }
        | Key::SegmentIndex { collection, .. }
        | Key::CollectionLoad(collection)
        | Key::PartitionLoad { collection, .. } => Some(collection),
        Key::ChannelCheckpoint(channel) => super::checkpoints::owner(&channel),
        Key::Plain(Plain::Alias(_)) => AliasInfo::decode(value).ok().map(|alias| alias.collection_id),
        _ => None,
    }
}

/// The value that says "deleted".
pub(super) fn tombstone() -> Vec<u8> {
    TOMBSTONE.to_vec()
}
