//! One partition: its clock, the three moves of a record, the order of rejections, new specs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hms_ops::model::ids::{TICK_SENSOR, TICK_SERVICE, is_sensor_name, is_service_id};
use hms_ops::model::spec::{Condition, EVENT_KEEP_MS, Spec};
use serde_json::json;

use super::service::{Counted, Service};
use super::{Counts, Entry, Reading, Told};

/// A record further ahead of the clock than this suspends it.
const LEAP_MS: i64 = 60_000;
/// A record appended this long after the one that began a suspension confirms it.
const CONFIRM_MS: i64 = 10_000;
/// A cut is due whenever the clock passes a multiple of this.
const CUT_MS: i64 = 10_000;
/// A reading may be this far ahead of its own append time.
const FUTURE_MS: i64 = 5_000;

/// Everything that the definitions know about a partition.
pub struct Oracle {
    /// Its number; `spec_activated` carries it.
    partition: i32,
    /// Offset of the next record. `step` counts records; a log with gaps sets it before each step.
    pub next_offset: i64,
    /// What became of the records so far.
    pub counts: Counts,
    clock: Option<i64>,
    suspended_since: Option<i64>,
    /// How many cuts there were: what is counted between two of them is in one digest of its series.
    cuts: u64,
    services: BTreeMap<String, Service>,
    /// Generations, kept for ever.
    generations: BTreeMap<String, u64>,
}

impl Oracle {
    /// A partition before its first record.
    pub fn new(partition: i32) -> Self {
        Self {
            partition,
            next_offset: 0,
            counts: Counts::default(),
            clock: None,
            suspended_since: None,
            cuts: 0,
            services: BTreeMap::new(),
            generations: BTreeMap::new(),
        }
    }

    /// What the next entry of the log brings about.
    pub fn step(&mut self, entry: &Entry) -> Vec<Told> {
        let mut told = Vec::new();
        match entry {
            Entry::Spec(text) => self.register(text, &mut told),
            Entry::Retire(id) => self.retire(id, &mut told),
            Entry::Record { append, reading } => {
                self.counts.consumed += 1;
                self.move_clock(*append, &mut told);
                self.judge(*append, reading.as_ref());
                self.next_offset += 1;
            }
        }
        told
    }

    /// What the next record brings about if it is not judged here (it cannot be read, or belongs to another
    /// partition): it moves the clock like any other.
    pub fn pass(&mut self, append: i64) -> Vec<Told> {
        let mut told = Vec::new();
        self.counts.consumed += 1;
        self.move_clock(append, &mut told);
        self.next_offset += 1;
        told
    }

    /// The clock, ms; none before the first record.
    pub fn clock(&self) -> Option<i64> {
        self.clock
    }

    /// Drops readings that no definition can reach any more: only for logs of weeks, and never needed.
    pub fn forget(&mut self) {
        let Some(clock) = self.clock else { return };
        for service in self.services.values_mut() {
            let next = next_instant(&service.spec, clock);
            let spec = &service.spec;
            let reachable = |reading: &Counted| reading.ts > next - keep_ms(spec, &reading.sensor);
            // The others of its cut are in the same digest.
            let digests: BTreeSet<(Arc<str>, u64)> =
                service.readings.iter().filter(|r| reachable(r)).map(|r| (r.sensor.clone(), r.cut)).collect();
            service.readings.retain(|reading| digests.contains(&(reading.sensor.clone(), reading.cut)));
        }
    }

    /// The first two moves: the clock, then every instant that is now due.
    fn move_clock(&mut self, append: i64, told: &mut Vec<Told>) {
        let Some(before) = self.clock else {
            // The first record: the clock begins, what waited for it begins too, and it is no leap.
            self.clock = Some(append);
            for service in self.services.values_mut() {
                service.alive_since = Some(append);
            }
            return;
        };
        if append <= before + LEAP_MS {
            self.suspended_since = None;
            let after = before.max(append);
            self.clock = Some(after);
            self.evaluate_due(before, after, told);
            self.cuts += u64::from(after.div_euclid(CUT_MS) > before.div_euclid(CUT_MS));
            return;
        }
        match self.suspended_since {
            None => self.suspended_since = Some(append),
            Some(began) if append < began + CONFIRM_MS => {}
            Some(_) => {
                self.suspended_since = None;
                self.clock = Some(append);
                self.leap(before, append, told);
                self.cuts += 1;
            }
        }
    }

