//! What a cut writes: the rollups of `ops.rollups` and the records of `ops.state`. Together with the readings
//! since the cut they are the whole state of a partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{IncidentId, ServiceId};

/// What one series touched between two cuts (about 10 s). Written by the processor; read by restores, the
/// war room and `ops status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rollup {
    /// The service.
    pub service: Arc<str>,
    /// The sensor.
    pub sensor: Arc<str>,
    /// Position in `ops.metrics` before which all is in this or an earlier cut.
    pub cut_position: i64,
    /// The partition's clock at the cut, ms.
    pub cut_clock: i64,
    /// Readings counted since the last cut.
    pub n: u64,
    /// Those among them that came after an instant they belong to.
    pub late: u64,
    /// Smallest value (0 if n is 0).
    pub min: f64,
    /// Largest value (0 if n is 0).
    pub max: f64,
    /// Sum of the values, added in offset order.
    pub sum: f64,
    /// Value of the latest reading by event time.
    pub last: f64,
    /// Event time of the earliest reading, ms (0 if n is 0).
    pub first_ts: i64,
    /// Event time of the latest reading, ms (0 if n is 0).
    pub last_ts: i64,
    /// The partition's clock at the last record that named this series, refused ones included.
    pub seen: i64,
    /// Counters per step of the window, ascending by `end`: what the readings of this cut add.
    pub panes: Vec<RollupPane>,
    /// Where a verdict or a comparison looks at it: of the readings of this cut the latest at or before the last
    /// instant that was evaluated, and the latest of each later step.
    pub latest: Vec<LatestReading>,
    /// The values themselves in offset order, if there are at most 32.
    pub values: Vec<f64>,
    /// A t-digest of the values, if there are more.
    pub centroids: Vec<Centroid>,
}

/// Counters of one step `(end - S, end]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RollupPane {
    /// End of the step, ms; closed.
    pub end: i64,
    /// Readings.
    pub n: u64,
    /// Those above the threshold.
    pub over: u64,
    /// Those above the recover threshold.
    pub unrecovered: u64,
}

/// The latest reading of one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatestReading {
    /// Event time, ms; of equals it is the later in the log.
    pub ts: i64,
    /// Value.
    pub value: f64,
    /// Attributes, where an action may need them.
    pub attributes: BTreeMap<String, String>,
}

/// One centroid of a t-digest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Centroid {
    /// Mean of its values.
    pub mean: f64,
    /// How many values.
    pub weight: f64,
}

/// A record of `ops.state`, keyed by the service id, or by `_partition` for [`PartitionRecord`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// The service.
    pub service: ServiceId,
    /// Generations are kept for ever, also over unregistering.
    pub generation: u64,
    /// Position in `ops.metrics` of the cut that wrote this.
    pub cut_position: i64,
    /// The active spec and all that hangs on it; none when the service is not registered.
    pub active: Option<ActiveRecord>,
}

/// The life of a registered service at a cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveRecord {
    /// Text of the spec.
    pub spec: String,
    /// Rollups of cuts at or before this position belong to an older, incompatible spec.
    pub windows_from: i64,
    /// Its readings are refused with `series_limit`.
    pub over_limit: bool,
    /// The later of activation and the last leap, by the partition's clock; none before its first record.
    pub alive_since: Option<i64>,
    /// The verdict of the last instant that was evaluated.
    pub verdict: Option<VerdictKind>,
    /// One for each cause, in order.
    pub machines: Vec<MachineRecord>,
}

/// What one evaluation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// The quantile is at or below the threshold.
    Healthy,
    /// It is above.
    Breached,
    /// Too few readings to say.
    Insufficient,
    /// The target is silent.
    NoData,
}

/// The machine of one cause at a cut.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// `healthy`, `pending`, `open` or `recovering`.
    pub phase: String,
    /// Held time of `pending` or `recovering`, ms.
    pub held_ms: i64,
    /// The incident of `open` and `recovering`.
    pub incident: Option<OpenRecord>,
    /// The episode that another opening would continue.
    pub episode: Option<EpisodeRecord>,
    /// An event that was counted and not yet judged: the attributes of its first reading.
    pub occurrence: Option<BTreeMap<String, String>>,
}

/// An open incident at a cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenRecord {
    /// Which.
    pub id: IncidentId,
    /// When it opened, ms.
    pub opened_at: i64,
    /// Text of the spec it was opened with, if that is not the active one.
    pub spec: Option<String>,
    /// Attributes of the reading that opened it.
    pub attributes: BTreeMap<String, String>,
    /// By step number: when an escalation that has not fired looks next, ms.
    pub looks: Vec<LookRecord>,
}

/// A look of `still_breach_after` that is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookRecord {
    /// 1-based place of the step in the playbook.
    pub step: u32,
    /// Event time at which it is due, ms.
    pub due: i64,
}

/// An episode at a cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpisodeRecord {
    /// Its first incident.
    pub id: IncidentId,
    /// How often it opened.
    pub openings: u32,
    /// When it last opened, ms.
    pub last_opened: i64,
    /// When it was last resolved, ms.
    pub last_resolved: Option<i64>,
    /// `episode_ended` is owed.
    pub flapping: bool,
}

/// The partition itself at a cut. `cut_position` of all records of one cut is the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// Number of the partition.
    pub partition: i32,
    /// The next offset of `ops.metrics` to be read.
    pub cut_position: i64,
    /// The partition's clock, ms; none before the first record.
    pub clock: Option<i64>,
    /// Append time of the record that began the suspension, ms, while the clock is suspended.
    pub suspended_since: Option<i64>,
    /// The clock at the last full cut (one that wrote every service), ms.
    pub full_cut_clock: Option<i64>,
    /// Readings counted while the clock was suspended may lie far ahead of it: until `until` the rollups from
    /// the cut at `cut_clock` on are needed.
    pub ahead: Option<AheadRecord>,
}

/// See [`PartitionRecord::ahead`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AheadRecord {
    /// The clock of the cut whose rollups hold the first such reading.
    pub cut_clock: i64,
    /// The latest event time of such a reading, ms.
    pub until: i64,
}
