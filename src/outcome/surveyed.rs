//! What `status` found.

use schemars::JsonSchema;
use serde::Serialize;

use super::Header;
use super::words::{Text, bytes, thousands};
use crate::etcd::health::EndpointHealth;
use crate::guard::Session;
use crate::history::History;
use crate::layout::Found;
use crate::state::MadeByNewer;

/// What `status` found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StatusOutcome {
    /// What all outcomes begin with.
    #[serde(flatten)]
    pub header: Header,
    /// Every endpoint.
    pub endpoints: Vec<EndpointHealth>,
    /// Alarms that are raised, such as NOSPACE; none if the user may not ask.
    pub alarms: Option<Vec<String>>,
    /// All meta roots in this etcd; none if the user may not look.
    pub meta_roots: Option<Vec<String>>,
    /// Number of metadata keys: without sessions, lock and history.
    pub keys: u64,
    /// Number of living collections.
    pub collections: usize,
    /// Which layouts have keys there; none without any keys.
    pub layout: Option<Found>,
    /// The state in one line, with what is on record.
    pub found: String,
    /// What was done to the metadata by this tool, if anything.
    pub history: Option<History>,
    /// What a newer Milvus made before the migration.
    pub made_by_newer: MadeByNewer,
    /// Live components.
    pub sessions: Vec<Session>,
    /// The migration lock, if somebody holds it.
    pub lock: Option<Session>,
    /// Whether the backup file that is configured is the way back from here, in words.
    pub backup: Option<String>,
}

/// The outcome for people.
pub fn text(outcome: &StatusOutcome, details: bool) -> String {
    let mut text = Text::new(details);
    text.line("etcd");
    outcome.endpoints.iter().for_each(|endpoint| text.line(format!("  {}", endpoint_status(endpoint))));
    text.line(match outcome.alarms.as_deref() {
        None => "  alarms: this user may not ask".to_owned(),
        Some([]) => "  alarms: none".to_owned(),
        Some(alarms) => format!("  ALARMS: {}", alarms.join(", ")),
    });
    text.line(match outcome.meta_roots.as_deref() {
        None => "meta roots: this user may not look at all keys".to_owned(),
        Some([]) => "meta roots: nothing here looks like Milvus".to_owned(),
        Some(roots) => format!("meta roots: {}", roots.join(", ")),
    });
    text.line(format!(
        "{}: {} metadata keys, {} collection(s)",
        outcome.header.meta_root.as_deref().unwrap_or_default(),
        thousands(outcome.keys),
        outcome.collections
    ));
    text.line(format!("state: {}", outcome.found));
    text.list("what was made there", outcome.made_by_newer.by_name().into_iter());
    text.line(format!("live Milvus components: {}", outcome.sessions.len()));
    outcome.sessions.iter().for_each(|session| text.line(format!("  {session}")));
    text.line(match &outcome.lock {
        None => "migration lock: free".to_owned(),
        Some(lock) => format!("migration lock: held by {lock}"),
    });
    if let Some(backup) = &outcome.backup {
        text.line(format!("backup: {backup}"));
    }
    if let Some(next) = &outcome.header.next {
        text.line(format!("next: {}", next.text));
    }
    text.finish()
}

fn endpoint_status(endpoint: &EndpointHealth) -> String {
    if let Some(problem) = &endpoint.problem {
        return format!("{}: NOT reachable: {problem}", endpoint.endpoint);
    }
    let quota =
        endpoint.quota_bytes.map_or_else(|| "unknown quota".to_owned(), |quota| format!("quota {}", bytes(quota)));
    format!(
        "{}: etcd {}{}, database {} ({} in use), {quota}",
        endpoint.endpoint,
        endpoint.version.as_deref().unwrap_or("of unknown version"),
        if endpoint.is_leader { ", leader" } else { "" },
        bytes(endpoint.db_bytes.unwrap_or_default()),
        bytes(endpoint.db_bytes_in_use.unwrap_or_default())
    )
}
