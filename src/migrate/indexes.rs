//! Indexes: field index entries of the collection joined with their index records (layouts.md, rule 3).

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use serde_json::value::RawValue;

use super::builder::Builder;
use super::collections::{Collection, SourceCollection};
use super::inventory::Decoded;
use super::report::{IndexSummary, RepairKind};
use crate::layout::keys::{Key, Plain};
use crate::layout::messages::common::{FieldSchema, KeyValuePair};
use crate::layout::messages::{source, target};

/// The name that 2.1 gives to every index for which the user gave none.
const DEFAULT_NAME: &str = "_default_idx";
const LOST: &str = "the index would be lost, with its segment indexes";

/// An index that gets converted, as segment indexes and load states need it.
#[derive(Debug)]
pub(super) struct Index {
    pub field: FieldSchema,
    pub name: String,
    /// The parameter `index_type`.
    pub kind: String,
    /// The parameter `metric_type`.
    pub metric: String,
    pub deleted: bool,
}

/// What is known of the indexes of all collections, by collection and index ID.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    converted: BTreeMap<(i64, i64), Index>,
    /// Indexes that cannot be used, with the key of the problem.
    invalid: BTreeMap<(i64, i64), String>,
}

impl Indexes {
    pub(super) fn get(&self, collection: i64, index: i64) -> Option<&Index> {
        self.converted.get(&(collection, index))
    }

    /// The key of the problem that makes an index unusable.
    pub(super) fn problem_of(&self, collection: i64, index: i64) -> Option<&String> {
        self.invalid.get(&(collection, index))
    }

    /// The live index of each field, by field ID.
    pub(super) fn live(&self, collection: i64) -> BTreeMap<i64, i64> {
        self.converted
            .range((collection, i64::MIN)..=(collection, i64::MAX))
            .filter(|(_, index)| !index.deleted)
            .map(|((_, id), index)| (index.field.field_id, *id))
            .collect()
    }
}

/// Plans all indexes.
pub(super) fn convert(
    builder: &mut Builder,
    mut records: BTreeMap<(i64, i64), Decoded<source::IndexInfo>>,
    collections: &BTreeMap<i64, Collection>,
) -> Indexes {
    let mut indexes = Indexes::default();
    for (id, collection) in collections {
        if let Collection::Source(collection) = collection {
            convert_collection(builder, &mut indexes, *id, collection, &mut records);
        }
    }
    for ((collection, index), record) in records {
        if let Ok(record) = record {
            unlisted(builder, &mut indexes, collection, index, &record, collections);
        }
    }
    indexes
}

/// An index of a collection: its entry in the collection record, its field, its index record.
struct Entry {
    id: i64,
    field: FieldSchema,
    info: source::IndexInfo,
}

fn convert_collection(
    builder: &mut Builder,
    indexes: &mut Indexes,
    id: i64,
    collection: &SourceCollection,
    records: &mut BTreeMap<(i64, i64), Decoded<source::IndexInfo>>,
) {
    let entries = join(builder, indexes, id, collection, records);
    let names = unique_names(builder, id, collection, &entries);
    for (entry, name) in entries.into_iter().zip(names) {
        convert_entry(builder, indexes, id, entry, name);
    }
    for (field, count) in count_live_by_field(indexes, id) {
        if count > 1 {
            builder.report.warnings.push(format!(
                "field {field} of collection {:?} has {count} live indexes; its load state names the one made last",
                collection.name
            ));
        }
    }
}

fn count_live_by_field(indexes: &Indexes, collection: i64) -> BTreeMap<i64, usize> {
    let mut counts = BTreeMap::new();
    for (_, index) in indexes.converted.range((collection, i64::MIN)..=(collection, i64::MAX)) {
        *counts.entry(index.field.field_id).or_default() += usize::from(!index.deleted);
    }
    counts
}

/// Joins the field index entries of a collection with fields and index records, in order of field and index ID.
fn join(
    builder: &mut Builder,
    indexes: &mut Indexes,
    id: i64,
    collection: &SourceCollection,
    records: &mut BTreeMap<(i64, i64), Decoded<source::IndexInfo>>,
) -> Vec<Entry> {
    let collection_key = Plain::Collection(id).to_string();
    let listed: BTreeSet<(i64, i64)> =
        collection.field_indexes.iter().map(|entry| (entry.field_id, entry.index_id)).collect();
    let mut entries = Vec::new();
    for (field_id, index_id) in listed {
        let index_key = Plain::SourceIndex { collection: id, index: index_id }.to_string();
        match (collection.fields.get(&field_id), records.remove(&(id, index_id))) {
            (Some(field), Some(Ok(info))) => entries.push(Entry { id: index_id, field: field.clone(), info }),
            (_, Some(Err(_))) => {
                indexes.invalid.insert((id, index_id), index_key);
            }
            (_, None) => {
                let what = format!("it lists index {index_id} on field {field_id}, but there is no record {index_key}");
                builder.problems.add(&collection_key, what, LOST);
                indexes.invalid.insert((id, index_id), collection_key.clone());
            }
            (None, Some(Ok(_))) => {
                let what = format!("it lists index {index_id} on field {field_id}, which its schema does not have");
                builder.problems.add(&collection_key, what, LOST);
                indexes.invalid.insert((id, index_id), collection_key.clone());
            }
        }
    }
    entries
}

