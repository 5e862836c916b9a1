//! What the user gave for an index, as newer versions note it (docs/layouts.md, rule 3): they compare it as text with what a client
//! sends, and refuse a repeated create_index otherwise.

use super::cluster::{BINARY_VECTOR, Cluster, DOUBLE, FLOAT_VECTOR, INT64, TARGETS, pairs};
use crate::layout::messages::common::KeyValuePair;
use crate::layout::messages::target::FieldIndex;

fn user_params(data_type: i32, params: &[(&str, &str)]) -> Vec<KeyValuePair> {
    let cluster = Cluster::new().collection(1, "c").field(102, "x", data_type).index(500, 102, "i", params);
    let of = |target| {
        let record: FieldIndex = cluster.migrate_to(target).after.get("field-index/1/500");
        record.index_info.unwrap().user_index_params
    };
    let first = of(TARGETS[0]);
    assert!(TARGETS.into_iter().all(|target| of(target) == first));
    first
}

/// The value of `params` afterwards.
fn compact(params: &str) -> String {
    let found = user_params(FLOAT_VECTOR, &[("index_type", "HNSW"), ("params", params)]);
    assert_eq!(found[0], pairs(&[("index_type", "HNSW")])[0], "the order stays");
    assert_eq!((found.len(), &*found[1].key), (2, "params"));
    found[1].value.clone()
}

#[test]
fn what_pymilvus_2_1_wrote_loses_the_blanks_of_json_dumps_and_nothing_else() {
    for (dumped, compacted) in [
        (r#"{"nlist": 128}"#, r#"{"nlist":128}"#),
        (r#"{"M": 16, "efConstruction": 200}"#, r#"{"M":16,"efConstruction":200}"#),
        (r#"{"efConstruction": 200, "M": 16}"#, r#"{"efConstruction":200,"M":16}"#),
        (r#"{"a": 1000000, "b": 0.10, "c": -1}"#, r#"{"a":1000000,"b":0.10,"c":-1}"#),
        (r#"{"a": [1, 2], "b": {"c": null}}"#, r#"{"a":[1,2],"b":{"c":null}}"#),
        (r#"{"a, b": "c: d, e"}"#, r#"{"a, b":"c: d, e"}"#),
        (r#"{"a": "\", \\", "b": 1}"#, r#"{"a":"\", \\","b":1}"#),
        (r#"{"\u00fc": "\u00fc"}"#, r#"{"\u00fc":"\u00fc"}"#),
        ("{}", "{}"),
    ] {
        assert_eq!(compact(dumped), compacted);
    }
}

#[test]
fn what_another_client_wrote_stays_as_it_is_because_it_sends_the_same_text_again() {
    for text in [
        r#"{"nlist":128}"#,
        r#"{"M": 16,"efConstruction": 200}"#,
        r#"{"M":16, "efConstruction":200}"#,
        r#"{"M":  16}"#,
        r#"{ "M": 16}"#,
        r#"{"M": 16 }"#,
        r#"{"M" : 16}"#,
        "{\"M\":\n16}",
        "{\n\"M\": 16}",
        "{\"M\": 16,\t\"a\": 1}",
        " {}",
    ] {
        assert_eq!(compact(text), text);
    }
}

#[test]
fn only_params_is_compacted() {
    let params = [("note", r#"{"a": 1}"#), ("params", r#"{"a": 1}"#), ("metric_type", "L2")];
    let expected = [("note", r#"{"a": 1}"#), ("params", r#"{"a":1}"#), ("metric_type", "L2")];
    assert_eq!(user_params(FLOAT_VECTOR, &params), pairs(&expected));
}

#[test]
fn for_a_scalar_field_that_was_given_nothing_but_the_index_type_it_is_empty() {
    let only = [("index_type", "STL_SORT")];
    assert_eq!(user_params(INT64, &only), []);
    assert_eq!(user_params(DOUBLE, &only), []);
    assert_eq!(user_params(21, &[("index_type", "Trie")]), []);
    assert_eq!(user_params(BINARY_VECTOR, &only), pairs(&only), "a vector");
    let more = [("index_type", "STL_SORT"), ("params", "{}")];
    assert_eq!(user_params(INT64, &more), pairs(&more));
    assert_eq!(user_params(INT64, &[("metric_type", "L2")]), pairs(&[("metric_type", "L2")]));
    assert_eq!(user_params(INT64, &[]), []);
}
