//! Is the OpenAPI document true? A whole story is played, and every answer of the running war room must be what the
//! document says of it: all that is described is there, and nothing is there that is not described.

use std::collections::BTreeSet;

use boon::{Compiler, Draft, Schemas};
use hms_ops::actors::archiver::{self, Archiver};
use hms_ops::vault::archive::Limits;
use tempfile::TempDir;

use super::*;

const AT: &str = "http://ops.example/openapi.json";

/// The document, and what was found to be as it says.
pub struct Document {
    value: Value,
    checked: BTreeSet<String>,
}

impl Document {
    pub fn of(room: &Room) -> Self {
        let (status, value) = room.json(room.get("/api/v1/openapi.json"));
        assert_eq!((status, &value["openapi"]), (StatusCode::OK, &json!("3.1.0")));
        Self { value: closed(value), checked: BTreeSet::new() }
    }

    /// Is this what the schema at that place of the document says? None: yes.
    fn fault(&self, pointer: &str, value: &Value) -> Option<String> {
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.add_resource(AT, self.value.clone()).unwrap();
        let mut schemas = Schemas::new();
        let schema = compiler.compile(&format!("{AT}#{pointer}"), &mut schemas);
        let schema = schema.unwrap_or_else(|error| panic!("{pointer}: {error:#}"));
        schemas.validate(value, schema).err().map(|error| format!("{pointer}: {error:#}\n{value:#}"))
    }

    /// The answer to a request for `path` must be what the document says of `template`.
    pub fn check(&mut self, room: &Room, template: &str, request: RequestBuilder) -> Value {
        let (status, value) = room.json(request);
        assert_eq!(status, StatusCode::OK, "{template}: {value}");
        let method = if self.value["paths"][template].get("post").is_some() { "post" } else { "get" };
        let place = format!("/paths/{}/{method}/responses/200/content/application~1json/schema", escaped(template));
        assert_eq!(self.fault(&place, &value), None);
        self.checked.insert(template.to_owned());
        value
    }

    fn check_event(&mut self, template: &str, sent: &Sent) {
        let stream = format!("/paths/{}/get/responses/200/content/text~1event-stream/x-events", escaped(template));
        assert_eq!(self.fault(&format!("{stream}/{}", sent.name), &sent.data), None);
        self.checked.insert(template.to_owned());
    }

    fn check_problem(&self, room: &Room, request: RequestBuilder) {
        let (status, value) = room.json(request);
        assert!(!status.is_success(), "{value}");
        let place = "/components/responses/problem/content/application~1problem+json/schema";
        assert_eq!(self.fault(place, &value), None);
    }
}

/// A path as a part of a JSON pointer in the fragment of a URL.
fn escaped(path: &str) -> String {
    path.replace('/', "~1").replace('{', "%7B").replace('}', "%7D")
}

/// The schemas that are parts of larger objects: those stand beside properties of their own.
fn parts(value: &Value, found: &mut BTreeSet<String>) {
    if let Some(object) = value.as_object()
        && let (Some(Value::String(name)), true) = (object.get("$ref"), object.contains_key("properties"))
    {
        found.insert(name.rsplit('/').next().unwrap_or_default().to_owned());
    }
    let within = value.as_object().into_iter().flat_map(|object| object.values());
    within.chain(value.as_array().into_iter().flatten()).for_each(|value| parts(value, found));
}

/// With every object of the answers closed: what is not described may not be there.
fn closed(mut document: Value) -> Value {
    let mut open = BTreeSet::new();
    parts(&document, &mut open);
    for (name, schema) in document["components"]["schemas"].as_object_mut().unwrap() {
        if open.contains(name) {
            continue;
        }
        let schema = schema.as_object_mut().unwrap();
        let is_object = schema.contains_key("properties") || schema.contains_key("oneOf");
        if is_object && !schema.contains_key("enum") && !schema.contains_key("additionalProperties") {
            schema.insert("unevaluatedProperties".to_owned(), json!(false));
        }
    }
    document
}

