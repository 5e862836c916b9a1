//! Outputs that cannot be written: closed, full, or nobody reads them. The exit code tells of the metadata all the same.

use std::fs::File;
use std::io::pipe;
use std::process::{Child, Command, Stdio};

use crate::common::gate::{Gate, Moment};
use crate::common::state::{Dump, LOCK, assert_same};
use crate::common::tool::PROGRAM;
use crate::common::{Etcd, Tool, Version, wait_until};
use crate::sample;

/// What is wrong with an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Closed,
    Full,
    Unread,
}

/// stdout and stderr.
type Faults = (Fault, Fault);

const FAULTS: [Faults; 9] = [
    (Fault::Closed, Fault::None),
    (Fault::None, Fault::Closed),
    (Fault::Closed, Fault::Closed),
    (Fault::Full, Fault::None),
    (Fault::None, Fault::Full),
    (Fault::Full, Fault::Full),
    (Fault::Unread, Fault::None),
    (Fault::None, Fault::Unread),
    (Fault::Unread, Fault::Unread),
];

/// Starts it with such outputs.
fn start(tool: &Tool, args: &[&str], (out, err): Faults) -> Child {
    let closing = |fault, close: &'static str| if fault == Fault::Closed { close } else { "" };
    let script = format!("exec \"$0\" \"$@\" {} {}", closing(out, ">&-"), closing(err, "2>&-"));
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, PROGRAM]).args(args).current_dir(tool.dir());
    for (name, _) in std::env::vars_os() {
        if name == "ETCD_ENDPOINTS" || name.to_string_lossy().starts_with("META_MIGRATION_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(broken(out)).stderr(broken(err)).spawn().unwrap()
}

fn broken(fault: Fault) -> Stdio {
    match fault {
        Fault::None | Fault::Closed => Stdio::null(),
        Fault::Full => File::options().write(true).open("/dev/full").unwrap().into(),
        Fault::Unread => pipe().unwrap().1.into(),
    }
}

fn code(mut child: Child) -> Option<i32> {
    child.wait().unwrap().code()
}

/// What the whole procedure comes to: each command with its exit code and what is in etcd afterwards.
fn procedure(etcd: &Etcd, tool: &Tool, faults: Faults, format: &str) -> Vec<(&'static str, Option<i32>, Dump)> {
    let config = tool.config_file();
    let commands: [(&str, &[&str]); 14] = [
        ("status", &[]),
        ("plan", &["--diff"]),
        ("backup", &[]),
        ("run", &["--with-backup=false"]),
        ("run", &["--with-backup=false"]),
        ("backup", &[]),
        ("status", &[]),
        ("verify", &["--verbose"]),
        ("repair", &["--dry-run"]),
        ("rollback", &[]),
        ("rollback", &[]),
        // No file is there.
        ("check-files", &["--storage-dir", "."]),
        ("upgrade", &[]),
        ("backup", &["--while-running", "--backup-file", "running.bak", "--force"]),
    ];
    let one = |(command, options): (&'static str, &[&str])| {
        let common = ["--config", config.to_str().unwrap(), "--output", format];
        let args = [&common[..], &[command], options].concat();
        (command, code(start(tool, &args, faults)), etcd.dump_prefix("by-dev/meta/"))
    };
    commands.into_iter().map(one).collect()
}

#[test]
fn every_command_does_its_work_and_ends_with_its_code_whatever_becomes_of_its_outputs() {
    let etcd = sample(Version::V3_5);
    let before = etcd.dump();
    for format in ["text", "json"] {
        etcd.start_over(&before);
        let expected = procedure(&etcd, &Tool::new(&etcd), (Fault::None, Fault::None), format);
        assert!(
            expected.iter().filter(|(_, code, _)| *code == Some(0)).count() >= 9,
            "{format}: {:?}",
            codes(&expected)
        );
        for faults in FAULTS {
            etcd.start_over(&before);
            let tool = Tool::new(&etcd);
            let found = procedure(&etcd, &tool, faults, format);
            assert_eq!(codes(&expected), codes(&found), "{faults:?} {format}");
            for ((command, _, expected), (.., found)) in expected.iter().zip(&found) {
                assert_same(&without_times(expected), &without_times(found), (command, faults, format));
            }
            assert!(etcd.leases().is_empty(), "{faults:?}: the lock was not given back");
        }
    }
}

fn codes(steps: &[(&'static str, Option<i32>, Dump)]) -> Vec<(&'static str, Option<i32>)> {
    steps.iter().map(|(command, code, _)| (*command, *code)).collect()
}

/// The history key has the times of the run in it.
fn without_times(dump: &Dump) -> Dump {
    let is_history = |key: &[u8]| key.starts_with(b"by-dev/meta/meta-migration/");
    dump.iter().filter(|(key, _)| !is_history(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[test]
fn what_is_refused_ends_with_1_whatever_becomes_of_the_outputs() {
    let tool = Tool::configured("etcd: { endpoints: [127.0.0.1:1] }\n");
    let refused: [&[&str]; 9] = [
        &[],
        &["--output", "json"],
        &["--output", "json", "--log-format", "json", "run", "--no-such-flag"],
        &["nonsense"],
        &["run", "--no-such-flag"],
        &["-config", "none.yaml", "run"],
        &["--config", "migration.yaml", "status"],
        &["inspect", "none.bak"],
        &["--output", "json", "rollback", "--backup-file", "none.bak"],
    ];
    for faults in FAULTS {
        for args in refused {
            assert_eq!(code(start(&tool, args, faults)), Some(1), "{args:?} {faults:?}");
        }
        for args in [["--help"], ["--version"]] {
            assert_eq!(code(start(&tool, &args, faults)), Some(0), "{args:?} {faults:?}");
        }
    }
}

/// What is written to standard output there is the work itself.
#[test]
fn an_export_or_a_page_that_does_not_fit_is_a_failure_and_a_reader_who_left_is_none() {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    let products: [&[&str]; 3] = [&["inspect", "migration.bak", "--export", "-"], &["man"], &["completions", "bash"]];
    for args in products {
        for (fault, expected) in [(Fault::None, 0), (Fault::Closed, 0), (Fault::Unread, 0), (Fault::Full, 1)] {
            assert_eq!(code(start(&tool, args, (fault, Fault::None))), Some(expected), "{args:?} {fault:?}");
            assert_eq!(code(start(&tool, args, (fault, Fault::Full))), Some(expected), "{args:?} {fault:?}");
        }
    }
    for args in [&["inspect", "migration.bak"][..], &["inspect", "migration.bak", "--list"]] {
        for faults in FAULTS {
            assert_eq!(code(start(&tool, args, faults)), Some(0), "{args:?} {faults:?}");
        }
    }
}

/// The reader of its outputs leaves while it is held at a request. What is said until then fits into the pipes.
fn left_in_the_middle(tool: &Tool, etcd: &Etcd, args: &[&str], (kind, number): (&'static str, u64)) -> Option<i32> {
    let gate = Gate::to(etcd);
    gate.hold(kind, number, Moment::Before);
    let ((out, to_out), (err, to_err)) = (pipe().unwrap(), pipe().unwrap());
    let config = tool.config_file();
    let mut command = Command::new(PROGRAM);
    command.args(["--config", config.to_str().unwrap(), "--endpoints", &gate.endpoint(), "--max-txn-ops=9"]).args(args);
    let mut child = command.current_dir(tool.dir()).stdin(Stdio::null()).stdout(to_out).stderr(to_err).spawn().unwrap();
    // Our ends for writing live in the command.
    drop(command);
    wait_until("the request is held", || gate.is_holding() || child.try_wait().unwrap().is_some());
    assert!(gate.is_holding(), "{args:?} ended before {kind} {number}");
    drop((out, err));
    gate.open();
    code(child)
}

#[test]
fn a_reader_who_leaves_in_the_middle_changes_nothing() {
    let etcd = sample(Version::V3_5);
    let before = etcd.dump();
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    for place in [("Page", 1), ("Lock", 1), ("Write", 1), ("Write", 2), ("Write", 20)] {
        etcd.start_over(&before);
        let run = ["run", "--with-backup=false"];
        assert_eq!(left_in_the_middle(&tool, &etcd, &run, place), Some(0), "run {place:?}");
        assert!(etcd.get(LOCK).is_none() && !etcd.dump_prefix("by-dev/meta/field-index/").is_empty(), "run {place:?}");
        let rollback = ["rollback", "--output", "json"];
        assert_eq!(left_in_the_middle(&tool, &etcd, &rollback, place), Some(0), "rollback {place:?}");
        assert_same(&before, &etcd.dump(), ("rollback", place));
    }
    let commands: [(&[&str], i32); 7] = [
        (&["status"], 0),
        (&["plan", "--diff"], 0),
        (&["backup"], 0),
        // 2.1 metadata is none for a target, and nothing to repair.
        (&["verify"], 1),
        (&["repair", "--dry-run"], 1),
        (&["repair"], 1),
        (&["run", "--with-backup"], 0),
    ];
    for (args, expected) in commands {
        assert_eq!(left_in_the_middle(&tool, &etcd, args, ("Page", 1)), Some(expected), "{args:?}");
    }
}

/// The reader leaves, and then etcd refuses: the code says how far things had gone.
#[test]
fn a_failure_in_the_middle_of_writing_ends_with_2_though_nobody_reads_why() {
    let etcd = sample(Version::V3_5);
    let before = etcd.dump();
    for faults in FAULTS {
        etcd.start_over(&before);
        let tool = Tool::new(&etcd);
        tool.call(&["backup"]).code(0);
        let gate = Gate::to(&etcd);
        gate.hold("Write", 3, Moment::Before);
        let config = tool.config_file();
        let endpoint = gate.endpoint();
        let args = ["--config", config.to_str().unwrap(), "run", "--endpoints", &endpoint, "--max-txn-ops=9"];
        let child = start(&tool, &args, faults);
        wait_until("a write is held", || gate.is_holding());
        etcd.end_lock();
        gate.open();
        assert_eq!(code(child), Some(2), "{faults:?}");
    }
}
