//! Reading a backup to restore it: all of it is checked before anybody sees a single key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::examine::{BackupEntry, Examination, FileFormat, Mode, walk};
use super::{BackupError, Manifest};

/// Who wrote a backup file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// This tool; the manifest tells the rest.
    Ours(Box<Manifest>),
    /// The original tool.
    Legacy,
}

/// A backup file that has been read and checked as a whole.
#[derive(Debug, Clone)]
pub struct Backup {
    /// Where it is.
    pub path: PathBuf,
    /// Who wrote it.
    pub format: Format,
    /// The meta root that it was made of, without a slash at the end.
    pub meta_root: String,
    /// Whether it was made while Milvus may have been running: a look at one moment, and no way back.
    pub while_running: bool,
    /// Number of keys.
    pub keys: u64,
    /// Number of keys by prefix.
    pub counts: BTreeMap<String, u64>,
    /// Number of keys in the file that are not under its meta root and were not handed over: the original tool forgot the slash
    /// behind `by-dev/meta` and took `by-dev/meta2/…` along.
    pub left_out: u64,
}

impl Backup {
    /// Reads a backup file to its end and checks all that can be checked, handing each key (relative to the meta root) and value
    /// to `each`. What was handed over is worth nothing if this fails.
    ///
    /// # Errors
    /// The file is missing, is no backup, is cut off, damaged, or does not hold what it says.
    pub fn read(path: &Path, mut each: impl FnMut(&[u8], &[u8])) -> Result<Self, BackupError> {
        let examination = walk(path, Mode::Refuse, &mut |record: &BackupEntry| {
            if !record.foreign {
                each(record.relative, record.value);
            }
            Ok::<_, BackupError>(())
        })?;
        Self::of(examination)
    }

    /// Reads and checks a backup file without keeping anything of it.
    ///
    /// # Errors
    /// As [`Backup::read`].
    pub fn check(path: &Path) -> Result<Self, BackupError> {
        Self::of(walk(path, Mode::Refuse, &mut |_| Ok::<_, BackupError>(()))?)
    }

    fn of(examination: Examination) -> Result<Self, BackupError> {
        let Examination { path, format, header, manifest, while_running, keys, counts, left_out, .. } = examination;
        let no_backup = |why: &str| BackupError::NoBackup { path: path.clone(), why: why.into() };
        let format = match (format, manifest) {
            (FileFormat::MetaMigration, Some(manifest)) => Format::Ours(Box::new(manifest)),
            (FileFormat::Legacy, _) => Format::Legacy,
            (FileFormat::BirdwatcherV1 | FileFormat::BirdwatcherV2, _) => {
                return Err(no_backup("it is one of Birdwatcher; restore it with Birdwatcher"));
            }
            (FileFormat::MetaMigration, None) => return Err(no_backup("it has no manifest")),
        };
        let Some(header) = header else { return Err(no_backup("it has no header")) };
        Ok(Self { path, format, meta_root: header.meta_root, while_running, keys, counts, left_out })
    }
}
