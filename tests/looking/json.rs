//! `--output json` and `--log-format json`.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use meta_migration::outcome::AnyOutcome;
use meta_migration::outcome::failed::FailureOutcome;
use serde_json::Value;

use crate::common::{Tool, Version, on_both_versions};
use crate::outcomes::Tour;
use crate::schema::Schema;
use crate::{json_of, object, sample};

on_both_versions![every_object_is_as_the_schema_says];

fn every_object_is_as_the_schema_says(version: Version) {
    let tour = Tour::of(version);
    let ended: BTreeSet<_> = tour.objects.iter().map(|object| object["ended"].as_str().unwrap()).collect();
    assert_eq!(ended, BTreeSet::from(["done", "nothing-to-do", "not-ok", "failed", "interrupted"]));
    let commands: BTreeSet<_> = tour.objects.iter().map(|object| object["command"].as_str().unwrap()).collect();
    assert_eq!(
        commands,
        BTreeSet::from(["backup", "inspect", "plan", "repair", "rollback", "run", "status", "upgrade", "verify"])
    );
}

#[test]
fn a_defect_of_the_tool_has_an_object_too() {
    let object = serde_json::to_value(FailureOutcome::of_defect("run")).unwrap();
    Schema::of_outcomes().check(&object);
    assert_eq!((&object["ended"], &object["exit_code"]), (&"defect".into(), &100.into()));
}

#[test]
fn the_schema_takes_no_object_that_lacks_something() {
    let schema = Schema::of_outcomes();
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    let plan = json_of(&tool, &["plan"], 0);
    let file = json_of(&tool, &["inspect", "migration.bak"], 0);
    for (object, pointers) in [
        (plan, ["/next", "/migration", "/migration/totals", "/migration/report"]),
        (file, ["/file", "/file/header", "/file/manifest", "/file/checks/0"]),
    ] {
        schema.check(&object);
        for pointer in pointers {
            let mut changed = object.clone();
            changed.pointer_mut(pointer).unwrap().as_object_mut().unwrap().clear();
            let checked = catch_unwind(AssertUnwindSafe(|| schema.check(&changed)));
            assert!(checked.is_err(), "{pointer} may be empty");
        }
    }
}

/// docs/json.md names the words that scripts go by, each in the first cell of a row, and the fields of every object.
#[test]
fn the_document_names_every_word_and_every_field() {
    let document = include_str!("../../docs/json.md");
    let row = |word: &str| {
        let word = format!("`{word}`");
        document.lines().any(|line| line.starts_with("| ") && line.split('|').nth(1).unwrap().contains(&word))
    };
    let schema = serde_json::to_value(schemars::schema_for!(AnyOutcome)).unwrap();
    for (name, least) in [("Ended", 6), ("State", 13), ("Step", 18)] {
        let words = schema["$defs"][name]["oneOf"].as_array().unwrap();
        assert!(words.len() >= least, "{name}: {words:?}");
        for word in words.iter().map(|word| word["const"].as_str().unwrap()) {
            assert!(row(word), "docs/json.md has no row for {word} ({name})");
        }
    }
    for outcome in schema["anyOf"].as_array().unwrap() {
        let name = outcome["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        for field in schema["$defs"][name]["properties"].as_object().unwrap().keys() {
            assert!(document.contains(&format!("`{field}`")), "docs/json.md does not name {field} of {name}");
        }
    }
}

#[test]
fn every_line_of_a_json_log_is_an_object() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    for (args, code, least) in [
        (&["status"][..], 0, 2),
        (&["run", "--with-backup=false"], 1, 4),
        (&["plan"], 0, 2),
        (&["backup"], 0, 4),
        (&["run", "--verbose"], 0, 400),
        (&["rollback"], 0, 20),
        (&["rollback", "--root-path", "other"], 1, 1),
        (&["status", "--endpoints", "http://127.0.0.1:1"], 1, 1),
    ] {
        let ended = tool.call(&[args, &["--log-format", "json", "--output", "json"]].concat()).code(code);
        object(&ended);
        let log = String::from_utf8(ended.get_output().stderr.clone()).unwrap();
        assert!(log.lines().count() >= least, "{args:?}: {log}");
        for line in log.lines() {
            let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            for field in ["timestamp", "level", "message"] {
                assert!(entry[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {line}");
            }
        }
        let has_error = log.lines().any(|line| line.contains(r#""level":"ERROR""#));
        assert_eq!(has_error, code != 0, "{args:?}: {log}");
    }
}

/// What a command line can have wrong, with the command that its object names.
const BAD_USAGE: [(&[&str], &str); 5] = [
    (&["nothing-of-the-kind"], ""),
    (&["run", "--no-such-flag"], "run"),
    (&["plan", "--skip-invalid=perhaps"], "plan"),
    (&["inspect"], "inspect"),
    (&[], ""),
];

#[test]
fn bad_usage_has_an_object_too() {
    let tool = Tool::configured("");
    for (args, command) in BAD_USAGE {
        let ended = tool.call(&[&["--output", "json"][..], args].concat()).code(1);
        let object = object(&ended);
        Schema::of_outcomes().check(&object);
        assert_eq!(object["command"], *command, "{args:?}");
        assert_eq!((&object["ended"], &object["exit_code"]), (&"failed".into(), &1.into()), "{args:?}");
        assert_eq!((&object["state"], &object["next"]["code"]), (&"unknown".into(), &"correct".into()), "{args:?}");
        assert!(!ended.get_output().stderr.is_empty(), "{args:?}: a person sees it, too");
    }
    let log = tool.call(&["--log-format", "json", "run", "--no-such-flag"]).code(1);
    for line in String::from_utf8(log.get_output().stderr.clone()).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], "ERROR");
    }
    assert!(log.get_output().stdout.is_empty());
}

/// Failures say in which state the metadata is, as far as that was found out, and the way on as a code.
#[test]
fn a_failure_has_state_and_next_step() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    let state_and_next = |args: &[&str], code| {
        let object = json_of(&tool, args, code);
        Schema::of_outcomes().check(&object);
        (object["state"].as_str().unwrap().to_owned(), object["next"]["code"].as_str().unwrap().to_owned())
    };
    let is = |state: &str, next: &str| (state.to_owned(), next.to_owned());
    assert_eq!(state_and_next(&["status", "--endpoints", "http://127.0.0.1:1"], 1), is("unknown", "mend-etcd"));
    assert_eq!(state_and_next(&["run", "--with-backup=false"], 1), is("ready", "backup"));
    assert_eq!(state_and_next(&["repair"], 1), is("ready", "backup"));
    assert_eq!(state_and_next(&["rollback"], 1), is("unknown", "correct"));
    let session = etcd.put_with_lease("by-dev/meta/session/proxy-1", r#"{"ServerName":"proxy"}"#, 600);
    assert_eq!(state_and_next(&["backup"], 1), is("unknown", "stop-milvus"));
    etcd.revoke(session);
    tool.call(&["backup"]).code(0);
    let running = tool.catch(&["run", "--output", "json"], &etcd, 3, || {});
    running.signal("TERM");
    running.go_on();
    let interrupted = object(&running.wait().code(2));
    Schema::of_outcomes().check(&interrupted);
    assert_eq!((&interrupted["state"], &interrupted["next"]["code"]), (&"run-interrupted".into(), &"run-again".into()));
    assert_eq!(state_and_next(&["backup"], 1), is("run-interrupted", "run-again"));
    assert_eq!(state_and_next(&["run"], 0), is("migrated", "verify"));
    assert_eq!(state_and_next(&["rollback"], 0), is("ready", "start-old"));
}
