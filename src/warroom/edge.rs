//! The live edge of one series: its readings as they come onto `ops.metrics`, and its window at every instant, by the
//! arithmetic that the processor uses. For a graph; what is decided stands on `ops.incidents`.
//!
//! It begins a window back, so that the first instants that are shown have whole windows. A crowded partition is read from
//! nearer by.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc::Sender;

use crate::bus::{Isolation, Next, Offsets, Reader, Settings};
use crate::codec;
use crate::model::ServiceId;
use crate::model::spec::{Spec, nearest_rank};
use crate::model::topics::Topics;
use crate::sdk::Error;
use crate::telemetry::clock::now_ms;
use crate::window::clock::PartitionClock;
use crate::window::panes::Panes;
use crate::window::round_up;
use crate::window::steps::Counters;

/// So many records of the past are read at most.
const PAST_RECORDS: i64 = 500_000;
/// News are told at least so often,
const PAUSE: Duration = Duration::from_millis(100);
/// or when so many readings have come together.
const TOGETHER: usize = 500;

/// What is watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Whose.
    pub service: ServiceId,
    /// Which of its sensors.
    pub sensor: String,
    window_ms: i64,
    step_ms: i64,
    lateness_ms: i64,
    objective_ppm: u32,
    /// Of the SLO, if the sensor is its target.
    threshold: Option<f64>,
}

impl Watched {
    /// A sensor by its name; none if the spec does not declare it.
    pub fn of(spec: &Spec, name: &str) -> Option<Self> {
        let sensor = spec.sensor(name)?;
        let slo = spec.slo.as_ref();
        Some(Self {
            service: spec.id.clone(),
            sensor: name.to_owned(),
            window_ms: spec.window_ms,
            step_ms: spec.step_ms,
            lateness_ms: spec.lateness_ms,
            objective_ppm: slo.map_or(950_000, |slo| slo.objective_ppm),
            threshold: slo.filter(|slo| slo.target == sensor).map(|slo| slo.threshold),
        })
    }
}

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Point {
    /// Event time, ms.
    pub ts: i64,
    /// Value.
    pub value: f64,
}

/// The window at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Window {
    /// The instant; the window is `(at - W, at]`, ms.
    pub at: i64,
    /// Readings in it.
    pub n: u64,
    /// Those above the threshold, if there is one.
    pub over: Option<u64>,
    /// Nearest rank, exact; none without readings.
    pub p95: Option<f64>,
}

/// What is new at the edge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct News {
    /// As they came.
    pub readings: Vec<Point>,
    /// One for each instant that became due.
    pub windows: Vec<Window>,
}

/// See the module.
struct Edge {
    watched: Watched,
    clock: PartitionClock,
    panes: Panes,
    /// Readings that a window can still see, by event time.
    values: VecDeque<Point>,
    /// The next instant; none before the first record.
    next: Option<i64>,
    /// Instants before it have no whole window.
    whole_from: i64,
    news: News,
}

impl Edge {
    fn new(watched: Watched) -> Self {
        let panes = Panes::new(watched.window_ms, watched.step_ms);
        let (clock, values, news) = (PartitionClock::default(), VecDeque::new(), News::default());
        Self { watched, clock, panes, values, next: None, whole_from: i64::MAX, news }
    }

    /// A record of the partition: the instants that its append time makes due.
    fn observe(&mut self, append: i64) {
        self.clock.observe(append);
        let Some(now) = self.clock.now else { return };
        let Watched { step_ms, window_ms, lateness_ms, .. } = self.watched;
        let due = (now - lateness_ms).div_euclid(step_ms) * step_ms;
        let next = *self.next.get_or_insert(due + step_ms);
        if self.whole_from == i64::MAX {
            self.whole_from = next.saturating_add(window_ms);
        }
        // After a leap the instants between are nobody's.
        let first = next.max(due - window_ms);
        let mut at = first;
        while at <= due {
            self.evaluate(at);
            at += step_ms;
        }
        self.next = Some(next.max(due + step_ms));
    }

    fn evaluate(&mut self, at: i64) {
        let Counters { n, over, .. } = self.panes.advance(at);
        while self.values.front().is_some_and(|point| point.ts <= at - self.watched.window_ms) {
            self.values.pop_front();
        }
        if at < self.whole_from {
            return;
        }
        let mut inside: Vec<f64> =
            self.values.iter().take_while(|point| point.ts <= at).map(|point| point.value).collect();
        let rank = usize::try_from(nearest_rank(self.watched.objective_ppm, inside.len() as u64)).unwrap_or(0);
        let p95 = rank.checked_sub(1).map(|place| *inside.select_nth_unstable_by(place, f64::total_cmp).1);
        self.news.windows.push(Window { at, n, over: self.watched.threshold.map(|_| over), p95 });
    }

