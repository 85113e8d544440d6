//! The seam of every actor: whatever was committed, and wherever it crashed, what it reads back is what it knew.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::actors::role::Decision;
use crate::actors::{approval, pager};
use crate::model::SpecHash;
use crate::model::incident::Basis;

fn incident(generation: u64) -> IncidentId {
    IncidentId { service: ServiceId::new("scanner").unwrap(), generation }
}

fn event(kind: EventKind, at: i64) -> IncidentEvent {
    IncidentEvent { kind, service: ServiceId::new("scanner").unwrap(), spec_hash: SpecHash::of(""), at }
}

fn opened(generation: u64, episode: u64, flapping: bool) -> IncidentEvent {
    let kind = EventKind::Opened {
        incident: incident(generation),
        cause: Arc::from("slo"),
        episode: incident(episode),
        openings: u32::try_from(generation - episode + 1).unwrap(),
        flapping,
        verdict: None,
    };
    event(kind, 0)
}

fn page(generation: u64, step: u32, channel: &str) -> IncidentEvent {
    let kind = EventKind::Requested {
        incident: incident(generation),
        step,
        call: 1,
        verb: Arc::from("page"),
        args: BTreeMap::from([("channel".to_owned(), channel.to_owned())]),
        basis: Basis::Opened,
        action_id: ActionId::of(&incident(generation), step, 1),
        fresh: None,
    };
    event(kind, 0)
}

fn resolved(generation: u64) -> IncidentEvent {
    let kind =
        EventKind::Resolved { incident: incident(generation), cause: Arc::from("slo"), opened_at: 0, recovered: None };
    event(kind, 0)
}

fn action(task: &Task, attempt: u32, kind: ActionKind) -> ActionEvent {
    ActionEvent {
        kind,
        action_id: task.action_id,
        incident: task.incident.clone(),
        service: task.incident.service.clone(),
        verb: task.verb.clone(),
        actor: "pager".to_owned(),
        at: 0,
        target: Some(task.target.clone()),
        attempt,
        dry_run: false,
    }
}

/// A pager without a bus: both logs, and what it knows.
struct Actor {
    incidents: Vec<IncidentEvent>,
    actions: Vec<ActionEvent>,
    ledger: Ledger,
    generation: u64,
    episode: u64,
    open: Vec<u64>,
}

impl Actor {
    fn new() -> Self {
        let ledger = Ledger::new(0, 0);
        Self { incidents: Vec::new(), actions: Vec::new(), ledger, generation: 0, episode: 1, open: Vec::new() }
    }

    fn position(&self) -> i64 {
        self.incidents.len() as i64
    }

    fn told(&mut self, event: IncidentEvent) {
        let offset = self.position();
        self.ledger.fold_incident(offset, &event);
        for task in pager::asked(offset, &event, &self.ledger) {
            self.ledger.wait_for(task);
        }
        self.incidents.push(event);
    }

    fn writes(&mut self, event: ActionEvent) {
        self.ledger.fold_action(None, &event);
        self.actions.push(event);
    }

    fn open(&mut self, new_episode: bool) {
        self.generation += 1;
        // A cause has one incident at a time: another one is of another cause.
        if new_episode || !self.open.is_empty() || self.generation == 1 {
            if self.generation - self.episode >= 3 && self.open.is_empty() {
                let openings = (self.generation - self.episode) as u32;
                self.told(event(EventKind::EpisodeEnded { episode: incident(self.episode), openings }, 0));
            }
            self.episode = self.generation;
        }
        let flapping = self.generation - self.episode >= 2;
        self.told(opened(self.generation, self.episode, flapping));
        self.open.push(self.generation);
    }

    /// Carries on with one waiting task.
    fn work(&mut self, which: usize, succeeds: bool) {
        if self.ledger.waiting().is_empty() {
            return;
        }
        let task = self.ledger.waiting()[which % self.ledger.waiting().len()].clone();
        let attempt = self.ledger.intent(&task.action_id).map(|intent| intent.attempt);
        if let Some(attempt) = attempt.filter(|_| succeeds) {
            self.writes(action(&task, attempt, ActionKind::Done { detail: BTreeMap::new() }));
        } else if let Some(attempt) = attempt {
            let failed = ActionKind::Failed { reason: String::new(), detail: BTreeMap::new() };
            self.writes(action(&task, attempt, failed));
        } else {
            let event = match pager::decide(&task, &self.ledger, 0) {
                Decision::Settle(kind) => action(&task, 1, kind),
                Decision::Begin { goal, .. } => action(&task, 1, ActionKind::Started { goal }),
                Decision::LookAgain { .. } | Decision::Ask(_) => unreachable!("a page needs no look and no approval"),
            };
            self.writes(event);
        }
    }

