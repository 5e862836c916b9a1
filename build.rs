//! Compiles our .proto files, to code and to descriptors. Needs `protoc`, which `scripts/setup.sh` installs.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    prost_build::Config::new()
        // Sorted maps: the same metadata must give the same bytes, always.
        .btree_map(["."])
        // The names of everything, for people: embedded by src/layout/descriptors.rs.
        .file_descriptor_set_path(descriptors)
        .skip_source_info()
        .compile_protos(
            &["proto/common.proto", "proto/source.proto", "proto/target.proto", "proto/backup.proto"],
            &["proto"],
        )?;
    Ok(())
}
