//! What the fuzz targets share: metadata as bytes, mutations that know protobuf, and what must hold of every conversion.

pub mod checks;
pub mod file;
pub mod mutate;
pub mod pairs;
pub mod shown;
