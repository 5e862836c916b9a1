//! The members of the cluster, as it knows them itself: not only the endpoints that were given.

use std::collections::BTreeSet;

use etcd_client::Client;
use futures::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;

use super::link::Link;
use super::{Etcd, EtcdError};

/// One member of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MemberHealth {
    /// Its ID, in hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it listens, as it tells the others; none if it has never been started.
    pub client_urls: Vec<String>,
    /// Why it could not be asked from here, or what it says is wrong with it; none if it is healthy.
    pub problem: Option<String>,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether it only learns and has no vote yet.
    pub is_learner: bool,
    /// The hash of all its keys and values at the revision that all were asked for (etcd's HashKV).
    pub hash: Option<u32>,
    /// The revision that it has compacted to; hashes can be compared only where this is the same.
    pub compact_revision: Option<i64>,
}

impl MemberHealth {
    /// Its name, if it has one.
    pub fn shown(&self) -> &str {
        if self.name.is_empty() { &self.id } else { &self.name }
    }
}

/// All members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Members {
    /// The revision that the hashes are for.
    pub hash_revision: i64,
    /// Each member.
    pub list: Vec<MemberHealth>,
}

impl Members {
    /// Those that are healthy.
    pub fn healthy(&self) -> usize {
        self.list.iter().filter(|member| member.problem.is_none()).count()
    }

    /// Whether two members that can be compared do not hold the same.
    pub fn differ(&self) -> bool {
        let hashes: BTreeSet<_> = self.hashes().collect();
        let compacted: BTreeSet<_> = hashes.iter().map(|(compacted, _)| *compacted).collect();
        hashes.len() > compacted.len()
    }

    /// How many members told their hash.
    pub fn compared(&self) -> usize {
        self.hashes().count()
    }

    fn hashes(&self) -> impl Iterator<Item = (i64, u32)> {
        self.list.iter().filter_map(|member| Some((member.compact_revision?, member.hash?)))
    }
}

impl Etcd {
    /// Asks the cluster for its members, and each of them how it is and for its hash at `revision`. A member that is not among the
    /// endpoints is asked at the addresses that it gives the others.
    ///
    /// # Errors
    /// The cluster does not say which members it has.
    pub async fn members(&self, revision: i64) -> Result<Members, EtcdError> {
        let answer = self.call("ask etcd for its members", async |mut client| client.member_list().await).await?;
        let own = join_all(self.shared.links.iter().map(|link| self.identify(link))).await;
        let own: Vec<(u64, Client)> = own.into_iter().flatten().collect();
        let own = &own;
        let members = answer.members().iter().map(|member| async move {
            let known = MemberHealth {
                id: format!("{:x}", member.id()),
                name: member.name().to_owned(),
                client_urls: member.client_urls().to_vec(),
                ..MemberHealth::default()
            };
            let client = match own.iter().find(|(id, _)| *id == member.id()) {
                Some((_, client)) => Ok(client.clone()),
                None => self.find(member.id(), member.client_urls()).await,
            };
            match client {
                Ok(client) => self.ask_member(client, known, revision).await,
                Err(problem) => MemberHealth { problem: Some(problem), ..known },
            }
        });
        Ok(Members { hash_revision: revision, list: join_all(members).await })
    }

    /// Which member answers at an endpoint, if one does.
    async fn identify(&self, link: &Link) -> Option<(u64, Client)> {
        let client = self.connection(link).await.ok()?;
        let status = tokio::time::timeout(self.shared.request_timeout, client.maintenance_client().status()).await;
        Some((status.ok()?.ok()?.header()?.member_id(), client))
    }

    async fn find(&self, id: u64, client_urls: &[String]) -> Result<Client, String> {
        let mut problem = "it has no address for clients: it has not been started".to_owned();
        for url in client_urls {
            let Some(link) = self.shared.links.first().and_then(|link| link.sibling(url)) else {
                problem = format!("{url}: TLS is not configured for it here");
                continue;
            };
            problem = match self.connection(&link).await {
                Ok(client) => match self.identify(&link).await {
                    Some((found, _)) if found == id => return Ok(client),
                    _ => format!("{url}: another member answers there"),
                },
                Err(cause) => format!("{url}: {cause}"),
            };
        }
        Err(problem)
    }

    async fn ask_member(&self, client: Client, known: MemberHealth, revision: i64) -> MemberHealth {
        let timeout = self.shared.request_timeout;
        let status = match tokio::time::timeout(timeout, client.maintenance_client().status()).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return MemberHealth { problem: Some(error.to_string()), ..known },
            Err(_) => return MemberHealth { problem: Some("no answer in time".into()), ..known },
        };
        let problem = (!status.errors().is_empty()).then(|| status.errors().join(", "));
        let hash = tokio::time::timeout(timeout, client.maintenance_client().hash_kv(revision)).await;
        let hash = match hash {
            Ok(Ok(hash)) => Some(hash),
            // Not every user may ask, and a large database takes longer than the patience for a request.
            Ok(Err(error)) => {
                tracing::debug!("member {} tells no hash at revision {revision}: {error}", known.id);
                None
            }
            Err(_) => None,
        };
        MemberHealth {
            problem,
            is_leader: status.header().is_some_and(|header| header.member_id() == status.leader()),
            is_learner: status.is_learner(),
            hash: hash.as_ref().map(etcd_client::HashKvResponse::hash),
            compact_revision: hash.as_ref().map(etcd_client::HashKvResponse::compact_version),
            ..known
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(hashes: &[Option<(i64, u32)>]) -> Members {
        let member = |hash: &Option<(i64, u32)>| MemberHealth {
            compact_revision: hash.map(|(compacted, _)| compacted),
            hash: hash.map(|(_, hash)| hash),
            ..MemberHealth::default()
        };
        Members { hash_revision: 9, list: hashes.iter().map(member).collect() }
    }

    #[test]
    fn members_differ_only_where_they_can_be_compared() {
        assert!(!members(&[Some((5, 1)), Some((5, 1)), None]).differ());
        assert!(members(&[Some((5, 1)), Some((5, 1)), Some((5, 2))]).differ());
        assert!(!members(&[Some((5, 1)), Some((6, 2))]).differ(), "compacted to other revisions");
        assert!(!members(&[]).differ());
    }
}
