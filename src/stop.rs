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
    /// Listens for SIGTERM, SIGHUP and Ctrl-C from now on. A second signal does not hasten anything; SIGKILL is safe too. What
    /// the process was started to ignore, as `nohup` has it ignore SIGHUP, stays ignored.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn on_signals() -> std::io::Result<Self> {
        let (sender, receiver) = watch::channel(false);
        let ignored = ignored_signals(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        let is_ignored = |kind: &SignalKind| ignored >> (kind.as_raw_value() - 1) & 1 == 1;
        let kinds = [SignalKind::interrupt(), SignalKind::hangup()].into_iter().filter(|kind| !is_ignored(kind));
        for kind in kinds.chain([SignalKind::terminate()]) {
            let mut signals = signal(kind)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    tracing::warn!("stopping: what is in flight is finished first");
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

/// The signals that this process ignores, the lowest bit for signal 1, as Linux tells them; none where it cannot be learnt.
fn ignored_signals(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::ignored_signals;

    #[test]
    fn ignored_signals_are_read_from_what_linux_tells() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000440\n";
        assert_eq!(ignored_signals(status), 0x1001);
        for other in ["", "SigIgn:\tx", "SigBlk:\t1"] {
            assert_eq!(ignored_signals(other), 0);
        }
    }
}
