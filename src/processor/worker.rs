//! One worker: a thread with a consumer and a transactional producer of its own. Five steps in one loop:
//! poll, restore, process, punctuate, commit. It decides nothing; it carries the core's effects out.
//!
//! ```text
//!            poll           restore                process                punctuate            commit
//! group --> assigned --> core at C, offset  --> step(record) ----------> tick what is --> {outputs, offsets,
//!           revoked      committed under        effects into the         quiet; specs     metadata} in one
//!           lost         our name               open transaction         take effect      transaction
//! ```
//!
//! While a transaction ends the worker goes on; what comes of it then waits for the outcome ([`crate::bus::outbox`]).
//!
//! Revoked is not lost: revoked = commit, then give up; lost = drop, never commit. Whatever goes wrong with a
//! transaction, state and offsets go back to what is committed, all partitions together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bus::{
    Event, GroupConsumer, Member, Message, Outbox, Outcome as CommitOutcome, Producer, Record, TransactionalProducer,
    Verdict,
};
use crate::codec;
use crate::codec::ids::Ids;
use crate::model::ids::{TICK_SENSOR, TICK_SERVICE};
use crate::model::reading::Reading;
use crate::processor::ahead::GROUP;
use crate::processor::core::{Effects, Outcome, SpecChange};
use crate::processor::error::{Error, Result};
use crate::processor::group::Shared;
use crate::processor::index::Place;
use crate::processor::publish::{self, Forward};
use crate::processor::read::Decoded;
use crate::processor::restore::is_appended_by_broker;
use crate::processor::task::{Mark, Promise, Task};
use crate::telemetry::processor::{Ended, NotConserved};
use crate::torture::{self, Point, Sabotage};
use held::Held;

mod gauges;
mod held;
mod setbacks;

/// The longest a poll waits: ticks are due by the host's clock.
const POLL: Duration = Duration::from_millis(20);
/// How often records are taken, [`GROUP`] at most, between two looks at the clock.
const TURNS: usize = 32;
/// After an incident a commit does not wait for the interval, but neither do commits follow each other back to back:
const HURRY: Duration = Duration::from_millis(20);
/// of the time transactions are ending no more than a fifth.
const WORK_FOR_COMMIT: u32 = 4;
const TICK_TIMEOUT: Duration = Duration::from_secs(1);
/// Being fenced so often within [`FENCED_WITHIN`] means that somebody else uses our name. A few times are in the order
/// of things: whoever takes a partition over that was not given up in order fences its last owner, however alive, and
/// once more if its own first commit met a rebalance.
const FENCED_TIMES: usize = 10;
const FENCED_WITHIN: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Worker {
    shared: Arc<Shared>,
    name: String,
    stop: Arc<AtomicBool>,
    fenced: Vec<Instant>,
}

/// What lasts from one join of the group to the next. The consumer stands outside, as it calls back into this.
struct Session {
    shared: Arc<Shared>,
    name: String,
    outbox: Outbox,
    /// The transaction that is ending.
    ending: Option<Ending>,
    ticks: Producer,
    tasks: BTreeMap<i32, Task>,
    /// Ours, and not restored yet.
    waiting: BTreeSet<i32>,
    /// Since when something waits that the group has given us; none if it waits because of a rewind.
    assigned_at: Option<Instant>,
    forwards: Vec<(Forward, Option<i64>)>,
    effects: Effects,
    /// What is known of schema ids.
    ids: Arc<Ids>,
    /// Partitions that wait for the schema registry.
    held: Held,
    /// Something was stepped or sent since the last transaction began to end.
    dirty: bool,
    /// An incident is waiting to be published.
    hurry: bool,
    /// When it was last told how far behind we are.
    lag_told: Option<Instant>,
    committed_at: Instant,
    /// What that took.
    commit_took: Duration,
    /// What went wrong inside a rebalance, which cannot return it.
    failure: Option<Error>,
}

