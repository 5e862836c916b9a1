//! Real etcds for tests: started on free ports in directories of their own, gone when the test is over.
//!
//! All calls block; the tests are plain `#[test]` functions (a `#[tokio::test]` would run into "cannot block").
//!
//! ```ignore
//! mod common;
//! use common::{Etcd, Version, on_both_versions};
//!
//! on_both_versions![keys_are_found_again];
//!
//! fn keys_are_found_again(version: Version) {
//!     let etcd = Etcd::start(version);
//!     etcd.load_milvus();
//!     assert!(!etcd.dump().is_empty());
//! }
//! ```

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "every test program compiles this module and uses another part of it"
)]

mod bucket;
mod cluster;
mod data;
pub mod docs;
mod etcd;
pub mod files;
pub mod gate;
mod port;
mod process;
pub mod readable;
pub mod state;
mod tls;
pub mod tool;
mod wire;

pub use bucket::Bucket;
pub use cluster::{Cluster, free_ports};
pub use data::{lived, testdata, unbase64};
pub use etcd::{Builder, Etcd, Version, block_on};
pub use gate::Gate;
pub use process::{wait_until, wait_until_for};
pub use tls::{Certs, Identity};
pub use tool::{Running, Tool, said};
pub use wire::{Harm, Wire};

/// Makes two tests of every function named: one with etcd 3.4, one with etcd 3.5.
macro_rules! on_both_versions {
    ($($check:ident),+ $(,)?) => { $(
        mod $check {
            #[test]
            fn etcd_3_4() {
                super::$check($crate::common::Version::V3_4);
            }
            #[test]
            fn etcd_3_5() {
                super::$check($crate::common::Version::V3_5);
            }
        }
    )+ };
}
pub(crate) use on_both_versions;
