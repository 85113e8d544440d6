//! The past of one series, from `ops.rollups`: how its readings were, in buckets of whole cuts. Behind the graphs of
//! the war room.
//!
//! What is read is the service's partition between two times, so a long stretch of a crowded partition costs; the caller
//! says how long it may take.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Error;
use crate::bus::error::Place;
use crate::bus::{self, Isolation, Next, Offsets, Reader, Settings};
use crate::codec;
use crate::model::ServiceId;
use crate::model::state::Rollup;
use crate::model::topics::Topics;
use crate::window::digest::{Sketch, estimate};

/// Distance of two cuts, ms.
const CUT_MS: i64 = 10_000;
/// A cut is on the topic so long after its clock at the latest, ms.
const AFTER_MS: i64 = 60_000;
/// After so long without a record the end was probably reached.
const PAUSE: Duration = Duration::from_millis(500);

/// A stretch of time: `(from, to]`, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Open.
    pub from: i64,
    /// Closed.
    pub to: i64,
}

/// The readings that were counted between two times.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Bucket {
    /// The end of the bucket by the partition's clock, ms.
    pub at: i64,
    /// Readings.
    pub n: u64,
    /// Those above the threshold, if the series is an SLO's target.
    pub over: Option<u64>,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
    /// An estimate of their p95.
    pub p95_estimate: Option<f64>,
}

/// Reads the series in at most about `points` buckets, ascending; buckets without readings are left out.
///
/// # Errors
/// The bus; it took longer than `patience`.
pub fn read(
    settings: &Settings,
    topics: &Topics,
    (service, sensor): (&ServiceId, &str),
    stretch: Stretch,
    points: usize,
    patience: Duration,
) -> Result<Vec<Bucket>, Error> {
    let rollups = rollups(settings, topics, (service, sensor), stretch, patience)?;
    let points = i64::try_from(points.max(1)).unwrap_or(i64::MAX);
    let length = stretch.to.saturating_sub(stretch.from).max(1);
    let width = crate::window::round_up((length / points).max(1), CUT_MS);
    Ok(buckets(&rollups, width))
}

fn rollups(
    settings: &Settings,
    topics: &Topics,
    (service, sensor): (&ServiceId, &str),
    stretch: Stretch,
    patience: Duration,
) -> Result<Vec<Rollup>, Error> {
    let offsets = Offsets::new(settings)?;
    let topic = &topics.rollups;
    let partition = service.home(offsets.partitions(topic)?);
    let high = offsets.watermarks(topic, partition)?.high;
    let at = |ms: i64| -> Result<i64, Error> {
        let found = offsets.at_time(topic, &[partition], ms.max(0))?;
        Ok(found.into_iter().find_map(|(_, offset)| offset).unwrap_or(high))
    };
    // A cut is written when its clock has passed, never before.
    let (start, end) = (at(stretch.from)?, at(stretch.to.saturating_add(AFTER_MS))?);
    let mut reader = Reader::open(settings, topic, Isolation::Committed, [(partition, start)])?;
    reader.until([(partition, end)]);
    let (mut found, deadline) = (Vec::new(), Instant::now() + patience);
    loop {
        match reader.next(PAUSE)? {
            Next::Record(message) => {
                let is_it = |rollup: &Rollup| {
                    *rollup.service == *service.as_str()
                        && *rollup.sensor == *sensor
                        && (stretch.from < rollup.cut_clock && rollup.cut_clock <= stretch.to)
                };
                // Most are of other services: what is not ours is not decoded.
                if message.key() == Some(service.as_str().as_bytes())
                    && let Some(Ok(rollup)) = message.value().map(codec::state::decode_rollup)
                    && is_it(&rollup)
                {
                    found.push(rollup);
                }
            }
            Next::End | Next::Idle => return Ok(found),
        }
        if Instant::now() >= deadline {
            let place = Place { topic: Some(topic.clone()), partition: Some(partition), ..Place::default() };
            return Err(bus::Error::TimedOut { operation: "reading a series", place, waited: patience }.into());
        }
    }
}

/// Rollups of one series in the order of their cuts, joined.
fn buckets(rollups: &[Rollup], width_ms: i64) -> Vec<Bucket> {
    let end_of = |rollup: &Rollup| crate::window::round_up(rollup.cut_clock, width_ms);
    let with_readings: Vec<_> = rollups.iter().filter(|rollup| rollup.n > 0).collect();
    with_readings.chunk_by(|a, b| end_of(a) == end_of(b)).map(|chunk| bucket(end_of(chunk[0]), chunk)).collect()
}

fn bucket(at: i64, rollups: &[&Rollup]) -> Bucket {
    let n = rollups.iter().map(|rollup| rollup.n).sum();
    let is_target = rollups.iter().any(|rollup| !rollup.panes.is_empty());
    let over = rollups.iter().flat_map(|rollup| &rollup.panes).map(|pane| pane.over).sum();
    let sum: f64 = rollups.iter().map(|rollup| rollup.sum).sum();
    let digests = rollups.iter().filter_map(|rollup| Sketch::of_rollup(rollup).digest(i64::MIN, i64::MAX)).collect();
    Bucket {
        at,
        n,
        over: is_target.then_some(over),
        min: rollups.iter().map(|rollup| rollup.min).fold(f64::INFINITY, f64::min),
        max: rollups.iter().map(|rollup| rollup.max).fold(f64::NEG_INFINITY, f64::max),
        mean: sum / n as f64,
        p95_estimate: estimate(digests, 0.95),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::state::RollupPane;

    fn rollup(cut_clock: i64, values: &[f64]) -> Rollup {
        let fold = |f: fn(f64, f64) -> f64| values.iter().copied().reduce(f).unwrap_or(0.0);
        let over = values.iter().filter(|value| **value > 30.0).count() as u64;
        Rollup {
            cut_clock,
            n: values.len() as u64,
            min: fold(f64::min),
            max: fold(f64::max),
            sum: values.iter().sum(),
            first_ts: cut_clock - 5_000,
            last_ts: cut_clock - 1_000,
            panes: vec![RollupPane { end: cut_clock, n: values.len() as u64, over, unrecovered: over }],
            values: values.to_vec(),
            ..Rollup::default()
        }
    }

    #[test]
    fn cuts_are_joined_into_buckets_and_silence_is_no_bucket() {
        let rollups =
            [rollup(10_000, &[10.0, 40.0]), rollup(20_000, &[]), rollup(30_000, &[31.0]), rollup(40_000, &[5.0])];
        let fine: Vec<_> = buckets(&rollups, 10_000).into_iter().map(|bucket| (bucket.at, bucket.n)).collect();
        assert_eq!(fine, [(10_000, 2), (30_000, 1), (40_000, 1)]);
        let coarse = buckets(&rollups, 20_000);
        assert_eq!(coarse.len(), 2);
        assert_eq!((coarse[1].at, coarse[1].n, coarse[1].over, coarse[1].mean), (40_000, 2, Some(1), 18.0));
        assert_eq!((coarse[1].min, coarse[1].max, coarse[0].p95_estimate), (5.0, 31.0, Some(40.0)));
    }
}
