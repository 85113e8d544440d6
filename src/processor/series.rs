//! One series of a registered service: its readings, as far as they can still matter, and what came since the last
//! cut. Pure; called by `service` for readings that are counted at once, by `front` for those that have waited, and by
//! `cut`.

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::reading::{Reading, RejectReason};
use crate::model::spec::{Condition, Slo, Spec};
use crate::model::state::{Rollup, RollupPane};
use crate::processor::front::Waiting;
use crate::window::digest::{self, Sketch};
use crate::window::latest::{Attributes, Latest};
use crate::window::panes::Panes;
use crate::window::round_up;
use crate::window::sketches::Sketches;
use crate::window::steps::{self, Counters, Steps};

/// See the module.
#[derive(Debug)]
pub(super) struct Series {
    pub role: Role,
    /// The clock at the last record that named the series, refused ones included.
    pub seen: Option<i64>,
    /// Of the SLO's target alone.
    pub panes: Panes,
    /// Of the target, and where a comparison looks at it.
    pub latest: Latest,
    /// What earlier cuts sketched; of the target alone.
    sketches: Sketches,
    pub pending: Pending,
}

/// What the spec asks of a series: all that is needed to count a reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Role {
    pub step_ms: i64,
    window_ms: i64,
    keep_ms: i64,
    /// The SLO is about it.
    pub is_target: bool,
    pub threshold: f64,
    recover_threshold: f64,
    /// A cause compares its latest reading.
    pub is_compared: bool,
    /// A reading above 0 is an occurrence.
    pub is_event: bool,
    /// Attributes are handed to the actions of events and comparisons.
    keeps_attributes: bool,
}

impl Role {
    pub fn of(spec: &Spec, sensor: usize) -> Self {
        let slo = spec.slo.as_ref().filter(|slo| slo.target == sensor);
        let is_compared =
            |condition: &Condition| matches!(condition, Condition::Comparison { sensor: own, .. } if *own == sensor);
        let is_awaited = |condition: &Condition| *condition == Condition::Event { sensor };
        let any = |wanted: &dyn Fn(&Condition) -> bool| spec.causes.iter().any(|cause| wanted(&cause.condition));
        Self {
            step_ms: spec.step_ms,
            window_ms: spec.window_ms,
            keep_ms: spec.keep_ms(sensor),
            is_target: slo.is_some(),
            threshold: slo.map_or(f64::INFINITY, |slo| slo.threshold),
            recover_threshold: slo.map_or(f64::INFINITY, |slo| slo.recover_threshold),
            is_compared: any(&is_compared),
            is_event: spec.sensors[sensor].is_event,
            keeps_attributes: any(&is_compared) || any(&is_awaited),
        }
    }

    /// Is a reading in time that is not over the threshold of no consequence before the next instant?
    pub fn can_wait(&self) -> bool {
        !(self.is_compared || self.is_event || self.keeps_attributes)
    }

    /// Does anything look back at its readings?
    pub fn matters(&self) -> bool {
        self.is_target || self.is_compared
    }
}

/// A reading that was counted.
pub(super) struct Counted {
    /// Its instant had been evaluated.
    pub late: bool,
    /// The instant that it may change although all was well: readings at or below the threshold never do.
    pub stirs: Option<i64>,
    /// What an occurrence would be reported with.
    pub attributes: Option<Attributes>,
}

impl Series {
    pub fn new(spec: &Spec, sensor: usize) -> Self {
        Self {
            role: Role::of(spec, sensor),
            seen: None,
            panes: Panes::new(spec.window_ms, spec.step_ms),
            latest: Latest::default(),
            sketches: Sketches::default(),
            pending: Pending::new(spec.step_ms),
        }
    }

    /// Goes on under a compatible spec.
    pub fn adopt(self, spec: &Spec, sensor: usize) -> Self {
        Self { role: Role::of(spec, sensor), ..self }
    }

