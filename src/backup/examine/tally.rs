//! Reading records that may be damaged: counting what is there, and what is wrong.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::{Check, Damage, HeaderFacts};
use crate::backup::read::HashingReader;
use crate::backup::stream::{self, StreamError};
use crate::layout::keys::{self, printable};

/// Only the first places of damage are kept: a report of thousands helps nobody.
const MAX_DAMAGE: usize = 10;

/// A key of a backup file.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The whole key.
    pub absolute: &'a [u8],
    /// The key without the meta root; the whole key if it is not under it.
    pub relative: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

/// How a list of records ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With the data.
    EndOfData,
    /// With an empty record.
    EmptyRecord,
}

/// What has been read so far.
pub(super) struct Tally<'e> {
    each: &'e mut dyn FnMut(&Record) -> Result<()>,
    pub(super) header: Option<HeaderFacts>,
    /// Our own files are sorted by key.
    sorted: bool,
    last: Vec<u8>,
    seen: HashSet<[u8; 16]>,
    records: u64,
    pub(super) keys: u64,
    pub(super) foreign_keys: u64,
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) damage: Vec<Damage>,
    pub(super) further_damage: u64,
    undecodable: u64,
    misplaced: u64,
    /// Why reading ended before the end.
    pub(super) stopped: Option<String>,
}

impl<'e> Tally<'e> {
    pub(super) fn new(sorted: bool, each: &'e mut dyn FnMut(&Record) -> Result<()>) -> Self {
        Self {
            each,
            header: None,
            sorted,
            last: Vec::new(),
            seen: HashSet::new(),
            records: 0,
            keys: 0,
            foreign_keys: 0,
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
    pub(super) fn read_entries(&mut self, from: &mut HashingReader<impl BufRead>, end: End) -> Result<()> {
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
                            self.note_damage(offset, describe(error)?);
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
    /// It is the file system that refuses, which says nothing about the file.
    pub(super) fn stop(&mut self, offset: u64, error: StreamError) -> Result<()> {
        let what = describe(error)?;
        self.stopped = Some(what.clone());
        self.note_damage(offset, what);
        Ok(())
    }

    fn add(&mut self, key: &[u8], value: &[u8], offset: u64) -> Result<()> {
        let root = self.header.as_ref().map(|header| format!("{}/", header.meta_root)).unwrap_or_default();
        let is_absolute = self.header.as_ref().is_none_or(|header| header.absolute_keys);
        let whole;
        let (absolute, relative) = if is_absolute {
            (key, key.strip_prefix(root.as_bytes()).unwrap_or(key))
        } else {
            whole = [root.as_bytes(), key].concat();
            (&*whole, key)
        };
        if is_absolute && !key.starts_with(root.as_bytes()) {
            self.foreign_keys += 1;
        }
        if !self.is_in_place(absolute) {
            self.misplaced += 1;
            self.note_damage(offset, format!("the key {} occurs twice or out of order", printable(relative)));
        }
        self.keys += 1;
        keys::count(&mut self.counts, relative);
        (self.each)(&Record { absolute, relative, value })
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

    fn note_damage(&mut self, data_offset: u64, what: String) {
        if self.damage.len() == MAX_DAMAGE {
            self.further_damage += 1;
            return;
        }
        self.damage.push(Damage { record: self.records, data_offset, file_offset: None, what });
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
            (None, undecodable) => Check::failed(what, format!("{undecodable} record(s) do not decode")),
        }
    }

    /// Whether there are as many keys as the header says.
    pub(super) fn check_number(&self, what: &str) -> Check {
        match &self.header {
            None => Check::not_checked(what, "the header cannot be read"),
            Some(header) if u64::try_from(header.entries) == Ok(self.keys) => Check::sound(what),
            Some(header) => Check::failed(what, format!("{} instead of {}", self.keys, header.entries)),
        }
    }

    /// Whether the keys are where they should be.
    pub(super) fn check_places(&self, what: &str) -> Check {
        if self.keys == 0 && self.stopped.is_some() {
            return Check::not_checked(what, "no key can be read");
        }
        let misplaced = (self.misplaced > 0).then(|| format!("{} key(s) are not", self.misplaced));
        Check::of(what, misplaced)
    }

    /// Whether all keys are under the meta root.
    pub(super) fn check_root(&self, what: &str) -> Check {
        if self.keys == 0 && self.stopped.is_some() {
            return Check::not_checked(what, "no key can be read");
        }
        let foreign = (self.foreign_keys > 0).then(|| format!("{} key(s) are not", self.foreign_keys));
        Check::of(what, foreign)
    }
}

/// What an error says of the file.
///
/// # Errors
/// It says nothing of the file: the file system refuses.
pub(super) fn describe(error: StreamError) -> Result<String> {
    Ok(match error {
        StreamError::Cut(what) | StreamError::Bad(what) => what,
        StreamError::Version(version) => format!("its header has version {version}; this tool reads version 0"),
        StreamError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it ends within its compressed data".into()
        }
        // Errors of the file system have a number; those of the decompressors have none.
        StreamError::Io(error) if error.raw_os_error().is_none() => {
            format!("its compressed data cannot be unpacked ({error})")
        }
        StreamError::Io(error) => return Err(error).context("cannot read the backup file"),
    })
}
