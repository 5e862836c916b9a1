//! The one judgement of metadata: `plan` and `run` apply it to what would be, `verify` to what is. Keys and values in, findings out.
//!
//! Each check is something that a loader of the target relies on ([`Invariant`]). What newer versions themselves wrote since the
//! migration passes, too: collections on their way in or out, deleted indexes, builds under way.

mod aliases;
mod collections;
mod finding;
mod indexes;
mod invariant;
mod load_states;
mod segment_indexes;
mod segments;
mod snapshots;
mod tripwires;
mod versions;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use schemars::JsonSchema;
use serde::Serialize;

pub use finding::{Finding, Severity};
pub use invariant::Invariant;

use super::records::decode;
use crate::amounts::many;
use crate::layout::families::{Family, Side};
use crate::layout::is_tombstone;
use crate::layout::keys::{self, Key};
use crate::version::Layout;
use collections::CollectionCheck;
use finding::Findings;
use indexes::IndexCheck;
use load_states::LoadStates;
use segment_indexes::SegmentIndexes;
use segments::Segments;
use tripwires::Tripwires;

/// What was found under a meta root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Checked {
    /// Number of metadata keys: without sessions, lock and history.
    pub keys: u64,
    /// Keys that only 2.1 has, by prefix.
    pub source_keys: BTreeMap<String, u64>,
    /// Number of living collections.
    pub collections: usize,
    /// Whatever does not hold, by invariant and key.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// Whether there is no finding but warnings.
    pub fn is_consistent(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Warning)
    }

    /// The findings that are no mere warnings.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }
}

/// Takes in all keys under a meta root, and judges them.
#[derive(Debug, Default)]
pub struct Checker {
    layout: Option<Layout>,
    keys: u64,
    source_keys: BTreeMap<String, u64>,
    target_keys: u64,
    tripwires: Tripwires,
    collections: CollectionCheck,
    aliases: aliases::AliasCheck,
    indexes: IndexCheck,
    segment_indexes: SegmentIndexes,
    segments: Segments,
    load_states: LoadStates,
    findings: Findings,
}

/// Judges all of these records.
pub fn check<'a>(records: impl IntoIterator<Item = (&'a Bytes, &'a Bytes)>, layout: Option<Layout>) -> Checked {
    let mut checker = Checker::new(layout);
    records.into_iter().for_each(|(key, value)| checker.add(key, value));
    checker.finish()
}

impl Checker {
    /// Begins; without a layout it is judged what all targets demand.
    pub fn new(layout: Option<Layout>) -> Self {
        Self { layout, ..Self::default() }
    }

    /// Takes in one key (relative to the meta root) with its value, in ascending order. Nothing is kept of it but what other records
    /// are held against.
    pub fn add(&mut self, key: &Bytes, value: &Bytes) {
        if !keys::is_metadata(key) {
            return;
        }
        self.keys += 1;
        let parsed = Key::parse(key);
        let family = parsed.as_ref().map_or_else(|error| error.family, |key| key.family);
        match family.side() {
            Side::Source => return keys::count(&mut self.source_keys, key),
            Side::Target => self.target_keys += 1,
            Side::Both | Side::Neither => {}
        }
        match parsed {
            Ok(parsed) => self.sort(&parsed, key, value),
            // Nobody reads a load state of 2.1 any more.
            Err(_) if family.side() == Side::Neither => {}
            Err(error) => self.findings.error(Invariant::KeysParse, key, error.to_string()),
        }
    }

