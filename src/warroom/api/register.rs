//! Registering a service: what `ops register` does, with the spec as the request's body.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::table::Endpoint;
use super::{Answer, Ask, Desk, aside, failed, must_mean_it, who};
use crate::model::{ServiceId, SpecHash};
use crate::sdk::register::{Activation, Change, Options};
use crate::sdk::{self, Error};
use crate::spec::{self, Finding, Severity};
use crate::web::extract::{Body, MediaType, Query};
use crate::web::{Problem, Right};

/// What a spec may come as.
const KINDS: &[&str] = &["application/yaml", "text/plain"];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let about = "Registers the service of a spec (YAML), and waits until the processor judges by it; another owner's service \
                 only with force";
    vec![
        Endpoint::post("/api/v1/register", register, about)
            .needs(Right::Act)
            .by_hand()
            .asks::<How>()
            .takes_any(KINDS)
            .sends::<Registered>(),
    ]
}

/// How to register.
#[derive(Deserialize, JsonSchema)]
struct How {
    /// Also over another owner's service.
    #[serde(default)]
    force: bool,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What registering did, or would do.
#[derive(Serialize, JsonSchema)]
struct Registered {
    service: ServiceId,
    /// Of the text.
    hash: SpecHash,
    /// The processor judges by it; false if none has said so in time: it will find it.
    activated: bool,
    change: Changed,
    /// What is allowed in the spec and still worth a look.
    warnings: Vec<Found>,
}

/// What was there before.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Changed {
    /// No such service.
    New,
    /// Another text.
    Replaced,
    /// The same text: nothing is published.
    Unchanged,
}

/// What is to be said about a place in the text.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Finding")]
struct Found {
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
    message: String,
    /// What to write instead.
    help: Option<String>,
}

impl From<&Finding> for Found {
    fn from(finding: &Finding) -> Self {
        let Finding { line, column, message, help, .. } = finding;
        Self { line: *line, column: *column, message: message.clone(), help: help.clone() }
    }
}

async fn register(ask: Ask, State(desk): State<Desk>, Query(how): Query<How>, body: Body) -> Answer {
    must_mean_it(&ask.headers)?;
    ask.caller.must(Right::Act)?;
    let kind = MediaType::of(&ask.headers)?.essence;
    if !KINDS.contains(&kind.as_str()) {
        return Err(Problem::unsupported(format!("{} is taken here, not {kind:?}", KINDS.join(" or "))));
    }
    let spec = spec::lint_bytes(&body.bytes, &desk.options.networks).map_err(|findings| bad(&findings.0))?.spec;
    ask.caller.must_with(Right::Act, spec.id.as_str())?;
    let options = Options {
        force: how.force,
        dry_run: how.dry_run,
        by: who(&ask.caller),
        networks: desk.options.networks.clone(),
        ..Options::default()
    };
    let write = move || sdk::register(&ask.live.settings, &ask.live.topics, &spec.text, &options);
    let registered = aside(write).await?.map_err(|error| refused(&error))?;
    let answer = Registered {
        service: registered.id,
        hash: registered.hash,
        activated: matches!(registered.activation, Activation::Done | Activation::Already),
        change: match registered.change {
            Change::New => Changed::New,
            Change::Replaced => Changed::Replaced,
            Change::Unchanged => Changed::Unchanged,
        },
        warnings: registered.warnings.iter().map(Found::from).collect(),
    };
    Ok(Json(answer).into_response())
}

fn bad(findings: &[Finding]) -> Problem {
    let errors: Vec<Found> =
        findings.iter().filter(|finding| finding.severity == Severity::Error).map(Found::from).collect();
    let detail = format!("errors in it: {}; nothing is published", errors.len());
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_spec", "This is no spec", detail);
    problem.with("findings", json!(errors))
}

fn refused(error: &Error) -> Problem {
    match error {
        Error::Spec(findings) => bad(&findings.0),
        Error::OtherOwner { owner, .. } => {
            let title = "The service belongs to another owner";
            let problem = Problem::new(StatusCode::CONFLICT, "other_owner", title, error.to_string());
            problem.with("owner", owner.as_str())
        }
        error => failed(error),
    }
}
