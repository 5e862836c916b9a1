//! What is, held against what should be: the one comparison for `run`, `rollback`, `verify`, reading back and `plan --diff`.

use std::collections::BTreeMap;
use std::iter::Peekable;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use crate::layout::keys::{count, printable};

/// One key that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The key, relative to the meta root.
    pub key: Bytes,
    /// The value that it should have; none if it should not be there.
    pub put: Option<Bytes>,
    /// Whether it is there now.
    pub is_there: bool,
    /// Whether no key that stays as it is lies between this one and the edit before it.
    pub adjacent: bool,
}

/// All keys that are not as they should be, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// The edits that make what is into what should be.
    pub edits: Vec<Edit>,
    /// Keys that are as they should be, by prefix.
    pub equal: BTreeMap<String, u64>,
}

/// How many keys are not as they should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Keys that are missing, by prefix.
    pub missing: BTreeMap<String, u64>,
    /// Keys that have another value, by prefix.
    pub different: BTreeMap<String, u64>,
    /// Keys that should not be there, by prefix.
    pub extra: BTreeMap<String, u64>,
    /// Keys that are as they should be.
    pub equal: u64,
}

impl Diff {
    /// Whether everything is as it should be.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Numbers by prefix.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { equal: self.equal.values().sum(), ..Counts::default() };
        for edit in &self.edits {
            let of = match (edit.is_there, &edit.put) {
                (false, _) => &mut counts.missing,
                (true, Some(_)) => &mut counts.different,
                (true, None) => &mut counts.extra,
            };
            count(of, &edit.key);
        }
        counts
    }

    /// What is not as it should be, in words, key by key.
    pub fn in_words(&self) -> impl Iterator<Item = String> {
        self.edits.iter().map(|edit| {
            let key = printable(&edit.key);
            match (edit.is_there, &edit.put) {
                (false, _) => format!("{key} is missing"),
                (true, Some(_)) => format!("{key} has another value"),
                (true, None) => format!("{key} should not be there"),
            }
        })
    }
}

/// Takes in what is, key by key in ascending order, and holds it against what should be.
#[derive(Debug)]
pub struct Differ<I: Iterator<Item = (Bytes, Bytes)>> {
    should: Peekable<I>,
    diff: Diff,
    adjacent: bool,
}

impl<I: Iterator<Item = (Bytes, Bytes)>> Differ<I> {
    /// Begins with what should be, in ascending order of keys.
    pub fn new(should: impl IntoIterator<IntoIter = I>) -> Self {
        Self { should: should.into_iter().peekable(), diff: Diff::default(), adjacent: false }
    }

    /// Makes room for as many edits.
    pub fn reserve(&mut self, edits: usize) {
        self.diff.edits.reserve(edits);
    }

    /// Takes in the next key that is there.
    pub fn add(&mut self, key: Bytes, value: &[u8]) {
        self.add_and_share(key, value);
    }

    /// The same. Returns the value that should be there, if it is the same, so that it need not be in memory twice.
    pub fn add_and_share(&mut self, key: Bytes, value: &[u8]) -> Option<Bytes> {
        self.hold(key, |should| should == value)
    }

    /// The same, of a key whose value is known to be another than what should be there.
    pub fn add_changed(&mut self, key: Bytes) {
        self.hold(key, |_| false);
    }

    fn hold(&mut self, key: Bytes, is_equal: impl FnOnce(&[u8]) -> bool) -> Option<Bytes> {
        while let Some((missing, value)) = self.should.next_if(|(should, _)| *should < key) {
            self.edit(missing, Some(value), false);
        }
        match self.should.next_if(|(should, _)| *should == key) {
            None => self.edit(key, None, true),
            Some((_, should)) if is_equal(&should) => {
                self.adjacent = false;
                count(&mut self.diff.equal, &key);
                return Some(should);
            }
            Some((_, should)) => self.edit(key, Some(should), true),
        }
        None
    }

    /// A key lies here that is not looked at: no range may reach over it.
    pub fn pass(&mut self) {
        self.adjacent = false;
    }

    /// The difference, after all keys that are there were added.
    pub fn finish(mut self) -> Diff {
        while let Some((missing, value)) = self.should.next() {
            self.edit(missing, Some(value), false);
        }
        self.diff
    }

    fn edit(&mut self, key: Bytes, put: Option<Bytes>, is_there: bool) {
        let adjacent = std::mem::replace(&mut self.adjacent, true);
        self.diff.edits.push(Edit { key, put, is_there, adjacent });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(should: &[(&str, &str)], is: &[(&str, &str)]) -> Diff {
        let bytes = |text: &str| Bytes::from(text.to_owned());
        let should: Vec<_> = should.iter().map(|(key, value)| (bytes(key), bytes(value))).collect();
        let mut differ = Differ::new(should.clone());
        for (key, value) in is {
            let same = differ.add_and_share(bytes(key), value.as_bytes());
            let is_equal = should.contains(&(bytes(key), bytes(value)));
            assert_eq!(same.is_some(), is_equal);
        }
        differ.finish()
    }

    #[test]
    fn what_is_equal_needs_nothing() {
        let both = [("a/1", "x"), ("b/1", "y")];
        let found = diff(&both, &both);
        assert!(found.is_empty());
        assert_eq!(found.counts().equal, 2);
    }

    #[test]
    fn missing_different_and_extra_keys_are_found_in_order() {
        let found = diff(&[("a/1", "x"), ("a/2", "x"), ("a/3", "x")], &[("a/2", "y"), ("a/3", "x"), ("a/4", "z")]);
        let words: Vec<String> = found.in_words().collect();
        assert_eq!(words, ["a/1 is missing", "a/2 has another value", "a/4 should not be there"]);
        let adjacent: Vec<bool> = found.edits.iter().map(|edit| edit.adjacent).collect();
        assert_eq!(adjacent, [false, true, false], "a/3 stays between");
    }
}
