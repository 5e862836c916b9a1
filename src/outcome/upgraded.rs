//! What `upgrade` did.

use schemars::JsonSchema;
use serde::Serialize;

use super::ran::RunOutcome;
use super::verified::VerifyOutcome;

/// What `upgrade` did: what a run tells, and what verify found afterwards.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UpgradeOutcome {
    /// As of `run`.
    #[serde(flatten)]
    pub run: RunOutcome,
    /// As of `verify`; none where there is nothing to migrate and so nothing to verify.
    pub verification: Option<VerifyOutcome>,
}
