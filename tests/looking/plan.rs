//! `plan`: tells all that `run` would do, and writes nothing.

use clap::CommandFactory;
use etcd_client::{AlarmAction, AlarmMember, AlarmOptions, AlarmType};
use meta_migration::cli::Cli;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::{Value, json};

use crate::common::{Etcd, Tool, Version, on_both_versions, said, testdata};
use crate::{
    add_users, assert_snapshot, half_migrate, json_of, mask, sample, stdout, tool_of, use_up_space, writing_nothing,
};

on_both_versions![
    components_that_are_alive_are_listed_and_obstruct_nothing,
    every_problem_is_listed_as_run_lists_it,
    looking_writes_nothing,
    the_space_that_etcd_lacks_is_told,
    the_rights_that_a_user_lacks_are_told,
];

/// What a plan says of any etcd, any revision and any time.
fn redacted(plan: &str) -> String {
    let plan = mask(&mask(plan, "http://", " at"), "at revision ", ":");
    let plan = mask(&plan, "database has ", " of");
    // A release changes no snapshot.
    let plan = plan.replace(concat!("meta-migration ", env!("CARGO_PKG_VERSION")), "meta-migration [version]");
    mask(&mask(&plan, "migrated on ", ")"), "2.2.0 on ", ", by")
}

#[test]
fn the_plan_for_the_sample_tells_everything_by_name() {
    let etcd = sample(Version::V3_5);
    let plan = writing_nothing(&etcd, || Tool::new(&etcd).call(&["plan"]).code(0));
    assert_snapshot!("plan_of_the_sample", redacted(&stdout(&plan)));
}

/// Whoever asks for the settings that keep the way back open is refused without them, until something is migrated.
#[test]
fn settings_that_keep_the_way_back_open_can_be_required() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    let blind = tool.call(&["plan", "--require-way-back-settings"]).code(1);
    assert!(said(&blind).contains("give Milvus's own configuration with --milvus-config"), "{}", said(&blind));
    let plan = |settings: &str, code| {
        std::fs::write(tool.dir().join("milvus.yaml"), settings).unwrap();
        let args = ["--milvus-config=milvus.yaml", "plan", "--require-way-back-settings"];
        stdout(&writing_nothing(&etcd, || tool.call(&args).code(code)))
    };
    let lacking = plan(
        "dataCoord: { enableGarbageCollection: false, gc: { interval: 5 } }\nindexCoord: { gc: { interval: 600 } }\n",
        1,
    );
    for words in [
        "Milvus's own configuration does not keep the way back open",
        "indexCoord.gc.interval: 604800 (now 600)",
        "dataCoord.compaction.enableAutoCompaction: false (not set, so true)",
        "in place, in Milvus's own configuration: dataCoord.enableGarbageCollection is false",
    ] {
        assert!(lacking.contains(words), "{words}: {lacking}");
    }
    let in_place = "dataCoord: { enableGarbageCollection: false, compaction: { enableAutoCompaction: false } }\n\
                    indexCoord: { gc: { interval: 604800 } }\n";
    let plan_with = plan(in_place, 0);
    assert!(!plan_with.contains("to keep it open, before the first start"), "{plan_with}");
    // What has been migrated is not refused any more: it has to be finished, or it is done.
    tool.call(&["run", "--force"]).code(0);
    plan("dataCoord: { enableGarbageCollection: true }\n", 0);
}

/// What the README shows is what a person sees.
#[test]
fn the_plan_for_the_sample_is_the_one_in_the_readme() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let begin = readme.find("```console\n`run` would").unwrap() + "```console\n".len();
    let shown = readme[begin..].split("```\n").next().unwrap();
    let etcd = sample(Version::V3_5);
    let tool = Tool::configured(&format!("etcd: {{ endpoints: ['{}'] }}\n", etcd.endpoint()));
    let plan = stdout(&tool.call(&["--source-version", "2.1.0", "--target-version", "2.2.16", "plan"]).code(0));
    for line in shown.lines().filter(|line| *line != "…") {
        assert!(plan.lines().any(|other| other == line), "{line:?} is not in:\n{plan}");
    }
}

