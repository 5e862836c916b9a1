//! SIGTERM and Ctrl-C: finish the transaction in flight, then stop in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

/// Whether somebody wants the process to stop. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

/// The process was told to stop.
#[derive(Debug, Clone, Copy, Error)]
#[error("stopped by a signal")]
pub struct Stopped;

impl Stop {
    /// Listens for SIGTERM and Ctrl-C from now on. A second signal does not hasten anything; SIGKILL is safe too.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn on_signals() -> std::io::Result<Self> {
        let stop = Self::default();
        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            let mut signals = signal(kind)?;
            let stop = stop.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    tracing::warn!("told to stop: finishing what is in flight");
                    stop.0.store(true, Ordering::Relaxed);
                }
            });
        }
        Ok(stop)
    }

    /// Between two steps: whether to go on.
    ///
    /// # Errors
    /// Somebody wants the process to stop.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.0.load(Ordering::Relaxed) { Err(Stopped) } else { Ok(()) }
    }
}
