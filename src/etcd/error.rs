//! What can go wrong, told so that the reader knows what to do.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};

use super::Cause;
use super::link::RequestFailure;

/// An endpoint and why it does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointCause {
    /// The endpoint, as `scheme://host:port`.
    pub endpoint: String,
    /// What is wrong with it.
    pub cause: Cause,
}

/// No connection to etcd could be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The configuration has no endpoint.
    #[error("cannot connect to etcd: etcd.endpoints is empty")]
    NoEndpoints,
    /// A certificate or key file is of no use.
    #[error("cannot set up TLS for etcd: {setting}: the file {} is of no use: {problem}", path.display())]
    File {
        /// The key in the configuration file.
        setting: &'static str,
        /// The file that it names.
        path: PathBuf,
        /// What is wrong with the file.
        problem: String,
    },
    /// A client certificate without its key, or the reverse.
    #[error("cannot set up TLS for etcd: {given} is set but {missing} is not: set both, or neither")]
    HalfIdentity {
        /// The key that is set.
        given: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// Neither the configuration nor the machine has a CA.
    #[error(
        "cannot set up TLS for etcd: this machine has no CA certificates: set etcd.ssl.tlsCACert to the file of etcd's CA"
    )]
    NoCa,
    /// Anything else with our side of TLS.
    #[error("cannot set up TLS for etcd: {0}")]
    Tls(String),
    /// No endpoint works, each for its own reason.
    #[error("cannot connect to etcd{}", list(endpoints))]
    NoAnswer {
        /// Those of which the cause is known; all of them, unless one was a definite no.
        endpoints: Vec<EndpointCause>,
    },
}

/// A request to etcd failed for good.
#[derive(Debug, Error)]
pub enum EtcdError {
    /// No endpoint answered, although each was asked repeatedly.
    #[error("cannot {what}, though tried for {:.0} s{}", tried.as_secs_f64(), list(endpoints))]
    Unreachable {
        /// What was attempted.
        what: String,
        /// For how long.
        tried: Duration,
        /// What is wrong with each endpoint that was asked.
        endpoints: Vec<EndpointCause>,
    },
    /// The user lacks a right.
    #[error(
        "cannot {what} on {endpoint}: etcd denies it to {}: give a role of this user that right on those keys \
         (`etcdctl role grant-permission <role> readwrite <key> --prefix`)",
        user_name(user.as_deref())
    )]
    PermissionDenied {
        /// What was attempted.
        what: String,
        /// On which endpoint.
        endpoint: String,
        /// The user that we are logged in as.
        user: Option<String>,
    },
    /// The login is refused: [`Cause::WrongPassword`] or [`Cause::UserMissing`].
    #[error("cannot {what} on {endpoint}: {cause}")]
    Unauthenticated {
        /// What was attempted.
        what: String,
        /// On which endpoint.
        endpoint: String,
        /// Why.
        cause: Cause,
    },
    /// The revision to read from is gone.
    #[error(
        "cannot {what} on {endpoint}: etcd has compacted this revision in the meantime: run again; if it comes again, \
         turn off whatever compacts etcd so often (--auto-compaction-retention, a cron job) meanwhile"
    )]
    Compacted {
        /// What was attempted.
        what: String,
        /// On which endpoint.
        endpoint: String,
    },
    /// More operations in one transaction than etcd takes.
    #[error("cannot {what} on {endpoint}: too many operations in one transaction: raise --max-txn-ops of etcd")]
    TooManyOps {
        /// What was attempted.
        what: String,
        /// On which endpoint.
        endpoint: String,
    },
    /// The request is bigger than etcd takes.
    #[error("cannot {what} on {endpoint}: the request is too large: raise --max-request-bytes of etcd ({problem})")]
    RequestTooLarge {
        /// What was attempted.
        what: String,
        /// On which endpoint.
        endpoint: String,
        /// The server's words, with sizes when it tells them.
        problem: String,
    },
    /// The answer is bigger than we take.
    #[error("cannot {what} on {endpoint}: the answer is too large: ask for less at once ({problem})")]
    ResponseTooLarge {
        /// What was attempted.
        what: String,
        /// On which endpoint.
        endpoint: String,
        /// The sizes.
        problem: String,
    },
    /// etcd takes no more writes because its quota is used up.
    #[error(
        "cannot {what} on {endpoint}: the space quota of etcd is used up. Make room: {}; or raise --quota-backend-bytes of etcd. Then \
         `etcdctl alarm disarm`, and run again",
        make_room(*.revision)
    )]
    NoSpace {
        /// What was attempted.
        what: String,
        /// On which endpoint.
        endpoint: String,
        /// The revision that etcd is at, if it still says so.
        revision: Option<i64>,
    },
    /// The lease has expired or was revoked.
    #[error("cannot {what} on {endpoint}: the lease has expired or was revoked")]
    LeaseNotFound {
        /// What was attempted.
        what: String,
        /// On which endpoint.
        endpoint: String,
    },
    /// Anything else, in the words of etcd.
    #[error("cannot {what} on {endpoint}: {problem}")]
    Other {
        /// What was attempted.
        what: String,
        /// On which endpoint.
        endpoint: String,
        /// What etcd says.
        problem: String,
    },
}

/// What to do about a failed request.
pub(super) enum Retry {
    /// It may pass: again, elsewhere.
    Again(RequestFailure),
    /// Users or rights were changed in etcd since the login: again, after a new login.
    LogIn(RequestFailure),
    /// It will not pass.
    Final(EtcdError),
}

/// What was attempted, by whom; for the messages.
pub(super) struct Attempt<'a> {
    pub(super) what: &'a str,
    pub(super) endpoint: &'a str,
    pub(super) user: Option<&'a str>,
}

