//! How a plan is cut into transactions that etcd takes. Pure.

use std::ops::Range;

use crate::plan::{Change, Phase, Plan};

/// What a transaction takes beside keys and values: framing, and the compares of the fence.
const FENCE_BYTES: usize = 2048;
const FRAME_BYTES: usize = 48;
/// The fence has this many compares; etcd counts them against the same limit as operations.
const FENCE_COMPARES: usize = 5;
/// Keys that one transaction deletes at most, so that etcd is not busy with it for long.
const MAX_DELETES: u64 = 5_000;

/// What etcd takes in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Operations (`--max-txn-ops` of etcd).
    pub max_txn_ops: usize,
    /// Bytes (`--max-request-bytes` of etcd).
    pub max_request_bytes: usize,
}

impl Limits {
    /// Bytes that a batch is filled to: well below the limit, because that counts etcd's own framing too.
    fn batch_bytes(self) -> usize {
        self.max_request_bytes / 3 * 2
    }
}

impl Default for Limits {
    /// etcd's own defaults.
    fn default() -> Self {
        Self { max_txn_ops: 128, max_request_bytes: 3 << 19 }
    }
}

/// How many transactions a plan takes, with these limits and a meta root of so many bytes.
pub fn transactions(plan: &Plan, limits: Limits, root_bytes: usize) -> usize {
    let cuts = |phase: &Phase| {
        let batches = batches(phase, limits, root_bytes).into_iter();
        batches.map(|batch| cut(phase, batch, limits, root_bytes).len()).sum::<usize>()
    };
    plan.phases.iter().map(cuts).sum()
}

/// Cuts a phase into batches that etcd takes, keeping joined changes together; those that are too large for one transaction are a
/// batch of their own, which [`cut`] cuts.
pub(crate) fn batches(phase: &Phase, limits: Limits, root_bytes: usize) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let mut batch = Load::default();
    let mut at = 0;
    while at < phase.changes.len() {
        let mut end = at + 1;
        while phase.is_joined(end) {
            end += 1;
        }
        let group = Load::of(&phase.changes[at..end], root_bytes);
        let both = batch.plus(group);
        if batch.changes > 0 && !both.fits(limits) {
            batches.push(at - batch.changes..at);
            batch = group;
        } else {
            batch = both;
        }
        at = end;
    }
    if batch.changes > 0 {
        batches.push(at - batch.changes..at);
    }
    batches
}

/// Cuts a batch that is too large into pieces that fit, in order.
pub(crate) fn cut(phase: &Phase, batch: Range<usize>, limits: Limits, root_bytes: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut start, mut piece) = (batch.start, Load::default());
    for at in batch.clone() {
        let one = Load::of(&phase.changes[at..=at], root_bytes);
        let both = piece.plus(one);
        if piece.changes > 0 && !both.fits(limits) {
            pieces.push(start..at);
            (start, piece) = (at, one);
        } else {
            piece = both;
        }
    }
    pieces.push(start..batch.end);
    pieces
}

/// What a transaction has to carry.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    changes: usize,
    bytes: usize,
    compares: usize,
    deletes: u64,
}

