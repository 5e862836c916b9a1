use proptest::prelude::*;

use super::*;

#[test]
fn every_family_of_keys_parses_and_is_built_again() {
    for (text, key) in [
        ("root-coord/collection/42", Family::Collection.key([42])),
        ("root-coord/collection/-9223372036854775808", Family::Collection.key([i64::MIN])),
        ("root-coord/collection-alias/a", Family::SourceAlias.named("a")),
        ("root-coord/index/1/2", Family::SourceIndex.key([1, 2])),
        ("root-coord/segment-index/1/2/3/4", Family::SourceSegmentIndex.key([1, 2, 3, 4])),
        ("root-coord/dd-operation", Family::DdOperation.key([])),
        ("snapshots/root-coord/dd-msg-send_ts5", Family::DdMsgSend.key([]).at(5)),
        ("root-coord/partitions/1/2", Family::Partition.key([1, 2])),
        ("root-coord/fields/1/0", Family::Field.key([1, 0])),
        ("snapshots/root-coord/fields/1/100_ts7", Family::Field.key([1, 100]).at(7)),
        ("root-coord/aliases/a", Family::Alias.named("a")),
        ("root-coord/database/collection-info/1/7", Family::DatabaseCollection.key([1, 7])),
        ("root-coord/database/aliases/1/a", Family::DatabaseAlias.key_with([1], "a")),
        ("snapshots/root-coord/database/aliases/1/a_ts3_ts9", Family::DatabaseAlias.key_with([1], "a_ts3").at(9)),
        ("snapshots/root-coord/collection/1_ts18446744073709551615", Family::Collection.key([1]).at(u64::MAX)),
        ("indexes/9", Family::Build.key([9])),
        ("queryCoord-collectionMeta/9", Family::SourceLoadState.key([9])),
        ("queryCoord-ReplicaMeta/9", Family::SourceReplica.key([9])),
        ("datacoord-meta/s/1/2/3", Family::Segment.key([1, 2, 3])),
        ("datacoord-meta/statslog/1/2/3/100", Family::Statslog.key([1, 2, 3, 100])),
        ("field-index/1/2", Family::FieldIndex.key([1, 2])),
        ("segment-index/1/2/3/4", Family::SegmentIndex.key([1, 2, 3, 4])),
        ("querycoord-collection-loadinfo/1", Family::CollectionLoad.key([1])),
        ("querycoord-replica/1/2", Family::Replica.key([1, 2])),
        ("datacoord-meta/channel-cp/by-dev-dml_0_7v0", Family::ChannelCheckpoint.named("by-dev-dml_0_7v0")),
        ("querycoord-partition-loadinfo/1/2", Family::PartitionLoad.key([1, 2])),
        ("indexes/0", Family::Tripwire.named("indexes/0")),
        (HISTORY, Family::History.key([])),
    ] {
        assert_eq!(Key::parse(text.as_bytes()).unwrap(), key);
        assert_eq!(key.to_string(), text);
    }
}

#[test]
fn every_row_of_the_table_builds_a_key_that_parses() {
    for row in &TABLE {
        let key = Key { family: row.family, ids: [7, 8, 9, 10], name: "n".into(), snapshot: None };
        let parsed = Key::parse(key.to_string().as_bytes()).unwrap();
        assert_eq!((parsed.family, parsed.to_string()), (row.family, key.to_string()));
    }
}

#[test]
fn a_name_may_contain_the_timestamp_mark() {
    for alias in ["my_tshirts", "v_ts2022", "_ts", "_ts5", "a_ts1_ts2", "_tsx"] {
        let plain = Family::SourceAlias.named(alias);
        let plain_key = format!("root-coord/collection-alias/{alias}");
        assert_eq!(Key::parse(plain_key.as_bytes()).unwrap(), plain);
        let snapshot_key = format!("snapshots/{plain_key}_ts470605860346527760");
        assert_eq!(Key::parse(snapshot_key.as_bytes()).unwrap(), plain.at(470_605_860_346_527_760));
    }
}

