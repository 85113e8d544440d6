//! The same export in both encodings, and what becomes of each kind of point.

use std::sync::Mutex;

use super::super::cargo::Cargo;
use super::super::table::Table;
use super::super::wire::{Fields, put_bytes, put_double, put_varint};
use super::*;
use crate::codec::reading::decode;
use crate::sdk::Catalog;

const SPEC: &str = "id: checkout\nowner: o\nsensors:\n  - name: queue_length\n  - name: orders\n  - name: latency\n  - name: _9_lives\n";
const SECOND: u64 = 1_000_000_000;

fn table() -> Mutex<Table> {
    let mapping = "attributes = [\"pod\", \"n\", \"ok\"]\n[[map]]\nmetric = \"orders\"\ntake = \"rate\"\n";
    Mutex::new(Table::new(toml::from_str(mapping).unwrap(), 4, Arc::new(Catalog::of_texts(&[SPEC]))))
}

fn sorted(body: &[u8], encoding: Encoding) -> Result<(Cargo, Sorted), Problem> {
    let (table, caller) = (table(), Caller::anybody());
    let mut points = Points::new(Sorter::new(table.lock().unwrap(), &caller));
    match encoding {
        Encoding::Protobuf => proto::sort(body, &mut points)?,
        Encoding::Json => json::sort(body, &mut points)?,
    }
    points.sorter.finish()
}

/// Sensor, time, value and attributes of each reading.
fn readings(cargo: &Cargo) -> Vec<(String, i64, f64, String)> {
    let read = |value| {
        let reading = decode(None, Some(value), 1).unwrap();
        (reading.sensor.to_string(), reading.ts, reading.value, format!("{:?}", reading.attributes))
    };
    cargo.iter().map(|(_, _, value)| read(value)).collect()
}

const JSON: &str = r#"{"resourceMetrics": [{
  "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}},
                              {"key": "pod", "value": {"stringValue": "p-0"}}]},
  "scopeMetrics": [{"scope": {"name": "x"}, "metrics": [
    {"name": "queue.length", "unit": "1", "gauge": {"dataPoints": [
      {"timeUnixNano": "5000000000", "asInt": "17", "attributes": [{"key": "n", "value": {"intValue": "3"}}]},
      {"timeUnixNano": 6000000000, "asDouble": 1.5, "attributes": [{"key": "pod", "value": {"stringValue": "p-1"}},
                                                                   {"key": "ok", "value": {"boolValue": true}}]},
      {"timeUnixNano": "7000000000", "asDouble": "NaN"},
      {"timeUnixNano": "8000000000", "flags": 1}]}},
    {"name": "orders", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [
      {"startTimeUnixNano": "4000000000", "timeUnixNano": "6000000000", "asInt": "5"}]}},
    {"name": "latency", "histogram": {"dataPoints": [{"timeUnixNano": "6000000000", "count": "5", "sum": 1.0}]}},
    {"name": "nobody.asked", "gauge": {"dataPoints": [{"timeUnixNano": "6000000000", "asDouble": 1}]}}
  ]}]}]}"#;

fn message(number: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, number, &parts.concat());
    out
}

fn text(number: u32, text: &str) -> Vec<u8> {
    message(number, &[text.as_bytes().to_vec()])
}

fn varint(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, number, value);
    out
}

fn double(number: u32, value: f64) -> Vec<u8> {
    let mut out = Vec::new();
    put_double(&mut out, number, value);
    out
}

/// A fixed64 is a double by other bits.
fn fixed(number: u32, value: u64) -> Vec<u8> {
    double(number, f64::from_bits(value))
}

fn attribute(number: u32, key: &str, value: Vec<u8>) -> Vec<u8> {
    message(number, &[text(1, key), message(2, &[value])])
}

