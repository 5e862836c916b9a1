//! Is the metadata a complete, consistent 2.2 layout? Purely: keys and values in, findings out.
//!
//! Each check is something that a starting Milvus 2.2 relies on ([`Invariant`]). What 2.2 itself wrote since the migration passes,
//! too: collections on their way in or out, deleted indexes, builds under way.

mod aliases;
mod collections;
pub mod comparison;
mod indexes;
mod invariant;
mod load_states;
pub mod outcome;
mod segment_indexes;
mod versions;

use std::collections::BTreeMap;

use prost::Message;
use serde::Serialize;

pub use invariant::{Finding, Invariant, Severity};
pub use outcome::VerifyOutcome;

use crate::layout::keys::{self, Key, Plain, Side};
use crate::layout::messages::target::MsgPosition;
use crate::layout::{Found, is_tombstone};
use crate::migrate::Record;
use crate::migrate::inventory::decode;
use collections::Collections;
use indexes::Indexes;
use invariant::Findings;
use load_states::LoadStates;
use segment_indexes::SegmentIndexes;

/// What was found under a meta root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Which layout is there.
    pub found: Found,
    /// Number of keys but sessions.
    pub keys: u64,
    /// Keys that only the 2.1 layout has, by prefix.
    pub source_keys: BTreeMap<String, u64>,
    /// Whatever does not hold, by invariant and key.
    pub findings: Vec<Finding>,
}

impl Verification {
    /// Whether there is no finding but warnings.
    pub fn is_consistent(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Warning)
    }
}

/// Takes in all keys under a meta root, and checks them.
#[derive(Debug, Default)]
pub struct Verifier {
    keys: u64,
    source_keys: BTreeMap<String, u64>,
    target_keys: u64,
    collections: Collections,
    aliases: aliases::Aliases,
    indexes: Indexes,
    segment_indexes: SegmentIndexes,
    load_states: LoadStates,
    findings: Findings,
}

impl Verifier {
    /// Takes in one key (relative to the meta root) with its value. Nothing is kept of it but what other records are held against.
    pub fn add(&mut self, key: &[u8], record: &Record) {
        let parsed = Key::parse(key);
        if parsed == Ok(Key::Session) {
            return;
        }
        self.keys += 1;
        match parsed.as_ref().map_or_else(|error| error.side, Key::side) {
            Side::Source => {
                keys::count(&mut self.source_keys, key);
                return;
            }
            Side::Target => self.target_keys += 1,
            Side::Both | Side::Neither => {}
        }
        match parsed {
            Ok(parsed) => self.sort(parsed, key, &record.value),
            // Nobody reads a load state of 2.1 any more.
            Err(error) if error.side == Side::Neither => {}
            Err(error) => self.findings.error(Invariant::KeysParse, key, error.to_string()),
        }
    }

    fn sort(&mut self, parsed: Key, key: &[u8], value: &[u8]) {
        match parsed {
            Key::Plain(plain) => self.sort_versioned(plain, None, key, value),
            Key::Snapshot(plain, timestamp) => self.sort_versioned(plain, Some(timestamp), key, value),
            Key::FieldIndex { collection, index } => {
                self.indexes.add((collection, index), key, value, &mut self.findings);
            }
            Key::SegmentIndex { collection, partition, segment, build } => {
                self.segment_indexes.add([collection, partition, segment, build], key, value, &mut self.findings);
            }
            Key::Segment { collection, partition, segment } => {
                self.segment_indexes.add_segment((collection, partition, segment), value);
            }
            Key::CollectionLoad(collection) => {
                self.load_states.add_collection(collection, key, value, &mut self.findings);
            }
            Key::PartitionLoad { collection, partition } => {
                self.load_states.add_partition((collection, partition), key, value, &mut self.findings);
            }
            Key::ChannelCheckpoint(_) => {
                if let Err(what) = decode::<MsgPosition>(value) {
                    self.findings.error(Invariant::ValuesDecode, key, what);
                }
            }
            Key::Other => self.collections.add_of_database(key, value),
            Key::Build(_) | Key::LoadState(_) | Key::Session => {}
        }
    }

    fn sort_versioned(&mut self, plain: Plain, timestamp: Option<u64>, key: &[u8], value: &[u8]) {
        let findings = &mut self.findings;
        match plain {
            Plain::Collection(id) => self.collections.add(id, timestamp, key, value, findings),
            Plain::Partition { collection, partition } => {
                self.collections.add_partition((collection, partition), timestamp, key, value, findings);
            }
            Plain::Field { collection, field } => {
                self.collections.add_field((collection, field), timestamp, key, value, findings);
            }
            Plain::Alias(name) => self.aliases.add(name, timestamp, key, value, findings),
            // Counted already: it should not be there at all.
            Plain::SourceAlias(_)
            | Plain::SourceIndex { .. }
            | Plain::SourceSegmentIndex { .. }
            | Plain::DdOperation
            | Plain::DdMsgSend => {}
        }
    }

    /// Holds the records against each other, after all keys were added.
    pub fn finish(mut self) -> Verification {
        let found = self.found();
        let findings = match found {
            Found::Source => not_migrated(&self.source_keys),
            _ => {
                self.check_layout(found);
                self.collections.check(&mut self.findings);
                self.aliases.check(&self.collections, &mut self.findings);
                self.indexes.check(&self.collections, &mut self.findings);
                self.segment_indexes.check(&self.collections, &self.indexes, &mut self.findings);
                self.load_states.check(&self.collections, &self.indexes, &mut self.findings);
                self.findings
            }
        };
        let findings = findings.into_sorted();
        Verification { found, keys: self.keys, source_keys: self.source_keys, findings }
    }

    /// As [`crate::migrate::Inventory::found`] tells it.
    fn found(&self) -> Found {
        let source = !self.source_keys.is_empty() || self.collections.any_embedded();
        match (source, self.target_keys > 0) {
            (true, true) => Found::Mixed,
            (true, false) => Found::Source,
            (false, true) => Found::Target,
            (false, false) => Found::Neither,
        }
    }

    fn check_layout(&mut self, found: Found) {
        if found == Found::Neither && self.collections.is_empty() {
            let what =
                format!("there are {} keys, and none of them is of a collection, an index or an alias", self.keys);
            self.findings.error(Invariant::LayoutPresent, "", what);
        }
        if self.source_keys.is_empty() {
            return;
        }
        let keys: u64 = self.source_keys.values().sum();
        let what = format!(
            "an interrupted migration (or rollback): there are records of the 2.2 layout beside {keys} keys of the 2.1 layout. \
             `run` again goes on where it ended; `rollback` goes back"
        );
        self.findings.error(Invariant::Migrated, "", what);
        for (prefix, keys) in &self.source_keys {
            self.findings.error(Invariant::NoSourceKeys, prefix, format!("{keys} key(s)"));
        }
    }
}

/// Of metadata that is wholly in the 2.1 layout nothing else is worth telling.
fn not_migrated(source_keys: &BTreeMap<String, u64>) -> Findings {
    let mut findings = Findings::default();
    let keys: u64 = source_keys.values().sum();
    let what = format!(
        "the metadata is not migrated yet: it is wholly in the 2.1 layout ({keys} keys that only 2.1 has, \
         fields and partitions in the collection records). Migrate it with `run`"
    );
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
) -> versions::State<M> {
    if is_tombstone(value) {
        return versions::State::Dropped;
    }
    match read(key, value, findings, same_ids) {
        Some(message) => versions::State::Live(versions::fingerprint(value), message),
        None => versions::State::Unusable,
    }
}

#[cfg(test)]
mod tests;
