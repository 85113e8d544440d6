//! `POST /api/v1/emit`: readings as JSON, with the fields that they have on `ops.metrics`: one object, an array of them,
//! or an object a line (`application/x-ndjson`). `ts` may be missing: now.
//!
//! What the processor would surely reject is refused here, with the index of each such reading, and then nothing of the
//! request is published: it can be mended and sent again.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::cargo::Cargo;
use super::{NAMED, Shared};
use crate::codec::reading::decode;
use crate::model::reading::{Reading, RejectReason};
use crate::sdk::Catalog;
use crate::sdk::emit::check;
use crate::telemetry::clock::now_ms;
use crate::web::extract::{Body, MediaType, bad_json};
use crate::web::{Caller, Problem, Right};

/// The most readings of a request.
const MAX_READINGS: usize = 100_000;

/// All of the request is on `ops.metrics`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Delivered {
    /// Readings that the cluster has acknowledged.
    pub delivered: usize,
}

/// See the module.
pub(super) async fn emit(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<axum::Json<Delivered>, Problem> {
    caller.must(Right::Emit)?;
    let texts = split(&MediaType::of(&headers)?, &body.bytes)?;
    let cargo = load(&texts, &caller, &shared.directory.catalog(), shared.partitions)?;
    let delivered = cargo.len();
    shared.metrics.sampled("emit", [("taken", delivered as u64)]);
    shared.deliver(cargo).await?;
    Ok(axum::Json(Delivered { delivered }))
}

/// The text of each reading.
fn split<'a>(kind: &MediaType, body: &'a [u8]) -> Result<Vec<&'a [u8]>, Problem> {
    let texts: Vec<&[u8]> = match kind.essence.as_str() {
        "application/json" => {
            let text = body.trim_ascii_start();
            if text.starts_with(b"[") {
                let all: Vec<&RawValue> = serde_json::from_slice(text).map_err(|error| bad_json(&error))?;
                all.into_iter().map(|text| text.get().as_bytes()).collect()
            } else {
                vec![text]
            }
        }
        "application/x-ndjson" | "application/jsonl" => {
            body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect()
        }
        other => {
            let detail = format!("application/json or application/x-ndjson is taken here, not {other:?}");
            return Err(Problem::unsupported(detail));
        }
    };
    if texts.len() > MAX_READINGS {
        return Err(Problem::bad_request(format!("a request may have {MAX_READINGS} readings")));
    }
    Ok(texts)
}

/// All of them encoded, or why not.
fn load(texts: &[&[u8]], caller: &Caller, catalog: &Catalog, partitions: i32) -> Result<Cargo, Problem> {
    let now = now_ms();
    let mut cargo = Cargo::default();
    let (mut refused, mut named) = (0_u64, Vec::new());
    for (index, text) in texts.iter().enumerate() {
        match one(text, catalog, now) {
            Ok((reading, value)) => {
                let name: &str = &reading.service;
                caller.must_with(Right::Emit, name).map_err(|problem| problem.with("index", index))?;
                // It was checked against this catalog, under this name.
                if let Ok((service, _)) = catalog.get(name) {
                    cargo.add(service.clone(), service.home(partitions), &value);
                }
            }
            Err((reason, detail)) => {
                refused += 1;
                if named.len() < NAMED {
                    named.push(json!({"index": index, "reason": reason, "detail": detail}));
                }
            }
        }
    }
    if refused == 0 {
        return Ok(cargo);
    }
    let detail = format!("{refused} of {} readings are refused, and nothing is published", texts.len());
    let title = "Some readings would never count";
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "refused_readings", title, detail);
    Err(problem.with("refused", refused).with("readings", named))
}

fn one<'a>(text: &'a [u8], catalog: &Catalog, now: i64) -> Result<(Reading<'a>, Vec<u8>), (&'static str, String)> {
    // What is no object might be taken for another encoding.
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err((RejectReason::Malformed.name(), "it is no JSON object".to_owned()));
    }
    let reading = decode(None, Some(text), now).map_err(|reason| (reason.name(), why(reason).to_owned()))?;
    match check(catalog, &reading) {
        Ok(value) => Ok((reading, value)),
        Err(refused) => Err((refused.reason().name(), refused.to_string())),
    }
}

fn why(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::BadName => "service and sensor are needed, and follow their rules",
        RejectReason::TooLarge => "it is too large",
        RejectReason::Truncated => "it is cut off",
        RejectReason::TrailingBytes => "something follows it",
        _ => "it is no JSON object of service, sensor, ts, value and attributes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(body: &str) -> Result<usize, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        let catalog = Catalog::of_texts(&["id: Scanner\nowner: o\nsensors:\n  - name: queue_time_seconds\n"]);
        let texts = split(&MediaType::of(&headers).unwrap(), body.as_bytes())?;
        load(&texts, &Caller::anybody(), &catalog, 4).map(|cargo| cargo.len())
    }

    const GOOD: &str = r#"{"service":"Scanner","sensor":"queue_time_seconds","ts":1,"value":31.2}"#;

    #[test]
    fn one_object_or_many_are_taken() {
        assert_eq!(loaded(GOOD).unwrap(), 1);
        assert_eq!(loaded(&format!(" [{GOOD}, {GOOD}]\n")).unwrap(), 2);
        assert_eq!(loaded("[]").unwrap(), 0);
    }

    #[test]
    fn one_bad_reading_refuses_the_request_and_is_named() {
        for (bad, reason) in [
            (r#"{"service":"Scaner","sensor":"queue_time_seconds","value":1}"#, "unknown_service"),
            (r#"{"service":"Scanner","sensor":"queue_time","value":1}"#, "unknown_sensor"),
            (r#"{"service":"Scanner","sensor":"queue_time_seconds","value":1e999}"#, "value_not_finite"),
            (r#"{"service":"Scanner","sensor":"queue_time_seconds","ts":0,"value":1}"#, "ts_invalid"),
            (r#"{"service":"Scanner","sensor":"queue_time_seconds"}"#, "malformed"),
            (r#"{"service":"a b","sensor":"queue_time_seconds","value":1}"#, "bad_name"),
            ("17", "malformed"),
        ] {
            let problem = loaded(&format!("[{GOOD}, {bad}]")).unwrap_err();
            assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
            let readings = &problem.members()["readings"];
            assert_eq!((&readings[0]["index"], &readings[0]["reason"]), (&json!(1), &json!(reason)), "{bad}");
        }
        let problem = loaded(r#"{"service":"Scaner","sensor":"queue_time_seconds","value":1}"#).unwrap_err();
        assert!(problem.members()["readings"][0]["detail"].as_str().unwrap().contains("did you mean Scanner?"));
    }

    #[test]
    fn what_is_no_json_is_a_bad_request() {
        assert_eq!(loaded("[1,").unwrap_err().status(), StatusCode::BAD_REQUEST);
        assert!(loaded("\u{feff}x").is_err() && loaded("").is_err());
    }
}
