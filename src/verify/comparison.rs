//! Holds etcd against what the migration of a backup gives.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::layout::keys::{SESSIONS, printable};
use crate::migrate::{self, Inventory, Migration, Options, Record};
use crate::plan::Problem;

/// How etcd differs from what the migration of a backup gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// What is wrong with the metadata in the backup; a migration leaves these records out.
    pub problems: Vec<Problem>,
    /// Keys that are as they should be.
    pub equal: u64,
    /// Keys that are missing in etcd.
    pub missing: Vec<String>,
    /// Keys that have another value in etcd.
    pub different: Vec<String>,
    /// Keys that are in etcd and should not be.
    pub extra: Vec<String>,
}

impl Differences {
    /// Number of keys that are not as they should be.
    pub fn keys(&self) -> usize {
        self.missing.len() + self.different.len() + self.extra.len()
    }
}

/// What the migration of a backup gives, held against etcd key by key.
#[derive(Debug, Clone)]
pub struct Comparison {
    expected: BTreeMap<Bytes, Bytes>,
    differences: Differences,
}

impl Comparison {
    /// Works the migration of a backup's keys (relative to the meta root) out again.
    ///
    /// # Errors
    /// The options ask for what this backup cannot give, such as a new name for a collection that it does not have.
    pub fn new(backup: impl IntoIterator<Item = (Bytes, Bytes)>, options: &Options) -> Result<Self, Vec<String>> {
        let mut expected: BTreeMap<Bytes, Bytes> = backup.into_iter().filter(|(key, _)| !is_session(key)).collect();
        let mut inventory = Inventory::default();
        for (key, value) in &expected {
            inventory.add(key.clone(), Record { value: value.clone(), mod_revision: 0 });
        }
        let Migration { plan, refusals, .. } = migrate::plan(inventory, 0, options);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        plan.apply_to(&mut expected);
        Ok(Self { expected, differences: Differences { problems: plan.problems, ..Differences::default() } })
    }

    /// Takes in a key that is in etcd.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        if is_session(key) {
            return;
        }
        match self.expected.remove(key) {
            Some(expected) if *expected == *value => self.differences.equal += 1,
            Some(_) => self.differences.different.push(printable(key)),
            None => self.differences.extra.push(printable(key)),
        }
    }

    /// The differences, after all keys in etcd were added.
    pub fn finish(mut self) -> Differences {
        self.differences.missing = self.expected.keys().map(|key| printable(key)).collect();
        self.differences
    }
}

fn is_session(key: &[u8]) -> bool {
    key.starts_with(SESSIONS.as_bytes())
}
