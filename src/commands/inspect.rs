//! `inspect`: what a backup file holds, and whether it is sound.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;

use crate::backup::examine::{BackupEntry, Examination, examine};
use crate::backup::export::{Export, write_line};
use crate::catalog::inventory::Inventory;
use crate::cli::InspectOptions;
use crate::decode;
use crate::diff::Differ;
use crate::exit::Exit;
use crate::layout::keys::{is_metadata, printable};
use crate::outcome::Ended;
use crate::outcome::against::{Against, KeyDifferences};
use crate::outcome::failed::Failure;
use crate::outcome::inspected::{InspectOutcome, ListedKey, ShownKey, View, not_found, text, warning};
use crate::terminal::console::Console;
use crate::terminal::output::product;

pub(super) fn execute(console: &Console, options: &InspectOptions, file: Option<&Path>) -> Result<Exit, Failure> {
    let file = file.context("no backup file to look into: name it behind `inspect`, or with --backup-file")?;
    let outcome = inspect(options, file)?;
    if let Some(warning) = warning(&outcome) {
        console.warn(&warning);
    }
    if let View::Key { key, shown: None } = &outcome.view {
        return Err(Failure::nothing_written(anyhow::anyhow!(not_found(key, &outcome.file))));
    }
    // What goes to standard output is the export alone.
    if !matches!(outcome.view, View::Export { file: None, .. }) {
        console.result(&outcome, || text(&outcome));
    }
    Ok(if outcome.header.ended == Ended::Done { Exit::Done } else { Exit::NothingWritten })
}

fn inspect(options: &InspectOptions, file: &Path) -> Result<InspectOutcome> {
    if let Some(prefix) = &options.list {
        list(file, prefix)
    } else if let Some(key) = &options.key {
        show(file, key)
    } else if let Some(earlier) = &options.against {
        against(file, earlier)
    } else if let Some(folder) = &options.export {
        if folder.as_os_str() == "-" { export_to_stdout(file) } else { export(file, folder) }
    } else {
        Ok(InspectOutcome::new(examine(file, &mut |_| Ok(()))?, View::Summary))
    }
}

/// Keys can be given with or without the meta root, and as they are printed.
fn names(record: &BackupEntry) -> [String; 2] {
    [printable(record.relative), printable(record.absolute)]
}

fn list(path: &Path, prefix: &str) -> Result<InspectOutcome> {
    let mut keys = Vec::new();
    let file = examine(path, &mut |record| {
        let [relative, absolute] = names(record);
        if relative.starts_with(prefix) || absolute.starts_with(prefix) {
            keys.push(ListedKey { key: relative, value_bytes: record.value.len() as u64 });
        }
        Ok(())
    })?;
    Ok(InspectOutcome::new(file, View::List { prefix: prefix.to_owned(), keys }))
}

fn show(path: &Path, key: &str) -> Result<InspectOutcome> {
    let mut shown = None;
    let file = examine(path, &mut |record| {
        let [relative, absolute] = names(record);
        if shown.is_none() && (relative == key || absolute == key) {
            let decoded = decode::value(record.relative, record.value);
            shown = Some(ShownKey {
                key: relative,
                absolute_key: absolute,
                value_bytes: record.value.len() as u64,
                kind: decoded.kind(),
                decoded: decoded.to_string(),
            });
        }
        Ok(())
    })?;
    Ok(InspectOutcome::new(file, View::Key { key: key.to_owned(), shown }))
}

/// Sound files only: what a damaged one has lost would count as gone.
fn against(file: &Path, earlier: &Path) -> Result<InspectOutcome> {
    let (file, now) = whole(file)?;
    let (earlier, before) = whole(earlier)?;
    let mut differ = Differ::new(now.iter().cloned());
    before.iter().for_each(|(key, value)| differ.add(key.clone(), value));
    let diff = differ.finish();
    let differences = Inventory::of(&now).against(&Inventory::of(&before));
    let keys = KeyDifferences::of(&diff);
    let view = View::Against(Against { earlier: Box::new(earlier), same: diff.is_empty(), differences, keys });
    Ok(InspectOutcome::new(file, view))
}

/// A file, with its metadata in ascending order of keys.
fn whole(path: &Path) -> Result<(Examination, Vec<(Bytes, Bytes)>)> {
    let mut entries = Vec::new();
    let file = examine(path, &mut |record| {
        // Birdwatcher's files may hold keys of neighbours.
        if record.relative.len() < record.absolute.len() && is_metadata(record.relative) {
            entries.push((Bytes::copy_from_slice(record.relative), Bytes::copy_from_slice(record.value)));
        }
        Ok(())
    })?;
    if !file.sound {
        bail!(
            "{} is damaged, and what it has lost would count as gone: `inspect {}` says what of it can be read. Compare sound files",
            path.display(),
            path.display()
        );
    }
    entries.sort();
    Ok((file, entries))
}

fn export(path: &Path, folder: &Path) -> Result<InspectOutcome> {
    let mut export = Export::create(folder, path)?;
    let examination = examine(path, &mut |record| export.add(record))?;
    let file = Some(export.finish()?);
    let keys = examination.keys;
    Ok(InspectOutcome::new(examination, View::Export { file, keys }))
}

fn export_to_stdout(path: &Path) -> Result<InspectOutcome> {
    let mut out = BufWriter::new(product());
    let file = examine(path, &mut |record| write_line(&mut out, record).context("cannot write to standard output"))?;
    out.flush().context("cannot write to standard output")?;
    let keys = file.keys;
    Ok(InspectOutcome::new(file, View::Export { file: None, keys }))
}
