//! Poison: what strangers write on `ops.metrics` is kept with its reason, harms nobody else, and stops nothing.

use std::collections::BTreeSet;

use hms_ops::bus::Isolation;
use hms_ops::codec;
use hms_ops::model::ids::home_partition;
use hms_ops::model::incident::EventKind;
use hms_ops::model::reading::{Reading, RejectReason};
use serde_json::Value;

use crate::oracle::dice::Dice;
use crate::oracle::json::first_difference;
use crate::oracle::{self, Entry, Oracle};
use crate::rig::fleet::{Fleet, PARTITIONS, ids, now_ms};
use crate::rig::judge::{confirm, stored};
use crate::rig::watch::Watch;

const RECORDS: i64 = 20_000;
/// Append time of the first record, ms.
const BEGIN: i64 = 1_700_000_000_000;
/// Between two records, ms.
const EVERY: i64 = 5;
/// The header of a record that is hostile.
const HOSTILE: &str = "hostile";

fn spec(id: &str) -> String {
    format!(
        "id: {id}\nowner: test\nsensors:\n  - {{name: q, interval: 0.2}}\n\
         slo:\n  target: q\n  threshold: 30\n  window_seconds: 5\n  recover_for: 2\n  flap_limit: 2\n  flap_window: 20\n\
         playbook:\n  - if: slo_breach\n    then: scale_up compute=+1\n  - if: still_breach_after 4\n    then: page channel=x\n"
    )
}

fn reading(service: &str, sensor: &str, ts: i64, value: f64) -> Vec<u8> {
    let (service, sensor) = (service.to_owned(), sensor.to_owned());
    codec::reading::encode(&Reading { service, sensor, ts, value, attributes: [].into() })
}

/// A value that no rule lets count. Which rule it breaks is for the judge to say.
fn poison(dice: &mut Dice, service: &str, now: i64) -> Option<Vec<u8>> {
    let good = reading(service, "q", now, 31.2);
    let header = good[..10].to_vec();
    let end = usize::try_from(dice.between(0, good.len() as i64 - 1)).unwrap();
    Some(match dice.below(20) {
        0 => return None,
        1 => good[..end].to_vec(),
        2 => [&good[..], b"\0"].concat(),
        3 => b"\0\0\0\0\x01hello".to_vec(),
        4 => b"\x7f\x00\xff\xfe not a reading \x1b[31m".to_vec(),
        5 => format!(r#"{{"sensor":"q","value":1,"x":"{}"}}"#, "x".repeat(40 * 1024)).into_bytes(),
        6 => format!("{{\"x\":{}", "[".repeat(10_000)).into_bytes(),
        7 => br#"{"sensor":"q","value":1e999}"#.to_vec(),
        8 => br#"{"sensor":"q","sensor":"q","value":"high"}"#.to_vec(),
        // A string of 2^61 bytes, and a map of 4 * 10^8 entries.
        9 => [&header[..], b"\x80\x80\x80\x80\x80\x80\x80\x80\x40"].concat(),
        10 => [&good[..good.len() - 1], b"\x80\xa0\xbc\xfd\x02"].concat(),
        11 => reading("<script>alert(1)</script>", "q", now, 1.0),
        12 => reading(service, "q\u{202e}\n", now, 1.0),
        13 => reading(service, "q", now, dice.pick(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY])),
        14 => reading(service, "q", dice.pick(&[0, -1, i64::MIN]), 1.0),
        15 => reading(service, "q", dice.pick(&[i64::MAX, now * 1_000_000, now + 3_600_000]), 1.0),
        // Seconds, and hours ago.
        16 => reading(service, "q", dice.pick(&[now / 1_000, now - 7_200_000]), 1.0),
        17 => reading(&format!("stranger{}", dice.below(1_000_000)), "q", now, 1.0),
        18 => reading(service, &format!("sensor{}", dice.below(1_000_000)), now, 1.0),
        _ => reading("_ops", "q", now, 1.0),
    })
}

/// What the oracle says of the good records alone.
fn without_poison(fleet: &Fleet, services: &[String]) -> Vec<Value> {
    let mut events = Vec::new();
    for partition in 0..PARTITIONS {
        let mut oracle = Oracle::new(partition);
        let own: BTreeSet<&String> = services.iter().filter(|id| home_partition(id, PARTITIONS) == partition).collect();
        for id in own {
            events.extend(oracle.step(&Entry::Spec(spec(id))));
        }
        let log = stored(fleet, &fleet.topics.metrics, partition);
        for record in log.iter().filter(|record| record.headers.iter().all(|(name, _)| name != HOSTILE)) {
            let decoded = codec::reading::decode(record.key.as_deref(), record.value.as_deref(), record.append);
            let Reading { service, sensor, ts, value, .. } = decoded.unwrap();
            let reading = (home_partition(&service, PARTITIONS) == partition).then_some(oracle::Reading {
                service,
                sensor,
                ts: Some(ts),
                value,
            });
            events.extend(oracle.step(&Entry::Record { append: record.append, reading }));
            oracle.forget();
        }
    }
    events.into_iter().map(|told| told.event).collect()
}

