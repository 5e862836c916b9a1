//! Live sessions, the migration lock, and the fence made of both.
//!
//! Looking for sessions once is not enough: a Milvus pod can come up a second later. So every write transaction carries compares
//! that hold only while no component is registered and our lock is still ours; etcd itself refuses what comes too late.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::amounts::many;
use crate::etcd::{Entry, Etcd, EtcdError, prefix_end};
use crate::layout::keys::{MIGRATION_SESSION, SESSION_ID_COUNTER, SESSIONS, printable};

/// How long the lock outlives a killed process. Long enough for an etcd election, short enough for a retried pod.
const LEASE_SECONDS: i64 = 30;
/// How often the lease is renewed.
const RENEWAL: Duration = Duration::from_secs(5);
/// How often the lock is tried for while sessions come and go under our eyes.
const ATTEMPTS: usize = 3;

/// A registered component, as its session key tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Session {
    /// The whole key.
    pub key: String,
    /// Role, such as `rootcoord`.
    pub role: String,
    /// Server ID, if the value tells one.
    pub server_id: Option<i64>,
    /// Address, if the value tells one.
    pub address: Option<String>,
    /// Seconds until the session ends unless it is renewed; `None` if it has no lease, or an expired one.
    pub seconds_left: Option<i64>,
    /// Whether the key has a lease at all.
    pub leased: bool,
}

/// Why nothing may be written.
#[derive(Debug, Error)]
pub enum GuardError {
    /// Components are alive, or keys say so.
    #[error("{}", sessions_text(.0))]
    Sessions(Vec<Session>),
    /// Another migration holds the lock.
    #[error("{}", locked_text(.0))]
    Locked(Session),
    /// The lock was ours and is not any more.
    #[error(
        "our migration lock is gone: this process was stopped or cut off from etcd for longer than {LEASE_SECONDS} s, or somebody \
         removed the key {key}. Nothing was written after that. Run again: it goes on where this run ended"
    )]
    LockLost {
        /// The key of the lock.
        key: String,
    },
    /// etcd did not answer.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
}

/// The migration lock, held as long as this lives and its lease gets renewed.
#[derive(Debug)]
pub struct Guard {
    etcd: Etcd,
    /// Meta root with its slash.
    root: String,
    lease: i64,
    /// Create revision of the lock: no other lock has it.
    revision: i64,
    renewal: Renewal,
}

impl Guard {
    /// Takes the lock, if no component is registered under the meta root `root` (with its slash) and nobody else holds the lock.
    ///
    /// # Errors
    /// A component is registered, the lock is held, or etcd does not answer.
    pub async fn acquire(etcd: &Etcd, root: &str) -> Result<Self, GuardError> {
        for _ in 1..ATTEMPTS {
            match Self::try_acquire(etcd, root).await {
                // The lease ended before it was ever used: etcd, or this machine, stood still for longer. Nothing was held yet.
                Err(GuardError::Etcd(EtcdError::LeaseNotFound { .. })) => {}
                outcome => return outcome,
            }
        }
        Self::try_acquire(etcd, root).await
    }

    async fn try_acquire(etcd: &Etcd, root: &str) -> Result<Self, GuardError> {
        let lease = etcd
            .call("get a lease for the migration lock", async |mut client| {
                Ok(client.lease_grant(LEASE_SECONDS, None).await?.id())
            })
            .await?;
        match Self::lock(etcd, root, lease).await {
            Ok(revision) => {
                let renewal = Renewal::begin(etcd.clone(), lease);
                Ok(Self { etcd: etcd.clone(), root: root.to_owned(), lease, revision, renewal })
            }
            Err(error) => {
                revoke(etcd, lease).await;
                Err(error)
            }
        }
    }

    /// Puts the lock, and returns its create revision.
    async fn lock(etcd: &Etcd, root: &str, lease: i64) -> Result<i64, GuardError> {
        let key = format!("{root}{MIGRATION_SESSION}");
        for _ in 0..ATTEMPTS {
            let mut compares = no_sessions(root);
            compares.push(Compare::create_revision(key.clone(), CompareOp::Equal, 0));
            let put = TxnOp::put(key.clone(), lock_value(), Some(PutOptions::new().with_lease(lease)));
            let txn = Txn::new().when(compares).and_then([put]);
            etcd.kv("take the migration lock", async |mut kv| kv.txn(txn.clone()).await).await?;
            // Asked afterwards in any case: the answer to a transaction that was applied may have been lost, and its repetition refused.
            let lock = etcd.kv("look at the migration lock", async |mut kv| kv.get(key.clone(), None).await).await?;
            match lock.kvs().first() {
                Some(lock) if lock.lease() == lease => return Ok(lock.create_revision()),
                Some(_) => {
                    if let Some(holder) = sessions(etcd, root).await?.into_iter().find(|session| session.key == key) {
                        return Err(GuardError::Locked(holder));
                    }
                }
                None => components(etcd, root).await?,
            }
        }
        Err(GuardError::LockLost { key })
    }

