//! The stream of the original tool: length-prefixed records, a header and then one for each key.
//!
//! It has neither checksum nor end mark; what can be checked is the number of entries in the header.

use std::io::{self, Read};

use prost::Message;
use serde_json::Value;

use crate::layout::join_root;
use crate::layout::messages::backup::{BackupHeader, Entry};

/// No record is larger: etcd takes 1.5 MiB in a request by default, and nobody raises that a hundredfold.
pub(super) const MAX_RECORD_BYTES: u64 = 256 << 20;
/// Headers are some 50 bytes.
pub(super) const MAX_HEADER_BYTES: u64 = 64 << 10;
/// Records up to this size are read into memory that is taken at once.
const USUAL_RECORD_BYTES: usize = 64 << 10;
/// What the original tool has written since 2.2.0: keys are absolute.
const EXTRA: &str = r#"{"entry_include_root_path":true}"#;
/// The same, of what was backed up while Milvus was running: the mark stays where the manifest is stripped off.
const EXTRA_WHILE_RUNNING: &str = r#"{"entry_include_root_path":true,"while_running":true}"#;

/// The header of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHeader {
    /// Meta root, without a slash at the end.
    pub meta_root: String,
    /// Number of entries that the stream should have.
    pub entries: i64,
    /// Whether keys in the stream begin with the meta root.
    pub absolute_keys: bool,
    /// Whether Milvus may have been running when it was made.
    pub while_running: bool,
}

/// A header record.
pub(super) fn encode_header(root_path: &str, meta_path: &str, entries: i64, while_running: bool) -> Vec<u8> {
    let header = BackupHeader {
        version: 0,
        instance: root_path.to_owned(),
        meta_path: meta_path.to_owned(),
        entries,
        component: String::new(),
        extra: if while_running { EXTRA_WHILE_RUNNING } else { EXTRA }.into(),
    };
    record(&header)
}

/// A record of one key.
pub(super) fn encode_entry(key: Vec<u8>, data: Vec<u8>) -> Vec<u8> {
    record(&Entry { key, data })
}

fn record(message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut bytes = Vec::with_capacity(8 + length);
    bytes.extend_from_slice(&(length as u64).to_le_bytes());
    // A Vec grows, so encoding into it cannot fail.
    let _ = message.encode(&mut bytes);
    bytes
}

/// What went wrong while reading a stream.
#[derive(Debug)]
pub(super) enum StreamError {
    Io(io::Error),
    /// The stream ends within a record.
    Cut(String),
    /// The header is of another format: the version in it is not 0.
    Version(i32),
    /// A record that cannot be one.
    Bad(String),
}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the header.
pub(super) fn read_header(from: &mut impl Read) -> Result<StreamHeader, StreamError> {
    let bytes =
        read_record(from, MAX_HEADER_BYTES)?.ok_or_else(|| StreamError::Cut("it ends before its header".into()))?;
    let header = BackupHeader::decode(&*bytes)
        .map_err(|error| StreamError::Bad(format!("its header does not decode ({error})")))?;
    if header.version != 0 {
        return Err(StreamError::Version(header.version));
    }
    let meta_root = join_root(&header.instance, &header.meta_path);
    if meta_root.trim_matches('/').is_empty() {
        return Err(StreamError::Bad("its header does not name a root path".into()));
    }
    if meta_root.contains(char::is_control) {
        // Nobody has such a root, and it would tear apart whatever line it is told in.
        return Err(StreamError::Bad("its header names a root path with control characters in it".into()));
    }
    let extra: Value = serde_json::from_slice(&header.extra).unwrap_or_default();
    let says = |name: &str| extra.get(name).and_then(Value::as_bool).unwrap_or(false);
    let (absolute_keys, while_running) = (says("entry_include_root_path"), says("while_running"));
    Ok(StreamHeader { meta_root, entries: header.entries, absolute_keys, while_running })
}

/// The entry in a record.
pub(super) fn decode_entry(record: &[u8]) -> Result<Entry, StreamError> {
    let entry =
        Entry::decode(record).map_err(|error| StreamError::Bad(format!("a record does not decode ({error})")))?;
    if entry.key.is_empty() {
        return Err(StreamError::Bad("a record has no key".into()));
    }
    Ok(entry)
}

/// Reads a length and that many bytes; `None` at the very end. Memory grows with what is there, not with what is announced.
pub(super) fn read_record(from: &mut impl Read, max: u64) -> Result<Option<Vec<u8>>, StreamError> {
    let mut length = [0; 8];
    match read_fully(from, &mut length)? {
        0 => return Ok(None),
        8 => {}
        _ => return Err(StreamError::Cut("it ends within the length of a record".into())),
    }
    let length = u64::from_le_bytes(length);
    if length > max {
        return Err(StreamError::Bad(format!("a record of {length} bytes is impossible")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(usize::MAX).min(USUAL_RECORD_BYTES));
    from.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        return Err(StreamError::Cut(format!("it ends after {} of {length} bytes of a record", bytes.len())));
    }
    Ok(Some(bytes))
}

fn read_fully(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
