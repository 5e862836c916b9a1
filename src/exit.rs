//! Exit codes, as the callers (`migrate.sh`, the Milvus Operator) read them.

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