    /// Compares that hold only while no component is registered and the lock is ours. Every write transaction carries them.
    pub fn fence(&self) -> Vec<Compare> {
        let mut compares = no_sessions(&self.root);
        compares.push(Compare::create_revision(self.lock_key(), CompareOp::Equal, self.revision));
        compares
    }

    /// Whether the renewal of the lease has failed for good. The fence finds out in any case; this saves the attempt.
    pub fn is_lost(&self) -> bool {
        self.renewal.failed.load(Ordering::Relaxed)
    }

    /// Makes sure that the fence still holds.
    ///
    /// # Errors
    /// It does not: a component is registered, or the lock is gone.
    pub async fn check(&self) -> Result<(), GuardError> {
        let txn = Txn::new().when(self.fence());
        let answer = self.etcd.kv("check the migration lock", async |mut kv| kv.txn(txn.clone()).await).await?;
        if answer.succeeded() { Ok(()) } else { self.explain().await }
    }

    /// Finds out why the fence refused.
    ///
    /// # Errors
    /// Always, unless the reason went away in the meantime.
    pub async fn explain(&self) -> Result<(), GuardError> {
        components(&self.etcd, &self.root).await?;
        let key = self.lock_key();
        let lock = self.etcd.get(key.clone()).await?;
        if lock.is_some_and(|lock| lock.lease == self.lease) { Ok(()) } else { Err(GuardError::LockLost { key }) }
    }

    /// Gives the lock back.
    pub async fn release(self) {
        drop(self.renewal);
        revoke(&self.etcd, self.lease).await;
    }

    fn lock_key(&self) -> String {
        format!("{}{MIGRATION_SESSION}", self.root)
    }
}

/// All sessions under the meta root, the migration lock among them, the counter not.
///
/// # Errors
/// etcd does not answer.
pub async fn sessions(etcd: &Etcd, root: &str) -> Result<Vec<Session>, EtcdError> {
    let counter = format!("{root}{SESSION_ID_COUNTER}");
    let mut sessions = Vec::new();
    for entry in etcd.get_range(format!("{root}{SESSIONS}")).await? {
        if entry.key != counter.as_bytes() {
            sessions.push(Session::read(etcd, root, &entry).await);
        }
    }
    Ok(sessions)
}

/// The components that are registered under the meta root, and the migration lock, if somebody holds it.
///
/// # Errors
/// etcd does not answer.
pub async fn components_and_lock(etcd: &Etcd, root: &str) -> Result<(Vec<Session>, Option<Session>), EtcdError> {
    let lock = format!("{root}{MIGRATION_SESSION}");
    let (mut locks, components): (Vec<_>, Vec<_>) =
        sessions(etcd, root).await?.into_iter().partition(|session| session.key == lock);
    Ok((components, locks.pop()))
}

/// Fails if any component but the migration itself is registered.
async fn components(etcd: &Etcd, root: &str) -> Result<(), GuardError> {
    let (components, _) = components_and_lock(etcd, root).await?;
    if components.is_empty() { Ok(()) } else { Err(GuardError::Sessions(components)) }
}

/// Compares that hold while no key is under `session/` but the counter and the migration lock.
fn no_sessions(root: &str) -> Vec<Compare> {
    let sessions = format!("{root}{SESSIONS}").into_bytes();
    let counter = format!("{root}{SESSION_ID_COUNTER}").into_bytes();
    let lock = format!("{root}{MIGRATION_SESSION}").into_bytes();
    let after = |key: &[u8]| [key, &[0]].concat();
    let ranges =
        [(sessions.clone(), counter.clone()), (after(&counter), lock.clone()), (after(&lock), prefix_end(&sessions))];
    ranges
        .into_iter()
        .map(|(start, end)| Compare::create_revision(start, CompareOp::Equal, 0).with_range(end))
        .collect()
}

/// Compares as long as those of a fence, for trying out how large a transaction etcd takes; no lock is needed.
pub fn fence_like(root: &str) -> Vec<Compare> {
    let mut compares = no_sessions(root);
    compares.push(Compare::create_revision(format!("{root}{MIGRATION_SESSION}"), CompareOp::Equal, i64::MAX));
    compares
}

/// What the lock tells about us, in the shape of every Milvus session.
fn lock_value() -> String {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    serde_json::json!({
        "ServerID": 0,
        "ServerName": "migration",
        "Address": format!("{host}:{}", std::process::id()),
        "Exclusive": true,
        "TriggerKill": true,
        "Version": env!("CARGO_PKG_VERSION"),
    })
    .to_string()
}

