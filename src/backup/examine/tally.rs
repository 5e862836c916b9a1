//! Reading records: counting what is there, and what is wrong.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead};

use sha2::{Digest, Sha256};

use super::{Check, Damage, FileSource, HeaderFacts, Mode};
use crate::amounts::many;
use crate::backup::BackupError;
use crate::backup::hashing::HashingReader;
use crate::backup::stream::{self, StreamError};
use crate::layout::keys::{self, printable};

/// Only the first places of damage are kept: a report of thousands helps nobody.
const MAX_DAMAGE: usize = 10;

/// A key of a backup file.
#[derive(Debug, Clone, Copy)]
pub struct BackupEntry<'a> {
    /// The whole key.
    pub absolute: &'a [u8],
    /// The key without the meta root; the whole key if it is not under it.
    pub relative: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Whether the key is not under the meta root.
    pub foreign: bool,
}

/// How a list of records ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With the data.
    EndOfData,
    /// With an empty record.
    EmptyRecord,
}

/// Where a key stands.
enum Place {
    /// Under the meta root, which takes so many bytes of it.
    Under(usize),
    /// Under a neighbour's root that begins alike.
    Neighbour,
    /// Elsewhere.
    Elsewhere,
}

/// What has been read so far.
pub(super) struct Tally<'e, E> {
    source: &'e FileSource<'e>,
    each: &'e mut dyn FnMut(&BackupEntry) -> Result<(), E>,
    pub(super) header: Option<HeaderFacts>,
    /// Our own files are sorted by key.
    sorted: bool,
    last: Vec<u8>,
    seen: HashSet<[u8; 16]>,
    records: u64,
    pub(super) keys: u64,
    /// Keys of neighbours.
    pub(super) left_out: u64,
    /// Keys that are not under the meta root.
    pub(super) elsewhere: u64,
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) damage: Vec<Damage>,
    pub(super) further_damage: u64,
    undecodable: u64,
    misplaced: u64,
    /// Why reading ended before the end.
    pub(super) stopped: Option<String>,
}

impl<'e, E: From<BackupError>> Tally<'e, E> {
    pub(super) fn new(
        source: &'e FileSource<'e>,
        sorted: bool,
        each: &'e mut dyn FnMut(&BackupEntry) -> Result<(), E>,
    ) -> Self {
        Self {
            source,
            each,
            header: None,
            sorted,
            last: Vec::new(),
            seen: HashSet::new(),
            records: 0,
            keys: 0,
            left_out: 0,
            elsewhere: 0,
            counts: BTreeMap::new(),
            damage: Vec::new(),
            further_damage: 0,
            undecodable: 0,
            misplaced: 0,
            stopped: None,
        }
    }

    /// Reads the header of a stream as our own files and the original tool's have it.
    pub(super) fn read_header(&mut self, from: &mut HashingReader<impl BufRead>) -> Result<(), StreamError> {
        let header = stream::read_header(from)?;
        self.header = Some(HeaderFacts {
            meta_root: header.meta_root,
            entries: header.entries,
            absolute_keys: header.absolute_keys,
            while_running: header.while_running,
        });
        Ok(())
    }

    /// Reads records as far as they go. What keeps a record from being decoded is damage, but the next one may be sound.
    ///
    /// # Errors
    /// The file system refuses, or whoever gets the keys does.
    pub(super) fn read_entries(&mut self, from: &mut HashingReader<impl BufRead>, end: End) -> Result<(), E> {
        loop {
            let offset = from.bytes;
            match stream::read_record(from, stream::MAX_RECORD_BYTES) {
                Ok(None) if end == End::EndOfData => return Ok(()),
                Ok(Some(record)) if record.is_empty() && end == End::EmptyRecord => return Ok(()),
                Ok(None) => {
                    self.records += 1;
                    return self.stop(offset, StreamError::Cut("it ends without the mark that ends the keys".into()));
                }
                Ok(Some(record)) => {
                    self.records += 1;
                    match stream::decode_entry(&record) {
                        Ok(entry) => self.add(&entry.key, &entry.data, offset)?,
                        Err(error) => {
                            self.undecodable += 1;
                            self.fault(offset, error)?;
                        }
                    }
                }
                Err(error) => {
                    self.records += 1;
                    return self.stop(offset, error);
                }
            }
        }
    }

    /// Nothing can be read from here on.
    ///
    /// # Errors
    /// It is the file system that refuses, which says nothing about the file; or nothing may be wrong at all.
    pub(super) fn stop(&mut self, offset: u64, error: StreamError) -> Result<(), E> {
        self.stopped = Some(self.fault(offset, error)?);
        Ok(())
    }

    fn add(&mut self, key: &[u8], value: &[u8], offset: u64) -> Result<(), E> {
        let place = self.place(key);
        let whole;
        let (absolute, relative, foreign) = match place {
            Place::Under(0) => {
                let root = self.header.as_ref().map(|header| header.meta_root.as_str()).unwrap_or_default();
                whole = [root.as_bytes(), b"/", key].concat();
                (&*whole, key, false)
            }
            Place::Under(root) => (key, &key[root..], false),
            Place::Neighbour | Place::Elsewhere => (key, key, true),
        };
        if matches!(place, Place::Elsewhere) {
            self.elsewhere += 1;
            if self.source.mode == Mode::Refuse {
                let root = self.header.as_ref().map(|header| header.meta_root.as_str()).unwrap_or_default();
                let what = format!("the key {} is not under its meta root {root}", printable(key));
                return Err(self.source.damaged(what).into());
            }
        }
        if !self.is_in_place(absolute) {
            self.misplaced += 1;
            self.note(offset, format!("the key {} occurs twice or out of order", printable(relative)))?;
        }
        if matches!(place, Place::Neighbour) {
            self.left_out += 1;
        } else {
            self.keys += 1;
            keys::count(&mut self.counts, relative);
        }
        (self.each)(&BackupEntry { absolute, relative, value, foreign })
    }

