//! What was done to the metadata so far, and what is the way on: one name and one way for every state, the same for all commands
//! (docs/going-wrong.md has the table).
//!
//! The history key decides where there is one. Without it the records do, and what they do not tell is not guessed: nothing counts
//! as left by an interrupted run of ours without a run on record.

use std::collections::BTreeSet;
use std::fmt;

use prost::Message;
use schemars::JsonSchema;
use serde::Serialize;

use crate::amounts::many;
use crate::catalog::collection::{self, Collections, Form, Standing};
use crate::catalog::collection_record;
use crate::catalog::records::Records;
use crate::catalog::{Precedence, alias};
use crate::history::{Completion, History, HistoryError, Operation};
use crate::layout::Found;
use crate::layout::families::Family;
use crate::layout::messages::target::FieldIndex;

/// The states that metadata can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// 2.1 metadata that nobody has touched: ready to be migrated.
    Ready,
    /// A run of ours was interrupted.
    RunInterrupted,
    /// A repair of ours was interrupted.
    RepairInterrupted,
    /// A rollback of ours was interrupted.
    RollbackInterrupted,
    /// Migrated by us.
    Migrated,
    /// A newer Milvus was started on 2.1 metadata before it was migrated.
    NewerStartedFirst,
    /// Migrated by the original tool.
    MigratedByOriginalTool,
    /// Migrated by an edition of ours that kept no history.
    MigratedWithoutHistory,
    /// In the layout of 2.2 or later, and nothing tells that it came from 2.1.
    Newer,
    /// Milvus is here, without any collection.
    NothingToMigrate,
    /// Segments or builds, but no collections: the root coordinator keeps those in MySQL.
    InMysql,
    /// No metadata at all.
    NoMilvus,
    /// It was not looked at, or could not be: no command finds it there.
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "Milvus 2.1 metadata, not migrated yet",
            Self::RunInterrupted => "an interrupted run",
            Self::RepairInterrupted => "an interrupted repair",
            Self::RollbackInterrupted => "an interrupted rollback",
            Self::Migrated => "migrated",
            Self::NewerStartedFirst => "Milvus 2.2 or later was started on this before it was migrated",
            Self::MigratedByOriginalTool => "migrated by the original tool",
            Self::MigratedWithoutHistory => "migrated by an earlier edition of this tool",
            Self::Newer => "metadata of Milvus 2.2 or later",
            Self::NothingToMigrate => "Milvus without any collection: nothing to migrate",
            Self::InMysql => "segments or index builds without any collection: the catalog is in MySQL",
            Self::NoMilvus => "no Milvus metadata",
            Self::Unknown => "not looked at",
        })
    }
}

/// What a newer Milvus made, changed or dropped on metadata that was not migrated, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MadeByNewer {
    /// Collections that were made.
    pub collections: Vec<String>,
    /// Collections whose record was rewritten without a schema: renamed or altered.
    pub changed: Vec<String>,
    /// Collections that were dropped.
    pub dropped: Vec<String>,
    /// Indexes that were made.
    pub indexes: Vec<String>,
    /// Aliases that were made.
    pub aliases: Vec<String>,
}

/// All that is known of what was done before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// The name of the state.
    pub state: State,
    /// Which layouts have keys here.
    pub found: Found,
    /// The history key, if there is one.
    pub history: Option<History>,
    /// What a newer Milvus made before the migration.
    pub made: MadeByNewer,
    /// Number of living collections.
    pub collections: usize,
}

impl Situation {
    /// Looks at everything that was read.
    ///
    /// # Errors
    /// There is a history key that cannot be read.
    pub fn of(records: &Records) -> Result<Self, HistoryError> {
        let history = records.history().map(|value| History::read(value)).transpose()?;
        let facts = Facts::of(records);
        let state = match &history {
            Some(history) => of_history(history),
            None => facts.state(),
        };
        let made = match state {
            State::NewerStartedFirst => made_by_newer(records),
            _ => MadeByNewer::default(),
        };
        Ok(Self { state, found: facts.found(), history, made, collections: facts.live })
    }

    /// Which records count in this state where both layouts have one. Only with a run of ours on record, or where the newer layout
    /// has nothing at all, may what looks like leftovers be deleted.
    pub fn precedence(&self) -> Precedence {
        match (self.state, &self.history) {
            (State::Ready | State::NothingToMigrate, _) => Precedence::Source,
            (State::RunInterrupted, Some(history)) if !history.options.keep_newer => Precedence::Source,
            _ => Precedence::Newer,
        }
    }

    /// The state in one line, with what is on record.
    pub fn headline(&self) -> String {
        let Some(history) = &self.history else {
            return match self.state {
                State::NewerStartedFirst => {
                    format!("{}: {}", self.state, self.made.in_short())
                }
                state => state.to_string(),
            };
        };
        let target = history.to_version.as_ref().map_or_else(String::new, |version| format!(" for Milvus {version}"));
        match self.state {
            State::Migrated => {
                let by = if history.operation == Operation::Repair { "repaired" } else { "migrated" };
                let when = history.ended.as_deref().unwrap_or(&history.started);
                format!("{by}{target} on {when}, by meta-migration {}", history.tool_version)
            }
            state => format!("{state}{target}, begun on {} at {}", history.started, history.host),
        }
    }
}

fn of_history(history: &History) -> State {
    match (history.state, history.operation) {
        (Completion::Running, Operation::Run) => State::RunInterrupted,
        (Completion::Running, Operation::Repair) => State::RepairInterrupted,
        (Completion::Running, Operation::Rollback) => State::RollbackInterrupted,
        (Completion::Done, _) => State::Migrated,
    }
}

