//! How etcd is: each endpoint for itself, and the alarms of all.

use etcd_client::{AlarmAction, AlarmType};
use futures::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;

use super::link::Link;
use super::{Etcd, EtcdError};

/// etcd's own name for its quota among its metrics.
const QUOTA_METRIC: &str = "etcd_server_quota_backend_bytes";

/// How etcd is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Every configured endpoint.
    pub endpoints: Vec<EndpointHealth>,
    /// The alarms that are raised; `None` if they may not be asked for.
    pub alarms: Option<Vec<Alarm>>,
}

/// How one endpoint is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EndpointHealth {
    /// The endpoint, as `scheme://host:port`.
    pub endpoint: String,
    /// Why it does not answer, if it does not.
    pub problem: Option<String>,
    /// Version of etcd.
    pub version: Option<String>,
    /// Whether this member leads.
    pub is_leader: bool,
    /// Size of the database file, in bytes.
    pub db_bytes: Option<u64>,
    /// What of it is in use, in bytes.
    pub db_bytes_in_use: Option<u64>,
    /// `--quota-backend-bytes`; `None` where etcd tells it neither in its status (from 3.6 on) nor among its metrics.
    pub quota_bytes: Option<u64>,
}

/// An alarm of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Name of the alarm.
    pub kind: &'static str,
    /// ID of the member.
    pub member: u64,
}

impl Alarm {
    /// The quota is used up: no writes any more.
    pub const NOSPACE: &'static str = "NOSPACE";
    /// The data of a member are damaged.
    pub const CORRUPT: &'static str = "CORRUPT";
}

impl Etcd {
    /// Asks every endpoint how it is. What cannot be learnt is left out.
    pub async fn health(&self) -> Health {
        let endpoints = join_all(self.shared.links.iter().map(|link| self.endpoint_health(link))).await;
        let alarms = self.alarms().await;
        if let Err(error) = &alarms {
            tracing::debug!("{error}");
        }
        Health { endpoints, alarms: alarms.ok() }
    }

    async fn alarms(&self) -> Result<Vec<Alarm>, EtcdError> {
        let answer = self
            .call("ask etcd for its alarms", async |mut client| {
                client.alarm(AlarmAction::Get, AlarmType::None, None).await
            })
            .await?;
        let raised = answer.alarms().iter().filter_map(|alarm| {
            let kind = match alarm.alarm() {
                AlarmType::Nospace => Alarm::NOSPACE,
                AlarmType::Corrupt => Alarm::CORRUPT,
                AlarmType::None => return None,
            };
            Some(Alarm { kind, member: alarm.member_id() })
        });
        Ok(raised.collect())
    }

    async fn endpoint_health(&self, link: &Link) -> EndpointHealth {
        let mut health = EndpointHealth { endpoint: link.name().to_owned(), ..EndpointHealth::default() };
        let client = match self.connection(link).await {
            Ok(client) => client,
            Err(cause) => return EndpointHealth { problem: Some(cause.to_string()), ..health },
        };
        let asked = tokio::time::timeout(self.shared.request_timeout, client.maintenance_client().status()).await;
        let status = match asked {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return EndpointHealth { problem: Some(error.to_string()), ..health },
            Err(_) => return EndpointHealth { problem: Some("no answer in time".into()), ..health },
        };
        let positive = |bytes: i64| u64::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        health.version = Some(status.version().to_owned());
        health.is_leader = status.header().is_some_and(|header| header.member_id() == status.leader());
        health.db_bytes = positive(status.db_size());
        health.db_bytes_in_use = positive(status.raft_used_db_size());
        health.quota_bytes = match positive(status.db_size_quota()) {
            Some(quota) => Some(quota),
            None => link.get("/metrics").await.and_then(|metrics| quota(&metrics)),
        };
        health
    }
}

/// The quota among the metrics, which Prometheus writes as floating-point numbers.
fn quota(metrics: &str) -> Option<u64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(QUOTA_METRIC)?.strip_prefix(' '))?;
    let quota: f64 = line.trim().parse().ok()?;
    (quota > 0.0 && quota < u64::MAX as f64).then_some(quota as u64)
}

#[cfg(test)]
mod tests {
    use super::quota;

    #[test]
    fn the_quota_is_found_among_the_metrics() {
        let metrics = "# HELP etcd_server_quota_backend_bytes Current backend storage quota size in bytes.\n\
                       etcd_server_quota_backend_bytes 2.147483648e+09\netcd_server_read_indexes_failed_total 0\n";
        assert_eq!(quota(metrics), Some(2 << 30));
        for other in [
            "",
            "etcd_server_quota_backend_bytes_x 5",
            "etcd_server_quota_backend_bytes -1",
            "etcd_server_quota_backend_bytes x",
        ] {
            assert_eq!(quota(other), None);
        }
    }
}
