//! The way to one endpoint: the channel, the login, the first read.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{Channel, Client, ConnectOptions, GetOptions};
use tokio::sync::Mutex;
use tonic::{Code, Status, transport};

use super::certificates::Tls;
use super::connector;
use super::probe::{self, Target};
use super::{Cause, ConnectError, Server};
use crate::config::{Auth, Endpoint, EtcdConfig, TlsConfig, TlsVersion};

/// etcd closes connections that ping more often than every 5 s (its --grpc-keepalive-min-time), or without a request.
const PING_EVERY: Duration = Duration::from_secs(10);

/// One endpoint, connected when it is first needed.
pub(super) struct Link {
    endpoint: Endpoint,
    tls: Option<Arc<Tls>>,
    auth: Option<Auth>,
    timeout: Duration,
    state: Mutex<LinkState>,
}

#[derive(Default)]
struct LinkState {
    connection: Option<(Client, Option<Server>)>,
    /// When the last attempt to connect failed, and why.
    failed: Option<(Instant, Cause)>,
}

/// A failure that may pass, as it was seen; [`Link::explain`] finds the cause.
#[derive(Debug)]
pub(super) enum RequestFailure {
    /// The server itself says that it cannot answer now.
    Answer(Status),
    /// The connection failed.
    Transport(String),
    /// No answer came in time.
    TimedOut,
    /// The cause is known already.
    Explained(Cause),
}

/// One link for each endpoint of the configuration.
///
/// # Errors
/// There is no endpoint, or a certificate or key file is of no use.
pub(super) fn all(config: &EtcdConfig) -> Result<Vec<Link>, ConnectError> {
    if config.endpoints.is_empty() {
        return Err(ConnectError::NoEndpoints);
    }
    let tls = if config.endpoints.iter().any(|endpoint| endpoint.tls) {
        // https:// without a TLS section: as a browser would do it.
        let plain_https = TlsConfig { ca: None, cert: None, key: None, min_version: TlsVersion::V1_2 };
        Some(Arc::new(Tls::new(config.tls.as_ref().unwrap_or(&plain_https))?))
    } else {
        None
    };
    let link = |endpoint: &Endpoint| Link {
        endpoint: endpoint.clone(),
        tls: tls.clone().filter(|_| endpoint.tls),
        auth: config.auth.clone(),
        timeout: config.request_timeout,
        state: Mutex::default(),
    };
    Ok(config.endpoints.iter().map(link).collect())
}

impl Link {
    /// A link to another member of the cluster, with the same login and TLS; none if it wants TLS and there is none.
    pub(super) fn sibling(&self, url: &str) -> Option<Self> {
        let endpoint = Endpoint::parse(url, false).ok()?;
        let tls = self.tls.clone().filter(|_| endpoint.tls);
        let is_possible = !endpoint.tls || tls.is_some();
        let (auth, timeout) = (self.auth.clone(), self.timeout);
        is_possible.then(|| Self { endpoint, tls, auth, timeout, state: Mutex::default() })
    }

    pub(super) fn name(&self) -> &str {
        &self.endpoint.uri
    }

