//! At the edges: misspelt settings, outputs that cannot be written, help, and what etcd's members say.

#[path = "../common/mod.rs"]
mod common;

mod hangup;
mod outputs;
mod settings;

use std::process::Command;

use assert_cmd::assert::Assert;
use common::tool::PROGRAM;
use common::{Etcd, Tool, Version};

/// An etcd with what a Milvus 2.1.0 left behind.
fn sample(version: Version) -> Etcd {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    etcd
}

/// Runs it with just these arguments and variables, without a configuration file.
fn call(tool: &Tool, args: &[&str], variables: &[(&str, &str)]) -> Assert {
    let mut command = Command::new(PROGRAM);
    command.args(args).envs(variables.iter().copied());
    tool.spawn(command).wait()
}
