//! Reading back: whether etcd holds just what a plan was to leave, after it has been carried out.
//!
//! Not everything is read again. A key whose last change is not younger than the plan's revision has the value that it had there,
//! and that value was read and compared when the plan was made. So it takes: every key that was changed since, with its value; that
//! what was deleted is gone; and the number of keys (docs/design.md has the argument).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};
use bytes::{Buf, Bytes};

use super::Context;
use crate::amounts::{many, thousands};
use crate::diff::Diff;
use crate::etcd::{Changes, Entry, Etcd, Ranges, prefix_end};
use crate::layout::families::Family;
use crate::layout::keys::{HISTORY_PREFIX, SESSIONS, family_of, is_metadata, printable};
use crate::outcome::Next;
use crate::outcome::failed::Failure;
use crate::plan::{Change, Plan};

/// Differences are listed up to this number.
const LISTED: u64 = 20;
/// What etcd is asked to look at with one request: keys, and bytes of keys and values that should be there.
const KEYS_A_RANGE: usize = 4_000;
const BYTES_A_RANGE: usize = 2 << 20;

/// What there should be when a plan has been carried out.
pub(super) struct ReadBack<'a> {
    /// How what was there at the plan's revision differed from what should be.
    pub(super) diff: &'a Diff,
    /// What was written. Its tripwires are in `opening`.
    pub(super) plan: &'a Plan,
    /// What the first transaction put beside the history key.
    pub(super) opening: &'a [Change],
    /// How many keys there should be in the end, without sessions and history.
    pub(super) keys: u64,
    /// How many tripwires there still are besides, which the last transaction removes.
    pub(super) tripwires: u64,
    /// Where the prefix can be cut into ranges that etcd can well hold, in ascending order, with the meta root.
    pub(super) cuts: BTreeSet<Vec<u8>>,
}

impl Context {
    /// Reads back and compares: what was to be put is there, what was to be deleted is gone, all else is as it was when the plan was
    /// made, and nothing came or went besides.
    pub(super) async fn read_back(&self, etcd: &Etcd, wanted: &ReadBack<'_>, way_on: &Next) -> Result<i64, Failure> {
        let compared = self.starting_over(async || self.compare(etcd, wanted).await).await;
        let (Changes { revision, .. }, held) = compared.map_err(|error| {
            let error = error.context("everything was written, but could not be read back and compared");
            Failure::interrupted(error).with_next(way_on.clone())
        })?;
        if held.different == 0 {
            self.say(format!(
                "read back at revision {revision} and compared: all {} metadata keys are as planned ({} changed keys were read, the \
                 others have not changed since revision {})",
                thousands(wanted.keys),
                thousands(held.read),
                wanted.plan.revision
            ));
            return Ok(revision);
        }
        let error = anyhow!(
            "everything was written, but {} not as planned at revision {revision}:\n  {}",
            many(held.different, "key is", "keys are"),
            held.differences.join("\n  ")
        );
        Err(Failure::interrupted(error).with_next(way_on.clone()))
    }

    async fn compare<'a>(&self, etcd: &Etcd, wanted: &'a ReadBack<'_>) -> Result<(Changes, HeldAgainst<'a>)> {
        let mut held = HeldAgainst::against(wanted);
        let bar = self.progress.reading("reading back and comparing", wanted.written());
        let since = wanted.plan.revision;
        let changes = etcd
            .changes(&self.root, since, wanted.cuts.iter().cloned(), |page| {
                bar.read(page.len() as u64, self.metadata_keys(&page));
                for Entry { mut key, value, .. } in page {
                    key.advance(self.root.len());
                    held.add(&key, &value);
                }
            })
            .await?;
        bar.finish();
        held.missing();
        // In the end, sessions and our history do not count; and where something was deleted there is nothing.
        let apart = [SESSIONS, HISTORY_PREFIX].map(|prefix| {
            let prefix = format!("{}{prefix}", self.root).into_bytes();
            (prefix.clone(), prefix_end(&prefix))
        });
        let deleted = wanted.deleted(&self.root);
        let ranges: Ranges = apart.into_iter().chain(deleted).collect();
        let counts = etcd.counts(&ranges, changes.revision, self.limits.max_txn_ops).await?;
        for ((first, _), keys) in ranges.iter().zip(&counts).skip(2).filter(|(_, keys)| **keys > 0) {
            let first = printable(&first[self.root.len()..]);
            held.differ(*keys, || {
                format!("{first} and what follows: {} should not be there", many(*keys, "key", "keys"))
            });
        }
        let keys = changes.keys.saturating_sub(counts.iter().take(2).sum());
        let wanted = wanted.keys + wanted.tripwires;
        if held.different == 0 && keys != wanted {
            let (keys, wanted) = (thousands(keys), thousands(wanted));
            held.differ(1, || format!("there are {keys} metadata keys instead of {wanted}"));
        }
        Ok((changes, held))
    }
}

