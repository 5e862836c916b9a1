//! What `backup` did.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::Header;
use crate::backup::write::Written;
use crate::layout::Found;

/// A backup file.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BackupFile {
    /// Where it is.
    pub path: String,
    /// Number of keys.
    pub keys: u64,
    /// The etcd revision at which all keys were read.
    pub revision: i64,
    /// Which layouts have keys in it.
    pub layout: Found,
    /// Whether it was made while Milvus may have been running: a look at one moment, and no way back.
    pub while_running: bool,
    /// Size of the file.
    pub file_bytes: u64,
    /// Size of the data in it, uncompressed.
    pub stream_bytes: u64,
    /// SHA-256 of the uncompressed data.
    pub stream_sha256: String,
    /// Where the file is now that was at the path before.
    pub moved: Option<String>,
}

impl From<&Written> for BackupFile {
    fn from(written: &Written) -> Self {
        let shown = |path: &Path| path.display().to_string();
        Self {
            path: shown(&written.path),
            keys: written.manifest.keys,
            revision: written.manifest.etcd_revision,
            layout: written.manifest.layout,
            while_running: written.manifest.while_running,
            file_bytes: written.file_bytes,
            stream_bytes: written.manifest.stream_bytes,
            stream_sha256: written.manifest.stream_sha256.clone(),
            moved: written.moved.as_deref().map(shown),
        }
    }
}

/// What `backup` did.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BackupOutcome {
    /// What all outcomes begin with.
    #[serde(flatten)]
    pub header: Header,
    /// The file.
    pub backup: BackupFile,
    /// Older backups that were removed, as `--keep` says.
    pub removed: Vec<String>,
}
