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
            text.push_str(" ready, but nobody to staff the new ones");
        } else if before.is_some_and(|before| before < lanes) {
            text.push_str(", so the queue is shorter at once");
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
            ActionKind::Done { .. } => ("scaled", Tone::Act),
            ActionKind::Verified { .. } => ("verified", Tone::Good),
            ActionKind::Ineffective { .. } => ("no effect", Tone::Bad),
            ActionKind::Suppressed { .. } => ("held back", Tone::Plain),
            _ => ("failed", Tone::Bad),
        };
        if is_first && event.kind.is_outcome() {
            self.outcomes.push(format!("{} {tag} by the {}: {text}", event.verb, event.actor));
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
