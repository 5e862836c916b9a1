//! What the tool is to do and with which etcd: the file, the environment and the flags in one plain struct.
//!
//! All refusals of bad input happen here; the rooms above get values that make sense.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};
use semver::Version;

use crate::version;
use yaml::{Document, Setting, quoted};

mod auth;
mod endpoint;
pub(crate) mod files;
mod meta_root;
mod tls;
mod yaml;

pub use auth::{Auth, PASSWORD_VARIABLE, Password};
pub use endpoint::Endpoint;
pub use meta_root::MetaRoot;
pub use tls::{TlsConfig, TlsVersion};

const DEFAULT_ENDPOINT: &str = "localhost:2379";
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(10_000);
/// A day. Whoever waits longer for one answer has mistaken the unit.
pub(crate) const MAX_TIMEOUT_MS: u64 = 86_400_000;

/// Everything that is configured, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How to reach etcd.
    pub etcd: EtcdConfig,
    /// Where in etcd the metadata is.
    pub meta_root: MetaRoot,
    /// `cmd.type`: what to do if the command line does not say.
    pub command: Option<CommandType>,
    /// `cmd.runWithBackup`: whether `run` makes a backup first.
    pub run_with_backup: bool,
    /// `cmd.skipInvalid`: whether `run` leaves out what cannot be migrated.
    pub skip_invalid: bool,
    /// The version of Milvus that wrote the metadata.
    pub source_version: Option<Version>,
    /// The version of Milvus that is to read it.
    pub target_version: Option<Version>,
    /// Where the backup is, or is to be.
    pub backup_file: Option<PathBuf>,
    /// What was read otherwise than it was written, for the log.
    pub warnings: Vec<String>,
}

/// What `cmd.type` can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandType {
    /// Migrate.
    Run,
    /// Write a backup file.
    Backup,
    /// Restore a backup file.
    Rollback,
}

/// How to reach etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// The servers, at least one, none twice.
    pub endpoints: Vec<Endpoint>,
    /// How long to wait for one answer.
    pub request_timeout: Duration,
    /// There if an endpoint uses TLS.
    pub tls: Option<TlsConfig>,
    /// There if etcd asks who we are.
    pub auth: Option<Auth>,
}

/// What the command line and the environment say; it goes before the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Comma-separated, as in `ETCD_ENDPOINTS`.
    pub endpoints: Option<String>,
    /// In place of `etcd.rootPath`.
    pub root_path: Option<String>,
    /// In place of `etcd.metaSubPath`.
    pub meta_sub_path: Option<String>,
    /// In place of `etcd.requestTimeout`.
    pub request_timeout: Option<Duration>,
    /// In place of `etcd.ssl.enabled`.
    pub tls: Option<bool>,
    /// In place of `etcd.ssl.tlsCACert`.
    pub tls_ca: Option<PathBuf>,
    /// In place of `etcd.ssl.tlsCert`.
    pub tls_cert: Option<PathBuf>,
    /// In place of `etcd.ssl.tlsKey`.
    pub tls_key: Option<PathBuf>,
    /// In place of `etcd.ssl.tlsMinVersion`.
    pub tls_min_version: Option<String>,
    /// In place of `etcd.auth.userName`; implies `etcd.auth.enabled`.
    pub user: Option<String>,
    /// In place of `etcd.auth.password`.
    pub password: Option<Password>,
    /// In place of `config.sourceVersion`.
    pub source_version: Option<Version>,
    /// In place of `config.targetVersion`.
    pub target_version: Option<Version>,
    /// In place of `config.backupFilePath`.
    pub backup_file: Option<PathBuf>,
}

/// Reads the file, if there is one, and puts what was given on top of it.
///
/// # Errors
/// The file cannot be read or a setting makes no sense; one line that names the file, the key, what was expected and
/// what to do.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Config> {
    let document = match file {
        Some(path) => Document::read(path)?,
        None => Document::empty(),
    };
    assemble(&document, overrides)
}

fn assemble(document: &Document, given: &Overrides) -> Result<Config> {
    refuse_other_stores(document)?;
    let mut warnings = Vec::new();
    Ok(Config {
        etcd: etcd(document, given, &mut warnings)?,
        meta_root: meta_root(document, given)?,
        command: command(document)?,
        run_with_backup: document.boolean("cmd.runWithBackup")?.is_some_and(|setting| setting.value),
        skip_invalid: document.boolean("cmd.skipInvalid")?.is_some_and(|setting| setting.value),
        source_version: version_of(document, "config.sourceVersion", given.source_version.as_ref())?,
        target_version: version_of(document, "config.targetVersion", given.target_version.as_ref())?,
        backup_file: match &given.backup_file {
            Some(path) => Some(path.clone()),
            None => document.text("config.backupFilePath")?.map(|path| path.value.into()),
        },
        warnings,
    })
}

