//! The receivers as others see them: `ops collect --listen` over real HTTP, on a real cluster.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hms_ops::bus::{Isolation, Next, Offsets, Reader};
use hms_ops::codec;
use hms_ops::local::kafka::{LocalKafka, Options};
use hms_ops::model::reading::Reading;
use hms_ops::torture::Sabotage;
use serde_json::json;

use crate::rig::cluster::PATIENCE;
use crate::rig::fleet::{Fleet, Ops, kept_file, ops};

#[path = "receive/forms.rs"]
mod forms;
#[path = "receive/http.rs"]
pub mod http;

use forms::{otlp, packed, write_1, write_2};
use http::{Answer, post, request};

const SERVICE: &str = "DCA_Scanner";
const SENSOR: &str = "queue_time_seconds";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const SNAPPY: (&str, &str) = ("Content-Encoding", "snappy");
const TWO: (&str, &str) = ("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");

/// Topics with one service, and the receivers.
pub struct Collector {
    pub fleet: Fleet,
    _ops: Ops,
    /// Where it listens.
    pub address: String,
    /// Its configuration goes with it.
    _directory: tempfile::TempDir,
}

impl Collector {
    pub fn new(name: &str) -> Self {
        Self::start(Fleet::new(name), "", &[], &[])
    }

    fn start(fleet: Fleet, config: &str, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        fleet.register(&format!("id: {SERVICE}\nowner: TSA\nsensors:\n  - name: {SENSOR}\n"));
        let directory = tempfile::tempdir().unwrap();
        let file: PathBuf = directory.path().join("ops.toml");
        std::fs::write(&file, config).unwrap();
        let mut command = ops();
        command.args(["collect", "--no-scrape", "--listen", "127.0.0.1:0", "--config"]).arg(file).args(flags);
        command.args(["--brokers", fleet.settings.brokers(), "--topic-prefix", &fleet.prefix]);
        command.env_remove("OPS_METRICS").env("NO_COLOR", "1").envs(environment.iter().copied());
        let ops = Ops::spawn(command, kept_file(&format!("{}collect.log", fleet.prefix)));
        let address = address(&ops);
        Self { fleet, _ops: ops, address, _directory: directory }
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        post(&self.address, path, headers, body)
    }

    fn emit(&self, body: &str) -> Answer {
        self.post("/api/v1/emit", &[JSON], body.as_bytes())
    }

    /// The readings on `ops.metrics`.
    pub fn readings(&self) -> Vec<Reading<'static>> {
        let settings = &self.fleet.settings;
        let offsets = Offsets::new(settings).unwrap();
        let mut reader = Reader::all(settings, &offsets, &self.fleet.topics.metrics, Isolation::Committed).unwrap();
        let mut found = Vec::new();
        loop {
            match reader.next(PATIENCE).unwrap() {
                Next::Record(message) => {
                    let appended = message.timestamp().ms().unwrap();
                    let reading = codec::reading::decode(message.key(), message.value(), appended).unwrap();
                    assert_eq!(message.key(), Some(reading.service.as_bytes()), "the key is the service");
                    found.push(reading.into_owned());
                }
                Next::End => return found,
                Next::Idle => panic!("ops.metrics has no end"),
            }
        }
    }

    /// Time and value of each, in order of time.
    fn points(&self) -> Vec<(i64, f64)> {
        let mut points: Vec<_> = self.readings().iter().map(|reading| (reading.ts, reading.value)).collect();
        points.sort_by_key(|(ts, _)| *ts);
        points
    }
}

