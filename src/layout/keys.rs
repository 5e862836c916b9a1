//! Keys under the meta root: taken apart, built, shown and counted, all by the table of families.
//!
//! A key that parses is built again byte for byte by its `Display`; so numbers are accepted in their canonical spelling only.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use thiserror::Error;

use super::families::Part::{Id, Name};
use super::families::{Family, Row, Side, TABLE};

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
/// What was done to the metadata by this tool: one key of ours. No Milvus reads under that prefix.
pub const HISTORY: &str = "meta-migration/history";
/// Where our own key lies.
pub const HISTORY_PREFIX: &str = "meta-migration/";

/// Stops 2.1's root coordinator, which reads every index record.
pub const INDEX_TRIPWIRE: &str = "root-coord/index/0/0";
/// Stops 2.1's index coordinator, which reads every build record.
pub const BUILD_TRIPWIRE: &str = "indexes/0";
/// Stops 2.1's data coordinator, which reads `datacoord-meta/s` without a slash.
pub const SEGMENT_TRIPWIRE: &str = "datacoord-meta/statslog/0/0/0/0";
/// Stops 2.1's query coordinator, which reads every channel that is watched.
pub const CHANNEL_TRIPWIRE: &str = "queryCoord-dmChannelWatchInfo/0/0";
/// All of them.
pub const TRIPWIRES: [&str; 4] = [INDEX_TRIPWIRE, BUILD_TRIPWIRE, SEGMENT_TRIPWIRE, CHANNEL_TRIPWIRE];

/// The most IDs that a key has.
const MAX_IDS: usize = 4;

/// A key under the meta root, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What it is.
    pub family: Family,
    ids: [i64; MAX_IDS],
    name: String,
    /// The timestamp of a snapshot; none for the plain key.
    pub snapshot: Option<u64>,
}

/// A key that has the prefix of a family, but not its form.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the key does not have the form {form}: {reason}")]
pub struct KeyError {
    /// The form that was expected.
    pub form: String,
    /// What does not fit.
    pub reason: String,
    /// The family whose prefix it has.
    pub family: Family,
}

impl Family {
    /// A key with these IDs.
    pub fn key<const N: usize>(self, ids: [i64; N]) -> Key {
        self.key_with(ids, "")
    }

    /// A key with a name.
    pub fn named(self, name: &str) -> Key {
        self.key_with([], name)
    }

    /// A key with IDs before a name.
    pub fn key_with<const N: usize>(self, ids: [i64; N], name: &str) -> Key {
        let mut all = [0; MAX_IDS];
        all[..N].copy_from_slice(&ids);
        Key { family: self, ids: all, name: name.to_owned(), snapshot: None }
    }
}

impl Key {
    /// Parses a key relative to the meta root.
    ///
    /// # Errors
    /// The key has the prefix of a family in the table, but not its form.
    pub fn parse(key: &[u8]) -> Result<Self, KeyError> {
        let Ok(text) = std::str::from_utf8(key) else { return not_utf8(key) };
        if text.starts_with(SESSIONS) {
            return Ok(Family::Session.key([]));
        }
        if text.starts_with(HISTORY_PREFIX) {
            return Ok(Family::History.key([]));
        }
        if TRIPWIRES.contains(&text) {
            return Ok(Family::Tripwire.named(text));
        }
        if let Some(snapshot) = text.strip_prefix(SNAPSHOTS) {
            return parse_snapshot(snapshot);
        }
        parse_plain(text).unwrap_or_else(|| Ok(Family::Other.key([])))
    }

    /// The first `N` IDs of the key, in the order of the table.
    pub fn ids<const N: usize>(&self) -> [i64; N] {
        let mut ids = [0; N];
        ids.copy_from_slice(&self.ids[..N]);
        ids
    }

    /// The name in the key; empty where the family has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same key as a snapshot of this time.
    pub fn at(mut self, timestamp: u64) -> Self {
        self.snapshot = Some(timestamp);
        self
    }

    /// The same key without a timestamp.
    pub fn plain(mut self) -> Self {
        self.snapshot = None;
        self
    }

    /// Which layout the key belongs to.
    pub fn side(&self) -> Side {
        self.family.side()
    }
}