fn refuse_other_stores(document: &Document) -> Result<()> {
    if let Some(store) = document.text("metastore.type")?.filter(|store| !store.value.eq_ignore_ascii_case("etcd")) {
        return Err(store.refuse(format!(
            "found {}, expected etcd: Milvus 2.1 keeps its metadata in etcd, and only that is migrated",
            quoted(&store.value)
        )));
    }
    if let Some(embed) = document.boolean("etcd.use.embed")?.filter(|embed| embed.value) {
        return Err(embed.refuse(
            "this etcd runs inside Milvus: stop Milvus, start a plain etcd on its data directory (etcd --data-dir <dir>), \
             put that endpoint in etcd.endpoints and set etcd.use.embed to false",
        ));
    }
    Ok(())
}

fn etcd(document: &Document, given: &Overrides, warnings: &mut Vec<String>) -> Result<EtcdConfig> {
    let ssl_enabled = match given.tls {
        Some(tls) => tls,
        None => document.boolean("etcd.ssl.enabled")?.is_some_and(|setting| setting.value),
    };
    let endpoints = endpoints(document, given, ssl_enabled)?;
    let tls = if endpoints.iter().any(|endpoint| endpoint.tls) {
        Some(TlsConfig::assemble(document, given, warnings)?)
    } else {
        TlsConfig::refuse_flags_without_tls(given)?;
        None
    };
    let request_timeout = match given.request_timeout {
        Some(timeout) => timeout,
        None => document
            .parsed("etcd.requestTimeout", "milliseconds, a whole number from 1 to 86400000", |text| {
                text.parse().ok().filter(|millis| (1..=MAX_TIMEOUT_MS).contains(millis))
            })?
            .map_or(DEFAULT_TIMEOUT, |millis| Duration::from_millis(millis.value)),
    };
    Ok(EtcdConfig { endpoints, request_timeout, tls, auth: Auth::assemble(document, given, warnings)? })
}

fn endpoints(document: &Document, given: &Overrides, ssl_enabled: bool) -> Result<Vec<Endpoint>> {
    let key = "etcd.endpoints";
    let lists = match &given.endpoints {
        Some(list) => vec![Setting::given(list.clone(), "--endpoints (ETCD_ENDPOINTS)")],
        None => match document.texts(key)? {
            Some(lists) => lists,
            None => vec![Setting::given(DEFAULT_ENDPOINT.to_owned(), key)],
        },
    };
    let mut endpoints = Vec::new();
    for list in &lists {
        for address in list.value.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            let endpoint = Endpoint::parse(address, ssl_enabled).map_err(|reason| list.refuse(reason))?;
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
    }
    match lists.first() {
        Some(list) if endpoints.is_empty() => Err(list.refuse("no address in it, expected at least one host:port")),
        _ => Ok(endpoints),
    }
}

fn meta_root(document: &Document, given: &Overrides) -> Result<MetaRoot> {
    let half = |flag: &str, given: &Option<String>, key: &str, default: &str| match given {
        Some(text) => Ok(Setting::given(text.clone(), flag)),
        // `""` is a value here: Milvus then keeps everything directly under the other half.
        None => anyhow::Ok(document.text_or_empty(key)?.unwrap_or_else(|| Setting::given(default.to_owned(), key))),
    };
    let root_path = half("--root-path", &given.root_path, "etcd.rootPath", "by-dev")?;
    let meta_sub_path = half("--meta-sub-path", &given.meta_sub_path, "etcd.metaSubPath", "meta")?;
    MetaRoot::new(&root_path.value, &meta_sub_path.value).ok_or_else(|| {
        anyhow!(
            "{}: {} and {}: {} make no prefix of keys: write them as in the configuration of Milvus (by-dev and meta there \
             by default)",
            root_path.origin,
            quoted(&root_path.value),
            meta_sub_path.origin,
            quoted(&meta_sub_path.value)
        )
    })
}

fn command(document: &Document) -> Result<Option<CommandType>> {
    let command =
        document.parsed("cmd.type", "run, backup or rollback", |text| match text.to_ascii_lowercase().as_str() {
            "run" => Some(CommandType::Run),
            "backup" => Some(CommandType::Backup),
            "rollback" => Some(CommandType::Rollback),
            _ => None,
        })?;
    Ok(command.map(|command| command.value))
}

fn version_of(document: &Document, key: &str, given: Option<&Version>) -> Result<Option<Version>> {
    if let Some(version) = given {
        return Ok(Some(version.clone()));
    }
    let Some(text) = document.text(key)? else { return Ok(None) };
    version::parse(&text.value).map(Some).map_err(|reason| {
        // 2.1 is what people write who forget the last number.
        let minor_only = text.value.split('.').count() == 2 && text.value.parse::<f64>().is_ok();
        let last = if text.value == "2.1" { "4" } else { "0" };
        let advice = if minor_only { format!(": write {}.{last}", text.value) } else { String::new() };
        text.refuse(format!("{reason}{advice}"))
    })
}

#[cfg(test)]
mod tests;
