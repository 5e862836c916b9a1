//! Collections with their fields and partitions.

use std::collections::{BTreeMap, HashMap};

use super::finding::Findings;
use super::invariant::Invariant;
use super::read_version;
use super::versions::{Version, VersionCheck};
use crate::catalog::channel::ChannelStart;
use crate::catalog::records::same_id;
use crate::layout::families::{DEFAULT_DATABASE, Family};
use crate::layout::keys::Key;
use crate::layout::messages::common::{CollectionInfo, FieldSchema};
use crate::layout::messages::target::PartitionInfo;
use crate::version::Layout;

/// A collection record, reduced to what is checked.
#[derive(Debug, Clone)]
pub(super) struct CheckedCollection {
    pub name: String,
    /// 1 is the default database; records from before databases say 0 for it.
    database: i64,
    created: bool,
    embeds: Embedded,
    pub channels: Vec<ChannelStart>,
}

/// What a collection record holds that the 2.2 layout keeps elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Embedded {
    pub fields: bool,
    pub partitions: bool,
    pub field_indexes: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Partition {
    name: String,
    pub created_time: u64,
    pub created: bool,
}

/// A snapshot of a collection that is no tombstone.
#[derive(Debug, Clone, Copy)]
pub(super) struct CollectionSnapshot {
    pub created: bool,
    pub embeds: Embedded,
}

type IdSet = (i64, i64);

/// All collections with their fields and partitions.
#[derive(Debug, Default)]
pub(super) struct CollectionCheck {
    /// By plain key: where a newer Milvus moved a collection to its database, there are tombstones at the key that it had before.
    pub(super) records: BTreeMap<Key, VersionCheck<CheckedCollection>>,
    snapshots: BTreeMap<Key, BTreeMap<u64, CollectionSnapshot>>,
    /// Each with whether it is a primary key.
    pub(super) fields: BTreeMap<IdSet, VersionCheck<bool>>,
    pub(super) partitions: BTreeMap<IdSet, VersionCheck<Partition>>,
    /// The plain key that counts for each collection.
    keys: BTreeMap<i64, Key>,
}

impl Embedded {
    fn of(info: &CollectionInfo) -> Self {
        Self {
            fields: info.schema.as_ref().is_some_and(|schema| !schema.fields.is_empty()),
            partitions: !info.partition_i_ds.is_empty()
                || !info.partition_names.is_empty()
                || !info.partition_created_timestamps.is_empty(),
            field_indexes: !info.field_indexes.is_empty(),
        }
    }

    pub(super) fn any(self) -> bool {
        self.fields || self.partitions || self.field_indexes
    }

    pub(super) fn list(self) -> String {
        let parts = [(self.fields, "fields"), (self.partitions, "partitions"), (self.field_indexes, "field indexes")];
        parts.into_iter().filter_map(|(there, name)| there.then_some(name)).collect::<Vec<_>>().join(", ")
    }
}

impl CollectionCheck {
    pub(super) fn add(&mut self, key: &Key, raw: &[u8], value: &[u8], findings: &mut Findings) {
        let (database, id) = ids_of(key);
        let state = read_version(raw, value, findings, |info: &CollectionInfo| {
            same_id("ID", info.id, id)?;
            // Before there were databases, nobody looked at it.
            if key.family == Family::DatabaseCollection { same_id("db_id", info.db_id, database) } else { Ok(()) }
        });
        let state = state.map(|info| CheckedCollection {
            embeds: Embedded::of(&info),
            created: info.state == 0,
            database: info.db_id.max(DEFAULT_DATABASE),
            channels: ChannelStart::of(&info),
            name: info.schema.unwrap_or_default().name,
        });
        if let (Some(timestamp), Version::Live(_, collection)) = (key.snapshot, &state) {
            let snapshot = CollectionSnapshot { created: collection.created, embeds: collection.embeds };
            self.snapshots.entry(key.clone().plain()).or_default().insert(timestamp, snapshot);
        }
        self.records.entry(key.clone().plain()).or_default().add(key.snapshot, state);
    }

    /// Finds the key that counts for each collection, after all keys were added: the one that has a record.
    pub(super) fn settle(&mut self, findings: &mut Findings) {
        for (key, versions) in &self.records {
            let id = ids_of(key).1;
            let other = self.keys.get(&id).filter(|other| self.records.get(other).is_some_and(VersionCheck::exists));
            if let Some(other) = other.filter(|_| versions.exists()) {
                let what = format!("the same collection is at {other}, too");
                findings.error(Invariant::TargetForm, key.to_string(), what);
            }
            if versions.exists() || !self.keys.contains_key(&id) {
                self.keys.insert(id, key.clone());
            }
        }
    }

