//! Indexes: field index entries of the collection joined with their index records (docs/layouts.md, rule 3).

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use serde_json::value::RawValue;

use super::Precedence;
use super::collection::{Collection, Collections, Form, Standing};
use super::problem::Problem;
use super::records::{Records, Writing, decode, same_id};
use super::report::{IndexSummary, LeftOut, Repair, RepairKind};
use crate::layout::families::Family;
use crate::layout::is_tombstone;
use crate::layout::messages::common::{DataType, FieldSchema, KeyValuePair};
use crate::layout::messages::{source, target};

/// The name that 2.1 gives to every index for which the user gave none.
const DEFAULT_NAME: &str = "_default_idx";
const LOST: &str = "the index would be lost, with its segment indexes";
/// The parameter that holds a JSON object with further ones.
const PARAMS: &str = "params";

/// An index of a living collection, as segment indexes and load states need it.
#[derive(Debug)]
pub struct Index {
    /// Its field.
    pub field: FieldSchema,
    /// The name afterwards.
    pub name: String,
    /// The parameter `index_type`.
    pub kind: String,
    /// The parameter `metric_type`.
    pub metric: String,
    /// Whether it is being dropped.
    pub deleted: bool,
}

/// What is known of the indexes of all collections, by collection and index ID.
#[derive(Debug, Default)]
pub struct Indexes {
    converted: BTreeMap<(i64, i64), Index>,
    /// Live indexes that a newer Milvus made: collection and index ID, and the field.
    newer: BTreeMap<(i64, i64), i64>,
    /// Indexes in the stead of which a newer one stands.
    superseded: BTreeSet<(i64, i64)>,
    /// Indexes that cannot be used, with the key of the problem.
    invalid: BTreeMap<(i64, i64), String>,
}

impl Indexes {
    /// An index that gets converted.
    pub fn get(&self, collection: i64, index: i64) -> Option<&Index> {
        self.converted.get(&(collection, index))
    }

    /// The key of the problem that makes an index unusable.
    pub fn problem_of(&self, collection: i64, index: i64) -> Option<&String> {
        self.invalid.get(&(collection, index))
    }

    /// Whether an index of a newer Milvus stands in its stead.
    pub fn is_superseded(&self, collection: i64, index: i64) -> bool {
        self.superseded.contains(&(collection, index))
    }

    /// The live index of each field, by field ID; of several the one with the highest ID.
    pub fn live(&self, collection: i64) -> BTreeMap<i64, i64> {
        let range = (collection, i64::MIN)..=(collection, i64::MAX);
        let converted = self.converted.range(range.clone()).filter(|(_, index)| !index.deleted);
        let converted = converted.map(|((_, id), index)| (index.field.field_id, *id));
        converted.chain(self.newer.range(range).map(|((_, id), field)| (*field, *id))).collect()
    }
}

/// A record of 2.1 that can be used, or not: then it has been reported.
type Usable = Result<source::IndexInfo, ()>;

/// Converts all indexes of 2.1.
pub fn convert(records: &Records, collections: &Collections, precedence: Precedence) -> (Indexes, Writing) {
    let (mut source, problems) = read_source(records);
    let mut writing = Writing { problems, ..Writing::default() };
    let mut indexes = Indexes { newer: read_newer(records), ..Indexes::default() };
    for collection in collections.embedded() {
        convert_collection(&mut writing, &mut indexes, collection, &mut source, precedence);
    }
    for ((collection, index), record) in source {
        if let Ok(record) = record {
            leave_out(&mut writing, &mut indexes, (collection, index), &record, collections);
        }
    }
    (indexes, writing)
}

