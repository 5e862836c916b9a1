//! What a command that failed gives out, and the error that carries it there.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use super::{Ended, Header, Next, Step};
use crate::exit::Exit;
use crate::state::State;

/// A command that failed, or was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FailureOutcome {
    /// What all outcomes begin with.
    #[serde(flatten)]
    pub header: Header,
    /// The exit code.
    pub exit_code: u8,
    /// What was attempted, and what is wrong.
    pub error: String,
    /// Whether the error itself has all that a person needs: then the next step is for scripts.
    #[serde(skip)]
    pub says_it_all: bool,
}

impl FailureOutcome {
    /// A command line that cannot be understood, in the words of its parser.
    pub fn of_usage(command: &'static str, error: String) -> Self {
        let next = Next::new(Step::Correct, "correct the command line; `--help` describes it");
        let header = Header::new(command, Ended::Failed, State::Unknown, next);
        Self { header, exit_code: Exit::NothingWritten as u8, error, says_it_all: true }
    }

    /// The tool itself is wrong. How far it got is not known.
    pub fn of_defect(command: &'static str) -> Self {
        let next = Next::new(Step::Status, "look with `status` how far it got, before anything else");
        let error = "this is a defect of meta-migration: please report it with the lines above";
        let header = Header::new(command, Ended::Defect, State::Unknown, next);
        Self { header, exit_code: Exit::Unexpected as u8, error: error.to_owned(), says_it_all: false }
    }

    /// The failure of a command. `header` is what was known when it came, with what to do now.
    pub fn of_command(header: Header, failure: &Failure) -> Self {
        let ended = match failure.exit {
            Exit::Interrupted => Ended::Interrupted,
            Exit::Unexpected => Ended::Defect,
            _ => Ended::Failed,
        };
        Self {
            header: Header { ended, state: failure.state.unwrap_or(header.state), ..header },
            exit_code: failure.exit as u8,
            error: format!("{:#}", failure.error),
            says_it_all: failure.next.is_none() && failure.exit == Exit::NothingWritten,
        }
    }

    /// For people: what is wrong, then what to do.
    pub fn lines(&self) -> String {
        match self.says_it_all {
            true => self.error.clone(),
            false => format!("{}\nnext: {}", self.error, self.header.next.text),
        }
    }

    /// The process ends with this.
    pub fn exit(&self) -> Exit {
        match self.header.ended {
            Ended::Interrupted => Exit::Interrupted,
            Ended::Defect => Exit::Unexpected,
            _ => Exit::NothingWritten,
        }
    }
}

/// What is refused for what is there, with the way on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{why}{}Nothing was written", after(.why))]
pub struct Refusal {
    /// Why.
    pub why: String,
    /// The way on.
    pub next: Next,
}

/// What stands between a text and the sentence after it.
fn after(text: &str) -> &'static str {
    if text.contains('\n') { "\n" } else { ". " }
}

/// An error together with what the caller has to know: how far things had gone, and what is to be done.
#[derive(Debug)]
pub struct Failure {
    /// How far things had gone.
    pub exit: Exit,
    /// What was attempted, on what, and what is wrong.
    pub error: anyhow::Error,
    /// What the metadata is in now, where that is another state than was found.
    pub state: Option<State>,
    /// What to do, where the error does not say it all.
    pub next: Option<Next>,
}

impl Failure {
    /// A failure after a finished backup or after the first write.
    pub fn interrupted(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Interrupted, ..Self::nothing_written(error) }
    }

    /// A failure before anything was written.
    pub fn nothing_written(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        let next = error.downcast_ref().map(|refusal: &Refusal| refusal.next.clone());
        Self { exit: Exit::NothingWritten, error, state: None, next }
    }

    /// The same, with the way on.
    #[must_use]
    pub fn with_next(self, next: Next) -> Self {
        Self { next: Some(next), ..self }
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
