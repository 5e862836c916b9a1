//! What there is, by name, whichever layout says so; and how two such lists differ. For two backups, or a backup and etcd.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use schemars::JsonSchema;
use serde::Serialize;

use super::collection::{self, Collection, Collections};
use super::index::unfold_params;
use super::records::{Records, USERS};
use super::{alias, collection_record};
use crate::amounts::many;
use crate::layout::families::Family;
use crate::layout::messages::common::{DataType, FieldSchema, KeyValuePair};
use crate::layout::messages::source::{IndexInfo, LoadState, LoadType};
use crate::layout::messages::target::{self, CollectionLoadInfo, FieldIndex, PartitionLoadInfo};

/// Everything that has a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Living collections by ID.
    pub collections: BTreeMap<i64, Held>,
    /// Living aliases, with the IDs of their collections.
    pub aliases: BTreeMap<String, i64>,
    /// Users, with what their credentials are; never shown.
    users: BTreeMap<String, Bytes>,
}

/// A collection, as a person would describe it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// Names of its partitions by ID.
    pub partitions: BTreeMap<i64, String>,
    /// Its fields by ID, in words; empty where the record cannot be used.
    fields: BTreeMap<i64, String>,
    /// Its living indexes by ID, in words.
    indexes: BTreeMap<i64, Described>,
    /// What of it is loaded, in words.
    load: Option<String>,
}

/// Something with a name, and the rest of it in words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Described {
    name: String,
    rest: String,
}

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// It is in the first only.
    Came,
    /// It is in the second only.
    Went,
    /// It is in both, and not the same.
    Changed,
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// A collection; its fields count as part of it.
    Collection,
    /// A partition of a collection that is in both.
    Partition,
    /// An index of a collection that is in both.
    Index,
    /// What of a collection that is in both is loaded.
    LoadState,
    /// An alias.
    Alias,
    /// A user with credentials.
    User,
}

/// One thing that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Difference {
    /// What kind of thing it is.
    pub kind: Category,
    /// How it differs.
    pub turn: Turn,
    /// Its name.
    pub name: String,
    /// Its ID, if it has one.
    pub id: Option<i64>,
    /// The collection that it belongs to, by name, if it is a part of one.
    pub collection: Option<String>,
    /// What it is or what has changed, in words.
    pub details: Vec<String>,
}

impl Inventory {
    /// What is in these records (keys relative to the meta root, in ascending order).
    pub fn of(entries: &[(Bytes, Bytes)]) -> Self {
        let records: Records = entries.iter().cloned().collect();
        let collections = collection::read(&records, true);
        let aliases = alias::read(&records);
        let living = aliases.living_source().chain(aliases.living_target());
        let user = |key: &[u8]| std::str::from_utf8(key).ok()?.strip_prefix(USERS).map(str::to_owned);
        Self {
            collections: held(&records, &collections),
            aliases: living.map(|(name, id)| (name.to_owned(), id)).collect(),
            users: entries.iter().filter_map(|(key, value)| Some((user(key)?, value.clone()))).collect(),
        }
    }

    /// How this one differs from another, sorted by kind, then by name.
    pub fn against(&self, other: &Self) -> Vec<Difference> {
        let mut all = Vec::new();
        for (id, turn) in turns(&self.collections, &other.collections) {
            let (mine, theirs) = (self.collections.get(&id), other.collections.get(&id));
            let Some(held) = mine.or(theirs) else { continue };
            if turn == Turn::Changed {
                let (Some(mine), Some(theirs)) = (mine, theirs) else { continue };
                mine.parts_against(id, theirs, &mut all);
                continue;
            }
            let mut details = held.in_words();
            let elsewhere = if turn == Turn::Came { other } else { self };
            if let Some((twin, _)) = elsewhere.collections.iter().find(|(_, twin)| twin.name == held.name) {
                details.push(format!("another collection of that name ({twin}) is in the other one"));
            }
            all.push(Difference {
                kind: Category::Collection,
                turn,
                name: held.name.clone(),
                id: Some(id),
                collection: None,
                details,
            });
        }
        for (name, turn) in turns(&self.aliases, &other.aliases) {
            let leads = |to: &Self| to.aliases.get(&name).map(|id| to.collection_in_words(*id));
            let details = changed(leads(other), leads(self), "leads to ");
            all.push(Difference { kind: Category::Alias, turn, name, id: None, collection: None, details });
        }
        for (name, turn) in turns(&self.users, &other.users) {
            let details = if turn == Turn::Changed { vec!["other credentials".to_owned()] } else { Vec::new() };
            all.push(Difference { kind: Category::User, turn, name, id: None, collection: None, details });
        }
        all.sort_by(|a, b| (a.kind, &a.collection, &a.name, a.id).cmp(&(b.kind, &b.collection, &b.name, b.id)));
        all
    }

