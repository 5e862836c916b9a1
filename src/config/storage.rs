//! Where the object storage is that the metadata names files in: flags, variables, our file, Milvus's own configuration.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::auth::Password;
use super::layers::Layers;
use super::source::{Setting, quoted};
use super::yaml::Document;
use super::{Overrides, Source};

/// The environment variable that holds the secret key: a flag would show in the list of processes.
pub const SECRET_VARIABLE: &str = "META_MIGRATION_STORAGE_SECRET_KEY";
/// Milvus's own defaults (configs/milvus.yaml), which hold where its configuration says nothing.
const DEFAULT_ADDRESS: &str = "localhost";
const DEFAULT_PORT: &str = "9000";
const DEFAULT_BUCKET: &str = "a-bucket";
const DEFAULT_ROOT: &str = "files";
const DEFAULT_KEY: &str = "minioadmin";
const DEFAULT_DIRECTORY: &str = "/var/lib/milvus/data";

/// What the command line and the environment say of the object storage; it goes before the files.
#[derive(Debug, Clone, Default)]
pub struct StorageOverrides {
    /// A local directory, in place of `localStorage.path` with `common.storageType: local`.
    pub directory: Option<PathBuf>,
    /// `host:port` or a URL, in place of `minio.address` and `minio.port`.
    pub address: Option<String>,
    /// In place of `minio.bucketName`.
    pub bucket: Option<String>,
    /// In place of `minio.rootPath`.
    pub root_path: Option<String>,
    /// In place of `minio.accessKeyID`.
    pub access_key: Option<String>,
    /// In place of `minio.secretAccessKey`.
    pub secret_key: Option<Password>,
    /// In place of `minio.useSSL`.
    pub ssl: Option<bool>,
    /// In place of `minio.useIAM`.
    pub iam: Option<bool>,
    /// In place of `minio.cloudProvider`.
    pub provider: Option<String>,
    /// In place of `minio.region`.
    pub region: Option<String>,
    /// In place of `minio.useVirtualHost`.
    pub virtual_host: Option<bool>,
    /// In place of `minio.ssl.tlsCACert`.
    pub ca: Option<PathBuf>,
}

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// The storage.
    pub place: StoragePlace,
    /// What stands before the paths of records that hold no whole paths; without slashes at its ends.
    pub root_path: String,
    /// Whether the root path was said, and is no default.
    pub root_is_said: bool,
}

/// A local directory, or a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoragePlace {
    /// `common.storageType: local`
    Directory(PathBuf),
    /// Everything else.
    Bucket(Box<Bucket>),
}

/// A bucket in S3, MinIO, GCS or Azure (there it is called a container).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Which API it is asked by.
    pub provider: Provider,
    /// `http://…` or `https://…`, with its port.
    pub endpoint: String,
    /// Its name.
    pub name: String,
    /// The region; none for the default one.
    pub region: Option<String>,
    /// Whether the bucket's name is part of the host's name.
    pub virtual_host: bool,
    /// Who asks; none where the machine's own role does (IAM).
    pub keys: Option<(String, Password)>,
    /// A file with certificates to trust.
    pub ca: Option<PathBuf>,
}

/// Which API a bucket is asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// S3 and what is like it: MinIO, GCS by its S3 API, Aliyun, Tencent.
    S3,
    /// Google Cloud Storage, by the machine's own role.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

/// How a person calls it.
impl fmt::Display for StorageConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            StoragePlace::Directory(path) => write!(f, "directory {}", path.display()),
            StoragePlace::Bucket(bucket) => write!(f, "bucket {} at {}", bucket.name, bucket.endpoint),
        }
    }
}

/// Puts the settings together. What tells installations apart (bucket, root path) must agree with Milvus's own configuration; the
/// address and the keys may be others, as with a port-forward and a user that only reads.
///
/// # Errors
/// Nothing says where the storage is, or a setting makes no sense.
pub(super) fn assemble(layers: &Layers, given: &Overrides) -> Result<StorageConfig> {
    let flags = &given.storage;
    let read = Reader { layers, given };
    let kind = read.first("common.storageType", None)?;
    let is_local = kind.as_ref().is_some_and(|kind| kind.value.eq_ignore_ascii_case("local"));
    let said_remote = flags.address.is_some() || flags.bucket.is_some();
    let root = layers.text_or_empty(
        "minio.rootPath",
        given.setting(flags.root_path.as_ref(), "--storage-root-path", "META_MIGRATION_STORAGE_ROOT_PATH"),
        |a, b| trimmed(a) == trimmed(b),
    )?;
    if flags.directory.is_some() || (is_local && !said_remote) {
        let path = read.first_path("localStorage.path", flags.directory.as_ref())?;
        // Newer versions have no other root than this directory; 2.1 has its own in the records.
        let root = given.storage.root_path.as_deref().map(trimmed).unwrap_or_default();
        let path = path.unwrap_or_else(|| PathBuf::from(DEFAULT_DIRECTORY));
        return Ok(StorageConfig { place: StoragePlace::Directory(path), root_path: root, root_is_said: false });
    }
    let says_anything = said_remote || read.first("minio.address", None)?.is_some() || !layers.milvus.is_empty();
    if !says_anything {
        bail!(
            "where the object storage is, is not known: give Milvus's own configuration with --milvus-config, or --storage-address and \
             --storage-bucket, or --storage-dir for a local one"
        );
    }
    let bucket = read.bucket()?;
    let root_is_said = root.is_some();
    let root_path = root.map_or_else(|| DEFAULT_ROOT.to_owned(), |root| trimmed(&root.value));
    Ok(StorageConfig { place: StoragePlace::Bucket(Box::new(bucket)), root_path, root_is_said })
}