#[test]
fn keys_of_a_known_family_in_another_form_are_errors_with_their_layout() {
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
        (b"root-coord/database/aliases/x/a", Side::Target),
        (b"root-coord/database/aliases/1/", Side::Target),
        (b"indexes/", Side::Source),
        (b"snapshots/root-coord/collection/1", Side::Both),
        (b"snapshots/root-coord/collection/1_ts", Side::Both),
        (b"snapshots/root-coord/collection/1_ts-5", Side::Both),
        (b"snapshots/root-coord/collection-alias/my_tshirts", Side::Source),
        (b"snapshots/root-coord/dd-operation_ts47\xff", Side::Source),
        (b"segment-index/1/2/3", Side::Target),
        (b"datacoord-meta/s/1/2/x", Side::Both),
        (b"datacoord-meta/binlog/1", Side::Target),
        (b"queryCoord-collectionMeta/x", Side::Neither),
    ] {
        let error = Key::parse(key).unwrap_err();
        assert_eq!(error.family.side(), side, "{}", printable(key));
        assert_eq!(family_of(key).side(), side);
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
        b"snapshots/indexes/5",
        b"queryCoord-segmentMeta/1",
        b"channelwatch/1/by-dev-rootcoord-dml_0_1v0",
        b"indexes2/1",
        b"\xff\xfe",
        b"",
    ] {
        assert_eq!(Key::parse(key).unwrap(), Family::Other.key([]), "{}", printable(key));
    }
    assert_eq!(Key::parse(b"session/\xff").unwrap().family, Family::Session);
    assert_eq!(Key::parse(b"meta-migration/\xff").unwrap().family, Family::History);
}

#[test]
fn prefixes_for_counting_leave_out_ids_and_names() {
    for (key, prefix) in [
        ("root-coord/collection/1", "root-coord/collection/"),
        ("root-coord/credential/users/root", "root-coord/credential/users/"),
        ("root-coord/database/collection-info/1/7", "root-coord/database/collection-info/"),
        ("snapshots/root-coord/database/aliases/1/a_ts5", "snapshots/root-coord/database/aliases/"),
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

#[test]
fn each_row_is_found_by_its_family_and_no_prefix_begins_another() {
    for row in &TABLE {
        assert_eq!(row.family.row().map(|found| found.prefix), Some(row.prefix));
        let others = TABLE.iter().filter(|other| other.family != row.family);
        others.for_each(|other| assert!(!other.prefix.starts_with(row.prefix), "{} {}", row.prefix, other.prefix));
    }
    for without in [Family::Session, Family::History, Family::Tripwire, Family::Other] {
        assert!(without.row().is_none());
    }
}

fn any_family() -> impl Strategy<Value = &'static str> {
    let of_none = [SESSIONS, HISTORY_PREFIX, "root-coord/"];
    prop::sample::select(TABLE.iter().map(|row| row.prefix).chain(of_none).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn no_key_makes_it_panic_and_what_parses_is_built_again(key in proptest::collection::vec(any::<u8>(), 0..80)) {
        prefix_of(&key);
        printable(&key);
        if let Ok(parsed) = Key::parse(&key) && !matches!(parsed.family, Family::Session | Family::History | Family::Other) {
            prop_assert_eq!(parsed.to_string().into_bytes(), key);
        }
    }

    #[test]
    fn the_family_is_that_of_the_parsed_key(
        snapshot in any::<bool>(),
        prefix in any_family(),
        rest in proptest::collection::vec(prop::sample::select(b"019_ts/-\xff".to_vec()), 0..12),
    ) {
        let key = [if snapshot { SNAPSHOTS.as_bytes() } else { b"" }, prefix.as_bytes(), &rest].concat();
        let parsed = Key::parse(&key).map_or_else(|error| error.family, |key| key.family);
        prop_assert_eq!(family_of(&key), parsed, "{}", printable(&key));
        prop_assert_eq!(prefix_of(&key), spelt_prefix_of(&key));
    }

    #[test]
    fn ids_that_are_read_in_one_go_are_those_that_are_read_one_by_one(prefix in any_family(), rest in "(0|-?[0-9]{1,20}|[1-9][0-9]{0,17})?(/(0|-?[0-9]{1,20}|[1-9][0-9]{0,17})){0,4}/?") {
        let Some(row) = row_of(prefix.as_bytes()) else { return Ok(()) };
        let slowly = parse_any_parts(row, &rest);
        match ids_alone(row, &rest) {
            Some(ids) => prop_assert_eq!(slowly, Ok(Key { ids, ..row.family.key([]) })),
            // Left to the other: names, negative and very long numbers, and what has not the form.
            None => {
                let has_ids_alone = !row.parts.is_empty() && row.parts.iter().all(|part| matches!(part, Id(_)));
                let is_short = rest.split('/').all(|id| !id.starts_with('-') && id.len() <= 18);
                prop_assert!(!(has_ids_alone && is_short && slowly.is_ok()));
            }
        }
    }

    #[test]
    fn keys_near_the_real_ones_are_built_again(snapshot in any::<bool>(), prefix in any_family(), rest in "[0-9_ts/-]{0,24}") {
        let key = format!("{}{prefix}{rest}", if snapshot { SNAPSHOTS } else { "" });
        let has_row = |key: &Key| key.family.row().is_some();
        if let Some(parsed) = Key::parse(key.as_bytes()).ok().filter(has_row) {
            prop_assert_eq!(parsed.to_string(), key);
        }
    }
}