/// A service in trouble, all that works for it, and a war room that shows it.
struct Story {
    at: Installation,
    room: Room,
    vault: String,
    _processor: Processor,
    _archiver: Archiver,
    _directory: TempDir,
}

impl Story {
    fn tell() -> Self {
        let at = Installation::new();
        let processor = Processor::start(&at);
        let directory = tempfile::tempdir().unwrap();
        let vault = directory.path().display().to_string();
        let archiver = archiver::start(archiver::Options {
            settings: settings(),
            topics: at.topics.clone(),
            group: format!("{}archiver", at.prefix),
            instance: "a".to_owned(),
            vault_dir: vault.clone(),
            limits: Limits { max_age_ms: 200, ..Limits::default() },
            metrics: std::sync::Arc::default(),
        });
        assert_eq!(at.register_text(SPEC, &["--wait", "60"]).code, Some(0));
        let room = Room::with(Options { vault: Some(vault.clone()), ..Room::options(&at) });
        emit(&at, "38", 25);
        room.until("an incident and its request", || {
            let one = room.json(room.get("/api/v1/incidents/Scanner.1")).1;
            (one["events"].as_array()?.len() == 2).then_some(())
        });
        Self { at, room, vault, _processor: processor, _archiver: archiver.unwrap(), _directory: directory }
    }
}

fn check_what_is_read(document: &mut Document, room: &Room) {
    for (template, path) in [
        ("/api/v1/me", "/api/v1/me"),
        ("/api/v1/services", "/api/v1/services"),
        ("/api/v1/services/{id}", "/api/v1/services/Scanner"),
        ("/api/v1/services/{id}/series", "/api/v1/services/Scanner/series"),
        ("/api/v1/incidents", "/api/v1/incidents"),
        ("/api/v1/incidents/{id}", "/api/v1/incidents/Scanner.1"),
        ("/api/v1/approvals", "/api/v1/approvals"),
    ] {
        document.check(room, template, room.get(path));
    }
    // All that a stream tells until its first beat.
    let mut stream = room.stream(None);
    loop {
        let sent = stream.next().unwrap();
        document.check_event("/api/v1/stream", &sent);
        if sent.name == "beat" {
            break;
        }
    }
    let news = room.stream_of("/api/v1/services/Scanner/live?sensor=queue_time_seconds", None).next().unwrap();
    document.check_event("/api/v1/services/{id}/live", &news);
}

fn check_what_is_written(document: &mut Document, room: &Room) {
    let reading = json!({"service": "Scanner", "sensor": "queue_time_seconds", "value": 31.5});
    document.check(room, "/api/v1/emit", room.post("/api/v1/emit", &reading));
    document.check(room, "/api/v1/register", room.register(SPEC, ""));
    let freeze = json!({"service": "Scanner", "reason": "a deploy"});
    document.check(room, "/api/v1/freeze", room.post("/api/v1/freeze", &freeze));
    room.until("the freeze", || {
        let actions = room.json(room.get("/api/v1/actions")).1;
        (actions["actions"].as_array()?.len() == 2 && actions["frozen"].as_array()?.len() == 1).then_some(())
    });
    document.check(room, "/api/v1/actions", room.get("/api/v1/actions"));
    document.check(room, "/api/v1/thaw", room.post("/api/v1/thaw", &freeze));
    for refused in [room.get("/api/v1/services/Scaner"), room.get("/api/v1/freeze"), room.register("id: 1", "")] {
        document.check_problem(room, refused);
    }
}

