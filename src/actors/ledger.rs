//! What an actor knows of one partition: the incidents of `ops.incidents`, the actions of `ops.actions`, the tasks
//! that have no outcome, and from where all of it can be read again. Pure: events in, facts out.
//!
//! Folding is idempotent: an actor folds what it has committed at once, and again when it reads it back.
//! What nobody needs any more is forgotten, and only then the place to restore from moves on:
//!
//! ```text
//! ops.incidents  ..opened(open).....requested(waiting)......requested(settled)..| next
//!                  ^ bookmark.incidents ^ committed offset
//! ops.actions    ..started(that incident)....started....done..................| actions_next
//!                  ^ bookmark.actions
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::approval::{Approval, Stand};
use super::bookmark::Owes;
use super::guard::{Acted, Freeze, History};
use super::role::{AskedBy, EFFECT, Task};
use crate::model::action::{ActionEvent, ActionKind};
use crate::model::incident::{EventKind, IncidentEvent, Verdict};
use crate::model::{ActionId, IncidentId, ServiceId};

/// How long an action counts in cool-downs and budgets, ms: the longest window of a spec, and more than the hour
/// of a budget.
pub const MEMORY_MS: i64 = 24 * 3_600_000;

/// What is known of an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Offset of its `opened`.
    pub offset: i64,
    /// `slo`, or the condition as written.
    pub cause: Arc<str>,
    /// When it was opened, ms.
    pub opened_at_ms: i64,
    /// The first incident of its episode.
    pub episode: IncidentId,
    /// Which opening of the episode this is.
    pub openings: u32,
    /// Its alert is cleared at the end of the episode only.
    pub flapping: bool,
    /// The numbers by which it was opened, if it is the SLO's.
    pub verdict: Option<Verdict>,
    /// Offset of its `resolved` or `closed`.
    pub ended: Option<i64>,
    /// Whose service it is, as its requests say.
    pub owner: Option<Arc<str>>,
}

impl Incident {
    /// Was it resolved or closed?
    pub fn is_over(&self) -> bool {
        self.ended.is_some()
    }
}

/// What is known of an action.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Action {
    /// Offset of the first of its records that was read; `None` until one was.
    pub offset: Option<i64>,
    /// What a human was asked about it, and said.
    approval: Option<Approval>,
    /// The last intent.
    pub intent: Option<ActionEvent>,
    /// Its outcome.
    pub outcome: Option<ActionEvent>,
    /// The outcome was read back, so that no record of it is still to come.
    complete: bool,
    /// A page whose alert was cleared.
    pub cleared: bool,
    /// It was said whether it had its effect.
    pub checked: bool,
}

impl Action {
    /// Its newest record; a human's word is none of the action's own.
    pub fn last(&self) -> Option<&ActionEvent> {
        let asked = || self.approval.as_ref().map(Approval::asked);
        self.outcome.as_ref().or(self.intent.as_ref()).or_else(asked)
    }

    /// What waits for a human: there is neither an outcome nor an intent nor a word.
    fn held(&self) -> Option<&Approval> {
        let approval = self.approval.as_ref().filter(|approval| !approval.is_answered())?;
        (self.outcome.is_none() && self.intent.is_none()).then_some(approval)
    }

    /// A page that may have reached somebody, and whose alert was not cleared; with the episode that it belongs to.
    pub fn alert(&self) -> Option<(&ActionEvent, &str)> {
        let intent = self.intent.as_ref().filter(|intent| intent.verb == "page" && !self.cleared)?;
        let failed = matches!(&self.outcome, Some(ActionEvent { kind: ActionKind::Failed { .. }, .. }));
        let ActionKind::Started { goal } = &intent.kind else { return None };
        goal.get("episode").filter(|_| !failed).map(|episode| (intent, episode.as_str()))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Events before it ask for nothing any more: everything that they asked for has its outcome.
    settled_before: i64,
    /// The next offset of `ops.actions`.
    actions_next: i64,
    incidents: BTreeMap<IncidentId, Incident>,
    /// Services without data, with the offset of the event that said so.
    silent: BTreeMap<ServiceId, i64>,
    actions: BTreeMap<ActionId, Action>,
    /// Services that are frozen (`_ops`: all), with the offset of the event that said so.
    frozen: BTreeMap<ServiceId, (i64, Freeze)>,
    /// Tasks without an outcome, oldest first.
    waiting: Vec<Arc<Task>>,
    /// Offset of what asked for an action, of all since the oldest that waits.
    asked: BTreeMap<ActionId, i64>,
}

impl Ledger {
    /// An empty one. Events of `ops.incidents` before `settled_before` are facts and ask for nothing; `actions_from`
    /// is where `ops.actions` will be read from.
    pub fn new(settled_before: i64, actions_from: i64) -> Self {
        Self { settled_before, actions_next: actions_from, ..Self::default() }
    }

