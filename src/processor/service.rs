//! One registered service: its series, its verdict at an instant, its machines. Pure; called by `core`.

use std::sync::Arc;

use crate::model::incident::{CloseReason, EventKind, IncidentEvent};
use crate::model::reading::{Reading, RejectReason};
use crate::model::spec::{Condition, Slo, Spec};
use crate::model::state::VerdictKind;
use crate::processor::incident::{Instant, Machine, Shared, Signal};
use crate::processor::series::{Counted, Series};
use crate::window::latest::Last;
use crate::window::round_up;
use crate::window::steps::Counters;

/// All of a service but its generation: what a spec begins and ends.
#[derive(Debug)]
pub(super) struct Active {
    pub spec: Arc<Spec>,
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

/// What an evaluated instant says about those to come.
pub(super) struct Evaluated {
    /// Until then, ms, nothing but a reading that stirs can change anything: no instant before it need be evaluated.
    pub wake: i64,
    /// What a state record says may have changed.
    pub changed: bool,
}

impl Active {
    /// A service that starts now: nothing counted, nothing open.
    pub fn new(spec: Arc<Spec>, clock: Option<i64>, windows_from: i64, over_limit: bool) -> Self {
        let series = (0..spec.sensors.len()).map(|sensor| Series::new(&spec, sensor)).collect();
        let machines = spec.causes.iter().map(|_| Machine::default()).collect();
        Self { spec, alive_since: clock, windows_from, over_limit, verdict: None, machines, series }
    }

    /// Judges a reading of this service and counts it. `next` is the first instant not yet evaluated, ms.
    pub fn count(&mut self, reading: &Reading<'_>, sensor: usize, next: i64) -> Result<Counted, RejectReason> {
        if self.over_limit {
            return Err(RejectReason::SeriesLimit);
        }
        let series = &mut self.series[sensor];
        let mut counted = series.count(reading, next)?;
        if series.role.is_event && reading.value > 0.0 {
            counted.stirs = Some(next);
            for (cause, machine) in self.spec.causes.iter().zip(&mut self.machines) {
                if cause.condition == (Condition::Event { sensor }) {
                    machine.occurrence.get_or_insert_with(|| counted.attributes.clone().unwrap_or_default());
                }
            }
        }
        Ok(counted)
    }

    /// Evaluates the instant `at`.
    pub fn evaluate(&mut self, at: i64, generation: &mut u64, events: &mut Vec<IncidentEvent>) -> Evaluated {
        let spec = self.spec.clone();
        let (before, was_idle) = (self.verdict, self.is_idle());
        let window = spec.slo.as_ref().map(|slo| self.series[slo.target].panes.advance(at)).unwrap_or_default();
        let target = spec.slo.as_ref().map(|slo| (slo, &self.series[slo.target]));
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
                    Some(last) => (known(op.holds(last.value, literal)), last.attributes.clone()),
                    None => (Signal::default(), None),
                },
            };
            machine.evaluate(cause, signal, trigger, &now, &mut shared);
        }
        let is_idle = self.is_idle();
        let wake = if is_idle { self.calm_until(at) } else { at };
        Evaluated { wake, changed: !(was_idle && is_idle && before == self.verdict) }
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

    /// No machine does anything but wait for its condition.
    fn is_idle(&self) -> bool {
        self.machines.iter().all(Machine::is_idle)
    }

    /// Nothing is wrong at the instant `at`, which was just evaluated. The first instant, ms, at which that may be
    /// otherwise without a reading that stirs; all before it are as this one.
    ///
    /// The window stays healthy as long as it holds so many of its readings that all the bad ones, those to come
    /// included, are allowed among them: a good one more never harms. And until the target has been silent for too
    /// long. What is compared stays as it is until the next reading.
    fn calm_until(&self, at: i64) -> i64 {
        let compared = self.series.iter().filter(|series| series.role.is_compared);
        let next_compared = compared.filter_map(|series| series.latest.next_after(at)).min().unwrap_or(i64::MAX);
        let Some(slo) = &self.spec.slo else { return next_compared };
        let (series, silence) = (&self.series[slo.target], self.spec.sensors[slo.target].no_data_after_ms);
        let last = series.latest.at(at).filter(|_| self.verdict == Some(VerdictKind::Healthy));
        let (Some(last), Some(least)) = (last, slo.least(series.panes.over())) else { return at };
        let silent = round_up(last.ts.saturating_add(silence), self.spec.step_ms);
        next_compared.min(silent).min(series.panes.holds_until(least.max(slo.min_samples)))
    }

    /// Takes a compatible spec: windows, held times and open incidents go on.
    pub fn adopt(&mut self, spec: Arc<Spec>) {
        let mut old: Vec<Option<Series>> = self.series.drain(..).map(Some).collect();
        for sensor in 0..spec.sensors.len() {
            let kept = self.spec.sensor(&spec.sensors[sensor].name).and_then(|place| old[place].take());
            self.series.push(match kept {
                Some(kept) => kept.adopt(&spec, sensor),
                None => Series::new(&spec, sensor),
            });
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
fn latest<'a>(spec: &Spec, series: &'a [Series], sensor: usize, at: i64) -> Option<&'a Last> {
    series[sensor].latest.at(at).filter(|last| last.ts > at - spec.sensors[sensor].no_data_after_ms)
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
