//! The key parser, and values shown to people: the first line is the key, the rest the value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meta_migration_fuzz::shown;

fuzz_target!(|data: &[u8]| {
    let (key, value) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    shown::key(key);
    shown::key(data);
    shown::value(key, value);
});
