//! A record of the root coordinator with its snapshots, reduced to what the checks need.

use std::hash::{DefaultHasher, Hasher};

use super::finding::{Findings, Severity};
use super::invariant::Invariant;
use crate::layout::keys::Key;
use crate::version::Layout;

/// What a value says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Version<T> {
    /// A record: its fingerprint, and what is kept of it.
    Live(u64, T),
    /// The tombstone.
    Dropped,
    /// Neither; that has been reported.
    Unusable,
}

impl<T> Version<T> {
    /// Keeps something else of the record.
    pub(super) fn map<U>(self, keep: impl FnOnce(T) -> U) -> Version<U> {
        match self {
            Self::Live(print, kept) => Version::Live(print, keep(kept)),
            Self::Dropped => Version::Dropped,
            Self::Unusable => Version::Unusable,
        }
    }
}

/// A plain key and its snapshots.
#[derive(Debug, Clone)]
pub(super) struct VersionCheck<T> {
    pub plain: Option<Version<T>>,
    /// The newest snapshot.
    pub newest: Option<(u64, Version<()>)>,
    /// The time of the oldest snapshot that is no tombstone.
    pub oldest_live: Option<u64>,
}

impl<T> Default for VersionCheck<T> {
    fn default() -> Self {
        Self { plain: None, newest: None, oldest_live: None }
    }
}

impl<T> VersionCheck<T> {
    /// Takes in the plain value, or the snapshot of a time.
    pub(super) fn add(&mut self, timestamp: Option<u64>, state: Version<T>) {
        let Some(timestamp) = timestamp else {
            self.plain = Some(state);
            return;
        };
        let state = state.map(|_| ());
        if matches!(state, Version::Live(..)) {
            self.oldest_live = Some(self.oldest_live.map_or(timestamp, |oldest| oldest.min(timestamp)));
        }
        if self.newest.as_ref().is_none_or(|(newest, _)| *newest <= timestamp) {
            self.newest = Some((timestamp, state));
        }
    }

    /// What is kept of the record, if it is one.
    pub(super) fn live(&self) -> Option<&T> {
        match &self.plain {
            Some(Version::Live(_, kept)) => Some(kept),
            _ => None,
        }
    }

    /// Whether there is a record, readable or not.
    pub(super) fn exists(&self) -> bool {
        matches!(self.plain, Some(Version::Live(..) | Version::Unusable))
    }

    /// Whether a read at that time finds the record.
    pub(super) fn is_readable_at(&self, timestamp: u64) -> bool {
        self.oldest_live.is_some_and(|oldest| oldest <= timestamp)
    }

    /// Holds the newest snapshot against the plain key. `is_needed`: a live collection lacks the record if it is missing.
    pub(super) fn check(&self, key: Key, is_needed: bool, layout: Option<Layout>, findings: &mut Findings) {
        let newest = self.newest.as_ref().map(|(timestamp, state)| (*timestamp, state));
        let what = match (&self.plain, newest) {
            (Some(Version::Dropped), None) => {
                let what = "the key says that the record was dropped, but has no snapshot";
                return findings.error(Invariant::TombstonesWithSnapshot, key.to_string(), what);
            }
            (Some(Version::Dropped), Some((time, Version::Live(..)))) => {
                format!("the key says that the record was dropped, but its newest snapshot (_ts{time}) has it")
            }
            (Some(Version::Live(..)), Some((time, Version::Dropped))) => {
                format!("the record is there, but its newest snapshot (_ts{time}) says that it was dropped")
            }
            (Some(Version::Live(plain, _)), Some((time, Version::Live(newest, ())))) if plain != newest => {
                format!("the record is not the same as its newest snapshot (_ts{time})")
            }
            // A drop leaves tombstones, so 2.2 never writes this.
            (None, Some((time, Version::Live(..)))) if is_needed => {
                format!("the record is missing, but its newest snapshot (_ts{time}) has it")
            }
            // 2.2.3 to 2.4.13 build their catalog from snapshots alone.
            (Some(Version::Live(..)), None) => {
                let what = "it has no snapshot: versions that build their catalog from snapshots do not see it";
                return findings.demand(snapshots(layout), Invariant::SnapshotForEverything, &key.to_string(), what);
            }
            // Those versions may take it for a record.
            (None, Some((time, Version::Live(..)))) => {
                let snapshot = key.at(time).to_string();
                let what = "there is a snapshot, but no plain key: 2.2.3 to 2.4.13 may take it for a record";
                return findings.warn(Invariant::NewestSnapshotAgrees, snapshot, what);
            }
            _ => return,
        };
        findings.error(Invariant::NewestSnapshotAgrees, key.to_string(), what);
    }
}

/// How bad it is that a snapshot is missing: where the target is not known, some versions would do without.
pub(super) fn snapshots(layout: Option<Layout>) -> Option<Severity> {
    match layout {
        None => Some(Severity::Warning),
        Some(layout) => layout.keeps_snapshots.then_some(Severity::Error),
    }
}

/// Stands for a value where only equality matters.
pub(super) fn fingerprint(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
}
