//! Poison: records of which one in ten is hostile, in simulated time, and a process that is killed in the midst of them.
//! Called by the quick form in `cargo test` and by the campaign `poison`.

use std::collections::{BTreeMap, BTreeSet};

use hms_ops::bus::Isolation;
use hms_ops::codec;
use hms_ops::model::ids::home_partition;
use hms_ops::model::reading::{Reading, RejectReason};
use serde_json::Value;

use super::audit::judge_and_audit;
use super::fleet::{Fleet, PARTITIONS, ids};
use super::judge::stored;
use super::watch::Watch;
use crate::oracle::dice::Dice;
use crate::oracle::json::first_difference;
use crate::oracle::{self, Entry, Oracle};

/// Append time of the first record, ms.
const BEGIN: i64 = 1_700_000_000_000;
/// Between two records, ms.
const EVERY: i64 = 5;
/// The header of a record that is hostile.
const HOSTILE: &str = "hostile";

/// A service whose incidents open and resolve every 15 s.
pub fn spec(id: &str) -> String {
    format!(
        "id: {id}\nowner: test\nsensors:\n  - {{name: q, interval: 0.2}}\n\
         slo:\n  target: q\n  threshold: 30\n  window_seconds: 5\n  recover_for: 2\n  flap_limit: 2\n  flap_window: 20\n\
         playbook:\n  - if: slo_breach\n    then: scale_up compute=+1\n  - if: still_breach_after 4\n    then: page channel=x\n"
    )
}

/// The bytes of a reading.
pub fn reading(service: &str, sensor: &str, ts: i64, value: f64) -> Vec<u8> {
    let (service, sensor) = (service.into(), sensor.into());
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

/// What was fed, and what is known of it.
pub struct Poisoned {
    /// Records that count.
    pub good: u64,
    /// Records that do not.
    pub hostile: u64,
    /// Records that went home first.
    pub forwarded: u64,
    /// How many of the hostile were refused for which reason.
    pub reasons: BTreeMap<RejectReason, u64>,
    /// How many events there were.
    pub events: usize,
}

/// So many records: one in ten hostile, one in five away from home. The process dies at `kills` places by dice. The error
/// is what the judge, the counts or the oracle of the good ones alone have against what was published.
pub fn play(records: i64, kills: usize, dice: &mut Dice) -> Result<Poisoned, String> {
    let fleet = Fleet::simulated("poison");
    let services = ids("p", 2);
    services.iter().for_each(|id| fleet.register(&spec(id)));
    let (good, hostile) = feed(&fleet, &services, records, kills, dice);
    let judged = judge_and_audit(&fleet)?;
    let mut reasons = BTreeMap::new();
    judged.rejected.iter().for_each(|letter| *reasons.entry(letter.reason).or_default() += 1);
    let poisoned = Poisoned { good, hostile, forwarded: judged.forwarded, reasons, events: judged.told.len() };
    let letters = judged.rejected.len() as u64;
    let rejected: u64 = judged.counts.rejected.values().sum();
    let counts = (judged.counts.counted, rejected, letters, judged.counts.consumed);
    let wanted = (good, hostile, hostile, good + hostile + judged.forwarded);
    if counts != wanted {
        return Err(format!("counted, rejected, dead letters, consumed: {counts:?} and not {wanted:?}"));
    }
    let told: Vec<Value> = judged.told.into_iter().map(|told| told.event).collect();
    match first_difference(&without_poison(&fleet, &services), &told) {
        Some(difference) => Err(format!("the good ones alone make another log: {difference}")),
        None => Ok(poisoned),
    }
}

/// Feeds the records to a process that dies and is started again. Says how many were good and how many hostile.
fn feed(fleet: &Fleet, services: &[String], records: i64, kills: usize, dice: &mut Dice) -> (u64, u64) {
    let mut ops = fleet.start("one");
    Watch::new(fleet, Isolation::Committed).until("the specs", |seen| seen.len() == services.len());
    let deaths: BTreeSet<i64> = (0..kills).map(|_| dice.between(records / 4, records - 1)).collect();
    let (mut good, mut hostile) = (0, 0);
    // Poison moves no clock: it is appended together with the good record before it.
    let mut clocks = vec![BEGIN; usize::try_from(PARTITIONS).unwrap()];
    for number in 0..records {
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
        if deaths.contains(&number) {
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
    (good, hostile)
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
                service: service.into_owned(),
                sensor: sensor.into_owned(),
                ts: Some(ts),
                value,
            });
            events.extend(oracle.step(&Entry::Record { append: record.append, reading }));
            oracle.forget();
        }
    }
    events.into_iter().map(|told| told.event).collect()
}
