//! Hand-made metadata of a cluster, and plans carried out on it in memory.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use crate::layout::TOMBSTONE;
use crate::layout::messages::common::{
    CollectionInfo, CollectionSchema, FieldIndexInfo, FieldSchema, IndexState, KeyValuePair,
};
use crate::layout::messages::source::{
    BuildIndexRequest, IndexInfo, IndexMeta, LoadState, LoadType, PartitionStates, SegmentIndexInfo, SegmentInfo,
};
use crate::migrate::{Inventory, Migration, Options, Record, plan};
use crate::plan::{Change, Plan};

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

/// What every collection record ends in here: fields that the tool has no message for. shards_num (10), consistency_level
/// (12), a property (14).
pub const TAIL: &[u8] = b"\x50\x02\x60\x02\x72\x06\x0a\x01k\x12\x01v";

/// Everything under a meta root. Methods that describe a collection speak of the one made last.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    records: BTreeMap<Bytes, Record>,
    revision: i64,
    collection: i64,
    collections: BTreeMap<i64, CollectionInfo>,
}

impl Cluster {
    pub fn new() -> Self {
        Self::default()
    }

    /// A collection with the two system fields, a primary key (100), a vector (101) and the partition `_default`, whose ID is
    /// ten times that of the collection.
    pub fn collection(mut self, id: i64, name: &str) -> Self {
        self.collection = id;
        self.collections.insert(
            id,
            CollectionInfo {
                id,
                schema: Some(CollectionSchema { name: name.into(), fields: vec![] }),
                ..CollectionInfo::default()
            },
        );
        self.field(0, "RowID", INT64)
            .field(1, "Timestamp", INT64)
            .field(100, "pk", INT64)
            .field(VECTOR, "vec", FLOAT_VECTOR)
            .partition(id * 10, "_default")
    }

    /// Another field. Vectors have the type parameter `dim`.
    pub fn field(self, field_id: i64, name: &str, data_type: i32) -> Self {
        let type_params = if data_type == FLOAT_VECTOR { pairs(&[("dim", "8")]) } else { vec![] };
        let field =
            FieldSchema { field_id, name: name.into(), is_primary_key: field_id == 100, data_type, type_params };
        self.edit(|info| info.schema.as_mut().unwrap().fields.push(field))
    }

