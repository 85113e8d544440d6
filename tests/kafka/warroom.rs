//! The war room over HTTP, on a real Kafka with a real processor: what it shows, what it tells, what it refuses.

#[path = "warroom/document.rs"]
pub mod document;
#[path = "warroom/login.rs"]
mod login;
#[path = "warroom/write.rs"]
mod write;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use hms_ops::warroom::{Options, WarRoom};
use hms_ops::web::{Right, Scope, Token, Tokens};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::harness::*;
use crate::sdk::{Installation, Processor};

const SPEC: &str = "id: Scanner\nowner: TSA\nsensors:\n  - name: queue_time_seconds\nslo:\n  target: queue_time_seconds\n  \
                    threshold: 30\n  window_seconds: 300\n  min_samples: 3\nplaybook:\n  - if: slo_breach\n    then: \
                    scale_up compute=+2\n";

/// A war room and who asks it.
pub struct Room {
    room: Option<WarRoom>,
    pub client: Client,
    runtime: Runtime,
}

impl Room {
    pub fn open(at: &Installation, tokens: Tokens) -> Self {
        Self::with(Options { tokens, ..Self::options(at) })
    }

    fn options(at: &Installation) -> Options {
        let group = format!("{}processor", at.prefix);
        Options { group, ..Options::new(settings(), at.topics.clone(), "127.0.0.1:0".parse().unwrap()) }
    }

    fn with(options: Options) -> Self {
        let room = WarRoom::start(options).unwrap();
        // The error only says that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let room = Self { room: Some(room), client, runtime };
        room.until("ready", || (room.text(room.get("/readyz")).0 == StatusCode::OK).then_some(()));
        room
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(self.url(path)).json(body).header("x-ops", "1")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.room.as_ref().unwrap().address())
    }

    /// The answer to a body that says that it is longer than may be; nothing of it is sent.
    fn announce(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.room.as_ref().unwrap().address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nx-ops: 1\r\nContent-Type: application/json\r\n\
             Content-Length: 5000000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn send(&self, request: RequestBuilder) -> Response {
        self.runtime.block_on(request.send()).unwrap()
    }

    pub fn text(&self, request: RequestBuilder) -> (StatusCode, String) {
        let response = self.send(request);
        (response.status(), self.runtime.block_on(response.text()).unwrap())
    }

    pub fn json(&self, request: RequestBuilder) -> (StatusCode, Value) {
        let (status, text) = self.text(request);
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// Asks until there is an answer.
    pub fn until<T>(&self, what: &str, ask: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(Instant::now() < deadline, "{what} never came");
        }
    }

    fn stream(&self, last: Option<&str>) -> Stream<'_> {
        self.stream_of("/api/v1/stream", last)
    }

    fn stream_of(&self, path: &str, last: Option<&str>) -> Stream<'_> {
        let request = self.get(path);
        let request = last.iter().fold(request, |request, last| request.header("last-event-id", *last));
        let response = self.send(request);
        assert_eq!(response.status(), StatusCode::OK);
        Stream { room: self, response, buffer: String::new() }
    }
}

/// A token for all services, whose text is its name.
fn token(name: &str, may: impl IntoIterator<Item = Right>) -> Token {
    token_for(name, "*", may)
}

fn token_for(name: &str, services: &str, may: impl IntoIterator<Item = Right>) -> Token {
    Token::new(name, &secret(name), Scope::new(&[services.to_owned()]).unwrap(), may).unwrap()
}

fn secret(name: &str) -> String {
    format!("the-secret-of-{name}")
}

/// Server-sent events as a browser takes them.
struct Stream<'a> {
    room: &'a Room,
    response: Response,
    buffer: String,
}

#[derive(Debug)]
struct Sent {
    id: Option<String>,
    name: String,
    data: Value,
}

impl Stream<'_> {
    /// None when the stream has ended.
    fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                let sent = Sent {
                    id: field("id").map(str::to_owned),
                    name: field("event").unwrap_or_default().to_owned(),
                    data: serde_json::from_str(field("data").unwrap_or("null")).unwrap(),
                };
                self.buffer = rest.to_owned();
                return Some(sent);
            }
            let chunk = self.room.runtime.block_on(async {
                tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("the stream says nothing")
            });
            self.buffer.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }

    fn until(&mut self, wanted: impl Fn(&Sent) -> bool) -> Sent {
        loop {
            let sent = self.next().expect("the stream goes on");
            if wanted(&sent) {
                return sent;
            }
        }
    }
}

fn emit(at: &Installation, value: &str, n: usize) {
    let rows = format!("{{\"value\":{value}}}\n").repeat(n);
    let flags = ["emit", "--stdin", "--service", "Scanner", "--sensor", "queue_time_seconds"];
    let shown = at.ops_with(&flags, &rows);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
}

