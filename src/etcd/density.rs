//! How the keys lie, and so where to cut a range of them for the next request.
//!
//! etcd walks over every key between the beginning and the end of a request, however few it is asked for, so reading many keys in
//! pages without an end takes quadratic time (`Revisions` in etcd's mvcc/index.go). And a request that ends at a known key
//! need not be waited for before the next one is made.

use super::read::prefix_end;

/// As many as fit, with room to multiply.
const DECIMAL_PLACES: usize = 33;
const BYTE_PLACES: usize = 14;
/// Digits in common that are counted too, for the next keys may carry into them.
const CARRY: usize = 6;

/// The distance from key to key, as a few keys in a row have it. A guess: whoever cuts by it must get by with any number of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Density {
    /// How many bytes in the beginning are not counted: all these keys have them in common.
    common: usize,
    digits: Digits,
    /// From key to key, on average; not 0.
    step: u128,
}

/// How the bytes behind the common ones are read as a number. Greater keys are greater numbers, or nearly: IDs of unlike length aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digits {
    /// IDs, with slashes between them that count as 0: there is no gap between one that ends in 9 and the next.
    Decimal,
    Bytes,
}

impl Density {
    /// Of keys between `first` and `last`, from the one to the other in so many steps; `None` if they tell nothing.
    pub(super) fn of(first: &[u8], last: &[u8], steps: u64) -> Option<Self> {
        let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let digits = Digits::of(&[&first[common..], &last[common..]]);
        let carry = first[..common].iter().rev().take(CARRY).take_while(|byte| byte.is_ascii_digit()).count();
        let common = if digits == Digits::Decimal { common - carry } else { common };
        let distance = digits.number(last, common).checked_sub(digits.number(first, common))?;
        let step = distance.checked_div(u128::from(steps))?;
        (step > 0).then_some(Self { common, digits, step })
    }

    /// A key behind `start`, with about `keys` keys between them if they go on like this; `None` if `start` does not.
    pub(super) fn end(&self, start: &[u8], keys: u64) -> Option<Vec<u8>> {
        let prefix = start.get(..self.common)?;
        let distance = self.step.saturating_mul(u128::from(keys));
        let number = self.digits.number(start, self.common).saturating_add(distance);
        let end = match self.digits.key(prefix, number) {
            Some(end) => end,
            None if prefix.iter().all(|byte| *byte == u8::MAX) => return None,
            None => prefix_end(prefix),
        };
        (&*end > start).then_some(end)
    }
}

impl Digits {
    fn of(keys: &[&[u8]]) -> Self {
        let is_decimal = |key: &&[u8]| key.iter().take(DECIMAL_PLACES).all(|byte| (b'/'..=b'9').contains(byte));
        if keys.iter().all(is_decimal) { Self::Decimal } else { Self::Bytes }
    }

    fn base(self) -> u128 {
        match self {
            Self::Decimal => 10,
            Self::Bytes => 256,
        }
    }

    fn places(self) -> usize {
        match self {
            Self::Decimal => DECIMAL_PLACES,
            Self::Bytes => BYTE_PLACES,
        }
    }

    fn digit(self, byte: u8) -> u128 {
        match self {
            Self::Decimal => u128::from(byte.clamp(b'0', b'9') - b'0'),
            Self::Bytes => u128::from(byte),
        }
    }

    /// The number that the bytes from `at` on stand for; a key that ends before goes on with zeros.
    fn number(self, key: &[u8], at: usize) -> u128 {
        (at..at + self.places())
            .map(|place| key.get(place).map_or(0, |byte| self.digit(*byte)))
            .fold(0, |number, digit| number * self.base() + digit)
    }

    /// The key of a number; `None` if it has more places than there are.
    fn key(self, prefix: &[u8], mut number: u128) -> Option<Vec<u8>> {
        let mut key = vec![0; prefix.len() + self.places()];
        key[..prefix.len()].copy_from_slice(prefix);
        for byte in key[prefix.len()..].iter_mut().rev() {
            // A digit is smaller than the base, which is 256 at most.
            let digit = (number % self.base()) as u8;
            *byte = match self {
                Self::Decimal => b'0' + digit,
                Self::Bytes => digit,
            };
            number /= self.base();
        }
        (number == 0).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::Density;

    /// How many of the keys lie between `start` and the end of the next 100.
    fn within(keys: &[String], density: &Density, start: &str) -> usize {
        let end = density.end(start.as_bytes(), 100).unwrap();
        keys.iter().filter(|key| key.as_str() >= start && key.as_bytes() < &end[..]).count()
    }

    #[test]
    fn a_window_holds_about_as_many_keys_as_wanted_wherever_ids_carry() {
        for (step, prefix) in [(1, ""), (7, "by-dev/meta/indexes/"), (13, "segment-index/447000000000000001/")] {
            let keys: Vec<String> =
                (0..4000_u64).map(|key| format!("{prefix}{}", 470_000_000_000 + key * step)).collect();
            let density = Density::of(keys[0].as_bytes(), keys[999].as_bytes(), 999).unwrap();
            for start in (1000..3800).step_by(50) {
                let found = within(&keys, &density, &keys[start]);
                assert!((95..=105).contains(&found), "{found} keys behind {}", keys[start]);
            }
        }
    }

    #[test]
    fn keys_of_several_collections_are_counted_together() {
        let key = |number: usize| format!("s/{}/{}", 4700 + number / 10 * 3, 880_000 + number % 10);
        let keys: Vec<String> = (0..2000).map(key).collect();
        let density = Density::of(keys[0].as_bytes(), keys[499].as_bytes(), 499).unwrap();
        for start in (500..1800).step_by(10) {
            let found = within(&keys, &density, &keys[start]);
            assert!((60..=150).contains(&found), "{found} keys behind {}", keys[start]);
        }
    }

    #[test]
    fn behind_the_last_key_that_could_be_counted_the_window_ends_with_the_prefix() {
        let density = Density::of(b"k/1", b"k/9", 1).unwrap();
        assert_eq!(density.end(b"k/9", 5).unwrap(), b"k0");
        let bytes = Density::of(b"\xff\x01", b"\xff\xf0", 1).unwrap();
        assert_eq!(bytes.end(b"\xff\xf1", 5), None, "no key begins with something greater");
    }

    #[test]
    fn few_or_equal_keys_tell_nothing() {
        for (first, last, steps) in [(&b"a"[..], &b"b"[..], 0), (b"a", b"a", 1), (b"b", b"a", 1)] {
            assert_eq!(Density::of(first, last, steps), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_keys_are_the_end_is_behind_the_start(
            mut keys in vec(vec(prop_oneof![any::<u8>(), b'/'..=b':', Just(u8::MAX)], 0..40), 2..4),
            of in 0..20_000u64,
            wanted in prop_oneof![0..20_000u64, Just(u64::MAX)],
        ) {
            keys.sort();
            if let Some(density) = Density::of(&keys[0], &keys[1], of) {
                for start in &keys {
                    if let Some(end) = density.end(start, wanted) {
                        prop_assert!(end > *start);
                    }
                }
            }
        }
    }
}
