//! Certificates and versions of TLS.

use std::path::Path;
use std::time::{Duration, Instant};

use meta_migration::config::{EtcdConfig, TlsVersion};
use meta_migration::etcd::{Cause, ConnectError};

use crate::common::{Certs, Etcd, Version, block_on, on_both_versions};
use crate::{cause, config, config_for, connect, connect_error, with_tls};

on_both_versions![
    connects_with_tls_by_address_and_by_name,
    requests_do_not_wait_for_delayed_acknowledgements,
    connects_with_a_client_certificate,
    keeps_to_the_minimum_version_of_tls,
    tells_that_etcd_speaks_no_tls,
    tells_that_etcd_demands_tls,
    tells_that_the_ca_is_not_the_right_one,
    tells_that_the_name_is_not_in_the_certificate,
    tells_that_the_certificate_has_expired,
    tells_that_a_client_certificate_is_demanded,
    tells_that_the_client_certificate_is_refused,
];

fn connects_with_tls_by_address_and_by_name(version: Version) {
    let certs = Certs::new();
    let etcd = Etcd::with(version).tls(&certs).start();
    etcd.put("a", "b");
    for endpoint in [etcd.endpoint(), etcd.endpoint().replace("127.0.0.1", "localhost")] {
        let config = with_tls(config([endpoint]), &certs, None);
        assert!(block_on(connect(&config).get("a")).unwrap().is_some());
    }
}

fn requests_do_not_wait_for_delayed_acknowledgements(version: Version) {
    let certs = Certs::new();
    let etcd = Etcd::with(version).tls(&certs).start();
    let connection = connect(&with_tls(config_for(&etcd), &certs, None));
    let started = Instant::now();
    for _ in 0..50 {
        block_on(connection.get("a")).unwrap();
    }
    // With Nagle's algorithm it is 2.2 s, without 0.1 s.
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
}

fn connects_with_a_client_certificate(version: Version) {
    let certs = Certs::new();
    let etcd = Etcd::with(version).tls(&certs).client_cert_required().start();
    connect(&with_tls(config_for(&etcd), &certs, Some(certs.client())));
}

/// etcd 3.5.1 has TLS 1.2 only (github.com/etcd-io/etcd/issues/13506), 3.4.23 has 1.3.
fn keeps_to_the_minimum_version_of_tls(version: Version) {
    let certs = Certs::new();
    let etcd = Etcd::with(version).tls(&certs).client_cert_required().start();
    let mut config = with_tls(config_for(&etcd), &certs, Some(certs.client()));
    config.tls.as_mut().unwrap().min_version = TlsVersion::V1_3;
    match version {
        Version::V3_4 => drop(connect(&config)),
        Version::V3_5 => assert_eq!(cause(&config), Cause::TlsTooOld(TlsVersion::V1_3)),
    }
}

fn tells_that_etcd_speaks_no_tls(version: Version) {
    let certs = Certs::new();
    let etcd = Etcd::start(version);
    let endpoint = etcd.endpoint().replace("http:", "https:");
    assert_eq!(cause(&with_tls(config([endpoint]), &certs, None)), Cause::SpeaksPlain);
}

fn tells_that_etcd_demands_tls(version: Version) {
    for builder in [Etcd::with(version), Etcd::with(version).client_cert_required()] {
        let etcd = builder.tls(&Certs::new()).start();
        assert_eq!(cause(&config([etcd.endpoint().replace("https:", "http:")])), Cause::SpeaksTls);
    }
}

fn tells_that_the_ca_is_not_the_right_one(version: Version) {
    let certs = Certs::new();
    let etcd = Etcd::with(version).tls(&certs).start();
    let mut config = with_tls(config_for(&etcd), &certs, None);
    config.tls.as_mut().unwrap().ca = Some(certs.foreign_ca());
    let cause = cause(&config);
    assert!(matches!(&cause, Cause::UnknownIssuer(trusted) if trusted.contains("foreign-ca.pem")), "{cause:?}");
}

fn tells_that_the_name_is_not_in_the_certificate(version: Version) {
    let certs = Certs::for_names(&["etcd.example", "localhost"]);
    let etcd = Etcd::with(version).tls(&certs).start();
    let cause = cause(&with_tls(config_for(&etcd), &certs, None));
    let Cause::WrongName { expected, presented } = &cause else { panic!("{cause:?}") };
    assert_eq!((expected.as_str(), presented.as_str()), ("127.0.0.1", "etcd.example, localhost"));
}

fn tells_that_the_certificate_has_expired(version: Version) {
    let certs = Certs::expired();
    let etcd = Etcd::with(version).tls(&certs).start();
    let cause = cause(&with_tls(config_for(&etcd), &certs, None));
    assert!(matches!(&cause, Cause::BadCertificate(problem) if problem.contains("days ago")), "{cause:?}");
}

fn tells_that_a_client_certificate_is_demanded(version: Version) {
    let certs = Certs::new();
    let etcd = Etcd::with(version).tls(&certs).client_cert_required().start();
    assert_eq!(cause(&with_tls(config_for(&etcd), &certs, None)), Cause::ClientCertDemanded);
}

fn tells_that_the_client_certificate_is_refused(version: Version) {
    let certs = Certs::new();
    let etcd = Etcd::with(version).tls(&certs).client_cert_required().start();
    let cause = cause(&with_tls(config_for(&etcd), &certs, Some(certs.foreign_client())));
    assert!(matches!(cause, Cause::ClientCertRefused(_)), "{cause:?}");
}

#[test]
fn names_the_setting_and_the_file_that_are_of_no_use() {
    let certs = Certs::new();
    let nonsense = certs.dir().join("nonsense.pem");
    std::fs::write(&nonsense, "nonsense").unwrap();
    let missing = certs.dir().join("missing.pem");
    let (client, other) = (certs.client(), certs.foreign_client());
    for (setting, ca, cert, key, problem) in [
        ("etcd.ssl.tlsCACert", &missing, &client.cert, &client.key, "No such file"),
        ("etcd.ssl.tlsCACert", &certs.dir().to_owned(), &client.cert, &client.key, "Is a directory"),
        ("etcd.ssl.tlsCACert", &nonsense, &client.cert, &client.key, "no certificate in PEM format"),
        ("etcd.ssl.tlsCACert", &client.key, &client.cert, &client.key, "no certificate in PEM format"),
        ("etcd.ssl.tlsCert", &certs.ca(), &nonsense, &client.key, "no certificate in PEM format"),
        ("etcd.ssl.tlsKey", &certs.ca(), &client.cert, &client.cert, "no private key in PEM format"),
        ("etcd.ssl.tlsCert", &certs.ca(), &client.cert, &other.key, "foreign-client-key.pem"),
    ] {
        let text = connect_error(&with_files(ca, cert, key)).to_string();
        assert!(text.contains(&format!("{setting}: the file ")) && text.contains(problem), "{text}");
    }
}

#[test]
fn demands_certificate_and_key_together() {
    let certs = Certs::new();
    let mut config = with_files(&certs.ca(), &certs.client().cert, &certs.client().key);
    config.tls.as_mut().unwrap().key = None;
    assert!(matches!(connect_error(&config), ConnectError::HalfIdentity { missing: "etcd.ssl.tlsKey", .. }));
}

fn with_files(ca: &Path, cert: &Path, key: &Path) -> EtcdConfig {
    let mut config = config(["https://127.0.0.1:1"]);
    config.tls = Some(meta_migration::config::TlsConfig {
        ca: Some(ca.to_owned()),
        cert: Some(cert.to_owned()),
        key: Some(key.to_owned()),
        min_version: TlsVersion::V1_3,
    });
    config
}
