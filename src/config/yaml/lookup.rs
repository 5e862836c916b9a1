//! Typed values by dotted key.

use std::collections::HashSet;

use anyhow::{Result, anyhow, bail};

use super::{Document, Node, NodeId, YamlContent, boolean};
use crate::config::source::{Setting, Source};
use crate::layout::keys::printable;

impl Document {
    /// A text; numbers and booleans count as they are written. An empty one counts as absent.
    ///
    /// # Errors
    /// A list or a mapping is there, or two different texts.
    pub fn text(&self, key: &str) -> Result<Option<Setting<String>>> {
        Ok(self.text_or_empty(key)?.filter(|setting| !setting.value.is_empty()))
    }

    /// Like [`Document::text`], but `""` is an empty text.
    ///
    /// # Errors
    /// As [`Document::text`].
    pub fn text_or_empty(&self, key: &str) -> Result<Option<Setting<String>>> {
        self.parsed(key, "a text", |text| Some(text.to_owned()))
    }

    /// `true` or `false`, quoted or not.
    ///
    /// # Errors
    /// Something else is there, or both.
    pub fn boolean(&self, key: &str) -> Result<Option<Setting<bool>>> {
        self.parsed(key, "true or false", boolean)
    }

    /// A scalar that `read` understands; `expected` says what that is. Absent, null and, unless `read` accepts it, empty
    /// are all `None`.
    ///
    /// # Errors
    /// What is there is not understood, or the key is repeated with another value.
    pub fn parsed<T: PartialEq>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Setting<T>>> {
        self.single(key, expected, |node| node.as_text().and_then(&read))
    }

    /// A text, or those of a list with commas between them, as Milvus takes them; `""` and an empty list are an empty text.
    ///
    /// # Errors
    /// A mapping is there, a list with something else than texts, or two different ones.
    pub fn joined(&self, key: &str) -> Result<Option<Setting<String>>> {
        self.single(key, "a text or a list of texts", |node| match &node.content {
            YamlContent::List(items) => {
                let texts: Option<Vec<&str>> = items.iter().map(|&item| self.node(item).as_text()).collect();
                texts.map(|texts| texts.join(","))
            }
            _ => node.as_text().map(str::to_owned),
        })
    }

