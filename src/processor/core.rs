//! One partition of `ops.metrics` as a pure function of its log: `step(record) -> effects`.
//!
//! One record, three moves, in this order: the clock moves; every instant that is now due is evaluated; the
//! record itself is judged and counted. So a record never counts in an instant that became due by its own
//! arrival. No clock, no bus, no randomness: the same log gives the same effects, byte for byte.
//!
//! Called by the worker, by `ops backtest` and by replays.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::ids::{TICK_SENSOR, TICK_SERVICE, home_partition};
use crate::model::incident::{CloseReason, EventKind, IncidentEvent, SEMANTICS};
use crate::model::reading::{Reading, RejectReason};
use crate::model::spec::Spec;
use crate::model::state::{AheadRecord, Cut};
use crate::model::{ServiceId, SpecHash};
use crate::processor::cut::Published;
use crate::processor::service::{Active, compatible};
use crate::window::clock::{ClockMove, PartitionClock, SUSPEND_MS};

/// A reading may be this far ahead of its own append time, ms.
pub const FUTURE_MS: i64 = 5_000;
/// The core cuts whenever the clock passes a multiple of this, ms.
pub const CUT_MS: i64 = 10_000;
/// Most series that one partition holds; readings of services registered beyond it get `series_limit`.
pub const SERIES_LIMIT: usize = 1_000_000;

/// The state of one partition.
#[derive(Debug)]
pub struct Core {
    pub(super) partition: i32,
    partitions: i32,
    pub(super) clock: PartitionClock,
    /// Ordered by id, as instants are evaluated.
    pub(super) services: BTreeMap<ServiceId, Service>,
    /// No instant is due before the clock reaches this.
    pub(super) due: i64,
    pub(super) full_cut_clock: Option<i64>,
    pub(super) ahead: Option<AheadRecord>,
}

/// A service that was ever registered here.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// Kept for ever, also over unregistering.
    pub generation: u64,
    pub active: Option<Active>,
    /// What the last cut that wrote this service wrote; none if it must be written.
    pub published: Option<Published>,
}

/// One record of `ops.metrics`.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its offset.
    pub offset: i64,
    /// Broker append time, ms.
    pub append_ms: i64,
    /// What it holds.
    pub body: Body<'a>,
    /// It was forwarded here from another partition, and is not forwarded again.
    pub forwarded: bool,
}

/// What a record holds.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// A reading (or a tick).
    Reading(&'a Reading<'a>),
    /// Nothing that could be read as one.
    Unreadable(RejectReason),
}

/// What became of a record: `consumed = counted + rejected + forwarded + ticks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It counts.
    Counted {
        /// Its instant had been evaluated: it changes no verdict already published.
        late: bool,
    },
    /// It goes to `ops.metrics.rejected`.
    Rejected(RejectReason),
    /// It goes to its home partition.
    Forwarded {
        /// Number of that partition.
        home: i32,
    },
    /// It moved the clock, and that was all it was for.
    Tick,
}

/// What is to be published, in order. The caller reuses the buffers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// For `ops.incidents`.
    pub incidents: Vec<IncidentEvent>,
    /// For `ops.rollups` and `ops.state`.
    pub cuts: Vec<Cut>,
}

impl Effects {
    /// Forgets everything, keeps the buffers.
    pub fn clear(&mut self) {
        self.incidents.clear();
        self.cuts.clear();
    }
}

/// A change of what is registered.
#[derive(Clone, Debug)]
pub enum SpecChange {
    /// A spec takes effect.
    Register(Arc<Spec>),
    /// A service is unregistered.
    Retire(ServiceId),
}

impl Core {
    /// A partition before its first record.
    pub fn new(partition: i32, partitions: i32) -> Self {
        Self {
            partition,
            partitions,
            clock: PartitionClock::default(),
            services: BTreeMap::new(),
            due: i64::MAX,
            full_cut_clock: None,
            ahead: None,
        }
    }

    /// The clock, ms; none before the first record.
    pub fn clock(&self) -> Option<i64> {
        self.clock.now
    }

    /// The partition's clock is suspended: nothing becomes due.
    pub fn is_suspended(&self) -> bool {
        self.clock.suspended_since.is_some()
    }

