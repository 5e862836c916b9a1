//! Progress: a bar on a terminal, a log line every few seconds elsewhere.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::text::thousands;

/// In a pod's log, a line at most this often.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Where progress is shown.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Bars, on a terminal.
    bars: Option<MultiProgress>,
}

impl Progress {
    /// Progress as bars.
    pub fn bars(bars: MultiProgress) -> Self {
        Self { bars: Some(bars) }
    }

    /// Progress as log lines.
    pub fn lines() -> Self {
        Self::default()
    }

    /// Begins a phase of `total` steps, which are counted in `unit`.
    pub fn phase(&self, name: &str, total: u64, unit: &'static str) -> Bar {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(total));
            let template =
                format!("{{msg:34}} [{{bar:30}}] {{human_pos}}/{{human_len}} {unit}, {{rate}}, {{eta}} left");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                let rate = |state: &ProgressState, to: &mut dyn Write| {
                    // Writing into indicatif's own buffer cannot fail.
                    let _ = write!(to, "{:.0} a second", state.per_sec());
                };
                bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
            }
            bar.set_message(name.to_owned());
            bar
        });
        let now = Instant::now();
        let lines = Mutex::new(Lines { done: 0, last: now });
        Bar { name: name.to_owned(), total, unit, begun: now, bar, lines }
    }
}

/// The progress of one phase.
#[derive(Debug)]
pub struct Bar {
    name: String,
    total: u64,
    unit: &'static str,
    begun: Instant,
    bar: Option<ProgressBar>,
    lines: Mutex<Lines>,
}

#[derive(Debug)]
struct Lines {
    done: u64,
    last: Instant,
}

impl Bar {
    /// So many steps more are done.
    pub fn advance(&self, steps: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(steps);
            return;
        }
        let Ok(mut lines) = self.lines.lock() else { return };
        lines.done += steps;
        if lines.last.elapsed() >= LINE_INTERVAL {
            lines.last = Instant::now();
            let seconds = self.begun.elapsed().as_secs_f64();
            let rate = lines.done as f64 / seconds;
            let left = self.total.saturating_sub(lines.done) as f64 / rate;
            tracing::info!(
                "{}: {} of {} {} ({:.0} a second, about {left:.0} s left)",
                self.name,
                thousands(lines.done),
                thousands(self.total),
                self.unit,
                rate
            );
        }
    }

    /// The phase is over.
    pub fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        tracing::info!("{}: {} {} in {seconds:.1} s", self.name, thousands(self.total), self.unit);
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
