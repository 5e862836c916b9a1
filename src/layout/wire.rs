//! Protobuf on the wire: cutting named fields out of a message and keeping everything else, byte for byte.
//!
//! A collection record is never decoded and encoded again, because that would drop the fields this tool does not know
//! (properties, states and whatever a later release added).

use std::ops::Range;

use thiserror::Error;

/// Nested groups deeper than this are refused; no Milvus message has any group at all.
const MAX_GROUP_DEPTH: u32 = 32;

/// Why bytes are no protobuf message.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// The message ends within a field.
    #[error("it ends within a field")]
    Truncated,
    /// A varint is longer than ten bytes.
    #[error("a varint is too long")]
    LongVarint,
    /// A tag has field number 0 or an unknown wire type.
    #[error("it has a tag that protobuf does not know")]
    BadTag,
    /// Groups that do not end where they should.
    #[error("it has groups that do not match")]
    BadGroup,
}

/// One field of a message, as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Field number.
    pub number: u32,
    /// Tag and payload, as a range of the message.
    pub whole: Range<usize>,
    /// Payload of a length-delimited field, without tag and length; empty range for other wire types.
    pub payload: Range<usize>,
    /// Whether the field is length-delimited (a string, bytes, a message or packed numbers).
    pub delimited: bool,
}

/// All fields of a message in the order of the wire.
///
/// # Errors
/// The bytes are no protobuf message.
pub fn fields(message: &[u8]) -> Result<Vec<Field>, WireError> {
    iter(message).collect()
}

/// The fields of a message one after the other, without a list of them; the first error is the last item.
pub fn iter(message: &[u8]) -> impl Iterator<Item = Result<Field, WireError>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let field = (at < message.len()).then(|| field(message, at, 0))?;
        at = field.as_ref().map_or(message.len(), |field| field.whole.end);
        Some(field)
    })
}

/// The message without the fields of these numbers.
///
/// # Errors
/// The bytes are no protobuf message.
pub fn without(message: &[u8], numbers: &[u32]) -> Result<Vec<u8>, WireError> {
    let mut kept = Vec::with_capacity(message.len());
    for field in fields(message)? {
        if !numbers.contains(&field.number) {
            kept.extend_from_slice(&message[field.whole]);
        }
    }
    Ok(kept)
}

/// The message with the payload of each length-delimited field `number` passed through `edit`; everything else as it was.
///
/// # Errors
/// The bytes are no protobuf message, or `edit` fails.
pub fn edit_nested(
    message: &[u8],
    number: u32,
    edit: impl Fn(&[u8]) -> Result<Vec<u8>, WireError>,
) -> Result<Vec<u8>, WireError> {
    let mut edited = Vec::with_capacity(message.len());
    for field in fields(message)? {
        if field.number != number || !field.delimited {
            edited.extend_from_slice(&message[field.whole]);
            continue;
        }
        let payload = edit(&message[field.payload])?;
        prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut edited);
        prost::encoding::encode_varint(payload.len() as u64, &mut edited);
        edited.extend_from_slice(&payload);
    }
    Ok(edited)
}

/// Numbers of the fields in a message that are not among `known`, each once, ascending.
///
/// # Errors
/// The bytes are no protobuf message.
pub fn unknown_fields(message: &[u8], known: &[u32]) -> Result<Vec<u32>, WireError> {
    let mut unknown: Vec<u32> =
        fields(message)?.into_iter().map(|field| field.number).filter(|number| !known.contains(number)).collect();
    unknown.sort_unstable();
    unknown.dedup();
    Ok(unknown)
}

fn field(message: &[u8], start: usize, depth: u32) -> Result<Field, WireError> {
    let (tag, after_tag) = varint(message, start)?;
    let number = u32::try_from(tag >> 3).map_err(|_| WireError::BadTag)?;
    if number == 0 {
        return Err(WireError::BadTag);
    }
    let plain = |end: usize| {
        if end > message.len() {
            return Err(WireError::Truncated);
        }
        Ok(Field { number, whole: start..end, payload: end..end, delimited: false })
    };
    match tag & 7 {
        0 => plain(varint(message, after_tag)?.1),
        1 => plain(after_tag + 8),
        2 => {
            let (length, payload) = varint(message, after_tag)?;
            let left = message.len() - payload;
            let length = usize::try_from(length).ok().filter(|length| *length <= left).ok_or(WireError::Truncated)?;
            let end = payload + length;
            Ok(Field { number, whole: start..end, payload: payload..end, delimited: true })
        }
        3 => plain(group_end(message, after_tag, number, depth)?),
        5 => plain(after_tag + 4),
        _ => Err(WireError::BadTag),
    }
}

