//! What the tool is to do and with which etcd: the file, the environment and the flags in one plain struct.
//!
//! All refusals of bad input happen here; the rooms above get values that make sense.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};
use semver::Version;

use crate::garbage::KEEPING;
use crate::layout::join_root;
use crate::message_log::{LogSettings, MessageLog};
use crate::version;
use layers::Layers;
use source::quoted;
use yaml::Document;

mod auth;
mod endpoint;
pub(crate) mod input_files;
mod layers;
mod meta_root;
mod servers;
mod source;
mod storage;
mod tls;
mod unknown_keys;
mod whence;
mod yaml;

pub use auth::{Auth, PASSWORD_VARIABLE, Password};
pub use endpoint::Endpoint;
pub use meta_root::MetaRoot;
pub use source::{Setting, Source};
pub use storage::{Bucket, Provider, SECRET_VARIABLE, StorageConfig, StorageOverrides, StoragePlace};
pub use tls::{TlsConfig, TlsVersion};
pub(crate) use unknown_keys::advice as advice_on_unknown;
pub use whence::{Stated, Whence};

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
    /// What Milvus's own configuration says of the settings that keep the way back open, by key; none where none was given.
    pub keeping: Option<BTreeMap<&'static str, String>>,
    /// What Milvus's own configuration says of the message log.
    pub message_log: LogSettings,
    /// Where that which tells clusters apart comes from.
    pub whence: Whence,
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
    /// Milvus's own configuration files, a later one before the earlier ones.
    pub milvus_config: Vec<PathBuf>,
    /// The flags whose values come from their environment variables, like `--root-path`.
    pub from_variables: BTreeSet<String>,
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
    /// In place of `minio.*` and `localStorage.path`.
    pub storage: StorageOverrides,
}

/// Reads the file, if there is one, and puts what was given on top of it.
///
/// # Errors
/// The file cannot be read or a setting makes no sense; one line that names the file, the key, what was expected and
/// what to do.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Config> {
    assemble(&layers(file, overrides)?, overrides)
}

/// Where the object storage is, for the commands that look into it.
///
/// # Errors
/// As [`load`], or nothing says where it is.
pub fn load_storage(file: Option<&Path>, overrides: &Overrides) -> Result<StorageConfig> {
    storage::assemble(&layers(file, overrides)?, overrides)
}

fn layers(file: Option<&Path>, overrides: &Overrides) -> Result<Layers> {
    let own = match file {
        Some(path) => Document::read(path)?,
        None => Document::empty(),
    };
    unknown_keys::refuse_unknown_keys(&own)?;
    let milvus = overrides.milvus_config.iter().map(|path| Document::read_or_nothing(path)).collect::<Result<_>>()?;
    Ok(Layers { own, milvus })
}

impl Overrides {
    /// A value that the command line or the environment has, with which of them it was.
    fn setting<T: Clone>(&self, value: Option<&T>, flag: &'static str, variable: &'static str) -> Option<Setting<T>> {
        let source = if self.from_variables.contains(flag) { Source::Variable(variable) } else { Source::Flag(flag) };
        value.map(|value| Setting::new(value.clone(), source))
    }
}

fn assemble(layers: &Layers, given: &Overrides) -> Result<Config> {
    refuse_other_stores(layers, given)?;
    let own = &layers.own;
    let mut warnings = Vec::new();
    let (meta_root, [root_path, meta_sub_path]) = meta_root(layers, given)?;
    let (etcd, endpoints) = servers::assemble(layers, given, &mut warnings)?;
    let source_version = version_of(
        own,
        "config.sourceVersion",
        given.setting(given.source_version.as_ref(), "--source-version", "META_MIGRATION_SOURCE_VERSION"),
    )?;
    let target_version = version_of(
        own,
        "config.targetVersion",
        given.setting(given.target_version.as_ref(), "--target-version", "META_MIGRATION_TARGET_VERSION"),
    )?;
    let backup_file = match given.setting(given.backup_file.as_ref(), "--backup-file", "META_MIGRATION_BACKUP_FILE") {
        Some(path) => Some(path),
        None => own.text("config.backupFilePath")?.map(|text| text.map(PathBuf::from)),
    };
    let whence = Whence {
        endpoints,
        root_path,
        meta_sub_path,
        source_version: source_version.as_ref().map(|version| version.source.clone()),
        target_version: target_version.as_ref().map(|version| version.source.clone()),
        backup_file: backup_file.as_ref().map(|file| file.source.clone()),
    };
    Ok(Config {
        etcd,
        meta_root,
        command: command(own)?,
        run_with_backup: own.boolean("cmd.runWithBackup")?.is_some_and(|setting| setting.value),
        skip_invalid: own.boolean("cmd.skipInvalid")?.is_some_and(|setting| setting.value),
        source_version: source_version.map(|version| version.value),
        target_version: target_version.map(|version| version.value),
        backup_file: backup_file.map(|file| file.value),
        keeping: keeping(layers)?,
        message_log: message_log(layers)?,
        whence,
        warnings,
    })
}