impl ReadBack<'_> {
    /// The keys that were to be put, with their values, in ascending order; the tripwires aside.
    fn puts(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        let edits = self.diff.edits.iter().filter(|edit| family_of(&edit.key) != Family::Tripwire);
        edits.filter_map(|edit| Some((&edit.key, edit.put.as_ref()?)))
    }

    fn written(&self) -> u64 {
        (self.puts().count() + self.opening.len()) as u64
    }

    /// The ranges that were to be deleted.
    fn deleted(&self, root: &str) -> Ranges {
        let ranges = self.plan.changes().filter_map(|change| match change {
            Change::Delete { first, last, .. } => {
                Some(([root.as_bytes(), first].concat(), [root.as_bytes(), last, &[0]].concat()))
            }
            Change::Put { .. } => None,
        });
        ranges.collect()
    }
}

/// What was read so far, held against what should be there.
struct HeldAgainst<'a> {
    puts: std::iter::Peekable<Box<dyn Iterator<Item = (&'a Bytes, &'a Bytes)> + 'a>>,
    opening: BTreeMap<&'a [u8], &'a Bytes>,
    /// Metadata keys that were read.
    read: u64,
    different: u64,
    differences: Vec<String>,
}

impl<'a> HeldAgainst<'a> {
    fn against(wanted: &'a ReadBack<'_>) -> Self {
        let opening = wanted.opening.iter().filter_map(|change| match change {
            Change::Put { key, value } => Some((&**key, value)),
            Change::Delete { .. } => None,
        });
        let puts: Box<dyn Iterator<Item = _>> = Box::new(wanted.puts());
        Self { puts: puts.peekable(), opening: opening.collect(), read: 0, different: 0, differences: Vec::new() }
    }

    /// Takes in the next key that was changed.
    fn add(&mut self, key: &[u8], value: &Bytes) {
        if !is_metadata(key) {
            return;
        }
        self.read += 1;
        while let Some((missing, _)) = self.puts.next_if(|(put, _)| **put < *key) {
            self.differ(1, || format!("{} is missing", printable(missing)));
        }
        let put = self.puts.next_if(|(put, _)| *put == key).map(|(_, value)| value);
        match put.or_else(|| self.opening.remove(key)) {
            Some(put) if put == value => {}
            Some(_) => self.differ(1, || format!("{} has another value", printable(key))),
            None => self.differ(1, || format!("{} was changed by somebody else meanwhile", printable(key))),
        }
    }

    /// What was to be put and has not come.
    fn missing(&mut self) {
        while let Some((missing, _)) = self.puts.next() {
            self.differ(1, || format!("{} is missing", printable(missing)));
        }
        for missing in std::mem::take(&mut self.opening).into_keys() {
            self.differ(1, || format!("{} is missing", printable(missing)));
        }
    }

    fn differ(&mut self, keys: u64, what: impl FnOnce() -> String) {
        if self.different < LISTED {
            self.differences.push(what());
        }
        self.different += keys;
    }
}

/// Where the keys that should be there, given in ascending order, can be cut; besides, where they were read in pages.
pub(super) fn cuts<'a>(
    root: &str,
    should: impl Iterator<Item = (&'a Bytes, &'a Bytes)>,
    pages: &[Vec<u8>],
) -> BTreeSet<Vec<u8>> {
    let mut cuts: BTreeSet<Vec<u8>> = pages.iter().cloned().collect();
    let (mut keys, mut bytes) = (0, 0);
    for (key, value) in should {
        (keys, bytes) = (keys + 1, bytes + key.len() + value.len());
        if keys >= KEYS_A_RANGE || bytes >= BYTES_A_RANGE {
            cuts.insert([root.as_bytes(), key].concat());
            (keys, bytes) = (0, 0);
        }
    }
    cuts
}
