//! The sketches of earlier cuts, as a series keeps them for its window.

use std::collections::VecDeque;

use smallvec::SmallVec;
use tdigest::TDigest;

use super::digest::{Sketch, digest_from, digest_of, may_lie_in};
use super::steps::{address_of, make_room};
use crate::model::decimals;

/// The sketches that one series keeps for its window, in the order of their cuts. A window of 300 s has 30, and there may
/// be 100,000 series: one ring of bytes holds them all, and a number takes as many as it needs.
///
/// ```text
///   length of the rest | first_ts | last_ts - first_ts | form | numbers
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sketches {
    bytes: VecDeque<u8>,
}

/// What the numbers of a sketch are.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Its values as whole numbers of their last decimal: the least, then what each has more, in so many bytes.
    Decimals { decimals: u8, width: u8 },
    /// Its values.
    Doubles,
    /// Of a digest: n, sum, min, max, then mean and weight of each centroid.
    Centroids,
}

/// A sketch as a series keeps it.
struct Kept {
    first_ts: i64,
    last_ts: i64,
    /// How many bytes of the ring, from the length on.
    bytes: usize,
    /// How many of them come before the form.
    head: usize,
}

/// A sketch on its way into the ring; few have more bytes.
type Bytes = SmallVec<[u8; 256]>;

impl Sketches {
    /// Keeps the sketch of a cut.
    pub fn push(&mut self, sketch: &Sketch<'_>) {
        let &Sketch { first_ts, last_ts, n, sum, min, max, .. } = sketch;
        let mut bytes = Bytes::new();
        put(&mut bytes, first_ts.cast_unsigned());
        put(&mut bytes, last_ts.abs_diff(first_ts));
        if !sketch.centroids.is_empty() {
            bytes.push(Form::Centroids.byte());
            let head = [n as f64, sum, min, max];
            put_doubles(&mut bytes, head.into_iter().chain(sketch.centroids.iter().flat_map(|c| [c.mean, c.weight])));
        } else if let Some((decimals, wholes)) = decimals::split(sketch.values) {
            put_decimals(&mut bytes, decimals as u8, &wholes);
        } else {
            bytes.push(Form::Doubles.byte());
            put_doubles(&mut bytes, sketch.values.iter().copied());
        }
        let mut length = Bytes::new();
        put(&mut length, bytes.len() as u64);
        make_room(&mut self.bytes, length.len() + bytes.len());
        self.bytes.extend(&length[..]);
        self.bytes.extend(&bytes[..]);
    }

    /// Forgets the oldest whose readings all lie at or before `through`.
    pub fn forget(&mut self, through: i64) {
        while let Some(oldest) = self.kept_at(0).filter(|kept| kept.last_ts <= through) {
            self.bytes.drain(..oldest.bytes);
        }
    }

    /// Digests of those that hold a reading that may lie in `(after, to]`.
    pub fn digests(&self, after: i64, to: i64) -> Vec<TDigest> {
        let (mut digests, mut begin) = (Vec::new(), 0);
        while let Some(kept) = self.kept_at(begin) {
            let end = begin + kept.bytes;
            if may_lie_in((after, to), kept.first_ts, kept.last_ts) {
                let bytes: Vec<u8> = self.bytes.range(begin + kept.head..end).copied().collect();
                digests.extend(digest_of_bytes(&bytes));
            }
            begin = end;
        }
        digests
    }

    /// Where the oldest begins in memory, and where the newest ends.
    pub fn ends(&self) -> [*const u8; 2] {
        [self.bytes.front(), self.bytes.back()].map(address_of)
    }

    /// The sketch that begins at a byte; none at the end.
    fn kept_at(&self, begin: usize) -> Option<Kept> {
        let (front, back) = self.bytes.as_slices();
        let (front, back) = (front.get(begin..).unwrap_or_default(), &back[begin.saturating_sub(front.len())..]);
        // As a rule it does not lie across the end of the ring's memory.
        match front.len() {
            0 => Kept::of(back),
            HEAD.. => Kept::of(front),
            _ => Kept::of(&front.iter().chain(back).take(HEAD).copied().collect::<SmallVec<[u8; HEAD]>>()),
        }
    }
}

/// Most bytes before a form: three numbers.
const HEAD: usize = 30;

impl Kept {
    /// Of the bytes that it begins with, [`HEAD`] or all.
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.iter().copied();
        let length = take(&mut rest)? as usize;
        let whole = bytes.len() - rest.len() + length;
        let first_ts = take(&mut rest)?.cast_signed();
        let last_ts = first_ts.saturating_add_unsigned(take(&mut rest)?);
        Some(Self { first_ts, last_ts, bytes: whole, head: bytes.len() - rest.len() })
    }
}