    /// Another partition, made at 1,000 plus its ID.
    pub fn partition(self, id: i64, name: &str) -> Self {
        self.edit(|info| {
            info.partition_ids.push(id);
            info.partition_names.push(name.into());
            info.partition_created_timestamps.push(1000 + id as u64);
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
        self.edit(|collection| collection.field_indexes.push(FieldIndexInfo { field_id, index_id }))
            .message(&key, &info)
    }

    /// A segment of 3,000 rows in the first partition with a finished index of two files, made at 7,000 plus its ID.
    pub fn segment_index(self, index: i64, segment: i64, build: i64) -> Self {
        let partition = self.collections[&self.collection].partition_ids[0];
        let path = |file| format!("files/index_files/{build}/2/{partition}/{segment}/{file}");
        let meta = IndexMeta {
            index_build_id: build,
            state: IndexState::Finished as i32,
            req: Some(BuildIndexRequest { num_rows: 3000 }),
            index_file_paths: vec![path("IVF"), path("SLICE_META")],
            node_id: 7,
            index_version: 2,
            serialize_size: 4096,
            ..IndexMeta::default()
        };
        self.segment(index, segment, build, 3000).message(&format!("indexes/{build}"), &meta)
    }

    /// A segment in the first partition that is below the index threshold: nothing was built.
    pub fn buildless(self, index: i64, segment: i64, rows: i64) -> Self {
        self.segment(index, segment, 0, rows)
    }

    fn segment(self, index_id: i64, segment_id: i64, build_id: i64, num_of_rows: i64) -> Self {
        let info = &self.collections[&self.collection];
        let (id, partition_id) = (self.collection, info.partition_ids[0]);
        let field = info.field_indexes.iter().find(|entry| entry.index_id == index_id);
        let record = SegmentIndexInfo {
            collection_id: id,
            partition_id,
            segment_id,
            field_id: field.map_or(VECTOR, |entry| entry.field_id),
            index_id,
            build_id,
            enable_index: build_id != 0,
            create_time: 7000 + segment_id as u64,
        };
        let rows = SegmentInfo { id: segment_id, num_of_rows };
        self.message(&format!("root-coord/segment-index/{id}/{index_id}/{partition_id}/{segment_id}"), &record)
            .message(&format!("datacoord-meta/s/{id}/{partition_id}/{segment_id}"), &rows)
    }

    /// The whole collection is loaded, twice.
    pub fn loaded(self) -> Self {
        let state = LoadState {
            collection_id: self.collection,
            load_type: LoadType::LoadCollection as i32,
            in_memory_percentage: 100,
            replica_number: 2,
            ..LoadState::default()
        };
        self.message(&format!("queryCoord-collectionMeta/{}", state.collection_id), &state)
    }

    /// Partitions are loaded, each to so many percent.
    pub fn loaded_partitions(self, partitions: &[(i64, i64)]) -> Self {
        let states = partitions.iter().map(|(partition_id, percent)| PartitionStates {
            partition_id: *partition_id,
            in_memory_percentage: *percent,
        });
        let state = LoadState {
            collection_id: self.collection,
            partition_ids: partitions.iter().map(|(id, _)| *id).collect(),
            partition_states: states.collect(),
            load_type: LoadType::LoadPartition as i32,
            in_memory_percentage: 100,
            replica_number: 1,
            ..LoadState::default()
        };
        self.message(&format!("queryCoord-collectionMeta/{}", state.collection_id), &state)
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
        self.write(Bytes::copy_from_slice(key.as_ref()), value.into().into());
        self
    }

    /// Removes a key that is there.
    pub fn remove(mut self, key: &str) -> Self {
        self.revision += 1;
        assert!(self.records.remove(key.as_bytes()).is_some(), "there is no {key}");
        self
    }

    fn write(&mut self, key: Bytes, value: Bytes) {
        self.revision += 1;
        self.records.insert(key, Record { value, mod_revision: self.revision });
    }

    pub fn has(&self, key: &str) -> bool {
        self.records.contains_key(key.as_bytes())
    }

    pub fn value(&self, key: &str) -> &Bytes {
        let record = self.records.get(key.as_bytes());
        &record.unwrap_or_else(|| panic!("there is no {key}, but {:#?}", self.records.keys())).value
    }

    pub fn get<M: Message + Default>(&self, key: &str) -> M {
        M::decode(self.value(key).clone()).unwrap_or_else(|error| panic!("{key}: {error}"))
    }

    /// All keys with this prefix.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.records.keys().filter(|key| key.starts_with(prefix.as_bytes()));
        keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    /// Values of all keys.
    pub fn values(&self) -> impl Iterator<Item = &Bytes> {
        self.records.values().map(|record| &record.value)
    }

    /// What differs from another state, revisions aside.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let keys: BTreeSet<&Bytes> = self.records.keys().chain(other.records.keys()).collect();
        let values = |key| [self, other].map(|cluster| cluster.records.get(key).map(|record| &record.value));
        let pairs = keys.into_iter().map(|key| (key, values(key)));
        let different = pairs.filter(|(_, [here, there])| here != there);
        different.map(|(key, [here, there])| format!("{key:?}: {here:?} instead of {there:?}")).collect()
    }

    pub fn plan(&self) -> Migration {
        self.plan_with(&Options::default())
    }

    pub fn plan_with(&self, options: &Options) -> Migration {
        let mut inventory = Inventory::default();
        for (key, record) in &self.records {
            inventory.add(key.clone(), record.clone());
        }
        plan(inventory, self.revision, options)
    }

    /// Migrates metadata that must have no problems.
    pub fn migrate(&self) -> Migrated {
        self.migrate_with(&Options::default())
    }

    pub fn migrate_with(&self, options: &Options) -> Migrated {
        let migrated = self.carry_out(self.plan_with(options));
        assert_eq!(migrated.plan().problems, []);
        migrated
    }

    /// Migrates metadata that must have problems, leaving out whatever has one, as `--skip-invalid` does.
    pub fn migrate_without_invalid(&self) -> Migrated {
        let migrated = self.carry_out(self.plan());
        assert_ne!(migrated.plan().problems, []);
        migrated
    }

    /// Carries a plan out, and holds against it what the plan says of itself.
    pub fn carry_out(&self, migration: Migration) -> Migrated {
        check_arithmetic(self, &migration.plan);
        let mut after = self.clone();
        for change in migration.plan.changes() {
            after.apply(change);
        }
        Migrated { after, migration }
    }

    fn within(&self, first: &Bytes, last: &Bytes) -> impl Iterator<Item = (&Bytes, &Record)> {
        self.records.range::<Bytes, _>(first..=last)
    }

    /// One change, as etcd carries it out.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Put { key, value } => self.write(key.clone(), value.clone()),
            Change::Delete { first, last, keys } => {
                let gone: Vec<Bytes> = self.within(first, last).map(|(key, _)| key.clone()).collect();
                assert_eq!(gone.len() as u64, *keys, "{change:?} deletes {gone:?}");
                self.revision += 1;
                gone.iter().for_each(|key| _ = self.records.remove(key));
            }
        }
    }
}