    fn collection(&self, id: i64) -> Option<&VersionCheck<CheckedCollection>> {
        self.records.get(self.keys.get(&id)?)
    }

    pub(super) fn add_field(
        &mut self,
        ids: IdSet,
        timestamp: Option<u64>,
        key: &[u8],
        value: &[u8],
        findings: &mut Findings,
    ) {
        let state = read_version(key, value, findings, |field: &FieldSchema| same_id("fieldID", field.field_id, ids.1));
        self.fields.entry(ids).or_default().add(timestamp, state.map(|field| field.is_primary_key));
    }

    pub(super) fn add_partition(
        &mut self,
        ids: IdSet,
        timestamp: Option<u64>,
        key: &[u8],
        value: &[u8],
        findings: &mut Findings,
    ) {
        let state = read_version(key, value, findings, |partition: &PartitionInfo| {
            same_id("collection_id", partition.collection_id, ids.0)?;
            same_id("partitionID", partition.partition_id, ids.1)
        });
        let state = state.map(|partition| Partition {
            name: partition.partition_name,
            created_time: partition.partition_created_timestamp,
            created: partition.state == 0,
        });
        self.partitions.entry(ids).or_default().add(timestamp, state);
    }

    /// The plain key of a collection.
    pub(super) fn key(&self, id: i64) -> String {
        self.keys.get(&id).map_or_else(|| Family::Collection.key([id]).to_string(), Key::to_string)
    }

    /// Whether any collection is in the 2.1 layout.
    pub(super) fn any_embedded(&self) -> bool {
        self.records.values().filter_map(VersionCheck::live).any(|collection| collection.embeds.any())
    }

    pub(super) fn exists(&self, id: i64) -> bool {
        self.collection(id).is_some_and(VersionCheck::exists)
    }

    pub(super) fn has_partition(&self, ids: IdSet) -> bool {
        self.partitions.get(&ids).is_some_and(VersionCheck::exists)
            || self.embeds(ids.0, |embedded| embedded.partitions)
    }

    pub(super) fn has_field(&self, ids: IdSet) -> bool {
        self.fields.get(&ids).is_some_and(VersionCheck::exists) || self.embeds(ids.0, |embedded| embedded.fields)
    }

    /// How many fields each collection has, by ID.
    pub(super) fn number_of_fields(&self) -> HashMap<i64, u32> {
        let mut fields = HashMap::new();
        for ((collection, _), _) in self.fields.iter().filter(|(_, versions)| versions.exists()) {
            *fields.entry(*collection).or_default() += 1;
        }
        fields
    }

    /// Whether the collection's record (which is reported for that) holds what should have records of its own. Milvus reads it
    /// from there, so it is not missing.
    fn embeds(&self, id: i64, what: impl Fn(Embedded) -> bool) -> bool {
        self.collection(id).and_then(VersionCheck::live).is_some_and(|collection| what(collection.embeds))
    }

    /// IDs of the partitions of a collection that are there and created.
    pub(super) fn partitions_of(&self, id: i64) -> impl Iterator<Item = i64> {
        of(&self.partitions, id)
            .filter(|(_, versions)| versions.live().is_some_and(|partition| partition.created))
            .map(|(partition, _)| partition)
    }

    /// Whether the collection is there and neither on its way in nor out, when much may be missing.
    pub(super) fn is_created(&self, id: i64) -> bool {
        self.collection(id).and_then(VersionCheck::live).is_some_and(|collection| collection.created)
    }

    /// Live collections by their databases and names.
    pub(super) fn by_name(&self) -> BTreeMap<(i64, &str), i64> {
        self.created().map(|(id, collection)| ((collection.database, &*collection.name), id)).collect()
    }

    pub(super) fn created(&self) -> impl Iterator<Item = (i64, &CheckedCollection)> {
        let live = self.keys.iter().filter_map(|(id, key)| Some((*id, self.records.get(key)?.live()?)));
        live.filter(|(_, collection)| collection.created)
    }

    pub(super) fn check(&self, layout: Option<Layout>, findings: &mut Findings) {
        self.check_versions(layout, findings);
        self.check_form(layout, findings);
        self.check_owners(findings);
        self.check_names(findings);
        for (id, collection) in self.created() {
            self.check_parts(id, collection, findings);
            self.check_partition_names(id, findings);
        }
        for (key, snapshots) in &self.snapshots {
            self.check_snapshots(key, snapshots, layout, findings);
        }
    }

    /// From 2.2.9 on a collection without a database loses its aliases and later changes at restarts.
    fn check_form(&self, layout: Option<Layout>, findings: &mut Findings) {
        let Some(layout) = layout else { return };
        for (id, collection) in self.created() {
            let is_in_database = self.keys.get(&id).is_some_and(|key| key.family == Family::DatabaseCollection);
            if is_in_database != layout.in_database {
                let form = if layout.in_database { "belongs to no database" } else { "belongs to a database" };
                let what = format!("collection {:?} {form}, unlike what this target writes itself", collection.name);
                findings.error(Invariant::TargetForm, self.key(id), what);
            }
        }
    }

