//! Mutations that keep metadata metadata: of whole keys, of the IDs in them, and of protobuf fields at any depth.

use libfuzzer_sys::fuzzer_mutate;
use meta_migration::layout::wire;

use crate::pairs::{Input, Pair};

/// A small generator of numbers: the same seed gives the same mutation.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let high = self.0 >> 33;
        high ^ (high >> 15)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }
}

/// Changes an encoded [`Input`] in place; gives its new size.
pub fn pairs(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut dice = Dice(u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    dice.next();
    if size == 0 || dice.one_in(16) {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut input = Input::decode(&data[..size]);
    for _ in 0..=dice.below(4) {
        change(&mut input, &mut dice);
    }
    let bytes = input.encode();
    if bytes.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
}

fn change(input: &mut Input, dice: &mut Dice) {
    if input.pairs.is_empty() || dice.one_in(40) {
        input.choices = dice.next() as u8;
        input.pairs.push(Pair::default());
        return;
    }
    let numbers = numbers(input, dice);
    let at = dice.below(input.pairs.len());
    match dice.below(12) {
        0 => input.pairs[at].key = mutated(&input.pairs[at].key),
        1 => input.pairs[at].value = mutated(&input.pairs[at].value),
        2 => input.pairs[at].flags = dice.next() as u8,
        3 => renumber_key(&mut input.pairs[at].key, &numbers, dice),
        4 => {
            let mut copy = input.pairs[at].clone();
            renumber_key(&mut copy.key, &numbers, dice);
            input.pairs.push(copy);
        }
        5 => {
            input.pairs.swap_remove(at);
        }
        6 => {
            let other = dice.below(input.pairs.len());
            input.pairs[at].value = input.pairs[other].value.clone();
        }
        _ => {
            let value = &input.pairs[at].value;
            let changed = message(value, &numbers, dice, 0);
            input.pairs[at].value = changed;
        }
    }
}

fn mutated(bytes: &[u8]) -> Vec<u8> {
    let mut buffer = bytes.to_vec();
    buffer.resize(bytes.len() + 32, 0);
    let max = buffer.len();
    let size = fuzzer_mutate(&mut buffer, bytes.len(), max);
    buffer.truncate(size);
    buffer
}

/// Numbers worth trying: edges, and IDs of other keys.
fn numbers(input: &Input, dice: &mut Dice) -> Vec<u64> {
    let mut numbers =
        vec![0, 1, 2, 3, 100, 101, u64::MAX, i64::MAX as u64, i64::MIN as u64, 1 << 31, u64::from(u32::MAX)];
    for _ in 0..4 {
        let key = &input.pairs[dice.below(input.pairs.len())].key;
        let ids =
            key.split(|byte| *byte == b'/').filter_map(|part| std::str::from_utf8(part).ok()?.parse::<i64>().ok());
        numbers.extend(ids.map(|id| id as u64));
    }
    numbers
}

fn renumber_key(key: &mut Vec<u8>, numbers: &[u64], dice: &mut Dice) {
    let mut parts: Vec<Vec<u8>> = key.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
    let at = parts.len() - 1 - dice.below(parts.len().min(4));
    let number = numbers[dice.below(numbers.len())];
    parts[at] = match dice.below(4) {
        0 => [&parts[at][..], format!("_ts{number}").as_bytes()].concat(),
        _ => (number as i64).to_string().into_bytes(),
    };
    *key = parts.join(&b'/');
}

/// The message with one field changed, added or removed.
fn message(value: &[u8], numbers: &[u64], dice: &mut Dice, depth: usize) -> Vec<u8> {
    let Ok(fields) = wire::fields(value) else { return mutated(value) };
    if fields.is_empty() || dice.one_in(12) {
        return [value, &new_field(numbers, dice)].concat();
    }
    let field = &fields[dice.below(fields.len())];
    let whole = &value[field.whole.clone()];
    let payload = &value[field.payload.clone()];
    let nested =
        field.delimited && depth < 6 && !dice.one_in(3) && wire::fields(payload).is_ok_and(|inner| !inner.is_empty());
    let replacement = if nested {
        delimited(field.number, &message(payload, numbers, dice, depth + 1))
    } else {
        match dice.below(8) {
            0 => Vec::new(),
            1 => [whole, whole].concat(),
            2 => [whole, &new_field(numbers, dice)].concat(),
            3 => value[fields[dice.below(fields.len())].whole.clone()].to_vec(),
            _ if field.delimited => delimited(field.number, &mutated(payload)),
            _ => varint_field(field.number, numbers[dice.below(numbers.len())]),
        }
    };
    [&value[..field.whole.start], &replacement, &value[field.whole.end..]].concat()
}

fn new_field(numbers: &[u64], dice: &mut Dice) -> Vec<u8> {
    let number = match dice.below(4) {
        0 => 20 + dice.below(100) as u32,
        1 => 536_870_911,
        _ => 1 + dice.below(16) as u32,
    };
    match dice.below(3) {
        0 => delimited(number, b"x"),
        1 => delimited(number, &varint_field(1, numbers[dice.below(numbers.len())])),
        _ => varint_field(number, numbers[dice.below(numbers.len())]),
    }
}

fn delimited(number: u32, payload: &[u8]) -> Vec<u8> {
    [&varint(u64::from(number) << 3 | 2)[..], &varint(payload.len() as u64), payload].concat()
}

fn varint_field(number: u32, value: u64) -> Vec<u8> {
    [varint(u64::from(number) << 3), varint(value)].concat()
}

/// A number on the wire.
pub fn varint(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(number, &mut bytes);
    bytes
}
