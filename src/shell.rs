//! What a person is to type into a shell.

use std::borrow::Cow;

/// A value as one argument: quoted where a shell would make something else of it.
pub fn as_argument(value: &str) -> Cow<'_, str> {
    // Nothing can be typed that holds a zero byte; no path and no argument has one.
    shlex::try_quote(value).unwrap_or(Cow::Borrowed(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_change_is_quoted() {
        assert_eq!(as_argument("/milvus/data/migration.bak"), "/milvus/data/migration.bak");
        for odd in ["my backup.bak", "a_$pecial=a__pecial", "it's", "*", ""] {
            assert_eq!(shlex::split(&as_argument(odd)), Some(vec![odd.to_owned()]), "{odd}");
        }
    }
}
