//! The simulated API over HTTP: paths and verbs in, objects, lists, tables, watches or refusals out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::Shared;
use super::status::Failure;
use super::store::{Kind, Selector, Store, text};
use super::updates::{Author, Cluster, is_plain, merge};
use super::watch::Watch;
use super::{discovery, objects, tables, watch};

/// How long a watch lasts that does not say.
const WATCH: Duration = Duration::from_secs(30 * 60);

/// The forms of patch that are taken.
const PATCHES: &str = "application/merge-patch+json, application/strategic-merge-patch+json";

/// The whole API.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(serve).with_state(shared)
}

/// Parameters that are honoured; others do not change the answer.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Parameters {
    watch: String,
    resource_version: String,
    timeout_seconds: Option<u64>,
    field_selector: String,
    label_selector: String,
    include_object: String,
    dry_run: String,
}

/// One request: who asks, what for, how they want to see it.
struct Request<'a> {
    shared: &'a Arc<Shared>,
    parameters: Parameters,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request { shared: &shared, parameters, headers: &headers, body: &body };
    let segments: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    request.answer(&method, &segments).unwrap_or_else(Failure::into_response)
}

impl Request<'_> {
    fn answer(&self, method: &Method, segments: &[&str]) -> Result<Response, Failure> {
        let kinds = offered(&self.shared.cluster().store);
        let (group, version, rest) = match segments {
            ["version"] => return Ok(Json(discovery::version()).into_response()),
            ["healthz" | "readyz" | "livez"] => return Ok("ok".into_response()),
            ["api"] => return Ok(Json(discovery::core()).into_response()),
            ["apis"] => return Ok(Json(discovery::groups(&kinds)).into_response()),
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Ok(no_such_page()),
        };
        let kinds: Vec<Kind> =
            kinds.into_iter().filter(|kind| kind.group() == group && kind.version() == version).collect();
        let (namespace, resource, below) = match rest {
            [] if !kinds.is_empty() => {
                let group_version = kinds[0].api_version();
                return Ok(Json(discovery::resources(&group_version, &kinds)).into_response());
            }
            ["namespaces", namespace, resource, below @ ..] => (Some(*namespace), *resource, below),
            [resource] => (None, *resource, &[] as &[&str]),
            _ => return Ok(no_such_page()),
        };
        let Some(kind) = kinds.into_iter().find(|kind| kind.resource() == resource) else {
            return Ok(no_such_page());
        };
        match (namespace, below) {
            (_, []) => self.collection(method, kind, namespace),
            (Some(namespace), [name]) => self.object(method, kind, namespace, name),
            (Some(namespace), [name, "scale"]) if kind.is_workload() => self.scale(method, kind, namespace, name),
            _ => Ok(no_such_page()),
        }
    }

    fn collection(&self, method: &Method, kind: Kind, namespace: Option<&str>) -> Result<Response, Failure> {
        let parameters = &self.parameters;
        if method == Method::POST
            && kind.is_made_by_clients()
            && let Some(namespace) = namespace
        {
            let body = self.json()?;
            let made = self.shared.write(|cluster| cluster.create(kind, namespace, body, &self.author()))?;
            return Ok((StatusCode::CREATED, Json(made)).into_response());
        }
        if method != Method::GET {
            return Err(Failure::method_not_allowed());
        }
        let selector = Selector::parse(namespace, &parameters.field_selector, &parameters.label_selector)?;
        if matches!(parameters.watch.as_str(), "true" | "1") {
            return self.watch(kind, selector);
        }
        let cluster = self.shared.cluster();
        let version = cluster.store.revision().to_string();
        let found = cluster.store.list(kind).filter(|object| selector.takes(object));
        Ok(match self.table() {
            Some(whole) => Json(tables::table(kind, found, &version, whole, Timestamp::now())).into_response(),
            None => Json(json!({
                "kind": format!("{}List", kind.kind()), "apiVersion": kind.api_version(),
                "metadata": {"resourceVersion": version}, "items": found.collect::<Vec<_>>(),
            }))
            .into_response(),
        })
    }

    fn watch(&self, kind: Kind, selector: Selector) -> Result<Response, Failure> {
        let from = match self.parameters.resource_version.as_str() {
            "" | "0" => None,
            text => {
                let wrong = || Failure::bad_request(format!("invalid resource version: {text:?}"));
                Some(text.parse().map_err(|_| wrong())?)
            }
        };
        let lasts = self.parameters.timeout_seconds.map_or(WATCH, |seconds| Duration::from_secs(seconds).min(WATCH));
        let watch = Watch { kind, selector, from, table: self.table(), until: Instant::now() + lasts };
        let body = watch::stream(self.shared.clone(), watch);
        Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
    }

    fn object(&self, method: &Method, kind: Kind, namespace: &str, name: &str) -> Result<Response, Failure> {
        let object = match *method {
            Method::GET => {
                let object = self.shared.cluster().store.get(kind, namespace, name)?.clone();
                if let Some(whole) = self.table() {
                    let version = text(&object, "resourceVersion");
                    let table = tables::table(kind, [&object], version, whole, Timestamp::now());
                    return Ok(Json(table).into_response());
                }
                object
            }
            Method::PUT if kind.is_workload() => {
                let body = self.json()?;
                self.shared.write(|cluster| cluster.update(kind, namespace, name, body, &self.author()))?
            }
            Method::PATCH if kind.is_workload() => {
                let patch = self.patch()?;
                self.shared.write(|cluster| {
                    let mut new = cluster.store.get(kind, namespace, name)?.clone();
                    merge(&mut new, &patch);
                    cluster.update(kind, namespace, name, new, &self.author())
                })?
            }
            Method::DELETE if kind.is_made_by_clients() => {
                let options = if self.body.is_empty() { Value::Null } else { self.json()? };
                self.shared.write(|cluster| cluster.delete(kind, namespace, name, &options, &self.author()))?
            }
            _ => return Err(Failure::method_not_allowed()),
        };
        Ok(Json(object).into_response())
    }

    fn scale(&self, method: &Method, kind: Kind, namespace: &str, name: &str) -> Result<Response, Failure> {
        let read = |cluster: &Cluster| cluster.store.get(kind, namespace, name).map(objects::scale);
        let scale = match *method {
            Method::GET => read(&self.shared.cluster())?,
            Method::PUT => {
                let body = self.json()?;
                self.shared.write(|cluster| cluster.update_scale(kind, namespace, name, &body, &self.author()))?
            }
            Method::PATCH => {
                let patch = self.patch()?;
                self.shared.write(|cluster| {
                    let mut new = read(cluster)?;
                    merge(&mut new, &patch);
                    cluster.update_scale(kind, namespace, name, &new, &self.author())
                })?
            }
            _ => return Err(Failure::method_not_allowed()),
        };
        Ok(Json(scale).into_response())
    }

    /// A table is wanted; if so, with whole objects or only their metadata.
    fn table(&self) -> Option<bool> {
        let wanted = self.header(&ACCEPT).contains("as=Table");
        wanted.then(|| self.parameters.include_object == "Object")
    }

    fn author(&self) -> Author<'_> {
        Author { user_agent: self.header(&USER_AGENT), dry_run: !self.parameters.dry_run.is_empty() }
    }

    fn header(&self, name: &HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn json(&self) -> Result<Value, Failure> {
        if self.header(&CONTENT_TYPE).contains("protobuf") {
            return Err(Failure::unsupported("application/json", self.header(&CONTENT_TYPE)));
        }
        let body: Value = serde_json::from_slice(self.body)
            .map_err(|error| Failure::bad_request(format!("the body of the request cannot be decoded: {error}")))?;
        if body.is_object() { Ok(body) } else { Err(Failure::bad_request("the body is no object".to_owned())) }
    }

    fn patch(&self) -> Result<Value, Failure> {
        let media_type = self.header(&CONTENT_TYPE);
        match media_type.split(';').next().unwrap_or_default().trim() {
            "application/merge-patch+json" => self.json(),
            "application/strategic-merge-patch+json" => {
                let patch = self.json()?;
                let got = "a strategic patch with lists or directives";
                if is_plain(&patch) { Ok(patch) } else { Err(Failure::unsupported(PATCHES, got)) }
            }
            _ => Err(Failure::unsupported(PATCHES, media_type)),
        }
    }
}

/// The kinds whose API is there: KEDA's only once something of it is.
fn offered(store: &Store) -> Vec<Kind> {
    let there = |kind: &Kind| *kind != Kind::ScaledObject || store.list(*kind).next().is_some();
    Kind::ALL.into_iter().filter(there).collect()
}

/// What a real API server says to a path that it does not know: no `Status`.
fn no_such_page() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}
