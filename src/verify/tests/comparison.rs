use super::*;
use crate::verify::comparison::{Comparison, Differences};

fn compare(backup: &Keys, etcd: &Keys, options: &Options) -> Differences {
    let mut comparison = Comparison::new(backup.clone(), options).unwrap();
    etcd.iter().for_each(|(key, value)| comparison.add(key, value));
    comparison.finish()
}

#[test]
fn what_was_migrated_is_what_the_migration_of_the_backup_gives() {
    let keys = migrated();
    let differences = compare(&sample(), &keys, &Options::default());
    let sessions = keys.keys().filter(|key| key.starts_with(b"session/")).count();
    assert_eq!(differences, Differences { equal: (keys.len() - sessions) as u64, ..Differences::default() });
}

#[test]
fn missing_different_and_extra_keys_are_told_by_name() {
    let mut keys = migrated();
    let gone = remove(&mut keys, &Key::Plain(Plain::Alias("a_main".into())));
    let other = Key::Plain(Plain::Alias("a_second".into()));
    put(&mut keys, &other, gone);
    put(&mut keys, &Key::CollectionLoad(7), Bytes::new());
    keys.insert(Bytes::from("session/rootcoord"), Bytes::new());
    let differences = compare(&sample(), &keys, &Options::default());
    assert_eq!(differences.missing, ["root-coord/aliases/a_main"]);
    assert_eq!(differences.different, ["root-coord/aliases/a_second"]);
    assert_eq!(differences.extra, ["querycoord-collection-loadinfo/7"]);
    assert_eq!(differences.keys(), 3);
}

#[test]
fn other_options_than_those_of_the_run_give_other_values() {
    let options = Options { rebuild_index: vec!["IVF_FLAT".into()], ..Options::default() };
    let differences = compare(&sample(), &migrated(), &options);
    assert!(differences.different.iter().all(|key| key.starts_with("segment-index/")));
    assert!(!differences.different.is_empty());
}

#[test]
fn problems_in_the_backup_are_listed() {
    let mut backup = sample();
    backup.insert(Bytes::from("indexes/9000000000000000000"), Bytes::from_static(&[0xFF; 12]));
    let differences = compare(&backup, &migrated(), &Options::default());
    let problems: Vec<_> = differences.problems.iter().map(|problem| &*problem.key).collect();
    assert_eq!((problems, differences.keys()), (vec!["indexes/9000000000000000000"], 0));
}