/// Where the group that began before `at` ends, its end tag included.
fn group_end(message: &[u8], mut at: usize, number: u32, depth: u32) -> Result<usize, WireError> {
    if depth >= MAX_GROUP_DEPTH {
        return Err(WireError::BadGroup);
    }
    loop {
        let (tag, after_tag) = varint(message, at)?;
        if tag & 7 == 4 {
            return if tag >> 3 == u64::from(number) { Ok(after_tag) } else { Err(WireError::BadGroup) };
        }
        at = field(message, at, depth + 1)?.whole.end;
    }
}

/// A varint at `at`, and where it ends.
///
/// # Errors
/// There is none: the bytes end, or it is too long.
pub fn varint(message: &[u8], at: usize) -> Result<(u64, usize), WireError> {
    let mut value = 0u64;
    for (index, byte) in message.get(at..).unwrap_or_default().iter().enumerate() {
        if index == 10 {
            return Err(WireError::LongVarint);
        }
        value |= u64::from(byte & 0x7F).checked_shl(7 * index as u32).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok((value, at + index + 1));
        }
    }
    Err(WireError::Truncated)
}

/// The number in a whole varint field, tag included.
///
/// # Errors
/// The bytes are no varint field.
pub fn number(field: &[u8]) -> Result<u64, WireError> {
    let (_, payload) = varint(field, 0)?;
    Ok(varint(field, payload)?.0)
}

/// The payload of the last length-delimited field of this number, which is the one that counts.
pub fn last_payload(message: &[u8], number: u32) -> Option<&[u8]> {
    let fields = iter(message).filter_map(Result::ok).filter(|field| field.number == number && field.delimited);
    fields.last().map(|field| &message[field.payload])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::layout::messages::common::{CollectionInfo, CollectionSchema, FieldSchema};

    fn sample() -> Vec<u8> {
        CollectionInfo {
            id: 7,
            schema: Some(CollectionSchema {
                name: "c".into(),
                fields: vec![FieldSchema { field_id: 100, name: "pk".into(), ..Default::default() }],
                ..Default::default()
            }),
            partition_i_ds: vec![1, 2],
            partition_names: vec!["_default".into(), "p".into()],
            ..Default::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn drops_the_named_fields_and_nothing_else() {
        let cut = without(&sample(), &[4, 5]).unwrap();
        let decoded = CollectionInfo::decode(&*cut).unwrap();
        assert!(decoded.partition_i_ds.is_empty() && decoded.partition_names.is_empty());
        assert_eq!((decoded.id, decoded.schema.unwrap().fields.len()), (7, 1));
    }

    #[test]
    fn unknown_fields_of_every_wire_type_survive() {
        let mut message = sample();
        // 100 varint, 101 fixed64, 102 bytes, 103 fixed32, 104 a group with a field in it
        let unknown: &[u8] = &[
            0xA0, 0x06, 0x05, 0xA9, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0xB2, 0x06, 0x02, 0xFF, 0xFE, 0xBD, 0x06, 9, 9, 9, 9,
            0xC3, 0x06, 0x08, 0x01, 0xC4, 0x06,
        ];
        message.extend_from_slice(unknown);
        assert!(without(&message, &[1, 2, 4, 5]).unwrap() == unknown);
        assert_eq!(unknown_fields(&message, &[1, 2, 4, 5]).unwrap(), [100, 101, 102, 103, 104]);
    }

    #[test]
    fn edits_a_nested_message_in_place() {
        let edited = edit_nested(&sample(), 2, |schema| without(schema, &[4])).unwrap();
        let decoded = CollectionInfo::decode(&*edited).unwrap();
        assert_eq!(decoded.schema.unwrap(), CollectionSchema { name: "c".into(), ..Default::default() });
        assert_eq!(decoded.partition_i_ds, [1, 2]);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for (bytes, error) in [
            (&[0x08u8][..], WireError::Truncated),
            (&[0x0A, 0x05, 1], WireError::Truncated),
            (&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], WireError::Truncated),
            (&[0x09, 1], WireError::Truncated),
            (&[0x00, 1], WireError::BadTag),
            (&[0x0F], WireError::BadTag),
            (&[0x0C], WireError::BadTag),
            (&[0x0B, 0x14], WireError::BadGroup),
            (&[0xFF; 12], WireError::LongVarint),
        ] {
            assert_eq!(fields(bytes).unwrap_err(), error, "{bytes:x?}");
        }
        assert_eq!(fields(&[0x0B; 100]).unwrap_err(), WireError::BadGroup);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_keeping_all_keeps_all(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(kept) = without(&bytes, &[]) {
                prop_assert_eq!(kept, bytes);
            }
        }
    }
}
