//! The outcome of `verify` as text.

use std::fmt::Write;

use super::text::{problems, thousands};
use crate::verify::outcome::{ComparisonOutcome, InvariantOutcome};
use crate::verify::{Severity, VerifyOutcome};

/// How many keys are listed of each kind unless all are asked for.
pub const MAX_LISTED: usize = 20;

/// Every invariant, the findings (of each at most `limit`), the comparison, the verdict.
pub fn verification(outcome: &VerifyOutcome, limit: usize) -> String {
    let mut text = format!(
        "{} keys under {} at revision {}, layout: {}\n",
        thousands(outcome.keys),
        outcome.meta_root,
        outcome.revision,
        outcome.layout
    );
    if !outcome.live_sessions.is_empty() {
        let _ =
            writeln!(text, "Milvus is running ({}): this is about that one revision", outcome.live_sessions.join(", "));
    }
    text.push('\n');
    for invariant in &outcome.invariants {
        let _ = writeln!(text, "  {:<14} {:<31} {}", fared(invariant), invariant.invariant.name(), invariant.sentence);
    }
    for invariant in outcome.invariants.iter().filter(|invariant| invariant.errors + invariant.warnings > 0) {
        findings(&mut text, outcome, invariant, limit);
    }
    if let Some(comparison) = &outcome.comparison {
        compared(&mut text, comparison, limit);
    }
    let _ = write!(text, "\n{}\nnext: {}\n", outcome.verdict, outcome.next_step);
    text
}

fn fared(invariant: &InvariantOutcome) -> String {
    match (invariant.errors, invariant.warnings) {
        (0, 0) if !invariant.checked => "not checked".into(),
        (0, 0) => "ok".into(),
        (0, warnings) => format!("{} warning(s)", thousands(warnings)),
        (errors, warnings) => format!("{} finding(s)", thousands(errors + warnings)),
    }
}

fn findings(text: &mut String, outcome: &VerifyOutcome, invariant: &InvariantOutcome, limit: usize) {
    let name = invariant.invariant;
    let _ = writeln!(text, "\n{name}: {}\n  it means: {}", fared(invariant), name.meaning());
    let lines = outcome.findings.iter().filter(|finding| finding.invariant == name).map(|finding| {
        let warning = if finding.severity == Severity::Warning { "warning: " } else { "" };
        let colon = if finding.key.is_empty() { "" } else { ": " };
        format!("{}{colon}{warning}{}", finding.key, finding.what)
    });
    list(text, lines, limit);
}

fn compared(text: &mut String, comparison: &ComparisonOutcome, limit: usize) {
    let differences = &comparison.differences;
    let _ = writeln!(
        text,
        "\ncompared with the migration of {}: {} keys are the same",
        comparison.backup,
        thousands(differences.equal)
    );
    if !differences.problems.is_empty() {
        let _ = writeln!(text, "in the backup: {}", problems(&differences.problems));
    }
    for (what, keys) in [
        ("missing in etcd", &differences.missing),
        ("with another value", &differences.different),
        ("only in etcd", &differences.extra),
    ] {
        if !keys.is_empty() {
            let _ = writeln!(text, "{what}: {}", thousands(keys.len() as u64));
            list(text, keys.iter().cloned(), limit);
        }
    }
}

fn list(text: &mut String, lines: impl Iterator<Item = String>, limit: usize) {
    let mut more = 0;
    for (at, line) in lines.enumerate() {
        if at < limit {
            let _ = writeln!(text, "  {line}");
        } else {
            more += 1;
        }
    }
    if more > 0 {
        let _ = writeln!(text, "  … and {} more (--verbose lists all)", thousands(more));
    }
}
