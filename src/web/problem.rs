//! Problem documents (RFC 9457): how every HTTP service of ours says no. Made by handlers, the gate and extractors.
//!
//! `type` is `urn:hms-ops:problem:` and a word that never changes meaning, for programs; `detail` is for people.

use axum::Json;
use axum::extract::Request;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// Goes before the word.
const TYPE: &str = "urn:hms-ops:problem:";

/// The members that every document has, or may have.
const STANDARD: [&str; 5] = ["type", "title", "status", "detail", "instance"];

/// The document as it is sent: `application/problem+json`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct Document<'a> {
    /// `urn:hms-ops:problem:` and a word that never changes meaning.
    #[serde(rename = "type")]
    kind: String,
    /// The word for people, always the same.
    title: &'a str,
    /// The status of the answer.
    status: u16,
    /// About this request.
    detail: &'a str,
    /// The path that was asked for; none if no path was read yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    /// What this kind says besides: `near`, `findings`, `needs`, ...
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

/// Why a request was refused. See the module.
#[derive(Clone, Debug)]
pub struct Problem(Box<Facts>);

/// On the heap, so that what may fail answers with a word.
#[derive(Clone, Debug)]
struct Facts {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    more: Map<String, Value>,
    headers: HeaderMap,
}

impl Problem {
    /// `kind` is the word for programs (`too_large`), `title` says the same to people and is always the same too;
    /// `detail` is about this request.
    pub fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let (more, headers) = (Map::new(), HeaderMap::new());
        Self(Box::new(Facts { status, kind, title, detail: detail.into(), more, headers }))
    }

    /// With a further member. The standard ones cannot be replaced.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if !STANDARD.contains(&name) {
            self.0.more.insert(name.to_owned(), value.into());
        }
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Asks to come again after so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// The request makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", "The request makes no sense", detail)
    }

    /// Nothing of that name is here.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is no such thing here", detail)
    }

    /// A body that is longer than may be.
    pub fn too_large(limit: usize) -> Self {
        let detail = format!("the body may be {limit} bytes long");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large", detail)
    }

    /// A body of a kind, or packed in a way, that is not taken here.
    pub fn unsupported(detail: impl Into<String>) -> Self {
        let title = "The body is of a kind that is not taken here";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", title, detail)
    }

    /// More is asked for than can be done now.
    pub fn overloaded(detail: impl Into<String>) -> Self {
        let title = "More is on its way than can be taken now";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", title, detail).retry_after(1)
    }

    /// What this service needs does not answer.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let title = "What this service needs does not answer";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title, detail).retry_after(5)
    }

    /// A fault of ours.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "A fault of this service", detail)
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The word for programs.
    pub fn kind(&self) -> &'static str {
        self.0.kind
    }

    /// What it says about this request.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Its further members.
    pub fn members(&self) -> &Map<String, Value> {
        &self.0.more
    }

    /// The headers that it asks for.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    fn document<'a>(&'a self, instance: Option<&'a str>) -> Document<'a> {
        let Facts { status, kind, title, detail, more, .. } = &*self.0;
        let kind = format!("{TYPE}{kind}");
        Document { kind, title, status: status.as_u16(), detail, instance, more }
    }

    /// The whole answer as it stands on the wire, for a connection that is closed behind it.
    pub(super) fn as_last_words(&self) -> String {
        let body = serde_json::to_string(&self.document(None)).unwrap_or_default();
        let headers = self.0.headers.iter().filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
        let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (status, length) = (self.0.status, body.len());
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {length}\r\n\
             connection: close\r\n{headers}\r\n{body}"
        )
    }

    fn answer(self, instance: Option<&str>) -> Response {
        let mut response = (self.0.status, Json(self.document(instance))).into_response();
        response.headers_mut().extend(self.0.headers.clone());
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.answer(None)
    }
}

/// The outermost layer but one: a problem is told which path it belongs to. Other answers pass.
pub(super) async fn tell_instance(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Problem>() {
        // A layer in between may have added headers (`Allow`), so the answer is not made anew.
        Some(problem) if !is_replaced(&response) => {
            let (parts, _) = response.into_parts();
            let mut told = problem.answer(Some(&path));
            let length = told.headers_mut().remove(header::CONTENT_LENGTH);
            told.headers_mut().extend(parts.headers);
            told.headers_mut().remove(header::CONTENT_LENGTH);
            told.headers_mut().extend(length.map(|length| (header::CONTENT_LENGTH, length)));
            told
        }
        _ => response,
    }
}

/// Has a handler put a body of another protocol into the problem's place?
fn is_replaced(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/problem+json")
}

/// No such path.
pub(super) async fn no_path(request: Request) -> Problem {
    Problem::not_found(format!("nothing is served at {}", request.uri().path()))
}

/// No such method there.
pub(super) async fn no_method(request: Request) -> Problem {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This method is not taken here", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_member_never_replaces_a_standard_one() {
        let problem = Problem::bad_request("d").with("status", 200).with("index", 7);
        let document = serde_json::to_value(problem.document(Some("/x"))).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "type": "urn:hms-ops:problem:bad_request", "title": "The request makes no sense", "status": 400,
                "detail": "d", "instance": "/x", "index": 7
            })
        );
    }
}
