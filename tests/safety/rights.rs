//! docs/reliability.md, "The least rights in etcd": its commands make a user with which everything works, and one that can only look.

use std::process::Command;

use predicates::prelude::*;
use predicates::str::contains;

use crate::common::docs::blocks;
use crate::common::state::{LOCK, assert_same};
use crate::common::{Etcd, Tool, Version, on_both_versions, said};

on_both_versions![the_documented_rights_suffice_and_less_is_told];

fn section() -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reliability.md")).unwrap();
    let (_, section) = text.split_once("## The least rights in etcd").expect("the section on rights");
    section.split("\n## ").next().unwrap_or_default().to_owned()
}

/// Runs a block as somebody would who is root in etcd.
fn as_root(etcd: &Etcd, tool: &Tool, block: &str) {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", block]);
    command.envs([("ETCDCTL_API", "3"), ("ETCDCTL_ENDPOINTS", &etcd.endpoint()), ("ETCDCTL_USER", "root:root")]);
    let ended = tool.spawn(command).wait();
    assert!(ended.get_output().status.success(), "{block}\n{}", said(&ended));
}

fn log_in(tool: &Tool, etcd: &Etcd, user: &str) {
    tool.configure(&format!(
        "config: {{ sourceVersion: 2.1.4, targetVersion: 2.2.0, backupFilePath: migration.bak }}\n\
         etcd: {{ endpoints: ['{}'], auth: {{ enabled: true, userName: {user}, password: a-long-password }} }}\n",
        etcd.endpoint()
    ));
}

fn the_documented_rights_suffice_and_less_is_told(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    etcd.put("by-other/meta/root-coord/collection/1", "of somebody else");
    etcd.enable_auth();
    let before = etcd.dump();
    let tool = Tool::configured("");
    std::fs::write(tool.dir().join("password"), "a-long-password\n").unwrap();
    let commands = blocks(&section(), "sh");
    assert_eq!(commands.len(), 3, "one to work, one to look, one for all of status: {commands:?}");
    commands[..2].iter().for_each(|block| as_root(&etcd, &tool, block));

    log_in(&tool, &etcd, "meta-migration");
    let told = |what: &'static str| contains(what);
    tool.call(&["plan"]).code(0);
    tool.call(&["backup"]).code(0);
    tool.call(&["run"]).code(0).stderr(told("next: `verify`"));
    tool.call(&["verify", "--backup", "migration.bak"]).code(0);
    tool.call(&["status"])
        .code(0)
        .stdout(told("alarms: none").and(told("meta roots: this user may not look at all keys")));
    tool.call(&["rollback"]).code(0).stderr(told("rolled back at revision"));
    tool.call(&["run", "--with-backup"]).code(0);
    tool.call(&["rollback", "--backup-file", "migration.bak"]).code(0);
    assert_same(&before, &etcd.dump(), "all done with the least rights");
    assert_eq!(etcd.get(LOCK), None);
    // Elsewhere they may do nothing.
    tool.call(&["backup", "--root-path=by-other"]).code(1).stderr(told("etcd denies it to user \"meta-migration\""));

    log_in(&tool, &etcd, "meta-look");
    tool.call(&["plan"]).code(1).stdout(told("392 metadata keys").and(told("denies it to user \"meta-look\"")));
    tool.call(&["verify"]).code(1).stdout(told("etcd denies").not());
    tool.call(&["status"]).code(0);
    let revision = etcd.revision();
    for command in ["backup", "run", "rollback"] {
        tool.call(&[command])
            .code(1)
            .stderr(told("etcd denies it to user \"meta-look\"").and(told("grant-permission")));
    }
    assert_eq!(etcd.revision(), revision);

    as_root(&etcd, &tool, &commands[2]);
    tool.call(&["status"]).code(0).stdout(told("meta roots: by-dev/meta, by-other/meta"));
}
