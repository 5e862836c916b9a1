//! Collections and aliases of a real Milvus 2.1.0 whose names 2.2 refuses, under other names.

use meta_migration::layout::messages::common::CollectionInfo;
use meta_migration::layout::messages::target::AliasInfo;

use super::common::readable::decode;
use super::common::state::{Dump, assert_same, below, value};
use super::common::{Etcd, Tool, Version, said};

const RENAMES: [&str; 3] = ["--rename-collection=c_$pecial__name$=c_special", "--rename-alias", "a_$pecial=a_special"];

fn sample() -> (Etcd, Tool) {
    let etcd = Etcd::start(Version::V3_5);
    etcd.load_milvus();
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    (etcd, tool)
}

fn with_renames<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter().copied().chain(RENAMES).collect()
}

fn collection_names(dump: &Dump) -> Vec<String> {
    let live = |value: &&[u8]| !meta_migration::layout::is_tombstone(value);
    let records = below(dump, "root-coord/collection/").map(|(_, value)| value).filter(live);
    records.map(|value| decode::<CollectionInfo>(value).schema.unwrap().name).collect()
}

#[test]
fn what_2_2_cannot_reach_by_its_name_gets_another_one_and_comes_back_on_rollback() {
    let (etcd, tool) = sample();
    let before = etcd.dump();
    let plan = said(&tool.call(&with_renames(&["plan"])).code(0));
    for line in ["c_$pecial__name$ becomes c_special", "a_$pecial becomes a_special"] {
        assert!(plan.contains(line), "{plan}");
    }
    tool.call(&with_renames(&["run"])).code(0);
    let after = etcd.dump();
    let names = collection_names(&after);
    assert!(names.contains(&"c_special".to_owned()) && names.iter().all(|name| !name.contains('$')), "{names:?}");
    let alias = decode::<AliasInfo>(value(&after, "root-coord/aliases/a_special").unwrap());
    assert_eq!(alias.alias_name, "a_special");
    assert!(below(&after, "root-coord/aliases/").all(|(key, _)| !key.contains('$')));
    let backup = tool.backup_file();
    let verify = ["verify", "--backup", backup.to_str().unwrap()];
    tool.call(&with_renames(&verify)).code(0);
    // What is on record counts where nothing is given.
    tool.call(&verify).code(0);
    tool.call(&["rollback"]).code(0);
    assert_same(&before, &etcd.dump(), "rollback");
}

#[test]
fn a_name_that_cannot_be_given_is_refused_and_nothing_is_written() {
    let (etcd, tool) = sample();
    let before = etcd.revision();
    for (wish, named) in [
        ("--rename-collection=c_simple=x", "there is no collection \"c_simple\" to rename: there are"),
        ("--rename-collection=c_binary=c_mixed", "its name \"c_mixed\" is that of collection"),
        ("--rename-collection=c_binary=a_main", "root-coord/aliases/a_main: collection"),
        ("--rename-alias=a_main=c_mixed", "root-coord/aliases/c_mixed: collection"),
        ("--rename-alias=c_mixed=x", "there is no alias \"c_mixed\""),
    ] {
        // With --skip-invalid too: it is about records, not about wishes.
        let refused = said(&tool.call(&["run", "--skip-invalid", wish]).code(1));
        assert!(refused.contains(named) && refused.contains("Nothing was written"), "{refused}");
        let plan = said(&tool.call(&["plan", wish]).code(1));
        assert!(plan.contains(named) && plan.contains("`run` would refuse"), "{plan}");
    }
    let locks = etcd.revision() - before;
    assert_eq!(locks % 2, 0, "nothing but the lock, taken and given back");
    assert_eq!(locks, 10);
}
