//! Protobuf messages as text, straight from the wire: every field that is there shows, in the order of the wire, with its name
//! if it has one and its number if not. Nothing is held in memory but what is being printed.

use std::collections::BTreeMap;
use std::fmt::{self, Result, Write};

use super::strings;
use crate::layout::descriptors::{FieldShape, MessageShape, ValueKind};
use crate::layout::wire::{self, WireError};

/// What fits in a line of this width stays in one.
const WIDTH: usize = 110;
/// Messages nested deeper than this are shown as bytes.
const MAX_DEPTH: usize = 8;
/// Milvus numbers its fields from 1 on; bytes with higher numbers only happen to parse.
const MAX_GUESSED_NUMBER: u32 = 1000;
/// IDs and timestamps of Milvus are larger than this; smaller numbers could be anything.
const SMALLEST_GUESSED_ID: u64 = 1 << 48;

/// Whether bytes are a message.
pub(super) fn check(message: &[u8]) -> std::result::Result<(), WireError> {
    wire::iter(message).try_for_each(|field| field.map(|_| ()))
}

/// Whether bytes are probably a message: they parse, and into fields such as Milvus has.
pub(super) fn looks_like_message(bytes: &[u8]) -> bool {
    const GROUP_START: u8 = 3;
    !bytes.is_empty()
        && wire::iter(bytes).all(|field| {
            field.is_ok_and(|field| field.number <= MAX_GUESSED_NUMBER && bytes[field.whole.start] & 7 != GROUP_START)
        })
}

/// Writes a message as `{name: value, …}`.
pub(super) fn inline(
    out: &mut dyn Write,
    message: &[u8],
    names: Option<&'static MessageShape>,
    depth: usize,
) -> Result {
    out.write_char('{')?;
    for (at, run) in runs(message).enumerate() {
        if at > 0 {
            out.write_str(", ")?;
        }
        let field = names.and_then(|names| names.field(run.number));
        run.label(out, field)?;
        out.write_str(": ")?;
        run.inline(out, field, depth)?;
    }
    out.write_char('}')
}

/// Writes a message in lines, one for each field; what is too long for a line gets lines of its own below it.
pub(super) fn block(out: &mut dyn Write, message: &[u8], names: Option<&'static MessageShape>) -> Result {
    if message.is_empty() {
        return out.write_str("{}");
    }
    lines(out, message, names, &FieldPlace { indent: 0, depth: 0 })
}

/// Where a line begins, and in how many messages.
struct FieldPlace {
    indent: usize,
    depth: usize,
}

/// The first line begins where `out` stands, the others at the indentation.
fn lines(out: &mut dyn Write, message: &[u8], names: Option<&'static MessageShape>, place: &FieldPlace) -> Result {
    for (at, run) in runs(message).enumerate() {
        if at > 0 {
            new_line(out, place.indent)?;
        }
        let field = names.and_then(|names| names.field(run.number));
        run.label(out, field)?;
        if run.fits(field, place) {
            out.write_str(": ")?;
            run.inline(out, field, place.depth)?;
        } else {
            out.write_char(':')?;
            run.lines(out, field, place)?;
        }
    }
    Ok(())
}

fn new_line(out: &mut dyn Write, indent: usize) -> Result {
    write!(out, "\n{:indent$}", "")
}

/// Fields of one number that follow each other.
struct RunOfBytes<'a> {
    number: u32,
    bytes: &'a [u8],
    length: usize,
}

/// The runs of a message; what does not parse ends them.
fn runs(message: &[u8]) -> impl Iterator<Item = RunOfBytes<'_>> {
    let mut fields = wire::iter(message).map_while(std::result::Result::ok).peekable();
    std::iter::from_fn(move || {
        let first = fields.next()?;
        let (mut end, mut length) = (first.whole.end, 1);
        while let Some(next) = fields.next_if(|next| next.number == first.number) {
            end = next.whole.end;
            length += 1;
        }
        Some(RunOfBytes { number: first.number, bytes: &message[first.whole.start..end], length })
    })
}

impl<'a> RunOfBytes<'a> {
    fn label(&self, out: &mut dyn Write, field: Option<&FieldShape>) -> Result {
        match field {
            Some(field) => out.write_str(&field.name),
            None => write!(out, "{}", self.number),
        }
    }

    fn is_list(&self, field: Option<&FieldShape>) -> bool {
        self.length > 1 || field.is_some_and(|field| field.repeated)
    }

