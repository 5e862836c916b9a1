//! Aliases: from records in the shape of a collection to records of their own (layouts.md, rule 2).

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::builder::{Builder, tombstone};
use super::collections::Collection;
use super::inventory::{Record, Versions, decode};
use super::names::Names;
use super::report::Renamed;
use crate::layout::is_tombstone;
use crate::layout::keys::{Key, Plain};
use crate::layout::messages::common::CollectionInfo;
use crate::layout::messages::target::AliasInfo;
use crate::plan::Problems;

const LOST: &str = "the alias would be lost";

/// Plans all aliases with their snapshots.
pub(super) fn convert(
    builder: &mut Builder,
    records: BTreeMap<String, Versions>,
    collections: &BTreeMap<i64, Collection>,
    names: &Names,
) {
    for (old, versions) in records {
        let name = Renamed { new: names.aliases.get(&old).unwrap_or(&old).clone(), old };
        let wanted = match &versions.plain {
            // Snapshots alone are history; it moves along.
            None => true,
            Some(plain) if is_tombstone(&plain.value) => {
                convert_dropped(builder, &name.old, plain, &versions.snapshots)
            }
            Some(plain) => convert_live(builder, &name, plain, collections),
        };
        if wanted {
            convert_snapshots(builder, &name, &versions.snapshots);
        }
    }
}

/// Sees to it that a dropped alias has no record. Returns whether its snapshots move along.
///
/// A tombstone in the new place would do harm: Milvus 2.2.16, when it makes an alias of that name, takes the tombstone for an older
/// record to be removed, and with it removes what it has just written. The alias is gone at the next start (seen on a real server).
fn convert_dropped(builder: &mut Builder, name: &str, plain: &Record, snapshots: &BTreeMap<u64, Bytes>) -> bool {
    let target = Key::Plain(Plain::Alias(name.to_owned()));
    match builder.existing_revision(&target) {
        // The work of 2.2 since then: the same name given again.
        Some(existing) if existing > plain.mod_revision => builder.keep(&target),
        Some(_) => builder.remove_leftover(&target),
        None => {}
    }
    if snapshots.is_empty() {
        let source = Plain::SourceAlias(name.to_owned());
        builder.report.leave_out(source.to_string(), "the tombstone of a dropped alias without a snapshot");
        return false;
    }
    builder.report.dropped_aliases.push(name.to_owned());
    true
}

/// Plans the plain record of an alias that no live collection stands behind.
///
/// A record in the new place that is younger than the old one is the work of an earlier run, or of 2.2 since then (the same name
/// given again): then it counts. For other aliases their collection tells whether 2.2 can have been at work.
fn prepare_unless_younger(builder: &mut Builder, name: &str, value: Vec<u8>, revision: i64) {
    let target = Key::Plain(Plain::Alias(name.to_owned()));
    if builder.existing_revision(&target).is_none_or(|existing| existing <= revision) {
        builder.prepare(&target, value);
    } else {
        builder.keep(&target);
    }
}

/// Plans the plain record of a live alias. Returns whether its snapshots move along.
fn convert_live(
    builder: &mut Builder,
    name: &Renamed,
    plain: &Record,
    collections: &BTreeMap<i64, Collection>,
) -> bool {
    let Renamed { old, new } = name;
    let key = Plain::SourceAlias(old.clone()).to_string();
    let id = match read(old, &plain.value) {
        Ok(id) => id,
        Err(what) => {
            builder.problems.add(&key, what, LOST);
            return false;
        }
    };
    match collections.get(&id) {
        // Its new record was written before the collection was switched; what 2.2 did with it since then counts.
        Some(Collection::Target) => return false,
        Some(Collection::Invalid) => {
            let cause = Plain::Collection(id).to_string();
            builder.problems.add_caused(&key, format!("its collection {id} cannot be used"), LOST, cause);
            return false;
        }
        Some(Collection::Source(_)) => builder.prepare(&Key::Plain(Plain::Alias(new.clone())), encode(new, id, 0)),
        Some(Collection::Gone) | None => {
            let warning =
                format!("alias {old:?} leads nowhere: its collection {id} does not exist. It is carried over as it is");
            builder.report.warnings.push(warning);
            prepare_unless_younger(builder, new, encode(new, id, 0), plain.mod_revision);
        }
    }
    if old != new {
        builder.report.renamed_aliases.push(name.clone());
    }
    builder.report.aliases.insert(new.clone(), id);
    true
}

fn convert_snapshots(builder: &mut Builder, name: &Renamed, snapshots: &BTreeMap<u64, Bytes>) {
    let mut problems = Problems::default();
    for (timestamp, value) in snapshots {
        let target = Key::Snapshot(Plain::Alias(name.new.clone()), *timestamp);
        if is_tombstone(value) {
            builder.prepare(&target, tombstone());
            continue;
        }
        match read(&name.old, value) {
            Ok(id) => builder.prepare(&target, encode(&name.new, id, *timestamp)),
            Err(what) => problems.add(
                Key::Snapshot(Plain::SourceAlias(name.old.clone()), *timestamp).to_string(),
                what,
                "this older state of the alias would be left out",
            ),
        }
    }
    builder.problems.append(problems);
}

/// The collection that an alias record of 2.1 stands for.
fn read(name: &str, value: &[u8]) -> Result<i64, String> {
    let info: CollectionInfo = decode(value)?;
    let recorded = info.schema.unwrap_or_default().name;
    if recorded != name {
        return Err(format!("the record is of the alias {recorded:?}, but the key says {name:?}"));
    }
    Ok(info.id)
}

fn encode(name: &str, collection_id: i64, created_time: u64) -> Vec<u8> {
    AliasInfo { alias_name: name.to_owned(), collection_id, created_time, state: 0 }.encode_to_vec()
}
