//! SIGHUP: the connection of the person who started it drops.

use std::process::Command;

use predicates::str::contains;
use pty_process::blocking::{Command as OnTerminal, open};

use crate::common::gate::{Gate, Moment};
use crate::common::state::LOCK;
use crate::common::tool::PROGRAM;
use crate::common::{Etcd, Tool, Version, wait_until};
use crate::sample;

fn backed_up() -> (Etcd, Tool) {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    (etcd, tool)
}

#[test]
fn a_run_that_loses_its_connection_stops_in_order_and_can_go_on() {
    let (etcd, tool) = backed_up();
    let running = tool.catch(&["run"], &etcd, 3, || {});
    running.signal("HUP");
    running.go_on();
    running.wait().code(2).stderr(contains("stopped by a signal"));
    assert!(etcd.get(LOCK).is_none() && etcd.leases().is_empty(), "the lock was not given back");
    tool.call(&["run"]).code(0);
    tool.call(&["rollback"]).code(0);
}

#[test]
fn a_run_that_waits_is_ended_by_it_with_nothing_written() {
    let (etcd, tool) = backed_up();
    etcd.put_with_lease("by-dev/meta/session/rootcoord", r#"{"ServerName":"rootcoord"}"#, 600);
    let mut running = tool.start(&["run", "--wait-for-sessions", "10m"]);
    running.wait_for_output("waiting for sessions to end");
    running.signal("HUP");
    running.wait().code(1);
}

/// `nohup` asks for it to go on.
#[test]
fn what_is_started_with_nohup_goes_on() {
    let (etcd, tool) = backed_up();
    let gate = Gate::to(&etcd);
    gate.hold("Write", 1, Moment::Before);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh", PROGRAM, "--config"]).arg(tool.config_file());
    command.args(["run", "--endpoints", &gate.endpoint()]);
    let running = tool.spawn(command);
    wait_until("a write is held", || gate.is_holding());
    running.signal("HUP");
    gate.open();
    running.wait().code(0);
}

/// The terminal goes, and with it stdout and stderr.
#[test]
fn a_terminal_that_is_closed_in_the_middle_of_writing_is_a_stop_in_order() {
    let (etcd, tool) = backed_up();
    let gate = Gate::to(&etcd);
    gate.hold("Write", 3, Moment::Before);
    let (terminal, inner) = open().unwrap();
    let args = ["run", "--yes", "--max-txn-ops=9", "--endpoints", &gate.endpoint()];
    let mut child = on_terminal(&tool, &args).spawn(inner).unwrap();
    wait_until("a write is held", || gate.is_holding() || child.try_wait().unwrap().is_some());
    drop(terminal);
    gate.open();
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), Some(2), "{ended:?}");
    assert!(etcd.get(LOCK).is_none() && etcd.leases().is_empty(), "the lock was not given back");
}

#[test]
fn a_terminal_that_is_closed_at_the_question_means_no() {
    let (etcd, tool) = backed_up();
    let before = etcd.dump();
    let (terminal, inner) = open().unwrap();
    let mut child = on_terminal(&tool, &["run"]).spawn(inner).unwrap();
    wait_until("the lock is taken", || etcd.get(LOCK).is_some() || child.try_wait().unwrap().is_some());
    drop(terminal);
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(etcd.dump() == before && etcd.leases().is_empty());
}

fn on_terminal(tool: &Tool, args: &[&str]) -> OnTerminal {
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(tool.config_file()).args(args).current_dir(tool.dir());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("META_MIGRATION_")) {
        command.env_remove(name);
    }
    OnTerminal::from(command)
}
