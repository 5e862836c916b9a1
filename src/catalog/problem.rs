//! What does not fit together, found before anything is written.

use schemars::JsonSchema;
use serde::Serialize;

use crate::layout::keys::{Key, printable};

/// Something in the metadata that does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Problem {
    /// The key, relative to the meta root.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What it means: what would be missing afterwards with `--skip-invalid`.
    pub meaning: String,
    /// The key of another problem that this one follows from, if it does.
    pub caused_by: Option<String>,
}

impl Problem {
    /// Something is wrong with the record at `key`.
    pub fn new(key: &Key, what: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { key: key.to_string(), what: what.into(), meaning: meaning.into(), caused_by: None }
    }

    /// Something is wrong with a key that cannot be taken apart.
    pub fn at(key: &[u8], what: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { key: printable(key), what: what.into(), meaning: meaning.into(), caused_by: None }
    }

    /// The record at `key` cannot be used because of a problem at another key.
    pub fn caused(
        key: &Key,
        what: impl Into<String>,
        meaning: impl Into<String>,
        caused_by: impl Into<String>,
    ) -> Self {
        Self { caused_by: Some(caused_by.into()), ..Self::new(key, what, meaning) }
    }
}

/// Sorted by key, each once.
pub fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}
