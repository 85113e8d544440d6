//! Writing by the war room's port: readings, and specs.

use super::*;
use reqwest::header::CONTENT_TYPE;

impl Room {
    pub fn register(&self, text: &str, query: &str) -> RequestBuilder {
        let path = format!("/api/v1/register?{query}");
        let request = self.client.post(self.url(&path)).header("x-ops", "1");
        request.header(CONTENT_TYPE, "application/yaml").body(text.to_owned())
    }
}

#[test]
fn a_spec_is_registered_as_the_command_does_it() {
    let at = Installation::new();
    let _processor = Processor::start(&at);
    let room = Room::open(&at, Tokens::default());
    let services = || room.json(room.get("/api/v1/services")).1["services"].as_array().unwrap().len();
    let (status, dry) = room.json(room.register(SPEC, "dry_run=true"));
    assert_eq!((status, &dry["change"], &dry["activated"]), (StatusCode::OK, &json!("new"), &json!(false)), "{dry}");
    assert_eq!(services(), 0);

    let (status, bad) = room.json(room.register(&SPEC.replace("threshold", "treshold"), ""));
    assert_eq!((status, &bad["type"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("urn:hms-ops:problem:bad_spec")));
    let misspelt = bad["findings"].as_array().unwrap().iter().find(|one| one["line"] == 7);
    let misspelt = misspelt.unwrap_or_else(|| panic!("{bad}"));
    assert_eq!((&misspelt["column"], &misspelt["help"]), (&json!(3), &json!("did you mean `threshold`?")), "{bad}");
    let wrong = [
        (room.register(SPEC, "").header("origin", "null"), 403),
        (room.post("/api/v1/register", &json!({})), 415),
        (room.client.post(room.url("/api/v1/register")).header(CONTENT_TYPE, "text/plain").body(SPEC), 400),
        (room.register(SPEC, "force=perhaps"), 400),
        (room.get("/api/v1/register"), 405),
    ];
    for (request, status) in wrong {
        let (found, text) = room.text(request);
        assert!(found.as_u16() == status && text.contains("urn:hms-ops:problem:"), "{found}: {text}");
    }
    for path in ["/api/v1/register", "/api/v1/emit", "/api/v1/login"] {
        assert!(room.announce(path).contains("urn:hms-ops:problem:too_large"), "{path}");
    }
    assert_eq!(services(), 0, "nothing of it was done");

    // The processor may take longer than a request waits; then it is asked again.
    let done = room.until("the processor", || {
        let (status, done) = room.json(room.register(SPEC, ""));
        assert_eq!(status, StatusCode::OK, "{done}");
        (done["activated"] == true).then_some(done)
    });
    assert_eq!((&done["service"], done["hash"].as_str().unwrap().len()), (&json!("Scanner"), 64));
    room.until("the service", || (services() == 1).then_some(()));
    let other = SPEC.replace("TSA", "FAA");
    let (status, refused) = room.json(room.register(&other, ""));
    assert_eq!((status, &refused["owner"]), (StatusCode::CONFLICT, &json!("TSA")), "{refused}");
    let (status, forced) = room.json(room.register(&other, "force=true&dry_run=true"));
    assert_eq!((status, &forced["change"]), (StatusCode::OK, &json!("replaced")), "{forced}");
    let by = room.json(room.get("/api/v1/services/Scanner")).1["registered"]["by"].clone();
    assert_eq!(by, "war room: somebody on this machine");
}

#[test]
fn readings_are_taken_as_the_receivers_take_them_and_only_from_who_may() {
    let at = Installation::new();
    at.register_text(SPEC, &["--no-wait"]);
    let belts = token_for("belts", "Belt", [Right::Emit, Right::Act]);
    let tokens = [belts, token("edge", [Right::Emit]), token("reader", [Right::Read])];
    let room = Room::open(&at, Tokens::new(tokens).unwrap());
    let reading = json!({"service": "Scanner", "sensor": "queue_time_seconds", "value": 31.5});
    let emit = |body: &Value, name: &str| room.json(room.post("/api/v1/emit", body).bearer_auth(secret(name)));
    assert_eq!(room.text(room.post("/api/v1/emit", &reading)).0, StatusCode::UNAUTHORIZED);
    assert_eq!(emit(&reading, "reader").0, StatusCode::FORBIDDEN);
    assert_eq!(emit(&reading, "belts").0, StatusCode::FORBIDDEN);
    assert_eq!(emit(&reading, "edge"), (StatusCode::OK, json!({"delivered": 1})));
    let unknown = json!([reading, {"service": "Scaner", "sensor": "queue_time_seconds", "value": 1}]);
    let (status, refused) = emit(&unknown, "edge");
    assert_eq!(
        (status, &refused["readings"][0]["reason"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("unknown_service"))
    );
    let kind = room.post("/api/v1/write", &reading).bearer_auth(secret("edge"));
    assert_eq!(room.text(kind).0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let export = json!({"resourceMetrics": []});
    assert_eq!(room.text(room.post("/v1/metrics", &export).bearer_auth(secret("edge"))).0, StatusCode::OK);
    let foreign = room.register(SPEC, "dry_run=true").bearer_auth(secret("belts"));
    assert_eq!(room.text(foreign).0, StatusCode::FORBIDDEN, "act over Belt alone");
    let metrics = room.text(room.get("/metrics")).1;
    assert!(metrics.contains("ops_receiver_delivered_total 1\n"), "{metrics}");
}
