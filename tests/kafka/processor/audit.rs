//! What a log has led to, computed again by whoever doubts it: `ops replay --verify` and `ops explain`.
//!
//! ```text
//! ops.metrics/p:    r r r r s r r r k r r R r r ...    s: specs change   k: kill -9   R: a service is unregistered
//! ops.state/p:      c       c         c     c   c      from each cut to the end: the same events, every byte
//! ops.incidents/p:  e e     e e       e     e   e      one of them altered, dropped, doubled: found, where it is
//! ```

use std::process::{Command, Output};
use std::sync::Arc;

use hms_ops::bus::{Isolation, Producer, Record};
use hms_ops::codec;
use hms_ops::model::incident::{EventKind, IncidentEvent};
use hms_ops::model::topics::Topics;
use hms_ops::processor::audit::{Auditor, Finding, Ledger};
use serde_json::Value;

use crate::harness::{PATIENCE, brokers, create_topic_with, settings};
use crate::rig::fleet::{Fleet, Ops, PARTITIONS, ids, now_ms};
use crate::rig::judge::{Stored, confirm, stored};
use crate::rig::load::{nervous, start};
use crate::rig::watch::{Watch, is_turn};

fn auditor(fleet: &Fleet, topics: &Topics) -> Auditor {
    Auditor::new(settings(), topics.clone(), &fleet.group).unwrap()
}

fn verify(ledger: &Ledger<'_>, from: Option<i64>, to: Option<i64>) -> Finding {
    ledger.verify(from, to, &mut |_, _| {}).unwrap()
}

/// All partitions from the beginning: how many events are equal.
fn all_equal(fleet: &Fleet) -> usize {
    let auditor = auditor(fleet, &fleet.topics);
    let one = |partition| {
        let finding = verify(&auditor.open(partition).unwrap(), None, None);
        assert!(finding.difference.is_none(), "{finding:#?}");
        assert!(!finding.from_cut && finding.unplaced == 0, "{finding:#?}");
        finding.equal
    };
    (0..PARTITIONS).map(one).sum()
}

fn count(watch: &Watch, wanted: impl Fn(&IncidentEvent) -> bool) -> usize {
    watch.seen.iter().filter(|seen| wanted(&seen.event)).count()
}

fn turns_after(watch: &mut Watch, more: usize, ops: &mut Ops) {
    watch.drain();
    let wanted = count(watch, is_turn) + more;
    watch.until("more incidents", |seen| {
        assert!(ops.is_alive(), "{}", ops.said());
        seen.iter().filter(|seen| is_turn(&seen.event)).count() >= wanted
    });
}

/// Load, new specs (one that begins anew, one that goes on, one that ends and comes back), a kill, a restart, an audit
/// while it runs, and the end in order. Long enough for cuts by the clock.
fn history(fleet: &Arc<Fleet>) {
    let load = start(fleet);
    let services = ids("k", 3);
    let mut watch = Watch::new(fleet, Isolation::Committed);
    let mut ops = fleet.start("one");
    let began = now_ms();
    turns_after(&mut watch, 12, &mut ops);
    fleet.register(&nervous(&services[0]).replace("threshold: 30", "threshold: 35"));
    fleet.register(&nervous(&services[3]).replace("channel=x", "channel=z"));
    fleet.unregister(&services[6]);
    let retired = |event: &IncidentEvent| event.kind == EventKind::SpecRetired;
    watch.until_one("the end of a service", retired);
    turns_after(&mut watch, 6, &mut ops);
    ops.kill();
    let mut ops = fleet.start("one");
    fleet.register(&nervous(&services[6]));
    let id = services[6].clone();
    watch.until("its second beginning", |seen| {
        let begun = |event: &IncidentEvent| {
            event.service.as_str() == id && matches!(event.kind, EventKind::SpecActivated { .. })
        };
        seen.iter().filter(|seen| begun(&seen.event)).count() == 2
    });
    turns_after(&mut watch, 6, &mut ops);
    all_equal(fleet);
    while now_ms() < began + 11_000 {
        turns_after(&mut watch, 1, &mut ops);
    }
    load.stop();
    // Ticks that are appended while the processor stops stay unread, and an audit reads them: nothing may be due by them.
    // The windows, looks and episodes of these services are over within 5 s of silence, which is no data only after 60 s.
    let silent = now_ms();
    while now_ms() < silent + 5_000 {
        fleet.wait_until_beyond_now();
    }
    // On a busy machine one round may outlast them: what comes now was appended after them.
    fleet.wait_until_beyond_now();
    ops.stop();
}

