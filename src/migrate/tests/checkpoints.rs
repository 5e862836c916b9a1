use super::cluster::{Cluster, Migrated};
use crate::layout::messages::common::{CollectionInfo, KeyDataPair};
use crate::layout::messages::target::MsgPosition;
use crate::migrate::checkpoints::owner;

/// A collection with two shards, one of whose physical channels is named.
fn sharded(second_position: Option<&[u8]>) -> Cluster {
    let position = |channel: &str, data: &[u8]| KeyDataPair { key: channel.into(), data: data.to_vec() };
    Cluster::new().collection(7, "c").alter("root-coord/collection/7", |info: &mut CollectionInfo| {
        info.create_time = 99;
        info.virtual_channel_names = vec!["dml_0_7v0".into(), "dml_1_7v1".into()];
        info.physical_channel_names = vec!["dml_0".into(), "dml_1".into()];
        info.start_positions = vec![position("dml_0", b"01234567")];
        info.start_positions.extend(second_position.map(|data| position("dml_1", data)));
    })
}

fn checkpoint(done: &Migrated, channel: &str) -> MsgPosition {
    done.after.get(&format!("datacoord-meta/channel-cp/{channel}"))
}

#[test]
fn each_channel_gets_the_position_at_which_its_collection_begins() {
    let done = sharded(Some(b"abcdefgh")).migrate();
    let expected = |channel: &str, id: &[u8]| MsgPosition {
        channel_name: channel.into(),
        msg_id: id.to_vec(),
        msg_group: String::new(),
        timestamp: 99,
    };
    assert_eq!(checkpoint(&done, "dml_0_7v0"), expected("dml_0_7v0", b"01234567"));
    assert_eq!(checkpoint(&done, "dml_1_7v1"), expected("dml_1_7v1", b"abcdefgh"));
    assert_eq!(done.migration.report.checkpoints, 2);
}

#[test]
fn a_channel_of_which_nobody_knows_where_it_begins_gets_none_and_is_told() {
    for second in [None, Some(&b""[..])] {
        let done = sharded(second).migrate();
        assert_eq!(done.after.keys("datacoord-meta/channel-cp/"), ["datacoord-meta/channel-cp/dml_0_7v0"]);
        let [warning] = &done.migration.report.warnings[..] else { panic!("{:?}", done.migration.report.warnings) };
        assert!(
            warning.contains("\"c\"") && warning.contains("dml_1_7v1") && warning.contains("once more"),
            "{warning}"
        );
    }
}

#[test]
fn a_channel_that_two_collections_name_gets_none() {
    let both = sharded(None).collection(8, "d").alter("root-coord/collection/8", |info: &mut CollectionInfo| {
        info.virtual_channel_names = vec!["dml_0_7v0".into()];
    });
    let both = both.alter("root-coord/collection/8", |info: &mut CollectionInfo| {
        info.physical_channel_names = vec!["dml_0".into()];
        info.start_positions = vec![KeyDataPair { key: "dml_0".into(), data: b"76543210".to_vec() }];
    });
    let done = both.migrate();
    assert_eq!(done.after.keys("datacoord-meta/channel-cp/"), [""; 0]);
    assert_eq!(done.migration.report.warnings.len(), 3);
    // The same when a run was killed after it had switched one of the two.
    let mut killed = both;
    done.plan().phases[0].changes.iter().for_each(|change| killed.apply(change));
    killed.apply(&done.plan().phases[1].changes[0]);
    assert_eq!(killed.migrate().after.keys("datacoord-meta/channel-cp/"), [""; 0]);
}

#[test]
fn what_an_interrupted_run_wrote_for_a_collection_that_was_dropped_since_goes() {
    let prepared = sharded(None).migrate();
    let mut interrupted = sharded(None);
    prepared.plan().phases[0].changes.iter().for_each(|change| interrupted.apply(change));
    let dropped = interrupted.snapshot(5).bury("root-coord/collection/7", 9).collection(8, "other").vector_index(500);
    assert_eq!(dropped.migrate().after.keys("datacoord-meta/channel-cp/"), [""; 0]);
}

#[test]
fn a_virtual_channel_tells_its_collection() {
    assert_eq!(owner("by-dev-rootcoord-dml_0_470605839296564545v0"), Some(470_605_839_296_564_545));
    assert_eq!(["", "v0", "dml_0", "dml_xv0", "dml_7vx"].map(owner), [None; 5]);
}
