//! One registered service: its series, its verdict at an instant, its machines. Pure; called by `core`.

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::incident::{CloseReason, EventKind, IncidentEvent};
use crate::model::reading::{Reading, RejectReason};
use crate::model::spec::{Condition, Slo, Spec};
use crate::model::state::VerdictKind;
use crate::processor::incident::{Instant, Machine, Shared, Signal};
use crate::window::digest::{self, Sketch};
use crate::window::panes::{Attributes, Counters, Panes, Sample};

/// All of a service but its generation: what a spec begins and ends.
#[derive(Debug)]
pub(super) struct Active {
    pub spec: Arc<Spec>,
    /// The first instant not yet evaluated (or blind), ms; none before the partition's first record.
    pub next: Option<i64>,
    /// The later of activation and last leap, by the partition's clock.
    pub alive_since: Option<i64>,
    /// Rollups of cuts at or before this position belong to an older spec.
    pub windows_from: i64,
    /// The partition is full: readings are refused.
    pub over_limit: bool,
    /// The verdict of the last instant that was evaluated.
    pub verdict: Option<VerdictKind>,
    /// One for each cause of the spec.
    pub machines: Vec<Machine>,
    /// One for each sensor of the spec.
    pub series: Vec<Series>,
}

/// The readings of one sensor, as far as they can still matter.
#[derive(Debug)]
pub(super) struct Series {
    pub panes: Panes,
    /// What earlier cuts sketched, ascending; kept for the SLO's target alone.
    pub sketches: Vec<Sketch>,
    /// The clock at the last record that named the series, refused ones included.
    pub seen: Option<i64>,
    pub pending: Pending,
}

/// What came since the last cut. Written when a reading is judged, ends with the next cut.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub touched: bool,
    /// In offset order.
    pub values: Vec<f64>,
    pub late: u64,
    pub first_ts: i64,
    pub last_ts: i64,
    pub last: f64,
}

impl Pending {
    fn count(&mut self, ts: i64, value: f64, late: bool) {
        if self.values.is_empty() {
            (self.first_ts, self.last_ts, self.last) = (ts, ts, value);
        }
        self.first_ts = self.first_ts.min(ts);
        if ts >= self.last_ts {
            (self.last_ts, self.last) = (ts, value);
        }
        self.late += u64::from(late);
        self.values.push(value);
    }

    fn sketch(&self) -> Sketch {
        Sketch::of(&self.values, self.first_ts, self.last_ts)
    }
}

impl Active {
    /// A service that starts now: nothing counted, nothing open.
    pub fn new(spec: Arc<Spec>, clock: Option<i64>, windows_from: i64, over_limit: bool) -> Self {
        let series = spec.sensors.iter().map(|_| Series::new(spec.step_ms)).collect();
        let machines = spec.causes.iter().map(|_| Machine::default()).collect();
        let next = clock.map(|clock| first_not_due(&spec, clock));
        Self { spec, next, alive_since: clock, windows_from, over_limit, verdict: None, machines, series }
    }

    /// The partition's first record: instants begin.
    pub fn start(&mut self, clock: i64) {
        self.alive_since = Some(clock);
        self.next = Some(first_not_due(&self.spec, clock));
    }

    /// Judges a reading of this service and counts it. `Ok(late)`.
    pub fn count(&mut self, reading: &Reading<'_>, sensor: usize) -> Result<bool, RejectReason> {
        if self.over_limit {
            return Err(RejectReason::SeriesLimit);
        }
        let next = self.next.unwrap_or(i64::MIN);
        if reading.ts <= next.saturating_sub(self.spec.keep_ms(sensor)) {
            return Err(RejectReason::TsLate);
        }
        let late = reading.ts <= next.saturating_sub(self.spec.step_ms);
        let slo = self.spec.slo.as_ref().filter(|slo| slo.target == sensor);
        let attributes = self.kept_attributes(reading, sensor);
        self.series[sensor].panes.count(Sample {
            ts: reading.ts,
            value: reading.value,
            over: slo.is_some_and(|slo| reading.value > slo.threshold),
            unrecovered: slo.is_some_and(|slo| reading.value > slo.recover_threshold),
            attributes: attributes.clone(),
        });
        self.series[sensor].pending.count(reading.ts, reading.value, late);
        if self.spec.sensors[sensor].is_event && reading.value > 0.0 {
            for (cause, machine) in self.spec.causes.iter().zip(&mut self.machines) {
                if cause.condition == (Condition::Event { sensor }) {
                    machine.occurrence.get_or_insert_with(|| attributes.clone().unwrap_or_default());
                }
            }
        }
        Ok(late)
    }

