//! The file beside its final name that a backup is written into.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::BackupError;

/// The file holds password hashes: only its owner may read it.
const MODE: u32 = 0o600;

/// The file that is being written; removed when it goes out of scope. After the rename there is nothing left to remove.
pub(super) struct Partial {
    path: PathBuf,
    id: FileId,
}

impl Partial {
    /// Creates the file, anew: what a killed process left may have another owner, or still be written to. It stays locked for as long
    /// as it is open, which ends with the process: so what another one is writing is told from what one has left.
    pub(super) fn create(path: PathBuf) -> Result<(Self, File), BackupError> {
        if is_locked(&path) {
            return Err(BackupError::Busy(path));
        }
        match fs::remove_file(&path) {
            // What is not there needs no removing, whatever the error (a file system that cannot be written to).
            Err(error) if error.kind() != io::ErrorKind::NotFound && fs::symlink_metadata(&path).is_ok() => {
                return Err(BackupError::io("remove what an earlier run left at", &path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path);
        let file = file.map_err(BackupError::io("create", &path))?;
        // Whatever the umask says.
        file.set_permissions(Permissions::from_mode(MODE)).map_err(BackupError::io("protect", &path))?;
        // Not every file system has locks; what two processes then do to each other is found out before the rename.
        let _ = file.try_lock();
        let id = FileId::of(&file.metadata().map_err(BackupError::io("look at", &path))?);
        Ok((Self { path, id }, file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that this is still the file at its path.
    pub(super) fn check(&self) -> Result<(), BackupError> {
        if self.is_in_place() { Ok(()) } else { Err(BackupError::Disturbed(self.path.clone())) }
    }

    fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|there| FileId::of(&there) == self.id)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // What somebody else has put there meanwhile is not ours to remove.
        if self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether another process is writing there.
fn is_locked(path: &Path) -> bool {
    // To open a FIFO would mean to wait for its other end.
    let is_file = fs::symlink_metadata(path).is_ok_and(|there| there.is_file());
    is_file && File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Tells one file from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}
