//! Errors of an object storage, in words that say what to do.

use std::error::Error as _;

use anyhow::{Error, anyhow};
use object_store::Error as StoreError;

use super::Storage;

impl Storage {
    /// What went wrong while a path was listed.
    pub(super) fn fault(&self, error: StoreError, path: &str) -> Error {
        let text = chain(&error);
        let advice = advice(&error, &text);
        anyhow!("cannot list {path:?} in the {}: {}{advice}", self.name(), short(&text))
    }
}

/// All causes on one line, none twice.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let part = next.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = next.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An answer can be a whole page of HTML.
fn short(text: &str) -> String {
    const SHOWN: usize = 500;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Told by what S3, MinIO, GCS and Azure answer: the library hands most of it on as text.
fn advice(error: &StoreError, text: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["NoSuchBucket", "ContainerNotFound", "bucket does not exist"]) {
        ". There is no such bucket: correct minio.bucketName or --storage-bucket"
    } else if says(&["InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthenticationFailed", "InvalidToken"])
        || matches!(error, StoreError::Unauthenticated { .. })
    {
        ". The keys are wrong: correct minio.accessKeyID and minio.secretAccessKey, or --storage-access-key and its secret"
    } else if says(&["AccessDenied", "AuthorizationFailure", "403 Forbidden"])
        || matches!(error, StoreError::PermissionDenied { .. })
    {
        ". The keys are right, but may not list this bucket: give this user the right to list it (s3:ListBucket)"
    } else if says(&["PermissionDenied", "Permission denied"]) {
        ". This user may not read that folder: check its owner and mode"
    } else if says(&["certificate", "InvalidContentType", "tls", "TLS"]) {
        ". TLS does not come about: check minio.useSSL, --storage-ssl and --storage-ca"
    } else if says(&["onnect", "dns error", "timed out", "tcp"]) {
        ". Nothing answers there: check minio.address and minio.port or --storage-address, and whether it can be reached from here"
    } else {
        ""
    }
}
