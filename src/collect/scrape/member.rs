//! The collector's thread that talks to the bus: which services there are, which of them are ours, who else is alive.
//!
//! Every collector reads all of `ops.services` (specs are small), so that it can take a partition over in the moment in
//! which it learns that it has to; which partitions, the group says, and until it does, the [`Roster`]. Nothing is ever
//! committed: there is no position, only what is registered now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Options;
use super::error::Error;
use super::fleet::Fleet;
use super::publish::{Outgoing, Outlet};
use super::roster::Roster;
use crate::bus::error::Place;
use crate::bus::{self, GroupConsumer, Isolation, Message, Next, Offsets, Reader, Rebalance, Verdict};
use crate::codec;
use crate::model::ServiceId;
use crate::model::spec::Spec;
use crate::model::target::{Beat, TargetRecord};
use crate::spec;
use crate::telemetry::clock::now_ms;
use crate::telemetry::collector::CollectorMetrics;

/// Between two beats: a little less than a third of the silence after which others take over.
const BEAT: Duration = Duration::from_millis(800);
/// One wait for the group.
const WAIT: Duration = Duration::from_millis(20);
/// First and longest pause before a new session with the bus.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long reading what is registered may stand still.
const STALL: Duration = Duration::from_secs(15);

/// See the module.
pub(super) struct Member {
    options: Options,
    fleet: Fleet,
    outlet: Outlet,
    metrics: Arc<CollectorMetrics>,
    began: Instant,
}

/// What the group gave us.
#[derive(Debug, Default)]
struct Owned {
    partitions: BTreeSet<i32>,
    /// Were we ever given something, or nothing, by this group?
    is_in_group: bool,
}

impl Rebalance for Owned {
    fn assigned(&mut self, _: &GroupConsumer, partitions: &[i32]) {
        // Their records come from the reader of all: the group only says whose they are.
        self.partitions.extend(partitions);
        self.is_in_group = true;
    }

    fn revoked(&mut self, _: &GroupConsumer, partitions: &[i32]) {
        self.partitions.retain(|partition| !partitions.contains(partition));
    }

    fn lost(&mut self, consumer: &GroupConsumer, partitions: &[i32]) {
        self.revoked(consumer, partitions);
    }
}

impl Member {
    pub fn new(options: Options, fleet: Fleet, outlet: Outlet) -> Self {
        let metrics = options.metrics.clone();
        Self { options, fleet, outlet, metrics, began: Instant::now() }
    }

