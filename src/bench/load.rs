//! What is on the input: readings of a fleet in simulated time, the same for the same seed.
//!
//! Pure. One reading in five hundred is bad; one service in a few hundred has a bad phase that breaches its SLO, and
//! recovers. The append stamps ascend, as a broker's do.

use std::borrow::Cow;

use crate::codec;
use crate::model::ids::home_partition;
use crate::model::reading::{Attributes, Reading};

/// The one sensor of every service.
pub const SENSOR: &str = "queue_time_seconds";
/// The SLO of every service; times in ms.
pub const THRESHOLD: f64 = 30.0;
/// See [`THRESHOLD`].
pub const RECOVER_THRESHOLD: f64 = 27.0;
/// See [`THRESHOLD`].
pub const RECOVER_MS: i64 = 60_000;
/// See [`THRESHOLD`].
pub const MIN_SAMPLES: u32 = 10;
/// See [`THRESHOLD`].
pub const STEP_MS: i64 = 1_000;
/// See [`THRESHOLD`].
pub const LATENESS_MS: i64 = 1_000;

/// The first append stamp, ms: any time in the past on which steps and cuts fall.
pub const BEGIN_MS: i64 = 1_750_000_000_000;
/// Every so many-th service has a bad phase.
const TROUBLED: u32 = 200;
/// A reading that is not late is at most so old when it is appended.
const AGE_MS: u64 = 200;
/// What no encoding begins with.
const POISON: &[u8] = &[0x7f; 24];

/// How much of what.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Load {
    /// Records, poison among them.
    pub readings: u64,
    /// Services; each has one series.
    pub series: u32,
    /// Readings a second of simulated time, over all.
    pub rate: f64,
    /// 0: every service has as many; else the n-th has `n^-skew` of the first's.
    pub skew: f64,
    /// Of every SLO.
    pub window_ms: i64,
    /// Share of records that nobody can decode.
    pub poison: f64,
    /// Share of readings that come a few seconds late.
    pub late: f64,
    /// Other seeds, other readings.
    pub seed: u64,
    /// Of the input.
    pub partitions: i32,
}

/// A record of the input; its value is in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Made<'a> {
    /// Home of the service.
    pub partition: i32,
    /// The service.
    pub key: &'a str,
    /// Append stamp, ms.
    pub stamp: i64,
    /// Nobody can decode it.
    pub is_poison: bool,
}

impl Load {
    /// Name of a service.
    pub fn service(number: u32) -> String {
        format!("service-{number:06}")
    }

    /// The spec of a service: nothing is left to defaults that a peer would have to know.
    pub fn spec(&self, service: &str) -> String {
        let seconds = |ms: i64| ms as f64 / 1_000.0;
        format!(
            "id: {service}\nowner: bench\nsensors:\n  - {{name: {SENSOR}, interval: 1, no_data_after: {window}}}\nslo:\n  \
             target: {SENSOR}\n  threshold: {THRESHOLD}\n  window_seconds: {window}\n  step: {}\n  lateness: {}\n  \
             min_samples: {MIN_SAMPLES}\n  recover_threshold: {RECOVER_THRESHOLD}\n  recover_for: {}\n",
            seconds(STEP_MS),
            seconds(LATENESS_MS),
            seconds(RECOVER_MS),
            window = seconds(self.window_ms),
        )
    }

    /// The simulated time that the records take, ms.
    pub fn length_ms(&self) -> i64 {
        (self.readings as f64 / self.rate * 1_000.0) as i64
    }

    /// From this stamp on the writing is steady: a window has passed, or half of the time where it is shorter.
    pub fn steady_from(&self) -> i64 {
        BEGIN_MS + self.window_ms.min(self.length_ms() / 2)
    }

    /// All records, in the order of their stamps.
    pub fn records(&self) -> Records<'_> {
        let services = (0..self.series).map(Self::service);
        let services = services.map(|name| (home_partition(&name, self.partitions), name)).collect();
        let weights = (1..=self.series).scan(0.0, |sum, n| {
            *sum += f64::from(n).powf(-self.skew);
            Some(*sum)
        });
        let weights = if self.skew > 0.0 { weights.collect() } else { Vec::new() };
        Records { load: self, services, weights, dice: Dice(self.seed), number: 0 }
    }
}

/// See [`Load::records`].
pub struct Records<'a> {
    load: &'a Load,
    /// Home and name.
    services: Vec<(i32, String)>,
    /// Sums of the services' shares up to each; empty if all are the same.
    weights: Vec<f64>,
    dice: Dice,
    number: u64,
}

