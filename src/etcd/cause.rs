//! Why an endpoint does not work, in words for the person who configured it.

use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};

use crate::config::TlsVersion;

/// Why an endpoint does not work, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Cause {
    /// Nothing listens there.
    #[error(
        "connection refused: nothing listens on that port; check that etcd is running and that host and port are right \
         (inside a container, localhost is the container itself)"
    )]
    Refused,
    /// The host name has no address.
    #[error(
        "the host name {host:?} cannot be resolved ({problem}): check its spelling and the DNS (in Kubernetes, from \
         another namespace, it is <service>.<namespace>)"
    )]
    NameNotResolved {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        problem: String,
    },
    /// No answer to the attempt to connect.
    #[error(
        "no connection within {}: the host is down, or a firewall or network policy drops the packets",
        seconds(.0)
    )]
    ConnectTimedOut(Duration),
    /// The connection stands, and not a byte comes.
    #[error(
        "the connection is accepted but nothing is ever said: etcd hangs, or something else than etcd listens there; \
         look at its log"
    )]
    Silent,
    /// The server speaks, but does not answer the request.
    #[error(
        "no answer to a request within {}: etcd is overloaded, waits for its disk or has lost its quorum; look at its \
         log and at `etcdctl endpoint status --cluster`, or raise etcd.requestTimeout",
        seconds(.0)
    )]
    NoAnswer(Duration),
    /// The cluster cannot decide anything.
    #[error("the etcd cluster has no leader ({0}): more than half of its members must be running")]
    NoLeader(String),
    /// We speak TLS, the server does not.
    #[error("TLS is configured, but etcd speaks plain HTTP there: set etcd.ssl.enabled to false, or write http://")]
    SpeaksPlain,
    /// The server speaks TLS, we do not.
    #[error(
        "etcd demands TLS there: set etcd.ssl.enabled to true and etcd.ssl.tlsCACert to the file of its CA, or write \
         https://"
    )]
    SpeaksTls,
    /// The server's certificate leads to no CA that we trust.
    #[error(
        "the certificate of etcd is not signed by a CA that is trusted here: set etcd.ssl.tlsCACert to the file of the \
         CA that signed it ({0})"
    )]
    UnknownIssuer(String),
    /// The server's certificate is for another name.
    #[error(
        "the certificate of etcd is not valid for {expected}, only for {presented}: use one of these in etcd.endpoints, \
         or have a certificate issued with {expected} among its subject alternative names"
    )]
    WrongName {
        /// The host of the endpoint.
        expected: String,
        /// The names in the certificate.
        presented: String,
    },
    /// The server's certificate is refused for another reason, its validity period for example.
    #[error("the certificate of etcd is refused: {0}; have it issued again, and check the clock of this machine")]
    BadCertificate(String),
    /// The server wants to see a certificate of ours.
    #[error("etcd demands a client certificate: set etcd.ssl.tlsCert and etcd.ssl.tlsKey")]
    ClientCertDemanded,
    /// The server does not like our certificate.
    #[error(
        "etcd refuses the client certificate of etcd.ssl.tlsCert ({0}): it must be signed by the CA in etcd's \
         --trusted-ca-file, be in its validity period and be meant for client authentication"
    )]
    ClientCertRefused(String),
    /// The server speaks only older versions of TLS than we accept.
    #[error("etcd offers no TLS version from {} up: {}", version(*.0), older(*.0))]
    TlsTooOld(TlsVersion),
    /// The TLS handshake fails for a rarer reason.
    #[error("the TLS handshake fails: {0}")]
    Tls(String),
    /// Wrong user or password; etcd does not say which, on purpose.
    #[error("etcd knows no user {0:?} with this password: check etcd.auth.userName and etcd.auth.password")]
    WrongPassword(String),
    /// The server has authentication, we have no user.
    #[error(
        "authentication is enabled in etcd, but no user is configured: set etcd.auth.enabled to true, \
         etcd.auth.userName and etcd.auth.password"
    )]
    UserMissing,
    /// The endpoint belongs to another cluster than those used before.
    #[error(
        "it belongs to another etcd cluster ({found:x}) than the first endpoint that answered ({expected:x}): \
         etcd.endpoints must be members of one cluster"
    )]
    OtherCluster {
        /// The cluster of the endpoint that answered first.
        expected: u64,
        /// The cluster of this endpoint.
        found: u64,
    },
    /// Somebody answers, but not etcd.
    #[error("something answers there, but it is not etcd ({0}): check host and port (etcd's is usually 2379)")]
    NotEtcd(String),
    /// Whatever else, in the words of the layer that failed.
    #[error("{0}")]
    Other(String),
}

impl Cause {
    /// Whether every other endpoint of the same cluster would say the same, so that it is useless to wait for them.
    pub(super) fn is_definite(&self) -> bool {
        matches!(self, Self::WrongPassword(_) | Self::UserMissing)
    }

    /// Whether it may pass by itself within moments. What never answered has been waited for already, and what is wrong in
    /// the configuration stays wrong.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::NoLeader(_) | Self::Other(_))
    }

    /// The cause in an answer that came from a server, while connecting.
    pub(super) fn of_answer(status: &Status, user: Option<&str>) -> Self {
        let message = status.message();
        match status.code() {
            Code::InvalidArgument if message.contains("authentication failed") => {
                Self::WrongPassword(user.unwrap_or_default().to_owned())
            }
            Code::InvalidArgument if message.contains("user name is empty") => Self::UserMissing,
            Code::Unavailable if message.contains("leader") || message.contains("request timed out") => {
                Self::NoLeader(message.to_owned())
            }
            Code::Unimplemented => Self::NotEtcd(message.to_owned()),
            _ if message.contains("grpc-status header missing") => Self::NotEtcd(message.to_owned()),
            code => Self::Other(format!("{message} ({code:?})")),
        }
    }
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

fn version(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::V1_2 => "1.2",
        TlsVersion::V1_3 => "1.3",
    }
}

fn older(minimum: TlsVersion) -> &'static str {
    match minimum {
        TlsVersion::V1_2 => "it must be upgraded or its TLS settings changed, older versions are insecure",
        // github.com/etcd-io/etcd/issues/13506
        TlsVersion::V1_3 => {
            "set etcd.ssl.tlsMinVersion to 1.2 (etcd 3.5.0 to 3.5.7 have no newer one), or upgrade etcd"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_grpc_server_is_not_etcd() {
        for status in [
            Status::unimplemented("unknown service etcdserverpb.KV"),
            Status::unknown("grpc-status header missing, mapped from HTTP status code 404"),
        ] {
            assert!(matches!(Cause::of_answer(&status, None), Cause::NotEtcd(_)), "{status}");
        }
    }
}
