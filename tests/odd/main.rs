//! Metadata of odd sizes and odd bytes: legal, but such as nobody has on his desk.

#[path = "../common/mod.rs"]
mod common;

mod etcd;
mod library;
mod shapes;
