//! New names for collections, partitions and aliases, as the user asks for them.
//!
//! 2.1 takes `$` in names and newer versions do not (`validateCollectionName` in Milvus's proxy), and in some order of calls 2.1 lets
//! two things have one name. Nothing is renamed unasked.

use std::collections::BTreeMap;

use super::Options;
use super::alias::Aliases;
use super::collection::{Collection, Collections, Form};

/// The longest name that Milvus takes, in bytes (`proxy.maxNameLength`).
const MAX_NAME_LENGTH: usize = 255;
/// So many of the names that are there are named when one is not found.
const MAX_NAMED: usize = 20;
/// Where rows go for which no partition is named (`common.defaultPartitionName`).
const DEFAULT_PARTITION: &str = "_default";

/// A new name for something that has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The name in the 2.1 metadata, or an ID.
    pub old: String,
    /// The name afterwards.
    pub new: String,
}

impl std::str::FromStr for Rename {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A partition's old name may hold anything, a new name never a `=`.
        let (old, new) = text.rsplit_once('=').ok_or("expected OLD=NEW")?;
        if old.is_empty() {
            return Err("expected OLD=NEW, but there is nothing before the =".into());
        }
        legal(new)?;
        Ok(Self { old: old.to_owned(), new: new.to_owned() })
    }
}

/// Whether all of Milvus 2.2, 2.3 and 2.4 take this as the name of a collection or an alias.
pub fn is_legal(name: &str) -> bool {
    legal(name).is_ok()
}

fn legal(name: &str) -> Result<(), String> {
    let begins_well = name.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic());
    if !begins_well || !name.chars().all(|each| each == '_' || each.is_ascii_alphanumeric()) {
        return Err(format!(
            "{name:?} is no name for Milvus 2.2: it takes letters, digits and underscores, no digit first"
        ));
    }
    if name.len() > MAX_NAME_LENGTH {
        return Err(format!(
            "{name:?} is no name for Milvus 2.2: it takes {MAX_NAME_LENGTH} characters, this has {}",
            name.len()
        ));
    }
    Ok(())
}

/// The new names, by what they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    collections: BTreeMap<i64, String>,
    /// By the old name.
    aliases: BTreeMap<String, String>,
    /// By collection and partition ID.
    partitions: BTreeMap<(i64, i64), String>,
}

impl Names {
    /// The new name of a collection, if it gets one.
    pub fn collection(&self, id: i64) -> Option<&str> {
        self.collections.get(&id).map(String::as_str)
    }

    /// The new name of an alias, if it gets one.
    pub fn alias(&self, old: &str) -> Option<&str> {
        self.aliases.get(old).map(String::as_str)
    }

    /// The new name of a partition, if it gets one.
    pub fn partition(&self, collection: i64, partition: i64) -> Option<&str> {
        self.partitions.get(&(collection, partition)).map(String::as_str)
    }
}

