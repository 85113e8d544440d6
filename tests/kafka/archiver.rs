//! The archiver: the vault holds the committed records of its topics, all of them, once, byte for byte; whoever is
//! stopped, whoever else writes, whatever the disk says.

use std::fs;
use std::time::{Duration, Instant};

use hms_ops::actors::archiver::{self, Archiver, Error, Options};
use hms_ops::bus::{Isolation, Next, Offsets, Outcome, Reader, Record, TransactionalProducer};
use hms_ops::model::topics::Topics;
use hms_ops::vault::archive::Limits;
use hms_ops::vault::{Entry, Header, LogId, SegmentDraft, Vault};
use tempfile::TempDir;

use crate::harness::*;

/// Two topics, a group and a vault of a test's own.
struct Fixture {
    topics: Topics,
    group: String,
    dir: TempDir,
    writer: TransactionalProducer,
}

impl Fixture {
    /// `ops.incidents` with two partitions, `ops.actions` with one.
    fn new() -> Self {
        let topics = Topics {
            incidents: create_topic("incidents", 2),
            actions: create_topic("actions", 1),
            ..Topics::default()
        };
        let writer = TransactionalProducer::new(&settings(), &unique("tx")).unwrap();
        Self { topics, group: unique("archiver"), dir: TempDir::new().unwrap(), writer }
    }

    fn location(&self) -> String {
        self.dir.path().display().to_string()
    }

    /// Segments of three records, or a fifth of a second.
    fn options(&self, group: &str, instance: &str) -> Options {
        Options {
            settings: settings(),
            topics: self.topics.clone(),
            group: group.to_owned(),
            instance: instance.to_owned(),
            vault_dir: self.location(),
            limits: Limits { max_records: 3, max_age_ms: 200, ..Limits::default() },
            metrics: std::sync::Arc::default(),
        }
    }

    fn start(&self, instance: &str) -> Archiver {
        archiver::start(self.options(&self.group, instance)).unwrap()
    }

    fn logs(&self) -> [LogId; 3] {
        let Topics { incidents, actions, .. } = &self.topics;
        [LogId::new(incidents, 0), LogId::new(incidents, 1), LogId::new(actions, 0)]
    }

    /// One transaction with a record of each value in each log.
    fn write(&mut self, values: &[String], commit: bool) {
        for log in self.logs() {
            for value in values {
                let headers = [("ce_type", Some(value.as_bytes())), ("null", None)];
                let record = Record {
                    topic: &log.topic,
                    partition: log.partition,
                    key: Some(b"svc"),
                    value: Some(value.as_bytes()),
                    headers: &headers,
                    timestamp_ms: None,
                };
                self.writer.send(&record).unwrap();
            }
        }
        if commit {
            // Transactions of this bus always commit offsets: those of a group that nobody is in.
            let consumer = join(&self.topics.incidents, &unique("nobody"), "n");
            let outcome = self.writer.commit(&[], &consumer.group_metadata().unwrap()).unwrap();
            assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
        } else {
            // Unless it is delivered it would leave no trace in the log.
            self.writer.flush().unwrap();
            self.writer.abort().unwrap();
        }
    }

    /// What a log holds for a reader of committed records.
    fn committed(&self, log: &LogId) -> Vec<Entry> {
        let offsets = Offsets::new(&settings()).unwrap();
        let mut reader = Reader::open(&settings(), &log.topic, Isolation::Committed, [(log.partition, 0)])
            .unwrap()
            .until_now(&offsets)
            .unwrap();
        let mut entries = Vec::new();
        loop {
            match reader.next(PATIENCE).unwrap() {
                Next::Record(message) => entries.push(Entry {
                    offset: message.offset(),
                    timestamp: message.timestamp().ms().unwrap(),
                    key: message.key().map(Into::into),
                    value: message.value().map(Into::into),
                    headers: message
                        .headers()
                        .into_iter()
                        .map(|header| Header {
                            name: header.name.as_bytes().into(),
                            value: header.value.map(Into::into),
                        })
                        .collect(),
                }),
                Next::End => return entries,
                Next::Idle => panic!("{log} has no end"),
            }
        }
    }

    /// The vault's records of a log, and where it ends (after checking that its segments follow each other).
    fn archived(&self, log: &LogId) -> (Vec<Entry>, i64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let vault = Vault::open(&self.location()).unwrap();
            let mut entries = Vec::new();
            for segment in vault.segments(log).await.unwrap() {
                entries.extend(vault.read(&segment).await.unwrap());
            }
            (entries, vault.end(log).await.unwrap().unwrap_or(0))
        })
    }

    /// Waits until the vault has as many records of every log as the log has committed ones.
    fn wait_for_all(&self) {
        for log in self.logs() {
            let expected = self.committed(&log).len();
            eventually(&format!("{expected} records of {log}"), || self.archived(&log).0.len() >= expected);
        }
    }

    /// The vault is exactly the log, from 0 on and without a gap.
    fn assert_equal(&self) {
        for log in self.logs() {
            let (expected, (archived, end)) = (self.committed(&log), self.archived(&log));
            assert_eq!(archived, expected, "{log}");
            assert!(end > expected.last().unwrap().offset, "{log} ends at {end}");
        }
    }

    /// What the group has committed for a log.
    fn offset(&self, log: &LogId) -> Option<i64> {
        let watcher = join(&log.topic, &self.group, &unique("watcher"));
        watcher.committed(&[log.partition]).unwrap()[0].offset
    }
}

