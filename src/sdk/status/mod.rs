//! How services are: the read model behind `ops status` and the HTTP API.
//!
//! Reads what the processor and the actors have published and shows it as of the last cut of the service's
//! partition (about 10 s), incidents as of now. It judges nothing: verdicts and phases are the processor's. What is
//! not known is `unknown`, never green.
//!
//! - [`Board`]: follows the topics; [`View`]: what it knows, for as many readers as you like.
//! - [`tail`]: follows a topic; [`facts`]: what was read; [`view`], [`targets`]: facts -> [`Status`], pure.

mod board;
mod facts;
pub(super) mod tail;
mod targets;
mod view;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Error, now_ms};
use crate::bus::{self, Offsets, Settings};
use crate::model::action::ActionEvent;
use crate::model::reading::RejectReason;
use crate::model::topics::Topics;
use crate::model::{IncidentId, ServiceId, SpecHash};
pub use board::{Board, View};
use facts::Facts;
pub use targets::{TargetState, TargetStatus};

/// How far back actions and rejected readings are shown, ms.
const ACTIONS_MS: i64 = 24 * 3_600_000;
const REJECTED_MS: i64 = 3_600_000;
/// A full cut of `ops.state` is written once an hour: so far back there is one, if the processor runs.
const FULL_CUT_MS: i64 = 2 * 3_600_000;

/// How the objective stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SloState {
    /// The last verdict was good, or bad for too short a time to be an incident.
    Healthy,
    /// The SLO's incident is open.
    Breached,
    /// Neither is known.
    Unknown,
}

/// How far what is shown can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// The processor is at work, and there are enough readings.
    Fresh,
    /// The processor has not cut the partition lately: it is down, or far behind.
    Stale,
    /// The target is silent.
    NoData,
    /// Too few readings, or none judged yet.
    Insufficient,
    /// Registered, and no processor has taken it up.
    Inactive,
    /// Its spec has no SLO.
    NoSlo,
}

/// One service. Also the JSON of `ops status --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Status {
    /// Which.
    pub service: ServiceId,
    /// Whose.
    pub owner: String,
    /// See [`SloState`].
    pub slo_state: SloState,
    /// Each cause and the phase of its machine.
    pub state: Vec<Phase>,
    /// See [`Quality`].
    pub quality: Quality,
    /// An estimate for people, over the window; the counts decide.
    pub p95_estimate: Option<f64>,
    /// Readings of the target in the window.
    pub n: Option<u64>,
    /// Those above the threshold.
    pub over: Option<u64>,
    /// The place of the quantile among `n`.
    pub rank: Option<u64>,
    /// Of the SLO.
    pub threshold: Option<f64>,
    /// Of the SLO, ms.
    pub window_ms: Option<i64>,
    /// Age of the newest reading by the host's clock, ms; of the target, if there is an SLO.
    pub age_ms: Option<i64>,
    /// Readings of the window that came after an instant they belong to.
    pub late: u64,
    /// Readings of the last hour that were rejected, by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// The last of them.
    pub last_rejected: Option<Refusal>,
    /// What is open, of all causes.
    pub open_incidents: Vec<OpenIncident>,
    /// The last event of each of the last actions of a day, the newest first.
    pub last_actions: Vec<ActionEvent>,
    /// A human stopped its actions, or all: the event that says so.
    pub frozen: Option<ActionEvent>,
    /// The partition's clock at the cut that the counts are of, ms.
    pub as_of: Option<i64>,
    /// Sensors that are scraped, as collectors see them.
    pub targets: Vec<TargetStatus>,
}

/// The machine of one cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Phase {
    /// `slo`, or the condition as written.
    pub cause: String,
    /// `healthy`, `pending`, `open` or `recovering`.
    pub phase: String,
    /// How long `pending` or `recovering` has been held, ms.
    pub held_ms: i64,
    /// The incident of `open` and `recovering`.
    #[serde(skip)]
    open: Option<(IncidentId, i64)>,
}

/// An incident that is not over.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct OpenIncident {
    /// Which.
    pub incident: IncidentId,
    /// `slo`, or the condition as written.
    pub cause: String,
    /// When it was opened, ms.
    pub opened_at: i64,
}

/// A rejected reading.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Refusal {
    /// Why.
    pub reason: RejectReason,
    /// When the broker appended it, ms.
    pub at: i64,
    /// Where it was on `ops.metrics`.
    pub partition: i32,
    /// Where it was on `ops.metrics`.
    pub offset: i64,
    /// The beginning of its value; what is no text is replaced.
    pub sample: String,
    /// Whose it seems to be.
    #[serde(skip)]
    service: Option<String>,
}

/// How one service is now.
///
/// # Errors
/// [`Error::UnknownService`]; the bus.
pub fn status(settings: &Settings, topics: &Topics, service: &str) -> Result<Status, Error> {
    let board = Board::open(settings, topics, Some(service))?;
    let unknown = || Error::UnknownService(super::UnknownService { name: service.to_owned(), near: None });
    board.view().statuses(now_ms()).pop().ok_or_else(unknown)
}

/// The hash of the spec by which the processor judges a service, as of its last cut.
pub(super) fn active_hash(
    settings: &Settings,
    offsets: &Offsets,
    topics: &Topics,
    service: &ServiceId,
) -> Result<Option<SpecHash>, bus::Error> {
    let count = offsets.partitions(&topics.metrics)?;
    let mut facts = Facts::new(count);
    let since = now_ms() - FULL_CUT_MS;
    tail::state(settings, offsets, &topics.state, &[service.home(count)], since, &mut facts)?;
    let active = facts.service(service).and_then(|service| service.record.active.as_ref());
    Ok(active.map(|active| SpecHash::of(&active.spec)))
}