/// Where it listens: it says so when it does.
fn address(ops: &Ops) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = ops.said();
        let told = said.lines().find(|line| line.contains("readings are received"));
        if let Some(address) = told.and_then(|line| line.split("http://").nth(1)) {
            return address.trim().to_owned();
        }
        assert!(Instant::now() < deadline, "it does not listen\n{said}");
        // Nothing tells of a line in a file.
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn reading(ts: i64, value: f64) -> String {
    format!(r#"{{"service":"{SERVICE}","sensor":"{SENSOR}","ts":{ts},"value":{value}}}"#)
}

fn labels() -> [(&'static str, &'static str); 3] {
    [("__name__", SENSOR), ("job", SERVICE), ("pod", "p-1")]
}

#[test]
fn emitted_readings_are_there_when_they_are_answered() {
    let at = Collector::new("emit");
    let answer = at.emit(&reading(1_000, 31.2));
    assert_eq!((answer.status, answer.json()), (200, json!({"delivered": 1})), "{answer:?}");
    assert_eq!(at.points(), [(1_000, 31.2)]);
    assert_eq!(at.emit(&format!("[{},{}]", reading(2_000, 2.0), reading(3_000, 3.0))).json(), json!({"delivered": 2}));
    let lines = format!("{}\n\n{}\n", reading(4_000, 4.0), reading(5_000, 5.0));
    let answer = at.post("/api/v1/emit", &[("Content-Type", "application/x-ndjson")], lines.as_bytes());
    assert_eq!(answer.json(), json!({"delivered": 2}));
    assert_eq!(at.points(), [(1_000, 31.2), (2_000, 2.0), (3_000, 3.0), (4_000, 4.0), (5_000, 5.0)]);

    // One that would never count: it is named, and nothing of the request is published.
    let answer = at.emit(&format!("[{},{}]", reading(6_000, 6.0), reading(7_000, 7.0).replace("DCA", "DCB")));
    assert!(answer.is_problem(422, "refused_readings"), "{answer:?}");
    assert_eq!(answer.json()["readings"][0]["index"], 1);
    assert!(answer.json()["readings"][0]["detail"].as_str().unwrap().contains("did you mean DCA_Scanner?"));
    assert_eq!(at.readings().len(), 5);

    // What is registered while it runs is known a moment later.
    at.fleet.register(&format!("id: DCB_Scanner\nowner: TSA\nsensors:\n  - name: {SENSOR}\n"));
    let deadline = Instant::now() + PATIENCE;
    while at.emit(&reading(7_000, 7.0).replace("DCA", "DCB")).status != 200 {
        assert!(Instant::now() < deadline, "a new service is never known");
    }
    assert_eq!(at.readings().len(), 6);
}

#[test]
fn remote_writes_of_both_versions_arrive() {
    let at = Collector::new("write");
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let (mine, other) = (labels(), [("__name__", "up"), ("job", "node")]);
    let body = write_1(&[(&mine, &[(1_000, 1.5), (2_000, stale)]), (&other, &[(1_000, 1.0)])]);
    let answer = at.post("/api/v1/write", &[PROTOBUF, SNAPPY], &packed(&body));
    assert_eq!((answer.status, answer.json()), (200, json!({"taken": 1, "stale": 1, "ignored": 1})), "{answer:?}");
    assert_eq!(answer.header("x-prometheus-remote-write-samples-written"), None, "1.0 does not know it");

    let body = write_2(&[(&mine, &[(3_000, 3.5), (4_000, 4.5)]), (&other, &[(1_000, 1.0)])]);
    let answer = at.post("/api/v1/write", &[TWO, SNAPPY], &packed(&body));
    assert_eq!(answer.status, 200, "{answer:?}");
    for (what, written) in [("samples", "2"), ("histograms", "0"), ("exemplars", "0")] {
        let header = format!("x-prometheus-remote-write-{what}-written");
        assert_eq!(answer.header(&header), Some(written), "{answer:?}");
    }
    assert_eq!(at.points(), [(1_000, 1.5), (3_000, 3.5), (4_000, 4.5)]);
    assert!(at.readings().iter().all(|reading| reading.attributes["pod"] == "p-1"), "the label is kept");
}

#[test]
fn otlp_exports_arrive_and_are_refused_as_the_protocol_says() {
    let at = Collector::new("otlp");
    let answer = at.post("/v1/metrics", &[PROTOBUF], &otlp(SERVICE, "queue.time.seconds", 1_000, 1.5));
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    let json = format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{SERVICE}"}}}}]}},
        "scopeMetrics":[{{"metrics":[{{"name":"queue.time.seconds","gauge":{{"dataPoints":[
        {{"timeUnixNano":"2000000000","asInt":"17"}},{{"timeUnixNano":"3000000000","asDouble":"NaN"}}]}}}}]}}]}}]}}"#
    );
    let answer = at.post("/v1/metrics", &[JSON], json.as_bytes());
    assert_eq!(
        (answer.status, &answer.json()["partialSuccess"]["rejectedDataPoints"]),
        (200, &json!("1")),
        "{answer:?}"
    );
    assert_eq!(at.points(), [(1_000, 1.5), (2_000, 17.0)]);
    let answer = at.post("/v1/metrics", &[JSON], b"[1");
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(3)), "{answer:?}");
    let answer = at.post("/v1/metrics", &[PROTOBUF], b"\x0a\xff");
    assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/x-protobuf")), "{answer:?}");
    assert_eq!(answer.body[..2], [8, 3], "google.rpc.Status, INVALID_ARGUMENT");
}