    fn read_back(&mut self, count: usize) {
        for _ in 0..count {
            let next = self.ledger.actions_next();
            let Some(event) = self.actions.get(next as usize).cloned() else { return };
            self.ledger.fold_action(Some(next), &event);
        }
    }

    /// What a successor knows: the same steps as `restore`.
    fn restored(&self) -> Ledger {
        let (from_incidents, from_actions) = self.ledger.restore_from(self.position());
        let mut ledger = Ledger::new(self.ledger.committable(self.position()), from_actions);
        for (offset, event) in self.actions.iter().enumerate().skip(from_actions as usize) {
            ledger.fold_action(Some(offset as i64), event);
        }
        let mut asked = Vec::new();
        for (offset, event) in self.incidents.iter().enumerate().skip(from_incidents as usize) {
            ledger.fold_incident(offset as i64, event);
            asked.extend(pager::asked(offset as i64, event, &ledger));
        }
        asked.into_iter().for_each(|task| ledger.wait_for(task));
        ledger
    }
}

/// What decides what an actor does next.
#[derive(Debug, PartialEq)]
struct Known {
    /// With the attempt of the intent, if there is one.
    waiting: Vec<(Task, Option<u32>)>,
    /// Pages with their episode.
    alerts: Vec<(ActionId, String)>,
    /// Open incidents; is the episode flapping?
    open: Vec<(IncidentId, bool)>,
}

fn known(ledger: &Ledger) -> Known {
    let attempt = |task: &Task| ledger.intent(&task.action_id).map(|intent| intent.attempt);
    // A clear of nothing (its page failed meanwhile) is only a record; a successor need not know of it.
    let needed =
        ledger.waiting().iter().filter(|task| task.verb == "page" || pager::suppressed(task, ledger).is_none());
    let mut waiting: Vec<_> = needed.map(|task| (Task::clone(task), attempt(task))).collect();
    waiting.sort_by_key(|(task, _)| (task.asked_by.offset(), task.action_id));
    let alerts = ledger.actions.iter().filter_map(|(id, action)| Some((*id, action.alert()?.1.to_owned())));
    let open = ledger.incidents.iter().filter(|(_, incident)| !incident.is_over());
    let flapping = open.map(|(id, incident)| (id.clone(), incident.flapping));
    Known { waiting, alerts: alerts.collect(), open: flapping.collect() }
}

proptest! {
    /// Random lives of incidents, pages and clears; after every step the actor crashes and another one reads back
    /// what it had committed.
    #[test]
    fn a_successor_knows_what_its_predecessor_knew(steps in prop::collection::vec((0..7_u8, 0..6_usize, any::<bool>()), 0..60)) {
        let mut actor = Actor::new();
        for (step, which, choice) in steps {
            match step {
                0 => actor.open(choice),
                1 => {
                    let channel = if choice { "a" } else { "b" };
                    if let Some(generation) = actor.open.get(which % actor.open.len().max(1)).copied() {
                        actor.told(page(generation, 1 + which as u32, channel));
                    }
                }
                2 if !actor.open.is_empty() => {
                    let at = which % actor.open.len();
                    let generation = actor.open.remove(at);
                    actor.told(resolved(generation));
                }
                3..=5 => actor.work(which, choice || step == 3),
                _ => actor.read_back(which),
            }
            actor.ledger.forget(actor.position(), 0);
            prop_assert_eq!(known(&actor.restored()), known(&actor.ledger));
        }
        // Quiet: everything is settled, read back, and nothing holds the bookmark any more but open alerts.
        while !actor.ledger.waiting().is_empty() {
            actor.work(0, true);
        }
        actor.read_back(usize::MAX);
        actor.ledger.forget(actor.position(), 0);
        prop_assert_eq!(actor.ledger.committable(actor.position()), actor.position());
        prop_assert_eq!(known(&actor.restored()), known(&actor.ledger));
    }
}

