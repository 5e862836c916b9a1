//! What the garbage collection of each target takes of the files that only the metadata of 2.1 names, when, and which of Milvus's own
//! settings stop it: the point of no return, declared.
//!
//! Names and defaults are those of `configs/milvus.yaml` and `paramtable/component_param.go`, what takes what and when is in
//! `internal/{indexcoord,datacoord}/garbage_collector.go` of each version.

use std::fmt;

use schemars::JsonSchema;
use semver::Version;
use serde::Serialize;

use crate::version::is_2_2;

/// A setting of Milvus that keeps the way back open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Keeping {
    /// Its key in milvus.yaml.
    pub key: &'static str,
    /// The value that keeps the way back open.
    pub value: &'static str,
    /// What Milvus takes without it.
    pub default: &'static str,
}

/// Such a setting, and what Milvus's own configuration has in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeepingFound {
    /// The setting.
    #[serde(flatten)]
    pub setting: Keeping,
    /// What Milvus's own configuration says, where it was given and says something.
    pub configured: Option<String>,
    /// Whether that keeps the way back open; none where no configuration of Milvus was given.
    pub holds: Option<bool>,
}

impl Keeping {
    /// Whether a value keeps the way back open: the same switch, or at least as long a time.
    pub fn is_met_by(&self, value: &str) -> bool {
        match (self.value.parse::<f64>(), value.trim().parse::<f64>()) {
            (Ok(wanted), Ok(found)) => found >= wanted,
            _ => value.trim().eq_ignore_ascii_case(self.value),
        }
    }
}

impl fmt::Display for KeepingFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Keeping { key, value, default } = self.setting;
        match (self.holds, &self.configured) {
            (None, _) => self.setting.fmt(f),
            (Some(true), found) => write!(f, "{key} is {}", found.as_deref().unwrap_or(default)),
            (Some(false), Some(found)) => write!(f, "{key}: {value} (now {found})"),
            (Some(false), None) => write!(f, "{key}: {value} (not set, so {default})"),
        }
    }
}

impl fmt::Display for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (default {})", self.key, self.value, self.default)
    }
}

const COLLECTION: Keeping = Keeping { key: "dataCoord.enableGarbageCollection", value: "false", default: "true" };
const COMPACTION: Keeping =
    Keeping { key: "dataCoord.compaction.enableAutoCompaction", value: "false", default: "true" };
/// Only 2.2 has an index coordinator. Its garbage collection has no switch, so it is put off by a week.
const INDEX_INTERVAL: Keeping = Keeping { key: "indexCoord.gc.interval", value: "604800", default: "600" };

/// All of them, whatever the target.
pub const KEEPING: [Keeping; 3] = [INDEX_INTERVAL, COLLECTION, COMPACTION];

/// The settings that keep the way back open while Milvus runs, set before its first start.
pub fn keeping(target: &Version) -> Vec<Keeping> {
    match is_2_2(target) {
        true => vec![INDEX_INTERVAL, COLLECTION, COMPACTION],
        false => vec![COLLECTION, COMPACTION],
    }
}

/// When the files that 2.1 built for an index go, once the target has built it again, by default.
pub fn index_files_go(target: &Version) -> &'static str {
    match (target.major, target.minor, target.patch) {
        (2, 2, _) => "10 minutes after its start (indexCoord.gc.interval)",
        (2, 3, _) | (2, 4, 0) => "an hour after its start (dataCoord.gc.interval)",
        _ => "a week after its start (dataCoord.gc.scanInterval)",
    }
}

/// When the files of segments go that the target has compacted, by default.
pub const ROWS_GO: &str = "3 hours after the first compaction (dataCoord.gc.dropTolerance)";

/// In one sentence: until when, and what to set.
pub fn in_a_sentence(target: &Version) -> String {
    let settings: Vec<String> = keeping(target).iter().map(|one| format!("{}: {}", one.key, one.value)).collect();
    format!(
        "before its first start set {} to keep the way back open; without, files that 2.1 needs go {} for indexes that it builds again, \
         {ROWS_GO} for rows",
        settings.join(", "),
        index_files_go(target)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_has_to_be_off_and_a_time_long_enough() {
        assert!(COLLECTION.is_met_by("False") && !COLLECTION.is_met_by("true") && !COLLECTION.is_met_by("0"));
        assert!(INDEX_INTERVAL.is_met_by("604800") && INDEX_INTERVAL.is_met_by("1e9"));
        assert!(
            !INDEX_INTERVAL.is_met_by("600") && !INDEX_INTERVAL.is_met_by("false") && !INDEX_INTERVAL.is_met_by("NaN")
        );
    }

    #[test]
    fn each_target_has_its_own_names() {
        let of = |version: &str| in_a_sentence(&version.parse().unwrap());
        assert!(of("2.2.16").contains("indexCoord.gc.interval: 604800") && of("2.2.16").contains("10 minutes"));
        assert!(!of("2.3.5").contains("indexCoord") && of("2.3.5").contains("an hour"));
        assert!(of("2.4.24").contains("enableGarbageCollection: false") && of("2.4.24").contains("a week"));
    }
}