    /// Every instant with `before < E + L <= after`, ordered by (E, service id).
    fn evaluate_due(&mut self, before: i64, after: i64, told: &mut Vec<Told>) {
        if before == after {
            return;
        }
        let mut due: Vec<(i64, String)> = Vec::new();
        for (id, service) in &self.services {
            due.extend(instants(&service.spec, before, after).map(|at| (at, id.clone())));
        }
        due.sort();
        for (at, id) in due {
            let generation = self.generations.entry(id.clone()).or_default();
            if let Some(service) = self.services.get_mut(&id) {
                service.evaluate(at, generation, told);
            }
        }
    }

    /// The instants that become due by a leap are blind.
    fn leap(&mut self, before: i64, after: i64, told: &mut Vec<Told>) {
        for (id, service) in &mut self.services {
            service.alive_since = Some(after);
            let blind: Vec<i64> = instants(&service.spec, before, after).collect();
            if let (Some(from), Some(to)) = (blind.first(), blind.last()) {
                let event = json!({"event": "blind", "service": id, "at": after, "from": from, "to": to});
                told.push(Told::plain(event, &service.spec));
            }
        }
    }

    /// The third move: the record itself is refused, with the first reason that applies, or counted.
    fn judge(&mut self, append: i64, reading: Option<&Reading>) {
        let Some(reading) = reading.filter(|r| !(r.service == TICK_SERVICE && r.sensor == TICK_SENSOR)) else {
            self.counts.ticks += 1;
            return;
        };
        let clock = self.clock.expect("the clock moved before");
        let ts = reading.ts.unwrap_or(append);
        let service = self.services.get_mut(&reading.service);
        let sensor = service.as_ref().and_then(|s| s.spec.sensors.iter().find(|s| *s.name == *reading.sensor));
        let sensor = sensor.map(|sensor| sensor.name.clone());
        let next = service.as_ref().map(|s| next_instant(&s.spec, clock));

        let reason = if !is_service_id(&reading.service) || !is_sensor_name(&reading.sensor) {
            Some("bad_name")
        } else if !reading.value.is_finite() {
            Some("value_not_finite")
        } else if ts <= 0 {
            Some("ts_invalid")
        } else if ts > append + FUTURE_MS {
            Some("ts_future")
        } else if service.is_none() {
            Some("unknown_service")
        } else if sensor.is_none() {
            Some("unknown_sensor")
        } else if next.zip(service.as_ref()).is_some_and(|(next, s)| ts <= next - keep_ms(&s.spec, &reading.sensor)) {
            Some("ts_late")
        } else {
            None
        };

        if let Some(service) = service {
            // Also a reading that is refused shows that its sensor is not silent.
            if service.target() == Some(reading.sensor.as_str()) {
                service.seen = Some(clock);
            }
            if let (None, Some(sensor)) = (reason, sensor) {
                self.counts.counted += 1;
                self.counts.late += u64::from(ts <= next_instant(&service.spec, clock) - service.spec.step_ms);
                service.count(Counted { sensor, ts, value: reading.value, cut: self.cuts });
            }
        }
        if let Some(reason) = reason {
            *self.counts.rejected.entry(reason).or_default() += 1;
        }
    }

