//! Tripwires (docs/layouts.md, rule 8a): no 2.1 gets up on the new layout.

use super::cluster::{Cluster, TARGETS, layout};
use super::{dropped_alone, everything};
use crate::layout::messages::common::FieldBinlog;
use crate::layout::messages::source::{IndexInfo, IndexMeta};
use crate::layout::wire;
use prost::Message;

const INDEX: &str = "root-coord/index/0/0";
const BUILD: &str = "indexes/0";
const SEGMENT: &str = "datacoord-meta/statslog/0/0/0/0";
const CHANNEL: &str = "queryCoord-dmChannelWatchInfo/0/0";

#[test]
fn every_target_gets_those_that_do_not_disturb_it() {
    for target in TARGETS {
        let after = everything().migrate_to(target).after;
        let expected = if target == "2.2.0" { &[BUILD, CHANNEL, INDEX][..] } else { &[SEGMENT, BUILD, CHANNEL, INDEX] };
        assert_eq!(after.tripwires(), expected, "{target}");
        assert_eq!(layout(target).segment_tripwire, expected.len() == 4);
        if let [segment, ..] = expected
            && *segment == SEGMENT
        {
            assert_eq!(after.value(SEGMENT), &b"\x4a\x01\xff"[..]);
            assert_eq!(after.get::<FieldBinlog>(SEGMENT), FieldBinlog::default(), "nothing in it for newer versions");
        }
        for key in [INDEX, BUILD, CHANNEL] {
            let text = std::str::from_utf8(after.value(key)).unwrap();
            assert!(text.contains("Milvus 2.1") && text.contains("rollback") && text.ends_with('.'), "{text}");
            // 2.1's root coordinator and its index coordinator decode these.
            assert!(IndexInfo::decode(text.as_bytes()).is_err() && IndexMeta::decode(text.as_bytes()).is_err());
            // And its query coordinator a message that this tool has no other use for.
            assert!(wire::fields(text.as_bytes()).is_err());
        }
    }
}

#[test]
fn without_a_collection_there_are_none() {
    for target in TARGETS {
        for cluster in [Cluster::new(), Cluster::new().put("root-coord/credential/users/u", "x"), dropped_alone()] {
            assert_eq!(cluster.migrate_to(target).after.tripwires(), [""; 0], "{target}");
        }
    }
}

#[test]
fn those_that_are_there_stay_and_are_no_records_of_2_1() {
    for target in TARGETS {
        let done = everything().migrate_to(target);
        let again = done.after.migrate_to(target);
        assert_eq!(again.after.tripwires(), done.after.tripwires());
        assert_eq!(again.report().removed, [].into(), "they are not counted as 2.1's");
    }
    // One that was altered is put right.
    let altered = everything().migrate().after.put(INDEX, "any").put(BUILD, "");
    assert_eq!(altered.migrate().after.differences(&everything().migrate().after), [""; 0]);
}
