//! The worked examples, random logs and recorded series: the production core says what the definitions say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hms_ops::processor::backtest::Backtest;
use hms_ops::processor::core::{Core, Effects, SpecChange};
use hms_ops::processor::counts::Counts;
use serde_json::{Map, Value};

use super::feed::{parse, reading_of, step};
use super::oracle::json::{counts_to_json, first_difference};
use super::oracle::{self, Entry, estimate, generate, history};

fn vectors() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The event without what the examples leave out.
fn stripped(event: &Value) -> Value {
    const LEFT_OUT: [&str; 7] =
        ["spec_hash", "args", "p95_estimate", "text", "semantics", "from_partition", "from_offset"];
    let fields = event.as_object().expect("an event is an object");
    let kept: Map<_, _> = fields
        .iter()
        .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), normal(value)))
        .collect();
    Value::Object(kept)
}

/// 30 and 30.0 are the same number.
fn normal(value: &Value) -> Value {
    value.as_f64().filter(|_| value.is_f64()).map_or_else(
        || value.clone(),
        |x| if x.fract() == 0.0 && x.abs() < 1e15 { Value::from(x as i64) } else { value.clone() },
    )
}

fn assert_same(name: &str, ours: &[Value], theirs: &[Value]) {
    let first = (0..ours.len().max(theirs.len())).find(|i| ours.get(*i) != theirs.get(*i));
    if let Some(at) = first {
        panic!("{name}: event {at} differs\n  core:     {:?}\n  expected: {:?}", ours.get(at), theirs.get(at));
    }
}

#[test]
fn ops_backtest_gives_every_worked_example() {
    let files = vectors();
    assert!(files.len() >= 38, "only {} examples", files.len());
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let output = Command::new(env!("CARGO_BIN_EXE_ops")).args(["backtest", "--json"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let mut lines: Vec<Value> =
            String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut counts = lines.pop().expect("counts come last");
        assert_eq!(counts.as_object_mut().unwrap().remove("event"), Some("counts".into()));
        let vector: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let expect: Vec<_> = vector["expect"].as_array().unwrap().iter().map(stripped).collect();
        assert_same(&name, &lines.iter().map(stripped).collect::<Vec<_>>(), &expect);
        assert_eq!(counts, vector["counts"], "{name}");
    }
}

#[test]
fn the_core_agrees_with_the_oracle_on_random_logs() {
    let (from, seeds) = match std::env::var("OPS_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("OPS_SEEDS=FROM..TO");
            (from.parse().unwrap(), to.parse().unwrap())
        }
        Err(_) => (0, 60),
    };
    for seed in from..seeds {
        let log = generate::log_of_size(seed, 1_000);
        let (mut core, mut offset, mut effects) = (Core::new(0, 1), 0, Effects::default());
        let mut counts = Counts::default();
        for entry in &log {
            if let Some(outcome) = step(&mut core, entry, &mut offset, &mut effects) {
                counts.consumed += 1;
                counts.note(outcome);
            }
        }
        let whole: Vec<_> = effects.incidents.iter().map(|event| serde_json::to_value(event).unwrap()).collect();
        let ours: Vec<_> = whole.iter().map(stripped).collect();
        let oracle = oracle::run(&log);
        let theirs: Vec<_> = oracle.events().iter().map(stripped).collect();
        assert_same(&format!("seed {seed}"), &ours, &theirs);
        assert_eq!(serde_json::to_value(&counts).unwrap(), counts_to_json(&oracle.counts), "seed {seed}");
        assert!(counts.is_conserved(), "seed {seed}: {counts:?}");
        for (told, event) in oracle.told.iter().zip(&whole) {
            assert_eq!(estimate::difference(told, event), None, "seed {seed}");
        }
    }
}

