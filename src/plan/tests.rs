use super::*;
use crate::diff::Differ;

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

/// The plan of a run that deletes these keys, of which nothing else is known.
fn deleting(keys: &[&str]) -> Vec<Change> {
    let mut differ = Differ::new(Vec::new());
    keys.iter().for_each(|key| differ.add(bytes(key), b""));
    Plan::of_run(&differ.finish(), 1).changes().cloned().collect()
}

/// Between two kinds of keys there may be others that no migration looks at: users with their passwords, say.
#[test]
fn no_range_reaches_from_one_kind_of_keys_to_another_be_they_damaged_or_not() {
    let pairs = [
        ("root-coord/index/1/2", "snapshots/root-coord/index/1/2_ts3"),
        // No snapshot: it has no time. But it lies among them.
        ("root-coord/index/1/2", "snapshots/root-coord/index/1/2"),
        ("root-coord/index/1/x", "snapshots/root-coord/index/x_ts"),
        ("root-coord/collection-alias/a", "snapshots/root-coord/collection-alias/b"),
        ("root-coord/index/1/2", "root-coord/segment-index/1/2/3/4"),
        ("root-coord/dd-operation", "snapshots/root-coord/dd-operation_ts1"),
        ("snapshots/root-coord/dd-msg-send_ts1", "snapshots/root-coord/index/1/2_ts1"),
    ];
    for (one, other) in pairs {
        let expected = [one, other].map(|key| Change::delete(bytes(key)));
        assert_eq!(deleting(&[one, other]), expected);
    }
    let one = Change::Delete { first: bytes("root-coord/index/1/2"), last: bytes("root-coord/index/1/3"), keys: 2 };
    assert_eq!(deleting(&["root-coord/index/1/2", "root-coord/index/1/3"]), [one]);
    let last = bytes("snapshots/root-coord/index/1/3");
    let one = Change::Delete { first: bytes("snapshots/root-coord/index/1/2_ts3"), last, keys: 2 };
    assert_eq!(deleting(&["snapshots/root-coord/index/1/2_ts3", "snapshots/root-coord/index/1/3"]), [one]);
}
