//! What a person at a terminal sees and is asked.

use std::io::{Read, Write};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

use crate::common::state::LOCK;
use crate::common::tool::PROGRAM;
use crate::common::{Etcd, Tool, Version, said};
use crate::{sample, writing_nothing};

const QUESTION: &str = "Type yes to go on: ";
/// More than any step takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const CTRL_C: &str = "\x03";

/// A process on a terminal of its own; it is ended when this is dropped.
struct Session {
    child: Child,
    terminal: Pty,
    output: Receiver<Vec<u8>>,
    shown: String,
}

impl Session {
    fn start(tool: &Tool, args: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_with(tool, args, variables, 200)
    }

    fn start_with(tool: &Tool, args: &[&str], variables: &[(&str, &str)], columns: u16) -> Self {
        let (terminal, inner) = open().unwrap();
        terminal.resize(Size::new(50, columns)).unwrap();
        let mut command = std::process::Command::new(PROGRAM);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text == "ETCD_ENDPOINTS" || text == "NO_COLOR" || text.starts_with("META_MIGRATION_") {
                command.env_remove(name);
            }
        }
        command.arg("--config").arg(tool.config_file()).args(args).current_dir(tool.dir());
        command.env("TERM", "xterm-256color").envs(variables.iter().copied());
        let child = Command::from(command).spawn(inner).unwrap();
        let output = read_all(&terminal);
        Self { child, terminal, output, shown: String::new() }
    }

    fn see(&mut self, text: &str) {
        let started = Instant::now();
        while !self.shown.contains(text) {
            let more = self.output.recv_timeout(PATIENCE.saturating_sub(started.elapsed()));
            let more = more.unwrap_or_else(|_| panic!("never {text:?}:\n{}", self.shown));
            self.shown.push_str(&String::from_utf8_lossy(&more));
        }
    }

    fn type_in(&mut self, text: &str) {
        (&self.terminal).write_all(text.as_bytes()).unwrap();
    }

    /// Waits for the end; returns the exit code and all that was shown.
    fn end(mut self) -> (Option<i32>, String) {
        // The terminal closes when the process is gone.
        while let Ok(more) = self.output.recv_timeout(PATIENCE) {
            self.shown.push_str(&String::from_utf8_lossy(&more));
        }
        let ended: ExitStatus = self.child.wait().unwrap();
        (ended.code(), std::mem::take(&mut self.shown))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Fails only if it has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_all(terminal: &Pty) -> Receiver<Vec<u8>> {
    use std::os::fd::AsFd;
    let mut reader = std::fs::File::from(terminal.as_fd().try_clone_to_owned().unwrap());
    let (sender, output) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // Reading fails when the other side is closed.
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            if sender.send(buffer[..read].to_vec()).is_err() {
                break;
            }
        }
    });
    output
}

/// An etcd with the sample, and a backup of it.
fn backed_up() -> (Etcd, Tool) {
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    (etcd, tool)
}

fn migrated(etcd: &Etcd) -> bool {
    !etcd.dump_prefix("by-dev/meta/field-index/").is_empty()
}

#[test]
fn run_shows_what_it_will_do_and_asks() {
    let (etcd, tool) = backed_up();
    let mut session = Session::start(&tool, &["run"], &[]);
    session.see(QUESTION);
    assert!(etcd.get(LOCK).is_some(), "the lock is held while it asks");
    assert!(!migrated(&etcd), "nothing is written before the answer");
    let shown = session.shown.clone();
    for text in [
        "plan: 923 puts (",
        "20 collections with 31 partitions, 142 fields and 18 indexes",
        "load states NOT carried over (released): 2",
        "c_ivfflat / vec: _default_idx becomes _default_idx_104",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    session.type_in("yes\n");
    let (code, shown) = session.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("next: `verify`, then start Milvus 2.2.0"), "{shown}");
    assert!(migrated(&etcd) && etcd.leases().is_empty());
}

