//! A twin of the Confluent Schema Registry, held to its API reference: schemas by id, subjects and their versions,
//! compatibility, levels; error codes 40401 (subject), 40402 (version), 40403 (schema), 40408 (no level of its own), 409
//! (incompatible), 42201 (no schema), 42203 (no level); basic authentication. Ids are one a schema, whatever its subject.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use apache_avro::Schema;
use apache_avro::schema_compatibility::SchemaCompatibility;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::{Calls, Fault, serve};

/// The one user, if any is asked for, and the password.
pub const USER: (&str, &str) = ("ops", "s3cret");
/// The same as a header.
const AUTHORIZATION: &str = "Basic b3BzOnMzY3JldA==";

/// See the module. Lives until it is dropped.
pub struct Registry {
    /// Its address.
    pub url: String,
    calls: Calls,
    state: Arc<Mutex<Book>>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Book {
    /// By id - 1.
    schemas: Vec<String>,
    /// Ids of the versions, oldest first.
    subjects: BTreeMap<String, Vec<usize>>,
    levels: BTreeMap<String, String>,
    wants_user: bool,
    /// What was called: method and path.
    log: Vec<String>,
}

impl Registry {
    /// Empty, and open to everybody.
    pub fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (calls, state) = (Calls::default(), Arc::<Mutex<Book>>::default());
        let router = Router::new().fallback(answer).with_state((calls.clone(), state.clone()));
        let url = runtime.block_on(serve(router));
        Self { url, calls, state, _runtime: runtime }
    }

    /// From now on only for [`USER`].
    pub fn with_user(self) -> Self {
        self.state.lock().unwrap().wants_user = true;
        self
    }

    /// Is it down? Then whoever stands before it says so.
    pub fn down(&self, is_down: bool) {
        self.calls.always(is_down.then_some(Fault::Status(503)));
    }

    /// The next call meets this.
    pub fn meet(&self, fault: Fault) {
        self.calls.meet(&[fault]);
    }

    /// Registers a schema, unasked; its id.
    pub fn put(&self, subject: &str, schema: &str) -> u32 {
        let mut book = self.state.lock().unwrap();
        let id = book.id(schema);
        book.subjects.entry(subject.to_owned()).or_default().push(id);
        u32::try_from(id).unwrap()
    }

    /// The ids under a subject, oldest first.
    pub fn versions(&self, subject: &str) -> Vec<usize> {
        self.state.lock().unwrap().subjects.get(subject).cloned().unwrap_or_default()
    }

    /// All subjects that have versions.
    pub fn subjects(&self) -> Vec<String> {
        self.state.lock().unwrap().subjects.keys().cloned().collect()
    }

    /// What was called since this was last asked.
    pub fn called(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }
}

impl Book {
    /// The id of a schema, which it may get only now. Equal is what is equal as JSON.
    fn id(&mut self, schema: &str) -> usize {
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let place = self.schemas.iter().position(|known| value(known) == value(schema));
        place.unwrap_or_else(|| {
            self.schemas.push(schema.to_owned());
            self.schemas.len() - 1
        }) + 1
    }

    fn find(&self, subject: &str, schema: &str) -> Option<(usize, usize)> {
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let versions = self.subjects.get(subject)?;
        let place = versions.iter().position(|id| value(&self.schemas[id - 1]) == value(schema))?;
        Some((place + 1, versions[place]))
    }

    /// Why `schema` may not be the next version.
    fn incompatibilities(&self, subject: &str, schema: &Schema) -> Vec<String> {
        let level = self.levels.get(subject).map_or("BACKWARD", String::as_str);
        let ids = self.subjects.get(subject).map_or(&[][..], Vec::as_slice);
        let old = |id: &usize| Schema::parse_str(&self.schemas[id - 1]).unwrap();
        let against: Vec<Schema> = match level {
            "NONE" => Vec::new(),
            "FULL_TRANSITIVE" => ids.iter().map(old).collect(),
            _ => ids.last().map(old).into_iter().collect(),
        };
        let why = |old: &Schema| {
            let backward = SchemaCompatibility::can_read(old, schema).err();
            let forward = SchemaCompatibility::can_read(schema, old).err().filter(|_| level == "FULL_TRANSITIVE");
            backward.or(forward).map(|error| error.to_string())
        };
        against.iter().filter_map(why).collect()
    }

