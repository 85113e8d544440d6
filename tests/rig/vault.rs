//! Archivers as child processes on topics of their own, something to archive, and the check of a vault against its
//! topics: every committed record once, byte for byte, in segments that cover the log (INV-10), and nothing
//! acknowledged that is not durable.
//!
//! The check reads topics and vault by itself: it does not ask the vault whether it is whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hms_ops::bus::{
    Admin, GroupConsumer, Isolation, Member, Message, Next, Offsets, Outcome, Reader, Record, Settings,
    TransactionalProducer,
};
use hms_ops::torture::{Point, Sabotage};
use hms_ops::vault::{Entry, Header, LogId, Segment, Vault};

use super::cluster::{PATIENCE, unique};
use super::fleet::{Fleet, Ops, PARTITIONS, kept_file, ops, patient_offsets};
use crate::oracle::dice::Dice;

pub mod controls;
pub mod faults;

/// Topics, a group, and a vault.
pub struct Archive {
    /// The topics.
    pub fleet: Fleet,
    /// The group of its archivers.
    pub group: String,
    /// The vault.
    pub dir: PathBuf,
    admin: Admin,
    offsets: Offsets,
}

/// What a check has looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records that are in both.
    pub records: u64,
    /// Segments of the vault.
    pub segments: u64,
}

impl Archive {
    /// Nothing in it yet.
    pub fn new(name: &str) -> Self {
        let fleet = Fleet::new(name);
        let dir = kept_file(&format!("{}vault", fleet.prefix));
        let (admin, offsets) = (Admin::new(&fleet.settings).unwrap(), Offsets::new(&fleet.settings).unwrap());
        Self { group: format!("{}archiver", fleet.prefix), fleet, dir, admin, offsets }
    }

    /// `ops act archiver` with this group and this vault, which closes its segments after `age_ms`.
    pub fn command(&self, group: &str, instance: &str, age_ms: u32) -> Command {
        let mut command = ops();
        command.args(["act", "archiver", "--brokers", self.fleet.settings.brokers()]);
        command.args(["--topic-prefix", &self.fleet.prefix, "--group", group, "--instance", instance]);
        command.args(["--segment-age-ms", &age_ms.to_string(), "--vault"]).arg(&self.dir);
        command
    }

    /// Starts a command of [`Self::command`].
    pub fn spawn(&self, command: Command, instance: &str) -> Ops {
        Ops::spawn(command, kept_file(&format!("{}archiver-{instance}.log", self.fleet.prefix)))
    }

    /// Starts an archiver whose segments live a tenth of a second.
    pub fn start(&self, instance: &str) -> Ops {
        self.spawn(self.command(&self.group, instance, 100), instance)
    }

    /// The same, to die at a point.
    pub fn start_to_crash(&self, instance: &str, at: Point, times: u32) -> Ops {
        let mut command = self.command(&self.group, instance, 100);
        command.env("OPS_CRASH_AT", format!("{}:{times}", at.name()));
        self.spawn(command, instance)
    }

    /// The same, without a guard if one is named.
    pub fn start_without(&self, instance: &str, guard: Option<Sabotage>) -> Ops {
        let mut command = self.command(&self.group, instance, 100);
        command.envs(guard.map(|guard| ("OPS_SABOTAGE", guard.name())));
        self.spawn(command, instance)
    }

    /// All that is archived.
    pub fn logs(&self) -> Vec<LogId> {
        let of = |topic| (0..PARTITIONS).map(move |partition| LogId::new(topic, partition));
        self.topics().into_iter().flat_map(of).collect()
    }

    fn topics(&self) -> [&str; 2] {
        [&self.fleet.topics.incidents, &self.fleet.topics.actions]
    }

    /// Waits up to [`PATIENCE`] until the vault holds the last committed record of every log. Whoever writes has ended.
    pub fn wait_until_archived(&self) -> Result<(), String> {
        self.wait_until_archived_within(PATIENCE)
    }