    /// An event of `ops.incidents`.
    pub fn fold_incident(&mut self, offset: i64, event: &IncidentEvent) {
        match &event.kind {
            EventKind::Opened { incident, cause, episode, openings, flapping, verdict } => {
                let known = Incident {
                    offset,
                    cause: cause.clone(),
                    opened_at_ms: event.at,
                    episode: episode.clone(),
                    openings: *openings,
                    flapping: *flapping,
                    verdict: *verdict,
                    ended: None,
                    owner: None,
                };
                self.incidents.insert(incident.clone(), known);
            }
            EventKind::Resolved { incident, cause, opened_at, .. }
            | EventKind::Closed { incident, cause, opened_at, .. } => {
                // Opened before we read: what matters is that it is over.
                let unknown = || Incident {
                    offset,
                    cause: cause.clone(),
                    opened_at_ms: *opened_at,
                    episode: incident.clone(),
                    openings: 1,
                    flapping: false,
                    verdict: None,
                    ended: None,
                    owner: None,
                };
                self.incidents.entry(incident.clone()).or_insert_with(unknown).ended = Some(offset);
            }
            EventKind::NoData => {
                self.silent.insert(event.service.clone(), offset);
            }
            EventKind::DataBack | EventKind::SpecActivated { .. } | EventKind::SpecRetired => {
                self.silent.remove(&event.service);
            }
            EventKind::Requested { incident, args, .. } => {
                if let (Some(owner), Some(known)) = (args.get("service.owner"), self.incidents.get_mut(incident)) {
                    known.owner.get_or_insert_with(|| owner.as_str().into());
                }
            }
            EventKind::Blind { .. } | EventKind::EpisodeEnded { .. } => {}
        }
    }

    /// A task that an event asks for. Waits until it has an outcome, unless it has one.
    pub fn wait_for(&mut self, task: Task) {
        if let Some(offset) = task.asked_by.offset() {
            if offset < self.settled_before {
                return;
            }
            self.asked.insert(task.action_id, offset);
        }
        let known = self.waiting.iter().any(|waiting| waiting.action_id == task.action_id);
        if !known && self.outcome(&task.action_id).is_none() {
            self.waiting.push(Arc::new(task));
        }
    }

    /// An event of `ops.actions`; `offset` if it was read, `None` if it is our own, committed just now.
    pub fn fold_action(&mut self, offset: Option<i64>, event: &ActionEvent) {
        if let Some(offset) = offset {
            self.actions_next = self.actions_next.max(offset + 1);
        }
        if event.kind.is_switch() {
            // Nobody folds a human's hand before it is read.
            return offset.map_or((), |offset| self.fold_switch(offset, event));
        }
        if event.kind.word().is_some() {
            // On what nobody was asked about it says nothing.
            let asked = self.actions.get_mut(&event.action_id).and_then(|action| action.approval.as_mut());
            return asked.map_or((), |asked| asked.hear(event));
        }
        let action = self.actions.entry(event.action_id).or_default();
        action.offset = action.offset.or(offset);
        if event.proposal().is_some() {
            // The first counts: our own comes back.
            action.approval = action.approval.take().or_else(|| Approval::of(event));
        } else if event.kind.is_effect() {
            action.checked = true;
            self.waiting.retain(|task| task.verb != EFFECT || !task.asked_by.is_action(&event.action_id));
        } else if event.kind.is_outcome() {
            action.complete |= offset.is_some();
            action.outcome = Some(event.clone());
            self.waiting.retain(|task| task.action_id != event.action_id);
            if event.verb == "clear" {
                self.clear(event);
            }
        } else if action.intent.as_ref().is_none_or(|intent| intent.attempt <= event.attempt) {
            action.intent = Some(event.clone());
        }
    }

    fn fold_switch(&mut self, offset: i64, event: &ActionEvent) {
        let ActionKind::Frozen { reason } = &event.kind else {
            self.frozen.remove(&event.service);
            return;
        };
        let is_of_all = event.service.is_ops();
        let freeze = Freeze { is_of_all, who: event.actor.clone(), reason: reason.clone(), at_ms: event.at };
        self.frozen.insert(event.service.clone(), (offset, freeze));
    }

    /// Did a human stop all actions of this service?
    pub fn frozen(&self, service: &ServiceId) -> Option<&Freeze> {
        let freeze = self.frozen.get(&ServiceId::ops()).or_else(|| self.frozen.get(service));
        freeze.map(|(_, freeze)| freeze)
    }

