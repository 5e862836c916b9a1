//! Compiles our .proto files, to code and to descriptors. Needs `protoc`, which `scripts/setup.sh` installs.
//! Also finds out what `--version` says: which commit this is, and what it is built for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
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
    let commit = commit().map(|commit| format!("commit {commit}, ")).unwrap_or_default();
    println!("cargo:rustc-env=BUILD_OF_META_MIGRATION={commit}{}", env::var("TARGET")?);
    Ok(())
}

/// The commit, shortened, in the order of who knows best. There may be none: then `--version` names none.
fn commit() -> Option<String> {
    println!("cargo:rerun-if-env-changed=META_MIGRATION_COMMIT");
    let whole = given().or_else(packaged).or_else(checked_out)?;
    // "-dirty" and the like stay.
    let (hash, rest) = whole.split_at(whole.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(whole.len()));
    Some(format!("{}{rest}", hash.get(..12).unwrap_or(hash)))
}

/// What whoever builds says: scripts/release.sh and the Dockerfile, which has no repository.
fn given() -> Option<String> {
    env::var("META_MIGRATION_COMMIT").ok().filter(|commit| !commit.is_empty() && commit != "unknown")
}

/// What `cargo package` wrote down.
fn packaged() -> Option<String> {
    const FILE: &str = ".cargo_vcs_info.json";
    let text = fs::read_to_string(FILE).ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

/// The commit of the repository that this folder is the top of (not of one that it merely lies in). Only for release builds: all
/// others would be compiled again after every commit.
fn checked_out() -> Option<String> {
    if env::var("PROFILE").ok()? != "release" {
        return None;
    }
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(".").ok()? {
        return None;
    }
    let watched = ["HEAD", "logs/HEAD"].map(|name| git(&["rev-parse", "--git-path", name]));
    for file in watched.into_iter().flatten().filter(|file| Path::new(file).exists()) {
        println!("cargo:rerun-if-changed={file}");
    }
    git(&["rev-parse", "HEAD"])
}

/// The one line that git answers; nothing where there is no git, or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
