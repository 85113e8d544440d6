//! What the tests on a real Kafka share: one broker a run, names that never meet.

use std::sync::OnceLock;

use hms_ops::local::kafka::{Cluster, Options, from_env_or_start};

/// Never dropped, as statics are not: the broker notices by itself that this process is gone.
static CLUSTER: OnceLock<Cluster> = OnceLock::new();

/// `bootstrap.servers` of the cluster of this run.
pub fn brokers() -> &'static str {
    CLUSTER.get_or_init(|| from_env_or_start(&Options::default()).unwrap_or_else(|error| panic!("{error}"))).brokers()
}