    /// Sessions with the bus, until we are told to stop or nothing helps.
    pub fn run(mut self, stop: &AtomicBool, woken: &Receiver<()>) -> Result<(), Error> {
        let mut pause = PAUSES.0;
        loop {
            let began = Instant::now();
            let ended = self.session(stop);
            // Others will adopt what is ours as soon as they hear nothing of us.
            self.fleet.clear();
            self.metrics.hold(0, 0, false);
            let error = match ended {
                Ok(()) => return Ok(()),
                Err(error) if matches!(error.verdict(), Verdict::Fatal | Verdict::Fenced) => return Err(error.into()),
                Err(error) => error,
            };
            if began.elapsed() > PAUSES.1 * 4 {
                pause = PAUSES.0;
            }
            tracing::warn!(%error, ?pause, "a new session with the bus");
            match woken.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(PAUSES.1),
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn session(&mut self, stop: &AtomicBool) -> Result<(), bus::Error> {
        let Options { bus, topics, member, .. } = &self.options;
        let offsets = Offsets::new(bus)?;
        let mut registered = Registered::read(bus, &offsets, &topics.services)?;
        let end = offsets.watermarks(&topics.targets, Beat::PARTITION)?.high;
        let mut beats = Reader::open(bus, &topics.targets, Isolation::Committed, [(Beat::PARTITION, end)])?;
        let consumer = GroupConsumer::subscribe(bus, &topics.services, member)?;
        let mut roster = Roster::new(&member.instance, self.began.elapsed());
        let (mut owned, mut adopted) = (Owned::default(), BTreeSet::new());
        let (mut before, mut told) = ((BTreeSet::new(), BTreeSet::new()), None::<Instant>);
        while !stop.load(Ordering::Acquire) {
            // Records never come: no partition is started.
            consumer.poll(WAIT, &mut owned)?;
            let is_new = registered.follow(|id| self.fleet.unregister(id))?;
            self.listen(&mut beats, &mut roster)?;
            adopted = self.adopted(&roster, &owned.partitions, registered.count, &adopted);
            let has_moved = before != (owned.partitions.clone(), adopted.clone());
            if is_new || has_moved {
                let is_ours = |partition| owned.partitions.contains(&partition) || adopted.contains(&partition);
                self.fleet.set(registered.specs(is_ours));
                self.metrics.hold(owned.partitions.len(), adopted.len(), owned.is_in_group);
                before = (owned.partitions.clone(), adopted.clone());
            }
            if has_moved || told.is_none_or(|told| told.elapsed() >= BEAT) {
                told = Some(Instant::now());
                self.beat(&owned.partitions, &adopted);
            }
        }
        // At once: others take over what was ours before the group gives it to them.
        self.fleet.clear();
        self.outlet.send(Outgoing::Left(self.options.member.instance.clone()));
        consumer.close(&mut owned)
    }

    fn beat(&self, owned: &BTreeSet<i32>, adopted: &BTreeSet<i32>) {
        let list = |partitions: &BTreeSet<i32>| partitions.iter().copied().collect();
        let collector = self.options.member.instance.clone();
        let beat = Beat { collector, at: now_ms(), owned: list(owned), adopted: list(adopted) };
        self.outlet.send(Outgoing::Beat(beat));
    }

    /// What the others say, and what we do.
    fn listen(&self, beats: &mut Reader, roster: &mut Roster) -> Result<(), bus::Error> {
        while let Next::Record(message) = beats.next(Duration::ZERO)? {
            let key = message.key().and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
            let Some(collector) = key.strip_prefix(Beat::PREFIX) else { continue };
            match message.value().map(codec::target::decode) {
                None => roster.left(collector),
                Some(Ok(TargetRecord::Collector(beat))) => {
                    roster.hear(collector, &beat.owned, &beat.adopted, self.began.elapsed());
                }
                Some(Ok(TargetRecord::Service(_))) => {}
                Some(Err(error)) => tracing::debug!(?message, %error, "a beat is passed over"),
            }
        }
        Ok(())
    }

    fn adopted(&self, roster: &Roster, owned: &BTreeSet<i32>, count: i32, before: &BTreeSet<i32>) -> BTreeSet<i32> {
        let adopted = roster.adopted(owned, count, self.began.elapsed());
        if adopted != *before {
            tracing::info!(partitions = ?adopted, "scraped for nobody else does");
        }
        adopted
    }
}

/// `ops.services` as it is now, and as it changes.
struct Registered {
    reader: Reader,
    topic: String,
    count: i32,
    /// By service; with the partition that it lives in.
    specs: BTreeMap<ServiceId, (i32, Arc<Spec>)>,
}

impl Registered {
    /// Reads all that is registered.
    fn read(settings: &bus::Settings, offsets: &Offsets, topic: &str) -> Result<Self, bus::Error> {
        let count = offsets.partitions(topic)?;
        let marks: Vec<_> =
            (0..count).map(|partition| offsets.watermarks(topic, partition)).collect::<Result<_, _>>()?;
        let starts = (0..count).zip(marks.iter().map(|marks| marks.low));
        let reader = Reader::open(settings, topic, Isolation::Committed, starts)?;
        let mut registered = Self { reader, topic: topic.to_owned(), count, specs: BTreeMap::new() };
        let mut moved = Instant::now();
        let is_read = |reader: &Reader| {
            (0..count).zip(&marks).all(|(partition, marks)| reader.positions().get(&partition) >= Some(&marks.high))
        };
        while !is_read(&registered.reader) {
            if registered.follow(|_| {})? {
                moved = Instant::now();
            } else if moved.elapsed() >= STALL {
                let place = Place { topic: Some(topic.to_owned()), ..Place::default() };
                return Err(bus::Error::TimedOut { operation: "reading what is registered", place, waited: STALL });
            }
        }
        Ok(registered)
    }

    /// Takes what is new. Was anything? `gone` is called with each service that is not registered any more.
    fn follow(&mut self, mut gone: impl FnMut(&ServiceId)) -> Result<bool, bus::Error> {
        let mut is_new = false;
        while let Next::Record(message) = self.reader.next(Duration::from_millis(1))? {
            let (count, topic) = (self.count, &self.topic);
            let Some((id, spec)) = read(&message, count, topic) else { continue };
            is_new = true;
            match spec {
                Some(spec) => drop(self.specs.insert(id, (message.partition(), Arc::new(spec)))),
                None => {
                    self.specs.remove(&id);
                    gone(&id);
                }
            }
        }
        Ok(is_new)
    }

    /// The specs of the partitions that are `ours`.
    fn specs(&self, ours: impl Fn(i32) -> bool) -> impl Iterator<Item = &Arc<Spec>> {
        self.specs.values().filter(move |(partition, _)| ours(*partition)).map(|(_, spec)| spec)
    }
}

/// Which service a record is of, and its spec: none if it is not registered any more, or has a text that this release
/// does not understand (then there is nothing to scrape it by).
fn read(message: &Message<'_>, count: i32, topic: &str) -> Option<(ServiceId, Option<Spec>)> {
    let id = ServiceId::new(std::str::from_utf8(message.key()?).ok()?)?;
    if id.home(count) != message.partition() {
        tracing::warn!(topic, service = %id, partition = message.partition(), "registered in a partition that is not its home");
        return None;
    }
    let Some(value) = message.value() else { return Some((id, None)) };
    let passed_over =
        |error: &dyn std::fmt::Display| tracing::warn!(topic, service = %id, %error, "nothing to scrape by");
    let registration = codec::service::decode(value).inspect_err(|error| passed_over(error)).ok()?;
    if registration.service != id {
        passed_over(&"it is the record of another service");
        return None;
    }
    let spec = spec::parse(&registration.text).inspect_err(|error| passed_over(error)).ok();
    Some((id, spec.map(|checked| checked.spec)))
}
