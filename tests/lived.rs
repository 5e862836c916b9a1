//! What a real Milvus 2.1.0 wrote that had lived: compacted, collected, deleted from, partitions and aliases dropped and made again, killed
//! within a flush (testdata/README.md). Planned, migrated, held against what that server said of itself, and brought back.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use meta_migration::layout::families::Family;
use meta_migration::layout::keys::Key;
use meta_migration::layout::messages::common::{
    CollectionInfo, FieldBinlog, FieldSchema, MsgPosition, SegmentInfo, SegmentState,
};
use meta_migration::layout::messages::target;
use serde_json::{Value, json};

use common::readable::live;
use common::state::{Dump, assert_same, below};
use common::{Etcd, Tool, Version, lived, on_both_versions, testdata};

const TARGETS: [&str; 3] = ["2.2.0", "2.2.16", "2.4.23"];
/// Loaded on 2.1 without an index, which newer versions do not do.
const RELEASED: &str = "c_noidx_loaded";

on_both_versions![
    the_plan_counts_what_the_server_had,
    migrated_it_says_what_the_server_said_and_goes_back_exactly,
    segments_keep_their_state_and_every_file_and_row,
];

/// An etcd with that metadata, and the tool.
struct Scene {
    etcd: Etcd,
    tool: Tool,
    before: Dump,
}

impl Scene {
    fn on(version: Version) -> Self {
        let etcd = Etcd::start(version);
        etcd.load_lines(&lived());
        let tool = Tool::new(&etcd);
        let before = etcd.dump();
        tool.call(&["backup"]).code(0);
        Self { etcd, tool, before }
    }

    /// What is in etcd after a run that `verify` is content with.
    fn migrated(&self, target: &str) -> Dump {
        self.tool.call(&["run", "--target-version", target]).code(0);
        self.tool.call(&["verify", "--target-version", target, "--backup", "migration.bak"]).code(0);
        self.etcd.dump()
    }

    fn roll_back(&self) {
        self.tool.call(&["rollback", "--no-copy"]).code(0);
        assert_same(&self.before, &self.etcd.dump(), "after rollback");
    }
}

/// Of each collection, by name.
type Facts = BTreeMap<String, Value>;

/// What the server said, as a migrated cluster has to say it.
fn facts() -> Facts {
    let text = std::fs::read_to_string(testdata("milvus-2.1.0-lived/facts.json")).unwrap();
    let mut facts: Facts = serde_json::from_str(&text).unwrap();
    for (name, fact) in &mut facts {
        let fields = fact["fields"].clone();
        for (field, index) in fact["indexes"].as_object_mut().unwrap() {
            if index["name"] == "_default_idx" {
                index["name"] = format!("_default_idx_{}", fields[field]).into();
            }
        }
        if name == RELEASED {
            (fact["loaded"], fact["loaded_partitions"]) = (false.into(), json!([]));
        }
    }
    facts
}

/// Live records of a family, by key.
fn records<M: prost::Message + Default>(dump: &Dump, family: Family) -> Vec<(Key, M)> {
    let parse = |key: &str| Key::parse(key.as_bytes()).unwrap();
    below(dump, family.prefix())
        .map(|(key, value)| (parse(key), value))
        .filter(|(key, _)| key.family == family)
        .filter_map(|(key, value)| Some((key, live(value)?)))
        .collect()
}

/// Migrated metadata in the words of the facts.
fn told(dump: &Dump) -> Facts {
    let mut collections: Vec<CollectionInfo> = Vec::new();
    for family in [Family::Collection, Family::DatabaseCollection] {
        collections.extend(records(dump, family).into_iter().map(|(_, info)| info));
    }
    let facts = Told::of(dump);
    collections.iter().map(|info| (info.schema.as_ref().unwrap().name.clone(), facts.of_collection(info))).collect()
}

/// Records of all collections.
struct Told {
    aliases: Vec<target::AliasInfo>,
    partitions: Vec<target::PartitionInfo>,
    fields: Vec<(Key, FieldSchema)>,
    indexes: Vec<target::IndexInfo>,
    /// As a whole; of others the loaded partitions have records of their own, in every layout.
    loaded: BTreeSet<i64>,
    loaded_partitions: BTreeSet<i64>,
}

