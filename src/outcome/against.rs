//! How two backups differ, for people and scripts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::words::{Text, counts};
use crate::amounts::thousands;
use crate::backup::examine::Examination;
use crate::catalog::inventory::{Category, Difference, Turn};
use crate::diff::Diff;
use crate::layout::keys;

/// How a backup differs from an earlier one.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Against {
    /// The other file, which is taken for the earlier one.
    pub earlier: Box<Examination>,
    /// Whether both hold the same metadata: every key with its value, sessions and our history aside.
    pub same: bool,
    /// What has a name and is not the same.
    pub differences: Vec<Difference>,
    /// Keys that are not the same, by prefix.
    pub keys: KeyDifferences,
}

/// Keys that are not the same, by prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyDifferences {
    /// Keys that the earlier one does not have.
    pub came: BTreeMap<String, u64>,
    /// Keys that only the earlier one has.
    pub went: BTreeMap<String, u64>,
    /// Keys with another value.
    pub changed: BTreeMap<String, u64>,
    /// Number of keys that are the same.
    pub equal: u64,
}

impl KeyDifferences {
    /// Of a difference in which the later file is what should be.
    pub fn of(diff: &Diff) -> Self {
        let mut all = Self { equal: diff.equal.values().sum(), ..Self::default() };
        for edit in &diff.edits {
            let of = match (edit.is_there, &edit.put) {
                (false, _) => &mut all.came,
                (true, Some(_)) => &mut all.changed,
                (true, None) => &mut all.went,
            };
            keys::count(of, &edit.key);
        }
        all
    }
}

/// The outcome for people: what came, went and changed, kind by kind.
pub fn text(file: &Examination, against: &Against) -> String {
    let mut text = Text::new(true);
    let [later, earlier] = [file, &against.earlier].map(described);
    text.line(format!("{later}\nagainst {earlier}"));
    if root(file) != root(&against.earlier) {
        text.line(format!("note: they are of different meta roots, {} and {}", root(file), root(&against.earlier)));
    }
    if against.same {
        text.line(format!("the same: all {} metadata keys with their values", thousands(against.keys.equal)));
        return text.finish();
    }
    for (kind, title) in [
        (Category::Collection, "collections"),
        (Category::Partition, "partitions"),
        (Category::Index, "indexes"),
        (Category::LoadState, "load states"),
        (Category::Alias, "aliases"),
        (Category::User, "users"),
    ] {
        text.list(title, against.differences.iter().filter(|one| one.kind == kind).map(line));
    }
    if against.differences.is_empty() {
        text.line("nothing that has a name came, went or changed");
    }
    let keys = &against.keys;
    text.line(format!("keys that are the same: {}", thousands(keys.equal)));
    for (turn, of) in [(Turn::Came, &keys.came), (Turn::Went, &keys.went), (Turn::Changed, &keys.changed)] {
        if !of.is_empty() {
            text.line(format!(
                "keys that {}: {} ({})",
                turn.in_words(),
                thousands(of.values().sum()),
                counts(of, ", ")
            ));
        }
    }
    text.finish()
}

fn line(one: &Difference) -> String {
    let of = one.collection.as_ref().filter(|_| one.kind != Category::LoadState);
    let of = of.map_or_else(String::new, |collection| format!("{collection} / "));
    let id = one.id.map_or_else(String::new, |id| format!(" ({id})"));
    let details: String = one.details.iter().map(|detail| format!("\n  {detail}")).collect();
    format!("{} {of}{}{id}{details}", one.turn.in_words(), one.name)
}

fn described(file: &Examination) -> String {
    let when = file.manifest.as_ref().map_or_else(String::new, |manifest| {
        format!(", made {} at revision {}", manifest.created, manifest.etcd_revision)
    });
    let running = if file.while_running { ", while Milvus was running" } else { "" };
    format!("{} ({} keys{when}{running})", file.path.display(), thousands(file.keys))
}

fn root(file: &Examination) -> &str {
    let of_header = file.header.as_ref().map(|header| &*header.meta_root);
    of_header.or(file.manifest.as_ref().map(|manifest| &*manifest.meta_root)).unwrap_or("unknown")
}
