//! Any value under the meta root as text for people: `inspect` shows it, and differences are made of it.
//!
//! Which message a value is comes from its key. Fields that are not known stay visible by their number; values of other keys
//! are shown as what they look like: JSON, text, a message without names, or bytes. Nothing is cut but bytes, and those carry a
//! checksum then, so that two different values never read the same.

mod json;
mod names;
mod printer;
mod text;
mod unknown;

use std::fmt;

use crate::layout::keys::Key;
use crate::layout::{is_tombstone, wire};
use names::Message;
pub use unknown::unknown_fields;

/// A value, and what it is. `Display` gives indented lines, [`Decoded::one_line`] the same in one.
#[derive(Debug, Clone, Copy)]
pub struct Decoded<'a> {
    value: &'a [u8],
    form: Form,
    /// The message that it should be by its key, and why it is none.
    unexpected: Option<(&'static str, wire::WireError)>,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Empty,
    Tombstone,
    /// A message that we know by its key.
    Named(&'static Message),
    /// What looks like a message.
    Unnamed,
    Json,
    Text,
    Bytes,
}

/// Finds out what the value of a key is. `key` is relative to the meta root.
pub fn value<'a>(key: &[u8], value: &'a [u8]) -> Decoded<'a> {
    let decoded = |form, unexpected| Decoded { value, form, unexpected };
    if is_tombstone(value) {
        return decoded(Form::Tombstone, None);
    }
    match Key::parse(key).ok().and_then(|key| names::message_at(&key)) {
        None => decoded(form_of(value), None),
        // An empty message is a message with nothing but defaults, so it is not an error; nor is it of any use.
        Some(_) if value.is_empty() => decoded(Form::Empty, None),
        Some(message) => match printer::check(value) {
            Ok(()) => decoded(Form::Named(message), None),
            Err(error) => decoded(form_of(value), Some((message.name, error))),
        },
    }
}

/// What a value looks like, its key aside.
fn form_of(value: &[u8]) -> Form {
    if value.is_empty() {
        return Form::Empty;
    }
    let text = std::str::from_utf8(value);
    match text {
        Ok(text) if json::is_json(text) => Form::Json,
        Ok(text) if text::is_plain(text) => Form::Text,
        _ if printer::looks_like_message(value) => Form::Unnamed,
        Ok(text) if text::is_lines(text) => Form::Text,
        _ => Form::Bytes,
    }
}

impl Decoded<'_> {
    /// What the value is, in a few words: the name of the message, `JSON`, `text`.
    pub fn kind(&self) -> &'static str {
        match self.form {
            Form::Empty => "empty",
            Form::Tombstone => "tombstone",
            Form::Named(message) => message.name,
            Form::Unnamed => "a message of a kind this tool does not know",
            Form::Json => "JSON",
            Form::Text => "text",
            Form::Bytes => "bytes",
        }
    }

    /// The value in a single line.
    pub fn one_line(&self) -> String {
        let mut line = String::new();
        // A String grows, so writing to it cannot fail.
        let _ = self.write(&mut line, true);
        line
    }

    fn write(&self, out: &mut dyn fmt::Write, one_line: bool) -> fmt::Result {
        if let Some((name, error)) = self.unexpected {
            write!(out, "(not {name}: {error}) ")?;
        }
        match self.form {
            Form::Empty => out.write_str("(empty)"),
            Form::Tombstone => out.write_str("(tombstone)"),
            Form::Named(message) if one_line => printer::inline(out, self.value, Some(message), 0),
            Form::Named(message) => printer::block(out, self.value, Some(message)),
            Form::Unnamed if one_line => printer::inline(out, self.value, None, 0),
            Form::Unnamed => printer::block(out, self.value, None),
            Form::Json => json::write(out, &String::from_utf8_lossy(self.value), one_line),
            Form::Text => text::bare(out, &String::from_utf8_lossy(self.value)),
            Form::Bytes => text::hex(out, self.value),
        }
    }
}

impl fmt::Display for Decoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)
    }
}

#[cfg(test)]
mod tests;
