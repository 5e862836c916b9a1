//! Carries a plan out: batches, fences, order, retries. The only code that changes metadata, for `run` and `rollback` alike.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_client::{Compare, CompareOp, DeleteOptions, KvClient, Txn, TxnOp};
use futures::future::ready;
use futures::stream::{self, StreamExt};
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::batches::{Limits, batches, cut, halve};
use crate::etcd::{Etcd, EtcdError};
use crate::guard::{Guard, GuardError};
use crate::layout::families::Family;
use crate::layout::keys::{HISTORY, family_of, printable};
use crate::pace::Pace;
use crate::plan::{Change, Phase, Plan};
use crate::stop::{Stop, Stopped};
use crate::terminal::progress::Progress;

/// Transactions under way at the same time where their order does not matter. With 16 writing takes a twentieth less time, and others
/// wait twice as long for etcd (docs/performance.md). Where etcd is far away, as many as make up for it.
const NEARBY_IN_FLIGHT: usize = 8;
/// The most transactions that are under way at the same time.
pub const IN_FLIGHT: usize = 32;
/// Bytes under way at the same time, a transaction larger than that aside.
const BYTES_IN_FLIGHT: usize = 8 << 20;
/// A transaction takes so long, or longer, where etcd is far away.
const FAR: Duration = Duration::from_millis(20);

/// Why a plan was not carried out to its end.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The fence refused a transaction.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Somebody else changed metadata that was about to be deleted.
    #[error("{0}")]
    Changed(String),
    /// Somebody else changed our history key.
    #[error(
        "the key {key} is not what it was when this began: another process works on this metadata, or it was restored meanwhile. \
         Nothing was written after that. Look with `status`"
    )]
    HistoryChanged {
        /// The history key.
        key: String,
    },
    /// A single key with its value is more than etcd takes.
    #[error("cannot write the key {key} ({bytes} bytes with its value): {cause}")]
    TooLarge {
        /// The key.
        key: String,
        /// Size of key and value.
        bytes: usize,
        /// What etcd says.
        cause: EtcdError,
    },
    /// etcd failed.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// The process was told to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// How far a plan was carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Transactions that were sent; whether the last one was applied may not be known.
    pub sent: u64,
    /// Transactions that are known to have changed nothing: refused, and that at the first attempt. Before a second one the first may
    /// have been applied and only its answer lost.
    pub refused: u64,
}

impl Done {
    /// Whether anything may have been written.
    pub fn may_have_written(self) -> bool {
        self.sent > self.refused
    }
}

/// Carries plans out.
#[derive(Debug)]
pub struct Applier<'a> {
    /// Where to.
    pub etcd: &'a Etcd,
    /// The lock, which every transaction depends on.
    pub guard: &'a Guard,
    /// Meta root with its slash.
    pub root: &'a str,
    /// What etcd takes in one transaction.
    pub limits: Limits,
    /// Whether to go on.
    pub stop: &'a Stop,
    /// Where progress is shown.
    pub progress: &'a Progress,
    /// How fast to write at most.
    pub pace: &'a Pace,
    /// Whether etcd takes long to answer, as the first transaction found.
    pub is_far: bool,
    /// The value that the history key has; none if it is not there. Every transaction depends on it.
    pub history: Option<Bytes>,
    /// The transactions so far.
    pub counter: Counter,
}

/// Transactions so far, shared by those under way.
#[derive(Debug, Default)]
pub struct Counter {
    sent: AtomicU64,
    refused: AtomicU64,
}

