//! Segments, the keys of their logs, and the checkpoints of channels.

use super::*;
use crate::layout::messages::common::{CollectionInfo, FieldBinlog, MsgPosition, SegmentInfo, SegmentState};

/// The segment of c_ivfflat with 4 binlogs a field, as the case `one-statslog` becomes for a target.
fn several_binlogs(target: &str) -> (Keys, Key) {
    let keys = sample::case("one-statslog").migrate_to(target).after.records().clone();
    let logs = find(&keys, Family::Binlog, |key| get::<FieldBinlog>(&keys, key).binlogs.len() == 4);
    let [collection, partition, segment, _] = logs.ids();
    (keys, Family::Segment.key([collection, partition, segment]))
}

/// A flushed segment with rows.
fn flushed(keys: &Keys) -> Key {
    find(keys, Family::Segment, |key| {
        let info = get::<SegmentInfo>(keys, key);
        info.state == SegmentState::Flushed as i32 && info.num_of_rows > 0
    })
}

fn logs(keys: &Keys, kind: Family, segment: &Key) -> Vec<Key> {
    all(keys, kind).into_iter().filter(|key| key.ids::<3>() == segment.ids::<3>()).collect()
}

#[test]
fn a_segment_that_embeds_its_lists_is_found() {
    for list in ["binlogs", "statslogs", "deltalogs"] {
        assert_finds(|keys| {
            let key = flushed(keys);
            edit(keys, &key, |info: &mut SegmentInfo| match list {
                "binlogs" => info.binlogs.push(FieldBinlog::default()),
                "statslogs" => info.statslogs.push(FieldBinlog::default()),
                _ => info.deltalogs.push(FieldBinlog::default()),
            });
            found(Invariant::SegmentsSeparate, [key])
        });
    }
}

#[test]
fn segments_and_logs_with_ids_of_another_and_those_that_do_not_decode_are_found() {
    for damage in
        [(|info| info.collection_id += 1) as fn(&mut SegmentInfo), |info| info.partition_id += 1, |info| info.id += 1]
    {
        assert_finds(|keys| {
            let key = flushed(keys);
            edit(keys, &key, damage);
            found(Invariant::IdsAgree, [key])
        });
    }
    assert_finds(|keys| {
        let key = logs(keys, Family::Binlog, &flushed(keys)).remove(1);
        edit(keys, &key, |logs: &mut FieldBinlog| logs.field_id += 1);
        found(Invariant::IdsAgree, [key])
    });
    for family in [Family::Segment, Family::Statslog, Family::ChannelCheckpoint, Family::Replica] {
        let mut keys = migrated();
        let key = find(&keys, family, |_| true);
        put(&mut keys, &key, Bytes::from_static(&[0xFF; 12]));
        let checked = judge(&keys, FIRST);
        assert_eq!(checked.errors().filter(|one| one.invariant == Invariant::ValuesDecode).count(), 1, "{key}");
    }
}

#[test]
fn logs_without_an_id_or_with_a_path_are_found() {
    for family in [Family::Binlog, Family::Statslog] {
        for damage in [(|logs| logs.binlogs[0].log_id = 0) as fn(&mut FieldBinlog), |logs| {
            logs.binlogs[0].log_path = "files/insert_log/1/2/3/4/5".into();
        }] {
            assert_finds(|keys| {
                let key = logs(keys, family, &flushed(keys)).remove(0);
                edit(keys, &key, damage);
                found(Invariant::LogIds, [key])
            });
        }
    }
}

#[test]
fn the_target_counts_statslogs() {
    for (target, counts) in [("2.2.0", false), ("2.2.3", true), ("2.2.16", true), ("2.3.5", true), ("2.4.23", false)] {
        for number in [1, 5] {
            let (mut keys, segment) = several_binlogs(target);
            assert_clean(&keys, target);
            let statslogs = logs(&keys, Family::Statslog, &segment).remove(0);
            edit(&mut keys, &statslogs, |logs: &mut FieldBinlog| {
                let last = logs.binlogs[0].clone();
                logs.binlogs.resize(number, last);
            });
            let expected = if counts { found(Invariant::StatslogsComplete, [segment.clone()]) } else { vec![] };
            assert_found(&judge(&keys, target), Severity::Error, expected);
            assert_found(&check(&keys, None), Severity::Error, vec![]);

            // 2.3 merges them into one with the ID 1, and does not count those of compacted segments.
            edit(&mut keys, &statslogs, |logs: &mut FieldBinlog| logs.binlogs[0].log_id = 1);
            assert_clean(&keys, target);
            edit(&mut keys, &statslogs, |logs: &mut FieldBinlog| logs.binlogs[0].log_id = 2);
            edit(&mut keys, &segment, |info: &mut SegmentInfo| info.compaction_from.push(7));
            let counts = counts && target.starts_with("2.2");
            let expected = if counts { found(Invariant::StatslogsComplete, [segment]) } else { vec![] };
            assert_found(&judge(&keys, target), Severity::Error, expected);
        }
    }
}

