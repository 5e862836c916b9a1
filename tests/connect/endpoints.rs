//! Hosts, ports, several endpoints.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use meta_migration::etcd::{Cause, ConnectError, EtcdError};
use tokio::net::{TcpSocket, TcpStream};
use tonic::Code;

use crate::common::gate::{Gate, Moment, Verdict};
use crate::common::{Cluster, Etcd, Version, block_on, free_ports, on_both_versions, wait_until};
use crate::{cause, config, config_for, connect, connect_error};

on_both_versions![
    connects_and_knows_the_server,
    connects_through_the_one_endpoint_that_works,
    never_goes_on_with_an_endpoint_of_another_cluster,
    tells_that_the_cluster_has_no_leader,
    tells_that_a_stopped_etcd_is_silent,
    connects_though_a_leader_is_being_elected,
    connects_though_its_first_answers_are_lost,
];

fn connects_and_knows_the_server(version: Version) {
    let etcd = Etcd::start(version);
    etcd.put("a", "b");
    let connection = connect(&config_for(&etcd));
    let server = connection.server().unwrap();
    let expected = match version {
        Version::V3_4 => "3.4.",
        Version::V3_5 => "3.5.",
    };
    assert!(server.version.starts_with(expected), "{}", server.version);
    assert_eq!(connection.endpoint(), etcd.endpoint());
    let entry = block_on(connection.get("a")).unwrap().unwrap();
    assert_eq!((&entry.key[..], &entry.value[..], entry.mod_revision, entry.lease), (&b"a"[..], &b"b"[..], 2, 0));
    assert_eq!(block_on(connection.get("b")).unwrap(), None);
}

fn connects_through_the_one_endpoint_that_works(version: Version) {
    let etcd = Etcd::start(version);
    let (silent, closed) = (silent_listener(), closed_port());
    let started = Instant::now();
    let connection = connect(&config([closed, uri(silent.local_addr().unwrap()), etcd.endpoint()]));
    assert!(started.elapsed() < Duration::from_millis(900), "waited {:?} for the others", started.elapsed());
    assert_eq!(connection.endpoint(), etcd.endpoint());
}

fn never_goes_on_with_an_endpoint_of_another_cluster(version: Version) {
    let (mut first, mut second) =
        (Etcd::start(version), Etcd::with(version).arg("--initial-cluster-token=another").start());
    let mut config = config([first.endpoint(), second.endpoint()]);
    config.request_timeout = Duration::from_millis(300);
    let connection = connect(&config);
    let (used, other) =
        if connection.endpoint() == first.endpoint() { (&mut first, &second) } else { (&mut second, &first) };
    used.kill();
    let error = block_on(connection.get("a")).unwrap_err();
    let EtcdError::Unreachable { endpoints, .. } = error else { panic!("{error}") };
    let of_other = endpoints.iter().find(|one| one.endpoint == other.endpoint()).unwrap();
    assert!(matches!(of_other.cause, Cause::OtherCluster { .. }), "{of_other:?}");
}

fn tells_that_the_cluster_has_no_leader(version: Version) {
    let mut cluster = Cluster::start(version);
    let follower = (0..3).find(|member| cluster.leader(0) != Some(*member)).unwrap();
    for member in (0..3).filter(|member| *member != follower) {
        cluster.members[member].kill();
    }
    wait_until("the last member knows that it is alone", || cluster.members[follower].leader_id() == 0);
    let cause = cause(&config_for(&cluster.members[follower]));
    assert!(matches!(cause, Cause::NoLeader(_)), "{cause:?}");
}

fn connects_though_a_leader_is_being_elected(version: Version) {
    let mut cluster = Cluster::start(version);
    let leader = cluster.leader(0).unwrap();
    cluster.members[leader].kill();
    let endpoints: Vec<_> =
        cluster.endpoints().into_iter().filter(|one| *one != cluster.members[leader].endpoint()).collect();
    let mut config = config(endpoints);
    // Three times this is longer than any election.
    config.request_timeout = Duration::from_millis(2500);
    assert_eq!(block_on(connect(&config).get("a")).unwrap(), None);
}

