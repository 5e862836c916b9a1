//! The catalog of a Milvus cluster: read from the records of either layout, written for a target's own layout, and judged.
//! Purely: no network, no clock, no file, no terminal.
//!
//! One file for each kind of thing, named as Milvus names it: what it is, how 2.1 spells it, how newer versions do, and what is
//! told of it. The rules are those of Milvus itself, read off its sources and tried on real servers; docs/layouts.md has them
//! with their reasons.

pub mod alias;
mod build;
pub mod channel;
pub mod check;
pub mod collection;
pub mod collection_record;
pub mod entries;
pub mod files;
pub mod handed_over;
pub mod index;
pub mod inventory;
mod limits;
pub mod load_state;
pub mod names;
pub mod problem;
pub mod records;
pub mod replaced;
pub mod replica;
pub mod report;
pub mod segment;
pub mod segment_index;
pub mod tripwire;
mod unknown;

use prost::Message;

use crate::layout::families::{Family, Side};
use crate::layout::is_tombstone;
use crate::layout::keys::{Key, KeyError, printable};
use crate::layout::messages::target::AliasInfo;
use crate::message_log::MessageLog;
use crate::parallel::both;
use crate::version::Layout;
use alias::Aliases;
use collection::{Collections, Form, Standing};
use entries::Entries;
use names::{Names, Rename};
use problem::Problem;
use records::{Record, Records, Writing};
use report::{LeftOut, Report};

/// Which records count where both layouts have one for the same thing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precedence {
    /// Those of 2.1: what the new layout has of a collection that 2.1 still reads was left by a run of ours that was interrupted.
    #[default]
    Source,
    /// Those of the newer Milvus: it was started before the migration, or another tool migrated. Nothing that it wrote goes.
    Newer,
}

/// What a person can choose about the conversion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Index types whose files get built anew by the target version, beside those that it cannot read.
    pub rebuild_index: Vec<String>,
    /// Hand nothing over for a rebuild.
    pub keep_index_files: bool,
    /// New names for collections: by name or ID.
    pub rename_collection: Vec<Rename>,
    /// New names for aliases.
    pub rename_alias: Vec<Rename>,
    /// New names for partitions: `COLLECTION/PARTITION`, each by name or ID.
    pub rename_partition: Vec<Rename>,
    /// Which message log the cluster reads, where that is known otherwise than by its message IDs.
    pub message_log: Option<MessageLog>,
    /// Which records count where both layouts have one.
    pub precedence: Precedence,
    /// Take a schema that a collection lost from its older snapshots.
    pub restore_schemas: bool,
}

/// What should be there, and what that means.
#[derive(Debug, Clone, Default)]
pub struct Conversion {
    /// All keys of the families in the table with their values, as they should be.
    pub should: Entries,
    /// What happens, by name.
    pub report: Report,
    /// Whatever does not fit together, sorted by key. What is at fault is not in `should`: it would be left out.
    pub problems: Vec<Problem>,
    /// What the user asked for and cannot have, each with the reason.
    pub refusals: Vec<String>,
}

/// Converts everything to the layout of a target. Values that become others are let go meanwhile ([`Record::value_bytes`] remains).
pub fn convert(records: &mut Records, layout: Layout, options: &Options) -> Conversion {
    let mut collections = collection::read(records, options.restore_schemas);
    let aliases = alias::read(records);
    let (names, refusals) = names::resolve(&collections, &aliases, options);
    let mut writing = collection::write(records, &collections, layout, &names, options.precedence);
    collections.take_new_names(&names);
    writing.problems.extend(malformed(records));
    let is_switched = is_switched(&collections, options.precedence);
    let indexed = (!is_switched).then(|| segment_index::read(records));
    let [mut segments, mut builds] = [Family::Segment, Family::Build].map(|family| records.take_out(family));
    // Segments are half of the work.
    let ((written, positions), others) = both(
        || segment::convert(&mut segments, &collections, layout),
        || {
            indexed.map(|indexed| {
                let builds = (indexed, &mut *builds);
                all_but_segments(records, builds, &collections, &aliases, layout, &names, options)
            })
        },
    );
    records.put_back(segments);
    records.put_back(builds);
    writing.append(written);
    match others {
        Some(others) => {
            writing.append(others);
            let keeps_newer = options.precedence == Precedence::Newer;
            writing.append(channel::write(records, &collections, positions, options.message_log, keeps_newer));
        }
        // What is left of the 2.1 layout goes, right or wrong: the new records are complete.
        None => writing.problems.retain(|problem| !is_of_source(&problem.key)),
    }
    finish(records, &collections, layout, options, writing, refusals)
}

