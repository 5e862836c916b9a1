//! Waiting for live sessions to end, and taking the lock.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Context;
use crate::etcd::Etcd;
use crate::guard::{Guard, GuardError, Session};

/// How often sessions are looked at while waiting.
const POLL: Duration = Duration::from_secs(1);
/// How often it is told who is still there.
const TELL: Duration = Duration::from_secs(10);

impl Context {
    /// Takes the lock. With `--wait-for-sessions`, waits until the last session has ended, and tells who is still there.
    pub(super) async fn lock(&self, etcd: &Etcd) -> Result<Guard> {
        let begun = Instant::now();
        let mut told: Option<Instant> = None;
        loop {
            let refusal = match Guard::acquire(etcd, &self.root).await {
                Ok(guard) => return Ok(guard),
                Err(refusal) => refusal,
            };
            let left = self.wait.unwrap_or_default().saturating_sub(begun.elapsed());
            if left.is_zero() || !may_pass(&refusal) {
                let waited =
                    if told.is_some() { format!(" (waited {} s)", begun.elapsed().as_secs()) } else { String::new() };
                return Err(refusal).with_context(|| format!("cannot work on {}{waited}", self.config.meta_root));
            }
            if told.is_none_or(|last| last.elapsed() >= TELL) {
                told = Some(Instant::now());
                self.say(format!("waiting for sessions to end: {}", names(&refusal)));
            }
            let pause = async {
                tokio::time::sleep(left.min(POLL)).await;
                Ok(())
            };
            self.unless_stopped(pause).await?;
        }
    }
}

/// Whether time can help: a key without a lease never goes away by itself.
fn may_pass(refusal: &GuardError) -> bool {
    match refusal {
        GuardError::Sessions(sessions) => sessions.iter().all(|session| session.leased),
        GuardError::Locked(holder) => holder.leased,
        GuardError::LockLost { .. } | GuardError::Etcd(_) => false,
    }
}

fn names(refusal: &GuardError) -> String {
    let short = |session: &Session| match session.seconds_left {
        Some(seconds) => format!("{} ({seconds} s left unless it is renewed)", session.role),
        None => session.role.clone(),
    };
    match refusal {
        GuardError::Sessions(sessions) => sessions.iter().map(short).collect::<Vec<_>>().join(", "),
        GuardError::Locked(holder) => short(holder),
        GuardError::LockLost { .. } | GuardError::Etcd(_) => refusal.to_string(),
    }
}
