//! What tells whether a backup holds just what is in etcd, without both in memory.

use twox_hash::{XxHash3_64, XxHash3_128};

use crate::layout::keys::is_metadata;

/// A sum over keys and values that does not depend on their order. Sessions, their counter and our history do not count. It guards
/// against mistakes, not against people: who can forge a backup can forge what is in etcd, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Content {
    keys: u64,
    sum: u128,
}

impl Content {
    /// Takes in a key (relative to the meta root) with its value. Each key comes once.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        if !is_metadata(key) {
            return;
        }
        self.keys += 1;
        // With the key as its seed, two keys that have each other's value are not the same as before.
        let of_value = XxHash3_128::oneshot_with_seed(XxHash3_64::oneshot(key), value);
        // The seed has 64 bits of the key only.
        let of_key = XxHash3_128::oneshot(key);
        self.sum = self.sum.wrapping_add(of_value).wrapping_add(of_key);
    }

    /// How many keys it is of.
    pub fn keys(&self) -> u64 {
        self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(entries: &[(&str, &str)]) -> Content {
        let mut content = Content::default();
        entries.iter().for_each(|(key, value)| content.add(key.as_bytes(), value.as_bytes()));
        content
    }

    #[test]
    fn order_does_not_matter_and_every_byte_does() {
        let one = content(&[("a/1", "x"), ("a/2", "y")]);
        assert_eq!(one, content(&[("a/2", "y"), ("a/1", "x")]));
        assert_ne!(one, content(&[("a/1", "y"), ("a/2", "x")]));
        assert_ne!(one, content(&[("a/1", "x")]));
        assert_ne!(content(&[("a", "bc")]), content(&[("ab", "c")]));
    }

    #[test]
    fn sessions_and_history_do_not_count() {
        assert_eq!(content(&[("session/id", "5"), ("meta-migration/history", "{}")]), Content::default());
    }
}
