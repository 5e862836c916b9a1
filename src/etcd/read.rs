//! Reading the keys of a prefix, all at one revision.

use std::time::Instant;

use bytes::Bytes;
use etcd_client::{GetOptions, GetResponse, KeyValue};
use tokio::task::JoinSet;

use super::call::LARGEST_RESPONSE;
use super::{Etcd, EtcdError};

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The revision of the last change.
    pub mod_revision: i64,
    /// The lease that the key goes away with; 0 if it has none.
    pub lease: i64,
}

impl From<KeyValue> for Entry {
    fn from(kv: KeyValue) -> Self {
        let (mod_revision, lease) = (kv.mod_revision(), kv.lease());
        let (key, value) = kv.into_key_value();
        Self { key: key.into(), value: value.into(), mod_revision, lease }
    }
}

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
            page_bytes: 2 << 20,
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

/// All keys of a prefix at one revision, in ascending order, read page by page: one page ahead of the caller.
#[derive(Debug)]
pub struct Snapshot {
    request: PageRequest,
    cluster_id: u64,
    total: u64,
    delivered: u64,
    /// The page that was read to learn the revision.
    first: Option<Vec<Entry>>,
    /// The page that is being read while the caller is busy with the one before; none after the last.
    ahead: JoinSet<Result<Page, EtcdError>>,
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
    /// Where the page begins.
    start: Vec<u8>,
}

/// What etcd answered.
#[derive(Debug)]
struct Page {
    answer: GetResponse,
    /// How many keys were asked for in the end.
    asked_for: i64,
    slow: bool,
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
        let request = PageRequest {
            etcd: self.clone(),
            start: range_start(&prefix),
            prefix,
            revision: options.revision.unwrap_or(0),
            keys: options.first_page.max(1),
            options,
        };
        let page = request.clone().read().await?;
        let header = page.answer.header().ok_or_else(|| request.unsound("the answer has no header".to_owned()))?;
        let (revision, cluster_id, total) = (header.revision(), header.cluster_id(), count_of(&page.answer));
        let mut snapshot = Snapshot { request, cluster_id, total, delivered: 0, first: None, ahead: JoinSet::new() };
        snapshot.request.revision = snapshot.request.options.revision.unwrap_or(revision);
        snapshot.first = Some(snapshot.take_in(page)?);
        Ok(snapshot)
    }

    /// How many keys start with `prefix` now.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn count(&self, prefix: impl Into<Vec<u8>>) -> Result<u64, EtcdError> {
        Ok(count_of(&self.look_at(prefix.into()).await?))
    }

    /// The newest revision; `prefix` is one that the user may read.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn head_revision(&self, prefix: impl Into<Vec<u8>>) -> Result<i64, EtcdError> {
        Ok(self.look_at(prefix.into()).await?.header().map_or(0, etcd_client::ResponseHeader::revision))
    }

    /// The few keys that start with `prefix`, at once; [`Etcd::snapshot`] is for many.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn get_range(&self, prefix: impl Into<Vec<u8>>) -> Result<Vec<Entry>, EtcdError> {
        let prefix = prefix.into();
        let (start, options) = (range_start(&prefix), GetOptions::new().with_range(prefix_end(&prefix)));
        let what = format!("read the keys under {}", shown(&prefix));
        let mut answer = self.kv(&what, async |mut kv| kv.get(start.clone(), Some(options.clone())).await).await?;
        Ok(answer.take_kvs().into_iter().map(Entry::from).collect())
    }

    /// One key.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn get(&self, key: impl Into<Vec<u8>>) -> Result<Option<Entry>, EtcdError> {
        let key = key.into();
        let what = format!("read the key {}", shown(&key));
        let mut answer = self.kv(&what, async |mut kv| kv.get(key.clone(), None).await).await?;
        Ok(answer.take_kvs().pop().map(Entry::from))
    }

    async fn look_at(&self, prefix: Vec<u8>) -> Result<GetResponse, EtcdError> {
        let (start, options) =
            (range_start(&prefix), GetOptions::new().with_range(prefix_end(&prefix)).with_count_only());
        let what = format!("count the keys under {}", shown(&prefix));
        self.kv(&what, async |mut kv| kv.get(start.clone(), Some(options.clone())).await).await
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
            return Ok(Some(page).filter(|page| !page.is_empty()));
        }
        match self.ahead.join_next().await {
            None => Ok(None),
            Some(Ok(page)) => {
                let page = self.take_in(page?)?;
                Ok(Some(page).filter(|page| !page.is_empty()))
            }
            Some(Err(error)) => Err(self.request.unsound(format!("reading broke off: {error}"))),
        }
    }

    /// The keys of a page. Begins to read the next one.
    fn take_in(&mut self, page: Page) -> Result<Vec<Entry>, EtcdError> {
        let Page { mut answer, asked_for, slow } = page;
        let entries: Vec<_> = answer.take_kvs().into_iter().map(Entry::from).collect();
        self.delivered += entries.len() as u64;
        let last = entries.last().filter(|_| answer.more());
        if let Some(last) = last {
            let bytes = entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
            self.request.keys = self.request.options.next_page(asked_for, entries.len(), bytes, slow);
            // The smallest key after the last one.
            self.request.start = [&last.key[..], &[0]].concat();
            self.ahead.spawn(self.request.clone().read());
        } else if self.delivered != self.total {
            let problem = format!("etcd counted {} keys but delivered {}: run again", self.total, self.delivered);
            return Err(self.request.unsound(problem));
        }
        Ok(entries)
    }
}

