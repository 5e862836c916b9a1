//! The commands of README.md and of the docs that a person follows, one after the other, as they would be typed.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use common::docs::{blocks, document};
use common::state::assert_same;
use common::tool::PROGRAM;
use common::{Builder, Etcd, Tool, Version, free_ports, on_both_versions, said};
use meta_migration::cli::Cli;

on_both_versions![
    every_block_from_the_days_before_to_going_back_works_and_brings_everything_back,
    what_the_readme_shows_works_and_brings_everything_back,
];

/// What the documents leave as it is for the reader to replace.
const ENDPOINT: &str = "localhost:2379";
/// Commands that the runbook has no need of.
// check-files needs an object storage: tests/sample/storage.rs.
const NOT_THERE: [&str; 6] = ["check-files", "repair", "upgrade", "completions", "man", "help"];
/// What the rehearsal listens on.
const REHEARSAL: [&str; 2] = ["23790", "23791"];

/// The pages of the way, in the order of a reader.
fn way() -> String {
    ["docs/before.md", "docs/operating.md", "docs/going-wrong.md"].map(document).concat()
}

/// A program that succeeds, and writes down how it was called.
fn stand_in(folder: &Path, name: &str) {
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\necho \"{name} $*\" >> \"{}/calls\"\n", folder.display())).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The folder of programs that comes first on the PATH: ours, etcd's of a version, and stand-ins.
fn programs(version: Version) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    symlink(PROGRAM, folder.path().join("meta-migration")).unwrap();
    for name in ["etcd", "etcdctl"] {
        symlink(version.binary().with_file_name(name), folder.path().join(name)).unwrap();
    }
    ["kubectl", "docker"].into_iter().for_each(|name| stand_in(folder.path(), name));
    folder
}

/// Runs a block in the folder of the tool. Nothing that it started outlives it.
fn run(tool: &Tool, block: &str, programs: &Path, variables: &[(&str, &str)]) {
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    let script = format!("shopt -s expand_aliases; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{block}");
    command.args(["-euo", "pipefail", "-c", &script]);
    command.env("PATH", path).env("ETCDCTL_API", "3").envs(variables.iter().copied());
    let ended = tool.spawn(command).wait();
    assert!(ended.get_output().status.success(), "{block}\n{}", said(&ended));
}

fn every_block_from_the_days_before_to_going_back_works_and_brings_everything_back(version: Version) {
    let text = way();
    let configuration = &blocks(&text, "yaml")[0];
    assert!(configuration.contains(ENDPOINT), "{configuration}");

    // etcdctl asks every member at the address that it gives out, so it must be one.
    let address = format!("http://127.0.0.1:{}", free_ports(1)[0]);
    let urls = ["listen", "advertise"].map(|what| format!("--{what}-client-urls={address}"));
    let etcd = urls.iter().fold(Etcd::with(version), Builder::arg).start();
    etcd.load_milvus();
    let before = etcd.dump();
    let tool = Tool::configured(&configuration.replace(ENDPOINT, &etcd.endpoint()));
    let programs = programs(version);
    let endpoint = etcd.endpoint();
    let ports = free_ports(REHEARSAL.len());
    for folder in ["rdb_data", "rdb_data_meta_kv"] {
        fs::create_dir_all(tool.dir().join("var/lib/milvus").join(folder)).unwrap();
    }
    let commands = blocks(&text, "sh");
    let last = commands.iter().rposition(|block| block.contains("meta-migration ")).expect("a call of the tool");
    let mut was_migrated = false;
    for (number, block) in commands.iter().enumerate() {
        let block = REHEARSAL
            .iter()
            .zip(&ports)
            .fold(block.clone(), |block, (documented, free)| block.replace(documented, &free.to_string()));
        // Folders of a Milvus with rocksmq, under a root of its own.
        let here = |folder: &str| format!("{}{folder}", tool.dir().display());
        let block = ["/var/lib/milvus", "/backup/rocksmq"]
            .iter()
            .fold(block, |block, folder| block.replace(folder, &here(folder)));
        run(&tool, &block, programs.path(), &[("ETCDCTL_ENDPOINTS", &endpoint)]);
        was_migrated |= etcd.dump() != before;
        if number == last {
            assert!(was_migrated, "nothing has changed on the way");
            assert_same(&before, &etcd.dump(), &block);
        }
    }
    let calls = fs::read_to_string(programs.path().join("calls")).unwrap();
    for call in ["kubectl get deployments ", "kubectl scale deployments "] {
        assert!(calls.contains(call), "{call}: {calls}");
    }
}

