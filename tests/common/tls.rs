//! Certificates, made anew for each test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

/// A certificate and its key, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// A CA with a server and a client certificate, and a foreign CA of which the server knows nothing.
///
/// The files are deleted with the last clone.
#[derive(Clone)]
pub struct Certs {
    dir: Arc<TempDir>,
}

impl Certs {
    /// With a server certificate for 127.0.0.1 and localhost.
    pub fn new() -> Self {
        Self::for_names(&["127.0.0.1", "localhost"])
    }

    /// With a server certificate for other names.
    pub fn for_names(names: &[&str]) -> Self {
        Self::make(names, 4096)
    }

    /// With a server certificate that is not valid any more.
    pub fn expired() -> Self {
        Self::make(&["127.0.0.1", "localhost"], 2020)
    }

    fn make(names: &[&str], last_year: i32) -> Self {
        let certs = Self { dir: Arc::new(tempfile::Builder::new().prefix("etcd-certs-").tempdir().unwrap()) };
        let dir = certs.dir.path();
        let own = make_ca(dir, "ca");
        issue(dir, "server", names, last_year, &own);
        issue(dir, "client", &["client.test"], 4096, &own);
        let foreign = make_ca(dir, "foreign-ca");
        issue(dir, "foreign-client", &["client.test"], 4096, &foreign);
        certs
    }

    /// The CA of the server and the client.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A CA that signed neither.
    pub fn foreign_ca(&self) -> PathBuf {
        self.dir.path().join("foreign-ca.pem")
    }

    /// The server's certificate.
    pub fn server(&self) -> Identity {
        self.identity("server")
    }

    /// A client certificate that the server accepts.
    pub fn client(&self) -> Identity {
        self.identity("client")
    }

    /// A client certificate that the server does not accept.
    pub fn foreign_client(&self) -> Identity {
        self.identity("foreign-client")
    }

    /// The directory with all the files, to put others beside them.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn identity(&self, name: &str) -> Identity {
        Identity {
            cert: self.dir.path().join(format!("{name}.pem")),
            key: self.dir.path().join(format!("{name}-key.pem")),
        }
    }
}

fn make_ca(dir: &Path, name: &str) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().unwrap();
    std::fs::write(dir.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}

fn issue(dir: &Path, name: &str, names: &[&str], last_year: i32, ca: &Issuer<'static, KeyPair>) {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, ca).unwrap();
    std::fs::write(dir.join(format!("{name}.pem")), cert.pem()).unwrap();
    std::fs::write(dir.join(format!("{name}-key.pem")), key.serialize_pem()).unwrap();
}
