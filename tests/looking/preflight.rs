//! What would fail half way is refused before the first write.

use predicates::prelude::*;
use predicates::str::contains;

use crate::common::state::{Dump, assert_same};
use crate::common::{Etcd, Tool, Version, on_both_versions, said};
use crate::{add_users, sample, tool_of, use_up_space};

on_both_versions![
    nothing_is_written_without_space,
    nothing_is_written_that_would_not_fit_into_the_quota,
    nothing_is_written_that_the_user_may_not_write,
    a_backup_that_is_announced_must_be_there_and_sound,
];

/// What of it fits into etcd: its own lock, for the time being.
const LOCK_WRITES: i64 = 2;

/// Calls it in vain, and makes sure that nothing was written but the lock.
#[track_caller]
fn refused(etcd: &Etcd, tool: &Tool, args: &[&str]) -> String {
    let (before, revision) = (etcd.dump(), etcd.revision());
    let text = said(&tool.call(args).code(1));
    assert_same(&before, &etcd.dump(), args);
    let writes = etcd.revision() - revision;
    assert!(writes == 0 || writes == LOCK_WRITES, "{args:?}: {writes} writes: {text}");
    assert!(etcd.leases().is_empty(), "{args:?} keeps its lock");
    text
}

fn nothing_is_written_without_space(version: Version) {
    let etcd = Etcd::with(version).arg("--quota-backend-bytes=4194304").start();
    etcd.load_milvus();
    let tool = Tool::new(&etcd);
    tool.call(&["backup"]).code(0);
    etcd.put("by-dev/meta/channelwatch/extra", "so that rollback has something to do");
    use_up_space(&etcd);
    for command in ["run", "rollback"] {
        let text = refused(&etcd, &tool, &[command]);
        assert!(text.contains("the space quota of etcd is used up"), "{text}");
        assert!(text.contains("etcdctl alarm disarm"), "{text}");
        // As it can be typed; the lock may have come and gone since.
        let typed = text.split("etcdctl compact --physical ").nth(1).and_then(|rest| rest.split('`').next()).unwrap();
        assert!(typed.parse::<i64>().unwrap() <= etcd.revision(), "{text}");
    }
}

/// An etcd with these keys, and with about 100 kB of room for more.
fn tight(version: Version, keys: &Dump) -> Etcd {
    const QUOTA: usize = 2 << 20;
    const ROOM: usize = 100_000;
    const BLOCK: usize = 2_000;
    let etcd = Etcd::with(version).arg(format!("--quota-backend-bytes={QUOTA}")).start();
    etcd.start_over(keys);
    // Defragmenting brings the database to its true size at once.
    let room = || {
        etcd.run(async |mut client| client.defragment().await);
        QUOTA - usize::try_from(etcd.run(async |mut client| client.status().await).db_size()).unwrap()
    };
    // By halves, because a block takes more than its size.
    let mut blocks = 0;
    loop {
        let more = room().saturating_sub(ROOM) / BLOCK / 2;
        etcd.put_all((blocks..blocks + more).map(|number| (format!("ballast/{number}").into(), vec![b'x'; BLOCK], 0)));
        blocks += more;
        if more == 0 {
            break;
        }
    }
    assert!((ROOM / 2..ROOM * 3 / 2).contains(&room()), "{} bytes of room", room());
    etcd
}

fn nothing_is_written_that_would_not_fit_into_the_quota(version: Version) {
    let roomy = sample(version);
    let tool = Tool::new(&roomy);
    let before = roomy.dump();
    tool.call(&["run", "--with-backup"]).code(0);
    let backup = tool.backup_file();
    for (command, other, keys) in [("run", "--no-backup", before), ("rollback", "--other-cluster", roomy.dump())] {
        let etcd = tight(version, &keys);
        let text = refused(&etcd, &Tool::new(&etcd), &[command, other, "--backup-file", backup.to_str().unwrap()]);
        let room = format!("there is not enough room in etcd at {}: its database has ", etcd.endpoint());
        assert!(text.contains(&room), "{text}");
        let quota = "KiB, and its quota is 2.0 MiB. Make room: `etcdctl compact --physical ";
        assert!(text.contains("will be written, the way back takes about ") && text.contains(quota), "{text}");
    }
}

fn nothing_is_written_that_the_user_may_not_write(version: Version) {
    let etcd = sample(version);
    let root = Tool::new(&etcd);
    root.call(&["backup"]).code(0);
    let backup = root.backup_file();
    etcd.put("by-dev/meta/channelwatch/extra", "so that rollback has something to do");
    add_users(&etcd);
    for (user, what) in [
        ("reader", "cannot take the migration lock on "),
        ("locker", "cannot make sure that the keys under by-dev/meta may be written on "),
    ] {
        let tool = tool_of(&etcd, user);
        for command in ["run", "rollback"] {
            let text = refused(&etcd, &tool, &[command, "--backup-file", backup.to_str().unwrap()]);
            let denied = format!("etcd denies it to user \"{user}\"");
            assert!(text.contains(what) && text.contains(&denied) && text.contains("grant-permission"), "{text}");
        }
    }
}

fn a_backup_that_is_announced_must_be_there_and_sound(version: Version) {
    let etcd = sample(version);
    let tool = Tool::new(&etcd);
    let text = refused(&etcd, &tool, &["run", "--with-backup=false"]);
    let remedies = contains("make one with `backup` or `run --with-backup`").and(contains("--no-backup"));
    assert!(text.contains("there is no way back from here"), "{text}");
    assert!(remedies.eval(&text), "{text}");

    tool.call(&["backup"]).code(0);
    let mut bytes = std::fs::read(tool.backup_file()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(tool.backup_file(), &bytes).unwrap();
    let text = refused(&etcd, &tool, &["run"]);
    assert!(text.contains("is damaged") && remedies.eval(&text), "{text}");
    tool.call(&["run", "--force"]).code(0).stderr(contains("next: `verify`"));
}
