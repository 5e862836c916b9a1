//! The tool as its callers use it: migrate.sh, the Milvus Operator, people.

#[path = "../common/mod.rs"]
mod common;

mod access;
mod backups;
mod command_lines;
mod operator;
mod output;

use std::process::Command;

use common::tool::PROGRAM;
use common::{Etcd, Running, Tool};

/// The configuration file that migrate.sh writes, for one of its pods.
fn migrate_sh_config(tool: &Tool, etcd: &Etcd, command: &str) -> String {
    config(tool, command, "2.1.4", "2.2.0", &format!("endpoints:\n    - {}", host_and_port(etcd)))
}

/// A configuration file in the shape of migrate.sh's and the operator's; `etcd` is what tells where and how to connect.
fn config(tool: &Tool, command: &str, source: &str, target: &str, etcd: &str) -> String {
    format!(
        "cmd:
  # Option: run/backup/rollback
  type: {command}
  runWithBackup: false
config:
  sourceVersion: {source}   # Specify source version
  targetVersion: {target}   # Specify target version
  backupFilePath: {backup}   # Only takes effect when cmd.type is backup or rollback
metastore:
  type: etcd
etcd:
  {etcd}
  rootPath: by-dev # The root path where data is stored in etcd
  metaSubPath: meta # metaRootPath = rootPath + '/' + metaSubPath
  kvSubPath: kv # kvRootPath = rootPath + '/' + kvSubPath
",
        backup = tool.backup_file().display()
    )
}

/// How many keys there are in etcd after the sample was migrated for a target: metadata and session counter, our history, and four
/// that do not belong to the meta root.
fn migrated_keys(target: &str) -> usize {
    match target.trim_start_matches('v') {
        "2.2.0" => 1_069 + 5,
        "2.2.16" => 1_070 + 5,
        "2.3.5" | "2.4.23" => 1_089 + 5,
        other => panic!("nobody has counted for {other}"),
    }
}

fn host_and_port(etcd: &Etcd) -> String {
    etcd.endpoint().split_once("://").unwrap().1.to_owned()
}

/// As migrate.sh has its pods do it.
fn by_shell(tool: &Tool) -> Running {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{PROGRAM} -config={}", tool.config_file().display())]);
    tool.spawn(command)
}

/// As the operator has its pods do it, without a shell.
fn by_operator(tool: &Tool) -> Running {
    let mut command = Command::new(PROGRAM);
    command.arg("-config").arg(tool.config_file());
    tool.spawn(command)
}
