//! Indexes that a migration handed over to the newer Milvus, on the way back: it builds them again and collects the files of 2.1,
//! so 2.1 has to build them again, too.

use bytes::Bytes;
use prost::Message;

use super::records::{Records, decode};
use super::report::Rebuilt;
use super::{Options, Precedence, collection, index, segment_index};
use crate::layout::families::Family;
use crate::layout::keys::Key;
use crate::layout::messages::common::IndexState;
use crate::layout::messages::source::IndexMeta;
use crate::layout::messages::target::SegmentIndex;
use crate::layout::wire;

/// Field numbers of index.IndexMeta that a build gets when it is done: fail_reason, index_file_paths, nodeID, recycled,
/// serialize_size; and the state.
const RESULT: [u32; 5] = [3, 5, 7, 9, 10];
const STATE: u32 = 2;

/// The indexes that a migration of these records of 2.1 hands over, by the options that it had.
pub fn handed_over(records: &Records, options: &Options) -> Vec<Rebuilt> {
    let collections = collection::read(records, false);
    let (indexes, _) = index::convert(records, &collections, Precedence::Source);
    let mut builds = records.with_prefix_of(Family::Build).to_vec();
    let source = segment_index::read(records);
    segment_index::convert(source, &mut builds, &collections, &indexes, options).report.rebuilt
}

/// Of these, the ones that the newer Milvus has built meanwhile (or dropped): what 2.1 built for them is collected.
pub fn built_again(handed_over: &[Rebuilt], now: &Records) -> Vec<Rebuilt> {
    let waiting: std::collections::HashSet<i64> = now
        .of(Family::SegmentIndex)
        .filter_map(|(_, record)| {
            let info = SegmentIndex::decode(&*record.value).ok()?;
            (info.state() == IndexState::Unissued && !info.deleted).then_some(info.build_id)
        })
        .collect();
    handed_over.iter().filter(|one| one.builds.iter().any(|build| !waiting.contains(build))).cloned().collect()
}

/// Puts the builds of these indexes back to where 2.1 builds them when it starts: unissued, with no node at work and no files. That is
/// what 2.1 does itself where a build is to be tried again (`metaTable.ResetMeta`), so the version stays: the next build takes the
/// one after it, and a folder of its own with it. Entries are keys relative to the meta root, with their values.
///
/// # Errors
/// A record does not decode: its key, and why.
pub fn reset_builds(entries: &mut [(Bytes, Bytes)], handed_over: &[Rebuilt]) -> Result<(), (Key, String)> {
    for build in handed_over.iter().flat_map(|index| &index.builds) {
        let key = Family::Build.key([*build]);
        let name = key.to_string();
        let Ok(at) = entries.binary_search_by(|(key, _)| (**key).cmp(name.as_bytes())) else { continue };
        entries[at].1 = unissued(&entries[at].1).map_err(|what| (key, what))?;
    }
    Ok(())
}

fn unissued(value: &[u8]) -> Result<Bytes, String> {
    decode::<IndexMeta>(value)?;
    let mut fields = wire::fields(value).map_err(|error| error.to_string())?;
    fields.retain(|field| !RESULT.contains(&field.number) && field.number != STATE);
    // In ascending order, as every encoder writes it.
    let (first, rest): (Vec<_>, Vec<_>) = fields.into_iter().partition(|field| field.number < STATE);
    let mut reset = Vec::with_capacity(value.len());
    first.into_iter().for_each(|field| reset.extend_from_slice(&value[field.whole]));
    prost::encoding::int32::encode(STATE, &(IndexState::Unissued as i32), &mut reset);
    rest.into_iter().for_each(|field| reset.extend_from_slice(&value[field.whole]));
    Ok(Bytes::from(reset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::messages::source::BuildIndexRequest;

    #[test]
    fn a_build_is_put_back_to_unissued_and_keeps_all_else() {
        let request = BuildIndexRequest { index_build_id: 7, num_rows: 12, segment_id: 3, ..Default::default() };
        let done = IndexMeta {
            index_build_id: 7,
            state: IndexState::Finished as i32,
            fail_reason: "none".into(),
            req: Some(request.clone()),
            index_file_paths: vec!["files/index_files/7/2/1/3/IVF".into()],
            node_id: 5,
            index_version: 2,
            serialize_size: 100,
            recycled: true,
            mark_deleted: false,
        };
        let mut value = done.encode_to_vec();
        // A field that this tool does not know.
        prost::encoding::int64::encode(99, &1, &mut value);
        let reset = unissued(&value).unwrap();
        let expected = IndexMeta {
            index_build_id: 7,
            state: IndexState::Unissued as i32,
            req: Some(request),
            index_version: 2,
            ..IndexMeta::default()
        };
        let mut bytes = expected.encode_to_vec();
        prost::encoding::int64::encode(99, &1, &mut bytes);
        assert_eq!(reset, bytes);
        assert_eq!(unissued(&reset).unwrap(), reset, "once more it is the same");
    }
}
