//! What all commands take.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{BoolishValueParser, RangedU64ValueParser};
use semver::Version;

use super::object_storage::StorageFlags;
use crate::config;
use crate::terminal::console::{LogFormat, OutputFormat};
use crate::version;

const GENERAL: &str = "General";
const ETCD: &str = "etcd";
const MIGRATION: &str = "Migration";

/// Flags that all commands take, before or after the command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Configuration file: YAML as in milvus.yaml, with cmd and config added (-config FILE works too)
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_CONFIG", global = true, help_heading = GENERAL)]
    pub config: Option<PathBuf>,

    /// Milvus's own configuration (milvus.yaml, or default.yaml and then user.yaml): endpoints, root, TLS and login are
    /// taken from it, and whatever is said elsewhere must agree with it; comma-separated or repeated, later ones win
    #[arg(
        long,
        value_name = "FILE",
        value_delimiter = ',',
        env = "META_MIGRATION_MILVUS_CONFIG",
        global = true,
        help_heading = ETCD
    )]
    pub milvus_config: Vec<PathBuf>,

    /// How results are given out: text for people, or one JSON object on standard output (docs/json.md)
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        env = "META_MIGRATION_OUTPUT",
        global = true,
        help_heading = GENERAL
    )]
    pub output: OutputFormat,

    /// How log lines are written, for log collectors
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        env = "META_MIGRATION_LOG_FORMAT",
        global = true,
        help_heading = GENERAL
    )]
    pub log_format: LogFormat,

    /// Wait so long (90s, 5m) until the last Milvus component and any other migration has ended, instead of refusing at once
    #[arg(long, value_name = "TIME", env = "META_MIGRATION_WAIT_FOR_SESSIONS", global = true, help_heading = MIGRATION)]
    pub wait_for_sessions: Option<humantime::Duration>,

    /// Show lists whole, however long
    #[arg(
        long,
        env = "META_MIGRATION_DETAILS",
        value_parser = BoolishValueParser::new(),
        global = true,
        help_heading = GENERAL
    )]
    pub details: bool,

    /// Say only what went wrong or wants attention, as in a pod whose log is kept; results are given out all the same
    #[arg(
        short,
        long,
        env = "META_MIGRATION_QUIET",
        value_parser = BoolishValueParser::new(),
        global = true,
        conflicts_with = "verbose",
        help_heading = GENERAL
    )]
    pub quiet: bool,

    /// Write one line per key that is changed
    #[arg(short, long, env = "META_MIGRATION_VERBOSE", value_parser = BoolishValueParser::new(), global = true, help_heading = GENERAL)]
    pub verbose: bool,

    /// etcd servers, comma-separated: host:port, http://host:port or https://host:port [default: localhost:2379]
    #[arg(long, value_name = "LIST", env = "ETCD_ENDPOINTS", hide_env_values = true, global = true, help_heading = ETCD)]
    pub endpoints: Option<String>,

    /// First half of the meta root, etcd.rootPath [default: by-dev]
    #[arg(long, value_name = "PATH", env = "META_MIGRATION_ROOT_PATH", global = true, help_heading = ETCD)]
    pub root_path: Option<String>,

    /// Second half of the meta root, etcd.metaSubPath [default: meta]
    #[arg(long, value_name = "PATH", env = "META_MIGRATION_META_SUB_PATH", global = true, help_heading = ETCD)]
    pub meta_sub_path: Option<String>,

    /// How long to wait for one answer of etcd [default: 10000]
    #[arg(
        long,
        value_name = "MS",
        env = "META_MIGRATION_REQUEST_TIMEOUT",
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=config::MAX_TIMEOUT_MS),
        global = true,
        help_heading = ETCD
    )]
    pub request_timeout: Option<u64>,

    /// How many operations one etcd transaction may have, the server's --max-txn-ops
    #[arg(
        long,
        value_name = "N",
        env = "META_MIGRATION_MAX_TXN_OPS",
        default_value_t = 128,
        value_parser = RangedU64ValueParser::<usize>::new().range(8..=100_000),
        global = true,
        help_heading = ETCD
    )]
    pub max_txn_ops: usize,

    /// How large one request to etcd may be, the server's --max-request-bytes
    #[arg(
        long,
        value_name = "N",
        env = "META_MIGRATION_MAX_REQUEST_BYTES",
        default_value_t = 1_572_864,
        value_parser = RangedU64ValueParser::<usize>::new().range(65_536..=1 << 30),
        global = true,
        help_heading = ETCD
    )]
    pub max_request_bytes: usize,

    /// Write so many keys a second at most, where etcd serves others too; 0 for as many as it takes
    #[arg(
        long,
        value_name = "KEYS",
        env = "META_MIGRATION_MAX_RATE",
        default_value_t = 0,
        global = true,
        help_heading = ETCD
    )]
    pub max_rate: u64,

    /// Use TLS for endpoints without http:// or https://
    #[arg(
        long,
        value_name = "BOOL",
        env = "META_MIGRATION_TLS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new(),
        global = true,
        help_heading = ETCD
    )]
    pub tls: Option<bool>,

    /// Certificates to trust, PEM [default: those of the machine]
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_TLS_CA", global = true, help_heading = ETCD)]
    pub tls_ca: Option<PathBuf>,

    /// Our own certificate, PEM
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_TLS_CERT", global = true, help_heading = ETCD)]
    pub tls_cert: Option<PathBuf>,

    /// The private key of our certificate, PEM
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_TLS_KEY", global = true, help_heading = ETCD)]
    pub tls_key: Option<PathBuf>,

    /// Oldest version of TLS to use, 1.2 or 1.3 [default: 1.3]
    #[arg(long, value_name = "VERSION", env = "META_MIGRATION_TLS_MIN_VERSION", global = true, help_heading = ETCD)]
    pub tls_min_version: Option<String>,

    /// etcd user; the password comes from the file, --password-file or META_MIGRATION_ETCD_PASSWORD
    #[arg(long, value_name = "NAME", env = "META_MIGRATION_ETCD_USER", global = true, help_heading = ETCD)]
    pub user: Option<String>,

    /// File with the password of the etcd user; goes before META_MIGRATION_ETCD_PASSWORD
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_ETCD_PASSWORD_FILE", global = true, help_heading = ETCD)]
    pub password_file: Option<PathBuf>,

    /// Version of Milvus that wrote the metadata, like 2.1.4
    #[arg(
        long,
        value_name = "VERSION",
        env = "META_MIGRATION_SOURCE_VERSION",
        value_parser = version::parse,
        global = true,
        help_heading = MIGRATION
    )]
    pub source_version: Option<Version>,

    /// Version of Milvus that is to read it, like 2.2.16
    #[arg(
        long,
        value_name = "VERSION",
        env = "META_MIGRATION_TARGET_VERSION",
        value_parser = version::parse,
        global = true,
        help_heading = MIGRATION
    )]
    pub target_version: Option<Version>,

    /// The backup file to write, to restore or to look into
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_BACKUP_FILE", global = true, help_heading = MIGRATION)]
    pub backup_file: Option<PathBuf>,

    /// Where the object storage is.
    #[command(flatten)]
    pub storage: StorageFlags,
}