/// What the records tell without any history.
#[derive(Debug, Default)]
struct Facts {
    /// Whether this is a meta root of Milvus.
    is_milvus: bool,
    /// Whether keys stand where collections would, but are called otherwise.
    misplaced: bool,
    /// Living collections.
    live: usize,
    /// Living collection records that embed their partitions and fields.
    embedded: usize,
    /// Whether there is any collection record, be it a tombstone.
    collections: bool,
    /// Whether there are segments or index builds.
    data: bool,
    /// Records that only 2.1 has.
    source: bool,
    /// Records that only newer versions have.
    target: bool,
    /// What 2.1 left and no migration takes away.
    traces: bool,
}

impl Facts {
    fn of(records: &Records) -> Self {
        let mut facts = Self {
            is_milvus: records.are_of_milvus(),
            misplaced: records.has_misplaced_collections(),
            source: has_source(records),
            target: !records.target_keys().is_empty(),
            ..Self::default()
        };
        for family in [Family::Collection, Family::DatabaseCollection] {
            for (_, versions) in records.versions_of(family) {
                facts.collections = true;
                if let Some(plain) = versions.plain.filter(|plain| collection_record::is_living(plain)) {
                    facts.live += 1;
                    facts.embedded += usize::from(collection_record::has_embedded(&plain));
                }
            }
        }
        let has = |family| records.of(family).next().is_some();
        facts.data = has(Family::Segment) || has(Family::Build);
        facts.traces = has(Family::SourceLoadState) || has(Family::SourceReplica);
        facts
    }

    fn state(&self) -> State {
        match self {
            Self { is_milvus: false, .. } => State::NoMilvus,
            Self { collections: false, data: true, .. } => State::InMysql,
            // Seen from below the meta root: collections that are called otherwise, indexes of no collection.
            Self { collections: false, misplaced: true, .. } | Self { collections: false, target: true, .. } => {
                State::NoMilvus
            }
            Self { collections: false, .. } => State::NothingToMigrate,
            Self { target: false, .. } => State::Ready,
            Self { source: true, .. } => State::NewerStartedFirst,
            Self { embedded: 1.., .. } => State::MigratedByOriginalTool,
            Self { traces: true, .. } => State::MigratedWithoutHistory,
            _ => State::Newer,
        }
    }

    fn found(&self) -> Found {
        match (self.source || self.embedded > 0, self.target) {
            (false, false) => Found::Neither,
            (true, false) => Found::Source,
            (true, true) => Found::Mixed,
            (false, true) => Found::Target,
        }
    }
}

/// Whether there are records that only 2.1 has. Its replicas do not count: the original tool leaves them where they are.
fn has_source(records: &Records) -> bool {
    records.source_keys().keys().any(|prefix| prefix != Family::SourceReplica.prefix())
}

fn made_by_newer(records: &Records) -> MadeByNewer {
    let collections = collection::read(records, true);
    let aliases = alias::read(records);
    let mut made = MadeByNewer::default();
    for collection in collections.iter() {
        match collection.form {
            Form::Separate => made.collections.push(collection.name.clone()),
            Form::Embedded if collection.has_lost_its_schema() => made.changed.push(collection.name.clone()),
            Form::Embedded => {}
        }
    }
    made.dropped = dropped(records, &collections);
    made.indexes = indexes(records, &collections);
    let known: BTreeSet<&str> = aliases.living_source().map(|(name, _)| name).collect();
    made.aliases =
        aliases.living_target().map(|(name, _)| name.to_owned()).filter(|name| !known.contains(&**name)).collect();
    made
}

/// Collections that a newer Milvus is dropping or has dropped, while 2.1 still has records of what hung on them.
fn dropped(records: &Records, collections: &Collections) -> Vec<String> {
    let mut dropped = Vec::new();
    for (key, versions) in records.versions_of(Family::Collection) {
        let [id] = key.ids();
        if matches!(collections.standing(id), Standing::Passing) {
            dropped.push(collection_record::name_of(&versions).unwrap_or_else(|| id.to_string()));
        }
    }
    dropped
}

fn indexes(records: &Records, collections: &Collections) -> Vec<String> {
    let mut made = Vec::new();
    for (key, record) in records.of(Family::FieldIndex) {
        let [collection, index] = key.ids();
        let Some(found) = collections.live(collection) else { continue };
        let Ok(FieldIndex { index_info: Some(info), deleted: false, .. }) = FieldIndex::decode(&*record.value) else {
            continue;
        };
        let field = found.field(info.field_id).map_or_else(|| info.field_id.to_string(), |field| field.name.clone());
        made.push(format!("{} on {} / {field} (index {index})", info.index_name, found.name));
    }
    made
}

impl MadeByNewer {
    /// How much it is.
    pub fn in_short(&self) -> String {
        let numbers = [
            (self.collections.len(), "collection made there", "collections made there"),
            (self.changed.len(), "collection changed", "collections changed"),
            (self.dropped.len(), "collection dropped", "collections dropped"),
            (self.indexes.len(), "index made there", "indexes made there"),
            (self.aliases.len(), "alias made there", "aliases made there"),
        ];
        let told =
            numbers.into_iter().filter(|(number, ..)| *number > 0).map(|(number, one, more)| many(number, one, more));
        let text = told.collect::<Vec<_>>().join(", ");
        if text.is_empty() { "nothing made there that has a name".into() } else { text }
    }

    /// Everything by name, a line each.
    pub fn by_name(&self) -> Vec<String> {
        let kinds = [
            ("collection made", &self.collections),
            ("collection changed, without its schema", &self.changed),
            ("collection dropped", &self.dropped),
            ("index made", &self.indexes),
            ("alias made", &self.aliases),
        ];
        kinds.iter().flat_map(|(what, names)| names.iter().map(move |name| format!("{what}: {name}"))).collect()
    }
}
