//! Backup files: writing ours, reading ours and those of the original tool.
//!
//! Ours is a zstd frame with a content checksum that holds a stream in the original tool's format (so `zstd -d` gives a file that
//! the original tool can restore), followed by a zstd skippable frame with a manifest: docs/backup-format.md.

pub mod content;
pub mod examine;
pub mod export;
mod hashing;
pub mod manifest;
mod partial;
pub mod read;
pub mod room;
mod stream;
pub mod write;

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use manifest::Manifest;
pub use read::{Backup, Format};
pub use write::Writer;

/// What is wrong with a backup file.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The file system refused.
    #[error("cannot {action} {path}: {cause}{hint}", path = path.display(), hint = io_hint(cause))]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says. It is in the message already, so it is not named as a source, which would be said once more.
        cause: io::Error,
    },
    /// The disk would have been filled.
    #[error(
        "there is not enough room for the backup {}: with {keys} of {all} keys written only {left} bytes are left there. Make room, or \
         use another --backup-file. Nothing was left there; an earlier backup is as it was",
        path.display()
    )]
    NoRoom {
        /// Which backup.
        path: PathBuf,
        /// Number of keys that were written.
        keys: u64,
        /// Number of keys in all.
        all: u64,
        /// Free, in bytes.
        left: u64,
    },
    /// There is something at the path that is no file: a device, a FIFO, a socket, or a link to one.
    #[error(
        "{} is no regular file but {what}: a backup written there would be lost, and the thing itself renamed. Nothing was done; give \
         the path of a file (--backup-file, config.backupFilePath)",
        path.display()
    )]
    NotRegular {
        /// Which path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Another process writes a backup of the same name.
    #[error(
        "another process is writing a backup there: {} is locked. Wait until it has ended, or give another --backup-file. Nothing was done",
        .0.display()
    )]
    Busy(PathBuf),
    /// The file that was being written is not at its place any more.
    #[error(
        "{} was removed or replaced while it was being written: another process, or somebody, was at it. An earlier backup is as it was; \
         make this one again, and give each process a --backup-file of its own",
        .0.display()
    )]
    Disturbed(PathBuf),
    /// There is no file at the path.
    #[error(
        "there is no backup file {}: check the path (--backup-file, config.backupFilePath) and, in a container, the mount",
        .0.display()
    )]
    Missing(PathBuf),
    /// The file is empty.
    #[error("{} is empty: it is no backup. Use another copy of the backup", .0.display())]
    Empty(PathBuf),
    /// The file is something else.
    #[error("{} is no backup file: {why}", path.display())]
    NoBackup {
        /// Which file.
        path: PathBuf,
        /// What it looks like instead.
        why: String,
    },
    /// The file ends too early.
    #[error("{} is cut off: {what}. Nothing of it can be trusted to be complete; use another copy of the backup", path.display())]
    Cut {
        /// Which file.
        path: PathBuf,
        /// Where it ends.
        what: String,
    },
    /// The file has changed since it was written.
    #[error("{} is damaged: {what}. Use another copy of the backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The file holds another number of keys than it says.
    #[error(
        "{} says that it holds {announced} keys, but holds {found}: it is incomplete or damaged. Use another copy of the backup",
        path.display()
    )]
    Count {
        /// Which file.
        path: PathBuf,
        /// The number in its header or manifest.
        announced: i64,
        /// The number of its entries.
        found: u64,
    },
    /// What was written is not what can be read.
    #[error("the backup that was just written cannot be read back and was thrown away; make it again. The reason: {0}")]
    Unsound(Box<BackupError>),
    /// A later version of this tool wrote the file.
    #[error("{} has format version {version}; this tool reads versions up to {}: use the tool that wrote it", path.display(), manifest::NEWEST_VERSION)]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

impl BackupError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { action, path, cause }
    }
}

/// Makes sure that a path is that of a file, of a directory (which has an error of its own), or of nothing yet. Asked before it is
/// opened: opening a FIFO waits for somebody at its other end, for ever.
///
/// # Errors
/// It is something else.
pub fn regular(path: &Path) -> Result<(), BackupError> {
    // What cannot be looked at cannot be opened either, and that has its own error.
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    let kind = metadata.file_type();
    let what = match kind {
        _ if kind.is_file() || kind.is_dir() => return Ok(()),
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(BackupError::NotRegular { path: path.to_owned(), what })
}

/// The folder that a file is in, or would be.
pub fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn io_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ". Make room or use another --backup-file, then start again; an earlier backup there is as it was"
        }
        io::ErrorKind::NotFound => ". Does the folder exist, and is the volume mounted?",
        io::ErrorKind::PermissionDenied => {
            ". Check the owner and mode of the file and its folder, and the user that this runs as"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            ". Mount the volume so that it can be written, or use another --backup-file"
        }
        io::ErrorKind::IsADirectory => {
            ". The path of a file is expected (docker run -v makes a directory of a file that is not there)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests;
