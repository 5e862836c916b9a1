//! The exact command lines, with what to do in the file; and the exit codes.

use std::process::Command;

use predicates::prelude::*;
use predicates::str::contains;

use crate::common::state::assert_same;
use crate::common::tool::PROGRAM;
use crate::common::{Cluster, Etcd, Running, Tool, Version, on_both_versions, said};
use crate::{by_operator, by_shell, config, host_and_port, migrate_sh_config, migrated_keys};

on_both_versions![
    migrate_sh_backs_up_migrates_and_rolls_back,
    the_operator_backs_up_migrates_and_rolls_back,
    a_rollback_after_a_refused_run_has_nothing_to_do,
    every_documented_pair_of_versions_gives_the_metadata_of_its_target,
    flags_go_before_the_environment_and_that_before_the_file,
];

fn migrate_sh_backs_up_migrates_and_rolls_back(version: Version) {
    let etcd = Etcd::start(version);
    back_up_migrate_and_roll_back(&etcd, "2.2.0", by_shell, |tool, command| migrate_sh_config(tool, &etcd, command));
}

/// The operator's template has the key `endpoints` once for each endpoint. Nothing listens at one of them.
fn the_operator_backs_up_migrates_and_rolls_back(version: Version) {
    let etcd = Etcd::start(version);
    let endpoints = format!(
        "endpoints: [127.0.0.1:1]
  endpoints: [{0}]
  endpoints: ['http://{0}']",
        host_and_port(&etcd)
    );
    back_up_migrate_and_roll_back(&etcd, "2.3.5", by_operator, |tool, command| {
        config(tool, command, "v2.1.4", "v2.3.5", &endpoints)
    });
}

#[test]
fn the_operator_migrates_through_the_members_that_live() {
    let mut cluster = Cluster::start(Version::V3_5);
    let leader = cluster.leader(0).expect("a leader");
    let dead = (leader + 1) % 3;
    cluster.members[dead].kill();
    let endpoints: Vec<_> =
        cluster.members.iter().map(|member| format!("endpoints: [{}]", host_and_port(member))).collect();
    back_up_migrate_and_roll_back(&cluster.members[leader], "2.4.23", by_operator, |tool, command| {
        config(tool, command, "v2.1.4", "2.4.23", &endpoints.join("\n  "))
    });
}

fn back_up_migrate_and_roll_back(
    etcd: &Etcd,
    target: &str,
    start: impl Fn(&Tool) -> Running,
    config: impl Fn(&Tool, &str) -> String,
) {
    etcd.load_milvus();
    let before = etcd.dump();
    let tool = Tool::configured("");
    let call = |command: &str| {
        tool.configure(&config(&tool, command));
        start(&tool).wait().code(0)
    };
    call("backup");
    assert_same(&before, &etcd.dump(), "backup");
    call("run");
    let migrated = etcd.dump();
    assert_eq!(migrated.len(), migrated_keys(target));
    assert!(said(&call("run")).contains("nothing to do"));
    assert_same(&migrated, &etcd.dump(), "run again");
    call("rollback");
    assert_same(&before, &etcd.dump(), "rollback");
    assert!(said(&call("rollback")).contains("nothing to do"));
}

/// What the operator does with `rollbackIfFailed`.
fn a_rollback_after_a_refused_run_has_nothing_to_do(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let before = etcd.dump();
    let tool = Tool::configured("");
    for (command, code) in [("backup", 0), ("run", 1), ("rollback", 0)] {
        tool.configure(&config(&tool, command, "2.1.4", "2.5.0", &format!("endpoints: {}", host_and_port(&etcd))));
        by_operator(&tool).wait().code(code);
    }
    assert_same(&before, &etcd.dump(), "nothing was written");
}

