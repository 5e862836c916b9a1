//! A slow network for benchmarks: forwards TCP connections, delivers everything so many milliseconds later, each way, and no more than so
//! many megabytes (10^6 bytes) a second, each way and over all connections together.
//!
//! `cargo run --release --example delay -- MILLISECONDS MEGABYTES LISTEN=TARGET…`, with addresses such as 127.0.0.1:2379; 0 megabytes for
//! any number. Runs until it is killed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const USAGE: &str = "usage: delay MILLISECONDS MEGABYTES LISTEN=TARGET…";
/// Bytes that are taken at a time: an answer to something else waits no longer than these take.
const PIECE: usize = 16 << 10;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = || -> Result<f64> { args.next().context(USAGE)?.parse().context(USAGE) };
    let (delay, megabytes) = (Duration::from_secs_f64(number()? / 1e3), number()?);
    let mut servers = Vec::new();
    for pair in args {
        let (listen, target) = pair.split_once('=').context(USAGE)?;
        let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        let target = target.to_owned();
        servers.push(thread::spawn(move || serve(&listener, &target, delay, megabytes)));
    }
    for server in servers {
        let _ = server.join();
    }
    Ok(())
}

/// One direction of a line: when it has carried what it was given so far.
#[derive(Debug, Clone)]
struct Line {
    free: Arc<Mutex<Instant>>,
    /// 0 for any number.
    bytes_a_second: f64,
}

impl Line {
    fn new(megabytes: f64) -> Self {
        Self { free: Arc::new(Mutex::new(Instant::now())), bytes_a_second: megabytes * 1e6 }
    }

    /// Waits until the line has carried these bytes.
    fn carry(&self, bytes: usize) {
        if self.bytes_a_second <= 0.0 {
            return;
        }
        let free = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            *free = (*free).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / self.bytes_a_second);
            *free
        };
        thread::sleep(free.saturating_duration_since(Instant::now()));
    }
}

fn serve(listener: &TcpListener, target: &str, delay: Duration, megabytes: f64) {
    let lines = [Line::new(megabytes), Line::new(megabytes)];
    for client in listener.incoming().flatten() {
        // While the target is not there yet, its clients see a connection that ends.
        if let Ok(server) = TcpStream::connect(target) {
            let _ = join(&client, &server, delay, &lines);
        }
    }
}

fn join(client: &TcpStream, server: &TcpStream, delay: Duration, lines: &[Line; 2]) -> std::io::Result<()> {
    for ((from, to), line) in [(client, server), (server, client)].into_iter().zip(lines) {
        to.set_nodelay(true)?;
        let (mut from, to, line) = (from.try_clone()?, to.try_clone()?, line.clone());
        let (due, pieces) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; PIECE];
            while let Ok(read) = from.read(&mut buffer)
                && read > 0
            {
                line.carry(read);
                if due.send((Instant::now() + delay, buffer[..read].to_vec())).is_err() {
                    break;
                }
            }
        });
        thread::spawn(move || deliver(&pieces, to));
    }
    Ok(())
}

fn deliver(pieces: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    while let Ok((due, piece)) = pieces.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
