//! Any value under the meta root as text for people: `inspect` shows it, and differences are made of it.
//!
//! Which message a value is comes from its key, the names in it from the descriptors of that message. Fields that are not known
//! stay visible by their number; values of other keys are shown as what they look like: JSON, text, a message without names, or
//! bytes. Nothing is cut but bytes, and those carry a
//! checksum then, so that two different values never read the same.

mod json;
mod printer;
mod strings;
mod unknown_fields;

use std::fmt;

use crate::layout::descriptors::MessageShape;
use crate::layout::keys::Key;
use crate::layout::{is_tombstone, wire};
pub use unknown_fields::unknown_fields;

/// A value, and what it is. `Display` gives indented lines, [`Decoded::one_line`] the same in one.
#[derive(Debug, Clone, Copy)]
pub struct Decoded<'a> {
    value: &'a [u8],
    look: Look,
    /// The message that it should be by its key, and why it is none.
    unexpected: Option<(&'static str, wire::WireError)>,
}

#[derive(Debug, Clone, Copy)]
enum Look {
    Empty,
    Tombstone,
    /// A message that we know by its key.
    Named(&'static MessageShape),
    /// What looks like a message.
    Unnamed,
    Json,
    Text,
    Bytes,
}

/// Finds out what the value of a key is. `key` is relative to the meta root.
pub fn value<'a>(key: &[u8], value: &'a [u8]) -> Decoded<'a> {
    let decoded = |look, unexpected| Decoded { value, look, unexpected };
    if is_tombstone(value) {
        return decoded(Look::Tombstone, None);
    }
    match Key::parse(key).ok().and_then(|key| MessageShape::of(key.family)) {
        None => decoded(look_of(value), None),
        // An empty message is a message with nothing but defaults, so it is not an error; nor is it of any use.
        Some(_) if value.is_empty() => decoded(Look::Empty, None),
        Some(message) => match printer::check(value) {
            Ok(()) => decoded(Look::Named(message), None),
            Err(error) => decoded(look_of(value), Some((&message.name, error))),
        },
    }
}

/// What a value looks like, its key aside.
fn look_of(value: &[u8]) -> Look {
    if value.is_empty() {
        return Look::Empty;
    }
    let text = std::str::from_utf8(value);
    match text {
        Ok(text) if json::is_json(text) => Look::Json,
        Ok(text) if strings::is_plain(text) => Look::Text,
        _ if printer::looks_like_message(value) => Look::Unnamed,
        Ok(text) if strings::is_lines(text) => Look::Text,
        _ => Look::Bytes,
    }
}

impl Decoded<'_> {
    /// What the value is, in a few words: the name of the message, `JSON`, `text`.
    pub fn kind(&self) -> &'static str {
        match self.look {
            Look::Empty => "empty",
            Look::Tombstone => "tombstone",
            Look::Named(message) => &message.name,
            Look::Unnamed => "a message of a kind this tool does not know",
            Look::Json => "JSON",
            Look::Text => "text",
            Look::Bytes => "bytes",
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
        match self.look {
            Look::Empty => out.write_str("(empty)"),
            Look::Tombstone => out.write_str("(tombstone)"),
            Look::Named(message) if one_line => printer::inline(out, self.value, Some(message), 0),
            Look::Named(message) => printer::block(out, self.value, Some(message)),
            Look::Unnamed if one_line => printer::inline(out, self.value, None, 0),
            Look::Unnamed => printer::block(out, self.value, None),
            Look::Json => json::write(out, &String::from_utf8_lossy(self.value), one_line),
            Look::Text => strings::bare(out, &String::from_utf8_lossy(self.value)),
            Look::Bytes => strings::hex(out, self.value),
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
