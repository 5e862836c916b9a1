//! A backup as JSON lines, for other tools: `{"key":…,"key_b64":…,"value_b64":…}` for each key.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tempfile::NamedTempFile;

use super::examine::BackupEntry;
use crate::layout::keys::printable;

#[derive(Serialize)]
struct Line {
    /// For people: bytes that are no text are escaped.
    key: String,
    key_b64: String,
    value_b64: String,
}

/// Writes a key as a line of JSON; keys are absolute.
///
/// # Errors
/// It cannot be written.
pub fn write_line(to: &mut impl Write, record: &BackupEntry) -> io::Result<()> {
    let line = Line {
        key: printable(record.absolute),
        key_b64: STANDARD.encode(record.absolute),
        value_b64: STANDARD.encode(record.value),
    };
    serde_json::to_writer(&mut *to, &line)?;
    to.write_all(b"\n")
}

/// A file of JSON lines that is being written. Dropped without [`Export::finish`], it leaves nothing behind.
pub struct Export {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl Export {
    /// Begins `<folder>/<name of the backup>.jsonl`. Only its owner may read it, for it holds password hashes.
    ///
    /// # Errors
    /// There is such a file already, or the folder cannot be written to.
    pub fn create(folder: &Path, backup: &Path) -> Result<Self> {
        let mut name = backup.file_name().context("the backup file has no name")?.to_owned();
        name.push(".jsonl");
        let path = folder.join(name);
        if fs::symlink_metadata(&path).is_ok() {
            bail!("{} is there already: move it away, or export to another folder", path.display());
        }
        // Such files have mode 0600.
        let file = NamedTempFile::new_in(folder).with_context(|| {
            format!("cannot write to {}: is it a folder that is there and belongs to this user?", folder.display())
        })?;
        Ok(Self { path, file: BufWriter::new(file) })
    }

    /// Adds a key.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, record: &BackupEntry) -> Result<()> {
        write_line(&mut self.file, record).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Gives the file its name, and returns it.
    ///
    /// # Errors
    /// The file cannot be written, or another has taken its name meanwhile.
    pub fn finish(self) -> Result<PathBuf> {
        let failed = || format!("cannot write {}", self.path.display());
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error).with_context(failed)?;
        file.as_file().sync_all().with_context(failed)?;
        file.persist_noclobber(&self.path).with_context(failed)?;
        Ok(self.path)
    }
}
