//! New names for collections and aliases, as the user asks for them.
//!
//! Milvus 2.1 takes `$` in names and 2.2 does not (`validateCollectionName` in its proxy): such a collection is there, but cannot
//! be reached by its name any more. Nothing is renamed unasked.

use std::collections::BTreeMap;

use prost::Message;

use super::collections::has_embedded;
use super::inventory::{Inventory, Versions};
use crate::layout::is_tombstone;
use crate::layout::keys::{Key, Plain};
use crate::layout::messages::common::CollectionInfo;
use crate::layout::messages::target::AliasInfo;

/// The longest name that Milvus takes, in bytes (`proxy.maxNameLength`).
const MAX_NAME_LENGTH: usize = 255;
/// So many of the names that are there are named when one is not found.
const MAX_NAMED: usize = 20;

/// A new name for something that has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The name in the 2.1 metadata.
    pub old: String,
    /// The name in the 2.2 metadata.
    pub new: String,
}

impl std::str::FromStr for Rename {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (old, new) = text.split_once('=').ok_or("expected OLD=NEW")?;
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
pub(super) struct Names {
    /// By collection ID.
    pub collections: BTreeMap<i64, String>,
    /// By the old name.
    pub aliases: BTreeMap<String, String>,
}

/// A collection or alias that is there, as far as names go.
#[derive(Debug, Clone)]
struct Named {
    name: String,
    /// The ID of the collection that it is, or that it leads to.
    collection: i64,
}

/// All names in the metadata.
struct Found {
    /// Collections in the 2.1 layout.
    collections: Vec<Named>,
    /// Collections in the 2.2 layout.
    switched: Vec<Named>,
    /// Live aliases among the 2.1 records.
    aliases: Vec<Named>,
    /// Live aliases among the 2.2 records.
    written: Vec<Named>,
    /// Aliases that are only a memory: dropped, or history without a present.
    past: Vec<String>,
}

/// Holds the wishes against what there is. Second are those that cannot be fulfilled, each with the reason.
pub(super) fn resolve(inventory: &Inventory, collections: &[Rename], aliases: &[Rename]) -> (Names, Vec<String>) {
    let mut names = Names::default();
    let mut refusals = Vec::new();
    if collections.is_empty() && aliases.is_empty() {
        return (names, refusals);
    }
    let found = Found::read(inventory);
    for wish in collections {
        match find("collection", wish, &found.collections, &found.switched) {
            Ok(Some(collection)) => {
                if names.collections.insert(collection.collection, wish.new.clone()).is_some() {
                    refusals.push(format!("the collection {:?} is to be renamed twice", wish.old));
                }
            }
            Ok(None) => {}
            Err(refusal) => refusals.push(refusal),
        }
    }
    for wish in aliases {
        match find("alias", wish, &found.aliases, &found.written) {
            Ok(Some(_)) if found.past.contains(&wish.new) => refusals.push(format!(
                "the alias {:?} cannot become {:?}: an alias of that name was dropped, and its history is still there. \
                 Choose another name",
                wish.old, wish.new
            )),
            Ok(Some(_)) => {
                if names.aliases.insert(wish.old.clone(), wish.new.clone()).is_some() {
                    refusals.push(format!("the alias {:?} is to be renamed twice", wish.old));
                }
            }
            Ok(None) => {}
            Err(refusal) => refusals.push(refusal),
        }
    }
    refusals.extend(found.collisions(&names));
    (names, refusals)
}

/// What is to be renamed; nothing if an earlier run has done it.
fn find<'a>(what: &str, wish: &Rename, old: &'a [Named], done: &[Named]) -> Result<Option<&'a Named>, String> {
    if let Some(named) = old.iter().find(|named| named.name == wish.old) {
        return Ok(Some(named));
    }
    if done.iter().any(|named| named.name == wish.new) {
        return Ok(None);
    }
    if done.iter().any(|named| named.name == wish.old) {
        return Err(format!(
            "the {what} {:?} is in the 2.2 layout already: rename it in the new Milvus, or go back and migrate again",
            wish.old
        ));
    }
    let mut there: Vec<_> = old.iter().take(MAX_NAMED).map(|named| format!("{:?}", named.name)).collect();
    if old.len() > MAX_NAMED {
        there.push(format!("and {} more", old.len() - MAX_NAMED));
    }
    let there =
        if there.is_empty() { "there is none at all".to_owned() } else { format!("there are {}", there.join(", ")) };
    Err(format!("there is no {what} {:?} to rename: {there}", wish.old))
}

