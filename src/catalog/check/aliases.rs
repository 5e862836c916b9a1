//! AliasCheck.

use std::collections::BTreeMap;

use prost::Message;

use super::collections::CollectionCheck;
use super::finding::Findings;
use super::invariant::Invariant;
use super::read_version;
use super::versions::{Version, VersionCheck, fingerprint};
use crate::catalog::records::same_id;
use crate::layout::families::{DEFAULT_DATABASE, Family};
use crate::layout::keys::Key;
use crate::layout::messages::target::AliasInfo;
use crate::version::Layout;

/// An alias, reduced to what is checked.
#[derive(Debug, Clone, Copy)]
struct Alias {
    collection: i64,
    created: bool,
}

/// All aliases by their plain keys.
#[derive(Debug, Default)]
pub(super) struct AliasCheck(BTreeMap<Key, VersionCheck<Alias>>);

impl AliasCheck {
    pub(super) fn add(&mut self, parsed: &Key, key: &[u8], value: &[u8], findings: &mut Findings) {
        let state = read_version(key, value, findings, |info: &AliasInfo| {
            let recorded = &info.alias_name;
            if *recorded != parsed.name() {
                return Err(format!("its alias_name is {recorded:?}, but the key says {:?}", parsed.name()));
            }
            same_id("db_id", info.db_id, database_of(parsed))
        });
        let state = match state {
            // The plain key of a migrated alias has no time of creation, as Milvus's own migration writes it.
            Version::Live(_, info) => {
                let kept = Alias { collection: info.collection_id, created: info.state == 0 };
                Version::Live(fingerprint(&AliasInfo { created_time: 0, ..info }.encode_to_vec()), kept)
            }
            Version::Dropped => Version::Dropped,
            Version::Unusable => Version::Unusable,
        };
        self.0.entry(parsed.clone().plain()).or_default().add(parsed.snapshot, state);
    }

    pub(super) fn check(&self, collections: &CollectionCheck, layout: Option<Layout>, findings: &mut Findings) {
        let names = collections.by_name();
        for (plain, versions) in &self.0 {
            let (name, key) = (plain.name(), plain.to_string());
            versions.check(plain.clone(), false, layout, findings);
            // On their way in or out, much may be missing.
            let Some(Alias { collection, .. }) = versions.live().filter(|alias| alias.created) else { continue };
            if !collections.exists(*collection) {
                let what = format!("its collection {collection} does not exist");
                findings.error(Invariant::AliasTargetExists, &key, what);
            }
            if let Some(collection) = names.get(&(database_of(plain).max(DEFAULT_DATABASE), name)) {
                let what = format!("collection {collection} has that name");
                findings.error_with(
                    Invariant::AliasNameFree,
                    key.clone(),
                    what,
                    format!("--rename-alias '{name}=NEW'"),
                );
            }
            if layout.is_some_and(|layout| layout.in_database != (plain.family == Family::DatabaseAlias)) {
                let what = "the alias is not where this target writes aliases itself";
                findings.error(Invariant::TargetForm, &key, what);
            }
        }
    }
}

/// The database that the key says; 0 before there were databases.
fn database_of(key: &Key) -> i64 {
    if key.family == Family::DatabaseAlias { key.ids::<1>()[0] } else { 0 }
}