/// A transaction that is ending, and what it will make true.
struct Ending {
    began: Instant,
    promises: BTreeMap<i32, Promise>,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, name: String, stop: Arc<AtomicBool>) -> Self {
        Self { shared, name, stop, fenced: Vec::new() }
    }

    /// Works until it is told to stop.
    ///
    /// # Errors
    /// What the worker cannot mend.
    pub fn run(mut self) -> Result<()> {
        loop {
            match self.session() {
                Ok(()) => return Ok(()),
                Err(Error::Bus(error)) if error.verdict() == Verdict::Fenced => self.note_fenced()?,
                Err(Error::Bus(error)) if error.verdict() == Verdict::Recreate => {
                    tracing::warn!(worker = self.name, %error, "joining the group again");
                }
                // An outage that is longer than the patience of a call (half a minute) is an outage, not an end.
                Err(Error::Bus(error)) if error.verdict() == Verdict::Retry && !self.stop.load(Ordering::Relaxed) => {
                    tracing::warn!(worker = self.name, %error, "the cluster does not answer, beginning again");
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn note_fenced(&mut self) -> Result<()> {
        let now = Instant::now();
        self.fenced.retain(|at| now.duration_since(*at) < FENCED_WITHIN);
        self.fenced.push(now);
        Ended::Fenced.emit(&self.name, &self.shared.metrics);
        if self.fenced.len() >= FENCED_TIMES {
            return Err(Error::Fenced { instance: self.name.clone() });
        }
        Ok(())
    }

    fn session(&self) -> Result<()> {
        let shared = &self.shared;
        shared.metrics.leave(&self.name);
        // Before joining: whatever a predecessor of this name left open is aborted.
        let producer = TransactionalProducer::new(&shared.settings, &shared.transactional_id(&self.name))?;
        let member = Member { group: shared.group.clone(), instance: self.name.clone() };
        let consumer = GroupConsumer::subscribe(&shared.settings, &shared.topics.metrics, &member)?;
        let mut session = Session {
            shared: shared.clone(),
            name: self.name.clone(),
            outbox: Outbox::new(producer)?,
            ending: None,
            ticks: Producer::new(&shared.settings, 1_000)?,
            tasks: BTreeMap::new(),
            waiting: BTreeSet::new(),
            assigned_at: None,
            forwards: Vec::new(),
            effects: Effects::default(),
            ids: shared.settings.ids(),
            held: Held::default(),
            dirty: false,
            hurry: false,
            lag_told: None,
            committed_at: Instant::now(),
            commit_took: Duration::ZERO,
            failure: None,
        };
        while !self.stop.load(Ordering::Relaxed) {
            let done = session.turn(&consumer);
            session.mend(done, &consumer)?;
        }
        let done = session.commit(&consumer, &session.owned());
        session.mend(done, &consumer)?;
        consumer.close(&mut session)?;
        Ok(())
    }
}

impl Session {
    /// The five steps.
    fn turn(&mut self, consumer: &GroupConsumer) -> Result<()> {
        // 1 and 3: poll and process, until there is nothing or something else is due.
        let more = self.read(consumer)?;
        // 2: what was assigned is restored, and committed under our name before any output.
        if !self.waiting.is_empty() {
            self.settle()?;
            self.commit_if_dirty(consumer)?;
            self.restore(consumer)?;
            self.tell_holdings();
        }
        self.let_go(consumer)?;
        // 4: specs take effect, quiet partitions are ticked.
        self.apply_specs(consumer)?;
        self.tick()?;
        self.tell_lag(consumer);
        // 5: the end of one transaction, the beginning of the end of the next.
        self.hear_the_end(Duration::ZERO)?;
        if self.outbox.is_full() {
            self.settle()?;
        }
        if self.is_commit_due() {
            self.begin_commit(consumer, &BTreeSet::new())?;
        } else if self.dirty && !more {
            self.wait(consumer)?;
        }
        Ok(())
    }

    /// Says whether more may be there.
    fn read(&mut self, consumer: &GroupConsumer) -> Result<bool> {
        for _ in 0..TURNS {
            let timeout = if self.dirty { Duration::ZERO } else { POLL };
            if !self.poll(consumer, timeout)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Something is uncommitted and nothing was there to read: waits for the last transaction to end, then for more until
    /// the commit is due.
    fn wait(&mut self, consumer: &GroupConsumer) -> Result<()> {
        if self.outbox.is_ending() {
            return self.hear_the_end(POLL);
        }
        let left = self.commit_pause().saturating_sub(self.committed_at.elapsed()).min(POLL);
        self.poll(consumer, left).map(drop)
    }

    /// Takes the next records, if any come in time. Says whether anything did.
    fn poll(&mut self, consumer: &GroupConsumer, timeout: Duration) -> Result<bool> {
        let mut event = consumer.poll(timeout, self)?;
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let mut messages = Vec::with_capacity(GROUP);
        while let Some(Event::Record(message)) = event {
            messages.push(message);
            event = if messages.len() < GROUP { consumer.at_hand()? } else { None };
        }
        self.process(consumer, &messages)?;
        self.hold_back(consumer)?;
        if let Some(Event::EndOfPartition(partition)) = event
            && let Some(task) = self.tasks.get_mut(&partition)
        {
            self.dirty |= task.reach_end(consumer.position(partition)?.unwrap_or(task.position));
        }
        Ok(event.is_some() || !messages.is_empty())
    }

    /// Steps a few records, all of whose series are fetched into the cache first.
    fn process(&mut self, consumer: &GroupConsumer, messages: &[Message<'_>]) -> Result<()> {
        self.meet(messages);
        let mut decoded = Vec::with_capacity(GROUP);
        decoded.extend(messages.iter().map(|message| Decoded::of(&self.ids, message)));
        let mut places = [None; GROUP];
        let mut begin = 0;
        for run in messages.chunk_by(|one, next| one.partition() == next.partition()) {
            let these = begin..begin + run.len();
            begin = these.end;
            if let Some(task) = self.tasks.get(&run[0].partition()) {
                let readings = decoded[these.clone()].iter().map(|decoded| decoded.reading().ok());
                task.core.look_ahead(readings, &mut places[these]);
            }
        }
        for ((message, decoded), place) in messages.iter().zip(&mut decoded).zip(places) {
            if place.is_none() {
                decoded.tell(message);
            }
        }
        let records = messages.iter().zip(&decoded).zip(places);
        records.into_iter().try_for_each(|((message, decoded), place)| self.step(consumer, message, decoded, place))
    }

    fn owned(&self) -> BTreeSet<i32> {
        self.tasks.keys().copied().collect()
    }

    fn is_commit_due(&self) -> bool {
        self.dirty && !self.outbox.is_ending() && self.committed_at.elapsed() >= self.commit_pause()
    }

    /// From one commit to the next.
    fn commit_pause(&self) -> Duration {
        let interval = self.shared.commit_interval;
        if self.hurry { HURRY.max(self.commit_took * WORK_FOR_COMMIT).min(interval) } else { interval }
    }

    fn step(
        &mut self,
        consumer: &GroupConsumer,
        message: &Message<'_>,
        decoded: &Decoded<'_>,
        place: Option<Place>,
    ) -> Result<()> {
        let partition = message.partition();
        let Some(task) = self.tasks.get_mut(&partition) else { return Ok(()) };
        if message.offset() < task.position || self.held.is_behind(partition, message.offset()) {
            return Ok(());
        }
        if !self.shared.simulated_time && !is_appended_by_broker(message) {
            return Err(Error::CreateTime { topic: self.shared.topics.metrics.clone() });
        }
        torture::reached(Point::AfterPoll);
        let mut record = decoded.record();
        if torture::is_without(Sabotage::HostClock) {
            record.append_ms = crate::telemetry::clock::now_ms();
        }
        let outcome = task.core.step_at(place, record, &mut self.effects);
        torture::reached(Point::AfterStep);
        task.counts.consumed += 1;
        if !torture::is_without(Sabotage::CountLost) {
            task.counts.note(outcome);
        }
        task.position = message.offset() + 1;
        task.at_end = false;
        self.dirty = true;
        if !self.effects.incidents.is_empty() || !self.effects.cuts.is_empty() {
            task.note_judged(&self.effects.incidents);
            let (topics, offsets) = (&self.shared.topics, consumer.offsets());
            self.hurry |= task.publish(partition, &mut self.outbox, topics, offsets, &mut self.effects)? > 0;
        }
        match outcome {
            Outcome::Rejected(_) if torture::is_without(Sabotage::DeadLettersDropped) => {}
            Outcome::Rejected(reason) => {
                publish::rejected(&mut self.outbox, &self.shared.topics, message, reason)?;
            }
            Outcome::Forwarded { home } => {
                let made_up = message.timestamp().ms().filter(|_| self.shared.simulated_time);
                self.forwards.push((Forward::of(message, home), made_up));
            }
            Outcome::Counted { .. } | Outcome::Tick => {}
        }
        Ok(())
    }

    /// What was registered or unregistered since takes effect between two records.
    fn apply_specs(&mut self, consumer: &GroupConsumer) -> Result<()> {
        let version = self.shared.registry.version()?;
        for (&partition, task) in self.tasks.iter_mut().filter(|(_, task)| task.specs_seen != Some(version)) {
            let (seen, wanted) = self.shared.registry.specs(|id| id.home(self.shared.partitions) == partition);
            let gone: Vec<_> =
                task.core.specs().map(|spec| spec.id.clone()).filter(|id| !wanted.contains_key(id)).collect();
            let changes =
                gone.into_iter().map(SpecChange::Retire).chain(wanted.into_values().map(SpecChange::Register));
            task.core.apply(changes, task.position, &mut self.effects);
            task.specs_seen = Some(seen);
            if !self.effects.incidents.is_empty() {
                let (topics, offsets) = (&self.shared.topics, consumer.offsets());
                task.publish(partition, &mut self.outbox, topics, offsets, &mut self.effects)?;
                (self.dirty, self.hurry) = (true, true);
            }
        }
        Ok(())
    }

    /// A quiet partition gets a tick: its clock goes on when sensors fall silent.
    fn tick(&mut self) -> Result<()> {
        if self.shared.simulated_time {
            return Ok(());
        }
        let host_ms = crate::telemetry::clock::now_ms();
        for (&partition, task) in &mut self.tasks {
            if !self.held.holds(partition) && task.wants_tick(host_ms) {
                let tick = Reading {
                    service: TICK_SERVICE.into(),
                    sensor: TICK_SENSOR.into(),
                    ts: host_ms,
                    value: 0.0,
                    attributes: BTreeMap::new(),
                };
                let value = codec::reading::encode(&tick);
                let sent = self.ticks.send(
                    &Record {
                        topic: &self.shared.topics.metrics,
                        partition,
                        key: Some(TICK_SERVICE.as_bytes()),
                        value: Some(&value),
                        ..Record::default()
                    },
                    TICK_TIMEOUT,
                );
                // A tick that is lost is followed by another.
                if let Err(error) = sent {
                    tracing::warn!(partition, %error, "a tick could not be sent");
                }
            }
        }
        Ok(())
    }

    fn commit_if_dirty(&mut self, consumer: &GroupConsumer) -> Result<()> {
        if self.dirty { self.commit(consumer, &BTreeSet::new()) } else { Ok(()) }
    }

    /// Commits now.
    fn commit(&mut self, consumer: &GroupConsumer, released: &BTreeSet<i32>) -> Result<()> {
        self.begin_commit(consumer, released)?;
        self.settle()
    }

    /// One transaction: what was sent, and the offsets of all partitions, moved or not (without them there is no
    /// generation, and a zombie is not fenced). It ends while we go on.
    fn begin_commit(&mut self, consumer: &GroupConsumer, released: &BTreeSet<i32>) -> Result<()> {
        self.settle()?;
        if self.tasks.is_empty() {
            return Ok(());
        }
        let promises = self.prepare(consumer, released)?;
        let marks: Vec<Mark> = promises.values().map(|promise| promise.mark).collect();
        self.outbox.end(self.shared.end(consumer, marks)?)?;
        self.ending = Some(Ending { began: Instant::now(), promises });
        (self.dirty, self.hurry) = (false, false);
        Ok(())
    }

    /// Forwards go last.
    fn prepare(&mut self, consumer: &GroupConsumer, released: &BTreeSet<i32>) -> Result<BTreeMap<i32, Promise>> {
        for (&partition, task) in &self.tasks {
            if !task.counts.is_conserved() {
                NotConserved { partition }.emit(&self.name, &self.shared.metrics);
                return Err(Error::NotConserved { partition, counts: task.counts.clone() });
            }
        }
        if torture::is_without(Sabotage::DigestAtCommit) {
            self.cut_everywhere(consumer)?;
        }
        for (forward, made_up) in std::mem::take(&mut self.forwards) {
            if torture::is_without(Sabotage::ForwardsOutsideTransaction) {
                forward.send_apart(&self.ticks, &self.shared.topics, made_up)?;
            } else {
                forward.send(&mut self.outbox, &self.shared.topics, made_up)?;
            }
        }
        let mut promises = BTreeMap::new();
        for (&partition, task) in &mut self.tasks {
            // The position also passes the markers behind the last record, and the record that is held back.
            let position = match self.held.holds(partition) {
                true => task.position,
                false => consumer.position(partition)?.unwrap_or(task.position).max(task.position),
            };
            promises.insert(partition, task.promise(partition, position, released.contains(&partition)));
        }
        Ok(promises)
    }

    /// A guard taken away: digests begin and end with commits.
    fn cut_everywhere(&mut self, consumer: &GroupConsumer) -> Result<()> {
        for (&partition, task) in &mut self.tasks {
            task.core.cut(task.position, &mut self.effects);
            let (topics, offsets) = (&self.shared.topics, consumer.offsets());
            task.publish(partition, &mut self.outbox, topics, offsets, &mut self.effects)?;
        }
        Ok(())
    }

    /// Waits until no transaction is ending.
    fn settle(&mut self) -> Result<()> {
        while self.outbox.is_ending() {
            self.hear_the_end(POLL)?;
        }
        Ok(())
    }

    /// Takes the outcome of the transaction that is ending, if it comes in time.
    fn hear_the_end(&mut self, timeout: Duration) -> Result<()> {
        match self.outbox.ended(timeout)? {
            None => Ok(()),
            Some(CommitOutcome::Committed) => self.post(),
            Some(CommitOutcome::Aborted(error) | CommitOutcome::Fenced(error) | CommitOutcome::InDoubt(error)) => {
                Err(error.into())
            }
        }
    }

    /// It is committed.
    fn post(&mut self) -> Result<()> {
        self.committed_at = Instant::now();
        Ended::Committed.emit(&self.name, &self.shared.metrics);
        if let Some(Ending { began, promises }) = self.ending.take() {
            self.commit_took = began.elapsed();
            self.shared.metrics.commit_took(self.commit_took);
            let now_ms = (!self.shared.simulated_time).then(crate::telemetry::clock::now_ms);
            for (partition, promise) in promises {
                if let Some(task) = self.tasks.get_mut(&partition) {
                    task.keep(promise, now_ms, &self.shared.metrics);
                }
            }
        }
        Ok(self.outbox.go_on()?)
    }
}
