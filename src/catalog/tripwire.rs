//! Tripwires: keys that 2.1 reads and cannot decode, so that a 2.1 that is started on the new layout does not get up
//! (docs/layouts.md, rule 8a). No target is disturbed by them.
//!
//! Without them a real 2.1.0 is healthy after two seconds on migrated metadata, and its garbage collectors then take files for
//! rubbish that only the new records name. Its query coordinator needs one of its own: beside the newer root, data and index
//! coordinators, as in a rolling upgrade, it would come up, keep the newer query coordinator out, and write replicas that the newer
//! one reads, too (`queryCoord-ReplicaMeta`): a collection would have one too many (docs/clusters.md).

use bytes::Bytes;

use crate::layout::keys::{BUILD_TRIPWIRE, CHANNEL_TRIPWIRE, INDEX_TRIPWIRE, SEGMENT_TRIPWIRE};
use crate::version::Layout;

/// For a human who finds the key; no protobuf message of 2.1 decodes from it.
const SENTENCE: &str = "This metadata was migrated to the layout of Milvus 2.2 or later by meta-migration. This key keeps a Milvus 2.1 \
                        from starting on it: it would delete files that only the new records name. \
                        To go back to 2.1, restore the backup with `meta-migration rollback`, which removes this key.";
/// A FieldBinlog with an unknown field for newer versions, a SegmentInfo that does not decode for 2.1's data coordinator.
pub const SEGMENT_VALUE: [u8; 3] = [0x4A, 0x01, 0xFF];

/// The tripwires of a target's layout.
pub fn tripwires(layout: Layout) -> Vec<(Bytes, Bytes)> {
    let sentence = Bytes::from_static(SENTENCE.as_bytes());
    let with_sentence = [BUILD_TRIPWIRE, CHANNEL_TRIPWIRE, INDEX_TRIPWIRE];
    let mut keys = with_sentence.map(|key| (Bytes::from_static(key.as_bytes()), sentence.clone())).to_vec();
    if layout.segment_tripwire {
        let key = Bytes::from_static(SEGMENT_TRIPWIRE.as_bytes());
        keys.push((key, Bytes::from_static(&SEGMENT_VALUE)));
    }
    keys
}

/// The tripwires of all layouts: what keeps a 2.1 away while a rollback is under way.
pub fn all_tripwires() -> Vec<(Bytes, Bytes)> {
    tripwires(Layout { segment_tripwire: true, ..Layout::of(&semver::Version::new(2, 2, 16)) })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::layout::messages::common::{FieldBinlog, SegmentInfo};
    use crate::layout::messages::source::{IndexInfo, IndexMeta};
    use crate::layout::wire;

    #[test]
    fn a_2_1_cannot_decode_them_and_newer_versions_can_what_they_read() {
        assert!(IndexInfo::decode(SENTENCE.as_bytes()).is_err());
        assert!(IndexMeta::decode(SENTENCE.as_bytes()).is_err());
        assert!(wire::fields(SENTENCE.as_bytes()).is_err(), "no message at all, so no DmChannelWatchInfo either");
        assert!(SegmentInfo::decode(&SEGMENT_VALUE[..]).is_err());
        assert!(FieldBinlog::decode(&SEGMENT_VALUE[..]).is_ok());
    }
}
