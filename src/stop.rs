//! SIGTERM, SIGHUP (a connection that drops) and Ctrl-C: finish the transaction in flight, then stop in order.

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether somebody wants the process to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// The process was told to stop.
#[derive(Debug, Clone, Copy, Error)]
#[error("stopped by a signal")]
pub struct Stopped;

impl Stop {
    /// Listens for SIGTERM, SIGHUP and Ctrl-C from now on. A second signal does not hasten anything; SIGKILL is safe too.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn on_signals() -> std::io::Result<Self> {
        let (sender, receiver) = watch::channel(false);
        for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
            let mut signals = signal(kind)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    tracing::warn!("told to stop: finishing what is in flight");
                    sender.send_replace(true);
                }
            });
        }
        Ok(Self(receiver))
    }

    /// Between two steps: whether to go on.
    ///
    /// # Errors
    /// Somebody wants the process to stop.
    pub fn check(&self) -> Result<(), Stopped> {
        if *self.0.borrow() { Err(Stopped) } else { Ok(()) }
    }

    /// Ends when somebody wants the process to stop.
    pub async fn requested(&self) -> Stopped {
        if self.0.clone().wait_for(|stop| *stop).await.is_err() {
            // Nobody is left who could want it.
            std::future::pending::<()>().await;
        }
        Stopped
    }
}
