//! Reading all keys of a prefix at one revision, page by page.
//!
//! Plain pages: each begins behind the last key of the one before, and is asked for as soon as that one has come, so that etcd works
//! on it while the caller works on the keys. Two pages are in memory at a time, whatever there is to read.
//!
//! etcd visits every key between the beginning and the end of a request, however few it is asked for (`Revisions` in etcd's
//! mvcc/index.go), so pages that all end where the prefix does take quadratic time. Where many keys are left, a request therefore
//! ends with the keys that begin like the last one read ([`Snapshot::narrow`]); there is no gap between one range and the next, and
//! in the end there must be as many keys as etcd counted in the beginning.

use std::time::Instant;

use etcd_client::{GetOptions, GetResponse};
use tokio::task::JoinSet;

use super::call::LARGEST_RESPONSE;
use super::entry::{count_of, range_start, shown};
use super::{Entry, Etcd, EtcdError, prefix_end};

/// How many times as many keys are asked for at most as in the page before: the keys to come may be larger.
const GROWTH: i64 = 4;
/// An answer may be this many times as large as it should be; beyond, it is refused and fewer keys are asked for. So memory stays
/// bounded where large values begin.
const SURPLUS: usize = 4;
/// etcd may have to visit this many pages of keys for a page, before the range is made narrower.
const PAGES_VISITED: u64 = 8;

/// How to read a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// Read at this revision instead of the newest.
    pub revision: Option<i64>,
    /// How many keys to ask for at first.
    pub first_page: i64,
    /// How many keys to ask for at most.
    pub largest_page: i64,
    /// How large a page should be, in bytes of keys and values.
    pub page_bytes: usize,
    /// A larger answer is refused, even if it is of a single key.
    pub largest_response: usize,
    /// So many keys may etcd visit for a page in any case. At about 50 ns each that is a few milliseconds.
    pub visited: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            revision: None,
            first_page: 1_000,
            largest_page: 20_000,
            page_bytes: 4 << 20,
            largest_response: LARGEST_RESPONSE,
            visited: 50_000,
        }
    }
}

impl ReadOptions {
    /// How many keys to ask for, after a page of `keys` keys with `bytes` bytes.
    ///
    /// Halved over a slow line (a port-forward), lest a page takes longer than the request timeout.
    fn next_page(&self, page: i64, keys: usize, bytes: usize, slow: bool) -> i64 {
        let average = bytes / keys.max(1) + 1;
        let fitting = i64::try_from(self.page_bytes / average).unwrap_or(i64::MAX);
        let most = if slow { page / 2 } else { page.saturating_mul(GROWTH) };
        fitting.min(most).min(self.largest_page).max(1)
    }
}

/// All keys of a prefix at one revision, in ascending order, read one page ahead of the caller.
#[derive(Debug)]
pub struct Snapshot {
    /// What the next request looks like.
    request: PageRequest,
    cluster_id: u64,
    total: u64,
    delivered: u64,
    /// The page that was read to learn the revision.
    first: Option<Vec<Entry>>,
    /// The page that is being read; not any more when this is dropped.
    ahead: Option<JoinSet<Result<Page, EtcdError>>>,
    /// What all keys of the range that is being read begin with; the range ends with them.
    within: Vec<u8>,
    /// How many bytes less the next range's keys have in common, when this range has come to its end.
    widen_by: usize,
}

/// What to ask etcd for.
#[derive(Debug, Clone)]
struct PageRequest {
    etcd: Etcd,
    prefix: Vec<u8>,
    options: ReadOptions,
    /// 0 until the first page tells it.
    revision: i64,
    /// How many keys to ask for.
    keys: i64,
    /// The first key that may come.
    start: Vec<u8>,
    /// The first key that may not.
    end: Vec<u8>,
}

/// What etcd answered.
#[derive(Debug)]
struct Page {
    entries: Vec<Entry>,
    /// How many keys were asked for in the end.
    asked_for: i64,
    /// How many keys of the range did not fit.
    left: u64,
    slow: bool,
    /// The newest revision.
    revision: i64,
    cluster_id: u64,
}

