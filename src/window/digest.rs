//! The p95 that is shown: t-digests, one a series and cut, merged over those that overlap a window.
//!
//! An estimate for people. The verdict comes from [`super::panes`] and never from here.

use std::collections::VecDeque;

use smallvec::SmallVec;
use tdigest::{Centroid as TCentroid, TDigest};

use super::panes::make_room;
use crate::model::decimals;
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
        self.n > 0 && may_lie_in((after, to), self.first_ts, self.last_ts)
    }

    /// Its digest, if it holds a reading that may lie in `(after, to]`.
    pub fn digest(&self, after: i64, to: i64) -> Option<TDigest> {
        self.overlaps(after, to).then(|| match self.centroids.is_empty() {
            true => digest_of(self.values.clone()),
            false => {
                let centroids = self.centroids.iter().map(|c| (c.mean, c.weight));
                digest_from(centroids, [self.n as f64, self.sum, self.min, self.max])
            }
        })
    }
}

/// May a reading between the earliest and the latest lie in `(after, to]`?
fn may_lie_in((after, to): (i64, i64), first_ts: i64, last_ts: i64) -> bool {
    last_ts > after && first_ts <= to
}

fn digest_of(values: Vec<f64>) -> TDigest {
    TDigest::new_with_size(SIZE).merge_unsorted(values)
}

/// The digest that had these centroids (mean, weight), of so many values with this sum, the least and the largest.
fn digest_from(centroids: impl Iterator<Item = (f64, f64)>, [n, sum, min, max]: [f64; 4]) -> TDigest {
    let centroids = centroids.map(|(mean, weight)| TCentroid::new(mean, weight)).collect();
    TDigest::new(centroids, sum, n, Some(max), Some(min), SIZE)
}

/// The sketches that one series keeps for its window, in the order of their cuts. A window of 300 s has 30, and there may
/// be 100,000 series: one ring holds the numbers of all of them, and a decimal takes as many bytes as it needs.
#[derive(Clone, Debug, Default)]
pub struct Sketches {
    kept: VecDeque<Kept>,
    numbers: VecDeque<u8>,
}

/// A sketch that is kept, but for its numbers.
#[derive(Clone, Copy, Debug)]
struct Kept {
    first_ts: i64,
    last_ts: i64,
    /// How many bytes of `numbers`.
    bytes: u32,
    form: Form,
}

/// What the numbers of a sketch are.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Its values as whole numbers of their last decimal: the least in eight bytes, then what each has more, in `width`.
    Decimals { decimals: u8, width: u8 },
    /// Its values.
    Doubles,
    /// Of a digest: n, sum, min, max, then mean and weight of each centroid.
    Centroids,
}

impl Sketches {
    /// Keeps the sketch of a cut.
    pub fn push(&mut self, sketch: &Sketch) {
        let before = self.numbers.len();
        let Sketch { first_ts, last_ts, n, sum, min, max, .. } = *sketch;
        let form = if !sketch.centroids.is_empty() {
            let head = [n as f64, sum, min, max];
            self.put(head.into_iter().chain(sketch.centroids.iter().flat_map(|c| [c.mean, c.weight])));
            Form::Centroids
        } else if let Some((decimals, wholes)) = decimals::split(&sketch.values) {
            Form::Decimals { decimals: decimals as u8, width: self.put_wholes(&wholes) }
        } else {
            self.put(sketch.values.iter().copied());
            Form::Doubles
        };
        let bytes = (self.numbers.len() - before) as u32;
        make_room(&mut self.kept, 1);
        self.kept.push_back(Kept { first_ts, last_ts, bytes, form });
    }

    fn put(&mut self, numbers: impl Iterator<Item = f64>) {
        for number in numbers {
            make_room(&mut self.numbers, size_of::<f64>());
            self.numbers.extend(number.to_le_bytes());
        }
    }

