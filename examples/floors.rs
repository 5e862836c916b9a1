//! etcd's own speed, without this tool: what the benchmark holds `backup`, `run` and `rollback` against.
//!
//! `cargo run --release --example floors -- read` reads all keys under by-dev/meta/ in pages of 3,000, and drops them.
//! `cargo run --release --example floors -- write PUTS BYTES DELETES` puts so many keys with so many bytes in all, in full
//! transactions from one connection, four at a time; and deletes so many of the keys that are there, in ranges of up to 1,000.
//!
//! Prints the seconds that it took, the connection aside. The endpoint is ETCD_ENDPOINTS.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use etcd_client::{Client, DeleteOptions, GetOptions, KeyValue, Txn, TxnOp};
use futures::stream::{self, StreamExt, TryStreamExt};

const KEYS_A_PAGE: i64 = 3_000;
/// etcd's own limits: operations in a transaction, and (well below it) bytes in a request.
const OPERATIONS: u64 = 128;
const REQUEST_BYTES: u64 = 1 << 20;
const IN_FLIGHT: usize = 4;
const KEYS_A_RANGE: usize = 1_000;

#[tokio::main]
async fn main() -> Result<()> {
    let endpoint = std::env::var("ETCD_ENDPOINTS").context("set ETCD_ENDPOINTS")?;
    let client = Client::connect([endpoint], None).await?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let begun = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["read"] => {
            let begun = Instant::now();
            read(client).await?;
            begun
        }
        ["write", puts, bytes, deletes] => {
            let ranges = ranges(client.clone(), deletes.parse()?).await?;
            let begun = Instant::now();
            load(client.clone(), puts.parse()?, bytes.parse()?).await?;
            commit(client, ranges.into_iter().map(|range| Txn::new().and_then([range]))).await?;
            begun
        }
        _ => bail!("usage: floors read | floors write PUTS BYTES DELETES"),
    };
    println!("{:.3}", begun.elapsed().as_secs_f64());
    Ok(())
}

async fn read(client: Client) -> Result<()> {
    let mut kv = client.kv_client().max_decoding_message_size(usize::MAX);
    let (mut start, mut revision) = (b"by-dev/meta/".to_vec(), 0);
    loop {
        let options = GetOptions::new().with_range("by-dev/meta0").with_limit(KEYS_A_PAGE).with_revision(revision);
        let page = kv.get(start, Some(options)).await?;
        revision = page.header().context("no header")?.revision();
        match page.kvs().last() {
            Some(last) if page.more() => start = [last.key(), &[0]].concat(),
            _ => return Ok(()),
        }
    }
}

async fn load(client: Client, puts: u64, bytes: u64) -> Result<()> {
    let value = vec![b'x'; usize::try_from(bytes / puts.max(1)).unwrap_or(0).saturating_sub(20)];
    let a_transaction = OPERATIONS.min(REQUEST_BYTES * puts.max(1) / bytes.max(1)).max(1);
    let transactions = (0..puts).step_by(usize::try_from(a_transaction)?).map(|first| {
        let keys = first..puts.min(first + a_transaction);
        Txn::new().and_then(keys.map(|key| TxnOp::put(format!("floor/{key:012}"), &*value, None)).collect::<Vec<_>>())
    });
    commit(client, transactions).await
}

/// Operations that delete the first `keys` keys.
async fn ranges(client: Client, keys: u64) -> Result<Vec<TxnOp>> {
    let options = GetOptions::new().with_range("by-dev/meta0").with_keys_only().with_limit(i64::try_from(keys)?.max(1));
    let mut kv = client.kv_client().max_decoding_message_size(usize::MAX);
    let found = kv.get("by-dev/meta/", Some(options)).await?;
    let keys = &found.kvs()[..found.kvs().len().min(usize::try_from(keys)?)];
    let range = |keys: &[KeyValue]| {
        let end = [keys[keys.len() - 1].key(), &[0]].concat();
        TxnOp::delete(keys[0].key(), Some(DeleteOptions::new().with_range(end)))
    };
    Ok(keys.chunks(KEYS_A_RANGE).map(range).collect())
}

async fn commit(client: Client, transactions: impl Iterator<Item = Txn>) -> Result<()> {
    stream::iter(transactions)
        .map(|transaction| {
            let mut kv = client.kv_client();
            async move { kv.txn(transaction).await }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}
