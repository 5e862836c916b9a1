//! What is in an etcd, beyond keys and values, and what has changed in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use etcd_client::{DeleteOptions, GetOptions, KeyValue};

use super::etcd::Etcd;

/// Keys with their values.
pub type Dump = BTreeMap<Vec<u8>, Vec<u8>>;

/// The key of the migration lock.
pub const LOCK: &str = "by-dev/meta/session/migration";

impl Etcd {
    /// Makes this all that is in it.
    pub fn start_over(&self, dump: &Dump) {
        self.kv(async |mut kv| kv.delete("", Some(DeleteOptions::new().with_all_keys())).await);
        self.put_all(dump.iter().map(|(key, value)| (key.clone(), value.clone(), 0)));
    }

    /// All keys with revisions and leases.
    pub fn entries(&self) -> Vec<KeyValue> {
        self.kv(async |mut kv| kv.get("", Some(GetOptions::new().with_all_keys())).await).take_kvs()
    }

    /// The lease of a key; `None` without a lease or without the key.
    pub fn lease_of(&self, key: &str) -> Option<i64> {
        let answer = self.kv(async |mut kv| kv.get(key, None).await);
        answer.kvs().first().map(KeyValue::lease).filter(|lease| *lease != 0)
    }

    /// Ends the lease of the migration lock, as time would do it; the lock must be there.
    pub fn end_lock(&self) {
        self.revoke(self.lease_of(LOCK).expect("a migration lock with a lease"));
    }

    /// All leases.
    pub fn leases(&self) -> BTreeSet<i64> {
        let answer = self.run(async |mut client| client.leases().await);
        answer.leases().iter().map(etcd_client::LeaseStatus::id).collect()
    }
}

/// Puts entries into another etcd, so few at a time that it takes them whatever its limits.
pub fn copy(dump: &Dump, to: &Etcd) {
    for (key, value) in dump {
        to.put(key.clone(), value.clone());
    }
}

/// A value of the key `by-dev/meta/<relative>`.
pub fn value<'a>(dump: &'a Dump, relative: &str) -> Option<&'a [u8]> {
    dump.get(format!("by-dev/meta/{relative}").as_bytes()).map(Vec::as_slice)
}

/// Keys under the meta root that begin so, without the meta root.
pub fn below<'a>(dump: &'a Dump, prefix: &str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let absolute = format!("by-dev/meta/{prefix}").into_bytes();
    dump.iter().filter(move |(key, _)| key.starts_with(&absolute)).map(|(key, value)| {
        let key = std::str::from_utf8(key).expect("a key that is text");
        (&key["by-dev/meta/".len()..], value.as_slice())
    })
}

/// Holds two states of an etcd against each other and names the keys that differ.
#[track_caller]
pub fn assert_same(expected: &Dump, found: &Dump, what: impl Debug) {
    let differences = differences(expected, found);
    assert!(differences.is_empty(), "{what:?}: differences: {}:\n{}", differences.len(), differences.join("\n"));
}

/// What was done, in one key.
const HISTORY: &[u8] = b"by-dev/meta/meta-migration/history";

/// What of the history has to be the same: times, host, options and way back may differ.
fn done(history: &[u8]) -> [serde_json::Value; 5] {
    let history: serde_json::Value = serde_json::from_slice(history).expect("a history is JSON");
    ["format", "operation", "state", "to_version", "layout"].map(|name| history[name].clone())
}

/// Which keys differ and how.
pub fn differences(expected: &Dump, found: &Dump) -> Vec<String> {
    let keys: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let difference = |key: &Vec<u8>| {
        let how = match (expected.get(key), found.get(key)) {
            (Some(_), None) => "missing",
            (None, Some(_)) => "extra",
            (Some(expected), Some(found)) if key == HISTORY && done(expected) == done(found) => return None,
            (expected, found) if expected != found => "another value",
            _ => return None,
        };
        Some(format!("{how}: {}", String::from_utf8_lossy(key)))
    };
    keys.into_iter().filter_map(difference).collect()
}
