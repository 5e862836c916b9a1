//! What was found to be otherwise than the target relies on.

use schemars::JsonSchema;
use serde::Serialize;

use super::invariant::Invariant;
use crate::layout::keys::printable;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The metadata is not consistent.
    Error,
    /// Milvus gets along with it, but somebody should know.
    Warning,
}

/// One place where an invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// Which.
    #[schemars(with = "String")]
    pub invariant: Invariant,
    /// How bad it is.
    pub severity: Severity,
    /// The key, relative to the meta root; a prefix where it is about many keys.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What that means, and what to do.
    pub meaning: &'static str,
    /// The option of `run` that is a way around it, if there is one.
    pub remedy: Option<String>,
}

/// Collects findings.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn error_with(&mut self, invariant: Invariant, key: String, what: String, remedy: String) {
        let meaning = invariant.meaning();
        let (severity, remedy) = (Severity::Error, Some(remedy));
        self.0.push(Finding { invariant, severity, key, what, meaning, remedy });
    }

    pub(super) fn error(&mut self, invariant: Invariant, key: impl AsRef<[u8]>, what: impl Into<String>) {
        self.push(invariant, Severity::Error, key.as_ref(), what.into());
    }

    pub(super) fn warn(&mut self, invariant: Invariant, key: impl AsRef<[u8]>, what: impl Into<String>) {
        self.push(invariant, Severity::Warning, key.as_ref(), what.into());
    }

    /// A finding as bad as that; none where nobody minds.
    pub(super) fn demand(
        &mut self,
        severity: Option<Severity>,
        invariant: Invariant,
        key: &str,
        what: impl Into<String>,
    ) {
        if let Some(severity) = severity {
            self.push(invariant, severity, key.as_bytes(), what.into());
        }
    }

    fn push(&mut self, invariant: Invariant, severity: Severity, key: &[u8], what: String) {
        self.0.push(Finding {
            invariant,
            severity,
            key: printable(key),
            what,
            meaning: invariant.meaning(),
            remedy: None,
        });
    }

    /// All findings, by invariant and key.
    pub(super) fn into_sorted(mut self) -> Vec<Finding> {
        self.0.sort_by(|a, b| (a.invariant, &a.key, &a.what).cmp(&(b.invariant, &b.key, &b.what)));
        self.0
    }
}