impl Etcd {
    /// Begins to read all keys that start with `prefix`, as they are now (linearizable).
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn snapshot(&self, prefix: impl Into<Vec<u8>>) -> Result<Snapshot, EtcdError> {
        self.snapshot_with(prefix, ReadOptions::default()).await
    }

    /// As [`Etcd::snapshot`], at a given revision or in pages of another size.
    ///
    /// # Errors
    /// As [`Etcd::call`]; [`EtcdError::Compacted`] if the revision is gone.
    pub async fn snapshot_with(&self, prefix: impl Into<Vec<u8>>, options: ReadOptions) -> Result<Snapshot, EtcdError> {
        let prefix = prefix.into();
        let mut request = PageRequest {
            etcd: self.clone(),
            revision: options.revision.unwrap_or(0),
            keys: options.first_page.max(1),
            start: range_start(&prefix),
            end: prefix_end(&prefix),
            prefix,
            options,
        };
        let page = request.clone().read().await?;
        request.revision = request.options.revision.unwrap_or(page.revision);
        let mut snapshot = Snapshot {
            within: request.prefix.clone(),
            request,
            cluster_id: page.cluster_id,
            total: page.entries.len() as u64 + page.left,
            delivered: 0,
            first: None,
            ahead: None,
            widen_by: 1,
        };
        snapshot.first = Some(snapshot.take_in(page)?).filter(|page| !page.is_empty());
        Ok(snapshot)
    }
}

impl Snapshot {
    /// The revision that all pages are read at.
    pub fn revision(&self) -> i64 {
        self.request.revision
    }

    /// The cluster that answers.
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// How many keys there are at this revision, on all pages together.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The next keys; `None` after the last. No page is empty.
    ///
    /// # Errors
    /// As [`Etcd::call`]; [`EtcdError::Compacted`] if etcd has dropped the revision since the first page.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Entry>>, EtcdError> {
        if let Some(page) = self.first.take() {
            return Ok(Some(page));
        }
        while let Some(mut ahead) = self.ahead.take() {
            let page = match ahead.join_next().await {
                Some(Ok(page)) => self.take_in(page?)?,
                Some(Err(error)) => return Err(self.request.unsound(format!("reading broke off: {error}"))),
                None => Vec::new(),
            };
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// The keys of a page. Begins to read the next one.
    fn take_in(&mut self, page: Page) -> Result<Vec<Entry>, EtcdError> {
        self.delivered += page.entries.len() as u64;
        self.learn(&page);
        let goes_on = match &page.entries[..] {
            [first, .., last] if page.left > 0 => self.narrow(page.left, &first.key, &last.key),
            [only] if page.left > 0 => self.narrow(page.left, &only.key, &only.key),
            _ => self.widen(),
        };
        if goes_on {
            let mut ahead = JoinSet::new();
            ahead.spawn(self.request.clone().read());
            self.ahead = Some(ahead);
        } else if self.delivered != self.total {
            let problem = format!("etcd counted {} keys but delivered {}: run again", self.total, self.delivered);
            return Err(self.request.unsound(problem));
        }
        Ok(page.entries)
    }

    /// Learns how many keys to ask for next.
    fn learn(&mut self, page: &Page) {
        let found = page.entries.len();
        if page.left > 0 || page.slow {
            let bytes = page.entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
            self.request.keys = self.request.options.next_page(page.asked_for, found, bytes, page.slow);
        }
    }

    /// Goes on behind the last key. Where etcd would have to visit very many keys up to the end of the range, that becomes nearer:
    /// the range then ends with the keys that have at least a byte more in common with the last one than those of the range so far.
    fn narrow(&mut self, left: u64, first: &[u8], last: &[u8]) -> bool {
        if left > self.visited() {
            let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
            let longer = common.max(self.within.len() + 1).min(last.len());
            self.within = last[..longer].to_vec();
            self.request.end = prefix_end(&self.within);
        }
        // The smallest key after the last one.
        self.request.start = [last, &[0]].concat();
        self.widen_by = 1;
        true
    }

    /// Goes on behind the range that has come to its end; `false` if that was the last one. The next one is of keys that have less
    /// in common: a byte, then two, then four, until there are enough keys again.
    fn widen(&mut self) -> bool {
        let prefix = &self.request.prefix;
        if self.request.end == prefix_end(prefix) {
            return false;
        }
        self.request.start = std::mem::take(&mut self.request.end);
        let is_rest_short = self.total.saturating_sub(self.delivered) <= self.visited();
        let mut shorter = if is_rest_short { 0 } else { self.within.len().saturating_sub(self.widen_by) };
        // Behind the last key that has these bytes in front may come none that has some of them.
        while shorter > prefix.len() && prefix_end(&self.within[..shorter]) == self.request.start {
            shorter -= 1;
        }
        self.within.truncate(shorter.max(prefix.len()));
        self.request.end = prefix_end(&self.within);
        self.widen_by *= 2;
        true
    }

    /// How many keys etcd may visit for a page.
    fn visited(&self) -> u64 {
        let keys = u64::try_from(self.request.keys).unwrap_or(1);
        self.request.options.visited.max(keys.saturating_mul(PAGES_VISITED))
    }
}

impl PageRequest {
    /// Asks for fewer keys until the answer is small enough.
    async fn read(mut self) -> Result<Page, EtcdError> {
        let (asked, what) = (Instant::now(), self.what());
        let slow_after = self.etcd.shared.request_timeout / 4;
        let options = GetOptions::new().with_range(&*self.end).with_revision(self.revision);
        loop {
            let options = options.clone().with_limit(self.keys);
            let (start, limit) = (&*self.start, self.largest_response());
            let request = async |client: etcd_client::Client| {
                client.kv_client().max_decoding_message_size(limit).get(start, Some(options.clone())).await
            };
            match self.etcd.call(&what, request).await {
                Err(EtcdError::ResponseTooLarge { .. }) if self.keys > 1 => self.keys = (self.keys / GROWTH).max(1),
                outcome => return self.page(outcome?, asked.elapsed() > slow_after),
            }
        }
    }