    fn check_versions(&self, layout: Option<Layout>, findings: &mut Findings) {
        for (key, versions) in &self.records {
            versions.check(key.clone(), false, layout, findings);
        }
        for ((collection, field), versions) in &self.fields {
            let plain = Family::Field.key([*collection, *field]);
            versions.check(plain, self.is_created(*collection), layout, findings);
        }
        for ((collection, partition), versions) in &self.partitions {
            let plain = Family::Partition.key([*collection, *partition]);
            versions.check(plain, self.is_created(*collection), layout, findings);
        }
    }

    fn check_owners(&self, findings: &mut Findings) {
        let fields = self.fields.iter().filter(|(_, versions)| versions.exists());
        let fields = fields.map(|((collection, field), _)| (*collection, Family::Field.key([*collection, *field])));
        let partitions = self.partitions.iter().filter(|(_, versions)| versions.exists());
        let partitions = partitions
            .map(|((collection, partition), _)| (*collection, Family::Partition.key([*collection, *partition])));
        for (collection, key) in fields.chain(partitions) {
            if !self.exists(collection) {
                let what = format!("its collection {collection} does not exist");
                findings.error(Invariant::OwnerExists, key.to_string(), what);
            }
        }
    }

    fn check_names(&self, findings: &mut Findings) {
        let mut seen = BTreeMap::new();
        for (id, collection) in self.created() {
            if let Some(first) = seen.insert((collection.database, &collection.name), id) {
                let what = format!("its name {:?} is that of collection {first}, too", collection.name);
                let remedy = format!("--rename-collection {id}=NEW");
                findings.error_with(Invariant::CollectionNamesUnique, self.key(id), what, remedy);
            }
        }
    }

    /// Fields and partitions of a collection.
    fn check_parts(&self, id: i64, collection: &CheckedCollection, findings: &mut Findings) {
        let key = self.key(id);
        if collection.embeds.any() {
            let what = format!("the record of collection {:?} embeds {}", collection.name, collection.embeds.list());
            findings.error(Invariant::NothingEmbedded, &key, what);
        }
        let fields: Vec<_> = of(&self.fields, id).filter(|(_, versions)| versions.exists()).collect();
        if fields.is_empty() && !collection.embeds.fields {
            let what = format!("collection {:?} has no fields", collection.name);
            findings.error(Invariant::CollectionFields, &key, what);
        }
        let primary_keys = fields.iter().filter(|(_, versions)| versions.live() == Some(&true)).count();
        let all_readable = !fields.is_empty() && fields.iter().all(|(_, versions)| versions.live().is_some());
        if all_readable && primary_keys != 1 {
            let what = format!("collection {:?} has {primary_keys} primary keys", collection.name);
            findings.error(Invariant::CollectionPrimaryKey, &key, what);
        }
        let is_there = |versions: &VersionCheck<Partition>| {
            versions.exists() && versions.live().is_none_or(|partition| partition.created)
        };
        if !collection.embeds.partitions && !of(&self.partitions, id).any(|(_, versions)| is_there(versions)) {
            let what = format!("collection {:?} has no partitions", collection.name);
            findings.error(Invariant::CollectionPartitions, &key, what);
        }
    }

    fn check_partition_names(&self, id: i64, findings: &mut Findings) {
        let mut seen = BTreeMap::new();
        for (partition, versions) in of(&self.partitions, id) {
            let Some(record) = versions.live().filter(|record| record.created) else { continue };
            if let Some(first) = seen.insert(&record.name, partition) {
                let key = Family::Partition.key([id, partition]);
                let what = format!("its name {:?} is that of partition {first}, too", record.name);
                let remedy = format!("--rename-partition {id}/{partition}=NEW");
                findings.error_with(Invariant::PartitionNamesUnique, key.to_string(), what, remedy);
            }
        }
    }
}

/// Database (0 before there were any) and ID of a collection's key.
pub(super) fn ids_of(key: &Key) -> (i64, i64) {
    match key.family {
        Family::DatabaseCollection => key.ids::<2>().into(),
        _ => (0, key.ids::<1>()[0]),
    }
}

/// The records of one collection, by their own ID.
pub(super) fn of<T>(records: &BTreeMap<IdSet, T>, collection: i64) -> impl Iterator<Item = (i64, &T)> {
    records.range((collection, i64::MIN)..=(collection, i64::MAX)).map(|((_, id), record)| (*id, record))
}
