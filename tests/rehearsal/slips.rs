//! Slips of a person in a hurry: the wrong file, other options, another target than before, a backup that went away. What is said then is
//! what is done next.

use std::fs;

use predicates::str::contains;

use crate::common::gate::Moment;
use crate::common::{Etcd, Tool, Version, on_both_versions, said, testdata};
use crate::{says, stopped_milvus};

on_both_versions![
    a_copy_of_migrated_metadata_is_no_way_back,
    a_copy_that_cannot_be_written_matters_only_where_there_is_something_to_save,
    what_a_killed_rollback_leaves_of_its_copy_is_gone_after_the_next,
    a_folder_beside_the_meta_root_is_no_milvus_without_collections,
    what_was_done_without_a_backup_has_none_whatever_lies_at_the_path,
    another_backup_than_the_one_on_record_is_restored_only_on_purpose,
    a_mixture_that_comes_back_is_not_started_as_2_1,
    a_repair_that_finds_everything_right_puts_that_on_record,
    who_must_be_stopped_first_is_said_in_every_state,
    verify_holds_the_target_that_is_given_against_the_one_on_record,
    options_that_come_too_late_are_refused,
    the_message_log_that_milvus_s_configuration_has_is_on_record,
    an_interrupted_run_keeps_the_message_log_that_is_on_record,
    status_counts_a_backup_only_if_it_fits,
    what_was_interrupted_is_finished_or_rolled_back,
    where_nothing_is_to_do_no_backup_is_asked_for,
    a_plan_is_followed_by_the_command_that_was_planned,
    files_that_a_newer_milvus_may_have_taken_are_spoken_of,
];

/// The copy that a rollback makes of what it overwrites.
fn copy_of(tool: &Tool) -> String {
    let mut names = fs::read_dir(tool.dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.find(|name| name.starts_with("migration.bak.before-rollback-")).expect("a rollback made a copy")
}

fn a_copy_of_migrated_metadata_is_no_way_back(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    let before = etcd.dump();
    says(&tool, &["run", "--with-backup"], 0);
    says(&tool, &["rollback"], 0);
    assert_eq!(etcd.dump(), before);
    let copy = copy_of(&tool);
    let refused = says(&tool, &["rollback", "--backup-file", &copy], 1);
    assert!(refused.contains("holds metadata that is migrated already"), "{refused}");
    assert!(refused.contains("--restore-migrated"), "{refused}");
    assert_eq!(etcd.dump(), before, "nothing was written");
    let restored = says(&tool, &["rollback", "--backup-file", &copy, "--restore-migrated"], 0);
    assert!(restored.contains("start the newer Milvus that it was migrated for, NOT 2.1"), "{restored}");
    assert!(!restored.contains("start Milvus 2.1.4"), "{restored}");
    says(&tool, &["verify", "--target-version", "2.2.0"], 0);
    // And the true way back is as open as before.
    says(&tool, &["rollback"], 0);
    assert_eq!(etcd.dump(), before);
}

/// What is restored into an etcd that lost everything has nothing to save first, and needs no room for it.
fn a_copy_that_cannot_be_written_matters_only_where_there_is_something_to_save(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    let before = etcd.dump();
    says(&tool, &["run", "--with-backup"], 0);
    // Nothing can be written to that name.
    fs::create_dir(tool.dir().join("migration.bak.before-rollback.partial")).unwrap();
    let migrated = etcd.dump();
    let refused = says(&tool, &["rollback"], 1);
    assert!(refused.contains("what is there now cannot be saved before it is overwritten"), "{refused}");
    assert_eq!(etcd.dump(), migrated, "nothing was written");
    says(&tool, &["rollback", "--no-copy"], 0);
    says(&tool, &["rollback"], 0);
    assert_eq!(etcd.dump(), before);
    etcd.start_over(&before.into_iter().filter(|(key, _)| !key.starts_with(b"by-dev/meta/")).collect());
    says(&tool, &["rollback"], 0);
    assert!(!etcd.dump_prefix("by-dev/meta/").is_empty());
}

/// A pod that runs out of memory is started again and again, and its volume must not fill up.
fn what_a_killed_rollback_leaves_of_its_copy_is_gone_after_the_next(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    says(&tool, &["run", "--with-backup"], 0);
    let partials = || {
        let names = fs::read_dir(tool.dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".partial")).count()
    };
    for _ in 0..2 {
        // A rollback asks for our rights after it has read everything.
        tool.catch_at(&["rollback"], &etcd, "Txn", 1, Moment::Before).kill();
        etcd.end_lock();
        assert_eq!(partials(), 1);
    }
    says(&tool, &["rollback"], 0);
    assert_eq!(partials(), 0);
}