/// The family of a key, whether it has the right form or not.
pub fn family_of(key: &[u8]) -> Family {
    if key.starts_with(SESSIONS.as_bytes()) {
        return Family::Session;
    }
    if is_history(key) {
        return Family::History;
    }
    if TRIPWIRES.iter().any(|tripwire| tripwire.as_bytes() == key) {
        return Family::Tripwire;
    }
    match key.strip_prefix(SNAPSHOTS.as_bytes()) {
        Some(snapshot) => row_of_snapshot(snapshot),
        None => row_of(key),
    }
    .map_or(Family::Other, |row| row.family)
}

/// The row of a snapshot, by what stands before the last `_ts`; none where the family has no snapshots.
fn row_of_snapshot(snapshot: &[u8]) -> Option<&'static Row> {
    let mark = TIMESTAMP_MARK.as_bytes();
    let end = snapshot.windows(mark.len()).rposition(|window| window == mark).unwrap_or(snapshot.len());
    row_of(&snapshot[..end]).filter(|row| row.has_snapshots)
}

/// The row of a plain key. Keys come in order, so it is nearly always the row of the one before.
fn row_of(key: &[u8]) -> Option<&'static Row> {
    thread_local! {
        static LATEST: Cell<&'static Row> = const { Cell::new(&TABLE[0]) };
    }
    let latest = LATEST.get();
    if latest.is_of(key) {
        return Some(latest);
    }
    search_row_of(key).inspect(|row| LATEST.set(row))
}

/// No prefix is the beginning of another, so it can only be the last that does not come after the key.
fn search_row_of(key: &[u8]) -> Option<&'static Row> {
    static SORTED: LazyLock<Vec<&Row>> = LazyLock::new(|| {
        let mut rows: Vec<_> = TABLE.iter().collect();
        rows.sort_by_key(|row| row.prefix);
        rows
    });
    let behind = SORTED.partition_point(|row| row.prefix.as_bytes() <= key);
    SORTED[..behind].last().copied().filter(|row| row.is_of(key))
}

/// Whether a key is part of what is backed up, compared and counted: sessions and our history are not.
pub fn is_metadata(key: &[u8]) -> bool {
    !key.starts_with(SESSIONS.as_bytes()) && !key.starts_with(HISTORY_PREFIX.as_bytes())
}

/// Whether a key is our history, which is neither backed up nor restored.
pub fn is_history(key: &[u8]) -> bool {
    key.starts_with(HISTORY_PREFIX.as_bytes())
}

fn parse_plain(key: &str) -> Option<Result<Key, KeyError>> {
    let row = row_of(key.as_bytes())?;
    Some(parse_parts(row, &key[row.prefix.len()..]))
}

fn parse_parts(row: &Row, rest: &str) -> Result<Key, KeyError> {
    match ids_alone(row, rest) {
        Some(ids) => Ok(Key { ids, ..row.family.key([]) }),
        None => parse_any_parts(row, rest),
    }
}

