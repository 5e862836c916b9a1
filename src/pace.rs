//! `--max-rate`: how many keys are written in a second at most.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Spreads what is written over time. Without a rate it never waits.
#[derive(Debug)]
pub struct Pace {
    /// 0 for any number.
    keys_a_second: u64,
    /// When what was let through so far is over.
    next: Mutex<Instant>,
}

impl Pace {
    /// At most so many keys a second; 0 for any number.
    pub fn new(keys_a_second: u64) -> Self {
        Self { keys_a_second, next: Mutex::new(Instant::now()) }
    }

    /// How many keys a second there may be; 0 for any number.
    pub fn keys_a_second(&self) -> u64 {
        self.keys_a_second
    }

    /// Lets so many keys through as soon as it is their turn.
    pub async fn wait(&self, keys: u64) {
        let turn = self.turn(Instant::now(), keys);
        if let Some(turn) = turn {
            tokio::time::sleep_until(turn.into()).await;
        }
    }

    /// When it is the turn of so many keys; at once if it is none.
    fn turn(&self, now: Instant, keys: u64) -> Option<Instant> {
        let takes = Duration::from_secs(keys.checked_div(self.keys_a_second)?)
            + Duration::from_secs(keys % self.keys_a_second) / u32::try_from(self.keys_a_second).unwrap_or(u32::MAX);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(now);
        *next = turn + takes;
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spread_over_time_and_no_pause_is_saved_up() {
        let pace = Pace::new(100);
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let turns: Vec<_> = [(now, 150), (now, 50), (now, 1), (later, 100), (later, 1)]
            .map(|(now, keys)| pace.turn(now, keys).unwrap())
            .to_vec();
        assert!(turns[0] <= now);
        assert_eq!(turns[1] - turns[0], Duration::from_millis(1500));
        assert_eq!(turns[2] - turns[1], Duration::from_millis(500));
        assert_eq!((turns[3], turns[4]), (later, later + Duration::from_secs(1)));
        assert_eq!(Pace::new(0).turn(now, 1_000_000), None);
    }
}
