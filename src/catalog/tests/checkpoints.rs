//! Channel checkpoints (docs/layouts.md, rule 6).

use super::cluster::{Cluster, Migrated, TARGETS};
use super::position;
use super::steps::{Part, apply, halfway, steps};
use crate::catalog::channel::owner;
use crate::catalog::{Options, Precedence};
use crate::layout::messages::common::{CollectionInfo, KeyDataPair, MsgPosition, SegmentInfo, SegmentState};
use crate::message_log::MessageLog;

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
fn a_channel_without_any_segment_gets_the_position_at_which_its_collection_begins() {
    let done = sharded(Some(b"abcdefgh")).migrate();
    let expected = |channel: &str, id: &[u8]| MsgPosition {
        channel_name: channel.into(),
        msg_id: id.to_vec(),
        msg_group: String::new(),
        timestamp: 99,
    };
    assert_eq!(checkpoint(&done, "dml_0_7v0"), expected("dml_0_7v0", b"01234567"), "the virtual channel");
    assert_eq!(checkpoint(&done, "dml_1_7v1"), expected("dml_1_7v1", b"abcdefgh"));
    let told = &done.report().checkpoints;
    assert_eq!((told.from_collection, told.written()), (2, 2));
    assert_eq!(told.never_flushed, ["c / dml_0_7v0", "c / dml_1_7v1"]);
}