    /// Says how many bytes each takes.
    fn put_wholes(&mut self, wholes: &[i64]) -> u8 {
        let (least, most) = wholes.iter().fold((i64::MAX, i64::MIN), |(a, b), &whole| (a.min(whole), b.max(whole)));
        let bits = u64::BITS - most.abs_diff(least.min(most)).leading_zeros();
        let width = bits.div_ceil(8).max(1) as usize;
        let mut bytes = SmallVec::<[u8; 256]>::from_slice(&least.to_le_bytes());
        wholes.iter().for_each(|whole| bytes.extend_from_slice(&whole.abs_diff(least).to_le_bytes()[..width]));
        make_room(&mut self.numbers, bytes.len());
        self.numbers.extend(&bytes[..]);
        width as u8
    }

    /// Forgets the oldest whose readings all lie at or before `through`.
    pub fn forget(&mut self, through: i64) {
        while let Some(&oldest) = self.kept.front().filter(|kept| kept.last_ts <= through) {
            self.kept.pop_front();
            self.numbers.drain(..oldest.bytes as usize);
        }
    }

    /// Digests of those that hold a reading that may lie in `(after, to]`.
    pub fn digests(&self, after: i64, to: i64) -> Vec<TDigest> {
        let (mut digests, mut begin) = (Vec::new(), 0);
        for kept in &self.kept {
            let end = begin + kept.bytes as usize;
            if may_lie_in((after, to), kept.first_ts, kept.last_ts) {
                let bytes: Vec<u8> = self.numbers.range(begin..end).copied().collect();
                digests.push(kept.form.digest(&bytes));
            }
            begin = end;
        }
        digests
    }
}

impl Form {
    fn digest(self, bytes: &[u8]) -> TDigest {
        let doubles = || bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect::<Vec<_>>();
        match self {
            Self::Decimals { decimals, width } => digest_of(values_of(bytes, decimals.into(), width.into())),
            Self::Doubles => digest_of(doubles()),
            Self::Centroids => match *doubles() {
                [n, sum, min, max, ref centroids @ ..] => {
                    let centroids = centroids.as_chunks().0.iter().map(|[mean, weight]| (*mean, *weight));
                    digest_from(centroids, [n, sum, min, max])
                }
                // No sketch is kept so.
                _ => digest_of(Vec::new()),
            },
        }
    }
}

/// What [`Sketches::put_wholes`] has put there.
fn values_of(bytes: &[u8], decimals: usize, width: usize) -> Vec<f64> {
    let Some((least, others)) = bytes.split_first_chunk() else { return Vec::new() };
    let least = i64::from_le_bytes(*least);
    let value = |more: &[u8]| {
        let mut whole = [0; size_of::<u64>()];
        whole[..width].copy_from_slice(more);
        decimals::value(least.wrapping_add_unsigned(u64::from_le_bytes(whole)), decimals)
    };
    others.chunks_exact(width).filter_map(value).collect()
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
        let scales = [1.0, 0.001, 1.0 / 3.0, -1e9, 1e12];
        let sketch = |cut: i64, n: i64| {
            let scale = scales[cut as usize % scales.len()];
            let values: Vec<f64> = (0..n).map(|i| ((i + cut) * 7919 % 1009) as f64 * scale).collect();
            Sketch::of(&values, 10 * cut, 10 * cut + 9)
        };
        let all: Vec<Sketch> = (0..80).map(|cut| sketch(cut, 1 + cut * 37 % 100)).collect();
        let mut kept = Sketches::default();
        all.iter().for_each(|sketch| kept.push(sketch));
        kept.forget(149);
        for (after, to) in [(149, 800), (200, 299), (400, 500)] {
            let one_by_one: Vec<_> = all.iter().filter_map(|sketch| sketch.digest(after, to)).collect();
            assert_eq!(kept.digests(after, to), one_by_one, "({after}, {to}]");
        }
        kept.forget(800);
        assert!(kept.numbers.is_empty());
    }

    #[test]
    fn few_decimals_are_few_bytes() {
        let bytes = |values: &[f64]| {
            let mut kept = Sketches::default();
            kept.push(&Sketch::of(values, 1, 2));
            assert_eq!(kept.digests(0, 2), [digest_of(values.to_vec())]);
            kept.numbers.len()
        };
        assert_eq!([bytes(&[7.0]), bytes(&[31.2, 0.417]), bytes(&[-1e14, 1e14]), bytes(&[0.1 + 0.2])], [9, 12, 20, 8]);
    }
}