    /// All values, packed numbers one by one.
    fn values(&self, field: Option<&'static FieldShape>) -> impl Iterator<Item = Value<'a>> {
        let bytes = self.bytes;
        let raw =
            wire::iter(bytes).map_while(std::result::Result::ok).filter_map(move |field| Value::of(bytes, &field));
        raw.flat_map(move |value| {
            let packed = match value {
                Value::Bytes(bytes) if field.is_some_and(FieldShape::packs) => Some(bytes),
                _ => None,
            };
            let packed = packed.filter(|bytes| Numbers(bytes).complete());
            let single = packed.is_none().then_some(value);
            single.into_iter().chain(Numbers(packed.unwrap_or_default()).map(Value::Number))
        })
    }

    fn inline(&self, out: &mut dyn Write, field: Option<&'static FieldShape>, depth: usize) -> Result {
        let is_list = self.is_list(field);
        if is_list {
            out.write_char('[')?;
        }
        for (at, value) in self.values(field).enumerate() {
            if at > 0 {
                out.write_str(", ")?;
            }
            value.inline(out, field, depth)?;
        }
        if is_list { out.write_char(']') } else { Ok(()) }
    }

    fn fits(&self, field: Option<&'static FieldShape>, place: &FieldPlace) -> bool {
        let label = field.map_or(4, |field| field.name.len());
        let mut line = LineRoom { left: WIDTH.saturating_sub(place.indent + label) };
        self.inline(&mut line, field, place.depth).is_ok()
    }

    fn lines(&self, out: &mut dyn Write, field: Option<&'static FieldShape>, place: &FieldPlace) -> Result {
        let indent = place.indent + 2;
        if !self.is_list(field) {
            return self.values(field).try_for_each(|value| match value.message(field, place.depth) {
                Some((message, names)) => {
                    new_line(out, indent)?;
                    lines(out, message, names, &FieldPlace { indent, depth: place.depth + 1 })
                }
                // A long text stays one.
                None => {
                    out.write_char(' ')?;
                    value.inline(out, field, place.depth)
                }
            });
        }
        self.values(field).try_for_each(|value| {
            new_line(out, indent)?;
            out.write_str("- ")?;
            let mut line = LineRoom { left: WIDTH.saturating_sub(indent) };
            match value.message(field, place.depth) {
                Some((message, names)) if value.inline(&mut line, field, place.depth).is_err() => {
                    lines(out, message, names, &FieldPlace { indent: indent + 2, depth: place.depth + 1 })
                }
                _ => value.inline(out, field, place.depth),
            }
        })
    }
}

/// What stands in a field.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    /// Eight or four bytes; no message of Milvus's metadata has any.
    Fixed(&'a [u8]),
    Bytes(&'a [u8]),
    Group(&'a [u8]),
}

impl<'a> Value<'a> {
    fn of(message: &'a [u8], field: &wire::Field) -> Option<Self> {
        let (tag, start) = wire::varint(message, field.whole.start).ok()?;
        Some(match tag & 7 {
            0 => Self::Number(wire::varint(message, start).ok()?.0),
            2 => Self::Bytes(message.get(field.payload.clone())?),
            3 => Self::Group(message.get(start..field.whole.end)?),
            _ => Self::Fixed(message.get(start..field.whole.end)?),
        })
    }

    /// The message that this is, by what its field should hold or by its looks.
    fn message(
        self,
        field: Option<&'static FieldShape>,
        depth: usize,
    ) -> Option<(&'a [u8], Option<&'static MessageShape>)> {
        let Self::Bytes(bytes) = self else { return None };
        if depth >= MAX_DEPTH {
            return None;
        }
        match field.map(|field| &field.kind) {
            Some(ValueKind::Message(_)) => check(bytes).is_ok().then_some((bytes, field.and_then(FieldShape::message))),
            Some(ValueKind::Text | ValueKind::Bytes) => None,
            _ => (!is_text(bytes) && looks_like_message(bytes)).then_some((bytes, None)),
        }
    }

    fn inline(self, out: &mut dyn Write, field: Option<&'static FieldShape>, depth: usize) -> Result {
        if let Some((message, names)) = self.message(field, depth) {
            return inline(out, message, names, depth + 1);
        }
        match (self, field.map(|field| &field.kind)) {
            (Self::Number(number), Some(ValueKind::Bool)) if number <= 1 => write!(out, "{}", number == 1),
            (Self::Number(number), Some(ValueKind::Uint)) => write!(out, "{number}"),
            (Self::Number(number), Some(ValueKind::Enum(names))) => match meaning(names, number) {
                Some(name) => write!(out, "{number} ({name})"),
                None => write!(out, "{}", number.cast_signed()),
            },
            // Protobuf's usual integers are signed.
            (Self::Number(number), _) => write!(out, "{}", number.cast_signed()),
            (Self::Bytes(bytes), Some(ValueKind::Text)) => match std::str::from_utf8(bytes) {
                Ok(string) => strings::quoted(out, string),
                Err(_) => strings::hex(out, bytes),
            },
            (Self::Bytes(bytes), Some(ValueKind::Bytes)) => strings::hex(out, bytes),
            (Self::Bytes(bytes), _) => guessed(out, bytes),
            (Self::Fixed(bytes), _) => strings::hex(out, bytes),
            (Self::Group(bytes), _) => {
                out.write_str("group ")?;
                strings::hex(out, bytes)
            }
        }
    }
}

/// What a number of an enum means, if it is one of it.
fn meaning(names: &BTreeMap<i32, String>, number: u64) -> Option<&String> {
    names.get(&i32::try_from(number.cast_signed()).ok()?)
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(strings::is_plain)
}

/// Bytes that are no message: a text, packed IDs, or just bytes.
fn guessed(out: &mut dyn Write, bytes: &[u8]) -> Result {
    if let Ok(string) = std::str::from_utf8(bytes)
        && strings::is_lines(string)
    {
        return strings::quoted(out, string);
    }
    if !Numbers(bytes).complete() || !Numbers(bytes).all(|number| number >= SMALLEST_GUESSED_ID) {
        return strings::hex(out, bytes);
    }
    for (at, number) in Numbers(bytes).enumerate() {
        let before = if at == 0 { "[" } else { ", " };
        write!(out, "{before}{}", number.cast_signed())?;
    }
    out.write_char(']')
}

/// Packed varints.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    /// Whether there is nothing but varints.
    fn complete(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.0.is_empty()
    }
}

impl Iterator for Numbers<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (number, end) = wire::varint(self.0, 0).ok()?;
        self.0 = &self.0[end..];
        Some(number)
    }
}

/// A line with room for so many bytes; writing more fails.
struct LineRoom {
    left: usize,
}

impl Write for LineRoom {
    fn write_str(&mut self, text: &str) -> Result {
        self.left = self.left.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}
