//! What stands in the log of a pod.

use std::process::Command;

use predicates::prelude::*;
use predicates::str::is_match;

use crate::common::tool::PROGRAM;
use crate::common::{Etcd, Tool, Version, on_both_versions, said, testdata};

on_both_versions![the_log_of_a_pod_has_plain_dated_lines_and_not_one_for_each_key, verbose_has_a_line_for_each_key];

fn the_log_of_a_pod_has_plain_dated_lines_and_not_one_for_each_key(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let tool = Tool::new(&etcd);
    let call = |command: &str| {
        let mut process = Command::new(PROGRAM);
        process.env("TERM", "xterm-256color").env("CLICOLOR_FORCE", "1").args(["-config", "migration.yaml", command]);
        let ended = tool.spawn(process).wait();
        let text = said(&ended);
        assert!(!text.contains(['\x1b', '\r']), "{text:?}");
        let dated = is_match(r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z +(INFO|WARN|ERROR) .").unwrap();
        for line in text.lines() {
            assert!(dated.eval(line), "{line:?}");
        }
        // The sample has 393 keys, and 1,069 afterwards; its 20 collections are few enough to be named.
        assert!(text.lines().count() < 100, "{text}");
        ended
    };
    call("backup").code(0);
    call("run").code(0);
    call("run").code(0);
    call("rollback").code(0);
    etcd.load(&testdata("milvus-2.1.0/with-sessions.jsonl"));
    call("run").code(1);
}

fn verbose_has_a_line_for_each_key(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let tool = Tool::new(&etcd);
    let text = said(&tool.call(&["run", "--verbose"]).code(0));
    let lines = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(lines("DEBUG put "), 923, "{}", lines("DEBUG put "));
    assert!(text.contains("root-coord/fields/470605839296564545/104"));
    assert!(lines("DEBUG delete ") > 0, "{text}");
}
