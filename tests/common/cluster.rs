//! Three etcds that form one cluster.

use std::net::TcpListener;

use super::etcd::{Etcd, Version};

/// A cluster of three members.
pub struct Cluster {
    /// The members; `kill`, `restart`, `pause` and `resume` work on each.
    pub members: Vec<Etcd>,
}

impl Cluster {
    /// Starts the members and waits until each answers.
    pub fn start(version: Version) -> Self {
        // Members must know each other's ports beforehand, so another program may take one in between.
        let mut problem = String::new();
        for _ in 0..5 {
            match Self::try_start(version) {
                Ok(cluster) => return cluster,
                Err(text) => problem = text,
            }
        }
        panic!("the etcd cluster does not start: {problem}");
    }

    fn try_start(version: Version) -> Result<Self, String> {
        let ports = free_ports(3);
        let initial: Vec<_> =
            ports.iter().enumerate().map(|(member, port)| format!("m{member}=http://127.0.0.1:{port}")).collect();
        let initial = initial.join(",");
        let launch = |(member, port): (usize, &u16)| {
            let flags = [
                format!("--name=m{member}"),
                format!("--listen-peer-urls=http://127.0.0.1:{port}"),
                format!("--initial-advertise-peer-urls=http://127.0.0.1:{port}"),
                format!("--initial-cluster={initial}"),
                // Distinct from any other test's, should their ports ever mix.
                format!("--initial-cluster-token={initial}"),
                "--heartbeat-interval=50".to_owned(),
                "--election-timeout=500".to_owned(),
            ];
            Etcd::with(version).membership(flags.into()).launch()
        };
        let mut members: Vec<_> = ports.iter().enumerate().map(launch).collect();
        members.iter_mut().try_for_each(Etcd::wait_until_ready)?;
        Ok(Self { members })
    }

    /// The endpoints of all members.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Etcd::endpoint).collect()
    }

    /// Starts these members again, at the same time: alone, none would answer.
    pub fn restart(&mut self, members: &[usize]) {
        members.iter().for_each(|member| self.members[*member].relaunch());
        members.iter().for_each(|member| self.members[*member].wait_until_back());
    }

    /// Which member leads, as member `asked` sees it.
    pub fn leader(&self, asked: usize) -> Option<usize> {
        let leader = self.members[asked].leader_id();
        self.members.iter().position(|member| member.member_id() == leader)
    }
}

/// Ports that are free now; all are held until all are found, so that they differ.
pub fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
