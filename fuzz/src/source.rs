//! Whether 2.1 metadata is such as Milvus 2.1 writes it, beyond what the conversion needs: what is odd is carried over as it is, and
//! `verify` tells it afterwards. Only of the rest can be asked that `verify` finds nothing.

use std::collections::BTreeSet;

use meta_migration::layout::keys::{Key, Plain, Side};
use meta_migration::layout::messages::{common::CollectionInfo, source};
use meta_migration::layout::{is_tombstone, wire};
use prost::Message;

use crate::checks::Keys;

/// Whether anything is odd.
pub fn is_odd(keys: &Keys) -> bool {
    let mut names = BTreeSet::new();
    keys.iter().any(|(key, value)| match Key::parse(key) {
        Ok(Key::Plain(plain @ Plain::Collection(_))) if !is_tombstone(value) => {
            is_odd_collection(value, &mut names) || differs_from_newest(&plain, value, keys)
        }
        Ok(Key::Plain(plain @ Plain::SourceAlias(_))) => differs_from_newest(&plain, value, keys),
        Ok(Key::Plain(plain @ Plain::Collection(_))) => differs_from_newest(&plain, value, keys),
        Ok(Key::Snapshot(Plain::Collection(_), _)) => !is_tombstone(value) && lacks_parts(value),
        Ok(Key::Build(_)) => is_odd_build(value),
        Ok(Key::Plain(Plain::SourceSegmentIndex { .. })) => is_odd_segment_index(value),
        Ok(Key::LoadState(_)) => source::LoadState::decode(&**value).is_ok_and(|state| state.replica_number < 0),
        Err(error) => error.side == Side::Target,
        Ok(Key::Segment { .. }) => source::SegmentInfo::decode(&**value).is_ok_and(|segment| segment.num_of_rows < 0),
        _ => false,
    }) || keys.keys().any(|key| match Key::parse(key) {
        Ok(Key::Plain(Plain::SourceAlias(name))) => names.contains(&name),
        _ => false,
    })
}

fn is_odd_collection(value: &[u8], names: &mut BTreeSet<String>) -> bool {
    let Ok(info) = CollectionInfo::decode(value) else { return true };
    let schema = info.schema.unwrap_or_default();
    let primary_keys = schema.fields.iter().filter(|field| field.is_primary_key).count();
    let partitions: BTreeSet<_> = info.partition_names.iter().collect();
    // 2.1 does not know states.
    let has_state = info.state != 0;
    has_state || primary_keys != 1 || partitions.len() != info.partition_names.len() || !names.insert(schema.name)
}

/// Older snapshots are whole by themselves.
fn lacks_parts(value: &[u8]) -> bool {
    let info = CollectionInfo::decode(value).unwrap_or_default();
    info.partition_ids.is_empty() || info.schema.unwrap_or_default().fields.is_empty() || info.state != 0
}

/// Making an index makes no snapshot, so the field indexes may differ, and nothing else.
fn differs_from_newest(plain: &Plain, value: &[u8], keys: &Keys) -> bool {
    let snapshots = keys.iter().filter_map(|(key, value)| match Key::parse(key) {
        Ok(Key::Snapshot(of, time)) if of == *plain => Some((time, value)),
        _ => None,
    });
    let Some((_, newest)) = snapshots.max_by_key(|(time, _)| *time) else { return false };
    let bare = |value: &[u8]| if is_tombstone(value) { Ok(value.to_vec()) } else { wire::without(value, &[6]) };
    bare(value) != bare(newest)
}

fn is_odd_build(value: &[u8]) -> bool {
    let Ok(meta) = source::IndexMeta::decode(value) else { return false };
    let unissued_with_files = meta.state == 1 && !meta.index_file_paths.is_empty();
    let rows = meta.req.map_or(0, |request| request.num_rows);
    unissued_with_files || !(0..=5).contains(&meta.state) || meta.index_build_id <= 0 || rows < 0
}

fn is_odd_segment_index(value: &[u8]) -> bool {
    source::SegmentIndexInfo::decode(value).is_ok_and(|info| info.build_id < 0)
}
