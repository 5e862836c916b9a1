//! Channel checkpoints: from where 2.2 reads the message log of a collection.
//!
//! 2.2 writes the first ones some seconds after its start. A query node that loads a collection before that panics in
//! `FromDmlCPLoadDelete`: on a real 2.2.16 whose data node comes up late, at every first start. What is written here is the position
//! at which the collection begins, the very one that 2.2.16 itself falls back to (docs/compatibility.md): nothing is skipped, so
//! rows and deletes that 2.1 had not flushed are read from the log again.

use std::collections::BTreeMap;

use prost::Message;

use super::builder::Builder;
use super::collections::Collection;
use crate::layout::keys::Key;
use crate::layout::messages::common::CollectionInfo;
use crate::layout::messages::target::MsgPosition;

/// Where the message log of a collection begins, by channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Channels {
    /// By virtual channel.
    known: BTreeMap<String, MsgPosition>,
    /// Virtual channels of which the record does not tell where they begin.
    unknown: Vec<String>,
}

impl Channels {
    /// Takes the channels out of a collection record of 2.1.
    pub fn of(info: &CollectionInfo) -> Self {
        let mut channels = Self::default();
        for (at, channel) in info.virtual_channel_names.iter().enumerate() {
            let start = info
                .physical_channel_names
                .get(at)
                .and_then(|physical| info.start_positions.iter().find(|position| position.key == *physical))
                .filter(|position| !position.data.is_empty());
            let Some(start) = start else {
                channels.unknown.push(channel.clone());
                continue;
            };
            let position = MsgPosition {
                channel_name: channel.clone(),
                msg_id: start.data.clone(),
                msg_group: String::new(),
                timestamp: info.create_time,
            };
            if channels.known.insert(channel.clone(), position).is_some() {
                channels.unknown.push(channel.clone());
            }
        }
        channels
    }

    /// The virtual channels; one that the record names twice comes twice.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.known.keys().chain(&self.unknown)
    }
}

/// Plans the checkpoints of all collections that get converted, but for those that `spared` names.
pub(super) fn convert(builder: &mut Builder, collections: &BTreeMap<i64, Collection>, spared: impl Fn(i64) -> bool) {
    for (id, collection) in collections {
        let Collection::Source(source) = collection else { continue };
        if spared(*id) {
            continue;
        }
        // A key without a name would be none; and no two collections share a virtual channel.
        let (sound, odd): (Vec<_>, Vec<_>) = source
            .channels
            .known
            .iter()
            .partition(|(channel, _)| !channel.is_empty() && builder.channels.get(*channel) == Some(&1));
        for (channel, position) in sound {
            builder.prepare(&Key::ChannelCheckpoint(channel.clone()), position.encode_to_vec());
            builder.report.checkpoints += 1;
        }
        for channel in odd.into_iter().map(|(channel, _)| channel).chain(&source.channels.unknown) {
            builder.report.warnings.push(format!(
                "collection {:?}: its record does not tell where channel {channel:?} begins, so it gets no checkpoint. If Milvus \
                 2.2 panics at its first start (FromDmlCPLoadDelete), start it once more",
                source.name
            ));
        }
    }
}

/// The collection that a virtual channel belongs to: `<physical channel>_<collectionID>v<shard>`.
pub(super) fn owner(channel: &str) -> Option<i64> {
    let (rest, shard) = channel.rsplit_once('v')?;
    shard.parse::<u32>().ok()?;
    rest.rsplit_once('_')?.1.parse().ok()
}