    fn register(&mut self, text: &str, told: &mut Vec<Told>) {
        let spec = Arc::new(parse(text));
        let id = spec.id.to_string();
        let at = self.clock.unwrap_or(0);
        match self.services.get_mut(&id) {
            Some(service) if *service.spec.text == *text => return,
            // A spec that takes effect cuts the whole partition; so does one that ends.
            Some(service) if compatible(&service.spec, &spec) => service.spec = spec.clone(),
            other => {
                if let Some(service) = other {
                    service.close("superseded", at, told);
                }
                self.services.insert(id.clone(), Service::new(spec.clone(), self.clock));
            }
        }
        self.cuts += 1;
        let event = json!({"event": "spec_activated", "service": id, "at": at});
        told.push(Told { from: Some((self.partition, self.next_offset)), ..Told::plain(event, &spec) });
    }

    fn retire(&mut self, id: &str, told: &mut Vec<Told>) {
        let at = self.clock.unwrap_or(0);
        if let Some(mut service) = self.services.remove(id) {
            self.cuts += 1;
            service.close("unregistered", at, told);
            told.push(Told::plain(json!({"event": "spec_retired", "service": id, "at": at}), &service.spec));
        }
    }
}

/// The spec of a text that is known to be good.
pub fn parse(text: &str) -> Spec {
    match hms_ops::spec::parse(text) {
        Ok(checked) => checked.spec,
        Err(error) => panic!("a log holds valid specs only: {error}\n{text}"),
    }
}

/// The first multiple of S that is not yet due: `E + L > clock`.
fn next_instant(spec: &Spec, clock: i64) -> i64 {
    ((clock - spec.lateness_ms).div_euclid(spec.step_ms) + 1) * spec.step_ms
}

/// The multiples of S with `before < E + L <= after`.
fn instants(spec: &Spec, before: i64, after: i64) -> impl Iterator<Item = i64> {
    let (first, step, lateness) = (next_instant(spec, before), spec.step_ms, spec.lateness_ms);
    (0..).map(move |k| first + k * step).take_while(move |at| at + lateness <= after)
}

/// How far behind the next instant a reading of this sensor may be, ms.
fn keep_ms(spec: &Spec, sensor: &str) -> i64 {
    let sensor = spec.sensors.iter().find(|s| *s.name == *sensor).expect("only declared sensors are counted");
    if sensor.is_event { EVENT_KEEP_MS } else { spec.window_ms.max(sensor.no_data_after_ms) }
}

/// Is all of `slo`, `events`, the causes in their order and, by name, what the sensors measure the same?
fn compatible(old: &Spec, new: &Spec) -> bool {
    let slo = |spec: &Spec| {
        spec.slo.as_ref().map(|slo| {
            let target = spec.sensors[slo.target].name.clone();
            (target, slo.threshold, slo.recover_threshold, slo.objective_ppm, slo.min_samples)
        })
    };
    let times = |spec: &Spec| {
        let window = (spec.window_ms, spec.step_ms, spec.lateness_ms);
        (window, spec.recover_for_ms, spec.flap_limit, spec.flap_window_ms)
    };
    let sensors = |spec: &Spec| -> BTreeMap<String, String> {
        let meaning = |s: &hms_ops::model::spec::Sensor| {
            format!("{:?} {} {} {}", s.unit, s.interval_ms, s.no_data_after_ms, s.is_event)
        };
        spec.sensors.iter().map(|s| (s.name.to_string(), meaning(s))).collect()
    };
    let causes = |spec: &Spec| -> Vec<String> {
        let name = |sensor: usize| &spec.sensors[sensor].name;
        spec.causes
            .iter()
            .map(|cause| match &cause.condition {
                Condition::Slo => format!("slo for {}", cause.for_ms),
                Condition::Comparison { sensor, op, literal } => {
                    format!("{} {op:?} {literal:?} for {}", name(*sensor), cause.for_ms)
                }
                Condition::Event { sensor } => format!("{} occurred", name(*sensor)),
                Condition::NoData => format!("no_data for {}", cause.for_ms),
            })
            .collect()
    };
    slo(old) == slo(new) && times(old) == times(new) && sensors(old) == sensors(new) && causes(old) == causes(new)
}
