//! The one reader of backup files, ours, the original tool's and Birdwatcher's.
//!
//! It has one opinion of what is sound and two manners: a restore refuses a file at the first thing that is wrong with it
//! ([`super::Backup::read`]), looking into a file goes as far as can be read and lists what is wrong ([`examine`]).

mod birdwatcher;
mod legacy;
mod ours;
mod tally;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::{BackupError, Manifest};
pub use tally::BackupEntry;
use tally::Tally;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];

/// What to do at the first thing that is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Fail: nothing of such a file may be restored.
    Refuse,
    /// Note it, and read on where that is possible.
    GoOn,
}

/// Everything that is known of a backup file.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Examination {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub file_bytes: u64,
    /// Who wrote it.
    pub format: FileFormat,
    /// Whether every check has passed.
    pub sound: bool,
    /// Whether it was made while Milvus may have been running: a look at one moment, and no way back.
    pub while_running: bool,
    /// The header of the data, if that could be read.
    pub header: Option<HeaderFacts>,
    /// The manifest, if the file has one and it could be read.
    pub manifest: Option<Manifest>,
    /// What was checked, and how it turned out.
    pub checks: Vec<Check>,
    /// Where the file is damaged, in its order; the first few places.
    pub damage: Vec<Damage>,
    /// Number of places beyond those in `damage`.
    pub further_damage: u64,
    /// Number of keys that could be read.
    pub keys: u64,
    /// Number of keys besides, which are not under the meta root and which a restore leaves out: the original tool took
    /// `by-dev/meta2/…` along with `by-dev/meta`.
    pub left_out: u64,
    /// Size of the data that could be read, uncompressed.
    pub data_bytes: u64,
    /// Number of readable keys by prefix.
    pub counts: BTreeMap<String, u64>,
    /// Number of keys that should be there and could not be read.
    pub lost_keys: Option<u64>,
    /// The same by prefix, if the manifest tells.
    pub lost: BTreeMap<String, u64>,
    /// Whether the data could be read to its end and matches the checksum of its compression: what was read is as it was written.
    pub data_checksum_matches: bool,
    /// What is good to know.
    pub notes: Vec<String>,
}

/// Who wrote a backup file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    /// This tool.
    MetaMigration,
    /// The original tool.
    Legacy,
    /// Birdwatcher, the first version of its format.
    BirdwatcherV1,
    /// Birdwatcher, the second version of its format.
    BirdwatcherV2,
}

/// What the header of the data says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HeaderFacts {
    /// The meta root, without a slash at the end.
    pub meta_root: String,
    /// Number of keys that should follow.
    pub entries: i64,
    /// Whether the keys in the file begin with the meta root.
    pub absolute_keys: bool,
    /// Whether the header says that Milvus may have been running.
    pub while_running: bool,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Check {
    /// What should hold.
    pub what: String,
    /// Whether it does.
    pub verdict: Verdict,
    /// What was found instead, or why it could not be checked.
    pub detail: Option<String>,
}

/// How a check turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Sound,
    /// It does not.
    Failed,
    /// Damage elsewhere keeps it from being checked.
    NotChecked,
}

/// A place where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Damage {
    /// Number of the record, from 1; the header is record 0.
    pub record: u64,
    /// Where the record begins in the uncompressed data.
    pub data_offset: u64,
    /// How far the file itself was read, if it is compressed: the damage is there or shortly before.
    pub file_offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// Reads a backup file as far as it can be read, handing every key and value to `each`.
///
/// # Errors
/// There is no file, the file system refuses, it is no backup at all or one of a later version, or `each` fails.
pub fn examine(path: &Path, each: &mut dyn FnMut(&BackupEntry) -> Result<()>) -> Result<Examination> {
    walk(path, Mode::GoOn, each)
}