/// Keeps a lease alive until it is dropped. In a thread of its own, so that no long computation ever delays it.
#[derive(Debug)]
struct Renewal {
    failed: Arc<AtomicBool>,
    /// Ends the thread when it is dropped.
    _alive: oneshot::Sender<()>,
}

impl Renewal {
    fn begin(etcd: Etcd, lease: i64) -> Self {
        let failed = Arc::new(AtomicBool::new(false));
        let (alive, mut ended) = oneshot::channel();
        let (runtime, flag) = (Handle::current(), Arc::clone(&failed));
        std::thread::spawn(move || {
            runtime.block_on(async {
                while tokio::time::timeout(RENEWAL, &mut ended).await.is_err() {
                    if !renew(&etcd, lease).await {
                        return flag.store(true, Ordering::Relaxed);
                    }
                }
            });
        });
        Self { failed, _alive: alive }
    }
}

/// Renews a lease once; `false` if there is nothing left to renew.
async fn renew(etcd: &Etcd, lease: i64) -> bool {
    let renewed = etcd
        .call("renew the migration lock", async |mut client| {
            let (mut keeper, mut answers) = client.lease_keep_alive(lease).await?;
            keeper.keep_alive().await?;
            Ok(answers.message().await?.is_some_and(|answer| answer.ttl() > 0))
        })
        .await;
    !matches!(renewed, Ok(false) | Err(EtcdError::LeaseNotFound { .. }))
}

/// Gives a lease back. If that fails, the lease ends by itself a little later.
async fn revoke(etcd: &Etcd, lease: i64) {
    let revoked = etcd.call("give the migration lock back", async |mut client| client.lease_revoke(lease).await).await;
    match revoked {
        // Gone already: it ran out, or the answer to an earlier attempt was lost.
        Ok(_) | Err(EtcdError::LeaseNotFound { .. }) => {}
        Err(error) => tracing::warn!("{error}; it ends by itself within {LEASE_SECONDS} s"),
    }
}

/// The fields of a session's JSON value that are shown.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SessionValue {
    #[serde(rename = "ServerID")]
    server_id: Option<i64>,
    server_name: Option<String>,
    address: Option<String>,
}

impl Session {
    async fn read(etcd: &Etcd, root: &str, entry: &Entry) -> Self {
        let value: SessionValue = serde_json::from_slice(&entry.value).unwrap_or_default();
        let key = printable(&entry.key);
        let from_key = key.strip_prefix(root).and_then(|key| key.strip_prefix(SESSIONS)).unwrap_or(&key);
        let role = value.server_name.filter(|name| !name.is_empty()).unwrap_or_else(|| from_key.to_owned());
        let leased = entry.lease != 0;
        let seconds_left = if leased { time_to_live(etcd, entry.lease).await } else { None };
        Self { role, server_id: value.server_id, address: value.address, seconds_left, leased, key }
    }
}

async fn time_to_live(etcd: &Etcd, lease: i64) -> Option<i64> {
    let answer = etcd
        .call("look at the lease of a session", async |mut client| client.lease_time_to_live(lease, None).await)
        .await
        .ok()?;
    (answer.ttl() >= 0).then(|| answer.ttl())
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.role)?;
        let id = self.server_id.map(|id| format!("server ID {id}"));
        let address = self.address.as_ref().map(|address| format!("at {address}"));
        let lease = match (self.leased, self.seconds_left) {
            (false, _) => Some("without a lease".to_owned()),
            (true, Some(seconds)) => Some(format!("ends in {seconds} s unless it is renewed")),
            (true, None) => Some("about to end".to_owned()),
        };
        let details: Vec<String> = [id, address, lease].into_iter().flatten().collect();
        write!(f, " ({}), key {}", details.join(", "), self.key)
    }
}

fn sessions_text(sessions: &[Session]) -> String {
    let mut text =
        format!("{} still registered:", many(sessions.len(), "Milvus component is", "Milvus components are"));
    for session in sessions {
        text.push_str(&format!("\n  {session}"));
    }
    if sessions.iter().any(|session| session.leased) {
        text.push_str(
            "\nStop all components of this Milvus; a stopped one disappears within its lease time. Then run again.",
        );
    }
    for stale in sessions.iter().filter(|session| !session.leased) {
        text.push_str(&format!(
            "\n{} has no lease, so it never goes away by itself. If that component does not run, remove it: etcdctl del '{}'",
            stale.role, stale.key
        ));
    }
    text
}

fn locked_text(holder: &Session) -> String {
    let remedy = if holder.leased {
        "Wait until it has ended (a killed one disappears with its lease), then run again".to_owned()
    } else {
        format!(
            "It has no lease, so it never goes away by itself. If no migration runs, remove it: etcdctl del '{}'",
            holder.key
        )
    };
    format!("another migration is at work: {holder}. {remedy}.")
}
