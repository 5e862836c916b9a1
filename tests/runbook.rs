//! docs/operating.md: its command blocks, one after the other, as a person would type them.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use common::docs::blocks;
use common::state::assert_same;
use common::tool::PROGRAM;
use common::{Etcd, Tool, Version, on_both_versions, said};
use meta_migration::cli::Cli;

on_both_versions![every_block_of_the_runbook_works_and_the_last_one_has_brought_everything_back];

/// What the runbook leaves as it is for the reader to replace.
const ENDPOINT: &str = "localhost:2379";
/// Commands that the runbook has no need of.
// check-files needs an object storage: tests/sample/storage.rs.
const NOT_THERE: [&str; 5] = ["check-files", "repair", "completions", "man", "help"];

fn runbook() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md")).unwrap()
}

/// A program that succeeds, and writes down how it was called.
fn stand_in(folder: &Path, name: &str) {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\necho \"{name} $*\" >> \"{}/calls\"\n", folder.display())).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The folder of programs that comes first on the PATH.
fn programs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(PROGRAM, folder.path().join("meta-migration")).unwrap();
    ["kubectl", "docker", "etcdctl"].into_iter().for_each(|name| stand_in(folder.path(), name));
    folder
}

/// Runs a block in the folder of the tool.
fn run(tool: &Tool, block: &str, programs: &Path) {
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", block]).env("PATH", path);
    let ended = tool.spawn(command).wait();
    assert!(ended.get_output().status.success(), "{block}\n{}", said(&ended));
}

fn every_block_of_the_runbook_works_and_the_last_one_has_brought_everything_back(version: Version) {
    let text = runbook();
    let configurations = blocks(&text, "yaml");
    assert_eq!(configurations.len(), 1, "the runbook has one configuration file");
    assert!(configurations[0].contains(ENDPOINT), "{}", configurations[0]);

    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let before = etcd.dump();
    let tool = Tool::configured(&configurations[0].replace(ENDPOINT, &etcd.endpoint()));
    let programs = programs();
    let commands = blocks(&text, "sh");
    let last = commands.iter().rposition(|block| block.contains("meta-migration ")).expect("a call of the tool");
    let mut was_migrated = false;
    for (number, block) in commands.iter().enumerate() {
        run(&tool, block, programs.path());
        was_migrated |= etcd.dump() != before;
        if number == last {
            assert!(was_migrated, "nothing has changed on the way");
            assert_same(&before, &etcd.dump(), block);
        }
    }
    let calls = fs::read_to_string(programs.path().join("calls")).unwrap();
    for call in ["kubectl get deployments ", "kubectl scale deployments ", "docker compose stop "] {
        assert!(calls.contains(call), "{call}: {calls}");
    }
}

#[test]
fn the_runbook_has_every_command_that_a_person_needs() {
    let commands = blocks(&runbook(), "sh").concat();
    for command in Cli::command().get_subcommands().filter(|command| !NOT_THERE.contains(&command.get_name())) {
        let is_called = commands
            .lines()
            .any(|line| line.starts_with("meta-migration ") && line.split(' ').any(|word| word == command.get_name()));
        assert!(is_called, "{} is in no block", command.get_name());
    }
}

#[test]
fn every_file_that_the_docs_lead_to_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = ["README.md", "docs/operating.md", "docs/json.md"];
    for document in documents {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let folder = root.join(document).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            // docs/performance.md is written when the measurements are done.
            if link.starts_with("http") || link.starts_with('#') || link == "docs/performance.md" {
                continue;
            }
            assert!(folder.join(link).exists(), "{document} leads to {link}, which is not there");
        }
    }
}

#[test]
fn blocks_are_found_in_lists_too() {
    let text = "```sh\na\n```\n1. x\n\n   ```sh\n   b \\\n     c\n   ```\n```yaml\nd\n```\n";
    assert_eq!(blocks(text, "sh"), ["a\n", "b \\\n  c\n"]);
    assert_eq!(blocks(text, "yaml"), ["d\n"]);
}