    fn largest_response(&self) -> usize {
        let largest = self.options.largest_response;
        if self.keys > 1 { largest.min(self.options.page_bytes.saturating_mul(SURPLUS)) } else { largest }
    }

    fn page(&self, mut answer: GetResponse, slow: bool) -> Result<Page, EtcdError> {
        let header = answer.header().map(|header| (header.revision(), header.cluster_id()));
        let (revision, cluster_id) = header.ok_or_else(|| self.unsound("the answer has no header".to_owned()))?;
        let (more, count) = (answer.more(), count_of(&answer));
        let entries: Vec<Entry> = answer.take_kvs().into_iter().map(Entry::from).collect();
        let left = count.saturating_sub(entries.len() as u64);
        if more != (left > 0) || (more && entries.is_empty()) {
            let problem = format!("etcd delivered {} of {count} keys and says there {} more", entries.len(), is(more));
            return Err(self.unsound(problem));
        }
        Ok(Page { entries, asked_for: self.keys, left, slow, revision, cluster_id })
    }

    fn what(&self) -> String {
        let prefix = shown(&self.prefix);
        match self.revision {
            0 => format!("read the keys under {prefix}"),
            revision => format!("read the keys under {prefix} at revision {revision}"),
        }
    }

    fn unsound(&self, problem: String) -> EtcdError {
        EtcdError::Other { what: self.what(), endpoint: self.etcd.endpoint().to_owned(), problem }
    }
}

fn is(more: bool) -> &'static str {
    if more { "are" } else { "are no" }
}

#[cfg(test)]
mod tests {
    use super::ReadOptions;

    #[test]
    fn the_page_grows_to_the_bytes_wanted_and_shrinks_over_a_slow_line() {
        let options = ReadOptions { page_bytes: 1000, largest_page: 300, ..ReadOptions::default() };
        for (page, keys, bytes, slow, expected) in [
            (10, 10, 90, false, 40),
            (64, 64, 64 * 9, false, 100),
            (200, 200, 0, false, 300),
            (10, 10, 90, true, 5),
            (10, 10, 1_000_000, false, 1),
            (1, 1, 9, true, 1),
            (10, 0, 0, false, 40),
            (i64::MAX, 1, 1, false, 300),
        ] {
            assert_eq!(options.next_page(page, keys, bytes, slow), expected, "{page} {keys} {bytes} {slow}");
        }
    }
}
