//! Keys of both layouts: parsing and building.
//!
//! A key that parses is built again byte for byte by its `Display`; so numbers are accepted in their canonical spelling only.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What stands before the plain key in a snapshot key.
pub const SNAPSHOTS: &str = "snapshots/";
/// What stands between plain key and timestamp in a snapshot key.
const TIMESTAMP_MARK: &str = "_ts";
/// Where components register themselves, under the meta root.
pub const SESSIONS: &str = "session/";
/// The counter among the sessions; no session itself.
pub const SESSION_ID_COUNTER: &str = "session/id";
/// The session that this tool and the original one register, so that they exclude each other.
pub const MIGRATION_SESSION: &str = "session/migration";

/// A key that the root coordinator keeps snapshots of, as it stands without one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plain {
    /// `root-coord/collection/<collectionID>`, in both layouts.
    Collection(i64),
    /// 2.1: `root-coord/collection-alias/<alias>`
    SourceAlias(String),
    /// 2.1: `root-coord/index/<collectionID>/<indexID>`
    SourceIndex { collection: i64, index: i64 },
    /// 2.1: `root-coord/segment-index/<collectionID>/<indexID>/<partitionID>/<segmentID>`
    SourceSegmentIndex { collection: i64, index: i64, partition: i64, segment: i64 },
    /// 2.1: `root-coord/dd-operation`, the last DDL operation.
    DdOperation,
    /// 2.1: `root-coord/dd-msg-send`, whether that operation was sent.
    DdMsgSend,
    /// 2.2: `root-coord/partitions/<collectionID>/<partitionID>`
    Partition { collection: i64, partition: i64 },
    /// 2.2: `root-coord/fields/<collectionID>/<fieldID>`
    Field { collection: i64, field: i64 },
    /// 2.2: `root-coord/aliases/<alias>`
    Alias(String),
}

/// A key under the meta root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A key of the root coordinator.
    Plain(Plain),
    /// `snapshots/<plain key>_ts<timestamp>`: one change of a plain key.
    Snapshot(Plain, u64),
    /// 2.1: `indexes/<buildID>`
    Build(i64),
    /// 2.1: `queryCoord-collectionMeta/<collectionID>`; stays, but 2.2 does not read it.
    LoadState(i64),
    /// `datacoord-meta/s/<collectionID>/<partitionID>/<segmentID>`, in both layouts.
    Segment { collection: i64, partition: i64, segment: i64 },
    /// 2.2: `field-index/<collectionID>/<indexID>`
    FieldIndex { collection: i64, index: i64 },
    /// 2.2: `segment-index/<collectionID>/<partitionID>/<segmentID>/<buildID>`
    SegmentIndex { collection: i64, partition: i64, segment: i64, build: i64 },
    /// 2.2: `querycoord-collection-loadinfo/<collectionID>`
    CollectionLoad(i64),
    /// 2.2: `querycoord-partition-loadinfo/<collectionID>/<partitionID>`
    PartitionLoad { collection: i64, partition: i64 },
    /// 2.2: `datacoord-meta/channel-cp/<virtual channel>`
    ChannelCheckpoint(String),
    /// `session/…`
    Session,
    /// None of ours: stays as it is.
    Other,
}

/// Which layout a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Only the 2.1 layout has it; it goes.
    Source,
    /// Only the 2.2 layout has it.
    Target,
    /// Both layouts have it, in different forms: the collection records.
    Both,
    /// Neither changes it.
    Neither,
}

/// A key that has the prefix of a kind, but not its form.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the key does not have the form {form}: {reason}")]
pub struct KeyError {
    /// The form that was expected.
    pub form: &'static str,
    /// What does not fit.
    pub reason: String,
    /// Which layout the prefix belongs to.
    pub side: Side,
}

/// A kind of key: its prefix (with the trailing slash), the form of the whole key, its layout.
struct Kind {
    prefix: &'static str,
    form: &'static str,
    side: Side,
}

const fn kind(prefix: &'static str, form: &'static str, side: Side) -> Kind {
    Kind { prefix, form, side }
}

