//! `upgrade`: what a maintenance window does between stopping and starting Milvus, under one lock: wait, back up, run, verify.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::run::{self, Job};
use super::{Context, course_of, verify};
use crate::cli::{RunOptions, VerifyOptions};
use crate::exit::Exit;
use crate::history::Operation;
use crate::outcome::failed::Failure;
use crate::outcome::migration::finding as finding_in_words;
use crate::outcome::ticket;
use crate::outcome::upgraded::UpgradeOutcome;
use crate::outcome::verified::{VerifyOutcome, text};
use crate::outcome::words::thousands;
use crate::outcome::{Ended, Next, Step};
use crate::state::State;

/// How long to wait for the last component where nobody says: a grace period of some minutes, and the lease of its session.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(600);

pub(super) async fn execute(context: &Context, options: &RunOptions) -> Result<Exit, Failure> {
    let target = run::versions(context, Operation::Run)?;
    let begun = Instant::now();
    let mut outcome = UpgradeOutcome { run: run::nothing_done(context, "upgrade", &target), verification: None };
    if run::is_needless(context, Operation::Run, &target)? {
        let etcd = context.connect().await?;
        let (_, situation) = run::look(context, &etcd, &mut outcome.run).await?;
        let course = course_of(context, &situation, Operation::Run, &target, options);
        run::nothing_to_do(context, course, &situation, &mut outcome.run)?;
    } else {
        // Without a file to write, nobody has to be waited for.
        context.backup_file()?;
        run::say_what_is_done(context, "upgrade", &target);
        let etcd = context.connect().await?;
        let guard = context.lock(&etcd).await?;
        let job = Job { context, options, etcd: &etcd, guard: &guard, operation: Operation::Run, target: &target };
        let result = guarded(&job, &mut outcome).await;
        guard.release().await;
        result?;
    }
    outcome.run.seconds = begun.elapsed().as_secs_f64();
    if outcome.verification.is_some() {
        let next =
            format!("start Milvus {target}; before that, see docs/operating.md for how long the way back is open");
        outcome.run.header.next = Next::new(Step::StartNew, next);
    }
    context.say(format!("next: {}", outcome.run.header.next.text));
    context.report(|surroundings| ticket::of_run(&outcome.run, None, surroundings));
    context.console.object(&outcome);
    Ok(Exit::Done)
}

async fn guarded(job: &Job<'_>, outcome: &mut UpgradeOutcome) -> Result<(), Failure> {
    job.guarded(&mut outcome.run).await?;
    if outcome.run.header.state != State::Migrated {
        return Ok(());
    }
    let has_written = outcome.run.header.ended == Ended::Done;
    // It is migrated, by this process or an earlier one: whoever takes exit code 1 for "as it was before" would start 2.1.
    let found = verified(job, has_written).await.map_err(Failure::interrupted)?;
    outcome.verification = Some(found);
    Ok(())
}

/// Verifies what is there. What an earlier process migrated is judged by itself: the new Milvus may have changed it since.
async fn verified(job: &Job<'_>, has_written: bool) -> Result<VerifyOutcome> {
    let Job { context, etcd, options, .. } = *job;
    let backup = match has_written {
        true => Some(verify::read_backup(context, &context.backup_file()?)?),
        false => None,
    };
    let as_given = VerifyOptions { conversion: options.conversion.clone(), ..VerifyOptions::default() };
    let found = verify::examine(context, etcd, &as_given, backup, Vec::new()).await?;
    if !found.consistent {
        bail!("the metadata is migrated, but does not pass verification\n{}", text(&found, context.details));
    }
    let compared = found.comparison.as_ref().map_or_else(String::new, |comparison| {
        format!("; {} keys are just what the migration of {} gives", thousands(comparison.equal), comparison.path)
    });
    context.say(format!("verified at revision {}: {}{compared}", found.revision, found.verdict));
    for finding in &found.findings {
        context.console.warn(&format!("{}: {}", finding.invariant, finding_in_words(finding)));
    }
    Ok(found)
}
