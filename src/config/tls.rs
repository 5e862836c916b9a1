//! TLS towards etcd.

use std::path::PathBuf;

use anyhow::Result;

use super::layers::Layers;
use super::source::{Setting, quoted};
use super::{Overrides, input_files};

/// Which certificates to trust and to show. All files exist and could be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificates of the authorities to trust, PEM; without it, those of the machine.
    pub ca: Option<PathBuf>,
    /// Our certificate, PEM; there exactly if `key` is.
    pub cert: Option<PathBuf>,
    /// The private key of `cert`, PEM.
    pub key: Option<PathBuf>,
    /// The oldest version of TLS to speak.
    pub min_version: TlsVersion,
}

/// A version of TLS; older ones are not secure, and rustls does not speak them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsConfig {
    /// Puts the settings together, for endpoints of which at least one uses TLS.
    pub(super) fn assemble(layers: &Layers, given: &Overrides, warnings: &mut Vec<String>) -> Result<Self> {
        let file = |key: &str, given: Option<Setting<PathBuf>>| -> Result<Option<Setting<PathBuf>>> {
            let setting = layers.path(key, given)?;
            if let Some(path) = &setting {
                input_files::open(&path.value)
                    .map_err(|reason| path.refuse(format!("{} {reason}", input_files::shown(&path.value))))?;
            }
            Ok(setting)
        };
        let [given_ca, given_cert, given_key] = given_files(given);
        let ca = file("etcd.ssl.tlsCACert", given_ca)?;
        let cert = file("etcd.ssl.tlsCert", given_cert)?;
        let key = file("etcd.ssl.tlsKey", given_key)?;
        match (&cert, &key) {
            (Some(cert), None) => {
                return Err(cert.refuse("a certificate without its private key: set etcd.ssl.tlsKey (--tls-key) too"));
            }
            (None, Some(key)) => {
                return Err(key.refuse("a private key without its certificate: set etcd.ssl.tlsCert (--tls-cert) too"));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let given =
            given.setting(given.tls_min_version.as_ref(), "--tls-min-version", "META_MIGRATION_TLS_MIN_VERSION");
        let min_version = layers.text("etcd.ssl.tlsMinVersion", given)?;
        let path = |setting: Option<Setting<PathBuf>>| setting.map(|setting| setting.value);
        Ok(Self {
            ca: path(ca),
            cert: path(cert),
            key: path(key),
            min_version: match min_version {
                Some(text) => TlsVersion::read(&text, warnings)?,
                // What Milvus takes too, so it suits an etcd that works with Milvus.
                None => TlsVersion::V1_3,
            },
        })
    }

    /// Flags that ask for certificates say that TLS is meant; in a file they may just be the template's.
    pub(super) fn refuse_flags_without_tls(given: &Overrides) -> Result<()> {
        match given_files(given).into_iter().flatten().next() {
            Some(file) => Err(file.refuse("no endpoint uses TLS: add --tls, or write the endpoint with https://")),
            None => Ok(()),
        }
    }
}

/// CA, certificate and key as flags or variables.
fn given_files(given: &Overrides) -> [Option<Setting<PathBuf>>; 3] {
    [
        given.setting(given.tls_ca.as_ref(), "--tls-ca", "META_MIGRATION_TLS_CA"),
        given.setting(given.tls_cert.as_ref(), "--tls-cert", "META_MIGRATION_TLS_CERT"),
        given.setting(given.tls_key.as_ref(), "--tls-key", "META_MIGRATION_TLS_KEY"),
    ]
}

impl TlsVersion {
    fn read(text: &Setting<String>, warnings: &mut Vec<String>) -> Result<Self> {
        match text.value.trim() {
            "1.2" => Ok(Self::V1_2),
            "1.3" => Ok(Self::V1_3),
            old @ ("1.0" | "1.1") => {
                warnings.push(format!("{}: TLS {old} is not secure, 1.2 is the oldest version used", text.source));
                Ok(Self::V1_2)
            }
            other => Err(text.refuse(format!("found {}, expected 1.2 or 1.3", quoted(other)))),
        }
    }
}
