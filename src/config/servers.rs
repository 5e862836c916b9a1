//! Which etcd servers, and how to talk to them.

use std::time::Duration;

use anyhow::Result;

use super::layers::{Layers, differ};
use super::source::Setting;
use super::yaml::Document;
use super::{Auth, Endpoint, EtcdConfig, MAX_TIMEOUT_MS, Overrides, Source, TlsConfig};

const ENDPOINTS: &str = "etcd.endpoints";
const DEFAULT_ENDPOINT: &str = "localhost:2379";
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(10_000);

/// Puts the settings together; the second is where the endpoints come from.
pub(super) fn assemble(layers: &Layers, given: &Overrides, warnings: &mut Vec<String>) -> Result<(EtcdConfig, Source)> {
    let ssl = layers
        .boolean("etcd.ssl.enabled", given.setting(given.tls.as_ref(), "--tls", "META_MIGRATION_TLS"))?
        .is_some_and(|setting| setting.value);
    let Setting { value: endpoints, source } = endpoints(layers, given, ssl)?;
    let tls = if endpoints.iter().any(|endpoint| endpoint.tls) {
        Some(TlsConfig::assemble(layers, given, warnings)?)
    } else {
        TlsConfig::refuse_flags_without_tls(given)?;
        None
    };
    let request_timeout = match given.request_timeout {
        Some(timeout) => timeout,
        None => layers
            .own
            .parsed("etcd.requestTimeout", "milliseconds, a whole number from 1 to 86400000", |text| {
                text.parse().ok().filter(|millis| (1..=MAX_TIMEOUT_MS).contains(millis))
            })?
            .map_or(DEFAULT_TIMEOUT, |millis| Duration::from_millis(millis.value)),
    };
    let auth = Auth::assemble(layers, given, warnings)?;
    Ok((EtcdConfig { endpoints, request_timeout, tls, auth }, source))
}

fn endpoints(layers: &Layers, given: &Overrides, ssl: bool) -> Result<Setting<Vec<Endpoint>>> {
    let given = given.setting(given.endpoints.as_ref(), "--endpoints", "ETCD_ENDPOINTS");
    let ours = match given {
        Some(list) => Some(parse(&[list], ssl)?),
        None => in_file(&layers.own, ssl)?,
    };
    // An etcd inside Milvus has no endpoint, whatever stands there.
    let is_embedded = layers.of_milvus(|document| document.boolean("etcd.use.embed"))?.is_some_and(|embed| embed.value);
    let milvus = if is_embedded { None } else { layers.of_milvus(|document| in_file(document, ssl))? };
    match (ours, milvus) {
        (Some(ours), Some(milvus)) if !same(&ours.value, &milvus.value) => {
            Err(differ((&ours, &shown(&ours.value)), (&milvus, &shown(&milvus.value))))
        }
        (Some(found), _) | (None, Some(found)) => Ok(found),
        (None, None) => parse(&[Setting::new(DEFAULT_ENDPOINT.to_owned(), Source::Default(ENDPOINTS))], ssl),
    }
}

fn in_file(document: &Document, ssl: bool) -> Result<Option<Setting<Vec<Endpoint>>>> {
    document.texts(ENDPOINTS)?.map(|lists| parse(&lists, ssl)).transpose()
}

/// The order does not matter.
fn same(ours: &[Endpoint], milvus: &[Endpoint]) -> bool {
    ours.len() == milvus.len() && ours.iter().all(|endpoint| milvus.contains(endpoint))
}

fn shown(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(|endpoint| endpoint.uri.as_str()).collect::<Vec<_>>().join(", ")
}

/// The addresses in one list or several, none twice.
fn parse(lists: &[Setting<String>], ssl: bool) -> Result<Setting<Vec<Endpoint>>> {
    let mut endpoints = Vec::new();
    for list in lists {
        for address in list.value.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            let endpoint = Endpoint::parse(address, ssl).map_err(|reason| list.refuse(reason))?;
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
    }
    match lists.first() {
        Some(list) if endpoints.is_empty() => Err(list.refuse("no address in it, expected at least one host:port")),
        Some(list) => Ok(Setting::new(endpoints, list.source.clone())),
        None => Ok(Setting::new(endpoints, Source::Default(ENDPOINTS))),
    }
}
