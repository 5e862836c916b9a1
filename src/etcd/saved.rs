//! A file of `etcdctl snapshot save`: etcd's database with a SHA-256 behind it. Read without an etcd.
//!
//! The database's bucket `key` has every change of every key since the last compaction, by revision: 8 bytes of the revision, `_`,
//! 8 bytes of its place in the transaction (both big endian), and `t` behind that where the key was deleted. The value is an
//! mvccpb.KeyValue. Walking it from end to end, with the last change of each key kept, gives what there was when it was saved. Of
//! the values only those under the prefix that is asked for are kept, so an etcd of many GB needs no more memory than reading it live.

mod bolt;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::Entry;
use bolt::{Bolt, BoltError};

/// The database is a whole number of these, whatever its page size.
const SECTOR: u64 = 512;
const SHA256_BYTES: u64 = 32;
const REVISION_BYTES: usize = 17;
const DELETED: u8 = b't';
const CHUNK: usize = 1 << 20;

/// Why a file is not read.
#[derive(Debug, Error)]
pub enum SavedError {
    /// The file system refuses.
    #[error("cannot read the snapshot {}: {cause}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It is something else.
    #[error("{} is no file of `etcdctl snapshot save`: {why}", path.display())]
    NoSnapshot {
        /// Which file.
        path: PathBuf,
        /// What it looks like instead.
        why: String,
    },
    /// It has no checksum at its end, or not all of one.
    #[error(
        "{} has no checksum at its end: it was cut off, or it is a copy of a member's own database (member/snap/db), which may be caught \
         in the middle of a change. Take one with `etcdctl snapshot save`, or use another copy",
        .0.display()
    )]
    NoChecksum(PathBuf),
    /// What is in it is not what was saved.
    #[error("{} is damaged: {what}. Use another copy, or take another with `etcdctl snapshot save`", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// What a snapshot holds under a prefix.
#[derive(Debug)]
pub struct Saved {
    /// Keys that begin with the prefix, with their values, in ascending order.
    pub entries: BTreeMap<Bytes, Entry>,
    /// The newest revision.
    pub revision: i64,
    /// Other places at which keys are that were asked about, with the number of keys.
    pub elsewhere: BTreeMap<String, usize>,
}

impl Saved {
    /// Reads a snapshot, its checksum first. Of keys that do not begin with `prefix`, `place` says where they belong, if that matters.
    /// `go_on` is asked from time to time with the bytes of the file that were read since.
    ///
    /// # Errors
    /// It is no snapshot, cut off, damaged or cannot be read, or `go_on` refuses; then nothing is known of what it holds.
    pub fn read<E: From<SavedError>>(
        path: &Path,
        prefix: &[u8],
        place: impl Fn(&[u8]) -> Option<String>,
        mut go_on: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Self, E> {
        let (bolt, bytes) = open(path, &mut go_on)?;
        let mut gathering =
            Gathering { prefix, place, entries: BTreeMap::new(), elsewhere: HashMap::new(), last: None };
        let mut refusal = None;
        // The walk counts what it decodes; pages besides are few.
        let mut walked = 0;
        let mut each = |key: &[u8], value: &[u8]| {
            gathering.take(key, value).map_err(BoltError::Damaged)?;
            walked += (key.len() + value.len()) as u64;
            if walked >= CHUNK as u64 {
                go_on(std::mem::take(&mut walked)).map_err(|stopped| {
                    refusal = Some(stopped);
                    BoltError::Other
                })?;
            }
            Ok(())
        };
        let walk = bolt.bucket(b"key", &mut each);
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let failed = |error| in_words(path, error);
        if !walk.map_err(failed)? {
            return Err(failed(BoltError::Damaged("it has no bucket `key`".into())).into());
        }
        let compacted = compacted(&bolt).map_err(failed)?;
        tracing::debug!("{} holds {} keys under the prefix, {bytes} bytes", path.display(), gathering.entries.len());
        Ok(gathering.finish(compacted))
    }
}

/// Checks the file as a whole, and opens the database in it.
fn open<E: From<SavedError>>(path: &Path, go_on: &mut impl FnMut(u64) -> Result<(), E>) -> Result<(Bolt, u64), E> {
    let io = |cause| SavedError::Io { path: path.to_owned(), cause };
    let no_snapshot = |why: &str| SavedError::NoSnapshot { path: path.to_owned(), why: why.to_owned() };
    // Asked before it is opened: opening a FIFO waits for somebody at its other end.
    let told = std::fs::metadata(path).map_err(io)?;
    if !told.is_file() {
        return Err(no_snapshot("it is no regular file").into());
    }
    let size = told.len();
    if size == 0 {
        return Err(no_snapshot("it is empty").into());
    }
    let file = File::open(path).map_err(io)?;
    let bytes = size.saturating_sub(SHA256_BYTES);
    // What it is comes before whether it is whole.
    let bolt = match Bolt::open(file.try_clone().map_err(io)?, size) {
        Err(BoltError::Other) => {
            return Err(no_snapshot(
                "it does not begin as a database of etcd does. A backup of this tool, of the original tool or of Birdwatcher is for \
                 --from-backup and `inspect`",
            )
            .into());
        }
        Err(BoltError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(no_snapshot("it is too short for one").into());
        }
        Err(BoltError::Damaged(_)) if size % SECTOR != SHA256_BYTES => {
            return Err(SavedError::NoChecksum(path.to_owned()).into());
        }
        opened => opened.map_err(|error| in_words(path, error))?,
    };
    if size % SECTOR != SHA256_BYTES {
        return Err(SavedError::NoChecksum(path.to_owned()).into());
    }
    check(path, &file, bytes, go_on)?;
    Ok((bolt, bytes))
}

/// Holds the database against the checksum behind it.
fn check<E: From<SavedError>>(
    path: &Path,
    file: &File,
    bytes: u64,
    go_on: &mut impl FnMut(u64) -> Result<(), E>,
) -> Result<(), E> {
    let io = |cause| SavedError::Io { path: path.to_owned(), cause };
    let mut reader = BufReader::new(file);
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let part = &mut chunk[..usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
        reader.read_exact(part).map_err(io)?;
        hash.update(&*part);
        left -= part.len() as u64;
        go_on(part.len() as u64)?;
    }
    let mut told = [0; SHA256_BYTES as usize];
    reader.read_exact(&mut told).map_err(io)?;
    if hash.finalize().as_slice() != told {
        let what = "its data do not match the checksum at its end".to_owned();
        return Err(SavedError::Damaged { path: path.to_owned(), what }.into());
    }
    Ok(())
}

/// The revision up to which old values were dropped: after compacting, the newest changes may be among them.
fn compacted(bolt: &Bolt) -> Result<i64, BoltError> {
    let mut newest = 0;
    bolt.bucket(b"meta", &mut |key, value| {
        if matches!(key, b"scheduledCompactRev" | b"finishedCompactRev") {
            newest = newest.max(value.first_chunk().map_or(0, |revision| i64::from_be_bytes(*revision)));
        }
        Ok(())
    })?;
    Ok(newest)
}

fn in_words(path: &Path, error: BoltError) -> SavedError {
    let path = path.to_owned();
    match error {
        BoltError::Io(cause) => SavedError::Io { path, cause },
        other => SavedError::Damaged { path, what: other.to_string() },
    }
}

/// A change of a key: mvccpb.KeyValue, as far as it is of interest. Of a deletion there is only the key.
#[derive(Clone, PartialEq, Message)]
struct SavedChange {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(int64, tag = "3")]
    mod_revision: i64,
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
    #[prost(int64, tag = "6")]
    lease: i64,
}

