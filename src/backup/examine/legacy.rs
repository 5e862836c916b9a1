//! Files of the original tool: records to the end of the file, without any checksum.

use std::fs::File;
use std::io::{BufRead, BufReader};

use super::tally::{End, Tally};
use super::{BackupEntry, Examination, FileFormat, FileSource};
use crate::amounts::many;
use crate::backup::BackupError;
use crate::backup::hashing::HashingReader;
use crate::backup::stream::{self, StreamError};

pub(super) fn read<E: From<BackupError>>(
    source: &FileSource,
    mut reader: BufReader<File>,
    each: &mut dyn FnMut(&BackupEntry) -> Result<(), E>,
) -> Result<Examination, E> {
    let start = reader.fill_buf().map_err(BackupError::io("read", source.path))?;
    let length = start.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    if length.is_none_or(|length| length == 0 || length > stream::MAX_HEADER_BYTES) {
        let why = "it begins neither like a file of this tool nor like one of the original tool";
        return Err(source.no_backup(why).into());
    }
    let mut stream = HashingReader::new(reader);
    let mut tally = Tally::new(source, false, each);
    match tally.read_header(&mut stream) {
        Ok(()) => tally.read_entries(&mut stream, End::EndOfData)?,
        Err(StreamError::Bad(why)) => return Err(source.no_backup(why).into()),
        // Birdwatcher's files begin alike, but go on with other records, and with keys that their header does not call absolute.
        Err(StreamError::Version(version)) => {
            let why = format!(
                "its header has format version {version}, that of the original tool would be 0; if Birdwatcher made it, restore it \
                 with Birdwatcher"
            );
            return Err(source.no_backup(why).into());
        }
        Err(error) => tally.stop(0, error)?,
    }
    let checks = vec![
        tally.check_records("all records can be read"),
        tally.check_number("as many keys as the header says")?,
        tally.check_places("no key twice"),
        tally.check_root("all keys under the meta root"),
    ];
    let mut examination = source.conclude(FileFormat::Legacy, stream.bytes, tally, checks);
    if examination.left_out > 0 {
        let note = format!(
            "{} to a neighbour whose root begins alike: a restore leaves them out",
            many(examination.left_out, "key belongs", "keys belong")
        );
        examination.notes.push(note);
    }
    examination
        .notes
        .push("this format has no checksum: a byte that has changed within a key or a value is not noticed".into());
    Ok(examination)
}