fn keeping(layers: &Layers) -> Result<Option<BTreeMap<&'static str, String>>> {
    if layers.milvus.is_empty() {
        return Ok(None);
    }
    let said =
        KEEPING.iter().map(|setting| Ok((setting.key, layers.of_milvus(|document| document.text(setting.key))?)));
    let said: Vec<_> = said.collect::<Result<_>>()?;
    Ok(Some(said.into_iter().filter_map(|(key, found)| Some((key, found?.value))).collect()))
}

/// Which message log 2.1 takes depends on how it was started, and on its environment: rocksmq before Pulsar before Kafka where it is one
/// server, else Pulsar before Kafka (internal/util/dependency/factory.go). So only what stands alone is sure.
fn message_log(layers: &Layers) -> Result<LogSettings> {
    let said = |read: &dyn Fn(&Document) -> Result<Option<Setting<String>>>| {
        anyhow::Ok(layers.of_milvus(read)?.map(|said| said.value).filter(|text| !text.is_empty()))
    };
    let rocksmq_path = said(&|document| document.text_or_empty("rocksmq.path"))?;
    let kafka = said(&|document| document.joined("kafka.brokerList"))?;
    let pulsar = said(&|document| document.text_or_empty("pulsar.address"))?;
    let log = match (kafka.is_some(), pulsar.is_some(), rocksmq_path.is_some()) {
        (true, false, false) => Some(MessageLog::Kafka),
        (false, true, _) => Some(MessageLog::Other),
        _ => None,
    };
    Ok(LogSettings { log, rocksmq_path })
}

fn refuse_other_stores(layers: &Layers, given: &Overrides) -> Result<()> {
    let is_other = |store: &Setting<String>| !store.value.eq_ignore_ascii_case("etcd");
    let own = layers.own.text("metastore.type")?.filter(is_other);
    let of_milvus = layers.of_milvus(|document| document.text("metastore.type"))?.filter(is_other);
    if let Some(store) = own.or(of_milvus) {
        return Err(store.refuse(format!(
            "found {}, expected etcd: collections, indexes and users are in that database then, and this tool migrates only what \
             is in etcd. Stay with Milvus 2.1, or copy the data into a new installation",
            quoted(&store.value)
        )));
    }
    let own = layers.own.boolean("etcd.use.embed")?.filter(|embed| embed.value);
    let of_milvus = layers.of_milvus(|document| document.boolean("etcd.use.embed"))?.filter(|embed| embed.value);
    // Where Milvus has its own etcd, the endpoint of a plain one on that data directory can only be said beside its file.
    let is_served = given.endpoints.is_some() || layers.own.texts("etcd.endpoints").is_ok_and(|found| found.is_some());
    if let Some(embed) = own.or(of_milvus.filter(|_| !is_served)) {
        return Err(embed.refuse(
            "this etcd runs inside Milvus: stop Milvus, start a plain etcd on its data directory (etcd --data-dir <dir>), \
             put that endpoint in etcd.endpoints and set etcd.use.embed to false",
        ));
    }
    Ok(())
}

/// The meta root, and where its two halves come from.
fn meta_root(layers: &Layers, given: &Overrides) -> Result<(MetaRoot, [Source; 2])> {
    let half = |key: &'static str, default: &str, same: fn(&str, &str) -> bool, given: Option<Setting<String>>| {
        // `""` is a value here: Milvus then keeps everything directly under the other half.
        let found = layers.text_or_empty(key, given, same)?;
        anyhow::Ok(found.unwrap_or_else(|| Setting::new(default.to_owned(), Source::Default(key))))
    };
    let root_path = half(
        "etcd.rootPath",
        "by-dev",
        |a, b| join_root(a, "x") == join_root(b, "x"),
        given.setting(given.root_path.as_ref(), "--root-path", "META_MIGRATION_ROOT_PATH"),
    )?;
    let meta_sub_path = half(
        "etcd.metaSubPath",
        "meta",
        |a, b| join_root("x", a) == join_root("x", b),
        given.setting(given.meta_sub_path.as_ref(), "--meta-sub-path", "META_MIGRATION_META_SUB_PATH"),
    )?;
    let root = MetaRoot::new(&root_path.value, &meta_sub_path.value).ok_or_else(|| {
        anyhow!(
            "{}: {} and {}: {} make no prefix of keys: write them as in the configuration of Milvus (by-dev and meta there \
             by default)",
            root_path.source,
            quoted(&root_path.value),
            meta_sub_path.source,
            quoted(&meta_sub_path.value)
        )
    })?;
    Ok((root, [root_path.source, meta_sub_path.source]))
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

fn version_of(document: &Document, key: &str, given: Option<Setting<Version>>) -> Result<Option<Setting<Version>>> {
    if given.is_some() {
        return Ok(given);
    }
    let Some(text) = document.text(key)? else { return Ok(None) };
    match version::parse(&text.value) {
        Ok(version) => Ok(Some(text.map(|_| version))),
        Err(reason) => {
            // 2.1 is what people write who forget the last number.
            let minor_only = text.value.split('.').count() == 2 && text.value.parse::<f64>().is_ok();
            let last = if text.value == "2.1" { "4" } else { "0" };
            let advice = if minor_only { format!(": write {}.{last}", text.value) } else { String::new() };
            Err(text.refuse(format!("{reason}{advice}")))
        }
    }
}

#[cfg(test)]
mod tests;