impl Records<'_> {
    /// The next record, its value in `value`; `None` after the last.
    pub fn next(&mut self, value: &mut Vec<u8>) -> Option<Made<'_>> {
        let load = self.load;
        if self.number == load.readings {
            return None;
        }
        let after = (self.number as f64 / load.rate * 1_000.0) as i64;
        self.number += 1;
        let service = self.pick();
        let stamp = BEGIN_MS + after;
        let is_poison = self.dice.chance(load.poison);
        value.clear();
        if is_poison {
            value.extend_from_slice(POISON);
        } else {
            let is_late = self.dice.chance(load.late);
            let age =
                if is_late { LATENESS_MS + self.dice.below(3_000) as i64 } else { self.dice.below(AGE_MS) as i64 };
            let reading_value = self.value(service as u32, after);
            let name = Cow::Borrowed(self.services[service].1.as_str());
            let (ts, attributes) = (stamp - age, Attributes::new());
            let reading = Reading { service: name, sensor: SENSOR.into(), ts, value: reading_value, attributes };
            value.extend_from_slice(&codec::reading::encode(&reading));
        }
        let (partition, key) = &self.services[service];
        Some(Made { partition: *partition, key, stamp, is_poison })
    }

    fn pick(&mut self) -> usize {
        match self.weights.last() {
            None => self.dice.below(self.services.len() as u64) as usize,
            Some(all) => {
                let wanted = self.dice.fraction() * all;
                self.weights.partition_point(|sum| *sum <= wanted).min(self.services.len() - 1)
            }
        }
    }

    /// Good is 5 to 25, to the thousandth; one in five hundred is bad, and half of a bad phase.
    fn value(&mut self, service: u32, after: i64) -> f64 {
        let bad = if self.load.is_bad_phase(service, after) { 0.5 } else { 0.002 };
        let is_bad = self.dice.chance(bad);
        let within = self.dice.below(20_000) as f64 / 1e3;
        let value = within + if is_bad { THRESHOLD + 1.0 } else { 5.0 };
        (value * 1e3).round() / 1e3
    }
}

impl Load {
    /// Bad from a tenth to two fifths of the time on, for a fifth as long as it was well before, or a dozen readings: enough
    /// to open, little enough to resolve while the window still grows.
    fn is_bad_phase(&self, service: u32, after: i64) -> bool {
        if service % TROUBLED != 7 % self.series.min(TROUBLED) {
            return false;
        }
        let place = f64::from(service.wrapping_mul(2_654_435_761) >> 16) / 65_536.0;
        let from = self.length_ms().min(self.window_ms) as f64 * (0.1 + 0.3 * place);
        let pace = f64::from(self.series) / self.rate * 1_000.0;
        let for_ms = (from / 5.0).max(12.0 * pace);
        (from..from + for_ms).contains(&(after as f64))
    }
}

/// SplitMix64: as good as it has to be, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// In [0, 1).
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.fraction() < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> Load {
        let (readings, series, rate, partitions) = (20_000, 100, 1_000.0, 4);
        Load { readings, series, rate, skew: 0.0, window_ms: 10_000, poison: 0.01, late: 0.1, seed: 1, partitions }
    }

    #[test]
    fn the_same_seed_makes_the_same_records_and_stamps_ascend() {
        let all = |load: &Load| {
            let (mut records, mut value, mut all) = (load.records(), Vec::new(), Vec::new());
            while let Some(made) = records.next(&mut value) {
                all.push((made.stamp, made.partition, made.key.to_owned(), made.is_poison, value.clone()));
            }
            all
        };
        let records = all(&load());
        assert_eq!(records.len(), 20_000);
        assert!(records.is_sorted_by_key(|record| record.0));
        assert_eq!(records, all(&load()));
        assert_ne!(records, all(&Load { seed: 2, ..load() }));
        for (stamp, partition, key, is_poison, value) in &records {
            let decoded = codec::reading::decode(Some(key.as_bytes()), Some(value), *stamp);
            assert_eq!(decoded.is_err(), *is_poison);
            assert_eq!(*partition, home_partition(key, 4));
        }
        let poison = records.iter().filter(|record| record.3).count();
        assert!((100..300).contains(&poison), "{poison}");
    }

    #[test]
    fn a_skewed_fleet_has_its_readings_in_the_first_services() {
        let load = Load { skew: 1.0, ..load() };
        let (mut records, mut value, mut first, mut last) = (load.records(), Vec::new(), 0, 0);
        while let Some(made) = records.next(&mut value) {
            first += u32::from(made.key == "service-000000");
            last += u32::from(made.key == "service-000099");
        }
        assert!(first > 20 * last && last > 0, "{first} {last}");
    }

    #[test]
    fn its_spec_is_one() {
        let checked = crate::spec::parse(&load().spec("service-000001")).unwrap();
        assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
        assert_eq!(checked.spec.lateness_ms, LATENESS_MS);
    }
}
