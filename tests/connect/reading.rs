//! Pages of one revision.

use std::collections::BTreeMap;

use meta_migration::etcd::{Entry, Etcd as Connection, EtcdError, ReadOptions, Snapshot};

use crate::common::{Etcd, Version, block_on, on_both_versions};
use crate::{config_for, connect};

on_both_versions![
    pages_together_are_a_plain_read,
    keys_are_read_once_however_they_lie,
    a_prefix_ends_at_the_right_key_for_every_byte,
    all_pages_are_of_the_first_revision,
    an_older_revision_can_be_read,
    tells_that_the_revision_was_compacted,
    large_values_come_in_smaller_pages,
    a_value_beyond_the_limit_is_told,
    small_values_come_in_larger_pages,
    counts_the_keys_of_a_prefix,
    what_has_changed_is_read_however_the_keys_are_cut,
];

fn pages(first_page: i64) -> ReadOptions {
    ReadOptions { first_page, largest_page: first_page, ..ReadOptions::default() }
}

fn read_on(snapshot: &mut Snapshot) -> Vec<Vec<Entry>> {
    let mut pages = Vec::new();
    while let Some(page) = block_on(snapshot.next_page()).unwrap() {
        pages.push(page);
    }
    pages
}

fn read(connection: &Connection, prefix: impl Into<Vec<u8>>, options: ReadOptions) -> Vec<Vec<Entry>> {
    let mut snapshot = block_on(connection.snapshot_with(prefix, options)).unwrap();
    let pages = read_on(&mut snapshot);
    let entries = pages.iter().flatten().count();
    assert_eq!(u64::try_from(entries).unwrap(), snapshot.total());
    assert!(pages.iter().flatten().is_sorted_by(|a, b| a.key < b.key));
    assert_eq!(block_on(snapshot.next_page()).unwrap(), None);
    pages
}

fn as_map(pages: &[Vec<Entry>]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    pages.iter().flatten().map(|entry| (entry.key.to_vec(), entry.value.to_vec())).collect()
}

fn pages_together_are_a_plain_read(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let connection = connect(&config_for(&etcd));
    let count = etcd.dump_prefix("by-dev/meta/").len();
    for size in [1, 2, 3, 7, 100, count - 1, count, count + 1] {
        let read = read(&connection, "by-dev/meta/", pages(size.try_into().unwrap()));
        assert!(read.iter().all(|page| page.len() <= size), "{size}");
        assert_eq!(as_map(&read), etcd.dump_prefix("by-dev/meta/"), "{size}");
    }
    assert_eq!(as_map(&read(&connection, "", ReadOptions::default())), etcd.dump());
    assert!(read(&connection, "nothing", pages(1)).is_empty());
}

/// Where many keys are left, a request ends before they do: with the keys that begin like the last one.
fn keys_are_read_once_however_they_lie(version: Version) {
    let etcd = Etcd::start(version);
    let close = (0..700).map(|id| format!("a/{}", 470_000_000_000_u64 + id));
    let far_apart = (0..300).map(|id| format!("a/{}", 480_000_000_000_u64 + id * 1_000_003));
    let closer_and_closer = (0..300).map(|id| format!("b/{}", 999_999_999_u64 - 900_000_000 / (id + 1)));
    let nested = (0..20).flat_map(|id| (0..=id * 3).map(move |inner| format!("c/{}/{inner}", 5000 + id * id * 7)));
    let names = (0..200_u32).map(|name| format!("d/{:x}", name.wrapping_mul(2_654_435_761)));
    let unlike_length = (0..12).map(|digits| format!("e/1{}", "0".repeat(digits)));
    let text = close.chain(far_apart).chain(closer_and_closer).chain(nested).chain(names).chain(unlike_length);
    let bytes = (0..=u8::MAX).map(|byte| vec![byte | 0x80, byte, 0xff, byte]);
    let keys: Vec<_> = text.map(String::into_bytes).chain(bytes).collect();
    etcd.put_all(keys.iter().map(|key| (key.clone(), key[..1].to_vec(), 0)));
    let connection = connect(&config_for(&etcd));
    for prefix in ["", "a", "a/4", "b/", "c/", "c/5", "d/", "e/"] {
        let expected = etcd.dump_prefix(prefix);
        for (size, visited) in [(1, 1), (1, 20), (3, 1), (17, 1), (17, 300), (100, 1), (450, 1)] {
            if expected.len() > size * 200 {
                continue;
            }
            let options = ReadOptions { visited, ..pages(size.try_into().unwrap()) };
            let read = read(&connection, prefix, options);
            assert_eq!(as_map(&read), expected, "{prefix} {size} {visited}");
        }
    }
    let narrow = ReadOptions { visited: 1, ..pages(10) };
    let sizes: Vec<_> = read(&connection, "a/", narrow).iter().map(Vec::len).collect();
    assert!(sizes.len() < 150, "1,000 keys came in {} pages: {sizes:?}", sizes.len());
}

