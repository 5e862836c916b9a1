//! Whatever happens, no metadata is lost: kills, signals, live components, other tools, damage, limits of etcd.

#[path = "../common/mod.rs"]
mod common;
#[path = "../../examples/make-cluster.rs"]
#[allow(dead_code, reason = "its main is not wanted here")]
mod make_cluster;

mod answers;
mod damage;
mod files;
mod kills;
mod limits;
mod lock;
mod middle;
mod outages;
mod read_back;
mod rights;
mod sessions;
mod stress;
mod upgrade;
mod whole;

use common::state::{Dump, LOCK, assert_same};
use common::{Etcd, Gate, Running, Tool, Version};

/// Small transactions: an odd number of operations, so that changes that come in pairs are not kept together by chance.
const SMALL: &str = "--max-txn-ops=9";
/// What etcd takes by default.
const USUAL: &str = "--max-txn-ops=128";

/// An etcd with 2.1 metadata, a backup of it, and what becomes of it.
struct Scene {
    etcd: Etcd,
    tool: Tool,
    before: Dump,
    /// What the tool makes of the sample if nobody disturbs it.
    migrated: Dump,
}

impl Scene {
    /// With the sample.
    fn on(version: Version) -> Self {
        let etcd = Etcd::start(version);
        etcd.load_milvus();
        Self::of(etcd)
    }

    /// With a made cluster.
    fn of_segments(segments: i64) -> Self {
        let etcd = Etcd::start(Version::V3_5);
        let keys = make_cluster::cluster(segments);
        etcd.put_all(keys.into_iter().map(|(key, value)| (format!("by-dev/meta/{key}").into_bytes(), value, 0)));
        Self::of(etcd)
    }

    fn of(etcd: Etcd) -> Self {
        let before = etcd.dump();
        let tool = Tool::new(&etcd);
        tool.call(&["backup"]).code(0);
        tool.call(&["run"]).code(0);
        let migrated = etcd.dump();
        etcd.start_over(&before);
        Self { etcd, tool, before, migrated }
    }

    /// Makes etcd what a command is to begin with.
    fn start_over_for(&self, command: &str) {
        self.etcd.start_over(match command {
            "run" | "backup" => &self.before,
            _ => &self.migrated,
        });
    }

    /// What etcd is after a command.
    fn after(&self, command: &str) -> &Dump {
        match command {
            "run" | "verify" => &self.migrated,
            _ => &self.before,
        }
    }

    /// How many write transactions a command takes if nobody disturbs it.
    fn transactions(&self, command: &str, options: &str) -> u64 {
        self.start_over_for(command);
        let gate = Gate::to(&self.etcd);
        self.tool.call(&[command, options, "--endpoints", &gate.endpoint()]).code(0);
        assert_same(self.after(command), &self.etcd.dump(), command);
        gate.count("Write")
    }

    /// A `run` over the sample that stands still after it has written so many transactions.
    ///
    /// 56 it is in all: 49 write 2.2 records, 5 switch the collections, 2 remove 2.1 records.
    fn run_caught_after(&self, transactions: u64) -> Running {
        self.tool.catch(&["run"], &self.etcd, transactions, || self.etcd.start_over(&self.before))
    }

    /// All that is in etcd but the migration lock.
    fn dump(&self) -> Dump {
        let mut dump = self.etcd.dump();
        dump.remove(LOCK.as_bytes());
        dump
    }
}

/// The newest change of any key but the lock.
fn newest_change(etcd: &Etcd) -> i64 {
    let entries = etcd.entries();
    entries
        .iter()
        .filter(|entry| entry.key() != LOCK.as_bytes())
        .map(etcd_client::KeyValue::mod_revision)
        .max()
        .unwrap()
}
