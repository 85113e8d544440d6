//! `POST /api/v1/write`: Prometheus remote write, 1.0 and 2.0, told by `Content-Type`. Bodies are snappy blocks.
//!
//! Samples that nobody has asked for are ignored, stale markers dropped, numbers that are not finite left out: none of it
//! is an error, all of it is counted. Histograms and exemplars are not taken. Only 2.0 tells the sender what was written.

mod v1;
mod v2;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::cargo::{Sorted, Sorter};
use super::{Shared, squeeze};
use crate::web::extract::{Body, MediaType};
use crate::web::server::Room;
use crate::web::{Caller, Problem, Right};

const SAMPLES: HeaderName = HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS: HeaderName = HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS: HeaderName = HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

/// Which message a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// `prometheus.WriteRequest`.
    One,
    /// `io.prometheus.write.v2.Request`.
    Two,
}

impl Version {
    fn of(kind: &MediaType) -> Result<Self, Problem> {
        let refused = |what: &str| {
            let detail = format!(
                "application/x-protobuf with proto=prometheus.WriteRequest or io.prometheus.write.v2.Request is taken here, not {what:?}"
            );
            Err(Problem::unsupported(detail))
        };
        if kind.essence != "application/x-protobuf" {
            return refused(&kind.essence);
        }
        match kind.parameter("proto") {
            None | Some("prometheus.WriteRequest") => Ok(Self::One),
            Some("io.prometheus.write.v2.Request") => Ok(Self::Two),
            Some(other) => refused(other),
        }
    }
}

/// See the module.
pub(super) async fn write(
    State(shared): State<Arc<Shared>>,
    axum::Extension(room): axum::Extension<Room>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.must(Right::Emit)?;
    let version = Version::of(&MediaType::of(&headers)?)?;
    let encoding = squeeze::encoding(&headers)?;
    if encoding != "snappy" {
        return Err(Problem::unsupported(format!("Content-Encoding: snappy is taken here, not {encoding:?}")));
    }
    let (cargo, sorted) = {
        let unpacked = squeeze::snappy(&body.bytes, &room)?;
        let mut sorter = Sorter::new(shared.table(), &caller);
        match version {
            Version::One => v1::sort(&unpacked.bytes, &mut sorter)?,
            Version::Two => v2::sort(&unpacked.bytes, &mut sorter)?,
        }
        sorter.finish()?
    };
    shared.metrics.sampled("write", sorted.named());
    shared.deliver(cargo).await?;
    let mut response = axum::Json(counts(&sorted)).into_response();
    if version == Version::Two {
        let none = HeaderValue::from_static("0");
        response.headers_mut().insert(SAMPLES, HeaderValue::from(sorted.taken));
        response.headers_mut().insert(HISTOGRAMS, none.clone());
        response.headers_mut().insert(EXEMPLARS, none);
    }
    Ok(response)
}

/// Those that are not 0, for people: senders do not look.
fn counts(sorted: &Sorted) -> Value {
    let counts = sorted.named().into_iter().filter(|(_, count)| *count > 0);
    Value::Object(counts.map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_told_by_the_content_type() {
        let version = |text: &str| {
            let headers = HeaderMap::from_iter([(axum::http::header::CONTENT_TYPE, text.parse().unwrap())]);
            Version::of(&MediaType::of(&headers).unwrap()).map_err(|problem| problem.status().as_u16())
        };
        assert_eq!(version("application/x-protobuf"), Ok(Version::One));
        assert_eq!(version("application/x-protobuf;proto=prometheus.WriteRequest"), Ok(Version::One));
        assert_eq!(version("application/x-protobuf; proto=io.prometheus.write.v2.Request"), Ok(Version::Two));
        for other in ["application/json", "text/plain", "application/x-protobuf;proto=x", ""] {
            assert_eq!(version(other), Err(415), "{other}");
        }
    }
}