impl Found {
    fn read(inventory: &Inventory) -> Self {
        let mut found = Self { collections: vec![], switched: vec![], aliases: vec![], written: vec![], past: vec![] };
        for (id, versions) in &inventory.collections {
            if let Some((name, is_source)) = collection_name(versions) {
                let list = if is_source { &mut found.collections } else { &mut found.switched };
                list.push(Named { name, collection: *id });
            }
        }
        for (name, versions) in &inventory.aliases {
            match versions.plain.as_ref().filter(|plain| !is_tombstone(&plain.value)) {
                Some(plain) => {
                    let collection = CollectionInfo::decode(&*plain.value).map_or(0, |info| info.id);
                    found.aliases.push(Named { name: name.clone(), collection });
                }
                None => found.past.push(name.clone()),
            }
        }
        found.read_written(inventory);
        found
    }

    fn read_written(&mut self, inventory: &Inventory) {
        for (key, record) in &inventory.target {
            if let Ok(Key::Plain(Plain::Alias(name))) = Key::parse(key) {
                if is_tombstone(&record.value) {
                    self.past.push(name);
                } else if let Ok(info) = AliasInfo::decode(&*record.value) {
                    self.written.push(Named { name, collection: info.collection_id });
                }
            }
        }
    }

    /// New names that something else has, or will have.
    fn collisions(&self, names: &Names) -> Vec<String> {
        let mut owners: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut own = |name, owner| owners.entry(name).or_default().push(owner);
        for Named { name, collection } in &self.collections {
            own(names.collections.get(collection).unwrap_or(name), format!("collection {name:?}"));
        }
        for Named { name, .. } in &self.switched {
            own(name, format!("collection {name:?}"));
        }
        for Named { name, .. } in &self.aliases {
            own(names.aliases.get(name).unwrap_or(name), format!("alias {name:?}"));
        }
        for Named { name, .. } in self.written.iter().filter(|alias| self.counts(alias, names)) {
            own(name, format!("alias {name:?}"));
        }
        let new_names = names.collections.values().chain(names.aliases.values());
        let mut collisions: Vec<String> = new_names
            .filter_map(|name| {
                let owners = owners.get(name.as_str()).filter(|owners| owners.len() > 1)?;
                Some(format!("only one can be named {name:?}, but these would be: {}", owners.join(", ")))
            })
            .collect();
        collisions.sort();
        collisions.dedup();
        collisions
    }

    /// Whether a 2.2 record of an alias is the work of 2.2, and not that of an earlier, interrupted run for an alias that is
    /// still among the 2.1 records.
    fn counts(&self, written: &Named, names: &Names) -> bool {
        let of_2_1 = self.collections.iter().any(|collection| collection.collection == written.collection);
        let of_earlier_run = self.aliases.iter().any(|alias| {
            let new = names.aliases.get(&alias.name).unwrap_or(&alias.name);
            alias.name == written.name || (*new == written.name && alias.collection == written.collection)
        });
        !of_2_1 && !of_earlier_run
    }
}

/// The name of a live collection, and whether its record is in the 2.1 layout.
fn collection_name(versions: &Versions) -> Option<(String, bool)> {
    let value = &versions.plain.as_ref().filter(|plain| !is_tombstone(&plain.value))?.value;
    let info = CollectionInfo::decode(&**value).ok()?;
    Some((info.schema?.name, has_embedded(value)))
}
