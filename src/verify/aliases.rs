//! Aliases.

use std::collections::BTreeMap;

use prost::Message;

use super::collections::Collections;
use super::invariant::{Findings, Invariant};
use super::read_version;
use super::versions::{State, Versions, fingerprint};
use crate::layout::keys::Plain;
use crate::layout::messages::target::AliasInfo;

/// All aliases, each with its collection.
#[derive(Debug, Default)]
pub(super) struct Aliases(BTreeMap<String, Versions<i64>>);

impl Aliases {
    pub(super) fn add(
        &mut self,
        name: String,
        timestamp: Option<u64>,
        key: &[u8],
        value: &[u8],
        findings: &mut Findings,
    ) {
        let state = read_version(key, value, findings, |info: &AliasInfo| {
            let recorded = &info.alias_name;
            let agrees = *recorded == name;
            agrees.then_some(()).ok_or_else(|| format!("its alias_name is {recorded:?}, but the key says {name:?}"))
        });
        let state = match state {
            // The plain key of a migrated alias has no time of creation, as Milvus's own migration writes it.
            State::Live(_, info) => {
                let id = info.collection_id;
                State::Live(fingerprint(&AliasInfo { created_time: 0, ..info }.encode_to_vec()), id)
            }
            State::Dropped => State::Dropped,
            State::Unusable => State::Unusable,
        };
        self.0.entry(name).or_default().add(timestamp, state);
    }

    pub(super) fn check(&self, collections: &Collections, findings: &mut Findings) {
        let names = collections.by_name();
        for (name, versions) in &self.0 {
            let plain = Plain::Alias(name.clone());
            let key = plain.to_string();
            versions.check(plain, false, findings);
            let Some(collection) = versions.live() else { continue };
            if !collections.exists(*collection) {
                let what = format!("its collection {collection} does not exist");
                findings.warn(Invariant::AliasTargetExists, &key, what);
            }
            if let Some(collection) = names.get(&**name) {
                findings.error(Invariant::AliasNameFree, &key, format!("collection {collection} has that name"));
            }
        }
    }
}
