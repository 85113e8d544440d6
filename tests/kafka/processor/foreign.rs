//! Foreign clients: another partitioner, JSON, garbage. kcat stands for all of them.
//!
//! ```text
//! kcat:  a -> p1 (CRC32)          forwarded, once, as it is: p1 -> p3, with ops-from
//! ours:  a -> p3 (murmur2, home)  both count in one window
//! ```

use std::io::Write as _;
use std::process::{Command, Stdio};

use hms_ops::bus::{Isolation, Record, TransactionalProducer};
use hms_ops::model::ids::home_partition;
use hms_ops::model::incident::EventKind;
use hms_ops::model::reading::RejectReason;
use sha2::{Digest as _, Sha256};

use crate::harness::{brokers, unique};
use crate::rig::fleet::{Fleet, PARTITIONS};
use crate::rig::judge::{confirm, stored};
use crate::rig::watch::{Watch, opens};

/// Is kcat here? Without it the tests say so and pass, unless the environment asks for every tool.
fn has_kcat() -> bool {
    let found = Command::new("kcat").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("OPS_TEST_REQUIRE_TOOLS").is_none(), "kcat is not installed");
    if !found {
        println!("skipped: kcat is not installed");
    }
    found
}

/// Sends each line as a value under `key`; kcat hashes the key as it likes.
fn kcat(fleet: &Fleet, key: &str, lines: &[u8]) {
    let mut child = Command::new("kcat")
        .args(["-P", "-b", brokers(), "-t", &fleet.topics.metrics, "-k", key, "-H", "client=kcat"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines).unwrap();
    assert!(child.wait().unwrap().success());
}

/// CRC-32 (IEEE), by which librdkafka finds the partition of a key.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// Where kcat puts a key.
fn foreign_partition(key: &str) -> i32 {
    i32::try_from(crc32(key.as_bytes()) % u32::try_from(PARTITIONS).unwrap()).unwrap()
}

/// Opens only with 12 readings in one window.
fn spec(id: &str) -> String {
    format!(
        "id: {id}\nowner: test\nsensors:\n  - {{name: q, interval: 1}}\n\
         slo:\n  target: q\n  threshold: 30\n  window_seconds: 30\n  step: 0.5\n  lateness: 0.5\n  min_samples: 12\n\
         playbook:\n  - if: slo_breach\n    then: page channel=x\n"
    )
}

/// Services whose readings kcat puts elsewhere, and one for which it does not matter.
#[test]
fn foreign_clients() {
    if !has_kcat() {
        return;
    }
    let strangers = || (0..).map(|n| format!("stranger{n}"));
    let mut ids: Vec<String> =
        strangers().filter(|id| foreign_partition(id) != home_partition(id, PARTITIONS)).take(3).collect();
    let away = ids.len();
    ids.extend(strangers().find(|id| foreign_partition(id) == home_partition(id, PARTITIONS)));

    let fleet = Fleet::new("foreign");
    ids.iter().for_each(|id| fleet.register(&spec(id)));
    let ops = fleet.start("one");
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    let is_activated = |kind: &EventKind| matches!(kind, EventKind::SpecActivated { .. });
    watch.until("the specs", |seen| seen.iter().filter(|seen| is_activated(&seen.event.kind)).count() == ids.len());
    for id in &ids {
        // Neither alone is enough: six by each kind of client. kcat's have no `ts` and no `service`.
        kcat(&fleet, id, &b"{\"sensor\":\"q\",\"value\":31.2}\n".repeat(6));
        (0..6).for_each(|_| fleet.emit(id, "q", 31.5));
    }
    fleet.flush();
    watch.until("an opening of each", |seen| ids.iter().all(|id| seen.iter().any(|seen| opens(&seen.event, id))));
    fleet.wait_until_caught_up();
    ops.stop();

    let judged = confirm(&fleet);
    assert_eq!(judged.forwarded, 6 * away as u64, "each of those that were elsewhere, once");
    assert_eq!(judged.counts.counted, 12 * ids.len() as u64);
    for event in &judged.events {
        if let EventKind::Opened { verdict: Some(verdict), .. } = &event.kind {
            assert_eq!((verdict.n, verdict.over), (12, 12), "one window of both clients: {event:?}");
        }
    }
}

/// Garbage and what is too large are kept with their reason, and the good reading behind them counts.
#[test]
fn garbage_is_kept_and_stops_nothing() {
    if !has_kcat() {
        return;
    }
    let id = (0..).map(|n| format!("victim{n}")).find(|id| foreign_partition(id) == home_partition(id, PARTITIONS));
    let id = id.unwrap();
    let fleet = Fleet::new("garbage");
    fleet.register(&spec(&id));
    let ops = fleet.start("one");
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    watch.until_one("the spec", |event| matches!(event.kind, EventKind::SpecActivated { .. }));
    let garbage: &[u8] = b"\x7f\x00\xff\xfe not a reading \x1b[31m";
    let large = format!(r#"{{"sensor":"q","value":1,"x":"{}"}}"#, "x".repeat(60 * 1024));
    let (truncated, good) = (br#"{"sensor":"q","value":"#, br#"{"sensor":"q","value":31.2}"#);
    // One by one: the broker limits what comes in one batch.
    for value in [garbage, large.as_bytes(), truncated, good] {
        kcat(&fleet, &id, value);
    }
    fleet.wait_until_caught_up();
    ops.stop();

    let judged = confirm(&fleet);
    assert_eq!(judged.counts.counted, 1);
    let reasons: Vec<_> = judged.rejected.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [RejectReason::BadMagic, RejectReason::TooLarge, RejectReason::Truncated]);
    let log = stored(&fleet, &fleet.topics.metrics, home_partition(&id, PARTITIONS));
    for letter in &judged.rejected {
        let record = log.iter().find(|record| record.offset == letter.offset).unwrap();
        assert_eq!(letter.key.bytes.as_deref(), Some(id.as_bytes()));
        assert_eq!((&letter.headers, letter.append_time), (&record.headers, record.append));
        assert_eq!(letter.headers, [("client".to_owned(), Some(b"kcat".to_vec()))]);
    }
    assert_eq!(judged.rejected[0].value.bytes.as_deref(), Some(garbage));
    let cut = &judged.rejected[1].value;
    assert_eq!(cut.bytes.as_deref(), Some(&large.as_bytes()[..1024]));
    assert_eq!(cut.length, large.len() as u64);
    assert_eq!(cut.sha256, Some(Sha256::digest(large.as_bytes()).into()));
}

/// A transaction that is given up leaves a record and a marker that nobody is shown. They are read all the same: without
/// a tick behind them (simulated time) the group lagged by them for ever.
///
/// ```text
/// p3: r  [x aborted] marker  |    committed: behind the marker
/// ```
#[test]
fn what_was_given_up_behind_the_last_record_is_committed_as_read() {
    let fleet = Fleet::simulated("given-up");
    let id = crate::rig::fleet::ids("given", 1).remove(0);
    let home = home_partition(&id, PARTITIONS);
    fleet.register(&format!("id: {id}\nowner: test\nsensors:\n  - name: q\nslo: {{target: q, threshold: 30}}\n"));
    let ops = fleet.start("one");
    fleet.emit_at(&id, "q", 1_700_000_000_000, 10.0);
    fleet.flush();
    fleet.wait_until_caught_up();
    let mut producer = TransactionalProducer::new(&fleet.settings, &unique("foreign")).unwrap();
    let record = Record { topic: &fleet.topics.metrics, partition: home, value: Some(b"x"), ..Record::default() };
    producer.send(&record).unwrap();
    producer.flush().unwrap();
    producer.abort().unwrap();
    fleet.wait_until_caught_up();
    ops.stop();
    assert_eq!((confirm(&fleet).counts.consumed, fleet.ends()[home as usize]), (1, 3));
}
