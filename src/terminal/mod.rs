//! What a person or a script reads: summaries, progress, log lines.

pub mod console;
pub mod inspect;
pub mod outcome;
mod outlook;
pub mod progress;
pub mod text;
pub mod verification;
