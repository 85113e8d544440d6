//! The loop's state in one session with the bus: the ledgers of the partitions that are ours, the transactional
//! producer, and what goes out with the next transaction. Decides with the role, writes the intent, has it done
//! once the intent is committed, writes the outcome.
//!
//! ```text
//! waiting --look--> decide --intent committed--> read to the end --> act --outcome committed--> settled
//!             ^       |  |                              \---- stopped by a human -------^
//!             |       |  \--- outcome without an intent --------------------------------^
//!             |       \-- awaiting a human --rejected, too late, over ------------------^
//!             \------------ approved ---/
//! ```
//!
//! (Nobody can stop a page: it does not wait for the reading.)
//!
//! Any trouble with a transaction ends the session: the next one reads again what is committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bookmark::Bookmark;
use super::claim::Claims;
use super::counters::Counters;
use super::error::Error;
use super::frame::Options;
use super::ledger::Ledger;
use super::restore;
use super::role::{AskedBy, Decision, EFFECT, Role, Task};
use super::work::{Report, Work};
use crate::bus::{
    Event, GroupConsumer, Next, Offsets, Outcome, PartitionOffset, Reader, Record, TransactionalProducer,
};
use crate::codec;
use crate::model::ActionId;
use crate::model::action::{ActionEvent, ActionKind};
use crate::telemetry::clock::now_ms;
use crate::torture::{self, Point, Sabotage};

mod approvals;
mod handover;

use approvals::Step;

/// Positions that moved are committed at least so often, even if nothing is done.
const IDLE_COMMIT: Duration = Duration::from_secs(5);
/// The role is asked so often what it has noticed by itself.
const NOTICE: Duration = Duration::from_secs(1);
/// One wait for records; reports of effects are looked at after each.
const WAIT: Duration = Duration::from_millis(20);
/// Most records that are folded before anything else is looked at.
const BATCH: usize = 500;
/// How long after the commit of its intent was begun an effect may begin, for each attempt: less than the group waits
/// for a member that stands still. A process that did stand still begins nothing that another may have taken over. (More
/// for each attempt, so that a cluster whose commits are slow delays pages, and does not swallow them.)
const LEASE: Duration = Duration::from_secs(4);

/// See the module.
pub(super) struct Desk<'a, R: Role> {
    role: Arc<R>,
    options: &'a Options,
    counters: &'a Counters,
    work: &'a mut Work<R>,
    producer: TransactionalProducer,
    /// By partition; only those that are restored.
    ledgers: BTreeMap<i32, Ledger>,
    /// Follows `ops.actions` for all of them.
    follower: Option<Reader>,
    outbox: Vec<Outgoing>,
    /// Tasks whose intents are committed, and that begin once `ops.actions` was read as far as it was written by then.
    intended: BTreeMap<ActionId, Intended>,
    committed_at: Instant,
    /// When the role was last asked what it has noticed.
    noticed_at: Option<Instant>,
    /// What was committed last.
    committed: BTreeMap<i32, (i64, Bookmark)>,
    /// What went wrong inside a rebalance, where nothing can be returned.
    failure: Option<Error>,
}

/// See [`Desk::intended`].
struct Intended {
    partition: i32,
    /// Offset before which all is to be read.
    end: i64,
    /// When it is too late to begin.
    until: Instant,
}

/// An event that goes out with the next transaction.
struct Outgoing {
    partition: i32,
    /// The task that it is about: not always the action of the event.
    task: ActionId,
    event: ActionEvent,
}

impl<'a, R: Role> Desk<'a, R> {
    /// A session: `producer` is new, its id taken over.
    pub fn new(
        role: Arc<R>,
        options: &'a Options,
        counters: &'a Counters,
        work: &'a mut Work<R>,
        producer: TransactionalProducer,
    ) -> Self {
        work.new_session();
        counters.hold(0, false);
        Self {
            role,
            options,
            counters,
            work,
            producer,
            ledgers: BTreeMap::new(),
            follower: None,
            outbox: Vec::new(),
            intended: BTreeMap::new(),
            committed_at: Instant::now(),
            noticed_at: None,
            committed: BTreeMap::new(),
            failure: None,
        }
    }

    /// One round: (1) read, (2) fold what was done and what was noticed, (3) take up what waits, (4) commit.
    pub fn turn(&mut self, consumer: &GroupConsumer, taking: bool) -> Result<(), Error> {
        self.read(consumer)?;
        self.follow()?;
        self.notice(consumer)?;
        self.collect(Duration::ZERO);
        if taking {
            self.take_up();
        }
        self.commit_if_due(consumer)
    }

    /// Is anything being done, or its outcome not yet committed?
    pub fn is_acting(&self) -> bool {
        self.work.is_acting() || !self.outbox.is_empty() || !self.intended.is_empty()
    }

