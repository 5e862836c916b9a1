//! Our own files: a zstd frame and a manifest after it, which are read independently of each other.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use zstd::stream::read::Decoder;

use super::tally::{End, Tally};
use super::{BackupEntry, Check, Examination, FileFormat, FileSource, Mode};
use crate::amounts::many;
use crate::backup::BackupError;
use crate::backup::hashing::HashingReader;
use crate::backup::manifest::{MAGIC, MAX_BYTES, Manifest, ManifestError, hex};

/// Magic number and length of the manifest's frame.
const FRAME_HEADER_BYTES: usize = 8;

pub(super) fn read<E: From<BackupError>>(
    source: &FileSource,
    reader: BufReader<File>,
    each: &mut dyn FnMut(&BackupEntry) -> Result<(), E>,
) -> Result<Examination, E> {
    let decoder = Decoder::with_buffer(HashingReader::new(reader)).map_err(BackupError::io("unpack", source.path))?;
    let mut stream = HashingReader::new(BufReader::new(source.sips(decoder.single_frame())));
    let mut tally = Tally::new(source, true, each);
    match tally.read_header(&mut stream) {
        Ok(()) => tally.read_entries(&mut stream, End::EndOfData)?,
        Err(error) => tally.stop(0, error)?,
    }
    let frame = stream.inner.into_inner().decoder.finish();
    tally.stopped_at(frame.bytes);
    let whole = tally.stopped.is_none();
    let found = find_manifest(source, whole.then_some(frame.bytes), tally.keys)?;
    let data = whole.then(|| Data { stream: (stream.bytes, hex(stream.hash)), frame: (frame.bytes, hex(frame.hash)) });
    let checks = checks(source, &tally, data.as_ref(), &found)?;
    let mut examination = source.conclude(FileFormat::MetaMigration, stream.bytes, tally, checks);
    if let Some(manifest) = &found.manifest {
        // One mark is enough.
        examination.while_running |= manifest.while_running;
        examination.lost_keys = Some(manifest.keys.saturating_sub(examination.keys));
        for (prefix, announced) in &manifest.counts {
            let there = examination.counts.get(prefix).copied().unwrap_or_default();
            if there < *announced {
                examination.lost.insert(prefix.clone(), announced - there);
            }
        }
    }
    if !whole && examination.keys > 0 {
        examination.notes.push(
            "only the end of the compressed data has its checksum: what was read before the damage may have changed too".into(),
        );
    }
    examination.data_checksum_matches = whole;
    examination.manifest = found.manifest;
    Ok(examination)
}

/// Sizes and checksums of the data, if all of it could be unpacked.
struct Data {
    stream: (u64, String),
    frame: (u64, String),
}

/// What a manifest says of the data, held against them.
struct Claim {
    /// What should hold.
    what: &'static str,
    /// The same as something that is not as the manifest says.
    subject: &'static str,
    /// What is wrong; `None` where it cannot be compared.
    problem: Option<Option<String>>,
}

/// # Errors
/// Something does not hold, and nothing may be wrong.
fn checks<E: From<BackupError>>(
    source: &FileSource,
    tally: &Tally<E>,
    data: Option<&Data>,
    found: &FoundManifest,
) -> Result<Vec<Check>, E> {
    let mut checks = vec![
        tally.check_records("the compressed data can be unpacked to its end, and all records in it can be read"),
        Check::of("the manifest is there and matches its checksum", found.problem.clone()),
        tally.check_places("the keys are in order, each once"),
        tally.check_root("all keys under the meta root"),
    ];
    let number = match &found.manifest {
        Some(manifest) => tally.counted(i64::try_from(manifest.keys).unwrap_or(i64::MAX))?,
        None => None,
    };
    checks.push(tally.check_number("as many keys as the header says")?);
    let Some(manifest) = &found.manifest else {
        let what = "the data are those that the manifest was written for";
        checks.push(Check::not_checked(what, "there is no manifest to compare with"));
        return Ok(checks);
    };
    for Claim { what, subject, problem } in claims(tally, data, manifest, number) {
        match problem {
            None => checks.push(Check::not_checked(what, "the data cannot be read to its end")),
            Some(Some(_)) if source.mode == Mode::Refuse => {
                return Err(source.damaged(format!("{subject} is not what its manifest says")).into());
            }
            Some(problem) => checks.push(Check::of(what, problem)),
        }
    }
    Ok(checks)
}

fn claims<E: From<BackupError>>(
    tally: &Tally<E>,
    data: Option<&Data>,
    manifest: &Manifest,
    number: Option<String>,
) -> [Claim; 7] {
    let size = |there: u64, said: u64| (there != said).then(|| format!("{there} bytes instead of {said}"));
    let sum = |there: &str, said: &str| (there != said).then(|| "the checksum is another".to_owned());
    let root = tally.header.as_ref().map(|header| {
        let same = header.meta_root == manifest.meta_root;
        (!same).then(|| format!("{} and {}", header.meta_root, manifest.meta_root))
    });
    let kinds = || (tally.counts != manifest.counts).then(|| "the numbers are others".to_owned());
    [
        Claim {
            what: "the compressed data has the size that the manifest says",
            subject: "the size of its compressed data",
            problem: data.map(|data| size(data.frame.0, manifest.frame_bytes)),
        },
        Claim {
            what: "the compressed data has the checksum that the manifest says",
            subject: "the checksum of its compressed data",
            problem: data.map(|data| sum(&data.frame.1, &manifest.frame_sha256)),
        },
        Claim {
            what: "the data has the size that the manifest says",
            subject: "the size of its data",
            problem: data.map(|data| size(data.stream.0, manifest.stream_bytes)),
        },
        Claim {
            what: "the data has the checksum that the manifest says",
            subject: "the checksum of its data",
            problem: data.map(|data| sum(&data.stream.1, &manifest.stream_sha256)),
        },
        Claim { what: "header and manifest name the same meta root", subject: "its meta root", problem: root },
        Claim {
            what: "header and manifest say the same of Milvus running",
            subject: "the mark of a backup made while Milvus was running",
            problem: tally.header.as_ref().map(|header| {
                let same = header.while_running == manifest.while_running;
                (!same).then(|| format!("{} and {}", header.while_running, manifest.while_running))
            }),
        },
        Claim {
            what: "as many keys of each kind as the manifest says",
            subject: "the number of keys by kind",
            problem: data.map(|_| number.or_else(kinds)),
        },
    ]
}

