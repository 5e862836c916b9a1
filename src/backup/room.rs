//! Whether there is room for a backup, before it is begun.

use std::io::{self, Write};
use std::path::Path;

use rustix::fs::statvfs;
use zstd::stream::write::Encoder;

use super::write::ZSTD_LEVEL;
use super::{BackupError, folder_of, stream};

/// So much of the metadata is compressed to learn how well the rest does.
const SAMPLE_BYTES: u64 = 4 << 20;
/// A record in the stream takes this beside key and value: its length, and the framing of the message.
const RECORD_BYTES: u64 = 16;
/// The manifest, and blocks that are not full.
const REST_BYTES: u64 = 64 << 10;

/// What a backup will hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// Number of keys.
    pub keys: u64,
    /// Size of keys and values, in bytes.
    pub bytes: u64,
}

/// About how large the file of a backup will be, in bytes: from every so many keys of it, compressed as the file will be. They
/// compress a little worse than neighbours do, so it is rather too much than too little.
pub fn estimate<'a>(load: Amount, records: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> u64 {
    let all = load.bytes + load.keys * RECORD_BYTES;
    let every = usize::try_from(all.div_ceil(SAMPLE_BYTES)).unwrap_or(usize::MAX).max(1);
    let (read, packed) = compressed(records.step_by(every));
    // Nothing to learn from: not compressed at all.
    let part = if read == 0 { 1.0 } else { packed as f64 / read as f64 };
    (all as f64 * part * 1.1) as u64 + REST_BYTES
}

/// Size of these records in the stream, and of the stream compressed.
fn compressed<'a>(records: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> (u64, u64) {
    let mut read = 0;
    let Ok(mut encoder) = Encoder::new(ByteCount::default(), ZSTD_LEVEL) else { return (0, 0) };
    for (key, value) in records {
        let record = stream::encode_entry(key.to_vec(), value.to_vec());
        read += record.len() as u64;
        // A counter takes everything.
        let _ = encoder.write_all(&record);
        if read >= 2 * SAMPLE_BYTES {
            break;
        }
    }
    encoder.finish().map_or((0, 0), |counter| (read, counter.0))
}

/// How many bytes an ordinary user may still write into the folder of a file; `None` where the file system does not tell.
pub fn free(file: &Path) -> Option<u64> {
    // What cannot be asked, or is not there, has an error of its own as soon as it is written to.
    let told = statvfs(folder_of(file)).ok()?;
    // Some file systems in user space tell nothing, in zeros.
    (told.f_blocks > 0).then(|| told.f_bavail.saturating_mul(told.f_frsize))
}

/// A backup does not fill a disk to its last byte while it is written: etcd may have its own files there.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    reserve: u64,
}

/// The most that is left to others.
const MOST_RESERVED_BYTES: u64 = 64 << 20;

impl Room {
    /// As the folder of this file is before it is begun.
    pub fn of(file: &Path) -> Self {
        Self { reserve: (free(file).unwrap_or(0) / 4).min(MOST_RESERVED_BYTES) }
    }

    /// So many bytes stay free.
    pub fn reserve(self) -> u64 {
        self.reserve
    }

    /// Looks once more, with so many keys of all written.
    ///
    /// # Errors
    /// There is hardly any room left.
    pub fn check(self, file: &Path, keys: u64, all: u64) -> Result<(), BackupError> {
        match free(file) {
            Some(left) if left < self.reserve => Err(BackupError::NoRoom { path: file.to_owned(), keys, all, left }),
            _ => Ok(()),
        }
    }
}

/// Counts what is written.
#[derive(Default)]
struct ByteCount(u64);

impl Write for ByteCount {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pair = (Vec<u8>, Vec<u8>);

    fn of(pairs: &[Pair]) -> u64 {
        let bytes = pairs.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        estimate(Amount { keys: pairs.len() as u64, bytes }, pairs.iter().map(|(key, value)| (&**key, &**value)))
    }

    fn pairs(number: u64, value: impl Fn(u64) -> Vec<u8>) -> Vec<Pair> {
        (0..number).map(|id| (format!("by-dev/meta/indexes/{id:08}").into_bytes(), value(id))).collect()
    }

    #[test]
    fn what_compresses_well_is_estimated_small_and_noise_is_not() {
        let mut state = 1_u64;
        let noise: Vec<Vec<u8>> = (0..40_000)
            .map(|_| {
                (0..300)
                    .map(|_| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        (state >> 33) as u8
                    })
                    .collect()
            })
            .collect();
        let noise = pairs(40_000, |id| noise[id as usize].clone());
        let bytes = 40_000 * 328;
        // More than is sampled, and hardly compressible.
        assert!((bytes..bytes * 5 / 4).contains(&of(&noise)), "{}", of(&noise));
        let dull = of(&pairs(40_000, |_| vec![b'x'; 300]));
        assert!(dull < bytes / 10, "{dull}");
    }

    #[test]
    fn nothing_sampled_counts_as_not_compressed() {
        assert!(estimate(Amount { keys: 10, bytes: 1 << 20 }, std::iter::empty()) > 1 << 20);
    }

    #[test]
    fn a_backup_that_would_take_the_last_of_a_disk_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("b");
        assert!(Room::of(&file).check(&file, 1, 2).is_ok());
        let text = Room { reserve: u64::MAX }.check(&file, 1, 2).unwrap_err().to_string();
        assert!(text.contains("with 1 of 2 keys written only ") && text.contains("Make room"), "{text}");
        // Where nothing can be asked, the file system's own word counts.
        assert!(Room::of(Path::new("/nowhere/b")).check(Path::new("/nowhere/b"), 1, 2).is_ok());
    }

    #[test]
    fn a_folder_tells_its_room_and_one_that_is_not_there_does_not() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free(&folder.path().join("b")).is_some_and(|free| free > 0));
        assert_eq!(free(Path::new("/nowhere/at/all/b")), None);
    }
}