    /// What went wrong while the group was left.
    pub fn result(self) -> Result<(), Error> {
        self.failure.map_or(Ok(()), Err)
    }

    fn read(&mut self, consumer: &GroupConsumer) -> Result<(), Error> {
        let mut timeout = WAIT;
        for _ in 0..BATCH {
            let found = consumer.poll(timeout, self)?;
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            let Some(Event::Record(message)) = found else { break };
            timeout = Duration::ZERO;
            let Some(ledger) = self.ledgers.get_mut(&message.partition()) else { continue };
            let Some(event) = restore::incident(&message, self.counters, consumer.topic()) else { continue };
            ledger.fold_incident(message.offset(), &event);
            for task in self.role.asked(message.offset(), &event, ledger) {
                ledger.wait_for(task);
            }
        }
        Ok(())
    }

    fn follow(&mut self) -> Result<(), Error> {
        for _ in 0..BATCH {
            let Some(follower) = &mut self.follower else { break };
            let Next::Record(message) = follower.next(Duration::ZERO)? else { break };
            let Some(ledger) = self.ledgers.get_mut(&message.partition()) else { continue };
            let Some(event) = restore::action(&message, self.counters, &self.options.topics.actions) else { continue };
            ledger.fold_action(Some(message.offset()), &event);
            if (event.kind.is_outcome() || event.proposal().is_some())
                && let Some(task) = self.role.asked_by_action(&event, ledger)
            {
                ledger.wait_for(task);
            }
        }
        self.begin();
        Ok(())
    }

