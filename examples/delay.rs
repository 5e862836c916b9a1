//! A slow network for benchmarks: forwards TCP connections, and delivers everything so many milliseconds later, each way.
//!
//! `cargo run --release --example delay -- MILLISECONDS LISTEN=TARGET…`, with addresses such as 127.0.0.1:2379. Runs until it is killed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let usage = "usage: delay MILLISECONDS LISTEN=TARGET…";
    let mut args = std::env::args().skip(1);
    let delay = Duration::from_millis(args.next().context(usage)?.parse().context(usage)?);
    let mut servers = Vec::new();
    for pair in args {
        let (listen, target) = pair.split_once('=').context(usage)?;
        let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        let target = target.to_owned();
        servers.push(thread::spawn(move || serve(&listener, &target, delay)));
    }
    for server in servers {
        let _ = server.join();
    }
    Ok(())
}

fn serve(listener: &TcpListener, target: &str, delay: Duration) {
    for client in listener.incoming().flatten() {
        // While the target is not there yet, its clients see a connection that ends.
        if let Ok(server) = TcpStream::connect(target) {
            let _ = join(&client, &server, delay);
        }
    }
}

fn join(client: &TcpStream, server: &TcpStream, delay: Duration) -> std::io::Result<()> {
    for (from, to) in [(client, server), (server, client)] {
        to.set_nodelay(true)?;
        let (mut from, to) = (from.try_clone()?, to.try_clone()?);
        let (due, pieces) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read) = from.read(&mut buffer)
                && read > 0
                && due.send((Instant::now() + delay, buffer[..read].to_vec())).is_ok()
            {}
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
