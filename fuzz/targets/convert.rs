//! Any metadata through the whole conversion, and through what comes after it.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use meta_migration::catalog::Options;
use meta_migration::version::{Layout, parse};
use meta_migration_fuzz::{checks, mutate, pairs::Input, shown};

/// One for each layout that there is.
const TARGETS: [&str; 5] = ["2.2.0", "2.2.8", "2.2.16", "2.3.5", "2.4.23"];

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate::pairs(data, size, max_size, seed) });

fuzz_target!(|data: &[u8]| {
    let input = Input::decode(data);
    let keys = input.keys();
    let cut = usize::from(input.choices >> 2);
    // Showing takes as long as all the rest, and has a target of its own.
    for (key, value) in keys.iter().filter(|_| cut % 8 == 0) {
        shown::key(key);
        shown::value(key, value);
    }
    let options = Options {
        rebuild_index: if input.choices & 1 == 0 { Vec::new() } else { vec!["HNSW".into(), "ivf_flat".into()] },
        keep_index_files: input.choices & 2 != 0,
        ..Options::default()
    };
    let target = parse(TARGETS[cut % TARGETS.len()]).expect("a version");
    checks::conversion(&keys, Layout::of(&target), &options, cut * 7);
});
