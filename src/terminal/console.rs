//! Where texts go: to a person at a terminal as they are, into a pod's log line by line.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use console::Term;
use indicatif::MultiProgress;
use serde::Serialize;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::output::{to_stderr, to_stdout};
use super::progress::Progress;
use super::screen::{self, plain};

/// How results are given out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object on standard output; everything else goes to the log.
    Json,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Time, level, text.
    #[default]
    Text,
    /// A JSON object per line, for log collectors.
    Json,
}

/// Output for people and scripts.
#[derive(Debug, Clone)]
pub struct Console {
    /// Whether a person is watching the log.
    terminal: bool,
    output: OutputFormat,
    bars: MultiProgress,
    /// Whether only warnings, errors and results are given out.
    quiet: bool,
}

/// How much is said on the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Volume {
    /// Warnings and errors.
    Quiet,
    /// What is done.
    #[default]
    Normal,
    /// A line per transaction and request.
    Verbose,
}

impl Console {
    /// Sets up logging, and finds out whether somebody is watching.
    pub fn set_up(volume: Volume, output: OutputFormat, log: LogFormat) -> Self {
        let terminal = io::stderr().is_terminal() && log == LogFormat::Text;
        // One that knows no movement of the cursor would show each redraw as rubbish.
        let moves = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let bars = screen::bars(terminal && moves && volume != Volume::Quiet);
        let default = match (volume, terminal) {
            (Volume::Verbose, _) => "warn,meta_migration=debug",
            (Volume::Normal, false) => "warn,meta_migration=info",
            // A person sees bars and texts instead.
            (Volume::Quiet, _) | (Volume::Normal, true) => "warn",
        };
        let filter = EnvFilter::try_from_env("META_MIGRATION_LOG").unwrap_or_else(|_| EnvFilter::new(default));
        let colours = terminal && moves && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_ansi(colours)
            // It would complain on stderr, and panic where that cannot be written.
            .log_internal_errors(false)
            .with_writer(BesideBars(bars.clone()));
        let logging = match log {
            LogFormat::Text => lines.try_init(),
            LogFormat::Json => lines.json().flatten_event(true).try_init(),
        };
        if let Err(error) = logging {
            to_stderr(format!("logging is set up already: {error}\n").as_bytes());
        }
        Self { terminal, output, bars, quiet: volume == Volume::Quiet }
    }

    /// Whether a person can be asked: one who sees our questions and can answer them.
    pub fn can_ask(&self) -> bool {
        self.terminal && self.output == OutputFormat::Text && io::stdin().is_terminal()
    }

    /// Gives a result out on standard output: its text, or the object as JSON. An output that cannot be written (closed, full, its
    /// reader gone) changes nothing: the exit code tells of the metadata.
    pub fn result(&self, object: &impl Serialize, text: impl FnOnce() -> String) {
        let text = match self.output {
            OutputFormat::Text if io::stdout().is_terminal() => screen::wrapped(&plain(&text()), &Term::stdout()),
            OutputFormat::Text => plain(&text()).into_owned(),
            OutputFormat::Json => serde_json::to_string_pretty(object)
                .unwrap_or_else(|error| format!("{{\"error\": {:?}}}", error.to_string())),
        };
        self.bars.suspend(|| to_stdout(format!("{text}\n").as_bytes()));
    }

    /// Gives an object out where the text has been given already.
    pub fn object(&self, object: &impl Serialize) {
        if self.output == OutputFormat::Json {
            self.result(object, String::new);
        }
    }

    /// Asks a question that only `yes` answers with yes. The answer is read in a thread of its own: a signal must be able to end
    /// the waiting.
    ///
    /// # Errors
    /// Nobody can be asked any more.
    pub async fn confirms(&self, question: &str) -> io::Result<bool> {
        let question = screen::wrapped(&plain(question), &Term::stderr());
        self.bars.suspend(|| to_stderr(format!("{question}Type yes to go on: ").as_bytes()));
        let (sender, answer) = oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // Nobody waits for the answer any more after a signal.
            let _ = sender.send(io::stdin().read_line(&mut line).map(|_| line));
        });
        let line = answer.await.map_err(io::Error::other)??;
        Ok(line.trim().eq_ignore_ascii_case("yes"))
    }

    /// How progress is shown here.
    pub fn progress(&self) -> Progress {
        if self.terminal { Progress::bars(self.bars.clone(), Term::stderr().size().1) } else { Progress::lines() }
    }

    /// Tells something, line by line.
    pub fn say(&self, text: &str) {
        if text.is_empty() || self.quiet {
            // Nothing, not an empty line.
        } else if self.terminal {
            self.show(text);
        } else {
            text.lines().for_each(|line| tracing::info!("{line}"));
        }
    }

    fn show(&self, text: &str) {
        let text = screen::wrapped(&plain(text), &Term::stderr());
        self.bars.suspend(|| to_stderr(format!("{text}\n").as_bytes()));
    }

    /// Tells of something that a person should look at.
    pub fn warn(&self, text: &str) {
        if self.terminal {
            self.show(&format!("warning: {text}"));
        } else {
            text.lines().for_each(|line| tracing::warn!("{line}"));
        }
    }

    /// Tells why the process fails.
    pub fn fail(&self, text: &str) {
        if self.terminal {
            self.show(&format!("error: {text}"));
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
        self.0.suspend(|| to_stderr(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for BesideBars {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
