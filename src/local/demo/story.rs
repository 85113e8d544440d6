//! The story of the demo as a state machine: facts from the bus and the world go in, lines for a person come out,
//! and at every moment it knows which beat is still missing. Pure: no clock, no I/O. [`super`] feeds and prints it.
//!
//! ```text
//! help:     activated -> opened -> requested -> scaled -> lanes open -> resolved        (and no page before)
//! no help:  activated -> opened -> requested -> scaled -> lanes open -> paged -> delivered  (and not resolved)
//! ```
//!
//! It tells of everything that happens, also afterwards; the beats are those of the first incident alone.

use std::collections::BTreeMap;

use super::words;
use crate::model::action::{ActionEvent, ActionKind};
use crate::model::incident::{Basis, EventKind, IncidentEvent};
use crate::model::{ActionId, IncidentId};

/// A queue that moved by less than this since it was last told is not news, seconds.
const NEWS_S: f64 = 6.0;

/// One thing that was seen.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A reading was sent: the queue time in seconds, with so many lanes (ready replicas) open.
    Measured {
        /// Seconds in the queue.
        queue_s: f64,
        /// Ready replicas.
        lanes: u32,
    },
    /// From `ops.incidents`.
    Incident(IncidentEvent),
    /// From `ops.actions`.
    Action(ActionEvent),
}

/// What has to happen, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Beat {
    /// The processor judges by the spec.
    Activated,
    /// The incident.
    Opened,
    /// The playbook's first step.
    Requested,
    /// The autoscaler did it.
    Scaled,
    /// The new pods are ready.
    LanesOpen,
    /// It helped.
    Resolved,
    /// It did not help: the playbook's second step, on fresh readings.
    PageRequested,
    /// The pager did it.
    Paged,
}

impl Beat {
    /// What was missed if it is missing.
    pub fn expectation(self) -> &'static str {
        match self {
            Self::Activated => "the processor takes the spec up",
            Self::Opened => "an incident is opened",
            Self::Requested => "the playbook requests scale_up",
            Self::Scaled => "the autoscaler scales the deployment",
            Self::LanesOpen => "the new pods are ready",
            Self::Resolved => "the incident is resolved",
            Self::PageRequested => "a page is requested on fresh readings",
            Self::Paged => "the page is delivered",
        }
    }
}

/// How the story is to go.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Does scaling help?
    pub help: bool,
    /// The SLO's threshold, seconds.
    pub threshold_s: f64,
    /// Lanes that are open at first, and after the scale-up.
    pub lanes: (u32, u32),
}

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It goes on.
    Plain,
    /// Bad news.
    Bad,
    /// Somebody acts.
    Act,
    /// Good news.
    Good,
}

/// One line of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What happened, in a word.
    pub tag: &'static str,
    /// For people.
    pub text: String,
    /// How it is meant.
    pub tone: Tone,
}

/// See the module.
#[derive(Debug)]
pub struct Story {
    plan: Plan,
    happened: Vec<Beat>,
    /// What must not have happened, and did.
    spoilt: Option<&'static str>,
    /// The incident that the beats are about.
    incident: Option<IncidentId>,
    /// Records on the bus that name it.
    records: usize,
    /// The goals of scalings that were begun.
    goals: BTreeMap<ActionId, BTreeMap<String, String>>,
    outcomes: Vec<String>,
    told_queue: Option<(f64, u32)>,
}

