//! Logs as JSON, as they stand in `tests/vectors/`, and the comparison of two lists of events.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::partition::parse;
use super::{Counts, Entry, Reading};

/// A log with what is expected of it.
pub struct Vector {
    /// Which one it is.
    pub name: String,
    /// What happens.
    pub log: Vec<Entry>,
    /// The events, in order.
    pub expect: Vec<Value>,
    /// What becomes of the records.
    pub counts: Value,
}

/// Reads a vector.
///
/// # Panics
/// If it is none.
pub fn load(text: &str) -> Vector {
    let file: Value = serde_json::from_str(text).expect("a vector is JSON");
    let log = file["log"].as_array().expect("a vector has a log");
    // A reading without a service belongs to the service of the file's first spec.
    let first_spec = log.iter().find_map(|entry| entry["spec"].as_str());
    let service = first_spec.map_or(String::new(), |text| parse(text).id.to_string());
    Vector {
        name: file["name"].as_str().unwrap_or_default().to_owned(),
        log: log.iter().map(|entry| from_json(entry, &service)).collect(),
        expect: file["expect"].as_array().cloned().unwrap_or_default(),
        counts: file["counts"].clone(),
    }
}

fn from_json(entry: &Value, service: &str) -> Entry {
    if let Some(text) = entry["spec"].as_str() {
        return Entry::Spec(text.to_owned());
    }
    if let Some(id) = entry["retire"].as_str() {
        return Entry::Retire(id.to_owned());
    }
    let append = entry["append"].as_i64().unwrap_or_else(|| panic!("no entry of a log: {entry}"));
    let reading = entry["sensor"].as_str().map(|sensor| Reading {
        service: entry["service"].as_str().unwrap_or(service).to_owned(),
        sensor: sensor.to_owned(),
        ts: entry["ts"].as_i64(),
        value: match &entry["value"] {
            Value::String(text) => text.parse().unwrap_or_else(|_| panic!("no number: {text}")),
            value => value.as_f64().unwrap_or_else(|| panic!("no number: {value}")),
        },
    });
    Entry::Record { append, reading }
}

/// A log in the form of a vector, one entry a line: `ops backtest LOG.json --json` reads it.
pub fn to_json(name: &str, log: &[Entry]) -> String {
    let mut text = format!("{{\n \"name\": {},\n \"log\": [\n", json!(name));
    for (number, entry) in log.iter().enumerate() {
        let comma = if number + 1 < log.len() { "," } else { "" };
        writeln!(text, "  {}{comma}", entry_to_json(entry)).expect("a string takes everything");
    }
    text.push_str(" ]\n}\n");
    text
}

/// Keeps a log that failed where it can be run again: `ops backtest FILE --json`.
pub fn keep(name: &str, log: &[Entry]) -> PathBuf {
    let directory = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let file = directory.join(format!("{name}.json"));
    std::fs::write(&file, to_json(name, log)).expect("the scratch directory of the tests can be written");
    file
}

fn entry_to_json(entry: &Entry) -> Value {
    match entry {
        Entry::Spec(text) => json!({"spec": text}),
        Entry::Retire(id) => json!({"retire": id}),
        Entry::Record { append, reading: None } => json!({"append": append}),
        Entry::Record { append, reading: Some(reading) } => {
            let value = if reading.value.is_finite() {
                json!(reading.value)
            } else if reading.value.is_nan() {
                json!("NaN")
            } else {
                json!(if reading.value > 0.0 { "Infinity" } else { "-Infinity" })
            };
            let mut entry =
                json!({"append": append, "service": reading.service, "sensor": reading.sensor, "value": value});
            if let Some(ts) = reading.ts {
                entry["ts"] = json!(ts);
            }
            entry
        }
    }
}

/// Counts in the form of a vector.
pub fn counts_to_json(counts: &Counts) -> Value {
    json!({
        "consumed": counts.consumed, "counted": counts.counted, "late": counts.late, "ticks": counts.ticks,
        "rejected": counts.rejected,
    })
}

/// The first place where two lists of events differ, with what came before it; `None` if they are equal.
/// Numbers are compared as numbers: 30 is 30.0.
pub fn first_difference(expected: &[Value], found: &[Value]) -> Option<String> {
    let nothing = Value::String("(nothing)".to_owned());
    let length = expected.len().max(found.len());
    let at = |list: &[Value], number: usize| list.get(number).unwrap_or(&nothing).clone();
    let number = (0..length).find(|number| !same(&at(expected, *number), &at(found, *number)))?;
    let mut text = format!("event {} of {} expected, {} found\n", number + 1, expected.len(), found.len());
    for before in &expected[number.saturating_sub(3)..number] {
        writeln!(text, "  both     {before}").expect("a string takes everything");
    }
    for next in number..(number + 2).min(length) {
        writeln!(text, "  expected {}", at(expected, next)).expect("a string takes everything");
        writeln!(text, "  found    {}", at(found, next)).expect("a string takes everything");
    }
    Some(text)
}

/// Are two JSON values the same, whole floats and integers being the same number?
pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}
