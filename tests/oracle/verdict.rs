//! The verdict at one instant, from all counted readings: filter, sort, look.

use hms_ops::model::spec::{Slo, Spec};

use super::service::Counted;

/// What one evaluation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Healthy,
    Breached,
    Insufficient,
    NoData,
}

/// The readings of the target in some interval of event time, sorted, against the SLO.
pub struct Sample {
    /// How many there are.
    pub n: u64,
    /// Those above the threshold.
    pub over: u64,
    /// `ceil(objective n)`.
    pub rank: u64,
    /// The rank-th in ascending order; none if there are none.
    pub p95: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

impl Sample {
    /// The readings of the SLO's target in `(after, to]`.
    pub fn of(readings: &[Counted], spec: &Spec, slo: &Slo, after: i64, to: i64) -> Self {
        let target = &*spec.sensors[slo.target].name;
        let inside = |reading: &&Counted| *reading.sensor == *target && after < reading.ts && reading.ts <= to;
        let mut values: Vec<f64> = readings.iter().filter(inside).map(|reading| reading.value).collect();
        values.sort_by(f64::total_cmp);
        let n = values.len() as u64;
        let rank = (u64::from(slo.objective_ppm) * n).div_ceil(1_000_000);
        Self {
            n,
            over: values.iter().filter(|value| **value > slo.threshold).count() as u64,
            rank,
            p95: rank.checked_sub(1).map(|place| values[place as usize]),
            max: values.last().copied(),
        }
    }

    /// Is the p95 above `limit`? Equal is not, and where there is none it is not either.
    pub fn p95_above(&self, limit: f64) -> bool {
        self.p95.is_some_and(|p95| p95 > limit)
    }
}

/// The SLO at one instant.
pub struct Judged {
    /// What the evaluation says.
    pub verdict: Verdict,
    /// The window `(E - W, E]`.
    pub window: Sample,
    /// For `pending`: true, false or unknown.
    pub holds: Option<bool>,
    /// For recovery: clear, not clear or unknown.
    pub clear: Option<bool>,
}

/// What the verdict depends on besides the readings.
pub struct Life {
    /// Activation or the last leap.
    pub alive_since: i64,
    /// The clock at the last record that named the target.
    pub seen: Option<i64>,
    /// The verdict of the instant that was evaluated before.
    pub before: Option<Verdict>,
}

/// Judges the SLO at the instant `at`.
pub fn judge(at: i64, readings: &[Counted], spec: &Spec, slo: &Slo, life: &Life) -> Judged {
    let window = Sample::of(readings, spec, slo, at - spec.window_ms, at);
    let no_data_after = spec.sensors[slo.target].no_data_after_ms;
    let target = &*spec.sensors[slo.target].name;
    let recent = readings.iter().rev().any(|one| *one.sensor == *target && at - no_data_after < one.ts && one.ts <= at);
    let known_alive = at - life.alive_since.max(life.seen.unwrap_or(life.alive_since)) < no_data_after;

    let verdict = if !recent {
        if known_alive && life.before != Some(Verdict::NoData) { Verdict::Insufficient } else { Verdict::NoData }
    } else if window.n < slo.min_samples {
        Verdict::Insufficient
    } else if window.p95_above(slo.threshold) {
        Verdict::Breached
    } else {
        Verdict::Healthy
    };

    let holds = match verdict {
        Verdict::Breached => Some(true),
        Verdict::Healthy => Some(false),
        Verdict::Insufficient | Verdict::NoData => None,
    };
    let clear = match verdict {
        Verdict::Breached | Verdict::Healthy => Some(!window.p95_above(slo.recover_threshold)),
        Verdict::Insufficient => {
            let enough = window.n >= slo.min_samples.min(3);
            let none_above = window.max.is_none_or(|max| max <= slo.recover_threshold);
            (enough && none_above && recent).then_some(true)
        }
        Verdict::NoData => None,
    };
    Judged { verdict, window, holds, clear }
}