/// The message that [`JSON`] writes.
fn protobuf() -> Vec<u8> {
    let gauge = [
        message(1, &[fixed(3, 5 * SECOND), fixed(6, 17), attribute(7, "n", varint(3, 3))]),
        message(
            1,
            &[
                fixed(3, 6 * SECOND),
                double(4, 1.5),
                attribute(7, "pod", text(1, "p-1")),
                attribute(7, "ok", varint(2, 1)),
            ],
        ),
        message(1, &[fixed(3, 7 * SECOND), double(4, f64::NAN)]),
        message(1, &[fixed(3, 8 * SECOND), varint(8, 1)]),
    ];
    let sum = [varint(2, 1), message(1, &[fixed(2, 4 * SECOND), fixed(3, 6 * SECOND), fixed(6, 5)])];
    let histogram = [message(1, &[fixed(3, 6 * SECOND), fixed(4, 5), double(5, 1.0)])];
    let other = [message(1, &[fixed(3, 6 * SECOND), double(4, 1.0)])];
    let metrics = [
        message(2, &[text(1, "queue.length"), message(5, &gauge)]),
        message(2, &[text(1, "orders"), message(7, &sum)]),
        message(2, &[text(1, "latency"), message(9, &histogram)]),
        message(2, &[text(1, "nobody.asked"), message(5, &other)]),
    ];
    let resource =
        message(1, &[attribute(1, "service.name", text(1, "checkout")), attribute(1, "pod", text(1, "p-0"))]);
    message(1, &[resource, message(2, &metrics)])
}

#[test]
fn both_encodings_say_the_same_and_every_point_is_counted() {
    for (body, encoding) in [(JSON.as_bytes().to_vec(), Encoding::Json), (protobuf(), Encoding::Protobuf)] {
        let (cargo, sorted) = sorted(&body, encoding).unwrap();
        let wanted = [
            ("queue_length", 5_000, 17.0, r#"{"n": "3", "pod": "p-0"}"#),
            ("queue_length", 6_000, 1.5, r#"{"ok": "true", "pod": "p-1"}"#),
            ("orders", 6_000, 2.5, r#"{"pod": "p-0"}"#),
        ];
        let wanted =
            wanted.map(|(sensor, ts, value, attributes)| (sensor.to_owned(), ts, value, attributes.to_owned()));
        assert_eq!(readings(&cargo), wanted, "{encoding:?}");
        let counts = Sorted { taken: 3, not_finite: 1, stale: 1, without_number: 1, ignored: 1, ..Sorted::default() };
        assert_eq!(sorted, counts, "{encoding:?}");
    }
}

#[test]
fn a_partial_success_says_how_many_and_why() {
    let sorted = Sorted { taken: 3, not_finite: 1, without_number: 2, ignored: 9, stale: 1, ..Sorted::default() };
    let json: serde_json::Value = serde_json::from_slice(&answer(Encoding::Json, &sorted)).unwrap();
    assert_eq!(json["partialSuccess"]["rejectedDataPoints"], "3");
    let proto = answer(Encoding::Protobuf, &sorted);
    let partial = Fields::of(&proto).next().unwrap().unwrap().1.bytes().unwrap();
    let mut fields = Fields::of(partial);
    assert_eq!(fields.next().unwrap().unwrap().1.varint(), Ok(3));
    assert_eq!(fields.next().unwrap().unwrap().1.text().unwrap(), json["partialSuccess"]["errorMessage"]);
    let all = Sorted { taken: 3, ignored: 9, stale: 1, waiting: 1, ..Sorted::default() };
    assert_eq!((answer(Encoding::Protobuf, &all), answer(Encoding::Json, &all)), (vec![], b"{}".to_vec()));
}

#[test]
fn what_is_no_export_is_refused_whole() {
    let whole = protobuf();
    for length in 1..whole.len() {
        assert!(sorted(&whole[..length], Encoding::Protobuf).is_err(), "{length}");
    }
    for json in ["", "[", "[]", "{\"resourceMetrics\": 1}", "{\"resourceMetrics\": [1]}", &JSON[..JSON.len() - 1]] {
        assert!(sorted(json.as_bytes(), Encoding::Json).is_err(), "{json}");
    }
    assert!(
        sorted(b"", Encoding::Protobuf).is_ok() && sorted(b"{}", Encoding::Json).is_ok(),
        "nothing is an export too"
    );
    let many: Vec<_> = (0..10_000).map(|number| attribute(1, &format!("a{number}"), text(1, "x"))).collect();
    assert!(sorted(&message(1, &[message(1, &many)]), Encoding::Protobuf).is_err());
}

#[test]
fn names_of_theirs_become_names_of_ours() {
    assert_eq!(name("http.server.duration"), "http_server_duration");
    assert_eq!(name("9-lives"), "_9_lives");
    assert_eq!(label("k8s.pod/name"), "k8s_pod_name");
}
