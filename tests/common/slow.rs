//! A slow way to an etcd, so that tests can step in between two transactions.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::etcd::Etcd;

/// How long every answer of etcd is held up.
const DELAY: Duration = Duration::from_millis(10);

/// Passes bytes to and from an etcd, its answers late. It ends when this is dropped.
pub struct SlowLink {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl SlowLink {
    /// A link to the plain endpoint of an etcd.
    pub fn to(etcd: &Etcd) -> Self {
        let target: SocketAddr = etcd.plain_endpoint().trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = Self { address: listener.local_addr().unwrap(), ended: Arc::default() };
        let ended = Arc::clone(&link.ended);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(server) = TcpStream::connect(target) else { continue };
                let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || pass(from_client, to_server, Duration::ZERO));
                thread::spawn(move || pass(server, client, DELAY));
            }
        });
        link
    }

    /// Where clients connect.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for clients.
        drop(TcpStream::connect(self.address));
    }
}

/// Passes bytes in one direction until one side is done; then both are.
fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    // Otherwise small answers would wait for acknowledgements, too.
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        thread::sleep(delay);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
