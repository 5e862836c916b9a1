//! The way back, honestly: what it takes, until when it is open, and whether it still is.

use schemars::JsonSchema;
use serde::Serialize;

use super::surveyed::ConfiguredBackup;
use super::words::Text;
use crate::amounts::{many, span};
use crate::catalog::replaced::Replaced;
use crate::catalog::report::Rebuilt;
use crate::garbage::KeepingFound;

/// What there is of a way back before a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WayBack {
    /// Room in etcd for there and back; none where there is no etcd.
    pub room: Option<String>,
    /// What there is to know of the files in object storage.
    pub files: String,
    /// What it takes of the message log.
    pub message_log: String,
    /// Until when it is open, by the defaults of the target.
    pub until: String,
    /// Settings of the target that keep it open, before its first start.
    pub keeping: Vec<KeepingFound>,
}

impl WayBack {
    /// Line by line, with what is known of the backup.
    pub fn lines(&self, backup: Option<&ConfiguredBackup>) -> Vec<String> {
        let backup = match (backup, &self.room) {
            (Some(backup), _) => backup.text.as_str(),
            (None, Some(_)) => "none is configured: `run` refuses without one (--backup-file, or --no-backup)",
            (None, None) => "whether it holds what is in etcd is seen by `plan` with etcd, and by `run`",
        };
        let mut lines = vec![format!("until: {}", self.until), self.settings(), format!("backup: {backup}")];
        lines.extend(self.room.as_ref().map(|room| format!("room: {room}")));
        lines.push(format!("files: {}", self.files));
        lines.push(format!("message log: {}", self.message_log));
        lines
    }

    /// What Milvus's own configuration, where it was given, lacks of the settings that keep the way back open.
    pub fn lacking(&self) -> Vec<&KeepingFound> {
        self.keeping.iter().filter(|kept| kept.holds == Some(false)).collect()
    }

    fn settings(&self) -> String {
        let (in_place, to_set): (Vec<&KeepingFound>, Vec<&KeepingFound>) =
            self.keeping.iter().partition(|kept| kept.holds == Some(true));
        let mut parts = Vec::new();
        if !to_set.is_empty() {
            parts.push(format!("to keep it open, before the first start: {}", joined(&to_set)));
        }
        if !in_place.is_empty() {
            parts.push(format!("in place, in Milvus's own configuration: {}", joined(&in_place)));
        }
        parts.join(". ")
    }
}

fn joined(settings: &[&KeepingFound]) -> String {
    settings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What happened since the backup that is gone back to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Since {
    /// The version of Milvus that it was migrated for, where that is on record.
    pub target_version: Option<String>,
    /// When the migration ended, in UTC (RFC 3339).
    pub migrated: Option<String>,
    /// Seconds since then.
    pub seconds: Option<u64>,
    /// Whether a newer Milvus was started on it without a migration of ours: its garbage collection takes all index files that its own
    /// metadata does not name, those of 2.1 first of all (`recycleUnusedIndexFiles` of its index coordinator).
    pub newer_ran_unmigrated: bool,
    /// Segments that were replaced or dropped since: their files go, or are gone.
    pub replaced: Vec<Replaced>,
    /// Indexes that were handed over and have been built again: the files of 2.1 go, or are gone.
    pub built_again: Vec<Rebuilt>,
}

impl Since {
    /// What may be gone; nothing where nothing tells of it.
    pub fn in_words(&self) -> Option<String> {
        let mut text = Text::new(false);
        if let (Some(version), Some(when)) = (&self.target_version, &self.migrated) {
            let ago = self.seconds.map_or_else(String::new, |seconds| format!(", {} ago", span(seconds)));
            text.line(format!("this was migrated for Milvus {version} on {when}{ago}"));
        }
        if self.newer_ran_unmigrated {
            text.line(
                "a newer Milvus was started on this without a migration of ours: its garbage collection takes the index files of 2.1 that its \
                 own metadata does not name, all of them",
            );
        }
        text.list(
            "replaced or dropped since the backup: garbage collection takes their files",
            self.replaced.iter().map(|one| {
                format!(
                    "{}: {} with {}",
                    one.collection,
                    many(one.segments, "segment", "segments"),
                    many(one.rows.unsigned_abs(), "row", "rows")
                )
            }),
        );
        text.list(
            "indexes that the newer Milvus has built again: garbage collection takes the files of 2.1",
            self.built_again.iter().map(index),
        );
        let text = text.finish();
        (!text.is_empty()).then_some(text)
    }

    /// Whether anything tells that files may be gone.
    pub fn is_in_danger(&self) -> bool {
        self.newer_ran_unmigrated || !self.replaced.is_empty() || !self.built_again.is_empty()
    }
}

/// An index that was handed over, by name.
pub fn index(index: &Rebuilt) -> String {
    format!(
        "{} / {}: index {} ({}), {}",
        index.collection,
        index.field,
        index.index,
        index.kind,
        many(index.segments.len(), "segment", "segments")
    )
}