    /// When the next instant is due, ms of append time; none if no service is registered or the clock has not begun.
    pub fn next_due(&self) -> Option<i64> {
        (self.due < i64::MAX).then_some(self.due)
    }

    /// The active specs, by service id.
    pub fn specs(&self) -> impl Iterator<Item = &Arc<Spec>> {
        self.services.values().filter_map(|service| service.active.as_ref().map(|active| &active.spec))
    }

    /// Takes the next record; appends what it causes to `effects`.
    pub fn step(&mut self, record: Record<'_>, effects: &mut Effects) -> Outcome {
        match self.clock.observe(record.append_ms) {
            ClockMove::Started => {
                let clock = record.append_ms;
                self.active().for_each(|(_, active)| active.start(clock));
                self.find_due();
                self.cut(record.offset, effects);
            }
            ClockMove::Moved { from } => {
                let clock = self.clock.now.unwrap_or(from);
                if clock >= self.due {
                    self.evaluate_due(clock, &mut effects.incidents);
                }
                if clock.div_euclid(CUT_MS) > from.div_euclid(CUT_MS) {
                    self.cut(record.offset, effects);
                }
            }
            ClockMove::Suspended => {}
            ClockMove::Leapt => {
                self.leap(&mut effects.incidents);
                self.cut(record.offset, effects);
            }
        }
        self.judge(record)
    }

    /// Every instant that is due and was not evaluated yet, ordered by instant, service, cause.
    fn evaluate_due(&mut self, clock: i64, events: &mut Vec<IncidentEvent>) {
        let is_due = |active: &Active| active.next.filter(|next| next + active.spec.lateness_ms <= clock);
        while let Some(at) = self.active().filter_map(|(_, active)| is_due(active)).min() {
            for (generation, active) in self.active() {
                if is_due(active) == Some(at) {
                    active.evaluate(generation, events);
                }
            }
        }
        self.find_due();
    }

    fn leap(&mut self, events: &mut Vec<IncidentEvent>) {
        let clock = self.clock.now.unwrap_or_default();
        for (_, active) in self.active() {
            if let Some((from, to)) = active.leap(clock) {
                let kind = EventKind::Blind { from, to };
                events.push(event(kind, &active.spec.id, active.spec.hash, clock));
            }
        }
        self.find_due();
    }

    fn active(&mut self) -> impl Iterator<Item = (&mut u64, &mut Active)> {
        self.services
            .values_mut()
            .filter_map(|service| service.active.as_mut().map(|active| (&mut service.generation, active)))
    }

    pub(super) fn find_due(&mut self) {
        self.due = self
            .active()
            .filter_map(|(_, active)| active.next.map(|next| next + active.spec.lateness_ms))
            .min()
            .unwrap_or(i64::MAX);
    }

    /// Third move: judges the record, and counts it if it is good.
    fn judge(&mut self, record: Record<'_>) -> Outcome {
        let reading = match record.body {
            Body::Reading(reading) => reading,
            Body::Unreadable(reason) => return Outcome::Rejected(reason),
        };
        let (service, sensor) = (&*reading.service, &*reading.sensor);
        if service == TICK_SERVICE && sensor == TICK_SENSOR {
            return Outcome::Tick;
        }
        let home = home_partition(service, self.partitions);
        if home != self.partition && !record.forwarded {
            // A name that no spec can have has no home: it is refused where it is found.
            return if reading.is_named_well() {
                Outcome::Forwarded { home }
            } else {
                Outcome::Rejected(RejectReason::BadName)
            };
        }
        let clock = self.clock.now;
        let fault = fault(reading, record.append_ms);
        let active = self.services.get_mut(service).and_then(|service| service.active.as_mut());
        let known = active.map(|active| (active.spec.sensor(sensor), active));
        let (sensor, active) = match known {
            None => return Outcome::Rejected(unknown(reading, fault, RejectReason::UnknownService)),
            Some((None, _)) => return Outcome::Rejected(unknown(reading, fault, RejectReason::UnknownSensor)),
            Some((Some(sensor), active)) => (sensor, active),
        };
        let series = &mut active.series[sensor];
        series.seen = clock;
        series.pending.touched = true;
        match fault.map_or_else(|| active.count(reading, sensor), Err) {
            Ok(late) => {
                self.note_ahead(reading.ts);
                Outcome::Counted { late }
            }
            Err(reason) => Outcome::Rejected(reason),
        }
    }

