//! Remote write 1.0: `prometheus.WriteRequest`, labels as texts.
//!
//! ```text
//! WriteRequest { 1: timeseries* }   TimeSeries { 1: labels*, 2: samples*, 4: histograms* }
//! Label { 1: name, 2: value }       Sample { 1: value double, 2: timestamp int64 ms }
//! ```

use super::super::cargo::{Number, Sorter};
use super::super::wire::{Broken, Fields};
use crate::web::Problem;

/// Sorts all samples of a message.
pub(super) fn sort(message: &[u8], sorter: &mut Sorter<'_>) -> Result<(), Problem> {
    let mut fields = Fields::of(message);
    let mut labels = Vec::new();
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            series(value.bytes()?, &mut labels, sorter)?;
        }
    }
    Ok(())
}

/// `labels` is room that is used again.
fn series<'a>(
    message: &'a [u8],
    labels: &mut Vec<(&'a [u8], &'a [u8])>,
    sorter: &mut Sorter<'_>,
) -> Result<(), Problem> {
    labels.clear();
    let mut histograms = 0;
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => labels.push(label(value.bytes()?)?),
            4 => histograms += 1,
            _ => {}
        }
    }
    samples(message, labels, histograms, sorter)
}

/// The samples of a series of either version, whose labels and number of histograms are known. They follow the labels, mostly;
/// but they need not.
pub(super) fn samples(
    message: &[u8],
    labels: &[(&[u8], &[u8])],
    histograms: u64,
    sorter: &mut Sorter<'_>,
) -> Result<(), Problem> {
    let series = sorter.series(labels.iter().copied())?;
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        if number == 2 {
            let (ts, value) = sample(value.bytes()?)?;
            sorter.sample(&series, ts, value, Number::Total);
        }
    }
    sorter.without_number(&series, histograms);
    Ok(())
}

fn label(message: &[u8]) -> Result<(&[u8], &[u8]), Broken> {
    let mut label: (&[u8], &[u8]) = (&[], &[]);
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => label.0 = value.bytes()?,
            2 => label.1 = value.bytes()?,
            _ => {}
        }
    }
    Ok(label)
}

/// Time (ms) and number. What is not written is 0.
fn sample(message: &[u8]) -> Result<(i64, f64), Broken> {
    let mut sample = (0, 0.0);
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => sample.1 = value.double()?,
            2 => sample.0 = value.int64()?,
            _ => {}
        }
    }
    Ok(sample)
}
