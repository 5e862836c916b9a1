//! Milvus versions, and the ways between them that this tool knows.

use anyhow::{Context, Result, bail};
use semver::Version;

/// What is to be done for a pair of source and target versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the 2.1 layout to the 2.2 layout.
    Migrate,
    /// Both versions read the same layout.
    NothingToDo,
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

/// Decides what a pair of versions asks for.
///
/// 2.2, 2.3 and 2.4 all read the 2.2 layout; the documented upgrade is 2.1.4 to 2.4.23.
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
            "the target version {target} does not read the 2.2 layout: first migrate to 2.4 and start it, then upgrade from there"
        );
    }
    if target < source {
        bail!(
            "the target version {target} is older than the source version {source}: to go back, use rollback with the backup"
        );
    }
    Ok(if key(source) >= (2, 2) || key(target) < (2, 2) { Way::NothingToDo } else { Way::Migrate })
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
    fn release_candidates_count_as_their_minor_version() {
        assert_eq!(decide("2.1.0-rc1", "2.2.0-rc1").unwrap(), Way::Migrate);
    }
}
