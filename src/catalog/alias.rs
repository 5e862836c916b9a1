//! Aliases: from records in the shape of a collection to records of their own (docs/layouts.md, rule 2).

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::Precedence;
use super::collection::{Collection, Collections, Form, Standing};
use super::names::Names;
use super::problem::Problem;
use super::records::{Records, Versions, Writing, decode};
use super::report::{LeftOut, Named, Renamed};
use crate::layout::families::{DEFAULT_DATABASE, Family};
use crate::layout::is_tombstone;
use crate::layout::keys::Key;
use crate::layout::messages::common::CollectionInfo;
use crate::layout::messages::target::AliasInfo;
use crate::version::Layout;

const LOST: &str = "the alias would be lost";

/// The aliases that 2.1 keeps, and those that a newer Milvus has.
#[derive(Debug, Default)]
pub struct Aliases {
    /// By name, as 2.1 spells them.
    source: BTreeMap<String, Versions>,
    /// As 2.2 and later spell them, by their key.
    target: BTreeMap<Key, Versions>,
}

/// Reads the aliases of both layouts.
pub fn read(records: &Records) -> Aliases {
    let source =
        records.versions_of(Family::SourceAlias).into_iter().map(|(key, versions)| (key.name().to_owned(), versions));
    let mut target = records.versions_of(Family::Alias);
    target.extend(records.versions_of(Family::DatabaseAlias));
    Aliases { source: source.collect(), target }
}

impl Aliases {
    /// Names of living aliases of 2.1, with the IDs of their collections.
    pub fn living_source(&self) -> impl Iterator<Item = (&str, i64)> {
        self.source.iter().filter_map(|(name, versions)| {
            let plain = versions.plain.as_ref().filter(|plain| !is_tombstone(plain))?;
            Some((&**name, CollectionInfo::decode(&**plain).map_or(0, |info| info.id)))
        })
    }

    /// Names of aliases of 2.1 that are only a memory: dropped, or history without a present.
    pub fn past_source(&self) -> impl Iterator<Item = &str> {
        let is_past = |versions: &Versions| versions.plain.as_ref().is_none_or(|plain| is_tombstone(plain));
        self.source.iter().filter(move |(_, versions)| is_past(versions)).map(|(name, _)| &**name)
    }

    /// Names of living aliases of 2.2 and later, with the IDs of their collections.
    pub fn living_target(&self) -> impl Iterator<Item = (&str, i64)> {
        self.target.iter().filter_map(|(key, versions)| {
            let plain = versions.plain.as_ref().filter(|plain| !is_tombstone(plain))?;
            Some((key.name(), AliasInfo::decode(&**plain).ok()?.collection_id))
        })
    }

    /// Whether a newer Milvus has a record of that name, be it a tombstone.
    fn is_in_target(&self, name: &str) -> bool {
        let keys = [Family::Alias.named(name), Family::DatabaseAlias.key_with([DEFAULT_DATABASE], name)];
        keys.iter().any(|key| self.target.contains_key(key))
    }
}

/// Writes all aliases with their snapshots for a layout.
pub fn write(
    aliases: &Aliases,
    collections: &Collections,
    layout: Layout,
    names: &Names,
    precedence: Precedence,
) -> Writing {
    let mut writing = Writing::default();
    for (name, versions) in &aliases.source {
        if precedence == Precedence::Newer && aliases.is_in_target(name) {
            let why = "a newer Milvus has an alias of that name: that one stands";
            writing.report.kept_newer.push(LeftOut::new(Family::SourceAlias.named(name), why));
            continue;
        }
        write_source(&mut writing, name, versions, collections, layout, names);
    }
    if precedence == Precedence::Newer {
        for (key, versions) in &aliases.target {
            write_target(&mut writing, key, versions, collections, layout);
        }
    }
    writing
}

fn write_source(
    writing: &mut Writing,
    old: &str,
    versions: &Versions,
    collections: &Collections,
    layout: Layout,
    names: &Names,
) {
    let source_key = Family::SourceAlias.named(old);
    match &versions.plain {
        Some(plain) if !is_tombstone(plain) => {
            let collection = match read_source(old, plain) {
                Ok(id) => match living_collection(writing, &source_key, id, collections) {
                    Some(collection) => collection,
                    None => return,
                },
                Err(what) => return writing.problems.push(Problem::new(&source_key, what, LOST)),
            };
            let new = names.alias(old).unwrap_or(old);
            let key = key_in(layout, collection.database, new);
            writing.put(&key, encode(&key, collection.id, 0));
            if versions.snapshots.is_empty() {
                let time = collection.create_time;
                writing.put(&key.clone().at(time), encode(&key, collection.id, time));
                writing.report.snapshots_added.push(format!("alias {new}"));
            }
            write_snapshots(writing, old, &key, &versions.snapshots);
            if old != new {
                let renamed = Renamed { what: Named::Alias, old: old.to_owned(), new: new.to_owned() };
                writing.report.renamed.push(renamed);
            }
            writing.report.aliases.insert(new.to_owned(), collection.id);
        }
        _ => write_dropped(writing, old, versions, layout),
    }
}