/// A slip in `etcd.metaSubPath`, with a 2.1 beside it: whoever goes by exit code 0 starts the new Milvus on it.
fn a_folder_beside_the_meta_root_is_no_milvus_without_collections(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    let before = etcd.dump();
    for path in [
        &["--meta-sub-path", "kv"][..],
        &["--meta-sub-path="],
        &["--root-path", "by-dev/meta", "--meta-sub-path", "root-coord"],
        &["--root-path", "by-dev/meta", "--meta-sub-path", "snapshots"],
        &["--root-path", "by-dev/meta", "--meta-sub-path", "session"],
    ] {
        for command in [&["upgrade"][..], &["run", "--with-backup"], &["backup"], &["plan"], &["verify"]] {
            let text = says(&tool, &[command, path].concat(), 1);
            assert!(text.contains("by-dev/meta"), "{command:?} {path:?} does not name the right root: {text}");
            assert!(!text.contains("start the new Milvus"), "{command:?} {path:?}: {text}");
        }
        let text = says(&tool, &[&["status"][..], path].concat(), 0);
        assert!(text.contains("state: no Milvus metadata"), "{path:?}: {text}");
        assert!(
            text.contains("next: correct the etcd endpoints, etcd.rootPath and etcd.metaSubPath"),
            "{path:?}: {text}"
        );
    }
    assert_eq!(etcd.dump(), before);
    assert!(!tool.backup_file().exists());
}

const BOB: &str = "by-dev/meta/root-coord/credential/users/bob";

fn what_was_done_without_a_backup_has_none_whatever_lies_at_the_path(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    says(&tool, &["backup"], 0);
    etcd.put(BOB, "came after the backup");
    says(&tool, &["run", "--no-backup"], 0);
    let status = says(&tool, &["status"], 0);
    assert!(status.contains("backup: no backup is on record, as it was done without one"), "{status}");
    assert!(!status.contains("is the way back that is on record"), "{status}");
}

fn another_backup_than_the_one_on_record_is_restored_only_on_purpose(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    says(&tool, &["backup"], 0);
    let before = etcd.dump();
    fs::rename(tool.backup_file(), tool.dir().join("older.bak")).unwrap();
    etcd.put(BOB, "came after the backup");
    let with_bob = etcd.dump();
    says(&tool, &["run", "--with-backup"], 0);
    let migrated = etcd.dump();
    let refused = says(&tool, &["rollback", "--backup-file", "older.bak"], 1);
    let recorded = tool.backup_file();
    let which = format!("older.bak is not the backup that is on record, which is {} (SHA-256", recorded.display());
    assert!(refused.contains(&which), "{refused}");
    assert_eq!(refused.matches("Nothing was written").count(), 1, "{refused}");
    assert!(refused.contains("--other-backup"), "{refused}");
    assert_eq!(etcd.dump(), migrated, "nothing was written");
    says(&tool, &["rollback", "--backup-file", "older.bak", "--other-backup"], 0);
    assert_eq!(etcd.dump(), before);
    // The one on record needs no word.
    etcd.start_over(&migrated);
    says(&tool, &["rollback"], 0);
    assert_eq!(etcd.dump(), with_bob);
}

fn a_mixture_that_comes_back_is_not_started_as_2_1(version: Version) {
    let etcd = Etcd::start(version);
    etcd.edit(&testdata("cases/2.2-started-first.full.jsonl"));
    let tool = Tool::new(&etcd);
    let before = etcd.dump();
    says(&tool, &["run", "--with-backup", "--keep-newer", "--target-version", "2.2.16"], 0);
    let text = says(&tool, &["rollback"], 0);
    assert_eq!(etcd.dump(), before);
    assert!(text.contains("--keep-newer") && !text.contains("start Milvus 2.1"), "{text}");
}

