//! Reads everything back after a plan was carried out, and compares.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::etcd::{Etcd, EtcdError};
use crate::layout::keys::{SESSIONS, printable};
use crate::plan::{Change, Plan};
use crate::report::progress::Progress;

/// Differences are listed up to this number.
const MAX_LISTED: usize = 20;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// The revision at which all was read.
    pub revision: i64,
    /// Number of keys but sessions.
    pub keys: u64,
    /// What is not as planned, in words; at most a few.
    pub differences: Vec<String>,
    /// Number of differences.
    pub different: u64,
}

impl ReadBack {
    fn differ(&mut self, difference: String) {
        self.different += 1;
        if self.differences.len() < MAX_LISTED {
            self.differences.push(difference);
        }
    }
}

/// Reads all keys under `root` (with its slash) and holds them against the plan: what was put is there with its value, what was
/// deleted is gone, and nothing else has changed.
///
/// # Errors
/// etcd does not answer.
pub async fn read_back(etcd: &Etcd, root: &str, plan: &Plan, progress: &Progress) -> Result<ReadBack, EtcdError> {
    let mut expected = Expected::new(plan);
    let mut found = ReadBack::default();
    let mut untouched = 0u64;
    let mut snapshot = etcd.snapshot(root).await?;
    found.revision = snapshot.revision();
    let bar = progress.reading("reading back and comparing", snapshot.total());
    while let Some(page) = snapshot.next_page().await? {
        for entry in &page {
            let key = &entry.key[root.len()..];
            if key.starts_with(SESSIONS.as_bytes()) {
                continue;
            }
            found.keys += 1;
            match expected.puts.remove(key) {
                Some(value) if *value == entry.value => {}
                Some(_) => found.differ(format!("{} has another value than planned", printable(key))),
                None if expected.is_deleted(key) => found.differ(format!("{} is still there", printable(key))),
                None if entry.mod_revision > plan.revision => {
                    found.differ(format!("{} was changed by somebody else", printable(key)));
                }
                None => untouched += 1,
            }
        }
        bar.read(page.len() as u64);
    }
    bar.finish();
    for key in expected.puts.keys() {
        found.differ(format!("{} is missing", printable(key)));
    }
    if untouched < plan.untouched_keys() && found.different == 0 {
        let missing = plan.untouched_keys() - untouched;
        found.differ(format!("{missing} key(s) that were to stay are missing"));
    }
    Ok(found)
}

/// What a plan leaves behind.
struct Expected<'a> {
    puts: BTreeMap<&'a [u8], &'a Bytes>,
    /// Last keys of deleted ranges by their first keys.
    deleted: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Expected<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut expected = Self { puts: BTreeMap::new(), deleted: BTreeMap::new() };
        for change in plan.changes() {
            match change {
                Change::Put { key, value } => {
                    expected.puts.insert(key, value);
                }
                Change::Delete { first, last, .. } => {
                    expected.deleted.insert(first, last);
                }
            }
        }
        expected
    }

    fn is_deleted(&self, key: &[u8]) -> bool {
        self.deleted.range(..=key).next_back().is_some_and(|(_, last)| key <= *last)
    }
}
