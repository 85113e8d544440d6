//! What a request wants published: made while it is decoded, so that nothing is sent of a request that turns out to be
//! wrong. Used by all paths; sent by [`super::Shared::deliver`].

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::table::{Route, Table};
use crate::model::ServiceId;
use crate::web::{Caller, Problem};

/// A few bytes of a request can stand for a long reading, or for long labels (by their places in a table): what is made
/// of one request is bounded too, bytes.
const MAX_CARGO: usize = 32 * 1024 * 1024;
/// The same for its labels.
const MAX_LABELS: usize = 64 * 1024 * 1024;

/// Prometheus' mark of a series that has ended: a NaN of its own.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Encoded readings.
#[derive(Debug, Default)]
pub struct Cargo {
    /// Values, one after the other.
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    /// Counters whose rate was taken: to be noted when the readings are there.
    rates: HashMap<usize, (Arc<Route>, i64, f64)>,
}

/// One of them.
#[derive(Debug)]
struct Piece {
    service: ServiceId,
    partition: i32,
    /// Where its value ends.
    end: usize,
}

impl Cargo {
    /// Adds a reading's value.
    pub fn add(&mut self, service: ServiceId, partition: i32, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.pieces.push(Piece { service, partition, end: self.bytes.len() });
    }

    /// How many readings.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Is it nothing?
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Keys and values together, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.pieces.iter().map(|piece| piece.service.as_str().len()).sum::<usize>()
    }

    /// Key, partition and value of each, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceId, i32, &[u8])> {
        let mut begin = 0;
        self.pieces.iter().map(move |piece| {
            let value = &self.bytes[begin..piece.end];
            begin = piece.end;
            (&piece.service, piece.partition, value)
        })
    }

    /// All of it is there: the next rates are taken from here.
    pub fn settle(&self) {
        for (route, ts, value) in self.rates.values() {
            if let Some(last) = route.way.as_ref().and_then(|way| way.last.as_ref()) {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.is_none_or(|(before, _)| before < *ts) {
                    *last = Some((*ts, *value));
                }
            }
        }
    }
}

/// What became of the samples of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sorted {
    /// Go out as readings.
    pub taken: u64,
    /// Nobody has asked for them.
    pub ignored: u64,
    /// Say that a series has ended.
    pub stale: u64,
    /// NaN or an infinity.
    pub not_finite: u64,
    /// Without a time above 0.
    pub without_time: u64,
    /// Of services that the token is not for.
    pub forbidden: u64,
    /// Of counters whose rate is not known yet: the first sample, or one that is not newer than the last.
    pub waiting: u64,
    /// Histograms and summaries that somebody has asked for: they have no single number.
    pub without_number: u64,
}

impl Sorted {
    /// By name, for metrics and answers.
    pub fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("taken", self.taken),
            ("ignored", self.ignored),
            ("stale", self.stale),
            ("not_finite", self.not_finite),
            ("without_time", self.without_time),
            ("forbidden", self.forbidden),
            ("waiting", self.waiting),
            ("without_number", self.without_number),
        ]
    }
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// As of now: a gauge, or a counter since it began.
    Total,
    /// What a counter has grown since this time, ms.
    Since(i64),
}

/// Sorts the samples of one request into its cargo.
pub struct Sorter<'a> {
    table: MutexGuard<'a, Table>,
    caller: &'a Caller,
    sorted: Sorted,
    cargo: Cargo,
    /// Of all series so far.
    label_bytes: usize,
}

/// A series whose samples come next.
#[derive(Clone, Debug)]
pub struct Series {
    route: Arc<Route>,
    allowed: bool,
}

impl<'a> Sorter<'a> {
    /// By this table, for this caller.
    pub fn new(table: MutexGuard<'a, Table>, caller: &'a Caller) -> Self {
        Self { table, caller, sorted: Sorted::default(), cargo: Cargo::default(), label_bytes: 0 }
    }

    /// All of it.
    ///
    /// # Errors
    /// 413: it became too much.
    pub fn finish(self) -> Result<(Cargo, Sorted), Problem> {
        if self.cargo.bytes.len() > MAX_CARGO { Err(too_much()) } else { Ok((self.cargo, self.sorted)) }
    }

    /// The series of a label set.
    ///
    /// # Errors
    /// See [`Table::route`]; 413 if the labels of all series became too much.
    pub fn series<'l, L>(&mut self, labels: L) -> Result<Series, Problem>
    where
        L: Iterator<Item = (&'l [u8], &'l [u8])> + Clone,
    {
        let route = self.table.route(labels)?;
        self.label_bytes += self.table.asked();
        if self.label_bytes > MAX_LABELS {
            return Err(too_much());
        }
        let allowed = route.way.as_ref().is_none_or(|way| self.caller.reaches(way.service.as_str()));
        Ok(Series { route, allowed })
    }

    /// Takes a sample of a series: its time (ms) and number.
    pub fn sample(&mut self, series: &Series, ts: i64, value: f64, number: Number) {
        let Some(way) = &series.route.way else {
            self.sorted.ignored += 1;
            return;
        };
        if self.cargo.bytes.len() > MAX_CARGO {
            // Nothing of it will be sent.
            return;
        }
        let counter = if value.to_bits() == STALE {
            &mut self.sorted.stale
        } else if !series.allowed {
            &mut self.sorted.forbidden
        } else if !value.is_finite() {
            &mut self.sorted.not_finite
        } else if ts <= 0 {
            &mut self.sorted.without_time
        } else if let Some(value) = self.taken(series, ts, value, number) {
            way.frame.put(&mut self.cargo.bytes, ts, value);
            let end = self.cargo.bytes.len();
            self.cargo.pieces.push(Piece { service: way.service.clone(), partition: way.partition, end });
            &mut self.sorted.taken
        } else {
            &mut self.sorted.waiting
        };
        *counter += 1;
    }

