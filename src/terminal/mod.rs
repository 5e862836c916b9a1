//! What a person sees: progress, log lines, questions.

pub mod console;
mod outlook;
pub mod output;
pub mod progress;
mod screen;

pub use screen::plain;
