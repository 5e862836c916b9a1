//! What must hold of a single key and value.

use meta_migration::decode;
use meta_migration::layout::families::Family;
use meta_migration::layout::keys::{self, Key};

/// A key that parses is built again just so, and belongs to one kind.
pub fn key(key: &[u8]) {
    if let Ok(parsed) = Key::parse(key)
        && !matches!(parsed.family, Family::Other | Family::Session | Family::History)
    {
        assert_eq!(parsed.to_string().as_bytes(), key);
    }
    let prefix = keys::prefix_of(key);
    assert!(prefix.len() <= 4 * key.len() + 1, "{prefix:?}");
    keys::family_of(key);
}

/// A value can be shown, in a text that is not much larger than it, and its unknown fields are few.
pub fn value(key: &[u8], value: &[u8]) {
    let decoded = decode::value(key, value);
    let (text, line) = (decoded.to_string(), decoded.one_line());
    assert!(!line.contains('\n'), "{line:?}");
    let most = 200 * (value.len() + 10);
    assert!(text.len() <= most && line.len() <= most, "{} and {} bytes of {}", text.len(), line.len(), value.len());
    if let Ok(key) = Key::parse(key) {
        let unknown = decode::unknown_fields(&key, value);
        assert!(unknown.len() <= 11, "{unknown:?}");
        assert!(key.family.message().is_some() || unknown.is_empty(), "{unknown:?}");
    }
}
