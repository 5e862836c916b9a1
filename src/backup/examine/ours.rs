//! Our own files: a zstd frame and a manifest after it, which are read independently of each other.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use anyhow::Result;
use zstd::stream::read::Decoder;

use super::tally::{End, Tally};
use super::{Check, Examination, FileFormat, Record, Sips, Source};
use crate::backup::BackupError;
use crate::backup::manifest::{MAGIC, MAX_BYTES, Manifest, ManifestError, hex};
use crate::backup::read::HashingReader;

/// Magic number and length of the manifest's frame.
const FRAME_HEADER_BYTES: usize = 8;

pub(super) fn read(
    source: &Source,
    reader: BufReader<File>,
    each: &mut dyn FnMut(&Record) -> Result<()>,
) -> Result<Examination> {
    let decoder = Decoder::with_buffer(HashingReader::new(reader))?.single_frame();
    let mut stream = HashingReader::new(BufReader::new(Sips(decoder)));
    let mut tally = Tally::new(true, each);
    match tally.read_header(&mut stream) {
        Ok(()) => tally.read_entries(&mut stream, End::EndOfData)?,
        Err(error) => tally.stop(0, error)?,
    }
    let frame = stream.inner.into_inner().0.finish();
    tally.stopped_at(frame.bytes);
    let whole = tally.stopped.is_none();
    let found = find_manifest(source, whole.then_some(frame.bytes))?;
    let data = whole.then(|| Data { stream: (stream.bytes, hex(stream.hash)), frame: (frame.bytes, hex(frame.hash)) });
    let checks = checks(&tally, data.as_ref(), &found);
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

fn checks(tally: &Tally, data: Option<&Data>, found: &FoundManifest) -> Vec<Check> {
    let manifest = found.manifest.as_ref();
    let compared = |what: &str, compare: &dyn Fn(&Manifest) -> Option<Option<String>>| match manifest.map(compare) {
        None => Check::not_checked(what, "there is no manifest to compare with"),
        Some(None) => Check::not_checked(what, "the data cannot be read to its end"),
        Some(Some(problem)) => Check::of(what, problem),
    };
    let differs = |(size, hash): &(u64, String), told: (u64, &String)| {
        if *size != told.0 {
            return Some(format!("{size} bytes instead of {}", told.0));
        }
        (hash != told.1).then(|| "the checksum is another".to_owned())
    };
    let mut checks = vec![
        tally.check_records("the compressed data can be unpacked to its end, and all records in it can be read"),
        Check::of("the manifest is there and matches its checksum", found.problem.clone()),
        compared("the compressed data has the size and the checksum that the manifest says", &|manifest| {
            data.map(|data| differs(&data.frame, (manifest.frame_bytes, &manifest.frame_sha256)))
        }),
        compared("the data has the size and the checksum that the manifest says", &|manifest| {
            data.map(|data| differs(&data.stream, (manifest.stream_bytes, &manifest.stream_sha256)))
        }),
        tally.check_number("as many keys as the header says"),
        compared("as many keys of each kind as the manifest says", &|manifest| {
            let same = manifest.keys == tally.keys && manifest.counts == tally.counts;
            Some((!same).then(|| format!("{} keys instead of {}", tally.keys, manifest.keys)))
        }),
        tally.check_places("the keys are in order, each once"),
        tally.check_root("all keys under the meta root"),
        compared("header and manifest name the same meta root", &|manifest| {
            let header = tally.header.as_ref()?;
            let same = header.meta_root == manifest.meta_root;
            Some((!same).then(|| format!("{} and {}", header.meta_root, manifest.meta_root)))
        }),
    ];
    // Said only where it matters: nearly all files are of neither kind.
    if let (Some(header), Some(manifest)) = (&tally.header, manifest)
        && header.while_running != manifest.while_running
    {
        let what = "header and manifest say the same of Milvus running";
        checks.push(Check::failed(what, format!("{} and {}", header.while_running, manifest.while_running)));
    }
    checks
}

/// The manifest, or what is wrong with it. Both, if it is readable but not where it should be.
#[derive(Default)]
struct FoundManifest {
    manifest: Option<Manifest>,
    problem: Option<String>,
}

/// Looks for the manifest where the data ends, if that is known, and at the end of the file.
fn find_manifest(source: &Source, frame_end: Option<u64>) -> Result<FoundManifest> {
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
    let error = match Manifest::read(&mut &*whole) {
        Ok(manifest) => {
            let more = source.file_bytes.saturating_sub(start + end as u64);
            let problem = (more > 0).then(|| format!("{more} byte(s) follow it that are none of it"));
            return Ok(FoundManifest { manifest: Some(manifest), problem });
        }
        Err(ManifestError::Cut) if bytes.is_empty() => {
            format!("it is missing: the file ends with the data, at byte {start}")
        }
        Err(ManifestError::Cut) => format!("it begins at byte {start}, but the file ends within it"),
        Err(ManifestError::Damaged(what)) => what,
        Err(ManifestError::Newer(version)) => {
            return Err(BackupError::Newer { path: source.path.to_owned(), version }.into());
        }
        Err(ManifestError::Io(error)) => error.to_string(),
    };
    // Something may stand between the data and the manifest.
    let manifest = at_end(&tail(source)?);
    Ok(FoundManifest { manifest, problem: Some(error) })
}

/// Whether a file whose beginning is damaged is one of ours.
pub(super) fn has_manifest_at_end(source: &Source) -> Result<bool> {
    Ok(at_end(&tail(source)?).is_some())
}

/// The end of the file, as much of it as a manifest can take.
fn tail(source: &Source) -> Result<Vec<u8>> {
    let longest = u64::from(MAX_BYTES) + FRAME_HEADER_BYTES as u64;
    read_at(source, source.file_bytes.saturating_sub(longest))
}

fn read_at(source: &Source, start: u64) -> Result<Vec<u8>> {
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
