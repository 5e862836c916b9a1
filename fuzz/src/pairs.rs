//! Keys and values as the bytes that a fuzzer works on. Any bytes are some metadata.
//!
//! One byte of choices, then for each key: a byte of flags, the length of the key (2 bytes, little endian), the key, the length of
//! the value (2 bytes), the value. What ends too early is cut there. `fuzz/seeds.py` writes the same.

use std::collections::BTreeMap;

use bytes::Bytes;

/// One key.
#[derive(Debug, Clone, Default)]
pub struct Pair {
    pub flags: u8,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// Metadata, and what a target chooses by.
#[derive(Debug, Clone, Default)]
pub struct Input {
    pub choices: u8,
    pub pairs: Vec<Pair>,
}

impl Input {
    pub fn decode(bytes: &[u8]) -> Self {
        let Some((choices, mut rest)) = bytes.split_first() else { return Self::default() };
        let mut pairs = Vec::new();
        while let Some((flags, after)) = rest.split_first() {
            rest = after;
            let (key, value) = (take(&mut rest), take(&mut rest));
            pairs.push(Pair { flags: *flags, key, value });
        }
        Self { choices: *choices, pairs }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.choices];
        for pair in &self.pairs {
            bytes.push(pair.flags);
            for part in [&pair.key, &pair.value] {
                let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(&part[..usize::from(length)]);
            }
        }
        bytes
    }

    /// The metadata, each key once.
    pub fn keys(&self) -> BTreeMap<Bytes, Bytes> {
        self.pairs.iter().map(|pair| (pair.key.clone().into(), pair.value.clone().into())).collect()
    }
}

fn take(rest: &mut &[u8]) -> Vec<u8> {
    let Some((length, after)) = rest.split_first_chunk::<2>() else {
        *rest = &[];
        return Vec::new();
    };
    let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
    let (part, after) = after.split_at(length);
    *rest = after;
    part.to_vec()
}
