//! `inspect`: what a backup file holds, and whether it is sound.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::backup::examine::{Record, examine};
use crate::backup::export::{Export, write_line};
use crate::cli::InspectOptions;
use crate::decode;
use crate::exit::Exit;
use crate::layout::keys::printable;
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
    Ok(if outcome.file.sound { Exit::Done } else { Exit::NothingWritten })
}

fn inspect(options: &InspectOptions, file: &Path) -> Result<InspectOutcome> {
    if let Some(prefix) = &options.list {
        list(file, prefix)
    } else if let Some(key) = &options.key {
        show(file, key)
    } else if let Some(folder) = &options.export {
        if folder.as_os_str() == "-" { export_to_stdout(file) } else { export(file, folder) }
    } else {
        Ok(InspectOutcome::new(examine(file, &mut |_| Ok(()))?, View::Summary))
    }
}

/// Keys can be given with or without the meta root, and as they are printed.
fn names(record: &Record) -> [String; 2] {
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
