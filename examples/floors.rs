//! etcd's own speed, without this tool: what the benchmark holds `backup`, `run` and `rollback` against.
//!
//! `floors read` reads all keys under by-dev/meta/ in plain pages and drops them, in pages of several sizes: one loop, and two at
//! a time that read a half each (where the middle is, is known from before); and, to be held against these, with the tool's reader,
//! after each page size once, of which the best counts as it does of the plain loops.
//! `floors write SINCE DELETES TO BATCH IN_FLIGHT` puts the same keys and values that were put under by-dev/meta/ since the revision
//! SINCE into another etcd at TO, which is as this one was then: under another prefix, in batches of BATCH keys, IN_FLIGHT of them
//! under way; then deletes DELETES keys under by-dev/meta/ there, in ranges of up to 1,000 keys.
//!
//! Prints a JSON object of seconds. What is read or made beforehand is not timed. The endpoint is ETCD_ENDPOINTS. SIZES, if it is
//! set, names the page sizes to try instead of all.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use etcd_client::{Client, DeleteOptions, GetOptions, Txn, TxnOp};
use futures::future::try_join;
use futures::stream::{self, StreamExt, TryStreamExt};
use meta_migration::config::{self, Overrides};
use meta_migration::etcd::Etcd;

const FIRST: &str = "by-dev/meta/";
const END: &str = "by-dev/meta0";
const PAGES: [i64; 4] = [2_000, 10_000, 50_000, 200_000];
/// Well below etcd's limit of a request.
const REQUEST_BYTES: usize = 1 << 20;
/// Ranges that are deleted at the same time.
const RANGES_IN_FLIGHT: usize = 4;
const KEYS_A_RANGE: usize = 1_000;

type Keys = Vec<(Vec<u8>, Vec<u8>)>;

#[tokio::main]
async fn main() -> Result<()> {
    let endpoint = std::env::var("ETCD_ENDPOINTS").context("set ETCD_ENDPOINTS")?;
    let client = Client::connect([endpoint], None).await?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let times = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["read"] => reads(&client).await?,
        ["write", since, deletes, to, batch, in_flight] => {
            let keys = changed(&client, since.parse()?).await?;
            let to = Client::connect([to], None).await?;
            writes(&to, &keys, deletes.parse()?, batch.parse()?, in_flight.parse()?).await?
        }
        _ => bail!("usage: floors read | floors write SINCE DELETES TO BATCH IN_FLIGHT"),
    };
    println!("{}", serde_json::to_string(&times)?);
    Ok(())
}

/// The page sizes to try.
fn pages() -> Vec<i64> {
    let chosen = std::env::var("SIZES").unwrap_or_default();
    let chosen: Vec<i64> = chosen.split(',').filter_map(|size| size.parse().ok()).collect();
    if chosen.is_empty() { PAGES.to_vec() } else { chosen }
}

async fn reads(client: &Client) -> Result<BTreeMap<String, f64>> {
    let (_, middle) = read(client, FIRST.into(), END.into(), 10_000).await?;
    let (mut times, mut own) = (BTreeMap::new(), f64::INFINITY);
    for page in pages() {
        let begun = Instant::now();
        let (keys, _) = read(client, FIRST.into(), END.into(), page).await?;
        times.insert(format!("pages of {page}"), begun.elapsed().as_secs_f64());
        own = own.min(read_as_the_tool_does().await?);
        if keys <= page as u64 {
            break;
        }
        let begun = Instant::now();
        let halves = (read(client, FIRST.into(), middle.clone(), page), read(client, middle.clone(), END.into(), page));
        try_join(halves.0, halves.1).await?;
        times.insert(format!("two loops, pages of {page}"), begun.elapsed().as_secs_f64());
    }
    times.insert("the tool's reader".into(), own);
    Ok(times)
}

/// The seconds that the tool's reader takes for the same keys; they are dropped, too. Connecting is not counted.
async fn read_as_the_tool_does() -> Result<f64> {
    let given = Overrides { endpoints: std::env::var("ETCD_ENDPOINTS").ok(), ..Overrides::default() };
    let etcd = Etcd::connect(&config::load(None, &given)?.etcd).await?;
    let begun = Instant::now();
    let mut snapshot = etcd.snapshot(FIRST).await?;
    while snapshot.next_page().await?.is_some() {}
    Ok(begun.elapsed().as_secs_f64())
}

