//! `status`: what there is, what was done to it, and what to do next. Takes no lock and writes nothing.

use anyhow::Result;

use super::Context;
use super::roots::meta_roots;
use super::way_back::find_it_first;
use crate::amounts::many;
use crate::course;
use crate::etcd::members::{MemberHealth, Members};
use crate::exit::Exit;
use crate::guard::{Session, components_and_lock};
use crate::history::History;
use crate::outcome::failed::Failure;
use crate::outcome::surveyed::{ConfiguredBackup, StatusOutcome, text};
use crate::outcome::{Ended, Next, Step};
use crate::state::{Situation, State};

pub(super) async fn execute(context: &Context) -> Result<Exit, Failure> {
    let etcd = context.connect().await?;
    let health = etcd.health().await;
    // Asking for all keys needs more rights than the meta root alone; status does without.
    let meta_roots = meta_roots(&etcd).await.ok();
    let (sessions, lock) = components_and_lock(&etcd, &context.root).await?;
    let reading = context.read_records(&etcd).await?;
    let situation = context.situation(&reading.records)?;
    let members = etcd.members(reading.revision).await;
    if let Err(error) = &members {
        tracing::debug!("{error}");
    }
    let alarms = health.alarms.map(|alarms| {
        alarms.iter().map(|alarm| format!("{} (member {:x})", alarm.kind, alarm.member)).collect::<Vec<_>>()
    });
    let members = members.ok();
    let first = first_of_all(lock.as_ref(), alarms.as_deref().unwrap_or_default(), members.as_ref());
    let backup = context.configured_backup(&reading, situation.history.as_ref());
    let is_away = context.is_way_back_away(situation.history.as_ref()) || is_way_back_lost(backup.as_ref(), &situation);
    let next = first.unwrap_or_else(|| {
        let next = next(backup.as_ref(), is_away, &situation, &sessions);
        match members.as_ref().and_then(without_members) {
            Some(first) => Next::new(next.code, format!("{first}; {}", next.text)),
            None => next,
        }
    });
    let outcome = StatusOutcome {
        header: context.header("status", Ended::Done, situation.state, next),
        endpoints: health.endpoints,
        members,
        alarms,
        meta_roots,
        revision: reading.revision,
        keys: reading.records.keys(),
        collections: situation.collections,
        layout: (reading.records.keys() > 0).then_some(situation.found),
        found: situation.headline(),
        backup,
        history: situation.history,
        made_by_newer: situation.made,
        sessions,
        lock,
    };
    context.console.result(&outcome, || text(&outcome, context.details));
    Ok(Exit::Done)
}

/// The next sensible step.
fn next(
    backup: Option<&ConfiguredBackup>,
    is_way_back_away: bool,
    situation: &Situation,
    sessions: &[Session],
) -> Next {
    let next = course::next(situation);
    match situation.state {
        State::Ready => {
            let stop = stop_first(sessions);
            match backup.filter(|backup| backup.is_way_back) {
                Some(_) => Next::new(Step::Run, format!("look first with `plan`; {stop}`run`")),
                None => Next::new(Step::Backup, format!("look first with `plan`; {stop}`backup`, then `run`")),
            }
        }
        State::Migrated if sessions.is_empty() && is_way_back_away => find_it_first(&next),
        State::RunInterrupted | State::RepairInterrupted | State::RollbackInterrupted if !sessions.is_empty() => {
            Next::new(Step::StopMilvus, format!("{}{}", stop_first(sessions), next.text))
        }
        State::Migrated if !sessions.is_empty() => {
            let way_back = situation.history.as_ref().map_or_else(|| "`rollback`".to_owned(), History::way_back);
            Next::new(
                Step::Nothing,
                format!("Milvus runs on it, so nothing is to be done; to go back, stop it, then {way_back}"),
            )
        }
        _ => next,
    }
}

/// Whether the file that is configured is not the backup on record.
fn is_way_back_lost(backup: Option<&ConfiguredBackup>, situation: &Situation) -> bool {
    let on_record = situation.history.as_ref().is_some_and(|history| history.backup.is_some());
    on_record && backup.is_some_and(|backup| !backup.is_way_back)
}

/// What keeps every other step from being one.
fn first_of_all(lock: Option<&Session>, alarms: &[String], members: Option<&Members>) -> Option<Next> {
    match lock {
        _ if members.is_some_and(Members::differ) => Some(Next::new(
            Step::MendEtcd,
            "mend etcd first: its members do not hold the same data; look with `etcdctl endpoint hashkv --cluster`",
        )),
        _ if !alarms.is_empty() => Some(Next::new(Step::MendEtcd, format!("mend etcd first: {}", alarms.join(", ")))),
        None => None,
        Some(lock) if lock.leased => {
            Some(Next::new(Step::Wait, format!("another migration is at work ({lock}): wait until it has ended")))
        }
        Some(Session { key, .. }) => Some(Next::new(
            Step::Wait,
            format!("the migration lock has no lease: if no migration runs, remove it: etcdctl del '{key}'"),
        )),
    }
}

/// What to do first where members are away: etcd does without them, but not without many more.
fn without_members(members: &Members) -> Option<String> {
    let voters = || members.list.iter().filter(|member| !member.is_learner);
    let away: Vec<&str> = voters().filter(|member| member.problem.is_some()).map(MemberHealth::shown).collect();
    let all = voters().count();
    // etcd has answered, so a majority is up: where fewer can be asked, the others are only hidden from here.
    let spare = (all - away.len()).checked_sub(all / 2 + 1)?;
    (!away.is_empty()).then(|| {
        let rest = match spare {
            0 => "etcd stops as soon as one more fails, in the middle of a run too".to_owned(),
            _ => format!("etcd goes on without {}, and no more", many(spare, "further member", "further members")),
        };
        let are = if away.len() == 1 { "it is" } else { "they are" };
        format!("look after {} first, if {are} really away and not only hidden from here: {rest}", away.join(", "))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn members(away: &[bool]) -> Members {
        let member = |(at, away): (usize, &bool)| MemberHealth {
            name: format!("m{at}"),
            problem: away.then(|| "connection refused".to_owned()),
            ..MemberHealth::default()
        };
        Members { hash_revision: 0, list: away.iter().enumerate().map(member).collect() }
    }

    #[test]
    fn members_that_are_away_come_first_unless_they_can_only_be_hidden() {
        assert_eq!(without_members(&members(&[false, false, false])), None);
        let one_of_three = without_members(&members(&[false, true, false])).unwrap_or_default();
        assert!(one_of_three.starts_with("look after m1 first, if it is really away"), "{one_of_three}");
        assert!(one_of_three.contains("as soon as one more fails"), "{one_of_three}");
        // etcd answers only where a majority is up.
        assert_eq!(without_members(&members(&[false, true, true])), None);
        assert_eq!(without_members(&members(&[true])), None);
        let two_of_seven =
            without_members(&members(&[true, true, false, false, false, false, false])).unwrap_or_default();
        assert!(two_of_seven.contains("m0, m1 first, if they are really away"), "{two_of_seven}");
        assert!(two_of_seven.contains("goes on without 1 further member, and no more"), "{two_of_seven}");
    }
}