fn a_prefix_ends_at_the_right_key_for_every_byte(version: Version) {
    let etcd = Etcd::start(version);
    let keys = [&b"a"[..], b"a\0", b"a\0\0", b"a\xfe", b"a\xff", b"a\xff\0", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"];
    etcd.put_all(keys.iter().map(|key| (key.to_vec(), b"value".to_vec(), 0)));
    let connection = connect(&config_for(&etcd));
    for prefix in keys.iter().copied().chain([&b""[..], b"a\xff\xff\xff", b"\0"]) {
        for size in [1, 2, 500] {
            let read = as_map(&read(&connection, prefix, pages(size)));
            let expected: Vec<_> = etcd.dump().into_keys().filter(|key| key.starts_with(prefix)).collect();
            assert_eq!(read.into_keys().collect::<Vec<_>>(), expected, "{prefix:?}");
        }
    }
}

fn all_pages_are_of_the_first_revision(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let (before, revision) = (etcd.dump(), etcd.revision());
    let connection = connect(&config_for(&etcd));
    let mut snapshot = block_on(connection.snapshot_with("", pages(50))).unwrap();
    let mut read = vec![block_on(snapshot.next_page()).unwrap().unwrap()];
    for (number, key) in before.keys().enumerate() {
        match number % 3 {
            0 => etcd.delete(key.clone()),
            1 => etcd.put(key.clone(), "changed"),
            _ => etcd.put([key, &b"+"[..]].concat(), "new"),
        }
    }
    read.extend(read_on(&mut snapshot));
    assert_eq!(as_map(&read), before);
    assert_eq!(snapshot.revision(), revision);
    assert_eq!(snapshot.cluster_id(), connection.server().unwrap().cluster_id);
    assert!(read.iter().flatten().all(|entry| entry.mod_revision <= revision));
}

fn an_older_revision_can_be_read(version: Version) {
    let etcd = Etcd::start(version);
    etcd.put_all((0..10).map(|key| (vec![b'k', key], vec![1], 0)));
    let (before, revision) = (etcd.dump(), etcd.revision());
    etcd.put_all((5..15).map(|key| (vec![b'k', key], vec![2], 0)));
    let options = ReadOptions { revision: Some(revision), ..pages(3) };
    assert_eq!(as_map(&read(&connect(&config_for(&etcd)), "k", options)), before);
}

fn tells_that_the_revision_was_compacted(version: Version) {
    let etcd = Etcd::start(version);
    etcd.put_all((0..200).map(|key| (vec![b'k', key], vec![1], 0)));
    let mut snapshot = block_on(connect(&config_for(&etcd)).snapshot_with("k", pages(4))).unwrap();
    assert_eq!(block_on(snapshot.next_page()).unwrap().unwrap().len(), 4);
    etcd.put("another", "key");
    etcd.compact(etcd.revision());
    // A few pages after the first may have been read ahead.
    let error = loop {
        match block_on(snapshot.next_page()) {
            Ok(page) => assert!(page.is_some(), "all was read, though the revision is gone"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, EtcdError::Compacted { .. }), "{error}");
    assert!(error.to_string().contains(&format!("at revision {}", snapshot.revision())), "{error}");
}

fn large_values_come_in_smaller_pages(version: Version) {
    let etcd = Etcd::start(version);
    etcd.put_all((0..9).map(|key| (vec![b'k', key], vec![key; 1 << 20], 0)));
    let connection = connect(&config_for(&etcd));
    let limited = ReadOptions { largest_response: 5 << 20, ..ReadOptions::default() };
    let read_pages = read(&connection, "k", limited);
    // 1,000 keys were asked for, 250, 62, 15, 3; then as many as make up 4 MiB.
    assert!(read_pages.iter().all(|page| page.len() <= 4), "{:?}", read_pages.iter().map(Vec::len).collect::<Vec<_>>());
    assert_eq!(as_map(&read_pages), etcd.dump());
    assert_eq!(as_map(&read(&connection, "k", ReadOptions::default())), etcd.dump());
}

fn a_value_beyond_the_limit_is_told(version: Version) {
    let etcd = Etcd::start(version);
    etcd.put("k", vec![0; 1 << 20]);
    let limited = ReadOptions { largest_response: 1 << 20, ..ReadOptions::default() };
    let error = block_on(connect(&config_for(&etcd)).snapshot_with("k", limited)).unwrap_err();
    assert!(matches!(error, EtcdError::ResponseTooLarge { .. }), "{error}");
}

fn small_values_come_in_larger_pages(version: Version) {
    let etcd = Etcd::start(version);
    etcd.put_all((0..1000_u16).map(|key| (key.to_be_bytes().to_vec(), vec![0; 100], 0)));
    let options = ReadOptions { first_page: 10, page_bytes: 20_000, ..ReadOptions::default() };
    let sizes: Vec<_> = read(&connect(&config_for(&etcd)), "", options).iter().map(Vec::len).collect();
    assert_eq!(sizes[0], 10);
    let largest = *sizes.iter().max().unwrap();
    assert!((100..=194).contains(&largest), "{sizes:?}");
}

/// Whatever the ranges are, changed keys come once and in order, with the number of all keys.
fn what_has_changed_is_read_however_the_keys_are_cut(version: Version) {
    let etcd = Etcd::start(version);
    etcd.put_all((0..40).map(|key| (format!("p/{key:02}").into_bytes(), vec![1], 0)));
    let since = etcd.revision();
    etcd.put("p/07", "changed");
    etcd.put("p/99", "new");
    etcd.put("q", "elsewhere");
    etcd.delete("p/08");
    etcd.delete("p/39");
    etcd.put("p/39", "again");
    let connection = connect(&config_for(&etcd));
    let cuts = |keys: &[&str]| keys.iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>();
    for cuts in [cuts(&[]), cuts(&["p/07"]), cuts(&["p/07", "p/08", "p/39"]), cuts(&["a", "p/", "p/5", "p/99", "x"])] {
        let mut keys = Vec::new();
        let each = |page: Vec<Entry>| keys.extend(page.into_iter().map(|entry| entry.key));
        let changes = block_on(connection.changes("p/", since, cuts.clone(), each)).unwrap();
        assert_eq!(keys, ["p/07", "p/39", "p/99"], "{cuts:?}");
        assert_eq!((changes.keys, changes.revision), (40, etcd.revision()), "{cuts:?}");
    }
    let range = |start: &str, end: &str| (start.as_bytes().to_vec(), end.as_bytes().to_vec());
    let ranges = vec![range("p/", "p0"), range("p/08", "p/09"), range("p/39", "p/99"), range("q", "r")];
    for at_once in [1, 3, 100] {
        assert_eq!(block_on(connection.counts(&ranges, etcd.revision(), at_once)).unwrap(), [40, 0, 1, 1]);
        assert_eq!(block_on(connection.counts(&ranges, since, at_once)).unwrap(), [40, 1, 1, 0]);
    }
}

fn counts_the_keys_of_a_prefix(version: Version) {
    let etcd = Etcd::start(version);
    etcd.load_milvus();
    let connection = connect(&config_for(&etcd));
    let under_meta = etcd.dump_prefix("by-dev/meta/").len();
    assert_eq!(block_on(connection.count("by-dev/meta/")).unwrap(), u64::try_from(under_meta).unwrap());
    assert_eq!(block_on(connection.get_range("by-dev/meta/")).unwrap().len(), under_meta);
}
