//!
//! `docs/design.md` tells how the modules belong together and why a migration is safe at every instant.

pub mod catalog;
pub mod decode;
pub mod diff;
pub mod history;
pub mod layout;
pub mod plan;
pub mod state;
pub mod version;
