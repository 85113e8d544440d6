//! With a schema registry: everything that is decided is in the wire format, readings are taken in all forms, and what the
//! registry does not explain waits. The registry is the twin, or the real one of `OPS_TEST_REGISTRY`.
//!
//! ```text
//! ops.metrics/p:    s s s s  j j j j  f f f f        s: single object  j: JSON  f: wire format: all count alike
//! ops.incidents/p:  F F F F                          F: wire format, by the id of its subject
//!
//! registry:         up .... down ................ up
//! ops.metrics/p:    r r r   x r r r                       x: by an id that was never asked for
//! ops.metrics/q:    r r r     r r r -> goes on
//!                           p: committed up to x   -> x and all behind it are counted, no dead letter
//! ```

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use hms_ops::bus::{Admin, Isolation, Message, Next, Offsets, Reader};
use hms_ops::codec::{self, ids::Ids};
use hms_ops::model::ids::home_partition;
use hms_ops::model::reading::RejectReason;
use hms_ops::model::topics::Topics;
use hms_ops::processor::audit::Auditor;
use hms_ops::registry::subjects::{self, subjects};
use hms_ops::registry::{Access, Client, Lookup};
use hms_ops::torture::Sabotage;
use serde_json::Value;

use crate::harness::{PATIENCE, brokers, settings, unique};
use crate::rig::fleet::{Fleet, Ops, PARTITIONS, ids, kept_file, now_ms};
use crate::rig::watch::{Watch, opens};
use crate::twins::registry::Registry;

/// What a stranger writes by: another name and order, a float, and no attributes.
const FOREIGN: &str = r#"{"type":"record","name":"Measurement","namespace":"acme","fields":[
    {"name":"value","type":"float"},{"name":"sensor","type":"string"},{"name":"service","type":"string"},
    {"name":"ts","type":"long"}]}"#;

/// Opens with `samples` bad readings in half a minute, not with fewer.
fn spec(id: &str, samples: u32) -> String {
    format!(
        "id: {id}\nowner: test\nsensors:\n  - {{name: q, interval: 1}}\n\
         slo:\n  target: q\n  threshold: 30\n  window_seconds: 30\n  step: 0.5\n  lateness: 0.5\n  min_samples: {samples}\n\
         playbook:\n  - if: slo_breach\n    then: page channel=x\n"
    )
}

/// A reading by [`FOREIGN`], in the wire format.
fn foreign(id: u32, service: &str, value: f32) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(FOREIGN).unwrap();
    let mut record = apache_avro::types::Record::new(&schema).unwrap();
    record.put("value", value);
    record.put("sensor", "q");
    record.put("service", service);
    record.put("ts", now_ms());
    let datum = apache_avro::to_avro_datum(&schema, record).unwrap();
    [&[0][..], &id.to_be_bytes(), &datum].concat()
}

/// A fleet whose subjects are registered, and which knows its ids.
fn registered(name: &str, url: &str) -> Fleet {
    let mut fleet = Fleet::new(name);
    let access = Access { url: url.to_owned(), user: None };
    assert_eq!(subjects::apply(&Client::new(&access).unwrap(), &subjects(&fleet.topics)).unwrap(), []);
    know(&mut fleet, &access);
    fleet
}

fn know(fleet: &mut Fleet, access: &Access) {
    let lookup = Lookup::start(access, &fleet.topics).unwrap();
    fleet.settings = settings().with_schemas(Arc::new(lookup));
}