    /// A reading of the series.
    fn count(&mut self, point: Point) {
        let end = round_up(point.ts, self.watched.step_ms);
        let over = self.watched.threshold.is_some_and(|threshold| point.value > threshold);
        self.panes.count(end, Counters::one(over, false));
        let place = self.values.partition_point(|other| other.ts <= point.ts);
        self.values.insert(place, point);
        self.news.readings.push(point);
    }
}

/// Follows a series until nobody listens.
///
/// # Errors
/// The bus.
pub fn follow(settings: &Settings, topics: &Topics, watched: Watched, listener: &Sender<News>) -> Result<(), Error> {
    let offsets = Offsets::new(settings)?;
    let topic = &topics.metrics;
    let partition = watched.service.home(offsets.partitions(topic)?);
    let since = now_ms() - 2 * watched.window_ms - watched.lateness_ms;
    let high = offsets.watermarks(topic, partition)?.high;
    let found = offsets.at_time(topic, &[partition], since)?.into_iter().find_map(|(_, offset)| offset);
    let start =
        found.unwrap_or(high).max(high.saturating_sub(PAST_RECORDS)).max(offsets.watermarks(topic, partition)?.low);
    let mut reader = Reader::open(settings, topic, Isolation::Committed, [(partition, start)])?;
    let mut edge = Edge::new(watched);
    let mut told = Instant::now();
    while !listener.is_closed() {
        if let Next::Record(message) = reader.next(PAUSE)? {
            let append = message.timestamp().ms().unwrap_or(0);
            edge.observe(append);
            if let Ok(reading) = codec::reading::decode(message.key(), message.value(), append)
                && *reading.service == *edge.watched.service.as_str()
                && *reading.sensor == *edge.watched.sensor
                && reading.value.is_finite()
            {
                edge.count(Point { ts: reading.ts, value: reading.value });
            }
        }
        let gathered = edge.news.readings.len() + edge.news.windows.len();
        if gathered >= TOGETHER || (gathered > 0 && told.elapsed() >= PAUSE) {
            // Waits while the listener is slow: the log keeps what it has not seen.
            if listener.blocking_send(std::mem::take(&mut edge.news)).is_err() {
                break;
            }
            told = Instant::now();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "id: s\nowner: o\nsensors:\n  - name: q\nslo:\n  target: q\n  threshold: 30\n  window_seconds: 10\n";

    fn edge() -> Edge {
        let spec = crate::spec::parse(TEXT).unwrap().spec;
        Edge::new(Watched::of(&spec, "q").unwrap())
    }

    /// A reading a second from second 100 on, 40 at every tenth: each whole window has 10 readings, one of them above.
    #[test]
    fn every_instant_has_its_whole_window() {
        let mut edge = edge();
        for second in 100..130 {
            let ts = second * 1_000;
            edge.observe(ts + 10);
            edge.count(Point { ts, value: if second % 10 == 0 { 40.0 } else { second as f64 / 10.0 } });
        }
        let windows = &edge.news.windows;
        assert_eq!(windows.first().map(|window| window.at), Some(110_000), "the first whole one");
        assert_eq!(windows.last().map(|window| window.at), Some(128_000), "a second of lateness");
        assert!(windows.iter().all(|window| (window.n, window.over, window.p95) == (10, Some(1), Some(40.0))));
        assert_eq!(edge.news.readings.len(), 30);
        assert!(edge.values.len() <= 12, "what no window sees is forgotten");
    }

    #[test]
    fn a_quiet_stretch_empties_the_window_and_a_late_reading_still_counts() {
        let mut edge = edge();
        edge.observe(100_000);
        edge.count(Point { ts: 100_000, value: 40.0 });
        (101..=125).for_each(|second| edge.observe(second * 1_000));
        let at = |edge: &Edge, at| {
            edge.news.windows.iter().find(|window| window.at == at).map(|window| (window.n, window.p95))
        };
        assert_eq!(at(&edge, 124_000), Some((0, None)));
        edge.count(Point { ts: 120_000, value: 7.0 });
        edge.observe(126_000);
        assert_eq!(at(&edge, 125_000), Some((1, Some(7.0))));
    }
}