impl Counter {
    /// A transaction was refused after so many attempts.
    fn refused(&self, attempts: u64) {
        if attempts <= 1 {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Applier<'_> {
    /// How far it got.
    pub fn done(&self) -> Done {
        Done { sent: self.counter.sent.load(Ordering::Relaxed), refused: self.counter.refused.load(Ordering::Relaxed) }
    }

    /// One transaction that gives the history key another value (none: removes it), with changes that belong to it. From then on
    /// every transaction depends on the new value.
    ///
    /// # Errors
    /// The fence refused it, or etcd failed.
    pub async fn turn(&mut self, changes: &[Change], revision: i64, next: Option<Bytes>) -> Result<(), ApplyError> {
        self.stop.check()?;
        let key = self.absolute(HISTORY.as_bytes());
        let txn = || {
            let (compares, mut operations) = self.operations(changes, revision);
            operations.push(match &next {
                Some(value) => TxnOp::put(&*key, &**value, None),
                None => TxnOp::delete(&*key, None),
            });
            Txn::new().when(compares).and_then(operations)
        };
        let what = format!("write the history key {}{HISTORY}", self.root);
        self.counter.sent.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let (answer, attempts) = self.send(&what, txn).await;
        self.is_far = begun.elapsed() >= FAR;
        if answer? || self.is_history(next.as_ref()).await? {
            // An answer may have been lost, and the repetition refused: then the key tells that it was applied.
            self.history = next;
            return Ok(());
        }
        self.counter.refused(attempts);
        Err(self.refusal(&what, revision).await)
    }

    async fn is_history(&self, expected: Option<&Bytes>) -> Result<bool, ApplyError> {
        let key = self.absolute(HISTORY.as_bytes());
        Ok(self.etcd.get(key).await?.map(|entry| entry.value).as_ref() == expected)
    }

    /// Carries out all phases, one after the other.
    ///
    /// # Errors
    /// The first failure; [`Applier::done`] tells whether anything was written before.
    pub async fn apply(&self, plan: &Plan) -> Result<(), ApplyError> {
        for phase in plan.phases.iter().filter(|phase| !phase.changes.is_empty()) {
            self.phase(phase, plan.revision).await?;
        }
        Ok(())
    }

    async fn phase(&self, phase: &Phase, revision: i64) -> Result<(), ApplyError> {
        let bar = self.progress.writing(phase);
        let at_once = match (phase.in_order, self.is_far) {
            (true, _) => 1,
            (_, false) => NEARBY_IN_FLIGHT,
            (_, true) => IN_FLIGHT,
        };
        let room = Semaphore::new(BYTES_IN_FLIGHT);
        let failed = AtomicBool::new(false);
        let batches = batches(phase, self.limits, self.root.len());
        let result = stream::iter(batches)
            .take_while(|_| ready(!failed.load(Ordering::Relaxed)))
            .map(|batch| async {
                let changes = &phase.changes[batch.clone()];
                let written = (changes.iter().map(Change::keys).sum::<u64>(), changes.iter().map(Change::cost).sum());
                let bytes = changes.iter().map(Change::bytes).sum::<usize>().min(BYTES_IN_FLIGHT);
                // Nobody closes it, and the number fits.
                let _room = room.acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX)).await;
                self.commit(phase, batch, revision).await.map(|()| written)
            })
            .buffer_unordered(at_once)
            // After a failure nothing new begins, but what is in flight is waited for: its outcome is known then.
            .fold(Ok(()), |result: Result<(), ApplyError>, outcome| {
                match &outcome {
                    Ok((keys, cost)) => bar.wrote(*keys, *cost),
                    Err(_) => failed.store(true, Ordering::Relaxed),
                }
                ready(result.and(outcome.map(drop)))
            })
            .await;
        if result.is_ok() {
            bar.finish();
        }
        result
    }