const COLLECTION: Kind = kind("root-coord/collection/", "root-coord/collection/<collectionID>", Side::Both);
const SOURCE_ALIAS: Kind = kind("root-coord/collection-alias/", "root-coord/collection-alias/<alias>", Side::Source);
const SOURCE_INDEX: Kind = kind("root-coord/index/", "root-coord/index/<collectionID>/<indexID>", Side::Source);
const SOURCE_SEGMENT_INDEX: Kind = kind(
    "root-coord/segment-index/",
    "root-coord/segment-index/<collectionID>/<indexID>/<partitionID>/<segmentID>",
    Side::Source,
);
const DD_OPERATION: &str = "root-coord/dd-operation";
const DD_MSG_SEND: &str = "root-coord/dd-msg-send";
const PARTITION: Kind =
    kind("root-coord/partitions/", "root-coord/partitions/<collectionID>/<partitionID>", Side::Target);
const FIELD: Kind = kind("root-coord/fields/", "root-coord/fields/<collectionID>/<fieldID>", Side::Target);
const ALIAS: Kind = kind("root-coord/aliases/", "root-coord/aliases/<alias>", Side::Target);
const BUILD: Kind = kind("indexes/", "indexes/<buildID>", Side::Source);
const LOAD_STATE: Kind = kind("queryCoord-collectionMeta/", "queryCoord-collectionMeta/<collectionID>", Side::Neither);
const SEGMENT: Kind =
    kind("datacoord-meta/s/", "datacoord-meta/s/<collectionID>/<partitionID>/<segmentID>", Side::Neither);
const FIELD_INDEX: Kind = kind("field-index/", "field-index/<collectionID>/<indexID>", Side::Target);
const SEGMENT_INDEX: Kind =
    kind("segment-index/", "segment-index/<collectionID>/<partitionID>/<segmentID>/<buildID>", Side::Target);
const COLLECTION_LOAD: Kind =
    kind("querycoord-collection-loadinfo/", "querycoord-collection-loadinfo/<collectionID>", Side::Target);
const PARTITION_LOAD: Kind =
    kind("querycoord-partition-loadinfo/", "querycoord-partition-loadinfo/<collectionID>/<partitionID>", Side::Target);

const CHANNEL_CHECKPOINT: Kind =
    kind("datacoord-meta/channel-cp/", "datacoord-meta/channel-cp/<virtual channel>", Side::Target);

/// Kinds of keys that only the 2.2 layout has, without those among the snapshots.
const TARGET_KINDS: [&Kind; 8] =
    [&PARTITION, &FIELD, &ALIAS, &FIELD_INDEX, &SEGMENT_INDEX, &COLLECTION_LOAD, &PARTITION_LOAD, &CHANNEL_CHECKPOINT];

/// Prefixes of the keys that only the 2.2 layout has. Whoever sees a key under one of them does not look at a wholly 2.1 layout.
pub fn target_prefixes() -> impl Iterator<Item = String> {
    let snapshots = [&PARTITION, &FIELD, &ALIAS].map(|kind| format!("{SNAPSHOTS}{}", kind.prefix));
    TARGET_KINDS.into_iter().map(|kind| kind.prefix.to_owned()).chain(snapshots)
}

impl Plain {
    /// Which layout the key belongs to.
    pub fn side(&self) -> Side {
        match self {
            Self::Collection(_) => Side::Both,
            Self::SourceAlias(_)
            | Self::SourceIndex { .. }
            | Self::SourceSegmentIndex { .. }
            | Self::DdOperation
            | Self::DdMsgSend => Side::Source,
            Self::Partition { .. } | Self::Field { .. } | Self::Alias(_) => Side::Target,
        }
    }