impl Told {
    fn of(dump: &Dump) -> Self {
        let aliases = [Family::Alias, Family::DatabaseAlias].into_iter().flat_map(|family| records(dump, family));
        let indexes = records::<target::FieldIndex>(dump, Family::FieldIndex).into_iter().map(|(_, index)| index);
        let loaded = records::<target::CollectionLoadInfo>(dump, Family::CollectionLoad)
            .into_iter()
            .filter(|(_, load)| load.load_type() != target::LoadType::LoadPartition);
        let partly = records::<target::PartitionLoadInfo>(dump, Family::PartitionLoad).into_iter();
        Self {
            aliases: aliases.map(|(_, alias)| alias).collect(),
            partitions: records(dump, Family::Partition).into_iter().map(|(_, partition)| partition).collect(),
            fields: records(dump, Family::Field),
            indexes: indexes.filter(|index| !index.deleted).map(|index| index.index_info.unwrap()).collect(),
            loaded: loaded.map(|(_, load)| load.collection_id).collect(),
            loaded_partitions: partly.map(|(_, load)| load.partition_id).collect(),
        }
    }

    fn of_collection(&self, info: &CollectionInfo) -> Value {
        let of_it = |key: &Key| key.to_string().split('/').nth(2) == Some(&info.id.to_string());
        let fields: BTreeMap<_, _> =
            self.fields.iter().filter(|(key, _)| of_it(key)).map(|(_, field)| (&*field.name, field.field_id)).collect();
        let name_of = |id: i64| fields.iter().find(|(_, field)| **field == id).expect("the field of an index").0;
        let indexes = self.indexes.iter().filter(|index| index.collection_id == info.id);
        let partitions: BTreeMap<_, _> = self
            .partitions
            .iter()
            .filter(|partition| partition.collection_id == info.id)
            .map(|partition| (&*partition.partition_name, partition.partition_id))
            .collect();
        let loaded: Vec<_> = partitions
            .iter()
            .filter(|(_, id)| self.loaded.contains(&info.id) || self.loaded_partitions.contains(id))
            .map(|(name, _)| *name)
            .collect();
        let mut aliases: Vec<_> = self
            .aliases
            .iter()
            .filter(|alias| alias.collection_id == info.id)
            .map(|alias| &*alias.alias_name)
            .collect();
        aliases.sort_unstable();
        let mut channels = info.virtual_channel_names.clone();
        channels.sort_unstable();
        json!({
            "id": info.id,
            "channels": channels,
            "aliases": aliases,
            // The server does not describe its two system fields.
            "fields": fields.iter().filter(|(_, id)| **id >= 100).collect::<BTreeMap<_, _>>(),
            "partitions": partitions,
            "indexes": indexes.map(|index| (name_of(index.field_id), index_of(index))).collect::<BTreeMap<_, _>>(),
            "loaded": !loaded.is_empty(),
            "loaded_partitions": loaded,
        })
    }
}

fn index_of(index: &target::IndexInfo) -> Value {
    let params: BTreeMap<_, _> = index.index_params.iter().map(|pair| (&*pair.key, &*pair.value)).collect();
    json!({ "name": index.index_name, "id": index.index_id, "params": params })
}

fn the_plan_counts_what_the_server_had(version: Version) {
    let scene = Scene::on(version);
    let facts = facts();
    for target in TARGETS {
        let plan = scene.tool.call(&["plan", "--target-version", target, "--output", "json"]).code(0);
        let plan: Value = serde_json::from_slice(&plan.get_output().stdout).unwrap();
        let report = &plan["migration"]["report"];
        let ids = |all: &Value| all.as_array().unwrap().iter().map(|one| one["id"].as_i64()).collect::<BTreeSet<_>>();
        assert_eq!(ids(&report["collections"]), facts.values().map(|fact| fact["id"].as_i64()).collect(), "{target}");
        let loaded = facts.values().filter(|fact| fact["loaded"] == true).count();
        assert_eq!(report["loaded"].as_array().unwrap().len(), loaded, "{target}");
        assert_eq!(report["released"][0]["collection"], RELEASED, "{target}");
        let aliases: usize = facts.values().map(|fact| fact["aliases"].as_array().unwrap().len()).sum();
        assert_eq!(report["aliases"].as_object().unwrap().len(), aliases, "{target}");
        assert_eq!(plan["problems"], Value::Null, "{target}: a plan with problems");
        assert_same(&scene.before, &scene.etcd.dump(), "plan changes nothing");
    }
}

