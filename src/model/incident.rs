//! The events of `ops.incidents`: everything that ever happens to a service, each event with its numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{ActionId, IncidentId, ServiceId, SpecHash};

/// The number of the rules by which incidents are computed; every `spec_activated` carries it.
pub const SEMANTICS: i32 = 1;

/// One event of `ops.incidents`. Its JSON form is flat: `{"event":"opened","service":..,"at":..,...}`;
/// what a kind of event does not have is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct IncidentEvent {
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
    /// To whom.
    pub service: ServiceId,
    /// Of the incident's spec where there is one, else of the active one.
    pub spec_hash: SpecHash,
    /// The evaluation instant, ms; for `blind`, spec events and `closed` the partition's clock (0 before
    /// its first record).
    pub at: i64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A spec takes effect, between two records of `ops.metrics`.
    SpecActivated {
        /// As registered.
        text: Arc<str>,
        /// [`SEMANTICS`].
        semantics: i32,
        /// Partition of `ops.metrics`.
        from_partition: i32,
        /// The first record that is judged by this spec.
        from_offset: i64,
    },
    /// The service was unregistered.
    SpecRetired,
    /// The bus or the pipeline stood still: these instants were never evaluated.
    Blind {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
    },
    /// The SLO's target fell silent.
    NoData,
    /// It is back.
    DataBack,
    /// A cause has held for its time.
    Opened {
        /// The new generation.
        incident: IncidentId,
        /// `slo`, or the condition as written.
        cause: Arc<str>,
        /// The first incident of the episode.
        episode: IncidentId,
        /// Which opening of the episode this is, from 1.
        openings: u32,
        /// From the `flap_limit`-th on.
        flapping: bool,
        /// Numbers of the verdict, for the SLO's incidents.
        #[serde(flatten)]
        verdict: Option<Verdict>,
    },
    /// One call of one step of the playbook is to be carried out.
    Requested {
        /// For which incident.
        incident: IncidentId,
        /// 1-based place of the step in the playbook.
        step: u32,
        /// 1-based place of the call in the step.
        call: u32,
        /// What to do.
        verb: Arc<str>,
        /// All that the actor needs: the call's arguments by name; `service.owner`;
        /// `workload.kind|name|namespace|context`; `limits.min|max|max_step`; `window_seconds`;
        /// `slo.target|threshold|objective_ppm`, if there is one; `dry_run` if it is one; `attr.*`, the attributes of the
        /// reading that opened.
        args: BTreeMap<String, String>,
        /// Why now.
        basis: Basis,
        /// Same id, same action, for ever.
        action_id: ActionId,
        /// Numbers of the fresh readings, for an escalation.
        #[serde(flatten)]
        fresh: Option<Fresh>,
    },
    /// A cause has been clear for its time.
    Resolved {
        /// Which incident is over.
        incident: IncidentId,
        /// As in `opened`.
        cause: Arc<str>,
        /// When it was opened, ms.
        opened_at: i64,
        /// The recovered numbers, for the SLO's incidents.
        #[serde(flatten)]
        recovered: Option<Recovered>,
    },
    /// The incident ends because its spec does.
    Closed {
        /// Which.
        incident: IncidentId,
        /// As in `opened`.
        cause: Arc<str>,
        /// When it was opened, ms.
        opened_at: i64,
        /// Why.
        reason: CloseReason,
    },
    /// A flapping episode has been quiet for `flap_window`.
    EpisodeEnded {
        /// Its first incident.
        episode: IncidentId,
        /// How often it opened.
        openings: u32,
    },
}

impl EventKind {
    /// Was it decided at an instant? What a leap skipped and what a spec changed was not.
    pub fn is_judged(&self) -> bool {
        match self {
            Self::SpecActivated { .. } | Self::SpecRetired | Self::Blind { .. } | Self::Closed { .. } => false,
            Self::NoData
            | Self::DataBack
            | Self::Opened { .. }
            | Self::Requested { .. }
            | Self::Resolved { .. }
            | Self::EpisodeEnded { .. } => true,
        }
    }
}

/// The numbers by which an SLO's incident was opened. `over > n - rank` is the whole proof.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Verdict {
    /// The SLO's threshold.
    pub threshold: f64,
    /// The window is `(window_from, window_to]`, ms.
    pub window_from: i64,
    /// Its end, the instant.
    pub window_to: i64,
    /// Readings in the window.
    pub n: u64,
    /// Those above the threshold.
    pub over: u64,
    /// The place of the quantile, `ceil(objective n)`.
    pub rank: u64,
    /// An estimate for people; the counts decide.
    #[serde(default)]
    pub p95_estimate: Option<f64>,
}

/// The numbers at which an SLO's incident was resolved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Recovered {
    /// Readings in the window.
    pub n: u64,
    /// Those above the threshold (not: above the recover threshold).
    pub over: u64,
    /// The place of the quantile.
    pub rank: u64,
    /// An estimate for people; the counts decide.
    #[serde(default)]
    pub p95_estimate: Option<f64>,
}

/// The numbers of the fresh readings at an escalation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Fresh {
    /// Fresh readings.
    pub n: u64,
    /// Those above the threshold.
    pub over: u64,
    /// The place of the quantile.
    pub rank: u64,
}

/// Why an action is requested now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The incident was opened.
    Opened,
    /// It was resolved.
    Resolved,
    /// The fresh readings are bad too.
    FreshData,
    /// There are too few fresh readings to say that it got better.
    InsufficientFreshData,
}

/// Why an incident was closed without being resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// An incompatible spec took its place.
    Superseded,
    /// The service was unregistered.
    Unregistered,
}
