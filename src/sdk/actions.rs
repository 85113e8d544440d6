//! What was asked of the actors, and what became of it: the read model behind `ops actions`. It joins the requests of
//! `ops.incidents` with what actors and humans wrote to `ops.actions`, and decides nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::status::tail::Tail;
use super::{Error, now_ms};
use crate::bus::{Offsets, Settings};
use crate::codec;
use crate::model::action::{ActionEvent, ActionKind};
use crate::model::incident::{Basis, EventKind, IncidentEvent};
use crate::model::topics::Topics;
use crate::model::{ActionId, IncidentId, ServiceId};

/// How long the other topic may hold up a look for news.
const GLANCE: Duration = Duration::from_millis(5);

/// One action: what was asked, and all that is on the record about it. Also the JSON of `ops actions --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Deed {
    /// Same id, same action.
    pub action_id: ActionId,
    /// Whose.
    pub service: ServiceId,
    /// For which incident; generation 0 for a human's hand.
    pub incident: IncidentId,
    /// What was asked for.
    pub verb: String,
    /// What is acted on, once an actor has said so.
    pub target: Option<String>,
    /// `waiting` (asked, and nobody has written anything yet), else the name of the event that says how far it is:
    /// `started`, an outcome, `awaiting` and the human's word that counts, `frozen`, `thawed`.
    pub state: &'static str,
    /// `verified` or `ineffective`, once it was looked whether it helped.
    pub effect: Option<&'static str>,
    /// The reason code of a refusal or of what waits for a human, their own reason, or why it failed or is unknown.
    pub reason: Option<String>,
    /// The request on `ops.incidents`; none of what no playbook asks for (`clear`, a page about an unknown outcome), or
    /// if it is older than what was read.
    pub request: Option<Request>,
    /// All events of `ops.actions`, oldest first.
    pub events: Vec<ActionEvent>,
}

/// How a playbook asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Request {
    /// The instant, ms.
    pub at: i64,
    /// 1-based place of the step in the playbook.
    pub step: u32,
    /// 1-based place of the call in the step.
    pub call: u32,
    /// Why then.
    pub basis: Basis,
    /// Its arguments.
    pub args: BTreeMap<String, String>,
}

impl Deed {
    fn new(action_id: ActionId, incident: &IncidentId, verb: &str) -> Self {
        Self {
            action_id,
            service: incident.service.clone(),
            incident: incident.clone(),
            verb: verb.to_owned(),
            target: None,
            state: "waiting",
            effect: None,
            reason: None,
            request: None,
            events: Vec::new(),
        }
    }

    /// Of these events, without a request.
    #[cfg(test)]
    pub(super) fn of(events: Vec<ActionEvent>) -> Self {
        let first = &events[0];
        let mut deed = Self::new(first.action_id, &first.incident, &first.verb);
        events.into_iter().for_each(|event| deed.take(event));
        deed
    }

    /// When it was asked for, else when it is first heard of, ms.
    pub fn at(&self) -> i64 {
        let first = || self.events.first().map(|event| event.at);
        self.request.as_ref().map(|request| request.at).or_else(first).unwrap_or_default()
    }

    /// When it was last heard of, ms.
    pub fn last_at(&self) -> i64 {
        self.events.last().map_or(i64::MIN, |event| event.at).max(self.at())
    }

    /// The last event of a kind.
    pub fn last(&self, is_it: impl Fn(&ActionKind) -> bool) -> Option<&ActionEvent> {
        self.events.iter().rev().find(|event| is_it(&event.kind))
    }

    /// Does it wait for a human's word?
    pub fn is_awaiting(&self) -> bool {
        self.state == "awaiting"
    }

    /// What a human was asked about it: the first that was, as the actor sees it.
    pub fn asked(&self) -> Option<&ActionEvent> {
        self.events.iter().find(|event| event.proposal().is_some())
    }

    /// The human's word that counts: the first on what was asked.
    pub fn word(&self) -> Option<&ActionEvent> {
        let asked = self.asked()?;
        let mut since = self.events.iter().skip_while(|event| event.proposal().is_none());
        since.find(|event| event.is_word_on(asked))
    }

    fn take(&mut self, event: ActionEvent) {
        let is_settled = self.last(ActionKind::is_outcome).is_some();
        if let Some(word) = event.kind.word() {
            let counts = self.is_awaiting() && self.asked().is_some_and(|asked| event.is_word_on(asked));
            if counts {
                (self.state, self.reason) = (event.kind.name(), Some(word.reason.clone()));
            }
            return self.events.push(event);
        }
        if event.kind.is_effect() {
            self.effect = Some(event.kind.name());
        } else if !is_settled || event.kind.is_outcome() {
            self.state = event.kind.name();
            self.reason = match &event.kind {
                ActionKind::Awaiting(proposal) => Some(proposal.reason.clone()),
                ActionKind::Suppressed { reason, .. }
                | ActionKind::Denied { reason }
                | ActionKind::Failed { reason, .. }
                | ActionKind::Unknown { reason }
                | ActionKind::Frozen { reason }
                | ActionKind::Thawed { reason } => Some(reason.clone()),
                _ => None,
            };
        }
        self.target.clone_from(&event.target);
        self.events.push(event);
    }
}

