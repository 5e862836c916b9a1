//! What a migration would do or did: the same object and the same words before and after.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::words::{Text, counts, problems, sum};
use crate::amounts::{bytes, many, thousands};
use crate::catalog::check::Finding;
use crate::catalog::problem::Problem;
use crate::catalog::report::{CollectionSummary, Limit, Named, Renamed, RepairKind, Report};
use crate::plan::Totals;
use crate::state::MadeByNewer;

/// What a migration would do or did.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MigrationSummary {
    /// The revision that the plan was made from.
    pub revision: i64,
    /// Puts and deletes, the tripwires aside.
    pub totals: Totals,
    /// Tripwires that are put: keys that keep Milvus 2.1 from starting on what is migrated.
    pub tripwires: usize,
    /// Number of transactions.
    pub transactions: usize,
    /// Everything by name.
    pub report: Report,
    /// What a newer Milvus made before the migration; all of it is kept.
    pub made_by_newer: MadeByNewer,
    /// Keys that stay, by prefix.
    pub untouched: BTreeMap<String, u64>,
    /// What does not fit together in the metadata.
    pub problems: Vec<Problem>,
    /// What is wrong with what would be written: the judgement of `verify`.
    pub findings: Vec<Finding>,
}

impl MigrationSummary {
    /// How much is written, in one line.
    pub fn size(&self) -> String {
        let Self { totals, tripwires, transactions, .. } = self;
        let tripwires = match tripwires {
            0 => String::new(),
            _ => format!(", {}", many(*tripwires, "tripwire for 2.1", "tripwires for 2.1")),
        };
        format!(
            "{} puts ({}), {} deletes{tripwires}, in {} transactions",
            thousands(totals.puts),
            bytes(totals.put_bytes),
            thousands(totals.deletes),
            thousands(*transactions as u64)
        )
    }
}

/// What it comes down to, in one line.
pub fn headline(report: &Report) -> String {
    let indexes = report.collections.values().flat_map(|collection| &collection.indexes);
    let index_names = indexes.filter(|index| index.old_name != index.new_name).count();
    let all = [
        (report.collections.len(), "collection migrated", "collections migrated"),
        (report.loaded.len(), "load state kept", "load states kept"),
        (report.released.len(), "released", "released"),
        (report.rebuilt.len(), "index rebuilt", "indexes rebuilt"),
        (report.renamed.len(), "renamed", "renamed"),
        (index_names, "index renamed", "indexes renamed"),
        (report.left_out.len(), "record left out", "records left out"),
        (report.kept_newer.len(), "record of a newer Milvus kept", "records of a newer Milvus kept"),
    ];
    let parts = all.iter().filter(|(number, ..)| *number > 0).map(|(number, one, more)| many(*number, one, more));
    let text = parts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "nothing that has a name".to_owned() } else { text }
}

/// What it does, by name: what a person must know always, the rest with `details`.
pub fn summary(migration: &MigrationSummary, details: bool) -> String {
    let report = &migration.report;
    let mut text = Text::new(details);
    text.line(format!(
        "{} with {}, {} and {}; {}, {}",
        many(report.collections.len(), "collection", "collections"),
        many(report.partitions(), "partition", "partitions"),
        many(report.fields(), "field", "fields"),
        many(report.indexes(), "index", "indexes"),
        many(report.aliases.len(), "alias", "aliases"),
        many(report.dropped_aliases.len(), "dropped alias", "dropped aliases")
    ));
    if details {
        text.list("collections", report.collections.values().map(collection));
        text.list("aliases", report.aliases.iter().map(|(alias, id)| format!("{alias} (collection {id})")));
        text.names("dropped aliases, of which the history moves along", &report.dropped_aliases);
    }
    text.line(format!("segment indexes: {}", counts(&report.segment_indexes, ", ")));
    attention(&mut text, migration);
    text.detail(
        "load states carried over",
        report.loaded.iter().map(|loaded| {
            format!(
                "{}, {}",
                named(&loaded.collection, &loaded.partitions),
                many(loaded.replicas, "replica", "replicas")
            )
        }),
    );
    repairs(&mut text, report);
    segments(&mut text, report, details);
    checkpoints(&mut text, report, details);
    if report.replicas > 0 {
        text.line(format!("replicas converted, without the nodes of 2.1: {}", thousands(report.replicas)));
    }
    text.detail(
        "snapshots added, without which newer versions would not see it",
        report.snapshots_added.iter().cloned(),
    );
    text.list("what newer versions of Milvus cannot do with this", report.limits.iter().map(limit));
    text.list("please note", report.warnings.iter().cloned());
    text.line(format!("2.1 keys removed: {}", total(&report.removed, details)));
    text.line(format!("keys left alone: {}", total(&migration.untouched, details)));
    text.finish()
}

/// A sum; what it is made of is a detail.
fn total(by_prefix: &BTreeMap<String, u64>, details: bool) -> String {
    if details { sum(by_prefix) } else { thousands(by_prefix.values().sum()) }
}