/// A tombstone is a deleted index (clusters that came from 2.0 have them): as if it were not there.
fn read_source(records: &Records) -> (BTreeMap<(i64, i64), Usable>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut source = BTreeMap::new();
    for (key, record) in records.of(Family::SourceIndex).filter(|(_, record)| !is_tombstone(&record.value)) {
        let [collection, index] = key.ids();
        let decoded = decode::<source::IndexInfo>(&record.value)
            .and_then(|info| same_id("indexID", info.index_id, index).map(|()| info));
        let usable = decoded.map_err(|what| problems.push(Problem::new(&key, what, LOST)));
        source.insert((collection, index), usable);
    }
    (source, problems)
}

fn read_newer(records: &Records) -> BTreeMap<(i64, i64), i64> {
    let live = records.of(Family::FieldIndex).filter_map(|(key, record)| {
        let [collection, index] = key.ids();
        let record = target::FieldIndex::decode(&*record.value).ok().filter(|record| !record.deleted)?;
        Some(((collection, index), record.index_info?.field_id))
    });
    live.collect()
}

/// An index of a collection: its entry in the collection record, its field, its index record.
struct ListedIndex {
    id: i64,
    field: FieldSchema,
    info: source::IndexInfo,
}

fn convert_collection(
    writing: &mut Writing,
    indexes: &mut Indexes,
    collection: &Collection,
    source: &mut BTreeMap<(i64, i64), Usable>,
    precedence: Precedence,
) {
    let mut entries = join(writing, indexes, collection, source);
    if precedence == Precedence::Newer {
        entries.retain(|entry| !stands_newer(writing, indexes, collection, entry));
    } else {
        // What is there in the new layout is our own, of an earlier run.
        indexes.newer.retain(|(id, _), _| *id != collection.id);
    }
    let names = unique_names(writing, collection, &entries);
    for (entry, name) in entries.into_iter().zip(names) {
        convert_entry(writing, indexes, collection, entry, name);
    }
    warn_of_several(writing, indexes, collection);
}

/// Whether a newer Milvus has an index on the same field: that one stands.
fn stands_newer(writing: &mut Writing, indexes: &mut Indexes, collection: &Collection, entry: &ListedIndex) -> bool {
    let range = (collection.id, i64::MIN)..=(collection.id, i64::MAX);
    // The same ID is no other index: an interrupted run of ours has written it.
    let is_newer = |((_, id), field): &(&(i64, i64), &i64)| **field == entry.field.field_id && *id != entry.id;
    let newer = indexes.newer.range(range).find(is_newer);
    let Some(((_, newer), _)) = newer else { return false };
    let why = format!(
        "a newer Milvus has index {newer} on field {:?} of collection {:?}: that one stands",
        entry.field.name, collection.name
    );
    let key = Family::SourceIndex.key([collection.id, entry.id]);
    writing.report.kept_newer.push(LeftOut::new(key, why));
    indexes.superseded.insert((collection.id, entry.id));
    true
}

fn warn_of_several(writing: &mut Writing, indexes: &Indexes, collection: &Collection) {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    let range = (collection.id, i64::MIN)..=(collection.id, i64::MAX);
    for (_, index) in indexes.converted.range(range).filter(|(_, index)| !index.deleted) {
        *counts.entry(index.field.field_id).or_default() += 1;
    }
    for (field, count) in counts.into_iter().filter(|(_, count)| *count > 1) {
        writing.report.warnings.push(format!(
            "field {field} of collection {:?} has {count} live indexes; its load state names the one made last",
            collection.name
        ));
    }
}