fn migrated_it_says_what_the_server_said_and_goes_back_exactly(version: Version) {
    let scene = Scene::on(version);
    let facts = facts();
    assert_eq!(facts.len(), 44);
    for target in TARGETS {
        let after = scene.migrated(target);
        let told = told(&after);
        assert_eq!(told.keys().collect::<Vec<_>>(), facts.keys().collect::<Vec<_>>(), "{target}");
        for (name, fact) in &facts {
            assert_eq!(told[name], *fact, "{target}: {name}");
        }
        let channels: BTreeSet<_> = facts
            .values()
            .flat_map(|fact| fact["channels"].as_array().unwrap())
            .map(|name| name.as_str().unwrap())
            .collect();
        let checkpoints = records::<MsgPosition>(&after, Family::ChannelCheckpoint);
        assert!(
            checkpoints.iter().all(|(_, position)| !position.msg_id.is_empty() && position.timestamp > 0),
            "{target}"
        );
        let named: BTreeSet<_> = checkpoints.iter().map(|(_, position)| &*position.channel_name).collect();
        assert_eq!(named, channels, "{target}");
        scene.roll_back();
    }
}

fn segments_keep_their_state_and_every_file_and_row(version: Version) {
    let scene = Scene::on(version);
    for target in TARGETS {
        let after = scene.migrated(target);
        let was: BTreeMap<_, SegmentInfo> = records(&scene.before, Family::Segment).into_iter().collect();
        let is: BTreeMap<_, SegmentInfo> = records(&after, Family::Segment).into_iter().collect();
        assert_eq!(was.keys().collect::<Vec<_>>(), is.keys().collect::<Vec<_>>(), "{target}");
        let lists: BTreeMap<_, FieldBinlog> = [Family::Binlog, Family::Statslog, Family::Deltalog]
            .into_iter()
            .flat_map(|family| records(&after, family))
            .collect();
        let mut files = 0;
        for (key, was) in &was {
            let mut expected = was.clone();
            let kinds = [&mut expected.binlogs, &mut expected.statslogs, &mut expected.deltalogs].map(std::mem::take);
            assert_eq!(is[key], expected, "{target}: {key}");
            for (family, of_kind) in [Family::Binlog, Family::Statslog, Family::Deltalog].into_iter().zip(kinds) {
                for list in of_kind.iter().filter(|list| !list.binlogs.is_empty()) {
                    let list_key = family.key([was.collection_id, was.partition_id, was.id, list.field_id]);
                    let moved = lists.get(&list_key).unwrap_or_else(|| panic!("{target}: no {list_key}"));
                    check_files(list, moved, was, family);
                    files += list.binlogs.len();
                }
            }
        }
        let states: BTreeSet<_> = was.values().map(SegmentInfo::state).collect();
        let all = [SegmentState::Growing, SegmentState::Sealed, SegmentState::Flushed, SegmentState::Flushing];
        assert!(all.iter().chain([&SegmentState::SegmentDropped]).all(|state| states.contains(state)), "{states:?}");
        assert!(files > 1_000, "{files} files are too few to tell anything");
        scene.roll_back();
    }
}

/// The same files in the same order, by the numbers at the end of their paths, and all rows of the segment.
fn check_files(was: &FieldBinlog, is: &FieldBinlog, segment: &SegmentInfo, family: Family) {
    let number = |path: &str| path.rsplit('/').next().unwrap().parse::<i64>().unwrap();
    let numbers: Vec<_> = was.binlogs.iter().map(|log| number(&log.log_path)).collect();
    // A statslog that covers several binlogs may be repeated.
    let moved: Vec<_> = is.binlogs.iter().map(|log| log.log_id).take(numbers.len()).collect();
    assert_eq!(moved, numbers, "segment {}", segment.id);
    if family == Family::Binlog && segment.state() == SegmentState::Flushed {
        let rows: i64 = is.binlogs.iter().map(|log| log.entries_num).sum();
        assert_eq!(rows, segment.num_of_rows, "segment {}, field {}", segment.id, was.field_id);
    }
}
