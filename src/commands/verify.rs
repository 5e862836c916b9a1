//! `verify`: is the metadata a complete, consistent 2.2 layout, and just what the migration of a backup gives? Changes nothing.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;

use super::{Context, describe};
use crate::backup::Backup;
use crate::cli::{ConversionOptions, VerifyOptions};
use crate::etcd::Etcd;
use crate::exit::{Exit, Failure};
use crate::guard::sessions;
use crate::layout::keys::MIGRATION_SESSION;
use crate::migrate::Record;
use crate::report::text;
use crate::report::verification::{MAX_LISTED, verification as text_of};
use crate::verify::comparison::{Comparison, Differences};
use crate::verify::outcome::{ComparisonOutcome, Reading};
use crate::verify::{Verification, Verifier, VerifyOutcome};

pub(super) async fn execute(context: &Context, options: &VerifyOptions) -> Result<Exit, Failure> {
    if options.backup.is_none()
        && (options.skip_invalid.is_some() || options.conversion != ConversionOptions::default())
    {
        let error = anyhow!(
            "--skip-invalid, --rebuild-index, --keep-index-files, --rename-collection and --rename-alias mean something with --backup <FILE> only"
        );
        return Err(error.into());
    }
    let comparison = options.backup.as_deref().map(|file| work_out(context, options, file)).transpose()?;
    let etcd = context.connect().await?;
    let live_sessions = live_sessions(context, &etcd).await?;
    let (verification, differences, revision) = read(context, &etcd, comparison.as_ref()).await?;
    if verification.keys == 0 {
        context.console.warn(&context.nothing_here(&etcd).await);
    }
    let reading = Reading { meta_root: context.config.meta_root.to_string(), revision, live_sessions };
    let compared = differences.zip(options.backup.as_ref()).map(|(differences, file)| ComparisonOutcome {
        backup: file.display().to_string(),
        skip_invalid: options.skip_invalid.unwrap_or(context.config.skip_invalid),
        differences,
    });
    let outcome = VerifyOutcome::new(reading, verification, compared);
    let limit = if context.verbose { usize::MAX } else { MAX_LISTED };
    context.console.result(&outcome, || text_of(&outcome, limit)).context("cannot write the outcome to stdout")?;
    Ok(if outcome.consistent { Exit::Done } else { Exit::NothingWritten })
}

/// Works the migration out again from the backup.
fn work_out(context: &Context, options: &VerifyOptions, file: &Path) -> Result<Comparison> {
    let mut entries = Vec::new();
    let backup = Backup::read(file, |key, value| entries.push((Bytes::from(key), Bytes::from(value))))?;
    context.say(format!("comparing with {}: {}", file.display(), describe(&backup)));
    if backup.meta_root != context.config.meta_root.to_string() {
        context.console.warn(&format!(
            "{} is a backup of the meta root {}, but what is verified is {}",
            file.display(),
            backup.meta_root,
            context.config.meta_root
        ));
    }
    Comparison::new(entries, &(&options.conversion).into()).map_err(|refusals| anyhow!("{}", text::refusals(&refusals)))
}

async fn live_sessions(context: &Context, etcd: &Etcd) -> Result<Vec<String>> {
    let sessions = sessions(etcd, &context.root).await?;
    if sessions.iter().any(|session| session.key.ends_with(MIGRATION_SESSION)) {
        context.console.warn("a migration is under way: what it has not written yet is told as missing");
    }
    Ok(sessions.into_iter().map(|session| session.key[context.root.len()..].to_owned()).collect())
}

/// Reads everything at one revision.
async fn read(
    context: &Context,
    etcd: &Etcd,
    comparison: Option<&Comparison>,
) -> Result<(Verification, Option<Differences>, i64)> {
    let read = context.starting_over(async || try_read(context, etcd, comparison.cloned()).await);
    context.unless_stopped(read).await.with_context(|| format!("cannot read {}", context.config.meta_root))
}

async fn try_read(
    context: &Context,
    etcd: &Etcd,
    mut comparison: Option<Comparison>,
) -> Result<(Verification, Option<Differences>, i64)> {
    let mut verifier = Verifier::default();
    let mut snapshot = etcd.snapshot(context.root.as_str()).await?;
    let bar = context.progress.reading("verifying", snapshot.total());
    while let Some(page) = snapshot.next_page().await? {
        context.stop.check()?;
        bar.read(page.len() as u64);
        for entry in page {
            let key = &entry.key[context.root.len()..];
            if let Some(comparison) = comparison.as_mut().filter(|_| entry.lease == 0) {
                comparison.add(key, &entry.value);
            }
            verifier.add(key, &Record { value: entry.value.clone(), mod_revision: entry.mod_revision });
        }
    }
    bar.finish();
    Ok((verifier.finish(), comparison.map(Comparison::finish), snapshot.revision()))
}
