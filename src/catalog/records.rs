//! Keys and values as they were read: the input of a conversion, and what a plan is held against.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use prost::Message;

use super::entries::Entries;
use super::problem::Problem;
use crate::diff::{Diff, Differ};
use crate::layout::families::{Family, Side};
use crate::layout::keys::{self, HISTORY, Key, SNAPSHOTS};
use crate::packed::Packer;

/// Where 2.1 and later keep the credentials of users (`rootcoord/kv_catalog.go`).
pub(super) const USERS: &str = "root-coord/credential/users/";

/// A key (relative to the meta root) with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Bytes,
    /// The value; empty once it was let go, which happens when it has been converted.
    pub value: Bytes,
    /// Bytes of the value that was let go; 0 while it is here.
    let_go: usize,
    /// The family of the key, whether it has the right form or not.
    pub family: Family,
    /// Whether a key that no migration looks at lies between this one and the record before it.
    pub follows_others: bool,
    /// Whether the key has the prefix of the family, but not its form.
    is_malformed: bool,
}

/// A value that has this many bytes together with its key is never let go: before the first write, etcd is shown the largest that
/// `rollback` would put back (every etcd takes smaller ones: we support no smaller limit of its requests, --max-request-bytes).
pub const LARGE: usize = 64 << 10;

impl Record {
    fn new(key: Bytes, value: Bytes, family: Family, follows_others: bool) -> Self {
        Self { key, value, let_go: 0, family, follows_others, is_malformed: false }
    }

    /// Lets the value go, because it has been converted: what should be there is another value, or none. So the values of 2.1 and
    /// what they become are not in memory together; there can be gigabytes of them.
    pub(super) fn let_go(&mut self) {
        if self.key.len() + self.value.len() < LARGE {
            self.let_go = std::mem::take(&mut self.value).len();
        }
    }

    /// Bytes of the value in etcd, whether it is still here or was let go.
    pub fn value_bytes(&self) -> usize {
        self.value.len().max(self.let_go)
    }
}

/// A plain key's value and its snapshots by timestamp; tombstones are values too.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    /// The value of the plain key, if there is one.
    pub plain: Option<Bytes>,
    /// The snapshots.
    pub snapshots: BTreeMap<u64, Bytes>,
}

/// Everything under a meta root that a migration looks at, in ascending order of keys; the rest is counted.
#[derive(Debug, Clone, Default)]
pub struct Records {
    all: Vec<Record>,
    /// Keys that stay whatever happens, by prefix. Sessions and our history are not among them.
    others: BTreeMap<String, u64>,
    history: Option<Bytes>,
    users: Vec<String>,
    /// Whether a key that no migration looks at came last.
    others_came: bool,
    /// Number of records that [`Self::add_bulk_counted`] left off.
    left_off: u64,
}

/// What keys of Milvus begin with that no migration looks at.
const MILVUS: [&str; 4] = ["root-coord/", "datacoord-meta/", "queryCoord-", "channelwatch/"];

impl Records {
    /// Takes in one key (relative to the meta root) with its value. Keys must come in ascending order.
    pub fn add(&mut self, key: Bytes, value: Bytes) {
        let follows_others = std::mem::take(&mut self.others_came);
        let (family, is_malformed) = family_and_form(&key);
        match family {
            Family::Session => self.others_came = true,
            Family::History => {
                self.others_came = true;
                // Whatever else lies beside it is not ours.
                if *key == *HISTORY.as_bytes() {
                    self.history = Some(value);
                }
            }
            Family::Other => {
                self.others_came = true;
                let user = std::str::from_utf8(&key).ok().and_then(|key| key.strip_prefix(USERS));
                self.users.extend(user.map(str::to_owned));
                keys::count(&mut self.others, &key);
            }
            family => self.all.push(Record { is_malformed, ..Record::new(key, value, family, follows_others) }),
        }
    }

    /// As [`Self::add`], of a key of a family in the table, whose value of so many bytes is of no use any more.
    pub fn add_let_go(&mut self, key: Bytes, value_bytes: usize) {
        let follows_others = std::mem::take(&mut self.others_came);
        let (family, is_malformed) = family_and_form(&key);
        let record = Record::new(key, Bytes::new(), family, follows_others);
        self.all.push(Record { let_go: value_bytes, is_malformed, ..record });
    }