    /// Counts a reading that is new or late, but not too late. `next` is the first instant not yet evaluated.
    pub fn count(&mut self, reading: &Reading<'_>, next: i64) -> Result<Counted, RejectReason> {
        let (role, ts, value) = (self.role, reading.ts, reading.value);
        if ts <= next.saturating_sub(role.keep_ms) {
            return Err(RejectReason::TsLate);
        }
        let settled = next.saturating_sub(role.step_ms);
        let end = round_up(ts, role.step_ms);
        let counters = Counters::one(value > role.threshold, value > role.recover_threshold);
        let kept = role.keeps_attributes && !reading.attributes.is_empty();
        let owned = |(name, text): (&Cow<'_, str>, &Cow<'_, str>)| (name.to_string(), text.to_string());
        let attributes = kept.then(|| Arc::new(reading.attributes.iter().map(owned).collect()));
        if role.is_target {
            self.panes.count(end, counters);
        }
        if role.matters() {
            self.latest.note(end, ts, value, attributes.clone(), settled);
        }
        let late = ts <= settled;
        self.pending.note(ts, value, late);
        self.pending.steps.count(end, counters);
        let stirs = (counters.over > 0 || role.is_compared).then(|| end.max(next));
        Ok(Counted { late, stirs, attributes })
    }

    /// Counts readings that have waited, in the order in which they came: none is late, none over the threshold.
    pub fn count_waiting(&mut self, mut waiting: &[Waiting], next: i64) {
        let (role, settled) = (self.role, next.saturating_sub(self.role.step_ms));
        while let Some(first) = waiting.first() {
            let end = round_up(first.ts, role.step_ms);
            let others = waiting.iter().position(|reading| !(end - role.step_ms < reading.ts && reading.ts <= end));
            let (step, rest) = waiting.split_at(others.unwrap_or(waiting.len()));
            waiting = rest;
            let mut counters = Counters::default();
            for reading in step {
                counters.add(Counters::one(false, reading.value > role.recover_threshold));
                self.pending.note(reading.ts, reading.value, false);
            }
            self.pending.steps.count(end, counters);
            if role.is_target {
                self.panes.count(end, counters);
            }
            // Of equals the later.
            if role.matters()
                && let Some(last) = step.iter().max_by_key(|reading| reading.ts)
            {
                self.latest.note(end, last.ts, last.value, None, settled);
            }
        }
    }

    /// The memory that the next reading to be counted will touch, beside the series itself.
    pub fn tails(&self) -> [*const u8; 3] {
        let Pending { values, steps, .. } = &self.pending;
        [self.panes.tail(), end_of(values), steps.tail()]
    }

    /// What a cut will touch besides: where the window begins, and where its sketches begin and end.
    pub fn ends(&self) -> [*const u8; 4] {
        let [oldest, newest] = self.sketches.ends();
        [self.panes.head(), oldest, newest, self.pending.values.as_ptr().cast()]
    }

    /// The quantile that is shown, over `(after, to]`.
    pub fn estimate(&self, slo: &Slo, after: i64, to: i64) -> Option<f64> {
        let mut digests = self.sketches.digests(after, to);
        digests.extend(self.pending.sketch().digest(after, to));
        digest::estimate(digests, f64::from(slo.objective_ppm) / 1e6)
    }

    /// Writes the series' part of a cut, what came since the last one, in the room that `rollup` has: nothing is pending
    /// then. The names and the cut are the caller's to write. `next` is the first instant not yet evaluated, if there is any.
    pub fn cut(&mut self, next: Option<i64>, rollup: &mut Rollup) {
        let settled = self.settle(next);
        (rollup.late, rollup.last) = (self.pending.late, self.pending.last);
        rollup.seen = self.seen.unwrap_or(0);
        self.pending.sketch().write(rollup);
        self.keep(&Sketch::of_rollup(rollup), next);
        self.pending.write_panes(&mut rollup.panes);
        self.latest.publish(settled, &mut rollup.latest);
        self.pending.clear();
    }

