//! The p95 that is shown: t-digests, one a series and cut, merged over those that overlap a window.
//!
//! An estimate for people. The verdict comes from [`super::panes`] and never from here.

use tdigest::{Centroid as TCentroid, TDigest};

use crate::model::state::{Centroid, Rollup};

/// Up to so many values of a cut are kept as they are.
pub const RAW_VALUES: usize = 32;
const SIZE: usize = 100;

/// What is kept of the readings that one series added in one cut.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch {
    /// Event time of the earliest reading, ms.
    pub first_ts: i64,
    /// Event time of the latest reading, ms.
    pub last_ts: i64,
    n: u64,
    sum: f64,
    min: f64,
    max: f64,
    values: Vec<f64>,
    centroids: Vec<Centroid>,
}

impl Sketch {
    /// Sketches values in offset order; none gives the empty sketch.
    pub fn of(values: &[f64], first_ts: i64, last_ts: i64) -> Self {
        let Some(&first) = values.first() else { return Self::default() };
        let mut sketch = Self {
            first_ts,
            last_ts,
            n: values.len() as u64,
            sum: values.iter().sum(),
            min: values.iter().copied().fold(first, f64::min),
            max: values.iter().copied().fold(first, f64::max),
            values: Vec::new(),
            centroids: Vec::new(),
        };
        if values.len() <= RAW_VALUES {
            sketch.values = values.to_vec();
        } else {
            let digest = TDigest::new_with_size(SIZE).merge_unsorted(values.to_vec());
            sketch.centroids =
                digest.centroids().iter().map(|c| Centroid { mean: c.mean(), weight: c.weight() }).collect();
        }
        sketch
    }

    /// The sketch that a rollup carries.
    pub fn of_rollup(rollup: &Rollup) -> Self {
        Self {
            first_ts: rollup.first_ts,
            last_ts: rollup.last_ts,
            n: rollup.n,
            sum: rollup.sum,
            min: rollup.min,
            max: rollup.max,
            values: rollup.values.clone(),
            centroids: rollup.centroids.clone(),
        }
    }

    /// Writes the sketch into a rollup.
    pub fn write(&self, rollup: &mut Rollup) {
        rollup.n = self.n;
        rollup.sum = self.sum;
        rollup.min = self.min;
        rollup.max = self.max;
        rollup.first_ts = self.first_ts;
        rollup.last_ts = self.last_ts;
        rollup.values.clone_from(&self.values);
        rollup.centroids.clone_from(&self.centroids);
    }

    /// Does it hold a reading that may lie in `(after, to]`?
    pub fn overlaps(&self, after: i64, to: i64) -> bool {
        self.n > 0 && self.last_ts > after && self.first_ts <= to
    }

    fn digest(&self) -> TDigest {
        if self.centroids.is_empty() {
            return TDigest::new_with_size(SIZE).merge_unsorted(self.values.clone());
        }
        let centroids = self.centroids.iter().map(|c| TCentroid::new(c.mean, c.weight)).collect();
        TDigest::new(centroids, self.sum, self.n as f64, Some(self.max), Some(self.min), SIZE)
    }
}

/// The quantile (0 to 1) of all readings of `sketches`, which come in the order of their cuts.
pub fn estimate<'a>(sketches: impl Iterator<Item = &'a Sketch>, quantile: f64) -> Option<f64> {
    let digests: Vec<_> = sketches.filter(|sketch| sketch.n > 0).map(Sketch::digest).collect();
    TDigest::merge_digests(digests).estimate_quantile(quantile).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sketch_survives_its_rollup_bit_by_bit() {
        for n in [0, 1, 32, 33, 5_000] {
            let values: Vec<f64> = (0..n).map(|i| f64::from(i * 7919 % 1009)).collect();
            let sketch = Sketch::of(&values, 1, 2);
            let mut rollup = Rollup::default();
            sketch.write(&mut rollup);
            let back = Sketch::of_rollup(&rollup);
            assert_eq!(back, sketch);
            assert_eq!(estimate([&back].into_iter(), 0.95), estimate([&sketch].into_iter(), 0.95));
        }
    }

    #[test]
    fn the_estimate_is_within_one_percent_of_rank() {
        let parts: Vec<Sketch> = (0..30)
            .map(|part| {
                let values: Vec<f64> = (0..400).map(|i| f64::from((part * 400 + i) * 7919 % 12_007)).collect();
                Sketch::of(&values, 0, 1)
            })
            .collect();
        let p95 = estimate(parts.iter(), 0.95).unwrap();
        assert!((p95 / 12_007.0 - 0.95).abs() < 0.01, "{p95}");
    }
}
