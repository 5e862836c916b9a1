//! What may be gone of what a rollback goes back to: asked of the object storage, or told by what happened since.

use anyhow::{Result, bail};
use semver::Version;

use super::refusal;
use super::rollback::Restoring;
use super::way_back::seconds_since;
use crate::catalog::files;
use crate::catalog::handed_over::built_again;
use crate::catalog::records::Records;
use crate::catalog::replaced::replaced;
use crate::catalog::report::Rebuilt;
use crate::course;
use crate::garbage;
use crate::history::{Choices, Completion, History, Operation};
use crate::layout::keys::HISTORY;
use crate::outcome::files_checked::FilesFound;
use crate::outcome::going_back::{Since, index};
use crate::outcome::rolled_back::RollbackOutcome;
use crate::outcome::words::Text;
use crate::outcome::{Next, Step};
use crate::state::State;

/// What happened between the backup and now.
pub(super) fn since(
    recorded: Option<&History>,
    state: Option<State>,
    backup: &Records,
    handed_over: &[Rebuilt],
    now: &Records,
) -> Since {
    let migration = recorded.filter(|history| history.operation != Operation::Rollback);
    let done = migration.filter(|history| history.state == Completion::Done);
    Since {
        target_version: done.and_then(|history| history.to_version.clone()),
        migrated: done.and_then(|history| history.ended.clone()),
        seconds: done.and_then(|history| seconds_since(history.ended.as_deref()?)),
        newer_ran_unmigrated: recorded.is_none() && state.is_some_and(course::is_of_newer),
        // Half a restored backup tells nothing of what the newer Milvus has done.
        replaced: match recorded {
            Some(history) if history.operation == Operation::Rollback => Vec::new(),
            _ => replaced(backup, now),
        },
        built_again: if done.is_some() { built_again(handed_over, now) } else { Vec::new() },
    }
}

impl Restoring<'_> {
    /// What is on record. A history key that cannot be read is overwritten like anything else; but then nothing tells which indexes
    /// were handed over.
    pub(super) async fn recorded(&self) -> Result<Option<History>> {
        match self.context.recorded_history(self.etcd).await? {
            Some(Err(error)) if self.options.rebuild_handed_over => bail!(
                "{}{HISTORY}: {error}. So it is not known which indexes were handed over: leave --rebuild-handed-over off. Nothing was \
                 written",
                self.context.root
            ),
            recorded => Ok(recorded.and_then(Result::ok)),
        }
    }

    /// What changes the result, with what is on record: which indexes the migration handed over, and that an interrupted rollback had
    /// them built again.
    pub(super) fn choices(&self, recorded: Option<&History>) -> Choices {
        let asked = self.options.rebuild_handed_over;
        let Some(history) = recorded else {
            return Choices { rebuild_handed_over: asked, ..Choices::default() };
        };
        let begun = history.operation == Operation::Rollback && history.options.rebuild_handed_over;
        if begun && !asked {
            self.context.say("the interrupted rollback was one with --rebuild-handed-over: so is this one");
        }
        Choices {
            rebuild_handed_over: asked || begun,
            rebuild_index: history.options.rebuild_index.clone(),
            keep_index_files: history.options.keep_index_files,
            ..Choices::default()
        }
    }

    /// Looks for the files before the first change, where that is asked for.
    pub(super) async fn check_files(&self, handed_over: &[Rebuilt], reset: bool) -> Result<Option<FilesFound>> {
        if !self.options.check_files {
            return Ok(None);
        }
        let context = self.context;
        // Builds that 2.1 is to do again name no files any more.
        let named = files::named(&self.entries.iter().cloned().collect());
        let found = context.look_for_files(context.storage()?, &named).await?;
        if found.is_whole() {
            context.say(found.headline());
            return Ok(Some(found));
        }
        let mut list = Text::new(context.details);
        list.line(found.headline());
        found.list(&mut list);
        let list = list.finish();
        if self.options.accept_missing_files {
            context.console.warn(&format!("{list}\ngoing on without these, as --accept-missing-files says"));
            return Ok(Some(found));
        }
        let is_handed_over = |build: i64| handed_over.iter().any(|index| index.builds.contains(&build));
        let rebuild = !reset && found.builds().any(is_handed_over);
        let rebuild = if rebuild {
            "have Milvus 2.1 build the indexes again that were handed over, with --rebuild-handed-over; "
        } else {
            ""
        };
        let next = format!(
            "{rebuild}bring the files back from a copy of the storage; or go back without them on purpose with --accept-missing-files"
        );
        let why = format!("{list}\nMilvus 2.1 cannot read what is not there");
        Err(refusal(why, Next::new(Step::Mend, next)))
    }

    /// What may be gone, where nobody has looked; and what 2.1 builds again.
    pub(super) fn warn_of_files(&self, outcome: &RollbackOutcome, target: Option<&Version>) {
        let context = self.context;
        let since = &outcome.since;
        if let Some(words) = since.in_words() {
            context.say(words);
        }
        if outcome.files.is_none() && since.is_in_danger() {
            let index_files = target.map_or(
                "10 minutes after the start of the newer Milvus (2.2), an hour or more (2.3 and later)",
                garbage::index_files_go,
            );
            let rebuild = match since.built_again.is_empty() || !outcome.to_build_again.is_empty() {
                true => "",
                false => "; --rebuild-handed-over has Milvus 2.1 build these indexes again",
            };
            context.console.warn(&format!(
                "nobody has looked whether the files are still there: by default those of indexes go {index_files}, those of rows {}. \
                 `rollback --check-files` looks first{rebuild}",
                garbage::ROWS_GO
            ));
        }
        if !outcome.to_build_again.is_empty() {
            let mut text = Text::new(context.details);
            text.list("Milvus 2.1 builds these again when it starts", outcome.to_build_again.iter().map(index));
            context.say(text.finish());
        }
    }
}