    /// As [`Self::add`], but of the kinds that come by the million only the first of each is kept, without its value; the rest is
    /// counted. That is enough to tell the state of the metadata, and takes no memory however large the cluster is.
    pub fn add_bulk_counted(&mut self, key: &[u8], value: &[u8]) {
        let Ok(Key { family, .. }) = Key::parse(key) else {
            return self.add(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        };
        if !family.is_bulk() {
            // A copy of its own: the original keeps a whole page of etcd's answer alive.
            return self.add(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        }
        // Keys come in order, so those of a family come one after the other.
        if self.all.last().is_some_and(|last| last.value.is_empty() && last.family == family) {
            self.left_off += 1;
        } else {
            let follows_others = std::mem::take(&mut self.others_came);
            self.all.push(Record::new(Bytes::copy_from_slice(key), Bytes::new(), family, follows_others));
        }
    }

    /// All records that a migration looks at.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.all.iter()
    }

    /// What it takes to make these records into what should be. A range of deletes never reaches over a key that is not looked at.
    pub fn held_against(&self, should: &Entries) -> Diff {
        let mut differ = Differ::new(should.iter().map(|(key, value)| (key.clone(), value.clone())));
        differ.reserve(self.all.len() + should.len());
        for record in &self.all {
            if record.follows_others {
                differ.pass();
            }
            match record.let_go {
                0 => differ.add(record.key.clone(), &record.value),
                _ => differ.add_changed(record.key.clone()),
            }
        }
        differ.finish()
    }

    /// The records that these edits, made with [`Self::held_against`], overwrite or delete: what a rollback puts back.
    pub fn changed_by(&self, diff: &Diff) -> impl Iterator<Item = &Record> {
        // Each of them was held against a record, in the order of both.
        let mut edits = diff.edits.iter().filter(|edit| edit.is_there).peekable();
        self.all.iter().filter(move |record| edits.next_if(|edit| edit.key == record.key).is_some())
    }

    /// All records with the prefix of a family, those whose keys do not have its form too; snapshots are none of them.
    pub(super) fn with_prefix_of(&self, family: Family) -> &[Record] {
        &self.all[self.range_of(family)]
    }

    /// Takes those out until [`Self::put_back`]: they can be converted and let go on one thread while another reads the rest.
    pub(super) fn take_out(&mut self, family: Family) -> Vec<Record> {
        let range = self.range_of(family);
        self.all.drain(range).collect()
    }

    fn range_of(&self, family: Family) -> Range<usize> {
        let prefix = family.prefix().as_bytes();
        let first = self.all.partition_point(|record| *record.key < *prefix);
        let number = self.all[first..].partition_point(|record| record.key.starts_with(prefix));
        first..first + number
    }

    /// Puts records back to where they were taken out.
    pub(super) fn put_back(&mut self, records: Vec<Record>) {
        let Some(first) = records.first() else { return };
        let at = self.all.partition_point(|record| record.key < first.key);
        self.all.splice(at..at, records);
    }

    /// Keys that stay whatever happens, by prefix.
    pub fn others(&self) -> &BTreeMap<String, u64> {
        &self.others
    }

    /// The value of our history key.
    pub fn history(&self) -> Option<&Bytes> {
        self.history.as_ref()
    }

    /// Names of the users that have credentials.
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// Whether there is anything that only Milvus keeps at such a place. Without it this is somebody else's folder, or one above or
    /// below the meta root, where nothing says that there is nothing to migrate.
    pub fn are_of_milvus(&self) -> bool {
        // Milvus makes the user root when it first starts.
        let has_users = !self.users.is_empty();
        has_users
            || !self.all.is_empty()
            || self.others.keys().any(|prefix| MILVUS.iter().any(|of| prefix.starts_with(of)))
    }

    /// Whether keys stand where collections would, but not as collections are called: as seen from below the meta root.
    pub fn has_misplaced_collections(&self) -> bool {
        self.all.iter().any(|record| record.family == Family::Collection && record.is_malformed)
    }

    /// Number of metadata keys: without sessions and our history.
    pub fn keys(&self) -> u64 {
        self.all.len() as u64 + self.left_off + self.others.values().sum::<u64>()
    }

    /// The value of a key.
    pub fn get(&self, key: &Key) -> Option<&Bytes> {
        let key = key.to_string();
        let at = self.all.binary_search_by(|record| (*record.key).cmp(key.as_bytes())).ok()?;
        Some(&self.all[at].value)
    }

    /// The plain keys of a family that have its form.
    pub fn of(&self, family: Family) -> impl Iterator<Item = (Key, &Record)> {
        self.under(family.prefix().to_owned()).filter(move |(key, _)| key.family == family)
    }

    /// Plain keys of a family with their snapshots, by plain key.
    pub fn versions_of(&self, family: Family) -> BTreeMap<Key, Versions> {
        self.versions_below(family, family.prefix())
    }

    /// As [`Self::versions_of`], of one collection: of a family whose first ID is that of the collection.
    pub fn versions_under(&self, family: Family, collection: i64) -> BTreeMap<Key, Versions> {
        self.versions_below(family, &format!("{}{collection}/", family.prefix()))
    }

    fn versions_below(&self, family: Family, prefix: &str) -> BTreeMap<Key, Versions> {
        let mut all: BTreeMap<Key, Versions> = BTreeMap::new();
        let is_of = |key: &Key| key.family == family;
        for (key, record) in self.under(prefix.to_owned()).filter(|(key, _)| is_of(key)) {
            all.entry(key).or_default().plain = Some(record.value.clone());
        }
        for (key, record) in self.under(format!("{SNAPSHOTS}{prefix}")).filter(|(key, _)| is_of(key)) {
            if let Some(timestamp) = key.snapshot {
                all.entry(key.plain()).or_default().snapshots.insert(timestamp, record.value.clone());
            }
        }
        all
    }

    fn under(&self, prefix: String) -> impl Iterator<Item = (Key, &Record)> {
        let first = self.all.partition_point(|record| *record.key < *prefix.as_bytes());
        self.all[first..]
            .iter()
            .take_while(move |record| record.key.starts_with(prefix.as_bytes()))
            .filter_map(|record| Some((Key::parse(&record.key).ok()?, record)))
    }

    /// Keys that have the prefix of a family, but not its form.
    pub fn malformed(&self) -> impl Iterator<Item = (&Record, keys::KeyError)> {
        let malformed = self.all.iter().filter(|record| record.is_malformed);
        malformed.filter_map(|record| Some((record, Key::parse(&record.key).err()?)))
    }

    /// Keys that only 2.1 has, by prefix; tripwires are none.
    pub fn source_keys(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for record in &self.all {
            if record.family.side() == Side::Source {
                keys::count(&mut counts, &record.key);
            }
        }
        counts
    }

    /// Keys that only 2.2 and later have, by prefix; tripwires are none.
    pub fn target_keys(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for record in &self.all {
            if record.family.side() == Side::Target {
                keys::count(&mut counts, &record.key);
            }
        }
        counts
    }
}

/// The family of a key, and whether the key has the prefix of it, but not its form.
fn family_and_form(key: &[u8]) -> (Family, bool) {
    Key::parse(key).map_or_else(|error| (error.family, true), |key| (key.family, false))
}

impl FromIterator<(Bytes, Bytes)> for Records {
    /// Keys must come in ascending order.
    fn from_iter<I: IntoIterator<Item = (Bytes, Bytes)>>(entries: I) -> Self {
        let mut records = Self::default();
        for (key, value) in entries {
            records.add(key, value);
        }
        records
    }
}

/// What a kind of record becomes: keys and values that should be there, and what is to be told.
#[derive(Debug, Default)]
pub struct Writing {
    /// What should be there, by family: so what comes in the order of keys stays in it, and that saves sorting millions.
    pub(super) by_family: BTreeMap<Family, Vec<(Bytes, Bytes)>>,
    /// Whatever does not fit together.
    pub problems: Vec<Problem>,
    /// What happens, by name.
    pub report: super::report::Report,
    pub(super) packer: Packer,
}

impl Writing {
    /// Adds a record that should be there.
    pub fn put(&mut self, key: &Key, value: impl Into<Bytes>) {
        let entry = (self.packer.key_of(key), value.into());
        self.by_family.entry(key.family).or_default().push(entry);
    }