#[test]
fn the_plan_for_migrated_metadata_has_nothing_to_do() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    tool.call(&["run", "--force"]).code(0);
    let plan = writing_nothing(&etcd, || tool.call(&["plan"]).code(0));
    assert_snapshot!("plan_of_migrated_metadata", redacted(&stdout(&plan)));
    let plan = json_of(&tool, &["plan", "--diff"], 0);
    assert_eq!((&plan["ended"], &plan["diff"]), (&json!("nothing-to-do"), &json!([])));
}

#[test]
fn the_plan_for_half_migrated_metadata_finishes_the_migration() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    half_migrate(&etcd, &tool);
    let plan = stdout(&writing_nothing(&etcd, || tool.call(&["plan"]).code(0)));
    assert!(plan.contains("an interrupted run for Milvus 2.2.0"), "{plan}");
    assert!(plan.starts_with("`run` would go through: "), "{plan}");
    let summary = &json_of(&tool, &["plan"], 0)["migration"];
    let collections = summary["report"]["collections"].as_array().unwrap().len();
    assert!((1..20).contains(&collections), "{collections} collections are left");
    // What is in etcd already, just so, is not written again.
    assert_eq!(summary["totals"]["deletes"], json!(165));
    tool.call(&["run", "--force"]).code(0);
    assert_eq!(json_of(&tool, &["plan"], 0)["ended"], json!("nothing-to-do"));
}

/// Without the option a plan that would go through ends with 0: scripts of before must not take it for a failure.
#[test]
fn the_detailed_exit_code_tells_nothing_to_do_from_refused_from_something_to_do() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    let ends = |options: &[&str], plain: i32, detailed: i32| {
        for format in ["text", "json"] {
            let args = [&["plan", "--output", format], options].concat();
            tool.call(&args).code(plain);
            writing_nothing(&etcd, || tool.call(&[&args[..], &["--detailed-exitcode"]].concat()).code(detailed));
        }
    };
    tool.call(&["backup"]).code(0);
    ends(&[], 0, 2);
    ends(&["--from-backup", "migration.bak"], 0, 2);
    ends(&["--target-version", "2.1.5"], 0, 0);
    // Refused: an address where nothing of this Milvus is, another root, no etcd at all, a record that cannot be read.
    ends(&["--expect-address", "192.0.2.1"], 1, 1);
    ends(&["--root-path", "by-prod"], 1, 1);
    ends(&["--endpoints", "http://127.0.0.1:1"], 1, 1);
    let before = etcd.dump();
    etcd.put(format!("by-dev/meta/{}", key_of(&etcd, "root-coord/index/470605840515334145/")), "no protobuf");
    ends(&[], 1, 1);
    ends(&["--skip-invalid"], 0, 2);
    etcd.start_over(&before);
    half_migrate(&etcd, &tool);
    ends(&[], 0, 2);
    tool.call(&["run"]).code(0);
    ends(&[], 0, 0);
}

#[test]
fn there_is_nothing_to_do_between_versions_of_one_layout() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    let plan = tool.call(&["plan", "--target-version", "2.1.5"]).code(0);
    assert!(stdout(&plan).starts_with("`run` would find nothing to do\n"), "{}", stdout(&plan));
    assert!(stdout(&plan).contains("Milvus 2.1.4 and 2.1.5 read the same layout"), "{}", stdout(&plan));
    let plan = json_of(&tool, &["plan", "--target-version", "2.1.5"], 0);
    assert_eq!(plan["ended"], json!("nothing-to-do"));
    assert_eq!(plan["keys"], json!(392));
    tool.call(&["plan", "--target-version", "2.5.0"]).code(1).stderr(contains("first migrate to 2.4"));
}