    /// Samples of a series that have no single number.
    pub fn without_number(&mut self, series: &Series, samples: u64) {
        if series.route.way.is_some() {
            self.sorted.without_number += samples;
        } else {
            self.sorted.ignored += samples;
        }
    }

    /// Samples that say that there is no number.
    pub fn stale(&mut self, samples: u64) {
        self.sorted.stale += samples;
    }

    /// What is taken of a sample: its number; or of a counter by how much it has grown a second, since the last sample that
    /// is there or was seen in this request.
    fn taken(&mut self, series: &Series, ts: i64, value: f64, number: Number) -> Option<f64> {
        let Some(last) = series.route.way.as_ref()?.last.as_ref() else { return Some(value) };
        if let Number::Since(begin) = number {
            return (ts > begin).then(|| value * 1000.0 / (ts - begin) as f64);
        }
        // The address of what all routes of the series share.
        let key = Arc::as_ptr(last) as usize;
        let seen = self.cargo.rates.get(&key).map(|(_, ts, value)| (*ts, *value));
        let before = seen.or_else(|| *last.lock().unwrap_or_else(PoisonError::into_inner));
        if before.is_some_and(|(before, _)| ts <= before) {
            return None;
        }
        self.cargo.rates.insert(key, (series.route.clone(), ts, value));
        let (began, from) = before?;
        // Lower than before: it began anew, at 0.
        let grown = if value < from { value } else { value - from };
        Some(grown * 1000.0 / (ts - began) as f64)
    }
}

fn too_much() -> Problem {
    Problem::too_large(MAX_CARGO).with("readings", true)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::codec::reading::decode;
    use crate::sdk::Catalog;

    const SPEC: &str = "id: s\nowner: o\nsensors:\n  - name: up\n";

    fn table(mapping: &str) -> Mutex<Table> {
        Mutex::new(Table::new(toml::from_str(mapping).unwrap(), 4, Arc::new(Catalog::of_texts(&[SPEC]))))
    }

    fn sort(table: &Mutex<Table>, metric: &str, samples: &[(i64, f64)]) -> (Cargo, Sorted) {
        let caller = Caller::anybody();
        let mut sorter = Sorter::new(table.lock().unwrap(), &caller);
        let labels = [("__name__", metric), ("service", "s")];
        let series = sorter.series(labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))).unwrap();
        for (ts, value) in samples {
            sorter.sample(&series, *ts, *value, Number::Total);
        }
        sorter.finish().unwrap()
    }

    fn readings(cargo: &Cargo) -> Vec<(i64, f64)> {
        let read = |value| decode(None, Some(value), 1).map(|reading| (reading.ts, reading.value)).unwrap();
        cargo.iter().map(|(_, _, value)| read(value)).collect()
    }

    #[test]
    fn every_sample_is_counted_once_as_what_it_is() {
        let table = table("");
        let samples = [(1, 1.5), (2, f64::from_bits(STALE)), (3, f64::NAN), (4, f64::INFINITY), (0, 1.0), (5, -2.0)];
        let (cargo, sorted) = sort(&table, "up", &samples);
        assert_eq!(readings(&cargo), [(1, 1.5), (5, -2.0)]);
        assert_eq!(sorted, Sorted { taken: 2, stale: 1, not_finite: 2, without_time: 1, ..Sorted::default() });
        assert_eq!(sort(&table, "down", &samples).1, Sorted { ignored: 6, ..Sorted::default() });
    }

    /// A body of 2 MiB could say so.
    #[test]
    fn few_bytes_that_stand_for_many_are_refused() {
        let (table, caller) = (table(""), Caller::anybody());
        let long = "x".repeat(20_000);
        let labels = [("__name__", "up"), ("service", "s"), ("pod", long.as_str())];
        let labels = || labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let mut sorter = Sorter::new(table.lock().unwrap(), &caller);
        let series = sorter.series(labels()).unwrap();
        (1..=MAX_CARGO as i64 / 20_000).for_each(|ts| sorter.sample(&series, ts, 1.0, Number::Total));
        assert!(sorter.cargo.bytes.len() > MAX_CARGO);
        let held = sorter.cargo.bytes.len();
        sorter.sample(&series, 1, 1.0, Number::Total);
        assert_eq!(sorter.cargo.bytes.len(), held);
        assert_eq!(sorter.finish().unwrap_err().status().as_u16(), 413);
        let mut sorter = Sorter::new(table.lock().unwrap(), &caller);
        let refused = (0..=MAX_LABELS / 20_000).find_map(|_| sorter.series(labels()).err());
        assert_eq!(refused.unwrap().status().as_u16(), 413);
    }

    #[test]
    fn a_rate_is_taken_from_the_last_sample_that_is_there() {
        let table = table("[[map]]\nmetric = \"up\"\ntake = \"rate\"\n");
        let (first, sorted) = sort(&table, "up", &[(1_000, 10.0), (2_000, 15.0), (2_000, 15.0)]);
        assert_eq!((readings(&first), sorted.waiting), (vec![(2_000, 5.0)], 2));
        // It was not acknowledged, so it comes again, whole.
        let (again, _) = sort(&table, "up", &[(1_000, 10.0), (2_000, 15.0)]);
        assert_eq!(readings(&again), [(2_000, 5.0)]);
        again.settle();
        let (next, sorted) = sort(&table, "up", &[(2_000, 15.0), (4_000, 21.0), (6_000, 4.0)]);
        assert_eq!((readings(&next), sorted.waiting), (vec![(4_000, 3.0), (6_000, 2.0)], 1), "it began anew at 6 s");
    }
}
