//! What collectors say on `ops.targets`: how the targets of a service are, and that a collector is alive.
//!
//! Written by `ops collect`; read by `ops status` and by the other collectors. Decides no verdict: that a sensor is
//! silent, the processor sees by itself.

use serde::{Deserialize, Serialize};

use super::ids::ServiceId;

/// A record of `ops.targets`. A service without a value has no targets any more; a collector without one has left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetRecord {
    /// The key is the service's id.
    Service(ServiceTargets),
    /// The key is [`Beat::key`].
    Collector(Beat),
}

/// All targets of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceTargets {
    /// Whose.
    pub service: ServiceId,
    /// The instance that scrapes them.
    pub collector: String,
    /// When this was said, ms by the collector's clock.
    pub at: i64,
    /// In the order of the spec's sensors.
    pub targets: Vec<Target>,
}

/// One sensor that is scraped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Which.
    pub sensor: String,
    /// Where, without what stands behind `?`.
    pub url: String,
    /// The distance of two scrapes, ms.
    pub interval_ms: i64,
    /// Did the last scrape find what the sensor asks for?
    pub up: bool,
    /// Why not. May quote the target: made harmless before it is shown.
    pub reason: Option<String>,
    /// When it was last scraped, ms by the collector's clock; none yet.
    pub scraped_at: Option<i64>,
    /// How long that took, ms.
    pub took_ms: i64,
    /// Samples on the page; 0 if there was none.
    pub samples: i64,
}

/// What is older than so many intervals is not known any more.
const STALE_INTERVALS: i64 = 3;
/// An interval shorter than this counts as this, ms.
const SHORTEST_MS: i64 = 5_000;

impl Target {
    /// From this age on what is said of it is stale, ms.
    pub fn stale_after_ms(&self) -> i64 {
        STALE_INTERVALS * self.interval_ms.max(SHORTEST_MS)
    }
}

/// A collector is alive, and scrapes these partitions of `ops.services`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    /// Its instance.
    pub collector: String,
    /// ms by its clock. For people: who is alive is known by when this arrives.
    pub at: i64,
    /// Those that the group gave it.
    pub owned: Vec<i32>,
    /// Those that nobody had, until the group gives them to somebody.
    pub adopted: Vec<i32>,
}

impl Beat {
    /// Begins the keys of collectors: no service's id does.
    pub const PREFIX: &'static str = "_collector.";
    /// All of them are in this partition.
    pub const PARTITION: i32 = 0;

    /// The key of a collector's records.
    pub fn key(collector: &str) -> String {
        format!("{}{collector}", Self::PREFIX)
    }
}
