//! Remote write 2.0: `io.prometheus.write.v2.Request`, labels as places in a table of texts.
//!
//! ```text
//! Request { 4: symbols*, 5: timeseries* }   TimeSeries { 1: labels_refs* (pairs), 2: samples*, 3: histograms* }
//! ```

use super::super::cargo::Sorter;
use super::super::wire::{Broken, Fields, Value};
use super::v1::samples;
use crate::web::Problem;

/// Sorts all samples of a message.
pub(super) fn sort(message: &[u8], sorter: &mut Sorter<'_>) -> Result<(), Problem> {
    let mut symbols = Vec::new();
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        if number == 4 {
            symbols.push(value.bytes()?);
        }
    }
    let mut labels = Vec::new();
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        if number == 5 {
            series(value.bytes()?, &symbols, &mut labels, sorter)?;
        }
    }
    Ok(())
}

/// `labels` is room that is used again.
fn series<'a>(
    message: &[u8],
    symbols: &[&'a [u8]],
    labels: &mut Vec<(&'a [u8], &'a [u8])>,
    sorter: &mut Sorter<'_>,
) -> Result<(), Problem> {
    labels.clear();
    let (mut histograms, mut name) = (0, None);
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => references(value, |place| {
                let place = usize::try_from(place).ok().and_then(|place| symbols.get(place).copied());
                let text = place.ok_or(Broken("a label names no symbol"))?;
                match name.take() {
                    None => name = Some(text),
                    Some(name) => labels.push((name, text)),
                }
                Ok(())
            })?,
            3 => histograms += 1,
            _ => {}
        }
    }
    if name.is_some() {
        return Err(Broken("a label has no value").into());
    }
    samples(message, labels, histograms, sorter)
}

/// A repeated number: packed, or one by one.
fn references(value: Value<'_>, mut take: impl FnMut(u64) -> Result<(), Broken>) -> Result<(), Broken> {
    match value {
        Value::Bytes(packed) => {
            let mut rest = Fields::of(packed);
            while !rest.is_empty() {
                take(rest.varint()?)?;
            }
            Ok(())
        }
        one => take(one.varint()?),
    }
}