/// The manifest, or what is wrong with it. Both, if it is readable but not where it should be.
#[derive(Default)]
struct FoundManifest {
    manifest: Option<Manifest>,
    problem: Option<String>,
}

/// Looks for the manifest where the data ends, if that is known, and at the end of the file.
///
/// # Errors
/// The file system refuses, a later version of this tool wrote it; or something is wrong, and nothing may be.
fn find_manifest(source: &FileSource, frame_end: Option<u64>, keys: u64) -> Result<FoundManifest, BackupError> {
    let Some(start) = frame_end else {
        let tail = tail(source)?;
        return Ok(match at_end(&tail) {
            Some(manifest) => FoundManifest { manifest: Some(manifest), problem: None },
            None => FoundManifest { manifest: None, problem: Some(missing(&tail).into()) },
        });
    };
    let bytes = read_at(source, start)?;
    let end = frame_length(&bytes).unwrap_or(bytes.len());
    let whole = bytes.get(..end).unwrap_or(&bytes);
    let path = || source.path.to_owned();
    let refuse = source.mode == Mode::Refuse;
    let error = match Manifest::read(&mut &*whole) {
        Ok(manifest) => {
            let more = source.file_bytes.saturating_sub(start + end as u64);
            let problem =
                (more > 0).then(|| format!("{} it, and no part of it", many(more, "byte follows", "bytes follow")));
            if refuse && problem.is_some() {
                return Err(source.damaged("something follows its manifest"));
            }
            return Ok(FoundManifest { manifest: Some(manifest), problem });
        }
        Err(ManifestError::Cut) if refuse => {
            let what = format!("its manifest is missing or incomplete (after {keys} keys)");
            return Err(BackupError::Cut { path: path(), what });
        }
        Err(ManifestError::Cut) if bytes.is_empty() => {
            format!("it is missing: the file ends with the data, at byte {start}")
        }
        Err(ManifestError::Cut) => format!("it begins at byte {start}, but the file ends within it"),
        Err(ManifestError::Damaged(what)) if refuse => return Err(source.damaged(what)),
        Err(ManifestError::Damaged(what)) => what,
        Err(ManifestError::Newer(version)) => return Err(BackupError::Newer { path: path(), version }),
        Err(ManifestError::Io(error)) => return Err(BackupError::io("read", source.path)(error)),
    };
    // Something may stand between the data and the manifest.
    let manifest = at_end(&tail(source)?);
    Ok(FoundManifest { manifest, problem: Some(error) })
}

/// Whether a file whose beginning is damaged is one of ours.
pub(super) fn has_manifest_at_end(source: &FileSource) -> Result<bool, BackupError> {
    Ok(at_end(&tail(source)?).is_some())
}

/// The end of the file, as much of it as a manifest can take.
fn tail(source: &FileSource) -> Result<Vec<u8>, BackupError> {
    let longest = u64::from(MAX_BYTES) + FRAME_HEADER_BYTES as u64;
    read_at(source, source.file_bytes.saturating_sub(longest))
}

fn read_at(source: &FileSource, start: u64) -> Result<Vec<u8>, BackupError> {
    let mut file = File::open(source.path).map_err(BackupError::io("open the backup file", source.path))?;
    file.seek(SeekFrom::Start(start)).map_err(BackupError::io("read", source.path))?;
    let mut bytes = Vec::new();
    let longest = u64::from(MAX_BYTES) + FRAME_HEADER_BYTES as u64;
    file.take(longest).read_to_end(&mut bytes).map_err(BackupError::io("read", source.path))?;
    Ok(bytes)
}

/// How long the manifest's frame at the beginning of `bytes` says to be.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.strip_prefix(&MAGIC.to_le_bytes())?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*length)).ok()?.checked_add(FRAME_HEADER_BYTES)
}

/// The manifest that ends where the bytes end.
fn at_end(tail: &[u8]) -> Option<Manifest> {
    // Bytes that look like the beginning of a manifest by chance are rare; a file made of them must not keep us busy for hours.
    const MAX_ATTEMPTS: usize = 16;
    let starts = (0..tail.len()).rev().filter(|start| frame_length(&tail[*start..]) == Some(tail.len() - start));
    starts.take(MAX_ATTEMPTS).find_map(|start| Manifest::read(&mut &tail[start..]).ok())
}

fn missing(tail: &[u8]) -> &'static str {
    let begins = (0..tail.len()).any(|start| tail[start..].starts_with(&MAGIC.to_le_bytes()));
    if begins { "it is damaged or incomplete" } else { "it is missing: the file ends before it" }
}