    fn collection_in_words(&self, id: i64) -> String {
        self.collections
            .get(&id)
            .map_or_else(|| format!("{id}, which is not there"), |held| format!("{} ({id})", held.name))
    }
}

impl Held {
    fn in_words(&self) -> Vec<String> {
        let names: Vec<&str> = self.partitions.values().map(String::as_str).collect();
        let indexes: Vec<&str> = self.indexes.values().map(|index| &*index.name).collect();
        let none_or = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        vec![
            format!(
                "{}; partitions: {}; indexes: {}",
                many(self.fields.len(), "field", "fields"),
                none_or(names),
                none_or(indexes)
            ),
            self.load.clone().unwrap_or_else(|| "not loaded".to_owned()),
        ]
    }

    /// What of a collection differs that is in both.
    fn parts_against(&self, id: i64, other: &Self, all: &mut Vec<Difference>) {
        let part = |kind, turn, name: &str, id, details| Difference {
            kind,
            turn,
            name: name.to_owned(),
            id: Some(id),
            collection: (kind != Category::Collection).then(|| self.name.clone()),
            details,
        };
        let mut own = Vec::new();
        if self.name != other.name {
            own.push(format!("its name was {}", other.name));
        }
        for (field, turn) in turns(&self.fields, &other.fields) {
            let words = |held: &Self| held.fields.get(&field).cloned();
            let details = changed(words(other), words(self), "");
            own.push(format!("field {field} {}: {}", turn.in_words(), details.join("; ")));
        }
        if !own.is_empty() {
            all.push(part(Category::Collection, Turn::Changed, &self.name, id, own));
        }
        for (partition, turn) in turns(&self.partitions, &other.partitions) {
            let (mine, theirs) = (self.partitions.get(&partition), other.partitions.get(&partition));
            let Some(name) = mine.or(theirs) else { continue };
            let details = changed(theirs.cloned(), mine.cloned(), "");
            let details = if turn == Turn::Changed { details } else { Vec::new() };
            all.push(part(Category::Partition, turn, name, partition, details));
        }
        for (index, turn) in turns(&self.indexes, &other.indexes) {
            let (mine, theirs) = (self.indexes.get(&index), other.indexes.get(&index));
            let Some(described) = mine.or(theirs) else { continue };
            let words = |one: Option<&Described>| one.map(|one| format!("{}, {}", one.name, one.rest));
            all.push(part(Category::Index, turn, &described.name, index, changed(words(theirs), words(mine), "")));
        }
        if self.load != other.load {
            let turn = match (&self.load, &other.load) {
                (Some(_), None) => Turn::Came,
                (None, _) => Turn::Went,
                _ => Turn::Changed,
            };
            all.push(part(
                Category::LoadState,
                turn,
                &self.name,
                id,
                changed(other.load.clone(), self.load.clone(), ""),
            ));
        }
    }
}

impl Turn {
    /// For people.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Came => "came",
            Self::Went => "went",
            Self::Changed => "changed",
        }
    }
}

/// What is in one of them only, or not the same.
fn turns<K: Ord + Clone, V: PartialEq>(mine: &BTreeMap<K, V>, theirs: &BTreeMap<K, V>) -> Vec<(K, Turn)> {
    let keys: BTreeSet<&K> = mine.keys().chain(theirs.keys()).collect();
    let turn = |key: &K| match (mine.get(key), theirs.get(key)) {
        (Some(_), None) => Some(Turn::Came),
        (None, Some(_)) => Some(Turn::Went),
        (Some(mine), Some(theirs)) if mine != theirs => Some(Turn::Changed),
        _ => None,
    };
    keys.into_iter().filter_map(|key| Some((key.clone(), turn(key)?))).collect()
}

/// Before and now, in words.
fn changed(before: Option<String>, now: Option<String>, what: &str) -> Vec<String> {
    match (before, now) {
        (Some(before), Some(now)) => vec![format!("was: {what}{before}"), format!("is: {what}{now}")],
        (before, now) => before.or(now).map(|one| format!("{what}{one}")).into_iter().collect(),
    }
}

