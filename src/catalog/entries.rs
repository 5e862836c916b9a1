//! Keys with their values in ascending order: as a map of the standard library, but in one piece, and with a third less memory.

use std::iter::Map;
use std::{slice, vec};

use bytes::Bytes;

type Entry = (Bytes, Bytes);
type Iter<'a> = Map<slice::Iter<'a, Entry>, fn(&Entry) -> (&Bytes, &Bytes)>;

/// Keys with their values, each key once, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries(Vec<Entry>);

impl Entries {
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> Iter<'_> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl From<Vec<Entry>> for Entries {
    /// In any order; of a key that comes several times the last value counts.
    fn from(mut entries: Vec<Entry>) -> Self {
        sort(&mut entries);
        entries.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            if is_same {
                std::mem::swap(next, kept);
            }
            is_same
        });
        Self(entries)
    }
}

/// Sorts by key; of equal keys what came first stays first. The standard library would take half as much memory again for that, and
/// there can be millions.
fn sort(entries: &mut [Entry]) {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|one, other| entries[*one].0.cmp(&entries[*other].0));
    for start in 0..order.len() {
        // Along each cycle, every entry goes to where it belongs.
        let mut at = start;
        while order[at] != start {
            let from = std::mem::replace(&mut order[at], at);
            entries.swap(at, from);
            at = from;
        }
        order[at] = at;
    }
}

impl Extend<Entry> for Entries {
    /// Usually by few: they are put between those that are there, which are not compared with each other again.
    fn extend<I: IntoIterator<Item = Entry>>(&mut self, more: I) {
        let more = Self::from(more.into_iter().collect::<Vec<_>>()).0;
        if more.is_empty() {
            return;
        }
        let mut entries = Vec::with_capacity(self.0.len() + more.len());
        let mut rest = std::mem::take(&mut self.0).into_iter();
        for entry in more {
            let before = rest.as_slice().partition_point(|(key, _)| *key < entry.0);
            entries.extend(rest.by_ref().take(before));
            if rest.as_slice().first().is_some_and(|(key, _)| *key == entry.0) {
                rest.next();
            }
            entries.push(entry);
        }
        entries.extend(rest);
        self.0 = entries;
    }
}

impl IntoIterator for Entries {
    type Item = Entry;
    type IntoIter = vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = (&'a Bytes, &'a Bytes);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_what_a_map_would_be(
            first in proptest::collection::vec((0u8..20, any::<u8>()), 0..40),
            more in proptest::collection::vec((0u8..20, any::<u8>()), 0..40),
        ) {
            let entry = |(key, value): &(u8, u8)| (Bytes::copy_from_slice(&[*key]), Bytes::copy_from_slice(&[*value]));
            let mut map: BTreeMap<Bytes, Bytes> = first.iter().map(entry).collect();
            let mut entries = Entries::from(first.iter().map(entry).collect::<Vec<_>>());
            map.extend(more.iter().map(entry));
            entries.extend(more.iter().map(entry));
            prop_assert!(entries.iter().eq(map.iter()));
            prop_assert!((0..20).all(|key| entries.get(&[key]) == map.get(&[key][..])));
            prop_assert_eq!((entries.len(), entries.is_empty()), (map.len(), map.is_empty()));
        }
    }
}