    /// What `read` makes of the value of a key. Values that it does not understand are skipped if they are empty.
    fn single<T: PartialEq>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&Node) -> Option<T>,
    ) -> Result<Option<Setting<T>>> {
        let mut first: Option<(T, usize)> = None;
        for node in self.find(key)? {
            let Some(value) = read(node) else {
                if node.is_empty_text() {
                    continue;
                }
                return Err(self.wrong_type(key, node, expected));
            };
            match &first {
                None => first = Some((value, node.line)),
                Some((other, _)) if *other == value => {}
                Some((_, line)) => bail!(
                    "{}: given more than once with different values, see line {line}: keep one of them",
                    self.origin(key, node.line)
                ),
            }
        }
        Ok(first.map(|(value, line)| Setting::new(value, self.origin(key, line))))
    }

    /// The texts of a list, or a single text; those of a repeated key one after the other. Never empty: `None` if the key
    /// is absent.
    ///
    /// # Errors
    /// A mapping is there, or an empty list, or one with something else than texts.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<Setting<String>>>> {
        let mut found = self.find(key)?;
        found.retain(|node| !node.is_empty_text());
        let Some(&first) = found.first() else { return Ok(None) };
        let expected = "a text or a list of texts";
        let mut texts = Vec::new();
        for node in found {
            let items = match &node.content {
                YamlContent::List(items) => items.iter().map(|&item| self.node(item)).collect(),
                _ => vec![node],
            };
            for item in items {
                match &item.content {
                    YamlContent::Scalar { text, .. } => {
                        texts.push(Setting::new(text.clone(), self.origin(key, item.line)));
                    }
                    YamlContent::Null => {}
                    YamlContent::List(_) | YamlContent::Mapping(_) => return Err(self.wrong_type(key, item, expected)),
                }
            }
        }
        if texts.is_empty() {
            bail!("{}: found an empty list, expected {expected}", self.origin(key, first.line));
        }
        Ok(Some(texts))
    }

    /// All keys directly below these sections, as the file spells them, with the place of each; below what is no mapping there
    /// are none.
    ///
    /// # Errors
    /// Keys are merged there (`<<`).
    pub fn keys_under(&self, sections: &[&str]) -> Result<Vec<(String, Source)>> {
        let mut keys = Vec::new();
        let is_ours = |name: &str| sections.iter().any(|section| section.eq_ignore_ascii_case(name));
        let YamlContent::Mapping(pairs) = &self.node(self.root).content else { return Ok(keys) };
        for &(key, value) in pairs {
            let key = self.node(key);
            let Some(name) = key.as_text() else { continue };
            if name.split_once('.').is_some_and(|(section, _)| is_ours(section)) {
                keys.push((name.to_owned(), self.origin(name, key.line)));
            }
            let YamlContent::Mapping(inner) = &self.node(value).content else { continue };
            if !is_ours(name) {
                continue;
            }
            self.refuse_merge_key(inner)?;
            for &(key, _) in inner {
                let key = self.node(key);
                let full = format!("{name}.{}", key.as_text().unwrap_or("(no text)"));
                keys.push((full.clone(), self.origin(&full, key.line)));
            }
        }
        Ok(keys)
    }

    /// The names of all sections, as they are spelt, with where they stand.
    pub fn sections(&self) -> Vec<(String, Source)> {
        let YamlContent::Mapping(pairs) = &self.node(self.root).content else { return Vec::new() };
        let section = |&(key, _): &(_, _)| {
            let key = self.node(key);
            let name = key.as_text()?.split('.').next().unwrap_or_default();
            Some((name.to_owned(), self.origin(name, key.line)))
        };
        pairs.iter().filter_map(section).collect()
    }

    /// How errors name a key.
    fn origin(&self, key: &str, line: usize) -> Source {
        Source::File { file: self.file.clone(), line, key: printable(key.as_bytes()) }
    }

    fn wrong_type(&self, key: &str, node: &Node, expected: &str) -> anyhow::Error {
        anyhow!("{}: found {}, expected {expected}", self.origin(key, node.line), node.describe())
    }

    /// All that the file says for a key, nulls left out, in the order of the file.
    ///
    /// As in Milvus, which reads with viper, `etcd.rootPath` is also found as one key with the dot in it, and upper and
    /// lower case count as the same; the exact spelling is preferred.
    fn find(&self, key: &str) -> Result<Vec<&Node>> {
        let words: Vec<&str> = key.split('.').collect();
        // reached[n]: where the first n words lead. Each node counts once, or a file that repeats aliases to itself would
        // make us walk for hours.
        let mut reached: Vec<(Vec<NodeId>, HashSet<NodeId>)> = vec![Default::default(); words.len() + 1];
        reached[0].0.push(self.root);
        for depth in 0..words.len() {
            for id in std::mem::take(&mut reached[depth].0) {
                let node = self.node(id);
                if node.is_empty_text() {
                    continue;
                }
                let YamlContent::Mapping(pairs) = &node.content else {
                    return Err(self.wrong_type(&words[..depth].join("."), node, "a mapping (key: value)"));
                };
                self.refuse_merge_key(pairs)?;
                for end in depth + 1..=words.len() {
                    for value in self.values(pairs, &words[depth..end].join(".")) {
                        let (nodes, seen) = &mut reached[end];
                        if !matches!(self.node(value).content, YamlContent::Null) && seen.insert(value) {
                            nodes.push(value);
                        }
                    }
                }
            }
        }
        let (found, _) = std::mem::take(&mut reached[words.len()]);
        Ok(found.into_iter().map(|id| self.node(id)).collect())
    }

    fn values(&self, pairs: &[(NodeId, NodeId)], name: &str) -> Vec<NodeId> {
        let matching = |same: fn(&str, &str) -> bool| -> Vec<NodeId> {
            let is_match = |key| self.node(key).as_text().is_some_and(|text| same(text, name));
            pairs.iter().filter(|(key, _)| is_match(*key)).map(|&(_, value)| value).collect()
        };
        let exact = matching(|a, b| a == b);
        if exact.is_empty() { matching(str::eq_ignore_ascii_case) } else { exact }
    }

    /// `<<: *other` would bring in keys from elsewhere; to overlook it would be to take defaults instead.
    fn refuse_merge_key(&self, pairs: &[(NodeId, NodeId)]) -> Result<()> {
        for &(key, _) in pairs {
            let key = self.node(key);
            if matches!(&key.content, YamlContent::Scalar { text, plain: true } if text == "<<") {
                bail!("{}: merging keys is not supported: write the keys out", self.origin("<<", key.line));
            }
        }
        Ok(())
    }
}
