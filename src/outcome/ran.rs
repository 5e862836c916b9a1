//! What `run` or `repair` did.

use schemars::JsonSchema;
use serde::Serialize;

use super::Header;
use super::backed_up::BackupFile;
use super::migration::MigrationSummary;

/// What `run` or `repair` did.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunOutcome {
    /// What all outcomes begin with.
    #[serde(flatten)]
    pub header: Header,
    /// The version of Milvus that the metadata comes from.
    pub source_version: Option<String>,
    /// The version of Milvus that it is for.
    pub target_version: String,
    /// The backup made in this run.
    pub backup: Option<BackupFile>,
    /// The command line that goes back; none without a backup, or where nothing was to be done.
    pub way_back: Option<String>,
    /// What was done; none where nothing was to be read at all.
    pub migration: Option<MigrationSummary>,
    /// The revision at which everything was read back and compared.
    pub verified_revision: Option<i64>,
    /// How long it took, in seconds.
    pub seconds: f64,
}