fn is_breached(sent: &Sent) -> bool {
    sent.name == "statuses"
        && sent.data["statuses"].as_array().unwrap().iter().any(|one| one["slo_state"] == "breached")
}

/// Healthy readings, then bad ones: the stream tells of the breach, the paths show incident and request; cut off and
/// back again, a stream misses nothing; a new war room shows the same.
#[test]
fn what_happens_is_told_and_can_be_asked_for() {
    let at = Installation::new();
    let _processor = Processor::start(&at);
    let shown = at.register_text(SPEC, &["--wait", "60"]);
    assert!(shown.code == Some(0), "{shown:?}");
    let mut room = Room::open(&at, Tokens::default());
    let mut stream = room.stream(None);
    let reset = stream.next().unwrap();
    assert_eq!((reset.name.as_str(), &reset.data["services"][0]["service"]), ("reset", &json!("Scanner")));

    emit(&at, "12", 20);
    stream.until(|sent| sent.name == "statuses" && sent.data["statuses"][0]["n"] == 20);
    emit(&at, "38", 5);
    let opened = stream.until(|sent| sent.name == "incident" && sent.data["event"] == "opened");
    assert!(opened.data["incident"] == "Scanner.1" && opened.data["over"].as_u64() >= Some(2), "{opened:?}");
    let had = opened.id.clone().unwrap();
    stream.until(is_breached);
    drop(stream);
    room.stream(Some(&had)).until(is_breached);

    let (_, story) = room.json(room.get("/api/v1/incidents/Scanner.1"));
    let kinds: Vec<_> = story["events"].as_array().unwrap().iter().map(|event| event["event"].clone()).collect();
    assert_eq!(kinds, ["opened", "requested"], "{story}");
    assert_eq!((&story["actions"][0]["verb"], &story["actions"][0]["state"]), (&json!("scale_up"), &json!("waiting")));
    let (_, open) = room.json(room.get("/api/v1/incidents?state=open&service=Scanner"));
    assert_eq!(open["incidents"].as_array().unwrap().len(), 1, "{open}");
    assert_eq!(room.json(room.get("/api/v1/incidents?state=over")).1["incidents"], json!([]));

    let (_, one) = room.json(room.get("/api/v1/services/Scanner"));
    assert_eq!((&one["slo"]["threshold"], &one["registered"]["text"]), (&json!(30.0), &json!(SPEC)), "{one}");
    assert!(one["as_of"].is_i64() && one["quality"] == "fresh", "{one}");
    let series = || room.json(room.get("/api/v1/services/Scanner/series?points=10")).1["points"].clone();
    room.until("25 readings in the rollups", || {
        let points = series();
        let n: u64 = points.as_array()?.iter().filter_map(|point| point["n"].as_u64()).sum();
        (n == 25).then_some(())
    });

    let mut edge = room.stream_of("/api/v1/services/Scanner/live?sensor=queue_time_seconds", None);
    let mut seen = 0;
    while seen < 25 {
        seen += edge.next().unwrap().data["readings"].as_array().unwrap().len();
    }
    emit(&at, "39", 1);
    edge.until(|sent| sent.data["readings"].as_array().unwrap().iter().any(|point| point["value"] == 39.0));
    drop(edge);

    let before = room.json(room.get("/api/v1/incidents")).1["incidents"].clone();
    room = Room::open(&at, Tokens::default());
    assert_eq!(room.json(room.get("/api/v1/incidents")).1["incidents"], before);
    let reset = room.stream(Some(&had)).next().unwrap();
    assert_eq!((reset.name.as_str(), &reset.data["services"][0]["slo_state"]), ("reset", &json!("breached")));
}

#[test]
fn who_has_the_newest_version_is_told_so_until_something_changes() {
    let at = Installation::new();
    at.register_text(SPEC, &["--no-wait"]);
    let room = Room::open(&at, Tokens::default());
    let tag = room.send(room.get("/api/v1/services")).headers()["etag"].clone();
    let asked = || room.send(room.get("/api/v1/services").header("if-none-match", tag.clone())).status();
    assert_eq!(asked(), StatusCode::NOT_MODIFIED);
    let (status, _) = room.text(room.post("/api/v1/freeze", &json!({"reason": "a test"})));
    assert_eq!(status, StatusCode::OK);
    room.until("a new version", || (asked() == StatusCode::OK).then_some(()));
}

