//! Indexes of fields.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::collections::CollectionCheck;
use super::finding::Findings;
use super::invariant::Invariant;
use super::read;
use crate::catalog::records::same_id;
use crate::layout::families::Family;
use crate::layout::messages::common::KeyValuePair;
use crate::layout::messages::target::{FieldIndex, IndexInfo};

/// Under this type users leave the parameters to Milvus.
const AUTOINDEX: &str = "AUTOINDEX";

/// An index, reduced to what is checked.
#[derive(Debug, Clone)]
pub(super) struct CheckedIndex {
    pub field: i64,
    pub deleted: bool,
    name: String,
}

/// All indexes by collection and index ID; `None` stands for one that cannot be read and has been reported.
#[derive(Debug, Default)]
pub(super) struct IndexCheck(BTreeMap<(i64, i64), Option<CheckedIndex>>);

impl IndexCheck {
    pub(super) fn add(&mut self, ids: (i64, i64), key: &[u8], value: &[u8], findings: &mut Findings) {
        let record = read(key, value, findings, |record: &FieldIndex| {
            let info = record.index_info.as_ref().ok_or("it has no index_info")?;
            same_id("collectionID", info.collection_id, ids.0)?;
            same_id("indexID", info.index_id, ids.1)
        });
        let index = record.map(|record| {
            let info = record.index_info.unwrap_or_default();
            if !record.deleted {
                check_params(key, &info, findings);
            }
            CheckedIndex { field: info.field_id, deleted: record.deleted, name: info.index_name }
        });
        self.0.insert(ids, index);
    }

    /// An index, if there is one; `Some(None)` if it cannot be read.
    pub(super) fn get(&self, collection: i64, index: i64) -> Option<Option<&CheckedIndex>> {
        self.0.get(&(collection, index)).map(Option::as_ref)
    }

    pub(super) fn check(&self, collections: &CollectionCheck, findings: &mut Findings) {
        let mut names = BTreeMap::new();
        for ((collection, id), index) in &self.0 {
            // A deleted index may outlive its collection until Milvus cleans up.
            let Some(index) = index.as_ref().filter(|index| !index.deleted) else { continue };
            let key = Family::FieldIndex.key([*collection, *id]).to_string();
            if !collections.exists(*collection) {
                let what = format!("index {:?} is on collection {collection}, which does not exist", index.name);
                findings.error(Invariant::IndexFieldExists, &key, what);
            } else if collections.is_created(*collection) && !collections.has_field((*collection, index.field)) {
                let what =
                    format!("index {:?} is on field {}, which the collection does not have", index.name, index.field);
                findings.error(Invariant::IndexFieldExists, &key, what);
            }
            if let Some(first) = names.insert((*collection, &index.name), *id) {
                let what = format!("its name {:?} is that of index {first}, too", index.name);
                findings.error(Invariant::IndexNamesUnique, &key, what);
            }
        }
    }
}

fn check_params(key: &[u8], info: &IndexInfo, findings: &mut Findings) {
    let value_of = |params: &[KeyValuePair], name: &str| {
        params.iter().rev().find(|pair| pair.key == name).map(|pair| pair.value.clone())
    };
    if value_of(&info.index_params, "params").is_some() {
        let what = "index_params has an entry `params`, whose content should stand there entry by entry";
        findings.error(Invariant::IndexParamsUnfolded, key, what);
        return;
    }
    if value_of(&info.user_index_params, "index_type").is_some_and(|kind| kind == AUTOINDEX) {
        return;
    }
    let Some(given) = value_of(&info.user_index_params, "params") else { return };
    // What is no JSON object is nothing that Milvus could have unfolded.
    let Ok(given) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&given) else { return };
    let missing: Vec<String> = given.into_keys().filter(|name| value_of(&info.index_params, name).is_none()).collect();
    if !missing.is_empty() {
        let what = format!("index_params lacks {}, which user_index_params gives", missing.join(", "));
        findings.error(Invariant::IndexParamsUnfolded, key, what);
    }
}