fn trimmed(path: &str) -> String {
    path.trim_matches('/').to_owned()
}

struct Reader<'a> {
    layers: &'a Layers,
    given: &'a Overrides,
}

impl Reader<'_> {
    /// What is given, else our file, else the last of Milvus's files that says anything.
    fn first(&self, key: &str, given: Option<Setting<String>>) -> Result<Option<Setting<String>>> {
        match given {
            Some(given) => Ok(Some(given)),
            None => self.in_files(|document| document.text(key)),
        }
    }

    fn in_files<T>(&self, read: impl Fn(&Document) -> Result<Option<T>>) -> Result<Option<T>> {
        match read(&self.layers.own)? {
            Some(found) => Ok(Some(found)),
            None => self.layers.of_milvus(read),
        }
    }

    fn first_path(&self, key: &str, given: Option<&PathBuf>) -> Result<Option<PathBuf>> {
        match given {
            Some(path) => Ok(Some(path.clone())),
            None => Ok(self.first(key, None)?.map(|path| PathBuf::from(path.value))),
        }
    }

    fn text(&self, key: &str, given: Option<&String>, default: &str) -> Result<String> {
        match given {
            Some(given) => Ok(given.clone()),
            None => Ok(self.first(key, None)?.map_or_else(|| default.to_owned(), |found| found.value)),
        }
    }

    fn boolean(&self, key: &str, given: Option<bool>) -> Result<bool> {
        match given {
            Some(given) => Ok(given),
            None => Ok(self.in_files(|document| document.boolean(key))?.is_some_and(|found| found.value)),
        }
    }

    fn bucket(&self) -> Result<Bucket> {
        let flags = &self.given.storage;
        let provider = self.provider()?;
        let iam = self.boolean("minio.useIAM", flags.iam)?;
        let ssl = self.boolean("minio.useSSL", flags.ssl)?;
        let given = self.given.setting(flags.bucket.as_ref(), "--storage-bucket", "META_MIGRATION_STORAGE_BUCKET");
        let name =
            self.layers.text("minio.bucketName", given)?.map_or_else(|| DEFAULT_BUCKET.to_owned(), |name| name.value);
        let is_google = provider.as_deref() == Some("gcp");
        let azure = provider.as_deref() == Some("azure");
        let default_style = matches!(provider.as_deref(), Some("aliyun" | "tencent"));
        let virtual_host = self.boolean("minio.useVirtualHost", flags.virtual_host)? || default_style;
        let keys = if iam { None } else { Some(self.keys()?) };
        Ok(Bucket {
            provider: match (azure, is_google && iam) {
                (true, _) => Provider::Azure,
                (false, true) => Provider::Gcs,
                (false, false) => Provider::S3,
            },
            endpoint: self.endpoint(ssl)?,
            name,
            region: self.first("minio.region", flags.region.clone().map(flag))?.map(|region| region.value),
            virtual_host,
            keys,
            ca: self.first_path("minio.ssl.tlsCACert", flags.ca.as_ref())?.filter(|_| ssl),
        })
    }

    fn provider(&self) -> Result<Option<String>> {
        let provider = self.first("minio.cloudProvider", self.given.storage.provider.clone().map(flag))?;
        let Some(provider) = provider else { return Ok(None) };
        let name = provider.value.to_ascii_lowercase();
        match &*name {
            "aws" | "gcp" | "azure" | "aliyun" | "tencent" => Ok(Some(name)),
            // What is there for S3 as such.
            "minio" | "s3" => Ok(None),
            _ => Err(provider.refuse(format!(
                "found {}, expected aws (S3 and MinIO), gcp, azure, aliyun or tencent",
                quoted(&provider.value)
            ))),
        }
    }

    fn keys(&self) -> Result<(String, Password)> {
        let flags = &self.given.storage;
        let access = self.text("minio.accessKeyID", flags.access_key.as_ref(), DEFAULT_KEY)?;
        let secret = match &flags.secret_key {
            Some(secret) => secret.clone(),
            // The secret of another user is none.
            None if flags.access_key.is_some() => {
                bail!(
                    "--storage-access-key: the secret key is missing: give {SECRET_VARIABLE} or --storage-secret-key-file"
                )
            }
            None => Password::from(self.text("minio.secretAccessKey", None, DEFAULT_KEY)?),
        };
        Ok((access, secret))
    }

    /// Milvus appends the port to an address without one.
    fn endpoint(&self, ssl: bool) -> Result<String> {
        let flags = &self.given.storage;
        let address = self.text("minio.address", flags.address.as_ref(), DEFAULT_ADDRESS)?;
        if address.starts_with("http://") || address.starts_with("https://") {
            return Ok(address.trim_end_matches('/').to_owned());
        }
        let scheme = if ssl { "https" } else { "http" };
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if has_port {
            return Ok(format!("{scheme}://{address}"));
        }
        let port = match flags.address {
            // A flag says all of it.
            Some(_) if ssl => "443".to_owned(),
            _ => self.text("minio.port", None, DEFAULT_PORT)?,
        };
        Ok(format!("{scheme}://{address}:{port}"))
    }
}

/// A flag's value where only the value counts.
fn flag(value: String) -> Setting<String> {
    Setting::new(value, Source::Flag("--storage-…"))
}
