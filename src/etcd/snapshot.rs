//! Reading all keys of a prefix at one revision.
//!
//! Several requests are under way at a time, each for a range of its own: where a range ends is guessed from how the keys before it
//! lie ([`Density`]). A wrong guess costs a request, never a key: the ranges leave no gap, what did not fit into an answer is asked
//! for anew, and in the end there must be as many keys as etcd counted in the beginning.

use std::collections::VecDeque;
use std::time::Instant;

use etcd_client::{GetOptions, GetResponse};
use tokio::task::JoinSet;

use super::call::LARGEST_RESPONSE;
use super::density::Density;
use super::read::{count_of, range_start, shown};
use super::{Entry, Etcd, EtcdError, prefix_end};

/// Requests under way at the same time, where the line is quick.
const MOST_AT_ONCE: usize = 4;
/// A range is cut to hold this part of the keys that are asked for, so that they fit even if they lie closer than expected.
const FILL: (i64, i64) = (3, 4);
/// From an answer with less than this part of what was asked for, nothing is learnt about the size of the values.
const TELLING: usize = 8;
/// How much wider the next range is at most, if there were fewer keys than expected in one.
const WIDER: u64 = 2;
/// After so many ranges in a row without any key, the next one is much wider; or has no end if so few keys are left that etcd walks
/// over them in the time of a few requests.
const EMPTY_RANGES: u32 = 3;
const MUCH_WIDER: u64 = 16;
const FEW_KEYS: u64 = 100_000;

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
    /// A larger answer is refused, and half as many keys asked for.
    pub largest_response: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            revision: None,
            first_page: 500,
            largest_page: 10_000,
            page_bytes: 1 << 20,
            largest_response: LARGEST_RESPONSE,
        }
    }
}

impl ReadOptions {
    /// How many keys to ask for, after a page of `keys` keys with `bytes` bytes.
    ///
    /// At most doubled, for the keys to come may be larger; and halved over a slow line (a port-forward), lest a page
    /// takes longer than the request timeout.
    fn next_page(&self, page: i64, keys: usize, bytes: usize, slow: bool) -> i64 {
        let average = bytes / keys.max(1) + 1;
        let fitting = i64::try_from(self.page_bytes / average).unwrap_or(i64::MAX);
        let most = if slow { page / 2 } else { page.saturating_mul(2) };
        fitting.min(most).min(self.largest_page).max(1)
    }
}

/// All keys of a prefix at one revision, in ascending order, read page by page ahead of the caller.
#[derive(Debug)]
pub struct Snapshot {
    /// What the next request looks like.
    request: PageRequest,
    /// The end of all keys.
    end: Vec<u8>,
    cluster_id: u64,
    total: u64,
    delivered: u64,
    /// The page that was read to learn the revision.
    first: Option<Vec<Entry>>,
    /// Pages that are being read, in the order of their keys, without a gap.
    ahead: VecDeque<Ahead>,
    /// Where the keys begin that no request is under way for.
    rest: Option<Vec<u8>>,
    density: Option<Density>,
    empty_ranges: u32,
    at_once: usize,
}

/// A page that is being read; not any more when this is dropped.
type Ahead = JoinSet<Result<Page, EtcdError>>;

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
    range: Range,
}

/// The keys from `start` up to `end`, without `end` itself.
#[derive(Debug, Clone)]
struct Range {
    start: Vec<u8>,
    end: Vec<u8>,
    /// Whether this is what an earlier answer had no room for.
    is_rest: bool,
}

