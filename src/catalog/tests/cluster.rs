//! Hand-made metadata of a cluster, and what a conversion makes of it, in memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use super::alias_record;
use crate::catalog::entries::Entries;
use crate::catalog::records::{Record, Records};
use crate::catalog::report::Report;
use crate::catalog::{Conversion, Options, convert};
use crate::layout::TOMBSTONE;
use crate::layout::families::Family;
use crate::layout::keys::family_of;
use crate::layout::messages::common::{
    CollectionInfo, CollectionSchema, FieldIndexInfo, FieldSchema, IndexState, KeyDataPair, KeyValuePair, SegmentInfo,
    SegmentState,
};
use crate::layout::messages::source::{
    BuildIndexRequest, IndexInfo, IndexMeta, LoadState, LoadType, PartitionStates, ReplicaInfo, SegmentIndexInfo,
};
use crate::version::{Layout, parse};

pub const BINARY_VECTOR: i32 = 100;
pub const BOOL: i32 = 1;
pub const INT8: i32 = 2;
pub const INT16: i32 = 3;
pub const INT32: i32 = 4;
pub const INT64: i32 = 5;
pub const FLOAT: i32 = 10;
pub const DOUBLE: i32 = 11;
pub const FLOAT_VECTOR: i32 = 101;

/// The field that `Cluster::index` is mostly made on; `Cluster::collection` makes it.
pub const VECTOR: i64 = 101;

/// No protobuf message.
pub const GARBAGE: &[u8] = b"\xff";

/// What every collection record ends in here: shards_num (10), consistency_level (12), a property (14), and a field that no
/// message has (500).
pub const TAIL: &[u8] = b"\x50\x02\x60\x02\x72\x06\x0a\x01k\x12\x01v\xa0\x1f\x07";

/// Targets on either side of every difference.
pub const TARGETS: [&str; 10] =
    ["2.2.0", "2.2.3", "2.2.8", "2.2.9", "2.2.16", "2.3.0", "2.3.5", "2.3.18", "2.4.4", "2.4.23"];

/// A target of each layout that there is: for tests that take their time.
pub const LAYOUTS: [&str; 5] = ["2.2.0", "2.2.8", "2.2.16", "2.3.5", "2.4.23"];

/// The target of what holds for every one: its keys are the shortest.
const FIRST: &str = "2.2.0";

/// The layout of a target.
pub fn layout(target: &str) -> Layout {
    Layout::of(&parse(target).unwrap())
}

/// Everything under a meta root. Methods that describe a collection speak of the one made last.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    records: BTreeMap<Bytes, Bytes>,
    collection: i64,
    collections: BTreeMap<i64, CollectionInfo>,
}

impl Cluster {
    pub fn new() -> Self {
        Self::default()
    }

    /// A collection with the two system fields, a primary key (100), a vector (101) and the partition `_default`, whose ID is
    /// ten times that of the collection. It was made at 2,000 plus its ID.
    pub fn collection(mut self, id: i64, name: &str) -> Self {
        self.collection = id;
        let schema = Some(CollectionSchema { name: name.into(), ..CollectionSchema::default() });
        let create_time = 2000 + id as u64;
        self.collections.insert(id, CollectionInfo { id, schema, create_time, ..CollectionInfo::default() });
        self.field(0, "RowID", INT64)
            .field(1, "Timestamp", INT64)
            .field(100, "pk", INT64)
            .field(VECTOR, "vec", FLOAT_VECTOR)
            .partition(id * 10, "_default")
    }

    /// Another field. Vectors have the type parameter `dim`.
    pub fn field(self, field_id: i64, name: &str, data_type: i32) -> Self {
        let type_params = if data_type >= BINARY_VECTOR { pairs(&[("dim", "8")]) } else { vec![] };
        let is_primary_key = field_id == 100;
        let name = name.into();
        let field = FieldSchema { field_id, name, is_primary_key, data_type, type_params, ..FieldSchema::default() };
        self.edit(|info| info.schema.as_mut().unwrap().fields.push(field))
    }

    /// Another partition, made at 1,000 plus its ID.
    pub fn partition(self, id: i64, name: &str) -> Self {
        self.edit(|info| {
            info.partition_i_ds.push(id);
            info.partition_names.push(name.into());
            info.partition_created_timestamps.push(1000 + id as u64);
        })
    }

    /// A shard on a physical channel, and where the collection begins there.
    pub fn channel(self, physical: &str, start: &[u8]) -> Self {
        let id = self.collection;
        self.edit(|info| {
            let shard = info.virtual_channel_names.len();
            info.virtual_channel_names.push(format!("{physical}_{id}v{shard}"));
            info.physical_channel_names.push(physical.into());
            info.start_positions.push(KeyDataPair { key: physical.into(), data: start.to_vec() });
        })
    }