    fn sort(&mut self, parsed: &Key, key: &Bytes, value: &Bytes) {
        let findings = &mut self.findings;
        let two = || parsed.ids::<2>().into();
        match parsed.family {
            Family::Collection | Family::DatabaseCollection => self.collections.add(parsed, key, value, findings),
            Family::Partition => self.collections.add_partition(two(), parsed.snapshot, key, value, findings),
            Family::Field => self.collections.add_field(two(), parsed.snapshot, key, value, findings),
            Family::Alias | Family::DatabaseAlias => self.aliases.add(parsed, key, value, findings),
            Family::FieldIndex => self.indexes.add(two(), key, value, findings),
            Family::SegmentIndex => self.segment_indexes.add(parsed.ids(), key, value, findings),
            Family::Segment => self.segments.add(parsed.ids(), key, value, findings),
            Family::Binlog | Family::Statslog | Family::Deltalog => {
                self.segments.add_logs(parsed, key, value, findings);
            }
            Family::ChannelCheckpoint => self.segments.add_checkpoint(parsed.name(), key, value, findings),
            Family::CollectionLoad => self.load_states.add_collection(parsed.ids::<1>()[0], key, value, findings),
            Family::PartitionLoad => self.load_states.add_partition(two(), key, value, findings),
            Family::Replica => self.load_states.add_replica(two(), key, value, findings),
            Family::Tripwire => self.tripwires.add(parsed.name(), value, findings),
            _ => {}
        }
    }

    /// Holds the records against each other, after all keys were added.
    pub fn finish(mut self) -> Checked {
        self.collections.settle(&mut self.findings);
        let collections = self.collections.created().count();
        let is_source = !self.source_keys.is_empty() || self.collections.any_embedded();
        let findings = if is_source && self.target_keys == 0 {
            not_migrated(&self.source_keys)
        } else {
            self.check_source_keys();
            if let Some(layout) = self.layout.filter(|_| collections > 0) {
                self.tripwires.check(layout, &mut self.findings);
            }
            self.collections.check(self.layout, &mut self.findings);
            self.aliases.check(&self.collections, self.layout, &mut self.findings);
            self.indexes.check(&self.collections, &mut self.findings);
            self.segments.check(&self.collections, self.layout, &mut self.findings);
            self.segment_indexes.check(&self.collections, &self.indexes, &self.segments, &mut self.findings);
            self.load_states.check(&self.collections, &self.indexes, self.layout, &mut self.findings);
            self.findings
        };
        Checked { keys: self.keys, source_keys: self.source_keys, collections, findings: findings.into_sorted() }
    }

    fn check_source_keys(&mut self) {
        if self.source_keys.is_empty() {
            return;
        }
        let keys: u64 = self.source_keys.values().sum();
        let what = format!(
            "there are records of newer versions beside {} of 2.1 (`status` tells how that came)",
            many(keys, "key", "keys")
        );
        self.findings.error(Invariant::Migrated, "", what);
        for (prefix, keys) in &self.source_keys {
            self.findings.error(Invariant::NoSourceKeys, prefix, many(*keys, "key", "keys"));
        }
    }
}

/// Of metadata of 2.1 alone nothing else is worth saying.
fn not_migrated(source_keys: &BTreeMap<String, u64>) -> Findings {
    let mut findings = Findings::default();
    let keys: u64 = source_keys.values().sum();
    let what = format!("this is metadata of Milvus 2.1, not migrated yet ({keys} keys that only 2.1 has)");
    findings.error(Invariant::Migrated, "", what);
    findings
}

/// Decodes a value and holds its IDs against its key; reports what does not fit.
fn read<M: Message + Default>(
    key: &[u8],
    value: &[u8],
    findings: &mut Findings,
    same_ids: impl FnOnce(&M) -> Result<(), String>,
) -> Option<M> {
    let message: M = match decode(value) {
        Ok(message) => message,
        Err(what) => {
            findings.error(Invariant::ValuesDecode, key, what);
            return None;
        }
    };
    match same_ids(&message) {
        Ok(()) => Some(message),
        Err(what) => {
            findings.error(Invariant::IdsAgree, key, what);
            None
        }
    }
}

/// As [`read`], for values that may be tombstones.
fn read_version<M: Message + Default>(
    key: &[u8],
    value: &[u8],
    findings: &mut Findings,
    same_ids: impl FnOnce(&M) -> Result<(), String>,
) -> versions::Version<M> {
    if is_tombstone(value) {
        return versions::Version::Dropped;
    }
    match read(key, value, findings, same_ids) {
        Some(message) => versions::Version::Live(versions::fingerprint(value), message),
        None => versions::Version::Unusable,
    }
}

#[cfg(test)]
mod tests;
