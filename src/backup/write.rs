//! Writing a backup: aside, synced, checked, then renamed. Memory does not grow with the metadata.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zstd::stream::write::Encoder;

use super::manifest::{format_version, hex};
use super::partial::Partial;
use super::{Backup, BackupError, Format, Manifest, folder_of, stream};
use crate::layout::keys;
use crate::layout::{Found, join_root};

/// Level 3 would save 1 % of the file and take half as long again (docs/performance.md).
pub(super) const ZSTD_LEVEL: i32 = 1;

/// What the manifest says of a backup beyond what the writer counts itself.
#[derive(Debug, Clone)]
pub struct Origin {
    /// When, RFC 3339, UTC.
    pub created: String,
    /// Root path, such as `by-dev`.
    pub root_path: String,
    /// Meta sub-path, such as `meta`.
    pub meta_sub_path: String,
    /// ID of the etcd cluster.
    pub etcd_cluster_id: u64,
    /// The revision at which all keys are read.
    pub etcd_revision: i64,
    /// The Milvus version that the metadata is said to be of.
    pub source_version: Option<String>,
    /// Whether it is made without the lock, while Milvus may be running.
    pub while_running: bool,
}

/// A finished backup.
#[derive(Debug, Clone)]
pub struct Written {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
    /// Size of the file.
    pub file_bytes: u64,
    /// Where the file went that was at the path before.
    pub moved: Option<PathBuf>,
}

/// A backup that is being written. Dropped without [`Writer::finish`], it leaves nothing behind.
pub struct Writer {
    path: PathBuf,
    partial: Partial,
    encoder: Encoder<'static, Hashing>,
    stream_hash: Sha256,
    stream_bytes: u64,
    meta_root: String,
    origin: Origin,
    keys: u64,
    counts: BTreeMap<String, u64>,
}

impl Writer {
    /// Begins a backup of `entries` keys at `path`: a file beside it, with the name `<path>.partial`.
    ///
    /// # Errors
    /// The folder does not exist, is not writable or is full.
    pub fn create(path: &Path, origin: Origin, entries: u64) -> Result<Self, BackupError> {
        super::regular(path)?;
        if path.is_dir() {
            let source = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(BackupError::Io { action: "write the backup file", path: path.to_owned(), cause: source });
        }
        let (partial, file) = Partial::create(beside(path, "partial"))?;
        let encoder = Self::encoder(file).map_err(BackupError::io("write", partial.path()))?;
        let mut writer = Self {
            path: path.to_owned(),
            partial,
            encoder,
            stream_hash: Sha256::new(),
            stream_bytes: 0,
            meta_root: join_root(&origin.root_path, &origin.meta_sub_path),
            origin,
            keys: 0,
            counts: BTreeMap::new(),
        };
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        let Origin { root_path, meta_sub_path, while_running, .. } = &writer.origin;
        let header = stream::encode_header(root_path, meta_sub_path, entries, *while_running);
        writer.write(&header)?;
        Ok(writer)
    }

    fn encoder(file: File) -> io::Result<Encoder<'static, Hashing>> {
        let mut encoder =
            Encoder::new(Hashing { inner: BufWriter::new(file), hash: Sha256::new(), bytes: 0 }, ZSTD_LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(encoder)
    }

    /// Adds a key. `relative` is the key without the meta root.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, relative: &[u8], value: &[u8]) -> Result<(), BackupError> {
        let key = [self.meta_root.as_bytes(), b"/", relative].concat();
        self.write(&stream::encode_entry(key, value.to_vec()))?;
        self.keys += 1;
        keys::count(&mut self.counts, relative);
        Ok(())
    }

    /// Gives it another name than it was begun with.
    pub fn name(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Number of keys so far.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Ends the backup and puts it in its place. A file that is there already is moved to a numbered name, never overwritten.
    ///
    /// # Errors
    /// The file cannot be written, synced or renamed, or holds another number of keys than was announced.
    pub fn finish(self, layout: Found) -> Result<Written, BackupError> {
        let partial = &self.partial;
        let failed = |action| BackupError::io(action, partial.path());
        let hashing = self.encoder.finish().map_err(failed("write"))?;
        let manifest = Manifest {
            format_version: format_version(self.origin.while_running),
            tool_version: env!("CARGO_PKG_VERSION").into(),
            created: self.origin.created,
            meta_root: self.meta_root,
            etcd_cluster_id: format!("{:x}", self.origin.etcd_cluster_id),
            etcd_revision: self.origin.etcd_revision,
            source_version: self.origin.source_version,
            layout,
            while_running: self.origin.while_running,
            keys: self.keys,
            stream_bytes: self.stream_bytes,
            stream_sha256: hex(self.stream_hash),
            frame_bytes: hashing.bytes,
            frame_sha256: hex(hashing.hash),
            counts: self.counts,
        };
        let mut inner = hashing.inner;
        manifest.write(&mut inner).map_err(failed("write"))?;
        let file = inner.into_inner().map_err(|error| failed("write")(error.into_error()))?;
        file.sync_all().map_err(failed("sync"))?;
        let file_bytes = file.metadata().map_err(failed("look at"))?.len();
        // By its name: whoever else writes there (a paused process, another cluster's backup) is found out now.
        partial.check()?;
        match Backup::check(partial.path()).map_err(|error| BackupError::Unsound(Box::new(error)))?.format {
            Format::Ours(read) if *read == manifest => {}
            _ => {
                return Err(BackupError::Unsound(Box::new(BackupError::Damaged {
                    path: partial.path().to_owned(),
                    what: "it is not the file that was written".into(),
                })));
            }
        }
        partial.check()?;
        let moved = keep_existing(&self.path)?;
        fs::rename(partial.path(), &self.path)
            .map_err(BackupError::io("put the backup in its place at", &self.path))?;
        sync_folder(&self.path)?;
        Ok(Written { path: self.path.clone(), manifest, file_bytes, moved })
    }

    fn write(&mut self, record: &[u8]) -> Result<(), BackupError> {
        self.stream_hash.update(record);
        self.stream_bytes += record.len() as u64;
        self.encoder.write_all(record).map_err(BackupError::io("write", self.partial.path()))
    }
}

/// Counts and hashes the zstd frame on its way to the file.
struct Hashing {
    inner: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Moves the file at `path`, if there is one, to the first free numbered name.
fn keep_existing(path: &Path) -> Result<Option<PathBuf>, BackupError> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(None);
    }
    for number in 1u32.. {
        let numbered = beside(path, &number.to_string());
        match fs::hard_link(path, &numbered) {
            // Until the new backup takes the place of the old one, that stands under both names.
            Ok(()) => return Ok(Some(numbered)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Not every file system has hard links.
            Err(_) if fs::symlink_metadata(&numbered).is_err() => {
                fs::rename(path, &numbered).map_err(BackupError::io("move aside the earlier backup", path))?;
                return Ok(Some(numbered));
            }
            Err(_) => {}
        }
    }
    Ok(None)
}

/// `<path>.<extension>`
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Makes a rename last.
pub(super) fn sync_folder(path: &Path) -> Result<(), BackupError> {
    match File::open(folder_of(path)).and_then(|folder| folder.sync_all()) {
        // Some network file systems cannot do that; the file itself is synced.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        synced => synced.map_err(BackupError::io("sync the folder of", path)),
    }
}
