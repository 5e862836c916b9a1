//! Any metadata through the whole conversion, and through what comes after it.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use meta_migration::migrate::Options;
use meta_migration_fuzz::{checks, mutate, pairs::Input};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::pairs(data, size, max_size, seed) });

fuzz_target!(|data: &[u8]| {
    let input = Input::decode(data);
    let keys = input.keys();
    let cut = usize::from(input.choices >> 2);
    // Showing takes as long as all the rest, and has a target of its own.
    for (key, value) in keys.iter().filter(|_| cut % 8 == 0) {
        checks::key(key);
        checks::shown(key, value);
    }
    let options = Options {
        rebuild_index: if input.choices & 1 == 0 { Vec::new() } else { vec!["HNSW".into(), "ivf_flat".into()] },
        keep_index_files: input.choices & 2 != 0,
        ..Options::default()
    };
    checks::conversion(&keys, &options, cut * 7);
});
