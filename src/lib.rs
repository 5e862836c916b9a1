//! Upgrades the metadata of a Milvus 2.1.x cluster, which lives in etcd, to the layout of 2.2, 2.3 or 2.4.
//!
//! `docs/design.md` tells how the modules belong together and why a migration is safe at every instant.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic where the output cannot be written: terminal/output.rs"
)]

pub mod amounts;
pub mod apply;
pub mod backup;
pub mod batches;
pub mod catalog;
pub mod cli;
pub mod commands;
pub mod config;
pub mod course;
pub mod decode;
pub mod diff;
pub mod etcd;
pub mod exit;
pub mod expect;
pub mod garbage;
pub mod guard;
pub mod history;
pub mod layout;
pub mod message_log;
pub mod outcome;
pub mod pace;
pub mod packed;
pub mod parallel;
pub mod plan;
pub mod shell;
pub mod state;
pub mod stop;
pub mod storage;
pub mod terminal;
pub mod version;
