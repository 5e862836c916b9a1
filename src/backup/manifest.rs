//! The manifest at the end of our backup files: what they hold, and checksums that find any flipped bit.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::layout::Found;

/// The version of our file format.
const FORMAT_VERSION: u32 = 1;
/// The version of a file that was made while Milvus was running. A version of its own, so that editions that know nothing of such
/// files refuse them instead of taking one for a way back.
const WHILE_RUNNING_VERSION: u32 = 2;
/// The newest version that this edition reads.
pub const NEWEST_VERSION: u32 = WHILE_RUNNING_VERSION;
/// Magic number of the skippable frame: zstd leaves 16 of them to applications.
pub(super) const MAGIC: u32 = 0x184D_2A5D;
/// A manifest larger than this is none.
pub(super) const MAX_BYTES: u32 = 1 << 20;
const SHA256_BYTES: usize = 32;

/// What a backup file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Version of the file format.
    pub format_version: u32,
    /// Version of this tool.
    pub tool_version: String,
    /// When the backup was made, RFC 3339, UTC.
    pub created: String,
    /// The meta root, such as `by-dev/meta`.
    pub meta_root: String,
    /// ID of the etcd cluster, hexadecimal as etcdctl prints it.
    pub etcd_cluster_id: String,
    /// The etcd revision at which all keys were read.
    pub etcd_revision: i64,
    /// The Milvus version that the metadata was said to be of.
    pub source_version: Option<String>,
    /// The layout that was found.
    pub layout: Found,
    /// Whether it was made without the lock, while Milvus may have been running: a look at one moment, and no way back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub while_running: bool,
    /// Number of keys.
    pub keys: u64,
    /// Size of the stream, uncompressed.
    pub stream_bytes: u64,
    /// SHA-256 of the stream, hexadecimal.
    pub stream_sha256: String,
    /// Size of the zstd frame.
    pub frame_bytes: u64,
    /// SHA-256 of the zstd frame, hexadecimal.
    pub frame_sha256: String,
    /// Number of keys by prefix.
    pub counts: BTreeMap<String, u64>,
}

/// Why there is no manifest to be read.
#[derive(Debug)]
pub(super) enum ManifestError {
    Io(std::io::Error),
    Cut,
    Damaged(String),
    Newer(u32),
}

/// What a manifest of any version has.
#[derive(Deserialize)]
struct AnyVersion {
    format_version: u32,
}

impl From<std::io::Error> for ManifestError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::UnexpectedEof { Self::Cut } else { Self::Io(error) }
    }
}

/// The version of the format that a file has.
pub(super) fn format_version(while_running: bool) -> u32 {
    if while_running { WHILE_RUNNING_VERSION } else { FORMAT_VERSION }
}

impl Manifest {
    /// Writes the skippable frame: magic number, length, SHA-256 of the JSON text, JSON text.
    pub(super) fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        let json = serde_json::to_vec(self)?;
        let length = u32::try_from(SHA256_BYTES + json.len()).map_err(std::io::Error::other)?;
        to.write_all(&MAGIC.to_le_bytes())?;
        to.write_all(&length.to_le_bytes())?;
        to.write_all(&Sha256::digest(&json))?;
        to.write_all(&json)
    }

    /// Reads the skippable frame, which must be the end of the file.
    pub(super) fn read(from: &mut impl Read) -> Result<Self, ManifestError> {
        let damaged = |what: &str| ManifestError::Damaged(what.to_owned());
        let mut word = [0; 4];
        from.read_exact(&mut word)?;
        if u32::from_le_bytes(word) != MAGIC {
            return Err(damaged("what follows the data is not its manifest"));
        }
        from.read_exact(&mut word)?;
        let length = u32::from_le_bytes(word);
        if length > MAX_BYTES || (length as usize) < SHA256_BYTES {
            return Err(damaged("the length of its manifest is impossible"));
        }
        let mut payload = vec![0; length as usize];
        from.read_exact(&mut payload)?;
        let (checksum, json) = payload.split_at(SHA256_BYTES);
        if Sha256::digest(json).as_slice() != checksum {
            return Err(damaged("its manifest does not match its checksum"));
        }
        if from.read(&mut word)? > 0 {
            return Err(damaged("something follows its manifest"));
        }
        let unreadable = |error| damaged(&format!("its manifest cannot be read ({error})"));
        // Before the rest, which may look different in another version.
        match serde_json::from_slice(json).map_err(unreadable)? {
            AnyVersion { format_version } if format_version > NEWEST_VERSION => {
                return Err(ManifestError::Newer(format_version));
            }
            AnyVersion { .. } => {}
        }
        let manifest: Self = serde_json::from_slice(json).map_err(unreadable)?;
        if manifest.format_version != format_version(manifest.while_running) {
            return Err(damaged("its manifest does not say the same of Milvus running in its version and in its mark"));
        }
        Ok(manifest)
    }
}

/// A checksum as hexadecimal text.
pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