    /// Attributes are handed to the actions of events and comparisons.
    fn kept_attributes(&self, reading: &Reading<'_>, sensor: usize) -> Option<Attributes> {
        let wanted = !reading.attributes.is_empty()
            && self.spec.causes.iter().any(|cause| match cause.condition {
                Condition::Comparison { sensor: own, .. } | Condition::Event { sensor: own } => own == sensor,
                Condition::Slo | Condition::NoData => false,
            });
        let owned = |(name, text): (&Cow<'_, str>, &Cow<'_, str>)| (name.to_string(), text.to_string());
        wanted.then(|| Arc::new(reading.attributes.iter().map(owned).collect()))
    }

    /// Evaluates the next instant.
    pub fn evaluate(&mut self, generation: &mut u64, events: &mut Vec<IncidentEvent>) {
        let Some(at) = self.next else { return };
        let spec = self.spec.clone();
        let before = self.verdict;
        let target = spec.slo.as_ref().map(|slo| (slo, &self.series[slo.target]));
        let window = target.map(|(_, series)| series.panes.sum(at - spec.window_ms, at)).unwrap_or_default();
        self.verdict = target.map(|(slo, series)| self.judge(slo, series, window, at));
        let silent = Some(VerdictKind::NoData);
        if (before == silent) != (self.verdict == silent) {
            let kind = if self.verdict == silent { EventKind::NoData } else { EventKind::DataBack };
            events.push(IncidentEvent { kind, service: spec.id.clone(), spec_hash: spec.hash, at });
        }
        let now = Instant {
            at,
            service: &spec.id,
            spec: &spec,
            alive_since: self.alive_since.unwrap_or(at),
            verdict: self.verdict,
            window,
            counters_after: &|after| target.map(|(_, series)| series.panes.sum(after, at)).unwrap_or_default(),
            estimate: &|| target.and_then(|(slo, series)| series.estimate(slo, at - spec.window_ms, at)),
        };
        let mut shared = Shared { generation, events };
        for (cause, machine) in self.machines.iter_mut().enumerate() {
            let (signal, trigger) = match spec.causes[cause].condition {
                Condition::Slo => (slo_signal(&spec, &self.series, window, now.verdict, at), None),
                Condition::NoData => (known(now.verdict == silent), None),
                Condition::Event { .. } => {
                    let occurrence = machine.occurrence.take();
                    (known(occurrence.is_some()), occurrence)
                }
                Condition::Comparison { sensor, op, literal } => match latest(&spec, &self.series, sensor, at) {
                    Some(pane) => (known(op.holds(pane.last_value, literal)), pane.last_attributes.clone()),
                    None => (Signal::default(), None),
                },
            };
            machine.evaluate(cause, signal, trigger, &now, &mut shared);
        }
        self.next = Some(at + spec.step_ms);
    }

    fn judge(&self, slo: &Slo, series: &Series, window: Counters, at: i64) -> VerdictKind {
        let silence = self.spec.sensors[slo.target].no_data_after_ms;
        if latest(&self.spec, &self.series, slo.target, at).is_none() {
            let alive = self.alive_since.into_iter().chain(series.seen).max().unwrap_or(at);
            return if at - alive < silence && self.verdict != Some(VerdictKind::NoData) {
                VerdictKind::Insufficient
            } else {
                VerdictKind::NoData
            };
        }
        if window.n < slo.min_samples {
            VerdictKind::Insufficient
        } else if window.over > window.n - slo.rank(window.n) {
            VerdictKind::Breached
        } else {
            VerdictKind::Healthy
        }
    }

    /// The clock leapt to `clock`: what became due by it is blind. `Some((first, last))` if anything did.
    pub fn leap(&mut self, clock: i64) -> Option<(i64, i64)> {
        self.alive_since = Some(clock);
        let first = self.next.replace(first_not_due(&self.spec, clock))?;
        let last = first_not_due(&self.spec, clock) - self.spec.step_ms;
        (last >= first).then_some((first, last))
    }

    /// Takes a compatible spec: windows, held times and open incidents go on.
    pub fn adopt(&mut self, spec: Arc<Spec>) {
        let mut old: Vec<Option<Series>> = self.series.drain(..).map(Some).collect();
        for sensor in &spec.sensors {
            let kept = self.spec.sensor(&sensor.name).and_then(|place| old[place].take());
            self.series.push(kept.unwrap_or_else(|| Series::new(spec.step_ms)));
        }
        self.spec = spec;
    }

    /// Ends every machine, in the order of the causes.
    pub fn close(self, reason: CloseReason, at: i64, events: &mut Vec<IncidentEvent>) {
        for (cause, machine) in self.machines.into_iter().enumerate() {
            machine.close(cause, reason, at, &self.spec, events);
        }
    }
}

