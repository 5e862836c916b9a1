//! `--report`: Markdown for a change ticket.

use std::fs;

use etcd_client::Permission;

use crate::common::gate::Moment;
use crate::common::{Etcd, Tool, Version, on_both_versions, said};
use crate::{running_milvus, says, stopped_milvus};

on_both_versions![
    plan_run_and_verify_write_what_a_ticket_wants,
    a_run_that_fails_says_in_its_report_how_far_it_got,
    a_rollback_says_in_its_report_what_came_back_and_what_went,
];

fn report(tool: &Tool, name: &str) -> String {
    let text = fs::read_to_string(tool.dir().join(name)).unwrap();
    assert!(text.starts_with("# meta-migration: "), "{text}");
    text
}

#[track_caller]
fn assert_has(report: &str, words: &[&str]) {
    for words in words {
        assert!(report.contains(words), "{words:?} is not in:\n{report}");
    }
}

fn names(tool: &Tool) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(tool.dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn plan_run_and_verify_write_what_a_ticket_wants(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    fs::write(tool.dir().join("plan.md"), "# meta-migration: plan\nof yesterday").unwrap();
    let text = says(&tool, &["plan", "--report", "plan.md"], 0);
    assert!(text.contains("report: plan.md"), "{text}");
    let plan = report(&tool, "plan.md");
    assert_has(
        &plan,
        &[
            "**`run` would go through: ",
            "| source version | 2.1.4 ",
            "| target version | 2.2.0 ",
            "\n## What there is\n",
            "\n## What will happen\n",
            // Whole lists, whatever the terminal shows.
            "\n- collections: 20\n",
            "\n## Before\n",
            "\n- [ ] `backup`: ",
            "\n## After\n",
            "\n## Way back\n",
            "\n## Next\n",
        ],
    );
    assert!(!plan.contains("of yesterday"), "{plan}");

    says(&tool, &["run", "--with-backup", "--report=run.md"], 0);
    let way_back = &format!("- `rollback --backup-file {}`", tool.backup_file().display());
    assert_has(
        &report(&tool, "run.md"),
        &[
            "**done: ",
            "backup migration.bak: ",
            "SHA-256 of the data ",
            "read back at revision ",
            "\n## Way back\n",
            way_back,
        ],
    );
    says(&tool, &["verify", "--backup", "migration.bak", "--report", "verify.md"], 0);
    assert_has(
        &report(&tool, "verify.md"),
        &["**complete and consistent: Milvus 2.2.0 can be started on it**", "nothing was found", "keys are the same"],
    );
    // Once more: nothing to do is a report, too, in the place of the earlier one.
    says(&tool, &["run", "--report=run.md"], 0);
    assert_has(&report(&tool, "run.md"), &["**there was nothing to do**"]);
    etcd.put("by-dev/meta/channelwatch/extra", "extra");
    says(&tool, &["verify", "--backup", "migration.bak", "--report", "verify.md"], 1);
    assert_has(&report(&tool, "verify.md"), &["**NOT what the migration of the backup gives**", "channelwatch/extra"]);
    assert_eq!(names(&tool), ["migration.bak", "migration.yaml", "plan.md", "run.md", "verify.md"]);
}

fn a_rollback_says_in_its_report_what_came_back_and_what_went(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    says(&tool, &["run", "--with-backup"], 0);
    says(&tool, &["rollback", "--report", "back.md", "--no-copy", "--check-files", "--storage-dir", "empty"], 1);
    assert_has(
        &report(&tool, "back.md"),
        &["**refused or failed: no metadata was written (exit code 1)**", "\n## What went wrong\n", "\n## Next\n"],
    );
    says(&tool, &["rollback", "--report", "back.md"], 0);
    let back = report(&tool, "back.md");
    assert_has(
        &back,
        &[
            "**rolled back: ",
            "- the backup migration.bak: ",
            "- what was there before: migration.bak.before-rollback-",
            "read back at revision ",
            "- put back, was missing: ",
            "- deleted, is not in the backup: ",
            "20 of the 20 collections here are in the backup",
            "nobody has looked whether they are there (--check-files)",
            "start Milvus 2.1.4",
        ],
    );
    says(&tool, &["rollback", "--report", "back.md"], 0);
    assert_has(&report(&tool, "back.md"), &["**there was nothing to do: "]);
}

fn a_run_that_fails_says_in_its_report_how_far_it_got(version: Version) {
    let etcd = stopped_milvus(version);
    let before = etcd.dump();
    let tool = Tool::new(&etcd);
    let running = tool.catch(&["run", "--with-backup", "--report", "run.md"], &etcd, 3, || etcd.start_over(&before));
    etcd.end_lock();
    running.go_on();
    running.wait().code(2);
    assert_has(
        &report(&tool, "run.md"),
        &[
            "FAILED after a backup",
            "our migration lock is gone",
            "what was begun did not get to its end",
            "\n## Next\n\n- run again with ",
            "`rollback --backup-file",
        ],
    );

    // What was written is not called nothing where there is no backup.
    let etcd = stopped_milvus(version);
    let before = etcd.dump();
    let tool = Tool::new(&etcd);
    let running = tool.catch(&["run", "--no-backup", "--report", "run.md"], &etcd, 3, || etcd.start_over(&before));
    etcd.end_lock();
    running.go_on();
    running.wait().code(2);
    let alone = report(&tool, "run.md");
    assert_has(&alone, &["there is none: it was run without a backup, on purpose"]);
    assert!(!alone.contains("nothing was written"), "{alone}");

    let etcd = running_milvus(version);
    let tool = Tool::new(&etcd);
    says(&tool, &["run", "--force", "--report", "run.md"], 1);
    assert_has(&report(&tool, "run.md"), &["no metadata was written (exit code 1)", "still registered"]);
}

#[test]
fn a_path_that_cannot_be_written_is_refused_before_anything_is_done() {
    let etcd = stopped_milvus(Version::V3_5);
    let tool = Tool::new(&etcd);
    fs::create_dir(tool.dir().join("folder")).unwrap();
    fs::write(tool.dir().join("notes.md"), "# Somebody's own").unwrap();
    let before = (etcd.revision(), etcd.leases());
    for (path, words) in [
        ("nowhere/r.md", "cannot write the report nowhere/r.md: is its folder there"),
        ("folder", "is a folder"),
        ("notes.md", "is there already, and no report of this tool"),
        ("migration.yaml", "is there already, and no report of this tool"),
        ("./migration.bak", "is the path of the backup"),
        ("/dev/null", "is no regular file"),
    ] {
        for command in [&["plan"][..], &["run", "--with-backup"], &["verify"]] {
            let text = says(&tool, &[command, &["--report", path]].concat(), 1);
            assert!(text.contains(words) && text.contains("Nothing was done"), "{command:?} {path}: {text}");
        }
    }
    assert_eq!((etcd.revision(), etcd.leases()), before);
    assert_eq!(fs::read_to_string(tool.dir().join("notes.md")).unwrap(), "# Somebody's own");
    assert_eq!(names(&tool), ["folder", "migration.yaml", "notes.md"]);
}

#[test]
fn a_report_that_cannot_be_written_afterwards_changes_neither_the_work_nor_the_exit_code() {
    let etcd = stopped_milvus(Version::V3_5);
    let tool = Tool::new(&etcd);
    let out = tool.dir().join("out");
    fs::create_dir(&out).unwrap();
    let args = ["run", "--with-backup", "--report", "out/run.md"];
    let running = tool.catch_at(&args, &etcd, "Write", 2, Moment::Before);
    fs::remove_dir_all(&out).unwrap();
    running.go_on();
    let text = said(&running.wait().code(0));
    assert!(text.contains("the report out/run.md was not written") && text.contains("done at revision"), "{text}");
    says(&tool, &["verify"], 0);
}

#[test]
fn no_secret_is_in_a_report() {
    let etcd = Etcd::start(Version::V3_5);
    etcd.load_milvus();
    etcd.put("by-dev/meta/root-coord/credential/users/bob", r#"{"username":"bob","encrypted_password":"$2a$10$hash"}"#);
    etcd.add_user("operator", "s3cr3t-pw", &[Permission::read_write("by-dev/meta/").with_prefix()]);
    etcd.enable_auth();
    let tool = Tool::configured(&format!(
        "config: {{ sourceVersion: 2.1.4, targetVersion: 2.2.0, backupFilePath: migration.bak }}\n\
         etcd: {{ endpoints: ['{}'], auth: {{ enabled: true, userName: operator, password: s3cr3t-pw }} }}\n",
        etcd.endpoint()
    ));
    says(&tool, &["plan", "--report", "plan.md"], 0);
    says(&tool, &["run", "--with-backup", "--report", "run.md"], 0);
    says(&tool, &["verify", "--backup", "migration.bak", "--report", "verify.md"], 0);
    assert_has(&report(&tool, "plan.md"), &["until they get roles: ", "bob"]);
    for name in ["plan.md", "run.md", "verify.md"] {
        let text = report(&tool, name);
        assert!(!text.contains("s3cr3t-pw") && !text.contains("$2a$"), "{text}");
    }
}