/// Who is frozen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frozen(BTreeMap<ServiceId, ActionEvent>);

impl Frozen {
    /// An event of `ops.actions`; others than a human's hand change nothing.
    pub fn take(&mut self, event: &ActionEvent) {
        match event.kind {
            ActionKind::Frozen { .. } => drop(self.0.insert(event.service.clone(), event.clone())),
            ActionKind::Thawed { .. } => drop(self.0.remove(&event.service)),
            _ => {}
        }
    }

    /// What says that the actions of a service are stopped: its own freeze or that of all.
    pub fn of(&self, service: &ServiceId) -> Option<&ActionEvent> {
        self.0.get(&ServiceId::ops()).or_else(|| self.0.get(service))
    }

    /// All that holds, that of all services first.
    pub fn all(&self) -> impl Iterator<Item = &ActionEvent> {
        let of_all = ServiceId::ops();
        let own = self.0.iter().filter(|(service, _)| **service != ServiceId::ops()).map(|(_, event)| event);
        self.0.get(&of_all).into_iter().chain(own)
    }
}

/// Follows both topics.
pub struct Deeds {
    offsets: Offsets,
    only: Option<ServiceId>,
    since_ms: i64,
    incidents: Tail,
    actions: Tail,
    facts: Facts,
}

/// What was read.
#[derive(Default)]
struct Facts {
    deeds: BTreeMap<ActionId, Deed>,
    frozen: Frozen,
}

impl Deeds {
    /// Reads what was asked or done since a time (ms), of one service or all. What is frozen is known from the
    /// beginning of `ops.actions`.
    ///
    /// # Errors
    /// The bus.
    pub fn read(settings: &Settings, topics: &Topics, only: Option<ServiceId>, since_ms: i64) -> Result<Self, Error> {
        let offsets = Offsets::new(settings)?;
        let partitions = offsets.partitions(&topics.actions)?;
        // A freeze of all stands in every partition.
        let wanted = only.as_ref().map_or(0..partitions, |only| {
            let home = only.home(partitions);
            home..home + 1
        });
        let since = |ms: i64| wanted.clone().map(|partition| (partition, ms)).collect();
        let incidents = Tail::since(settings, &offsets, &topics.incidents, since(since_ms))?;
        let actions = Tail::since(settings, &offsets, &topics.actions, since(0))?;
        let mut deeds = Self { offsets, only, since_ms, incidents, actions, facts: Facts::default() };
        deeds.catch_up()?;
        Ok(deeds)
    }

    fn catch_up(&mut self) -> Result<(), Error> {
        let Self { offsets, only, incidents, actions, facts, .. } = self;
        incidents.catch_up(offsets, |message| {
            facts.ask(only.as_ref(), message.value().unwrap_or_default());
        })?;
        actions.catch_up(offsets, |message| {
            facts.note(only.as_ref(), message.value().unwrap_or_default());
        })?;
        Ok(())
    }

    /// Waits up to `timeout` for something new, and says which actions it is about. Every event of `ops.actions` that comes
    /// is shown to `heard` on the way.
    ///
    /// # Errors
    /// The bus.
    pub fn wait(&mut self, timeout: Duration, mut heard: impl FnMut(&ActionEvent)) -> Result<Vec<ActionId>, Error> {
        let mut news = Vec::new();
        let Self { only, incidents, actions, facts, .. } = self;
        incidents.glance(timeout, |message| {
            news.extend(facts.ask(only.as_ref(), message.value().unwrap_or_default()));
        })?;
        actions.glance(GLANCE, |message| {
            let (id, is_new) = facts.note(only.as_ref(), message.value().unwrap_or_default()).unzip();
            let event = id.and_then(|id| facts.deeds.get(&id)?.events.last()).filter(|_| is_new == Some(true));
            event.into_iter().for_each(&mut heard);
            news.extend(id);
        })?;
        news.dedup();
        Ok(news)
    }

    /// All that was heard of since then, the oldest first.
    pub fn all(&self) -> Vec<&Deed> {
        let mut all: Vec<_> = self.facts.deeds.values().filter(|deed| deed.last_at() >= self.since_ms).collect();
        all.sort_by_key(|deed| (deed.at(), deed.action_id));
        all
    }

    /// One of them.
    pub fn get(&self, action: &ActionId) -> Option<&Deed> {
        self.facts.deeds.get(action)
    }

    /// Who is frozen now.
    pub fn frozen(&self) -> &Frozen {
        &self.facts.frozen
    }
}

