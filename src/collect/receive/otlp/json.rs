//! OTLP as JSON: the same messages with names in lowerCamelCase, 64-bit integers as text or numbers.
//!
//! Each level is read when it is come to, its items lying in the text until then: a tree of it all would be many times as
//! large as the text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Attribute, Kind, Point, Points};
use crate::web::Problem;
use crate::web::extract::bad_json;

type Items<'a> = Vec<&'a RawValue>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default)]
    resource_metrics: Items<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceMetrics<'a> {
    #[serde(borrow, default)]
    resource: Option<Resource<'a>>,
    #[serde(borrow, default)]
    scope_metrics: Items<'a>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Items<'a>,
}

#[derive(Deserialize)]
struct ScopeMetrics<'a> {
    #[serde(borrow, default)]
    metrics: Items<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    gauge: Option<Data<'a>>,
    #[serde(borrow)]
    sum: Option<Data<'a>>,
    #[serde(borrow)]
    histogram: Option<Data<'a>>,
    #[serde(borrow)]
    exponential_histogram: Option<Data<'a>>,
    #[serde(borrow)]
    summary: Option<Data<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow, default)]
    data_points: Items<'a>,
    #[serde(default)]
    aggregation_temporality: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DataPoint<'a> {
    #[serde(borrow, default)]
    attributes: Items<'a>,
    #[serde(default)]
    start_time_unix_nano: Value,
    #[serde(default)]
    time_unix_nano: Value,
    #[serde(default)]
    as_double: Value,
    #[serde(default)]
    as_int: Value,
    #[serde(default)]
    flags: Value,
}

#[derive(Deserialize)]
struct KeyValue<'a> {
    #[serde(borrow, default)]
    key: Cow<'a, str>,
    #[serde(default)]
    value: AnyValue,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnyValue {
    string_value: Option<String>,
    bool_value: Option<bool>,
    int_value: Value,
    double_value: Value,
}

/// Takes all points of a text.
pub(super) fn sort(text: &[u8], points: &mut Points<'_>) -> Result<(), Problem> {
    // serde would take an array for the fields in their order.
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::bad_request("the body is no JSON object"));
    }
    let request: Request<'_> = serde_json::from_slice(text).map_err(|error| bad_json(&error))?;
    for resource in request.resource_metrics {
        let ResourceMetrics { resource, scope_metrics } = read(resource)?;
        points.come_from(&attributes(resource.map(|resource| resource.attributes).unwrap_or_default())?)?;
        for scope in scope_metrics {
            for text in read::<ScopeMetrics<'_>>(scope)?.metrics {
                metric(read(text)?, points)?;
            }
        }
    }
    Ok(())
}

fn read<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Result<T, Problem> {
    serde_json::from_str(text.get()).map_err(|error| bad_json(&error))
}

fn metric(metric: Metric<'_>, points: &mut Points<'_>) -> Result<(), Problem> {
    let Metric { name, gauge, sum, histogram, exponential_histogram, summary } = metric;
    let is_delta = |data: &Data<'_>| {
        unsigned(&data.aggregation_temporality) == 1 || data.aggregation_temporality == "AGGREGATION_TEMPORALITY_DELTA"
    };
    let sum = sum.map(|sum| (if is_delta(&sum) { Kind::Delta } else { Kind::Total }, sum));
    let others = [histogram, exponential_histogram, summary].into_iter().flatten();
    let all = gauge.map(|gauge| (Kind::Total, gauge)).into_iter().chain(sum);
    for (kind, data) in all.chain(others.map(|data| (Kind::Distribution, data))) {
        for text in data.data_points {
            points.take(&name, kind, &point(read(text)?)?)?;
        }
    }
    Ok(())
}

fn point(point: DataPoint<'_>) -> Result<Point<'_>, Problem> {
    let number = if point.as_int.is_null() { double(&point.as_double) } else { double(&point.as_int) };
    Ok(Point {
        attributes: attributes(point.attributes)?,
        start_ns: unsigned(&point.start_time_unix_nano),
        time_ns: unsigned(&point.time_unix_nano),
        number,
        is_empty: unsigned(&point.flags) & 1 != 0,
    })
}

fn attributes(items: Items<'_>) -> Result<Vec<Attribute<'_>>, Problem> {
    let mut attributes = Vec::new();
    for item in items {
        let KeyValue { key, value } = read(item)?;
        let number = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let text = value.string_value.or_else(|| value.bool_value.map(|bit| bit.to_string()));
        let text = text.or_else(|| number(&value.int_value)).or_else(|| number(&value.double_value));
        attributes.extend(text.map(|text| (key, Cow::Owned(text))));
        super::bounded(&attributes)?;
    }
    Ok(attributes)
}

/// A number, or one written as text: `"17"`, `"NaN"`, `"-Infinity"`.
fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// 0 if it is none.
fn unsigned(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::String(text) => text.parse().unwrap_or(0),
        _ => 0,
    }
}