#[test]
fn the_oldest_request_without_an_outcome_is_what_is_committed() {
    let mut actor = Actor::new();
    actor.open(true);
    actor.told(page(1, 1, "a"));
    actor.told(page(1, 2, "b"));
    assert_eq!(actor.ledger.committable(actor.position()), 1);
    // The second is done, the first is not: the offset stays, and a successor does not do the second again.
    let second = actor.ledger.waiting()[1].clone();
    actor.work(1, true);
    actor.work(1, true);
    assert_eq!((actor.ledger.committable(3), actor.ledger.waiting().len()), (1, 1));
    actor.read_back(9);
    actor.ledger.forget(3, 0);
    assert!(actor.restored().outcome(&second.action_id).is_some());
    actor.work(0, true);
    actor.work(0, true);
    assert_eq!(actor.ledger.committable(3), 3);
    // An open incident holds the place to restore from, not the offset.
    assert_eq!(actor.ledger.restore_from(3), (0, 0));
}

#[test]
fn what_nobody_needs_is_forgotten_once_it_was_read_back() {
    let mut actor = Actor::new();
    actor.open(true);
    actor.told(page(1, 1, "a"));
    actor.work(0, true);
    actor.work(0, true);
    actor.told(resolved(1));
    let alerts: Vec<_> = actor.ledger.alerts(&incident(1), None, None);
    assert_eq!(alerts, [ActionId::of(&incident(1), 1, 1)]);
    actor.work(0, true);
    actor.work(0, true);
    actor.ledger.forget(3, 0);
    assert!(!actor.ledger.actions.is_empty(), "its records are still to come");
    actor.read_back(9);
    actor.ledger.forget(3, 0);
    assert!(actor.ledger.actions.is_empty() && actor.ledger.incidents.is_empty() && actor.ledger.asked.is_empty());
    assert_eq!(actor.ledger.restore_from(3), (3, 4));
}

