//! A spec: one `*.ops.yaml`, parsed and checked. Made by `spec::parse` alone; all defaults are filled in.
//!
//! Times are milliseconds. What semantics call W, S and L are `window_ms`, `step_ms` and `lateness_ms`.

use std::sync::Arc;

use super::ids::{ServiceId, SpecHash};

/// How long an occurrence of an `events:` name may be late, ms: 24 h.
pub const EVENT_KEEP_MS: i64 = 86_400_000;

/// One service as its owner declared it.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The service.
    pub id: ServiceId,
    /// Who owns it.
    pub owner: String,
    /// Declared sensors in file order, then one for each name under `events:` (with `is_event`).
    pub sensors: Vec<Sensor>,
    /// The objective, if the service has one.
    pub slo: Option<Slo>,
    /// W: length of the window `(E - W, E]`; a multiple of `step_ms`.
    pub window_ms: i64,
    /// S: distance of two evaluation instants.
    pub step_ms: i64,
    /// L: how long after an instant the partition's clock must be before it is due.
    pub lateness_ms: i64,
    /// How long a cause must be clear before its incident is resolved.
    pub recover_for_ms: i64,
    /// From this opening of an episode on it is flapping.
    pub flap_limit: u32,
    /// How long after the last opening or resolve another opening continues the episode.
    pub flap_window_ms: i64,
    /// What conditions open incidents: the SLO first (if any), then each condition of the playbook in file
    /// order; conditions that parse to the same are one cause, with the text of the first.
    pub causes: Vec<Cause>,
    /// What scaling acts on.
    pub workload: Workload,
    /// Bounds of scaling.
    pub limits: Limits,
    /// Actors decide and say what they would do, and touch nothing; pages go out all the same.
    pub dry_run: bool,
    /// Steps in file order; a step's number is its 1-based place.
    pub playbook: Vec<Step>,
    /// The text as registered, byte for byte.
    pub text: Arc<str>,
    /// SHA-256 of `text`.
    pub hash: SpecHash,
}

/// One sensor of a service, or one name under `events:`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensor {
    /// Follows the rule of Prometheus metric names.
    pub name: Arc<str>,
    /// What its values measure.
    pub unit: Unit,
    /// Expected distance of two readings, ms (5 s).
    pub interval_ms: i64,
    /// Silence longer than this is no data, ms (the larger of 3 intervals and 60 s; for the SLO's target,
    /// what `slo.no_data_after_seconds` says).
    pub no_data_after_ms: i64,
    /// Where the collector scrapes it.
    pub scrape_url: Option<String>,
    /// What it is called there (as the sensor).
    pub metric: Arc<str>,
    /// Label values that a scraped sample must have.
    pub matches: Vec<(String, String)>,
    /// What of the scraped sample is the reading.
    pub take: Take,
    /// Declared under `events:`: a reading above 0 is an occurrence.
    pub is_event: bool,
}

impl Spec {
    /// The place of a sensor in `sensors`.
    pub fn sensor(&self, name: &str) -> Option<usize> {
        self.sensors.iter().position(|sensor| &*sensor.name == name)
    }

    /// How far behind the next instant a reading of this sensor may be and still count, ms: the larger of
    /// the window and `no_data_after`; 24 h for events.
    pub fn keep_ms(&self, sensor: usize) -> i64 {
        let sensor = &self.sensors[sensor];
        if sensor.is_event { EVENT_KEEP_MS } else { self.window_ms.max(sensor.no_data_after_ms) }
    }
}

/// What the collector makes of the samples of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The sample as it stands there.
    Value,
    /// How much a counter grew a second since the scrape before.
    Rate,
    /// A quantile: of what a histogram counted since the scrape before, or as a summary says it.
    Quantile {
        /// Which, parts per million.
        ppm: u32,
    },
}

/// What the values of a sensor measure. Decides which literals may be compared with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// No `unit:` was given (a plain count).
    Count,
    /// Seconds.
    Seconds,
    /// 0 to 1: `2 %` is 0.02.
    Ratio,
    /// 0 to 100: `2 %` is 2.
    Percent,
    /// US dollars an hour.
    UsdPerHour,
}

/// The service-level objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// Index of the target in `Spec::sensors`.
    pub target: usize,
    /// Breached above this; equal is healthy.
    pub threshold: f64,
    /// Recovered at or below this.
    pub recover_threshold: f64,
    /// The share of readings that must be at or below the threshold, parts per million (950,000).
    pub objective_ppm: u32,
    /// Fewer readings in the window are `insufficient`.
    pub min_samples: u64,
}

