//! Files of the original tool: records to the end of the file, without any checksum.

use std::fs::File;
use std::io::{BufRead, BufReader};

use anyhow::Result;

use super::tally::{End, Tally};
use super::{Examination, FileFormat, Record, Source};
use crate::backup::read::HashingReader;
use crate::backup::stream::{self, StreamError};

pub(super) fn read(
    source: &Source,
    mut reader: BufReader<File>,
    each: &mut dyn FnMut(&Record) -> Result<()>,
) -> Result<Examination> {
    let start = reader.fill_buf()?;
    let length = start.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    if length.is_none_or(|length| length == 0 || length > stream::MAX_HEADER_BYTES) {
        return Err(source.no_backup("it begins like none that this tool knows"));
    }
    let mut stream = HashingReader::new(reader);
    let mut tally = Tally::new(false, each);
    match tally.read_header(&mut stream) {
        Ok(()) => tally.read_entries(&mut stream, End::EndOfData)?,
        Err(StreamError::Bad(why)) => return Err(source.no_backup(why)),
        Err(error) => tally.stop(0, error)?,
    }
    let checks = vec![
        tally.check_records("all records can be read"),
        tally.check_number("as many keys as the header says"),
        tally.check_places("no key twice"),
        tally.check_root("all keys under the meta root"),
    ];
    let mut examination = source.conclude(FileFormat::Legacy, stream.bytes, tally, checks);
    examination
        .notes
        .push("this format has no checksum: a byte that has changed within a key or a value is not noticed".into());
    Ok(examination)
}