fn all_but_segments(
    records: &Records,
    (indexed, builds): (segment_index::SourceIndexes, &mut [Record]),
    collections: &Collections,
    aliases: &Aliases,
    layout: Layout,
    names: &Names,
    options: &Options,
) -> Writing {
    let mut writing = alias::write(aliases, collections, layout, names, options.precedence);
    let (indexes, written) = index::convert(records, collections, options.precedence);
    writing.append(written);
    writing.report.warnings.extend(unknown::warnings(records.iter().chain(&*builds)));
    writing.append(segment_index::convert(indexed, builds, collections, &indexes, options));
    writing.append(load_state::convert(records, collections, &indexes, layout, options.precedence));
    writing
}

/// Whether an interrupted run had switched all collections: then only the cleaning up is left, and what a newer Milvus has changed
/// since counts.
fn is_switched(collections: &Collections, precedence: Precedence) -> bool {
    let has_separate = collections.iter().any(|collection| collection.form == Form::Separate);
    precedence == Precedence::Source && has_separate && collections.embedded().next().is_none()
}

fn is_of_source(key: &str) -> bool {
    crate::layout::keys::family_of(key.as_bytes()).side() == Side::Source
}

fn finish(
    records: &Records,
    collections: &Collections,
    layout: Layout,
    options: &Options,
    mut writing: Writing,
    refusals: Vec<String>,
) -> Conversion {
    let mut should = writing.take_entries();
    let Writing { problems, mut report, .. } = writing;
    let mut more = Vec::new();
    let is_switched = is_switched(collections, options.precedence);
    for record in not_among(records, &should) {
        let stays = match stays(record, records, collections, layout, options.precedence) {
            // Nothing of 2.1 stands against it: a newer Milvus may have been at work, and removes itself what it has dropped.
            Stays::Leftover if is_switched => Stays::Yes,
            stays => stays,
        };
        match stays {
            Stays::Yes => more.push((record.key.clone(), record.value.clone())),
            Stays::No => {}
            Stays::Leftover => {
                let why = "left by an interrupted run; no record of 2.1 stands behind it any more";
                report.left_out.push(LeftOut::new(printable(&record.key), why));
            }
        }
    }
    if collections.iter().next().is_some() {
        more.extend(tripwire::tripwires(layout));
    }
    should.extend(more);
    report.warnings.extend(malformed_of_target(records));
    report.removed = records.source_keys();
    report.limits = limits::of(&report);
    report.sort();
    Conversion { should, report, problems: problem::sorted(problems), refusals }
}

/// The records that nothing was written to. Both are in order, so that a walk through them side by side tells.
fn not_among<'a>(records: &'a Records, should: &Entries) -> Vec<&'a Record> {
    let mut written = should.iter().map(|(key, _)| key).peekable();
    let is_new = |record: &&Record| {
        while written.next_if(|key| **key < record.key).is_some() {}
        written.next_if(|key| **key == record.key).is_none()
    };
    records.iter().filter(is_new).collect()
}

/// What becomes of a key that nothing was written to.
enum Stays {
    Yes,
    No,
    /// It goes, and is told by name.
    Leftover,
}

