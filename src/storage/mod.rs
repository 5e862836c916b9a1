//! The object storage: are the files there that the metadata names? It is only listed, never read from or written to.

mod fault;
mod listing;

use std::path::Path as LocalPath;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use futures::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig};

use crate::config::{Bucket, Provider, StorageConfig, StoragePlace, input_files};
pub use listing::{Absent, Lacking};

/// How long one answer may take: a page of a listing comes within a second or so.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often, and how long, a request is tried again.
const RETRIES: usize = 4;
const RETRY_FOR: Duration = Duration::from_secs(60);
/// A file with certificates is not larger than this.
const MAX_CERTIFICATES: u64 = 1 << 20;
/// So many names of what is there are told where nothing is found.
const MAX_NAMES: usize = 10;

/// An object storage that can be listed.
#[derive(Debug, Clone)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// How a person calls it.
    name: String,
    /// The root path for records without one.
    root_path: String,
    /// Whether listings come in ascending order of names, and can begin anywhere: S3 and GCS.
    is_ordered: bool,
}

impl Storage {
    /// Prepares to ask; nothing is asked yet.
    ///
    /// # Errors
    /// There is no such directory, or a setting makes no sense.
    pub fn new(config: &StorageConfig) -> Result<Self> {
        let (store, is_ordered): (Arc<dyn ObjectStore>, bool) = match &config.place {
            StoragePlace::Directory(path) => (Arc::new(directory(path)?), false),
            StoragePlace::Bucket(bucket) => {
                let store = of_bucket(bucket).with_context(|| format!("cannot use the {config}"))?;
                (store, bucket.provider != Provider::Azure)
            }
        };
        Ok(Self { store, name: config.to_string(), root_path: config.root_path.clone(), is_ordered })
    }

    /// How a person calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes sure that the storage answers, and that there is anything at all under a path.
    ///
    /// # Errors
    /// It does not answer, it refuses, or there is nothing: an error that says which of these, and what is there instead.
    pub async fn expect_something_under(&self, path: &str) -> Result<()> {
        let prefix = parse(path)?;
        match self.store.list(Some(&prefix)).next().await {
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) => return Err(self.fault(error, path)),
            None => {}
        }
        let there = self.store.list_with_delimiter(None).await.map_err(|error| self.fault(error, ""))?;
        let mut names: Vec<String> = there.common_prefixes.iter().map(|prefix| format!("{prefix}/")).collect();
        names.extend(there.objects.iter().map(|object| object.location.to_string()));
        let shown = match names.len() {
            0 => "it is empty".to_owned(),
            _ => format!("what is there: {}", names[..names.len().min(MAX_NAMES)].join(", ")),
        };
        bail!(
            "nothing at all is under {:?} in the {} ({shown}), though the metadata names files there: probably the wrong bucket or root path \
             (minio.bucketName, minio.rootPath; for a local storage localStorage.path). Nothing was looked for",
            path,
            self.name
        )
    }
}

fn parse(path: &str) -> Result<Path> {
    Path::parse(path).map_err(|error| anyhow!("{path:?} cannot be a path in an object storage: {error}"))
}

fn directory(path: &LocalPath) -> Result<LocalFileSystem> {
    let shown = input_files::shown(path);
    match std::fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            bail!("the object storage {shown} is no directory: give the one that localStorage.path of Milvus names")
        }
        Ok(_) => {}
        Err(error) => bail!(
            "the object storage {shown} cannot be looked into: {error}. Give the directory that localStorage.path of Milvus names; in a \
             container it has to be mounted"
        ),
    }
    LocalFileSystem::new_with_prefix(path)
        .map_err(|error| anyhow!("the object storage {shown} cannot be looked into: {error}"))
}

fn of_bucket(bucket: &Bucket) -> Result<Arc<dyn ObjectStore>> {
    // reqwest takes the one of the process; ours is the one that etcd is asked with. Somebody was faster: it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_FOR, ..RetryConfig::default() };
    let options = options(bucket)?;
    Ok(match bucket.provider {
        Provider::S3 => Arc::new(s3(bucket).with_client_options(options).with_retry(retry).build()?),
        Provider::Gcs => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&bucket.name);
            Arc::new(builder.with_client_options(options).with_retry(retry).build()?)
        }
        Provider::Azure => Arc::new(azure(bucket).with_client_options(options).with_retry(retry).build()?),
    })
}

fn options(bucket: &Bucket) -> Result<ClientOptions> {
    let mut options = ClientOptions::new()
        .with_allow_http(true)
        // A machine without any certificates is no hindrance where there is no TLS.
        .with_no_system_certificates(bucket.provider == Provider::S3 && bucket.endpoint.starts_with("http://"))
        .with_timeout(TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT);
    if let Some(file) = &bucket.ca {
        let text = input_files::read_text(file, MAX_CERTIFICATES)?;
        let certificates = Certificate::from_pem_bundle(text.as_bytes())
            .map_err(|error| anyhow!("{}: no certificates in PEM: {error}", input_files::shown(file)))?;
        for certificate in certificates {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

fn s3(bucket: &Bucket) -> AmazonS3Builder {
    let builder = match &bucket.keys {
        // The machine's own role: what the cloud puts into the environment of the process, or answers to its requests.
        None => AmazonS3Builder::from_env(),
        Some((access, secret)) => {
            AmazonS3Builder::new().with_access_key_id(access).with_secret_access_key(secret.reveal())
        }
    };
    let endpoint = match (bucket.virtual_host, bucket.endpoint.split_once("://")) {
        (true, Some((scheme, host))) => format!("{scheme}://{}.{host}", bucket.name),
        _ => bucket.endpoint.clone(),
    };
    builder
        .with_bucket_name(&bucket.name)
        .with_region(bucket.region.as_deref().unwrap_or("us-east-1"))
        .with_endpoint(endpoint)
        .with_virtual_hosted_style_request(bucket.virtual_host)
}

fn azure(bucket: &Bucket) -> MicrosoftAzureBuilder {
    let builder = MicrosoftAzureBuilder::from_env().with_container_name(&bucket.name);
    match &bucket.keys {
        None => builder,
        Some((account, key)) => {
            // Milvus has the host of the cloud in minio.address, with the account before it: https://<account>.blob.<host>.
            let host = bucket.endpoint.trim_start_matches("https://").trim_start_matches("http://");
            let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
            let builder = builder.with_account(account).with_access_key(key.reveal());
            match host.starts_with("blob.") || host.contains(".blob.") {
                true => builder,
                false => builder.with_endpoint(format!("https://{account}.blob.{host}")),
            }
        }
    }
}
