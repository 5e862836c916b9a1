//! The database file of etcd, bbolt, as far as reading one bucket from end to end needs it: page by page, so that memory does not grow
//! with the file.
//!
//! Format: go.etcd.io/bbolt, page.go and bucket.go. Numbers are little endian. A page begins with its ID (u64), its kind (u16), the number
//! of its elements (u16), and how many pages it takes beyond the first (u32). Nothing in a file is believed that would lead out of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use thiserror::Error;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const PAGE_HEADER: usize = 16;
const META_BYTES: usize = 64;
const ELEMENT: usize = 16;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const BUCKET: u32 = 1;
const BUCKET_HEADER: usize = 16;
/// Trees are three or four levels deep.
const DEEPEST: usize = 32;
/// bbolt's own limits of a page size.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 512..=65_536;

/// Why a file is no such database, or a damaged one.
#[derive(Debug, Error)]
pub enum BoltError {
    /// The file system refuses.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// It does not begin as one.
    #[error("it does not begin as a database of etcd does")]
    Other,
    /// Something in it contradicts itself.
    #[error("{0}")]
    Damaged(String),
}

impl From<io::Error> for BoltError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// An open database file.
#[derive(Debug)]
pub struct Bolt {
    file: File,
    page_size: u64,
    /// The page of the root bucket.
    root: u64,
    /// Number of pages.
    pages: u64,
}

/// Takes a key and its value.
pub type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), BoltError>;

/// Where a walk is, and how much of it is left.
struct Walk<'a> {
    each: Each<'a>,
    /// Whether buckets (true) or plain values are wanted.
    buckets: bool,
    /// No page is visited twice in a tree.
    budget: u64,
}

impl Bolt {
    /// Opens a database that is the first `bytes` bytes of a file.
    ///
    /// # Errors
    /// It is none, or its first pages are damaged.
    pub fn open(file: File, bytes: u64) -> Result<Self, BoltError> {
        let mut first = [0; PAGE_HEADER + META_BYTES];
        file.read_exact_at(&mut first, 0)?;
        let (size, first) = meta(&first).ok_or(BoltError::Other)?;
        let mut second = [0; PAGE_HEADER + META_BYTES];
        file.read_exact_at(&mut second, u64::from(size))?;
        // Both are there; the younger one counts.
        let newest = match meta(&second) {
            Some((other, second)) if other == size && second.transaction > first.transaction => second,
            _ => first,
        };
        let bolt = Self { file, page_size: size.into(), root: newest.root, pages: newest.pages };
        if bolt.pages.checked_mul(bolt.page_size).is_none_or(|all| all > bytes) {
            return Err(BoltError::Damaged(format!(
                "it should have {} pages of {size} bytes, but has {bytes} bytes in all",
                bolt.pages
            )));
        }
        Ok(bolt)
    }

    /// All keys and values of a bucket, in ascending order; whether there is such a bucket.
    ///
    /// # Errors
    /// The database is damaged, cannot be read, or `each` fails.
    pub fn bucket(&self, name: &[u8], each: Each<'_>) -> Result<bool, BoltError> {
        let mut found = None;
        let mut look = |key: &[u8], value: &[u8]| {
            if key == name {
                found = Some(value.to_vec());
            }
            Ok(())
        };
        self.tree(self.root, &mut Walk { each: &mut look, buckets: true, budget: self.pages }, 0)?;
        let Some(bucket) = found else { return Ok(false) };
        let root = number(&bucket, 0).ok_or_else(|| BoltError::Damaged("a bucket has no beginning".into()))?;
        let mut walk = Walk { each, buckets: false, budget: self.pages };
        match root {
            // A small bucket stands within the value itself.
            0 => self.page(&bucket[BUCKET_HEADER.min(bucket.len())..], &mut walk, 0)?,
            root => self.tree(root, &mut walk, 0)?,
        }
        Ok(true)
    }

    fn tree(&self, id: u64, walk: &mut Walk<'_>, depth: usize) -> Result<(), BoltError> {
        let damaged = |what: &str| BoltError::Damaged(format!("page {id} {what}"));
        walk.budget = walk.budget.checked_sub(1).ok_or_else(|| damaged("is led to more than once"))?;
        if depth > DEEPEST {
            return Err(damaged("lies too deep"));
        }
        let mut header = [0; PAGE_HEADER];
        if id < 2 || id >= self.pages {
            return Err(damaged("is led to, but is not there"));
        }
        self.file.read_exact_at(&mut header, id * self.page_size)?;
        let more = u64::from(u32::from_le_bytes([header[12], header[13], header[14], header[15]]));
        if number(&header, 0) != Some(id) || id + more >= self.pages {
            return Err(damaged("is not what its header says"));
        }
        let bytes = usize::try_from((more + 1) * self.page_size).map_err(|_| damaged("is too large"))?;
        let mut page = vec![0; bytes];
        self.file.read_exact_at(&mut page, id * self.page_size)?;
        self.page(&page, walk, depth)
    }

    fn page(&self, page: &[u8], walk: &mut Walk<'_>, depth: usize) -> Result<(), BoltError> {
        let damaged = || BoltError::Damaged("an element of a page lies outside of it".into());
        let header = page.get(..PAGE_HEADER).ok_or_else(damaged)?;
        let kind = u16::from_le_bytes([header[8], header[9]]);
        let count = usize::from(u16::from_le_bytes([header[10], header[11]]));
        for element in 0..count {
            let start = PAGE_HEADER + element * ELEMENT;
            let word = |at: usize| page.get(start + at..start + at + 4).and_then(|word| word.first_chunk::<4>());
            let word = |at: usize| word(at).map(|word| u32::from_le_bytes(*word)).ok_or_else(damaged);
            match kind {
                // Where its key is does not matter to who visits all children.
                BRANCH => self.tree(number(page, start + 8).ok_or_else(damaged)?, walk, depth + 1)?,
                LEAF => {
                    let [flags, offset, key, value] = [word(0)?, word(4)?, word(8)?, word(12)?];
                    let from = start + offset as usize;
                    let middle = from + key as usize;
                    let key = page.get(from..middle).ok_or_else(damaged)?;
                    let value = page.get(middle..middle + value as usize).ok_or_else(damaged)?;
                    if (flags & BUCKET != 0) == walk.buckets {
                        (walk.each)(key, value)?;
                    }
                }
                kind => return Err(BoltError::Damaged(format!("a page of a bucket has the kind {kind}"))),
            }
        }
        Ok(())
    }
}

/// What a meta page tells.
struct Meta {
    root: u64,
    pages: u64,
    transaction: u64,
}

/// The page size, and the rest; `None` if it is no sound meta page.
fn meta(page: &[u8]) -> Option<(u32, Meta)> {
    let meta = page.get(PAGE_HEADER..PAGE_HEADER + META_BYTES)?;
    let word = |at: usize| Some(u32::from_le_bytes(*meta.get(at..at + 4)?.first_chunk()?));
    let [magic, version, size] = [word(0)?, word(4)?, word(8)?];
    let is_sound = magic == MAGIC && version == VERSION && number(meta, META_BYTES - 8)? == checksum(meta);
    let has_size = size.is_power_of_two() && PAGE_SIZES.contains(&size);
    let [root, pages, transaction] = [number(meta, 16)?, number(meta, 40)?, number(meta, 48)?];
    (is_sound && has_size).then_some((size, Meta { root, pages, transaction }))
}

/// FNV-1a, 64 bits, of everything before the checksum itself.
fn checksum(meta: &[u8]) -> u64 {
    meta[..META_BYTES - 8]
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..at + 8)?.first_chunk()?))
}