/// Joins the field index entries of a collection with fields and index records, in order of field and index ID.
fn join(
    writing: &mut Writing,
    indexes: &mut Indexes,
    collection: &Collection,
    source: &mut BTreeMap<(i64, i64), Usable>,
) -> Vec<ListedIndex> {
    let id = collection.id;
    let collection_key = Family::Collection.key([id]);
    let listed: BTreeSet<(i64, i64)> =
        collection.field_indexes.iter().map(|entry| (entry.filed_id, entry.index_id)).collect();
    let mut entries = Vec::new();
    for (field_id, index_id) in listed {
        let index_key = Family::SourceIndex.key([id, index_id]);
        match (collection.field(field_id), source.remove(&(id, index_id))) {
            (Some(field), Some(Ok(info))) => entries.push(ListedIndex { id: index_id, field: field.clone(), info }),
            (_, Some(Err(()))) => {
                indexes.invalid.insert((id, index_id), index_key.to_string());
            }
            (_, None) => {
                let what = format!("it lists index {index_id} on field {field_id}, but there is no record {index_key}");
                writing.problems.push(Problem::new(&collection_key, what, LOST));
                indexes.invalid.insert((id, index_id), collection_key.to_string());
            }
            (None, Some(Ok(_))) => {
                let what = format!("it lists index {index_id} on field {field_id}, which its schema does not have");
                writing.problems.push(Problem::new(&collection_key, what, LOST));
                indexes.invalid.insert((id, index_id), collection_key.to_string());
            }
        }
    }
    entries
}

/// Names for all entries, such that no two live indexes of the collection share one: newer versions would drop both together.
///
/// Names that users gave stay; a generated one that is taken becomes `<name>_<fieldID>`. The same for duplicates that should
/// not exist: the lowest field ID keeps the name. Indexes that are being dropped already take no name away.
fn unique_names(writing: &mut Writing, collection: &Collection, entries: &[ListedIndex]) -> Vec<String> {
    let generated = |entry: &ListedIndex| entry.info.index_name == DEFAULT_NAME;
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
        let key = Family::FieldIndex.key([collection.id, entries[at].id]).to_string();
        let what = format!(
            "index {:?} on field {:?} of collection {:?} becomes {:?}, because another index of the collection is named {:?}",
            entries[at].info.index_name, entries[at].field.name, collection.name, names[at], wanted[at]
        );
        writing.report.repairs.push(Repair { kind: RepairKind::IndexName, key, what });
    }
    names
}

fn convert_entry(
    writing: &mut Writing,
    indexes: &mut Indexes,
    collection: &Collection,
    ListedIndex { id, field, info }: ListedIndex,
    name: String,
) {
    let key = Family::SourceIndex.key([collection.id, id]);
    let index_params = match unfold_params(&info.index_params) {
        Ok(params) => params,
        Err(what) => {
            writing.problems.push(Problem::new(&key, what, LOST));
            indexes.invalid.insert((collection.id, id), key.to_string());
            return;
        }
    };
    let own = |name| parameter(&info.index_params, name).unwrap_or_default().to_owned();
    let (kind, metric) = (own("index_type"), own("metric_type"));
    let summary = summary_of(id, &field, &kind, &metric, &info, &name);
    writing.report.collections.entry(collection.id).or_default().indexes.push(summary);
    let record = target::FieldIndex {
        index_info: Some(target::IndexInfo {
            collection_id: collection.id,
            field_id: field.field_id,
            index_name: name.clone(),
            index_id: id,
            type_params: field.type_params.clone(),
            index_params,
            user_index_params: user_params(&info.index_params, &field),
            ..target::IndexInfo::default()
        }),
        deleted: info.deleted,
        create_time: info.create_time,
    };
    writing.put_message(&Family::FieldIndex.key([collection.id, id]), &record);
    indexes.converted.insert((collection.id, id), Index { field, name, kind, metric, deleted: info.deleted });
}

fn summary_of(
    id: i64,
    field: &FieldSchema,
    kind: &str,
    metric: &str,
    info: &source::IndexInfo,
    name: &str,
) -> IndexSummary {
    IndexSummary {
        id,
        field: field.name.clone(),
        kind: kind.to_owned(),
        metric: metric.to_owned(),
        old_name: info.index_name.clone(),
        new_name: name.to_owned(),
        deleted: info.deleted,
    }
}

