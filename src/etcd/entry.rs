//! Keys as etcd has them, and reading a few of them; [`super::snapshot`] reads many.

use bytes::Bytes;
use etcd_client::{GetOptions, GetResponse, KeyValue};

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

impl Etcd {
    /// How many keys start with `prefix` now.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn count(&self, prefix: impl Into<Vec<u8>>) -> Result<u64, EtcdError> {
        Ok(count_of(&self.look_at(prefix.into()).await?))
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
pub(super) fn range_start(prefix: &[u8]) -> Vec<u8> {
    if prefix.is_empty() { vec![0] } else { prefix.to_vec() }
}

pub(super) fn count_of(answer: &GetResponse) -> u64 {
    u64::try_from(answer.count()).unwrap_or(0)
}

pub(super) fn shown(key: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(key))
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

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
