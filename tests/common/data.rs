//! Putting recorded keys into an etcd, and reading everything back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use etcd_client::{GetOptions, LeaseGrantOptions, PutOptions, Txn, TxnOp};
use serde_json::Value;

use super::etcd::Etcd;
use super::tool::PROGRAM;

/// etcd takes 128 operations in a transaction, unless told otherwise.
const OPS_IN_A_TXN: usize = 128;
/// and 1.5 MiB in a request.
const BYTES_IN_A_TXN: usize = 1 << 20;
/// Longer than any test: recorded leases do not end by themselves.
const LEASE_SECONDS: i64 = 3600;

/// A file below `testdata/`.
pub fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)
}

/// What is in the backup of a Milvus 2.1.0 that had lived (testdata/README.md), as JSON lines.
pub fn lived() -> String {
    let backup = testdata("milvus-2.1.0-lived/metadata.bak");
    let exported = Command::new(PROGRAM).arg("inspect").arg(backup).args(["--export", "-"]).output().unwrap();
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    String::from_utf8(exported.stdout).unwrap()
}

impl Etcd {
    /// Puts in what a Milvus 2.1.0 left behind after it was stopped.
    pub fn load_milvus(&self) {
        self.load(&testdata("milvus-2.1.0/keys.jsonl"));
    }

    /// Puts in the keys of a JSON-lines file (`key_b64`, `value_b64`, `lease`); lines without a key are skipped.
    ///
    /// A key that had a lease gets one again, with the same id.
    pub fn load(&self, file: &Path) {
        self.load_lines(&std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }

    /// The same of text.
    pub fn load_lines(&self, text: &str) {
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let entries: Vec<_> = lines.iter().filter_map(entry).collect();
        let leases: BTreeSet<_> = entries.iter().map(|(_, _, lease)| *lease).filter(|lease| *lease != 0).collect();
        for lease in leases {
            let with_id = LeaseGrantOptions::new().with_id(lease);
            self.run(async |mut client| client.lease_grant(LEASE_SECONDS, Some(with_id)).await);
        }
        self.put_all(entries);
    }

    /// Carries out the edits of a JSON-lines file: `{"put": key, "value_b64": …}` or `{"delete": key}`.
    pub fn edit(&self, file: &Path) {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for line in text.lines() {
            let edit: Value = serde_json::from_str(line).unwrap();
            match (&edit["put"], &edit["delete"]) {
                (Value::String(key), Value::Null) => self.put(&**key, unbase64(edit["value_b64"].as_str().unwrap())),
                (Value::Null, Value::String(key)) => self.delete(&**key),
                _ => panic!("{}: neither put nor delete: {line}", file.display()),
            }
        }
    }

    /// Puts in many keys, each with its value and lease (0 for none), in few transactions.
    pub fn put_all(&self, entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>, i64)>) {
        let (mut ops, mut bytes) = (Vec::new(), 0);
        for (key, value, lease) in entries {
            let size = key.len() + value.len();
            if ops.len() == OPS_IN_A_TXN || bytes + size > BYTES_IN_A_TXN {
                self.commit(std::mem::take(&mut ops));
                bytes = 0;
            }
            bytes += size;
            ops.push(TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease))));
        }
        self.commit(ops);
    }

    fn commit(&self, ops: Vec<TxnOp>) {
        if !ops.is_empty() {
            self.kv(async |mut kv| kv.txn(Txn::new().and_then(ops)).await);
        }
    }

    /// All keys with their values.
    pub fn dump(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.dump_prefix("")
    }

    /// All keys that start with `prefix`, with their values.
    pub fn dump_prefix(&self, prefix: impl Into<Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut answer = self.kv(async |mut kv| kv.get(prefix, Some(GetOptions::new().with_prefix())).await);
        answer.take_kvs().into_iter().map(etcd_client::KeyValue::into_key_value).collect()
    }
}

fn entry(line: &Value) -> Option<(Vec<u8>, Vec<u8>, i64)> {
    let bytes = |field: &str| unbase64(line[field].as_str().unwrap_or_default());
    line["key_b64"].is_string().then(|| (bytes("key_b64"), bytes("value_b64"), line["lease"].as_i64().unwrap_or(0)))
}

/// Decodes standard base64.
pub fn unbase64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut pool, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let sextet = ALPHABET.iter().position(|known| *known == letter).expect("a letter of base64");
        pool = pool << 6 | u32::try_from(sextet).unwrap();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((pool >> bits & 0xff) as u8);
        }
    }
    bytes
}
