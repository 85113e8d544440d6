//! One partition with a service that comes, breaks, falls silent and goes; its published events are altered.

use super::*;
use crate::model::ids::{TICK_SENSOR, TICK_SERVICE};
use crate::model::reading::Reading;
use crate::processor::core::{Body, Elsewhere};

const SPEC: &str = "id: svc\nowner: o\nsensors:\n  - {name: q, interval: 0.1}\nslo:\n  target: q\n  threshold: 30\n  \
                    window_seconds: 5\n  min_samples: 5\n  recover_for: 0\n  no_data_after_seconds: 5\nplaybook: []\n";

fn reading(service: &str, sensor: &str, ts: i64, value: f64) -> Reading<'static> {
    Reading {
        service: service.to_owned().into(),
        sensor: sensor.to_owned().into(),
        ts,
        value,
        attributes: BTreeMap::new(),
    }
}

/// Bad for 10 s, then silent; a tick each second. Append times are event times.
fn log() -> Vec<Reading<'static>> {
    let bad = (0..40).map(|n| reading("svc", "q", 1_000_000 + 250 * n, 40.0));
    let ticks = (11..25).map(|n| reading(TICK_SERVICE, TICK_SENSOR, 1_000_000 + 1_000 * n, 0.0));
    bad.chain(ticks).collect()
}

fn record<'a>(offset: usize, reading: &'a Reading<'a>) -> Record<'a> {
    Record {
        offset: offset as i64,
        append_ms: reading.ts,
        body: Body::Reading(reading),
        elsewhere: Elsewhere::default(),
    }
}

/// What a processor publishes: the spec takes effect at 3, ends at 50. With the core at its last cut but one.
fn publish(log: &[Reading<'_>]) -> Vec<IncidentEvent> {
    let spec = Arc::new(crate::spec::parse(SPEC).unwrap().spec);
    let (mut core, mut effects) = (Core::new(0, 1), Effects::default());
    for (offset, reading) in log.iter().enumerate() {
        if offset == 3 {
            core.apply([SpecChange::Register(spec.clone())], 3, &mut effects);
        }
        if offset == 50 {
            core.apply([SpecChange::Retire(spec.id.clone())], 50, &mut effects);
        }
        core.step(record(offset, reading), &mut effects);
    }
    effects.incidents
}

fn committed(events: &[IncidentEvent]) -> Vec<Committed> {
    let commit = |(offset, event): (usize, &IncidentEvent)| {
        let wire = codec::incident::wire(event);
        let text = |(name, text): (&str, String)| (name.to_owned(), Some(text.into_bytes()));
        Committed {
            offset: offset as i64,
            key: Some(wire.key),
            value: Some(wire.value),
            headers: wire.headers.into_iter().map(text).collect(),
            event: Some(event.clone()),
        }
    };
    events.iter().enumerate().map(commit).collect()
}

fn verify(published: &Published, log: &[Reading<'_>]) -> (usize, Option<Difference>) {
    let mut replay = Replay::new(Core::new(0, 1), published.changes(0));
    let mut comparison = Comparison::new(&published.events);
    for (offset, reading) in log.iter().enumerate() {
        replay.step(record(offset, reading));
        let found = replay.events().iter().find_map(|event| comparison.take(event, offset as i64, true));
        if found.is_some() {
            return (comparison.equal, found);
        }
    }
    replay.finish(log.len() as i64);
    let found = replay.events().iter().find_map(|event| comparison.take(event, log.len() as i64, true));
    (comparison.equal, found.or_else(|| comparison.finish()))
}

#[test]
fn the_clock_places_an_end_that_nothing_else_places() {
    let log = log();
    let events = publish(&log);
    assert!(events.len() >= 5, "{events:#?}");
    let published = Published::new(committed(&events), Vec::new());
    assert_eq!(published.unplaced(0), 1);
    assert_eq!(verify(&published, &log), (events.len(), None));
}

#[test]
fn a_change_that_only_the_state_knows_is_a_difference() {
    let events = publish(&log());
    let retired = events.iter().find(|event| event.kind == EventKind::SpecRetired).unwrap();
    let end = SpecMove { service: retired.service.clone(), spec: None, at: retired.at, position: 50 };
    let told = Published::new(committed(&events), vec![end.clone()]);
    assert_eq!((told.unplaced(0), told.untold(0, 60)), (0, None));
    let without: Vec<_> = events.iter().filter(|event| *event != retired).cloned().collect();
    let untold = Published::new(committed(&without), vec![end]);
    assert_eq!(untold.untold(0, 60).and_then(|difference| difference.position), Some(50));
    assert_eq!(untold.untold(50, 60), None, "the core at a cut behind it has it");
}

#[test]
fn one_event_altered_dropped_or_doubled_is_the_first_difference() {
    let log = log();
    let events = publish(&log);
    for place in 0..events.len() {
        let mut altered = events.clone();
        altered[place].at += 1;
        let mut dropped = events.clone();
        dropped.remove(place);
        let mut doubled = events.clone();
        doubled.insert(place, events[place].clone());
        for lie in [altered, dropped, doubled] {
            let (equal, difference) = verify(&Published::new(committed(&lie), Vec::new()), &log);
            assert!(difference.is_some(), "event {place} of {events:#?}");
            assert!(equal <= place + 1, "{equal} events are equal, the lie is at {place}");
        }
    }
}
