//! Collections with their partitions and fields (docs/layouts.md, rule 1).
//!
//! 2.1 embeds partitions, fields and the list of indexes in the collection record. Newer versions read that too, but every later
//! rewrite of the record (a rename, a property) writes it back without them, and the schema is gone; so all of them get keys of
//! their own, and from 2.2.9 on the record moves to its database.

mod written;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use super::channel::ChannelStart;
use super::collection_record::{has_embedded, id_of, name_of, sound_snapshots};
use super::names::Names;
use super::problem::Problem;
use super::records::{Records, Versions, decode, same_id};
use crate::layout::families::{DEFAULT_DATABASE, Family};
use crate::layout::is_tombstone;
use crate::layout::keys::Key;
use crate::layout::messages::common::{CollectionInfo, DataType, FieldIndexInfo, FieldSchema};
use crate::layout::messages::target::PartitionInfo;
use crate::version::Layout;

pub use written::write;

const LOST: &str = "the collection would be lost, with its aliases, indexes and load state";

/// What is known of a collection once its records have been looked at.
#[derive(Debug)]
pub enum Standing {
    /// It is there.
    Live(Box<Collection>),
    /// A newer Milvus is making or dropping it: left as it is.
    Passing,
    /// Dropped, or only snapshots are left.
    Gone,
    /// In the newer form, and it cannot be used, as one that has lost its schema: reported, and left as it is.
    Lost,
    /// Its record cannot be used; the key has been reported.
    Invalid,
}

/// How a collection record is spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As 2.1 spells it: partitions and fields embedded.
    Embedded,
    /// As 2.2 and later do: with records of their own.
    Separate,
}

/// A living collection, decoded and checked.
#[derive(Debug)]
pub struct Collection {
    /// Its ID.
    pub id: i64,
    /// The name in the record.
    pub name: String,
    /// The database, 1 for what is in none.
    pub database: i64,
    /// Hybrid timestamp of its creation.
    pub create_time: u64,
    /// All fields in the order of the schema.
    pub fields: Vec<FieldSchema>,
    /// Names of the partitions by ID.
    pub partitions: BTreeMap<i64, String>,
    /// Which fields have which indexes, as 2.1 notes it.
    pub field_indexes: Vec<FieldIndexInfo>,
    /// Its channels, and where they begin.
    pub channels: Vec<ChannelStart>,
    /// How its record is spelt.
    pub form: Form,
    record: Bytes,
    snapshots: BTreeMap<u64, Bytes>,
    /// The record that embeds partitions and fields, where the plain one has lost them.
    schema_of: Option<(u64, Bytes)>,
}

/// All collections, with what is left of those that are gone.
#[derive(Debug, Default)]
pub struct Collections {
    all: BTreeMap<i64, Standing>,
    /// Collections that are gone: their records and snapshots, by key.
    past: Vec<(Key, Versions)>,
    /// Whatever cannot be used.
    problems: Vec<Problem>,
}

impl Collections {
    /// What is known of a collection; one that was never heard of is gone.
    pub fn standing(&self, id: i64) -> &Standing {
        self.all.get(&id).unwrap_or(&Standing::Gone)
    }

    /// A living collection.
    pub fn live(&self, id: i64) -> Option<&Collection> {
        match self.all.get(&id) {
            Some(Standing::Live(collection)) => Some(collection),
            _ => None,
        }
    }

    /// All living collections, by ID.
    pub fn iter(&self) -> impl Iterator<Item = &Collection> {
        self.all.values().filter_map(|standing| match standing {
            Standing::Live(collection) => Some(&**collection),
            _ => None,
        })
    }

    /// From here on everything tells of collections and partitions by their names afterwards.
    pub fn take_new_names(&mut self, names: &Names) {
        for standing in self.all.values_mut() {
            let Standing::Live(collection) = standing else { continue };
            if let Some(new) = names.collection(collection.id) {
                new.clone_into(&mut collection.name);
            }
            for (id, name) in &mut collection.partitions {
                if let Some(new) = names.partition(collection.id, *id) {
                    new.clone_into(name);
                }
            }
        }
    }

    /// Living collections that 2.1 would read: those that get converted.
    pub fn embedded(&self) -> impl Iterator<Item = &Collection> {
        self.iter().filter(|collection| collection.form == Form::Embedded)
    }
}

impl Collection {
    /// A field by its ID.
    pub fn field(&self, id: i64) -> Option<&FieldSchema> {
        self.fields.iter().find(|field| field.field_id == id)
    }

