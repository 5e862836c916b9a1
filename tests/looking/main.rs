//! What people and scripts get to see: plans, status, JSON, a terminal, and refusals before the first write.

#[path = "../common/mod.rs"]
mod common;

mod diff;
mod documents;
mod json;
mod outcomes;
mod plan;
mod preflight;
mod schema;
mod status;
mod terminal;
mod waiting;

use std::collections::BTreeSet;

use assert_cmd::assert::Assert;
use common::state::Dump;
use common::{Etcd, Tool, Version, block_on};
use etcd_client::Permission;
use serde_json::Value;

/// The collections of the sample that are left in the 2.1 layout by [`half_migrate`], of 22.
const NOT_SWITCHED: usize = 12;

/// An etcd with what a Milvus 2.1.0 left behind.
fn sample(version: Version) -> Etcd {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    etcd
}

/// What went to standard output.
fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

/// The one JSON object that is all of standard output.
#[track_caller]
fn object(assert: &Assert) -> Value {
    let text = stdout(assert);
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(value.is_object(), "{text}");
    value
}

/// Calls it with `--output json`; the exit code is the one expected.
#[track_caller]
fn json_of(tool: &Tool, args: &[&str], code: i32) -> Value {
    object(&tool.call(&[args, &["--output", "json"]].concat()).code(code))
}

/// Makes sure that nothing was written meanwhile, no lock and no lease either.
#[track_caller]
fn writing_nothing<T>(etcd: &Etcd, look: impl FnOnce() -> T) -> T {
    let state = || (etcd.revision(), etcd.leases());
    let before = state();
    let result = look();
    assert_eq!(state(), before, "revision or leases have changed");
    result
}

/// Replaces what stands between two marks, as often as they occur.
fn mask(text: &str, from: &str, to: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(from) {
        let Some((_, behind)) = behind.split_once(to) else { break };
        masked.push_str(&format!("{before}{from}…{to}"));
        rest = behind;
    }
    masked + rest
}

/// Holds a text against `tests/snapshots/looking__<name>.snap`.
macro_rules! assert_snapshot {
    ($name:literal, $text:expr) => {
        insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(concat!("looking__", $name), $text);
        })
    };
}
use assert_snapshot;

/// Migrates, then undoes half of it: the switch of some collections, and all of cleaning up. That is what a run leaves that is
/// killed while it switches the collections.
fn half_migrate(etcd: &Etcd, tool: &Tool) {
    let before = etcd.dump();
    tool.call(&["run", "--force"]).code(0);
    let after = etcd.dump();
    let ids: BTreeSet<_> = before.keys().filter_map(|key| collection_of(key)).collect();
    let switched: BTreeSet<_> = ids.iter().skip(NOT_SWITCHED).collect();
    let undone = |key: &Vec<u8>| match collection_of(key) {
        Some(id) => !switched.contains(&id),
        None => !after.contains_key(key),
    };
    let undone: Dump = before.into_iter().filter(|(key, _)| undone(key)).collect();
    etcd.put_all(undone.into_iter().map(|(key, value)| (key, value, 0)));
    let mut history: Value = serde_json::from_slice(&after[HISTORY.as_bytes()]).unwrap();
    history["state"] = "running".into();
    history["ended"] = Value::Null;
    etcd.put(HISTORY, history.to_string());
}

const HISTORY: &str = "by-dev/meta/meta-migration/history";

/// The collection ID in the key of a collection record or of a snapshot of one.
fn collection_of(key: &[u8]) -> Option<String> {
    let key = std::str::from_utf8(key).ok()?;
    let (_, id) = key.split_once("root-coord/collection/")?;
    Some(id.split("_ts").next()?.to_owned())
}

/// Two users: `reader` may read the meta root, `locker` may write the sessions there too.
fn add_users(etcd: &Etcd) {
    let read = || Permission::read("by-dev/meta/").with_prefix();
    etcd.add_user("reader", "reader", &[read()]);
    etcd.add_user("locker", "locker", &[read(), Permission::read_write("by-dev/meta/session/").with_prefix()]);
    etcd.enable_auth();
}

/// As [`Tool::new`], logged in as this user, whose password is the same.
fn tool_of(etcd: &Etcd, user: &str) -> Tool {
    Tool::configured(&format!(
        "config: {{ sourceVersion: 2.1.4, targetVersion: 2.2.0, backupFilePath: migration.bak }}\n\
         etcd: {{ endpoints: ['{}'], auth: {{ enabled: true, userName: {user}, password: {user} }} }}\n",
        etcd.endpoint()
    ))
}

/// Writes into an etcd with a small quota until it refuses, and raises the alarm NOSPACE.
fn use_up_space(etcd: &Etcd) {
    let block = vec![b'x'; 256 << 10];
    for number in 0.. {
        let key = format!("ballast/{number}");
        if block_on(etcd.client().kv_client().put(key, block.clone(), None)).is_err() {
            break;
        }
        assert!(number < 1000, "etcd takes whatever it gets");
    }
}

#[test]
fn a_mask_replaces_what_stands_between_two_marks() {
    assert_eq!(mask("at 1 s, at 22 s; at", "at ", " s"), "at … s, at … s; at");
}
