//! The migrated sample held against what the server said about itself before it stopped.

use std::collections::{BTreeMap, BTreeSet};

use meta_migration::layout::families::Family;
use meta_migration::layout::keys::Key;
use meta_migration::layout::messages::common::{CollectionInfo, FieldSchema, IndexState, KeyValuePair};
use meta_migration::layout::messages::target::LoadStatus;
use meta_migration::layout::messages::{source, target};
use serde_json::{Map, Value};

use super::Migrated;
use crate::common::readable::{decode, live};
use crate::common::state::{Dump, below, value};
use crate::common::{Version, on_both_versions, testdata};

on_both_versions![
    collections_with_fields_and_partitions_are_as_the_server_described_them,
    aliases_lead_to_the_same_collections,
    indexes_have_the_same_names_and_parameters,
    what_was_loaded_is_loaded_but_for_the_two_without_an_index,
    segments_are_indexed_with_the_rows_they_have,
];

fn collections() -> Map<String, Value> {
    let text = std::fs::read_to_string(testdata("milvus-2.1.0/facts-2.1.0.json")).unwrap();
    let Value::Object(mut facts) = serde_json::from_str(&text).unwrap() else { panic!("no object") };
    let Some(Value::Object(collections)) = facts.remove("collections") else { panic!("no collections") };
    assert_eq!(collections.len(), 20);
    collections
}

fn id_of(collection: &Value) -> i64 {
    collection["describe"]["id"].as_i64().unwrap()
}

/// The indexes of a collection; the server answers with an error where there is none.
fn indexes_of(collection: &Value) -> &[Value] {
    collection["indexes"].as_array().map_or(&[], Vec::as_slice)
}

fn field_id(collection: &Value, name: &Value) -> i64 {
    let fields = collection["describe"]["fields"].as_array().unwrap();
    fields.iter().find(|field| field["name"] == *name).unwrap()["id"].as_i64().unwrap()
}

/// Live records of a kind.
fn records<M: prost::Message + Default>(dump: &Dump, prefix: &str) -> Vec<(Key, M)> {
    let parse = |key: &str| Key::parse(key.as_bytes()).unwrap();
    below(dump, prefix).filter_map(|(key, value)| Some((parse(key), live(value)?))).collect()
}

fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Vec<KeyValuePair> {
    pairs.into_iter().map(|(key, value)| KeyValuePair { key: key.to_owned(), value }).collect()
}

