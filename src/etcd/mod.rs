//! Connecting to etcd and reading it; knows nothing of Milvus.
//!
//! There is one client per endpoint, and the failover between them is ours ([`Etcd::call`]): the balancer of a common
//! gRPC channel hides which endpoint failed and why, and people who mistype an endpoint, a certificate or a password
//! need to be told exactly that. When an endpoint does not work, `probe` asks it again, layer by layer, for the
//! [`Cause`].

mod call;
mod cause;
mod certificates;
mod changes;
mod connector;
mod entry;
mod error;
pub mod health;
mod link;
pub mod members;
mod probe;
pub mod saved;
mod snapshot;
mod trouble;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

pub use cause::Cause;
pub use changes::{Changes, Ranges};
pub use entry::{Entry, prefix_end};
pub use error::{ConnectError, EndpointCause, EtcdError, make_room};
pub use snapshot::{ReadOptions, Snapshot};

use crate::config::EtcdConfig;
use call::Pauses;
use link::Link;
use trouble::Trouble;

/// A connection to one etcd cluster, through one or several endpoints. Cheap to clone.
#[derive(Clone)]
pub struct Etcd {
    shared: Arc<Shared>,
}

struct Shared {
    links: Vec<Link>,
    /// The link that requests go through, until it fails.
    current: AtomicUsize,
    request_timeout: Duration,
    user: Option<String>,
    server: OnceLock<Server>,
    trouble: Trouble,
}

/// What the server tells about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Which cluster this is: all endpoints must lead to the same one.
    pub cluster_id: u64,
    /// The version of etcd, like `3.5.1`.
    pub version: String,
}

impl Etcd {
    /// Connects through the first endpoint that answers a linearizable read; all are tried at the same time.
    ///
    /// Takes about `request_timeout` at most, and three of them where a cluster without a leader may still elect one. The other
    /// endpoints are connected when the first one fails.
    ///
    /// # Errors
    /// A certificate or key file is of no use, or no endpoint answers; then the error has the cause for each of them.
    pub async fn connect(config: &EtcdConfig) -> Result<Self, ConnectError> {
        let links = link::all(config)?;
        let etcd = Self {
            shared: Arc::new(Shared {
                links,
                current: AtomicUsize::new(0),
                request_timeout: config.request_timeout,
                user: config.auth.as_ref().map(|auth| auth.user.clone()),
                server: OnceLock::new(),
                trouble: Trouble::default(),
            }),
        };
        etcd.connect_first().await?;
        Ok(etcd)
    }

    async fn connect_first(&self) -> Result<(), ConnectError> {
        let links = &self.shared.links;
        let mut attempts: FuturesUnordered<_> =
            links.iter().enumerate().map(|(index, link)| async move { (index, self.patiently(link).await) }).collect();
        let mut causes = Vec::new();
        while let Some((index, outcome)) = attempts.next().await {
            let Err(cause) = outcome else {
                self.shared.current.store(index, Ordering::Relaxed);
                self.shared.trouble.is_over();
                return Ok(());
            };
            let definite = cause.is_definite();
            causes.push((index, EndpointCause { endpoint: links[index].name().to_owned(), cause }));
            if definite {
                break;
            }
        }
        causes.sort_by_key(|(index, _)| *index);
        Err(ConnectError::NoAnswer { endpoints: causes.into_iter().map(|(_, cause)| cause).collect() })
    }

    /// As [`Etcd::connection`], again and again while the cause may pass: an election, an answer cut off.
    async fn patiently(&self, link: &Link) -> Result<etcd_client::Client, Cause> {
        let mut pauses = Pauses::new(self.shared.request_timeout);
        loop {
            let cause = match self.connection(link).await {
                Err(cause) if cause.may_pass() => cause,
                outcome => return outcome,
            };
            let Some(pause) = pauses.next() else { return Err(cause) };
            self.shared.trouble.begins(&format!("cannot connect to etcd at {}: {cause}", link.name()));
            tokio::time::sleep(pause).await;
        }
    }

    /// What the server said about itself when the connection was made; `None` if it did not want to.
    pub fn server(&self) -> Option<&Server> {
        self.shared.server.get()
    }

    /// The endpoint that the next request goes to.
    pub fn endpoint(&self) -> &str {
        self.link().1.name()
    }

    fn link(&self) -> (usize, &Link) {
        let index = self.shared.current.load(Ordering::Relaxed) % self.shared.links.len();
        (index, &self.shared.links[index])
    }

    /// The client behind a link, connected now if it was not yet.
    ///
    /// An endpoint of another cluster is refused: a failover must never carry half of a migration elsewhere.
    async fn connection(&self, link: &Link) -> Result<etcd_client::Client, Cause> {
        let (client, server) = link.connection().await?;
        if let Some(server) = server {
            let known = self.shared.server.get_or_init(|| server.clone());
            if known.cluster_id != server.cluster_id {
                return Err(Cause::OtherCluster { expected: known.cluster_id, found: server.cluster_id });
            }
        }
        Ok(client)
    }
}

/// Does not show the configuration: it holds a password.
impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Etcd")
            .field("endpoint", &self.endpoint())
            .field("server", &self.server())
            .finish_non_exhaustive()
    }
}