/// The last change of each key so far.
struct Gathering<'a, P> {
    prefix: &'a [u8],
    place: P,
    entries: BTreeMap<Bytes, Entry>,
    /// Hashes of the keys in other places: only their number is told.
    elsewhere: HashMap<String, HashSet<u64>>,
    /// The revision so far, with the place in its transaction.
    last: Option<(i64, i64)>,
}

impl<P: Fn(&[u8]) -> Option<String>> Gathering<'_, P> {
    fn take(&mut self, revision: &[u8], value: &[u8]) -> Result<(), String> {
        let (at, is_deleted) = parse(revision).ok_or_else(|| format!("{} is no revision", revision.escape_ascii()))?;
        if self.last.is_some_and(|last| last >= at) {
            return Err(format!("revision {} does not come after the one before it", at.0));
        }
        self.last = Some(at);
        let kv = SavedChange::decode(value)
            .map_err(|error| format!("the change of revision {} does not decode ({error})", at.0))?;
        if !kv.key.starts_with(self.prefix) {
            self.count(&kv.key, is_deleted);
        } else if is_deleted {
            self.entries.remove(&*kv.key);
        } else {
            let SavedChange { key, mod_revision, value, lease } = kv;
            self.entries.insert(key.clone(), Entry { key, value, mod_revision, lease });
        }
        Ok(())
    }

    fn count(&mut self, key: &[u8], is_deleted: bool) {
        let Some(place) = (self.place)(key) else { return };
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let keys = self.elsewhere.entry(place).or_default();
        if is_deleted {
            keys.remove(&hasher.finish());
        } else {
            keys.insert(hasher.finish());
        }
    }

    fn finish(self, compacted: i64) -> Saved {
        let elsewhere = self.elsewhere.into_iter().map(|(place, keys)| (place, keys.len()));
        Saved {
            entries: self.entries,
            revision: self.last.map_or(0, |(revision, _)| revision).max(compacted),
            elsewhere: elsewhere.filter(|(_, keys)| *keys > 0).collect(),
        }
    }
}

/// Revision, place in its transaction, and whether the key was deleted.
fn parse(revision: &[u8]) -> Option<((i64, i64), bool)> {
    let is_deleted = match revision.len().checked_sub(REVISION_BYTES)? {
        0 => false,
        1 if revision[REVISION_BYTES] == DELETED => true,
        _ => return None,
    };
    let number = |at: usize| Some(i64::from_be_bytes(*revision.get(at..at + 8)?.first_chunk()?));
    (revision[8] == b'_').then_some(((number(0)?, number(9)?), is_deleted))
}