    /// Changes the collection's plain record.
    pub fn edit(mut self, change: impl FnOnce(&mut CollectionInfo)) -> Self {
        let info = self.collections.get_mut(&self.collection).unwrap();
        change(info);
        let value = [info.encode_to_vec(), TAIL.to_vec()].concat();
        let key = format!("root-coord/collection/{}", self.collection);
        self.put(key, value)
    }

    /// Goes on with a collection made before.
    pub fn again(mut self, collection: i64) -> Self {
        assert!(self.collections.contains_key(&collection));
        self.collection = collection;
        self
    }

    /// Notes the collection as it is now in a snapshot, as 2.1 does with some changes.
    pub fn snapshot(self, timestamp: u64) -> Self {
        let plain = format!("root-coord/collection/{}", self.collection);
        let value = self.value(&plain).clone();
        self.put(format!("snapshots/{plain}_ts{timestamp}"), value)
    }

    /// An alias of the collection, with snapshots.
    pub fn alias(mut self, name: &str, timestamps: &[u64]) -> Self {
        let value = alias_record(name, self.collection);
        for timestamp in timestamps {
            self = self.put(format!("snapshots/root-coord/collection-alias/{name}_ts{timestamp}"), value.clone());
        }
        self.put(format!("root-coord/collection-alias/{name}"), value)
    }

    /// Deletes a key that has snapshots, as 2.1 does it.
    pub fn bury(self, plain: &str, timestamp: u64) -> Self {
        self.put(format!("snapshots/{plain}_ts{timestamp}"), TOMBSTONE).put(plain, TOMBSTONE)
    }