/// Holds the wishes against what there is. Second are those that cannot be fulfilled, each with the reason.
pub fn resolve(collections: &Collections, aliases: &Aliases, options: &Options) -> (Names, Vec<String>) {
    let mut names = Names::default();
    let mut refusals = Vec::new();
    for wish in &options.rename_collection {
        match find_collection(&wish.old, collections) {
            // An earlier, interrupted run has done it.
            Err(_) if is_done(&wish.new, collections) => {}
            Ok(found) if found.form == Form::Separate && found.name == wish.new => {}
            Ok(found) if found.form == Form::Separate => refusals.push(format!(
                "the collection {:?} is in the new layout already: rename it in the new Milvus, or go back and migrate again",
                wish.old
            )),
            Ok(found) => {
                if names.collections.insert(found.id, wish.new.clone()).is_some() {
                    refusals.push(format!("the collection {:?} is to be renamed twice", wish.old));
                }
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    for wish in &options.rename_alias {
        if let Err(refusal) = rename_alias(&mut names, wish, aliases) {
            refusals.push(refusal);
        }
    }
    for wish in &options.rename_partition {
        if let Err(refusal) = rename_partition(&mut names, wish, collections) {
            refusals.push(refusal);
        }
    }
    (names, refusals)
}

fn is_done(new: &str, collections: &Collections) -> bool {
    collections.iter().any(|found| found.form == Form::Separate && found.name == new)
}

/// A collection by its name, or by its ID: a name does not begin with a digit.
fn find_collection<'a>(wanted: &str, collections: &'a Collections) -> Result<&'a Collection, String> {
    if let Some(found) = wanted.parse().ok().and_then(|id| collections.live(id)) {
        return Ok(found);
    }
    let found: Vec<&Collection> = collections.iter().filter(|found| found.name == wanted).collect();
    match found[..] {
        [only] => Ok(only),
        [] => {
            let there: Vec<&str> = collections.iter().map(|found| &*found.name).collect();
            Err(format!("there is no collection {wanted:?} to rename: {}", listed(&there)))
        }
        _ => {
            let ids: Vec<String> = found.iter().map(|found| found.id.to_string()).collect();
            Err(format!(
                "{} collections are named {wanted:?}: say which by its ID ({}), as in --rename-collection {}=NEW",
                found.len(),
                ids.join(", "),
                ids[0]
            ))
        }
    }
}

fn rename_alias(names: &mut Names, wish: &Rename, aliases: &Aliases) -> Result<(), String> {
    if !aliases.living_source().any(|(name, _)| name == wish.old) {
        if aliases.living_target().any(|(name, _)| name == wish.new) {
            return Ok(());
        }
        let there: Vec<&str> = aliases.living_source().map(|(name, _)| name).collect();
        return Err(format!("there is no alias {:?} to rename: {}", wish.old, listed(&there)));
    }
    if aliases.past_source().any(|name| name == wish.new) {
        return Err(format!(
            "the alias {:?} cannot become {:?}: an alias of that name was dropped, and its history is still there. \
             Choose another name",
            wish.old, wish.new
        ));
    }
    match names.aliases.insert(wish.old.clone(), wish.new.clone()) {
        Some(_) => Err(format!("the alias {:?} is to be renamed twice", wish.old)),
        None => Ok(()),
    }
}

fn rename_partition(names: &mut Names, wish: &Rename, collections: &Collections) -> Result<(), String> {
    let Some((collection, partition)) = wish.old.split_once('/') else {
        return Err(format!(
            "{:?} names no partition: expected --rename-partition COLLECTION/PARTITION=NEW, each by name or ID",
            wish.old
        ));
    };
    let collection = find_collection(collection, collections)?;
    let by_id = partition.parse().ok().filter(|id| collection.partitions.contains_key(id));
    let by_name: Vec<i64> =
        collection.partitions.iter().filter(|(_, name)| *name == partition).map(|(id, _)| *id).collect();
    let id = match (by_id, &by_name[..]) {
        (Some(id), _) => id,
        (None, [only]) => *only,
        (None, []) if collection.form == Form::Separate => return Ok(()),
        (None, []) => {
            let there: Vec<&str> = collection.partitions.values().map(String::as_str).collect();
            return Err(format!("collection {:?} has no partition {partition:?}: {}", collection.name, listed(&there)));
        }
        (None, several) => {
            let ids: Vec<String> = several.iter().map(ToString::to_string).collect();
            return Err(format!(
                "{} partitions of collection {:?} are named {partition:?}: say which by its ID ({}), as in \
                 --rename-partition {}/{}=NEW",
                several.len(),
                collection.name,
                ids.join(", "),
                collection.id,
                ids[0]
            ));
        }
    };
    let defaults = collection.partitions.iter().filter(|(_, name)| *name == DEFAULT_PARTITION);
    if defaults.map(|(id, _)| *id).eq([id]) {
        return Err(format!(
            "the partition {DEFAULT_PARTITION} of collection {:?} cannot be renamed: Milvus looks for it by that name",
            collection.name
        ));
    }
    match names.partitions.insert((collection.id, id), wish.new.clone()) {
        Some(_) => Err(format!("the partition {:?} is to be renamed twice", wish.old)),
        None => Ok(()),
    }
}

fn listed(there: &[&str]) -> String {
    let mut named: Vec<_> = there.iter().take(MAX_NAMED).map(|name| format!("{name:?}")).collect();
    if there.len() > MAX_NAMED {
        named.push(format!("and {} more", there.len() - MAX_NAMED));
    }
    if named.is_empty() { "there is none at all".to_owned() } else { format!("there are {}", named.join(", ")) }
}
