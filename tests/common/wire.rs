//! A bad line to an etcd: bytes come late, in crumbs, or not at all.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::etcd::{Etcd, block_on};
use super::port::listen;

/// What is wrong with a line.
#[derive(Debug, Clone, Default)]
pub struct Harm {
    /// How long every piece of an answer is held up.
    pub delay: Duration,
    /// How large a piece is at most; 0 for whatever comes.
    pub piece: usize,
    /// After so many bytes of answers, on all connections together, the connection is reset, once for each number.
    pub resets: Vec<u64>,
}

/// Passes bytes to and from an etcd. All connections through it end when it is dropped.
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    harm: Harm,
    /// The resets to come.
    resets: Mutex<Vec<u64>>,
    /// Bytes of answers so far.
    passed: AtomicU64,
    ended: watch::Sender<bool>,
}

impl Wire {
    /// A line to the plain endpoint of an etcd.
    pub fn to(etcd: &Etcd, mut harm: Harm) -> Self {
        let target = etcd.plain_endpoint().trim_start_matches("http://").parse().unwrap();
        harm.resets.sort_unstable_by(|one, other| other.cmp(one));
        let resets = Mutex::new(harm.resets.clone());
        let ended = watch::Sender::new(false);
        let shared = Arc::new(Shared { target, harm, resets, passed: AtomicU64::new(0), ended });
        let ended = shared.ended.subscribe();
        let accepted = Arc::clone(&shared);
        let address = block_on(listen(ended, move |client| connect(client, Arc::clone(&accepted))));
        Self { address, shared }
    }

    /// Where clients connect.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many bytes of answers have come so far.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }

    /// How many resets are still to come.
    pub fn resets_to_come(&self) -> usize {
        self.shared.resets.lock().unwrap().len()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.ended.send_replace(true);
    }
}

async fn connect(mut client: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut server = TcpStream::connect(shared.target).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let mut ended = shared.ended.subscribe();
    let reset = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        tokio::select! {
            _ = tokio::io::copy(&mut from_client, &mut to_server) => false,
            reset = answers(&shared, &mut from_server, &mut to_client) => reset?,
            _ = ended.wait_for(|ended| *ended) => false,
        }
    };
    if reset {
        // Closed with nothing to linger for, a socket says RST instead of FIN.
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    Ok(())
}

/// Passes answers until the line is done, or to be reset: then `true`.
async fn answers(
    shared: &Shared,
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<bool> {
    let mut buffer = vec![0; if shared.harm.piece == 0 { 1 << 16 } else { shared.harm.piece }];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(false);
        }
        // No delay would still be one of up to a millisecond.
        if !shared.harm.delay.is_zero() {
            tokio::time::sleep(shared.harm.delay).await;
        }
        let before = shared.passed.fetch_add(read as u64, Ordering::Relaxed);
        let reset = {
            let mut resets = shared.resets.lock().unwrap();
            resets.pop_if(|at| *at <= before + read as u64)
        };
        if let Some(at) = reset {
            let kept = usize::try_from(at.saturating_sub(before)).unwrap_or(0).min(read);
            to.write_all(&buffer[..kept]).await?;
            to.flush().await?;
            return Ok(true);
        }
        to.write_all(&buffer[..read]).await?;
    }
}
