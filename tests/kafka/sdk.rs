//! `ops register`, `ops services`, `ops emit`, `ops status` as a shell sees them: first where no processor runs, at
//! the end with one.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hms_ops::bus::{Admin, Isolation, Next, Offsets, Reader, TopicSpec};
use hms_ops::codec;
use hms_ops::model::reading::Reading;
use hms_ops::model::topic_files::{Overrides, declared};
use hms_ops::model::topics::Topics;
use hms_ops::sdk::status::{Board, Quality, SloState, Status};
use hms_ops::telemetry::clock::now_ms;

use crate::harness::*;

const PARTITIONS: i32 = 4;

/// Topics of its own, and `ops` that uses them.
pub struct Installation {
    pub prefix: String,
    pub topics: Topics,
}

impl Installation {
    pub fn new() -> Self {
        Self::of(PARTITIONS)
    }

    pub fn of(partitions: i32) -> Self {
        let prefix = unique("sdk") + ".";
        let admin = Admin::new(&settings()).unwrap();
        let overrides = Overrides { prefix: prefix.clone(), partitions: Some(partitions), ..Overrides::default() };
        for topic in declared(&overrides) {
            let spec = TopicSpec {
                name: topic.name,
                partitions: topic.partitions,
                replication: topic.replication,
                configs: topic.config,
            };
            assert!(admin.create_topic(&spec).unwrap());
        }
        Self { topics: Topics::new(&prefix), prefix }
    }

    /// `ops` for these topics.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
        command.args(args).env("OPS_BROKERS", brokers()).env("OPS_TOPIC_PREFIX", &self.prefix);
        command.env_remove("OPS_SERVICE").stdin(Stdio::null());
        command
    }

    fn ops(&self, args: &[&str]) -> Shown {
        Shown::of(&self.command(args).output().unwrap())
    }

    pub fn ops_with(&self, args: &[&str], input: &str) -> Shown {
        let mut child =
            self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Shown::of(&child.wait_with_output().unwrap())
    }

    /// Registers a service of one sensor, `queue_time_seconds`.
    fn register(&self, id: &str, owner: &str, flags: &[&str]) -> Shown {
        self.register_text(&spec(id, owner), flags)
    }

    pub fn register_text(&self, text: &str, flags: &[&str]) -> Shown {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.ops.yaml");
        fs::write(&file, text).unwrap();
        self.ops(&[&["register", file.to_str().unwrap()], flags].concat())
    }

    /// The readings of `ops.metrics` with their partitions, by our own decoder.
    fn readings(&self) -> Vec<(i32, Reading<'static>)> {
        let offsets = Offsets::new(&settings()).unwrap();
        let mut reader = Reader::all(&settings(), &offsets, &self.topics.metrics, Isolation::Committed).unwrap();
        let mut found = Vec::new();
        loop {
            match reader.next(PATIENCE).unwrap() {
                Next::Record(message) => {
                    let appended = message.timestamp().ms().unwrap();
                    let reading = codec::reading::decode(message.key(), message.value(), appended).unwrap();
                    found.push((message.partition(), reading.into_owned()));
                }
                Next::End => return found,
                Next::Idle => panic!("{} has no end", self.topics.metrics),
            }
        }
    }

    /// How many records a topic has.
    fn length(&self, topic: &str) -> i64 {
        let offsets = Offsets::new(&settings()).unwrap();
        (0..PARTITIONS).map(|partition| offsets.watermarks(topic, partition).unwrap().high).sum()
    }
}

