//! How OTLP says no: `google.rpc.Status` { 1: code, 2: message }, in the request's own encoding. A layer around the path,
//! so that the gate and the server's limits say no in the same way.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::super::wire;
use super::Encoding;
use crate::web::Problem;

/// Makes a status of a problem; other answers pass.
pub(in super::super) async fn as_status(request: Request, next: Next) -> Response {
    let encoding = Encoding::of(request.headers());
    let mut response = next.run(request).await;
    match (response.extensions_mut().remove::<Problem>(), encoding) {
        (Some(problem), Ok(encoding)) => {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
            headers.remove(header::CONTENT_LENGTH);
            *response.body_mut() = Body::from(body(encoding, &problem));
            response
        }
        // Of a request in no encoding of ours the status can have none: the problem stays.
        (Some(problem), Err(_)) => {
            response.extensions_mut().insert(problem);
            response
        }
        (None, _) => response,
    }
}

fn body(encoding: Encoding, problem: &Problem) -> Vec<u8> {
    let code = code(problem.status().as_u16());
    match encoding {
        Encoding::Protobuf => {
            let mut out = Vec::new();
            wire::put_varint(&mut out, 1, code);
            wire::put_bytes(&mut out, 2, problem.detail().as_bytes());
            out
        }
        Encoding::Json => serde_json::json!({"code": code, "message": problem.detail()}).to_string().into_bytes(),
    }
}

/// The code of `google.rpc.Code` for an HTTP status.
fn code(status: u16) -> u64 {
    match status {
        401 => 16,
        403 => 7,
        404 => 5,
        408 => 4,
        413 | 429 => 8,
        405 => 12,
        400..500 => 3,
        503 => 14,
        _ => 13,
    }
}