/// Each hostile request has a control beside it: the same without what is hostile is taken.
#[test]
fn hostile_requests_are_problems_and_publish_nothing() {
    let at = Collector::new("hostile");
    let write = |headers: &[(&str, &str)], body: &[u8]| at.post("/api/v1/write", headers, body);
    let mine = labels();
    let good = packed(&write_1(&[(&mine, &[(1_000, 1.0)])]));
    let many: Vec<_> = (0..10_000).map(|number| format!("label{number:05}")).collect();
    let mut crowd: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "x")).collect();
    crowd.extend(mine);
    let good_2 = write_2(&[(&mine, &[(1_000, 1.0)])]);
    let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let mut cut = write_1(&[(&mine, &[(1_000, 1.0)])]);
    cut.truncate(cut.len() - 1);
    for (what, status, kind, headers, body) in [
        ("truncated snappy", 400, "bad_request", vec![PROTOBUF, SNAPPY], good[..good.len() - 1].to_vec()),
        ("a bomb", 413, "too_large", vec![PROTOBUF, SNAPPY], bomb.to_vec()),
        ("not packed", 415, "unsupported_media_type", vec![PROTOBUF], good_2.clone()),
        ("no protobuf", 415, "unsupported_media_type", vec![JSON, SNAPPY], good.clone()),
        (
            "wrong proto",
            415,
            "unsupported_media_type",
            vec![("Content-Type", "application/x-protobuf;proto=x"), SNAPPY],
            good.clone(),
        ),
        ("a message cut off", 400, "bad_request", vec![PROTOBUF, SNAPPY], packed(&cut)),
        (
            "10,000 labels",
            400,
            "bad_request",
            vec![PROTOBUF, SNAPPY],
            packed(&write_1(&[(&mine, &[(1_000, 1.0)]), (&crowd, &[(1_000, 1.0)])])),
        ),
        ("a symbol that is not there", 400, "bad_request", vec![TWO, SNAPPY], packed(&good_2[good_2.len() / 2..])),
        ("oversized", 413, "too_large", vec![PROTOBUF, SNAPPY], vec![0; 4 * 1024 * 1024 + 1]),
        ("cross-site", 403, "cross_site", vec![PROTOBUF, SNAPPY, ("Origin", "http://evil.example")], good.clone()),
        ("Origin: null", 403, "cross_site", vec![PROTOBUF, SNAPPY, ("Origin", "null")], good.clone()),
    ] {
        let answer = write(&headers, &body);
        assert!(answer.is_problem(status, kind), "{what}: {answer:?} {}", String::from_utf8_lossy(&answer.body));
    }
    let got = request(&at.address, "GET", "/api/v1/write", &[], b"").unwrap();
    assert!(got.is_problem(405, "method_not_allowed") && got.header("allow") == Some("post"), "{got:?}");
    assert!(at.emit("[{]").is_problem(400, "bad_json"));
    assert!(
        at.post("/api/v1/emit", &[("Content-Type", "text/plain")], b"{}").is_problem(415, "unsupported_media_type")
    );
    assert_eq!(at.readings().len(), 0);

    let origin = format!("http://{}", at.address);
    for headers in [vec![PROTOBUF, SNAPPY], vec![PROTOBUF, SNAPPY, ("Origin", origin.as_str())]] {
        assert_eq!(write(&headers, &good).status, 200);
    }
    assert_eq!(write(&[TWO, SNAPPY], &packed(&good_2)).status, 200);
    assert_eq!(at.readings().len(), 3);
}

#[test]
fn a_token_sends_for_its_services_alone() {
    let tokens = "[[tokens]]\nname = \"edge\"\ntoken_env = \"EDGE\"\nservices = [\"DCA_*\"]\nmay = [\"emit\"]\n\
                  [[tokens]]\nname = \"reader\"\ntoken_env = \"READER\"\nservices = [\"*\"]\nmay = [\"read\"]\n\
                  [[tokens]]\nname = \"other\"\ntoken_env = \"OTHER\"\nservices = [\"JFK_*\"]\nmay = [\"emit\"]\n";
    let secrets = [("EDGE", "edge-0123456789ab"), ("READER", "reader-0123456789"), ("OTHER", "other-0123456789a")];
    let at = Collector::start(Fleet::new("tokens"), tokens, &[], &secrets);
    let body = reading(1_000, 1.0);
    let emit = |token: &str| at.post("/api/v1/emit", &[JSON, ("Authorization", token)], body.as_bytes());
    let without = at.emit(&body);
    assert!(without.is_problem(401, "unauthorized") && without.header("www-authenticate").is_some(), "{without:?}");
    assert!(emit("Bearer wrong-0123456789").is_problem(401, "unauthorized"));
    assert!(emit("Bearer reader-0123456789").is_problem(403, "forbidden"));
    let other = emit("Bearer other-0123456789a");
    assert!(other.is_problem(403, "forbidden") && other.json()["service"] == SERVICE, "{other:?}");
    let mine = labels();
    let write = packed(&write_2(&[(&mine, &[(1_000, 1.0)])]));
    let answer = at.post("/api/v1/write", &[TWO, SNAPPY, ("Authorization", "Bearer other-0123456789a")], &write);
    assert_eq!((answer.status, answer.json()), (200, json!({"forbidden": 1})), "{answer:?}");
    let refused = at.post("/v1/metrics", &[JSON], b"{}");
    assert_eq!((refused.status, &refused.json()["code"]), (401, &json!(16)), "{refused:?}");
    assert_eq!(at.readings().len(), 0);
    assert_eq!(emit("Bearer edge-0123456789ab").status, 200);
    assert_eq!(at.readings().len(), 1);
}