#[test]
fn a_meta_root_without_metadata_is_refused_with_those_that_have_some() {
    let etcd = sample(Version::V3_5);
    Tool::new(&etcd)
        .call(&["plan", "--root-path", "by-prod"])
        .code(1)
        .stderr(contains("there is no metadata under by-prod/meta").and(contains("by-dev/meta. Set etcd.rootPath")));
}

fn components_that_are_alive_are_listed_and_obstruct_nothing(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load(&testdata("milvus-2.1.0/with-sessions.jsonl"));
    let tool = Tool::new(&etcd);
    let plan = writing_nothing(&etcd, || stdout(&tool.call(&["plan"]).code(0)));
    assert!(plan.contains("Milvus components that have to stop first: 8\n"), "{plan}");
    for role in ["rootcoord", "querynode", "datacoord", "indexcoord", "indexnode", "datanode", "querycoord", "proxy"] {
        assert!(plan.contains(&format!("\n  {role} (server ID ")), "{role}: {plan}");
    }
    assert!(plan.starts_with("`run` would go through once Milvus has stopped: "), "{plan}");
    assert!(plan.contains("nothing was written. next: flush all collections, stop Milvus"), "{plan}");
    let plan = json_of(&tool, &["plan"], 0);
    assert_eq!((&plan["ended"], plan["sessions"].as_array().unwrap().len()), (&json!("done"), 8));
}

fn every_problem_is_listed_as_run_lists_it(version: Version) {
    let etcd = sample(version);
    // The build record of a segment index, an index, and a load state.
    let build = key_of(&etcd, "indexes/47060584022933");
    etcd.delete(format!("by-dev/meta/{build}"));
    let (index, load) =
        (key_of(&etcd, "root-coord/index/470605840515334145/"), key_of(&etcd, "queryCoord-collectionMeta/"));
    etcd.put(format!("by-dev/meta/{index}"), "no protobuf");
    etcd.put(format!("by-dev/meta/{load}"), "\u{1}");
    let tool = Tool::new(&etcd);
    let plan = writing_nothing(&etcd, || stdout(&tool.call(&["plan"]).code(1)));
    let refusal = said(&tool.call(&["run", "--force"]).code(1));
    let listed = json_of(&tool, &["plan"], 1);
    assert_eq!(listed["ended"], json!("not-ok"));
    let problems = listed["migration"]["problems"].as_array().unwrap();
    let causes = problems.iter().filter(|problem| problem["caused_by"].is_null()).count();
    assert_eq!(causes, 3, "{problems:?}");
    for key in [&index, &load] {
        assert!(problems.iter().any(|problem| problem["key"] == json!(key)), "{key}: {problems:?}");
    }
    assert!(problems.iter().any(|problem| says(problem, &build)), "{build}: {problems:?}");
    assert!(plan.contains("3 problems in the metadata"), "{plan}");
    for problem in problems {
        let line = format!("{}; {}", problem["what"].as_str().unwrap(), problem["meaning"].as_str().unwrap());
        for text in [&plan, &refusal] {
            assert!(text.contains(problem["key"].as_str().unwrap()) && text.contains(&line), "{problem}: {text}");
        }
    }
    assert!(plan.starts_with("`run` would refuse, and write nothing\n"), "{plan}");
    assert!(plan.contains("`run --skip-invalid`, which leaves out exactly the records that are listed"), "{plan}");
}

/// The first key under the meta root that begins so.
fn key_of(etcd: &Etcd, prefix: &str) -> String {
    let keys = etcd.dump_prefix(format!("by-dev/meta/{prefix}"));
    let key = keys.into_keys().next().unwrap_or_else(|| panic!("nothing begins with {prefix}"));
    String::from_utf8(key).unwrap()["by-dev/meta/".len()..].to_owned()
}

