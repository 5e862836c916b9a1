//! `upgrade`: what a maintenance window does between stopping and starting Milvus, under one lock: wait, back up, run, verify.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Context, next_of, refusal, run, verify};
use crate::amounts::thousands;
use crate::cli::{RunOptions, VerifyOptions};
use crate::etcd::Etcd;
use crate::exit::Exit;
use crate::history::Operation;
use crate::outcome::Ended;
use crate::outcome::failed::Failure;
use crate::outcome::migration::finding as finding_in_words;
use crate::outcome::ran::RunOutcome;
use crate::outcome::ticket;
use crate::outcome::upgraded::UpgradeOutcome;
use crate::outcome::verified::{VerifyOutcome, text_without_next};
use crate::state::State;

/// How long to wait for the last component where nobody says: a grace period of some minutes, and the lease of its session.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(600);

pub(super) async fn execute(context: &Context, options: &RunOptions) -> Result<Exit, Failure> {
    let target = run::versions(context, Operation::Run)?;
    let begun = Instant::now();
    let mut outcome = UpgradeOutcome { run: run::nothing_done(context, "upgrade", &target), verification: None };
    let UpgradeOutcome { run, verification } = &mut outcome;
    let verify = async |etcd: &Etcd, done: &RunOutcome| {
        if done.header.state == State::Migrated {
            // It is migrated, by this process or an earlier one: whoever takes exit code 1 for "as it was before" would start 2.1.
            let found = verified(context, options, etcd, done.header.ended == Ended::Done).await;
            *verification = Some(found.map_err(Failure::interrupted)?);
        }
        Ok(())
    };
    let done = run::carry_out(context, options, (Operation::Run, "upgrade"), &target, run, verify).await;
    outcome.run.seconds = begun.elapsed().as_secs_f64();
    done.inspect_err(|failure| {
        outcome.run.header.next = next_of(failure);
        context.report(|surroundings| ticket::of_run(&outcome.run, Some(failure), surroundings));
    })?;
    if let Some(found) = &outcome.verification {
        outcome.run.header.next = found.header.next.clone();
    }
    context.say(format!("next: {}", outcome.run.header.next.text));
    context.report(|surroundings| ticket::of_run(&outcome.run, None, surroundings));
    context.console.object(&outcome);
    Ok(Exit::Done)
}

/// Verifies what is there. What an earlier process migrated is judged by itself: the new Milvus may have changed it since.
async fn verified(context: &Context, options: &RunOptions, etcd: &Etcd, has_written: bool) -> Result<VerifyOutcome> {
    let backup = match has_written {
        true => Some(verify::read_backup(context, &context.backup_file()?)?),
        false => None,
    };
    let as_given = VerifyOptions { conversion: options.conversion.clone(), ..VerifyOptions::default() };
    let found = verify::examine(context, etcd, &as_given, backup, (Vec::new(), None)).await?;
    if !found.consistent {
        let why = format!(
            "the metadata is migrated, but does not pass verification\n{}",
            text_without_next(&found, context.details)
        );
        return Err(refusal(why, found.header.next));
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
