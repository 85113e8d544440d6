//! `POST /v1/metrics`: OTLP over HTTP, as protobuf or JSON, plain or gzip.
//!
//! Gauges and sums give their numbers; a counter's rate is taken where the mapping says so. Histograms and summaries have
//! no single number: where somebody has asked for them the answer says `partial_success`, and so it does of numbers that
//! are not finite or that the token is not for. What nobody has asked for is ignored without a word. Errors are
//! `google.rpc.Status`, as the protocol wants, in the request's own encoding.

mod json;
mod proto;
mod status;

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::cargo::{Number, Series, Sorted, Sorter};
use super::mapping::NAME;
use super::{Shared, squeeze, wire};
use crate::web::extract::{Body, MediaType};
use crate::web::server::Room;
use crate::web::{Caller, Problem, Right};

pub(super) use status::as_status;

/// A text that is no label: more than a series may have.
const MAX_ATTRIBUTES: usize = 256;

/// How a request, and so its answer, is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        match MediaType::of(headers)?.essence.as_str() {
            "application/x-protobuf" => Ok(Self::Protobuf),
            "application/json" => Ok(Self::Json),
            other => Err(Problem::unsupported(format!(
                "application/x-protobuf or application/json is taken here, not {other:?}"
            ))),
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// See the module.
pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    axum::Extension(room): axum::Extension<Room>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.must(Right::Emit)?;
    let encoding = Encoding::of(&headers)?;
    let (cargo, sorted) = {
        let unpacked = match squeeze::encoding(&headers)?.as_str() {
            "" => None,
            "gzip" => Some(squeeze::gzip(&body.bytes, &room)?),
            other => return Err(Problem::unsupported(format!("Content-Encoding: gzip is taken here, not {other:?}"))),
        };
        let bytes = unpacked.as_ref().map_or(&body.bytes[..], |unpacked| &unpacked.bytes);
        let mut points = Points::new(Sorter::new(shared.table(), &caller));
        match encoding {
            Encoding::Protobuf => proto::sort(bytes, &mut points)?,
            Encoding::Json => json::sort(bytes, &mut points)?,
        }
        points.sorter.finish()?
    };
    shared.metrics.sampled("otlp", sorted.named());
    shared.deliver(cargo).await?;
    Ok(([(header::CONTENT_TYPE, encoding.content_type())], answer(encoding, &sorted)).into_response())
}

/// `ExportMetricsServiceResponse`.
fn answer(encoding: Encoding, sorted: &Sorted) -> Vec<u8> {
    let Sorted { not_finite, without_time, forbidden, without_number, .. } = *sorted;
    let rejected = not_finite + without_time + forbidden + without_number;
    let told = [
        (not_finite, "are not finite"),
        (without_time, "have no time"),
        (forbidden, "are of services that the token is not for"),
        (without_number, "are histograms or summaries, which have no single number"),
    ];
    let told: Vec<_> =
        told.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}")).collect();
    let message = told.join(", ");
    match encoding {
        Encoding::Protobuf if rejected == 0 => Vec::new(),
        Encoding::Json if rejected == 0 => b"{}".to_vec(),
        Encoding::Protobuf => {
            let (mut partial, mut out) = (Vec::new(), Vec::new());
            wire::put_varint(&mut partial, 1, rejected);
            wire::put_bytes(&mut partial, 2, message.as_bytes());
            wire::put_bytes(&mut out, 1, &partial);
            out
        }
        Encoding::Json => {
            let partial = serde_json::json!({"rejectedDataPoints": rejected.to_string(), "errorMessage": message});
            serde_json::json!({ "partialSuccess": partial }).to_string().into_bytes()
        }
    }
}

/// An attribute by its name there, its value as text.
type Attribute<'a> = (Cow<'a, str>, Cow<'a, str>);

/// One data point, of either encoding.
#[derive(Debug, Default)]
struct Point<'a> {
    attributes: Vec<Attribute<'a>>,
    /// Of a sum: since when, ns; 0 if it does not say.
    start_ns: u64,
    time_ns: u64,
    /// None: it says that there is none, or it is no number at all.
    number: Option<f64>,
    /// The flag "no recorded value".
    is_empty: bool,
}

/// Which kind of points a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Gauges, and sums since they began.
    Total,
    /// Sums since the point before.
    Delta,
    /// Histograms, summaries.
    Distribution,
}

/// Takes the points of a request, one by one, as they are decoded.
struct Points<'a> {
    sorter: Sorter<'a>,
    /// Of the resource that points come from now.
    resource: Vec<(String, String)>,
}

impl<'a> Points<'a> {
    fn new(sorter: Sorter<'a>) -> Self {
        Self { sorter, resource: Vec::new() }
    }

    /// The next points come from a resource with these attributes.
    fn come_from(&mut self, attributes: &[Attribute<'_>]) -> Result<(), Problem> {
        bounded(attributes)?;
        self.resource = attributes.iter().map(|(name, value)| (label(name), value.clone().into_owned())).collect();
        Ok(())
    }

    fn take(&mut self, metric: &str, kind: Kind, point: &Point<'_>) -> Result<(), Problem> {
        let series = self.series(metric, &point.attributes)?;
        let ts = i64::try_from(point.time_ns / 1_000_000).unwrap_or(i64::MAX);
        let begin = i64::try_from(point.start_ns / 1_000_000).unwrap_or(i64::MAX);
        let number = if kind == Kind::Delta && point.start_ns > 0 { Number::Since(begin) } else { Number::Total };
        match point.number {
            _ if point.is_empty => self.sorter.stale(1),
            Some(value) if kind != Kind::Distribution => self.sorter.sample(&series, ts, value, number),
            _ => self.sorter.without_number(&series, 1),
        }
        Ok(())
    }

    /// Labels are sorted by name, so that a series is the same whatever order they come in; a point's own win over those
    /// of its resource.
    fn series(&mut self, metric: &str, attributes: &[Attribute<'_>]) -> Result<Series, Problem> {
        bounded(attributes)?;
        let name = (Cow::Borrowed(NAME), Cow::Owned(name(metric)));
        let own = attributes.iter().map(|(name, value)| (Cow::Owned(label(name)), Cow::Borrowed(value.as_ref())));
        let resource =
            self.resource.iter().map(|(name, value)| (Cow::Borrowed(name.as_str()), Cow::Borrowed(value.as_str())));
        let mut labels: Vec<(Cow<'_, str>, Cow<'_, str>)> = std::iter::once(name).chain(own).chain(resource).collect();
        // Stable: of equals the first was the point's.
        labels.sort_by(|(one, _), (other, _)| one.cmp(other));
        labels.dedup_by(|(later, _), (first, _)| later == first);
        self.sorter.series(labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }
}

fn bounded(attributes: &[Attribute<'_>]) -> Result<(), Problem> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(Problem::bad_request(format!("a series may have {MAX_ATTRIBUTES} attributes")));
    }
    Ok(())
}

/// `service.name` is the label `service_name`.
fn label(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// `http.server.duration` is the metric `http_server_duration`.
fn name(metric: &str) -> String {
    let name: String = metric.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests;
