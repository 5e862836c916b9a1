//! Metadata in which something does not fit together.

use predicates::prelude::*;
use predicates::str::contains;

use meta_migration::layout::families::Family;
use meta_migration::layout::messages::{source, target};

use crate::common::readable::decode;
use crate::common::state::{Dump, assert_same, below, differences, value};
use crate::common::{Etcd, Tool, Version, on_both_versions, said};
use crate::newest_change;

on_both_versions![
    all_damage_is_told_before_anything_is_written,
    damaged_records_and_no_others_are_left_out_when_asked_for,
    what_follows_from_damage_is_left_out_with_it,
    damaged_metadata_can_be_backed_up_and_restored,
];

/// The sample with a missing build record and a broken segment index record.
struct Damaged {
    etcd: Etcd,
    tool: Tool,
    /// The segment index that lacks its build record, and that record's key.
    without_build: (String, String),
    /// The segment index whose record is broken.
    broken: String,
    /// Keys of the 2.2 layout that cannot be made of them.
    lost: [String; 2],
    /// What an undamaged sample becomes.
    undamaged: Dump,
}

fn damaged(version: Version) -> Damaged {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let tool = Tool::new(&etcd);
    let dump = etcd.dump();
    tool.call(&["run"]).code(0);
    let undamaged = etcd.dump();
    etcd.start_over(&dump);

    let built: Vec<_> = below(&dump, "root-coord/segment-index/")
        .map(|(key, value)| (key.to_owned(), decode::<source::SegmentIndexInfo>(value)))
        .filter(|(_, info)| info.build_id != 0)
        .collect();
    let [first, second] = [&built[3], &built[17]];
    let target_key = |info: &source::SegmentIndexInfo| {
        let (collection, partition, segment) = (info.collection_id, info.partition_id, info.segment_id);
        Family::SegmentIndex.key([collection, partition, segment, info.build_id]).to_string()
    };
    let build = Family::Build.key([first.1.build_id]).to_string();
    etcd.delete(format!("by-dev/meta/{build}"));
    etcd.put(format!("by-dev/meta/{}", second.0), "\x0a\x7fno message");
    Damaged {
        etcd,
        tool,
        without_build: (first.0.clone(), build),
        broken: second.0.clone(),
        lost: [target_key(&first.1), target_key(&second.1)],
        undamaged,
    }
}

fn all_damage_is_told_before_anything_is_written(version: Version) {
    let Damaged { etcd, tool, without_build, broken, .. } = damaged(version);
    let (before, newest) = (etcd.dump(), newest_change(&etcd));
    for args in [["run"].as_slice(), &["run", "--with-backup"]] {
        tool.call(args).code(1).stderr(
            contains("2 problems in the metadata")
                .and(contains(&without_build.0))
                .and(contains(format!("its build record {} is missing", without_build.1)))
                .and(contains(&broken))
                .and(contains("does not decode"))
                .and(contains("Nothing was written"))
                .and(contains("--skip-invalid")),
        );
    }
    assert_same(&before, &etcd.dump(), "refused");
    assert_eq!(newest_change(&etcd), newest);
    assert!(!tool.backup_file().exists(), "there is nothing yet that could be rolled back");
}

fn damaged_records_and_no_others_are_left_out_when_asked_for(version: Version) {
    let Damaged { etcd, tool, without_build, broken, lost, undamaged } = damaged(version);
    let done = tool.call(&["run", "--skip-invalid"]).code(0);
    let mut expected = undamaged;
    for key in lost {
        expected.remove(format!("by-dev/meta/{key}").as_bytes()).expect("a key of the undamaged sample");
    }
    assert_same(&expected, &etcd.dump(), "with --skip-invalid");
    let text = said(&done);
    let (_, end) = text.split_once("read back at revision").expect(&text);
    for key in [&without_build.0, &broken] {
        assert!(end.contains(key.as_str()), "{key} is not listed at the end:\n{end}");
    }
    let again = tool.call(&["run"]).code(0);
    assert!(said(&again).contains("nothing to do"), "{}", said(&again));
}

/// A field index without its index record takes its segment indexes and the load state's entry with it; nothing else.
fn what_follows_from_damage_is_left_out_with_it(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let (sample, tool) = (etcd.dump(), Tool::new(&etcd));
    tool.call(&["run"]).code(0);
    let undamaged = etcd.dump();
    etcd.start_over(&sample);

    // `txt_idx` of `c_scalaridx`.
    let (collection, index) = (470_605_843_543_621_633, 470_605_844_355_743_745);
    let record = Family::SourceIndex.key([collection, index]).to_string();
    etcd.delete(format!("by-dev/meta/{record}"));
    tool.call(&["run"])
        .code(1)
        .stderr(contains(Family::Collection.key([collection]).to_string()).and(contains(&record)))
        .stderr(contains("1 problem in the metadata, and 1 record that cannot be used because of them"));
    tool.call(&["run", "--skip-invalid"]).code(0);

    let found = etcd.dump();
    let load = Family::CollectionLoad.key([collection]).to_string();
    let segment = below(&undamaged, "segment-index/")
        .find(|(_, value)| decode::<target::SegmentIndex>(value).index_id == index)
        .map(|(key, _)| format!("missing: by-dev/meta/{key}"))
        .unwrap();
    assert_eq!(
        differences(&undamaged, &found),
        [
            format!("missing: by-dev/meta/{}", Family::FieldIndex.key([collection, index])),
            format!("another value: by-dev/meta/{load}"),
            segment,
        ]
    );
    let mut expected: target::CollectionLoadInfo = decode(value(&undamaged, &load).unwrap());
    assert_eq!(expected.field_index_id.remove(&104), Some(index));
    assert_eq!(decode::<target::CollectionLoadInfo>(value(&found, &load).unwrap()), expected);
}

fn damaged_metadata_can_be_backed_up_and_restored(version: Version) {
    let Damaged { etcd, tool, .. } = damaged(version);
    let before = etcd.dump();
    tool.call(&["backup"]).code(0);
    tool.call(&["run", "--skip-invalid"]).code(0);
    tool.call(&["rollback"]).code(0);
    assert_same(&before, &etcd.dump(), "after rollback");
}
