//! The worked examples and random logs: the production core says what the definitions say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hms_ops::processor::core::{Core, Effects};
use serde_json::{Map, Value};

use super::feed::step;
use super::oracle::{self, generate};

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
        for entry in &log {
            step(&mut core, entry, &mut offset, &mut effects);
        }
        let ours: Vec<_> =
            effects.incidents.iter().map(|event| stripped(&serde_json::to_value(event).unwrap())).collect();
        let theirs: Vec<_> = oracle::run(&log).events().iter().map(stripped).collect();
        assert_same(&format!("seed {seed}"), &ours, &theirs);
    }
}
