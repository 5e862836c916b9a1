//! The keys that keep a Milvus 2.1 from starting on the new layout.

use std::collections::BTreeMap;

use prost::Message;

use super::finding::Findings;
use super::invariant::Invariant;
use crate::catalog::tripwire::{SEGMENT_VALUE, tripwires};
use crate::layout::keys::{BUILD_TRIPWIRE, CHANNEL_TRIPWIRE, INDEX_TRIPWIRE, SEGMENT_TRIPWIRE};
use crate::layout::messages::common::FieldBinlog;
use crate::layout::messages::source::{IndexInfo, IndexMeta};
use crate::layout::wire;
use crate::version::Layout;

/// Those that are there, each with whether a 2.1 fails on its value.
#[derive(Debug, Default)]
pub(super) struct Tripwires(BTreeMap<String, bool>);

impl Tripwires {
    pub(super) fn add(&mut self, name: &str, value: &[u8], findings: &mut Findings) {
        let stops = match name {
            INDEX_TRIPWIRE => IndexInfo::decode(value).is_err(),
            BUILD_TRIPWIRE => IndexMeta::decode(value).is_err(),
            CHANNEL_TRIPWIRE => wire::fields(value).is_err(),
            _ => value == SEGMENT_VALUE,
        };
        // Newer versions read this one, too.
        if name == SEGMENT_TRIPWIRE
            && let Err(error) = FieldBinlog::decode(value)
        {
            findings.error(Invariant::ValuesDecode, name, format!("the value does not decode as protobuf ({error})"));
        }
        self.0.insert(name.to_owned(), stops);
    }

    pub(super) fn check(&self, layout: Layout, findings: &mut Findings) {
        for (key, _) in tripwires(layout) {
            let name = String::from_utf8_lossy(&key);
            let stopped = match &*name {
                INDEX_TRIPWIRE => "root",
                BUILD_TRIPWIRE => "index",
                CHANNEL_TRIPWIRE => "query",
                _ => "data",
            };
            let what = match self.0.get(&*name) {
                Some(true) => continue,
                Some(false) => format!("its value does not keep 2.1's {stopped} coordinator from starting on this"),
                None => format!("it is missing: nothing keeps 2.1's {stopped} coordinator from starting on this"),
            };
            findings.warn(Invariant::Tripwires, &key, what);
        }
        if !layout.segment_tripwire && self.0.contains_key(SEGMENT_TRIPWIRE) {
            let what = "2.2.0 to 2.2.2 take it for the record of a segment, and do not start: it is for later targets";
            findings.error(Invariant::Tripwires, SEGMENT_TRIPWIRE, what);
        }
    }
}
