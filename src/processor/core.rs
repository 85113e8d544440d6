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
use crate::model::state::AheadRecord;
use crate::model::{ServiceId, SpecHash};
use crate::processor::cut::{Cut, Published};
use crate::processor::front::Front;
use crate::processor::grid::Grid;
use crate::processor::index::{Index, Place};
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
    /// Every service that was ever registered here, where it is in `services`; instants are evaluated in this order.
    pub(super) slots: BTreeMap<ServiceId, usize>,
    /// A slot is for ever.
    pub(super) services: Vec<Service>,
    /// The series of the active services.
    pub(super) index: Index,
    /// One for each of them, in the order of their places.
    pub(super) fronts: Vec<Front>,
    pub(super) grids: Vec<Grid>,
    /// The active services by id.
    pub(super) turns: Vec<Turn>,
    /// How many series the active services have.
    series: usize,
    /// No instant is due before the clock reaches this.
    due: i64,
    pub(super) full_cut_clock: Option<i64>,
    pub(super) ahead: Option<AheadRecord>,
}

/// A service that was ever registered here.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// Kept for ever, also over unregistering.
    pub generation: u64,
    pub active: Option<Active>,
    /// Place in the core's `turns`, while it is active.
    turn: usize,
    /// Place in the core's `grids`, while it is active.
    grid: usize,
    /// Place of the first of its series in the core's `fronts`, while it is active.
    pub front: usize,
    /// What the last cut that wrote this service wrote; none if it must be written.
    pub published: Option<Published>,
    /// That may not be true any more.
    pub changed: bool,
}

/// An active service, when instants are evaluated: small, as at each instant all of them are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Instants before this, ms, would change nothing.
    wake: i64,
    pub slot: u32,
    pub grid: u32,
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
    /// What is to be done with it if this is not its home. Not looked at if its series is registered here.
    pub elsewhere: Elsewhere,
}