/// What a shell sees of a command.
#[derive(Debug)]
pub struct Shown {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Shown {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

fn spec(id: &str, owner: &str) -> String {
    format!(
        "id: {id}\nowner: {owner}\nsensors:\n  - name: queue_time_seconds\nplaybook:\n  - always:\n    log_to: HMS-DTA\n"
    )
}

/// `ops process` of an installation; it is killed when the test ends.
pub struct Processor(Child);

impl Processor {
    pub fn start(at: &Installation) -> Self {
        let group = format!("{}processor", at.prefix);
        let mut command = at.command(&["process", "--group", &group]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Follows the status until it is as wanted.
fn wait_for(board: &mut Board, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = board.view().statuses(now_ms()).pop().unwrap();
        if wanted(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{what} never came: {status:#?}");
        board.wait(Duration::from_secs(1)).unwrap();
    }
}

/// Where readings of a service belong.
fn home(id: &str) -> i32 {
    hms_ops::model::ids::home_partition(id, PARTITIONS)
}

#[test]
fn register_publishes_the_text_and_says_that_no_processor_runs() {
    let at = Installation::new();
    let shown = at.register("Scanner", "TSA", &["--wait", "1"]);
    assert_eq!((shown.code, shown.out.as_str()), (Some(0), "Scanner\n"), "{}", shown.err);
    assert!(shown.err.contains("registered; no processor has taken it up yet"), "{}", shown.err);

    let shown = at.ops(&["services", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((&json["service"], &json["owner"]), (&"Scanner".into(), &"TSA".into()), "{json}");
    assert_eq!(json["sensors"], serde_json::json!(["queue_time_seconds"]));

    // The same again is nothing, and a record of ops.services is not repeated for it.
    let shown = at.register("Scanner", "TSA", &["--no-wait"]);
    assert!(shown.err.contains("was registered before"), "{}", shown.err);
    assert_eq!(at.length(&at.topics.services), 1);
}

#[test]
fn another_owners_service_is_refused_without_force() {
    let at = Installation::new();
    assert_eq!(at.register("Scanner", "TSA", &["--no-wait"]).code, Some(0));
    let shown = at.register("Scanner", "CBP", &["--no-wait"]);
    assert_eq!((shown.code, shown.out.as_str()), (Some(1), ""));
    assert!(shown.err.contains("Scanner belongs to TSA, and this spec says CBP"), "{}", shown.err);
    let shown = at.register("Scanner", "CBP", &["--dry-run", "--force"]);
    assert!(shown.code == Some(0) && shown.err.contains("would take the place"), "{}", shown.err);
    assert_eq!(at.length(&at.topics.services), 1);
    assert_eq!(at.register("Scanner", "CBP", &["--no-wait", "--force"]).code, Some(0));
    assert!(at.ops(&["services"]).out.contains("CBP"));
}

#[test]
fn a_bad_spec_is_shown_as_by_check_and_nothing_is_published() {
    let at = Installation::new();
    let shown = at.register_text("id: Scanner\nowner: TSA\nsensros: []\n", &[]);
    assert_eq!((shown.code, shown.out.as_str()), (Some(1), ""));
    assert!(shown.err.contains("x.ops.yaml:3:1: error:") && shown.err.contains("sensors"), "{}", shown.err);
    assert_eq!(at.length(&at.topics.services), 0);
}

#[test]
fn unregister_leaves_a_tombstone() {
    let at = Installation::new();
    at.register("Scanner", "TSA", &["--no-wait"]);
    let shown = at.ops(&["unregister", "Scaner", "--no-wait"]);
    assert!(shown.code == Some(1) && shown.err.contains("did you mean Scanner?"), "{shown:?}");
    assert_eq!(at.ops(&["unregister", "Scanner", "--no-wait"]).code, Some(0));
    assert_eq!((at.ops(&["services"]).out.as_str(), at.length(&at.topics.services)), ("", 2));
}

#[test]
fn readings_land_in_the_home_partition() {
    let at = Installation::new();
    for id in ["Scanner", "Gate", "Belt"] {
        at.register(id, "TSA", &["--no-wait"]);
        let shown = at.ops(&["emit", "queue_time_seconds", "31.2", "--service", id, "--ts", "77", "--attr", "pod=a"]);
        assert_eq!(shown.code, Some(0), "{}", shown.err);
        assert!(shown.err.contains("1 delivered"), "{}", shown.err);
    }
    let readings = at.readings();
    assert_eq!(readings.len(), 3);
    for (partition, reading) in readings {
        assert_eq!(partition, home(&reading.service), "{reading:?}");
        assert_eq!((reading.ts, reading.value, &*reading.attributes["pod"]), (77, 31.2, "a"));
    }
}

#[test]
fn wrong_names_and_values_are_refused_with_what_was_meant_and_not_published() {
    let at = Installation::new();
    at.register("Scanner", "TSA", &["--no-wait"]);
    for (args, said) in [
        (["queue_time_secs", "1", "--service", "Scanner"], "did you mean queue_time_seconds?"),
        (["queue_time_seconds", "1", "--service", "scaner"], "did you mean Scanner?"),
        (["queue_time_seconds", "NaN", "--service", "Scanner"], "NaN is not finite"),
    ] {
        let shown = at.ops(&[&["emit"], &args[..]].concat());
        assert!(shown.code == Some(1) && shown.err.contains(said), "{shown:?}");
    }
    let without = at.ops(&["emit", "queue_time_seconds", "1"]);
    assert!(without.code == Some(1) && without.err.contains("OPS_SERVICE"), "{without:?}");
    assert_eq!(at.length(&at.topics.metrics), 0);
}

#[test]
fn rows_from_stdin_are_sent_and_bad_ones_named_by_their_line() {
    let at = Installation::new();
    at.register("Scanner", "TSA", &["--no-wait"]);
    let rows = "{\"ts\":5,\"value\":1}\n{\"ts\":6,\"value\":\"NaN\"}\n{\"ts\":7,\"value\":3,\"sensor\":\"x\"}\n";
    let flags = ["emit", "--stdin", "--service", "Scanner", "--sensor", "queue_time_seconds"];
    let shown = at.ops_with(&flags, rows);
    assert_eq!(shown.code, Some(1));
    assert!(
        shown.err.contains("line 2: NaN") && shown.err.contains("line 3: Scanner has no sensor \"x\""),
        "{shown:?}"
    );
    assert!(shown.err.contains("1 delivered, 2 refused"), "{shown:?}");
    let broken = at.ops_with(&flags, "timestamp,value\n8,1\n9,x\n");
    assert!(
        broken.code == Some(2) && broken.err.contains("record 2") && broken.err.contains("1 delivered"),
        "{broken:?}"
    );
    let times: Vec<_> = at.readings().iter().map(|(_, reading)| reading.ts).collect();
    assert_eq!(times, [5, 8]);
}

/// A day in a second: distances shrink, and every reading carries the time at which it was sent.
#[test]
fn retime_maps_recorded_time_onto_now_and_waits_until_it_is_due() {
    let at = Installation::new();
    at.register("Scanner", "TSA", &["--no-wait"]);
    let rows = "timestamp,value\n2015-07-10 00:00:00,1\n2015-07-10 12:00:00,2\n2015-07-11 00:00:00,3\n";
    let flags = ["emit", "--stdin", "--service", "Scanner", "--sensor", "queue_time_seconds", "--retime", "86400"];
    let before = now_ms();
    let shown = at.ops_with(&flags, rows);
    let after = now_ms();
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    let times: Vec<_> = at.readings().iter().map(|(_, reading)| reading.ts).collect();
    assert_eq!([times[1] - times[0], times[2] - times[0]], [500, 1000]);
    assert!(before <= times[0] && times[2] <= after, "{before} {times:?} {after}");
}

/// `kcat` hashes keys by CRC32: only a value of ours is at home for sure, but both are readings.
#[test]
fn a_plain_client_emits_json_that_our_decoder_reads() {
    let at = Installation::new();
    at.register("Scanner", "TSA", &["--no-wait"]);
    let child = Command::new("kcat")
        .args(["-P", "-b", brokers(), "-t", &at.topics.metrics, "-k", "Scanner"])
        .stdin(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if std::env::var_os("OPS_TEST_REQUIRE_TOOLS").is_none() => {
            eprintln!("kcat is not here ({error}); set OPS_TEST_REQUIRE_TOOLS to fail for it");
            return;
        }
        Err(error) => panic!("kcat: {error}"),
    };
    child.stdin.take().unwrap().write_all(b"{\"sensor\":\"queue_time_seconds\",\"value\":31.2}\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(at.ops(&["emit", "queue_time_seconds", "31.2", "--service", "Scanner"]).code, Some(0));
    let readings = at.readings();
    assert_eq!(readings.len(), 2);
    assert!(readings.iter().any(|(partition, _)| *partition == home("Scanner")));
    for (_, reading) in readings {
        assert_eq!((&*reading.service, reading.value), ("Scanner", 31.2));
    }
}

#[test]
fn without_a_cluster_the_error_says_where_it_was_looked_for() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_ops")).args(["services", "--brokers", "127.0.0.1:1"]).output().unwrap();
    let shown = Shown::of(&output);
    assert_eq!(shown.code, Some(2));
    assert!(shown.err.contains("no Kafka answers at 127.0.0.1:1"), "{}", shown.err);
}

/// Registered, taken up; good readings: healthy; bad ones: breached at once; a wrong one: in the dead letters;
/// unregistered: gone.
#[test]
fn with_a_processor_the_whole_life_of_a_service_shows() {
    let at = Installation::new();
    let text = format!(
        "{}slo:\n  target: queue_time_seconds\n  threshold: 30\n  window_seconds: 300\n  min_samples: 3\n",
        spec("Scanner", "TSA")
    );
    let shown = at.register_text(&text, &["--no-wait"]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    let shown = at.ops(&["status", "Scanner"]);
    assert!(shown.code == Some(2) && shown.out.contains("unknown (inactive"), "{shown:?}");

    let _processor = Processor::start(&at);
    // Not new, but nobody has taken it up before.
    let shown = at.register_text(&text, &["--wait", "60"]);
    assert!(shown.code == Some(0) && shown.err.contains("the processor"), "{shown:?}");
    assert!(!shown.err.contains("no processor"), "{shown:?}");
    let began = Instant::now();
    let shown = at.register_text(&text, &["--wait", "60"]);
    assert!(shown.err.contains("the processor judges by it"), "{shown:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "the same text again is found, not waited for");

    let emit = |value: &str, n: usize| {
        let rows = format!("{{\"value\":{value}}}\n").repeat(n);
        let flags = ["emit", "--stdin", "--service", "Scanner", "--sensor", "queue_time_seconds"];
        let shown = at.ops_with(&flags, &rows);
        assert_eq!(shown.code, Some(0), "{}", shown.err);
    };
    let mut board = Board::open(&settings(), &at.topics, Some("Scanner")).unwrap();
    emit("12", 20);
    let status = wait_for(&mut board, "healthy", |status| status.n == Some(20));
    assert_eq!((status.slo_state, status.quality, status.over), (SloState::Healthy, Quality::Fresh, Some(0)));
    assert_eq!(status.p95_estimate, Some(12.0));

    emit("38", 5);
    let status = wait_for(&mut board, "breached", |status| status.slo_state == SloState::Breached);
    assert_eq!(status.open_incidents[0].incident.to_string(), "Scanner.1");
    let status = wait_for(&mut board, "its counts", |status| status.over == Some(5));
    assert_eq!((status.n, status.rank), (Some(25), Some(24)));

    produce(&at.topics.metrics, home("Scanner"), &["{\"service\":\"Scanner\",\"sensor\":\"nope\",\"value\":1}"]);
    let status = wait_for(&mut board, "the dead letter", |status| status.last_rejected.is_some());
    assert_eq!(serde_json::to_value(&status.rejected).unwrap(), serde_json::json!({"unknown_sensor": 1}));

    let shown = at.ops(&["status", "Scanner", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((shown.code, &json["slo_state"], &json["over"]), (Some(1), &"breached".into(), &5.into()), "{json}");
    assert_eq!(at.ops(&["status"]).code, Some(1));

    let shown = at.ops(&["unregister", "Scanner", "--wait", "60"]);
    assert!(shown.code == Some(0) && shown.err.contains("taken it up"), "{shown:?}");
    let shown = at.ops(&["status"]);
    assert!(shown.code == Some(2) && shown.err.contains("no service is registered"), "{shown:?}");
}
