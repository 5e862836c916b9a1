//! Collections: partitions and fields leave the collection record and get keys of their own (layouts.md, rule 1).
//!
//! Milvus 2.2 could read them embedded too, but every later rewrite of the record (a rename, a property, and from 2.4.23 on
//! the mere start: milvus pull request 33641) writes it back without them, and the schema is gone.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use super::builder::Builder;
use super::checkpoints::Channels;
use super::inventory::{Versions, decode, same_id};
use super::names::Names;
use super::report::{CollectionSummary, Renamed};
use crate::layout::keys::{Key, Plain};
use crate::layout::messages::common::{CollectionInfo, FieldIndexInfo, FieldSchema};
use crate::layout::messages::target::PartitionInfo;
use crate::layout::wire::{self, WireError};
use crate::layout::{TOMBSTONE, is_tombstone};

/// Field numbers of etcd.CollectionInfo that leave the record: partition IDs, names, field indexes, partition timestamps.
const EMBEDDED: [u32; 4] = [4, 5, 6, 9];
const FIELD_INDEXES: u32 = 6;
const SCHEMA: u32 = 2;
/// Field number of schema.CollectionSchema's name.
const SCHEMA_NAME: u32 = 1;
/// Field number of schema.CollectionSchema's fields.
const SCHEMA_FIELDS: u32 = 4;

const LOST: &str = "the collection would be lost, with its aliases, indexes and load state";

/// What is known of a collection once all records have been looked at.
#[derive(Debug)]
pub enum Collection {
    /// In the 2.1 layout: to be converted.
    Source(SourceCollection),
    /// In the 2.2 layout already: nothing of it is touched.
    Target,
    /// Dropped, or only snapshots are left.
    Gone,
    /// Its record cannot be used; the key has been reported.
    Invalid,
}

/// A collection in the 2.1 layout, decoded and checked.
#[derive(Debug)]
pub struct SourceCollection {
    pub name: String,
    pub fields: BTreeMap<i64, FieldSchema>,
    /// Names of the partitions by ID.
    pub partitions: BTreeMap<i64, String>,
    pub field_indexes: Vec<FieldIndexInfo>,
    pub channels: Channels,
}

/// Whether a collection record holds any of what the 2.2 layout keeps elsewhere.
pub fn has_embedded(value: &[u8]) -> bool {
    let Ok(fields) = wire::fields(value) else { return false };
    fields.iter().any(|field| {
        let embedded_schema = || {
            let schema = &value[field.payload.clone()];
            wire::fields(schema).is_ok_and(|inner| inner.iter().any(|field| field.number == SCHEMA_FIELDS))
        };
        EMBEDDED.contains(&field.number) || (field.number == SCHEMA && field.delimited && embedded_schema())
    })
}

/// The record without partitions, field indexes and schema fields; nothing else of it changes.
fn strip(value: &[u8]) -> Result<Vec<u8>, WireError> {
    let bare = wire::without(value, &EMBEDDED)?;
    wire::edit_nested(&bare, SCHEMA, |schema| wire::without(schema, &[SCHEMA_FIELDS]))
}

/// The record with another name for the collection.
fn rename(value: &[u8], name: &str) -> Result<Vec<u8>, WireError> {
    wire::edit_nested(value, SCHEMA, |schema| {
        let mut renamed = Vec::with_capacity(schema.len() + name.len());
        prost::encoding::string::encode(SCHEMA_NAME, &name.to_owned(), &mut renamed);
        renamed.extend(wire::without(schema, &[SCHEMA_NAME])?);
        Ok(renamed)
    })
}

/// As [`strip`], with the name that the plain record has, which may be a new one: both tell of the same collection.
fn strip_as(value: &[u8], plain: &[u8]) -> Result<Vec<u8>, WireError> {
    let name = |record| CollectionInfo::decode(record).ok()?.schema.map(|schema| schema.name);
    let stripped = strip(value)?;
    match name(plain) {
        Some(new) if name(value).is_some_and(|old| old != new) => rename(&stripped, &new),
        _ => Ok(stripped),
    }
}

/// Plans all collections, and says of each what it is.
pub(super) fn convert(
    builder: &mut Builder,
    records: BTreeMap<i64, Versions>,
    names: &Names,
) -> BTreeMap<i64, Collection> {
    let new_name = |id: &i64| names.collections.get(id).map(String::as_str);
    records.into_iter().map(|(id, versions)| (id, convert_one(builder, id, versions, new_name(&id)))).collect()
}

