//! What `check-files` found: which of the files that the metadata names are not in the object storage, and what that means.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::Header;
use super::words::Text;
use crate::amounts::{many, thousands};
use crate::catalog::files::{FileKind, NamedFiles, NotCounted};
use crate::catalog::problem::Problem;
use crate::guard::Session;
use crate::storage::{Absent, Lacking};

/// What `check-files` found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckFilesOutcome {
    /// What all outcomes begin with.
    #[serde(flatten)]
    pub header: Header,
    /// Where the metadata was read: an etcd endpoint or a backup file.
    pub source: String,
    /// The revision at which it was read; none from a backup of the original tool.
    pub revision: Option<i64>,
    /// Live components: what they write or collect meanwhile can look as if it were missing.
    pub sessions: Vec<Session>,
    /// What is there and what is not.
    pub files: FilesFound,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What is there of what the metadata names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct FilesFound {
    /// The object storage.
    pub storage: String,
    /// Files that the metadata names.
    pub named: u64,
    /// Files that are not there, or are empty.
    pub lacking: u64,
    /// Living segments.
    pub segments: u64,
    /// Segments whose files were not looked for.
    pub not_counted: NotCounted,
    /// Collections that lack files.
    pub collections: Vec<CollectionFiles>,
    /// Records that do not tell their files.
    pub problems: Vec<Problem>,
}

/// What one collection lacks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct CollectionFiles {
    /// Its ID.
    pub id: i64,
    /// Its name; the ID where that is not known.
    pub name: String,
    /// Its living segments.
    pub segments: u64,
    /// Segments of which rows, bloom filters or deletes are not there.
    pub broken_segments: Vec<i64>,
    /// Rows in these.
    pub unreachable_rows: i64,
    /// Indexes of which files are not there.
    pub indexes: Vec<IndexLacking>,
    /// The files, in ascending order.
    pub files: Vec<LackingFile>,
}

/// What one index lacks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct IndexLacking {
    /// Its name.
    pub index: String,
    /// Segments whose index cannot be read.
    pub segments: Vec<i64>,
    /// Builds that these are.
    pub builds: Vec<i64>,
}

/// A file that is not there.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LackingFile {
    /// Its path in the storage.
    pub path: String,
    /// What it holds.
    pub kind: FileKind,
    /// The segment that it is of.
    pub segment: i64,
    /// Whether it is there, but empty.
    pub empty: bool,
}

impl FilesFound {
    /// Puts together what was named and what is lacking of it.
    pub fn new(storage: &str, named: &NamedFiles, lacking: Vec<Lacking>) -> Self {
        let mut collections: BTreeMap<i64, CollectionFiles> = BTreeMap::new();
        let mut indexes: BTreeMap<(i64, i64), IndexLacking> = BTreeMap::new();
        let mut broken: BTreeSet<i64> = BTreeSet::new();
        let mut builds: BTreeSet<i64> = BTreeSet::new();
        let number = lacking.len() as u64;
        for one in lacking {
            let owner = &named.owners[one.owner as usize];
            let collection = collections.entry(owner.collection).or_default();
            let empty = one.absent == Absent::Empty;
            collection.files.push(LackingFile { path: one.path, kind: owner.kind, segment: owner.segment, empty });
            match owner.build {
                Some((index, build)) if builds.insert(build) => {
                    let lacking = indexes.entry((owner.collection, index)).or_default();
                    lacking.segments.push(owner.segment);
                    lacking.builds.push(build);
                }
                Some(_) => {}
                None if broken.insert(owner.segment) => {
                    collection.broken_segments.push(owner.segment);
                    collection.unreachable_rows += named.segments.get(&owner.segment).map_or(0, |found| found.rows);
                }
                None => {}
            }
        }
        for ((collection, index), mut lacking) in indexes {
            lacking.index = named.indexes.get(&(collection, index)).cloned().unwrap_or_else(|| index.to_string());
            collections.entry(collection).or_default().indexes.push(lacking);
        }
        for (id, collection) in &mut collections {
            collection.id = *id;
            collection.name = named.collections.get(id).cloned().unwrap_or_else(|| id.to_string());
            collection.segments = named.segments.values().filter(|found| found.collection == *id).count() as u64;
        }
        Self {
            storage: storage.to_owned(),
            named: named.count(),
            lacking: number,
            segments: named.segments.len() as u64,
            not_counted: named.not_counted,
            collections: collections.into_values().collect(),
            problems: named.problems.clone(),
        }
    }