/// Puts a whole number: 7 bits a byte, the lowest first; all but the last have the eighth bit.
fn put(bytes: &mut Bytes, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes what [`put`] has put.
fn take(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

fn put_doubles(bytes: &mut Bytes, numbers: impl Iterator<Item = f64>) {
    numbers.for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

/// Puts form and numbers of values that are whole numbers of their last decimal.
fn put_decimals(bytes: &mut Bytes, decimals: u8, wholes: &[i64]) {
    let (least, most) = wholes.iter().fold((i64::MAX, i64::MIN), |(a, b), &whole| (a.min(whole), b.max(whole)));
    let bits = u64::BITS - most.abs_diff(least.min(most)).leading_zeros();
    let width = bits.div_ceil(8).max(1) as usize;
    bytes.push(Form::Decimals { decimals, width: width as u8 }.byte());
    // The sign lowest, so that what is small is short.
    put(bytes, ((least << 1) ^ (least >> 63)).cast_unsigned());
    wholes.iter().for_each(|whole| bytes.extend_from_slice(&whole.abs_diff(least).to_le_bytes()[..width]));
}

impl Form {
    /// Of decimals: their number, and how many bytes each value has, which is never 0.
    fn byte(self) -> u8 {
        match self {
            Self::Decimals { decimals, width } => decimals << 4 | width,
            Self::Doubles => 0x00,
            Self::Centroids => 0x10,
        }
    }

    fn of_byte(byte: u8) -> Self {
        match (byte >> 4, byte & 0xf) {
            (0, 0) => Self::Doubles,
            (_, 0) => Self::Centroids,
            (decimals, width) => Self::Decimals { decimals, width },
        }
    }
}

/// The digest of a form and its numbers.
fn digest_of_bytes(bytes: &[u8]) -> Option<TDigest> {
    let (&form, bytes) = bytes.split_first()?;
    let doubles = || bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect::<Vec<_>>();
    match Form::of_byte(form) {
        Form::Decimals { decimals, width } => {
            let mut rest = bytes.iter().copied();
            let sign_lowest = take(&mut rest)?;
            let least = (sign_lowest >> 1).cast_signed() ^ -(sign_lowest & 1).cast_signed();
            let value = |more: &[u8]| {
                let mut whole = [0; size_of::<u64>()];
                whole[..width.into()].copy_from_slice(more);
                decimals::value(least.wrapping_add_unsigned(u64::from_le_bytes(whole)), decimals.into())
            };
            let others = &bytes[bytes.len() - rest.len()..];
            Some(digest_of(others.chunks_exact(width.into()).filter_map(value).collect()))
        }
        Form::Doubles => Some(digest_of(doubles())),
        Form::Centroids => match *doubles() {
            [n, sum, min, max, ref centroids @ ..] => {
                let centroids = centroids.as_chunks().0.iter().map(|[mean, weight]| (*mean, *weight));
                Some(digest_from(centroids, [n, sum, min, max]))
            }
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sketches_that_are_kept_are_the_same_sketches() {
        let scales = [1.0, 0.001, 1.0 / 3.0, -1e9, 1e12];
        let values = |cut: i64, n: i64| -> Vec<f64> {
            let scale = scales[cut as usize % scales.len()];
            (0..n).map(|i| ((i + cut) * 7919 % 1009) as f64 * scale).collect()
        };
        let all: Vec<(i64, Vec<f64>)> = (0..80).map(|cut| (cut, values(cut, 1 + cut * 37 % 100))).collect();
        let sketch = |(cut, values)| Sketch::of(values, 10 * cut, 10 * cut + 9);
        let all: Vec<Sketch<'_>> = all.iter().map(|(cut, values)| sketch((*cut, values))).collect();
        let mut kept = Sketches::default();
        all.iter().for_each(|sketch| kept.push(sketch));
        kept.forget(149);
        for (after, to) in [(149, 800), (200, 299), (400, 500)] {
            let one_by_one: Vec<_> = all.iter().filter_map(|sketch| sketch.digest(after, to)).collect();
            assert_eq!(kept.digests(after, to), one_by_one, "({after}, {to}]");
        }
        kept.forget(800);
        assert!(kept.bytes.is_empty());
    }

    #[test]
    fn what_lies_across_the_end_of_the_ring_is_read_as_one() {
        let values: Vec<f64> = (0..40).map(|i| f64::from(i * 7919 % 1009) / 8.0).collect();
        let sketch = |cut: i64| Sketch::of(&values[..1 + (cut * 37 % 40) as usize], 1_000 * cut, 1_000 * cut + 999);
        let mut kept = Sketches::default();
        let mut heads_across = 0;
        for cut in 1..2_000 {
            kept.push(&sketch(cut));
            let through = 1_000 * (cut - 5) + 999;
            kept.forget(through);
            let front = kept.bytes.as_slices().0.len();
            heads_across += u32::from((1..4).contains(&front));
            let one_by_one: Vec<_> =
                (1.max(cut - 4)..=cut).filter_map(|cut| sketch(cut).digest(through, i64::MAX)).collect();
            assert_eq!(kept.digests(through, i64::MAX), one_by_one, "after cut {cut}");
        }
        assert!(heads_across > 0, "the ring's end has never come upon a head");
    }

    #[test]
    fn few_decimals_are_few_bytes() {
        let bytes = |values: &[f64]| {
            let mut kept = Sketches::default();
            kept.push(&Sketch::of(values, 1, 2));
            assert_eq!(kept.digests(0, 2), [digest_of(values.to_vec())]);
            kept.bytes.len()
        };
        assert_eq!([bytes(&[7.0]), bytes(&[31.2, 0.417]), bytes(&[-1e14, 1e14]), bytes(&[0.1 + 0.2])], [6, 10, 23, 12]);
    }
}
