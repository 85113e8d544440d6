//! The controls of the judge: what was published is tampered with, and the judge must see it. No Kafka: the production
//! core makes an honest log.

use std::collections::BTreeMap;
use std::sync::Arc;

use hms_ops::codec;
use hms_ops::model::incident::IncidentEvent;
use hms_ops::model::reading::Reading;
use hms_ops::model::rejected::{Kept, Rejected};
use hms_ops::processor::core::{Body, Core, Effects, Elsewhere, Outcome, Record, SpecChange};
use serde_json::{Value, json};

use crate::rig::fleet::{PARTITIONS, ids};
use crate::rig::judge::{Stored, judge_records};
use crate::rig::load::nervous;

const METRICS: &str = "ops.metrics";
const BEGIN: i64 = 1_700_000_000_000;

/// A partition of `ops.metrics`, and what was published of it.
struct Published {
    log: Vec<Stored>,
    events: Vec<IncidentEvent>,
    letters: Vec<Rejected>,
}

/// Half a minute of a nervous service; one reading in twenty is of a sensor that nobody knows.
fn honest() -> Published {
    let id = ids("j", 1).remove(0);
    let (mut core, mut effects) = (Core::new(0, PARTITIONS), Effects::default());
    let spec = Arc::new(hms_ops::spec::parse(&nervous(&id)).unwrap().spec);
    core.apply([SpecChange::Register(spec)], 0, &mut effects);
    let mut published = Published { log: Vec::new(), events: Vec::new(), letters: Vec::new() };
    for offset in 0..300 {
        let append_ms = BEGIN + 100 * offset;
        let sensor = if offset % 20 == 7 { "unheard_of" } else { "q" }.into();
        let value = if append_ms % 3_000 < 1_500 { 40.0 } else { 10.0 };
        let reading =
            Reading { service: id.as_str().into(), sensor, ts: append_ms, value, attributes: BTreeMap::new() };
        let record = Record { offset, append_ms, body: Body::Reading(&reading), elsewhere: Elsewhere::default() };
        if let Outcome::Rejected(reason) = core.step(record, &mut effects) {
            let (topic, headers) = (METRICS.to_owned(), Vec::new());
            let (value, key) = (Kept::default(), Kept::default());
            let (partition, append_time, headers_left_out) = (0, append_ms, 0);
            let letter =
                Rejected { reason, topic, partition, offset, append_time, value, key, headers, headers_left_out };
            published.letters.push(letter);
        }
        let value = Some(codec::reading::encode(&reading));
        published.log.push(Stored { offset, append: append_ms, key: None, value, headers: Vec::new() });
    }
    published.events = effects.incidents;
    published
}

/// What the judge says, once `published` lies on the bus.
fn judged(published: &Published) -> Result<(), String> {
    let at = |offset, key, value| Stored { offset, append: 0, key, value: Some(value), headers: Vec::new() };
    let incidents = (0..).zip(&published.events).map(|(offset, event)| {
        let wire = codec::incident::wire(event);
        let headers = wire.headers.into_iter().map(|(name, text)| (name.to_owned(), Some(text.into_bytes()))).collect();
        Stored { headers, ..at(offset, Some(wire.key), wire.value) }
    });
    let letters =
        (0..).zip(&published.letters).map(|(offset, letter)| at(offset, None, codec::rejected::encode(letter)));
    judge_records(METRICS, &published.log, &incidents.collect::<Vec<_>>(), &letters.collect::<Vec<_>>())
}

/// The place of an opening with others on either side.
fn opening(published: &Published) -> usize {
    let opened = |event: &IncidentEvent| matches!(event.kind, hms_ops::model::incident::EventKind::Opened { .. });
    published.events.iter().rposition(opened).unwrap()
}

/// The judge must see what `tamper` does.
fn is_noticed(tamper: impl FnOnce(&mut Published)) -> String {
    let mut published = honest();
    tamper(&mut published);
    judged(&published).unwrap_err()
}

#[test]
fn an_honest_log_is_confirmed() {
    let published = honest();
    assert!(published.events.len() > 40 && published.letters.len() == 15, "{}", published.events.len());
    judged(&published).unwrap();
}

#[test]
fn an_event_that_is_dropped_is_noticed() {
    for place in 0..honest().events.len() {
        is_noticed(|published| drop(published.events.remove(place)));
    }
}

#[test]
fn an_event_that_is_doubled_is_noticed() {
    let said = is_noticed(|published| {
        let place = opening(published);
        published.events.insert(place, published.events[place].clone());
    });
    assert!(said.contains("of ops.incidents"), "{said}");
}

#[test]
fn an_event_with_one_field_altered_is_noticed() {
    let published = honest();
    let place = opening(&published);
    let event = serde_json::to_value(&published.events[place]).unwrap();
    let mut altered = 0;
    for (name, value) in event.as_object().unwrap() {
        let other = match value {
            // The estimate is compared with the exact quantile by the tests of the oracle.
            Value::Number(number) if name != "p95_estimate" => number.as_i64().map_or(json!(31.0), |n| json!(n + 1)),
            Value::Bool(bool) => json!(!bool),
            Value::String(text) if ["incident", "episode"].contains(&name.as_str()) => json!(format!("{text}1")),
            Value::String(text) if name == "cause" => json!(format!("{text} ")),
            _ => continue,
        };
        let mut event = event.clone();
        event[name] = other;
        is_noticed(|published| published.events[place] = serde_json::from_value(event).unwrap());
        altered += 1;
    }
    assert_eq!(altered, 12, "{event}");
}

#[test]
fn two_events_that_are_swapped_are_noticed() {
    is_noticed(|published| {
        let place = opening(published);
        published.events.swap(place, place + 1);
    });
}

#[test]
fn a_dead_letter_that_is_missing_is_noticed() {
    for place in [0, 7, 14] {
        let said = is_noticed(|published| drop(published.letters.remove(place)));
        assert!(said.contains("dead letter"), "{said}");
    }
}
