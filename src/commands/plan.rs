//! `plan`: what `run` would do. Takes no lock and writes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use bytes::Bytes;

use super::Context;
use crate::apply::transactions;
use crate::backup::Backup;
use crate::cli::PlanOptions;
use crate::etcd::Etcd;
use crate::exit::{Exit, Failure};
use crate::guard::{Session, sessions};
use crate::layout::keys::printable;
use crate::migrate::{self, Inventory, Migration, Record};
use crate::plan::{Change, Plan};
use crate::report::outcome::{Ended, KeyChange, MigrationSummary, PlanOutcome};
use crate::report::text;
use crate::version::{Way, way};

/// Keys that are read in a second, at the least: measured, see docs/performance.md.
const KEYS_A_SECOND: f64 = 100_000.0;
/// What a transaction takes on an etcd with an ordinary disk and network.
const SECONDS_A_TRANSACTION: f64 = 0.01;

/// What a plan is made from.
struct Source {
    name: String,
    meta_root: String,
    inventory: Inventory,
    revision: i64,
    sessions: Vec<Session>,
    /// All values, for the differences.
    values: BTreeMap<Bytes, Bytes>,
    /// Where `run` would write.
    etcd: Option<Etcd>,
}

pub(super) async fn execute(context: &Context, options: &PlanOptions) -> Result<Exit, Failure> {
    let migrates = way_of(context)? == Way::Migrate;
    let source = match &options.from_backup {
        Some(file) => from_backup(file, options.diff)?,
        None => from_etcd(context, options.diff).await?,
    };
    let keys = source.inventory.keys();
    let migration = match migrates {
        true => migrate::plan(source.inventory, source.revision, &(&options.conversion).into()),
        false => migrate::none(source.inventory, source.revision),
    };
    let diff = options.diff.then(|| differences(&migration.plan, &source.values));
    let obstacle = match &source.etcd {
        Some(etcd) => {
            context.check_room_and_rights(etcd, &migration.plan).await.err().map(|error| format!("{error:#}"))
        }
        None => None,
    };
    let summary = context.summary(&migration);
    let outcome = PlanOutcome {
        command: "plan",
        ended: ended(&migration, obstacle.is_some()),
        obstacle,
        meta_root: source.meta_root,
        source: source.name,
        keys,
        sessions: source.sessions,
        estimated_seconds: estimate(keys, &migration.plan, summary.transactions),
        migration: summary,
        refusals: migration.refusals,
        diff,
    };
    context.console.result(&outcome, || text::plan(&outcome))?;
    Ok(if outcome.ended == Ended::NotOk { Exit::NothingWritten } else { Exit::Done })
}

/// Without both versions it is the migration that is planned.
fn way_of(context: &Context) -> Result<Way> {
    let (Some(source), Some(target)) = (&context.config.source_version, &context.config.target_version) else {
        return Ok(Way::Migrate);
    };
    let way = way(source, target)?;
    if way == Way::NothingToDo {
        context.say(format!("Milvus {source} and {target} read the same layout: there is nothing to migrate"));
    }
    Ok(way)
}

fn ended(migration: &Migration, is_obstructed: bool) -> Ended {
    if is_obstructed || !migration.plan.problems.is_empty() || !migration.refusals.is_empty() {
        Ended::NotOk
    } else if migration.plan.is_empty() {
        Ended::NothingToDo
    } else {
        Ended::Done
    }
}

impl Context {
    /// What a migration means, for the outcome.
    pub(super) fn summary(&self, migration: &Migration) -> MigrationSummary {
        MigrationSummary {
            revision: migration.plan.revision,
            totals: migration.plan.totals(),
            transactions: transactions(&migration.plan, self.limits, self.root.len()),
            report: migration.report.clone(),
            untouched: migration.plan.untouched.clone(),
            problems: migration.plan.problems.clone(),
        }
    }
}

async fn from_etcd(context: &Context, keep_values: bool) -> Result<Source> {
    let etcd = context.connect().await?;
    let sessions = sessions(&etcd, &context.root).await?;
    let mut values = BTreeMap::new();
    let (inventory, revision) = context
        .read_inventory_with(&etcd, |key, value| {
            if keep_values {
                values.insert(key.clone(), value.clone());
            }
        })
        .await?;
    if inventory.keys() == 0 {
        bail!("{}", context.nothing_here(&etcd).await);
    }
    let name = format!("etcd at {}", etcd.endpoint());
    let meta_root = context.config.meta_root.to_string();
    Ok(Source { name, meta_root, inventory, revision, sessions, values, etcd: Some(etcd) })
}

fn from_backup(file: &Path, keep_values: bool) -> Result<Source> {
    let mut entries = BTreeMap::new();
    let backup = Backup::read(file, |key, value| {
        entries.insert(Bytes::from(key), Bytes::from(value));
    })?;
    let mut inventory = Inventory::default();
    for (key, value) in &entries {
        inventory.add(key.clone(), Record { value: value.clone(), mod_revision: 0 });
    }
    if !keep_values {
        entries.clear();
    }
    let revision = match &backup.format {
        crate::backup::Format::Ours(manifest) => manifest.etcd_revision,
        crate::backup::Format::Legacy => 0,
    };
    let name = format!("backup file {}", file.display());
    let meta_root = backup.meta_root;
    Ok(Source { name, meta_root, inventory, revision, sessions: Vec::new(), values: entries, etcd: None })
}

/// Reading twice (before and after), and the transactions in between.
fn estimate(keys: u64, plan: &Plan, transactions: usize) -> f64 {
    let read_back = keys + plan.totals().puts;
    (keys + read_back) as f64 / KEYS_A_SECOND + transactions as f64 * SECONDS_A_TRANSACTION
}

/// The changes key by key, decoded, sorted by key.
fn differences(plan: &Plan, values: &BTreeMap<Bytes, Bytes>) -> Vec<KeyChange> {
    let shown = |key: &Bytes, value: &Bytes| crate::decode::value(key, value).to_string();
    let mut changes = Vec::new();
    for change in plan.changes() {
        match change {
            Change::Put { key, value } => changes.push(KeyChange {
                key: printable(key),
                old: values.get(key).map(|old| shown(key, old)),
                new: Some(shown(key, value)),
            }),
            Change::Delete { first, last, .. } => {
                changes.extend(values.range(first.clone()..=last.clone()).map(|(key, old)| KeyChange {
                    key: printable(key),
                    old: Some(shown(key, old)),
                    new: None,
                }));
            }
        }
    }
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}
