//! Upgrades the metadata of a Milvus 2.1.x cluster, which lives in etcd, to the layout of 2.2, 2.3 or 2.4.
//!
//! `docs/design.md` tells how the modules belong together and why a migration is safe at every instant.

pub mod catalog;
pub mod decode;
pub mod layout;
pub mod version;
