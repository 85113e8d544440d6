//! Is the OpenAPI document true? A whole story is played, and every answer of the running war room must be what the
//! document says of it: all that is described is there, and nothing is there that is not described.

use std::collections::BTreeSet;

use boon::{Compiler, Draft, Schemas};
use hms_ops::actors::archiver;
use hms_ops::vault::archive::Limits;

use super::*;

const AT: &str = "http://ops.example/openapi.json";

/// The document, and what was found to be as it says.
struct Document {
    value: Value,
    checked: BTreeSet<String>,
}

impl Document {
    fn of(room: &Room) -> Self {
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
    fn check(&mut self, room: &Room, template: &str, request: RequestBuilder) -> Value {
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

/// With every object of the answers closed: what is not described may not be there.
fn closed(mut document: Value) -> Value {
    for schema in document["components"]["schemas"].as_object_mut().unwrap().values_mut() {
        let schema = schema.as_object_mut().unwrap();
        let is_object = schema.contains_key("properties") || schema.contains_key("oneOf");
        if is_object && !schema.contains_key("enum") && !schema.contains_key("additionalProperties") {
            schema.insert("unevaluatedProperties".to_owned(), json!(false));
        }
    }
    document
}

#[test]
fn every_answer_is_what_the_document_says_of_it() {
    let at = Installation::new();
    let _processor = Processor::start(&at);
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
    let _archiver = archiver.unwrap();
    assert_eq!(at.register_text(SPEC, &["--wait", "60"]).code, Some(0));
    let room = Room::with(Options { vault: Some(vault.clone()), ..Room::options(&at) });
    let mut document = Document::of(&room);
    emit(&at, "38", 25);
    room.until("an incident", || {
        let open = room.json(room.get("/api/v1/incidents?state=open")).1;
        (open["incidents"].as_array()?.len() == 1).then_some(())
    });

    document.check(&room, "/api/v1/me", room.get("/api/v1/me"));
    document.check(&room, "/api/v1/services", room.get("/api/v1/services"));
    document.check(&room, "/api/v1/services/{id}", room.get("/api/v1/services/Scanner"));
    document.check(&room, "/api/v1/services/{id}/series", room.get("/api/v1/services/Scanner/series"));
    document.check(&room, "/api/v1/incidents", room.get("/api/v1/incidents"));
    document.check(&room, "/api/v1/incidents/{id}", room.get("/api/v1/incidents/Scanner.1"));
    let reading = json!({"service": "Scanner", "sensor": "queue_time_seconds", "value": 31.5});
    document.check(&room, "/api/v1/emit", room.post("/api/v1/emit", &reading));
    document.check(&room, "/api/v1/register", room.register(SPEC, ""));
    let freeze = json!({"service": "Scanner", "reason": "a deploy"});
    document.check(&room, "/api/v1/freeze", room.post("/api/v1/freeze", &freeze));
    room.until("the freeze", || {
        let actions = room.json(room.get("/api/v1/actions")).1;
        (actions["actions"].as_array()?.len() == 2 && actions["frozen"].as_array()?.len() == 1).then_some(())
    });
    document.check(&room, "/api/v1/actions", room.get("/api/v1/actions"));
    document.check(&room, "/api/v1/thaw", room.post("/api/v1/thaw", &freeze));

    let explained =
        document.check(&room, "/api/v1/incidents/{id}/explain", room.get("/api/v1/incidents/Scanner.1/explain"));
    assert_eq!((&explained["confirmed"], &explained["incident"]), (&json!(true), &json!("Scanner.1")), "{explained}");
    let printed = at.ops_with(&["explain", "Scanner.1", "--group", &format!("{}processor", at.prefix)], "");
    let lines: Vec<_> = explained["text"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    // The last line says how far it was computed, which has moved on.
    assert_eq!(lines[..lines.len() - 1], printed.out.lines().collect::<Vec<_>>()[..lines.len() - 1], "{}", printed.err);

    let archived = room.until("the archive", || {
        let archived = room.json(room.get("/api/v1/incidents/Scanner.1/vault")).1;
        (archived["entries"].as_array()?.len() == 2).then_some(archived)
    });
    let entry = &archived["entries"][0];
    assert_eq!((&archived["origin"], &entry["event"]), (&json!(vault), &json!("opened")), "{archived}");
    let place = format!("{}/{}/{}", entry["topic"].as_str().unwrap(), entry["partition"], entry["offset"]);
    let shown = at.ops_with(&["dta", "show", &place, "--json", "--vault", &vault], "");
    let record: Value = serde_json::from_str(&shown.out).unwrap_or_else(|_| panic!("{shown:?}"));
    assert_eq!((&record["value"]["incident"], &record["at"]), (&json!("Scanner.1"), &entry["at"]));
    document.check(&room, "/api/v1/incidents/{id}/vault", room.get("/api/v1/incidents/Scanner.1/vault"));

    let reset = room.stream(None).next().unwrap();
    document.check_event("/api/v1/stream", &reset);
    let live = "/api/v1/services/{id}/live";
    let news = room.stream_of("/api/v1/services/Scanner/live?sensor=queue_time_seconds", None).next().unwrap();
    document.check_event(live, &news);
    for refused in [room.get("/api/v1/services/Scaner"), room.get("/api/v1/freeze"), room.register("id: 1", "")] {
        document.check_problem(&room, refused);
    }

    // The control: a document that lies is found out.
    let mut services = room.json(room.get("/api/v1/services")).1;
    let place = "/paths/~1api~1v1~1services/get/responses/200/content/application~1json/schema";
    services["services"][0]["slo_state"] = json!("fine");
    assert!(document.fault(place, &services).is_some());
    services["services"][0]["slo_state"] = json!("healthy");
    assert_eq!(document.fault(place, &services), None);
    services["services"][0]["secret"] = json!(1);
    assert!(document.fault(place, &services).is_some());

    let paths = document.value["paths"].as_object().unwrap();
    let elsewhere = ["/api/v1/login", "/api/v1/logout", "/api/v1/write", "/v1/metrics", "/api/v1/openapi.json"];
    let missing: Vec<_> = paths.keys().filter(|path| !document.checked.contains(*path)).collect();
    assert_eq!(missing, elsewhere.iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), "not looked at");
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
