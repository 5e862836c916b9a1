//! Where texts go: to a person at a terminal as they are, into a pod's log line by line.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::progress::Progress;

/// Output for people.
#[derive(Debug, Clone)]
pub struct Console {
    terminal: bool,
    bars: MultiProgress,
}

impl Console {
    /// Sets up logging, and finds out whether somebody is watching. `verbose` logs a line per transaction and request.
    pub fn set_up(verbose: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let bars = MultiProgress::new();
        let default = match (verbose, terminal) {
            (true, _) => "warn,meta_migration=debug",
            (false, false) => "warn,meta_migration=info",
            // A person sees bars and texts instead.
            (false, true) => "warn",
        };
        let filter = EnvFilter::try_from_env("META_MIGRATION_LOG").unwrap_or_else(|_| EnvFilter::new(default));
        let colours = terminal && std::env::var_os("NO_COLOR").is_none();
        let logging = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_ansi(colours)
            .with_writer(BesideBars(bars.clone()))
            .try_init();
        if let Err(error) = logging {
            eprintln!("logging is set up already: {error}");
        }
        Self { terminal, bars }
    }

    /// How progress is shown here.
    pub fn progress(&self) -> Progress {
        if self.terminal { Progress::bars(self.bars.clone()) } else { Progress::lines() }
    }

    /// Tells something, line by line.
    pub fn say(&self, text: &str) {
        if self.terminal {
            self.bars.suspend(|| eprintln!("{text}"));
        } else {
            text.lines().for_each(|line| tracing::info!("{line}"));
        }
    }

    /// Tells of something that a person should look at.
    pub fn warn(&self, text: &str) {
        text.lines().for_each(|line| tracing::warn!("{line}"));
    }

    /// Tells why the process fails.
    pub fn fail(&self, text: &str) {
        if self.terminal {
            self.bars.suspend(|| eprintln!("error: {text}"));
        } else {
            text.lines().for_each(|line| tracing::error!("{line}"));
        }
    }
}

/// Writes log lines to stderr without tearing up the bars there.
#[derive(Debug, Clone)]
struct BesideBars(MultiProgress);

impl Write for BesideBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for BesideBars {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
