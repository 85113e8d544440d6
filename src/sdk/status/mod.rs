//! How services are: the read model behind `ops status`.
//!
//! Reads what the processor and the actors have published and shows it as of the last cut of the service's
//! partition (about 10 s), incidents as of now. It judges nothing: verdicts and phases are the processor's. What is
//! not known is `unknown`, never green.
//!
//! - [`tail`]: follows a topic; [`facts`]: what was read; [`view`], [`targets`]: facts -> [`Status`], pure.

mod facts;
pub(super) mod tail;
mod targets;
mod view;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::catalog::Entry;
use super::{Catalog, Error, now_ms};
use crate::bus::{self, Offsets, Settings};
use crate::model::action::ActionEvent;
use crate::model::incident::EventKind;
use crate::model::reading::RejectReason;
use crate::model::topics::Topics;
use crate::model::{IncidentId, ServiceId, SpecHash};
use facts::Facts;
use tail::Tail;
pub use targets::{TargetState, TargetStatus};

/// How far back actions and rejected readings are shown, ms.
const ACTIONS_MS: i64 = 24 * 3_600_000;
const REJECTED_MS: i64 = 3_600_000;
/// A full cut of `ops.state` is written once an hour: so far back there is one, if the processor runs.
const FULL_CUT_MS: i64 = 2 * 3_600_000;
/// A reading may carry a time so far ahead of its append time, ms; with room.
const AHEAD_MS: i64 = 10_000;
/// Rejected readings of all partitions together that are looked at.
const REJECTED_RECORDS: i64 = 10_000;
/// How long other topics than the one that is waited for may hold up a look for news.
const GLANCE: Duration = Duration::from_millis(5);

/// How the objective stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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

/// See the module. Follows the topics; [`Board::statuses`] shows what it knows.
pub struct Board {
    settings: Settings,
    topics: Topics,
    offsets: Offsets,
    only: Option<ServiceId>,
    catalog: Catalog,
    facts: Facts,
    state: Tail,
    rollups: Tail,
    incidents: Tail,
    actions: Tail,
    rejected: Tail,
    /// None on a cluster whose topics were made before there were collectors.
    targets: Option<Tail>,
}

impl Board {
    /// Reads how all services are, or one.
    ///
    /// # Errors
    /// [`Error::UnknownService`]; the bus.
    pub fn open(settings: &Settings, topics: &Topics, service: Option<&str>) -> Result<Self, Error> {
        let offsets = Offsets::new(settings)?;
        let catalog = Catalog::read(settings, &offsets, topics)?;
        let only = service.map(|name| catalog.get(name).map(|(id, _)| id.clone())).transpose()?;
        let count = offsets.partitions(&topics.metrics)?;
        let partitions = only.as_ref().map_or_else(|| (0..count).collect(), |id| vec![id.home(count)]);
        let mut facts = Facts::new(count);
        let now = now_ms();
        let state = tail::state(settings, &offsets, &topics.state, &partitions, now - FULL_CUT_MS, &mut facts)?;
        let since = |back: i64| partitions.iter().map(move |partition| (*partition, now - back));
        let windows = facts.windows_since(&partitions, AHEAD_MS);
        let follow = |topic: &str, since| Tail::since(settings, &offsets, topic, since);
        let targets = targets::follow(settings, &offsets, &topics.targets, only.as_ref(), now)?;
        let mut board = Self {
            targets,
            rollups: follow(&topics.rollups, windows)?,
            incidents: follow(&topics.incidents, facts.cuts_since(&partitions))?,
            // All of it: a freeze holds until somebody thaws it, however long ago it was.
            actions: follow(&topics.actions, since(now).collect())?,
            rejected: Tail::last(
                settings,
                &offsets,
                &topics.rejected,
                (0..count).map(|partition| (partition, now - REJECTED_MS)),
                REJECTED_RECORDS / i64::from(count),
            )?,
            settings: settings.clone(),
            topics: topics.clone(),
            offsets,
            only,
            catalog,
            facts,
            state,
        };
        board.catch_up()?;
        Ok(board)
    }

    /// Reads every topic to its end, `ops.state` last: an event that it holds already is not counted again, and
    /// one that it does not hold yet is.
    fn catch_up(&mut self) -> Result<(), bus::Error> {
        let Self { offsets, facts, state, rollups, incidents, actions, rejected, targets, .. } = self;
        targets.as_mut().map_or(Ok(()), |targets| targets.catch_up(offsets, |message| facts.take_target(message)))?;
        rollups.catch_up(offsets, |message| facts.take_rollup(message))?;
        actions.catch_up(offsets, |message| facts.take_action(message))?;
        rejected.catch_up(offsets, |message| facts.take_rejected(message))?;
        incidents.catch_up(offsets, |message| drop(facts.take_incident(message)))?;
        state.catch_up(offsets, |message| facts.take_state(message))
    }

    /// Waits up to `timeout` for something new. Was there anything?
    ///
    /// # Errors
    /// The bus.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, Error> {
        let Self { facts, state, rollups, incidents, actions, rejected, targets, .. } = self;
        let mut catalog_moved = false;
        let mut news = incidents.glance(timeout, |message| {
            let kind = facts.take_incident(message);
            catalog_moved |= matches!(kind, Some(EventKind::SpecActivated { .. } | EventKind::SpecRetired));
        })?;
        news |= rollups.glance(GLANCE, |message| facts.take_rollup(message))?;
        news |= actions.glance(GLANCE, |message| facts.take_action(message))?;
        news |= rejected.glance(GLANCE, |message| facts.take_rejected(message))?;
        if let Some(targets) = targets {
            news |= targets.glance(GLANCE, |message| facts.take_target(message))?;
        }
        news |= state.glance(GLANCE, |message| facts.take_state(message))?;
        if catalog_moved {
            self.catalog = Catalog::read(&self.settings, &self.offsets, &self.topics)?;
        }
        Ok(news)
    }

    /// Every service that is registered, by id; `now` in ms by the host's clock.
    pub fn statuses(&self, now: i64) -> Vec<Status> {
        let wanted = |id: &ServiceId| self.only.as_ref().is_none_or(|only| only == id);
        let entries = self.catalog.entries().filter(|(id, _)| wanted(id));
        let status = |(id, entry): (&ServiceId, &Entry)| {
            let status = view::status(&self.facts, id, &entry.registration.owner, now);
            let targets = entry.spec.as_ref().map_or_else(|_| Vec::new(), |spec| targets::of(&self.facts, spec, now));
            Status { targets, ..status }
        };
        entries.map(status).collect()
    }

    /// Rejected readings of the last hour that belong to no registered service, by reason.
    pub fn strangers(&self, now: i64) -> BTreeMap<RejectReason, u64> {
        let registered = |name: &str| self.catalog.get(name).is_ok();
        let refusals = self.facts.rejected_since(now - REJECTED_MS);
        let foreign = refusals.filter(|refusal| !refusal.service.as_deref().is_some_and(registered));
        view::by_reason(foreign)
    }
}

/// How one service is now.
///
/// # Errors
/// [`Error::UnknownService`]; the bus.
pub fn status(settings: &Settings, topics: &Topics, service: &str) -> Result<Status, Error> {
    let board = Board::open(settings, topics, Some(service))?;
    let unknown = || Error::UnknownService(super::UnknownService { name: service.to_owned(), near: None });
    board.statuses(now_ms()).pop().ok_or_else(unknown)
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
