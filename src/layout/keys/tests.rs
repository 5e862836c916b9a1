use proptest::prelude::*;

use super::*;

#[test]
fn every_kind_of_key_parses_and_is_built_again() {
    for (text, key) in [
        ("root-coord/collection/42", Key::Plain(Plain::Collection(42))),
        ("root-coord/collection/-9223372036854775808", Key::Plain(Plain::Collection(i64::MIN))),
        ("root-coord/collection-alias/a", Key::Plain(Plain::SourceAlias("a".into()))),
        ("root-coord/index/1/2", Key::Plain(Plain::SourceIndex { collection: 1, index: 2 })),
        (
            "root-coord/segment-index/1/2/3/4",
            Key::Plain(Plain::SourceSegmentIndex { collection: 1, index: 2, partition: 3, segment: 4 }),
        ),
        ("root-coord/dd-operation", Key::Plain(Plain::DdOperation)),
        ("snapshots/root-coord/dd-msg-send_ts5", Key::Snapshot(Plain::DdMsgSend, 5)),
        ("root-coord/partitions/1/2", Key::Plain(Plain::Partition { collection: 1, partition: 2 })),
        ("root-coord/fields/1/0", Key::Plain(Plain::Field { collection: 1, field: 0 })),
        ("snapshots/root-coord/fields/1/100_ts7", Key::Snapshot(Plain::Field { collection: 1, field: 100 }, 7)),
        ("root-coord/aliases/a", Key::Plain(Plain::Alias("a".into()))),
        ("snapshots/root-coord/collection/1_ts18446744073709551615", Key::Snapshot(Plain::Collection(1), u64::MAX)),
        ("indexes/9", Key::Build(9)),
        ("queryCoord-collectionMeta/9", Key::LoadState(9)),
        ("datacoord-meta/s/1/2/3", Key::Segment { collection: 1, partition: 2, segment: 3 }),
        ("field-index/1/2", Key::FieldIndex { collection: 1, index: 2 }),
        ("segment-index/1/2/3/4", Key::SegmentIndex { collection: 1, partition: 2, segment: 3, build: 4 }),
        ("querycoord-collection-loadinfo/1", Key::CollectionLoad(1)),
        (
            "datacoord-meta/channel-cp/by-dev-rootcoord-dml_0_7v0",
            Key::ChannelCheckpoint("by-dev-rootcoord-dml_0_7v0".into()),
        ),
        ("querycoord-partition-loadinfo/1/2", Key::PartitionLoad { collection: 1, partition: 2 }),
    ] {
        assert_eq!(Key::parse(text.as_bytes()).unwrap(), key);
        assert_eq!(key.to_string(), text);
    }
}

#[test]
fn a_name_may_contain_the_timestamp_mark() {
    for alias in ["my_tshirts", "v_ts2022", "_ts", "_ts5", "a_ts1_ts2", "_tsx"] {
        let plain = Plain::SourceAlias(alias.into());
        let plain_key = format!("root-coord/collection-alias/{alias}");
        assert_eq!(Key::parse(plain_key.as_bytes()).unwrap(), Key::Plain(plain.clone()));
        let snapshot_key = format!("snapshots/{plain_key}_ts470605860346527760");
        assert_eq!(Key::parse(snapshot_key.as_bytes()).unwrap(), Key::Snapshot(plain, 470605860346527760));
    }
}

#[test]
fn keys_of_a_known_kind_in_another_form_are_errors_with_their_layout() {
    for (key, side) in [
        (&b"root-coord/collection/abc"[..], Side::Both),
        (b"root-coord/collection/", Side::Both),
        (b"root-coord/collection/1/2", Side::Both),
        (b"root-coord/collection/007", Side::Both),
        (b"root-coord/collection/+7", Side::Both),
        (b"root-coord/collection/9223372036854775808", Side::Both),
        (b"root-coord/collection-alias/", Side::Source),
        (b"root-coord/collection-alias/\xff", Side::Source),
        (b"root-coord/index/1", Side::Source),
        (b"root-coord/segment-index/1/2/3/x", Side::Source),
        (b"indexes/", Side::Source),
        (b"snapshots/root-coord/collection/1", Side::Both),
        (b"snapshots/root-coord/collection/1_ts", Side::Both),
        (b"snapshots/root-coord/collection/1_ts-5", Side::Both),
        (b"snapshots/root-coord/collection-alias/my_tshirts", Side::Source),
        (b"segment-index/1/2/3", Side::Target),
        (b"queryCoord-collectionMeta/x", Side::Neither),
    ] {
        let error = Key::parse(key).unwrap_err();
        assert_eq!(error.side, side, "{}", printable(key));
        assert_eq!(super::side(key), side);
    }
}

#[test]
fn neighbours_with_a_longer_name_are_not_ours() {
    for key in [
        &b"root-coord/collection-aliases/a"[..],
        b"root-coord/collections/1",
        b"root-coord/indexes/1/2",
        b"root-coord/dd-operation2",
        b"root-coord/credential/users/root",
        b"snapshots/root-coord/credential/users/root_ts5",
        b"queryCoord-ReplicaMeta/1",
        b"channelwatch/1/by-dev-rootcoord-dml_0_1v0",
        b"datacoord-meta/s/1/2/x",
        b"datacoord-meta/binlog/1",
        b"indexes2/1",
        b"\xff\xfe",
        b"",
    ] {
        assert_eq!(Key::parse(key).unwrap(), Key::Other, "{}", printable(key));
    }
    assert_eq!(Key::parse(b"session/\xff").unwrap(), Key::Session);
}

#[test]
fn prefixes_for_counting_leave_out_ids_and_names() {
    for (key, prefix) in [
        ("root-coord/collection/1", "root-coord/collection/"),
        ("root-coord/credential/users/root", "root-coord/credential/users/"),
        ("snapshots/root-coord/aliases/a_ts5", "snapshots/root-coord/aliases/"),
        ("datacoord-meta/s/1/2/3", "datacoord-meta/s/"),
        ("channelwatch/1/x", "channelwatch/"),
        ("queryCoord-segmentMeta/1/2/3", "queryCoord-segmentMeta/"),
        ("root-coord/dd-operation", "root-coord/dd-operation"),
        ("snapshots/root-coord/dd-operation_ts5", "snapshots/root-coord/dd-operation"),
        ("plain", "plain"),
        ("a/b", "a/"),
    ] {
        assert_eq!(prefix_of(key.as_bytes()), prefix);
    }
}

proptest! {
    #[test]
    fn no_key_makes_it_panic_and_what_parses_is_built_again(key in proptest::collection::vec(any::<u8>(), 0..80)) {
        prefix_of(&key);
        printable(&key);
        if let Ok(parsed) = Key::parse(&key) && !matches!(parsed, Key::Session | Key::Other) {
            prop_assert_eq!(parsed.to_string().into_bytes(), key);
        }
    }

    #[test]
    fn keys_near_the_real_ones_are_built_again(
        snapshot in any::<bool>(),
        kind in prop::sample::select(vec!["root-coord/collection/", "root-coord/collection-alias/", "root-coord/index/", "indexes/", "segment-index/", "root-coord/fields/"]),
        rest in "[0-9_ts/-]{0,24}",
    ) {
        let key = format!("{}{kind}{rest}", if snapshot { SNAPSHOTS } else { "" });
        if let Ok(parsed) = Key::parse(key.as_bytes()) && parsed != Key::Other {
            prop_assert_eq!(parsed.to_string(), key);
        }
    }
}