/// Reads all keys from `start` up to `end`; how many they are, and the one in the middle.
async fn read(client: &Client, mut start: Vec<u8>, end: Vec<u8>, page: i64) -> Result<(u64, Vec<u8>)> {
    let mut kv = client.kv_client().max_decoding_message_size(usize::MAX);
    let (mut revision, mut keys, mut middle, mut half) = (0, 0, start.clone(), None);
    loop {
        let options = GetOptions::new().with_range(&*end).with_limit(page).with_revision(revision);
        let answer = kv.get(start, Some(options)).await?;
        revision = answer.header().context("no header")?.revision();
        let half = *half.get_or_insert(answer.count() as u64 / 2);
        if let Some(last) = answer.kvs().last().filter(|_| keys < half) {
            middle = last.key().to_vec();
        }
        keys += answer.kvs().len() as u64;
        match answer.kvs().last() {
            Some(last) if answer.more() => start = [last.key(), &[0]].concat(),
            _ => return Ok((keys, middle)),
        }
    }
}

async fn writes(
    to: &Client,
    keys: &Keys,
    deletes: usize,
    batch: usize,
    in_flight: usize,
) -> Result<BTreeMap<String, f64>> {
    let (transactions, ranges) = (batches(keys, batch), ranges(to, deletes).await?);
    let begun = Instant::now();
    commit(to, transactions, in_flight).await?;
    let puts = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    commit(to, ranges, RANGES_IN_FLIGHT).await?;
    let times =
        [(format!("puts, {in_flight} batches of {batch}"), puts), ("deletes".into(), begun.elapsed().as_secs_f64())];
    Ok(times.into())
}

/// All keys with their values that were put since a revision: read in plain pages, because etcd would look at all of them at once.
async fn changed(client: &Client, since: i64) -> Result<Keys> {
    let mut kv = client.kv_client().max_decoding_message_size(usize::MAX);
    let (mut start, mut keys) = (FIRST.as_bytes().to_vec(), Keys::new());
    loop {
        let mut answer = kv.get(start, Some(GetOptions::new().with_range(END).with_limit(10_000))).await?;
        let more = answer.more();
        let kvs = answer.take_kvs();
        start = kvs.last().map_or_else(Vec::new, |last| [last.key(), &[0]].concat());
        keys.extend(kvs.into_iter().filter(|kv| kv.mod_revision() > since).map(etcd_client::KeyValue::into_key_value));
        if !more {
            return Ok(keys);
        }
    }
}

/// The key under another prefix of the same length.
fn moved(key: &[u8]) -> Vec<u8> {
    [b"new", &key[3..]].concat()
}

fn batches(keys: &Keys, most: usize) -> Vec<Txn> {
    let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (key, value) in keys {
        bytes += key.len() + value.len();
        if batch.len() == most || (bytes > REQUEST_BYTES && !batch.is_empty()) {
            batches.push(Txn::new().and_then(std::mem::take(&mut batch)));
            bytes = key.len() + value.len();
        }
        batch.push(TxnOp::put(moved(key), &**value, None));
    }
    batches.push(Txn::new().and_then(batch));
    batches
}

/// Transactions that delete so many of the keys that are there.
async fn ranges(client: &Client, deletes: usize) -> Result<Vec<Txn>> {
    let mut kv = client.kv_client().max_decoding_message_size(usize::MAX);
    let (mut start, mut keys) = (FIRST.as_bytes().to_vec(), Vec::new());
    while keys.len() < deletes {
        let limit = (deletes - keys.len()).min(50_000);
        let options = GetOptions::new().with_range(END).with_keys_only().with_limit(limit as i64);
        let mut answer = kv.get(start, Some(options)).await?;
        keys.extend(answer.take_kvs().into_iter().map(|kv| kv.key().to_vec()));
        let Some(last) = keys.last().filter(|_| answer.more() || keys.len() >= deletes) else {
            bail!("there are {} keys, but {deletes} to delete", keys.len())
        };
        start = [&**last, &[0]].concat();
    }
    Ok(keys.chunks(KEYS_A_RANGE).map(range).collect())
}

fn range(keys: &[Vec<u8>]) -> Txn {
    let end = [&keys[keys.len() - 1], &[0][..]].concat();
    Txn::new().and_then([TxnOp::delete(&*keys[0], Some(DeleteOptions::new().with_range(end)))])
}

async fn commit(client: &Client, transactions: Vec<Txn>, in_flight: usize) -> Result<()> {
    stream::iter(transactions)
        .map(|transaction| {
            let mut kv = client.kv_client();
            async move { kv.txn(transaction).await }
        })
        .buffer_unordered(in_flight)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}
