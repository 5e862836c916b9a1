//! What has changed under a prefix since a revision.
//!
//! etcd looks at every key of a request that asks for changes, values and all, before it leaves out what is older; so a request must
//! not be for more than etcd can well hold. The caller knows about where the keys lie and cuts the prefix into ranges; several of
//! them are under way at a time.

use etcd_client::{GetOptions, TxnOp, TxnOpResponse};
use futures::stream::{self, StreamExt};

use super::entry::{count_of, range_start, shown};
use super::{Entry, Etcd, EtcdError, prefix_end};

/// Requests under way at the same time.
const AT_ONCE: usize = 4;

/// How many keys there are where something was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// The revision that all of it is of.
    pub revision: i64,
    /// All keys under the prefix, changed or not.
    pub keys: u64,
}

/// Ranges of keys: each from its first key up to its last, without the last.
pub type Ranges = Vec<(Vec<u8>, Vec<u8>)>;

impl Etcd {
    /// Hands out, page by page, all keys under `prefix` that were put after the revision `since` and are there now, with their values, in ascending
    /// order; and counts all keys. `cuts` are keys in ascending order, between which etcd can well hold all there is.
    ///
    /// # Errors
    /// As [`Etcd::call`]; [`EtcdError::Compacted`] if etcd drops the revision meanwhile.
    pub async fn changes(
        &self,
        prefix: &str,
        since: i64,
        cuts: impl IntoIterator<Item = Vec<u8>>,
        mut each: impl FnMut(Vec<Entry>),
    ) -> Result<Changes, EtcdError> {
        let mut ranges = ranges(prefix.as_bytes(), cuts);
        let what = format!("read what has changed under {} since revision {since}", shown(prefix.as_bytes()));
        let read = async |(start, end): (Vec<u8>, Vec<u8>), revision: i64| {
            let options = GetOptions::new()
                .with_range(end)
                .with_revision(revision)
                .with_min_mod_revision(since.saturating_add(1));
            let mut answer = self.kv(&what, async |mut kv| kv.get(&*start, Some(options.clone())).await).await?;
            let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
            let entries: Vec<Entry> = answer.take_kvs().into_iter().map(Entry::from).collect();
            Ok::<_, EtcdError>((revision, count_of(&answer), entries))
        };
        let mut found = Changes { revision: 0, keys: 0 };
        let mut take = |keys: u64, entries: Vec<Entry>, found: &mut Changes| {
            found.keys += keys;
            each(entries);
        };
        // The first answer tells the revision at which the others are read.
        let Some(first) = ranges.next() else { return Ok(found) };
        let (revision, keys, entries) = read(first, 0).await?;
        found.revision = revision;
        take(keys, entries, &mut found);
        let mut answers = stream::iter(ranges).map(|range| read(range, revision)).buffered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            let (_, keys, entries) = answer?;
            take(keys, entries, &mut found);
        }
        Ok(found)
    }

    /// How many keys there are in each of these ranges at a revision. `at_once` is how many ranges one request asks for.
    ///
    /// # Errors
    /// As [`Etcd::call`]; [`EtcdError::Compacted`] if the revision is gone.
    pub async fn counts(&self, ranges: &Ranges, revision: i64, at_once: usize) -> Result<Vec<u64>, EtcdError> {
        // Halves of what etcd does not take, as with what is written.
        let count = async |some| {
            let (mut counts, mut pending) = (Vec::new(), vec![some]);
            while let Some(part) = pending.pop() {
                match self.count_at_once(part, revision).await {
                    Err(EtcdError::TooManyOps { .. }) if part.len() > 1 => {
                        let (first, second) = part.split_at(part.len() / 2);
                        pending.extend([second, first]);
                    }
                    counted => counts.extend(counted?),
                }
            }
            Ok::<_, EtcdError>(counts)
        };
        let mut counts = Vec::with_capacity(ranges.len());
        let mut answers = stream::iter(ranges.chunks(at_once.max(1))).map(count).buffered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            counts.extend(answer?);
        }
        if counts.len() == ranges.len() {
            return Ok(counts);
        }
        let problem = format!("etcd was asked for {} numbers of keys and gave {}", ranges.len(), counts.len());
        let what = format!("count keys at revision {revision}");
        Err(EtcdError::Other { what, endpoint: self.endpoint().to_owned(), problem })
    }

    async fn count_at_once(&self, ranges: &[(Vec<u8>, Vec<u8>)], revision: i64) -> Result<Vec<u64>, EtcdError> {
        let operation = |(start, end): &(Vec<u8>, Vec<u8>)| {
            let options = GetOptions::new().with_range(&**end).with_revision(revision).with_count_only();
            TxnOp::get(&**start, Some(options))
        };
        let txn = etcd_client::Txn::new().and_then(ranges.iter().map(operation).collect::<Vec<_>>());
        let what = format!("count keys at revision {revision}");
        let answer = self.kv(&what, async |mut kv| kv.txn(txn.clone()).await).await?;
        let counts = answer.op_responses().into_iter().filter_map(|answer| match answer {
            TxnOpResponse::Get(answer) => Some(count_of(&answer)),
            _ => None,
        });
        Ok(counts.collect())
    }
}

/// The prefix in ranges without a gap, cut at `cuts`.
fn ranges(prefix: &[u8], cuts: impl IntoIterator<Item = Vec<u8>>) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let mut start = range_start(prefix);
    let end = prefix_end(prefix);
    let is_within = {
        let prefix = prefix.to_vec();
        move |cut: &Vec<u8>| cut.starts_with(&prefix)
    };
    let ends = cuts.into_iter().filter(is_within).map(Some).chain([None]);
    ends.filter_map(move |cut| match cut {
        Some(cut) => (cut > start).then(|| (std::mem::replace(&mut start, cut.clone()), cut)),
        None => Some((std::mem::take(&mut start), end.clone())),
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_leave_no_gap_whatever_the_cuts_are(
            prefix in vec(prop_oneof![Just(b'a'), Just(u8::MAX)], 0..3),
            cuts in vec(vec(prop_oneof![Just(0), b'a'..=b'c', Just(u8::MAX)], 0..5), 0..9),
        ) {
            let ranges: Vec<_> = ranges(&prefix, cuts).collect();
            prop_assert_eq!(&ranges[0].0, &range_start(&prefix));
            prop_assert_eq!(&ranges[ranges.len() - 1].1, &prefix_end(&prefix));
            for both in ranges.windows(2) {
                prop_assert_eq!(&both[0].1, &both[1].0);
                prop_assert!(both[0].0 < both[0].1);
            }
        }
    }
}
