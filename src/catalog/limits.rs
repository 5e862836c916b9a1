//! What newer versions of Milvus cannot do with what 2.1 made, found by trying it with real servers (docs/compatibility.md).

use std::collections::BTreeSet;

use super::load_state::STAYS_RELEASED;
use super::names::is_legal;
use super::report::{CheckpointSummary, CollectionSummary, IndexSummary, Limit, Report};
use crate::amounts::many;
use crate::shell::as_argument;

const FROM_2_2: &str = "2.2 and newer";
const ONLY_2_2: &str = "2.2";
const FROM_2_3: &str = "2.3 and newer";

/// Index types that 2.1 builds and no later version loads.
const NOT_LOADED: [&str; 3] = ["RHNSW_FLAT", "RHNSW_SQ", "RHNSW_PQ"];
/// Index types that even 2.1 accepts and never builds.
const NEVER_BUILT: [&str; 5] = ["NSG", "RNSG", "IVF_SQ8_HYBRID", "NGT_PANNG", "NGT_ONNG"];

/// The limits that concern what a report lists.
pub fn of(report: &Report) -> Vec<Limit> {
    let taken: BTreeSet<&str> =
        report.collections.values().map(|one| &*one.name).chain(report.aliases.keys().map(String::as_str)).collect();
    let mut limits = Vec::new();
    for collection in report.collections.values() {
        limits.extend(name(collection, &taken));
        limits.extend(collection.partitions.iter().filter(|name| !is_legal_for_partition(name)).map(|partition| {
            Limit {
                versions: FROM_2_2,
                what: format!("partition {partition} of collection {}", collection.name),
                effect: "its name is refused; its rows are found by searching the whole collection",
                // By the ID of the collection, which may get another name at the same time.
                remedy: format!(
                    "`--rename-partition {}`",
                    as_argument(&format!(
                        "{}/{partition}={}",
                        collection.id,
                        new_partition(partition, &collection.partitions)
                    ))
                ),
            }
        }));
        limits.extend(
            collection.indexes.iter().filter(|index| !index.deleted).flat_map(|index| of_index(collection, index)),
        );
    }
    limits.extend(report.aliases.keys().filter(|alias| !is_legal(alias)).map(|alias| Limit {
        versions: FROM_2_2,
        what: format!("alias {alias}"),
        effect: "its name is refused by everything but a search",
        remedy: format!("`--rename-alias {}`", renaming(alias, &taken)),
    }));
    limits.extend(report.checkpoints.only_dropped.iter().map(|channel| Limit {
        versions: ONLY_2_2,
        what: format!("channel {channel}, of which every segment was dropped"),
        effect: "2.2.16 forgets its checkpoint once it has removed the last of them (three hours after its start, as it is set by default), \
                 reads the channel from its beginning at the next start, and can end in a crash loop over what 2.1 had dropped",
        remedy: "insert and flush a row into that collection soon after the first start; or take 2.3.5 or later".into(),
    }));
    limits.extend(report.released.iter().filter(|one| one.reason == STAYS_RELEASED).map(|one| Limit {
        versions: ONLY_2_2,
        what: format!("collection {}, which is loaded by partition from now on", one.collection),
        // Its query nodes drop what names no loaded partition (`querynode/flow_graph_filter_delete_node.go`).
        effect: "a delete that names no partition is kept, but not seen before the collection is released and loaded again",
        remedy: "name the partition in a delete; or load the whole collection".into(),
    }));
    limits.extend(behind_retention(&report.checkpoints));
    limits.sort();
    limits
}

/// Tried on 2.2.16 and 2.3.5 clusters whose log had lost its beginning (docs/clusters.md).
fn behind_retention(checkpoints: &CheckpointSummary) -> Option<Limit> {
    let oldest = checkpoints.oldest_kafka_offset.iter().map(|time| format!(", the oldest of {time}"));
    (checkpoints.kafka_offsets > 0).then(|| Limit {
        versions: FROM_2_2,
        what: format!(
            "{} from an offset in Kafka{}",
            many(checkpoints.kafka_offsets, "channel that goes on", "channels that go on"),
            oldest.collect::<String>()
        ),
        effect: "if Kafka's retention has passed such an offset, the new Milvus begins at the end of the log, without a word: rows and \
                 deletes of that channel that were not flushed are lost, though they are still in the log",
        remedy: "flush all collections before Milvus 2.1 is stopped, or set kafka.consumer.auto.offset.reset to earliest in the new \
                 Milvus's configuration before its first start (2.2.3 or later): then it begins at the first message that is left"
            .into(),
    })
}

fn name(collection: &CollectionSummary, taken: &BTreeSet<&str>) -> Option<Limit> {
    (!is_legal(&collection.name)).then(|| Limit {
        versions: FROM_2_2,
        what: format!("collection {}", collection.name),
        effect: "its name is refused by everything but a search",
        remedy: format!("`--rename-collection {}`", renaming(&collection.name, taken)),
    })
}

/// Unlike those of collections, names of partitions may begin with a digit and hold blanks around; `$` is what is refused.
fn is_legal_for_partition(name: &str) -> bool {
    !name.contains('$')
}

/// A new name that is free in its collection.
fn new_partition(old: &str, taken: &[String]) -> String {
    let new = old.replace('$', "_");
    if taken.contains(&new) { "NEW".to_owned() } else { new }
}

/// `OLD=NEW` for a shell, with a new name that is free.
fn renaming(old: &str, taken: &BTreeSet<&str>) -> String {
    let new = old.replace('$', "_");
    let new = if is_legal(&new) && !taken.contains(&*new) { &*new } else { "NEW" };
    as_argument(&format!("{old}={new}")).into_owned()
}

fn of_index(collection: &CollectionSummary, index: &IndexSummary) -> Vec<Limit> {
    let kind = &*index.kind;
    let limit = |versions, effect, remedy: &str| Limit {
        versions,
        what: format!("index {} ({kind}) of {} / {}", index.new_name, collection.name, index.field),
        effect,
        remedy: remedy.to_owned(),
    };
    let drop = "release the collection, drop the index, make one of another type (HNSW, IVF_FLAT), with 2.1 or with the new Milvus";
    let drop_or_hand_over =
        &*format!("{drop}; or `--rebuild-index {kind}`: it loads and searches without the index, which is never built");
    let mut limits = Vec::new();
    if NOT_LOADED.contains(&kind) {
        limits.push(limit(FROM_2_2, "it cannot be loaded, nor can the collection with it", drop_or_hand_over));
    }
    if NEVER_BUILT.contains(&kind) {
        limits.push(limit(FROM_2_2, "it is never built (nor was it by 2.1), and the index node tries for ever", drop));
    }
    if kind == "ANNOY" {
        limits.push(limit(ONLY_2_2, "distances by L2 come out as their square roots (2.2.16)", drop));
        limits.push(limit(FROM_2_3, "it cannot be loaded, nor can the collection with it", drop_or_hand_over));
    }
    if index.metric == "TANIMOTO" {
        let jaccard = "release the collection, drop the index, make one with JACCARD";
        limits.push(limit(FROM_2_3, "the metric TANIMOTO is refused in every search", jaccard));
    }
    limits
}