/// What etcd answered.
#[derive(Debug)]
struct Page {
    entries: Vec<Entry>,
    range: Range,
    /// How many keys were asked for in the end.
    asked_for: i64,
    /// How many keys are in the range.
    count: u64,
    /// Whether some of them did not fit.
    more: bool,
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
        let range = Range { start: range_start(&prefix), end: prefix_end(&prefix), is_rest: false };
        let mut request = PageRequest {
            etcd: self.clone(),
            prefix,
            revision: options.revision.unwrap_or(0),
            keys: options.first_page.max(1),
            options,
            range,
        };
        let page = request.clone().read().await?;
        request.revision = request.options.revision.unwrap_or(page.revision);
        let mut snapshot = Snapshot {
            end: request.range.end.clone(),
            request,
            cluster_id: page.cluster_id,
            total: page.count,
            delivered: 0,
            first: None,
            ahead: VecDeque::new(),
            rest: None,
            density: None,
            empty_ranges: 0,
            at_once: 1,
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
        while let Some(mut ahead) = self.ahead.pop_front() {
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

    /// The keys of a page. Begins to read further ones.
    fn take_in(&mut self, page: Page) -> Result<Vec<Entry>, EtcdError> {
        self.delivered += page.entries.len() as u64;
        self.at_once = if page.slow { 1 } else { MOST_AT_ONCE.min(self.at_once + 1) };
        self.learn(&page);
        if page.more {
            self.leave(&page);
        }
        self.read_ahead();
        if self.ahead.is_empty() && self.delivered != self.total {
            let problem = format!("etcd counted {} keys but delivered {}: run again", self.total, self.delivered);
            return Err(self.request.unsound(problem));
        }
        Ok(page.entries)
    }

    /// Learns how many keys to ask for next, and how they lie.
    fn learn(&mut self, page: &Page) {
        let (found, slow) = (page.entries.len(), page.slow);
        if page.more || found * TELLING >= usize::try_from(page.asked_for).unwrap_or(usize::MAX) {
            let bytes = page.entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
            self.request.keys = self.request.options.next_page(page.asked_for, found, bytes, slow);
        } else if slow {
            self.request.keys = (self.request.keys / 2).max(1);
        }
        if !page.range.is_rest {
            self.empty_ranges = if page.count == 0 { self.empty_ranges + 1 } else { 0 };
            self.density = self.density_after(page);
        }
    }

    fn density_after(&self, page: &Page) -> Option<Density> {
        let Range { start, end, .. } = &page.range;
        let is_lost = self.empty_ranges >= EMPTY_RANGES;
        if is_lost && self.total.saturating_sub(self.delivered) <= FEW_KEYS {
            return None;
        }
        match &page.entries[..] {
            // All the range tells is that it was far too wide.
            [first, .., last] if *end == self.end || !self.has_room_for_rest(page) => {
                Density::of(&first.key, &last.key, page.entries.len() as u64 - 1)
            }
            _ => {
                let wider = if is_lost { MUCH_WIDER } else { WIDER };
                let least = filled(page.asked_for) / wider;
                Density::of(start, end, page.count.max(least))
            }
        }
    }

    /// Whether one more page takes what a page had no room for.
    fn has_room_for_rest(&self, page: &Page) -> bool {
        let left = page.count.saturating_sub(page.entries.len() as u64);
        i64::try_from(left).is_ok_and(|left| left <= self.request.keys)
    }

    /// Asks for what a page had no room for.
    fn leave(&mut self, page: &Page) {
        let Some(last) = page.entries.last() else { return };
        // The smallest key after the last one.
        let start = [&last.key[..], &[0]].concat();
        if self.has_room_for_rest(page) {
            let rest = self.begin(Range { start, end: page.range.end.clone(), is_rest: true });
            self.ahead.push_front(rest);
        } else {
            // What is being read already lies too far behind: the keys lie closer now.
            self.ahead.clear();
            self.rest = Some(start);
        }
    }

    fn read_ahead(&mut self) {
        while self.ahead.len() < self.at_once
            && let Some(start) = self.rest.take()
        {
            let keys = filled(self.request.keys);
            let end = self.density.as_ref().and_then(|density| density.end(&start, keys));
            self.rest = end.filter(|end| self.end == [0] || *end < self.end);
            let end = self.rest.clone().unwrap_or_else(|| self.end.clone());
            let page = self.begin(Range { start, end, is_rest: false });
            self.ahead.push_back(page);
        }
    }

    fn begin(&self, range: Range) -> Ahead {
        let mut ahead = JoinSet::new();
        ahead.spawn(PageRequest { range, ..self.request.clone() }.read());
        ahead
    }
}

/// How many keys a range should hold, if so many are asked for.
fn filled(keys: i64) -> u64 {
    u64::try_from(keys * FILL.0 / FILL.1).unwrap_or(0).max(1)
}

impl PageRequest {
    /// Asks for half as much until the answer is small enough.
    async fn read(mut self) -> Result<Page, EtcdError> {
        let (asked, what) = (Instant::now(), self.what());
        let (limit, slow_after) = (self.options.largest_response, self.etcd.shared.request_timeout / 4);
        let options = GetOptions::new().with_range(&*self.range.end).with_revision(self.revision);
        loop {
            let options = options.clone().with_limit(self.keys);
            let start = &*self.range.start;
            let request = async |client: etcd_client::Client| {
                client.kv_client().max_decoding_message_size(limit).get(start, Some(options.clone())).await
            };
            match self.etcd.call(&what, request).await {
                Err(EtcdError::ResponseTooLarge { .. }) if self.keys > 1 => self.keys /= 2,
                outcome => return self.page(outcome?, asked.elapsed() > slow_after),
            }
        }
    }

    fn page(self, mut answer: GetResponse, slow: bool) -> Result<Page, EtcdError> {
        let header = answer.header().map(|header| (header.revision(), header.cluster_id()));
        let (revision, cluster_id) = header.ok_or_else(|| self.unsound("the answer has no header".to_owned()))?;
        let (more, count) = (answer.more(), count_of(&answer));
        let entries = answer.take_kvs().into_iter().map(Entry::from).collect();
        Ok(Page { entries, range: self.range, asked_for: self.keys, count, more, slow, revision, cluster_id })
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

#[cfg(test)]
mod tests {
    use super::ReadOptions;

    #[test]
    fn the_page_grows_to_the_bytes_wanted_and_shrinks_over_a_slow_line() {
        let options = ReadOptions { page_bytes: 1000, largest_page: 300, ..ReadOptions::default() };
        for (page, keys, bytes, slow, expected) in [
            (10, 10, 90, false, 20),
            (64, 64, 64 * 9, false, 100),
            (200, 200, 0, false, 300),
            (10, 10, 90, true, 5),
            (10, 10, 1_000_000, false, 1),
            (1, 1, 9, true, 1),
            (10, 0, 0, false, 20),
            (i64::MAX, 1, 1, false, 300),
        ] {
            assert_eq!(options.next_page(page, keys, bytes, slow), expected, "{page} {keys} {bytes} {slow}");
        }
    }
}