/// Names for all entries, such that no two live indexes of the collection share one: 2.2 would drop both together.
///
/// Names that users gave stay; a generated one that is taken becomes `<name>_<fieldID>`. The same for duplicates that should
/// not exist: the lowest field ID keeps the name. Indexes that are being dropped already take no name away.
fn unique_names(builder: &mut Builder, id: i64, collection: &SourceCollection, entries: &[Entry]) -> Vec<String> {
    let generated = |entry: &Entry| entry.info.index_name == DEFAULT_NAME;
    let wanted: Vec<String> = entries
        .iter()
        .map(|entry| match generated(entry) {
            true => format!("{DEFAULT_NAME}_{}", entry.field.field_id),
            false => entry.info.index_name.clone(),
        })
        .collect();
    let mut names = wanted.clone();
    let mut taken = BTreeSet::new();
    let mut colliding = Vec::new();
    for given_by_user in [true, false] {
        for (at, entry) in entries.iter().enumerate() {
            if !entry.info.deleted && generated(entry) != given_by_user && !taken.insert(wanted[at].clone()) {
                colliding.push(at);
            }
        }
    }
    for at in colliding {
        while !taken.insert(names[at].clone()) {
            names[at] = format!("{}_{}", names[at], entries[at].field.field_id);
        }
        let key = Key::FieldIndex { collection: id, index: entries[at].id }.to_string();
        let what = format!(
            "index {:?} on field {:?} of collection {:?} becomes {:?}, because another index of the collection is named {:?}",
            entries[at].info.index_name, entries[at].field.name, collection.name, names[at], wanted[at]
        );
        builder.report.repair(RepairKind::IndexName, key, what);
    }
    names
}

fn convert_entry(builder: &mut Builder, indexes: &mut Indexes, collection: i64, entry: Entry, name: String) {
    let Entry { id, field, info } = entry;
    let key = Plain::SourceIndex { collection, index: id }.to_string();
    let index_params = match unfold_params(&info.index_params) {
        Ok(params) => params,
        Err(what) => {
            builder.problems.add(&key, what, LOST);
            indexes.invalid.insert((collection, id), key);
            return;
        }
    };
    let own = |name| parameter(&info.index_params, name).unwrap_or_default().to_owned();
    let (kind, metric) = (own("index_type"), own("metric_type"));
    if let Some(summary) = builder.summary(collection) {
        summary.indexes.push(IndexSummary {
            id,
            field: field.name.clone(),
            kind: kind.clone(),
            metric: metric.clone(),
            old_name: info.index_name.clone(),
            new_name: name.clone(),
            deleted: info.deleted,
        });
    }
    let record = target::FieldIndex {
        index_info: Some(target::IndexInfo {
            collection_id: collection,
            field_id: field.field_id,
            index_name: name.clone(),
            index_id: id,
            type_params: field.type_params.clone(),
            index_params,
            user_index_params: info.index_params,
        }),
        deleted: info.deleted,
        create_time: info.create_time,
    };
    builder.prepare(&Key::FieldIndex { collection, index: id }, record.encode_to_vec());
    indexes.converted.insert((collection, id), Index { field, name, kind, metric, deleted: info.deleted });
}

/// An index record that no collection lists.
fn unlisted(
    builder: &mut Builder,
    indexes: &mut Indexes,
    collection: i64,
    index: i64,
    record: &source::IndexInfo,
    collections: &BTreeMap<i64, Collection>,
) {
    let key = Plain::SourceIndex { collection, index }.to_string();
    match collections.get(&collection) {
        Some(Collection::Target) => {}
        Some(Collection::Source(_)) => {
            let why = if record.deleted { "a dropped index" } else { "an index that its collection does not list" };
            builder.report.leave_out(&key, why);
        }
        Some(Collection::Invalid) => {
            let collection_key = Plain::Collection(collection).to_string();
            builder.problems.add_caused(&key, "its collection cannot be used", LOST, &collection_key);
            indexes.invalid.insert((collection, index), collection_key);
        }
        Some(Collection::Gone) | None => {
            builder.problems.add(&key, format!("its collection {collection} does not exist"), LOST);
            indexes.invalid.insert((collection, index), key);
        }
    }
}

/// The value of an index parameter; of several with the same key the last counts, as for Milvus.
fn parameter<'a>(params: &'a [KeyValuePair], key: &str) -> Option<&'a str> {
    params.iter().rev().find(|pair| pair.key == key).map(|pair| &*pair.value)
}

/// The index parameters with the JSON object under `params` unfolded into entries of their own, sorted by key.
///
/// Each value keeps its JSON spelling (`1000000` never becomes `1e+06`); strings lose their quotes. The sort is stable, so that
/// of two entries with one key the later one stays the later one, which is the one that Milvus uses.
fn unfold_params(params: &[KeyValuePair]) -> Result<Vec<KeyValuePair>, String> {
    let mut unfolded = Vec::new();
    for pair in params {
        if pair.key != "params" {
            unfolded.push(pair.clone());
            continue;
        }
        let object: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&pair.value)
            .map_err(|error| format!("its parameter \"params\" is not a JSON object: {:?} ({error})", pair.value))?;
        for (key, value) in object {
            let value = match serde_json::from_str::<String>(value.get()) {
                Ok(text) => text,
                Err(_) => value.get().to_owned(),
            };
            unfolded.push(KeyValuePair { key, value });
        }
    }
    unfolded.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(unfolded)
}
