//! From the 2.1 layout to the 2.2 layout: records in, plan out. Purely: no network, no clock, no file, no terminal.
//!
//! The rules are those of Milvus itself, read off its sources and tried on real servers; docs/layouts.md has them with their
//! reasons. One file for each kind of record.

mod aliases;
mod builder;
mod checkpoints;
pub mod collections;
mod indexes;
pub mod inventory;
mod limits;
mod load_state;
pub mod names;
pub mod report;
mod segment_indexes;
mod unknown;

use std::collections::{BTreeMap, BTreeSet};

pub use inventory::{Inventory, Record};
pub use names::Rename;
pub use report::Report;

use crate::layout::Found;
use crate::layout::keys::{Key, Plain};
use crate::plan::{Plan, Problems};
use builder::Builder;
use collections::Collection;
use segment_indexes::Records;

/// What a person can choose about the conversion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Index types whose files get built anew by the target version, beside those that it cannot read.
    pub rebuild_index: Vec<String>,
    /// Hand nothing over for a rebuild.
    pub keep_index_files: bool,
    /// New names for collections.
    pub rename_collection: Vec<Rename>,
    /// New names for aliases.
    pub rename_alias: Vec<Rename>,
}

/// A plan, and what it does by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// What will be written.
    pub plan: Plan,
    /// What that means.
    pub report: Report,
    /// What the user asked for and cannot have, each with the reason: nothing may be written then.
    pub refusals: Vec<String>,
}

/// Plans the migration of everything in the inventory, which was read at `revision`.
///
/// Records with problems are left out of the plan: it may be carried out with problems only if the user says so.
pub fn plan(mut inventory: Inventory, revision: i64, options: &Options) -> Migration {
    let found = inventory.found();
    let has_source_keys = inventory.has_source_keys();
    let (names, refusals) = names::resolve(&inventory, &options.rename_collection, &options.rename_alias);
    let already_indexed = collections_with_target_indexes(&inventory);
    let mut builder = Builder::new(&mut inventory);
    builder.report.found = Some(found);
    builder.report.warnings.append(&mut inventory.warnings);
    let collections = collections::convert(&mut builder, std::mem::take(&mut inventory.collections), &names);
    let any_in_target = collections.values().any(|collection| matches!(collection, Collection::Target));
    let any_in_source = collections.values().any(|collection| matches!(collection, Collection::Source(_)));
    // Once no collection is in the 2.1 layout, what is left of it is to be removed, right or wrong: the 2.2 records are complete,
    // and 2.2 may have changed them since. Only where no collection is left at all nothing tells how far a run came with aliases.
    let only_leftovers = matches!(found, Found::Mixed | Found::Target) && !any_in_source;
    if !only_leftovers {
        builder.problems.append(std::mem::take(&mut inventory.source_problems));
        builder.report.warnings.extend(std::mem::take(&mut inventory.unknown_fields).into_warnings());
    }
    if !has_source_keys {
        report_other_migrations(&mut builder.problems, &collections, &already_indexed);
        inventory.load_states.retain(|id, _| !already_indexed.contains(id));
    }
    if !(only_leftovers && any_in_target) {
        aliases::convert(&mut builder, inventory.aliases, &collections, &names);
    }
    if !only_leftovers {
        let indexes = indexes::convert(&mut builder, inventory.indexes, &collections);
        let records = Records {
            segment_indexes: inventory.segment_indexes,
            builds: inventory.builds,
            segment_rows: inventory.segment_rows,
        };
        segment_indexes::convert(&mut builder, records, &collections, &indexes, options);
        load_state::convert(&mut builder, inventory.load_states, &collections, &indexes);
        // What another tool migrated, 2.2 may have worked with since.
        checkpoints::convert(&mut builder, &collections, |id| !has_source_keys && already_indexed.contains(&id));
    }
    if has_source_keys {
        builder.remove_leftovers(|id| match collections.get(&id) {
            Some(Collection::Source(_)) => true,
            // Dropped by 2.1 since the last run; what 2.2 drops it removes itself.
            Some(Collection::Gone) | None => !only_leftovers,
            Some(Collection::Target | Collection::Invalid) => false,
        });
    }
    let (plan, report) = builder.finish(revision);
    Migration { plan, report, refusals }
}

/// No migration: everything stays as it is.
pub fn none(inventory: Inventory, revision: i64) -> Migration {
    let report = Report { found: Some(inventory.found()), ..Report::default() };
    Migration { plan: Plan { revision, untouched: inventory.present, ..Plan::default() }, report, refusals: vec![] }
}

fn collections_with_target_indexes(inventory: &Inventory) -> BTreeSet<i64> {
    let owner = |key: &[u8]| match Key::parse(key) {
        Ok(
            Key::FieldIndex { collection, .. }
            | Key::SegmentIndex { collection, .. }
            | Key::CollectionLoad(collection)
            | Key::PartitionLoad { collection, .. },
        ) => Some(collection),
        _ => None,
    };
    inventory.target.keys().filter_map(|key| owner(key)).collect()
}

/// Stops at metadata that the original tool migrated: it leaves fields and partitions embedded, but its indexes are in the 2.2
/// layout and nothing of the 2.1 layout is left. That is nothing to convert unasked.
fn report_other_migrations(
    problems: &mut Problems,
    collections: &BTreeMap<i64, Collection>,
    already_indexed: &BTreeSet<i64>,
) {
    for (id, collection) in collections {
        if matches!(collection, Collection::Source(_)) && already_indexed.contains(id) {
            problems.add(
                Plain::Collection(*id).to_string(),
                "its fields and partitions are embedded as in 2.1, but its indexes are in the 2.2 layout: another tool migrated it",
                "with --skip-invalid its fields and partitions would get records of their own; its indexes stay as they are",
            );
        }
    }
}

#[cfg(test)]
mod tests;
