//! The p95 that is shown: t-digests, one a series and cut, merged over those that overlap a window.
//!
//! An estimate for people. The verdict comes from [`super::panes`] and never from here.

use std::borrow::Cow;

use tdigest::{Centroid as TCentroid, TDigest};

use crate::model::state::{Centroid, Rollup};

/// Up to so many values of a cut are kept as they are.
pub const RAW_VALUES: usize = 32;
const SIZE: usize = 100;

/// What is kept of the readings that one series added in one cut.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch<'a> {
    /// Event time of the earliest reading, ms.
    pub first_ts: i64,
    /// Event time of the latest reading, ms.
    pub last_ts: i64,
    pub(super) n: u64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// In offset order, if there are at most [`RAW_VALUES`].
    pub(super) values: &'a [f64],
    /// A digest of them, if there are more.
    pub(super) centroids: Cow<'a, [Centroid]>,
}

impl<'a> Sketch<'a> {
    /// Sketches values in offset order; none gives the empty sketch.
    pub fn of(values: &'a [f64], first_ts: i64, last_ts: i64) -> Self {
        let Some(&first) = values.first() else { return Self::default() };
        let sketch = Self {
            first_ts,
            last_ts,
            n: values.len() as u64,
            sum: values.iter().sum(),
            min: values.iter().copied().fold(first, f64::min),
            max: values.iter().copied().fold(first, f64::max),
            ..Self::default()
        };
        if values.len() <= RAW_VALUES {
            return Self { values, ..sketch };
        }
        let digest = digest_of(values.to_vec());
        let centroid = |c: &TCentroid| Centroid { mean: c.mean(), weight: c.weight() };
        Self { centroids: digest.centroids().iter().map(centroid).collect(), ..sketch }
    }

    /// The sketch that a rollup carries.
    pub fn of_rollup(rollup: &'a Rollup) -> Self {
        Self {
            first_ts: rollup.first_ts,
            last_ts: rollup.last_ts,
            n: rollup.n,
            sum: rollup.sum,
            min: rollup.min,
            max: rollup.max,
            values: &rollup.values,
            centroids: Cow::Borrowed(&rollup.centroids),
        }
    }

    /// Becomes part of a rollup, in the room that this has.
    pub fn write(&self, rollup: &mut Rollup) {
        rollup.n = self.n;
        rollup.sum = self.sum;
        rollup.min = self.min;
        rollup.max = self.max;
        rollup.first_ts = self.first_ts;
        rollup.last_ts = self.last_ts;
        self.values.clone_into(&mut rollup.values);
        self.centroids.as_ref().clone_into(&mut rollup.centroids);
    }

    /// Does it hold a reading that may lie in `(after, to]`?
    pub fn overlaps(&self, after: i64, to: i64) -> bool {
        self.n > 0 && may_lie_in((after, to), self.first_ts, self.last_ts)
    }

    /// Its digest, if it holds a reading that may lie in `(after, to]`.
    pub fn digest(&self, after: i64, to: i64) -> Option<TDigest> {
        self.overlaps(after, to).then(|| match self.centroids.is_empty() {
            true => digest_of(self.values.to_vec()),
            false => {
                let centroids = self.centroids.iter().map(|c| (c.mean, c.weight));
                digest_from(centroids, [self.n as f64, self.sum, self.min, self.max])
            }
        })
    }
}

/// May a reading between the earliest and the latest lie in `(after, to]`?
pub(super) fn may_lie_in((after, to): (i64, i64), first_ts: i64, last_ts: i64) -> bool {
    last_ts > after && first_ts <= to
}

pub(super) fn digest_of(values: Vec<f64>) -> TDigest {
    TDigest::new_with_size(SIZE).merge_unsorted(values)
}

/// The digest that had these centroids (mean, weight), of so many values with this sum, the least and the largest.
pub(super) fn digest_from(centroids: impl Iterator<Item = (f64, f64)>, [n, sum, min, max]: [f64; 4]) -> TDigest {
    let centroids = centroids.map(|(mean, weight)| TCentroid::new(mean, weight)).collect();
    TDigest::new(centroids, sum, n, Some(max), Some(min), SIZE)
}

/// The quantile (0 to 1) of all readings of `digests`, which come in the order of their cuts.
pub fn estimate(digests: Vec<TDigest>, quantile: f64) -> Option<f64> {
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
            let all = |sketch: &Sketch<'_>| estimate(sketch.digest(0, 2).into_iter().collect(), 0.95);
            assert_eq!(all(&back), all(&sketch));
        }
    }

    #[test]
    fn the_estimate_is_within_one_percent_of_rank() {
        let digest = |part| {
            let values: Vec<f64> = (0..400).map(|i| f64::from((part * 400 + i) * 7919 % 12_007)).collect();
            Sketch::of(&values, 0, 1).digest(0, 1)
        };
        let p95 = estimate((0..30).filter_map(digest).collect(), 0.95).unwrap();
        assert!((p95 / 12_007.0 - 0.95).abs() < 0.01, "{p95}");
    }
}