    /// Parses a key that may have snapshots; `None` if it is of no such kind.
    fn parse(key: &str) -> Option<Result<Self, KeyError>> {
        let parsed =
            if let Some(rest) = key.strip_prefix(COLLECTION.prefix) {
                ids(&COLLECTION, rest).map(|[id]| Self::Collection(id))
            } else if let Some(rest) = key.strip_prefix(SOURCE_ALIAS.prefix) {
                name(&SOURCE_ALIAS, rest).map(Self::SourceAlias)
            } else if let Some(rest) = key.strip_prefix(SOURCE_INDEX.prefix) {
                ids(&SOURCE_INDEX, rest).map(|[collection, index]| Self::SourceIndex { collection, index })
            } else if let Some(rest) = key.strip_prefix(SOURCE_SEGMENT_INDEX.prefix) {
                ids(&SOURCE_SEGMENT_INDEX, rest).map(|[collection, index, partition, segment]| {
                    Self::SourceSegmentIndex { collection, index, partition, segment }
                })
            } else if let Some(rest) = key.strip_prefix(PARTITION.prefix) {
                ids(&PARTITION, rest).map(|[collection, partition]| Self::Partition { collection, partition })
            } else if let Some(rest) = key.strip_prefix(FIELD.prefix) {
                ids(&FIELD, rest).map(|[collection, field]| Self::Field { collection, field })
            } else if let Some(rest) = key.strip_prefix(ALIAS.prefix) {
                name(&ALIAS, rest).map(Self::Alias)
            } else if key == DD_OPERATION {
                Ok(Self::DdOperation)
            } else if key == DD_MSG_SEND {
                Ok(Self::DdMsgSend)
            } else {
                return None;
            };
        Some(parsed)
    }
}

impl Key {
    /// Parses a key relative to the meta root.
    ///
    /// # Errors
    /// The key has the prefix of a kind that the tool converts, but not its form.
    pub fn parse(key: &[u8]) -> Result<Self, KeyError> {
        let Ok(key) = std::str::from_utf8(key) else { return not_utf8(key) };
        if key.starts_with(SESSIONS) {
            return Ok(Self::Session);
        }
        if let Some(snapshot) = key.strip_prefix(SNAPSHOTS) {
            return Self::parse_snapshot(snapshot);
        }
        if let Some(plain) = Plain::parse(key) {
            return plain.map(Self::Plain);
        }
        if let Some(rest) = key.strip_prefix(BUILD.prefix) {
            ids(&BUILD, rest).map(|[build]| Self::Build(build))
        } else if let Some(rest) = key.strip_prefix(LOAD_STATE.prefix) {
            ids(&LOAD_STATE, rest).map(|[collection]| Self::LoadState(collection))
        } else if let Some(rest) = key.strip_prefix(SEGMENT.prefix) {
            // Read for row counts only; a key of another form is simply not ours.
            let segment = ids(&SEGMENT, rest);
            Ok(segment.map_or(Self::Other, |[collection, partition, segment]| Self::Segment {
                collection,
                partition,
                segment,
            }))
        } else if let Some(rest) = key.strip_prefix(FIELD_INDEX.prefix) {
            ids(&FIELD_INDEX, rest).map(|[collection, index]| Self::FieldIndex { collection, index })
        } else if let Some(rest) = key.strip_prefix(SEGMENT_INDEX.prefix) {
            ids(&SEGMENT_INDEX, rest).map(|[collection, partition, segment, build]| Self::SegmentIndex {
                collection,
                partition,
                segment,
                build,
            })
        } else if let Some(rest) = key.strip_prefix(COLLECTION_LOAD.prefix) {
            ids(&COLLECTION_LOAD, rest).map(|[collection]| Self::CollectionLoad(collection))
        } else if let Some(rest) = key.strip_prefix(PARTITION_LOAD.prefix) {
            ids(&PARTITION_LOAD, rest).map(|[collection, partition]| Self::PartitionLoad { collection, partition })
        } else if let Some(rest) = key.strip_prefix(CHANNEL_CHECKPOINT.prefix) {
            name(&CHANNEL_CHECKPOINT, rest).map(Self::ChannelCheckpoint)
        } else {
            Ok(Self::Other)
        }
    }

