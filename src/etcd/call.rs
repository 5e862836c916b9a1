//! Requests, repeated and carried to another endpoint while there is hope.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use etcd_client::{Client, KvClient};
use futures::future::join_all;

use super::error::{Attempt, Retry};
use super::link::{Link, RequestFailure};
use super::{EndpointCause, Etcd, EtcdError};

/// What one answer of etcd may hold; its own limit for a request (1.5 MiB) does not hold for answers.
pub(super) const LARGEST_RESPONSE: usize = 256 << 20;

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// However long a single attempt takes: a leader election deserves a second look.
const FEWEST_ATTEMPTS: usize = 3;

impl Etcd {
    /// Makes a request; `what` names it for messages, like `read the keys under "by-dev/meta"`.
    ///
    /// While the failure is one that may pass (no connection, no answer within the request timeout, no leader, too many
    /// requests), it is made again, on the next endpoint, for about three request timeouts. So `request` may run
    /// several times, and **a run that seemed to fail may have taken effect**: only make requests that can be repeated.
    ///
    /// # Errors
    /// Whatever will not pass at once, and [`EtcdError::Unreachable`] when the time is over.
    pub async fn call<T, F>(&self, what: &str, request: impl Fn(Client) -> F) -> Result<T, EtcdError>
    where
        // Not `AsyncFn`: with it, futures that call this are not `Send` (rust-lang/rust#154523).
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut tries = Tries::new(self);
        loop {
            let (index, link) = self.link();
            let failure = match self.attempt(link, what, &request).await {
                Ok(answer) => {
                    self.shared.trouble.is_over();
                    return Ok(answer);
                }
                Err(Retry::Final(error)) => return Err(self.completed(error, link).await),
                Err(Retry::LogIn(failure)) => failure,
                Err(Retry::Again(failure)) => {
                    self.rotate(index);
                    failure
                }
            };
            let brief = failure.brief();
            tries.failures[index] = Some(failure);
            let Some(pause) = tries.next_pause() else {
                return Err(self.give_up(what, tries).await);
            };
            self.shared.trouble.begins(&format!("cannot {what} on {}: {brief}", link.name()));
            tokio::time::sleep(pause).await;
        }
    }

    /// As [`Etcd::call`], for reads and transactions, with room for large answers.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn kv<T, F>(&self, what: &str, request: impl Fn(KvClient) -> F) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.call(what, |client| request(client.kv_client().max_decoding_message_size(LARGEST_RESPONSE))).await
    }

    /// What helps against a full etcd needs the revision, which etcd tells even then.
    async fn completed(&self, error: EtcdError, link: &Link) -> EtcdError {
        let EtcdError::NoSpace { what, endpoint, .. } = error else { return error };
        let status = async { self.connection(link).await.ok()?.status().await.ok() };
        let status = tokio::time::timeout(self.shared.request_timeout, status).await.ok().flatten();
        let revision = status.and_then(|status| Some(status.header()?.revision()));
        EtcdError::NoSpace { what, endpoint, revision }
    }

    async fn attempt<T, F>(&self, link: &Link, what: &str, request: &impl Fn(Client) -> F) -> Result<T, Retry>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let client = self.connection(link).await.map_err(|cause| {
            if cause.is_definite() {
                let (what, endpoint) = (what.to_owned(), link.name().to_owned());
                Retry::Final(EtcdError::Unauthenticated { what, endpoint, cause })
            } else {
                Retry::Again(RequestFailure::Explained(cause))
            }
        })?;
        let attempt = Attempt { what, endpoint: link.name(), user: self.shared.user.as_deref() };
        let outcome = tokio::time::timeout(self.shared.request_timeout, request(client.clone())).await;
        let verdict = match outcome {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => attempt.judge(error),
            Err(_) => Retry::Again(RequestFailure::TimedOut),
        };
        if matches!(verdict, Retry::LogIn(_)) {
            self.log_in_again(client, &attempt).await?;
        }
        Err(verdict)
    }

    async fn log_in_again(&self, client: Client, attempt: &Attempt<'_>) -> Result<(), Retry> {
        match tokio::time::timeout(self.shared.request_timeout, client.refresh_token()).await {
            Ok(login) => login.map_err(|error| attempt.judge(error)),
            Err(_) => Err(Retry::Again(RequestFailure::TimedOut)),
        }
    }

    /// Moves on from a failed link, unless another request has done so already.
    fn rotate(&self, failed: usize) {
        let next = (failed + 1) % self.shared.links.len();
        let _ = self.shared.current.compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn give_up(&self, what: &str, tries: Tries) -> EtcdError {
        let tried = tries.pauses.started.elapsed();
        let explained = self.shared.links.iter().zip(tries.failures).filter_map(|(link, failure)| {
            let failure = failure?;
            Some(async { EndpointCause { endpoint: link.name().to_owned(), cause: link.explain(failure).await } })
        });
        EtcdError::Unreachable { what: what.to_owned(), tried, endpoints: join_all(explained).await }
    }
}

/// How long to wait before each further attempt: longer and longer, for about three request timeouts in all.
pub(super) struct Pauses {
    started: Instant,
    until: Duration,
    pause: Duration,
}

impl Pauses {
    pub(super) fn new(request_timeout: Duration) -> Self {
        Self { started: Instant::now(), until: request_timeout * 3, pause: SHORTEST_PAUSE }
    }

    /// `None` when the time is over.
    pub(super) fn next(&mut self) -> Option<Duration> {
        (self.started.elapsed() + self.pause < self.until).then(|| self.longer())
    }

    fn longer(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// How often and how long a request has been tried.
struct Tries {
    pauses: Pauses,
    left: usize,
    /// The last failure of each link.
    failures: Vec<Option<RequestFailure>>,
}

impl Tries {
    fn new(etcd: &Etcd) -> Self {
        let links = etcd.shared.links.len();
        Self {
            pauses: Pauses::new(etcd.shared.request_timeout),
            left: FEWEST_ATTEMPTS.max(links),
            failures: (0..links).map(|_| None).collect(),
        }
    }

    /// How long to wait before the next attempt; `None` if there should be none.
    fn next_pause(&mut self) -> Option<Duration> {
        self.left = self.left.saturating_sub(1);
        if self.left > 0 { Some(self.pauses.longer()) } else { self.pauses.next() }
    }
}
