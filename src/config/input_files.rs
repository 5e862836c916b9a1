//! Opening and reading the files that the configuration names, with errors that say what is in their place.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Result, anyhow, bail};

use crate::layout::keys::printable;

/// The mistake behind most reports of "is a directory".
const DIRECTORY: &str = "is a directory, a file is expected (if it comes from docker run -v: the file did not exist on the host, \
                         so docker made a directory of that name)";

/// A path as errors show it: on one line.
pub fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// Opens a file for reading; the errors do not name it, the caller does.
///
/// # Errors
/// It is missing, a directory, or may not be read.
pub fn open(path: &Path) -> Result<File> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => match error.kind() {
            ErrorKind::NotFound => bail!("does not exist: check the path and, in a container, the mount"),
            ErrorKind::PermissionDenied => bail!("may not be read by this user: check its owner and mode"),
            _ => bail!("cannot be opened: {error}"),
        },
    };
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() => bail!("{DIRECTORY}"),
        Ok(_) => Ok(file),
        Err(error) => bail!("cannot be examined: {error}"),
    }
}

/// Reads a small text file.
///
/// # Errors
/// It cannot be opened or read, is larger than `limit` bytes, or is not UTF-8. One line that names the file.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let shown = shown(path);
    let file = open(path).map_err(|reason| anyhow!("{shown}: {reason}"))?;
    let mut bytes = Vec::new();
    if let Err(error) = file.take(limit + 1).read_to_end(&mut bytes) {
        bail!("{shown}: cannot be read: {error}");
    }
    if bytes.len() as u64 > limit {
        bail!("{shown}: is larger than {limit} bytes: is it the right file?");
    }
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        anyhow!("{shown}:{line}: is not UTF-8 text: save it as UTF-8")
    })
}