/// The IDs of a key that has the form of its family and no name: what comes by the million. Where it gives none, the key may have the
/// form all the same: [`parse_any_parts`] decides, and says what is wrong.
fn ids_alone(row: &Row, mut rest: &str) -> Option<[i64; MAX_IDS]> {
    let mut ids = [0; MAX_IDS];
    for (at, part) in row.parts.iter().enumerate() {
        let Id(_) = part else { return None };
        if at > 0 {
            rest = rest.strip_prefix('/')?;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        // 18 digits fit whatever they are, and a leading zero is another spelling.
        if !(1..=18).contains(&digits) || (digits > 1 && rest.starts_with('0')) {
            return None;
        }
        let (id, after) = rest.split_at(digits);
        ids[at] = id.bytes().fold(0, |id, digit| 10 * id + i64::from(digit - b'0'));
        rest = after;
    }
    rest.is_empty().then_some(ids)
}

/// Takes any key apart, and says what does not fit.
fn parse_any_parts(row: &Row, mut rest: &str) -> Result<Key, KeyError> {
    let error = |reason: String| KeyError { form: row.form(), reason, family: row.family };
    let mut key = row.family.key([]);
    let expected = row.parts.len();
    let found = 1 + rest.bytes().filter(|byte| *byte == b'/').count();
    if !row.parts.is_empty() && row.parts.iter().all(|part| matches!(part, Id(_))) && found != expected {
        return Err(error(format!("{found} parts instead of {expected}")));
    }
    for (at, part) in row.parts.iter().enumerate() {
        match part {
            Id(_) => {
                let (id, after) = rest.split_once('/').unwrap_or((rest, ""));
                key.ids[at] = canonical(id).ok_or_else(|| error(format!("{id:?} is not an ID")))?;
                rest = after;
            }
            Name(what) if rest.is_empty() => return Err(error(format!("the {what} is empty"))),
            Name(_) => rest.clone_into(&mut key.name),
        }
    }
    Ok(key)
}

/// The timestamp is what follows the LAST `_ts`: a name may contain `_ts` itself (`my_tshirts`, `v_ts2022`).
fn parse_snapshot(snapshot: &str) -> Result<Key, KeyError> {
    let (plain, timestamp) = match snapshot.rsplit_once(TIMESTAMP_MARK) {
        Some((plain, digits)) => (plain, canonical::<u64>(digits)),
        None => (snapshot, None),
    };
    match (parse_plain(plain), timestamp) {
        (Some(Ok(key)), _) if !key.family.has_snapshots() => Ok(Family::Other.key([])),
        (Some(Err(error)), _) if !error.family.has_snapshots() => Ok(Family::Other.key([])),
        (None, _) => Ok(Family::Other.key([])),
        (Some(Ok(key)), Some(timestamp)) => Ok(key.at(timestamp)),
        (Some(Err(error)), _) => Err(error),
        (Some(Ok(key)), None) => Err(KeyError {
            form: format!("{SNAPSHOTS}<key>{TIMESTAMP_MARK}<timestamp>"),
            reason: "it does not end in _ts and a timestamp".into(),
            family: key.family,
        }),
    }
}

/// Names are UTF-8 in Milvus, so such a key is damaged if it is of a family that gets converted.
fn not_utf8(key: &[u8]) -> Result<Key, KeyError> {
    if key.starts_with(SESSIONS.as_bytes()) {
        return Ok(Family::Session.key([]));
    }
    if is_history(key) {
        return Ok(Family::History.key([]));
    }
    let row = match key.strip_prefix(SNAPSHOTS.as_bytes()) {
        Some(snapshot) => row_of_snapshot(snapshot),
        None => row_of(key),
    };
    match row {
        Some(row) => Err(KeyError { form: row.form(), reason: "it is not UTF-8".into(), family: row.family }),
        None => Ok(Family::Other.key([])),
    }
}

/// A number, unless it is spelt in another way than it would be built (`+7`, `007`, `-0`).
fn canonical<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (text == "0" || digits.starts_with(|first| ('1'..='9').contains(&first))).then(|| text.parse().ok())?
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(row) = self.family.row() else {
            return f.write_str(match self.family {
                Family::Session => SESSIONS,
                Family::History => HISTORY,
                Family::Tripwire => &self.name,
                _ => "(another key)",
            });
        };
        if self.snapshot.is_some() {
            f.write_str(SNAPSHOTS)?;
        }
        f.write_str(row.prefix)?;
        for (at, part) in row.parts.iter().enumerate() {
            if at > 0 {
                f.write_str("/")?;
            }
            match part {
                Id(_) => write!(f, "{}", self.ids[at])?,
                Name(_) => f.write_str(&self.name)?,
            }
        }
        match self.snapshot {
            Some(timestamp) => write!(f, "{TIMESTAMP_MARK}{timestamp}"),
            None => Ok(()),
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
    // Of what comes by the million all keys are of one kind, whatever follows.
    if let Some(row) = row_of(key).filter(|row| row.family.is_bulk()) {
        return Cow::Borrowed(row.prefix);
    }
    spelt_prefix_of(key)
}

fn spelt_prefix_of(key: &[u8]) -> Cow<'_, str> {
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
        [Some("root-coord"), Some("credential" | "database"), Some(_), Some(_)] => 3,
        [Some("root-coord" | "datacoord-meta"), Some(_), Some(_), _] => 2,
        [_, Some(_), ..] => 1,
        _ => return key.len(),
    };
    let kept: usize = plain.split_inclusive('/').take(kept).map(str::len).sum();
    key.len() - plain.len() + kept
}

#[cfg(test)]
mod tests;
