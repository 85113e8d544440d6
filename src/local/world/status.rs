//! Refusals of the simulated API: `Status` objects in the shapes and words of a real API server.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::store::Kind;

/// A refusal, ready to be sent.
#[derive(Debug)]
pub(super) struct Failure {
    code: u16,
    reason: &'static str,
    message: String,
    details: Value,
}

impl Failure {
    /// 404: no such object.
    pub(super) fn not_found(kind: Kind, name: &str) -> Self {
        Self::about(404, "NotFound", format!("{} {name:?} not found", kind.qualified()), kind, name)
    }

    /// 409: the object is at another version.
    pub(super) fn modified(kind: Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// 409: the object is another one.
    pub(super) fn other_uid(kind: Kind, name: &str, wanted: &str, is: &str) -> Self {
        let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {is}");
        Self::conflict(kind, name, &why)
    }

    fn conflict(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.qualified());
        Self::about(409, "Conflict", message, kind, name)
    }

    /// 409: an object of this name is there already.
    pub(super) fn already_exists(kind: Kind, name: &str) -> Self {
        Self::about(409, "AlreadyExists", format!("{} {name:?} already exists", kind.qualified()), kind, name)
    }

    /// 422: the object would not be valid.
    pub(super) fn invalid(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("{}.{} {name:?} is invalid: {why}", kind.kind(), kind.group());
        Self::about(422, "Invalid", message, kind, name)
    }

    /// 400: the request cannot be understood.
    pub(super) fn bad_request(message: String) -> Self {
        Self { code: 400, reason: "BadRequest", message, details: json!({}) }
    }

    /// 405: this object cannot be treated so, here.
    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource".to_owned();
        Self { code: 405, reason: "MethodNotAllowed", message, details: json!({}) }
    }

    /// 410: the changes since that version are forgotten.
    pub(super) fn expired(asked: u64, oldest: u64) -> Self {
        let message = format!("too old resource version: {asked} ({oldest})");
        Self { code: 410, reason: "Expired", message, details: json!({}) }
    }

    /// 415: a form of body that is not simulated.
    pub(super) fn unsupported(accepted: &str, got: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted} (got {got})"
        );
        Self { code: 415, reason: "UnsupportedMediaType", message, details: json!({}) }
    }

    fn about(code: u16, reason: &'static str, message: String, kind: Kind, name: &str) -> Self {
        let details = json!({"name": name, "group": kind.group(), "kind": kind.resource()});
        Self { code, reason, message, details }
    }

    /// The `Status` object.
    pub(super) fn body(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "details": self.details, "code": self.code,
        })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.body())).into_response()
    }
}
