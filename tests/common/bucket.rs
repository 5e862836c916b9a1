//! An object storage that speaks as much of S3 as listing takes: pages of 1,000, and the refusals that S3 and MinIO give.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// One bucket, `milvus`, whose only access key is `reader`. It lives as long as the test process.
pub struct Bucket {
    address: String,
}

const PAGE: usize = 1_000;

impl Bucket {
    /// A bucket with these objects, of one byte each.
    pub fn with(keys: impl IntoIterator<Item = String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let keys: Arc<BTreeSet<String>> = Arc::new(keys.into_iter().collect());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let keys = keys.clone();
                // A client that goes away ends its thread, nothing more.
                std::thread::spawn(move || _ = serve(&stream, &keys));
            }
        });
        Self { address }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

fn serve(stream: &TcpStream, keys: &BTreeSet<String>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut authorization = String::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
            if header.to_lowercase().starts_with("authorization:") {
                authorization = header;
            }
        }
        let target = first.split(' ').nth(1).unwrap_or_default();
        let (status, body) = answer(target, &authorization, keys);
        write!(
            writer,
            "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
}

fn answer(target: &str, authorization: &str, keys: &BTreeSet<String>) -> (&'static str, String) {
    let refuse = |status, code: &str| (status, format!("<Error><Code>{code}</Code><Message>refused</Message></Error>"));
    if !authorization.contains("Credential=reader/") {
        return refuse("403 Forbidden", "InvalidAccessKeyId");
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path.trim_matches('/') != "milvus" {
        return refuse("404 Not Found", "NoSuchBucket");
    }
    let value = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        decoded(found.unwrap_or_default())
    };
    let (prefix, delimiter) = (value("prefix"), value("delimiter"));
    let behind = value("start-after").max(value("continuation-token"));
    let mut body = String::from("<ListBucketResult><Name>milvus</Name>");
    let (mut shown, mut folders, mut last) = (0, BTreeSet::new(), None);
    for key in keys.range(prefix.clone()..).take_while(|key| key.starts_with(&prefix)) {
        if *key <= behind {
            continue;
        }
        if !delimiter.is_empty()
            && let Some(end) = key[prefix.len()..].find(&delimiter)
        {
            folders.insert(&key[..prefix.len() + end + 1]);
            continue;
        }
        if shown == PAGE {
            let _ = write!(body, "<IsTruncated>true</IsTruncated>");
            let _ = write!(body, "<NextContinuationToken>{}</NextContinuationToken>", last.unwrap_or_default());
            break;
        }
        shown += 1;
        last = Some(key.clone());
        let _ = write!(
            body,
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"1\"</ETag><Size>1</Size></Contents>"
        );
    }
    for folder in folders {
        let _ = write!(body, "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
    }
    body.push_str("</ListBucketResult>");
    ("200 OK", body)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                rest = after;
            }
            (other, after) => {
                bytes.push(*other);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}
