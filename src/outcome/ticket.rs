//! What a command found or did, as Markdown for a change ticket: complete in itself, and without secrets.

use super::failed::Failure;
use super::going_back::index;
use super::migration::{finding, headline, summary, wrongs};
use super::planned::PlanOutcome;
use super::ran::RunOutcome;
use super::rolled_back::RollbackOutcome;
use super::verified::VerifyOutcome;
use super::words::{self, Text, refusals};
use super::{Ended, Next};
use crate::amounts::{bytes, many, thousands};
use crate::config::Stated;
use crate::exit::Exit;
use crate::state::State;

/// What every report begins with: a file that does not is none, and is not overwritten by one.
pub const TITLE: &str = "# meta-migration: ";

/// What a report says beside the outcome.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// When it was made, RFC 3339, UTC.
    pub made: String,
    /// Where: the name of the host.
    pub host: String,
    /// Which etcd, root, versions and backup are meant. No secrets.
    pub stated: Vec<Stated>,
}

/// Lines of Markdown.
struct TicketPage(String);

impl TicketPage {
    fn begin(command: &str, verdict: &str, surroundings: &Surroundings) -> Self {
        let mut page = Self(format!("{TITLE}{command}\n"));
        page.paragraph(&format!("**{}**", escaped(verdict)));
        page.row("", "");
        page.0.push_str("|---|---|\n");
        page.row("made", &format!("{} on {}", surroundings.made, surroundings.host));
        page.row("tool", &format!("meta-migration {}", env!("CARGO_PKG_VERSION")));
        for stated in &surroundings.stated {
            page.row(stated.name, &format!("{} ({})", stated.value, stated.source));
        }
        page
    }

    fn row(&mut self, name: &str, value: &str) {
        if name.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(&format!("| {} | {} |\n", escaped(name), escaped(&value.replace('\n', " "))));
    }

    fn title(&mut self, title: &str) {
        self.0.push_str(&format!("\n## {title}\n"));
    }

    /// A paragraph that is Markdown already.
    fn paragraph(&mut self, text: &str) {
        self.0.push_str(&format!("\n{text}\n"));
    }

    /// A text of ours as a list: what is set in by two blanks belongs to the line before it.
    fn text(&mut self, text: &str) {
        self.0.push('\n');
        for line in text.lines() {
            let rest = line.trim_start_matches(' ');
            let depth = (line.len() - rest.len()) / 2;
            self.0.push_str(&format!("{}- {}\n", "  ".repeat(depth), escaped(rest)));
        }
    }

    fn steps<T: AsRef<str>>(&mut self, steps: impl IntoIterator<Item = T>) {
        self.0.push('\n');
        for step in steps {
            self.0.push_str(&format!("- [ ] {}\n", escaped(step.as_ref())));
        }
    }

    fn next(&mut self, next: &Next) {
        self.title("Next");
        self.text(&next.text);
    }

    fn finish(self) -> String {
        self.0
    }
}

