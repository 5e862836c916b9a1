//! Rehearsing with Milvus up: backups of a running Milvus, plans from etcd's own snapshots, two backups held against each other, reports
//! for a change ticket; that there is room, before anything is begun; and what is said after a slip.

#[path = "../common/mod.rs"]
mod common;

mod against;
mod reports;
mod room;
mod running;
mod slips;
mod snapshots;

use common::{Etcd, Tool, Version, said, testdata};

/// An etcd with a Milvus 2.1.0 that runs: its components are registered.
fn running_milvus(version: Version) -> Etcd {
    let etcd = Etcd::start(version);
    etcd.load(&testdata("milvus-2.1.0/with-sessions.jsonl"));
    etcd
}

/// An etcd with what a Milvus 2.1.0 left when it was stopped.
fn stopped_milvus(version: Version) -> Etcd {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    etcd
}

/// What a call says that ends with this code.
#[track_caller]
fn says(tool: &Tool, args: &[&str], code: i32) -> String {
    let ended = tool.call(args);
    let text = said(&ended);
    assert_eq!(ended.get_output().status.code(), Some(code), "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{args:?}: {text}");
    text
}