/// Nothing tells when a file appears in a vault: looks until it is there.
fn eventually(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < deadline, "still not there: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn numbered(name: &str, numbers: std::ops::Range<i32>) -> Vec<String> {
    numbers.map(|number| format!("{name} {number}")).collect()
}

/// `a a a a C | x x A | b C | stop | y A  c c C | stop | d C | stop`: what was aborted is not there, the rest is, and
/// the group's offsets are at the end, behind the markers.
#[test]
fn the_vault_is_the_committed_log_across_restarts() {
    let mut fixture = Fixture::new();
    fixture.write(&numbered("a", 0..4), true);
    fixture.write(&numbered("aborted", 0..2), false);
    let archiver = fixture.start("one");
    fixture.wait_for_all();
    fixture.write(&numbered("b", 0..1), true);
    fixture.wait_for_all();
    archiver.stop().unwrap();
    fixture.assert_equal();

    fixture.write(&numbered("aborted", 2..3), false);
    fixture.write(&numbered("c", 0..2), true);
    let archiver = fixture.start("one");
    fixture.wait_for_all();
    // Dropped: no goodbye to the group.
    drop(archiver);

    fixture.write(&numbered("d", 0..1), true);
    fixture.write(&numbered("aborted", 3..4), false);
    let archiver = fixture.start("one");
    fixture.wait_for_all();
    let offsets = Offsets::new(&settings()).unwrap();
    for log in fixture.logs() {
        let high = offsets.watermarks(&log.topic, log.partition).unwrap().high;
        eventually(&format!("offset {high} of {log}"), || fixture.offset(&log) == Some(high));
    }
    assert!(!archiver.is_finished());
    archiver.stop().unwrap();
    fixture.assert_equal();
}

/// Two of a group, of which one leaves in the middle, and one of another group that wants every partition: three
/// writers of one vault.
#[test]
fn archivers_at_once_make_one_log() {
    let mut fixture = Fixture::new();
    fixture.write(&numbered("early", 0..20), true);
    let (one, two) = (fixture.start("one"), fixture.start("two"));
    let rival = archiver::start(fixture.options(&unique("rival"), "one")).unwrap();
    for round in 0..6 {
        fixture.write(&numbered("round", round..round + 3), true);
    }
    fixture.wait_for_all();
    two.stop().unwrap();
    for round in 6..12 {
        fixture.write(&numbered("round", round..round + 3), round % 3 > 0);
    }
    fixture.wait_for_all();
    one.stop().unwrap();
    rival.stop().unwrap();
    fixture.assert_equal();
}

/// The folder of a log becomes a file for a while, which no store can write into: nothing is committed meanwhile, the
/// other logs go on, and afterwards nothing is missing.
#[test]
fn a_vault_that_takes_nothing_is_tried_until_it_does() {
    let mut fixture = Fixture::new();
    fixture.write(&numbered("a", 0..1), true);
    let archiver = fixture.start("one");
    fixture.wait_for_all();
    let [blocked, open, _] = fixture.logs();
    let folder = fixture.dir.path().join(blocked.to_string());
    let aside = fixture.dir.path().join("aside");
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, "").unwrap();

    fixture.write(&numbered("b", 0..10), true);
    // Both are partitions of one topic, committed together.
    let high = Offsets::new(&settings()).unwrap().watermarks(&open.topic, open.partition).unwrap().high;
    eventually("the other log's offset", || fixture.offset(&open) == Some(high));
    let first_of_b = fixture.committed(&blocked)[1].offset;
    assert!(fixture.offset(&blocked).is_none_or(|offset| offset <= first_of_b), "committed, but not durable");
    assert!(!archiver.is_finished());

    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    fixture.wait_for_all();
    archiver.stop().unwrap();
    fixture.assert_equal();
}

/// The vault is ahead of a topic that was made anew: what comes now are other records at the same offsets.
#[tokio::test]
async fn an_archiver_refuses_a_log_that_the_vault_does_not_fit() {
    let fixture = Fixture::new();
    let [log, ..] = fixture.logs();
    let entry = Entry { offset: 8, timestamp: 1, key: None, value: None, headers: Vec::new() };
    let draft = SegmentDraft { log: log.clone(), from: 0, to: 9, entries: vec![entry] };
    let _ = Vault::open_for_append(&fixture.location()).unwrap().append(&draft).await.unwrap();
    let archiver = fixture.start("one");
    eventually("the refusal", || archiver.is_finished());
    match archiver.stop() {
        Err(Error::NotHeld { log: refused, position: 9, low: 0, high: 0 }) => assert_eq!(refused, log),
        other => panic!("{other:?}"),
    }
}