    /// A reading that is counted while the clock is suspended may lie so far ahead that a restore would not look
    /// for it among the newest rollups: remember from where on it must.
    fn note_ahead(&mut self, ts: i64) {
        let Some(clock) = self.clock.now else { return };
        if self.clock.suspended_since.is_some() && ts > clock + SUSPEND_MS + FUTURE_MS {
            let ahead = self.ahead.get_or_insert(AheadRecord { cut_clock: clock, until: ts });
            ahead.until = ahead.until.max(ts);
        }
    }

    /// A spec takes effect (or ends) before the record at `position`. Says whether anything changed: the same text
    /// again is nothing.
    pub fn apply(&mut self, change: SpecChange, position: i64, effects: &mut Effects) -> bool {
        let changed = match &change {
            SpecChange::Register(spec) => self.spec_of(&spec.id).is_none_or(|old| old.hash != spec.hash),
            SpecChange::Retire(id) => self.spec_of(id).is_some(),
        };
        if !changed {
            return false;
        }
        let mut cut = self.begin_cut(position);
        match change {
            SpecChange::Register(spec) => self.register(spec, position, &mut effects.incidents),
            SpecChange::Retire(id) => self.retire(&id, &mut effects.incidents),
        }
        self.find_due();
        self.end_cut(&mut cut);
        effects.cuts.push(cut);
        true
    }

    fn spec_of(&self, id: &ServiceId) -> Option<&Arc<Spec>> {
        self.services.get(id)?.active.as_ref().map(|active| &active.spec)
    }

    fn register(&mut self, spec: Arc<Spec>, position: i64, events: &mut Vec<IncidentEvent>) {
        let clock = self.clock.now;
        let at = clock.unwrap_or(0);
        let others: usize = self.specs().filter(|other| other.id != spec.id).map(|other| other.sensors.len()).sum();
        let over_limit = others + spec.sensors.len() > SERIES_LIMIT;
        let service = self.services.entry(spec.id.clone()).or_default();
        service.published = None;
        match &mut service.active {
            Some(active) if compatible(&active.spec, &spec) => active.adopt(spec.clone()),
            slot => {
                if let Some(old) = slot.take() {
                    old.close(CloseReason::Superseded, at, events);
                }
                *slot = Some(Active::new(spec.clone(), clock, position, over_limit));
            }
        }
        let kind = EventKind::SpecActivated {
            text: spec.text.clone(),
            semantics: SEMANTICS,
            from_partition: self.partition,
            from_offset: position,
        };
        events.push(event(kind, &spec.id, spec.hash, at));
    }

    fn retire(&mut self, id: &ServiceId, events: &mut Vec<IncidentEvent>) {
        let at = self.clock.now.unwrap_or(0);
        let Some(service) = self.services.get_mut(id) else { return };
        let Some(active) = service.active.take() else { return };
        service.published = None;
        let hash = active.spec.hash;
        active.close(CloseReason::Unregistered, at, events);
        events.push(event(EventKind::SpecRetired, id, hash, at));
    }
}

/// What can be said against a reading without knowing its spec.
fn fault(reading: &Reading<'_>, append_ms: i64) -> Option<RejectReason> {
    let future = reading.ts > append_ms.saturating_add(FUTURE_MS);
    reading.fault().or(future.then_some(RejectReason::TsFuture))
}

/// Why a reading of a series that is not known is refused. What is known has a good name.
fn unknown(reading: &Reading<'_>, fault: Option<RejectReason>, unknown: RejectReason) -> RejectReason {
    if reading.is_named_well() { fault.unwrap_or(unknown) } else { RejectReason::BadName }
}

fn event(kind: EventKind, service: &ServiceId, spec_hash: SpecHash, at: i64) -> IncidentEvent {
    IncidentEvent { kind, service: service.clone(), spec_hash, at }
}