/// One record in ten is hostile, one in five away from home, and the process is killed in the midst of it.
#[test]
fn one_record_in_ten_is_poison() {
    let fleet = Fleet::simulated("poison");
    let services = ids("p", 2);
    services.iter().for_each(|id| fleet.register(&spec(id)));
    let mut ops = fleet.start("one");
    Watch::new(&fleet, Isolation::Committed).until("the specs", |seen| seen.len() == services.len());
    let dice = &mut Dice::new(11);
    let (mut good, mut hostile) = (0, 0);
    // Poison moves no clock: it is appended together with the good record before it.
    let mut clocks = vec![BEGIN; usize::try_from(PARTITIONS).unwrap()];
    for number in 0..RECORDS {
        let id = &services[usize::try_from(dice.below(services.len() as u64)).unwrap()];
        let away = i32::from(dice.chance(20));
        let partition = (home_partition(id, PARTITIONS) + away) % PARTITIONS;
        let clock = &mut clocks[usize::try_from(partition).unwrap()];
        if dice.chance(10) && number > 100 {
            let key = dice.pick(&[Some(id.as_bytes()), None, Some(b"\xff\xfe"), Some(b"")]);
            let value = poison(dice, id, *clock);
            fleet.append(partition, *clock, key, value.as_deref(), &[(HOSTILE, None)]);
            hostile += 1;
        } else {
            *clock = BEGIN + number * EVERY;
            let value = if (*clock / 15_000) % 2 == 0 { 10.0 } else { 40.0 };
            let value = reading(id, "q", *clock - dice.between(0, 800), value);
            fleet.append(partition, *clock, Some(id.as_bytes()), Some(&value), &[]);
            good += 1;
        }
        if number == RECORDS / 2 {
            ops.kill();
            ops = fleet.start("one");
        }
        // What is forwarded is appended behind the rest, and must not come too late.
        if number % 4_000 == 0 {
            fleet.flush();
            fleet.wait_until_caught_up();
        }
    }
    fleet.flush();
    fleet.wait_until_caught_up();
    // What was forwarded last is a record too.
    fleet.wait_until_caught_up();
    ops.stop();

    let judged = confirm(&fleet);
    let reasons: BTreeSet<RejectReason> = judged.rejected.iter().map(|letter| letter.reason).collect();
    let rejected: u64 = judged.counts.rejected.values().sum();
    println!("{good} good, {hostile} hostile, {} forwarded, {:?}", judged.forwarded, judged.counts);
    assert_eq!((judged.counts.counted, rejected), (good, hostile));
    assert_eq!(judged.rejected.len() as u64, hostile);
    assert_eq!(judged.counts.consumed, good + hostile + judged.forwarded);
    assert!(reasons.len() >= 13, "{reasons:?}");
    let told: Vec<Value> = judged.told.into_iter().map(|told| told.event).collect();
    assert!(told.len() > 50, "{} events", told.len());
    assert_eq!(first_difference(&without_poison(&fleet, &services), &told), None);
}

/// A record that the bus took but would not take with one header more: it can not be forwarded.
#[test]
fn a_record_too_large_to_go_home_stops_nothing() {
    let fleet = Fleet::new("heavy");
    let id = ids("heavy", 1).remove(0);
    fleet.register(&spec(&id));
    let ops = fleet.start("one");
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    watch.until_one("the spec", |event| matches!(event.kind, EventKind::SpecActivated { .. }));
    let away = (home_partition(&id, PARTITIONS) + 1) % PARTITIONS;
    let value = reading(&id, "q", now_ms(), 31.2);
    // The largest that the client lets pass.
    let sizes = (0..2_000).map(|less| 1_000_000 - less);
    let sent = sizes.into_iter().find(|size| {
        let weight = vec![b'x'; *size];
        fleet.try_append(away, 0, Some(id.as_bytes()), Some(&value), &[("weight", Some(&weight))]).is_ok()
    });
    assert!(sent.is_some(), "no size passes");
    fleet.emit_to(away, &id, "q", now_ms(), 31.2);
    fleet.flush();
    fleet.wait_until_caught_up();
    fleet.wait_until_caught_up();
    ops.stop();

    let judged = confirm(&fleet);
    assert_eq!((judged.counts.counted, judged.forwarded), (1, 1));
    let reasons: Vec<_> = judged.rejected.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [RejectReason::TooLarge]);
}
