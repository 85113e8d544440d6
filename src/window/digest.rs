//! The p95 that is shown: t-digests, one a series and cut, merged over those that overlap a window.
//!
//! An estimate for people. The verdict comes from [`super::panes`] and never from here.

use std::collections::VecDeque;

use tdigest::{Centroid as TCentroid, TDigest};

use super::panes::grow;
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
            sketch.centroids = digest_of(values.to_vec())
                .centroids()
                .iter()
                .map(|c| Centroid { mean: c.mean(), weight: c.weight() })
                .collect();
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

    /// Becomes part of a rollup.
    pub fn write(self, rollup: &mut Rollup) {
        rollup.n = self.n;
        rollup.sum = self.sum;
        rollup.min = self.min;
        rollup.max = self.max;
        rollup.first_ts = self.first_ts;
        rollup.last_ts = self.last_ts;
        rollup.values = self.values;
        rollup.centroids = self.centroids;
    }

    /// Does it hold a reading that may lie in `(after, to]`?
    pub fn overlaps(&self, after: i64, to: i64) -> bool {
        self.head().overlaps(after, to)
    }

    /// Its digest, if it holds a reading that may lie in `(after, to]`.
    pub fn digest(&self, after: i64, to: i64) -> Option<TDigest> {
        self.overlaps(after, to).then(|| match self.centroids.is_empty() {
            true => digest_of(self.values.clone()),
            false => self.head().digest(self.centroids.iter().map(|c| TCentroid::new(c.mean, c.weight)).collect()),
        })
    }

    fn head(&self) -> Head {
        let Self { first_ts, last_ts, n, sum, min, max, .. } = *self;
        Head { first_ts, last_ts, n, sum, min, max }
    }
}

/// What a sketch says beside its numbers.
#[derive(Clone, Copy, Debug)]
struct Head {
    first_ts: i64,
    last_ts: i64,
    n: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Head {
    fn overlaps(&self, after: i64, to: i64) -> bool {
        self.n > 0 && self.last_ts > after && self.first_ts <= to
    }

    fn digest(&self, centroids: Vec<TCentroid>) -> TDigest {
        TDigest::new(centroids, self.sum, self.n as f64, Some(self.max), Some(self.min), SIZE)
    }
}

fn digest_of(values: Vec<f64>) -> TDigest {
    TDigest::new_with_size(SIZE).merge_unsorted(values)
}

/// The sketches that one series keeps for its window, in the order of their cuts. One ring holds the numbers of all of
/// them: a window of 300 s has 30, and there may be 100,000 series.
#[derive(Clone, Debug, Default)]
pub struct Sketches {
    heads: VecDeque<(Head, Numbers)>,
    /// Values; of a digest the means and weights of its centroids by turns.
    numbers: VecDeque<f64>,
}

/// What the numbers of a sketch are, and how many there are of them.
#[derive(Clone, Copy, Debug)]
enum Numbers {
    Values(u32),
    Centroids(u32),
}

impl Numbers {
    fn len(self) -> usize {
        match self {
            Self::Values(n) => n as usize,
            Self::Centroids(n) => 2 * n as usize,
        }
    }
}

impl Sketches {
    /// Keeps the sketch of a cut.
    pub fn push(&mut self, sketch: &Sketch) {
        let numbers = match sketch.centroids.len() {
            0 => Numbers::Values(sketch.values.len() as u32),
            centroids => Numbers::Centroids(centroids as u32),
        };
        grow(&mut self.heads);
        self.heads.push_back((sketch.head(), numbers));
        let flat = sketch.centroids.iter().flat_map(|c| [c.mean, c.weight]);
        for number in sketch.values.iter().copied().chain(flat) {
            grow(&mut self.numbers);
            self.numbers.push_back(number);
        }
    }

    /// Forgets the oldest whose readings all lie at or before `through`.
    pub fn forget(&mut self, through: i64) {
        while let Some(&(_, numbers)) = self.heads.front().filter(|(head, _)| head.last_ts <= through) {
            self.heads.pop_front();
            self.numbers.drain(..numbers.len());
        }
    }

    /// Digests of those that hold a reading that may lie in `(after, to]`.
    pub fn digests(&self, after: i64, to: i64) -> Vec<TDigest> {
        let (mut digests, mut begin) = (Vec::new(), 0);
        for (head, numbers) in &self.heads {
            let end = begin + numbers.len();
            if head.overlaps(after, to) {
                let flat: Vec<f64> = self.numbers.range(begin..end).copied().collect();
                digests.push(match numbers {
                    Numbers::Values(_) => digest_of(flat),
                    Numbers::Centroids(_) => {
                        head.digest(flat.chunks_exact(2).map(|pair| TCentroid::new(pair[0], pair[1])).collect())
                    }
                });
            }
            begin = end;
        }
        digests
    }
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
            sketch.clone().write(&mut rollup);
            let back = Sketch::of_rollup(&rollup);
            assert_eq!(back, sketch);
            let all = |sketch: &Sketch| estimate(sketch.digest(0, 2).into_iter().collect(), 0.95);
            assert_eq!(all(&back), all(&sketch));
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
        let p95 = estimate(parts.iter().filter_map(|part| part.digest(0, 1)).collect(), 0.95).unwrap();
        assert!((p95 / 12_007.0 - 0.95).abs() < 0.01, "{p95}");
    }

    #[test]
    fn sketches_that_are_kept_are_the_same_sketches() {
        let sketch = |cut: i64, n: i64| {
            let values: Vec<f64> = (0..n).map(|i| ((i + cut) * 7919 % 1009) as f64).collect();
            Sketch::of(&values, 10 * cut, 10 * cut + 9)
        };
        let all: Vec<Sketch> = (0..40).map(|cut| sketch(cut, 1 + cut * 37 % 100)).collect();
        let mut kept = Sketches::default();
        all.iter().for_each(|sketch| kept.push(sketch));
        kept.forget(149);
        for (after, to) in [(149, 400), (200, 299), (400, 500)] {
            let one_by_one: Vec<_> = all.iter().filter_map(|sketch| sketch.digest(after, to)).collect();
            assert_eq!(kept.digests(after, to), one_by_one, "({after}, {to}]");
        }
    }
}
