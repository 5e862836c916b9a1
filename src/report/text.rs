//! Summaries as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::etcd::health::EndpointHealth;
use crate::layout::Found;
use crate::migrate::Report;
use crate::migrate::report::{CollectionSummary, IndexSummary, Limit, Renamed, RepairKind};
use crate::plan::Problem;
use crate::report::outcome::{Ended, KeyChange, PlanOutcome, StatusOutcome};

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

/// What the options ask for and cannot have.
pub fn refusals(refusals: &[String]) -> String {
    format!("this cannot be done as asked:\n  {}", refusals.join("\n  "))
}

/// What a migration does, by name; the same before and after.
pub fn summary(report: &Report, untouched: &BTreeMap<String, u64>) -> String {
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
    text.list("collections with a new name", report.renamed_collections.iter().map(renamed));
    text.list("aliases with a new name", report.renamed_aliases.iter().map(renamed));
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
    if report.checkpoints > 0 {
        text.line(&format!("channel checkpoints, so that 2.2 starts safely: {}", thousands(report.checkpoints)));
    }
    text.list("left out", report.left_out.iter().map(|left| format!("{}: {}", left.key, left.why)));
    text.list("what newer versions of Milvus cannot do with this", report.limits.iter().map(limit));
    text.list("please note", report.warnings.iter().cloned());
    text.line(&format!("2.1 keys removed: {}", sum(&report.removed)));
    text.line(&format!("keys left alone: {}", sum(untouched)));
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

/// What `run` would do.
pub fn plan(outcome: &PlanOutcome) -> String {
    let migration = &outcome.migration;
    let mut text = Text::default();
    text.line(&format!("plan for {}, from {} at revision {}", outcome.meta_root, outcome.source, migration.revision));
    let found = migration.report.found.map_or_else(String::new, |found| found.to_string());
    text.line(&format!("{} keys, layout: {found}", thousands(outcome.keys)));
    text.list("Milvus components that have to stop first", outcome.sessions.iter().map(ToString::to_string));
    text.all("collections", migration.report.collections.iter().map(collection));
    text.all("aliases", migration.report.aliases.iter().map(|(alias, id)| format!("{alias} (collection {id})")));
    text.line(&summary(&migration.report, &migration.untouched));
    if !migration.problems.is_empty() {
        text.line(&problems(&migration.problems));
    }
    if !outcome.refusals.is_empty() {
        text.line(&refusals(&outcome.refusals));
    }
    for change in outcome.diff.iter().flatten() {
        text.line(&key_change(change));
    }
    text.line(&format!(
        "{} puts ({}), {} deletes, in {} transactions; about {:.0} s",
        thousands(migration.totals.puts),
        bytes(migration.totals.put_bytes),
        thousands(migration.totals.deletes),
        thousands(migration.transactions as u64),
        outcome.estimated_seconds.ceil()
    ));
    if let Some(obstacle) = &outcome.obstacle {
        text.line(obstacle);
    }
    text.line(match (outcome.ended, outcome.sessions.is_empty()) {
        (Ended::NotOk, _) if migration.problems.is_empty() || !outcome.refusals.is_empty() => "`run` would refuse for this reason and write nothing",
        (Ended::NotOk, _) => {
            "`run` would refuse because of the problems above and write nothing; with --skip-invalid it would go on without exactly these records"
        }
        (Ended::NothingToDo, _) => "`run` would find nothing to do",
        (_, false) => "`run` would go through once these components have stopped; nothing was written now",
        _ if migration.report.found == Some(Found::Mixed) => {
            "`run` would finish the migration; nothing was written now. The way back is the backup from before it"
        }
        (_, true) => "`run` would go through; nothing was written now. Next: backup, then run",
    });
    text.0
}

/// What there is.
pub fn status(outcome: &StatusOutcome) -> String {
    let mut text = Text::default();
    text.line("etcd");
    outcome.endpoints.iter().for_each(|endpoint| text.line(&format!("  {}", endpoint_status(endpoint))));
    text.line(&match outcome.alarms.as_deref() {
        None => "  alarms: this user may not ask".to_owned(),
        Some([]) => "  alarms: none".to_owned(),
        Some(alarms) => format!("  ALARMS: {}", alarms.join(", ")),
    });
    text.line(&match outcome.meta_roots.as_deref() {
        None => "meta roots: this user may not look at all keys".to_owned(),
        Some([]) => "meta roots: nothing here looks like Milvus".to_owned(),
        Some(roots) => format!("meta roots: {}", roots.join(", ")),
    });
    let layout = outcome.layout.map_or_else(|| "none, there is no metadata".to_owned(), |layout| layout.to_string());
    text.line(&format!("{}: {} keys, layout: {layout}", outcome.meta_root, thousands(outcome.keys)));
    text.all("live Milvus components", outcome.sessions.iter().map(ToString::to_string));
    text.line(&match &outcome.lock {
        None => "migration lock: free".to_owned(),
        Some(lock) => format!("migration lock: held by {lock}"),
    });
    text.line(&format!("next: {}", outcome.next));
    text.0
}

fn endpoint_status(endpoint: &EndpointHealth) -> String {
    if let Some(problem) = &endpoint.problem {
        return format!("{}: NOT reachable: {problem}", endpoint.endpoint);
    }
    let quota =
        endpoint.quota_bytes.map_or_else(|| "unknown quota".to_owned(), |quota| format!("quota {}", bytes(quota)));
    format!(
        "{}: etcd {}{}, database {} ({} in use), {quota}",
        endpoint.endpoint,
        endpoint.version.as_deref().unwrap_or("of unknown version"),
        if endpoint.is_leader { ", leader" } else { "" },
        bytes(endpoint.db_bytes.unwrap_or_default()),
        bytes(endpoint.db_bytes_in_use.unwrap_or_default())
    )
}

fn collection(collection: &CollectionSummary) -> String {
    let indexes: Vec<String> = collection
        .indexes
        .iter()
        .map(|index| {
            let name = match index.old_name == index.new_name {
                true => index.new_name.clone(),
                false => format!("{} → {}", index.old_name, index.new_name),
            };
            let dropped = if index.deleted { ", being dropped" } else { "" };
            format!("{name} ({} on {}{dropped})", index.kind, index.field)
        })
        .collect();
    let indexes = if indexes.is_empty() { "no index".to_owned() } else { format!("indexes {}", indexes.join(", ")) };
    format!(
        "{} ({}): {} fields, partitions {}; {indexes}; {} segment index(es)",
        collection.name,
        collection.id,
        collection.fields,
        collection.partitions.join(", "),
        thousands(collection.segment_indexes)
    )
}

fn key_change(change: &KeyChange) -> String {
    let mut text = change.key.clone();
    for (sign, value) in [('-', &change.old), ('+', &change.new)] {
        for line in value.iter().flat_map(|value| value.lines()) {
            let _ = write!(text, "\n  {sign} {line}");
        }
    }
    text
}

fn renamed(name: &Renamed) -> String {
    format!("{} becomes {}", name.old, name.new)
}

fn limit(limit: &Limit) -> String {
    format!("Milvus {}: {}: {}. What helps: {}", limit.versions, limit.what, limit.effect, limit.remedy)
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

    /// A list of everything, however long.
    fn all(&mut self, title: &str, items: impl Iterator<Item = String>) {
        let items: Vec<String> = items.collect();
        self.line(&format!("{title}: {}", items.len()));
        items.iter().for_each(|item| self.line(&format!("  {item}")));
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
