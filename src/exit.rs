//! Exit codes, as the callers (`migrate.sh`, the Milvus Operator) read them.

use std::fmt;

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Refused or failed, and no metadata was written. Bad usage too.
    NothingWritten = 1,
    /// Failed after a backup was finished in this run, or after writing had begun: run again, or roll back.
    Interrupted = 2,
    /// A defect of the tool itself.
    Unexpected = 100,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error together with the exit code that tells the caller how far things had gone.
#[derive(Debug)]
pub struct Failure {
    /// How far things had gone.
    pub exit: Exit,
    /// What was attempted, on what, what is wrong, what to do.
    pub error: anyhow::Error,
}

impl Failure {
    /// A failure after a finished backup or after the first write.
    pub fn interrupted(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Interrupted, error: error.into() }
    }

    /// A failure before anything was written.
    pub fn nothing_written(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::NothingWritten, error: error.into() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    /// Without other knowledge nothing was written: code that runs after the first write says so itself.
    fn from(error: E) -> Self {
        Self::nothing_written(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}