    /// The client, connected now if it was not yet, and what the server said about itself.
    pub(super) async fn connection(&self) -> Result<(Client, Option<Server>), Cause> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok(connection.clone());
        }
        // Another request has just tried in vain; with many at once, each would otherwise wait for all before it.
        if let Some((_, cause)) = state.failed.as_ref().filter(|(when, _)| *when >= asked) {
            return Err(cause.clone());
        }
        let failure = match tokio::time::timeout(self.timeout, self.open()).await {
            Ok(Ok(connection)) => return Ok(state.connection.insert(connection).clone()),
            Ok(Err(error)) => RequestFailure::of(error),
            Err(_) => RequestFailure::TimedOut,
        };
        let cause = self.explain(failure).await;
        state.failed = Some((Instant::now(), cause.clone()));
        Err(cause)
    }

    async fn open(&self) -> Result<(Client, Option<Server>), etcd_client::Error> {
        let client = self.log_in(self.channel().await?).await?;
        // Linearizable, so that a member without a quorum is found out now. Which key does not matter, nor whether we
        // may read it: etcd looks at permissions only after it has asked the leader.
        match client.kv_client().get("\0", Some(GetOptions::new().with_count_only())).await {
            Err(etcd_client::Error::GRpcStatus(status)) if status.code() == Code::PermissionDenied => {}
            other => drop(other?),
        }
        let status = client.maintenance_client().status().await.ok();
        let server = status.and_then(|status| {
            let cluster_id = status.header()?.cluster_id();
            Some(Server { cluster_id, version: status.version().to_owned() })
        });
        Ok((client, server))
    }

    async fn channel(&self) -> Result<transport::Channel, transport::Error> {
        let endpoint = transport::Endpoint::from_shared(self.endpoint.uri.clone())?
            .connect_timeout(self.timeout)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(self.timeout)
            .keep_alive_while_idle(false);
        match &self.tls {
            Some(tls) => connector::connect(&endpoint, &tls.config).await,
            None => endpoint.connect().await,
        }
    }

    async fn log_in(&self, channel: transport::Channel) -> Result<Client, etcd_client::Error> {
        let options = ConnectOptions::new().with_require_leader(true).with_auto_token_refresh(true);
        let Some(auth) = &self.auth else {
            return Client::from_channel(Channel::Tonic(channel), Some(options)).await;
        };
        let with_user = options.clone().with_user(&auth.user, auth.password.reveal());
        match Client::from_channel(Channel::Tonic(channel.clone()), Some(with_user)).await {
            // Whoever may do everything without a password may do it with one; etcdctl goes on in this case, too.
            Err(etcd_client::Error::GRpcStatus(status))
                if status.message().contains("authentication is not enabled") =>
            {
                tracing::warn!(
                    "a user is configured ({:?}), but authentication is not enabled in etcd at {}: going on without",
                    auth.user,
                    self.name()
                );
                Client::from_channel(Channel::Tonic(channel), Some(options)).await
            }
            other => other,
        }
    }

    /// What the endpoint serves at `path` over HTTP/1, if it does.
    pub(super) async fn get(&self, path: &'static str) -> Option<String> {
        let target = Target::new(&self.endpoint.uri, self.tls.clone(), self.timeout)?;
        tokio::task::spawn_blocking(move || target.get(path)).await.ok()?
    }

    /// Finds the cause of a failure; asks the endpoint itself where the failure does not tell.
    pub(super) async fn explain(&self, failure: RequestFailure) -> Cause {
        let otherwise = match failure {
            RequestFailure::Explained(cause) => return cause,
            RequestFailure::Answer(status) => {
                return Cause::of_answer(&status, self.auth.as_ref().map(|auth| auth.user.as_str()));
            }
            RequestFailure::Transport(problem) => Cause::Other(problem),
            RequestFailure::TimedOut => Cause::NoAnswer(self.timeout),
        };
        match Target::new(&self.endpoint.uri, self.tls.clone(), self.timeout) {
            Some(target) => probe::ask(target).await.unwrap_or(otherwise),
            None => otherwise,
        }
    }
}

impl RequestFailure {
    /// Tells answers of the server from failures of the connection.
    pub(super) fn of(error: etcd_client::Error) -> Self {
        match error {
            // Only a status that was made on our side has a source.
            etcd_client::Error::GRpcStatus(status) if status.source().is_none() => Self::Answer(status),
            etcd_client::Error::GRpcStatus(status) => Self::Transport(chain(&status)),
            etcd_client::Error::TransportError(error) => Self::Transport(chain(&error)),
            other => Self::Transport(other.to_string()),
        }
    }

    /// In a few words, for the log.
    pub(super) fn brief(&self) -> String {
        match self {
            Self::Answer(status) => status.message().to_owned(),
            Self::Transport(problem) => problem.clone(),
            Self::TimedOut => "no answer in time".to_owned(),
            Self::Explained(cause) => cause.to_string(),
        }
    }
}

/// The innermost sources say what really happened; the outer layers only say "transport error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut sources = Vec::new();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if text != "transport error" && sources.last() != Some(&text) {
            sources.push(text);
        }
        next = source.source();
    }
    if sources.is_empty() { error.to_string() } else { sources.join(": ") }
}
