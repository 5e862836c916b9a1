//! What `rollback` did.

use schemars::JsonSchema;
use serde::Serialize;

use super::Header;
use super::backed_up::BackupFile;
use super::files_checked::FilesFound;
use super::going_back::Since;
use super::words::Text;
use crate::amounts::{bytes, many, thousands};
use crate::catalog::report::Rebuilt;
use crate::diff::Counts;
use crate::plan::Totals;

/// What `rollback` did.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RollbackOutcome {
    /// What all outcomes begin with.
    #[serde(flatten)]
    pub header: Header,
    /// The backup that was restored.
    pub backup: RestoredBackup,
    /// The copy of what was there before.
    pub copy: Option<BackupFile>,
    /// Collections by name: what will be there, what comes back, what goes.
    pub collection_changes: CollectionChanges,
    /// What happened since the backup.
    pub since: Since,
    /// Whether the files that the backup names are there, with `--check-files`.
    pub files: Option<FilesFound>,
    /// Indexes that Milvus 2.1 builds again when it starts, with `--rebuild-handed-over`.
    pub to_build_again: Vec<Rebuilt>,
    /// How the backup and etcd differed.
    pub differences: Counts,
    /// Puts and deletes.
    pub totals: Totals,
    /// The revision at which everything was read back and compared.
    pub verified_revision: Option<i64>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl RollbackOutcome {
    /// What is written, in numbers.
    pub fn in_words(&self) -> String {
        let differences = &self.differences;
        format!(
            "{} put back ({} missing, {} different; {}), {} deleted that the backup does not have, {} left as they are",
            many(self.totals.puts, "key", "keys"),
            thousands(differences.missing.values().sum()),
            thousands(differences.different.values().sum()),
            bytes(self.totals.put_bytes),
            thousands(differences.extra.values().sum()),
            thousands(differences.equal)
        )
    }

    /// How the backup and etcd differed, a line for each prefix.
    pub fn differences_in_words(&self) -> Vec<String> {
        let differences = &self.differences;
        let kinds = [
            ("put back, was missing", &differences.missing),
            ("put back, was different", &differences.different),
            ("deleted, is not in the backup", &differences.extra),
        ];
        let lines = kinds.into_iter().flat_map(|(what, counts)| {
            counts.iter().map(move |(prefix, keys)| format!("{what}: {prefix} {}", thousands(*keys)))
        });
        lines.collect()
    }
}

/// The backup that a rollback goes back to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RestoredBackup {
    /// Where it is.
    pub path: String,
    /// Number of keys in it that are restored: without sessions.
    pub keys: u64,
    /// The etcd revision at which it was made; none for a file of the original tool.
    pub revision: Option<i64>,
}

/// What a rollback means for the collections, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CollectionChanges {
    /// Those here that are in the backup too.
    pub stay: Vec<String>,
    /// Those here that are not in the backup.
    pub go: Vec<String>,
    /// Those in the backup that are not here.
    pub come_back: Vec<String>,
}

impl CollectionChanges {
    /// What stays, goes and comes back; names ten on a line.
    pub fn in_words(&self) -> String {
        let here = self.stay.len() + self.go.len();
        let mut text = Text::new(true);
        text.line(format!("{} of the {here} collections here are in the backup", self.stay.len()));
        text.names("these will be GONE", &self.go);
        text.names("these come back", &self.come_back);
        text.finish()
    }
}