    /// Where a key of the file stands; the root takes nothing of it where keys are relative.
    fn place(&mut self, key: &[u8]) -> Place {
        let first = self.keys + self.left_out == 0;
        let Some(header) = &mut self.header else { return Place::Elsewhere };
        if !header.absolute_keys {
            return Place::Under(0);
        }
        if first && !self.sorted && key.starts_with(b"/") && !header.meta_root.starts_with('/') {
            // The original tool takes the root path apart with strings.Split and joins it with path.Join, which loses the slash.
            header.meta_root.insert(0, '/');
        }
        match key.strip_prefix(header.meta_root.as_bytes()) {
            Some([b'/', ..]) => Place::Under(header.meta_root.len() + 1),
            Some(_) if !self.sorted => Place::Neighbour,
            _ => Place::Elsewhere,
        }
    }

    fn is_in_place(&mut self, key: &[u8]) -> bool {
        if self.sorted {
            let in_place = self.keys == 0 || *self.last < *key;
            key.clone_into(&mut self.last);
            return in_place;
        }
        // Half of a SHA-256 in place of the key: files of any order may hold very many keys.
        let mut short = [0; 16];
        short.copy_from_slice(&Sha256::digest(key)[..16]);
        self.seen.insert(short)
    }

    /// Notes what keeps a record from being read, and gives it in words.
    ///
    /// # Errors
    /// It is the file system that refuses; or nothing may be wrong.
    fn fault(&mut self, offset: u64, error: StreamError) -> Result<String, E> {
        let path = self.source.path;
        let cut = matches!(&error, StreamError::Cut(_))
            || matches!(&error, StreamError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof);
        let what = describe(error, self.source)?;
        if self.source.mode == Mode::GoOn {
            self.note(offset, what.clone())?;
            return Ok(what);
        }
        let what = format!("{what} (after {} keys)", self.keys);
        let path = path.to_owned();
        Err(if cut { BackupError::Cut { path, what } } else { BackupError::Damaged { path, what } }.into())
    }

    /// Notes damage.
    ///
    /// # Errors
    /// Nothing may be wrong.
    fn note(&mut self, data_offset: u64, what: String) -> Result<(), E> {
        if self.source.mode == Mode::Refuse {
            return Err(self.source.damaged(what).into());
        }
        if self.damage.len() == MAX_DAMAGE {
            self.further_damage += 1;
        } else {
            self.damage.push(Damage { record: self.records, data_offset, file_offset: None, what });
        }
        Ok(())
    }

    /// Where in a compressed file reading stopped.
    pub(super) fn stopped_at(&mut self, file_offset: u64) {
        if self.stopped.is_some()
            && let Some(last) = self.damage.last_mut()
        {
            last.file_offset = Some(file_offset);
        }
    }

    /// Whether all records could be read.
    pub(super) fn check_records(&self, what: &str) -> Check {
        match (&self.stopped, self.undecodable) {
            (Some(why), _) => Check::failed(what, format!("{why} (record {})", self.records)),
            (None, 0) => Check::sound(what),
            (None, undecodable) => {
                Check::failed(what, many(undecodable, "record does not decode", "records do not decode"))
            }
        }
    }

    /// Whether there are as many keys as the header says.
    ///
    /// # Errors
    /// There are not, and nothing may be wrong.
    pub(super) fn check_number(&self, what: &str) -> Result<Check, E> {
        let Some(header) = &self.header else { return Ok(Check::not_checked(what, "the header cannot be read")) };
        let detail = self.counted(header.entries)?;
        Ok(Check::of(what, detail))
    }

    /// What is wrong with a number of keys that the file announces.
    ///
    /// # Errors
    /// There are more or fewer, and nothing may be wrong.
    pub(super) fn counted(&self, announced: i64) -> Result<Option<String>, E> {
        let found = self.keys + self.left_out;
        match u64::try_from(announced) == Ok(found) {
            true => Ok(None),
            false if self.source.mode == Mode::GoOn => Ok(Some(format!("{found} instead of {announced}"))),
            false => Err(BackupError::Count { path: self.source.path.to_owned(), announced, found }.into()),
        }
    }

    /// Whether the keys are where they should be.
    pub(super) fn check_places(&self, what: &str) -> Check {
        self.check_keys(what, self.misplaced)
    }

    /// Whether all keys are under the meta root.
    pub(super) fn check_root(&self, what: &str) -> Check {
        self.check_keys(what, self.elsewhere)
    }

    fn check_keys(&self, what: &str, wrong: u64) -> Check {
        if self.keys == 0 && self.stopped.is_some() {
            return Check::not_checked(what, "no key can be read");
        }
        Check::of(what, (wrong > 0).then(|| many(wrong, "key is not", "keys are not")))
    }
}

/// What an error says of the file.
///
/// # Errors
/// It says nothing of the file: the file system refuses.
pub(super) fn describe(error: StreamError, source: &FileSource) -> Result<String, BackupError> {
    Ok(match error {
        StreamError::Cut(what) | StreamError::Bad(what) => what,
        StreamError::Version(version) => format!("its header has format version {version}; this tool reads version 0"),
        StreamError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it ends within its compressed data".into()
        }
        // Errors of the file system have a number; those of the decompressors have none.
        StreamError::Io(error) if error.raw_os_error().is_none() => {
            format!("its compressed data cannot be unpacked ({error})")
        }
        StreamError::Io(error) => return Err(BackupError::io("read", source.path)(error)),
    })
}
