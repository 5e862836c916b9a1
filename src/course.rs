//! What each command does in each state: one table, the same for `status`, `plan`, `run`, `repair`, `backup` and `rollback`
//! (docs/going-wrong.md shows it to people). Pure.

use semver::Version;

use crate::history::{Choices, History, Operation};
use crate::outcome::{Next, Step};
use crate::state::{Situation, State};
use crate::version::{Layout, Way, has_21_layout, way};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// The metadata is converted.
    Convert,
    /// There is nothing to do, and why; with what comes next.
    Nothing(String, Next),
    /// It is not done, and why; with the way on.
    Refuse(String, Next),
}

/// What `run` and `plan` do.
pub fn of_run(situation: &Situation, source: Option<&Version>, target: &Version, choices: &Choices) -> Course {
    let refuse = |why: String| Course::Refuse(why, next(situation));
    if let Some(source) = source.filter(|source| matches!(way(source, target), Ok(Way::NothingToDo))) {
        return of_one_layout(situation, source, target);
    }
    match (situation.state, &situation.history) {
        (State::RunInterrupted, Some(history)) => of_interrupted(history, target, choices),
        (State::Migrated, Some(history)) => of_migrated(situation, history, target, choices),
        (State::Ready, _) => match source.filter(|source| !has_21_layout(source)) {
            Some(source) => Course::Refuse(
                format!(
                    "the source version is {source}, but what is here is metadata of Milvus 2.1: it has not been migrated"
                ),
                correct_source(situation),
            ),
            None => Course::Convert,
        },
        (State::NothingToMigrate, _) => Course::Nothing("no collections: nothing to migrate".into(), next(situation)),
        (State::NewerStartedFirst, _) if choices.keep_newer => Course::Convert,
        (State::NewerStartedFirst, _) => refuse(newer_first(situation)),
        _ => refuse(format!("{}: {}", situation.headline(), why_not(situation.state))),
    }
}

/// Both versions read the same layout: nothing is to be done, if it is the one that is here.
fn of_one_layout(situation: &Situation, source: &Version, target: &Version) -> Course {
    let is_here = match situation.state {
        State::NothingToMigrate => true,
        State::Ready => has_21_layout(source),
        State::Migrated | State::MigratedByOriginalTool | State::MigratedWithoutHistory | State::Newer => {
            !has_21_layout(source)
        }
        _ => false,
    };
    if is_here {
        let next = match situation.state {
            // Not that of metadata which is to be migrated.
            State::Ready => Next::new(Step::Nothing, format!("change the image of Milvus to {target}")),
            _ => next(situation),
        };
        return Course::Nothing(format!("Milvus {source} and {target} read the same layout"), next);
    }
    let why = format!(
        "the source version is {source}, whose layout is that of {target} already, but what is here is something else: {}",
        situation.headline()
    );
    Course::Refuse(why, correct_source(situation))
}

/// The way on where what is here is not of the source version that was given.
fn correct_source(situation: &Situation) -> Next {
    match situation.state {
        State::Ready => Next::new(
            Step::Correct,
            "correct the source version (--source-version, config.sourceVersion): it is the 2.1 that ran here; then the same again",
        ),
        _ => next(situation),
    }
}

/// What `repair` does.
pub fn of_repair(situation: &Situation, target: &Version, choices: &Choices) -> Course {
    match (situation.state, &situation.history) {
        (State::RepairInterrupted, Some(history)) => of_interrupted(history, target, choices),
        (State::MigratedByOriginalTool | State::MigratedWithoutHistory | State::Newer, _) => Course::Convert,
        (State::Migrated, Some(history)) => of_migrated(situation, history, target, choices),
        (State::NothingToMigrate, _) => Course::Nothing("no collections: nothing to repair".into(), next(situation)),
        _ => Course::Refuse(
            format!(
                "{}: `repair` is for what another tool, or an earlier edition of this one, has migrated",
                situation.headline()
            ),
            next(situation),
        ),
    }
}

