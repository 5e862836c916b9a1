//! Milvus versions: the ways between them, and the layout that each target writes itself.

use anyhow::{Context, Result, bail};
use semver::Version;
use serde::Serialize;

/// What is to be done for a pair of source and target versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the 2.1 layout to the target's own.
    Migrate,
    /// Both versions read the same layout.
    NothingToDo,
}

/// Which segments get as many statslogs as they have binlogs, because the target refuses to save the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StatslogPadding {
    /// None: 2.2.0 to 2.2.2, and 2.4 on, where each copy is one more bloom filter in memory.
    Nobody,
    /// 2.2.3 to 2.2.16.
    Everybody,
    /// 2.3: those that no compaction made.
    NotCompacted,
}

/// The layout of a target version, as that release writes it itself (docs/layouts.md has the table and the reasons).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// Collections and aliases belong to a database, in their keys and records: from 2.2.9 on.
    pub in_database: bool,
    /// Load states tell their load type, and every loaded partition has a record of its own: from 2.3.0 on.
    pub load_type: bool,
    /// Which segments get their statslogs repeated.
    pub statslog_padding: StatslogPadding,
    /// Whether `datacoord-meta/statslog/0/0/0/0` disturbs nobody there: from 2.2.3 on.
    pub segment_tripwire: bool,
    /// Whether records of the root coordinator must keep a snapshot: up to 2.4.13. From 2.4.14 on plain keys are read, and
    /// snapshots expire (after a day), those of living records too.
    pub keeps_snapshots: bool,
}

impl Layout {
    /// The layout of a target version. The target decides, nothing else.
    pub fn of(target: &Version) -> Self {
        // A release candidate counts as its release.
        let version = (target.major, target.minor, target.patch);
        Self {
            in_database: version >= (2, 2, 9),
            load_type: version >= (2, 3, 0),
            statslog_padding: match version {
                (2, 2, 3..) => StatslogPadding::Everybody,
                (2, 3, _) => StatslogPadding::NotCompacted,
                _ => StatslogPadding::Nobody,
            },
            segment_tripwire: version >= (2, 2, 3),
            keeps_snapshots: version < (2, 4, 14),
        }
    }
}

/// A release whose metadata does not stay right whatever is written, and what to take instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadTarget {
    /// What is wrong with it.
    pub why: &'static str,
    /// The last release of its line.
    pub instead: &'static str,
}

impl BadTarget {
    /// The same of a target, as a sentence without its full stop.
    pub fn in_words(&self, target: &Version) -> String {
        format!("Milvus {target} is better not taken: {}. Take {} instead", self.why, self.instead)
    }
}

/// Why this target is better not taken, if so (docs/layouts.md, Targets).
pub fn bad_target(target: &Version) -> Vec<BadTarget> {
    let mut reasons = Vec::new();
    let mut add = |why, instead| reasons.push(BadTarget { why, instead });
    for (minor, last, instead) in [(2, 16, "2.2.16"), (3, 22, "2.3.22"), (4, 24, "2.4.24")] {
        if target.minor == minor && target.patch > last {
            add("no such release is known to this tool, it may be a slip", instead);
        }
    }
    match (target.minor, target.patch) {
        (2, patch) => {
            if patch <= 2 {
                add("it builds scalar index files (STL_SORT) that 2.2.3 and later cannot read", "2.2.16");
            }
            if (2..=5).contains(&patch) {
                add("it writes row counts of 0 into segments that 2.1 compacted, as soon as they change", "2.2.16");
            }
            // Seen on 2.2.4 and 2.2.9, reported of 2.2.10 (milvus-io/milvus issues 23240, 26005); 2.2.12 and 2.2.16 go on.
            if patch <= 10 {
                add(
                    "its data node panics, at every start, where the message log still has rows of a segment that 2.1 has compacted \
                     and collected since",
                    "2.2.16",
                );
            }
        }
        (3, 12..=17) => add("collections dropped there can come back at a restart", "2.3.22"),
        (4, patch @ 0..=4) => {
            if patch == 0 {
                add("it wipes the file lists of flushed segments that it did not write itself", "2.4.24");
            }
            add("collections dropped there can come back at a restart", "2.4.24");
        }
        _ => {}
    }
    reasons
}

/// Reads a version; a leading `v` is accepted (`v2.1.4`, as image tags are written).
///
/// # Errors
/// The text is no version of three numbers.
pub fn parse(text: &str) -> Result<Version> {
    let trimmed = text.trim();
    let plain = trimmed.strip_prefix(['v', 'V']).unwrap_or(trimmed);
    Version::parse(plain).with_context(|| format!("{text:?} is not a version like 2.1.4 or v2.1.4"))
}

