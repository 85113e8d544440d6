//! One service: all its counted readings, and one machine for each cause.

use std::collections::BTreeSet;
use std::sync::Arc;

use hms_ops::model::spec::{Condition, Spec};
use serde_json::{Value, json};

use super::Told;
use super::machine::{Instant, Machine};
use super::verdict::{Judged, Life, Verdict, judge};

/// A reading that counts. The list of them is in the order of the log.
pub struct Counted {
    pub sensor: Arc<str>,
    pub ts: i64,
    pub value: f64,
    /// How many cuts the partition had before it.
    pub cut: u64,
}

/// A registered service.
pub struct Service {
    pub spec: Arc<Spec>,
    /// Activation or the last leap, by the partition's clock; none before the first record.
    pub alive_since: Option<i64>,
    /// The clock at the last record that named the target.
    pub seen: Option<i64>,
    /// Every reading counted since the service started anew.
    pub readings: Vec<Counted>,
    /// Names under `events:` that occurred since the last instant that was evaluated.
    occurred: BTreeSet<String>,
    /// Of the last instant that was evaluated.
    verdict: Option<Verdict>,
    machines: Vec<Machine>,
}

impl Service {
    /// A service that starts anew.
    pub fn new(spec: Arc<Spec>, clock: Option<i64>) -> Self {
        let machines = spec.causes.iter().map(|_| Machine::default()).collect();
        Self {
            spec,
            alive_since: clock,
            seen: None,
            readings: Vec::new(),
            occurred: BTreeSet::new(),
            verdict: None,
            machines,
        }
    }

    /// The name of the SLO's target.
    pub fn target(&self) -> Option<&str> {
        self.spec.slo.as_ref().map(|slo| &*self.spec.sensors[slo.target].name)
    }

    /// Counts a reading.
    pub fn count(&mut self, reading: Counted) {
        let is_event = self.spec.sensors.iter().any(|s| s.is_event && *s.name == *reading.sensor);
        if is_event && reading.value > 0.0 {
            self.occurred.insert(reading.sensor.to_string());
        }
        let value = if reading.value == 0.0 { 0.0 } else { reading.value };
        self.readings.push(Counted { value, ..reading });
    }

    /// Evaluates the instant `at`: every cause in order.
    pub fn evaluate(&mut self, at: i64, generation: &mut u64, told: &mut Vec<Told>) {
        let alive_since = self.alive_since.expect("no instant is due before the first record");
        let life = Life { alive_since, seen: self.seen, before: self.verdict };
        let judged = self.spec.slo.as_ref().map(|slo| judge(at, &self.readings, &self.spec, slo, &life));
        if let Some(judged) = &judged {
            self.tell_change_of_verdict(at, judged.verdict, told);
        }
        for cause in 0..self.spec.causes.len() {
            let (holds, clear) = self.look_at(cause, at, judged.as_ref());
            let instant = Instant {
                at,
                alive_since,
                spec: &self.spec,
                cause,
                holds,
                clear,
                judged: judged.as_ref().filter(|_| self.spec.causes[cause].condition == Condition::Slo),
                readings: &self.readings,
            };
            self.machines[cause].evaluate(&instant, generation, told);
        }
        self.verdict = judged.map(|judged| judged.verdict);
        self.occurred.clear();
    }

    /// Ends everything that is open or owed, cause by cause.
    pub fn close(&mut self, reason: &str, at: i64, told: &mut Vec<Told>) {
        for machine in &mut self.machines {
            machine.close(reason, at, &self.spec, told);
        }
    }

    fn tell_change_of_verdict(&self, at: i64, now: Verdict, told: &mut Vec<Told>) {
        let was_silent = self.verdict == Some(Verdict::NoData);
        let is_silent = now == Verdict::NoData;
        if was_silent != is_silent {
            let event = if is_silent { "no_data" } else { "data_back" };
            let event = json!({"event": event, "service": self.spec.id.as_str(), "at": at});
            told.push(Told::plain(event, &self.spec));
        }
    }

    /// Does the cause hold, and is it clear? `None` is unknown.
    fn look_at(&self, cause: usize, at: i64, judged: Option<&Judged>) -> (Option<bool>, Option<bool>) {
        let not = |holds: Option<bool>| (holds, holds.map(|holds| !holds));
        match &self.spec.causes[cause].condition {
            Condition::Slo => judged.map_or((None, None), |judged| (judged.holds, judged.clear)),
            Condition::NoData => not(judged.map(|judged| judged.verdict == Verdict::NoData)),
            Condition::Event { sensor } => not(Some(self.occurred.contains(&*self.spec.sensors[*sensor].name))),
            Condition::Comparison { sensor, op, literal } => {
                let sensor = &self.spec.sensors[*sensor];
                // `max_by_key` gives the last of equals: the later in the log.
                let latest = self
                    .readings
                    .iter()
                    .filter(|reading| *reading.sensor == *sensor.name && reading.ts <= at)
                    .max_by_key(|reading| reading.ts)
                    .filter(|reading| reading.ts > at - sensor.no_data_after_ms);
                not(latest.map(|reading| op.holds(reading.value, *literal)))
            }
        }
    }
}

impl Told {
    /// An event with nothing else behind it than its spec.
    pub fn plain(event: Value, spec: &Spec) -> Self {
        Self { event, spec_hash: spec.hash.to_string(), from: None, p95: None, estimate: None }
    }
}
