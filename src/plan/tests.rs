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

/// Where a whole does not fit into one transaction: an interruption in between must not leave a record that stands for what is not there.
#[test]
fn what_decides_comes_after_what_it_stands_for_and_goes_before_it() {
    // Each with the one that decides.
    let wholes: [(&str, &[&str]); 4] = [
        (
            "datacoord-meta/s/1/2/3",
            &["datacoord-meta/binlog/1/2/3/100", "datacoord-meta/s/1/2/3", "datacoord-meta/statslog/1/2/3/100"],
        ),
        ("root-coord/collection/1", &["root-coord/collection/1", "snapshots/root-coord/collection/1_ts5"]),
        ("root-coord/aliases/a", &["root-coord/aliases/a", "snapshots/root-coord/aliases/a_ts5"]),
        (
            "querycoord-collection-loadinfo/1",
            &["querycoord-collection-loadinfo/1", "querycoord-partition-loadinfo/1/2", "querycoord-replica/1/7"],
        ),
    ];
    for (decides, keys) in wholes {
        let puts: Vec<_> = keys.iter().map(|key| (bytes(key), Bytes::from_static(b"x"))).collect();
        let plan = Plan::of_run(&Differ::new(puts).finish(), 1);
        assert_eq!(plan.changes().last().map(Change::key), Some(&bytes(decides)));
        let joined: usize = plan.phases.iter().map(|phase| phase.joined.len()).sum();
        assert_eq!(joined, keys.len() - 1, "{decides}");
    }
    for (decides, keys) in &wholes[..2] {
        assert_eq!(deleting(keys).first().map(Change::key), Some(&bytes(decides)));
    }
}