    /// The timestamp is what follows the LAST `_ts`: a name may contain `_ts` itself (`my_tshirts`, `v_ts2022`).
    fn parse_snapshot(snapshot: &str) -> Result<Self, KeyError> {
        let (plain, timestamp) = match snapshot.rsplit_once(TIMESTAMP_MARK) {
            Some((plain, digits)) => (plain, canonical::<u64>(digits)),
            None => (snapshot, None),
        };
        match (Plain::parse(plain), timestamp) {
            (None, _) => Ok(Self::Other),
            (Some(Ok(plain)), Some(timestamp)) => Ok(Self::Snapshot(plain, timestamp)),
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(plain)), None) => Err(KeyError {
                form: "snapshots/<key>_ts<timestamp>",
                reason: "it does not end in _ts and a timestamp".into(),
                side: plain.side(),
            }),
        }
    }

    /// Which layout the key belongs to.
    pub fn side(&self) -> Side {
        match self {
            Self::Plain(plain) | Self::Snapshot(plain, _) => plain.side(),
            Self::Build(_) => Side::Source,
            Self::FieldIndex { .. }
            | Self::SegmentIndex { .. }
            | Self::CollectionLoad(_)
            | Self::PartitionLoad { .. }
            | Self::ChannelCheckpoint(_) => Side::Target,
            Self::LoadState(_) | Self::Segment { .. } | Self::Session | Self::Other => Side::Neither,
        }
    }
}

/// Which layout a key belongs to, whether it has the right form or not.
pub fn side(key: &[u8]) -> Side {
    Key::parse(key).map_or_else(|error| error.side, |key| key.side())
}

/// Names are UTF-8 in Milvus, so such a key is damaged if it is of a kind that gets converted.
fn not_utf8(key: &[u8]) -> Result<Key, KeyError> {
    let plain = key.strip_prefix(SNAPSHOTS.as_bytes()).unwrap_or(key);
    let kinds = [
        &COLLECTION,
        &SOURCE_ALIAS,
        &SOURCE_INDEX,
        &SOURCE_SEGMENT_INDEX,
        &BUILD,
        &LOAD_STATE,
        &PARTITION,
        &FIELD,
        &ALIAS,
        &FIELD_INDEX,
        &SEGMENT_INDEX,
        &COLLECTION_LOAD,
        &PARTITION_LOAD,
        &CHANNEL_CHECKPOINT,
    ];
    match kinds.into_iter().find(|kind| plain.starts_with(kind.prefix.as_bytes())) {
        Some(kind) => Err(KeyError { form: kind.form, reason: "it is not UTF-8".into(), side: kind.side }),
        None if key.starts_with(SESSIONS.as_bytes()) => Ok(Key::Session),
        None => Ok(Key::Other),
    }
}

fn name(kind: &Kind, rest: &str) -> Result<String, KeyError> {
    if rest.is_empty() {
        return Err(KeyError { form: kind.form, reason: "the name is empty".into(), side: kind.side });
    }
    Ok(rest.to_owned())
}

fn ids<const N: usize>(kind: &Kind, rest: &str) -> Result<[i64; N], KeyError> {
    let error = |reason: String| KeyError { form: kind.form, reason, side: kind.side };
    let parts = rest.split('/').count();
    if parts != N {
        return Err(error(format!("{parts} parts instead of {N}")));
    }
    let mut ids = [0; N];
    for (id, part) in ids.iter_mut().zip(rest.split('/')) {
        *id = canonical(part).ok_or_else(|| error(format!("{part:?} is not an ID")))?;
    }
    Ok(ids)
}

