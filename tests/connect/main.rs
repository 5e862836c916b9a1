//! Connecting to real etcds: what works, and what the user is told when it does not.

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod endpoints;
mod login;
mod reading;
mod tls;

use std::time::Duration;

use common::{Certs, Etcd, Identity, block_on};
use meta_migration::config::{Auth, Endpoint, EtcdConfig, TlsConfig, TlsVersion};
use meta_migration::etcd::{self, Cause, ConnectError};

/// A configuration with short patience.
fn config<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> EtcdConfig {
    let endpoint = |uri: String| Endpoint { tls: uri.starts_with("https"), uri };
    EtcdConfig {
        endpoints: endpoints.into_iter().map(|uri| endpoint(uri.into())).collect(),
        request_timeout: Duration::from_secs(1),
        tls: None,
        auth: None,
    }
}

fn config_for(etcd: &Etcd) -> EtcdConfig {
    config([etcd.endpoint()])
}

fn with_login(mut config: EtcdConfig, user: &str, password: &str) -> EtcdConfig {
    config.auth = Some(Auth { user: user.to_owned(), password: password.to_owned().into() });
    config
}

/// With the CA of `certs`, and a client certificate if there is one.
fn with_tls(mut config: EtcdConfig, certs: &Certs, client: Option<Identity>) -> EtcdConfig {
    let (cert, key) = client.map(|client| (client.cert, client.key)).unzip();
    config.tls = Some(TlsConfig { ca: Some(certs.ca()), cert, key, min_version: TlsVersion::V1_2 });
    config
}

fn connect(config: &EtcdConfig) -> etcd::Etcd {
    block_on(etcd::Etcd::connect(config)).unwrap_or_else(|error| panic!("{error}"))
}

fn connect_error(config: &EtcdConfig) -> ConnectError {
    match block_on(etcd::Etcd::connect(config)) {
        Ok(_) => panic!("connected, against expectation"),
        Err(error) => error,
    }
}

/// Why the connection fails, with one endpoint.
fn cause(config: &EtcdConfig) -> Cause {
    match connect_error(config) {
        ConnectError::NoAnswer { mut endpoints } if endpoints.len() == 1 => endpoints.remove(0).cause,
        other => panic!("{other:?}"),
    }
}
