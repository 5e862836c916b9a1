//! What becomes of etcd's database: how much it grows by, and how to make it small again.

use super::Context;
use crate::amounts::bytes;
use crate::etcd::Etcd;
use crate::etcd::health::Health;
use crate::plan::Totals;

/// From so many written or deleted bytes on it is worth an operator's while to make the database small again.
const MUCH: u64 = 64 << 20;
/// What a deleted key gives back at least, besides its value.
const BYTES_A_DELETED_KEY: u64 = 256;

impl Context {
    /// Tells before the first write what etcd's database will grow by; that there is room for it has been made sure.
    pub(super) fn say_growth(&self, health: &Health, added: u64) {
        let sizes = health.endpoints.iter().filter_map(|member| Some((member.db_bytes?, member.quota_bytes)));
        let Some((size, quota)) = sizes.max() else { return };
        let quota = quota.map_or_else(String::new, |quota| format!(", and its quota is {}", bytes(quota)));
        self.say(format!(
            "etcd's database grows by about {}: it has {}{quota}. The old versions stay in it until etcd is compacted",
            bytes(added),
            bytes(size)
        ));
        if self.pace.keys_a_second() > 0 {
            self.say(format!("--max-rate: at most {} keys are written in a second", self.pace.keys_a_second()));
        }
    }

    /// Tells after much was written how etcd's database gets small again. The way back does not need the old versions: it is a file.
    pub(super) async fn say_compaction(&self, etcd: &Etcd, revision: i64, totals: Totals) {
        if totals.put_bytes + totals.deletes * BYTES_A_DELETED_KEY < MUCH {
            return;
        }
        let endpoints: Vec<&str> = self.config.etcd.endpoints.iter().map(|endpoint| endpoint.uri.as_str()).collect();
        let sizes = etcd.health().await.endpoints.into_iter().filter_map(|member| member.db_bytes);
        let size = sizes.max().map_or_else(String::new, |size| format!(" ({} now)", bytes(size)));
        self.say(format!(
            "etcd's database{size} still holds what was replaced or deleted. Rolling back does not need that, the backup is a file. To give \
             it back, at a quiet time: `etcdctl compact --physical {revision}`, then for one member after the other, because each stands still \
             meanwhile, `etcdctl --endpoints {} defrag`",
            endpoints.join(",")
        ));
    }
}