fn stays(
    record: &Record,
    records: &Records,
    collections: &Collections,
    layout: Layout,
    precedence: Precedence,
) -> Stays {
    // Of these there are millions, and none has to be taken apart.
    if record.family.side() == Side::Source {
        return Stays::No;
    }
    let Ok(parsed) = Key::parse(&record.key) else {
        // A malformed key among the collections or segments is a problem; others are not ours to change.
        return if record.family.side() == Side::Both { Stays::No } else { Stays::Yes };
    };
    match parsed.side() {
        // Answered above.
        Side::Source => Stays::No,
        Side::Neither => Stays::Yes,
        Side::Both if parsed.family == Family::Collection => {
            let [id] = parsed.ids();
            if matches!(collections.standing(id), Standing::Passing | Standing::Lost) { Stays::Yes } else { Stays::No }
        }
        Side::Both => Stays::No,
        // Moved to its database.
        Side::Target if layout.in_database && parsed.family == Family::Alias => match precedence {
            Precedence::Newer => Stays::No,
            Precedence::Source => leftover(&parsed, &record.value, collections),
        },
        Side::Target if precedence == Precedence::Newer => Stays::Yes,
        Side::Target if is_of_a_name_given_up(&parsed, &record.value, records, collections) => Stays::Leftover,
        Side::Target => leftover(&parsed, &record.value, collections),
    }
}

/// A snapshot that an interrupted run wrote for an alias under a new name that is no longer asked for: 2.2.3 to 2.4.13 build their
/// catalog from snapshots alone, and would make an alias of it.
fn is_of_a_name_given_up(key: &Key, value: &[u8], records: &Records, collections: &Collections) -> bool {
    let is_alias = matches!(key.family, Family::Alias | Family::DatabaseAlias);
    let of_source = || {
        let id = AliasInfo::decode(value).ok()?.collection_id;
        collections.live(id).filter(|collection| collection.form == Form::Embedded)
    };
    is_alias
        && key.snapshot.is_some()
        && records.get(&Family::SourceAlias.named(key.name())).is_none()
        && of_source().is_some()
}

/// A record of the new layout goes only where 2.1 still reads its collection, or has dropped it, or will not have it any more.
fn leftover(key: &Key, value: &[u8], collections: &Collections) -> Stays {
    match owner(key, value).map(|id| collections.standing(id)) {
        None | Some(Standing::Passing | Standing::Lost) => Stays::Yes,
        Some(Standing::Live(collection)) if collection.form == Form::Separate => Stays::Yes,
        // The record of an invalid one goes, and then it is as gone as the others.
        Some(Standing::Live(_) | Standing::Invalid | Standing::Gone) => Stays::Leftover,
    }
}

/// The collection that a record of the new layout belongs to. Tombstones and history belong to none: they do no harm. Keys of logs
/// belong to none either: an interrupted run puts them with their segment's record, and that one is in the new form then.
fn owner(key: &Key, value: &[u8]) -> Option<i64> {
    if is_tombstone(value) {
        return None;
    }
    match key.family {
        Family::ChannelCheckpoint => channel::owner(key.name()),
        Family::Alias | Family::DatabaseAlias if key.snapshot.is_none() => {
            AliasInfo::decode(value).ok().map(|alias| alias.collection_id)
        }
        Family::Partition
        | Family::Field
        | Family::FieldIndex
        | Family::SegmentIndex
        | Family::CollectionLoad
        | Family::PartitionLoad
        | Family::Replica => Some(key.ids::<1>()[0]),
        _ => None,
    }
}

/// Keys that have the prefix of a family that is converted, but not its form.
fn malformed(records: &Records) -> Vec<Problem> {
    let meaning = |family: Family| match (family, family.side()) {
        (Family::SourceLoadState, _) => Some("its load state would not be carried over"),
        (_, Side::Source | Side::Both) => {
            Some("newer versions of Milvus could not read it: what it holds would be left out")
        }
        _ => None,
    };
    let problem = |(record, error): (&Record, KeyError)| {
        Some(Problem::at(&record.key, error.to_string(), meaning(error.family)?))
    };
    records.malformed().filter_map(problem).collect()
}

/// Keys that have the prefix of a family of the new layout, but not its form. They are not ours to change, whoever left them there.
fn malformed_of_target(records: &Records) -> Vec<String> {
    let of_target = records.malformed().filter(|(_, error)| error.family.side() == Side::Target);
    let told = of_target.map(|(record, error)| {
        format!(
            "{}: {error}. It stays, and the new Milvus may fail to start on it: look at it, and remove it if nobody needs it",
            printable(&record.key)
        )
    });
    told.collect()
}

#[cfg(test)]
pub(crate) mod tests;