/// Whether a backup of this would be a way back. `force`: the user wants it in any case.
pub fn of_backup(situation: &Situation, source: Option<&Version>, force: bool) -> Course {
    let expects_21 = source.is_none_or(has_21_layout);
    let refuse = |why: &str| Course::Refuse(format!("{}: {why}", situation.headline()), next(situation));
    match situation.state {
        // Half a restored backup is the way back of nothing.
        State::RollbackInterrupted => refuse("a backup of what is half restored would be no way back"),
        State::RunInterrupted | State::RepairInterrupted if !force => refuse(
            "a backup of what is half migrated would be no way back; the one made before is. --force makes one all the same",
        ),
        State::Migrated | State::MigratedByOriginalTool | State::MigratedWithoutHistory | State::Newer
            if expects_21 && !force =>
        {
            refuse(
                "this is not metadata of Milvus 2.1 (source version), so a backup of it is no way back to 2.1, and the one made before \
                 the migration is the one to keep. --force makes one all the same",
            )
        }
        State::Ready if !expects_21 && !force => refuse(
            "the source version is 2.2 or later, but this has not been migrated. --force makes a backup all the same",
        ),
        _ => Course::Convert,
    }
}

/// An interrupted run is finished as it was begun, or not at all.
fn of_interrupted(history: &History, target: &Version, choices: &Choices) -> Course {
    let refuse = |why: String| {
        let (code, way_on) = (Step::RunAgain, history.way_on());
        Course::Refuse(why, Next::new(code, format!("finish it with {way_on}, or go back with {}", history.way_back())))
    };
    if history.target().as_ref() != Some(target) {
        let begun = history.to_version.as_deref().unwrap_or("another version");
        return refuse(format!(
            "an interrupted {} for Milvus {begun} is here, and this one is for {target}",
            history.operation.command()
        ));
    }
    if history.options != *choices {
        let (was, is) = (history.options.flags(), choices.flags());
        let none = |flags: String| if flags.is_empty() { "no such option".to_owned() } else { flags };
        return refuse(format!(
            "an interrupted {} is here that was begun with other options ({}; now: {})",
            history.operation.command(),
            none(was),
            none(is)
        ));
    }
    Course::Convert
}

/// What was migrated for another layout, or without the names and rebuilds that are asked for now, is not done because something is.
pub fn of_migrated(situation: &Situation, history: &History, target: &Version, choices: &Choices) -> Course {
    let was = history.target();
    let missing = choices.conversion_beyond(&history.options);
    if !missing.is_empty() {
        let why = format!("this was migrated already, without {missing}");
        let next = format!(
            "if Milvus was not started on it since: go back with {}, and run again with these options. If it was: rename or build anew with \
             Milvus itself",
            history.way_back()
        );
        return Course::Refuse(why, Next::new(Step::Rollback, next));
    }
    if was.as_ref().is_some_and(|was| Layout::of(was) == Layout::of(target)) {
        let when = history.ended.as_deref().unwrap_or(&history.started);
        let why = format!("everything is in the layout of Milvus {target} already (migrated on {when})");
        return Course::Nothing(why, next(situation));
    }
    let was = history.to_version.as_deref().unwrap_or("another version");
    Course::Refuse(
        format!("this was migrated for Milvus {was}, whose metadata has another form than that of {target}"),
        Next::new(
            Step::Rollback,
            format!(
                "if Milvus {was} was started on it since: upgrade Milvus from there, no migration is needed. If not: go back with {}, \
                 and run again for {target}",
                history.way_back()
            ),
        ),
    )
}

fn newer_first(situation: &Situation) -> String {
    format!(
        "Milvus 2.2 or later was started on this before it was migrated; what it made there is not touched unasked:\n  {}",
        situation.made.by_name().join("\n  ")
    )
}

fn why_not(state: State) -> &'static str {
    match state {
        State::RepairInterrupted => "`repair` has to be finished first",
        State::RollbackInterrupted => "only `rollback` goes on from here",
        State::MigratedByOriginalTool => {
            "there is nothing left to migrate, but its form is not the target's own: names, schemas and load states get lost later"
        }
        State::MigratedWithoutHistory => {
            "there is nothing left to migrate, but its form may not be the target's own (`verify` tells)"
        }
        State::Newer => "there is nothing to migrate from 2.1",
        State::InMysql => {
            "this tool migrates catalogs in etcd; this Milvus keeps its collections in MySQL (metastore.type: mysql, or mysql.enabled in the chart)"
        }
        _ => "there is nothing to migrate",
    }
}

