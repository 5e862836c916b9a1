//! Segments that a newer Milvus has replaced or dropped since a backup: garbage collection takes their files, which only the old
//! metadata names.

use std::collections::BTreeMap;

use prost::Message;
use schemars::JsonSchema;
use serde::Serialize;

use super::collection;
use super::records::Records;
use crate::layout::families::Family;
use crate::layout::messages::common::{SegmentInfo, SegmentState};

/// Segments of one collection that are living in the backup, and no longer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Replaced {
    /// Name of the collection, as in the backup.
    pub collection: String,
    /// Number of segments.
    pub segments: u64,
    /// Rows in them, as the backup has it.
    pub rows: i64,
}

/// What was replaced between the two, by collection.
pub fn replaced(before: &Records, now: &Records) -> Vec<Replaced> {
    let is_living = living(now);
    let collections = collection::read(before, false);
    let mut all: BTreeMap<i64, Replaced> = BTreeMap::new();
    for (segment, (collection, rows)) in living(before) {
        let Some(found) = collections.live(collection) else { continue };
        if is_living.contains_key(&segment) {
            continue;
        }
        let replaced = all.entry(collection).or_default();
        replaced.collection.clone_from(&found.name);
        replaced.segments += 1;
        replaced.rows += rows;
    }
    all.into_values().collect()
}

/// Living segments with files: collection and rows by ID.
fn living(records: &Records) -> BTreeMap<i64, (i64, i64)> {
    let segments = records.of(Family::Segment).filter_map(|(key, record)| {
        let info = SegmentInfo::decode(&*record.value).ok()?;
        let is_living = !matches!(info.state(), SegmentState::SegmentDropped | SegmentState::NotExist);
        let [collection, _, segment] = key.ids();
        is_living.then_some((segment, (collection, info.num_of_rows)))
    });
    segments.collect()
}