/// The living collections, those with a record that cannot be used by what can be read of them.
fn held(records: &Records, collections: &Collections) -> BTreeMap<i64, Held> {
    let mut all = BTreeMap::new();
    for family in [Family::Collection, Family::DatabaseCollection] {
        for (key, versions) in records.versions_of(family) {
            if versions.plain.as_deref().is_some_and(collection_record::is_living) {
                let id = collection_record::id_of(&key);
                let name =
                    collection_record::name_of(&versions).unwrap_or_else(|| "(its record cannot be read)".to_owned());
                all.insert(id, Held { name, ..Held::default() });
            }
        }
    }
    let mut loads = loads(records);
    for collection in collections.iter() {
        let described = Held {
            name: collection.name.clone(),
            partitions: collection.partitions.clone(),
            fields: collection.fields.iter().map(|field| (field.field_id, describe_field(field))).collect(),
            indexes: indexes(records, collection),
            load: loads.remove(&collection.id),
        };
        all.insert(collection.id, described);
    }
    all
}

fn describe_field(field: &FieldSchema) -> String {
    let kind = DataType::try_from(field.data_type)
        .map_or_else(|_| field.data_type.to_string(), |kind| kind.as_str_name().to_owned());
    let primary = if field.is_primary_key { ", primary key" } else { "" };
    format!("{} ({kind}{primary}{})", field.name, spelt(&field.type_params))
}

fn spelt(params: &[KeyValuePair]) -> String {
    params.iter().map(|pair| format!(", {} {}", pair.key, pair.value)).collect()
}

/// Living indexes of a collection, as either layout has them; their parameters spelt alike.
fn indexes(records: &Records, collection: &Collection) -> BTreeMap<i64, Described> {
    let on = |field: i64| collection.field(field).map_or_else(|| field.to_string(), |field| field.name.clone());
    let described = |name: String, field: i64, params: &[KeyValuePair]| {
        let unfolded = unfold_params(params).unwrap_or_else(|_| params.to_vec());
        Described { name, rest: format!("on {}{}", on(field), spelt(&unfolded)) }
    };
    let mut all = BTreeMap::new();
    for listed in &collection.field_indexes {
        let key = Family::SourceIndex.key([collection.id, listed.index_id]);
        let info = records.get(&key).and_then(|value| IndexInfo::decode(&**value).ok()).filter(|info| !info.deleted);
        if let Some(info) = info {
            all.insert(listed.index_id, described(info.index_name, listed.filed_id, &info.index_params));
        }
    }
    for (key, versions) in records.versions_under(Family::FieldIndex, collection.id) {
        let record = versions.plain.and_then(|value| FieldIndex::decode(&*value).ok()).filter(|record| !record.deleted);
        if let Some(info) = record.and_then(|record| record.index_info) {
            all.insert(key.ids::<2>()[1], described(info.index_name, info.field_id, &info.index_params));
        }
    }
    all
}

/// What is loaded, by collection, as either layout says it. Where a newer Milvus has said it, that counts.
fn loads(records: &Records) -> BTreeMap<i64, String> {
    let mut all = BTreeMap::new();
    let words = |partitions: Option<BTreeSet<i64>>, replicas: i32| {
        let ids = |ids: BTreeSet<i64>| ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let what =
            partitions.map_or_else(|| "loaded whole".to_owned(), |some| format!("partitions loaded: {}", ids(some)));
        format!("{what}, {}", many(replicas.max(1), "replica", "replicas"))
    };
    let is_migrated = !records.target_keys().is_empty();
    // What 2.1 noted stays there after a migration, and says nothing any more.
    for (key, record) in records.of(Family::SourceLoadState).filter(|_| !is_migrated) {
        let Ok(state) = LoadState::decode(&*record.value) else { continue };
        let some = (state.load_type != LoadType::LoadCollection as i32)
            .then(|| state.partition_i_ds.iter().copied().collect());
        all.insert(key.ids::<1>()[0], words(some, state.replica_number));
    }
    let mut partitions: BTreeMap<i64, (BTreeSet<i64>, i32)> = BTreeMap::new();
    for (key, record) in records.of(Family::PartitionLoad) {
        let [collection, partition] = key.ids();
        let of = partitions.entry(collection).or_default();
        of.0.insert(partition);
        of.1 = PartitionLoadInfo::decode(&*record.value).map_or(0, |info| info.replica_number);
    }
    for (collection, (some, replicas)) in partitions {
        all.insert(collection, words(Some(some), replicas));
    }
    for (key, record) in records.of(Family::CollectionLoad) {
        let Ok(info) = CollectionLoadInfo::decode(&*record.value) else { continue };
        if info.load_type != target::LoadType::LoadPartition as i32 {
            all.insert(key.ids::<1>()[0], words(None, info.replica_number));
        }
    }
    all
}