    /// Whether everything is there, and everything is known.
    pub fn is_whole(&self) -> bool {
        self.lacking == 0 && self.problems.is_empty()
    }

    /// Rows that cannot be read.
    pub fn unreachable_rows(&self) -> i64 {
        self.collections.iter().map(|collection| collection.unreachable_rows).sum()
    }

    /// Builds whose files are not there.
    pub fn builds(&self) -> impl Iterator<Item = i64> {
        self.collections.iter().flat_map(|one| &one.indexes).flat_map(|index| index.builds.iter().copied())
    }

    /// What it comes to, in one line.
    pub fn headline(&self) -> String {
        let named = thousands(self.named);
        if self.named == 0 {
            return "the metadata names no files".to_owned();
        }
        if self.lacking == 0 {
            return match self.problems.len() {
                0 => format!("all {named} files that the metadata names are there"),
                problems => {
                    let records = many(problems, "record does not tell its files", "records do not tell their files");
                    format!("{records}; the {named} that are named are there")
                }
            };
        }
        if self.lacking == self.named {
            return format!("NONE of the {named} files is there: is this the storage of another Milvus?");
        }
        let rows = self.unreachable_rows();
        let indexes: usize = self.collections.iter().map(|one| one.indexes.len()).sum();
        let mut parts = Vec::new();
        if rows > 0 || self.collections.iter().any(|one| !one.broken_segments.is_empty()) {
            parts.push(format!("{} cannot be reached", many(rows.unsigned_abs(), "row", "rows")));
        }
        if indexes > 0 {
            parts.push(many(indexes, "index has to be built again", "indexes have to be built again"));
        }
        format!("{} of {named} files are NOT there: {}", thousands(self.lacking), parts.join(", "))
    }

    /// Everything that is lacking, collection by collection.
    pub fn list(&self, text: &mut Text) {
        for collection in &self.collections {
            text.line(format!("{} ({}):", collection.name, collection.id));
            if !collection.broken_segments.is_empty() {
                text.line(format!(
                    "  {} of {} cannot be read: {} cannot be reached, and the collection cannot be loaded",
                    thousands(collection.broken_segments.len() as u64),
                    many(collection.segments, "segment", "segments"),
                    many(collection.unreachable_rows.unsigned_abs(), "row", "rows")
                ));
            }
            for index in &collection.indexes {
                text.line(format!(
                    "  index {} has to be built again, for {}",
                    index.index,
                    many(index.segments.len(), "segment", "segments")
                ));
            }
            text.list(
                "  files",
                collection.files.iter().map(|file| {
                    let empty = if file.empty { " (there, but empty)" } else { "" };
                    format!("  {}{empty}", file.path)
                }),
            );
        }
        text.list(
            "records that do not tell their files",
            self.problems.iter().map(|one| format!("{}: {}", one.key, one.what)),
        );
    }
}

/// The outcome for people.
pub fn text(outcome: &CheckFilesOutcome, details: bool) -> String {
    let files = &outcome.files;
    let mut text = Text::new(details);
    text.line(files.headline());
    let revision = outcome.revision.map_or_else(String::new, |revision| format!(" at revision {revision}"));
    text.line(format!(
        "{}, from {}{revision}: {}, held against the {}, in {:.1} s",
        outcome.header.meta_root.as_deref().unwrap_or_default(),
        outcome.source,
        many(files.segments, "living segment", "living segments"),
        files.storage,
        outcome.seconds
    ));
    let NotCounted { dropped, of_what_is_gone } = files.not_counted;
    if dropped + of_what_is_gone > 0 {
        text.line(format!(
            "not looked for: files of {}, and of {} of collections or partitions that are gone",
            many(dropped, "dropped segment", "dropped segments"),
            thousands(of_what_is_gone)
        ));
    }
    text.list(
        "Milvus is running: what it compacts or collects meanwhile looks as if it were missing; look again if something is",
        outcome.sessions.iter().map(ToString::to_string),
    );
    files.list(&mut text);
    text.line(format!("next: {}", outcome.header.next.text));
    text.finish()
}
