//! The recorded series through Kafka: what comes out is what brute force makes of the topic's own append times.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hms_ops::bus::Isolation;
use hms_ops::model::ids::{TICK_SENSOR, TICK_SERVICE, home_partition};
use hms_ops::model::incident::EventKind;

use crate::harness::brokers;
use crate::oracle::history;
use crate::oracle::json::first_difference;
use crate::rig::fleet::{Fleet, PARTITIONS};
use crate::rig::judge::{Judged, confirm};
use crate::rig::watch::{Watch, is_turn};

/// A minute of the recorded weeks.
const MINUTE_MS: i64 = 60_000;

fn data(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)).unwrap()
}

/// How often each kind of event came.
fn kinds(judged: &Judged) -> BTreeMap<&'static str, usize> {
    let mut kinds = BTreeMap::new();
    for event in &judged.events {
        *kinds.entry(hms_ops::codec::incident::name(&event.kind)).or_default() += 1;
    }
    kinds
}

/// All the weeks of a series in seconds: append times are those of the recording, with a tick a minute, and the
/// incidents are those of a run without Kafka.
fn whole_series(name: &str, spec: &str, csv: &str) {
    let (text, rows) = (data(spec), history::rows(&data(csv)));
    let fleet = Fleet::simulated(name);
    fleet.register(&text);
    let ops = fleet.start("one");
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    watch.until_one("the spec", |event| matches!(event.kind, EventKind::SpecActivated { .. }));

    let parsed = hms_ops::spec::parse(&text).unwrap().spec;
    let sensor = parsed.sensors[parsed.slo.as_ref().unwrap().target].name.to_string();
    let home = home_partition(parsed.id.as_str(), PARTITIONS);
    let end = rows.last().unwrap().0 + 7 * 24 * 60 * MINUTE_MS;
    let next = rows.iter().skip(1).map(|(ts, _)| *ts).chain([end]);
    for ((ts, value), next) in rows.iter().zip(next) {
        fleet.emit_at(parsed.id.as_str(), &sensor, *ts, *value);
        let ticks = (1..).map(|n| ts + n * MINUTE_MS).take_while(|at| *at < next);
        ticks.for_each(|at| fleet.emit_to(home, TICK_SERVICE, TICK_SENSOR, at, 0.0));
    }
    fleet.flush();
    fleet.wait_until_caught_up();
    ops.stop();

    let judged = confirm(&fleet);
    assert_eq!(judged.counts.counted, rows.len() as u64);
    let offline: Vec<_> = history::run(&text, &rows).events();
    let found: Vec<_> = judged.told.into_iter().map(|told| told.event).collect();
    assert_eq!(first_difference(&offline, &found), None, "{name}");
}

#[test]
fn weeks_of_latency_through_kafka_give_the_incidents_of_a_backtest() {
    whole_series("latency", "ec2.ops.yaml", "ec2_request_latency_system_failure.csv");
}

#[test]
fn weeks_of_travel_times_through_kafka_give_the_incidents_of_a_backtest() {
    whole_series("travel", "travel_time.ops.yaml", "TravelTime_387.csv");
}

/// Runs `ops` against the fleet.
fn ops(fleet: &Fleet, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
    command.args(args).args(["--brokers", brokers(), "--topic-prefix", &fleet.prefix]);
    command.stdout(Stdio::null());
    command
}

fn register(fleet: &Fleet, text: &str) {
    let mut file = tempfile::Builder::new().suffix(".ops.yaml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let status = ops(fleet, &["register", file.path().to_str().unwrap()]).status().unwrap();
    assert!(status.success(), "ops register: {status}");
}

/// `ops emit --stdin --retime`, fed with rows of a series.
fn emit(fleet: &Fleet, service: &str, sensor: &str, speed: &str, rows: &[&str]) -> Child {
    let args = ["emit", "--stdin", "--service", service, "--sensor", sensor, "--retime", speed];
    let mut child = ops(fleet, &args).stdin(Stdio::piped()).spawn().unwrap();
    let csv = format!("timestamp,value\n{}\n", rows.join("\n"));
    // Smaller than a pipe: it is taken at once, and the end of the input follows.
    assert!(csv.len() < 65_536, "{} bytes", csv.len());
    child.stdin.take().unwrap().write_all(csv.as_bytes()).unwrap();
    child
}

/// The ec2 series is 20,000 times as fast as life here, the travel times 115,000 times; so are their specs. But silence
/// takes 10 s: as long a machine may stand still before readings count as sent too late.
const LATENCY: &str = "id: ec2_request_latency
owner: web
sensors:
  - {name: request_latency_ms, interval: 0.015, no_data_after: 10}
slo:
  target: request_latency_ms
  threshold: 52
  recover_threshold: 50
  window_seconds: 0.5
  step: 0.1
  lateness: 0.2
  min_samples: 12
  recover_for: 0.2
  flap_limit: 2
  flap_window: 3
playbook:
  - if: slo_breach
    then: scale_up compute=+1
  - if: still_breach_after 0.3
    then: page channel=web
  - if: request_latency_ms > 60
    then: page channel=web_urgent
  - if: no_data
    then: page channel=web_urgent
";

const TRAVEL: &str = "id: travel_time_387
owner: roads
sensors:
  - {name: travel_time_seconds, unit: seconds, interval: 0.01, no_data_after: 10}
slo:
  target: travel_time_seconds
  threshold: 1200
  objective: 0.9
  window_seconds: 0.3
  step: 0.1
  lateness: 0.2
  min_samples: 8
  recover_for: 0.1
  flap_limit: 3
  flap_window: 2
playbook:
  - if: slo_breach
    then: page channel=traffic_control
  - if: still_breach_after 0.2
    then: page channel=police
  - if: travel_time_seconds > 3000 for 0.1
    then: throttle traffic 20 %
  - if: recovered
    then: page channel=traffic_control
";

/// The last three days of the one, two weeks of the other, at once, by the real command.
#[test]
fn recorded_series_through_kafka_equal_the_brute_force() {
    let fleet = Fleet::new("series");
    let processor = fleet.start("one");
    register(&fleet, LATENCY);
    register(&fleet, TRAVEL);
    let latency = data("ec2_request_latency_system_failure.csv");
    let latency: Vec<&str> = latency.lines().filter(|row| *row >= "2014-03-18 12" && !row.starts_with('t')).collect();
    let travel = data("TravelTime_387.csv");
    let travel: Vec<&str> = travel.lines().filter(|row| *row >= "2015-09-01" && !row.starts_with('t')).collect();
    let running = [
        emit(&fleet, "ec2_request_latency", "request_latency_ms", "20000", &latency),
        emit(&fleet, "travel_time_387", "travel_time_seconds", "115000", &travel),
    ];
    for mut child in running {
        let status = child.wait().unwrap();
        assert!(status.success(), "ops emit: {status}");
    }
    // Silence after the failure: the last thing that the recording can bring about.
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    watch.until_one("silence", |event| matches!(&event.kind, EventKind::Opened { cause, .. } if &**cause == "no_data"));
    fleet.wait_until_caught_up();
    processor.stop();

    let judged = confirm(&fleet);
    assert_eq!(judged.counts.rejected, BTreeMap::new());
    assert_eq!(judged.counts.counted, (latency.len() + travel.len()) as u64);
    println!("{:?}", kinds(&judged));
    assert!(judged.events.iter().filter(|event| is_turn(event)).count() >= 10, "{:?}", kinds(&judged));
}