    /// An IVF_FLAT index on the vector.
    pub fn vector_index(self, index: i64) -> Self {
        let params = [("index_type", "IVF_FLAT"), ("metric_type", "L2"), ("params", r#"{"nlist": 128}"#)];
        self.index(index, VECTOR, "_default_idx", &params)
    }

    /// An index on a field, made at 6,000 plus its ID.
    pub fn index(self, index_id: i64, field_id: i64, name: &str, params: &[(&str, &str)]) -> Self {
        let key = format!("root-coord/index/{}/{index_id}", self.collection);
        let info = IndexInfo {
            index_name: name.into(),
            index_id,
            index_params: pairs(params),
            deleted: false,
            create_time: 6000 + index_id as u64,
        };
        self.edit(|collection| collection.field_indexes.push(FieldIndexInfo { filed_id: field_id, index_id }))
            .message(&key, &info)
    }

    /// A segment of 3,000 rows in the first partition with a finished index of two files, made at 7,000 plus its ID.
    pub fn segment_index(self, index: i64, segment: i64, build: i64) -> Self {
        let partition = self.first_partition();
        let path = |file| format!("files/index_files/{build}/2/{partition}/{segment}/{file}");
        let meta = IndexMeta {
            index_build_id: build,
            state: IndexState::Finished as i32,
            req: Some(BuildIndexRequest { num_rows: 3000, ..BuildIndexRequest::default() }),
            index_file_paths: vec![path("IVF"), path("SLICE_META")],
            node_id: 7,
            index_version: 2,
            serialize_size: 4096,
            ..IndexMeta::default()
        };
        self.indexed(index, segment, build, 3000).message(&format!("indexes/{build}"), &meta)
    }

    /// A segment in the first partition that is below the index threshold: nothing was built.
    pub fn buildless(self, index: i64, segment: i64, rows: i64) -> Self {
        self.indexed(index, segment, 0, rows)
    }

    fn indexed(self, index_id: i64, segment_id: i64, build_id: i64, num_of_rows: i64) -> Self {
        let info = &self.collections[&self.collection];
        let (id, partition_id) = (self.collection, self.first_partition());
        let field = info.field_indexes.iter().find(|entry| entry.index_id == index_id);
        let record = SegmentIndexInfo {
            collection_id: id,
            partition_id,
            segment_id,
            field_id: field.map_or(VECTOR, |entry| entry.filed_id),
            index_id,
            build_id,
            enable_index: build_id != 0,
            create_time: 7000 + segment_id as u64,
        };
        let key = format!("root-coord/segment-index/{id}/{index_id}/{partition_id}/{segment_id}");
        let cluster = self.message(&key, &record);
        let has_segment = cluster.has(&format!("datacoord-meta/s/{id}/{partition_id}/{segment_id}"));
        if has_segment { cluster } else { cluster.segment(segment_id, |info| info.num_of_rows = num_of_rows) }
    }

    /// A flushed segment in the first partition, on the first channel if there is one; without rows, files and positions but for
    /// what `change` gives it.
    pub fn segment(self, id: i64, change: impl FnOnce(&mut SegmentInfo)) -> Self {
        let channels = &self.collections[&self.collection].virtual_channel_names;
        let mut info = SegmentInfo {
            id,
            collection_id: self.collection,
            partition_id: self.first_partition(),
            insert_channel: channels.first().cloned().unwrap_or_default(),
            state: SegmentState::Flushed as i32,
            ..SegmentInfo::default()
        };
        change(&mut info);
        let key = format!("datacoord-meta/s/{}/{}/{}", info.collection_id, info.partition_id, info.id);
        self.message(&key, &info)
    }

    fn first_partition(&self) -> i64 {
        self.collections[&self.collection].partition_i_ds[0]
    }

    /// The whole collection is loaded, with two replicas.
    pub fn loaded(self) -> Self {
        let state = LoadState {
            collection_id: self.collection,
            load_type: LoadType::LoadCollection as i32,
            in_memory_percentage: 100,
            replica_number: 2,
            ..LoadState::default()
        };
        let cluster = self.message(&format!("queryCoord-collectionMeta/{}", state.collection_id), &state);
        let first = cluster.collection * 100;
        cluster.replica(first + 1).replica(first + 2)
    }

    /// Partitions are loaded, each to so many percent, with one replica.
    pub fn loaded_partitions(self, partitions: &[(i64, i64)]) -> Self {
        let states = partitions.iter().map(|(partition_id, percent)| PartitionStates {
            partition_id: *partition_id,
            in_memory_percentage: *percent,
            ..PartitionStates::default()
        });
        let state = LoadState {
            collection_id: self.collection,
            partition_i_ds: partitions.iter().map(|(id, _)| *id).collect(),
            partition_states: states.collect(),
            load_type: LoadType::LoadPartition as i32,
            in_memory_percentage: 100,
            replica_number: 1,
            ..LoadState::default()
        };
        let cluster = self.message(&format!("queryCoord-collectionMeta/{}", state.collection_id), &state);
        let first = cluster.collection * 100;
        cluster.replica(first + 1)
    }

    /// A replica of the collection, on two nodes of 2.1.
    pub fn replica(self, id: i64) -> Self {
        let collection_id = self.collection;
        let info = ReplicaInfo { replica_id: id, collection_id, node_ids: vec![3, 4], ..ReplicaInfo::default() };
        self.message(&format!("queryCoord-ReplicaMeta/{id}"), &info)
    }

    pub fn message(self, key: &str, message: &impl Message) -> Self {
        self.put(key, message.encode_to_vec())
    }

    /// Changes the record at a key that is there.
    pub fn alter<M: Message + Default>(self, key: &str, change: impl FnOnce(&mut M)) -> Self {
        let mut message: M = self.get(key);
        change(&mut message);
        self.message(key, &message)
    }

    pub fn put(mut self, key: impl AsRef<[u8]>, value: impl Into<Vec<u8>>) -> Self {
        self.records.insert(Bytes::copy_from_slice(key.as_ref()), value.into().into());
        self
    }

    /// Removes a key that is there.
    pub fn remove(mut self, key: &str) -> Self {
        assert!(self.records.remove(key.as_bytes()).is_some(), "there is no {key}");
        self
    }

    /// Puts or removes a key.
    pub fn set(&mut self, key: &Bytes, value: Option<&Bytes>) {
        match value {
            Some(value) => drop(self.records.insert(key.clone(), value.clone())),
            None => drop(self.records.remove(key)),
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.records.contains_key(key.as_bytes())
    }

    pub fn value(&self, key: &str) -> &Bytes {
        let value = self.records.get(key.as_bytes());
        value.unwrap_or_else(|| panic!("there is no {key}, but {:#?}", self.records.keys()))
    }

    pub fn get<M: Message + Default>(&self, key: &str) -> M {
        M::decode(self.value(key).clone()).unwrap_or_else(|error| panic!("{key}: {error}"))
    }

    /// All keys with this prefix but tripwires.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.records.keys().filter(|key| key.starts_with(prefix.as_bytes()));
        let keys = keys.filter(|key| family_of(key) != Family::Tripwire);
        keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    /// The tripwires that are there.
    pub fn tripwires(&self) -> Vec<&str> {
        let keys = self.records.keys().filter(|key| family_of(key) == Family::Tripwire);
        keys.map(|key| std::str::from_utf8(key).unwrap()).collect()
    }

    /// Everything.
    pub fn records(&self) -> &BTreeMap<Bytes, Bytes> {
        &self.records
    }

    /// What differs from another state.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let keys: BTreeSet<&Bytes> = self.records.keys().chain(other.records.keys()).collect();
        let values = |key| [self, other].map(|cluster| cluster.records.get(key));
        let pairs = keys.into_iter().map(|key| (key, values(key)));
        let different = pairs.filter(|(_, [here, there])| here != there);
        different.map(|(key, [here, there])| format!("{key:?}: {here:?} instead of {there:?}")).collect()
    }

    /// Converts for a target, whether there are problems or not.
    pub fn convert(&self, target: &str, options: &Options) -> Migrated {
        let mut records: Records = self.records.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let before = records.clone();
        let conversion = convert(&mut records, layout(target), options);
        assert_nothing_needed_is_let_go(&before, &records, &conversion.should);
        // What is not looked at stays.
        let mut after = self.clone();
        after.records.retain(|key, _| matches!(family_of(key), Family::Other | Family::Session | Family::History));
        let others = after.records.len();
        after.records.extend(conversion.should.clone());
        assert_eq!(after.records.len(), others + conversion.should.len(), "a key that is none of ours is converted");
        Migrated { after, conversion }
    }

    /// Converts metadata that must have no problems, for the first target.
    pub fn migrate(&self) -> Migrated {
        self.migrate_to(FIRST)
    }

    /// Converts metadata that must have no problems.
    pub fn migrate_to(&self, target: &str) -> Migrated {
        self.convert(target, &Options::default()).without_problems()
    }

    /// Converts metadata that must have no problems, for the first target.
    pub fn migrate_with(&self, options: &Options) -> Migrated {
        self.convert(FIRST, options).without_problems()
    }

    /// Converts metadata that must have problems, leaving out whatever has one, as `--skip-invalid` does.
    pub fn migrate_without_invalid(&self) -> Migrated {
        let migrated = self.convert(FIRST, &Options::default());
        assert_ne!(migrated.conversion.problems, []);
        migrated
    }
}

impl FromIterator<(Bytes, Bytes)> for Cluster {
    fn from_iter<I: IntoIterator<Item = (Bytes, Bytes)>>(records: I) -> Self {
        Self { records: records.into_iter().collect(), ..Self::default() }
    }
}

/// What a conversion makes of a cluster.
#[derive(Debug)]
pub struct Migrated {
    pub after: Cluster,
    pub conversion: Conversion,
}

impl Migrated {
    fn without_problems(self) -> Self {
        assert_eq!(self.conversion.problems, []);
        self
    }

    pub fn report(&self) -> &Report {
        &self.conversion.report
    }

    /// The problems as (key, the beginning of what is wrong, the cause).
    pub fn problems(&self) -> Vec<(&str, &str, Option<&str>)> {
        let problems = self.conversion.problems.iter();
        problems.map(|problem| (&*problem.key, &*problem.what, problem.caused_by.as_deref())).collect()
    }

    /// The only problem, which must be at this key and must not follow from another one; says what is wrong.
    pub fn only_problem(&self, key: &str) -> &str {
        match self.problems()[..] {
            [(at, what, None)] if at == key => what,
            ref others => panic!("not one problem at {key}, but {others:#?}"),
        }
    }

    /// Why a record was left out.
    pub fn left_out(&self, key: &str) -> &str {
        let all = &self.report().left_out;
        all.iter().find(|one| one.key == key).map_or_else(|| panic!("{key} is not in {all:#?}"), |one| &one.why)
    }
}

pub fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    pairs.iter().map(|(key, value)| KeyValuePair { key: (*key).into(), value: (*value).into() }).collect()
}

/// All records are where they were, with the length of their values; and what a plan is made from is what it would be if every value
/// were still here.
fn assert_nothing_needed_is_let_go(before: &Records, after: &Records, should: &Entries) {
    let shape = |records: &Records| -> Vec<_> {
        records.iter().map(|record| (record.key.clone(), record.value_bytes(), record.follows_others)).collect()
    };
    assert_eq!(shape(before), shape(after));
    let diff = after.held_against(should);
    assert_eq!(before.held_against(should), diff, "a value was let go that was to stay");
    // What a rollback would put back.
    let changed: Vec<&Bytes> = after.changed_by(&diff).map(|record| &record.key).collect();
    let differs = |record: &&Record| should.get(&record.key) != Some(&record.value);
    let expected: Vec<&Bytes> = before.iter().filter(differs).map(|record| &record.key).collect();
    assert_eq!(changed, expected);
}
