use super::*;
use crate::layout::messages::common::{CollectionInfo, FieldSchema};
use crate::layout::messages::target::{AliasInfo, PartitionInfo};

/// Edits a record and its newest snapshot alike.
fn edit_both<M: Message + Default>(keys: &mut Keys, plain: &Key, time: u64, change: impl Fn(&mut M)) {
    edit(keys, plain, &change);
    edit(keys, &plain.clone().at(time), &change);
}

/// Removes the keys of a kind that a collection has, with their snapshots.
fn remove_parts(keys: &mut Keys, kind: &str, collection: i64) {
    ["", "snapshots/"].iter().for_each(|start| remove_all(keys, &format!("{start}root-coord/{kind}/{collection}/")));
}

#[test]
fn a_collection_without_fields_is_found() {
    assert_finds(|keys| {
        let id = bare(keys);
        remove_parts(keys, "fields", id);
        vec![(Invariant::CollectionFields, record(id).to_string())]
    });
}

#[test]
fn a_collection_without_partitions_is_found() {
    assert_finds(|keys| {
        let id = bare(keys);
        remove_parts(keys, "partitions", id);
        vec![(Invariant::CollectionPartitions, record(id).to_string())]
    });
}

#[test]
fn a_collection_with_no_or_two_primary_keys_is_found() {
    for (id, is_primary_key) in [(100, false), (101, true)] {
        assert_finds(|keys| {
            let collection = collection(keys);
            let time = newest(keys, collection);
            edit_both(keys, &field(collection, id), time, |field: &mut FieldSchema| {
                assert_ne!(field.is_primary_key, is_primary_key);
                field.is_primary_key = is_primary_key;
            });
            vec![(Invariant::CollectionPrimaryKey, record(collection).to_string())]
        });
    }
}

#[test]
fn records_left_embedded_as_the_original_tool_does_are_found() {
    assert_finds(|keys| {
        let id = bare(keys);
        let embedded = [record(id), record(id).at(newest(keys, id))];
        let source = source();
        for key in &embedded {
            let value = source[key.to_string().as_bytes()].clone();
            put(keys, key, value);
        }
        embedded.map(|key| (Invariant::NothingEmbedded, key.to_string())).to_vec()
    });
}

#[test]
fn ids_that_contradict_the_key_are_found() {
    assert_finds(|keys| {
        let collection = collection(keys);
        let key = field(collection, 101);
        edit(keys, &key, |field: &mut FieldSchema| field.field_id = 111);
        let partition = partitions(keys, collection).remove(0);
        edit(keys, &partition, |partition: &mut PartitionInfo| partition.collection_id += 1);
        let other = record(bare(keys));
        edit(keys, &other, |info: &mut CollectionInfo| info.id += 1);
        [key, partition, other].map(|key| (Invariant::IdsAgree, key.to_string())).to_vec()
    });
}

#[test]
fn fields_and_partitions_of_no_collection_are_found() {
    assert_finds(|keys| {
        let stray = field(7, 101);
        let value = value(keys, &field(collection(keys), 101)).clone();
        let partition = Family::Partition.key([7, 8]);
        let info = PartitionInfo { partition_id: 8, collection_id: 7, ..Default::default() };
        for at in [None, Some(9)] {
            let at = |key: &Key| at.map_or(key.clone(), |time| key.clone().at(time));
            put(keys, &at(&stray), value.clone());
            put_message(keys, &at(&partition), &info);
        }
        found(Invariant::OwnerExists, [stray, partition])
    });
}

#[test]
fn two_collections_of_one_name_are_found_unless_they_are_in_two_databases() {
    let mut keys = migrated();
    let (first, second) = (collection(&keys), bare(&keys));
    let name = get::<CollectionInfo>(&keys, &record(first)).schema.unwrap().name;
    let time = newest(&keys, second);
    for database in [0, 1, 2] {
        edit_both(&mut keys, &record(second), time, |info: &mut CollectionInfo| {
            info.schema.as_mut().unwrap().name.clone_from(&name);
            info.db_id = database;
        });
        let clashes =
            if database < 2 { found(Invariant::CollectionNamesUnique, [record(first.max(second))]) } else { vec![] };
        let checked = judge(&keys, FIRST);
        assert_found(&checked, Severity::Error, clashes);
        let remedy = format!("--rename-collection {}=NEW", first.max(second));
        assert!(checked.findings.iter().all(|finding| finding.remedy.as_ref() == Some(&remedy)), "by ID");
    }
}

#[test]
fn two_partitions_of_one_name_are_found() {
    assert_finds(|keys| {
        let collection = collection(keys);
        let time = newest(keys, collection);
        let second = partitions(keys, collection).remove(1);
        edit_both(keys, &second, time, |partition: &mut PartitionInfo| partition.partition_name = "_default".into());
        found(Invariant::PartitionNamesUnique, [second])
    });
}

#[test]
fn an_alias_that_leads_nowhere_is_found() {
    assert_finds(|keys| {
        let dangling = Family::Alias.named("dangling");
        for key in [dangling.clone(), dangling.clone().at(9)] {
            put_message(
                keys,
                &key,
                &AliasInfo { alias_name: "dangling".into(), collection_id: 7, ..Default::default() },
            );
        }
        found(Invariant::AliasTargetExists, [dangling])
    });
}

#[test]
fn an_alias_with_the_name_of_a_collection_or_with_another_name_than_its_key_is_found() {
    assert_finds(|keys| {
        let id = collection(keys);
        let name = get::<CollectionInfo>(keys, &record(id)).schema.unwrap().name;
        let (hiding, misnamed) = (Family::Alias.named(&name), Family::Alias.named("misnamed"));
        let alias = AliasInfo { alias_name: name, collection_id: id, ..Default::default() };
        for key in [hiding.clone(), hiding.clone().at(9), misnamed.clone()] {
            put_message(keys, &key, &alias);
        }
        vec![(Invariant::AliasNameFree, hiding.to_string()), (Invariant::IdsAgree, misnamed.to_string())]
    });
}

#[test]
fn an_alias_may_have_the_name_of_a_collection_in_another_database() {
    for (database, name) in [(1, "other"), (2, "c_mixed"), (1, "c_mixed")] {
        let clashes = database == 1 && name == "c_mixed";
        let mut keys = migrated_to("2.2.16");
        let id = find(&keys, Family::DatabaseCollection, |key| {
            get::<CollectionInfo>(&keys, key).schema.is_some_and(|schema| schema.name == "c_mixed")
        });
        let alias = Family::DatabaseAlias.key_with([database], name);
        let info = AliasInfo {
            alias_name: name.into(),
            collection_id: id.ids::<2>()[1],
            db_id: database,
            ..Default::default()
        };
        [alias.clone(), alias.clone().at(9)].iter().for_each(|key| put_message(&mut keys, key, &info));
        let checked = judge(&keys, "2.2.16");
        let expected = if clashes { found(Invariant::AliasNameFree, [alias]) } else { vec![] };
        assert_found(&checked, Severity::Error, expected);
        let remedies: Vec<_> = checked.findings.iter().filter_map(|finding| finding.remedy.as_deref()).collect();
        assert_eq!(remedies, if clashes { vec!["--rename-alias 'c_mixed=NEW'"] } else { vec![] });
    }
}