/// `ops` against the registry: exit code, output and errors.
fn ops(fleet: &Fleet, url: &str, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
    command.args(args).args(["--brokers", brokers(), "--topic-prefix", &fleet.prefix, "--registry", url]);
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

/// All that is committed of a topic.
fn each(fleet: &Fleet, topic: &str, mut take: impl FnMut(&Message<'_>)) {
    let offsets = Offsets::new(&fleet.settings).unwrap();
    let mut reader = Reader::all(&fleet.settings, &offsets, topic, Isolation::Committed).unwrap();
    loop {
        match reader.next(PATIENCE).unwrap() {
            Next::Record(message) => take(&message),
            Next::End => return,
            Next::Idle => panic!("{topic} has no end"),
        }
    }
}

fn letters(fleet: &Fleet) -> Vec<RejectReason> {
    let mut reasons = Vec::new();
    each(fleet, &fleet.topics.rejected, |message| {
        reasons.push(codec::rejected::decode(message.value().unwrap()).unwrap().reason);
    });
    reasons
}

/// How many events an audit of all partitions finds equal.
fn all_equal(fleet: &Fleet) -> usize {
    let auditor = Auditor::new(fleet.settings.clone(), fleet.topics.clone(), &fleet.group).unwrap();
    let one = |partition| {
        let finding = auditor.open(partition).unwrap().verify(None, None, &mut |_, _| {}).unwrap();
        assert!(finding.difference.is_none(), "{finding:#?}");
        finding.equal
    };
    (0..PARTITIONS).map(one).sum()
}

/// Everything that is decided names its schema by the id of its subject, and no reading of a stranger was changed.
fn everything_is_framed(fleet: &Fleet, access: &Access) {
    let client = Client::new(access).unwrap();
    for subject in subjects(&fleet.topics) {
        let id = client.find(&subject.name, subject.format.text()).unwrap().unwrap();
        let topic = subject.name.strip_suffix("-value").unwrap();
        let (mut framed, mut others) = (0, 0);
        each(fleet, topic, |message| {
            let value = message.bytes().unwrap();
            if value.starts_with(&[0]) && value[1..5] == id.to_be_bytes() { framed += 1 } else { others += 1 }
        });
        let strangers = if topic == fleet.topics.metrics { 8 } else { 0 };
        assert_eq!(others, strangers, "{topic}: {framed} are framed");
        let Topics { rejected, actions, targets, .. } = &fleet.topics;
        // In this story nothing is refused, done or scraped.
        assert!(framed > 0 || [rejected, actions, targets].iter().any(|quiet| *quiet == topic), "{topic}");
    }
}

/// Register, readings in three forms, breach, incident, archive, status, a kill, an audit.
#[test]
fn the_whole_story_is_told_in_the_wire_format() {
    let twin = Registry::start();
    let url = &std::env::var("OPS_TEST_REGISTRY").unwrap_or_else(|_| twin.url.clone());
    let access = Access { url: url.clone(), user: None };
    let mut fleet = Fleet::new("registry");
    let (code, said) = ops(&fleet, url, &["process"]);
    assert!(code == Some(2) && said.contains("run ops topics apply"), "{code:?} {said}");
    let few = ["--partitions", "4", "--replication", "1"];
    let (code, said) = ops(&fleet, url, &[&["topics", "apply"][..], &few].concat());
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ops(&fleet, url, &[&["topics", "diff"][..], &few].concat());
    assert_eq!((code, said.as_str()), (Some(0), ""));
    know(&mut fleet, &access);

    let one = fleet.start_in("one", &["--registry", url], &[]);
    let vault = tempfile::tempdir().unwrap();
    let vault = vault.path().to_str().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
    command.args(["act", "archiver", "--vault", vault, "--registry", url, "--brokers", brokers()]);
    command.args(["--topic-prefix", &fleet.prefix, "--group", &format!("{}archiver", fleet.prefix)]);
    let archiver = Ops::spawn(command, kept_file(&format!("{}archiver.log", fleet.prefix)));
    let id = &ids("s", 1)[0];
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), spec(id, 12)).unwrap();
    let (code, said) = ops(&fleet, url, &["register", file.path().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");

    for _ in 0..4 {
        fleet.emit(id, "q", 40.0);
        let home = home_partition(id, PARTITIONS);
        fleet.append(home, 0, Some(id.as_bytes()), Some(br#"{"sensor":"q","value":40}"#), &[]);
        let (code, said) = ops(&fleet, url, &["emit", "q", "40", "--service", id]);
        assert_eq!(code, Some(0), "{said}");
    }
    fleet.flush();
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    watch.until_one("the incident", |event| opens(event, id));
    let (code, said) = ops(&fleet, url, &["status", id, "--json"]);
    let status: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!((code, &status["slo_state"]), (Some(1), &Value::from("breached")), "{said}");

    // The first cut comes within ten seconds.
    let starts = [(home_partition(id, PARTITIONS), 0)];
    let mut rollups = Reader::open(&fleet.settings, &fleet.topics.rollups, Isolation::Committed, starts).unwrap();
    assert!(matches!(rollups.next(PATIENCE).unwrap(), Next::Record(_)));
    one.kill();
    let one = fleet.start_in("one", &["--registry", url], &[]);
    fleet.wait_until_beyond_now();
    one.stop();
    archiver.stop();
    everything_is_framed(&fleet, &access);
    assert!(letters(&fleet).is_empty());
    let events = all_equal(&fleet);
    assert_eq!(events, 3, "spec_activated, opened, requested");
    let (code, said) = ops(&fleet, url, &["replay", "--verify", "--group", &fleet.group]);
    assert!(code == Some(0) && said.contains(&format!("equal: {events} events")), "{said}");
    let (code, said) = ops(&fleet, url, &["explain", &format!("{id}.1"), "--group", &fleet.group]);
    assert!(code == Some(0) && said.contains("\nconfirmed "), "{said}");
    // The vault needs nobody.
    let found =
        Command::new(env!("CARGO_BIN_EXE_ops")).args(["dta", "find", "--vault", vault, "--json"]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert_eq!(found.lines().count(), events, "{found}");
    assert!(found.contains("\"opened\"") && !found.contains("undecodable"), "{found}");
}

/// A stranger's reading while the registry is down; `Err` says what went wrong with it.
fn down_in_the_middle(guard: Option<Sabotage>) -> Result<(), String> {
    let twin = Registry::start();
    let fleet = registered("down", &twin.url);
    let stranger = twin.put("acme-value", FOREIGN);
    let all = ids("s", 1);
    let (waits, goes_on) = (&all[0], &all[1]);
    let home = home_partition(waits, PARTITIONS);
    let without: Vec<_> = guard.map(|guard| ("OPS_SABOTAGE", guard.name())).into_iter().collect();
    let mut one = fleet.start_in("one", &["--registry", &twin.url], &without);
    all.iter().take(2).for_each(|id| fleet.register(&spec(id, 5)));
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    watch.until("the specs", |seen| seen.len() == 2);

    twin.down(true);
    fleet.append(home, 0, Some(waits.as_bytes()), Some(&foreign(stranger, waits, 40.0)), &[]);
    (0..4).for_each(|_| fleet.emit(waits, "q", 40.0));
    fleet.flush();
    if guard.is_some() {
        fleet.wait_until_caught_up();
        let letters = letters(&fleet);
        return if letters.is_empty() { Ok(()) } else { Err(format!("{letters:?}")) };
    }
    while !one.said().contains("waits for the schema registry") {
        assert!(one.is_alive(), "{}", one.said());
        watch.one(Duration::from_millis(50));
    }
    // The others go on meanwhile.
    (0..5).for_each(|_| fleet.emit(goes_on, "q", 40.0));
    fleet.flush();
    watch.until_one("the incident elsewhere", |event| opens(event, goes_on));
    let mut place = None;
    each(&fleet, &fleet.topics.metrics, |message| {
        if message.partition() == home && message.bytes().unwrap()[..5] == foreign(stranger, "", 0.0)[..5] {
            place = Some(message.offset());
        }
    });
    assert_eq!(fleet.committed()[usize::try_from(home).unwrap()].0, place, "up to the record that waits");
    assert_eq!(one.said().matches("what needs the schema registry waits").count(), 1, "{}", one.said());

    // Who comes after it waits too.
    one.kill();
    let one = fleet.start_in("one", &["--registry", &twin.url], &[]);
    twin.down(false);
    watch.until_one("the incident", |event| opens(event, waits));
    fleet.wait_until_beyond_now();
    one.stop();
    assert!(all_equal(&fleet) >= 6);
    let letters = letters(&fleet);
    if letters.is_empty() { Ok(()) } else { Err(format!("{letters:?}")) }
}

#[test]
fn a_registry_that_is_down_holds_its_partition_and_loses_nothing() {
    down_in_the_middle(None).unwrap();
}

/// The control.
#[test]
fn without_the_wait_the_reading_is_a_dead_letter() {
    let noticed = down_in_the_middle(Some(Sabotage::UnknownIdsRejected)).unwrap_err();
    assert_eq!(noticed, "[UnknownSchema]");
}

#[test]
fn an_id_that_nobody_has_is_a_dead_letter_and_the_partition_goes_on() {
    let twin = Registry::start();
    let fleet = registered("nobody", &twin.url);
    let one = fleet.start_in("one", &["--registry", &twin.url], &[]);
    for id in [900_000, 900_001, 900_000] {
        fleet.append(1, 0, Some(b"s"), Some(&foreign(id, "s", 1.0)), &[]);
    }
    fleet.flush();
    fleet.wait_until_caught_up();
    one.stop();
    assert_eq!(letters(&fleet), [RejectReason::UnknownSchema; 3]);
    let asked = twin.called().into_iter().filter(|call| call.contains("/schemas/ids/90000")).count();
    assert_eq!(asked, 2, "each is asked for once");
}

#[test]
fn an_incompatible_schema_is_refused_before_there_is_a_topic() {
    let twin = Registry::start();
    let prefix = unique("refused.");
    let metrics = format!("{prefix}ops.metrics");
    let bad = r#"{"type":"record","name":"Reading","namespace":"hms.ops","fields":[{"name":"who","type":"long"}]}"#;
    twin.put(&format!("{metrics}-value"), bad);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
    command.args(["topics", "apply", "--prefix", &prefix, "--brokers", brokers()]).env("OPS_REGISTRY", &twin.url);
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(status.code() == Some(1) && said.contains("refused: ") && said.contains("incompatible"), "{said}");
    assert_eq!(Admin::new(&settings()).unwrap().describe_topics(&[&metrics]).unwrap()[&metrics], None);
    assert_eq!(twin.subjects().len(), 1, "nothing of ours is registered");
}

/// `confluent-kafka[avro]` as it comes, with a schema of its own that it registers itself.
#[test]
fn a_reading_of_the_stock_serializer_counts() {
    let Some(python) = std::env::var_os("OPS_TEST_PYTHON") else {
        let required = std::env::var_os("OPS_TEST_REQUIRE_TOOLS").is_some();
        assert!(!required, "OPS_TEST_PYTHON names no Python with confluent-kafka[avro]");
        return println!("skipped: OPS_TEST_PYTHON names no Python with confluent-kafka[avro]");
    };
    let twin = Registry::start();
    let url = std::env::var("OPS_TEST_REGISTRY").unwrap_or_else(|_| twin.url.clone());
    let fleet = registered("stock", &url);
    let one = fleet.start_in("one", &["--registry", &url], &[]);
    let id = &ids("s", 1)[0];
    fleet.register(&spec(id, 5));
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    watch.until("the spec", |seen| seen.len() == 1);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/registry/emit.py");
    let values = ["40"; 5];
    let sent = Command::new(python).args([script, brokers(), &url, &fleet.topics.metrics, id]).args(values).output();
    let sent = sent.unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    fleet.wait_until_caught_up();
    assert_eq!(letters(&fleet), []);
    watch.until_one("the incident", |event| opens(event, id));
    fleet.wait_until_beyond_now();
    one.stop();
    assert_eq!(all_equal(&fleet), 3);
}

/// Nothing changes for who has no registry: its first byte names nothing.
#[test]
fn without_a_registry_a_frame_is_an_unknown_schema() {
    let value = foreign(1, "s", 1.0);
    assert_eq!(codec::reading::decode(None, Some(&value), 1), Err(RejectReason::UnknownSchema));
    assert_eq!(Ids::NONE.unknown(&value), None);
}