    fn answer(&mut self, method: &Method, path: &[&str], body: &Value) -> Response {
        match (method.as_str(), path) {
            ("GET", ["schemas", "ids", id]) => {
                match id.parse().ok().and_then(|id: usize| self.schemas.get(id.checked_sub(1)?)) {
                    Some(schema) => Json(json!({"schema": schema})).into_response(),
                    None => fault(404, 40403, "Schema not found"),
                }
            }
            ("GET", ["config", subject]) => match self.levels.get(*subject) {
                Some(level) => Json(json!({"compatibilityLevel": level})).into_response(),
                None => fault(404, 40408, "Subject does not have subject-level compatibility configured"),
            },
            ("PUT", ["config", subject]) => match body["compatibility"].as_str() {
                Some(level @ ("NONE" | "BACKWARD" | "FULL_TRANSITIVE")) => {
                    self.levels.insert((*subject).to_owned(), level.to_owned());
                    Json(json!({"compatibility": level})).into_response()
                }
                _ => fault(422, 42203, "Invalid compatibility level"),
            },
            ("GET", ["subjects", subject, "versions"]) => match self.subjects.get(*subject) {
                Some(versions) => Json(json!((1..=versions.len()).collect::<Vec<_>>())).into_response(),
                None => fault(404, 40401, "Subject not found"),
            },
            ("GET", ["subjects", subject, "versions", version]) => self.version(subject, version),
            ("POST", ["subjects", ..] | ["compatibility", "subjects", _, "versions"]) => self.posted(path, body),
            _ => fault(404, 404, "HTTP 404 Not Found"),
        }
    }

    fn version(&self, subject: &str, version: &str) -> Response {
        let Some(versions) = self.subjects.get(subject) else { return fault(404, 40401, "Subject not found") };
        let number = if version == "latest" { versions.len() } else { version.parse().unwrap_or(0) };
        match number.checked_sub(1).and_then(|place| versions.get(place)) {
            Some(id) => {
                let schema = &self.schemas[id - 1];
                Json(json!({"subject": subject, "version": number, "id": id, "schema": schema})).into_response()
            }
            None => fault(404, 40402, "Version not found"),
        }
    }

    fn posted(&mut self, path: &[&str], body: &Value) -> Response {
        let text = body["schema"].as_str().unwrap_or_default();
        let Ok(schema) = Schema::parse_str(text) else { return fault(422, 42201, "Invalid Avro schema") };
        match path {
            ["subjects", subject] => match self.find(subject, text) {
                Some((version, id)) => {
                    Json(json!({"subject": subject, "version": version, "id": id, "schema": text})).into_response()
                }
                None if self.subjects.contains_key(*subject) => fault(404, 40403, "Schema not found"),
                None => fault(404, 40401, "Subject not found"),
            },
            ["subjects", subject, "versions"] => {
                if let Some((_, id)) = self.find(subject, text) {
                    return Json(json!({"id": id})).into_response();
                }
                if let Some(why) = self.incompatibilities(subject, &schema).first() {
                    return fault(409, 409, &format!("Schema being registered is incompatible: {why}"));
                }
                let id = self.id(text);
                self.subjects.entry((*subject).to_owned()).or_default().push(id);
                Json(json!({"id": id})).into_response()
            }
            ["compatibility", "subjects", subject, "versions"] => {
                if !self.subjects.contains_key(*subject) {
                    return fault(404, 40401, "Subject not found");
                }
                let why = self.incompatibilities(subject, &schema);
                Json(json!({"is_compatible": why.is_empty(), "messages": why})).into_response()
            }
            _ => fault(404, 404, "HTTP 404 Not Found"),
        }
    }
}

type Shared = (Calls, Arc<Mutex<Book>>);

async fn answer(
    State((calls, state)): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    state.lock().unwrap().log.push(format!("{method} {path}"));
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let may = headers.get("authorization").is_some_and(|given| given == AUTHORIZATION);
    let take = move || {
        let mut book = state.lock().unwrap();
        if book.wants_user && !may {
            return (StatusCode::UNAUTHORIZED, [("www-authenticate", "Basic realm=\"SchemaRegistry\"")])
                .into_response();
        }
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        book.answer(&method, &segments, &body)
    };
    calls.answer(uri.path(), take).await
}

fn fault(status: u16, code: u32, message: &str) -> Response {
    let body = Json(json!({"error_code": code, "message": message}));
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}