    /// The dimension of the last vector field, by which 2.1's compaction cuts its files.
    pub fn last_dimension(&self) -> Option<i64> {
        let vectors = [DataType::BinaryVector as i32, DataType::FloatVector as i32];
        let last = self.fields.iter().rfind(|field| vectors.contains(&field.data_type))?;
        last.type_params.iter().find(|pair| pair.key == "dim")?.value.parse().ok()
    }

    /// Whether partitions and fields come from an older snapshot, because the plain record has lost them.
    pub fn has_lost_its_schema(&self) -> bool {
        self.schema_of.is_some()
    }

    /// The key of its plain record in a layout.
    fn key(&self, layout: Layout) -> Key {
        if layout.in_database { Family::DatabaseCollection.key([self.database, self.id]) } else { plain_key(self.id) }
    }

    /// The time of its newest snapshot, or the one that it gets.
    pub fn snapshot_time(&self) -> u64 {
        self.snapshots.last_key_value().map_or(self.create_time, |(timestamp, _)| *timestamp)
    }
}

fn plain_key(id: i64) -> Key {
    Family::Collection.key([id])
}

/// Reads all collections of either layout. With `restore_schemas` one that has lost its schema (as the original tool's
/// migration ends) takes it from an older snapshot.
pub fn read(records: &Records, restore_schemas: bool) -> Collections {
    let parts = Parts::read(records);
    let mut collections = Collections::default();
    let mut in_database: BTreeMap<i64, (Key, Versions)> = BTreeMap::new();
    for (key, versions) in records.versions_of(Family::DatabaseCollection) {
        let [_, id] = key.ids();
        in_database.insert(id, (key, versions));
    }
    for (key, versions) in records.versions_of(Family::Collection) {
        let [id] = key.ids();
        let is_live = |versions: &Versions| versions.plain.as_ref().is_some_and(|plain| !is_tombstone(plain));
        match in_database.get(&id) {
            // Moved already, by a run that was interrupted between the two.
            Some((_, newer)) if is_live(newer) => continue,
            // A move that was interrupted before the plain record: the old form has it all.
            Some((_, newer)) if newer.plain.is_none() && is_live(&versions) => drop(in_database.remove(&id)),
            _ => {}
        }
        let is_moved = in_database.contains_key(&id);
        collections.read_one(key, versions, is_moved, &parts, restore_schemas);
    }
    for (key, versions) in in_database.into_values() {
        collections.read_one(key, versions, true, &parts, restore_schemas);
    }
    collections
}

/// Fields and partitions that have records of their own, by collection.
struct Parts {
    fields: BTreeMap<i64, Vec<FieldSchema>>,
    partitions: BTreeMap<i64, BTreeMap<i64, String>>,
}

impl Parts {
    fn read(records: &Records) -> Self {
        let mut parts = Self { fields: BTreeMap::new(), partitions: BTreeMap::new() };
        for (key, record) in records.of(Family::Field) {
            let [collection, _] = key.ids();
            if let Ok(field) = FieldSchema::decode(&*record.value) {
                parts.fields.entry(collection).or_default().push(field);
            }
        }
        for (key, record) in records.of(Family::Partition) {
            let [collection, partition] = key.ids();
            if let Ok(info) = PartitionInfo::decode(&*record.value) {
                parts.partitions.entry(collection).or_default().insert(partition, info.partition_name);
            }
        }
        parts
    }
}

impl Collections {
    /// Takes in a collection's record and snapshots; `is_moved` if its database has it, too.
    fn read_one(&mut self, key: Key, versions: Versions, is_moved: bool, parts: &Parts, restore_schemas: bool) {
        let id = id_of(&key);
        let (snapshots, problems) = sound_snapshots(&key, versions.snapshots);
        self.problems.extend(problems);
        let standing = match versions.plain {
            Some(value) if !is_tombstone(&value) => {
                let is_newer = is_of_newer_form(&value, id);
                match read_live(&key, value, snapshots, parts, restore_schemas) {
                    Ok(Some(collection)) => Standing::Live(Box::new(collection)),
                    Ok(None) => Standing::Passing,
                    Err(what) => {
                        self.problems.push(Problem::new(&key, what, LOST));
                        if is_newer { Standing::Lost } else { Standing::Invalid }
                    }
                }
            }
            plain => {
                let past = Versions { plain, snapshots };
                match lost(&past).filter(|_| !is_moved) {
                    Some(what) => {
                        self.problems.push(Problem::new(&key, what, LOST));
                        Standing::Invalid
                    }
                    None => {
                        self.past.push((key, past));
                        Standing::Gone
                    }
                }
            }
        };
        self.all.insert(id, standing);
    }
}

