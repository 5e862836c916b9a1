//! The protobuf messages of both layouts and of backup records, compiled from `proto/`.

/// Messages that both layouts share.
#[allow(missing_docs, reason = "documented in proto/common.proto")]
pub mod common {
    include!(concat!(env!("OUT_DIR"), "/layout.common.rs"));
}

/// Messages of the 2.1 layout.
#[allow(missing_docs, reason = "documented in proto/source.proto")]
pub mod source {
    include!(concat!(env!("OUT_DIR"), "/layout.source.rs"));
}

/// Messages of the 2.2 layout.
#[allow(missing_docs, reason = "documented in proto/target.proto")]
pub mod target {
    include!(concat!(env!("OUT_DIR"), "/layout.target.rs"));
}

/// Records of a backup stream.
#[allow(missing_docs, reason = "documented in proto/backup.proto")]
pub mod backup {
    include!(concat!(env!("OUT_DIR"), "/layout.backup.rs"));
}