fn convert_one(builder: &mut Builder, id: i64, versions: Versions, new_name: Option<&str>) -> Collection {
    let snapshots = sound_snapshots(builder, id, versions.snapshots);
    let newest = snapshots.last_key_value().map(|(timestamp, value)| (*timestamp, value.clone()));
    let collection = match &versions.plain {
        None => Collection::Gone,
        Some(plain) if is_tombstone(&plain.value) => {
            if newest.is_none() {
                builder.remove_tombstone(&Plain::Collection(id));
            }
            Collection::Gone
        }
        Some(plain) => convert_live(builder, id, &plain.value, newest.as_ref(), new_name),
    };
    let plain = versions.plain.as_ref().map(|plain| &plain.value[..]);
    convert_snapshots(builder, id, &collection, plain, &snapshots);
    collection
}

fn convert_live(
    builder: &mut Builder,
    id: i64,
    value: &[u8],
    newest: Option<&(u64, Bytes)>,
    new_name: Option<&str>,
) -> Collection {
    let key = Key::Plain(Plain::Collection(id)).to_string();
    match read(id, value, newest) {
        Ok(Read::Source(mut source)) => {
            if let Some(new) = new_name {
                let old = std::mem::replace(&mut source.name, new.to_owned());
                builder.report.renamed_collections.push(Renamed { old, new: new.to_owned() });
            }
            source.channels.names().for_each(|channel| name_channel(builder, channel));
            separate(builder, id, &source, value, newest, new_name);
            Collection::Source(source)
        }
        Ok(Read::Target(info)) => {
            info.virtual_channel_names.iter().for_each(|channel| name_channel(builder, channel));
            builder.check_complete(&key, id, &info);
            Collection::Target
        }
        Err(what) => {
            builder.problems.add(&key, what, LOST);
            builder.delete_invalid(&key);
            Collection::Invalid
        }
    }
}

fn name_channel(builder: &mut Builder, channel: &str) {
    *builder.channels.entry(channel.to_owned()).or_default() += 1;
}

/// The snapshots that are tombstones or records of this collection; the others are reported and left out.
fn sound_snapshots(builder: &mut Builder, id: i64, snapshots: BTreeMap<u64, Bytes>) -> BTreeMap<u64, Bytes> {
    let mut sound = snapshots;
    sound.retain(|timestamp, value| {
        if is_tombstone(value) {
            return true;
        }
        let record = decode::<CollectionInfo>(value).and_then(|info| same_id("ID", info.id, id));
        if let Err(what) = &record {
            let key = Key::Snapshot(Plain::Collection(id), *timestamp).to_string();
            builder.problems.add(&key, what, "this older state of the collection would be left out");
            builder.delete_invalid(&key);
        }
        record.is_ok()
    });
    sound
}

enum Read {
    Source(SourceCollection),
    Target(CollectionInfo),
}

/// Decodes and checks the plain record of a live collection.
fn read(id: i64, value: &[u8], newest: Option<&(u64, Bytes)>) -> Result<Read, String> {
    let info: CollectionInfo = decode(value)?;
    same_id("ID", info.id, id)?;
    if !has_embedded(value) {
        return Ok(Read::Target(info));
    }
    if let Some((timestamp, value)) = newest
        && is_tombstone(value)
    {
        return Err(format!(
            "the collection is there, but its newest snapshot (_ts{timestamp}) says that it was dropped: \
             Milvus 2.2 would remove it when it cleans up its snapshots"
        ));
    }
    Ok(Read::Source(source_collection(info)?))
}

fn source_collection(info: CollectionInfo) -> Result<SourceCollection, String> {
    let channels = Channels::of(&info);
    let (ids, names, times) =
        (info.partition_ids.len(), info.partition_names.len(), info.partition_created_timestamps.len());
    if ids != names || ids != times {
        return Err(format!("it has {ids} partition IDs, {names} partition names and {times} partition timestamps"));
    }
    let partitions: BTreeMap<_, _> = info.partition_ids.into_iter().zip(info.partition_names).collect();
    if partitions.len() < ids {
        return Err("a partition ID occurs twice".into());
    }
    if partitions.is_empty() {
        return Err("it has no partitions".into());
    }
    let schema = info.schema.unwrap_or_default();
    let number = schema.fields.len();
    let fields: BTreeMap<_, _> = schema.fields.into_iter().map(|field| (field.field_id, field)).collect();
    if fields.len() < number {
        return Err("a field ID occurs twice".into());
    }
    if fields.is_empty() {
        return Err("its schema has no fields".into());
    }
    Ok(SourceCollection { name: schema.name, fields, partitions, field_indexes: info.field_indexes, channels })
}