/// The way on from a state.
pub fn next(situation: &Situation) -> Next {
    let history = situation.history.as_ref();
    let way_on = || history.map_or_else(String::new, History::way_on);
    let way_back = || history.map_or_else(|| "`rollback` with the backup made before".into(), History::way_back);
    match situation.state {
        State::Ready => Next::new(Step::Backup, "look first with `plan`; stop Milvus; `backup`, then `run`"),
        State::RunInterrupted => Next::new(
            Step::RunAgain,
            format!(
                "finish it with {}, or go back with {}. Do not start Milvus before one of the two is done",
                way_on(),
                way_back()
            ),
        ),
        State::RepairInterrupted => Next::new(
            Step::Repair,
            format!(
                "finish it with {}, or go back with {}. Do not start Milvus before one of the two is done",
                way_on(),
                way_back()
            ),
        ),
        State::RollbackInterrupted => Next::new(
            Step::RollbackAgain,
            format!("finish it with {}. Do not start Milvus before that is done", way_on()),
        ),
        State::Migrated => {
            let version =
                history.and_then(|history| history.to_version.as_deref()).unwrap_or("the version that it is for");
            Next::new(
                Step::StartNew,
                format!("check the metadata with `verify`, then start Milvus {version}; to go back, {}", way_back()),
            )
        }
        State::NewerStartedFirst => Next::new(
            Step::KeepNewer,
            "stop Milvus, and see with `check-files` whether it has removed index files of 2.1; then either `backup`, and `run --keep-newer`: all \
             that the newer Milvus wrote stays, and the rest is migrated; or, if a backup from before exists, `rollback` to it, and `run`",
        ),
        State::MigratedByOriginalTool | State::MigratedWithoutHistory => Next::new(
            Step::Repair,
            "`repair --target-version VERSION --with-backup` brings it into the form that this version writes itself; look first with \
             `repair --dry-run`",
        ),
        State::Newer => {
            Next::new(Step::Nothing, "nothing is to be migrated: correct the source version, or start Milvus")
        }
        State::NothingToMigrate => Next::new(Step::StartNew, "start the new Milvus"),
        State::InMysql => Next::new(
            Step::Correct,
            "if that is meant, stay with Milvus 2.1, or copy the data into a new installation: this tool cannot migrate it, and a newer Milvus \
             that is started on it removes files of 2.1. If not, correct etcd.rootPath and etcd.metaSubPath",
        ),
        State::NoMilvus => Next::new(Step::Correct, "correct the etcd endpoints, etcd.rootPath and etcd.metaSubPath"),
        State::Unknown => Next::new(Step::Status, "look with `status`"),
    }
}

/// The way on where records do not fit together, or options do not fit them: `otherwise`, unless it is found in the middle of a run.
pub fn mend(situation: &Situation, otherwise: &str) -> Next {
    match &situation.history {
        // Neither a backup nor other options nor Milvus 2.1 can be had there.
        Some(history) if is_interrupted(situation.state) => Next::new(
            Step::Rollback,
            format!("go back with {}, mend these records with Milvus 2.1, and begin again", history.way_back()),
        ),
        _ => Next::new(Step::Mend, otherwise),
    }
}

/// Whether a newer Milvus wrote what is there, and no migration of ours is on record.
pub fn is_of_newer(state: State) -> bool {
    matches!(
        state,
        State::NewerStartedFirst | State::MigratedByOriginalTool | State::MigratedWithoutHistory | State::Newer
    )
}

/// Whether a run or repair has not ended.
pub fn is_interrupted(state: State) -> bool {
    matches!(state, State::RunInterrupted | State::RepairInterrupted)
}

/// The history of an operation that begins.
pub fn begin(operation: Operation, source: Option<&Version>, target: &Version, choices: Choices) -> History {
    let layout = Layout::of(target);
    let words = match (layout.in_database, layout.load_type) {
        (false, _) => "2.2.0",
        (true, false) => "2.2.9",
        (true, true) => "2.3.0",
    };
    History {
        from_version: source.map(ToString::to_string),
        to_version: Some(target.to_string()),
        layout: Some(words.to_owned()),
        options: choices,
        ..History::begin(operation)
    }
}