    /// Writes a batch in one transaction. What is too large for one, by our count or by etcd's, is written in order, one after
    /// the other.
    async fn commit(&self, phase: &Phase, batch: Range<usize>, revision: i64) -> Result<(), ApplyError> {
        let mut pending = cut(phase, batch, self.limits, self.root.len());
        pending.reverse();
        while let Some(batch) = pending.pop() {
            tokio::select! {
                () = self.pace.wait(phase.changes[batch.clone()].iter().map(Change::keys).sum()) => {}
                stopped = self.stop.requested() => return Err(stopped.into()),
            }
            self.stop.check()?;
            match self.transaction(&phase.changes[batch.clone()], revision).await {
                Err(ApplyError::Etcd(source @ (EtcdError::TooManyOps { .. } | EtcdError::RequestTooLarge { .. }))) => {
                    let Some((first, second)) = halve(phase, batch.clone()) else {
                        let change = &phase.changes[batch.start];
                        let key = format!("{}{}", self.root, printable(change.key()));
                        return Err(ApplyError::TooLarge { key, bytes: change.bytes(), cause: source });
                    };
                    pending.extend([second, first]);
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// One transaction. Repeating it does no harm: puts put the same, and what was deleted stays deleted.
    async fn transaction(&self, changes: &[Change], revision: i64) -> Result<(), ApplyError> {
        if self.guard.is_lost() {
            self.guard.check().await?;
        }
        let what = format!("write {} changes beginning at {}", changes.len(), printable(changes[0].key()));
        tracing::debug!("{what}");
        self.counter.sent.fetch_add(1, Ordering::Relaxed);
        let txn = || {
            let (compares, operations) = self.operations(changes, revision);
            Txn::new().when(compares).and_then(operations)
        };
        let (answer, attempts) = self.send(&what, txn).await;
        match answer {
            Ok(true) => return Ok(()),
            Ok(false) => self.counter.refused(attempts),
            Err(error) => {
                if matches!(error, EtcdError::TooManyOps { .. } | EtcdError::RequestTooLarge { .. }) {
                    self.counter.refused(attempts);
                }
                return Err(error.into());
            }
        }
        Err(self.refusal(&what, revision).await)
    }

    /// Whether etcd applied a transaction, and how often it was asked. It is made anew for each attempt, as there is hardly ever a
    /// second one.
    async fn send(&self, what: &str, txn: impl Fn() -> Txn) -> (Result<bool, EtcdError>, u64) {
        let attempts = AtomicU64::new(0);
        let request = async |mut kv: KvClient| {
            attempts.fetch_add(1, Ordering::Relaxed);
            kv.txn(txn()).await
        };
        let answer = self.etcd.kv(what, request).await;
        (answer.map(|answer| answer.succeeded()), attempts.load(Ordering::Relaxed))
    }

    /// Why the fence refused.
    async fn refusal(&self, what: &str, revision: i64) -> ApplyError {
        if let Err(error) = self.guard.explain().await {
            return error.into();
        }
        match self.is_history(self.history.as_ref()).await {
            Ok(true) => ApplyError::Changed(format!(
                "etcd refused to {what}: a key that was to be deleted has been changed since the plan was made (revision {revision}), or \
                 a component came up for a moment. Find and stop what writes to {}, then run again",
                self.root
            )),
            Ok(false) => ApplyError::HistoryChanged { key: format!("{}{HISTORY}", self.root) },
            Err(error) => error,
        }
    }

    /// What a transaction depends on, and what it does.
    fn operations(&self, changes: &[Change], revision: i64) -> (Vec<Compare>, Vec<TxnOp>) {
        let mut compares = self.guard.fence();
        let key = self.absolute(HISTORY.as_bytes());
        compares.push(match &self.history {
            Some(value) => Compare::value(key, CompareOp::Equal, &**value),
            None => Compare::create_revision(key, CompareOp::Equal, 0),
        });
        let mut operations = Vec::with_capacity(changes.len());
        for change in changes {
            match change {
                Change::Put { key, value } => operations.push(TxnOp::put(self.absolute(key), &**value, None)),
                Change::Delete { first, last, .. } => {
                    let start = self.absolute(first);
                    let end = [&*self.absolute(last), &[0]].concat();
                    // What has been changed since it was looked at must not go; a tripwire goes whatever is in it. They all go in the
                    // transaction that ends a rollback, which cannot be cut, and etcd may take no more than 8 compares in one.
                    if family_of(first) != Family::Tripwire {
                        let unchanged = Compare::mod_revision(start.clone(), CompareOp::Less, revision + 1);
                        compares.push(unchanged.with_range(end.clone()));
                    }
                    operations.push(TxnOp::delete(start, Some(DeleteOptions::new().with_range(end))));
                }
            }
        }
        (compares, operations)
    }

    fn absolute(&self, key: &[u8]) -> Vec<u8> {
        [self.root.as_bytes(), key].concat()
    }
}