/// A number, unless it is spelt in another way than it would be built (`+7`, `007`, `-0`).
fn canonical<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (text == "0" || digits.starts_with(|first| ('1'..='9').contains(&first))).then(|| text.parse().ok())?
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collection(id) => write!(f, "{}{id}", COLLECTION.prefix),
            Self::SourceAlias(alias) => write!(f, "{}{alias}", SOURCE_ALIAS.prefix),
            Self::SourceIndex { collection, index } => write!(f, "{}{collection}/{index}", SOURCE_INDEX.prefix),
            Self::SourceSegmentIndex { collection, index, partition, segment } => {
                write!(f, "{}{collection}/{index}/{partition}/{segment}", SOURCE_SEGMENT_INDEX.prefix)
            }
            Self::DdOperation => f.write_str(DD_OPERATION),
            Self::DdMsgSend => f.write_str(DD_MSG_SEND),
            Self::Partition { collection, partition } => write!(f, "{}{collection}/{partition}", PARTITION.prefix),
            Self::Field { collection, field } => write!(f, "{}{collection}/{field}", FIELD.prefix),
            Self::Alias(alias) => write!(f, "{}{alias}", ALIAS.prefix),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(plain) => plain.fmt(f),
            Self::Snapshot(plain, timestamp) => write!(f, "{SNAPSHOTS}{plain}{TIMESTAMP_MARK}{timestamp}"),
            Self::Build(build) => write!(f, "{}{build}", BUILD.prefix),
            Self::LoadState(collection) => write!(f, "{}{collection}", LOAD_STATE.prefix),
            Self::Segment { collection, partition, segment } => {
                write!(f, "{}{collection}/{partition}/{segment}", SEGMENT.prefix)
            }
            Self::FieldIndex { collection, index } => write!(f, "{}{collection}/{index}", FIELD_INDEX.prefix),
            Self::SegmentIndex { collection, partition, segment, build } => {
                write!(f, "{}{collection}/{partition}/{segment}/{build}", SEGMENT_INDEX.prefix)
            }
            Self::CollectionLoad(collection) => write!(f, "{}{collection}", COLLECTION_LOAD.prefix),
            Self::PartitionLoad { collection, partition } => {
                write!(f, "{}{collection}/{partition}", PARTITION_LOAD.prefix)
            }
            Self::ChannelCheckpoint(channel) => write!(f, "{}{channel}", CHANNEL_CHECKPOINT.prefix),
            Self::Session => f.write_str(SESSIONS),
            Self::Other => f.write_str("(another key)"),
        }
    }
}

/// A key for people: as text where it is text, other bytes escaped.
pub fn printable(key: &[u8]) -> String {
    match as_text(key) {
        Some(text) => text.to_owned(),
        None => key.escape_ascii().to_string(),
    }
}

/// A key that can be shown as it is.
fn as_text(key: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(key).ok()?;
    // Nearly all keys are plain ASCII.
    let is_plain = key.iter().all(|byte| (b' '..=b'~').contains(byte));
    (is_plain || !text.chars().any(char::is_control)).then_some(text)
}

/// The part of a key that tells its kind, for counting: `root-coord/collection/`, `snapshots/root-coord/aliases/`,
/// `root-coord/dd-operation`.
pub fn prefix_of(key: &[u8]) -> Cow<'_, str> {
    match as_text(key) {
        Some(text) => Cow::Borrowed(&text[..prefix_bytes(text)]),
        None => {
            let mut text = printable(key);
            text.truncate(prefix_bytes(&text));
            Cow::Owned(text)
        }
    }
}

/// Counts a key for its kind, as [`prefix_of`] tells it.
pub fn count(counts: &mut BTreeMap<String, u64>, key: &[u8]) {
    let prefix = prefix_of(key);
    match counts.get_mut(&*prefix) {
        Some(count) => *count += 1,
        None => drop(counts.insert(prefix.into_owned(), 1)),
    }
}

fn prefix_bytes(key: &str) -> usize {
    let plain = key.strip_prefix(SNAPSHOTS).unwrap_or(key);
    let mut parts = plain.splitn(4, '/');
    let kept = match [parts.next(), parts.next(), parts.next(), parts.next()] {
        [Some("root-coord"), Some(last), None, _] => {
            let name = last.rsplit_once(TIMESTAMP_MARK).map_or(last, |(name, _)| name);
            return key.len() - last.len() + name.len();
        }
        [Some("root-coord"), Some("credential"), Some(_), Some(_)] => 3,
        [Some("root-coord" | "datacoord-meta"), Some(_), Some(_), _] => 2,
        [_, Some(_), ..] => 1,
        _ => return key.len(),
    };
    let kept: usize = plain.split_inclusive('/').take(kept).map(str::len).sum();
    key.len() - plain.len() + kept
}

#[cfg(test)]
mod tests;
