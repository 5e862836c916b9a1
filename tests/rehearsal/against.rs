//! `inspect --against`: two backups held against each other.

use meta_migration::layout::messages::common::{CollectionInfo, CollectionSchema};
use meta_migration::layout::messages::source::LoadState;
use prost::Message;
use serde_json::Value;

use crate::common::files::{birdwatcher_1, birdwatcher_2, legacy, sample, write_ours};
use crate::common::readable::decode;
use crate::common::{Tool, Version, said};
use crate::{says, stopped_milvus};

fn differences(tool: &Tool, args: &[&str]) -> (Value, Vec<[String; 3]>) {
    let ended = tool.call(&[args, &["--output", "json"]].concat());
    let object: Value =
        serde_json::from_slice(&ended.get_output().stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&ended)));
    let against = object["view"]["against"].clone();
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    let list = against["differences"].as_array().unwrap();
    let list = list.iter().map(|one| ["turn", "kind", "name"].map(|name| text(one, name))).collect();
    (against, list)
}

#[test]
fn the_same_metadata_is_the_same_in_every_format() {
    let tool = Tool::configured("");
    write_ours(&tool.dir().join("ours"), &sample());
    for (name, bytes) in [
        ("absolute", legacy(&sample(), true)),
        ("relative", legacy(&sample(), false)),
        ("bw1", birdwatcher_1(&sample())),
        ("bw2", birdwatcher_2(&sample())),
    ] {
        std::fs::write(tool.dir().join(name), bytes).unwrap();
        for pair in [["ours", name], [name, "ours"]] {
            let text = says(&tool, &["inspect", pair[0], "--against", pair[1]], 0);
            assert!(text.contains("the same: all "), "{text}");
        }
    }
}

#[test]
fn everything_with_a_name_that_came_went_or_changed_is_named() {
    let etcd = stopped_milvus(Version::V3_5);
    let tool = Tool::new(&etcd);
    says(&tool, &["backup", "--backup-file", "before.bak"], 0);
    let all = etcd.dump_prefix("by-dev/meta/root-coord/collection/");
    let mut collections: Vec<(Vec<u8>, CollectionInfo)> = all
        .into_iter()
        .filter_map(|(key, value)| Some((key, CollectionInfo::decode(&*value).ok()?)))
        .filter(|(_, info)| !info.field_indexes.is_empty() && !info.partition_i_ds.is_empty())
        .collect();
    collections.truncate(4);
    let [gone, renamed, parted, unindexed] = &mut collections[..] else { panic!("four collections with an index") };
    let name = |info: &CollectionInfo| info.schema.as_ref().unwrap().name.clone();
    let names = [&*gone, renamed, parted, unindexed].map(|(_, info)| name(info));
    etcd.delete(gone.0.clone());
    renamed.1.schema.as_mut().unwrap().name = "quite_another".into();
    etcd.put(renamed.0.clone(), renamed.1.encode_to_vec());
    parted.1.partition_i_ds.push(77);
    parted.1.partition_names.push("late".into());
    parted.1.partition_created_timestamps.push(1);
    etcd.put(parted.0.clone(), parted.1.encode_to_vec());
    unindexed.1.field_indexes.clear();
    etcd.put(unindexed.0.clone(), unindexed.1.encode_to_vec());
    let load = etcd.dump_prefix("by-dev/meta/queryCoord-collectionMeta/").into_iter().next().unwrap();
    let state: LoadState = decode(&load.1);
    etcd.delete(load.0);
    let alias = |id| CollectionInfo {
        id,
        schema: Some(CollectionSchema { name: "brand_new".into(), ..CollectionSchema::default() }),
        ..CollectionInfo::default()
    };
    etcd.put("by-dev/meta/root-coord/collection-alias/brand_new", alias(parted.1.id).encode_to_vec());
    etcd.put("by-dev/meta/root-coord/credential/users/bob", r#"{"password":"$2a$10$secret"}"#);
    etcd.put("by-dev/meta/channelwatch/14/new", "nothing with a name");
    says(&tool, &["backup", "--backup-file", "after.bak"], 0);

    let (against, found) = differences(&tool, &["inspect", "after.bak", "--against", "before.bak"]);
    let has = |turn: &str, kind: &str, name: &str| {
        let wanted = [turn, kind, name].map(str::to_owned);
        assert!(found.contains(&wanted), "{wanted:?} is not in {found:#?}");
    };
    has("went", "collection", &names[0]);
    has("changed", "collection", "quite_another");
    has("came", "partition", "late");
    assert!(found.iter().any(|one| one[0] == "went" && one[1] == "index"), "{found:?}");
    has("came", "alias", "brand_new");
    has("came", "user", "bob");
    // Of a collection that has gone the load state goes without saying.
    if state.collection_id != gone.1.id {
        assert!(found.iter().any(|one| one[0] == "went" && one[1] == "load-state"), "{found:?}");
    }
    assert_eq!(against["same"], false);
    assert_eq!(against["keys"]["came"]["channelwatch/"], 1);
    // The other way round everything is the other way round.
    let (_, back) = differences(&tool, &["inspect", "before.bak", "--against", "after.bak"]);
    assert_eq!(found.len(), back.len());
    assert!(back.contains(&["came", "collection", &names[0]].map(str::to_owned)), "{back:?}");
    assert!(back.contains(&["went", "user", "bob"].map(str::to_owned)), "{back:?}");

    let text = says(&tool, &["inspect", "after.bak", "--against", "before.bak"], 1);
    assert!(text.contains(&format!("its name was {}", names[1])), "{text}");
    assert!(text.contains(&format!("came {} / late (77)", names[2])), "{text}");
    assert!(text.contains("keys that came: ") && !text.contains("secret"), "{text}");
}

#[test]
fn a_migration_renames_indexes_and_loses_no_collection() {
    let etcd = stopped_milvus(Version::V3_5);
    let tool = Tool::new(&etcd);
    says(&tool, &["run", "--with-backup"], 0);
    says(&tool, &["backup", "--force", "--backup-file", "after.bak"], 0);
    let (_, found) = differences(&tool, &["inspect", "after.bak", "--against", "migration.bak"]);
    for [turn, kind, name] in &found {
        let known = match kind.as_str() {
            // _default_idx becomes _default_idx_<fieldID>.
            "index" => turn == "changed",
            // What has no index cannot be loaded any more.
            "load-state" => turn != "came",
            _ => false,
        };
        assert!(known, "{turn} {kind} {name}");
    }
    assert!(found.iter().any(|one| one[1] == "index"), "{found:?}");
}

#[test]
fn damaged_files_are_not_compared() {
    let tool = Tool::configured("");
    write_ours(&tool.dir().join("ours"), &sample());
    let bytes = std::fs::read(tool.dir().join("ours")).unwrap();
    std::fs::write(tool.dir().join("cut"), &bytes[..bytes.len() / 2]).unwrap();
    for pair in [["ours", "cut"], ["cut", "ours"]] {
        let text = says(&tool, &["inspect", pair[0], "--against", pair[1]], 1);
        assert!(text.contains("cut is damaged, and what it has lost would count as gone"), "{text}");
    }
}
