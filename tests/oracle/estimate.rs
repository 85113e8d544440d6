//! What a `p95_estimate` may be: the readings that its digests hold, sorted, and how far from their exact quantile an
//! estimate may lie. The digests hold more than the window: each has all readings of its series between two cuts, and
//! those count whose readings overlap the window.

use std::collections::BTreeMap;

use hms_ops::model::spec::{Slo, Spec};
use serde_json::Value;

use super::Told;
use super::service::Counted;

/// An estimate may be off by this part of all ranks, and by one reading, since it may lie between two.
const TOLERANCE: f64 = 0.01;

/// The readings that the digests of one estimate hold.
#[derive(Clone, Debug)]
pub struct Held {
    /// Ascending; at least one.
    values: Vec<f64>,
    quantile: f64,
}

impl Held {
    /// Of the SLO's target at the instant `at`: by cut, those with a reading in `(E - W, E]` or around it.
    pub fn at(at: i64, readings: &[Counted], spec: &Spec, slo: &Slo) -> Option<Self> {
        let target = &*spec.sensors[slo.target].name;
        let mut digests: BTreeMap<u64, Vec<&Counted>> = BTreeMap::new();
        for reading in readings.iter().filter(|reading| &*reading.sensor == target) {
            digests.entry(reading.cut).or_default().push(reading);
        }
        let overlaps = |digest: &Vec<&Counted>| {
            let times = digest.iter().map(|reading| reading.ts);
            times.clone().max() > Some(at - spec.window_ms) && times.min() <= Some(at)
        };
        let mut values: Vec<f64> =
            digests.into_values().filter(overlaps).flatten().map(|reading| reading.value).collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then(|| Self { values, quantile: f64::from(slo.objective_ppm) / 1e6 })
    }

    /// The reading at the quantile, or so many ranks (as a part of all, and two more) beside it.
    pub fn exact(&self, beside: f64) -> f64 {
        let n = self.values.len() as f64;
        let shift = if beside == 0.0 { 0.0 } else { beside * n + 2.0_f64.copysign(beside) };
        let rank = (self.quantile * n).ceil() + shift.round();
        self.values[rank.clamp(1.0, n) as usize - 1]
    }

    /// Is `estimate` within 1 % of rank of the exact quantile?
    pub fn admits(&self, estimate: f64) -> bool {
        let n = self.values.len() as f64;
        let slack = TOLERANCE * n + 1.0;
        // The ranks that a value has among these: as many are below it, as many at or below.
        let below = self.values.iter().filter(|value| **value < estimate).count() as f64;
        let up_to = self.values.iter().filter(|value| **value <= estimate).count() as f64;
        let within = (self.values[0]..=self.values[self.values.len() - 1]).contains(&estimate);
        within && below <= self.quantile * n + slack && up_to >= self.quantile * n - slack
    }
}

/// Is the `p95_estimate` of an event (its JSON) what the oracle admits? Events without one are fine, if the oracle
/// has none either.
pub fn difference(told: &Told, event: &Value) -> Option<String> {
    let found = event.get("p95_estimate").and_then(Value::as_f64);
    match (&told.estimate, found) {
        (None, None) => None,
        (Some(held), Some(found)) if held.admits(found) => None,
        (held, found) => Some(format!(
            "{event}: the estimate is {found:?}, its digests hold {:?}",
            held.as_ref().map(|held| &held.values)
        )),
    }
}
