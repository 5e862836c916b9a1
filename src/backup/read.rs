//! Reading a backup: all of it is checked before anybody sees a single key.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zstd::stream::read::Decoder;

use super::manifest::{ManifestError, hex};
use super::stream::{self, Header, StreamError};
use super::{BackupError, Manifest};
use crate::layout::keys::{self, printable};
use crate::layout::messages::backup::Entry;

pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];

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
    pub fn read(path: &Path, each: impl FnMut(Vec<u8>, Vec<u8>)) -> Result<Self, BackupError> {
        super::regular(path)?;
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BackupError::Missing(path.to_owned()),
            _ => BackupError::Io { action: "open the backup file", path: path.to_owned(), source },
        })?;
        let mut reader = BufReader::with_capacity(1 << 17, file);
        let start = reader.fill_buf().map_err(BackupError::io("read", path))?;
        if start.is_empty() {
            return Err(BackupError::Empty(path.to_owned()));
        }
        if start.starts_with(&ZSTD_MAGIC) {
            Checker::new(path, true, each).read_ours(reader)
        } else if start.starts_with(&GZIP_MAGIC) {
            let why =
                "it is a gzip file; unpack it first, or, if Birdwatcher made it, restore it with Birdwatcher".into();
            Err(BackupError::NoBackup { path: path.to_owned(), why })
        } else {
            Checker::new(path, false, each).read_legacy(reader)
        }
    }

    /// Reads and checks a backup file without keeping anything of it.
    ///
    /// # Errors
    /// As [`Backup::read`].
    pub fn check(path: &Path) -> Result<Self, BackupError> {
        Self::read(path, |_, _| {})
    }
}

/// Reads a stream and checks what every stream must fulfil.
struct Checker<'a, F> {
    path: &'a Path,
    each: F,
    /// Our own files are sorted by key; the original tool wrote them in any order.
    sorted: bool,
    last: Vec<u8>,
    seen: HashSet<Vec<u8>>,
    keys: u64,
    left_out: u64,
    counts: BTreeMap<String, u64>,
}

impl<'a, F: FnMut(Vec<u8>, Vec<u8>)> Checker<'a, F> {
    fn new(path: &'a Path, sorted: bool, each: F) -> Self {
        let (last, seen, counts) = (Vec::new(), HashSet::new(), BTreeMap::new());
        Self { path, each, sorted, last, seen, keys: 0, left_out: 0, counts }
    }

    fn read_ours(mut self, reader: BufReader<File>) -> Result<Backup, BackupError> {
        let hashing = HashingReader::new(reader);
        let decoder = Decoder::with_buffer(hashing).map_err(BackupError::io("unpack", self.path))?.single_frame();
        let mut stream = HashingReader::new(BufReader::new(decoder));
        let header = self.read_stream(&mut stream)?;
        let frame = stream.inner.into_inner().finish();
        let mut rest = frame.inner;
        let manifest = Manifest::read(&mut rest).map_err(|error| self.manifest_error(error))?;
        let facts = [
            ("the size of its data", manifest.stream_bytes == stream.bytes),
            ("the checksum of its data", manifest.stream_sha256 == hex(stream.hash)),
            ("the size of its compressed data", manifest.frame_bytes == frame.bytes),
            ("the checksum of its compressed data", manifest.frame_sha256 == hex(frame.hash)),
            ("its meta root", manifest.meta_root == header.meta_root),
            ("the mark of a backup made while Milvus was running", manifest.while_running == header.while_running),
            ("the number of keys by kind", manifest.counts == self.counts),
        ];
        let announced = i64::try_from(manifest.keys).unwrap_or(i64::MAX);
        self.check_count(announced)?;
        self.check_count(header.entries)?;
        if let Some((what, _)) = facts.into_iter().find(|(_, holds)| !holds) {
            return Err(self.damaged(format!("{what} is not what its manifest says")));
        }
        Ok(self.finish(Format::Ours(Box::new(manifest)), header))
    }

    fn read_legacy(mut self, mut reader: BufReader<File>) -> Result<Backup, BackupError> {
        let start = reader.fill_buf().map_err(BackupError::io("read", self.path))?;
        let length = start.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        if length.is_none_or(|length| length == 0 || length > stream::MAX_HEADER_BYTES) {
            let why = "it begins neither like a file of this tool nor like one of the original tool".into();
            return Err(self.no_backup(why));
        }
        let header = self.read_stream(&mut reader)?;
        self.check_count(header.entries)?;
        Ok(self.finish(Format::Legacy, header))
    }

