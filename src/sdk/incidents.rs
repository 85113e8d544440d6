//! The incidents of `ops.incidents` as stories: when each was opened, by which numbers, what was asked for, how it
//! ended. Reads and joins; decides nothing. Behind the war room.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use super::Error;
use super::status::tail::Tail;
use crate::bus::{Offsets, Settings};
use crate::codec;
use crate::model::incident::{CloseReason, EventKind, IncidentEvent, Verdict};
use crate::model::topics::Topics;
use crate::model::{IncidentId, ServiceId};

/// So many incidents are kept; of more the oldest go that are over.
const KEPT: usize = 10_000;

/// An event and where it is on `ops.incidents`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Told {
    /// Of `ops.incidents`.
    pub partition: i32,
    /// Of `ops.incidents`.
    pub offset: i64,
    /// What happened.
    #[serde(flatten)]
    pub event: IncidentEvent,
}

/// How an incident ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its cause was clear for its time.
    Resolved,
    /// Its spec ended.
    Closed,
}

/// One incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "service", derive(schemars::JsonSchema))]
pub struct Story {
    /// Which.
    pub incident: IncidentId,
    /// Whose.
    pub service: ServiceId,
    /// `slo`, or the condition as written.
    pub cause: String,
    /// When it was opened, ms.
    pub opened_at: i64,
    /// When it ended, ms.
    pub ended_at: Option<i64>,
    /// How.
    pub end: Option<End>,
    /// Why it was closed.
    pub reason: Option<CloseReason>,
    /// The first incident of its episode; none if its opening is older than what was read.
    pub episode: Option<IncidentId>,
    /// It opens again and again.
    pub flapping: bool,
    /// The numbers by which it was opened, if it is the SLO's.
    #[serde(flatten)]
    pub verdict: Option<Verdict>,
    /// All that was published of it, in order.
    #[serde(skip)]
    pub events: Vec<Told>,
}

impl Story {
    fn new(incident: &IncidentId, cause: &str, opened_at: i64) -> Self {
        Self {
            incident: incident.clone(),
            service: incident.service.clone(),
            cause: cause.to_owned(),
            opened_at,
            ended_at: None,
            end: None,
            reason: None,
            episode: None,
            flapping: false,
            verdict: None,
            events: Vec::new(),
        }
    }

    fn take(&mut self, told: Told) {
        match &told.event.kind {
            EventKind::Opened { episode, flapping, verdict, .. } => {
                (self.episode, self.flapping, self.verdict) = (Some(episode.clone()), *flapping, *verdict);
            }
            EventKind::Resolved { .. } => (self.end, self.ended_at) = (Some(End::Resolved), Some(told.event.at)),
            EventKind::Closed { reason, .. } => {
                (self.end, self.ended_at, self.reason) = (Some(End::Closed), Some(told.event.at), Some(*reason));
            }
            _ => {}
        }
        self.events.push(told);
    }
}

/// Follows `ops.incidents`.
pub struct Incidents {
    tail: Tail,
    stories: Stories,
}

impl Incidents {
    /// Reads what was appended since a time (ms).
    ///
    /// # Errors
    /// The bus.
    pub fn read(settings: &Settings, topics: &Topics, since_ms: i64) -> Result<Self, Error> {
        let offsets = Offsets::new(settings)?;
        let since = (0..offsets.partitions(&topics.incidents)?).map(|partition| (partition, since_ms)).collect();
        let mut tail = Tail::since(settings, &offsets, &topics.incidents, since)?;
        let mut stories = Stories::default();
        tail.catch_up(&offsets, |message| drop(stories.hear(message)))?;
        Ok(Self { tail, stories })
    }

    /// Waits up to `timeout` for something new; hands out every event of any kind.
    ///
    /// # Errors
    /// The bus.
    pub fn wait(&mut self, timeout: Duration, mut news: impl FnMut(Told)) -> Result<(), Error> {
        let Self { tail, stories } = self;
        tail.glance(timeout, |message| {
            if let Some(told) = stories.hear(message) {
                news(told);
            }
        })?;
        Ok(())
    }

    /// One of them.
    pub fn get(&self, incident: &IncidentId) -> Option<&Story> {
        self.stories.by_id.get(incident)
    }

    /// All that are kept, the newest first.
    pub fn all(&self) -> impl Iterator<Item = &Story> {
        self.stories.order.iter().rev().filter_map(|id| self.stories.by_id.get(id))
    }
}

