//! `--wait-for-sessions`

use predicates::prelude::*;
use predicates::str::contains;

use crate::common::state::LOCK;
use crate::common::{Cluster, Etcd, Tool, Version, on_both_versions, said, testdata};
use crate::{sample, writing_nothing};

on_both_versions![
    each_command_waits_until_the_last_session_has_ended,
    waiting_ends_after_the_time_given_and_tells_who_is_left,
    a_session_without_a_lease_is_not_waited_for,
    the_lock_of_another_migration_is_waited_for,
    waiting_ends_at_a_signal,
];

const ROLES: [&str; 8] =
    ["rootcoord", "querynode", "datacoord", "indexcoord", "indexnode", "datanode", "querycoord", "proxy"];

fn each_command_waits_until_the_last_session_has_ended(version: Version) {
    let etcd = sample(version);
    let tool = Tool::new(&etcd);
    for command in ["backup", "run", "rollback"] {
        etcd.load(&testdata("milvus-2.1.0/with-sessions.jsonl"));
        let mut running = tool.start(&[command, "--wait-for-sessions", "10m"]);
        running.wait_for_output("waiting for sessions to end: ");
        let leases = etcd.leases();
        assert_eq!(leases.len(), ROLES.len(), "{command}: no lease of its own is kept while it waits");
        leases.into_iter().for_each(|lease| etcd.revoke(lease));
        let text = said(&running.wait().code(0));
        for role in ROLES {
            assert!(text.contains(&format!("{role} (3")), "{command} does not name {role}: {text}");
        }
        assert!(text.contains("s left unless it is renewed)"), "{command}: {text}");
        assert!(etcd.leases().is_empty(), "{command} keeps its lock");
    }
}

fn waiting_ends_after_the_time_given_and_tells_who_is_left(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load(&testdata("milvus-2.1.0/with-sessions.jsonl"));
    let tool = Tool::new(&etcd);
    let refused = writing_nothing(&etcd, || tool.call(&["run", "--force", "--wait-for-sessions", "2s"]).code(1));
    let text = said(&refused);
    assert!(text.contains("cannot work on by-dev/meta (waited 2 s"), "{text}");
    assert!(text.contains("8 Milvus components are still registered"), "{text}");
    for role in ROLES {
        assert!(text.contains(&format!("  {role} (server ID ")), "{role}: {text}");
    }
}

fn a_session_without_a_lease_is_not_waited_for(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load(&testdata("milvus-2.1.0/with-sessions.jsonl"));
    etcd.put("by-dev/meta/session/querynode-99", r#"{"ServerID":99,"ServerName":"querynode"}"#);
    let tool = Tool::new(&etcd);
    // If it waited, this would not end in time.
    let refused = writing_nothing(&etcd, || tool.call(&["run", "--force", "--wait-for-sessions", "1h"]).code(1));
    refused
        .stderr(contains("waiting for").not())
        .stderr(contains("querynode has no lease, so it never goes away by itself"))
        .stderr(contains("etcdctl del 'by-dev/meta/session/querynode-99'"));
}

fn the_lock_of_another_migration_is_waited_for(version: Version) {
    let etcd = sample(version);
    let holder = r#"{"ServerID":0,"ServerName":"migration","Address":"jump-host:4711"}"#;
    let lease = etcd.put_with_lease(LOCK, holder, 3600);
    let tool = Tool::new(&etcd);
    tool.call(&["backup"])
        .code(1)
        .stderr(contains("another migration is at work: migration (server ID 0, at jump-host:4711"));
    let mut running = tool.start(&["backup", "--wait-for-sessions", "10m"]);
    running.wait_for_output("waiting for sessions to end: migration (");
    etcd.revoke(lease);
    running.wait().code(0);

    etcd.put(LOCK, holder);
    tool.call(&["backup", "--wait-for-sessions", "1h"]).code(1).stderr(contains("If no migration runs, remove it"));
}

fn waiting_ends_at_a_signal(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load(&testdata("milvus-2.1.0/with-sessions.jsonl"));
    let tool = Tool::new(&etcd);
    let ended = writing_nothing(&etcd, || {
        let mut running = tool.start(&["run", "--force", "--wait-for-sessions", "10m"]);
        running.wait_for_output("waiting for sessions to end: ");
        running.signal("TERM");
        running.wait().code(1)
    });
    ended.stderr(contains("stopped by a signal"));
}

#[test]
fn a_lost_quorum_is_one_line_and_its_end_another() {
    let mut cluster = Cluster::start(Version::V3_5);
    cluster.members[0].load(&testdata("milvus-2.1.0/with-sessions.jsonl"));
    let endpoints = cluster.endpoints().join(",");
    let tool = Tool::new(&cluster.members[0]);
    let wait = ["run", "--force", "--wait-for-sessions", "10m", "--endpoints", &endpoints, "--verbose"];
    let mut running = tool.start(&wait);
    running.wait_for_output("waiting for sessions to end: ");
    // The one that is left has nobody to agree with.
    cluster.members[1].kill();
    cluster.members[2].kill();
    // Requests fail again and again; only whoever looks closely sees more than the first.
    running.wait_for_output("DEBUG cannot get a lease for the migration lock");
    cluster.restart(&[1, 2]);
    running.wait_for_output("etcd answers again after ");
    running.signal("TERM");
    let text = said(&running.wait().code(1));
    let told = |line: &&str| line.contains("; trying again") && !line.contains("DEBUG");
    assert_eq!(text.lines().filter(told).count(), 1, "{text}");
    assert_eq!(text.matches("etcd answers again after ").count(), 1, "{text}");
}