/// Decides what a pair of versions asks for. The documented upgrade is 2.1.4 to 2.4.23.
///
/// # Errors
/// There is no way from `source` to `target`; the message names the way round.
pub fn way(source: &Version, target: &Version) -> Result<Way> {
    let key = |v: &Version| (v.major, v.minor);
    if key(source) < (2, 1) {
        bail!(
            "the source version {source} is older than 2.1.0: first upgrade Milvus to 2.1.4, then migrate from there"
        );
    }
    if key(target) >= (2, 5) {
        bail!(
            "the target version {target} cannot be reached in one step: first migrate to 2.4 and start it, then upgrade from there"
        );
    }
    if target < source {
        bail!(
            "the target version {target} is older than the source version {source}: to go back, use rollback with the backup"
        );
    }
    Ok(if key(source) >= (2, 2) || key(target) < (2, 2) { Way::NothingToDo } else { Way::Migrate })
}

/// Whether it is a release of 2.2: the only line with an index coordinator, and one whose message log 2.1 opens again.
pub fn is_2_2(version: &Version) -> bool {
    (version.major, version.minor) == (2, 2)
}

/// Whether metadata of this version is in the 2.1 layout.
pub fn has_21_layout(version: &Version) -> bool {
    (version.major, version.minor) < (2, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(source: &str, target: &str) -> Result<Way> {
        way(&parse(source).unwrap(), &parse(target).unwrap())
    }

    fn layout(target: &str) -> Layout {
        Layout::of(&parse(target).unwrap())
    }

    #[test]
    fn a_leading_v_is_accepted() {
        assert_eq!(parse("v2.1.4").unwrap(), parse("2.1.4").unwrap());
    }

    #[test]
    fn what_is_no_version_is_refused_with_the_text() {
        for text in ["", "2.1", "two", "2.1.x", "vv2.1.4", "2.1.4.5"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn every_2_1_goes_to_2_2_and_2_3_and_2_4() {
        for target in ["2.2.0", "2.2.16", "2.3.5", "2.4.23", "v2.4.0"] {
            assert_eq!(decide("2.1.0", target).unwrap(), Way::Migrate, "{target}");
            assert_eq!(decide("2.1.4", target).unwrap(), Way::Migrate, "{target}");
        }
    }

    #[test]
    fn a_target_below_2_2_and_a_source_from_2_2_on_need_nothing() {
        assert_eq!(decide("2.1.0", "2.1.4").unwrap(), Way::NothingToDo);
        assert_eq!(decide("2.2.0", "2.3.5").unwrap(), Way::NothingToDo);
    }

    #[test]
    fn refusals_name_the_way_round() {
        for (source, target, way_round) in [
            ("2.0.2", "2.2.0", "2.1.4"),
            ("2.1.4", "2.5.0", "2.4"),
            ("2.1.4", "3.0.0", "2.4"),
            ("2.2.0", "2.1.4", "rollback"),
        ] {
            let error = decide(source, target).unwrap_err().to_string();
            assert!(error.contains(way_round), "{error}");
        }
    }

    #[test]
    fn release_candidates_count_as_their_release() {
        assert_eq!(decide("2.1.0-rc1", "2.2.0-rc1").unwrap(), Way::Migrate);
        assert_eq!(layout("2.3.0-beta"), layout("2.3.0"));
    }

    #[test]
    fn the_target_decides_about_the_layout() {
        use StatslogPadding::{Everybody, Nobody, NotCompacted};
        for (target, in_database, load_type, statslog_padding, segment_tripwire, keeps_snapshots) in [
            ("2.2.0", false, false, Nobody, false, true),
            ("2.2.2", false, false, Nobody, false, true),
            ("2.2.3", false, false, Everybody, true, true),
            ("2.2.8", false, false, Everybody, true, true),
            ("2.2.9", true, false, Everybody, true, true),
            ("2.2.16", true, false, Everybody, true, true),
            ("2.3.0", true, true, NotCompacted, true, true),
            ("2.3.22", true, true, NotCompacted, true, true),
            ("2.4.0", true, true, Nobody, true, true),
            ("2.4.13", true, true, Nobody, true, true),
            ("2.4.14", true, true, Nobody, true, false),
            ("2.4.24", true, true, Nobody, true, false),
        ] {
            let expected = Layout { in_database, load_type, statslog_padding, segment_tripwire, keeps_snapshots };
            assert_eq!(layout(target), expected, "{target}");
        }
    }

    #[test]
    fn bad_targets_name_what_to_take_instead() {
        for (target, reasons) in [
            ("2.2.0", 2),
            ("2.2.2", 3),
            ("2.2.5", 2),
            ("2.2.6", 1),
            ("2.2.10", 1),
            ("2.2.11", 0),
            ("2.2.16", 0),
            ("2.2.160", 1),
            ("2.3.11", 0),
            ("2.3.12", 1),
            ("2.3.18", 0),
            ("2.4.0", 2),
            ("2.4.4", 1),
            ("2.4.5", 0),
            ("2.4.24", 0),
            ("2.4.25", 1),
        ] {
            assert_eq!(bad_target(&parse(target).unwrap()).len(), reasons, "{target}");
        }
    }
}