/// A copy of one partition of `ops.incidents` after `change`, and the topics with it.
fn altered(fleet: &Fleet, name: &str, partition: i32, change: impl FnOnce(&mut Vec<Stored>)) -> Topics {
    let topic = create_topic_with(name, PARTITIONS, &[("message.timestamp.type", "LogAppendTime")]);
    let mut records = stored(fleet, &fleet.topics.incidents, partition);
    change(&mut records);
    let producer = Producer::new(&settings(), 10_000).unwrap();
    records.iter().for_each(|record| append(&producer, &topic, partition, record));
    assert!(producer.flush(PATIENCE).is_complete());
    Topics { incidents: topic, ..fleet.topics.clone() }
}

fn append(producer: &Producer, topic: &str, partition: i32, record: &Stored) {
    let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    producer.send(&Record { topic, partition, key, value, headers: &headers, timestamp_ms: None }, PATIENCE).unwrap();
}

fn event(record: &Stored) -> IncidentEvent {
    codec::incident::decode(record.value.as_deref().unwrap()).unwrap()
}

/// The place of the last event that `wanted` likes: far from the beginning, so that some are equal before.
fn place(records: &[Stored], wanted: impl Fn(&EventKind) -> bool) -> usize {
    records.iter().rposition(|record| wanted(&event(record).kind)).unwrap()
}

fn opened(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Opened { .. })
}

/// Each copy of the log that lies must be found, from the beginning and from the last cut before the lie.
fn lies_are_found(fleet: &Fleet, partition: i32) {
    let honest = stored(fleet, &fleet.topics.incidents, partition);
    let (open, last) = (place(&honest, opened), honest.len() - 1);
    let retired = honest.iter().position(|record| event(record).kind == EventKind::SpecRetired).unwrap();
    // What brought the last event about; quiet records may follow, and a cut among them.
    let topics = altered(fleet, "without-last", partition, |records| drop(records.pop()));
    let finding = verify(&auditor(fleet, &topics).open(partition).unwrap(), None, None);
    let last_position = finding.difference.and_then(|difference| difference.position).unwrap();
    let found = |name: &str, at: usize, change: &dyn Fn(&mut Vec<Stored>)| {
        let topics = altered(fleet, name, partition, change);
        let auditor = auditor(fleet, &topics);
        let ledger = auditor.open(partition).unwrap();
        let finding = verify(&ledger, None, None);
        let difference = finding.difference.unwrap_or_else(|| panic!("{name} was not found"));
        assert_eq!(finding.equal, at, "{name}: {difference:#?}");
        let before = difference.position.unwrap_or(last_position) - 1;
        let from_cut = verify(&ledger, Some(before), None);
        assert!(from_cut.difference.is_some() && from_cut.from_cut, "{name} was not found from a cut: {from_cut:#?}");
        difference
    };
    let difference = found("altered", open, &|records| {
        let mut lie = event(&records[open]);
        let EventKind::Opened { verdict: Some(verdict), .. } = &mut lie.kind else { panic!("{lie:?}") };
        verdict.p95_estimate = verdict.p95_estimate.map(|estimate| estimate.next_up());
        records[open].value = Some(codec::incident::encode(&lie));
    });
    assert_eq!((difference.parts.as_slice(), difference.offset), (["value"].as_slice(), Some(open as i64)));
    assert_ne!(difference.committed, difference.computed);
    let difference = found("header", open, &|records| records[open].headers[3].1 = Some(b"1970-01-01".to_vec()));
    assert_eq!(difference.parts, ["headers"]);
    let difference = found("key", open, &|records| records[open].key = None);
    assert_eq!(difference.parts, ["key"]);
    found("garbage", open, &|records| records[open].value = Some(b"garbage".to_vec()));
    found("dropped", open, &|records| drop(records.remove(open)));
    found("doubled", open + 1, &|records| records.insert(open + 1, records[open].clone()));
    found("swapped", open, &|records| records.swap(open, open + 1));
    let difference = found("dropped-last", last, &|records| drop(records.pop()));
    assert_eq!((difference.offset, difference.committed), (None, None));
    let difference = found("doubled-last", last + 1, &|records| records.push(records[last].clone()));
    assert_eq!((difference.position, difference.computed), (None, None));
    // It shows as soon as the service that should be gone makes a difference.
    let topics = altered(fleet, "not-retired", partition, |records| drop(records.remove(retired)));
    let finding = verify(&auditor(fleet, &topics).open(partition).unwrap(), None, None);
    assert!(finding.difference.is_some(), "not-retired was not found: {finding:#?}");
}