/// What a person has to know: what gets lost, changes its name, is built anew.
fn attention(text: &mut Text, migration: &MigrationSummary) {
    let report = &migration.report;
    for (what, title) in [
        (Named::Collection, "collections with a new name"),
        (Named::Alias, "aliases with a new name"),
        (Named::Partition, "partitions with a new name"),
    ] {
        text.list(title, report.renamed.iter().filter(|one| one.what == what).map(renamed));
    }
    let indexes = report.collections.values().flat_map(|collection| {
        let renamed = collection.indexes.iter().filter(|index| index.old_name != index.new_name);
        renamed.map(|index| {
            format!("{} / {}: {} becomes {}", collection.name, index.field, index.old_name, index.new_name)
        })
    });
    text.list("indexes with a new name", indexes);
    text.list(
        "indexes that the new Milvus rebuilds when it starts",
        report.rebuilt.iter().map(|rebuilt| {
            format!(
                "{} / {}: index {} ({}), {}: {}",
                rebuilt.collection,
                rebuilt.field,
                rebuilt.index,
                rebuilt.kind,
                many(rebuilt.segments.len(), "segment", "segments"),
                rebuilt.reason
            )
        }),
    );
    text.list(
        "load states NOT carried over (released)",
        report
            .released
            .iter()
            .map(|released| format!("{}: {}", named(&released.collection, &released.partitions), released.reason)),
    );
    text.list("left out", report.left_out.iter().map(|left| format!("{}: {}", left.key, left.why)));
    text.list("made or dropped by the newer Milvus, and kept so", migration.made_by_newer.by_name().into_iter());
    text.list(
        "kept as the newer Milvus wrote it",
        report.kept_newer.iter().map(|kept| format!("{}: {}", kept.key, kept.why)),
    );
}

fn repairs(text: &mut Text, report: &Report) {
    for (kind, title) in [
        (RepairKind::LostSchema, "schemas that the record had lost, from an older snapshot"),
        (RepairKind::BuildId, "segments below the index threshold, which get build IDs of their own"),
        (RepairKind::IndexName, "index names that would have collided"),
        (RepairKind::ReplicaNumber, "replica numbers"),
    ] {
        let repairs = report.repairs.iter().filter(|repair| repair.kind == kind);
        let repairs = repairs.map(|repair| format!("{}: {}", repair.key, repair.what));
        // One for each segment: nobody reads that.
        if kind == RepairKind::BuildId { text.detail(title, repairs) } else { text.list(title, repairs) }
    }
}

fn segments(text: &mut Text, report: &Report, details: bool) {
    let segments = &report.segments;
    if segments.moved > 0 {
        text.line(format!(
            "segments whose lists of files get keys of their own: {} ({} keys)",
            thousands(segments.moved),
            thousands(segments.log_keys)
        ));
    }
    if segments.padded > 0 {
        text.line(format!(
            "segments whose last statslog is repeated, because the new Milvus wants as many as binlogs: {} ({} of bloom filters are \
             loaded more than once)",
            thousands(segments.padded),
            bytes(segments.padded_bytes.max(0).cast_unsigned())
        ));
    }
    let lacking: Vec<String> = segments.without_statslogs.iter().map(i64::to_string).collect();
    text.names(
        "segments with binlogs and no statslogs, or the reverse, which the new Milvus refuses to save: a delete in one ends in a crash loop \
         of its data node. What helps: compact them with 2.1, or take a target that does not count them (2.4)",
        &lacking,
    );
    if segments.rows_known > 0 {
        text.line(format!(
            "compacted segments whose files get their numbers of rows: {}",
            thousands(segments.rows_known)
        ));
    }
    let shared = segments.rows_shared.len();
    if shared > 0 && !details {
        text.line(format!("compacted segments whose rows are shared out by size: {shared} (--details names them)"));
    } else {
        let segments: Vec<String> = segments.rows_shared.iter().map(i64::to_string).collect();
        text.names("compacted segments whose rows are shared out by size", &segments);
    }
}

fn checkpoints(text: &mut Text, report: &Report, details: bool) {
    let checkpoints = &report.checkpoints;
    let parts: Vec<String> = [
        ("from the positions of segments", checkpoints.from_segments),
        ("from the collection's start", checkpoints.from_collection),
        ("from the first message left in Kafka", checkpoints.from_first_left),
        ("NOT known, and not written", checkpoints.unknown),
    ]
    .iter()
    .filter(|(_, number)| *number > 0)
    .map(|(from, number)| format!("{} {from}", thousands(*number)))
    .collect();
    if !parts.is_empty() {
        text.line(format!("channel checkpoints: {}", parts.join(", ")));
    }
    if details {
        text.names("channels without any flushed data", &checkpoints.never_flushed);
    }
}

/// What is wrong, before or after: problems in the metadata, and what `verify` would not accept.
pub fn wrongs(migration: &MigrationSummary) -> Option<String> {
    let mut text = Text::new(true);
    if !migration.problems.is_empty() {
        text.line(problems(&migration.problems));
    }
    if !migration.findings.is_empty() {
        let title = "`verify` would not accept what would be written";
        text.list(title, migration.findings.iter().map(finding));
    }
    let text = text.finish();
    (!text.is_empty()).then_some(text)
}

/// A finding in words.
pub fn finding(finding: &Finding) -> String {
    let colon = if finding.key.is_empty() { "" } else { ": " };
    let remedy = finding.remedy.as_ref().map_or_else(String::new, |remedy| format!("\n  what helps: {remedy}"));
    format!("{}{colon}{}{remedy}", finding.key, finding.what)
}

fn named(collection: &str, partitions: &[String]) -> String {
    match partitions {
        [] => collection.to_owned(),
        partitions => format!("{collection} / {}", partitions.join(", ")),
    }
}

fn renamed(name: &Renamed) -> String {
    format!("{} becomes {}", name.old, name.new)
}

fn limit(limit: &Limit) -> String {
    format!("Milvus {}: {}: {}. What helps: {}", limit.versions, limit.what, limit.effect, limit.remedy)
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
        "{} ({}): {}, partitions {}; {indexes}; {}",
        collection.name,
        collection.id,
        many(collection.fields, "field", "fields"),
        collection.partitions.join(", "),
        many(collection.segment_indexes, "segment index", "segment indexes")
    )
}