impl Story {
    /// Nothing has happened yet.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            happened: Vec::new(),
            spoilt: None,
            incident: None,
            records: 0,
            goals: BTreeMap::new(),
            outcomes: Vec::new(),
            told_queue: None,
        }
    }

    /// Takes a fact; returns what is to be told of it.
    pub fn hear(&mut self, fact: &Fact) -> Vec<Line> {
        match fact {
            Fact::Measured { queue_s, lanes } => self.measured(*queue_s, *lanes).into_iter().collect(),
            Fact::Incident(event) => self.incident(event),
            Fact::Action(event) => self.action(event).into_iter().collect(),
        }
    }

    /// The first beat that is still missing.
    pub fn missing(&self) -> Option<Beat> {
        let common = [Beat::Activated, Beat::Opened, Beat::Requested, Beat::Scaled, Beat::LanesOpen];
        let end: &[Beat] = if self.plan.help { &[Beat::Resolved] } else { &[Beat::PageRequested, Beat::Paged] };
        common.iter().chain(end).copied().find(|beat| !self.happened.contains(beat))
    }

    /// What happened although it must not have.
    pub fn spoilt(&self) -> Option<&'static str> {
        self.spoilt
    }

    /// The first incident, and how many records of `ops.incidents` and `ops.actions` name it so far.
    pub fn first_incident(&self) -> Option<(&IncidentId, usize)> {
        self.incident.as_ref().map(|incident| (incident, self.records))
    }

    /// How it is with the first incident now.
    pub fn ending(&self) -> &'static str {
        if self.happened.contains(&Beat::Resolved) { "resolved" } else { "still open" }
    }

    /// How the actions of the first incident ended.
    pub fn outcomes(&self) -> &[String] {
        &self.outcomes
    }

    fn beat(&mut self, beat: Beat) {
        if !self.happened.contains(&beat) {
            self.happened.push(beat);
        }
    }

    fn is_first(&self, incident: &IncidentId) -> bool {
        self.incident.as_ref() == Some(incident)
    }

    fn measured(&mut self, queue_s: f64, lanes: u32) -> Option<Line> {
        let is_news = self
            .told_queue
            .is_none_or(|(told_s, told_lanes)| told_lanes != lanes || (queue_s - told_s).abs() >= NEWS_S);
        let (from, to) = self.plan.lanes;
        if lanes >= to && self.happened.contains(&Beat::Scaled) {
            self.beat(Beat::LanesOpen);
        }
        if !is_news {
            return None;
        }
        let before = self.told_queue.replace((queue_s, lanes)).map(|(_, lanes)| lanes);
        let mut text = words::queue(queue_s, self.plan.threshold_s, lanes);
        if before.is_some_and(|before| before < lanes) && !self.plan.help && lanes > from {
            text.push_str(" ready, but nobody is there to staff them");
        } else if before.is_some_and(|before| before < lanes) {
            text.push_str(": shorter at once");
        }
        let tone = if queue_s > self.plan.threshold_s { Tone::Bad } else { Tone::Plain };
        Some(Line { tag: "queue", text, tone })
    }

    fn incident(&mut self, event: &IncidentEvent) -> Vec<Line> {
        let (tag, tone) = match &event.kind {
            EventKind::SpecActivated { .. } => {
                self.beat(Beat::Activated);
                ("activated", Tone::Plain)
            }
            EventKind::Opened { incident, .. } => {
                if self.incident.is_none() {
                    self.incident = Some(incident.clone());
                    self.beat(Beat::Opened);
                }
                ("opened", Tone::Bad)
            }
            EventKind::Requested { incident, verb, basis, .. } => {
                if self.is_first(incident) {
                    self.requested(verb, *basis);
                }
                ("requested", Tone::Act)
            }
            EventKind::Resolved { incident, .. } => {
                if self.is_first(incident) {
                    self.beat(Beat::Resolved);
                    self.spoil(!self.plan.help, "the incident was resolved, although nothing was to help");
                }
                ("resolved", Tone::Good)
            }
            EventKind::Closed { .. } => ("closed", Tone::Plain),
            EventKind::SpecRetired => ("retired", Tone::Plain),
            EventKind::Blind { .. } => ("blind", Tone::Plain),
            EventKind::NoData => ("no data", Tone::Bad),
            EventKind::DataBack => ("data back", Tone::Plain),
            EventKind::EpisodeEnded { .. } => ("calm", Tone::Plain),
        };
        self.records += usize::from(words::incident_of(&event.kind).is_some_and(|incident| self.is_first(incident)));
        let mut lines = vec![Line { tag, text: words::incident(event), tone }];
        let is_end = matches!(&event.kind, EventKind::Resolved { incident, .. } if self.is_first(incident));
        if is_end && self.plan.help && self.spoilt.is_none() {
            lines.push(Line { tag: "no page", text: "none was needed: it helped".to_owned(), tone: Tone::Good });
        }
        lines
    }

    fn requested(&mut self, verb: &str, basis: Basis) {
        match (verb, basis) {
            ("page", Basis::FreshData) => self.beat(Beat::PageRequested),
            ("page", _) => {}
            _ => self.beat(Beat::Requested),
        }
        self.spoil(self.plan.help && verb == "page", "a page was requested, although scaling was to help");
    }

    fn spoil(&mut self, is_spoilt: bool, how: &'static str) {
        if is_spoilt && self.spoilt.is_none() {
            self.spoilt = Some(how);
        }
    }

    fn action(&mut self, event: &ActionEvent) -> Option<Line> {
        let is_first = self.is_first(&event.incident);
        self.records += usize::from(is_first);
        if let ActionKind::Started { goal } = &event.kind {
            self.goals.insert(event.action_id, goal.clone());
            return None;
        }
        let goal = self.goals.get(&event.action_id);
        let text = words::action(event, goal);
        let is_page = event.verb == "page";
        let (tag, tone) = match &event.kind {
            ActionKind::Done { .. } if is_page => ("paged", Tone::Act),
            ActionKind::Done { .. } if event.verb == "clear" => ("cleared", Tone::Good),
            ActionKind::Done { .. } => ("scaled", Tone::Act),
            ActionKind::Verified(_) => ("verified", Tone::Good),
            ActionKind::Ineffective(_) => ("no effect", Tone::Bad),
            ActionKind::Frozen { .. } => ("frozen", Tone::Plain),
            ActionKind::Thawed { .. } => ("thawed", Tone::Plain),
            ActionKind::Suppressed { .. } => ("held back", Tone::Plain),
            ActionKind::Awaiting(_) => ("asked", Tone::Plain),
            ActionKind::Approved(_) => ("approved", Tone::Plain),
            ActionKind::Rejected(_) => ("rejected", Tone::Plain),
            _ => ("failed", Tone::Bad),
        };
        if is_first && event.kind.is_outcome() {
            self.outcomes.push(format!("{} by the {}: {}", event.verb, event.actor, event.kind.name()));
        }
        if is_first && matches!(event.kind, ActionKind::Done { .. }) {
            let (from, to) = self.plan.lanes;
            let says = |name: &str| goal.and_then(|goal| goal.get(name)?.parse::<u32>().ok());
            if is_page {
                self.beat(Beat::Paged);
            } else if says("from") == Some(from) && says("to") == Some(to) {
                self.beat(Beat::Scaled);
            }
        }
        Some(Line { tag, text, tone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::incident::{Fresh, Recovered, Verdict};
    use crate::model::{ServiceId, SpecHash};

    const NUMBERS: Verdict =
        Verdict { threshold: 30.0, window_from: 0, window_to: 10_000, n: 50, over: 3, rank: 48, p95_estimate: None };

    fn story(help: bool) -> Story {
        Story::new(Plan { help, threshold_s: 30.0, lanes: (2, 4) })
    }

    fn first() -> IncidentId {
        "scanner.1".parse().unwrap()
    }

    fn event(kind: EventKind) -> Fact {
        let service = ServiceId::new("scanner").unwrap();
        Fact::Incident(IncidentEvent { kind, service, spec_hash: SpecHash::of(""), at: 20_000 })
    }

    fn activated() -> Fact {
        event(EventKind::SpecActivated { text: "".into(), semantics: 1, from_partition: 1, from_offset: 0 })
    }

    fn opened() -> Fact {
        let (incident, episode) = (first(), first());
        let verdict = Some(NUMBERS);
        event(EventKind::Opened { incident, cause: "slo".into(), episode, openings: 1, flapping: false, verdict })
    }

    fn requested(step: u32, verb: &str, basis: Basis) -> Fact {
        let action_id = ActionId::of(&first(), step, 1);
        let fresh = (basis == Basis::FreshData).then_some(Fresh { n: 15, over: 15, rank: 15 });
        let (verb, args) = (verb.into(), BTreeMap::new());
        event(EventKind::Requested { incident: first(), step, call: 1, verb, args, basis, action_id, fresh })
    }

    fn resolved() -> Fact {
        let recovered = Some(Recovered { n: 50, over: 0, rank: 48, p95_estimate: None });
        event(EventKind::Resolved { incident: first(), cause: "slo".into(), opened_at: 2_000, recovered })
    }

    fn action(step: u32, verb: &str, kind: ActionKind) -> Fact {
        Fact::Action(ActionEvent {
            kind,
            action_id: ActionId::of(&first(), step, 1),
            incident: first(),
            service: first().service,
            verb: verb.to_owned(),
            actor: "actor".to_owned(),
            at: 0,
            target: Some("it".to_owned()),
            attempt: 1,
            dry_run: false,
        })
    }

    fn started(from: u32, to: u32) -> Fact {
        let goal = [("from", from), ("to", to)].map(|(name, value)| (name.to_owned(), value.to_string()));
        action(1, "scale_up", ActionKind::Started { goal: goal.into() })
    }

    fn done(step: u32, verb: &str) -> Fact {
        action(step, verb, ActionKind::Done { detail: BTreeMap::new() })
    }

    fn lanes(lanes: u32) -> Fact {
        Fact::Measured { queue_s: 25.0, lanes }
    }

    /// Up to the open lanes, which both stories share.
    fn helped() -> Vec<Fact> {
        let request = requested(1, "scale_up", Basis::Opened);
        vec![activated(), lanes(2), opened(), request, started(2, 4), done(1, "scale_up"), lanes(4)]
    }

    fn play(story: &mut Story, facts: &[Fact]) -> Vec<&'static str> {
        facts.iter().flat_map(|fact| story.hear(fact)).map(|line| line.tag).collect()
    }

    #[test]
    fn the_story_of_help_is_complete_with_the_resolve_and_no_sooner() {
        let mut story = story(true);
        for (fact, missing) in helped().iter().zip([
            Beat::Opened,
            Beat::Opened,
            Beat::Requested,
            Beat::Scaled,
            Beat::Scaled,
            Beat::LanesOpen,
            Beat::Resolved,
        ]) {
            story.hear(fact);
            assert_eq!(story.missing(), Some(missing), "after {fact:?}");
        }
        assert_eq!(play(&mut story, &[resolved()]), ["resolved", "no page"]);
        assert_eq!((story.missing(), story.spoilt()), (None, None));
        assert_eq!(story.first_incident(), Some((&first(), 5)));
        assert_eq!(story.outcomes(), ["scale_up by the actor: done"]);
    }

    #[test]
    fn a_page_spoils_the_story_of_help() {
        let mut story = story(true);
        play(&mut story, &helped());
        play(&mut story, &[requested(2, "page", Basis::FreshData)]);
        assert_eq!(play(&mut story, &[resolved()]), ["resolved"]);
        assert!(story.spoilt().is_some());
    }

    #[test]
    fn without_help_it_takes_a_page_on_fresh_data_that_was_delivered() {
        let mut story = story(false);
        play(&mut story, &helped());
        play(&mut story, &[requested(2, "page", Basis::InsufficientFreshData), done(2, "page")]);
        assert_eq!(story.missing(), Some(Beat::PageRequested), "silence is another story");
        play(&mut story, &[requested(2, "page", Basis::FreshData)]);
        assert_eq!((story.missing(), story.spoilt()), (None, None));
        play(&mut story, &[resolved()]);
        assert!(story.spoilt().is_some());
    }

    #[test]
    fn another_goal_than_the_playbooks_is_another_story() {
        let mut story = story(true);
        let request = requested(1, "scale_up", Basis::Opened);
        play(&mut story, &[activated(), opened(), request, started(2, 3), done(1, "scale_up"), lanes(4)]);
        assert_eq!(story.missing(), Some(Beat::Scaled));
        assert_eq!(play(&mut story, &[action(1, "scale_up", ActionKind::suppressed("frozen"))]), ["held back"]);
    }

    #[test]
    fn a_queue_is_told_when_it_moved_or_the_lanes_did() {
        let mut story = story(true);
        let measured = |queue_s, lanes| Fact::Measured { queue_s, lanes };
        let facts = [measured(12.0, 2), measured(17.9, 2), measured(18.0, 2), measured(18.1, 2), measured(18.1, 4)];
        assert_eq!(play(&mut story, &facts).len(), 3);
    }
}