/// The words are those of the command.
fn check_the_explanation(document: &mut Document, Story { at, room, .. }: &Story) {
    let explained =
        document.check(room, "/api/v1/incidents/{id}/explain", room.get("/api/v1/incidents/Scanner.1/explain"));
    assert_eq!((&explained["confirmed"], &explained["incident"]), (&json!(true), &json!("Scanner.1")), "{explained}");
    let printed = at.ops_with(&["explain", "Scanner.1", "--group", &format!("{}processor", at.prefix)], "");
    let printed: Vec<_> = printed.out.lines().collect();
    let told: Vec<_> = explained["text"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    // The last line says how far it was computed, which has moved on.
    let all_but_last = told.len() - 1;
    assert!(all_but_last > 3 && printed.len() == told.len(), "{told:#?} {printed:#?}");
    assert_eq!(told[..all_but_last], printed[..all_but_last]);
    assert_eq!(explained["evidence"].as_array().unwrap().len(), told.len());
}

/// Each record that is named is in the vault, where it is said to be.
fn check_the_archive(document: &mut Document, Story { at, room, vault, .. }: &Story) {
    let archived = room.until("the archive", || {
        let archived = room.json(room.get("/api/v1/incidents/Scanner.1/vault")).1;
        (archived["entries"].as_array()?.len() == 2).then_some(archived)
    });
    let entry = &archived["entries"][0];
    assert_eq!((&archived["origin"], &entry["event"]), (&json!(vault), &json!("opened")), "{archived}");
    // Before it stands only that the spec is in force.
    assert_eq!((&entry["position"], &archived["entries"][1]["position"]), (&json!(1), &json!(2)), "{archived}");
    let place = format!("{}/{}/{}", entry["topic"].as_str().unwrap(), entry["partition"], entry["offset"]);
    let shown = at.ops_with(&["dta", "show", &place, "--json", "--vault", vault], "");
    let record: Value = serde_json::from_str(&shown.out).unwrap_or_else(|_| panic!("{shown:?}"));
    assert_eq!((&record["value"]["incident"], &record["at"]), (&json!("Scanner.1"), &entry["at"]));
    document.check(room, "/api/v1/incidents/{id}/vault", room.get("/api/v1/incidents/Scanner.1/vault"));
}

/// A document that lies is found out.
fn check_the_check(document: &Document, room: &Room) {
    let mut services = room.json(room.get("/api/v1/services")).1;
    let place = "/paths/~1api~1v1~1services/get/responses/200/content/application~1json/schema";
    assert_eq!(document.fault(place, &services), None);
    services["services"][0]["secret"] = json!(1);
    assert!(document.fault(place, &services).is_some());
    let mut services = room.json(room.get("/api/v1/services")).1;
    services["services"][0]["slo_state"] = json!("fine");
    assert!(document.fault(place, &services).is_some());
}

#[test]
fn every_answer_is_what_the_document_says_of_it() {
    let story = Story::tell();
    let room = &story.room;
    let mut document = Document::of(room);
    check_what_is_read(&mut document, room);
    check_the_explanation(&mut document, &story);
    check_the_archive(&mut document, &story);
    check_what_is_written(&mut document, room);
    check_the_check(&document, room);
    let paths = document.value["paths"].as_object().unwrap();
    let missing: BTreeSet<_> = paths.keys().filter(|path| !document.checked.contains(*path)).collect();
    let elsewhere = [
        "/api/v1/actions/{id}/approve",
        "/api/v1/actions/{id}/deny",
        "/api/v1/login",
        "/api/v1/logout",
        "/api/v1/openapi.json",
        "/api/v1/write",
        "/v1/metrics",
    ];
    // The first two in `approvals`.
    assert_eq!(missing.into_iter().collect::<Vec<_>>(), elsewhere, "not looked at");
}

/// Each path and method of the document leads to a handler; the others are refused as such.
#[test]
fn what_the_document_describes_is_served() {
    let at = Installation::new();
    let room = Room::open(&at, Tokens::default());
    let document = room.json(room.get("/api/v1/openapi.json")).1;
    for (path, item) in document["paths"].as_object().unwrap() {
        let url = room.url(&path.replace("{id}", "Nobody.1"));
        for (method, client) in [("get", room.client.get(&url)), ("post", room.client.post(&url))] {
            let response = room.send(client);
            let (status, is_described) = (response.status(), item.get(method).is_some());
            assert_eq!(status != StatusCode::METHOD_NOT_ALLOWED, is_described, "{method} {path}: {status}");
        }
    }
}
