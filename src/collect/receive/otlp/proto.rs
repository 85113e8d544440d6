//! OTLP as protobuf: `ExportMetricsServiceRequest`.
//!
//! ```text
//! Request { 1: resource_metrics* }         ResourceMetrics { 1: resource, 2: scope_metrics* }
//! Resource { 1: attributes* }              ScopeMetrics { 2: metrics* }
//! Metric { 1: name, 5: gauge, 7: sum, 9: histogram, 10: exponential histogram, 11: summary }, each { 1: points*, 2: temporality }
//! NumberDataPoint { 2: start, 3: time, 4: double, 6: sfixed64, 7: attributes*, 8: flags }
//! KeyValue { 1: key, 2: value }            AnyValue { 1: text, 2: bool, 3: int, 4: double }
//! ```

use std::borrow::Cow;

use super::super::wire::{Broken, Fields, Value};
use super::{Attribute, Kind, MAX_ATTRIBUTES, Point, Points};
use crate::web::Problem;

/// `AGGREGATION_TEMPORALITY_DELTA`.
const DELTA: u64 = 1;
/// The flag of a point without a value.
const NO_RECORDED_VALUE: u64 = 1;

/// Takes all points of a message.
pub(super) fn sort(message: &[u8], points: &mut Points<'_>) -> Result<(), Problem> {
    each(message, 1, |resource| {
        let mut attributes = Vec::new();
        each(resource, 1, |resource| each(resource, 1, |pair| attribute(pair, &mut attributes)))?;
        points.come_from(&attributes)?;
        each(resource, 2, |scope| each(scope, 2, |message| metric(message, points)))
    })
}

/// Every message in the field `wanted`.
fn each<'a>(
    message: &'a [u8],
    wanted: u32,
    mut take: impl FnMut(&'a [u8]) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        if number == wanted {
            take(value.bytes()?)?;
        }
    }
    Ok(())
}

fn metric(message: &[u8], points: &mut Points<'_>) -> Result<(), Problem> {
    let mut name = "";
    let mut data = None;
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => name = value.text()?,
            // One of them; the last, if a sender breaks that rule.
            5 | 7 | 9 | 10 | 11 => data = Some((number, value.bytes()?)),
            _ => {}
        }
    }
    let Some((number, data)) = data else { return Ok(()) };
    let (kind, attributes) = match number {
        5 => (Kind::Total, 7),
        7 => (if temporality(data)? == DELTA { Kind::Delta } else { Kind::Total }, 7),
        9 => (Kind::Distribution, 9),
        10 => (Kind::Distribution, 1),
        _ => (Kind::Distribution, 7),
    };
    each(data, 1, |message| points.take(name, kind, &point(message, kind, attributes)?))
}

fn temporality(data: &[u8]) -> Result<u64, Broken> {
    let mut found = 0;
    let mut fields = Fields::of(data);
    while let Some((number, value)) = fields.next()? {
        if number == 2 {
            found = value.varint()?;
        }
    }
    Ok(found)
}

/// Of points that have no single number only the attributes, whose field is `attributes`.
fn point(message: &[u8], kind: Kind, attributes: u32) -> Result<Point<'_>, Problem> {
    let mut point = Point::default();
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            _ if number == attributes => attribute(value.bytes()?, &mut point.attributes)?,
            _ if kind == Kind::Distribution => {}
            2 => point.start_ns = value.fixed64()?,
            3 => point.time_ns = value.fixed64()?,
            4 => point.number = Some(value.double()?),
            6 => point.number = Some(value.fixed64()? as i64 as f64),
            8 => point.is_empty = value.varint()? & NO_RECORDED_VALUE != 0,
            _ => {}
        }
    }
    Ok(point)
}

/// Adds an attribute, if its value is one that has a text.
fn attribute<'a>(message: &'a [u8], attributes: &mut Vec<Attribute<'a>>) -> Result<(), Problem> {
    if attributes.len() > MAX_ATTRIBUTES {
        return super::bounded(attributes);
    }
    let (mut key, mut text) = ("", None);
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => key = value.text()?,
            2 => text = any(value.bytes()?)?,
            _ => {}
        }
    }
    attributes.extend(text.map(|text| (Cow::Borrowed(key), text)));
    Ok(())
}

fn any(message: &[u8]) -> Result<Option<Cow<'_, str>>, Broken> {
    let mut text = None;
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        text = match (number, value) {
            (1, value) => Some(Cow::Borrowed(value.text()?)),
            (2, Value::Varint(bit)) => Some(Cow::Borrowed(if bit == 0 { "false" } else { "true" })),
            (3, value) => Some(Cow::Owned(value.int64()?.to_string())),
            (4, value) => Some(Cow::Owned(value.double()?.to_string())),
            _ => text,
        };
    }
    Ok(text)
}
