//! The latest reading of a series at the instants to come: silence and comparisons look at it.
//!
//! Kept are the latest reading at or before the last instant that was evaluated, and for each later step its latest.
//! Two or three readings as a rule.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::model::state::LatestReading;

/// Attributes of a reading, shared.
pub type Attributes = Arc<BTreeMap<String, String>>;

/// The latest reading of a step; of equal event times the later in the log.
#[derive(Clone, Debug)]
pub struct Last {
    /// Event time, ms.
    pub ts: i64,
    /// Value.
    pub value: f64,
    /// Its attributes, if the series keeps them.
    pub attributes: Option<Attributes>,
    /// End of its step, ms.
    end: i64,
    /// No cut has published it.
    fresh: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Latest {
    /// Ascending, one a step. Beside the series, not elsewhere: every reading looks at them.
    readings: SmallVec<[Last; 4]>,
}

impl Latest {
    /// Takes note of a reading of the step that ends at `end`. Instants at or before `settled` are over.
    pub fn note(&mut self, end: i64, ts: i64, value: f64, attributes: Option<Attributes>, settled: i64) {
        self.put(Last { ts, value, attributes, end, fresh: true }, settled);
    }

    /// Takes back what an earlier cut published, in the order of the cuts.
    pub fn restore(&mut self, end: i64, reading: &LatestReading, settled: i64) {
        let attributes = (!reading.attributes.is_empty()).then(|| Arc::new(reading.attributes.clone()));
        self.put(Last { ts: reading.ts, value: reading.value, attributes, end, fresh: false }, settled);
    }

    fn put(&mut self, new: Last, settled: i64) {
        match place_of(self.readings.iter().map(|last| last.end), new.end) {
            Ok(at) if new.ts >= self.readings[at].ts => self.readings[at] = new,
            Ok(_) => {}
            Err(place) => {
                self.readings.insert(place, new);
                self.settle(settled);
            }
        }
    }

    /// Of what lies at or before `settled` only the last can still be the latest.
    fn settle(&mut self, settled: i64) {
        while self.readings.get(1).is_some_and(|second| second.end <= settled) {
            self.readings.remove(0);
        }
    }

    /// The reading with the largest event time at or before `to`, an instant that is not over.
    pub fn at(&self, to: i64) -> Option<&Last> {
        self.readings.iter().rev().find(|last| last.end <= to)
    }

    /// The end of the first step after `at` that has a reading, ms.
    pub fn next_after(&self, at: i64) -> Option<i64> {
        self.readings.iter().map(|last| last.end).find(|end| *end > at)
    }

    /// Puts what no cut has published yet in the place of `out`.
    pub fn publish(&mut self, settled: i64, out: &mut Vec<LatestReading>) {
        self.settle(settled);
        let fresh = self.readings.iter_mut().filter(|last| last.fresh).map(|last| {
            last.fresh = false;
            let attributes = last.attributes.as_deref().cloned().unwrap_or_default();
            LatestReading { ts: last.ts, value: last.value, attributes }
        });
        out.clear();
        out.extend(fresh);
    }
}

/// Where the step that ends at `end` is among steps whose ends ascend, or else where it would be put. From behind, as
/// readings come nearly in order.
fn place_of(ends: impl DoubleEndedIterator<Item = i64> + ExactSizeIterator, end: i64) -> Result<usize, usize> {
    let mut place = ends.len();
    for other in ends.rev() {
        match other.cmp(&end) {
            Ordering::Less => break,
            Ordering::Equal => return Ok(place - 1),
            Ordering::Greater => place -= 1,
        }
    }
    Err(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(readings: &[(i64, f64)], settled: i64) -> Latest {
        let mut latest = Latest::default();
        for &(ts, value) in readings {
            latest.note(super::super::round_up(ts, 1_000), ts, value, None, settled);
        }
        latest
    }

    fn published(latest: &mut Latest, settled: i64) -> Vec<LatestReading> {
        let mut out = vec![LatestReading::default()];
        latest.publish(settled, &mut out);
        out
    }

    fn values(latest: &mut Latest, settled: i64) -> Vec<f64> {
        published(latest, settled).iter().map(|last| last.value).collect()
    }

    #[test]
    fn a_step_is_found_or_has_its_place() {
        let ends = [10_i64, 20, 30];
        let found = [5, 10, 15, 30, 35].map(|end| place_of(ends.into_iter(), end));
        assert_eq!(found, [Err(0), Ok(0), Err(1), Ok(2), Err(3)]);
    }

    #[test]
    fn the_latest_reading_is_by_event_time_and_of_equals_the_later_in_the_log() {
        let latest = noted(&[(1500, 1.0), (1200, 2.0), (1500, 3.0), (2001, 4.0)], 0);
        assert_eq!(latest.at(2000).map(|last| last.value), Some(3.0));
        assert!(latest.at(1000).is_none());
        assert_eq!(latest.next_after(2000), Some(3000));
        assert_eq!(latest.next_after(3000), None);
    }

    #[test]
    fn of_what_is_over_only_the_last_is_kept() {
        let mut latest = noted(&[(500, 1.0), (1500, 2.0), (2500, 3.0), (3500, 4.0)], 2_000);
        assert_eq!(latest.at(2000).map(|last| last.value), Some(2.0));
        assert_eq!(values(&mut latest, 2_000), [2.0, 3.0, 4.0]);
        assert_eq!(values(&mut latest, 2_000), [0.0; 0], "published once");
        let older = noted(&[(1500, 2.0), (500, 1.0)], 2_000);
        assert_eq!(older.at(2000).map(|last| last.value), Some(2.0));
    }

    #[test]
    fn what_was_published_comes_back() {
        let mut latest = noted(&[(1500, 2.0), (2500, 3.0)], 2_000);
        let mut restored = Latest::default();
        for reading in published(&mut latest, 2_000) {
            restored.restore(super::super::round_up(reading.ts, 1_000), &reading, 2_000);
        }
        assert_eq!(restored.at(3000).map(|last| last.value), Some(3.0));
        assert_eq!(values(&mut restored, 2_000), [0.0; 0], "it is on the log");
    }
}