fn connects_though_its_first_answers_are_lost(version: Version) {
    let etcd = Etcd::start(version);
    for (moment, verdict) in [
        (Moment::Before, Verdict::Refuse(Code::Unavailable, "etcdserver: leader changed")),
        (Moment::Before, Verdict::Refuse(Code::Unavailable, "etcdserver: no leader")),
        (Moment::After, Verdict::Lose),
        (Moment::After, Verdict::Cut),
    ] {
        let gate = Gate::to(&etcd);
        let fault = verdict.clone();
        gate.rule(move |call| if call.number <= 2 && call.moment == moment { fault.clone() } else { Verdict::Pass });
        connect(&config([gate.endpoint()]));
        assert!(gate.count("Range") >= 3, "{verdict:?}");
    }
    // For ever, it is told.
    let gate = Gate::to(&etcd);
    gate.rule(|_| Verdict::Refuse(Code::Unavailable, "etcdserver: leader changed"));
    let started = Instant::now();
    let cause = cause(&config([gate.endpoint()]));
    assert!(matches!(&cause, Cause::NoLeader(text) if text.contains("leader changed")), "{cause:?}");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

fn tells_that_a_stopped_etcd_is_silent(version: Version) {
    let etcd = Etcd::start(version);
    etcd.pause();
    assert_eq!(cause(&config_for(&etcd)), Cause::Silent);
}

#[test]
fn tells_that_nothing_listens_on_the_port() {
    let started = Instant::now();
    assert_eq!(cause(&config([closed_port()])), Cause::Refused);
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[test]
fn tells_which_host_name_is_unknown() {
    let cause = cause(&config(["http://no-such-host.invalid:2379"]));
    assert!(matches!(&cause, Cause::NameNotResolved { host, .. } if host == "no-such-host.invalid"), "{cause:?}");
}

#[test]
fn tells_that_packets_are_dropped() {
    let (full, _connections) = block_on(full_listener());
    assert_eq!(cause(&config([uri(full.local_addr().unwrap())])), Cause::ConnectTimedOut(Duration::from_secs(1)));
}

#[test]
fn tells_that_a_listener_is_silent() {
    let silent = silent_listener();
    let endpoint = silent.local_addr().unwrap();
    let started = Instant::now();
    assert_eq!(cause(&config([uri(endpoint)])), Cause::Silent);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn tells_that_a_web_server_is_not_etcd() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = uri(listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let cause = cause(&config([endpoint]));
    assert!(matches!(cause, Cause::NotEtcd(_)), "{cause:?}");
}

#[test]
fn lists_every_endpoint_with_its_own_cause() {
    let (silent, closed) = (silent_listener(), closed_port());
    let silent = uri(silent.local_addr().unwrap());
    let error = connect_error(&config([silent.clone(), closed.clone()]));
    let ConnectError::NoAnswer { endpoints } = &error else { panic!("{error}") };
    let causes: Vec<_> = endpoints.iter().map(|one| (one.endpoint.as_str(), &one.cause)).collect();
    assert_eq!(causes, [(silent.as_str(), &Cause::Silent), (closed.as_str(), &Cause::Refused)]);
    let text = error.to_string();
    assert!(text.contains(&format!("\n  {silent}: the connection is accepted")), "{text}");
    assert!(text.contains(&format!("\n  {closed}: connection refused")), "{text}");
}

#[test]
fn refuses_to_connect_to_nothing() {
    assert!(matches!(connect_error(&config::<String>([])), ConnectError::NoEndpoints));
}

fn uri(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn closed_port() -> String {
    format!("http://127.0.0.1:{}", free_ports(1)[0])
}

/// The kernel accepts connections for it, and nobody ever reads.
fn silent_listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Its queue of connections is full, so that the kernel drops the packets of further ones.
async fn full_listener() -> (tokio::net::TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut connections = Vec::new();
    while let Ok(connection) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        connections.push(connection.unwrap());
    }
    (listener, connections)
}