/// What is wrong where a collection's record is gone while its newest snapshot is alive. Milvus 2.1 drops with tombstones, and what it
/// clears away later are tombstones: nothing but a loss leaves this.
fn lost(versions: &Versions) -> Option<String> {
    let (timestamp, newest) = versions.snapshots.last_key_value()?;
    if versions.plain.is_some() || is_tombstone(newest) {
        return None;
    }
    let name = name_of(versions).map_or_else(String::new, |name| format!(" ({name})"));
    Some(format!(
        "the collection's record is missing, but its newest snapshot (_ts{timestamp}){name} is alive: Milvus did not drop it, the key was \
         lost. Put it back from a backup, or with the value of that snapshot"
    ))
}

fn is_of_newer_form(value: &[u8], id: i64) -> bool {
    !has_embedded(value) && CollectionInfo::decode(value).is_ok_and(|info| info.id == id)
}

/// Decodes and checks the plain record of a collection; `None` if a newer Milvus is making or dropping it.
fn read_live(
    key: &Key,
    record: Bytes,
    snapshots: BTreeMap<u64, Bytes>,
    parts: &Parts,
    restore_schemas: bool,
) -> Result<Option<Collection>, String> {
    let info: CollectionInfo = decode(&record)?;
    let id = id_of(key);
    same_id("ID", info.id, id)?;
    let embeds = has_embedded(&record);
    if info.state != 0 && !embeds {
        return Ok(None);
    }
    let newest = snapshots.last_key_value();
    if let Some((timestamp, value)) = newest
        && is_tombstone(value)
    {
        return Err(format!(
            "the collection is there, but its newest snapshot (_ts{timestamp}) says that it was dropped: \
             newer versions of Milvus would remove it when they clean up their snapshots"
        ));
    }
    let mut collection = Collection {
        id,
        name: info.schema.as_ref().map(|schema| schema.name.clone()).unwrap_or_default(),
        database: info.db_id.max(DEFAULT_DATABASE),
        create_time: info.create_time,
        fields: Vec::new(),
        partitions: BTreeMap::new(),
        field_indexes: info.field_indexes.clone(),
        channels: ChannelStart::of(&info),
        form: if embeds { Form::Embedded } else { Form::Separate },
        record,
        snapshots,
        schema_of: None,
    };
    let has_own = parts.fields.contains_key(&id) && parts.partitions.contains_key(&id);
    match (embeds, has_own) {
        (true, _) => collection.take_embedded(info)?,
        (false, true) => {
            collection.fields = parts.fields.get(&id).cloned().unwrap_or_default();
            collection.partitions = parts.partitions.get(&id).cloned().unwrap_or_default();
        }
        (false, false) if restore_schemas => collection.take_older_schema()?,
        (false, false) => {
            return Err("the record has no fields or partitions embedded, and there are no records of them either: \
                 the collection has lost its schema, and Milvus cannot use it (`repair` looks for it in older snapshots)"
                .into());
        }
    }
    Ok(Some(collection))
}

impl Collection {
    /// Takes partitions and fields out of a record that embeds them.
    fn take_embedded(&mut self, info: CollectionInfo) -> Result<(), String> {
        let (ids, names, times) =
            (info.partition_i_ds.len(), info.partition_names.len(), info.partition_created_timestamps.len());
        if ids != names || ids != times {
            return Err(format!(
                "it has {ids} partition IDs, {names} partition names and {times} partition timestamps"
            ));
        }
        self.partitions = info.partition_i_ds.into_iter().zip(info.partition_names).collect();
        if self.partitions.len() < ids {
            return Err("a partition ID occurs twice".into());
        }
        if self.partitions.is_empty() {
            return Err("it has no partitions".into());
        }
        self.fields = info.schema.unwrap_or_default().fields;
        let distinct: BTreeSet<_> = self.fields.iter().map(|field| field.field_id).collect();
        if distinct.len() < self.fields.len() {
            return Err("a field ID occurs twice".into());
        }
        if self.fields.is_empty() {
            return Err("its schema has no fields".into());
        }
        Ok(())
    }

    /// Takes partitions and fields out of the newest snapshot that has them: the plain record has lost them.
    fn take_older_schema(&mut self) -> Result<(), String> {
        for (timestamp, value) in self.snapshots.clone().into_iter().rev() {
            if is_tombstone(&value) || !has_embedded(&value) {
                continue;
            }
            if let Ok(info) = CollectionInfo::decode(&*value)
                && self.take_embedded(info).is_ok()
            {
                self.schema_of = Some((timestamp, value));
                self.form = Form::Embedded;
                return Ok(());
            }
        }
        Err("it has lost its schema, and no snapshot has it".into())
    }

    /// The record that embeds partitions and fields.
    fn embedding(&self) -> &[u8] {
        self.schema_of.as_ref().map_or(&*self.record, |(_, value)| value)
    }
}
