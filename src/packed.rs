//! Keys and values by the million, in few allocations.
//!
//! One allocation for each, and another when it is first shared, would take more room than a short value itself; and where values
//! between keys are let go, the holes between these can be used by nobody else. So they lie one behind the other, keys and values
//! apart, in chunks that are given back as a whole.

use std::fmt::{Display, Write as _};

use bytes::{Bytes, BytesMut};
use prost::Message;

/// Bytes of a chunk.
pub const CHUNK: usize = 1 << 20;
/// A longer value has an allocation of its own: what is left of a chunk goes unused.
const LONG: usize = 64 << 10;

/// Packs keys and values.
#[derive(Debug, Default)]
pub struct Packer {
    keys: BytesMut,
    values: BytesMut,
}

impl Packer {
    /// A copy of a key.
    pub fn key(&mut self, key: &[u8]) -> Bytes {
        packed(&mut self.keys, key)
    }

    /// A key, written out.
    pub fn key_of(&mut self, key: &impl Display) -> Bytes {
        // The longest key without a name has 4 IDs, a timestamp and its prefix; a longer one is put where there is room for it.
        make_room(&mut self.keys, 256);
        // A buffer that grows takes everything.
        let _ = write!(self.keys, "{key}");
        self.keys.split().freeze()
    }

    /// A copy of a value.
    pub fn value(&mut self, value: &[u8]) -> Bytes {
        packed(&mut self.values, value)
    }

    /// A message, encoded.
    pub fn message(&mut self, message: &impl Message) -> Bytes {
        let bytes = message.encoded_len();
        if bytes > LONG {
            return message.encode_to_vec().into();
        }
        make_room(&mut self.values, bytes);
        // A buffer that grows takes everything.
        let _ = message.encode(&mut self.values);
        self.values.split().freeze()
    }

    /// Copies of both.
    pub fn pair(&mut self, key: &[u8], value: &[u8]) -> (Bytes, Bytes) {
        (self.key(key), self.value(value))
    }
}

fn packed(chunk: &mut BytesMut, bytes: &[u8]) -> Bytes {
    if bytes.len() > LONG {
        return Bytes::copy_from_slice(bytes);
    }
    make_room(chunk, bytes.len());
    chunk.extend_from_slice(bytes);
    chunk.split().freeze()
}

fn make_room(chunk: &mut BytesMut, bytes: usize) {
    if chunk.capacity() - chunk.len() < bytes {
        *chunk = BytesMut::with_capacity(CHUNK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_reads_as_it_was_whatever_its_length() {
        let mut packer = Packer::default();
        let of = |length: usize| vec![u8::try_from(length % 251).unwrap_or_default(); length];
        let lengths: Vec<usize> =
            (0..200).chain([LONG - 1, LONG, LONG + 1, CHUNK, CHUNK + 1]).cycle().take(2_000).collect();
        let packed: Vec<(Bytes, Bytes)> =
            lengths.iter().map(|length| packer.pair(&of(length / 2), &of(*length))).collect();
        for (length, (key, value)) in lengths.iter().zip(&packed) {
            assert_eq!((&key[..], &value[..]), (&of(length / 2)[..], &of(*length)[..]));
        }
    }

    #[test]
    fn a_message_is_encoded_as_it_would_be_alone_whatever_its_length() {
        let mut packer = Packer::default();
        let of = |length: usize| "m".repeat(length);
        let lengths = [0, 1, 127, 128, LONG - 4, LONG, LONG + 1, CHUNK, CHUNK + 1].into_iter().cycle().take(200);
        let packed: Vec<(usize, Bytes, Bytes)> =
            lengths.map(|length| (length, packer.message(&of(length)), packer.value(&vec![7; length]))).collect();
        for (length, message, value) in packed {
            assert_eq!(message, of(length).encode_to_vec());
            assert_eq!(value, vec![7; length]);
        }
    }

    #[test]
    fn a_key_that_is_written_out_may_be_longer_than_the_room_for_it() {
        let mut packer = Packer::default();
        for length in [0, 10, 255, 256, 257, CHUNK - 1, CHUNK, 3 * CHUNK, 1] {
            assert_eq!(packer.key_of(&"k".repeat(length)), "k".repeat(length));
        }
    }

    #[test]
    fn a_chunk_goes_with_the_last_that_lies_in_it() {
        let mut packer = Packer::default();
        let (first, second) = (packer.value(b"first"), packer.value(b"second"));
        drop(packer);
        drop(first);
        // Nobody else has it: it can be taken back as it is.
        let second = second.try_into_mut().expect("the only one left");
        assert_eq!(&second[..], b"second");
    }
}