impl Load {
    pub(crate) fn of(changes: &[Change], root_bytes: usize) -> Self {
        changes.iter().fold(Self::default(), |load, change| {
            load.plus(match change {
                Change::Put { .. } => {
                    Self { changes: 1, bytes: root_bytes + change.bytes() + FRAME_BYTES, compares: 0, deletes: 0 }
                }
                // The keys stand in the operation and in its compare.
                Change::Delete { keys, .. } => Self {
                    changes: 1,
                    bytes: 2 * (2 * root_bytes + change.bytes() + FRAME_BYTES),
                    compares: 1,
                    deletes: *keys,
                },
            })
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            changes: self.changes + other.changes,
            bytes: self.bytes + other.bytes,
            compares: self.compares + other.compares,
            deletes: self.deletes + other.deletes,
        }
    }

    pub(crate) fn fits(self, limits: Limits) -> bool {
        self.changes <= limits.max_txn_ops
            && self.compares + FENCE_COMPARES <= limits.max_txn_ops
            && self.bytes + FENCE_BYTES <= limits.batch_bytes()
            && self.deletes <= MAX_DELETES
    }
}

/// Two halves of a batch, cut between joined changes only if there is no other place; `None` if it is a single change.
pub(crate) fn halve(phase: &Phase, batch: Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
    let middle = batch.start + batch.len() / 2;
    let free = |at: &usize| !phase.is_joined(*at);
    let cut = (batch.start + 1..=middle).rev().find(free).or_else(|| (middle + 1..batch.end).find(free));
    let cut = cut.or_else(|| (batch.len() > 1).then_some(middle.max(batch.start + 1)))?;
    Some((batch.start..cut, cut..batch.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(sizes: &[usize], joined: &[usize]) -> Phase {
        let mut phase = Phase::new("test");
        let put =
            |(at, size): (usize, &usize)| Change::Put { key: format!("k{at}").into(), value: vec![0u8; *size].into() };
        phase.changes = sizes.iter().enumerate().map(put).collect();
        phase.joined = joined.to_vec();
        phase
    }

    fn limits(max_txn_ops: usize, max_request_bytes: usize) -> Limits {
        Limits { max_txn_ops, max_request_bytes }
    }

    #[test]
    fn batches_hold_all_changes_once_and_in_order() {
        for (ops, bytes) in [(128, 1_572_864), (8, 65_536), (9, 65_536), (128, 65_536)] {
            let phase = phase(&[100, 40_000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 30_000, 30_000], &[3, 13]);
            let batches = batches(&phase, limits(ops, bytes), 12);
            let all: Vec<usize> = batches.iter().cloned().flatten().collect();
            assert_eq!(all, (0..14).collect::<Vec<_>>());
            assert!(batches.iter().all(|batch| batch.len() <= ops));
        }
    }

    #[test]
    fn joined_changes_stay_together_where_they_fit() {
        let phase = phase(&[1; 10], &[2, 5, 8]);
        for batch in batches(&phase, limits(8, 1 << 20), 0).windows(2) {
            assert!(!phase.is_joined(batch[1].start), "{batch:?}");
        }
        let large = self::phase(&[1, 900_000, 900_000, 1, 1], &[2, 3]);
        let limits = limits(128, 1_572_864);
        assert_eq!(batches(&large, limits, 0), [0..1, 1..4, 4..5]);
        assert_eq!(cut(&large, 1..4, limits, 0), [1..2, 2..4], "in order, and by one task alone");
    }

    #[test]
    fn a_value_larger_than_a_batch_goes_alone() {
        let phase = phase(&[10, 1_400_000, 10], &[]);
        assert_eq!(batches(&phase, Limits::default(), 12), [0..1, 1..2, 2..3]);
    }

    #[test]
    fn deletes_count_their_compares_and_their_keys() {
        let mut phase = Phase::new("test");
        for at in 0..300 {
            phase.changes.push(Change::delete(format!("k{at:03}")));
        }
        assert!(batches(&phase, Limits::default(), 12).iter().all(|batch| batch.len() <= 128 - FENCE_COMPARES));
        let range = Change::Delete { first: "a".into(), last: "b".into(), keys: 1000 };
        let ranges = Phase { changes: vec![range; 20], ..Phase::new("test") };
        assert!(batches(&ranges, Limits::default(), 12).iter().all(|batch| batch.len() <= 5));
    }

    #[test]
    fn halves_are_cut_between_groups_if_there_is_a_place() {
        let phase = phase(&[1; 6], &[3]);
        assert_eq!(halve(&phase, 0..6), Some((0..2, 2..6)));
        assert_eq!(halve(&phase, 2..4), Some((2..3, 3..4)));
        assert_eq!(halve(&phase, 4..5), None);
    }
}
