//! `ops bench` counts what it says it counts, and notices a peer that decides otherwise. Nothing here asserts a time.

use std::process::{Command, Output};
use std::{env, fs, thread};

use hms_ops::bus::{
    GroupConsumer, Isolation, Member, Next, Offsets, Outcome, Reader, Record, Settings, TransactionalProducer,
};
use hms_ops::codec;
use hms_ops::model::incident::EventKind;
use serde_json::Value;

use super::harness::{PATIENCE, Plain, brokers, offset, poll_until, unique};

const READINGS: u64 = 50_000;
const PARTITIONS: i32 = 2;

/// `ops bench` of a small load with a peer: this test binary, run as [`peer`], which is to deviate or not.
fn bench(deviates: bool, flags: &[&str]) -> Output {
    let this = env::current_exe().unwrap();
    let peer = format!("fake=exec {} bench::peer --exact --ignored --nocapture", this.display());
    let prefix = unique("bench");
    let (readings, partitions) = (READINGS.to_string(), PARTITIONS.to_string());
    let load = ["--readings", &readings, "--series", "50", "--rate", "200", "--window", "60", "--late", "0.01"];
    Command::new(env!("CARGO_BIN_EXE_ops"))
        .args(["bench", "--brokers", brokers(), "--topic-prefix", &prefix, "--runs", "1"])
        .args(load)
        .args(["--partitions", &partitions])
        .args(["--peer", &peer])
        .args(flags)
        .env("FAKE_PEER_DEVIATES", deviates.to_string())
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// One run of a lane of the report.
fn run<'a>(report: &'a Value, name: &str) -> &'a Value {
    let lanes = report["throughput"]["lanes"].as_array().unwrap();
    &lanes.iter().find(|lane| lane["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))["runs"][0]
}

/// The limit sees every record, the processor consumes every record and rejects exactly the poison, a peer with the same
/// events is equal. A processor that takes the place of a killed one goes on where that had stopped.
#[test]
fn everybody_reads_everything_and_a_peer_that_agrees_is_equal() {
    let output = bench(false, &["--json", "--what", "throughput,restore"]);
    assert!(output.status.success(), "{output:?}");
    let report = json(&output);
    let input = &report["throughput"]["input"];
    assert_eq!(input["records"], READINGS);
    assert!(input["poison"].as_u64().unwrap() > 0, "{input}");
    for name in ["bare consumer, poll", "bare consumer, batches", "processor", "fake"] {
        let run = run(&report, name);
        assert_eq!(run["consumed"], READINGS, "{name}");
        assert!(run["figures"]["whole"]["per_second"].as_f64().unwrap() > 0.0, "{run}");
        assert!(run["figures"]["peak_mib"].as_f64().unwrap() > 1.0, "{run}");
    }
    let ours = run(&report, "processor");
    assert_eq!(ours["written"]["poison"], input["poison"]);
    assert!(ours["written"]["topics"]["ops.rollups"]["steady_bytes"].as_u64().unwrap() > 0, "{ours}");
    assert!(ours["events"].as_u64().unwrap() >= 2, "something opens and resolves: {ours}");
    assert_eq!(run(&report, "fake")["events"], ours["events"]);
    let note = &report["throughput"]["lanes"][3]["notes"][0];
    assert_eq!(note, "copies what the processor said");
    // This cluster is a given one: what its broker takes is not seen, and it is warmed up once.
    assert_eq!(report["throughput"]["warm_ups"], serde_json::json!([null]));
    assert!(ours["figures"]["whole"]["broker"].is_null(), "{ours}");
    let restore = &report["restore"];
    assert_eq!(restore["first_commit_s"].as_array().map(Vec::len), Some(1), "one restart: {restore}");
}

#[test]
fn a_peer_that_decides_otherwise_is_exit_code_1_and_the_difference_is_named() {
    let output = bench(true, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut told = text.lines().skip_while(|line| !line.contains("its events DIFFER")).skip(1);
    let difference = told.next().unwrap_or_else(|| panic!("no difference is told: {text}")).trim();
    assert!(difference.starts_with("service-0000") && difference.ends_with(" there"), "{text}");
    assert!(difference.matches("opened").count() == 2, "{text}");
    assert_eq!(
        told.next().map(str::trim),
        Some("copies what the processor said"),
        "one difference, then its note: {text}"
    );
}

/// Not a test: the peer. Reads the input to its end as the group that it is told, and publishes, in one transaction with
/// its offsets, what the processor has published just before; the first event a second off if it is to deviate.
#[test]
#[ignore = "started by ops bench"]
fn peer() {
    let [input, output, group] =
        ["INPUT", "OUTPUT", "APPLICATION"].map(|name| env::var(format!("OPS_BENCH_{name}")).unwrap());
    let mut deviates = env::var("FAKE_PEER_DEVIATES").unwrap() == "true";
    assert_eq!(fs::read_dir(env::var("OPS_BENCH_DIRECTORY").unwrap()).unwrap().count(), 0);
    // Not the harness's, which would start a broker of its own.
    let settings = Settings::new(&env::var("OPS_BENCH_BROKERS").unwrap(), "fake-peer");
    let member = Member { group: group.clone(), instance: "fake".to_owned() };
    let consumer = GroupConsumer::subscribe(&settings, &input, &member).unwrap();
    poll_until(&consumer, &mut Plain::default(), |seen| seen.len() as u64 == READINGS);
    let mut producer = TransactionalProducer::new(&settings, &group).unwrap();
    println!(r#"{{"note": "copies what the processor said"}}"#);
    let offsets = Offsets::new(&settings).unwrap();
    let incidents = input.replace("ops.metrics", "ops.incidents");
    let mut reader = Reader::all(&settings, &offsets, &incidents, Isolation::Committed).unwrap();
    while let Next::Record(message) = reader.next(PATIENCE).unwrap() {
        let event = codec::incident::decode(message.value().unwrap()).unwrap();
        let kind = match event.kind {
            EventKind::Opened { .. } => "opened",
            EventKind::Resolved { .. } => "resolved",
            _ => continue,
        };
        let value = format!("{kind} {}", event.at + if std::mem::take(&mut deviates) { 1_000 } else { 0 });
        let (partition, key, value) = (message.partition(), message.key(), Some(value.as_bytes()));
        producer.send(&Record { topic: &output, partition, key, value, ..Record::default() }).unwrap();
    }
    let end = |partition| offset(&input, partition, offsets.watermarks(&input, partition).unwrap().high, "");
    let ends: Vec<_> = (0..PARTITIONS).map(end).collect();
    let outcome = producer.commit(&ends, &consumer.group_metadata().unwrap()).unwrap();
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
    // It is told to end.
    loop {
        thread::park();
    }
}