/// A JSON value as Milvus spells it in its parameters: strings without quotes.
fn spelt(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What has records of its own in 2.2.
pub fn strip(collection: &mut CollectionInfo) {
    collection.partition_i_ds.clear();
    collection.partition_names.clear();
    collection.partition_created_timestamps.clear();
    collection.field_indexes.clear();
    collection.schema.as_mut().unwrap().fields.clear();
}

fn collections_with_fields_and_partitions_are_as_the_server_described_them(version: Version) {
    let Migrated { before, after, .. } = Migrated::on(version);
    let facts = collections();
    let (mut fields, mut partitions) = (0, 0);
    for (name, fact) in &facts {
        let id = id_of(fact);
        let key = Family::Collection.key([id]).to_string();
        let was: CollectionInfo = decode(value(&before, &key).expect(&key));
        let is: CollectionInfo = decode(value(&after, &key).expect(&key));
        check_collection(name, &fact["describe"], &was, &is);
        fields += check_fields(&fact["describe"], &was, &records(&after, &format!("root-coord/fields/{id}/")));
        partitions += check_partitions(fact, &was, &records(&after, &format!("root-coord/partitions/{id}/")));
    }
    let live = records::<CollectionInfo>(&after, "root-coord/collection/");
    assert_eq!(live.len(), facts.len());
    assert_eq!(records::<FieldSchema>(&after, "root-coord/fields/").len(), fields);
    assert_eq!(records::<target::PartitionInfo>(&after, "root-coord/partitions/").len(), partitions);
}

fn check_collection(name: &str, fact: &Value, was: &CollectionInfo, is: &CollectionInfo) {
    let schema = is.schema.as_ref().unwrap();
    assert_eq!((schema.name.as_str(), fact["name"].as_str()), (name, Some(name)));
    assert_eq!(Some(&*schema.description), fact["desc"].as_str(), "{name}");
    assert_eq!(Some(schema.auto_id), fact["auto_id"].as_bool(), "{name}");
    assert_eq!(Some(i64::from(is.shards_num)), fact["shards"].as_i64(), "{name}");
    assert_eq!(Some(i64::from(is.consistency_level)), fact["consistency_level"].as_i64(), "{name}");
    // All else of it is as it was: channels, positions, times.
    let mut expected = was.clone();
    strip(&mut expected);
    assert_eq!(*is, expected, "{name}");
    assert_eq!(is.virtual_channel_names.len(), usize::try_from(is.shards_num).unwrap());
}

/// Returns how many fields there are: those that the server describes, and two system fields.
fn check_fields(fact: &Value, was: &CollectionInfo, records: &[(Key, FieldSchema)]) -> usize {
    let collection = was.id;
    let mut expected = BTreeMap::new();
    for field in &was.schema.as_ref().unwrap().fields {
        expected.insert(field.field_id, field.clone());
    }
    for (key, is) in records {
        assert_eq!(*key, Family::Field.key([collection, is.field_id]));
        assert_eq!(Some(is), expected.get(&is.field_id));
    }
    let by_id: BTreeMap<_, _> = records.iter().map(|(_, field)| (field.field_id, field)).collect();
    assert_eq!((&*by_id[&0].name, &*by_id[&1].name), ("RowID", "Timestamp"));
    for field in fact["fields"].as_array().unwrap() {
        let is = by_id[&field["id"].as_i64().unwrap()];
        assert_eq!(Some(&*is.name), field["name"].as_str());
        assert_eq!(Some(&*is.description), field["desc"].as_str());
        assert_eq!(Some(i64::from(is.data_type)), field["type"].as_i64());
        assert_eq!(Some(is.is_primary_key), field["pk"].as_bool());
        assert_eq!(Some(is.auto_id), field["auto_id"].as_bool());
        let params = field["params"].as_object().unwrap();
        assert_eq!(is.type_params, pairs(params.iter().map(|(key, value)| (key.as_str(), spelt(value)))));
    }
    let number = fact["fields"].as_array().unwrap().len() + 2;
    assert_eq!(records.len(), number);
    number
}

/// Returns how many partitions there are.
fn check_partitions(fact: &Value, was: &CollectionInfo, records: &[(Key, target::PartitionInfo)]) -> usize {
    let times: BTreeMap<_, _> = was.partition_i_ds.iter().zip(&was.partition_created_timestamps).collect();
    let facts = fact["partitions"].as_object().unwrap();
    assert_eq!(records.len(), facts.len());
    for (key, is) in records {
        let expected = target::PartitionInfo {
            partition_id: facts[&is.partition_name].as_i64().unwrap(),
            partition_name: is.partition_name.clone(),
            partition_created_timestamp: *times[&is.partition_id],
            collection_id: was.id,
            state: 0,
        };
        assert_eq!(*is, expected);
        assert_eq!(*key, Family::Partition.key([was.id, is.partition_id]));
    }
    facts.len()
}

fn aliases_lead_to_the_same_collections(version: Version) {
    let Migrated { after, .. } = Migrated::on(version);
    let mut expected = BTreeMap::new();
    for collection in collections().values() {
        for alias in collection["describe"]["aliases"].as_array().unwrap() {
            expected.insert(alias.as_str().unwrap().to_owned(), id_of(collection));
        }
    }
    let mut found = BTreeMap::new();
    for (key, alias) in records::<target::AliasInfo>(&after, "root-coord/aliases/") {
        assert_eq!(key, Family::Alias.named(&alias.alias_name));
        assert_eq!((alias.created_time, alias.state), (0, 0));
        found.insert(alias.alias_name, alias.collection_id);
    }
    assert_eq!(found, expected);
    assert_eq!(found.len(), 6);
    assert!(found.contains_key("v_ts2022"));
}

fn indexes_have_the_same_names_and_parameters(version: Version) {
    let Migrated { before, after, .. } = Migrated::on(version);
    let mut records: BTreeMap<_, _> = records::<target::FieldIndex>(&after, "field-index/").into_iter().collect();
    let mut default_names = 0;
    for (name, collection) in &collections() {
        for fact in indexes_of(collection) {
            let (collection_id, field) = (id_of(collection), field_id(collection, &fact["field"]));
            let index = fact["index_id"].as_i64().unwrap();
            let record = records.remove(&Family::FieldIndex.key([collection_id, index])).expect(name);
            let source = Family::SourceIndex.key([collection_id, index]).to_string();
            let was: source::IndexInfo = decode(value(&before, &source).unwrap());
            let given = fact["index_name"].as_str().unwrap();
            default_names += usize::from(given == "_default_idx");
            let index_name = if given == "_default_idx" { format!("_default_idx_{field}") } else { given.to_owned() };
            let field_schema: FieldSchema =
                decode(value(&after, &Family::Field.key([collection_id, field]).to_string()).unwrap());
            let expected = target::IndexInfo {
                collection_id,
                field_id: field,
                index_name,
                index_id: index,
                type_params: field_schema.type_params,
                index_params: unfolded(&fact["params"]),
                user_index_params: user_params(&was.index_params),
                ..target::IndexInfo::default()
            };
            let info = record.index_info.unwrap();
            assert_eq!(info, expected, "{name}");
            assert_eq!((record.deleted, record.create_time), (false, was.create_time), "{name}");
            // What the user asked for is in there as the server told it, but for the blanks that newer clients do not send.
            let asked = info.user_index_params.iter().map(|pair| (pair.key.clone(), Value::from(&*pair.value)));
            let told = fact["params"].as_object().unwrap().iter();
            let told = told.map(|(key, value)| (key.clone(), Value::from(compact(key, value.as_str().unwrap()))));
            let expected: Map<String, Value> = if asked.len() == 0 { Map::new() } else { told.collect() };
            assert_eq!(Value::Object(asked.collect()), Value::Object(expected), "{name}");
        }
    }
    assert_eq!(records, BTreeMap::new());
    assert_eq!(default_names, 13);
}

/// As newer clients send them (layouts.md, rule 3): `params` without blanks, and nothing for a scalar field's bare `index_type`.
fn user_params(params: &[KeyValuePair]) -> Vec<KeyValuePair> {
    if let [only] = params
        && only.key == "index_type"
    {
        return Vec::new();
    }
    let pair = |pair: &KeyValuePair| KeyValuePair { key: pair.key.clone(), value: compact(&pair.key, &pair.value) };
    params.iter().map(pair).collect()
}

fn compact(key: &str, value: &str) -> String {
    if key == "params" { value.replace(": ", ":").replace(", ", ",") } else { value.to_owned() }
}

/// The parameters with the JSON object in `params` taken apart, sorted.
fn unfolded(params: &Value) -> Vec<KeyValuePair> {
    let mut all = BTreeMap::new();
    for (key, value) in params.as_object().unwrap() {
        let text = value.as_str().unwrap();
        if key == "params" {
            let inner: Map<String, Value> = serde_json::from_str(text).unwrap();
            all.extend(inner.into_iter().map(|(key, value)| (key, spelt(&value))));
        } else {
            all.insert(key.clone(), text.to_owned());
        }
    }
    pairs(all.iter().map(|(key, value)| (key.as_str(), value.clone())))
}

fn what_was_loaded_is_loaded_but_for_the_two_without_an_index(version: Version) {
    let Migrated { after, .. } = Migrated::on(version);
    let mut whole: BTreeMap<_, _> =
        records::<target::CollectionLoadInfo>(&after, "querycoord-collection-loadinfo/").into_iter().collect();
    let mut parts: BTreeMap<_, _> =
        records::<target::PartitionLoadInfo>(&after, "querycoord-partition-loadinfo/").into_iter().collect();
    let mut released = Vec::new();
    for (name, collection) in &collections() {
        let percent = |value: &Value| value.as_i64();
        if percent(&collection["loaded"]["collection"]) != Some(100) {
            continue;
        }
        let (collection_id, indexes) = (id_of(collection), indexes_of(collection));
        if indexes.is_empty() {
            released.push(name.clone());
            continue;
        }
        let field_index_id: BTreeMap<_, _> = indexes
            .iter()
            .map(|index| (field_id(collection, &index["field"]), index["index_id"].as_i64().unwrap()))
            .collect();
        let (replica_number, status) = (1, LoadStatus::Loaded as i32);
        let partitions = collection["loaded"]["partitions"].as_object().unwrap();
        if partitions.values().all(|loaded| percent(loaded) == Some(100)) {
            let is = whole.remove(&Family::CollectionLoad.key([collection_id])).expect(name);
            let released_partitions = Vec::new();
            let expected = target::CollectionLoadInfo {
                collection_id,
                released_partitions,
                replica_number,
                status,
                field_index_id,
                load_type: 0,
            };
            assert_eq!(is, expected, "{name}");
            continue;
        }
        for (partition, _) in partitions.iter().filter(|(_, loaded)| percent(loaded) == Some(100)) {
            let partition_id = collection["partitions"][partition].as_i64().unwrap();
            let key = Family::PartitionLoad.key([collection_id, partition_id]);
            let is = parts.remove(&key).expect(name);
            let field_index_id = field_index_id.clone();
            let expected =
                target::PartitionLoadInfo { collection_id, partition_id, replica_number, status, field_index_id };
            assert_eq!(is, expected, "{name} / {partition}");
        }
    }
    assert_eq!(released, ["c_noidx_loaded", "c_noidx_partload"]);
    assert_eq!((whole, parts), (BTreeMap::new(), BTreeMap::new()));
}

fn segments_are_indexed_with_the_rows_they_have(version: Version) {
    let Migrated { before, after, .. } = Migrated::on(version);
    let mut records = records::<target::SegmentIndex>(&after, "segment-index/");
    let builds: BTreeSet<_> = records.iter().map(|(_, record)| record.build_id).collect();
    assert_eq!((records.len(), builds.len()), (35, 35), "every build ID is used once");
    for (name, collection) in &collections() {
        let segments = collection["segments"].as_array().unwrap();
        for (segment, index) in
            segments.iter().flat_map(|segment| indexes_of(collection).iter().map(move |i| (segment, i)))
        {
            let number = |at: usize| segment[at].as_i64().unwrap();
            let (segment_id, partition_id, rows) = (number(0), number(1), number(2));
            let index_id = index["index_id"].as_i64().unwrap();
            let at = records
                .iter()
                .position(|(_, record)| (record.segment_id, record.index_id) == (segment_id, index_id))
                .unwrap_or_else(|| panic!("{name}: no index {index_id} of segment {segment_id}"));
            let (key, is) = records.swap_remove(at);
            let (collection, build) = (id_of(collection), is.build_id);
            assert_eq!(key, Family::SegmentIndex.key([collection, partition_id, segment_id, build]));
            assert_eq!((is.collection_id, is.partition_id, is.num_rows), (collection, partition_id, rows), "{name}");
            let kind = index["params"]["index_type"].as_str().unwrap();
            check_build(&before, &is, kind == "STL_SORT" && index["field"] == "f32");
        }
    }
    assert_eq!(records, []);
}

/// Holds a segment index against the build it comes from; `anew` if 2.2 is to build it again.
fn check_build(before: &Dump, is: &target::SegmentIndex, anew: bool) {
    let key = Family::SourceSegmentIndex.key([is.collection_id, is.index_id, is.partition_id, is.segment_id]);
    let was: source::SegmentIndexInfo = decode(value(before, &key.to_string()).unwrap());
    let mut expected = target::SegmentIndex {
        create_time: was.create_time,
        index_version: 1,
        state: IndexState::Finished as i32,
        write_handoff: true,
        ..is.clone()
    };
    expected.index_file_keys.clear();
    if was.build_id == 0 {
        // Below the threshold of 1024 rows; with a build ID of its own below all others.
        assert!(is.num_rows < 1024 && is.build_id > 0);
        assert!(
            below(before, "indexes/").all(|(key, _)| key["indexes/".len()..].parse::<i64>().unwrap() > is.build_id)
        );
        (expected.node_id, expected.serialize_size) = (0, 0);
    } else {
        assert_eq!(is.build_id, was.build_id);
        let build: source::IndexMeta = decode(value(before, &Family::Build.key([was.build_id]).to_string()).unwrap());
        (expected.node_id, expected.serialize_size) = (build.node_id, build.serialize_size);
        expected.index_version = build.index_version;
        for path in &build.index_file_paths {
            let (folder, file) = path.rsplit_once('/').unwrap();
            let place = format!("/{}/{}/{}/{}", is.build_id, build.index_version, is.partition_id, is.segment_id);
            assert!(folder.ends_with(&place), "{path}");
            expected.index_file_keys.push(file.to_owned());
        }
        assert!(!expected.index_file_keys.is_empty());
    }
    if anew {
        expected.index_file_keys.clear();
        (expected.state, expected.write_handoff) = (IndexState::Unissued as i32, false);
        (expected.index_version, expected.node_id, expected.serialize_size) = (1, 0, 0);
    }
    assert_eq!(*is, expected);
}