/// The control: an estimate that is off by more than its tolerance is found out, and so is one of other readings.
#[test]
fn an_estimate_that_is_off_is_noticed() {
    let (mut seen, mut low, mut high, mut gone) = (0, 0, 0, 0);
    for seed in 0..20 {
        for told in oracle::run(&generate::log_of_size(seed, 1_000)).told {
            let Some(held) = &told.estimate else { continue };
            let exact = held.exact(0.0);
            assert!(held.admits(exact), "seed {seed}: the exact quantile itself");
            seen += 1;
            // A step of 4 % of the ranks and two readings is more than what is allowed, where values are distinct.
            low += u64::from(!held.admits(held.exact(-0.04)));
            high += u64::from(!held.admits(held.exact(0.04)));
            gone += u64::from(estimate::difference(&told, &told.event).is_some());
        }
    }
    assert!(seen > 100 && gone == seen, "{seen} estimates, {gone} of them missed when they are gone");
    assert!(low > seen / 2 && high > 0, "of {seen} estimates {low} are noticed when too low, {high} when too high");
}

/// Weeks of recorded readings through `ops backtest`'s engine: every incident is confirmed by brute force.
fn backtest_agrees_on(name: &str, spec: &str, data: &str) {
    let data_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let spec = fs::read_to_string(data_dir.join(spec)).unwrap();
    let rows = history::rows(&fs::read_to_string(data_dir.join(data)).unwrap());
    let mut backtest = Backtest::default();
    for entry in history::log(&spec, &rows) {
        match &entry {
            Entry::Spec(text) => backtest.apply(SpecChange::Register(parse(text))),
            Entry::Record { append, reading } => backtest.reading(*append, &reading_of(*append, reading.as_ref())),
            Entry::Retire(id) => panic!("a history retires nothing, and not {id}"),
        }
    }
    let (events, counts) = backtest.finish();
    let ours: Vec<_> = events.iter().map(|event| stripped(&serde_json::to_value(event).unwrap())).collect();
    let oracle = history::run(&spec, &rows);
    if let Some(difference) = first_difference(&oracle.events(), &ours) {
        panic!("{name}: {difference}");
    }
    assert_eq!(serde_json::to_value(&counts).unwrap(), counts_to_json(&oracle.counts), "{name}");
    assert_eq!(counts.counted, rows.len() as u64, "{name}");
}

#[test]
fn backtest_agrees_with_the_oracle_on_recorded_latency() {
    backtest_agrees_on("ec2", "ec2.ops.yaml", "ec2_request_latency_system_failure.csv");
}

#[test]
fn backtest_agrees_with_the_oracle_on_recorded_travel_times() {
    backtest_agrees_on("travel_time", "travel_time.ops.yaml", "TravelTime_387.csv");
}

/// What an actor needs to know whether it may act, and whether it helped: it never reads specs.
#[test]
fn a_request_carries_the_objective_and_the_dry_run_of_its_spec() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let spec = "id: svc\nowner: tests\nsensors:\n  - {name: q, interval: 1}\nslo: {target: q, threshold: 30.5, \
                objective: 0.9, window_seconds: 20}\nplaybook:\n  - {if: slo_breach, then: scale_up compute=+2}\n";
    let rows: String = (0..40).map(|second| format!("{},31\n", 1_700_000_000_000_i64 + second * 1000)).collect();
    fs::write(path("data.csv"), format!("timestamp,value\n{rows}")).unwrap();
    for (dry_run, said) in [("", None), ("dry_run: true\n", Some("true")), ("dry_run: false\n", None)] {
        fs::write(path("svc.ops.yaml"), format!("{spec}{dry_run}")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
        let output =
            command.args(["backtest", "--json"]).args([path("svc.ops.yaml"), path("data.csv")]).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let requested: Vec<_> = events.filter(|event| event["event"] == "requested").collect();
        assert_eq!(requested.len(), 1, "{lines}");
        let args = &requested[0]["args"];
        assert_eq!(args.get("dry_run").and_then(Value::as_str), said);
        let objective = ["slo.target", "slo.threshold", "slo.objective_ppm"].map(|name| args[name].as_str().unwrap());
        assert_eq!(objective, ["q", "30.5", "900000"]);
    }
}