fn says(problem: &Value, key: &str) -> bool {
    let id = key.rsplit('/').next().unwrap();
    problem["key"] == json!(key) || problem["what"].as_str().unwrap().contains(id)
}

/// How every command that only looks is called.
fn looking() -> Vec<Vec<&'static str>> {
    let mut calls = vec![vec!["plan", "--diff"], vec!["plan", "--from-backup", "migration.bak"]];
    for command in Cli::command().get_subcommands() {
        match command.get_name() {
            "backup" | "run" | "upgrade" | "repair" | "rollback" | "completions" | "man" => {}
            // Needs an object storage: tests/sample/storage.rs.
            "check-files" => {}
            "inspect" => calls.push(vec!["inspect", "migration.bak"]),
            "verify" => calls.extend([vec!["verify"], vec!["verify", "--backup", "migration.bak"]]),
            "plan" => calls.push(vec!["plan"]),
            "status" => calls.push(vec!["status"]),
            other => panic!("does {other} write anything? Say so here"),
        }
    }
    calls
}

fn looking_writes_nothing(version: Version) {
    let etcd = sample(version);
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    for migrated in [false, true] {
        if migrated {
            tool.call(&["run"]).code(0);
        }
        for call in looking() {
            let code = writing_nothing(&etcd, || tool.call(&call).get_output().status.code());
            let is_fine = migrated || call[0] != "verify";
            assert_eq!(code, Some(i32::from(!is_fine)), "{call:?}, migrated: {migrated}");
        }
    }
}

fn the_space_that_etcd_lacks_is_told(version: Version) {
    let etcd = Etcd::with(version).arg("--quota-backend-bytes=4194304").start();
    etcd.load_milvus();
    use_up_space(&etcd);
    let tool = Tool::new(&etcd);
    let plan = writing_nothing(&etcd, || stdout(&tool.call(&["plan"]).code(1)));
    assert!(plan.contains("has the alarm NOSPACE, so etcd refuses all writes"), "{plan}");
    assert!(plan.contains("etcdctl alarm disarm"), "{plan}");
    assert!(plan.starts_with("`run` would refuse, and write nothing\n"), "{plan}");
    let plan = json_of(&tool, &["plan"], 1);
    assert!(plan["refusals"][0].as_str().unwrap().contains("NOSPACE"), "{plan}");
    // The plan itself is there all the same.
    assert_eq!(plan["migration"]["totals"]["deletes"], json!(165));

    // Without the alarm, looking must not raise it.
    let alarm = |action| etcd.run(async |mut client| client.alarm(action, AlarmType::Nospace, None).await);
    let raised = || alarm(AlarmAction::Get).alarms().iter().map(AlarmMember::member_id).collect::<Vec<_>>();
    let mut disarmed = AlarmOptions::new();
    disarmed.with_member(etcd.member_id());
    etcd.run(async |mut client| client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(disarmed)).await);
    assert_eq!(raised(), [0; 0]);
    tool.call(&["plan"]).code(1).stdout(contains("there is not enough room in etcd at "));
    assert_eq!(raised(), [0; 0]);
}

fn the_rights_that_a_user_lacks_are_told(version: Version) {
    let etcd = sample(version);
    add_users(&etcd);
    for user in ["reader", "locker"] {
        let tool = tool_of(&etcd, user);
        let plan = writing_nothing(&etcd, || stdout(&tool.call(&["plan"]).code(1)));
        let denied = format!(
            "the keys under by-dev/meta may be written on {}: etcd denies it to user \"{user}\"",
            etcd.endpoint()
        );
        assert!(plan.contains(&denied), "{plan}");
        assert!(plan.contains("grant-permission"), "{plan}");
        assert!(plan.contains("923 puts"), "{plan}");
        assert_eq!(json_of(&tool, &["plan"], 1)["ended"], json!("not-ok"));
    }
    json_of(&tool_of(&etcd, "root"), &["plan"], 0);
}
