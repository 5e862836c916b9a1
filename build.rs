//! Compiles our .proto files. Needs `protoc`, which `scripts/setup.sh` installs.

fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=proto");
    prost_build::Config::new()
        // Sorted maps: the same metadata must give the same bytes, always.
        .btree_map(["."])
        .compile_protos(
            &["proto/common.proto", "proto/source.proto", "proto/target.proto", "proto/backup.proto"],
            &["proto"],
        )
}