fn every_documented_pair_of_versions_gives_the_metadata_of_its_target(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let before = etcd.dump();
    let tool = Tool::new(&etcd);
    for (source, target) in [("2.1.4", "2.2.0"), ("2.1.0", "v2.2.16"), ("v2.1.4", "2.3.5"), ("2.1.2", "2.4.23")] {
        etcd.start_over(&before);
        tool.call(&["run", "--source-version", source, "--target-version", target])
            .code(0)
            .stderr(contains(format!("then start Milvus {}", target.trim_start_matches('v'))));
        assert_eq!(etcd.dump().len(), migrated_keys(target), "{source} {target}");
    }
}

fn flags_go_before_the_environment_and_that_before_the_file(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let tool = Tool::configured("");
    tool.configure(&config(&tool, "backup", "2.1.4", "2.2.0", "endpoints: [127.0.0.1:1]"));
    by_operator(&tool).wait().code(1).stderr(contains("http://127.0.0.1:1: connection refused"));

    let start = |endpoints: &str, args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.env("ETCD_ENDPOINTS", endpoints).arg("-config").arg(tool.config_file()).args(args);
        tool.spawn(command).wait()
    };
    start(&etcd.endpoint(), &[]).code(0);
    start("127.0.0.1:2", &[]).code(1).stderr(contains("http://127.0.0.1:2: connection refused"));
    start("127.0.0.1:2", &["--endpoints", &etcd.endpoint()]).code(0);
    // A subcommand goes before cmd.type, too.
    start(&etcd.endpoint(), &["rollback"]).code(0).stderr(contains("rollback:"));
    start(&etcd.endpoint(), &["run", "--root-path=other"]).code(1).stderr(contains("no metadata under other/meta"));
}

#[test]
fn what_needs_no_etcd_asks_none() {
    let tool = Tool::configured("etcd: { endpoints: [127.0.0.1:1] }");
    let run = |source: &str, target: &str| tool.call(&["run", "--source-version", source, "--target-version", target]);
    // Whether there is nothing to do is not a matter of versions alone.
    run("2.1.0", "2.1.4").code(1).stderr(contains("cannot connect to etcd"));
    run("2.0.2", "2.2.0").code(1).stderr(contains("first upgrade Milvus to 2.1.4"));
    run("2.1.4", "2.5.0").code(1).stderr(contains("first migrate to 2.4"));
    tool.call(&["run"]).code(1).stderr(contains("config.sourceVersion"));
    tool.call(&["rollback", "--backup-file=none.bak"]).code(1).stderr(contains("there is no backup file none.bak"));
}

#[test]
fn bad_usage_and_bad_files_are_exit_1_and_help_is_exit_0() {
    let tool = Tool::configured("cmd: { type: run }\nmetastore: { type: mysql }");
    let start = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(args);
        tool.spawn(command).wait()
    };
    start(&["--help"]).code(0).stdout(contains("rollback"));
    start(&["--version"]).code(0);
    start(&[]).code(1).stderr(contains("no command"));
    start(&["migrate"]).code(1).stderr(contains("migrate"));
    start(&["run", "--no-such-flag"]).code(1).stderr(contains("--no-such-flag"));
    start(&["run", "--max-txn-ops=7"]).code(1).stderr(contains("--max-txn-ops"));
    start(&["-config", "missing.yaml"]).code(1).stderr(contains("missing.yaml").and(contains("does not exist")));
    // What `docker run -v` makes of a file that is not there.
    start(&["-config=."]).code(1).stderr(contains("is a directory").and(contains("panic").not()));
    by_operator(&tool).wait().code(1).stderr(contains("metastore.type").and(contains("etcd")));
    tool.configure("cmd: { type: upgrade }");
    by_operator(&tool).wait().code(1).stderr(contains("cmd.type").and(contains("run, backup or rollback")));
    tool.configure("etcd: { endpoints: [127.0.0.1:1] }");
    by_operator(&tool).wait().code(1).stderr(contains("cmd.type"));
    tool.configure("cmd: { type: run }\nconfig: { sourceVersion: two, targetVersion: 2.2.0 }");
    by_operator(&tool).wait().code(1).stderr(contains("config.sourceVersion").and(contains("two")));
}