    /// Begins what is intended, where enough was read to know that nobody has stopped it.
    fn begin(&mut self) {
        let Some(positions) = self.follower.as_ref().map(Reader::positions) else { return };
        let is_read = |intended: &Intended| positions.get(&intended.partition) >= Some(&intended.end);
        let (ready, rest): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.intended).into_iter().partition(|(_, intended)| is_read(intended));
        self.intended = rest;
        for (action, Intended { partition, until, .. }) in ready {
            let Some(ledger) = self.ledgers.get(&partition) else { continue };
            let Some(task) = ledger.waiting().iter().find(|task| task.action_id == action).cloned() else {
                // Somebody else has settled it: not ours any more.
                self.work.done(&action);
                continue;
            };
            match self.role.before_acting(&task, ledger).filter(|_| !torture::is_without(Sabotage::ActWhileFrozen)) {
                Some(kind) => self.settle(partition, &task, kind),
                None => self.work.act(&task, until),
            }
        }
    }

    fn notice(&mut self, consumer: &GroupConsumer) -> Result<(), Error> {
        if self.noticed_at.is_some_and(|at| at.elapsed() < NOTICE) {
            return Ok(());
        }
        self.noticed_at = Some(Instant::now());
        for (partition, ledger) in &mut self.ledgers {
            for event in self.role.noticed(*partition, ledger) {
                let Some(end) = consumer.position(*partition)? else { continue };
                ledger.fold_incident(end, &event);
                for task in self.role.asked(end, &event, ledger) {
                    ledger.wait_for(task);
                }
            }
        }
        let now = now_ms();
        let owed: Vec<_> = self.ledgers.values().flat_map(|ledger| ledger.owed(now)).collect();
        self.counters.awaiting(self.ledgers.values().map(|ledger| ledger.waiting().len()).sum::<usize>() - owed.len());
        // Whether an action had its effect is not owed before its time.
        self.counters.waiting(owed.iter().filter(|task| task.verb != EFFECT).map(|task| task.at_ms));
        Ok(())
    }

    /// Carries on with what looks and effects report, waiting for the first up to `timeout`.
    fn collect(&mut self, timeout: Duration) {
        let mut timeout = timeout;
        while let Some((action, report)) = self.work.report(timeout) {
            timeout = Duration::ZERO;
            let Some((partition, task)) = self.find(&action) else {
                self.work.done(&action);
                continue;
            };
            match report {
                Report::Ended(kind) => {
                    torture::reached(Point::ActorEffectDone);
                    self.settle(partition, &task, kind);
                }
                Report::Seen(seen) => self.decide(partition, &task, seen),
                // If it is still ours it is taken up again: the intent has no outcome.
                Report::Lapsed => {
                    tracing::warn!(%action, target = task.target, "not begun, too long after its intent");
                    self.work.done(&action);
                }
            }
        }
    }

    fn find(&self, action: &ActionId) -> Option<(i32, Arc<Task>)> {
        self.ledgers.iter().find_map(|(partition, ledger)| {
            let task = ledger.waiting().iter().find(|task| task.action_id == *action)?;
            Some((*partition, task.clone()))
        })
    }

    fn decide(&mut self, partition: i32, task: &Arc<Task>, seen: R::Seen) {
        let Some(ledger) = self.ledgers.get_mut(&partition) else { return };
        let now_ms = now_ms();
        if let Some(kind) = approvals::lapsed(task, ledger, now_ms) {
            return self.settle(partition, task, kind);
        }
        match self.role.decide(task, seen, ledger, now_ms) {
            Decision::Settle(kind) => self.settle(partition, task, kind),
            Decision::LookAgain { after } => self.work.look(task, after),
            Decision::Ask(proposal) => self.ask(partition, task, proposal),
            Decision::Begin { goal, order } => {
                if let Some(kind) = approvals::objection(task, &goal, ledger, now_ms) {
                    return self.settle(partition, task, kind);
                }
                let attempt = ledger.intent(&task.action_id).map_or(1, |intent| intent.attempt + 1);
                let event = self.event(task, attempt, ActionKind::Started { goal });
                // At once, so that the next decision knows of it.
                if let Some(ledger) = self.ledgers.get_mut(&partition) {
                    ledger.fold_action(None, &event);
                }
                self.work.intend(task, order);
                self.outbox.push(Outgoing { partition, task: task.action_id, event });
            }
        }
    }

    fn settle(&mut self, partition: i32, task: &Task, kind: ActionKind) {
        let attempt = self.ledgers.get(&partition).and_then(|ledger| ledger.intent(&task.action_id));
        let event = self.event(task, attempt.map_or(1, |intent| intent.attempt), kind.clone());
        self.work.end(task, kind);
        self.outbox.push(Outgoing { partition, task: task.action_id, event });
    }

    fn event(&self, task: &Task, attempt: u32, kind: ActionKind) -> ActionEvent {
        if let (true, AskedBy::Action(of)) = (kind.is_effect(), &task.asked_by) {
            // Whether an action had its effect is said of that action.
            return ActionEvent { kind, at: now_ms(), ..(**of).clone() };
        }
        ActionEvent {
            kind,
            action_id: task.action_id,
            incident: task.incident.clone(),
            service: task.incident.service.clone(),
            verb: task.verb.clone(),
            actor: self.role.name().to_owned(),
            at: now_ms(),
            target: Some(task.target.clone()),
            attempt,
            dry_run: self.options.dry_run,
        }
    }

    /// Takes up what waits and whose target is free, oldest first.
    fn take_up(&mut self) {
        let waiting: Vec<(i32, Arc<Task>)> = self
            .ledgers
            .iter()
            .flat_map(|(partition, ledger)| ledger.waiting().iter().map(|task| (*partition, task.clone())))
            .collect();
        for (partition, task) in waiting {
            if self.work.has(&task.action_id) {
                // Ended while the bus was away: its outcome is still to be committed.
                let out = self.outbox.iter().any(|out| out.task == task.action_id);
                if let Some(kind) = self.work.ended(&task.action_id).cloned().filter(|_| !out) {
                    self.settle(partition, &task, kind);
                }
                continue;
            }
            if !self.work.is_free(&task.target) {
                continue;
            }
            let Some(ledger) = self.ledgers.get(&partition) else { continue };
            match approvals::step(&*self.role, &task, ledger, now_ms()) {
                Step::Wait => {}
                Step::Settle(kind) => self.settle(partition, &task, kind),
                Step::Look => self.work.look(&task, Duration::ZERO),
            }
        }
    }

    fn commit_if_due(&mut self, consumer: &GroupConsumer) -> Result<(), Error> {
        let fresh = self.ledgers.keys().any(|partition| !self.committed.contains_key(partition));
        let asked = !self.ledgers.is_empty() && !self.asking().is_empty();
        let due = !self.outbox.is_empty() || fresh || asked || self.committed_at.elapsed() >= IDLE_COMMIT;
        if !due {
            return Ok(());
        }
        let now_ms = now_ms();
        for (partition, ledger) in &mut self.ledgers {
            if let Some(position) = consumer.position(*partition)? {
                ledger.forget(position, now_ms);
            }
        }
        let places = self.places(consumer, &[])?;
        if self.outbox.is_empty() && !asked && places == self.committed {
            self.committed_at = Instant::now();
            return Ok(());
        }
        self.commit(consumer, places)
    }

    /// What to commit for every partition that is ours; `released` are about to be given up.
    fn places(&self, consumer: &GroupConsumer, released: &[i32]) -> Result<BTreeMap<i32, (i64, Bookmark)>, Error> {
        let mut places = BTreeMap::new();
        for (partition, ledger) in &self.ledgers {
            let Some(position) = consumer.position(*partition)? else { continue };
            let (incidents, actions) = ledger.restore_from(position);
            let owes = ledger.owes(position, now_ms());
            let writer = self.producer.transactional_id().to_owned();
            let released = released.contains(partition);
            let bookmark = Bookmark { writer, incidents, actions, released, owes };
            places.insert(*partition, (ledger.committable(position), bookmark));
        }
        Ok(places)
    }

    /// One transaction: what is in the outbox, and the offsets of all partitions, moved or not.
    fn commit(&mut self, consumer: &GroupConsumer, places: BTreeMap<i32, (i64, Bookmark)>) -> Result<(), Error> {
        for Outgoing { partition, event, .. } in &self.outbox {
            let value = codec::action::encode(event);
            let headers = codec::action::headers(event);
            let headers: Vec<_> = headers.iter().map(|(name, text)| (*name, Some(text.as_bytes()))).collect();
            self.producer.send(&Record {
                topic: &self.options.topics.actions,
                partition: *partition,
                key: Some(event.service.as_str().as_bytes()),
                value: Some(&value),
                headers: &headers,
                timestamp_ms: None,
            })?;
        }
        let offsets: Vec<_> = places
            .iter()
            .map(|(partition, (offset, bookmark))| PartitionOffset {
                topic: self.options.topics.incidents.clone(),
                partition: *partition,
                offset: *offset,
                metadata: bookmark.to_string(),
            })
            .collect();
        if self.outbox.iter().any(|out| matches!(out.event.kind, ActionKind::Started { .. })) {
            torture::reached(Point::ActorIntentWritten);
        }
        let (began, asking) = (Instant::now(), self.asking());
        match self.producer.commit(&offsets, &consumer.group_metadata()?)? {
            Outcome::Committed => {
                self.committed = places;
                self.committed_at = Instant::now();
                self.after_commit(began, consumer.offsets())?;
                self.answer(&asking);
                Ok(())
            }
            Outcome::Aborted(error) | Outcome::Fenced(error) | Outcome::InDoubt(error) => Err(error.into()),
        }
    }

    /// What is committed is so: intents are carried out, outcomes settle their tasks. The commit was begun at `began`.
    fn after_commit(&mut self, began: Instant, offsets: &Offsets) -> Result<(), Error> {
        for Outgoing { partition, task, event } in std::mem::take(&mut self.outbox) {
            say(self.counters, &event);
            let Some(ledger) = self.ledgers.get_mut(&partition) else { continue };
            let asked = ledger.waiting().iter().find(|waiting| waiting.action_id == task);
            if let Some(asked) = asked.filter(|_| event.kind.is_outcome()) {
                self.counters.answered(&asked.verb, asked.at_ms, event.at);
            }
            ledger.fold_action(None, &event);
            if !matches!(event.kind, ActionKind::Started { .. }) {
                self.work.done(&task);
                continue;
            }
            let until = began + LEASE * event.attempt;
            match ledger.waiting().iter().find(|waiting| waiting.action_id == task) {
                Some(waiting) => {
                    torture::reached(Point::ActorIntentCommitted);
                    if R::CAN_BE_STOPPED {
                        let end = offsets.watermarks(&self.options.topics.actions, partition)?.high;
                        self.intended.insert(task, Intended { partition, end, until });
                    } else {
                        self.work.act(waiting, until);
                    }
                }
                // Somebody else has settled it: not ours any more.
                None => self.work.done(&task),
            }
        }
        Ok(())
    }

    /// Actions whose effects do not go on before they know that they are ours.
    fn asking(&self) -> Vec<ActionId> {
        self.role.claims().map(Claims::asking).unwrap_or_default()
    }

    /// A commit that began after they asked has shown that these partitions are ours: the effects of their tasks go on,
    /// all others are called off.
    fn answer(&mut self, asking: &[ActionId]) {
        for action in asking {
            match (self.find(action), self.role.claims()) {
                (Some(_), Some(claims)) => claims.prove(action),
                _ => self.work.done(action),
            }
        }
    }
}

/// One log event and one count for everything that is committed to `ops.actions`.
fn say(counters: &Counters, event: &ActionEvent) {
    let reason = match &event.kind {
        ActionKind::Suppressed { reason, .. } | ActionKind::Failed { reason, .. } | ActionKind::Unknown { reason } => {
            reason.as_str()
        }
        _ => "",
    };
    counters.committed(event);
    let (actor, verb, attempt) = (event.actor.as_str(), event.verb.as_str(), event.attempt);
    let target = event.target.as_deref().unwrap_or_default();
    let (name, incident, action) = (event.kind.name(), &event.incident, &event.action_id);
    match event.kind {
        ActionKind::Failed { .. } | ActionKind::Unknown { .. } => {
            tracing::warn!(actor, %incident, %action, verb, target, attempt, reason, "{name}");
        }
        _ => tracing::info!(actor, %incident, %action, verb, target, attempt, reason, "{name}"),
    }
}