/// Otherwise `status` sends into `repair` for ever.
fn a_repair_that_finds_everything_right_puts_that_on_record(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    says(&tool, &["run", "--with-backup"], 0);
    let migrated = etcd.dump_prefix("by-dev/meta/");
    etcd.delete("by-dev/meta/meta-migration/history");
    let status = says(&tool, &["status"], 0);
    assert!(status.contains("`repair"), "{status}");
    says(&tool, &["repair", "--with-backup", "--force", "--backup-file", "before-repair.bak"], 0);
    let mut after = etcd.dump_prefix("by-dev/meta/");
    let history = |key: &[u8]| key.ends_with(b"meta-migration/history");
    assert!(after.keys().any(|key| history(key)));
    after.retain(|key, _| !history(key));
    assert_eq!(after, migrated.into_iter().filter(|(key, _)| !history(key)).collect());
    let status = says(&tool, &["status"], 0);
    assert!(status.contains("state: repaired for Milvus 2.2.0") && !status.contains("`repair"), "{status}");
}

fn who_must_be_stopped_first_is_said_in_every_state(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    says(&tool, &["backup"], 0);
    tool.catch(&["run"], &etcd, 20, || ()).kill();
    etcd.end_lock();
    etcd.put_with_lease("by-dev/meta/session/rootcoord", r#"{"ServerName":"rootcoord"}"#, 3600);
    let status = says(&tool, &["status"], 0);
    assert!(
        status.contains("next: stop Milvus (its components are listed above), then finish it with `run"),
        "{status}"
    );
}

fn verify_holds_the_target_that_is_given_against_the_one_on_record(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    says(&tool, &["run", "--with-backup", "--target-version", "2.4.23"], 0);
    let other = says(&tool, &["verify", "--target-version", "2.2.16"], 1);
    assert!(
        other.contains("NOT for the target version that was given: this was migrated for Milvus 2.4.23"),
        "{other}"
    );
    assert!(other.contains("rollback --backup-file"), "{other}");
    // Of the same layout.
    let same = says(&tool, &["verify", "--target-version", "2.4.24"], 0);
    assert!(same.contains("Milvus 2.4.24 can be started on it"), "{same}");
}

fn options_that_come_too_late_are_refused(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    let rename = ["--rename-alias", "a_$pecial=a__pecial"];
    says(&tool, &["run", "--with-backup"], 0);
    let migrated = etcd.dump();
    for command in ["run", "plan"] {
        let late = says(&tool, &[&[command][..], &rename].concat(), 1);
        assert!(late.contains("this was migrated already, without --rename-alias 'a_$pecial=a__pecial'"), "{late}");
        assert!(
            late.contains(&format!("go back with `rollback --backup-file {}`", tool.backup_file().display())),
            "{late}"
        );
        assert!(!late.contains("there is no alias"), "{late}");
    }
    assert_eq!(etcd.dump(), migrated);
    says(&tool, &["rollback"], 0);
    says(&tool, &[&["run"][..], &rename].concat(), 0);
    // The same once more is done, and so is a run that does not ask for it.
    says(&tool, &[&["run"][..], &rename].concat(), 0);
    says(&tool, &["run"], 0);
    // What is on record counts where nothing is given.
    says(&tool, &["verify", "--against-backup"], 0);
}

fn the_message_log_that_milvus_s_configuration_has_is_on_record(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    let milvus = tool.dir().join("milvus.yaml");
    fs::write(&milvus, "kafka: {brokerList: 'k0:9092'}\n").unwrap();
    let configured = ["--milvus-config", milvus.to_str().unwrap()];
    let planned = says(&tool, &[&["plan"][..], &configured].concat(), 0);
    assert!(planned.contains("4 from the first message left in Kafka"), "{planned}");
    assert!(planned.contains("`run --message-log kafka`") && !planned.contains("rdb_data"), "{planned}");
    says(&tool, &[&["run", "--with-backup"][..], &configured].concat(), 0);
    let first_left = (-2i64).to_le_bytes();
    let begins_there = |value: &[u8]| value.windows(8).any(|bytes| bytes == first_left);
    let channels = etcd
        .dump()
        .into_iter()
        .filter(|(key, value)| key.starts_with(b"by-dev/meta/datacoord-meta/channel-cp/") && begins_there(value));
    assert_eq!(channels.count(), 4);
    // Neither needs the file again, and what is given goes before what is on record.
    says(&tool, &["verify", "--against-backup"], 0);
    let other = says(&tool, &["verify", "--against-backup", "--message-log", "other"], 1);
    assert!(other.contains("channel-cp"), "{other}");
}

/// Whether Milvus's configuration is at hand then or not: it is no option that somebody has chosen.
fn an_interrupted_run_keeps_the_message_log_that_is_on_record(version: Version) {
    for begun_with in [true, false] {
        let etcd = stopped_milvus(version);
        let tool = Tool::new(&etcd);
        let milvus = tool.dir().join("milvus.yaml");
        fs::write(&milvus, "kafka: {brokerList: 'k0:9092'}\n").unwrap();
        let configured = ["--milvus-config", milvus.to_str().unwrap()];
        let of = |is_configured: bool| if is_configured { &configured[..] } else { &[] };
        says(&tool, &["backup"], 0);
        tool.catch(&[&["run"][..], of(begun_with)].concat(), &etcd, 20, || ()).kill();
        etcd.end_lock();
        says(&tool, &[&["plan"][..], of(!begun_with)].concat(), 0);
        let other = if begun_with { "other" } else { "kafka" };
        let refused = says(&tool, &["run", "--message-log", other], 1);
        assert!(refused.contains("begun with other options"), "{refused}");
        says(&tool, &[&["run"][..], of(!begun_with)].concat(), 0);
        let first_left = (-2i64).to_le_bytes();
        let begins_there = |value: &[u8]| value.windows(8).any(|bytes| bytes == first_left);
        let channels = etcd.dump_prefix("by-dev/meta/datacoord-meta/channel-cp/");
        assert_eq!(channels.values().filter(|value| begins_there(value)).count(), if begun_with { 4 } else { 0 });
        says(&tool, &[&["verify", "--against-backup"][..], of(!begun_with)].concat(), 0);
    }
}

fn status_counts_a_backup_only_if_it_fits(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    says(&tool, &["backup"], 0);
    let fits = says(&tool, &["status"], 0);
    assert!(fits.contains("next: look first with `plan`; `run`"), "{fits}");
    let planned = says(&tool, &["plan"], 0);
    assert!(planned.contains("next: the backup is made, so `run`; afterwards `verify`"), "{planned}");
    etcd.put("by-dev/meta/queryCoord-unknown", "later");
    let planned = says(&tool, &["plan"], 0);
    assert!(planned.contains("next: flush all collections, stop Milvus, `backup`, then `run`"), "{planned}");
    let outdated = says(&tool, &["status"], 0);
    assert!(outdated.contains("does NOT hold what is here now"), "{outdated}");
    assert!(outdated.contains("next: look first with `plan`; `backup`, then `run`"), "{outdated}");
    says(&tool, &["run", "--with-backup"], 0);
    fs::rename(tool.dir().join("migration.bak"), tool.dir().join("elsewhere")).unwrap();
    let lost = says(&tool, &["status"], 0);
    for words in [
        "migration.bak is NOT THERE; the way back on record is /",
        "migration.bak (SHA-256 of the data ",
        "next: find the backup that is on record before the new Milvus is started",
    ] {
        assert!(lost.contains(words), "{words}: {lost}");
    }
    // Where no file is configured, it is looked for where it was written.
    let elsewhere = Tool::configured(&format!("etcd: {{ endpoints: ['{}'] }}", etcd.endpoint()));
    let looked_for = says(&elsewhere, &["status"], 0);
    assert!(looked_for.contains("next: find the backup that is on record"), "{looked_for}");
    let verified = says(&tool, &["verify"], 0);
    assert!(
        verified.contains("next: find the backup that is on record before the new Milvus is started"),
        "{verified}"
    );
    let migrated = says(&tool, &["upgrade"], 0);
    assert!(
        migrated.contains("next: find the backup that is on record before the new Milvus is started"),
        "{migrated}"
    );
    let refused = says(&tool, &["rollback"], 1);
    assert!(refused.contains("`status` names the backup that is on record"), "{refused}");
}

fn what_was_interrupted_is_finished_or_rolled_back(version: Version) {
    let etcd = stopped_milvus(version);
    let before = etcd.dump();
    let tool = Tool::new(&etcd);
    let running = tool.catch(&["run", "--with-backup"], &etcd, 12, || etcd.start_over(&before));
    running.kill();
    etcd.end_lock();
    let plan = says(&tool, &["plan"], 0);
    assert!(plan.contains("next: finish it with `run"), "{plan}");
    assert!(!plan.contains("flush all collections"), "{plan}");
    // A record that is damaged meanwhile: there is one way, and it is named.
    let key = "by-dev/meta/root-coord/collection/";
    let (collection, _) = etcd.dump_prefix(key).into_iter().next().unwrap();
    etcd.put(String::from_utf8(collection).unwrap(), "damaged");
    let plan = says(&tool, &["plan"], 1);
    assert!(plan.contains("next: go back with `rollback --backup-file"), "{plan}");
    assert!(!plan.contains("--skip-invalid"), "{plan}");
    let stuck =
        tool.call(&["run", "--report", "run.md"]).code(1).stderr(contains("go back with `rollback --backup-file"));
    assert!(!said(&stuck).contains("--skip-invalid"), "{}", said(&stuck));
    let report = fs::read_to_string(tool.dir().join("run.md")).unwrap();
    assert!(report.contains("this command wrote nothing; an EARLIER one may have"), "{report}");
    assert!(report.split("## Next").nth(1).unwrap().contains("go back with `rollback --backup-file"), "{report}");
    says(&tool, &["rollback"], 0);
    assert_eq!(etcd.dump(), before);
}

/// As `plan` said.
fn where_nothing_is_to_do_no_backup_is_asked_for(version: Version) {
    let etcd = stopped_milvus(version);
    etcd.edit(&testdata("cases/fresh-2.1.jsonl"));
    let tool = Tool::configured(&format!(
        "config: {{ sourceVersion: 2.1.4, targetVersion: 2.2.16 }}\netcd: {{ endpoints: ['{}'] }}",
        etcd.endpoint()
    ));
    // Said, so that the tests' own helper adds nothing.
    let unasked = "--with-backup=false";
    for command in [&["plan"][..], &["run", unasked]] {
        let nothing = says(&tool, command, 0);
        assert!(nothing.contains("nothing to migrate"), "{nothing}");
    }
    let full = stopped_milvus(version);
    let endpoint = full.endpoint();
    let refused = says(&tool, &["run", unasked, "--endpoints", &endpoint], 1);
    assert!(refused.contains("there is no backup, and so no way back"), "{refused}");
    let unsafe_run = says(&tool, &["run", "--no-backup", "--endpoints", &endpoint], 0);
    assert!(unsafe_run.contains("so there is no way back") && !unsafe_run.contains("to keep the way back open"));
    let again = says(&tool, &["run", unasked, "--endpoints", &endpoint], 0);
    assert!(again.contains("nothing to do: everything is in the layout of Milvus 2.2.16 already"), "{again}");
}

fn a_plan_is_followed_by_the_command_that_was_planned(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    let rename = "--rename-alias=a_$pecial=a__pecial";
    let planned = says(&tool, &["plan", rename, "--rebuild-index=NOPE"], 0);
    let next = "`backup`, then `run --rebuild-index NOPE --rename-alias 'a_$pecial=a__pecial'`";
    assert!(planned.contains(next), "{planned}");
    assert!(planned.contains("--rebuild-index NOPE changes nothing"), "{planned}");
    let before = etcd.dump();
    let running = tool.catch(&["run", "--with-backup", rename], &etcd, 12, || etcd.start_over(&before));
    running.kill();
    etcd.end_lock();
    let status = says(&tool, &["status"], 0);
    let backup = tool.backup_file();
    let way_on = format!("--backup-file {} --rename-alias 'a_$pecial=a__pecial'`", backup.display());
    assert!(status.contains(&way_on), "{status}");
}

fn files_that_a_newer_milvus_may_have_taken_are_spoken_of(version: Version) {
    let etcd = stopped_milvus(version);
    let tool = Tool::new(&etcd);
    says(&tool, &["backup"], 0);
    etcd.edit(&testdata("cases/2.2-started-first.full.jsonl"));
    let status = says(&tool, &["status"], 0);
    assert!(status.contains("see with `check-files` whether it has removed index files of 2.1"), "{status}");
    let planned = says(&tool, &["plan", "--keep-newer", "--target-version=2.2.16"], 0);
    assert!(planned.contains("removes, ten minutes after its start (2.2), the index files of 2.1"), "{planned}");
    let back = says(&tool, &["rollback"], 0);
    assert!(back.contains("its garbage collection takes the index files of 2.1"), "{back}");
    assert!(back.contains("nobody has looked whether the files are still there"), "{back}");
}