impl PageRequest {
    /// Asks for half as much until the answer is small enough.
    async fn read(mut self) -> Result<Page, EtcdError> {
        let (asked, what) = (Instant::now(), self.what());
        let (limit, slow_after) = (self.options.largest_response, self.etcd.shared.request_timeout / 4);
        let options = GetOptions::new().with_range(prefix_end(&self.prefix)).with_revision(self.revision);
        loop {
            let options = options.clone().with_limit(self.keys);
            let start = &self.start;
            let request = async |client: etcd_client::Client| {
                client.kv_client().max_decoding_message_size(limit).get(start.clone(), Some(options.clone())).await
            };
            match self.etcd.call(&what, request).await {
                Err(EtcdError::ResponseTooLarge { .. }) if self.keys > 1 => self.keys /= 2,
                outcome => {
                    let slow = asked.elapsed() > slow_after;
                    return outcome.map(|answer| Page { answer, asked_for: self.keys, slow });
                }
            }
        }
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

/// The end of the range of all keys that start with `prefix`: the first key that sorts behind them.
///
/// The last byte is counted up; bytes 0xff cannot be and are dropped. When none is left, the end is `\0`, which in etcd
/// stands for "to the last key".
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    match prefix.iter().rposition(|byte| *byte < u8::MAX) {
        Some(last) => [&prefix[..last], &[prefix[last] + 1]].concat(),
        None => vec![0],
    }
}

/// etcd knows no empty key; `\0` is the smallest.
fn range_start(prefix: &[u8]) -> Vec<u8> {
    if prefix.is_empty() { vec![0] } else { prefix.to_vec() }
}

fn count_of(answer: &GetResponse) -> u64 {
    u64::try_from(answer.count()).unwrap_or(0)
}

fn shown(key: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(key))
}

#[cfg(test)]
mod tests {
    use super::{ReadOptions, prefix_end};

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

    #[test]
    fn the_end_of_a_prefix_is_right_for_every_byte() {
        for byte in 0..u8::MAX {
            assert_eq!(prefix_end(&[b'a', byte]), [b'a', byte + 1]);
        }
        assert_eq!(prefix_end(b"a\xff"), b"b");
        assert_eq!(prefix_end(b"a\xff\xff"), b"b");
        assert_eq!(prefix_end(b"\xfe\xff"), b"\xff");
    }

    #[test]
    fn a_prefix_without_an_end_reaches_to_the_last_key() {
        for prefix in [&b""[..], b"\xff", b"\xff\xff"] {
            assert_eq!(prefix_end(prefix), b"\0");
        }
    }
}