impl Facts {
    /// A record of `ops.incidents`.
    fn ask(&mut self, only: Option<&ServiceId>, value: &[u8]) -> Option<ActionId> {
        let IncidentEvent { kind, at, .. } = codec::incident::decode(value).ok()?;
        let EventKind::Requested { incident, step, call, verb, args, basis, action_id, .. } = kind else { return None };
        if only.is_some_and(|only| *only != incident.service) {
            return None;
        }
        let deed = self.deeds.entry(action_id).or_insert_with(|| Deed::new(action_id, &incident, &verb));
        deed.request = Some(Request { at, step, call, basis, args });
        Some(action_id)
    }

    /// A record of `ops.actions`: what it is about, and whether it is another one there.
    fn note(&mut self, only: Option<&ServiceId>, value: &[u8]) -> Option<(ActionId, bool)> {
        let event = codec::action::decode(value).ok()?;
        self.frozen.take(&event);
        let id = event.action_id;
        if only.is_some_and(|only| *only != event.service && event.service != ServiceId::ops()) {
            return None;
        }
        if event.kind.word().is_some() && !self.deeds.contains_key(&id) {
            // On nothing that anybody asked.
            return None;
        }
        let deed = self.deeds.entry(id).or_insert_with(|| Deed::new(id, &event.incident, &event.verb));
        // A freeze of all stands in every partition, and is one.
        let is_new = !event.kind.is_switch() || deed.events.is_empty();
        if is_new {
            deed.take(event);
        }
        Some((id, is_new))
    }
}

/// Who is frozen now.
///
/// # Errors
/// The bus.
pub fn frozen(settings: &Settings, topics: &Topics) -> Result<Frozen, Error> {
    Ok(Deeds::read(settings, topics, None, now_ms())?.facts.frozen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SpecHash;
    use crate::model::action::Effect;

    fn incident() -> IncidentId {
        "scanner.1".parse().unwrap()
    }

    fn note(facts: &mut Facts, kind: ActionKind, at: i64) {
        facts.note(None, &codec::action::encode(&ActionEvent::scaling(kind, at))).unwrap();
    }

    #[test]
    fn an_action_is_what_was_asked_and_how_far_it_got() {
        let mut facts = Facts::default();
        let kind = EventKind::Requested {
            incident: incident(),
            step: 1,
            call: 1,
            verb: "scale_up".into(),
            args: BTreeMap::from([("compute".to_owned(), "+2".to_owned())]),
            basis: Basis::Opened,
            action_id: ActionId::of(&incident(), 1, 1),
            fresh: None,
        };
        let event = IncidentEvent { kind, service: incident().service, spec_hash: SpecHash::of(""), at: 5 };
        let value = codec::incident::encode(&event);
        let id = facts.ask(None, &value).unwrap();
        let state = |facts: &Facts| (facts.deeds[&id].state, facts.deeds[&id].effect);
        assert_eq!((state(&facts), facts.deeds[&id].at()), (("waiting", None), 5));
        note(&mut facts, ActionKind::Started { goal: BTreeMap::new() }, 6);
        assert_eq!(state(&facts), ("started", None));
        note(&mut facts, ActionKind::Done { detail: BTreeMap::new() }, 7);
        note(&mut facts, ActionKind::Verified(Effect::default()), 8);
        assert_eq!((state(&facts), facts.deeds[&id].last_at()), (("done", Some("verified")), 8));
        assert_eq!((facts.deeds.len(), facts.deeds[&id].request.as_ref().unwrap().step), (1, 1));
        let other = ServiceId::new("other").unwrap();
        assert_eq!(Facts::default().ask(Some(&other), &value), None);
    }

    #[test]
    fn a_freeze_of_all_is_one_however_many_partitions_hold_it_and_a_thaw_of_all_thaws_no_service() {
        let mut facts = Facts::default();
        let scanner = incident().service;
        let switch = |frozen, service: &ServiceId, at| {
            let reason = "r".to_owned();
            let kind = if frozen { ActionKind::Frozen { reason } } else { ActionKind::Thawed { reason } };
            codec::action::encode(&ActionEvent::switch(kind, service, "me", at))
        };
        for _ in 0..3 {
            facts.note(Some(&scanner), &switch(true, &ServiceId::ops(), 1));
        }
        assert_eq!((facts.deeds.len(), facts.deeds.values().next().unwrap().events.len()), (1, 1));
        facts.note(None, &switch(true, &scanner, 2));
        assert_eq!(facts.frozen.all().map(|event| event.at).collect::<Vec<_>>(), [1, 2]);
        facts.note(None, &switch(false, &ServiceId::ops(), 3));
        assert_eq!(facts.frozen.of(&scanner).map(|event| event.at), Some(2));
        assert!(facts.frozen.of(&ServiceId::new("other").unwrap()).is_none());
    }
}