/// Reads a backup file. In [`Mode::Refuse`], what comes back is sound.
///
/// # Errors
/// As [`examine`]; in [`Mode::Refuse`] also whatever is wrong with the file.
pub(super) fn walk<E: From<BackupError>>(
    path: &Path,
    mode: Mode,
    each: &mut dyn FnMut(&BackupEntry) -> Result<(), E>,
) -> Result<Examination, E> {
    super::regular(path)?;
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => BackupError::Missing(path.to_owned()),
        _ => BackupError::Io { action: "open the backup file", path: path.to_owned(), cause: source },
    })?;
    let file_bytes = file.metadata().map_err(BackupError::io("look at", path))?.len();
    let mut reader = BufReader::with_capacity(1 << 17, file);
    let start = reader.fill_buf().map_err(BackupError::io("read", path))?;
    if start.is_empty() {
        return Err(BackupError::Empty(path.to_owned()).into());
    }
    let source = FileSource { path, file_bytes, mode };
    if start.starts_with(&GZIP_MAGIC) {
        birdwatcher::read(&source, reader, each)
    } else if start.starts_with(&ZSTD_MAGIC) || (mode == Mode::GoOn && ours::has_manifest_at_end(&source)?) {
        ours::read(&source, reader, each)
    } else {
        legacy::read(&source, reader, each)
    }
}

/// The file that is being read.
struct FileSource<'a> {
    path: &'a Path,
    file_bytes: u64,
    mode: Mode,
}

impl FileSource<'_> {
    fn no_backup(&self, why: impl Into<String>) -> BackupError {
        BackupError::NoBackup { path: self.path.to_owned(), why: why.into() }
    }

    fn damaged(&self, what: impl Into<String>) -> BackupError {
        BackupError::Damaged { path: self.path.to_owned(), what: what.into() }
    }

    /// How much a decompressor is asked for at a time.
    fn sips<R>(&self, decoder: R) -> Sips<R> {
        // What it has unpacked in the same call as it meets the damage is lost, so somebody who goes on asks for little.
        let most = if self.mode == Mode::GoOn { 256 } else { usize::MAX };
        Sips { decoder, most }
    }

    fn conclude<E: From<BackupError>>(
        &self,
        format: FileFormat,
        data_bytes: u64,
        tally: Tally<E>,
        checks: Vec<Check>,
    ) -> Examination {
        let there = tally.keys + tally.left_out;
        let announced = tally.header.as_ref().and_then(|header| u64::try_from(header.entries).ok());
        let while_running = tally.header.as_ref().is_some_and(|header| header.while_running);
        Examination {
            path: self.path.to_owned(),
            file_bytes: self.file_bytes,
            format,
            sound: checks.iter().all(|check| check.verdict == Verdict::Sound),
            while_running,
            header: tally.header,
            manifest: None,
            checks,
            damage: tally.damage,
            further_damage: tally.further_damage,
            keys: tally.keys,
            left_out: tally.left_out,
            data_bytes,
            counts: tally.counts,
            lost_keys: announced.map(|announced| announced.saturating_sub(there)),
            lost: BTreeMap::new(),
            data_checksum_matches: false,
            notes: Vec::new(),
        }
    }
}

impl Check {
    fn new(what: impl Into<String>, verdict: Verdict, detail: Option<String>) -> Self {
        Self { what: what.into(), verdict, detail }
    }

    fn sound(what: impl Into<String>) -> Self {
        Self::new(what, Verdict::Sound, None)
    }

    fn failed(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(what, Verdict::Failed, Some(detail.into()))
    }

    fn not_checked(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(what, Verdict::NotChecked, Some(why.into()))
    }

    /// Sound, or failed with what was found.
    fn of(what: impl Into<String>, problem: Option<String>) -> Self {
        match problem {
            None => Self::sound(what),
            Some(problem) => Self::failed(what, problem),
        }
    }
}

/// Asks a decompressor for so many bytes at most at a time.
struct Sips<R> {
    decoder: R,
    most: usize,
}

impl<R: Read> Read for Sips<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let sip = into.len().min(self.most);
        self.decoder.read(&mut into[..sip])
    }
}

#[cfg(test)]
mod tests;
