//! Two pieces of work at the same time: what is worked out between reading and writing keeps etcd waiting, and the cluster is down.

use std::panic::resume_unwind;
use std::thread;

/// Does both, one of them on a thread of its own.
pub fn both<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (one.join().unwrap_or_else(|panic| resume_unwind(panic)), other)
    })
}
