//! Files of Birdwatcher, `bw_etcd_ALL.<time>.bak.gz`, as its `backup` command writes them: gzip over records like those of the
//! original tool. After milvus-io/birdwatcher, states/etcd_backup.go and models/backup_header.go.
//!
//! Version 1 is a header with the root and the number of keys, then the keys. Version 2 is a header with nothing but the
//! version, then parts: a part header (its type; for the keys also a JSON object with the root and their number), records, and
//! an empty record. Only the part with the keys is read; the others hold metrics and configurations of the components.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use prost::Message;
use serde_json::Value;

use super::tally::{End, Tally, describe};
use super::{BackupEntry, Check, Examination, FileFormat, FileSource, HeaderFacts, Mode, Verdict};
use crate::amounts::many;
use crate::backup::BackupError;
use crate::backup::hashing::HashingReader;
use crate::backup::stream::{self, StreamError};
use crate::layout::join_root;
use crate::layout::messages::backup::BackupHeader;

/// Number of the part with the keys.
const KEYS: i32 = 1;

/// What stands before each part of version 2.
#[derive(Clone, PartialEq, Message)]
struct PartHeader {
    #[prost(int32, tag = "1")]
    part_type: i32,
    #[prost(bytes = "vec", tag = "3")]
    extra: Vec<u8>,
}

pub(super) fn read<E: From<BackupError>>(
    source: &FileSource,
    reader: BufReader<File>,
    each: &mut dyn FnMut(&BackupEntry) -> Result<(), E>,
) -> Result<Examination, E> {
    if source.mode == Mode::Refuse {
        // It holds sessions, and may hold but a part of the metadata.
        let why = "it is a gzip file; unpack it first, or, if Birdwatcher made it, restore it with Birdwatcher";
        return Err(source.no_backup(why).into());
    }
    let decoder = GzDecoder::new(HashingReader::new(reader));
    let mut stream = HashingReader::new(BufReader::new(source.sips(decoder)));
    let header = read_version(source, &mut stream)?;
    let mut tally = Tally::new(source, false, each);
    let format = match header.version {
        1 => {
            tally.header = Some(facts(&header.instance, &header.meta_path, header.entries));
            tally.read_entries(&mut stream, End::EndOfData)?;
            FileFormat::BirdwatcherV1
        }
        2 => {
            read_keys_part(source, &mut stream, &mut tally)?;
            FileFormat::BirdwatcherV2
        }
        version => {
            let why =
                format!("it is one of Birdwatcher, in version {version} of its format, which this tool cannot read");
            return Err(source.no_backup(why).into());
        }
    };
    let rest =
        if format == FileFormat::BirdwatcherV2 && tally.stopped.is_none() { skip(source, &mut stream)? } else { None };
    tally.stopped_at(stream.inner.get_ref().decoder.get_ref().bytes);
    let notes = notes(&tally, format);
    let checks = checks(&tally, rest)?;
    let mut examination = source.conclude(format, stream.bytes, tally, checks);
    examination.notes = notes;
    examination.data_checksum_matches =
        examination.checks.first().is_some_and(|packed| packed.verdict == Verdict::Sound);
    Ok(examination)
}

/// `rest` is what keeps the file from being unpacked after the keys.
fn checks<E: From<BackupError>>(tally: &Tally<E>, rest: Option<String>) -> Result<Vec<Check>, E> {
    const PACKED: &str = "the compressed data can be unpacked to its end and matches its checksum";
    let packed = match (rest, &tally.stopped) {
        (Some(problem), _) => Check::failed(PACKED, format!("{problem}, after the keys")),
        (None, Some(why)) => Check::not_checked(PACKED, format!("reading stops before its end: {why}")),
        (None, None) => Check::sound(PACKED),
    };
    Ok(vec![
        packed,
        tally.check_records("all records can be read"),
        tally.check_number("as many keys as the header says")?,
        tally.check_places("no key twice"),
    ])
}

/// The header record. Any gzip file may come here, so what does not fit is no backup rather than a damaged one.
fn read_version(source: &FileSource, stream: &mut HashingReader<impl BufRead>) -> Result<BackupHeader, BackupError> {
    let no_backup = |why: &str| source.no_backup(format!("it is a gzip file, but not of Birdwatcher: {why}"));
    let record = match stream::read_record(stream, stream::MAX_HEADER_BYTES) {
        Ok(record) => record.unwrap_or_default(),
        Err(error) => return Err(no_backup(&describe(error, source)?)),
    };
    match BackupHeader::decode(&*record) {
        Ok(header) if header.version > 0 => Ok(header),
        _ => Err(no_backup("it does not begin with the header of a backup")),
    }
}

fn facts(instance: &str, meta_path: &str, entries: i64) -> HeaderFacts {
    // Birdwatcher takes keys from etcd as they are.
    HeaderFacts { meta_root: join_root(instance, meta_path), entries, absolute_keys: true, while_running: false }
}

/// The part with the keys comes first.
fn read_keys_part<E: From<BackupError>>(
    source: &FileSource,
    stream: &mut HashingReader<impl BufRead>,
    tally: &mut Tally<E>,
) -> Result<(), E> {
    let offset = stream.bytes;
    let record = match stream::read_record(stream, stream::MAX_HEADER_BYTES) {
        Ok(Some(record)) => record,
        Ok(None) => return tally.stop(offset, StreamError::Cut("it ends before its first part".into())),
        Err(error) => return tally.stop(offset, error),
    };
    let Ok(part) = PartHeader::decode(&*record) else {
        return tally.stop(offset, StreamError::Bad("the header of its first part does not decode".into()));
    };
    if part.part_type != KEYS {
        return Err(source.no_backup("it is one of Birdwatcher, but does not begin with the keys of etcd").into());
    }
    let extra: Value = serde_json::from_slice(&part.extra).unwrap_or_default();
    let text = |name: &str| extra.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("cnt").parse() {
        Ok(entries) => tally.header = Some(facts(text("instance"), text("metaPath"), entries)),
        Err(_) => {
            return tally
                .stop(offset, StreamError::Bad("the header of the keys does not say how many there are".into()));
        }
    }
    tally.read_entries(stream, End::EmptyRecord)
}

/// Unpacks what follows the keys without looking at it. Birdwatcher does not flush its last parts (it writes them through a
/// buffer and closes the file), so a record that is cut off there is usual and no damage.
fn skip(source: &FileSource, stream: &mut HashingReader<impl BufRead>) -> Result<Option<String>, BackupError> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) => return describe(StreamError::Io(error), source).map(Some),
        }
    }
}

fn notes<E>(tally: &Tally<E>, format: FileFormat) -> Vec<String> {
    let mut notes = vec![
        "a backup of Birdwatcher can be looked into, but not restored by this tool; it holds sessions too, if any were alive"
            .to_owned(),
    ];
    if format == FileFormat::BirdwatcherV2 {
        notes.push("what follows the keys (metrics and configurations of the components) is not shown".into());
    }
    let foreign = tally.elsewhere + tally.left_out;
    if foreign > 0 {
        notes.push(format!("{} not under the meta root, and shown whole", many(foreign, "key is", "keys are")));
    }
    notes
}