#[derive(Default)]
struct Stories {
    by_id: BTreeMap<IncidentId, Story>,
    /// As they were heard of.
    order: VecDeque<IncidentId>,
}

impl Stories {
    fn hear(&mut self, message: &crate::bus::Message<'_>) -> Option<Told> {
        let event = codec::incident::decode(message.value()?).ok()?;
        let told = Told { partition: message.partition(), offset: message.offset(), event };
        self.take(told.clone());
        Some(told)
    }

    fn take(&mut self, told: Told) {
        let at = told.event.at;
        let (incident, begins) = match &told.event.kind {
            EventKind::Opened { incident, cause, .. } => (incident, Some((cause, at))),
            EventKind::Resolved { incident, cause, opened_at, .. }
            | EventKind::Closed { incident, cause, opened_at, .. } => (incident, Some((cause, *opened_at))),
            EventKind::Requested { incident, .. } => (incident, None),
            _ => return,
        };
        if let Some((cause, opened_at)) = begins
            && !self.by_id.contains_key(incident)
        {
            self.by_id.insert(incident.clone(), Story::new(incident, cause, opened_at));
            self.order.push_back(incident.clone());
        }
        // Of one whose opening is older than what was read, a request alone tells too little.
        if let Some(story) = self.by_id.get_mut(&incident.clone()) {
            story.take(told);
        }
        self.forget(KEPT);
    }

    /// Goes round once at most: what is open stays.
    fn forget(&mut self, most: usize) {
        for _ in 0..self.order.len() {
            if self.order.len() <= most {
                return;
            }
            let Some(oldest) = self.order.pop_front() else { return };
            if self.by_id.get(&oldest).is_some_and(|story| story.end.is_none()) {
                self.order.push_back(oldest);
            } else {
                self.by_id.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SpecHash;

    fn id(generation: u64) -> IncidentId {
        IncidentId { service: ServiceId::new("s").unwrap(), generation }
    }

    fn told(kind: EventKind, at: i64) -> Told {
        let event = IncidentEvent { kind, service: id(1).service, spec_hash: SpecHash::of(""), at };
        Told { partition: 0, offset: at, event }
    }

    fn opened(generation: u64) -> Told {
        let (incident, episode) = (id(generation), id(1));
        let verdict =
            Verdict { threshold: 30.0, window_from: 0, window_to: 5, n: 20, over: 2, rank: 19, p95_estimate: None };
        let verdict = Some(verdict);
        let kind = EventKind::Opened { incident, cause: "slo".into(), episode, openings: 1, flapping: false, verdict };
        told(kind, 5)
    }

    fn resolved(generation: u64, at: i64) -> Told {
        let (incident, cause) = (id(generation), "slo".into());
        told(EventKind::Resolved { incident, cause, opened_at: 5, recovered: None }, at)
    }

    #[test]
    fn a_story_has_its_opening_and_its_end() {
        let mut stories = Stories::default();
        stories.take(opened(1));
        assert_eq!(stories.by_id[&id(1)].end, None);
        stories.take(resolved(1, 9));
        let story = &stories.by_id[&id(1)];
        assert_eq!((story.opened_at, story.ended_at, story.end), (5, Some(9), Some(End::Resolved)));
        assert_eq!((story.events.len(), story.verdict.map(|verdict| verdict.over)), (2, Some(2)));
        // One whose opening is not on the topic any more.
        stories.take(resolved(2, 9));
        assert_eq!((stories.by_id[&id(2)].opened_at, stories.by_id[&id(2)].verdict), (5, None));
        let json = serde_json::to_value(&stories.by_id[&id(1)]).unwrap();
        assert_eq!((&json["over"], &json["end"]), (&2.into(), &"resolved".into()), "{json}");
    }

    #[test]
    fn the_oldest_that_are_over_are_forgotten_first() {
        let mut stories = Stories::default();
        for generation in 1..=4 {
            stories.take(opened(generation));
        }
        for generation in [2, 3] {
            stories.take(resolved(generation, 9));
        }
        stories.forget(3);
        assert_eq!(stories.by_id.keys().map(|id| id.generation).collect::<Vec<_>>(), [1, 3, 4]);
        stories.forget(1);
        assert_eq!(stories.by_id.keys().map(|id| id.generation).collect::<Vec<_>>(), [1, 4], "what is open stays");
    }
}