    /// Takes back what an earlier cut published, in the order of the cuts.
    pub fn restore(&mut self, rollup: &Rollup, next: Option<i64>) {
        self.seen = self.seen.max(Some(rollup.seen));
        let settled = self.settle(next);
        if self.role.is_target {
            for pane in &rollup.panes {
                self.panes.count(pane.end, pane.into());
            }
        }
        for latest in rollup.latest.iter().filter(|_| self.role.matters()) {
            self.latest.restore(round_up(latest.ts, self.role.step_ms), latest, settled);
        }
        self.keep(&Sketch::of_rollup(rollup), next);
    }

    /// Moves the window to the last instant that is over, and says which that is.
    fn settle(&mut self, next: Option<i64>) -> i64 {
        let Some(next) = next else { return i64::MIN };
        let settled = next - self.role.step_ms;
        if self.role.is_target {
            self.panes.advance(settled);
        }
        settled
    }

    /// Keeps a sketch if a window to come may overlap it.
    fn keep(&mut self, sketch: &Sketch<'_>, next: Option<i64>) {
        let window_from = next.map_or(i64::MIN, |next| next - self.role.window_ms);
        self.sketches.forget(window_from);
        if self.role.is_target && sketch.overlaps(window_from, i64::MAX) {
            self.sketches.push(sketch);
        }
    }

    /// Steps that end at or before this are of no use to any instant to come.
    pub fn horizon(&self, next: Option<i64>) -> i64 {
        match next {
            Some(_) if !self.role.matters() => i64::MAX,
            Some(next) => next - self.role.keep_ms,
            None => i64::MIN,
        }
    }
}

fn end_of<T>(list: &[T]) -> *const u8 {
    list.as_ptr().wrapping_add(list.len().saturating_sub(1)).cast()
}

/// What came since the last cut. Written when a reading is judged, ends with the next cut.
#[derive(Debug)]
pub(super) struct Pending {
    /// In offset order.
    values: Vec<f64>,
    late: u64,
    first_ts: i64,
    last_ts: i64,
    last: f64,
    steps: Steps,
}

impl Pending {
    fn new(step_ms: i64) -> Self {
        Self { values: Vec::new(), late: 0, first_ts: 0, last_ts: 0, last: 0.0, steps: Steps::new(step_ms) }
    }

    fn note(&mut self, ts: i64, value: f64, late: bool) {
        if self.values.is_empty() {
            (self.first_ts, self.last_ts, self.last) = (ts, ts, value);
        }
        self.first_ts = self.first_ts.min(ts);
        if ts >= self.last_ts {
            (self.last_ts, self.last) = (ts, value);
        }
        self.late += u64::from(late);
        if self.values.len() == self.values.capacity() {
            // The next cuts need no more than the first.
            self.values.reserve_exact(steps::growth(self.values.len(), 1));
        }
        self.values.push(value);
    }

    fn write_panes(&self, panes: &mut Vec<RollupPane>) {
        panes.clear();
        for (end, slot) in self.steps.front_to_back() {
            let Counters { n, over, unrecovered } = slot.counters();
            match panes.last_mut().filter(|pane| pane.end == end) {
                Some(pane) => {
                    pane.n += n;
                    pane.over += over;
                    pane.unrecovered += unrecovered;
                }
                None if n > 0 => panes.push(RollupPane { end, n, over, unrecovered }),
                None => {}
            }
        }
    }

    fn sketch(&self) -> Sketch<'_> {
        Sketch::of(&self.values, self.first_ts, self.last_ts)
    }

    /// Keeps the room that values and steps had: the next cut will have about as many.
    fn clear(&mut self) {
        self.values.clear();
        self.steps.clear();
        (self.late, self.first_ts, self.last_ts, self.last) = (0, 0, 0, 0.0);
    }
}
