//! Whatever the bytes: reading ends, with an answer that holds together.

use proptest::collection::vec;
use proptest::prelude::*;

use super::legacy::{StreamHeader, record, stream};
use super::*;

const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok((backup, found)) = read_bytes(bytes) {
        prop_assert_eq!(backup.keys, found.len() as u64);
        prop_assert_eq!(backup.counts.values().sum::<u64>(), backup.keys);
        let mut keys: Vec<_> = found.into_iter().map(|(key, _)| key).collect();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(backup.keys, keys.len() as u64);
    }
    Ok(())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..2_000)
}

fn ours() -> Vec<u8> {
    let (_dir, path) = place();
    write(&path, &few());
    fs::read(path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_get_an_answer(bytes in bytes()) {
        check(&bytes)?;
    }

    #[test]
    fn any_bytes_behind_a_valid_beginning_get_an_answer(bytes in bytes(), entries in 0_i64..3) {
        let header = record(&StreamHeader { entries, ..StreamHeader::default() }.encode());
        let frame = zstd::stream::encode_all(&header[..], 3).unwrap();
        for beginning in [&ZSTD[..], b"\x1F\x8B", &header, &frame, &40_u64.to_le_bytes(), &ours()] {
            check(&[beginning, &bytes].concat())?;
        }
    }

    #[test]
    fn any_stream_in_a_valid_frame_gets_an_answer(bytes in bytes()) {
        check(&zstd::stream::encode_all(&bytes[..], 3).unwrap())?;
    }

    #[test]
    fn any_entries_written_come_back(keys in proptest::collection::btree_map(vec(any::<u8>(), 1..50), vec(any::<u8>(), 0..200), 0..40)) {
        let keys: Entries = keys.into_iter().collect();
        assert_comes_back(&keys);
        let absolute: Entries = keys.iter().map(|(key, value)| ([b"by-dev/meta/", &key[..]].concat(), value.clone())).collect();
        let header = StreamHeader { entries: keys.len() as i64, ..StreamHeader::default() };
        prop_assert_eq!(read_bytes(&stream(&header, &absolute)).unwrap().1, keys);
    }

    #[test]
    fn any_piece_overwritten_is_found(at in any::<prop::sample::Index>(), piece in vec(any::<u8>(), 1..40)) {
        let whole = ours();
        let mut changed = whole.clone();
        let at = at.index(whole.len());
        for (byte, new) in changed[at..].iter_mut().zip(&piece) {
            *byte = *new;
        }
        prop_assume!(changed != whole);
        prop_assert!(read_bytes(&changed).is_err());
    }
}