/// Writes partitions and fields to keys of their own, then cuts them out of the record and of its newest snapshot.
///
/// The new keys get a snapshot at the timestamp of the collection's newest one, so that a read at any time sees one consistent
/// collection. Record and newest snapshot change in one transaction: that is the instant at which the layout changes.
fn separate(
    builder: &mut Builder,
    id: i64,
    source: &SourceCollection,
    plain: &[u8],
    newest: Option<&(u64, Bytes)>,
    new_name: Option<&str>,
) {
    let timestamp = newest.map(|(timestamp, _)| *timestamp);
    for (partition, value) in partition_records(id, plain) {
        builder.prepare_versioned(Plain::Partition { collection: id, partition }, timestamp, value);
    }
    for (field, value) in field_records(plain) {
        builder.prepare_versioned(Plain::Field { collection: id, field }, timestamp, value);
    }
    builder.report.collections.push(CollectionSummary {
        id,
        name: source.name.clone(),
        partitions: source.partitions.values().cloned().collect(),
        fields: source.fields.len(),
        ..CollectionSummary::default()
    });
    // Both decode, so they can be cut.
    let renamed = |stripped: Vec<u8>| new_name.map_or(Ok(stripped.clone()), |name| rename(&stripped, name));
    let record = strip(plain).and_then(renamed).unwrap_or_else(|_: WireError| plain.to_vec());
    let newest = newest
        .map(|(timestamp, value)| (*timestamp, strip_as(value, &record).unwrap_or_else(|_: WireError| value.to_vec())));
    builder.switch_collection(id, record, newest);
}

/// Partition records of a collection record that has been checked.
fn partition_records(collection_id: i64, plain: &[u8]) -> Vec<(i64, Vec<u8>)> {
    let info = CollectionInfo::decode(plain).unwrap_or_default();
    let names_and_times = info.partition_names.into_iter().zip(info.partition_created_timestamps);
    info.partition_ids
        .into_iter()
        .zip(names_and_times)
        .map(|(partition_id, (partition_name, partition_created_timestamp))| {
            let record =
                PartitionInfo { partition_id, partition_name, partition_created_timestamp, collection_id, state: 0 };
            (partition_id, record.encode_to_vec())
        })
        .collect()
}

/// Field records: the embedded messages, byte for byte.
fn field_records(plain: &[u8]) -> Vec<(i64, Vec<u8>)> {
    let mut records = Vec::new();
    for schema in wire::fields(plain).unwrap_or_default().into_iter().filter(|field| field.number == SCHEMA) {
        let schema = &plain[schema.payload];
        for field in wire::fields(schema).unwrap_or_default().into_iter().filter(|field| field.number == SCHEMA_FIELDS)
        {
            let record = &schema[field.payload];
            let id = FieldSchema::decode(record).unwrap_or_default().field_id;
            records.push((id, record.to_vec()));
        }
    }
    records
}

/// Older snapshots stay self-contained, without the field indexes. The newest of a live collection has been dealt with; that of
/// one that has been switched already is stripped (and renamed) like its record if its fields and partitions have snapshots of
/// the same time.
fn convert_snapshots(
    builder: &mut Builder,
    id: i64,
    collection: &Collection,
    plain: Option<&[u8]>,
    snapshots: &BTreeMap<u64, Bytes>,
) {
    let newest = snapshots.last_key_value().map(|(timestamp, _)| *timestamp);
    for (timestamp, value) in snapshots.iter().filter(|(_, value)| !is_tombstone(value)) {
        let edited = match collection {
            Collection::Source(_) if Some(*timestamp) == newest => continue,
            Collection::Target if Some(*timestamp) == newest && builder.has_field_snapshots(id, *timestamp) => {
                strip_as(value, plain.unwrap_or_default())
            }
            _ => wire::without(value, &[FIELD_INDEXES]),
        };
        // A record that decodes can be cut.
        if let Ok(edited) = edited
            && edited != *value
        {
            builder.clean_up_collection(id, *timestamp, edited);
        }
    }
}

/// IDs of all fields and partitions for which a live record exists, of collections in the 2.2 layout.
pub(super) fn complete_collections<'a>(target: impl Iterator<Item = (&'a Bytes, &'a Bytes)>) -> [BTreeSet<i64>; 2] {
    let mut with_fields = BTreeSet::new();
    let mut with_partitions = BTreeSet::new();
    for (key, value) in target {
        if value == TOMBSTONE {
            continue;
        }
        match Key::parse(key) {
            Ok(Key::Plain(Plain::Field { collection, .. })) => with_fields.insert(collection),
            Ok(Key::Plain(Plain::Partition { collection, .. })) => with_partitions.insert(collection),
            _ => false,
        };
    }
    [with_fields, with_partitions]
}
