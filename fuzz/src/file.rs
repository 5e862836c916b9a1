//! A file for those parts of the tool that read one. In memory where there is a place for that, and removed by the next process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A folder of this process.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let base = std::env::var_os("FUZZ_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = base.join(format!("meta-migration-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("FUZZ_SCRATCH can be written to");
        folder
    })
}

/// A file with this content.
pub fn with(name: &str, content: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, content).expect("FUZZ_SCRATCH can be written to");
    path
}
