//! History through the production core, without Kafka: one partition, simulated time. Pure; called by
//! `ops backtest` and by tests.

use std::sync::Arc;

use crate::model::ids::{TICK_SENSOR, TICK_SERVICE};
use crate::model::incident::IncidentEvent;
use crate::model::reading::Reading;
use crate::model::spec::{Spec, Step, Trigger};
use crate::processor::core::{Body, Core, Effects, Elsewhere, Record, SpecChange};
use crate::processor::counts::Counts;

/// A core that is fed by hand.
#[derive(Debug)]
pub struct Backtest {
    core: Core,
    effects: Effects,
    counts: Counts,
    offset: i64,
    /// How long after the last record a timer may still fire, ms.
    tail_ms: i64,
}

impl Default for Backtest {
    fn default() -> Self {
        Self { core: Core::new(0, 1), effects: Effects::default(), counts: Counts::default(), offset: 0, tail_ms: 0 }
    }
}

impl Backtest {
    /// Registers or retires before the next record.
    pub fn apply(&mut self, change: SpecChange) {
        if let SpecChange::Register(spec) = &change {
            self.tail_ms = self.tail_ms.max(longest_timer(spec));
        }
        self.core.apply([change], self.offset, &mut self.effects);
    }

    /// One reading, appended at `append_ms`.
    pub fn reading(&mut self, append_ms: i64, reading: &Reading<'_>) {
        let record =
            Record { offset: self.offset, append_ms, body: Body::Reading(reading), elsewhere: Elsewhere::default() };
        self.counts.consumed += 1;
        self.counts.note(self.core.step(record, &mut self.effects));
        self.effects.cuts.clear();
        self.offset += 1;
    }

    /// One tick, appended at `append_ms`.
    pub fn tick(&mut self, append_ms: i64) {
        let reading = Reading {
            service: TICK_SERVICE.into(),
            sensor: TICK_SENSOR.into(),
            ts: append_ms,
            value: 0.0,
            attributes: Default::default(),
        };
        self.reading(append_ms, &reading);
    }

    /// Ticks every second after the partition's clock, up to and without `until_ms`.
    pub fn idle_until(&mut self, until_ms: i64) {
        const SECOND: i64 = 1_000;
        let Some(clock) = self.core.clock() else { return };
        let mut at = (clock.div_euclid(SECOND) + 1) * SECOND;
        while at < until_ms {
            self.tick(at);
            at += SECOND;
        }
    }

    /// Ticks until no timer can fire any more.
    pub fn run_out(&mut self) {
        if let Some(clock) = self.core.clock() {
            self.idle_until(clock + self.tail_ms);
        }
    }

    /// Events and counts so far.
    pub fn finish(self) -> (Vec<IncidentEvent>, Counts) {
        (self.effects.incidents, self.counts)
    }
}

/// An upper bound of how long after the last reading of a service anything can still happen, ms: silence must be
/// noticed, held times run, escalations look, episodes end.
fn longest_timer(spec: &Arc<Spec>) -> i64 {
    let silence = spec.sensors.iter().map(|sensor| sensor.no_data_after_ms).max().unwrap_or(0);
    let held = spec.causes.iter().map(|cause| cause.for_ms).max().unwrap_or(0);
    let look = spec.playbook.iter().map(|step| match step {
        Step::If { trigger: Trigger::StillBreachAfter { after_ms }, .. } => *after_ms,
        _ => 0,
    });
    let look = look.max().unwrap_or(0);
    spec.window_ms
        + spec.lateness_ms
        + silence
        + held
        + 2 * spec.recover_for_ms
        + 3 * look
        + spec.flap_window_ms
        + 10 * spec.step_ms
        + 1_000
}
