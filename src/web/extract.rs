//! What handlers take from a request: bodies within the server's bounds, JSON, path and query. Whatever is wrong comes
//! back as a [`Problem`]. Nothing else of ours reads a body.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::problem::Problem;
use super::server::{Held, Room};

/// A whole body, and its share of the memory for bodies for as long as this lives.
#[derive(Debug)]
pub struct Body {
    /// As they were sent.
    pub bytes: Bytes,
    /// Given back when this is dropped.
    pub held: Held,
}

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let room = Room::of(request.extensions())?;
        let limits = room.limits();
        let announced = content_length(request.headers())?;
        if announced.is_some_and(|length| length > limits.body_bytes as u64) {
            return Err(Problem::too_large(limits.body_bytes));
        }
        // Of a body that does not say how long it is, the worst is expected.
        let expected = announced.map_or(limits.body_bytes, |length| usize::try_from(length).unwrap_or(usize::MAX));
        let held = room.hold(expected)?;
        let collected = Limited::new(request.into_body(), limits.body_bytes).collect();
        match timeout(limits.body_within, collected).await {
            Ok(Ok(collected)) => Ok(Self { bytes: collected.to_bytes(), held }),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(limits.body_bytes)),
            Ok(Err(error)) => Err(Problem::bad_request(format!("the body broke off: {error}"))),
            Err(_) => {
                let detail = format!("the body did not come within {} s", limits.body_within.as_secs_f64());
                let title = "The body came too slowly";
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow_body", title, detail))
            }
        }
    }
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let length = length.to_str().ok().and_then(|length| length.parse().ok());
    length.map(Some).ok_or_else(|| Problem::bad_request("Content-Length is no number"))
}

/// A JSON body.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = MediaType::of(request.headers())?;
        if !kind.is_json() {
            return Err(Problem::unsupported(format!("application/json is taken here, not {}", kind.essence)));
        }
        let body = Body::from_request(request, state).await?;
        serde_json::from_slice(&body.bytes).map(Self).map_err(|error| bad_json(&error))
    }
}

/// A body that is no JSON, or not the JSON that is wanted; says where.
pub fn bad_json(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_json", "The body is not the JSON that is taken here", error.to_string())
}

/// The parameters after the `?`.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::try_from_uri(&parts.uri);
        query.map(|query| Self(query.0)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// The parts of the path that have names.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// What a body is: `application/x-protobuf;proto=io.prometheus.write.v2.Request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    /// Type and subtype, lower case; empty if the request does not say.
    pub essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// By the request's `Content-Type`.
    ///
    /// # Errors
    /// It is no text.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let text = headers.get(header::CONTENT_TYPE).map_or(Ok(""), |value| value.to_str());
        text.map(Self::parse).map_err(|_| Problem::unsupported("Content-Type is no text"))
    }

    fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters = parts.filter_map(|part| part.split_once('=')).map(|(name, value)| {
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            (name.trim().to_ascii_lowercase(), bare.to_owned())
        });
        Self { essence, parameters: parameters.collect() }
    }

    /// A parameter by its name in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn is_json(&self) -> bool {
        self.essence == "application/json"
            || (self.essence.starts_with("application/") && self.essence.ends_with("+json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_read_with_its_parameters() {
        let kind = MediaType::parse("Application/X-Protobuf ; Proto=\"io.prometheus.write.v2.Request\"; q");
        assert_eq!(kind.essence, "application/x-protobuf");
        assert_eq!(kind.parameter("proto"), Some("io.prometheus.write.v2.Request"));
        assert_eq!(kind.parameter("q"), None);
        assert_eq!(MediaType::parse("").essence, "");
        assert!(MediaType::parse("application/json; charset=utf-8").is_json() && !kind.is_json());
    }
}
