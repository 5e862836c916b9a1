//! Strings and bytes.

use std::fmt::{Result, Write};

use sha2::{Digest, Sha256};

/// Bytes longer than this are cut in the middle.
const WHOLE_BYTES: usize = 64;
/// What is left of them at the beginning and at the end.
const KEPT_BYTES: usize = 24;

/// Whether a text can go to a terminal as it is: nothing in it moves the cursor or turns the direction of writing.
pub(super) fn is_plain(text: &str) -> bool {
    !text.chars().any(is_dangerous)
}

/// Whether a text would be plain if it were not for its line breaks and tabs. Nothing but blanks is no text: `\n` is a packed 10.
pub(super) fn is_lines(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().all(|letter| matches!(letter, '\n' | '\r' | '\t') || !is_dangerous(letter))
}

/// Control characters, and those that reorder what stands around them.
pub(super) fn is_dangerous(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A text without quotes, unless it could then be taken for something else.
pub(super) fn bare(out: &mut dyn Write, text: &str) -> Result {
    let misleading = text.starts_with(['(', '"', '{', '[']) || text.starts_with("0x") || text.trim() != text;
    if misleading || !is_plain(text) { quoted(out, text) } else { out.write_str(text) }
}

/// A text in quotes, with everything escaped that would not show.
pub(super) fn quoted(out: &mut dyn Write, text: &str) -> Result {
    write!(out, "{text:?}")
}

/// Bytes as hexadecimal digits; long ones cut in the middle, with their length and the beginning of their SHA-256.
pub(super) fn hex(out: &mut dyn Write, bytes: &[u8]) -> Result {
    out.write_str("0x")?;
    if bytes.len() <= WHOLE_BYTES {
        return digits(out, bytes);
    }
    digits(out, &bytes[..KEPT_BYTES])?;
    out.write_char('…')?;
    digits(out, &bytes[bytes.len() - KEPT_BYTES..])?;
    write!(out, " ({} bytes, SHA-256 ", bytes.len())?;
    digits(out, &Sha256::digest(bytes)[..8])?;
    out.write_str("…)")
}

fn digits(out: &mut dyn Write, bytes: &[u8]) -> Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}