/// An index record that no collection lists.
fn leave_out(
    writing: &mut Writing,
    indexes: &mut Indexes,
    (collection, index): (i64, i64),
    record: &source::IndexInfo,
    collections: &Collections,
) {
    let key = Family::SourceIndex.key([collection, index]);
    match collections.standing(collection) {
        Standing::Live(found) if found.form == Form::Separate => {}
        Standing::Passing => {}
        Standing::Live(_) => {
            let why = if record.deleted { "a dropped index" } else { "an index that its collection does not list" };
            writing.report.left_out.push(LeftOut::new(&key, why));
        }
        Standing::Invalid | Standing::Lost => {
            let cause = Family::Collection.key([collection]).to_string();
            writing.problems.push(Problem::caused(&key, "its collection cannot be used", LOST, &*cause));
            indexes.invalid.insert((collection, index), cause);
        }
        Standing::Gone => {
            let what =
                format!("its collection {collection} does not exist: the leftover of a drop that 2.1 did not finish");
            writing.problems.push(Problem::new(&key, what, "leaving it out costs nothing"));
            indexes.invalid.insert((collection, index), key.to_string());
        }
    }
}

/// The value of an index parameter; of several with the same key the last counts, as for Milvus.
fn parameter<'a>(params: &'a [KeyValuePair], key: &str) -> Option<&'a str> {
    params.iter().rev().find(|pair| pair.key == key).map(|pair| &*pair.value)
}

/// The index parameters with the JSON object under `params` unfolded into entries of their own, sorted by key.
///
/// Each value keeps its JSON spelling (`1000000`, never `1e+06`); strings lose their quotes. The sort is stable: of two entries
/// with one key the later one stays the later one, which is the one that Milvus uses.
pub(super) fn unfold_params(params: &[KeyValuePair]) -> Result<Vec<KeyValuePair>, String> {
    let mut unfolded = Vec::new();
    for pair in params {
        if pair.key != PARAMS {
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

/// What the user gave, as newer versions note it: 2.3.4 and later compare it as text with what a client sends, and refuse every
/// repeated create_index otherwise (seen on 2.3.5).
///
/// pymilvus 2.1 writes `params` with Python's json.dumps, later ones without its blanks. Other clients send the same text again.
/// For a scalar field that was given nothing but the index type it is empty.
fn user_params(params: &[KeyValuePair], field: &FieldSchema) -> Vec<KeyValuePair> {
    let is_scalar = field.data_type < DataType::BinaryVector as i32;
    if is_scalar
        && let [only] = params
        && only.key == "index_type"
    {
        return Vec::new();
    }
    params
        .iter()
        .map(|pair| match pair.key.as_str() {
            PARAMS => KeyValuePair { key: pair.key.clone(), value: compact_dumps(&pair.value) },
            _ => pair.clone(),
        })
        .collect()
}

/// JSON text without the blanks of Python's json.dumps, if it is spelt exactly as that writes it; else as it is.
fn compact_dumps(text: &str) -> String {
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    match separators(text).collect::<Option<Vec<usize>>>() {
        Some(blanks) if is_json => {
            let mut compact = text.to_owned();
            // From behind, so that the places before stay where they are.
            blanks.into_iter().rev().for_each(|blank| {
                compact.remove(blank);
            });
            compact
        }
        _ => text.to_owned(),
    }
}

/// Where the one blank behind each separator of JSON text is; `None` for one that has not exactly one.
fn separators(text: &str) -> impl Iterator<Item = Option<usize>> + '_ {
    let (mut in_string, mut escaped) = (false, false);
    text.char_indices().filter_map(move |(at, character)| {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            ' ' | '\n' | '\t' | '\r' if !in_string && !text[..at].ends_with([',', ':']) => return Some(None),
            ',' | ':' if !in_string => {
                let rest = &text[at + 1..];
                let has_one_blank = rest.starts_with(' ') && !rest[1..].starts_with([' ', '\n', '\t', '\r']);
                return Some(has_one_blank.then_some(at + 1));
            }
            _ => {}
        }
        None
    })
}
