//! A port of ours that clients of an etcd connect to.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Listens on a free port, and has a task of its own for each connection, until `ended` says so. Returns the address.
pub async fn listen<F>(
    mut ended: watch::Receiver<bool>,
    connect: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output: Send> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                client = listener.accept() => {
                    if let Ok((client, _)) = client {
                        tokio::spawn(connect(client));
                    }
                }
                _ = ended.wait_for(|ended| *ended) => return,
            }
        }
    });
    address
}
