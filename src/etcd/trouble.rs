//! etcd does not answer for a while: said once, and once more when it is over.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Since when etcd does not answer; shared by all requests, of which many fail at the same time and again and again.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<Instant>>);

impl Trouble {
    /// A request failed and is made again. The first failure is told, the others are for whoever looks closely.
    pub(super) fn begins(&self, what: &str) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_some() {
            tracing::debug!("{what}; trying again");
            return;
        }
        *since = Some(Instant::now());
        tracing::warn!("{what}; trying again");
    }

    /// A request was answered.
    pub(super) fn is_over(&self) {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(since) = since {
            tracing::warn!("etcd answers again after {:.0} s", since.elapsed().as_secs_f64());
        }
    }
}
