//! The rules of the conversion (layouts.md, 1 to 7) on hand-made metadata, and what must hold at every instant of it.

mod aliases;
mod checkpoints;
mod cluster;
mod collections;
mod in_between;
mod indexes;
mod limits;
mod load_state;
mod names;
mod problems;
mod resume;
mod segment_indexes;
mod unknown;
mod whole;