    /// The alerts that a clear was about are cleared, however it ended: nothing more is done about them.
    fn clear(&mut self, clear: &ActionEvent) {
        let intent = self.actions.get(&clear.action_id).and_then(|action| action.intent.as_ref());
        let episode = match intent.map(|intent| &intent.kind) {
            Some(ActionKind::Started { goal }) => goal.get("episode").cloned(),
            // It was not begun: there was no alert.
            _ => return,
        };
        for page in self.alerts(&clear.incident, episode.as_deref(), clear.target.as_deref()) {
            if let Some(action) = self.actions.get_mut(&page) {
                action.cleared = true;
            }
        }
    }

    /// Pages whose alert is not cleared: of this incident, or of all incidents of an `episode` up to it; of one
    /// target if it is given.
    pub fn alerts(&self, incident: &IncidentId, episode: Option<&str>, target: Option<&str>) -> Vec<ActionId> {
        let alerts = self.actions.iter().filter_map(|(id, action)| {
            let (page, of) = action.alert()?;
            let meant = match episode {
                Some(episode) => of == episode && page.incident.generation <= incident.generation,
                None => page.incident == *incident,
            };
            (meant && target.is_none_or(|target| page.target.as_deref() == Some(target))).then_some(*id)
        });
        alerts.collect()
    }

    /// The alerts of an episode, by its name.
    pub fn alerts_of_episode<'a>(&'a self, episode: &'a str) -> impl Iterator<Item = &'a ActionEvent> {
        self.actions.values().filter_map(Action::alert).filter(move |(_, of)| *of == episode).map(|(page, _)| page)
    }

    /// The pages of an episode to one target, by age, cleared or not; as long as they are remembered.
    pub fn pages_of_episode(&self, episode: &str, target: &str) -> Vec<&Action> {
        let of = |intent: &ActionEvent| {
            let ActionKind::Started { goal } = &intent.kind else { return false };
            intent.verb == "page"
                && intent.target.as_deref() == Some(target)
                && goal.get("episode").is_some_and(|of| of == episode)
        };
        let mut pages: Vec<_> = self.actions.values().filter(|action| action.intent.as_ref().is_some_and(of)).collect();
        pages.sort_by_key(|action| action.intent.as_ref().map(|intent| intent.at));
        pages
    }

    /// What is known of an incident.
    pub fn incident(&self, incident: &IncidentId) -> Option<&Incident> {
        self.incidents.get(incident)
    }

    /// Incidents of ourselves that are open, or of which a page is not cleared.
    pub fn open_of_ops(&self) -> BTreeSet<&IncidentId> {
        let open = self.incidents.iter().filter(|(id, known)| id.service.is_ops() && !known.is_over());
        let alerts = self.actions.values().filter_map(Action::alert).map(|(page, _)| &page.incident);
        let is_over = |id: &IncidentId| self.incidents.get(id).is_some_and(Incident::is_over);
        open.map(|(id, _)| id).chain(alerts.filter(|id| id.service.is_ops() && !is_over(id))).collect()
    }

    /// What is known of an action.
    pub fn action(&self, action: &ActionId) -> Option<&Action> {
        self.actions.get(action)
    }

    /// The intent of an action that has no outcome.
    pub fn intent(&self, action: &ActionId) -> Option<&ActionEvent> {
        self.actions.get(action).filter(|action| action.outcome.is_none())?.intent.as_ref()
    }

    /// The outcome of an action.
    pub fn outcome(&self, action: &ActionId) -> Option<&ActionEvent> {
        self.actions.get(action)?.outcome.as_ref()
    }

    /// What was tried for an incident, by age.
    pub fn tried(&self, incident: &IncidentId) -> Vec<&ActionEvent> {
        let all = self.actions.values().filter_map(Action::last).filter(|event| event.incident == *incident);
        let mut tried: Vec<_> = all.collect();
        tried.sort_by_key(|event| event.at);
        tried
    }

    /// What may ask for something else: the outcomes of actions, and what waits for a human.
    pub fn told(&self) -> impl Iterator<Item = &ActionEvent> {
        self.actions
            .values()
            .filter_map(|action| action.outcome.as_ref().or_else(|| action.held().map(Approval::asked)))
    }

    /// What a human was asked about an action that has no outcome.
    pub fn approval(&self, action: &ActionId) -> Option<&Approval> {
        self.actions.get(action).filter(|action| action.outcome.is_none())?.approval.as_ref()
    }

    /// Tasks without an outcome, oldest first.
    pub fn waiting(&self) -> &[Arc<Task>] {
        &self.waiting
    }

