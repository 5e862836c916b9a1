//! What a run deletes, in ranges: nothing that it does not look at.

use bytes::Bytes;

use crate::catalog::entries::Entries;
use crate::catalog::records::Records;
use crate::plan::{Change, Plan};

#[test]
fn a_range_never_reaches_over_a_key_that_no_migration_looks_at() {
    let key = |time: &str| format!("snapshots/root-coord/dd-operation_ts{time}");
    // The one in the middle is called as nobody calls one, so it is left alone.
    let keys = [key("1"), key("15_ts1/x"), key("2"), key("3")];
    let records: Records = keys.iter().map(|key| (Bytes::from(key.clone()), Bytes::from_static(b"x"))).collect();
    assert_eq!(records.others().values().sum::<u64>(), 1);
    let diff = records.held_against(&Entries::default());
    let changes: Vec<Change> = Plan::of_run(&diff, 1).changes().cloned().collect();
    let two = Change::Delete { first: keys[2].clone().into(), last: keys[3].clone().into(), keys: 2 };
    assert_eq!(changes, [Change::delete(keys[0].clone()), two]);
}
