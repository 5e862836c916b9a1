//! `status`: what there is, and what to do next. Takes no lock and writes nothing.

use anyhow::Result;

use super::Context;
use super::roots::meta_roots;
use crate::etcd::Etcd;
use crate::exit::{Exit, Failure};
use crate::guard::{Session, sessions};
use crate::layout::Found;
use crate::layout::keys::MIGRATION_SESSION;
use crate::report::outcome::{Ended, StatusOutcome};
use crate::report::text;

pub(super) async fn execute(context: &Context) -> Result<Exit, Failure> {
    let etcd = context.connect().await?;
    let health = etcd.health().await;
    // Asking for all keys needs more rights than the meta root alone; status does without.
    let meta_roots = meta_roots(&etcd).await.ok();
    let (sessions, lock) = registered(context, &etcd).await?;
    let (inventory, _) = context.read_inventory_with(&etcd, |_, _| {}).await?;
    let alarms = health.alarms.map(|alarms| {
        alarms.iter().map(|alarm| format!("{} (member {:x})", alarm.kind, alarm.member)).collect::<Vec<_>>()
    });
    let layout = (inventory.keys() > 0).then(|| inventory.found());
    let next = next(context, layout, &sessions, lock.as_ref(), alarms.as_deref().unwrap_or_default());
    let outcome = StatusOutcome {
        command: "status",
        ended: Ended::Done,
        endpoints: health.endpoints,
        alarms,
        meta_roots,
        meta_root: context.config.meta_root.to_string(),
        keys: inventory.keys(),
        layout,
        sessions,
        lock,
        next,
    };
    context.console.result(&outcome, || text::status(&outcome))?;
    Ok(Exit::Done)
}

async fn registered(context: &Context, etcd: &Etcd) -> Result<(Vec<Session>, Option<Session>)> {
    let lock_key = format!("{}{MIGRATION_SESSION}", context.root);
    let (mut locks, sessions): (Vec<_>, Vec<_>) =
        sessions(etcd, &context.root).await?.into_iter().partition(|session| session.key == lock_key);
    Ok((sessions, locks.pop()))
}

/// The next sensible step, in one sentence.
fn next(
    context: &Context,
    layout: Option<Found>,
    sessions: &[Session],
    lock: Option<&Session>,
    alarms: &[String],
) -> String {
    let backup = context.config.backup_file.as_ref().filter(|file| file.exists());
    let stop = stop_first(sessions);
    if let Some(first) = first_of_all(lock, alarms) {
        return first;
    }
    match layout {
        None => "there is no metadata under this meta root: correct etcd.rootPath and etcd.metaSubPath".into(),
        Some(Found::Mixed) => format!(
            "{stop}`run` again: it finishes the interrupted migration{}",
            backup.map_or_else(String::new, |file| format!("; or `rollback --backup-file {}`", file.display()))
        ),
        Some(Found::Neither) => "there is nothing to migrate: start the new Milvus".into(),
        Some(Found::Target) if !sessions.is_empty() => "Milvus runs, and nothing is left to migrate".into(),
        Some(Found::Target) => "start the new Milvus, or check the metadata with `verify`".into(),
        Some(Found::Source) if backup.is_some() => format!("look first with `plan`; {stop}`run`"),
        Some(Found::Source) => format!("look first with `plan`; {stop}`backup`, then `run`"),
    }
}

/// What keeps every other step from being one.
fn first_of_all(lock: Option<&Session>, alarms: &[String]) -> Option<String> {
    match lock {
        _ if !alarms.is_empty() => Some(format!("mend etcd first: {}", alarms.join(", "))),
        None => None,
        Some(lock) if lock.leased => Some(format!("another migration is at work ({lock}): wait until it has ended")),
        Some(Session { key, .. }) => {
            Some(format!("the migration lock has no lease: if no migration runs, remove it: etcdctl del '{key}'"))
        }
    }
}

fn stop_first(sessions: &[Session]) -> &'static str {
    match sessions {
        [] => "",
        _ if sessions.iter().any(|session| session.leased) => "stop Milvus (its components are listed above), then ",
        _ => {
            "make sure that the components above do not run, and remove their keys, which have no lease (`etcdctl del`), then "
        }
    }
}
