//! The key parser, and values shown to people: the first line is the key, the rest the value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meta_migration_fuzz::checks;

fuzz_target!(|data: &[u8]| {
    let (key, value) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    checks::key(key);
    checks::key(data);
    checks::shown(key, value);
});
