//! The configuration file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meta_migration::config::{self, Overrides};
use meta_migration_fuzz::file;

fuzz_target!(|data: &[u8]| {
    let path = file::with("migration.yaml", data);
    match config::load(Some(&path), &Overrides::default()) {
        Ok(config) => {
            assert!(!config.etcd.endpoints.is_empty());
            assert!(!config.meta_root.to_string().is_empty());
            let told = format!("{config:?}");
            assert!(told.len() <= 100 * (data.len() + 100), "{} bytes of {}", told.len(), data.len());
        }
        // One line for people, whatever the file holds.
        Err(error) => {
            let told = format!("{error:#}");
            assert!(!told.contains(|letter: char| letter.is_control()), "{told:?}");
            assert!(told.len() <= 4 * data.len() + 1000, "{} bytes of {}", told.len(), data.len());
        }
    }
});
