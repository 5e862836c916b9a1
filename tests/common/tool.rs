//! Running the real binary, with a configuration file in a folder of its own.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::assert::{Assert, OutputAssertExt};
use tempfile::TempDir;

use super::etcd::Etcd;
use super::gate::{Gate, Moment};
use super::state::LOCK;

/// The binary under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_meta-migration");
/// More than any call takes, even on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a configuration file, where the backup goes too, and the binary to be run in it.
pub struct Tool {
    dir: TempDir,
}

/// A process of the tool under way; it is ended when this is dropped.
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
    /// Its way to etcd, if that is one that can be closed.
    gate: Option<Gate>,
}

impl Tool {
    /// Configured for a plain etcd, as root if it has users: from 2.1.4 to 2.2.0, the rest by default.
    pub fn new(etcd: &Etcd) -> Self {
        let auth =
            if etcd.auth_is_enabled() { ", auth: { enabled: true, userName: root, password: root }" } else { "" };
        Self::configured(&format!(
            "config: {{ sourceVersion: 2.1.4, targetVersion: 2.2.0, backupFilePath: migration.bak }}\n\
             etcd: {{ endpoints: ['{}']{auth} }}\n",
            etcd.endpoint()
        ))
    }

    /// With a configuration file of this text. Relative paths in it begin at the folder.
    pub fn configured(yaml: &str) -> Self {
        let tool = Self { dir: tempfile::Builder::new().prefix("meta-migration-test-").tempdir().unwrap() };
        tool.configure(yaml);
        tool
    }

    /// Writes the configuration file anew.
    pub fn configure(&self, yaml: &str) {
        std::fs::write(self.config_file(), yaml).unwrap();
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir().join("migration.yaml")
    }

    /// Where the backup is written to.
    pub fn backup_file(&self) -> PathBuf {
        self.dir().join("migration.bak")
    }

    /// Runs `meta-migration --config FILE` with these arguments to its end.
    pub fn call(&self, args: &[&str]) -> Assert {
        self.start(args).wait()
    }

    /// Starts `meta-migration --config FILE` with these arguments.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.config_file()).args(args);
        // The configuration announces a backup, without which `run` refuses. Tests that are about that say --with-backup.
        let says_so = args.iter().any(|arg| ["--force", "--no-backup"].contains(arg) || arg.starts_with("--with-backup"));
        if args.contains(&"run") && !says_so && !self.backup_file().exists() {
            command.arg("--force");
        }
        self.spawn(command)
    }

    /// Starts it with small transactions, and lets it go no further than so many of them (0: than the first page of reading).
    ///
    /// They have 9 operations: an odd number, so that changes that come in pairs are not kept together by chance.
    ///
    /// `begin` brings etcd to where the tool is to start from.
    pub fn catch(&self, args: &[&str], etcd: &Etcd, transactions: u64, begin: impl Fn()) -> Running {
        begin();
        let args = [args, &["--max-txn-ops=9"]].concat();
        match transactions {
            0 => self.catch_at(&args, etcd, "Page", 1, Moment::After),
            done => self.catch_at(&args, etcd, "Write", done + 1, Moment::Before),
        }
    }

    /// Starts it, and waits until its `number`th request of a kind is held at that moment, see [`Gate::hold`].
    pub fn catch_at(&self, args: &[&str], etcd: &Etcd, kind: &'static str, number: u64, moment: Moment) -> Running {
        let gate = Gate::to(etcd);
        gate.hold(kind, number, moment);
        let mut running = self.start_through(gate, args);
        running.wait_until_held();
        running
    }

    /// Starts it with this gate between it and etcd.
    pub fn start_through(&self, gate: Gate, args: &[&str]) -> Running {
        let mut running = self.start(&[args, &["--endpoints", &gate.endpoint()]].concat());
        running.gate = Some(gate);
        running
    }

    /// Starts any command in the folder; of our variables its environment has only what the command itself sets.
    pub fn spawn(&self, mut command: Command) -> Running {
        let is_ours = |name: &OsStr| name == "ETCD_ENDPOINTS" || name.to_string_lossy().starts_with("META_MIGRATION_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
            if command.get_envs().all(|(set, _)| set != name) {
                command.env_remove(name);
            }
        }
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let child = command
            .current_dir(self.dir())
            .stdin(Stdio::null())
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .unwrap();
        Running { child, stdout, stderr, gate: None }
    }
}

impl Running {
    /// Waits for the end; what came out can then be asserted on.
    pub fn wait(mut self) -> Assert {
        let started = Instant::now();
        while self.is_running() {
            assert!(started.elapsed() < PATIENCE, "it does not end:\n{}", self.output_so_far());
            std::thread::sleep(Duration::from_millis(1));
        }
        self.output().assert()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until something stands in its output.
    pub fn wait_for_output(&mut self, text: &str) {
        let started = Instant::now();
        while !self.output_so_far().contains(text) {
            assert!(self.is_running(), "it ended without {text:?}:\n{}", self.output_so_far());
            assert!(started.elapsed() < PATIENCE, "never {text:?}:\n{}", self.output_so_far());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until its gate holds something.
    pub fn wait_until_held(&mut self) {
        let started = Instant::now();
        while !self.gate().is_holding() {
            assert!(self.is_running(), "it ended before it was held:\n{}", self.output_so_far());
            assert!(started.elapsed() < PATIENCE, "never held:\n{}", self.output_so_far());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Its gate.
    pub fn gate(&self) -> &Gate {
        self.gate.as_ref().expect("a process that was started through a gate")
    }

    /// Opens its gate.
    pub fn go_on(&self) {
        self.gate().open();
    }

    /// Sends a signal, like `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "cannot send {name}");
    }

    /// Ends it as `kill -9` does. Returns whether it was still running.
    pub fn kill(mut self) -> bool {
        // Fails only if it has ended before.
        let _ = self.child.kill();
        self.child.wait().unwrap().code().is_none()
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn output(&mut self) -> Output {
        let status = self.child.wait().unwrap();
        Output { status, stdout: content(&self.stdout), stderr: content(&self.stderr) }
    }

    fn output_so_far(&self) -> String {
        String::from_utf8_lossy(&content(&self.stderr)).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a file that the child may be writing to: without moving the offset, which it shares.
fn content(file: &File) -> Vec<u8> {
    let length = file.metadata().unwrap().len();
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// What a finished call said.
pub fn said(assert: &Assert) -> String {
    let output = assert.get_output();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
