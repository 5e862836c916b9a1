//! Progress: a bar on a terminal, a log line every few seconds elsewhere.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::outlook::{Kind, Outlook};
use crate::amounts::thousands;
use crate::plan::{Change, Phase, Plan};

/// In a pod's log, a line at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Where progress is shown.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Bars, on a terminal.
    bars: Option<MultiProgress>,
    /// Width of that terminal.
    columns: u16,
    outlook: Arc<Mutex<Outlook>>,
}

impl Progress {
    /// Progress as bars on a terminal of so many columns.
    pub fn bars(bars: MultiProgress, columns: u16) -> Self {
        Self { bars: Some(bars), columns, ..Self::default() }
    }

    /// Progress as log lines.
    pub fn lines() -> Self {
        Self::default()
    }

    /// From now on there is just this plan to carry out, and so many keys to be read back.
    pub fn expect(&self, plan: &Plan, read_back: u64) {
        let write: u64 = plan.phases.iter().map(Phase::cost).sum();
        locked(&self.outlook).expect(read_back as f64, write as f64);
    }

    /// Begins to read `total` keys.
    pub fn reading(&self, name: &str, total: u64) -> Bar {
        self.begin(name, total, "metadata keys", Kind::Read)
    }

    /// Begins to read a file of so many MiB.
    pub fn reading_file(&self, name: &str, mib: u64) -> Bar {
        self.begin(name, mib, "MiB", Kind::Read)
    }

    /// Begins to look for `total` files.
    pub fn files(&self, name: &str, total: u64) -> Bar {
        self.begin(name, total, "files", Kind::Look)
    }

    /// Begins to write a phase of a plan.
    pub fn writing(&self, phase: &Phase) -> Bar {
        self.begin(phase.name, phase.changes.iter().map(Change::keys).sum(), "keys", Kind::Write)
    }

    fn begin(&self, name: &str, total: u64, unit: &'static str, kind: Kind) -> Bar {
        let clock =
            Arc::new(Clock { kind, begun: Instant::now(), amount: AtomicU64::new(0), outlook: self.outlook.clone() });
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(total));
            bar.set_style(style(unit, clock.clone(), self.columns));
            bar.set_message(name.to_owned());
            bar
        });
        let lines = Mutex::new(Lines { done: 0, last: clock.begun });
        Bar { name: name.to_owned(), total, unit, clock, bar, lines, counted: AtomicU64::new(0) }
    }
}

fn style(unit: &str, clock: Arc<Clock>, columns: u16) -> ProgressStyle {
    // What does not fit would be cut off in the middle of a word.
    let template = match columns {
        ..60 => "{msg} {percent}%".to_owned(),
        60..150 => "{msg:34} {percent:>3}%, {eta} left".to_owned(),
        _ => format!("{{msg:34}} [{{bar:30}}] {{human_pos}}/{{human_len}} {unit}, {{rate}}, {{eta}} left{{in_all}}"),
    };
    // Writing into indicatif's own buffer cannot fail.
    let rate = |state: &ProgressState, to: &mut dyn Write| _ = write!(to, "{:.0} a second", state.per_sec());
    let in_all = move |_: &ProgressState, to: &mut dyn Write| _ = write!(to, "{}", clock.in_all());
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", rate)
        .with_key("in_all", in_all)
        .progress_chars("=> ")
}

/// How long a phase has been going on, and how much of it is done.
#[derive(Debug)]
struct Clock {
    kind: Kind,
    begun: Instant,
    amount: AtomicU64,
    outlook: Arc<Mutex<Outlook>>,
}

impl Clock {
    fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    fn amount(&self) -> f64 {
        self.amount.load(Ordering::Relaxed) as f64
    }

    /// Seconds left with all phases to come, where that is known.
    fn seconds_left(&self) -> Option<f64> {
        locked(&self.outlook).seconds_left(self.kind, self.amount(), self.seconds())
    }

    /// The same in words; nothing where it is not known.
    fn in_all(&self) -> String {
        self.seconds_left().map_or_else(String::new, |seconds| format!(", {seconds:.0} s with all that follows"))
    }
}

/// A panic elsewhere does not make the numbers worse.
fn locked(outlook: &Mutex<Outlook>) -> std::sync::MutexGuard<'_, Outlook> {
    outlook.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The progress of one phase.
#[derive(Debug)]
pub struct Bar {
    name: String,
    total: u64,
    unit: &'static str,
    clock: Arc<Clock>,
    bar: Option<ProgressBar>,
    lines: Mutex<Lines>,
    /// What is said at the end: keys of metadata that were read, or keys that were put or deleted.
    counted: AtomicU64,
}

#[derive(Debug)]
struct Lines {
    done: u64,
    last: Instant,
}

impl Bar {
    /// So many keys more have been read, of which so many are metadata: a log speaks of these alone.
    pub fn read(&self, keys: u64, metadata: u64) {
        self.counted.fetch_add(metadata, Ordering::Relaxed);
        self.advance(keys, keys);
    }

    /// So many files more have been looked for.
    pub fn looked(&self, files: u64) {
        self.advance(files, files);
    }

    /// So many keys more have been put or deleted, which cost so much.
    pub fn wrote(&self, keys: u64, cost: u64) {
        self.counted.fetch_add(keys, Ordering::Relaxed);
        self.advance(keys, cost);
    }

    fn advance(&self, steps: u64, amount: u64) {
        self.clock.amount.fetch_add(amount, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(steps);
            return;
        }
        if let Some(left) = self.clock.seconds_left() {
            tracing::debug!("{}: {left:.2} s left with all that follows", self.name);
        }
        let Ok(mut lines) = self.lines.lock() else { return };
        lines.done += steps;
        if lines.last.elapsed() >= LINE_INTERVAL {
            lines.last = Instant::now();
            let rate = lines.done as f64 / self.clock.seconds();
            let left = self.total.saturating_sub(lines.done) as f64 / rate;
            tracing::info!(
                "{}: {} of {} {} ({rate:.0} a second, about {left:.0} s left{})",
                self.name,
                thousands(lines.done),
                thousands(self.total),
                self.unit,
                self.clock.in_all()
            );
        }
    }

    /// The phase is over.
    pub fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.clock.seconds();
        locked(&self.clock.outlook).finished(self.clock.kind, self.clock.amount(), seconds);
        let counted = thousands(self.counted.load(Ordering::Relaxed));
        tracing::info!("{}: {counted} {} in {seconds:.1} s", self.name, self.unit);
    }
}

/// A phase that fails leaves no half bar behind.
impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar
            && !bar.is_finished()
        {
            bar.abandon();
        }
    }
}