impl Attempt<'_> {
    pub(super) fn judge(&self, error: etcd_client::Error) -> Retry {
        use etcd_client::Error::{GRpcStatus, IoError, TransportError};
        if !matches!(error, GRpcStatus(_) | IoError(_) | TransportError(_)) {
            return Retry::Final(self.other(error.to_string()));
        }
        match RequestFailure::of(error) {
            RequestFailure::Answer(status) => self.judge_answer(status),
            failure => Retry::Again(failure),
        }
    }

    /// The texts are those of etcd's `api/v3rpc/rpctypes/error.go`; the codes alone are too coarse.
    fn judge_answer(&self, status: Status) -> Retry {
        let says = |text: &str| status.message().contains(text);
        let (what, endpoint) = (self.what.to_owned(), self.endpoint.to_owned());
        let problem = status.message().to_owned();
        Retry::Final(match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
                return Retry::Again(RequestFailure::Answer(status));
            }
            Code::ResourceExhausted if says("too many requests") => {
                return Retry::Again(RequestFailure::Answer(status));
            }
            Code::Unknown if says("raft proposal dropped") => return Retry::Again(RequestFailure::Answer(status)),
            _ if says("rpc not supported for learner") => return Retry::Again(RequestFailure::Answer(status)),
            Code::InvalidArgument if says("revision of auth store is old") => {
                return Retry::LogIn(RequestFailure::Answer(status));
            }
            Code::Unauthenticated => return Retry::LogIn(RequestFailure::Answer(status)),
            Code::InvalidArgument if says("authentication failed") || says("user name is empty") => {
                EtcdError::Unauthenticated { what, endpoint, cause: Cause::of_answer(&status, self.user) }
            }
            Code::PermissionDenied => {
                EtcdError::PermissionDenied { what, endpoint, user: self.user.map(str::to_owned) }
            }
            Code::OutOfRange if says("compacted") => EtcdError::Compacted { what, endpoint },
            Code::InvalidArgument if says("too many operations") => EtcdError::TooManyOps { what, endpoint },
            Code::InvalidArgument if says("request is too large") => {
                EtcdError::RequestTooLarge { what, endpoint, problem }
            }
            Code::ResourceExhausted if says("received message larger") => {
                EtcdError::RequestTooLarge { what, endpoint, problem }
            }
            Code::ResourceExhausted if says("send message larger") => {
                EtcdError::ResponseTooLarge { what, endpoint, problem }
            }
            Code::OutOfRange if says("decoded message length too large") => {
                EtcdError::ResponseTooLarge { what, endpoint, problem }
            }
            Code::ResourceExhausted if says("space exceeded") => EtcdError::NoSpace { what, endpoint, revision: None },
            Code::NotFound if says("lease not found") => EtcdError::LeaseNotFound { what, endpoint },
            code => self.other(format!("{problem} ({code:?})")),
        })
    }

    fn other(&self, problem: String) -> EtcdError {
        EtcdError::Other { what: self.what.to_owned(), endpoint: self.endpoint.to_owned(), problem }
    }
}

fn user_name(user: Option<&str>) -> String {
    user.map_or_else(|| "clients without a user".to_owned(), |user| format!("user {user:?}"))
}

/// The commands that free what earlier revisions take in etcd, as they can be typed where the revision is known.
pub fn make_room(revision: Option<i64>) -> String {
    let revision = revision.map_or_else(|| "REVISION".to_owned(), |revision| revision.to_string());
    format!(
        "`etcdctl compact --physical {revision}`, then `etcdctl defrag --cluster` (etcd 3.4 and later; one member after the other), with \
         --endpoints and the login as for any etcdctl"
    )
}

/// One endpoint goes on the same line, several one below the other; those of which the same is wrong go together.
fn list(endpoints: &[EndpointCause]) -> String {
    let mut causes: Vec<(Vec<&str>, String)> = Vec::new();
    for one in endpoints {
        let cause = one.cause.to_string();
        match causes.iter_mut().find(|(_, known)| *known == cause) {
            Some((names, _)) => names.push(&one.endpoint),
            None => causes.push((vec![&one.endpoint], cause)),
        }
    }
    match causes.as_slice() {
        [(names, cause)] => format!(" at {}: {cause}", names.join(", ")),
        many => many.iter().fold("; the endpoints:".to_owned(), |text, (names, cause)| {
            format!("{text}\n  {}: {cause}", names.join(", "))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(code: Code, text: &str) -> Retry {
        let attempt = Attempt { what: "read", endpoint: "http://e:2379", user: Some("milvus") };
        attempt.judge(etcd_client::Error::GRpcStatus(Status::new(code, text)))
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for (code, text) in [
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "etcdserver: no leader"),
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (Code::ResourceExhausted, "etcdserver: too many requests"),
            (Code::Unknown, "raft proposal dropped"),
            (Code::FailedPrecondition, "etcdserver: rpc not supported for learner"),
        ] {
            assert!(matches!(judge(code, text), Retry::Again(RequestFailure::Answer(_))), "{text}");
        }
    }

    #[test]
    fn an_old_login_is_renewed() {
        for (code, text) in [
            (Code::Unauthenticated, "etcdserver: invalid auth token"),
            (Code::InvalidArgument, "etcdserver: revision of auth store is old"),
        ] {
            assert!(matches!(judge(code, text), Retry::LogIn(_)), "{text}");
        }
    }

    #[test]
    fn what_is_unknown_is_told_in_the_words_of_etcd() {
        let Retry::Final(error) = judge(Code::DataLoss, "etcdserver: corrupt cluster") else { panic!() };
        assert_eq!(error.to_string(), "cannot read on http://e:2379: etcdserver: corrupt cluster (DataLoss)");
    }
}
