//! The bytes of a collection's record: what leaves it, and what it becomes. All that is not named here stays as it is.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::names::Names;
use super::problem::Problem;
use super::records::{Versions, decode, same_id};
use crate::layout::families::Family;
use crate::layout::is_tombstone;
use crate::layout::keys::Key;
use crate::layout::messages::common::{CollectionInfo, FieldSchema};
use crate::layout::messages::target::PartitionInfo;
use crate::layout::wire::{self, WireError};

/// Field numbers of etcd.CollectionInfo that leave the record: partition IDs, names, field indexes, partition timestamps.
const EMBEDDED: [u32; 4] = [4, 5, 6, 9];
const FIELD_INDEXES: u32 = 6;
const SCHEMA: u32 = 2;
const DB_ID: u32 = 15;
/// Field number of schema.CollectionSchema's name.
const SCHEMA_NAME: u32 = 1;
/// Field number of schema.CollectionSchema's fields.
const SCHEMA_FIELDS: u32 = 4;

/// Whether a collection record holds any of what newer layouts keep elsewhere.
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
pub(super) fn strip(value: &[u8]) -> Result<Vec<u8>, WireError> {
    let bare = wire::without(value, &EMBEDDED)?;
    wire::edit_nested(&bare, SCHEMA, |schema| wire::without(schema, &[SCHEMA_FIELDS]))
}

/// An older snapshot: self-contained, but without the field indexes.
pub(super) fn older(value: &[u8], database: Option<i64>) -> Result<Vec<u8>, WireError> {
    in_database(wire::without(value, &[FIELD_INDEXES])?, database)
}

/// The record with this name, if it has another one.
pub(super) fn named(value: Vec<u8>, name: &str) -> Result<Vec<u8>, WireError> {
    let old = CollectionInfo::decode(&*value).ok().and_then(|info| info.schema).map(|schema| schema.name);
    if old.as_deref() == Some(name) {
        return Ok(value);
    }
    wire::edit_nested(&value, SCHEMA, |schema| {
        let mut renamed = Vec::with_capacity(schema.len() + name.len());
        prost::encoding::string::encode(SCHEMA_NAME, &name.to_owned(), &mut renamed);
        renamed.extend(wire::without(schema, &[SCHEMA_NAME])?);
        Ok(renamed)
    })
}

/// The record as one of a database.
pub(super) fn in_database(value: Vec<u8>, database: Option<i64>) -> Result<Vec<u8>, WireError> {
    let Some(database) = database else { return Ok(value) };
    let mut record = wire::without(&value, &[DB_ID])?;
    prost::encoding::int64::encode(DB_ID, &database, &mut record);
    Ok(record)
}

/// Partition records of a collection record that has been checked.
pub(super) fn partition_records(collection_id: i64, value: &[u8], names: &Names) -> Vec<PartitionInfo> {
    let info = CollectionInfo::decode(value).unwrap_or_default();
    let names_and_times = info.partition_names.into_iter().zip(info.partition_created_timestamps);
    let ids = info.partition_i_ds.into_iter().zip(names_and_times);
    ids.map(|(partition_id, (name, partition_created_timestamp))| {
        let partition_name = names.partition(collection_id, partition_id).map_or(name, str::to_owned);
        PartitionInfo { partition_id, partition_name, partition_created_timestamp, collection_id, state: 0 }
    })
    .collect()
}

/// Field records: the embedded messages, byte for byte.
pub(super) fn field_records(value: &[u8]) -> Vec<(i64, Vec<u8>)> {
    let mut records = Vec::new();
    for schema in wire::fields(value).unwrap_or_default().into_iter().filter(|field| field.number == SCHEMA) {
        let schema = &value[schema.payload];
        for field in wire::fields(schema).unwrap_or_default().into_iter().filter(|field| field.number == SCHEMA_FIELDS)
        {
            let record = &schema[field.payload];
            let id = FieldSchema::decode(record).unwrap_or_default().field_id;
            records.push((id, record.to_vec()));
        }
    }
    records
}

/// Whether there is a collection for the user: no tombstone, and a newer Milvus is neither making nor dropping it.
pub fn is_living(plain: &[u8]) -> bool {
    let is_passing = || CollectionInfo::decode(plain).is_ok_and(|info| info.state != 0) && !has_embedded(plain);
    !is_tombstone(plain) && !is_passing()
}

/// The name in a collection's record, plain or else in the newest snapshot that has one.
pub fn name_of(versions: &Versions) -> Option<String> {
    let records = versions.plain.iter().chain(versions.snapshots.values().rev());
    let names = records.filter_map(|value| Some(CollectionInfo::decode(&**value).ok()?.schema?.name));
    names.into_iter().find(|name| !name.is_empty())
}

/// The collection that a key of its record is of.
pub(super) fn id_of(key: &Key) -> i64 {
    match key.family {
        Family::DatabaseCollection => key.ids::<2>()[1],
        _ => key.ids::<1>()[0],
    }
}

/// The snapshots that are tombstones or records of this collection; the others are reported and left out.
pub(super) fn sound_snapshots(key: &Key, snapshots: BTreeMap<u64, Bytes>) -> (BTreeMap<u64, Bytes>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut sound = snapshots;
    sound.retain(|timestamp, value| {
        if is_tombstone(value) {
            return true;
        }
        let record = decode::<CollectionInfo>(value).and_then(|info| same_id("ID", info.id, id_of(key)));
        if let Err(what) = &record {
            let key = key.clone().at(*timestamp);
            problems.push(Problem::new(&key, what, "this older state of the collection would be left out"));
        }
        record.is_ok()
    });
    (sound, problems)
}