#[test]
fn what_may_not_be_is_a_problem_and_changes_nothing() {
    let at = Installation::new();
    at.register_text(SPEC, &["--no-wait"]);
    let room = Room::open(&at, Tokens::default());
    let frozen = || room.json(room.get("/api/v1/actions")).1["frozen"].clone();
    let body = json!({"reason": "a test"});
    let refused = [
        (room.get("/api/v1/services/Scaner"), 404, "did you mean Scanner"),
        (room.get("/api/v1/services/..%2F..%2Fetc"), 404, "no service"),
        (room.get("/api/v1/services/Scanner/series?sensor=x"), 404, "no sensor"),
        (room.get("/api/v1/services/Scanner/series?from=2&to=1"), 400, "before"),
        (room.get("/api/v1/incidents/Scanner.1"), 404, "no incident"),
        (room.get("/api/v1/incidents/<script>"), 404, "no incident"),
        (room.get("/api/v1/incidents?state=x"), 400, "state"),
        (room.get("/api/v1/freeze"), 405, ""),
        (room.get("/api/v1/incidents/..%2F..%2Fetc%2Fpasswd.1"), 404, "no incident"),
        (room.get("/api/v1/incidents/Scanner.1/explain"), 404, "no opening"),
        (room.get("/api/v1/incidents/Scanner.1/vault"), 404, "no_vault"),
        (room.get("/api/v1/incidents/..%2F..%2Fetc.1/vault"), 404, "no incident"),
        (room.get("/api/v1/nothing"), 404, "no page"),
        (room.client.delete(room.url("/api/v1/services/Scanner")), 405, "DELETE"),
        (room.get("/api/v1/services").header("host", "evil.example"), 403, "localhost"),
        (room.client.post(room.url("/api/v1/freeze")).json(&body), 400, "x-ops"),
        (room.post("/api/v1/freeze", &json!({"reason": "a\nb"})), 400, "one line"),
        (room.post("/api/v1/freeze", &json!({"reason": "a", "all": true})), 400, "all"),
        (room.post("/api/v1/freeze", &json!({"service": "Scaner", "reason": "a"})), 404, "Scanner"),
        (room.post("/api/v1/freeze", &body).header("origin", "null"), 403, "another site"),
        (room.post("/api/v1/freeze", &body).header("origin", "http://evil.example"), 403, "another site"),
    ];
    for (request, status, said) in refused {
        let (found, text) = room.text(request);
        assert!(found.as_u16() == status && text.contains(said) && text.contains("\"type\""), "{found}: {text}");
    }
    assert!(room.announce("/api/v1/freeze").contains("urn:hms-ops:problem:too_large"));
    assert_eq!(frozen(), json!([]));
    // The control: what is asked for rightly is done, and shows.
    let asked = json!({"service": "Scanner", "reason": "a deploy"});
    let (status, event) = room.json(room.post("/api/v1/freeze", &asked));
    assert_eq!((status, &event["event"]), (StatusCode::OK, &json!("frozen")), "{event}");
    room.until("the freeze", || (frozen()[0]["service"] == "Scanner").then_some(()));
    // Another reader than that of the actions tells this one.
    let shown = || room.json(room.get("/api/v1/services/Scanner")).1["frozen"]["reason"] == "a deploy";
    room.until("the freeze at the service", || shown().then_some(()));
    assert_eq!(room.text(room.post("/api/v1/thaw", &asked)).0, StatusCode::OK);
    room.until("the thaw", || (frozen() == json!([])).then_some(()));
}

#[test]
fn a_token_shows_its_own_services_and_no_others() {
    let at = Installation::new();
    at.register_text(SPEC, &["--no-wait"]);
    at.register_text(&SPEC.replace("Scanner", "Belt"), &["--no-wait"]);
    let belts = token_for("belts", "Belt", [Right::Read]);
    let tokens = [belts, token("all", [Right::Read]), token("edge", [Right::Emit])];
    let room = Room::open(&at, Tokens::new(tokens).unwrap());
    let asks = |name: &str, path: &str| room.get(path).bearer_auth(secret(name));
    let status = |name: &str, path: &str| room.text(asks(name, path)).0.as_u16();
    assert_eq!(room.text(room.get("/api/v1/services")).0, StatusCode::UNAUTHORIZED);
    let listed = room.json(asks("belts", "/api/v1/services")).1;
    let names: Vec<_> = listed["services"].as_array().unwrap().iter().map(|one| one["service"].clone()).collect();
    assert_eq!(names, ["Belt"]);
    assert_eq!(status("belts", "/api/v1/services/Belt"), 200);
    assert_eq!(status("belts", "/api/v1/services/Scanner"), 403);
    assert_eq!(status("belts", "/api/v1/incidents/Scanner.1"), 403);
    assert_eq!(status("belts", "/api/v1/stream"), 403);
    assert_eq!(status("edge", "/api/v1/services"), 403);
    assert_eq!(room.json(asks("all", "/api/v1/services")).1["services"].as_array().unwrap().len(), 2);
    let freeze = room.post("/api/v1/freeze", &json!({"reason": "x"})).bearer_auth(secret("all"));
    assert_eq!(room.text(freeze).0, StatusCode::FORBIDDEN);
}