impl Series {
    pub fn new(step_ms: i64) -> Self {
        Self { panes: Panes::new(step_ms), sketches: Vec::new(), seen: None, pending: Pending::default() }
    }

    fn estimate(&self, slo: &Slo, after: i64, to: i64) -> Option<f64> {
        let pending = self.pending.sketch();
        let overlapping = self.sketches.iter().chain([&pending]).filter(|sketch| sketch.overlaps(after, to));
        digest::estimate(overlapping, f64::from(slo.objective_ppm) / 1e6)
    }

    /// Ends the series' part of a cut: what came since the last one, if anything did.
    pub fn take_pending(&mut self) -> Option<(Pending, Sketch)> {
        let pending = std::mem::take(&mut self.pending);
        let sketch = pending.sketch();
        pending.touched.then_some((pending, sketch))
    }
}

/// The first instant that is not yet due at `clock`: the smallest E with E + L > clock.
pub(super) fn first_not_due(spec: &Spec, clock: i64) -> i64 {
    (clock - spec.lateness_ms).div_euclid(spec.step_ms) * spec.step_ms + spec.step_ms
}

/// Can a new text of a service go on with the windows and incidents of the old one?
pub(super) fn compatible(old: &Spec, new: &Spec) -> bool {
    let slo = |spec: &Spec| {
        let slo = spec.slo.clone();
        let name = slo.as_ref().map(|slo| spec.sensors[slo.target].name.clone());
        (name, slo.map(|slo| Slo { target: 0, ..slo }))
    };
    let times = |spec: &Spec| {
        (spec.window_ms, spec.step_ms, spec.lateness_ms, spec.recover_for_ms, spec.flap_limit, spec.flap_window_ms)
    };
    let sensors = |spec: &Spec| {
        let mut sensors: Vec<_> = spec
            .sensors
            .iter()
            .map(|sensor| (sensor.name.clone(), sensor.unit as u8, sensor.interval_ms, sensor.no_data_after_ms))
            .collect();
        sensors.sort();
        sensors
    };
    let events = |spec: &Spec| -> Vec<_> {
        spec.sensors.iter().filter(|sensor| sensor.is_event).map(|sensor| sensor.name.clone()).collect()
    };
    slo(old) == slo(new)
        && times(old) == times(new)
        && sensors(old) == sensors(new)
        && events(old) == events(new)
        && same_causes(old, new)
}

/// The same conditions in the same order; sensors are compared by name, texts do not matter.
fn same_causes(old: &Spec, new: &Spec) -> bool {
    let by_name = |spec: &Spec| -> Vec<_> {
        spec.causes
            .iter()
            .map(|cause| match &cause.condition {
                Condition::Slo => (0, None, None, cause.for_ms),
                Condition::NoData => (1, None, None, cause.for_ms),
                Condition::Event { sensor } => (2, Some(spec.sensors[*sensor].name.clone()), None, cause.for_ms),
                Condition::Comparison { sensor, op, literal } => {
                    (3, Some(spec.sensors[*sensor].name.clone()), Some((*op, *literal)), cause.for_ms)
                }
            })
            .collect()
    };
    by_name(old) == by_name(new)
}

fn known(truth: bool) -> Signal {
    Signal { truth: Some(truth), clear: Some(!truth) }
}

/// The latest reading of a sensor at or before `at`, if it is not older than the sensor may be silent.
fn latest<'a>(spec: &Spec, series: &'a [Series], sensor: usize, at: i64) -> Option<&'a crate::window::panes::Pane> {
    let pane = series[sensor].panes.latest(at)?;
    (pane.last_ts > at - spec.sensors[sensor].no_data_after_ms).then_some(pane)
}

/// Truth and clearness of the SLO. Little traffic does not keep an incident open for ever: at `insufficient` a
/// few readings that are all good clear it, but they say nothing against one that is pending.
fn slo_signal(spec: &Spec, series: &[Series], window: Counters, verdict: Option<VerdictKind>, at: i64) -> Signal {
    let Some(slo) = &spec.slo else { return Signal::default() };
    match verdict {
        Some(VerdictKind::Healthy | VerdictKind::Breached) => Signal {
            truth: Some(verdict == Some(VerdictKind::Breached)),
            clear: Some(window.unrecovered <= window.n - slo.rank(window.n)),
        },
        Some(VerdictKind::Insufficient) => {
            let enough = window.n >= slo.min_samples.min(3) && window.unrecovered == 0;
            let fresh = latest(spec, series, slo.target, at).is_some();
            Signal { truth: None, clear: (enough && fresh).then_some(true) }
        }
        Some(VerdictKind::NoData) | None => Signal::default(),
    }
}
