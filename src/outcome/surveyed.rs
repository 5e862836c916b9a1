//! What `status` found.

use schemars::JsonSchema;
use serde::Serialize;

use super::Header;
use super::words::Text;
use crate::amounts::{bytes, many};
use crate::etcd::health::EndpointHealth;
use crate::etcd::members::{MemberHealth, Members};
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
    /// The members of the cluster, as it knows them itself; none if the user may not ask.
    pub members: Option<Members>,
    /// Alarms that are raised, such as NOSPACE; none if the user may not ask.
    pub alarms: Option<Vec<String>>,
    /// All meta roots in this etcd; none if the user may not look.
    pub meta_roots: Option<Vec<String>>,
    /// The revision at which everything was read.
    pub revision: i64,
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
    /// The backup file that is configured.
    pub backup: Option<ConfiguredBackup>,
}

/// The backup file that is configured, and whether it is the way back from here.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ConfiguredBackup {
    /// Where it is, or is to be.
    pub path: String,
    /// Whether it is the way back from what is there now.
    pub is_way_back: bool,
    /// The same in words, with the reason.
    pub text: String,
}

/// The outcome for people.
pub fn text(outcome: &StatusOutcome, details: bool) -> String {
    let mut text = Text::new(details);
    let cluster_id = outcome.header.cluster_id.as_deref();
    text.line(cluster_id.map_or_else(|| "etcd".to_owned(), |id| format!("etcd cluster {id}")));
    outcome.endpoints.iter().for_each(|endpoint| text.line(format!("  {}", endpoint_status(endpoint))));
    if let Some(members) = &outcome.members {
        text.line(format!("  members: {}", members_in_words(members)));
        members.list.iter().filter_map(|member| unhealthy(members, member)).for_each(|line| text.line(line));
    }
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
        "{}: {}, {}",
        outcome.header.meta_root.as_deref().unwrap_or_default(),
        many(outcome.keys, "metadata key", "metadata keys"),
        many(outcome.collections, "collection", "collections")
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
        text.line(format!("backup: {}", backup.text));
    }
    if let Some((history, backup)) =
        outcome.history.as_ref().and_then(|history| Some((history, history.backup.as_ref()?)))
    {
        text.line(format!("backup on record: {backup}, as seen on {}", history.host));
    }
    text.line(format!("next: {}", outcome.header.next.text));
    text.finish()
}

/// How many there are and how they are, in one line.
fn members_in_words(members: &Members) -> String {
    let (all, healthy, compared) = (members.list.len(), members.healthy(), members.compared());
    let health = if healthy == all { "healthy".to_owned() } else { format!("{healthy} healthy") };
    let revision = members.hash_revision;
    let data = match compared {
        _ if members.differ() => format!("THEIR DATA DIFFER at revision {revision} (HashKV)"),
        0 if healthy > 0 => {
            "their data not compared: with users switched on etcd tells hashes to root alone (HashKV)".into()
        }
        0 | 1 => format!("hashes of {compared} known, so there is nothing to compare (HashKV)"),
        _ if compared == all => format!("all with the same data at revision {revision} (HashKV)"),
        _ => format!("{compared} with the same data at revision {revision} (HashKV)"),
    };
    if all == 1 { format!("1, {health}") } else { format!("{all}, {health}; {data}") }
}

/// What is to be said of a member beyond that.
fn unhealthy(members: &Members, member: &MemberHealth) -> Option<String> {
    let what = match (&member.problem, member.hash) {
        (Some(problem), _) => problem.clone(),
        (None, Some(hash)) if members.differ() => format!("hash {hash:08x}"),
        _ => return None,
    };
    Some(format!("    {}: {what}", member.shown()))
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
