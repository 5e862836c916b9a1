//! Summaries as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::migrate::Report;
use crate::migrate::report::{IndexSummary, RepairKind};
use crate::plan::{Plan, Problem};

/// Lists of names are cut after this many lines; `--verbose` logs every key.
const MAX_LINES: usize = 40;

/// A number with its thousands set apart.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in a unit that people read.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["bytes", "KiB", "MiB", "GiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Everything that is wrong, each with its key, what is wrong and what it means.
pub fn problems(problems: &[Problem]) -> String {
    let causes = problems.iter().filter(|problem| problem.caused_by.is_none()).count();
    let mut text = format!("{causes} problem(s) in the metadata");
    match problems.len() - causes {
        0 => text.push(':'),
        following => {
            let _ = write!(text, ", and {following} record(s) that cannot be used because of them:");
        }
    }
    for problem in problems {
        let _ = write!(text, "\n  {}\n    {}; {}", problem.key, problem.what, problem.meaning);
        if let Some(cause) = &problem.caused_by {
            let _ = write!(text, " (because of {cause})");
        }
    }
    text
}

/// What a migration does, by name; the same before and after, as the tense of `done` says.
pub fn migration(report: &Report, plan: &Plan) -> String {
    let mut text = Text::default();
    text.line(&format!(
        "{} collection(s) with {} partitions, {} fields and {} index(es); {} alias(es), {} dropped alias(es)",
        report.collections.len(),
        report.partitions(),
        report.fields(),
        report.indexes(),
        report.aliases.len(),
        report.dropped_aliases.len()
    ));
    text.line(&format!("segment indexes: {}", counts(&report.segment_indexes, ", ")));
    renamed_indexes(&mut text, report);
    rebuilt(&mut text, report);
    text.list(
        "load states carried over",
        report
            .loaded
            .iter()
            .map(|loaded| format!("{}, {} replica(s)", named(&loaded.collection, &loaded.partitions), loaded.replicas)),
    );
    text.list(
        "load states NOT carried over (released)",
        report
            .released
            .iter()
            .map(|released| format!("{}: {}", named(&released.collection, &released.partitions), released.reason)),
    );
    for (kind, title) in [
        (RepairKind::BuildId, "segments below the index threshold, which get build IDs of their own"),
        (RepairKind::IndexName, "index names that would have collided"),
        (RepairKind::ReplicaNumber, "replica numbers"),
    ] {
        let repairs = report.repairs.iter().filter(|repair| repair.kind == kind);
        text.list(title, repairs.map(|repair| repair.what.clone()));
    }
    text.list("left out", report.left_out.iter().map(|left| format!("{}: {}", left.key, left.why)));
    text.list("please note", report.warnings.iter().cloned());
    text.line(&format!("2.1 keys removed: {}", sum(&report.removed)));
    text.line(&format!("keys left alone: {}", sum(&plan.untouched)));
    text.0
}

fn sum(by_prefix: &BTreeMap<String, u64>) -> String {
    let total: u64 = by_prefix.values().sum();
    let details = if total == 0 { String::new() } else { format!(" ({})", counts(by_prefix, ", ")) };
    format!("{}{details}", thousands(total))
}

fn counts(counts: &BTreeMap<String, u64>, separator: &str) -> String {
    if counts.is_empty() {
        return "none".into();
    }
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {}", thousands(*count))).collect();
    parts.join(separator)
}

fn named(collection: &str, partitions: &[String]) -> String {
    match partitions {
        [] => collection.to_owned(),
        partitions => format!("{collection} / {}", partitions.join(", ")),
    }
}

fn renamed_indexes(text: &mut Text, report: &Report) {
    let renamed = |index: &&IndexSummary| index.old_name != index.new_name;
    text.list(
        "indexes with a new name",
        report.collections.iter().flat_map(|collection| {
            collection.indexes.iter().filter(renamed).map(|index| {
                format!("{} / {}: {} becomes {}", collection.name, index.field, index.old_name, index.new_name)
            })
        }),
    );
}

fn rebuilt(text: &mut Text, report: &Report) {
    text.list(
        "handed over: the new Milvus builds these anew when it starts",
        report.rebuilt.iter().map(|rebuilt| {
            format!(
                "{} / {}: index {} ({}), {} segment(s): {}",
                rebuilt.collection,
                rebuilt.field,
                rebuilt.index,
                rebuilt.kind,
                rebuilt.segments.len(),
                rebuilt.reason
            )
        }),
    );
}

/// Lines of text.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(line);
    }

    fn list(&mut self, title: &str, items: impl Iterator<Item = String>) {
        let items: Vec<String> = items.collect();
        if items.is_empty() {
            return;
        }
        self.line(&format!("{title}: {}", items.len()));
        for item in items.iter().take(MAX_LINES) {
            self.line(&format!("  {item}"));
        }
        if items.len() > MAX_LINES {
            self.line(&format!("  … and {} more", items.len() - MAX_LINES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(["0", "999", "1,000", "12,345,678"].map(String::from), [0, 999, 1_000, 12_345_678].map(thousands));
        assert_eq!(
            [0, 1023, 1024, 5 << 20].map(bytes),
            ["0 bytes", "1023 bytes", "1.0 KiB", "5.0 MiB"].map(String::from)
        );
    }
}