/// Every cut as the beginning, and parts of the log as ranges.
fn every_cut_is_a_beginning(fleet: &Fleet) {
    let auditor = auditor(fleet, &fleet.topics);
    let mut cuts = 0;
    for partition in 0..PARTITIONS {
        let ledger = auditor.open(partition).unwrap();
        let whole = verify(&ledger, None, None);
        let mut equal = whole.equal;
        for mark in ledger.cuts() {
            let finding = verify(&ledger, Some(mark.position), None);
            assert!(finding.difference.is_none() && finding.unplaced == 0, "{mark:?}: {finding:#?}");
            assert_eq!(finding.from, mark.position);
            // What was decided before the cut is what is left of the whole.
            let before = verify(&ledger, None, Some(mark.position));
            assert!(before.difference.is_none(), "{mark:?}: {before:#?}");
            assert!(finding.equal <= equal, "later cuts have fewer events behind them");
            equal = finding.equal;
            cuts += 1;
            assert!(before.equal + finding.equal <= whole.equal, "{before:?} {finding:?} {whole:?}");
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 2 * PARTITIONS, "{cuts} cuts");
}

/// Every incident is confirmed, and the readings found are those that were counted.
fn every_incident_is_confirmed(fleet: &Fleet, partition: i32) {
    let auditor = auditor(fleet, &fleet.topics);
    let ledger = auditor.open(partition).unwrap();
    let events: Vec<IncidentEvent> = stored(fleet, &fleet.topics.incidents, partition).iter().map(event).collect();
    let opened: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Opened { incident, verdict, .. } => Some((incident, verdict.unwrap())),
            _ => None,
        })
        .collect();
    assert!(opened.len() >= 2, "{} incidents", opened.len());
    for (incident, verdict) in opened.iter().rev().take(2) {
        let explanation = ledger.explain(incident, &mut |_, _| {}).unwrap().unwrap();
        assert!(explanation.difference.is_none() && explanation.spec.is_some(), "{explanation:#?}");
        assert_eq!((explanation.readings.n, explanation.readings.over), (verdict.n, verdict.over), "{explanation:#?}");
        assert!(explanation.readings.first < explanation.readings.last);
    }
    let unheard = "nobody.1".parse().unwrap();
    assert!(ledger.explain(&unheard, &mut |_, _| {}).unwrap().is_none());
}

fn ops(fleet: &Fleet, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ops"));
    command.args(args).args(["--brokers", brokers(), "--topic-prefix", &fleet.prefix, "--group", &fleet.group]);
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

/// The commands say the same, with their exit codes; then the log itself is made to lie.
fn commands_tell(fleet: &Fleet, partition: i32, events: usize) {
    let (code, said) = ops(fleet, &["replay", "--verify"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with(&format!("equal: {events} events\n")), "{said}");
    let log = stored(fleet, &fleet.topics.incidents, partition);
    let record = &log[place(&log, opened)];
    let EventKind::Opened { incident, .. } = event(record).kind else { panic!() };
    let (code, said) = ops(fleet, &["explain", &incident.to_string()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("line 7: threshold: 30") && said.contains("\nconfirmed "), "{said}");
    println!("{said}");
    let (code, said) = ops(fleet, &["explain", &incident.to_string(), "--json"]);
    let explained: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &explained["confirmed"]), (Some(0), &Value::Bool(true)), "{said}");
    assert_eq!(ops(fleet, &["explain", "nobody.1"]).0, Some(2));

    let producer = Producer::new(&settings(), 10).unwrap();
    append(&producer, &fleet.topics.incidents, partition, record);
    assert!(producer.flush(PATIENCE).is_complete());
    let (code, said) = ops(fleet, &["replay", "--verify", "--partition", &partition.to_string()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("an event that nothing has led to"), "{said}");
    println!("{said}");
    let (code, said) = ops(fleet, &["explain", &incident.to_string()]);
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn the_log_does_not_lie() {
    let fleet = Arc::new(Fleet::new("audit"));
    history(&fleet);
    let judged = confirm(&fleet);
    assert_eq!(all_equal(&fleet), judged.events.len(), "every event that the oracle knows");
    assert!(judged.forwarded > 50 && judged.rejected.len() > 10);
    every_cut_is_a_beginning(&fleet);
    (0..PARTITIONS).for_each(|partition| every_incident_is_confirmed(&fleet, partition));
    // The home of the service that was unregistered, and came back.
    let home = hms_ops::model::ids::home_partition(&ids("k", 3)[6], PARTITIONS);
    lies_are_found(&fleet, home);
    commands_tell(&fleet, home, judged.events.len());
}
