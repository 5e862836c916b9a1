//! Our side of TLS: the CA, the client certificate and the minimum version of the configuration.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::ConnectError;
use crate::config::{TlsConfig, TlsVersion};

static FROM_1_2: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
static FROM_1_3: [&SupportedProtocolVersion; 1] = [&version::TLS13];

/// What rustls needs, and what has to be known to explain its errors.
pub(super) struct Tls {
    pub(super) config: ClientConfig,
    pub(super) min_version: TlsVersion,
    pub(super) has_client_cert: bool,
    /// Which CAs are trusted, for people.
    pub(super) trusted: String,
}

impl Tls {
    /// Reads the files of the configuration.
    ///
    /// # Errors
    /// A file cannot be read or has something else in it, or there is no CA at all.
    pub(super) fn new(config: &TlsConfig) -> Result<Self, ConnectError> {
        Ok(Self {
            config: client_config(config)?,
            min_version: config.min_version,
            has_client_cert: config.cert.is_some(),
            trusted: match &config.ca {
                Some(path) => format!("trusted now: {}", path.display()),
                None => "trusted now: the CAs of this machine".to_owned(),
            },
        })
    }
}

fn client_config(config: &TlsConfig) -> Result<ClientConfig, ConnectError> {
    let versions: &[_] = match config.min_version {
        TlsVersion::V1_2 => &FROM_1_2,
        TlsVersion::V1_3 => &FROM_1_3,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .map_err(|error| ConnectError::Tls(error.to_string()))?
        .with_root_certificates(roots(config.ca.as_deref())?);
    match (&config.cert, &config.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = certificates(CERT, cert)?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| in_file(KEY, key, &error))?;
            builder.with_client_auth_cert(chain, private).map_err(|error| {
                file_error(CERT, cert, format!("it does not go with {KEY} {}: {error}", key.display()))
            })
        }
        (Some(_), None) => Err(ConnectError::HalfIdentity { given: CERT, missing: KEY }),
        (None, Some(_)) => Err(ConnectError::HalfIdentity { given: KEY, missing: CERT }),
    }
}

const CA: &str = "etcd.ssl.tlsCACert";
const CERT: &str = "etcd.ssl.tlsCert";
const KEY: &str = "etcd.ssl.tlsKey";

fn roots(ca: Option<&Path>) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() { Err(ConnectError::NoCa) } else { Ok(roots) };
    };
    for certificate in certificates(CA, path)? {
        roots.add(certificate).map_err(|error| file_error(CA, path, format!("no usable CA certificate: {error}")))?;
    }
    Ok(roots)
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| in_file(setting, path, &error))?;
    if found.is_empty() { Err(in_file(setting, path, &pem::Error::NoItemsFound)) } else { Ok(found) }
}

fn in_file(setting: &'static str, path: &Path, error: &pem::Error) -> ConnectError {
    let problem = match (error, setting) {
        (pem::Error::Io(error), _) => format!("it cannot be read: {error}"),
        (pem::Error::NoItemsFound, KEY) => "no private key in PEM format is in it (an encrypted one does not do: \
                                            decrypt it with `openssl pkey`)"
            .to_owned(),
        (pem::Error::NoItemsFound, _) => "no certificate in PEM format is in it".to_owned(),
        (other, _) => format!("it is not valid PEM: {other}"),
    };
    file_error(setting, path, problem)
}

fn file_error(setting: &'static str, path: &Path, problem: String) -> ConnectError {
    ConnectError::File { setting, path: path.to_owned(), problem }
}