impl Slo {
    /// The fewest readings among which `over` above the threshold are no breach; none if no number is enough.
    pub fn least(&self, over: u64) -> Option<u64> {
        let allowed = u128::from(1_000_000_u32.saturating_sub(self.objective_ppm));
        match over {
            0 => Some(0),
            _ if allowed == 0 => None,
            _ => u64::try_from((u128::from(over) * 1_000_000).div_ceil(allowed)).ok(),
        }
    }

    /// [`nearest_rank`] by its objective.
    pub fn rank(&self, n: u64) -> u64 {
        nearest_rank(self.objective_ppm, n)
    }
}

/// Nearest rank: the 1-based place of the quantile among `n` ascending readings, `ceil(objective n)`.
pub fn nearest_rank(objective_ppm: u32, n: u64) -> u64 {
    (u128::from(objective_ppm) * u128::from(n)).div_ceil(1_000_000) as u64
}

/// One condition that opens incidents.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// What is looked at.
    pub condition: Condition,
    /// How long it must hold before it opens, ms.
    pub for_ms: i64,
    /// `slo`, or the condition as written in the file.
    pub text: Arc<str>,
}

/// What a cause looks at. Sensors are indices into `Spec::sensors`.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The SLO's verdict is `breached`.
    Slo,
    /// The latest reading of a sensor, compared.
    Comparison {
        /// Whose latest reading.
        sensor: usize,
        /// How.
        op: Comparison,
        /// With what, in the sensor's unit.
        literal: f64,
    },
    /// A reading above 0 of a name under `events:` was counted.
    Event {
        /// Which.
        sensor: usize,
    },
    /// The SLO's verdict is `no_data`.
    NoData,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
}

impl Comparison {
    /// Does `value op literal` hold?
    pub fn holds(self, value: f64, literal: f64) -> bool {
        match self {
            Self::Above => value > literal,
            Self::AtLeast => value >= literal,
            Self::Below => value < literal,
            Self::AtMost => value <= literal,
        }
    }
}

/// One step of the playbook.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `if:` + `then:`.
    If {
        /// When.
        trigger: Trigger,
        /// What, in order; a call's number is its 1-based place.
        calls: Vec<Call>,
    },
    /// `always:` with `log_to:` naming the archive.
    Always {
        /// `HMS-DTA`.
        log_to: String,
    },
}

/// When a step fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// An incident of `Spec::causes[cause]` opened (`slo_breach` is the cause 0 of a spec with an SLO).
    Opened {
        /// Index into `Spec::causes`.
        cause: usize,
    },
    /// The SLO's incident was resolved.
    Recovered,
    /// The SLO's incident has been open for that long and is not getting better.
    StillBreachAfter {
        /// d, ms, already rounded up to a multiple of the step.
        after_ms: i64,
    },
}

/// One call of an action: a verb, at most one object, named arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `scale_up`, `scale_down`, `scale`, `page`, `rollback`, `throttle`, `isolate`.
    pub verb: String,
    /// Named arguments as canonical text, sorted by name: `compute` = `+2`, `channel` = `tsa_ops`,
    /// `object` = `deploy`, `by` = `20%`.
    pub args: Vec<(String, String)>,
}

/// What scaling acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `deployment`, `statefulset`, or `resource.group/version` of a custom resource.
    pub kind: String,
    /// Its name (a `deployment` of the service's id, lower case with `-` for what Kubernetes refuses, unless given).
    pub name: String,
    /// Its namespace; the connection's default if none is given.
    pub namespace: Option<String>,
    /// Which context of the kubeconfig.
    pub context: Option<String>,
}

/// Bounds of scaling. What is `None` was not in the file, and the actor's default holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Fewest replicas (1).
    pub min: Option<u32>,
    /// Most replicas (the larger of 10 and twice the replicas seen).
    pub max: Option<u32>,
    /// Most replicas by which one action may change (4).
    pub max_step: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_readings_are_exactly_those_that_allow_so_many() {
        for objective_ppm in [1, 500_000, 900_000, 950_000, 999_999] {
            let slo = Slo { target: 0, threshold: 0.0, recover_threshold: 0.0, objective_ppm, min_samples: 0 };
            for over in 0..50 {
                let least = slo.least(over).unwrap();
                let is_allowed = |n: u64| over <= n - slo.rank(n);
                assert!(is_allowed(least) && (least == 0 || !is_allowed(least - 1)), "{objective_ppm} {over} {least}");
            }
        }
    }
}
