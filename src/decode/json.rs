//! JSON in its own spelling: nothing is sorted, rounded or unescaped, only the blanks between the tokens change.

use std::fmt::{Result, Write};

use serde::de::IgnoredAny;

use super::strings::is_dangerous;

/// Deeper than this, JSON stays in one line: the indentation must not outgrow the text.
const MAX_DEPTH: usize = 8;

/// Whether a text is a JSON object or list. Mere numbers and words are texts.
pub(super) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Writes what [`is_json`] has accepted.
pub(super) fn write(out: &mut dyn Write, text: &str, one_line: bool) -> Result {
    let mut spelling = Spelling { out, max_depth: if one_line { 0 } else { MAX_DEPTH }, depth: 0 };
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => spelling.string(&mut letters)?,
            '{' | '[' => {
                spelling.out.write_char(letter)?;
                while letters.next_if(char::is_ascii_whitespace).is_some() {}
                match letters.next_if(|letter| matches!(letter, '}' | ']')) {
                    Some(end) => spelling.out.write_char(end)?,
                    None => spelling.enter()?,
                }
            }
            '}' | ']' => spelling.leave(letter)?,
            ',' => spelling.next()?,
            ':' => spelling.out.write_str(": ")?,
            letter if letter.is_ascii_whitespace() => {}
            letter => spelling.out.write_char(letter)?,
        }
    }
    Ok(())
}

struct Spelling<'w> {
    out: &'w mut dyn Write,
    max_depth: usize,
    depth: usize,
}

impl Spelling<'_> {
    /// Copies a string to its closing quote. JSON allows control characters from U+007F on in it; they are escaped.
    fn string(&mut self, letters: &mut impl Iterator<Item = char>) -> Result {
        self.out.write_char('"')?;
        while let Some(letter) = letters.next() {
            match letter {
                '"' => break,
                '\\' => {
                    self.out.write_char(letter)?;
                    letters.next().map_or(Ok(()), |escaped| self.out.write_char(escaped))?;
                }
                letter if is_dangerous(letter) => write!(self.out, "\\u{:04x}", u32::from(letter))?,
                letter => self.out.write_char(letter)?,
            }
        }
        self.out.write_char('"')
    }

    fn enter(&mut self) -> Result {
        self.depth += 1;
        if self.depth <= self.max_depth { self.line() } else { Ok(()) }
    }

    fn leave(&mut self, end: char) -> Result {
        let in_lines = self.depth <= self.max_depth;
        self.depth = self.depth.saturating_sub(1);
        if in_lines {
            self.line()?;
        }
        self.out.write_char(end)
    }

    fn next(&mut self) -> Result {
        self.out.write_char(',')?;
        if self.depth <= self.max_depth { self.line() } else { self.out.write_char(' ') }
    }

    fn line(&mut self) -> Result {
        write!(self.out, "\n{:1$}", "", 2 * self.depth)
    }
}
