//! The tool's own settings over those of Milvus's own configuration files.
//!
//! Both may say the same; where they differ, nobody knows which cluster is meant, so that is refused.

use std::path::PathBuf;

use anyhow::{Result, anyhow};

use super::source::{Setting, quoted};
use super::yaml::Document;

/// The configuration file of the tool, and those of Milvus.
#[derive(Debug)]
pub(super) struct Layers {
    /// The tool's own file.
    pub own: Document,
    /// Milvus's files, such as default.yaml and user.yaml: a later one goes before the earlier ones.
    pub milvus: Vec<Document>,
}

impl Layers {
    /// A text that is given, in our file or in Milvus's.
    pub fn text(&self, key: &str, given: Option<Setting<String>>) -> Result<Option<Setting<String>>> {
        self.agreed(given, |document| document.text(key), |a, b| a == b, |text| quoted(text))
    }

    /// As [`Layers::text`], but `""` is a text, and `same` says which texts mean the same.
    pub fn text_or_empty(
        &self,
        key: &str,
        given: Option<Setting<String>>,
        same: impl Fn(&str, &str) -> bool,
    ) -> Result<Option<Setting<String>>> {
        self.agreed(given, |document| document.text_or_empty(key), |a, b| same(a, b), |text| quoted(text))
    }

    /// As [`Layers::text`], for what no message may show.
    pub fn secret(&self, key: &str, given: Option<Setting<String>>) -> Result<Option<Setting<String>>> {
        self.agreed(given, |document| document.text(key), |a, b| a == b, |_| "not shown".to_owned())
    }

    /// As [`Layers::text`], for the path of a file.
    pub fn path(&self, key: &str, given: Option<Setting<PathBuf>>) -> Result<Option<Setting<PathBuf>>> {
        let read = |document: &Document| Ok(document.text(key)?.map(|text| text.map(PathBuf::from)));
        self.agreed(given, read, |a, b| a == b, |path| quoted(&path.to_string_lossy()))
    }

    /// As [`Layers::text`], for true or false.
    pub fn boolean(&self, key: &str, given: Option<Setting<bool>>) -> Result<Option<Setting<bool>>> {
        self.agreed(given, |document| document.boolean(key), |a, b| a == b, bool::to_string)
    }

    /// What is given, else what our file says, else what the last of Milvus's files says that says anything.
    ///
    /// # Errors
    /// `read` refuses, or Milvus's files say something else than we do.
    pub fn agreed<T>(
        &self,
        given: Option<Setting<T>>,
        read: impl Fn(&Document) -> Result<Option<Setting<T>>>,
        same: impl Fn(&T, &T) -> bool,
        show: impl Fn(&T) -> String,
    ) -> Result<Option<Setting<T>>> {
        let ours = match given {
            Some(given) => Some(given),
            None => read(&self.own)?,
        };
        let milvus = self.of_milvus(read)?;
        match (ours, milvus) {
            (Some(ours), Some(milvus)) if !same(&ours.value, &milvus.value) => {
                Err(differ((&ours, &show(&ours.value)), (&milvus, &show(&milvus.value))))
            }
            (Some(ours), _) => Ok(Some(ours)),
            (None, milvus) => Ok(milvus),
        }
    }

    /// What Milvus's files say.
    pub fn of_milvus<T>(&self, read: impl Fn(&Document) -> Result<Option<T>>) -> Result<Option<T>> {
        for document in self.milvus.iter().rev() {
            if let Some(found) = read(document)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The refusal of two settings that do not agree.
pub(super) fn differ<T, U>(ours: (&Setting<T>, &str), milvus: (&Setting<U>, &str)) -> anyhow::Error {
    anyhow!(
        "{}: {}, but Milvus's own configuration has {}: {}: they must agree, or this may be another cluster. Correct or \
         take out one of the two; where both mean the same, as with a port-forward, give a file with {} as the last --milvus-config",
        ours.0.source,
        ours.1,
        milvus.0.source,
        milvus.1,
        key_of(&milvus.0.source)
    )
}

fn key_of(source: &super::Source) -> &str {
    match source {
        super::Source::File { key, .. } => key,
        super::Source::Flag(name) | super::Source::Variable(name) | super::Source::Default(name) => name,
    }
}