/// No key is changed twice, nothing is put that is there already, and the keys that stay are counted rightly.
fn check_arithmetic(before: &Cluster, plan: &Plan) {
    let mut touched = BTreeSet::new();
    for change in plan.changes() {
        match change {
            Change::Put { key, value } => {
                let is_there = before.records.get(key).is_some_and(|record| record.value == value);
                // A collection's newest snapshot is always put together with its record.
                assert!(
                    !is_there || key.starts_with(b"snapshots/root-coord/collection/"),
                    "{change:?} changes nothing"
                );
                assert!(touched.insert(key), "{change:?} touches a key again");
            }
            Change::Delete { first, last, .. } => {
                for (key, _) in before.within(first, last) {
                    assert!(touched.insert(key), "{change:?} touches {key:?} again");
                }
            }
        }
    }
    let stays = |key: &&Bytes| !touched.contains(*key) && !key.starts_with(b"session/");
    assert_eq!(plan.untouched_keys(), before.records.keys().filter(stays).count() as u64);
}

/// What a migration makes of a cluster.
#[derive(Debug)]
pub struct Migrated {
    pub after: Cluster,
    pub migration: Migration,
}

impl Migrated {
    pub fn plan(&self) -> &Plan {
        &self.migration.plan
    }

    /// The problems as (key, the beginning of what is wrong, the cause).
    pub fn problems(&self) -> Vec<(&str, &str, Option<&str>)> {
        let problems = self.plan().problems.iter();
        problems.map(|problem| (&*problem.key, &*problem.what, problem.caused_by.as_deref())).collect()
    }

    /// The only problem, which must be at this key and must not follow from another one; says what is wrong.
    pub fn only_problem(&self, key: &str) -> &str {
        match self.problems()[..] {
            [(at, what, None)] if at == key => what,
            ref others => panic!("not one problem at {key}, but {others:#?}"),
        }
    }
}

pub fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    pairs.iter().map(|(key, value)| KeyValuePair { key: (*key).into(), value: (*value).into() }).collect()
}

/// An alias as 2.1 writes it: in the shape of a collection.
pub fn alias_record(name: &str, collection: i64) -> Vec<u8> {
    CollectionInfo {
        id: collection,
        schema: Some(CollectionSchema { name: name.into(), fields: vec![] }),
        ..CollectionInfo::default()
    }
    .encode_to_vec()
}

/// A cluster with everything that is sound: live, dropped, altered, loaded, released, built, not built, and left from 2.0.
pub fn everything() -> Cluster {
    const SORT: &[(&str, &str)] = &[("index_type", "STL_SORT")];
    Cluster::new()
        .collection(1, "books")
        .field(102, "price", FLOAT)
        .field(103, "year", INT64)
        .snapshot(5)
        .alias("my_tshirts", &[6])
        .alias("v_ts2022", &[6])
        .vector_index(500)
        .index(501, 102, "_default_idx", SORT)
        .partition(11, "p_ts1")
        .snapshot(9)
        .index(502, 103, "_default_idx_102", SORT)
        .vector_index(503)
        .alter("root-coord/index/1/503", |info: &mut IndexInfo| info.deleted = true)
        .segment_index(500, 1, 800)
        .segment_index(501, 1, 801)
        .segment_index(502, 1, 802)
        .buildless(500, 2, 250)
        .buildless(501, 2, 250)
        .loaded()
        .collection(2, "films, without snapshots and indexes")
        .loaded()
        .collection(3, "songs")
        .vector_index(600)
        .snapshot(7)
        .alias("v_ts2022", &[12])
        .segment_index(600, 3, 803)
        .buildless(600, 4, 40)
        .loaded_partitions(&[(30, 100)])
        .collection(4, "dropped")
        .snapshot(3)
        .alias("gone", &[4])
        .alias("nowhere", &[4])
        .bury("root-coord/collection-alias/gone", 7)
        .bury("root-coord/collection/4", 8)
        .put("root-coord/collection/5", TOMBSTONE)
        .put("root-coord/collection-alias/unborn", TOMBSTONE)
        .put("root-coord/index/4/400", TOMBSTONE)
        .put("root-coord/segment-index/4/400/40/1", TOMBSTONE)
        .put("snapshots/root-coord/index/4/400_ts3", "any")
        .put("snapshots/root-coord/segment-index/4/400/40/1_ts3", "any")
        .put("root-coord/dd-operation", "any")
        .put("root-coord/dd-msg-send", "true")
        .put("snapshots/root-coord/dd-operation_ts3", "any")
        .put("snapshots/root-coord/dd-msg-send_ts3", "true")
        .put("root-coord/credential/users/root", "any")
        .put("queryCoord-ReplicaMeta/9", "any")
        .put("channelwatch/9/c", "any")
        .put("session/id", "12")
}

/// A cluster in which nothing is left but what was dropped, and an alias that leads nowhere.
pub fn dropped_alone() -> Cluster {
    Cluster::new()
        .collection(4, "dropped")
        .snapshot(3)
        .alias("gone", &[4])
        .alias("nowhere", &[4])
        .bury("root-coord/collection-alias/gone", 7)
        .bury("root-coord/collection/4", 8)
        .put("root-coord/collection-alias/unborn", TOMBSTONE)
        .put("snapshots/root-coord/collection-alias/history_ts4", TOMBSTONE)
}