/// What is to be done with a record that is not in its home partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Elsewhere {
    /// It is forwarded there.
    #[default]
    Forward,
    /// It was forwarded here from another partition, and is not forwarded again.
    Stay,
    /// It is too long to be forwarded.
    Refuse,
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
            slots: BTreeMap::new(),
            services: Vec::new(),
            index: Index::default(),
            fronts: Vec::new(),
            grids: Vec::new(),
            turns: Vec::new(),
            series: 0,
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
    pub fn specs(&self) -> impl Iterator<Item = &Arc<Spec>> + Clone {
        self.slots.values().filter_map(|slot| self.services[*slot].active.as_ref().map(|active| &active.spec))
    }

    /// Takes the next record; appends what it causes to `effects`.
    pub fn step(&mut self, record: Record<'_>, effects: &mut Effects) -> Outcome {
        let place = match record.body {
            Body::Reading(reading) => self.index.find(&reading.service, &reading.sensor),
            Body::Unreadable(_) => None,
        };
        self.step_at(place, record, effects)
    }

    /// The same of a record whose place was looked up since specs last changed.
    pub fn step_at(&mut self, place: Option<Place>, record: Record<'_>, effects: &mut Effects) -> Outcome {
        match self.clock.observe(record.append_ms) {
            ClockMove::Started => {
                self.start(record.append_ms);
                self.cut(record.offset, effects);
            }
            ClockMove::Moved { from } => {
                let clock = self.clock.now.unwrap_or(from);
                if clock >= self.due {
                    self.evaluate_due(clock, &mut effects.incidents);
                }
                if clock > from && clock.div_euclid(CUT_MS) > from.div_euclid(CUT_MS) {
                    self.cut(record.offset, effects);
                }
            }
            ClockMove::Suspended => {}
            ClockMove::Leapt => {
                self.leap(&mut effects.incidents);
                self.cut(record.offset, effects);
            }
        }
        self.judge(place, record)
    }

    /// The partition's first record: instants begin.
    fn start(&mut self, clock: i64) {
        let active = self.services.iter_mut().filter_map(|service| service.active.as_mut());
        active.for_each(|active| active.alive_since = Some(clock));
        self.grids.iter_mut().for_each(|grid| grid.next = Some(grid.first_not_due(clock)));
        self.find_due();
    }

    /// Every instant that is due and was not evaluated yet, ordered by instant, service, cause.
    fn evaluate_due(&mut self, clock: i64, events: &mut Vec<IncidentEvent>) {
        while let Some(at) = self.grids.iter().filter_map(|grid| grid.due(clock)).min() {
            let is_due = |turn: &Turn| turn.wake <= at && self.grids[turn.grid as usize].due(clock) == Some(at);
            let due = self.turns.iter().enumerate().filter(|(_, turn)| is_due(turn));
            let due: Vec<usize> = due.map(|(number, _)| number).collect();
            for (place, &number) in due.iter().enumerate() {
                self.look_ahead_of_turns(|ahead| due.get(place + ahead).copied());
                let turn = &mut self.turns[number];
                let service = &mut self.services[turn.slot as usize];
                if let Some(active) = &mut service.active {
                    if let Some(slo) = &active.spec.slo {
                        self.fronts[service.front + slo.target].count_into(&mut active.series[slo.target], at);
                    }
                    let evaluated = active.evaluate(at, &mut service.generation, events);
                    turn.wake = evaluated.wake;
                    service.changed |= evaluated.changed;
                }
            }
            for grid in self.grids.iter_mut().filter(|grid| grid.due(clock) == Some(at)) {
                grid.next = Some(at + grid.step_ms);
            }
        }
        self.find_due();
    }

    fn leap(&mut self, events: &mut Vec<IncidentEvent>) {
        let clock = self.clock.now.unwrap_or_default();
        let blind: Vec<_> = self.grids.iter_mut().map(|grid| grid.leap(clock)).collect();
        for turn in &mut self.turns {
            turn.wake = i64::MIN;
            let service = &mut self.services[turn.slot as usize];
            service.changed = true;
            let Some(active) = &mut service.active else { continue };
            active.alive_since = Some(clock);
            if let Some((from, to)) = blind[turn.grid as usize] {
                let kind = EventKind::Blind { from, to };
                events.push(event(kind, &active.spec.id, active.spec.hash, clock));
            }
        }
        self.find_due();
    }

    fn find_due(&mut self) {
        self.due = self.grids.iter().filter_map(Grid::next_due).min().unwrap_or(i64::MAX);
    }

    /// After any change of what is active, behind a cut: nothing waits. Index, fronts, instants and turns are made anew.
    /// Everybody's turn comes at the next instant.
    pub(super) fn arrange(&mut self) {
        self.grids.clear();
        self.turns.clear();
        self.fronts.clear();
        for &slot in self.slots.values() {
            let service = &mut self.services[slot];
            let Some(active) = &service.active else { continue };
            let (step_ms, lateness_ms) = (active.spec.step_ms, active.spec.lateness_ms);
            let same = |grid: &Grid| (grid.step_ms, grid.lateness_ms) == (step_ms, lateness_ms);
            service.grid = self.grids.iter().position(same).unwrap_or_else(|| {
                self.grids.push(Grid::new(step_ms, lateness_ms, self.clock.now));
                self.grids.len() - 1
            });
            (service.turn, service.front) = (self.turns.len(), self.fronts.len());
            let (slot, grid) = (slot as u32, service.grid as u32);
            self.turns.push(Turn { wake: i64::MIN, slot, grid });
            let series = (0..).zip(&active.series);
            self.fronts.extend(series.map(|(sensor, series)| Front::of(series, slot, sensor, grid, active.over_limit)));
        }
        self.series = self.fronts.len();
        self.index = Index::of(self.specs().map(|spec| &**spec));
        self.find_due();
    }

    /// Third move: judges the record, and counts it if it is good.
    fn judge(&mut self, place: Option<Place>, record: Record<'_>) -> Outcome {
        let reading = match record.body {
            Body::Reading(reading) => reading,
            Body::Unreadable(reason) => return Outcome::Rejected(reason),
        };
        let Some(place) = place else { return self.judge_unknown(reading, record) };
        let front = &mut self.fronts[place.number()];
        front.touch(self.clock.now);
        if let Some(reason) = fault(reading, record.append_ms) {
            return Outcome::Rejected(reason);
        }
        let next = self.grids[front.grid as usize].next.unwrap_or(i64::MIN);
        let counted = if front.keep(reading.ts, reading.value, next) {
            Outcome::Counted { late: false }
        } else {
            self.count(place, reading, next)
        };
        if matches!(counted, Outcome::Counted { .. }) {
            self.note_ahead(reading.ts);
        }
        counted
    }

    /// Counts a reading that may not wait, or judges that it is too late; those that wait for it go first.
    fn count(&mut self, place: Place, reading: &Reading<'_>, next: i64) -> Outcome {
        let front = &mut self.fronts[place.number()];
        let (service, sensor) = (&mut self.services[front.slot as usize], front.sensor as usize);
        // Only what is active is in the index.
        let Some(active) = &mut service.active else { return Outcome::Rejected(RejectReason::UnknownService) };
        front.count_into(&mut active.series[sensor], next);
        let counted = match active.count(reading, sensor, next) {
            Ok(counted) => counted,
            Err(reason) => return Outcome::Rejected(reason),
        };
        if let Some(instant) = counted.stirs {
            service.changed = true;
            let turn = &mut self.turns[service.turn];
            turn.wake = turn.wake.min(instant);
        }
        Outcome::Counted { late: counted.late }
    }

    /// A record of no series that is registered here: what is known has a good name and is at home.
    fn judge_unknown(&self, reading: &Reading<'_>, record: Record<'_>) -> Outcome {
        let (service, sensor) = (&*reading.service, &*reading.sensor);
        if service == TICK_SERVICE && sensor == TICK_SENSOR {
            return Outcome::Tick;
        }
        // A name that no spec can have has no home: it is refused where it is found.
        if !reading.is_named_well() {
            return Outcome::Rejected(RejectReason::BadName);
        }
        let home = home_partition(service, self.partitions);
        match record.elsewhere {
            Elsewhere::Forward if home != self.partition => return Outcome::Forwarded { home },
            Elsewhere::Refuse if home != self.partition => return Outcome::Rejected(RejectReason::TooLarge),
            _ => {}
        }
        let is_active = self.slots.get(service).is_some_and(|slot| self.services[*slot].active.is_some());
        let unknown = if is_active { RejectReason::UnknownSensor } else { RejectReason::UnknownService };
        Outcome::Rejected(fault(reading, record.append_ms).unwrap_or(unknown))
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

    /// Specs take effect (or end) before the record at `position`, in this order and in one cut. Says whether anything
    /// changed: the same text again is nothing.
    pub fn apply(
        &mut self,
        changes: impl IntoIterator<Item = SpecChange>,
        position: i64,
        effects: &mut Effects,
    ) -> bool {
        let mut cut = None;
        for change in changes {
            let changed = match &change {
                SpecChange::Register(spec) => self.spec_of(&spec.id).is_none_or(|old| old.hash != spec.hash),
                SpecChange::Retire(id) => self.spec_of(id).is_some(),
            };
            if changed {
                cut.get_or_insert_with(|| self.begin_cut(position));
                match change {
                    SpecChange::Register(spec) => self.register(spec, position, &mut effects.incidents),
                    SpecChange::Retire(id) => self.retire(&id, &mut effects.incidents),
                }
            }
        }
        let Some(mut cut) = cut else { return false };
        self.arrange();
        self.end_cut(&mut cut);
        effects.cuts.push(cut);
        true
    }

    /// The active spec of a service.
    pub(super) fn spec_of(&self, id: &ServiceId) -> Option<&Arc<Spec>> {
        self.services[*self.slots.get(id)?].active.as_ref().map(|active| &active.spec)
    }

    fn register(&mut self, spec: Arc<Spec>, position: i64, events: &mut Vec<IncidentEvent>) {
        let clock = self.clock.now;
        let at = clock.unwrap_or(0);
        self.series += spec.sensors.len();
        self.series -= self.spec_of(&spec.id).map_or(0, |old| old.sensors.len());
        let over_limit = self.series > SERIES_LIMIT;
        let service = self.service(&spec.id);
        service.published = None;
        service.changed = true;
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

    /// The service of this name, which has a slot from now on.
    pub(super) fn service(&mut self, id: &ServiceId) -> &mut Service {
        let slot = *self.slots.entry(id.clone()).or_insert(self.services.len());
        if slot == self.services.len() {
            self.services.push(Service::default());
        }
        &mut self.services[slot]
    }

    fn retire(&mut self, id: &ServiceId, events: &mut Vec<IncidentEvent>) {
        let at = self.clock.now.unwrap_or(0);
        let service = self.service(id);
        let Some(active) = service.active.take() else { return };
        service.published = None;
        service.changed = true;
        self.series -= active.spec.sensors.len();
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

fn event(kind: EventKind, service: &ServiceId, spec_hash: SpecHash, at: i64) -> IncidentEvent {
    IncidentEvent { kind, service: service.clone(), spec_hash, at }
}