#[test]
fn scaling_counts_for_a_day_and_pages_never_count() {
    let mut ledger = Ledger::new(0, 0);
    let task = |generation, verb: &str| Task {
        action_id: ActionId::of(&incident(generation), 1, 1),
        incident: incident(generation),
        verb: verb.to_owned(),
        target: "t".to_owned(),
        at_ms: 0,
        asked_by: AskedBy::Incident { offset: 0, event: Box::new(resolved(generation)) },
    };
    for (offset, (generation, verb)) in [(1, "scale_up"), (2, "page")].into_iter().enumerate() {
        let goal = [("from", "2"), ("to", "4")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let offset = 2 * offset as i64;
        let started = action(&task(generation, verb), 1, ActionKind::Started { goal: goal.into() });
        ledger.fold_action(Some(offset), &started);
        let done = action(&task(generation, verb), 1, ActionKind::Done { detail: BTreeMap::new() });
        ledger.fold_action(Some(offset + 1), &done);
    }
    let acted = ledger.history(&incident(3), MEMORY_MS).acted;
    assert_eq!(
        acted.iter().map(|acted| (acted.verb.as_str(), acted.scaled)).collect::<Vec<_>>(),
        [("scale_up", Some((2, 4)))]
    );
    ledger.forget(0, MEMORY_MS);
    assert!(ledger.action(&ActionId::of(&incident(1), 1, 1)).is_some());
    ledger.forget(0, MEMORY_MS + 1);
    assert!(ledger.actions.is_empty());
}

#[test]
fn a_freeze_holds_the_place_to_restore_from_until_it_is_thawed() {
    let mut ledger = Ledger::new(0, 0);
    let switch = |frozen, service: &ServiceId| {
        let reason = "a deploy".to_owned();
        let kind = if frozen { ActionKind::Frozen { reason } } else { ActionKind::Thawed { reason } };
        ActionEvent::switch(kind, service, "alice", 5)
    };
    let (scanner, other) = (ServiceId::new("scanner").unwrap(), ServiceId::new("other").unwrap());
    ledger.fold_action(Some(7), &switch(true, &scanner));
    ledger.fold_action(Some(9), &switch(true, &ServiceId::ops()));
    assert!(ledger.frozen(&other).is_some_and(|freeze| freeze.is_of_all && freeze.who == "alice"));
    ledger.forget(0, 10 * MEMORY_MS);
    assert_eq!(ledger.restore_from(0), (0, 7));
    ledger.fold_action(Some(10), &switch(false, &ServiceId::ops()));
    assert!(ledger.frozen(&other).is_none() && ledger.frozen(&scanner).is_some());
    assert!(ledger.history(&incident(1), 5).frozen.is_some());
    ledger.fold_action(Some(11), &switch(false, &scanner));
    assert!(ledger.frozen(&scanner).is_none());
    assert_eq!(ledger.restore_from(0), (0, 12));
}

/// A request to scale, of incident 1.
fn scaling() -> Task {
    Task {
        action_id: ActionId::of(&incident(1), 1, 1),
        incident: incident(1),
        verb: "scale_up".to_owned(),
        target: "t".to_owned(),
        at_ms: 0,
        asked_by: AskedBy::Incident { offset: 0, event: Box::new(resolved(1)) },
    }
}

/// `started done`: a check waits, holds no offset but its records, and is settled by what is said of the action.
#[test]
fn a_check_waits_for_its_effect_and_keeps_what_it_needs() {
    let mut ledger = Ledger::new(0, 0);
    let task = scaling();
    let goal = [("window_seconds", "5")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    ledger.fold_action(Some(3), &action(&task, 1, ActionKind::Started { goal }));
    let done = action(&task, 1, ActionKind::Done { detail: BTreeMap::new() });
    ledger.fold_action(Some(4), &done);
    let intent = ledger.action(&task.action_id).unwrap().intent.clone().unwrap();
    ledger.wait_for(crate::actors::effect::task(&done, &intent).unwrap());
    ledger.forget(9, 10 * MEMORY_MS);
    assert_eq!((ledger.waiting().len(), ledger.committable(9), ledger.restore_from(9)), (1, 9, (9, 3)));
    ledger.fold_action(Some(5), &action(&task, 1, ActionKind::Verified(Default::default())));
    assert!(ledger.waiting().is_empty() && ledger.action(&task.action_id).unwrap().checked);
    ledger.forget(9, 10 * MEMORY_MS);
    assert_eq!(ledger.restore_from(9), (9, 6));
}

/// `requested(0) requested(1) | awaiting(of 0)`: it has no outcome and holds its place; what is owed is the other.
#[test]
fn what_waits_for_a_human_survives_a_restart_and_is_no_debt() {
    let mut ledger = Ledger::new(0, 0);
    let task = scaling();
    let other = AskedBy::Incident { offset: 1, event: Box::new(resolved(1)) };
    ledger.wait_for(task.clone());
    ledger.wait_for(Task { action_id: ActionId::of(&incident(1), 2, 1), asked_by: other, ..task.clone() });
    assert_eq!(ledger.owes(5, 0), None);
    let proposal = approval::propose(&task, "budget_incident", String::new(), BTreeMap::new(), 100);
    let asked = action(&task, 1, ActionKind::Awaiting(proposal.clone()));
    ledger.fold_action(None, &asked);
    ledger.fold_action(Some(3), &asked);
    assert_eq!(ledger.owes(5, 0), Some(Owes { offset: 1, until_ms: 100 }));
    assert_eq!(ledger.owes(5, 101), None, "an answer is owed");
    assert!(ledger.history(&incident(1), 0).acted.is_empty() && ledger.told().eq([&asked]));
    ledger.forget(5, 10 * MEMORY_MS);
    assert_eq!((ledger.committable(5), ledger.restore_from(5)), (0, (0, 3)));

    // A successor reads it again, and the word after it.
    let mut successor = Ledger::new(0, 3);
    let unheard = ActionEvent::word(&asked, &proposal, true, "alice", "fine", 5);
    successor.fold_action(Some(2), &unheard);
    assert!(successor.actions.is_empty(), "on nothing that was asked");
    successor.fold_action(Some(3), &asked);
    assert_eq!(successor.approval(&task.action_id).map(|approval| approval.stand(5)), Some(Stand::Open));
    successor.fold_action(Some(4), &unheard);
    assert_eq!(successor.approval(&task.action_id).map(|approval| approval.stand(5)), Some(Stand::Approved));
    successor.wait_for(task.clone());
    assert_eq!((successor.owes(5, 5), successor.told().count()), (None, 0), "the actor's turn");
    successor.fold_action(Some(5), &action(&task, 1, ActionKind::Expired));
    assert!(successor.approval(&task.action_id).is_none() && successor.waiting().is_empty());
}

#[test]
fn what_was_stopped_after_its_intent_counts_in_no_budget() {
    let mut ledger = Ledger::new(0, 0);
    let task = scaling();
    ledger.fold_action(Some(0), &action(&task, 1, ActionKind::Started { goal: BTreeMap::new() }));
    assert_eq!(ledger.history(&incident(2), 0).acted.len(), 1);
    ledger.fold_action(Some(1), &action(&task, 1, ActionKind::suppressed("frozen")));
    assert!(ledger.history(&incident(2), 0).acted.is_empty());
}