fn what_the_readme_shows_works_and_brings_everything_back(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let before = etcd.dump();
    let tool = Tool::new(&etcd);
    symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata"), tool.dir().join("testdata")).unwrap();
    let programs = programs(version);
    let commands = blocks(&document("README.md"), "sh");

    let looks: Vec<_> = commands.iter().filter(|block| block.contains(ENDPOINT)).collect();
    assert!(!looks.is_empty());
    for block in looks {
        run(&tool, &block.replace(ENDPOINT, &etcd.endpoint()), programs.path(), &[]);
    }
    assert_same(&before, &etcd.dump(), "the first look");

    // The block says nothing of ports: this is how etcd, etcdctl and the tool are sent to free ones.
    let sample = commands.iter().find(|block| block.contains("snapshot restore")).expect("the sample by hand");
    let addresses: Vec<_> = free_ports(2).iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
    let told = ["ETCD_LISTEN_CLIENT_URLS", "ETCD_ADVERTISE_CLIENT_URLS", "ETCDCTL_ENDPOINTS", "ETCD_ENDPOINTS"];
    let mut variables: Vec<_> = told.map(|name| (name, addresses[0].as_str())).into();
    variables.push(("ETCD_LISTEN_PEER_URLS", &addresses[1]));
    let dump = "dump() { etcdctl get --prefix by-dev/meta/ --write-out=simple; }";
    let compared = sample
        .replace("export META_", &format!("{dump}\ndump > before\nexport META_"))
        .replace("kill ", "dump > after; cmp before after\nkill ");
    assert!(compared.contains("dump > before") && compared.contains("cmp "), "{sample}");
    run(&tool, &compared, programs.path(), &variables);
}

#[test]
fn the_steps_of_docker_compose_are_those_of_the_window() {
    let tool = Tool::configured("");
    let programs = programs(Version::V3_4);
    symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy"), tool.dir().join("deploy")).unwrap();
    ["milvus/etcd", "etcd"].iter().for_each(|name| fs::create_dir_all(tool.dir().join("volumes").join(name)).unwrap());
    let volumes = tool.dir().display().to_string();
    // `mm` is made in the first block, and again for the embedded etcd.
    let mut alias = String::new();
    for block in blocks(&document("docs/compose.md"), "sh").iter().filter(|block| !block.contains("etcd --data-dir")) {
        if let Some(line) = block.lines().find(|line| line.starts_with("alias ")) {
            alias = format!("{line}\n");
        }
        // Copies are there from the block before.
        let fresh = "rm -rf volumes/*.before\n";
        run(&tool, &format!("{fresh}{alias}{}", block.replace("/path/to", &volumes)), programs.path(), &[]);
    }
    let calls = fs::read_to_string(programs.path().join("calls")).unwrap();
    let of_the_tool: Vec<_> = calls.lines().filter_map(|line| line.split_once(" --rm meta-migration ")).collect();
    let steps: Vec<_> = of_the_tool.iter().map(|(_, step)| step.split(' ').next().unwrap()).collect();
    let forward = ["status", "plan", "backup", "run", "verify"];
    assert_eq!(steps, [&forward[..], &["rollback"], &forward].concat(), "{calls}");
}

#[test]
fn the_runbook_has_every_command_that_a_person_needs() {
    let commands = blocks(&way(), "sh").concat();
    for command in Cli::command().get_subcommands().filter(|command| !NOT_THERE.contains(&command.get_name())) {
        let is_called = commands
            .lines()
            .any(|line| line.starts_with("meta-migration ") && line.split(' ').any(|word| word == command.get_name()));
        assert!(is_called, "{} is in no block", command.get_name());
    }
}

#[test]
fn blocks_are_found_in_lists_too() {
    let text = "```sh\na\n```\n1. x\n\n   ```sh\n   b \\\n     c\n   ```\n```yaml\nd\n```\n";
    assert_eq!(blocks(text, "sh"), ["a\n", "b \\\n  c\n"]);
    assert_eq!(blocks(text, "yaml"), ["d\n"]);
}
