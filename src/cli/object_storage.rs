//! Flags that say where the object storage is.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use clap::builder::BoolishValueParser;

use super::{password_from, password_in};
use crate::config::{SECRET_VARIABLE, StorageOverrides};

/// Flags of the commands that look into the object storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct StorageFlags {
    /// For check-files: the storage is this local directory, localStorage.path of Milvus
    #[arg(long, value_name = "DIR", env = "META_MIGRATION_STORAGE_DIR", global = true, help_heading = STORAGE, conflicts_with = "storage_address")]
    pub storage_dir: Option<PathBuf>,

    /// Where S3, MinIO, GCS or Azure answers: host:port or a URL, minio.address and minio.port
    #[arg(long, value_name = "ADDRESS", env = "META_MIGRATION_STORAGE_ADDRESS", global = true, help_heading = STORAGE)]
    pub storage_address: Option<String>,

    /// The bucket (Azure: container), minio.bucketName
    #[arg(long, value_name = "NAME", env = "META_MIGRATION_STORAGE_BUCKET", global = true, help_heading = STORAGE)]
    pub storage_bucket: Option<String>,

    /// What stands before all paths in it, minio.rootPath
    #[arg(long, value_name = "PATH", env = "META_MIGRATION_STORAGE_ROOT_PATH", global = true, help_heading = STORAGE)]
    pub storage_root_path: Option<String>,

    /// The access key (Azure: account), minio.accessKeyID; the secret comes from --storage-secret-key-file or
    /// META_MIGRATION_STORAGE_SECRET_KEY
    #[arg(long, value_name = "KEY", env = "META_MIGRATION_STORAGE_ACCESS_KEY", global = true, help_heading = STORAGE)]
    pub storage_access_key: Option<String>,

    /// File with the secret key; goes before META_MIGRATION_STORAGE_SECRET_KEY
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_STORAGE_SECRET_KEY_FILE", global = true, help_heading = STORAGE)]
    pub storage_secret_key_file: Option<PathBuf>,

    /// Use TLS, minio.useSSL
    #[arg(
        long,
        value_name = "BOOL",
        env = "META_MIGRATION_STORAGE_SSL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new(),
        global = true,
        help_heading = STORAGE
    )]
    pub storage_ssl: Option<bool>,

    /// Certificates to trust, PEM, minio.ssl.tlsCACert [default: those of the machine]
    #[arg(long, value_name = "FILE", env = "META_MIGRATION_STORAGE_CA", global = true, help_heading = STORAGE)]
    pub storage_ca: Option<PathBuf>,

    /// Ask by the machine's own role, without keys, minio.useIAM
    #[arg(
        long,
        value_name = "BOOL",
        env = "META_MIGRATION_STORAGE_IAM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new(),
        global = true,
        help_heading = STORAGE
    )]
    pub storage_iam: Option<bool>,

    /// Whose it is: aws (S3, MinIO), gcp, azure, aliyun, tencent; minio.cloudProvider
    #[arg(long, value_name = "NAME", env = "META_MIGRATION_STORAGE_PROVIDER", global = true, help_heading = STORAGE)]
    pub storage_provider: Option<String>,

    /// The region, minio.region
    #[arg(long, value_name = "NAME", env = "META_MIGRATION_STORAGE_REGION", global = true, help_heading = STORAGE)]
    pub storage_region: Option<String>,

    /// The bucket's name is part of the host's name, minio.useVirtualHost
    #[arg(
        long,
        value_name = "BOOL",
        env = "META_MIGRATION_STORAGE_VIRTUAL_HOST",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new(),
        global = true,
        help_heading = STORAGE
    )]
    pub storage_virtual_host: Option<bool>,
}

const STORAGE: &str = "Object storage";

impl StorageFlags {
    /// What was said, the secret read.
    ///
    /// # Errors
    /// The file with the secret cannot be read or is empty, or the secret in the environment is not UTF-8.
    pub fn overrides(&self) -> Result<StorageOverrides> {
        let secret_key = match &self.storage_secret_key_file {
            Some(path) => Some(password_in(path, "the secret key of the object storage")?),
            None => password_from(SECRET_VARIABLE, "--storage-secret-key-file", std::env::var_os(SECRET_VARIABLE))?,
        };
        Ok(StorageOverrides {
            directory: self.storage_dir.clone(),
            address: self.storage_address.clone(),
            bucket: self.storage_bucket.clone(),
            root_path: self.storage_root_path.clone(),
            access_key: self.storage_access_key.clone(),
            secret_key,
            ssl: self.storage_ssl,
            iam: self.storage_iam,
            provider: self.storage_provider.clone(),
            region: self.storage_region.clone(),
            virtual_host: self.storage_virtual_host,
            ca: self.storage_ca.clone(),
        })
    }
}