    fn read_stream(&mut self, from: &mut impl Read) -> Result<Header, BackupError> {
        let mut header = match stream::read_header(from) {
            Err(StreamError::Bad(why)) if !self.sorted => Err(self.no_backup(why)),
            // Birdwatcher's files begin alike, but go on with other records, and with keys that their header does not call absolute.
            Err(StreamError::Version(version)) if !self.sorted => Err(self.no_backup(format!(
                "its header has format version {version}, that of the original tool would be 0; if Birdwatcher made it, restore it \
                 with Birdwatcher"
            ))),
            header => header.map_err(|error| self.stream_error(error)),
        }?;
        while let Some(Entry { key, data: value }) =
            stream::read_entry(from).map_err(|error| self.stream_error(error))?
        {
            if let Some(relative) = self.relative(&mut header, key)? {
                self.check_entry(relative, value)?;
            }
        }
        Ok(header)
    }

    /// The key without the meta root; `None` if it is not below it, which the original tool allowed.
    fn relative(&mut self, header: &mut Header, key: Vec<u8>) -> Result<Option<Vec<u8>>, BackupError> {
        if !header.absolute_keys {
            return Ok(Some(key));
        }
        let first = self.keys + self.left_out == 0;
        if first && !self.sorted && key.starts_with(b"/") && !header.meta_root.starts_with('/') {
            // The original tool takes the root path apart with strings.Split and joins it with path.Join, which loses the slash.
            header.meta_root.insert(0, '/');
        }
        match key.strip_prefix(header.meta_root.as_bytes()) {
            Some([b'/', relative @ ..]) => Ok(Some(relative.to_vec())),
            Some(_) if !self.sorted => {
                self.left_out += 1;
                Ok(None)
            }
            _ => Err(self.damaged(format!(
                "the key {} is not under its meta root {}",
                printable(&key),
                header.meta_root
            ))),
        }
    }

    fn check_entry(&mut self, relative: Vec<u8>, value: Vec<u8>) -> Result<(), BackupError> {
        let fresh = if self.sorted {
            let fresh = self.keys == 0 || self.last < relative;
            self.last.clone_from(&relative);
            fresh
        } else {
            self.seen.insert(relative.clone())
        };
        if !fresh {
            return Err(self.damaged(format!("the key {} occurs twice or out of order", printable(&relative))));
        }
        self.keys += 1;
        keys::count(&mut self.counts, &relative);
        (self.each)(relative, value);
        Ok(())
    }

    fn check_count(&self, announced: i64) -> Result<(), BackupError> {
        let found = self.keys + self.left_out;
        if u64::try_from(announced) == Ok(found) {
            return Ok(());
        }
        Err(BackupError::Count { path: self.path.to_owned(), announced, found })
    }

    fn finish(self, format: Format, header: Header) -> Backup {
        let Self { path, keys, left_out, counts, .. } = self;
        let Header { meta_root, while_running, .. } = header;
        Backup { path: path.to_owned(), format, meta_root, while_running, keys, counts, left_out }
    }

    fn no_backup(&self, why: String) -> BackupError {
        BackupError::NoBackup { path: self.path.to_owned(), why }
    }

    fn damaged(&self, what: String) -> BackupError {
        BackupError::Damaged { path: self.path.to_owned(), what }
    }

    fn cut(&self, what: &str) -> BackupError {
        BackupError::Cut { path: self.path.to_owned(), what: format!("{what} (after {} keys)", self.keys) }
    }

    fn stream_error(&self, error: StreamError) -> BackupError {
        match error {
            StreamError::Cut(what) => self.cut(&what),
            StreamError::Bad(what) => self.damaged(format!("{what} (after {} keys)", self.keys)),
            StreamError::Version(version) => self.damaged(format!("its header has format version {version}")),
            StreamError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.cut("it ends within its compressed data")
            }
            // Errors of the file system have a number; those of the zstd library have none.
            StreamError::Io(error) if error.raw_os_error().is_none() => {
                self.damaged(format!("its compressed data cannot be unpacked ({error}, after {} keys)", self.keys))
            }
            StreamError::Io(source) => BackupError::Io { action: "read", path: self.path.to_owned(), source },
        }
    }

    fn manifest_error(&self, error: ManifestError) -> BackupError {
        match error {
            ManifestError::Cut => self.cut("its manifest is missing or incomplete"),
            ManifestError::Damaged(what) => self.damaged(what),
            ManifestError::Newer(version) => BackupError::Newer { path: self.path.to_owned(), version },
            ManifestError::Io(source) => BackupError::Io { action: "read", path: self.path.to_owned(), source },
        }
    }
}

/// Counts and hashes what is consumed, no more: what follows a zstd frame is left to be read.
pub(super) struct HashingReader<R> {
    pub(super) inner: R,
    pub(super) hash: Sha256,
    pub(super) bytes: u64,
}

impl<R> HashingReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }
}

impl<R: BufRead> BufRead for HashingReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Ok(buffer) = self.inner.fill_buf() {
            self.hash.update(&buffer[..amount.min(buffer.len())]);
        }
        self.bytes += amount as u64;
        self.inner.consume(amount);
    }
}

impl<R: BufRead> Read for HashingReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = {
            let available = self.inner.fill_buf()?;
            let read = available.len().min(into.len());
            into[..read].copy_from_slice(&available[..read]);
            read
        };
        self.consume(read);
        Ok(read)
    }
}