    /// The same, with less patience.
    pub fn wait_until_archived_within(&self, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        for (log, entries) in self.committed() {
            let Some(last) = entries.last().map(|entry| entry.offset) else { continue };
            loop {
                // Before the first segment there may be no vault.
                let end = if self.dir.exists() { self.end(&log)? } else { 0 };
                if end > last {
                    break;
                }
                if Instant::now() >= deadline {
                    return Err(format!("{log} is archived to {end}, its last record is {last}"));
                }
                // Nothing tells when a file appears in a vault.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Waits until the group's offsets are at the ends of the topics (INV-6).
    pub fn wait_until_acknowledged(&self) -> Result<(), String> {
        self.wait_until_acknowledged_by(&self.group)
    }

    /// The same of another group that archives into the same vault.
    pub fn wait_until_acknowledged_by(&self, group: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let acknowledged = self.acknowledged(group);
            let behind = self.logs().into_iter().find_map(|log| {
                let (high, committed) = (self.high(&log), acknowledged.get(&log).copied());
                (high > 0 && committed != Some(high)).then(|| format!("{log}: {committed:?} of {high} is committed"))
            });
            match behind {
                None => return Ok(()),
                Some(behind) if Instant::now() >= deadline => return Err(behind),
                // Nothing tells of a commit.
                Some(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn high(&self, log: &LogId) -> i64 {
        self.offsets.watermarks(&log.topic, log.partition).unwrap().high
    }

    /// What a group has committed, where it has.
    fn acknowledged(&self, group: &str) -> BTreeMap<LogId, i64> {
        let of = |topic| {
            let found = patient_offsets(&self.admin, group, topic);
            found.into_iter().filter_map(move |found| Some((LogId::new(topic, found.partition), found.offset?)))
        };
        self.topics().into_iter().flat_map(of).collect()
    }

    /// No committed record lies between where the vault ends and what the group has acknowledged. May be asked at
    /// any time.
    pub fn check_acknowledged(&self) -> Result<(), String> {
        // In this order: the vault only grows.
        let acknowledged = self.acknowledged(&self.group);
        let mut ends = BTreeMap::new();
        for log in acknowledged.keys() {
            ends.insert(log.clone(), self.end(log)?);
        }
        if acknowledged.iter().all(|(log, offset)| *offset <= ends[log]) {
            return Ok(());
        }
        // Beyond the vault's end: markers may be.
        let committed = self.committed();
        for (log, acknowledged) in acknowledged {
            let lost = committed[&log].iter().map(|entry| entry.offset).find(|offset| *offset >= ends[&log]);
            if let Some(lost) = lost.filter(|offset| *offset < acknowledged) {
                let end = ends[&log];
                return Err(format!("{log}: {lost} is acknowledged (to {acknowledged}), the vault ends at {end}"));
            }
        }
        Ok(())
    }

    /// The same, again and again for a while in which an acknowledgement would come.
    pub fn check_acknowledged_for(&self, time: Duration) -> Result<(), String> {
        let began = Instant::now();
        while began.elapsed() < time {
            self.check_acknowledged()?;
            // Nothing tells of a commit.
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The vault against its topics. Whoever writes has ended, and everything is archived.
    pub fn check(&self) -> Result<Checked, String> {
        let mut checked = Checked::default();
        for (log, committed) in self.committed() {
            let segments = self.segments(&log)?;
            let (end, high) = (check_cover(&log, &segments)?, self.high(&log));
            if end > high {
                return Err(format!("{log} ends at {high}, the vault at {end}"));
            }
            let mut archived = Vec::new();
            for segment in &segments {
                let entries = self.read(segment)?;
                if let Some(outside) = entries.iter().find(|entry| !(segment.from..segment.to).contains(&entry.offset))
                {
                    return Err(format!("{}: holds the record {}", segment.path(), outside.offset));
                }
                archived.extend(entries);
            }
            compare(&log, &archived, &committed)?;
            checked.records += committed.len() as u64;
            checked.segments += segments.len() as u64;
        }
        Ok(checked)
    }

    /// What every log holds for a reader of committed records.
    fn committed(&self) -> BTreeMap<LogId, Vec<Entry>> {
        let settings = &self.fleet.settings;
        let mut entries: BTreeMap<_, _> = self.logs().into_iter().map(|log| (log, Vec::new())).collect();
        for topic in self.topics() {
            let starts = (0..PARTITIONS).map(|partition| (partition, 0));
            let reader = Reader::open(settings, topic, Isolation::Committed, starts).unwrap();
            let mut reader = reader.until_now(&self.offsets).unwrap();
            loop {
                match reader.next(PATIENCE).unwrap() {
                    Next::Record(message) => {
                        entries.get_mut(&LogId::new(topic, message.partition())).unwrap().push(entry(&message));
                    }
                    Next::End => break,
                    Next::Idle => panic!("{topic} has no end"),
                }
            }
        }
        entries
    }

    fn end(&self, log: &LogId) -> Result<i64, String> {
        Ok(self.segments(log)?.last().map_or(0, |last| last.to))
    }

    /// The vault's segments of a log, as they describe themselves.
    pub fn segments(&self, log: &LogId) -> Result<Vec<Segment>, String> {
        in_runtime(async { self.open()?.segments(log).await.map_err(|error| error.to_string()) })
    }

    fn read(&self, segment: &Segment) -> Result<Vec<Entry>, String> {
        in_runtime(async { self.open()?.read(segment).await.map_err(|error| error.to_string()) })
    }

    fn open(&self) -> Result<Vault, String> {
        Vault::open(&self.dir.display().to_string()).map_err(|error| error.to_string())
    }
}

/// The vault of a test that fails is of interest.
impl Drop for Archive {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // It may never have been made.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn entry(message: &Message<'_>) -> Entry {
    let header = |header: hms_ops::bus::Header<'_>| Header {
        name: header.name.as_bytes().into(),
        value: header.value.map(Into::into),
    };
    Entry {
        offset: message.offset(),
        timestamp: message.timestamp().ms().unwrap(),
        key: message.key().map(Into::into),
        value: message.value().map(Into::into),
        headers: message.headers().into_iter().map(header).collect(),
    }
}

/// The segments follow each other from 0 on; says where they end.
fn check_cover(log: &LogId, segments: &[Segment]) -> Result<i64, String> {
    segments.iter().try_fold(0, |end, segment| match segment.from == end && segment.to > end {
        true => Ok(segment.to),
        false => Err(format!("{log} is covered to {end}, then comes [{}, {})", segment.from, segment.to)),
    })
}

fn compare(log: &LogId, archived: &[Entry], committed: &[Entry]) -> Result<(), String> {
    if archived == committed {
        return Ok(());
    }
    let differs = archived.iter().zip(committed).find(|(archived, committed)| archived != committed);
    Err(match differs {
        Some((archived, committed)) => format!("{log}: archived {archived:?}, committed {committed:?}"),
        None => format!("{log}: {} records are archived, {} committed", archived.len(), committed.len()),
    })
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// Files that a crash left half-written, anywhere in a vault.
pub fn leftovers(dir: &Path) -> Vec<PathBuf> {
    let entries: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    let (folders, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|path| path.is_dir());
    let half = files.into_iter().filter(|path| path.to_string_lossy().contains('#'));
    half.chain(folders.iter().flat_map(|folder| leftovers(folder))).collect()
}

/// Who writes what is to be archived: transactions over the partitions of both topics, of which some are aborted.
pub struct Writer {
    producer: TransactionalProducer,
    /// Transactions of this bus always commit offsets: those of a group that nobody is in.
    nobody: GroupConsumer,
    settings: Settings,
    logs: Vec<LogId>,
    dice: Dice,
    written: u64,
}

impl Writer {
    /// Has written nothing.
    pub fn new(archive: &Archive, seed: u64) -> Self {
        let settings = archive.fleet.settings.clone();
        let member = Member { group: unique("nobody"), instance: "nobody".to_owned() };
        Self {
            producer: TransactionalProducer::new(&settings, &unique("writer")).unwrap(),
            nobody: GroupConsumer::subscribe(&settings, &archive.fleet.topics.incidents, &member).unwrap(),
            settings,
            logs: archive.logs(),
            dice: Dice::new(seed),
            written: 0,
        }
    }

    /// One transaction with one to four records each in some of the logs; one in four is aborted.
    pub fn write(&mut self) {
        let abort = self.dice.chance(25);
        self.transact(60, 40, abort);
    }

    /// One transaction that is committed: a record of about `bytes` in every log.
    pub fn write_all(&mut self, bytes: usize) {
        self.transact(100, bytes, false);
    }

    /// The same, aborted.
    pub fn abort_all(&mut self) {
        self.transact(100, 40, true);
    }

    fn transact(&mut self, percent: u64, bytes: usize, abort: bool) {
        for log in self.logs.clone() {
            if self.dice.chance(percent) {
                self.send(&log, bytes);
            }
        }
        if abort {
            // Unless it is delivered it would leave no trace in the log.
            self.producer.flush().unwrap();
            return self.producer.abort().unwrap();
        }
        match self.producer.commit(&[], &self.nobody.group_metadata().unwrap()).unwrap() {
            Outcome::Committed => {}
            // The broker was slow: what became of it nobody knows, and the check reads it from the topic.
            Outcome::Aborted(_) | Outcome::InDoubt(_) | Outcome::Fenced(_) => {
                self.producer = TransactionalProducer::new(&self.settings, &unique("writer")).unwrap();
            }
        }
    }

    /// Every kind of record that Kafka knows: null and empty keys and values, doubled and empty headers.
    fn send(&mut self, log: &LogId, bytes: usize) {
        self.written += 1;
        let text = format!("record {}\0\u{ff}", self.written).repeat(bytes.div_ceil(16));
        let value = [Some(text.as_bytes()), Some(text.as_bytes()), Some(text.as_bytes()), Some(&b""[..]), None];
        let small = bytes <= 40;
        let value = if small { self.dice.pick(&value) } else { value[0] };
        let key = self.dice.pick(&[Some(&b"scanner"[..]), Some(&b""[..]), None]);
        let headers: [(&str, Option<&[u8]>); 3] = [("ce_type", Some(b"x")), ("ce_type", None), ("", Some(b"\xff"))];
        let headers = &headers[..self.dice.below(4) as usize];
        let (topic, partition) = (log.topic.as_str(), log.partition);
        let record = Record { topic, partition, key, value, headers, timestamp_ms: None };
        self.producer.send(&record).unwrap();
    }
}

/// A writer on a thread of its own, a transaction every 20 ms or so. Stopped when dropped.
pub struct Writing {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Writing {
    /// Starts it.
    pub fn start(archive: &Archive, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut writer, stopped) = (Writer::new(archive, seed), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                writer.write();
                // The pace is the point.
                std::thread::sleep(Duration::from_millis(20));
            }
            writer.written
        });
        Self { stop, thread: Some(thread) }
    }

    /// Stops it; says how many records it sent.
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().expect("the writer failed")
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