    /// The same, with a copy of the value: of the kinds that come by the million.
    pub fn put_copy(&mut self, key: &Key, value: &[u8]) {
        let value = self.packer.value(value);
        self.put(key, value);
    }

    /// The same, with a message as its value.
    pub fn put_message(&mut self, key: &Key, message: &impl Message) {
        let value = self.packer.message(message);
        self.put(key, value);
    }

    /// Takes in what another kind became.
    pub fn append(&mut self, other: Self) {
        for (family, entries) in other.by_family {
            self.by_family.entry(family).or_default().extend(entries);
        }
        self.problems.extend(other.problems);
        self.report.append(other.report);
    }

    /// Takes out what should be there.
    pub(super) fn take_entries(&mut self) -> Entries {
        let by_family = std::mem::take(&mut self.by_family);
        let mut entries = Vec::with_capacity(by_family.values().map(Vec::len).sum());
        by_family.into_values().for_each(|of_family| entries.extend(of_family));
        entries.into()
    }
}

/// Decodes a message.
///
/// # Errors
/// It does not decode: why, in words.
pub fn decode<M: Message + Default>(value: &[u8]) -> Result<M, String> {
    M::decode(value).map_err(|error| format!("the value does not decode as protobuf ({error})"))
}

/// Holds an ID in a record against the one in its key.
///
/// # Errors
/// They differ: how, in words.
pub fn same_id(name: &str, record: i64, key: i64) -> Result<(), String> {
    if record == key { Ok(()) } else { Err(format!("its {name} is {record}, but the key says {key}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_our_history_is_neither_history_nor_metadata() {
        let keys: [&[u8]; 4] = [b"meta-migration/a", HISTORY.as_bytes(), b"meta-migration/z", b"meta-migration/\xff"];
        let entries = keys.map(|key| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(key)));
        let records: Records = entries.into_iter().collect();
        assert_eq!(records.history().map(|value| &**value), Some(HISTORY.as_bytes()));
        assert_eq!((records.keys(), records.others().len()), (0, 0));
    }
}