/// Text in which nothing is markup, whatever names are in it; what stands in backticks stays code, and names stay as they are spelt
/// wherever they can.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    // An odd one out is no code.
    let in_pairs = text.matches('`').count() / 2 * 2;
    let (mut ticks, mut is_code) = (0, false);
    for (at, character) in text.char_indices() {
        match character {
            '`' if ticks < in_pairs => {
                ticks += 1;
                is_code = !is_code;
                safe.push('`');
            }
            // A cell of a table ends at it even within code.
            '|' => safe.push_str("\\|"),
            '_' if is_code || is_within_a_word(text, at) => safe.push('_'),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '~' | '&' if !is_code => {
                safe.push('\\');
                safe.push(character);
            }
            '\n' => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

/// Underscores between letters and digits mean nothing in Markdown.
fn is_within_a_word(text: &str, at: usize) -> bool {
    let before = text[..at].trim_end_matches('_').chars().next_back();
    let behind = text[at..].trim_start_matches('_').chars().next();
    [before, behind].iter().all(|character| character.is_some_and(char::is_alphanumeric))
}

/// The report of `plan`.
pub fn of_plan(outcome: &PlanOutcome, surroundings: &Surroundings) -> String {
    let migration = &outcome.migration;
    let mut page = TicketPage::begin("plan", &outcome.verdict(), surroundings);
    page.title("What there is");
    page.text(&format!(
        "{}, from {} at revision {}: {} metadata keys\nstate: {}",
        outcome.header.meta_root.as_deref().unwrap_or_default(),
        outcome.source,
        migration.revision,
        thousands(outcome.keys),
        outcome.found
    ));
    if !outcome.sessions.is_empty() {
        page.text("Milvus components that have to stop first:");
        outcome
            .sessions
            .iter()
            .for_each(|session| page.0.push_str(&format!("  - {}\n", escaped(&session.to_string()))));
    }
    refused(&mut page, outcome);
    if outcome.shows_migration() {
        page.title("What will happen");
        page.text(&summary(migration, true));
        page.text(&outcome.size());
        page.title("To be minded");
        page.steps(&outcome.advice);
        page.title("Before");
        page.steps([
            "flush all collections, then stop Milvus, all of it; a component disappears within its lease, 60 s at most",
            "`backup`: look into the file with `inspect`, and keep a copy elsewhere",
            "`plan` once more: what it says then is what `run` does",
        ]);
        page.title("After");
        page.steps([
            "`run` has ended with exit code 0. With 1 nothing was written; with 2, run again or roll back before Milvus is started",
            "`verify --against-backup --backup-file FILE` must say that the new Milvus can be started on it",
            "keep the way back open before the first start, as docs/operating.md says",
            "start the new Milvus; look from a client: collections, aliases, indexes, load states, a search",
        ]);
        page.title("Way back");
        page.text(
            "`rollback --backup-file FILE` with Milvus stopped: afterwards the metadata is exactly what is in the backup, whatever state it \
             was in. Then start the old Milvus",
        );
        page.text(&outcome.going_back.lines(outcome.backup.as_ref()).join("\n"));
    }
    page.next(&outcome.header.next);
    page.finish()
}

fn refused(page: &mut TicketPage, outcome: &PlanOutcome) {
    let wrongs = wrongs(&outcome.migration);
    if outcome.refusals.is_empty() && wrongs.is_none() {
        return;
    }
    page.title("What is wrong");
    if !outcome.refusals.is_empty() {
        page.text(&refusals(&outcome.refusals));
    }
    if let Some(wrongs) = wrongs {
        page.text(&wrongs);
    }
}

/// The report of `run` or `repair`; with what it failed with, if it did.
pub fn of_run(outcome: &RunOutcome, failure: Option<&Failure>, surroundings: &Surroundings) -> String {
    let verdict = match (failure, outcome.header.ended) {
        (Some(failure), _) => failed(failure).to_owned(),
        (None, Ended::NothingToDo) => "there was nothing to do".to_owned(),
        (None, _) => outcome
            .migration
            .as_ref()
            .map_or_else(|| "done".to_owned(), |migration| format!("done: {}", headline(&migration.report))),
    };
    let mut page = TicketPage::begin(outcome.header.command, &verdict, surroundings);
    if let Some(failure) = failure {
        page.title("What went wrong");
        page.text(&failure.to_string());
    }
    page.title("What was done");
    if let Some(backup) = &outcome.backup {
        page.text(&format!(
            "backup {}: {} keys at revision {}, {}, SHA-256 of the data {}",
            backup.path,
            thousands(backup.keys),
            backup.revision,
            bytes(backup.file_bytes),
            backup.stream_sha256
        ));
    }
    match (outcome.verified_revision, failure) {
        (Some(revision), _) => page.text(&format!(
            "everything was written, read back at revision {revision} and compared, in {:.1} s",
            outcome.seconds
        )),
        (None, Some(failure)) if failure.exit == Exit::NothingWritten => page.text("nothing was written"),
        (None, Some(_)) => page.text("what was begun did not get to its end, or could not be confirmed"),
        (None, None) => page.text("nothing"),
    }
    if let Some(migration) = &outcome.migration {
        let was = outcome.verified_revision.is_some();
        page.title(if was { "What it was" } else { "What it was to be" });
        page.text(&summary(migration, true));
    }
    if let Some(wrongs) = outcome.migration.as_ref().and_then(wrongs) {
        page.title("What was left out");
        page.text(&wrongs);
    }
    page.title("Way back");
    page.text(match &outcome.way_back {
        Some(way_back) => way_back,
        None if outcome.verified_revision.is_some()
            || failure.is_some_and(|failure| failure.exit != Exit::NothingWritten) =>
        {
            "there is none: it was run without a backup, on purpose"
        }
        None if matches!(outcome.header.state, State::Ready | State::NothingToMigrate) => {
            "none is needed: nothing was written, now or before"
        }
        None => "this command wrote nothing; an EARLIER one may have: `status` tells, and names the way back on record",
    });
    page.next(&outcome.header.next);
    page.finish()
}

/// The report of `verify`.
pub fn of_verify(outcome: &VerifyOutcome, surroundings: &Surroundings) -> String {
    let mut page = TicketPage::begin("verify", &outcome.verdict, surroundings);
    page.title("What there is");
    page.text(&format!(
        "{} at revision {}: {}, {}\nstate: {}",
        outcome.header.meta_root.as_deref().unwrap_or_default(),
        outcome.revision,
        many(outcome.keys, "metadata key", "metadata keys"),
        many(outcome.collections, "collection", "collections"),
        outcome.found
    ));
    if let Some(running) = outcome.running() {
        page.text(&running);
    }
    page.title("What is wrong");
    match outcome.findings.as_slice() {
        [] => page.text("nothing was found"),
        findings => findings.iter().for_each(|one| page.text(&format!("{}: {}", one.invariant, finding(one)))),
    }
    if let Some(comparison) = &outcome.comparison {
        page.title("Compared with the migration of the backup");
        page.text(&format!("{}: {} keys are the same", comparison.path, thousands(comparison.equal)));
        if !comparison.problems.is_empty() {
            page.text(&format!("in the backup: {}", words::problems(&comparison.problems)));
        }
        for (what, keys) in comparison.lists() {
            if !keys.is_empty() {
                page.text(&format!("{what}: {}\n  {}", keys.len(), keys.join("\n  ")));
            }
        }
    }
    page.next(&outcome.header.next);
    page.finish()
}

/// The report of `rollback`.
pub fn of_rollback(outcome: &RollbackOutcome, surroundings: &Surroundings) -> String {
    let verdict = match outcome.verified_revision {
        Some(_) => format!("rolled back: {}", outcome.in_words()),
        None => "there was nothing to do: the metadata was as in the backup".to_owned(),
    };
    let mut page = TicketPage::begin("rollback", &verdict, surroundings);
    page.title("What was done");
    let backup = &outcome.backup;
    let revision = backup.revision.map_or_else(String::new, |revision| format!(" of revision {revision}"));
    page.text(&format!("the backup {}: {}{revision}", backup.path, many(backup.keys, "key", "keys")));
    if let Some(copy) = &outcome.copy {
        page.text(&format!("what was there before: {}, SHA-256 of the data {}", copy.path, copy.stream_sha256));
    }
    if let Some(revision) = outcome.verified_revision {
        let seconds = outcome.seconds;
        page.text(&format!("everything was read back at revision {revision} and compared, in {seconds:.1} s"));
        page.text(&outcome.differences_in_words().join("\n"));
    }
    page.title("Collections");
    page.text(&outcome.collection_changes.in_words());
    page.title("Files");
    match (&outcome.files, outcome.since.in_words()) {
        (Some(files), _) => {
            let mut list = Text::new(true);
            list.line(files.headline());
            files.list(&mut list);
            page.text(&list.finish());
        }
        (None, Some(since)) => page.text(&format!("nobody has looked whether they are there (--check-files)\n{since}")),
        (None, None) => page.text("nobody has looked whether they are there (--check-files)"),
    }
    outcome.to_build_again.iter().for_each(|one| page.text(&format!("Milvus 2.1 builds this again: {}", index(one))));
    page.next(&outcome.header.next);
    page.finish()
}

/// The report of a command that failed before it could say more.
pub fn of_failure(command: &str, failure: &Failure, next: &Next, surroundings: &Surroundings) -> String {
    let mut page = TicketPage::begin(command, failed(failure), surroundings);
    page.title("What went wrong");
    page.text(&failure.to_string());
    page.next(next);
    page.finish()
}

fn failed(failure: &Failure) -> &'static str {
    match failure.exit {
        Exit::NothingWritten => "refused or failed: no metadata was written (exit code 1)",
        Exit::Interrupted => {
            "FAILED after a backup was finished or writing had begun (exit code 2): run again, or roll back, before Milvus is started"
        }
        Exit::Done | Exit::Unexpected => "FAILED: look with `status` before anything else is done",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_becomes_markup_and_code_stays_code() {
        for (text, expected) in [
            ("plain words, 1 of 2", "plain words, 1 of 2"),
            ("_default_idx becomes _default_idx_101", "\\_default_idx becomes \\_default_idx_101"),
            ("`run --no-backup` and *", "`run --no-backup` and \\*"),
            ("`a_b` or a`b", "`a_b` or a\\`b"),
            ("a|b <script>", "a\\|b \\<script\\>"),
            ("[x](http://y)", "\\[x\\](http://y)"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn what_is_set_in_belongs_to_the_line_before() {
        let mut page = TicketPage(String::new());
        page.text("loaded: 1\n  c_1\nnext");
        assert_eq!(page.finish(), "\n- loaded: 1\n  - c_1\n- next\n");
    }
}