#[test]
fn rows_of_flushed_segments_are_in_their_logs() {
    assert_finds(|keys| {
        let segment = flushed(keys);
        for key in logs(keys, Family::Binlog, &segment) {
            edit(keys, &key, |logs: &mut FieldBinlog| logs.binlogs.iter_mut().for_each(|log| log.entries_num = 0));
        }
        found(Invariant::RowsCounted, [segment])
    });
    assert_warns(|keys| {
        let segment = flushed(keys);
        for key in logs(keys, Family::Binlog, &segment) {
            edit(keys, &key, |logs: &mut FieldBinlog| logs.binlogs[0].entries_num += 1);
        }
        found(Invariant::RowsCounted, [segment])
    });
    // One of several that does not say it makes the whole unknown.
    let (mut keys, segment) = several_binlogs(FIRST);
    for key in logs(&keys, Family::Binlog, &segment) {
        edit(&mut keys, &key, |logs: &mut FieldBinlog| {
            logs.binlogs[1].entries_num += logs.binlogs[0].entries_num;
            logs.binlogs[0].entries_num = 0;
        });
    }
    assert_found(&judge(&keys, FIRST), Severity::Warning, found(Invariant::RowsCounted, [segment]));
}

/// Which of the fields it is does not matter: the one whose rows are counted is not looked at alone.
#[test]
fn a_segment_that_lacks_the_binlogs_of_one_field_is_told() {
    for which in [0, 1, 2] {
        assert_warns(|keys| {
            let segment = flushed(keys);
            remove(keys, &logs(keys, Family::Binlog, &segment)[which]);
            found(Invariant::BinlogsComplete, [segment])
        });
    }
}

#[test]
fn a_flushed_segment_without_files_is_told() {
    assert_warns(|keys| {
        let segment = flushed(keys);
        for family in [Family::Binlog, Family::Statslog] {
            for key in logs(keys, family, &segment) {
                remove(keys, &key);
            }
        }
        found(Invariant::RowsCounted, [segment])
    });
}

#[test]
fn a_segment_with_binlogs_alone_or_statslogs_alone_is_told_where_the_target_minds() {
    for (target, minds) in [("2.2.0", false), ("2.2.16", true), ("2.3.5", true), ("2.4.23", false)] {
        let (mut keys, segment) = several_binlogs(target);
        for key in logs(&keys, Family::Statslog, &segment) {
            remove(&mut keys, &key);
        }
        let expected = if minds { found(Invariant::StatslogsComplete, [segment]) } else { vec![] };
        assert_found(&judge(&keys, target), Severity::Warning, expected);
    }
}

#[test]
fn the_rows_of_other_segments_are_not_counted() {
    for state in [
        SegmentState::Growing,
        SegmentState::Sealed,
        SegmentState::Flushing,
        SegmentState::SegmentDropped,
        SegmentState::Importing,
    ] {
        assert_finds(|keys| {
            let segment = flushed(keys);
            edit(keys, &segment, |info: &mut SegmentInfo| info.state = state as i32);
            for key in logs(keys, Family::Binlog, &segment) {
                remove(keys, &key);
            }
            vec![]
        });
    }
}

#[test]
fn a_channel_without_a_checkpoint_or_with_an_empty_one_is_found() {
    for target in [FIRST, "2.2.16", "2.4.23"] {
        assert_finds_for(target, Severity::Error, |keys| {
            let mut checkpoints = all(keys, Family::ChannelCheckpoint);
            checkpoints.truncate(2);
            remove(keys, &checkpoints[0]);
            edit(keys, &checkpoints[1], |position: &mut MsgPosition| position.msg_id.clear());
            checkpoints.into_iter().map(|key| (Invariant::CheckpointPresent, key.to_string())).collect()
        });
        assert_finds_for(target, Severity::Error, |keys| {
            let checkpoints = all(keys, Family::ChannelCheckpoint);
            remove_all(keys, "datacoord-meta/channel-cp/");
            checkpoints.into_iter().map(|key| (Invariant::CheckpointPresent, key.to_string())).collect()
        });
    }
}

#[test]
fn where_nobody_can_know_the_checkpoint_its_lack_is_a_warning() {
    assert_warns(|keys| {
        let id = collection(keys);
        let time = newest(keys, id);
        let mut channels = Vec::new();
        for key in [record(id), record(id).at(time)] {
            edit(keys, &key, |info: &mut CollectionInfo| {
                info.start_positions.clear();
                channels.clone_from(&info.virtual_channel_names);
            });
        }
        assert!(!channels.is_empty());
        let keys_of = channels.iter().map(|channel| Family::ChannelCheckpoint.named(channel));
        let gone: Vec<_> = keys_of.inspect(|key| drop(remove(keys, key))).collect();
        gone.into_iter().map(|key| (Invariant::CheckpointPresent, key.to_string())).collect()
    });
}

#[test]
fn a_checkpoint_of_a_collection_that_was_dropped_passes() {
    assert_finds(|keys| {
        let position = MsgPosition { msg_id: vec![1], ..Default::default() };
        put_message(keys, &Family::ChannelCheckpoint.named("by-dev-rootcoord-dml_0_7v0"), &position);
        vec![]
    });
}