#[test]
fn a_channel_of_which_nobody_knows_where_it_begins_gets_none_and_is_told() {
    for second in [None, Some(&b""[..])] {
        let done = sharded(second).migrate();
        assert_eq!(done.after.keys("datacoord-meta/channel-cp/"), ["datacoord-meta/channel-cp/dml_0_7v0"]);
        let [warning] = &done.report().warnings[..] else { panic!("{:?}", done.report().warnings) };
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
    assert_eq!(done.report().warnings.len(), 3);
    // The same when a run was killed after it had switched one of the two.
    let mut killed = both;
    steps(&killed.clone(), &done.after)[&Part::NewRecords].iter().for_each(|step| apply(&mut killed, step));
    let switch = &steps(&killed.clone(), &done.after)[&Part::Collections];
    assert_eq!(switch.len(), 2);
    apply(&mut killed, &switch[0]);
    assert_eq!(killed.migrate().after.keys("datacoord-meta/channel-cp/"), [""; 0]);
}

#[test]
fn what_an_interrupted_run_wrote_for_a_collection_that_was_dropped_since_goes() {
    let prepared = sharded(None).migrate();
    let interrupted = halfway(&sharded(None), &prepared, Part::NewRecords);
    assert_ne!(interrupted.keys("datacoord-meta/channel-cp/"), [""; 0]);
    let dropped = interrupted.snapshot(5).bury("root-coord/collection/7", 9).collection(8, "other").vector_index(500);
    assert_eq!(dropped.migrate().after.keys("datacoord-meta/channel-cp/"), [""; 0]);
}

#[test]
fn a_virtual_channel_tells_its_collection() {
    assert_eq!(owner("by-dev-rootcoord-dml_0_470605839296564545v0"), Some(470_605_839_296_564_545));
    assert_eq!(["", "v0", "dml_0", "dml_xv0", "dml_7vx"].map(owner), [None; 5]);
}

/// One shard with its start, and segments at positions as 2.1 notes them: with the virtual channel.
fn shard() -> Cluster {
    Cluster::new().collection(7, "c").channel("dml_0", b"01234567")
}

const CHANNEL: &str = "dml_0_7v0";

/// A segment with a start and a later position.
fn at(id: i64, start: (&[u8], u64), later: (&[u8], u64)) -> impl Fn(Cluster) -> Cluster {
    let place = |(message, timestamp): (&[u8], u64)| {
        (timestamp > 0 || !message.is_empty()).then(|| position(CHANNEL, message, timestamp)).flatten()
    };
    let (start, later) = (place(start), place(later));
    move |cluster| {
        cluster.segment(id, |info| {
            info.start_position = start.clone();
            info.dml_position = later.clone();
        })
    }
}

const NONE: (&[u8], u64) = (b"", 0);

#[test]
fn the_earliest_position_of_a_living_segment_is_written_as_it_stands() {
    let first = at(1, (b"start__1", 10), (b"later__1", 80));
    let second = at(2, (b"start__2", 20), (b"later__2", 50));
    let third = at(3, (b"start__3", 60), NONE);
    for target in TARGETS {
        let done = third(second(first(shard()))).migrate_to(target);
        assert_eq!(Some(checkpoint(&done, CHANNEL)), position(CHANNEL, b"later__2", 50), "{target}");
        let told = &done.report().checkpoints;
        assert_eq!((told.from_segments, told.written(), told.never_flushed.len()), (1, 1, 0));
    }
}

#[test]
fn a_segment_without_a_later_position_counts_with_its_start() {
    let done = at(3, (b"start__3", 40), NONE)(at(1, (b"start__1", 10), (b"later__1", 80))(shard())).migrate();
    assert_eq!(Some(checkpoint(&done, CHANNEL)), position(CHANNEL, b"start__3", 40));
}

#[test]
fn a_position_without_a_message_is_none() {
    let only_start = at(1, (b"start__1", 60), (b"", 5))(shard()).migrate();
    assert_eq!(Some(checkpoint(&only_start, CHANNEL)), position(CHANNEL, b"start__1", 60));
    let neither = at(1, (b"", 6), (b"", 5))(at(2, NONE, (b"later__2", 70))(shard())).migrate();
    assert_eq!(Some(checkpoint(&neither, CHANNEL)), position(CHANNEL, b"later__2", 70));
}

#[test]
fn segments_that_were_dropped_never_were_or_are_being_imported_do_not_count() {
    use SegmentState::{Flushed, Flushing, Growing, Importing, NotExist, Sealed, SegmentDropped};
    let early = at(1, (b"start__1", 10), (b"later__1", 20));
    let cluster = at(2, NONE, (b"later__2", 70))(early(shard()));
    let checkpoint = |state: SegmentState| {
        let change = |info: &mut SegmentInfo| info.state = state as i32;
        checkpoint(&cluster.clone().alter("datacoord-meta/s/7/70/1", change).migrate(), CHANNEL).timestamp
    };
    assert_eq!([SegmentDropped, NotExist, Importing].map(checkpoint), [70; 3]);
    assert_eq!([Growing, Sealed, Flushed, Flushing].map(checkpoint), [20; 4]);
}

#[test]
fn a_timestamp_of_0_means_the_start_of_the_collection() {
    let done = at(1, NONE, (b"later__1", 0))(at(2, NONE, (b"later__2", 70))(shard())).migrate();
    assert_eq!((checkpoint(&done, CHANNEL).timestamp, done.report().checkpoints.from_collection), (2007, 1));
}

#[test]
fn positions_of_one_channel_say_nothing_of_another() {
    let cluster = at(1, NONE, (b"later__1", 20))(shard()).channel("dml_1", b"76543210");
    let done = cluster.migrate();
    assert_eq!(checkpoint(&done, CHANNEL).timestamp, 20);
    assert_eq!(checkpoint(&done, "dml_1_7v1").timestamp, 2007);
}

/// Fields of a position that the tool has no message for survive, and the order on the wire.
#[test]
fn a_position_is_taken_byte_for_byte() {
    let raw = [&b"\x20\x14\x12\x08abcdefgh"[..], b"\xa0\x1f\x07"].concat();
    let segment = shard().segment(1, |_| ()).value("datacoord-meta/s/7/70/1").to_vec();
    let record = [&segment[..], &[10 << 3 | 2, raw.len() as u8], &raw].concat();
    let done = shard().put("datacoord-meta/s/7/70/1", record).migrate();
    assert_eq!(done.after.value("datacoord-meta/channel-cp/dml_0_7v0"), &raw);
}

/// An offset of Kafka: below 2^48, 8 bytes, little endian.
fn offset(number: i64) -> [u8; 8] {
    number.to_le_bytes()
}

/// A collection that was never flushed beside one that was; by the IDs of their messages.
fn never_flushed_beside(other: &[u8]) -> Cluster {
    let cluster = Cluster::new().collection(6, "flushed").channel("dml_6", &offset(5));
    let cluster = cluster.segment(1, |info| info.dml_position = position("dml_6_6v0", other, 30));
    cluster.collection(7, "c").channel("dml_0", &offset(1000))
}

#[test]
fn on_kafka_a_channel_that_was_never_flushed_begins_at_the_first_message_that_is_left() {
    for target in TARGETS {
        let done = never_flushed_beside(&offset(77)).migrate_to(target);
        let first_left = MsgPosition {
            channel_name: CHANNEL.into(),
            msg_id: b"\xfe\xff\xff\xff\xff\xff\xff\xff".to_vec(),
            msg_group: String::new(),
            timestamp: 2007,
        };
        assert_eq!(checkpoint(&done, CHANNEL), first_left, "{target}");
        assert_eq!(checkpoint(&done, "dml_6_6v0").msg_id, offset(77));
        let told = &done.report().checkpoints;
        assert_eq!((told.from_segments, told.from_first_left, told.from_collection), (1, 1, 0));
        assert_eq!(told.kafka_offsets, 1);
    }
}

/// 2026-11-20 12:00:00.250 as a hybrid timestamp, with a logical part.
const WRITTEN: u64 = (1_795_176_000_250 << 18) + 5;

#[test]
fn offsets_in_kafka_are_told_with_the_time_of_the_oldest() {
    let beside = |id: &[u8], timestamp| {
        let cluster = Cluster::new().collection(6, "a").channel("dml_6", &offset(5));
        let cluster = cluster.segment(1, |info| info.dml_position = position("dml_6_6v0", id, timestamp));
        let cluster = cluster.collection(7, "b").channel("dml_7", &offset(5));
        cluster.segment(2, |info| info.dml_position = position("dml_7_7v0", &offset(9), WRITTEN + (1 << 18))).migrate()
    };
    let told = |done: &Migrated| done.report().limits.iter().map(|limit| limit.what.clone()).collect::<Vec<_>>();
    let oldest = "2 channels that go on from an offset in Kafka, the oldest of 2026-11-20T12:00:00.250Z";
    assert_eq!(told(&beside(&offset(77), WRITTEN)), [oldest]);
    assert_eq!(told(&beside(b"an ID of Pulsar", WRITTEN)), [""; 0]);
}

/// One ID that is none of Kafka's tells that the log is another one: rocksmq's are around 4.7e17, Pulsar's are longer.
#[test]
fn other_message_logs_are_told_by_the_ids() {
    let rocksmq = 470_605_839_296_364_552_i64.to_le_bytes();
    for other in [&rocksmq[..], b"0123456789ab", b"abc", &offset(1 << 48), &offset(-2)] {
        let done = never_flushed_beside(other).migrate();
        assert_eq!(checkpoint(&done, CHANNEL).msg_id, offset(1000), "{other:?}");
        // That of a segment that was dropped tells it as well.
        let drop = |info: &mut SegmentInfo| info.state = SegmentState::SegmentDropped as i32;
        let done = never_flushed_beside(other).alter("datacoord-meta/s/6/60/1", drop).migrate();
        assert_eq!(checkpoint(&done, CHANNEL).msg_id, offset(1000), "{other:?}");
    }
    let largest = offset((1 << 48) - 1);
    assert_ne!(checkpoint(&never_flushed_beside(&largest).migrate(), CHANNEL).msg_id, offset(1000));
}

#[test]
fn the_configuration_of_milvus_decides_where_it_is_known() {
    let with = |cluster: &Cluster, message_log| {
        let options = Options { message_log, ..Options::default() };
        checkpoint(&cluster.migrate_with(&options), CHANNEL).msg_id
    };
    let like_kafka = never_flushed_beside(&offset(77));
    assert_eq!(with(&like_kafka, Some(MessageLog::Other)), offset(1000));
    assert_eq!(with(&shard(), Some(MessageLog::Kafka)), offset(-2));
    assert_eq!(with(&shard(), None), b"01234567");
}

#[test]
fn a_checkpoint_of_a_newer_milvus_stands_where_its_records_count() {
    let own = position("by 2.2", b"abcdefgh", 5).unwrap();
    let cluster = shard().message("datacoord-meta/channel-cp/dml_0_7v0", &own);
    let options = Options { precedence: Precedence::Newer, ..Options::default() };
    assert_eq!(checkpoint(&cluster.migrate_with(&options), CHANNEL), own);
    assert_eq!(checkpoint(&cluster.migrate(), CHANNEL).timestamp, 2007, "else it is of an interrupted run");
}

/// Seen on a real 2.2.16, which removes such a checkpoint itself.
#[test]
fn a_channel_of_which_every_segment_was_dropped_is_named_and_one_with_a_living_segment_is_not() {
    let with = |state: SegmentState| {
        sharded(Some(b"abcdefgh")).segment(5, move |info: &mut SegmentInfo| {
            info.insert_channel = "dml_0_7v0".into();
            info.state = state as i32;
            info.dml_position = position("dml_0", b"01234567", 50);
        })
    };
    let named = |state| {
        let done = with(state).migrate();
        let limits = &done.report().limits;
        limits
            .iter()
            .filter(|limit| limit.what.contains("every segment was dropped"))
            .map(|one| one.what.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(named(SegmentState::SegmentDropped), ["channel c / dml_0_7v0, of which every segment was dropped"]);
    assert_eq!(named(SegmentState::Flushed), Vec::<String>::new());
}