/// Every command of the runbook, and what they refuse.
#[test]
fn on_sixty_columns_no_word_is_broken() {
    const COLUMNS: usize = 60;
    let etcd = sample(Version::V3_5);
    let tool = Tool::new(&etcd);
    for (args, expected) in [
        (&["status"][..], 0),
        (&["plan", "--details"], 0),
        (&["run", "--yes"], 1),
        (&["backup"], 0),
        (&["inspect", "migration.bak"], 0),
        (&["run", "--yes"], 0),
        (&["verify"], 0),
        (&["backup"], 1),
        (&["rollback", "--yes"], 0),
        (&["--help"], 0),
    ] {
        let (code, shown) = Session::start_with(&tool, args, &[], COLUMNS as u16).end();
        assert_eq!(code, Some(expected), "{args:?}: {shown}");
        let plain = console::strip_ansi_codes(&shown).replace('\r', "\n");
        let too_long = |line: &&str| console::measure_text_width(line) > COLUMNS && line.trim().contains(' ');
        let broken: Vec<_> = plain.lines().filter(too_long).collect();
        assert!(broken.is_empty(), "{args:?}: {broken:#?}");
    }
    // Where there is no progress, which says something else each time, the words are the same at any width.
    for args in [&["inspect", "migration.bak"][..], &["plan", "--help"]] {
        let words = |columns| -> Vec<String> {
            let (_, shown) = Session::start_with(&tool, args, &[], columns).end();
            shown.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(words(60), words(400), "{args:?}");
    }
}

#[test]
fn nothing_but_yes_means_yes() {
    let (etcd, tool) = backed_up();
    let before = etcd.dump();
    for answer in ["no\n", "\n", "y\n", "yes please\n", "\x04"] {
        let mut session = Session::start(&tool, &["run"], &[]);
        session.see(QUESTION);
        session.type_in(answer);
        let (code, shown) = session.end();
        assert_eq!(code, Some(1), "{answer:?}: {shown}");
        assert!(shown.contains("error: not confirmed: nothing was written"), "{answer:?}: {shown}");
        assert!(etcd.dump() == before && etcd.leases().is_empty(), "{answer:?}");
    }
}

#[test]
fn ctrl_c_at_the_question_gives_the_lock_back() {
    let (etcd, tool) = backed_up();
    let before = etcd.dump();
    let mut session = Session::start(&tool, &["run"], &[]);
    session.see(QUESTION);
    session.type_in(CTRL_C);
    let (code, shown) = session.end();
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("nothing was written"), "{shown}");
    assert!(etcd.dump() == before && etcd.leases().is_empty(), "{shown}");
}

#[test]
fn yes_on_the_command_line_is_not_asked_again() {
    let (etcd, tool) = backed_up();
    let (code, shown) = Session::start(&tool, &["run", "--yes"], &[]).end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains(QUESTION) && migrated(&etcd), "{shown}");
}

#[test]
fn where_nobody_reads_the_answer_or_the_question_it_does_not_ask() {
    let (etcd, tool) = backed_up();
    for args in [["run", "--output", "json"], ["run", "--log-format", "json"]] {
        let (code, shown) = Session::start(&tool, &args, &[]).end();
        assert_eq!(code, Some(0), "{shown}");
        assert!(!shown.contains(QUESTION) && migrated(&etcd), "{shown}");
        tool.call(&["rollback"]).code(0);
    }
    // No terminal at all.
    let run = tool.call(&["run"]).code(0);
    assert!(!said(&run).contains(QUESTION) && migrated(&etcd), "{}", said(&run));
}

#[test]
fn no_color_is_heeded() {
    let etcd = sample(Version::V3_5);
    let before = etcd.dump();
    let tool = Tool::configured(&format!(
        "config: {{ sourceVersion: 2.1.4, targetVersion: 2.2.0 }}\netcd: {{ endpoints: ['{}'] }}\n",
        etcd.endpoint()
    ));
    // Only lines of the log have colours.
    let logged = |variables: &[(&str, &str)]| {
        let (_, shown) = Session::start(&tool, &["--verbose", "plan"], variables).end();
        shown.lines().find(|line| line.contains("connecting to ")).unwrap().to_owned()
    };
    for (variables, is_coloured) in [(&[][..], true), (&[("NO_COLOR", "")], true), (&[("NO_COLOR", "1")], false)] {
        let line = logged(variables);
        assert_eq!(line.contains('\x1b'), is_coloured, "{variables:?}: {line:?}");
    }
    assert!(etcd.dump() == before);
}

#[test]
fn a_person_reads_texts_without_times_and_levels() {
    let etcd = sample(Version::V3_5);
    let (code, shown) = writing_nothing(&etcd, || Session::start(&Tool::new(&etcd), &["status"], &[]).end());
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.starts_with("etcd at http://"), "{shown:?}");
    assert!(!shown.contains("INFO"), "{shown}");
}