    /// What the guards want to know about the service of an incident.
    pub fn history(&self, incident: &IncidentId, now_ms: i64) -> History {
        let service = &incident.service;
        // Of what was stopped after all, nothing was done.
        let stopped = |action: &&Action| {
            let outcome = action.outcome.as_ref().map(|outcome| &outcome.kind);
            matches!(outcome, Some(ActionKind::Suppressed { .. } | ActionKind::Denied { .. } | ActionKind::Expired))
        };
        let acts = self.actions.values().filter(|action| !stopped(action)).filter_map(|action| action.intent.as_ref());
        let of_service = acts.filter(|intent| intent.service == *service && counts_in_budgets(intent));
        let recent =
            |intent: &&ActionEvent| intent.incident == *incident || now_ms.saturating_sub(intent.at) <= MEMORY_MS;
        let mut acted: Vec<_> = of_service.filter(recent).map(acted).collect();
        acted.sort_by_key(|acted| acted.at_ms);
        History {
            over: self.incidents.get(incident).is_some_and(Incident::is_over),
            no_data: self.silent.contains_key(service),
            frozen: self.frozen(service).cloned(),
            acted,
        }
    }

    /// The next offset of `ops.actions` to be read.
    pub fn actions_next(&self) -> i64 {
        self.actions_next
    }

    /// The offset to commit, given the position in `ops.incidents`: the oldest request without an outcome.
    pub fn committable(&self, position: i64) -> i64 {
        self.waiting.iter().filter_map(|task| task.asked_by.offset()).fold(position, i64::min)
    }

    /// Until when a task waits for a human's word, ms; none if it waits for us.
    fn held(&self, task: &Task, now_ms: i64) -> Option<i64> {
        let approval = self.actions.get(&task.action_id)?.held()?;
        (approval.stand(now_ms) == Stand::Open).then(|| approval.expires_at())
    }

    /// Tasks that wait for us and not for a human, oldest first.
    pub fn owed(&self, now_ms: i64) -> impl Iterator<Item = &Arc<Task>> {
        self.waiting.iter().filter(move |task| self.held(task, now_ms).is_none())
    }

    /// What is owed an answer by us, if the oldest request waits for a human.
    pub fn owes(&self, position: i64, now_ms: i64) -> Option<Owes> {
        let until_ms = self.waiting.iter().filter_map(|task| self.held(task, now_ms)).min()?;
        let offset = self.owed(now_ms).filter_map(|task| task.asked_by.offset()).fold(position, i64::min);
        Some(Owes { offset, until_ms })
    }

    /// From where in `ops.incidents` and `ops.actions` all of this can be read again.
    pub fn restore_from(&self, position: i64) -> (i64, i64) {
        let opened = self.incidents.values().map(|incident| incident.offset);
        let incidents = opened.chain(self.silent.values().copied()).fold(self.committable(position), i64::min);
        let actions = self.actions.values().filter_map(|action| action.offset);
        let frozen = self.frozen.values().map(|(offset, _)| *offset);
        let actions = actions.chain(frozen).fold(self.actions_next, i64::min);
        (incidents, actions)
    }

    /// Lets go of what nobody will ask for any more.
    pub fn forget(&mut self, position: i64, now_ms: i64) {
        self.settled_before = self.committable(position).max(self.settled_before);
        let settled_before = self.settled_before;
        self.asked.retain(|_, offset| *offset >= settled_before);
        let waiting: BTreeSet<_> = self.waiting.iter().map(|task| &task.incident).collect();
        // Not before its end is settled: whoever reads the end again has to know the beginning.
        self.incidents.retain(|id, incident| {
            incident.ended.is_none_or(|offset| offset >= settled_before) || waiting.contains(id)
        });
        let causes = self.waiting.iter().filter_map(|task| match &task.asked_by {
            AskedBy::Action(of) => Some(of.action_id),
            AskedBy::Incident { .. } => None,
        });
        let causes: BTreeSet<_> = causes.collect();
        let (incidents, asked) = (&self.incidents, &self.asked);
        self.actions.retain(|id, action| {
            let Some(last) = action.last() else { return false };
            let open = incidents.contains_key(&last.incident) || action.alert().is_some();
            let counts = counts_in_budgets(last) && now_ms.saturating_sub(last.at) <= MEMORY_MS;
            !action.complete || open || counts || asked.contains_key(id) || causes.contains(id)
        });
    }
}

/// Does an action count in cool-downs and budgets? Pages and what belongs to them do not, nor what was only said.
fn counts_in_budgets(event: &ActionEvent) -> bool {
    !matches!(event.verb.as_str(), "page" | "clear") && !event.dry_run
}

fn acted(intent: &ActionEvent) -> Acted {
    let replicas = |name: &str| match &intent.kind {
        ActionKind::Started { goal } => goal.get(name).and_then(|text| text.parse().ok()),
        _ => None,
    };
    Acted {
        action_id: intent.action_id,
        incident: intent.incident.clone(),
        verb: intent.verb.clone(),
        at_ms: intent.at,
        scaled: replicas("from").zip(replicas("to")),
    }
}

#[cfg(test)]
mod tests;
