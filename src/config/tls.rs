//! TLS towards etcd.

use std::path::PathBuf;

use anyhow::Result;

use super::yaml::{Document, Setting, quoted};
use super::{Overrides, files};

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
    pub(super) fn assemble(document: &Document, given: &Overrides, warnings: &mut Vec<String>) -> Result<Self> {
        let file = |flag: &str, path: &Option<PathBuf>, key: &str| -> Result<Option<Setting<PathBuf>>> {
            let setting = match path {
                Some(path) => Some(Setting::given(path.clone(), flag)),
                None => {
                    document.text(key)?.map(|text| Setting { value: PathBuf::from(text.value), origin: text.origin })
                }
            };
            if let Some(path) = &setting {
                files::open(&path.value)
                    .map_err(|reason| path.refuse(format!("{} {reason}", files::shown(&path.value))))?;
            }
            Ok(setting)
        };
        let ca = file("--tls-ca", &given.tls_ca, "etcd.ssl.tlsCACert")?;
        let cert = file("--tls-cert", &given.tls_cert, "etcd.ssl.tlsCert")?;
        let key = file("--tls-key", &given.tls_key, "etcd.ssl.tlsKey")?;
        match (&cert, &key) {
            (Some(cert), None) => {
                return Err(cert.refuse("a certificate without its private key: set etcd.ssl.tlsKey (--tls-key) too"));
            }
            (None, Some(key)) => {
                return Err(key.refuse("a private key without its certificate: set etcd.ssl.tlsCert (--tls-cert) too"));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let min_version = match &given.tls_min_version {
            Some(text) => Some(Setting::given(text.clone(), "--tls-min-version")),
            None => document.text("etcd.ssl.tlsMinVersion")?,
        };
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
        for (flag, path) in
            [("--tls-ca", &given.tls_ca), ("--tls-cert", &given.tls_cert), ("--tls-key", &given.tls_key)]
        {
            if let Some(path) = path {
                let setting = Setting::given(path, flag);
                return Err(setting.refuse("no endpoint uses TLS: add --tls, or write the endpoint with https://"));
            }
        }
        Ok(())
    }
}

impl TlsVersion {
    fn read(text: &Setting<String>, warnings: &mut Vec<String>) -> Result<Self> {
        match text.value.trim() {
            "1.2" => Ok(Self::V1_2),
            "1.3" => Ok(Self::V1_3),
            old @ ("1.0" | "1.1") => {
                warnings.push(format!("{}: TLS {old} is not secure, 1.2 is the oldest version used", text.origin));
                Ok(Self::V1_2)
            }
            other => Err(text.refuse(format!("found {}, expected 1.2 or 1.3", quoted(other)))),
        }
    }
}