#[test]
fn without_tokens_it_listens_on_loopback_alone() {
    let fleet = Fleet::new("exposed");
    let mut command = ops();
    command.args(["collect", "--no-scrape", "--listen", "0.0.0.0:0", "--brokers", fleet.settings.brokers()]);
    let output = command.args(["--topic-prefix", &fleet.prefix]).env_remove("OPS_CONFIG").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("[[tokens]]"), "{said}");
    let output = ops().args(["collect", "--no-scrape", "--brokers", fleet.settings.brokers()]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("give --listen"), "{output:?}");
}

/// Answers of an outage: readings by value that were acknowledged, and what was told otherwise.
struct Outage {
    acknowledged: BTreeSet<u64>,
    statuses: BTreeSet<u16>,
    there: BTreeSet<u64>,
}

/// Emits one reading after the other from several senders while the broker is killed and comes back.
///
/// ```text
/// senders:  200 200 200 | 503 429 503 .. | 200 200      |: the broker is killed, and back
/// ```
fn outage(sabotage: Option<Sabotage>) -> Outage {
    let mut kafka = LocalKafka::start(&Options::default()).unwrap();
    let environment = sabotage.map(|guard| ("OPS_SABOTAGE", guard.name()));
    let flags = ["--patience", "1", "--max-under-way", "2"];
    let fleet = Fleet::on(kafka.brokers(), "receive-outage");
    let at = Collector::start(fleet, "", &flags, environment.as_slice());
    let (seen, done) = (Mutex::new((BTreeSet::new(), BTreeSet::new())), AtomicBool::new(false));
    let count = |status: u16| {
        let seen = seen.lock().unwrap();
        if status == 200 { seen.0.len() } else { usize::from(seen.1.contains(&status)) }
    };
    let wait = |what: &str, came: &dyn Fn() -> bool| {
        let deadline = Instant::now() + PATIENCE;
        while !came() {
            assert!(Instant::now() < deadline, "{what} never came");
            // The senders go on; nothing else tells.
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    std::thread::scope(|scope| {
        for sender in 0..4_u64 {
            let (at, seen, done) = (&at, &seen, &done);
            scope.spawn(move || {
                for number in (sender..).step_by(4).take_while(|_| !done.load(Ordering::Relaxed)) {
                    let body = reading(1_000, number as f64);
                    let answer = post(&at.address, "/api/v1/emit", &[JSON], body.as_bytes());
                    assert!(answer.status != 429 || answer.header("retry-after") == Some("1"), "{answer:?}");
                    assert!(answer.status != 503 || answer.json()["undelivered"] == 1, "{answer:?}");
                    let mut seen = seen.lock().unwrap();
                    seen.1.insert(answer.status);
                    if answer.status == 200 {
                        seen.0.insert(number);
                    }
                }
            });
        }
        wait("the first acknowledgements", &|| count(200) > 100);
        kafka.kill_and_restart(PATIENCE).unwrap();
        let before = count(200);
        wait("acknowledgements after the outage", &|| count(200) > before + 100);
        done.store(true, Ordering::Relaxed);
    });
    let there = at.readings().iter().map(|reading| reading.value as u64).collect();
    let (acknowledged, statuses) = seen.into_inner().unwrap();
    Outage { acknowledged, statuses, there }
}

#[test]
fn nothing_is_acknowledged_that_is_not_there_though_the_broker_is_killed() {
    let Outage { acknowledged, statuses, there } = outage(None);
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged, and not there: {lost:?}");
    // 429: only two may wait; 503: they have waited too long.
    assert_eq!(statuses, [200, 429, 503].into());
}

#[test]
fn an_answer_before_the_acknowledgement_is_noticed() {
    let Outage { acknowledged, there, .. } = outage(Some(Sabotage::AnswerBeforeAcknowledged));
    assert!(acknowledged.difference(&there).count() > 0, "the guard is gone, and nothing is missing");
}
