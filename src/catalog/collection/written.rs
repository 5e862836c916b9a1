//! Collections as the target keeps them: record and snapshots bare, partitions and fields with keys of their own.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::{Collection, Collections, Form, plain_key};
use crate::catalog::Precedence;
use crate::catalog::collection_record::{field_records, id_of, in_database, named, older, partition_records, strip};
use crate::catalog::names::Names;
use crate::catalog::records::{Records, Versions, Writing};
use crate::catalog::report::{CollectionSummary, LeftOut, Named, Renamed, Repair, RepairKind};
use crate::layout::families::{DEFAULT_DATABASE, Family};
use crate::layout::keys::Key;
use crate::layout::wire::WireError;
use crate::layout::{TOMBSTONE, is_tombstone};
use crate::version::Layout;

/// Writes all collections for a layout.
pub fn write(
    records: &Records,
    collections: &Collections,
    layout: Layout,
    names: &Names,
    precedence: Precedence,
) -> Writing {
    let mut writing = Writing { problems: collections.problems.clone(), ..Writing::default() };
    for collection in collections.iter() {
        let name = names.collection(collection.id);
        write_record(&mut writing, collection, layout, name);
        if collection.form == Form::Separate || precedence == Precedence::Newer {
            complete_parts(&mut writing, records, collection);
        }
        if collection.form == Form::Embedded {
            write_parts(&mut writing, collection, names);
        }
    }
    for (target, past) in past_by_target(&collections.past, layout) {
        write_past(&mut writing, &target, &past);
    }
    writing
}

/// The plain record and all snapshots of a living collection.
fn write_record(writing: &mut Writing, collection: &Collection, layout: Layout, new_name: Option<&str>) {
    let key = collection.key(layout);
    let database = layout.in_database.then_some(collection.database);
    // All of them decode, so they can be cut.
    let name = new_name.unwrap_or(&collection.name);
    let bare = |value: &[u8]| named(strip(value)?, name).and_then(|value| in_database(value, database));
    let plain = bare(&collection.record).unwrap_or_else(|_: WireError| collection.record.to_vec());
    let newest = collection.snapshots.last_key_value().map(|(timestamp, _)| *timestamp);
    for (timestamp, value) in &collection.snapshots {
        let edited = match Some(*timestamp) == newest {
            true => bare(value),
            false => older(value, database),
        };
        let edited = edited.unwrap_or_else(|_: WireError| value.to_vec());
        writing.put(&key.clone().at(*timestamp), edited);
    }
    if newest.is_none() {
        writing.put(&key.clone().at(collection.create_time), plain.clone());
        writing.report.snapshots_added.push(format!("collection {name}"));
    }
    writing.put(&key, plain);
    if let Some(new) = new_name
        && *new != collection.name
    {
        let (old, new) = (collection.name.clone(), new.to_owned());
        writing.report.renamed.push(Renamed { what: Named::Collection, old, new });
    }
}

/// Partitions and fields to keys of their own, each with a snapshot at the timestamp of the collection's newest one, so that a
/// read at any time sees one consistent collection.
fn write_parts(writing: &mut Writing, collection: &Collection, names: &Names) {
    let (id, timestamp) = (collection.id, collection.snapshot_time());
    let mut both = |key: Key, value: Vec<u8>| {
        writing.put(&key.clone().at(timestamp), value.clone());
        writing.put(&key, value);
    };
    let mut partitions = Vec::new();
    for record in partition_records(id, collection.embedding(), names) {
        partitions.push(record.partition_name.clone());
        both(Family::Partition.key([id, record.partition_id]), record.encode_to_vec());
    }
    for (field, value) in field_records(collection.embedding()) {
        both(Family::Field.key([id, field]), value);
    }
    for (partition, old) in &collection.partitions {
        if let Some(new) = names.partition(id, *partition) {
            let renamed = Renamed { what: Named::Partition, old: old.clone(), new: new.to_owned() };
            writing.report.renamed.push(renamed);
        }
    }
    let name = names.collection(id).unwrap_or(&collection.name).to_owned();
    if let Some((timestamp, _)) = collection.schema_of {
        let what = format!("collection {name:?}: its schema is taken from the snapshot _ts{timestamp}");
        writing.report.repairs.push(Repair { kind: RepairKind::LostSchema, key: plain_key(id).to_string(), what });
    }
    let fields = collection.fields.len();
    let summary = CollectionSummary { id, name, partitions, fields, ..Default::default() };
    writing.report.collections.insert(id, summary);
}

/// Partitions and fields that have records of their own, but no snapshot: 2.2.3 to 2.4.13 build their catalog from snapshots alone.
fn complete_parts(writing: &mut Writing, records: &Records, collection: &Collection) {
    for family in [Family::Partition, Family::Field] {
        for (key, versions) in records.versions_under(family, collection.id) {
            if let Some(plain) = versions.plain.filter(|plain| !is_tombstone(plain))
                && versions.snapshots.is_empty()
            {
                writing.put(&key.at(collection.snapshot_time()), plain);
            }
        }
    }
}

/// What is left of a collection that is gone, each with the key that it is under: of a move that was interrupted, some of it is in
/// either place.
#[derive(Default)]
struct Past<'a> {
    /// The key of its tombstone, if there is a plain one.
    plain: Option<&'a Key>,
    snapshots: BTreeMap<u64, (&'a Key, &'a Bytes)>,
}

/// What is left of collections that are gone, by the key that it gets.
fn past_by_target(past: &[(Key, Versions)], layout: Layout) -> BTreeMap<Key, Past<'_>> {
    let mut by_target: BTreeMap<Key, Past<'_>> = BTreeMap::new();
    for (key, versions) in past {
        let target = match (layout.in_database, key.family) {
            (true, Family::Collection) => Family::DatabaseCollection.key([DEFAULT_DATABASE, id_of(key)]),
            _ => key.clone(),
        };
        let found = by_target.entry(target).or_default();
        found.plain = versions.plain.as_ref().map(|_| key).or(found.plain);
        found.snapshots.extend(versions.snapshots.iter().map(|(timestamp, value)| (*timestamp, (key, value))));
    }
    by_target
}

/// What is left of a collection that is gone moves along, so that a read at an earlier time still finds it.
fn write_past(writing: &mut Writing, target: &Key, past: &Past<'_>) {
    let Some((newest, (key, value))) = past.snapshots.last_key_value() else {
        if let Some(key) = past.plain {
            let why = "a tombstone without a snapshot, which newer versions of Milvus cannot load";
            writing.report.left_out.push(LeftOut::new(key, why));
        }
        return;
    };
    if !is_tombstone(value) {
        // 2.2.3 to 2.4.13 build their catalog from snapshots alone: they would bring it back.
        let why = "snapshots of a collection that does not exist: newer versions of Milvus would bring it back";
        writing.report.left_out.push(LeftOut::new((*key).clone().at(*newest), why));
        return;
    }
    let database = (target.family == Family::DatabaseCollection).then(|| target.ids::<2>()[0]);
    for (timestamp, (_, value)) in &past.snapshots {
        let edited = match is_tombstone(value) {
            true => value.to_vec(),
            false => older(value, database).unwrap_or_else(|_: WireError| value.to_vec()),
        };
        writing.put(&target.clone().at(*timestamp), edited);
    }
    if past.plain.is_some() {
        writing.put(target, TOMBSTONE);
    }
}
