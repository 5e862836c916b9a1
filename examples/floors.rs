//! etcd's own speed, without this tool: what the benchmark holds `backup`, `run` and `rollback` against.
//!
//! `cargo run --release --example floors -- read` reads all keys under by-dev/meta/ in pages of 3,000, and drops them.
//! `cargo run --release --example floors -- load PUTS BYTES` puts so many keys with so many bytes in all, in full transactions from
//! one connection, four at a time.
//!
//! Prints the seconds that it took, the connection aside. The endpoint is ETCD_ENDPOINTS.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use etcd_client::{Client, GetOptions, Txn, TxnOp};
use futures::stream::{self, StreamExt, TryStreamExt};

const KEYS_A_PAGE: i64 = 3_000;
/// etcd's own limits: operations in a transaction, and (well below it) bytes in a request.
const OPERATIONS: u64 = 128;
const REQUEST_BYTES: u64 = 1 << 20;
const IN_FLIGHT: usize = 4;

#[tokio::main]
async fn main() -> Result<()> {
    let endpoint = std::env::var("ETCD_ENDPOINTS").context("set ETCD_ENDPOINTS")?;
    let client = Client::connect([endpoint], None).await?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let begun = Instant::now();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["read"] => read(client).await?,
        ["load", puts, bytes] => load(client, puts.parse()?, bytes.parse()?).await?,
        _ => bail!("usage: floors read | floors load PUTS BYTES"),
    }
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
