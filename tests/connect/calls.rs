//! Requests that are repeated, and those for which there is no hope.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{GetOptions, PutOptions, Txn, TxnOp};
use meta_migration::etcd::{Cause, Etcd as Connection, EtcdError};

use crate::common::{Cluster, Etcd, Version, block_on, on_both_versions};
use crate::{config, config_for, connect};

on_both_versions![
    a_request_survives_a_restart_of_etcd,
    requests_move_on_to_another_member,
    gives_up_after_three_timeouts_and_tells_why,
    tells_that_there_are_too_many_operations,
    tells_that_a_request_is_too_large,
    tells_that_an_answer_is_too_large,
    tells_that_the_quota_is_used_up,
    tells_that_a_lease_is_gone,
    what_cannot_pass_is_not_repeated,
    requests_run_in_tasks_of_their_own,
];

fn put(connection: &Connection, key: &str, value: Vec<u8>) -> Result<(), EtcdError> {
    let put = async |mut kv: etcd_client::KvClient| kv.put(key, value.clone(), None).await;
    block_on(connection.kv("write a key", put)).map(drop)
}

fn a_request_survives_a_restart_of_etcd(version: Version) {
    let mut etcd = Etcd::start(version);
    let connection = connect(&config_for(&etcd));
    etcd.kill();
    std::thread::scope(|scope| {
        let request = scope.spawn(|| put(&connection, "a", b"b".to_vec()));
        etcd.restart();
        request.join().unwrap().unwrap();
    });
    assert_eq!(etcd.get("a").unwrap(), b"b");
}

fn requests_move_on_to_another_member(version: Version) {
    let mut cluster = Cluster::start(version);
    cluster.members[0].put("a", "b");
    let mut config = config(cluster.endpoints());
    // Three times this is longer than any election.
    config.request_timeout = Duration::from_millis(2500);
    let connection = connect(&config);
    let used = |cluster: &Cluster| cluster.endpoints().iter().position(|one| one == connection.endpoint()).unwrap();
    let first = used(&cluster);
    cluster.members[first].pause();
    assert!(block_on(connection.get("a")).unwrap().is_some());
    assert_ne!(used(&cluster), first);
    cluster.members[first].resume();
    let second = used(&cluster);
    cluster.members[second].kill();
    assert!(block_on(connection.get("a")).unwrap().is_some());
    assert_ne!(used(&cluster), second);
}

fn gives_up_after_three_timeouts_and_tells_why(version: Version) {
    let mut etcd = Etcd::start(version);
    let mut config = config_for(&etcd);
    config.request_timeout = Duration::from_millis(300);
    let connection = connect(&config);
    etcd.kill();
    let started = Instant::now();
    let error = block_on(connection.get("a")).unwrap_err();
    let waited = started.elapsed();
    assert!((Duration::from_millis(600)..Duration::from_secs(2)).contains(&waited), "{waited:?}");
    let EtcdError::Unreachable { endpoints, .. } = &error else { panic!("{error}") };
    assert_eq!(endpoints[0].cause, Cause::Refused);
    let text = error.to_string();
    assert!(
        text.starts_with("cannot read the key \"a\", though tried for 1 s at ") && text.contains(&etcd.endpoint()),
        "{text}"
    );
}

fn tells_that_there_are_too_many_operations(version: Version) {
    let etcd = Etcd::start(version);
    let ops: Vec<_> = (0..129).map(|key| TxnOp::put(format!("{key}"), "", None)).collect();
    let txn = Txn::new().and_then(ops);
    let request = async |mut kv: etcd_client::KvClient| kv.txn(txn.clone()).await;
    let error = block_on(connect(&config_for(&etcd)).kv("write", request)).unwrap_err();
    assert!(matches!(error, EtcdError::TooManyOps { .. }), "{error}");
}

fn tells_that_a_request_is_too_large(version: Version) {
    let etcd = Etcd::start(version);
    let connection = connect(&config_for(&etcd));
    // Up to 2 MiB etcd refuses it, beyond that its gRPC does.
    for bytes in [1_600_000, 3_000_000] {
        let error = put(&connection, "large", vec![0; bytes]).unwrap_err();
        assert!(matches!(error, EtcdError::RequestTooLarge { .. }), "{error}");
    }
    put(&connection, "large", vec![0; 1_400_000]).unwrap();
}

fn tells_that_an_answer_is_too_large(version: Version) {
    let etcd = Etcd::start(version);
    etcd.put_all((0..5_u8).map(|key| (vec![b'k', key], vec![0; 1 << 20], 0)));
    let connection = connect(&config_for(&etcd));
    let read = async |client: etcd_client::Client| {
        let with_prefix = GetOptions::new().with_prefix();
        client.kv_client().max_decoding_message_size(1 << 20).get("k", Some(with_prefix)).await
    };
    let error = block_on(connection.call("read", read)).unwrap_err();
    assert!(matches!(error, EtcdError::ResponseTooLarge { .. }), "{error}");
    assert_eq!(block_on(connection.get_range("k")).unwrap().len(), 5);
}

fn tells_that_the_quota_is_used_up(version: Version) {
    let etcd = Etcd::with(version).arg("--quota-backend-bytes=1000000").start();
    let connection = connect(&config_for(&etcd));
    // etcd looks at its size only now and then.
    let error = (0..1000).find_map(|_| put(&connection, "a", vec![0; 200_000]).err()).unwrap();
    assert!(matches!(error, EtcdError::NoSpace { revision: Some(_), .. }), "{error}");
    let text = error.to_string();
    for remedy in ["compact", "defrag", "alarm disarm", "--quota-backend-bytes"] {
        assert!(text.contains(remedy), "{text}");
    }
}

fn tells_that_a_lease_is_gone(version: Version) {
    let etcd = Etcd::start(version);
    let with_lease =
        async |mut kv: etcd_client::KvClient| kv.put("a", "b", Some(PutOptions::new().with_lease(12345))).await;
    let error = block_on(connect(&config_for(&etcd)).kv("write", with_lease)).unwrap_err();
    assert!(matches!(error, EtcdError::LeaseNotFound { .. }), "{error}");
}

fn what_cannot_pass_is_not_repeated(version: Version) {
    let etcd = Etcd::start(version);
    let runs = AtomicUsize::new(0);
    let future_revision = async |mut kv: etcd_client::KvClient| {
        runs.fetch_add(1, Ordering::Relaxed);
        kv.get("a", Some(GetOptions::new().with_revision(1_000_000))).await
    };
    let error = block_on(connect(&config_for(&etcd)).kv("look ahead", future_revision)).unwrap_err();
    assert!(matches!(&error, EtcdError::Other { problem, .. } if problem.contains("future revision")), "{error}");
    assert_eq!(runs.into_inner(), 1);
}

fn requests_run_in_tasks_of_their_own(version: Version) {
    let etcd = Etcd::start(version);
    let config = config_for(&etcd);
    block_on(async {
        let connection = tokio::spawn(async move { Connection::connect(&config).await }).await.unwrap().unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let connection = connection.clone();
                tokio::spawn(async move {
                    let key = format!("key-{number}");
                    connection.kv("write", async |mut kv| kv.put(key.as_str(), "", None).await).await.unwrap();
                    connection.snapshot("key-").await.unwrap().next_page().await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(etcd.dump().len(), 20);
}
