//! `--report`: a Markdown file for a change ticket. A path that cannot be written is refused before anything is done; what goes wrong
//! with the file afterwards is said, and changes neither the work nor the exit code.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tempfile::NamedTempFile;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Context;
use crate::backup::folder_of;
use crate::outcome::ticket::{Surroundings, TITLE};
use crate::terminal::plain;

/// A report that is being written: aside, so that nobody ever sees half of one.
pub(super) struct ReportFile {
    path: PathBuf,
    aside: NamedTempFile,
}

impl ReportFile {
    /// Begins a report at `path`.
    ///
    /// # Errors
    /// Nothing can be written there, or something is there that is no report of ours.
    pub(super) fn begin(context: &Context, path: &Path) -> Result<Self> {
        if context.config.backup_file.as_ref().is_some_and(|backup| is_same(backup, path)) {
            bail!("--report {} is the path of the backup: give another one. Nothing was done", path.display());
        }
        spare(path)?;
        // Only names are in it, so whoever may read other files may read this one.
        let mode = fs::Permissions::from_mode(0o666);
        let aside = tempfile::Builder::new().prefix(".report-").permissions(mode).tempfile_in(folder_of(path));
        let aside = aside.with_context(|| {
            format!(
                "cannot write the report {}: is its folder there, and may this user write to it? Nothing was done",
                path.display()
            )
        })?;
        Ok(Self { path: path.to_owned(), aside })
    }

    /// Puts the report in its place, or says why not.
    pub(super) fn finish(self, context: &Context, text: &str) {
        let path = self.path.display().to_string();
        match self.write(text) {
            Ok(()) => context.say(format!("report: {path}")),
            Err(error) => context.console.warn(&format!(
                "the report {path} was not written: {error:#}. That changes nothing about what was done"
            )),
        }
    }

    fn write(mut self, text: &str) -> Result<()> {
        self.aside.write_all(plain(text).as_bytes()).context("cannot write it")?;
        self.aside.as_file().sync_all().context("cannot sync it")?;
        // What may have come there meanwhile.
        spare(&self.path)?;
        self.aside.persist(&self.path).context("cannot put it in its place")?;
        Ok(())
    }
}

impl Context {
    /// Has this text in the report, if there is to be one.
    pub(super) fn report(&self, text: impl FnOnce(&Surroundings) -> String) {
        if self.has_report {
            let text = text(&self.surroundings());
            if let Ok(mut report) = self.report.lock() {
                *report = Some(text);
            }
        }
    }

    pub(super) fn surroundings(&self) -> Surroundings {
        let now = OffsetDateTime::now_utc().truncate_to_second();
        Surroundings {
            made: now.format(&Rfc3339).unwrap_or_else(|_| now.to_string()),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            stated: self.config.stated(),
        }
    }
}

/// Makes sure that there is nothing at a path but an earlier report, which may be replaced.
fn spare(path: &Path) -> Result<()> {
    let refuse = |what: &str| {
        bail!(
            "--report {} is {what}: give the path of a new file, or of an earlier report. Nothing was done",
            path.display()
        )
    };
    match fs::metadata(path) {
        // What cannot be looked at cannot be written either, and that has its own error.
        Err(_) => Ok(()),
        Ok(there) if there.is_dir() => refuse("a folder"),
        Ok(there) if !there.is_file() => refuse("no regular file"),
        Ok(there) if there.len() > 0 && !is_report(path).unwrap_or(false) => {
            refuse("there already, and no report of this tool")
        }
        Ok(_) => Ok(()),
    }
}

fn is_report(path: &Path) -> io::Result<bool> {
    let mut start = vec![0; TITLE.len()];
    fs::File::open(path)?.read_exact(&mut start)?;
    Ok(start == TITLE.as_bytes())
}

fn is_same(one: &Path, other: &Path) -> bool {
    let whole =
        |path: &Path| fs::canonicalize(folder_of(path)).ok().zip(path.file_name().map(std::borrow::ToOwned::to_owned));
    one == other || whole(one).is_some_and(|one| whole(other) == Some(one))
}
