//! The Kafka of a run: one broker for all, started by the first that asks, and names that never meet.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hms_ops::bus::Settings;
use hms_ops::local::kafka::{Cluster, Options, from_env_or_start};

/// Long enough for anything that happens at all on a busy machine: reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Never dropped, as statics are not: the broker notices by itself that this process is gone.
static CLUSTER: OnceLock<Cluster> = OnceLock::new();

/// `bootstrap.servers` of the cluster of this run.
pub fn brokers() -> &'static str {
    CLUSTER.get_or_init(|| from_env_or_start(&Options::default()).unwrap_or_else(|error| panic!("{error}"))).brokers()
}

/// Client settings for the cluster of this run.
pub fn settings() -> Settings {
    Settings::new(brokers(), "hms-ops-test")
}

/// A name that no other test and no other run has: topics, groups, transactional ids.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    format!("test-{name}-{now:x}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