/// The collection of a living alias, if the alias is to be written: an alias whose collection is gone is left out, because
/// create_alias of that name is a SIGSEGV of 2.2.16 and 2.3.5 (seen on real servers).
fn living_collection<'a>(
    writing: &mut Writing,
    key: &Key,
    id: i64,
    collections: &'a Collections,
) -> Option<&'a Collection> {
    match collections.standing(id) {
        // What a newer Milvus did with a collection that was switched counts, its aliases included.
        Standing::Live(collection) => (collection.form == Form::Embedded).then_some(collection),
        Standing::Passing => {
            let why = format!("a newer Milvus is making or dropping its collection {id}: its own aliases count");
            writing.report.left_out.push(LeftOut::new(key, why));
            None
        }
        Standing::Invalid | Standing::Lost => {
            let cause = Family::Collection.key([id]).to_string();
            let what = format!("its collection {id} cannot be used");
            writing.problems.push(Problem::caused(key, what, LOST, cause));
            None
        }
        Standing::Gone => {
            let why = format!("the alias leads nowhere: its collection {id} does not exist");
            writing.report.left_out.push(LeftOut::new(key, why));
            None
        }
    }
}

/// The history of a dropped alias moves along, without a plain tombstone: 2.2.16, when it makes an alias of that name, takes the
/// tombstone for an older record to be removed, and with it removes what it has just written (seen on a real server).
fn write_dropped(writing: &mut Writing, name: &str, versions: &Versions, layout: Layout) {
    let key = Family::SourceAlias.named(name);
    let Some((timestamp, newest)) = versions.snapshots.last_key_value() else {
        let why = "the tombstone of a dropped alias without a snapshot";
        return writing.report.left_out.push(LeftOut::new(key, why));
    };
    if !is_tombstone(newest) {
        // 2.2.3 to 2.4.13 build their catalog from snapshots alone: they would bring it back.
        let why = "snapshots of an alias that does not exist: newer versions of Milvus would bring it back";
        return writing.report.left_out.push(LeftOut::new(key.at(*timestamp), why));
    }
    write_snapshots(writing, name, &key_in(layout, DEFAULT_DATABASE, name), &versions.snapshots);
    writing.report.dropped_aliases.push(name.to_owned());
}

fn write_snapshots(writing: &mut Writing, old: &str, key: &Key, snapshots: &BTreeMap<u64, Bytes>) {
    for (timestamp, value) in snapshots {
        let target = key.clone().at(*timestamp);
        if is_tombstone(value) {
            writing.put(&target, value.clone());
            continue;
        }
        match read_source(old, value) {
            Ok(id) => writing.put(&target, encode(key, id, *timestamp)),
            Err(what) => {
                let source = Family::SourceAlias.named(old).at(*timestamp);
                writing.problems.push(Problem::new(&source, what, "this older state of the alias would be left out"));
            }
        }
    }
}

/// An alias that a newer Milvus made: as it is, but where the target has databases, in its database (from 2.2.9 on one that is in
/// none is lost at the next restart when it is altered).
fn write_target(writing: &mut Writing, key: &Key, versions: &Versions, collections: &Collections, layout: Layout) {
    let moves = layout.in_database && key.family == Family::Alias;
    let target = if moves { Family::DatabaseAlias.key_with([DEFAULT_DATABASE], key.name()) } else { key.clone() };
    let edited = |value: &Bytes| match AliasInfo::decode(&**value) {
        Ok(info) if moves && !is_tombstone(value) => {
            Bytes::from(AliasInfo { db_id: DEFAULT_DATABASE, ..info }.encode_to_vec())
        }
        _ => value.clone(),
    };
    for (timestamp, value) in &versions.snapshots {
        writing.put(&target.clone().at(*timestamp), edited(value));
    }
    let Some(plain) = &versions.plain else { return };
    writing.put(&target, edited(plain));
    if versions.snapshots.is_empty()
        && let Ok(info) = AliasInfo::decode(&**plain)
        && let Some(collection) = collections.live(info.collection_id)
    {
        writing.put(&target.at(collection.create_time), edited(plain));
        writing.report.snapshots_added.push(format!("alias {}", key.name()));
    }
}

fn key_in(layout: Layout, database: i64, name: &str) -> Key {
    if layout.in_database { Family::DatabaseAlias.key_with([database], name) } else { Family::Alias.named(name) }
}

/// The collection that an alias record of 2.1 stands for.
fn read_source(name: &str, value: &[u8]) -> Result<i64, String> {
    let info: CollectionInfo = decode(value)?;
    let recorded = info.schema.unwrap_or_default().name;
    if recorded != name {
        return Err(format!("the record is of the alias {recorded:?}, but the key says {name:?}"));
    }
    Ok(info.id)
}

/// `created_time` is the timestamp in snapshots and 0 in the plain key.
fn encode(key: &Key, collection_id: i64, created_time: u64) -> Vec<u8> {
    let db_id = if key.family == Family::DatabaseAlias { key.ids::<1>()[0] } else { 0 };
    AliasInfo { alias_name: key.name().to_owned(), collection_id, created_time, state: 0, db_id }.encode_to_vec()
}
