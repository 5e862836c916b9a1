//! Upgrades the metadata of a Milvus 2.1.x cluster, which lives in etcd, to the 2.2 layout.
//!
//! `docs/design.md` tells how the modules belong together and why a migration is safe at every instant.

pub mod apply;
pub mod backup;
pub mod cli;
pub mod commands;
pub mod config;
pub mod decode;
pub mod etcd;
pub mod exit;
pub mod guard;
pub mod layout;
pub mod migrate;
pub mod plan;
pub mod readback;
pub mod report;
pub mod restore;
pub mod stop;
pub mod version;
