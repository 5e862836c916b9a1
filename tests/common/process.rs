//! A child process that cannot outlive the tests, and its log.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

type Order = (Command, Sender<io::Result<Child>>);

/// Looks again and again until the condition holds.
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_until_for(what, 30, condition);
}

/// As [`wait_until`], for what takes longer.
pub fn wait_until_for(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(seconds), "waited {seconds} s, but never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running program that writes JSON lines to a log file.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` in `dir`, its output in `dir/log`.
    pub fn start(program: &Path, args: &[String], dir: &Path) -> Self {
        let log = dir.join("log");
        let output = File::create(&log).unwrap();
        // The kernel kills it when we are gone, however we went. setpriv becomes the program, so the id is the right one.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(args).current_dir(dir);
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        // etcd takes every flag from the environment, too.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD")) {
            command.env_remove(name);
        }
        let child = spawn(command).unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        Self { child, log }
    }

    /// Looks at the log again and again until `find` finds something in it.
    ///
    /// # Errors
    /// The program ended, or nothing was found in time; with the end of the log.
    pub fn wait_for<T>(&mut self, find: impl Fn(&[Value]) -> Option<T>) -> Result<T, String> {
        let started = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            if let Some(found) = find(&self.log_lines()) {
                return Ok(found);
            }
            if let Some(status) = ended {
                return Err(format!("it ended with {status}:\n{}", self.log_end()));
            }
            if started.elapsed() > Duration::from_secs(30) {
                return Err(format!("it is not ready after 30 s:\n{}", self.log_end()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log_lines(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Stops it where it is, and returns when the last thread has stopped.
    pub fn pause(&self) {
        self.signal("STOP");
        wait_until("all threads have stopped", || self.thread_states().iter().all(|state| *state == 'T'));
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// The states of its threads, as `ps` shows them.
    fn thread_states(&self) -> Vec<char> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let state = |stat: String| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
        stats.filter_map(state).collect()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "cannot send {name} to process {}", self.child.id());
    }

    /// Ends it the hard way, and returns when it is gone.
    pub fn kill(&mut self) {
        // Fails only if it has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The death signal comes when the *thread* that started the child ends; so all are started by one that never does.
fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, answer) = channel();
    starter.send((command, reply)).unwrap();
    answer.recv().unwrap()
}
