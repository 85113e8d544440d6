//! The production core over a stretch of a partition's log, beside what was published for it. Pure.
//!
//! ```text
//! ops.metrics/p:    r r r r r r ...        -> Core::step --> computed events
//!                    ^     ^ specs take effect                   |  byte by byte
//! ops.incidents/p:  s o q s r ...          ---------------> committed events
//! ```
//!
//! Where a spec takes effect stands in `spec_activated`; where one ends, `spec_retired` does not say: that is in the
//! record of `ops.state` that was written with it, as long as that is kept. Called by `audit` and `explain`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::codec;
use crate::model::incident::{EventKind, IncidentEvent};
use crate::model::{ServiceId, SpecHash};
use crate::processor::core::{Core, Effects, Outcome, Record, SpecChange};

/// A record of `ops.incidents` as it was committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// What it says; none if it cannot be read.
    pub event: Option<IncidentEvent>,
}

impl Committed {
    /// For people: the event, or why there is none.
    pub fn to_json(&self) -> Value {
        match self.value.as_deref().map(codec::incident::decode) {
            Some(Ok(event)) => to_json(&event),
            Some(Err(error)) => Value::String(error.to_string()),
            None => Value::String("a record without a value".to_owned()),
        }
    }

    /// Which parts of the record are not those of `event`; none if every byte is.
    fn unlike(&self, event: &IncidentEvent) -> Vec<&'static str> {
        let wire = codec::incident::wire(event);
        let headers = wire.headers.iter().map(|(name, text)| (*name, Some(text.as_bytes())));
        let parts = [
            ("key", self.key.as_deref() == Some(&wire.key)),
            ("value", self.value.as_deref() == Some(&wire.value)),
            ("headers", self.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).eq(headers)),
        ];
        parts.into_iter().filter(|(_, same)| !same).map(|(part, _)| part).collect()
    }
}

/// The JSON form of an event.
pub fn to_json(event: &IncidentEvent) -> Value {
    serde_json::to_value(event).unwrap_or_default()
}

/// A spec takes effect, or ends, as `ops.state` knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecMove {
    /// Whose.
    pub service: ServiceId,
    /// The spec; none when the service is unregistered.
    pub spec: Option<SpecHash>,
    /// The partition's clock, ms; 0 before its first record.
    pub at: i64,
    /// The first record that is judged by it.
    pub position: i64,
}

impl SpecMove {
    /// Is `event` what was published of it?
    fn is_told_by(&self, event: &IncidentEvent) -> bool {
        let same = match event.kind {
            EventKind::SpecActivated { from_offset, .. } => {
                self.spec == Some(event.spec_hash) && self.position == from_offset
            }
            EventKind::SpecRetired => self.spec.is_none(),
            _ => false,
        };
        same && self.service == event.service && self.at == event.at
    }

    /// What must have been published of it.
    fn difference(&self) -> Difference {
        let event = if self.spec.is_some() { "spec_activated" } else { "spec_retired" };
        let told = json!({
            "event": event, "service": self.service, "at": self.at, "spec_hash": self.spec, "from_offset": self.position,
        });
        Difference {
            offset: None,
            position: Some(self.position),
            parts: Vec::new(),
            committed: None,
            computed: Some(told),
        }
    }
}

/// A spec takes effect, or ends, between two records.
#[derive(Clone, Debug)]
pub struct Change {
    /// The first record that is judged by it; none where nothing tells.
    position: Option<i64>,
    /// The partition's clock, ms.
    at: i64,
    change: SpecChange,
}

/// What was committed for one partition, and what of it changes specs.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// All of it, in order.
    pub events: Vec<Committed>,
    /// For each event, where it changes specs, if that is what it does: `Some(None)` is a place that nothing tells.
    places: Vec<Option<Option<i64>>>,
    /// Changes of specs of which no event tells.
    untold: Vec<SpecMove>,
}

impl Published {
    /// `moves`: what `ops.state` knows, in order.
    pub fn new(events: Vec<Committed>, moves: Vec<SpecMove>) -> Self {
        let mut untold: BTreeMap<ServiceId, VecDeque<SpecMove>> = BTreeMap::new();
        moves.into_iter().for_each(|known| untold.entry(known.service.clone()).or_default().push_back(known));
        let mut known = |event: &IncidentEvent| {
            let moves = untold.get_mut(&event.service)?;
            let place = moves.iter().position(|known| known.is_told_by(event))?;
            moves.remove(place).map(|known| known.position)
        };
        let mut place = |event: &IncidentEvent| match event.kind {
            EventKind::SpecActivated { from_offset, .. } => {
                known(event);
                Some(Some(from_offset))
            }
            EventKind::SpecRetired => Some(known(event)),
            _ => None,
        };
        let places = events.iter().map(|committed| committed.event.as_ref().and_then(&mut place)).collect();
        let mut untold: Vec<SpecMove> = untold.into_values().flatten().collect();
        untold.sort_by_key(|known| known.position);
        Self { events, places, untold }
    }

    /// The first change of a spec behind the cut at `from` and before `to` that `ops.state` knows and no event tells.
    pub fn untold(&self, from: i64, to: i64) -> Option<Difference> {
        self.untold.iter().find(|known| known.position > from && known.position < to).map(SpecMove::difference)
    }

    /// Where a service ended without an event at or before `low`, the beginning of the log: a gap was accepted there.
    pub fn gap_before(&self, low: i64) -> Option<i64> {
        let gone = |known: &&SpecMove| known.spec.is_none() && (1..=low).contains(&known.position);
        self.untold.iter().filter(gone).map(|known| known.position).max()
    }

    /// How many services ended at a place that nothing tells any more.
    pub fn unplaced(&self, from: usize) -> usize {
        self.places[from..].iter().filter(|place| **place == Some(None)).count()
    }

    /// The changes among the events from the index `from` on. A text that does not parse is none: what it would have
    /// done is then missing.
    pub fn changes(&self, from: usize) -> VecDeque<Change> {
        let change = |(committed, place): (&Committed, &Option<Option<i64>>)| {
            let (event, position) = (committed.event.as_ref()?, (*place)?);
            let change = match &event.kind {
                EventKind::SpecActivated { text, .. } => {
                    SpecChange::Register(Arc::new(crate::spec::parse(text).ok()?.spec))
                }
                _ => SpecChange::Retire(event.service.clone()),
            };
            Some(Change { position, at: event.at, change })
        };
        self.events[from..].iter().zip(&self.places[from..]).filter_map(change).collect()
    }

    /// The index of the first event that was decided after the last cut at `position`, at which `core` stands.
    ///
    /// Of an instant the clock tells: all that were due at the cut are evaluated. Of a spec its place tells, and of
    /// what a spec closes the spec's. If a gap was accepted at `gap`, the clock says nothing of what lies before.
    pub fn first_after(&self, core: &Core, position: i64, gap: Option<i64>) -> usize {
        let clock = core.clock();
        let begin = gap.map_or(0, |gap| self.first_behind_gap(gap));
        let places = self.places_with_closes();
        let beyond = |at: i64| clock.is_none_or(|clock| at > clock);
        let is_later = |index: &usize| {
            places[*index].is_none() && self.events[*index].event.as_ref().is_some_and(|event| beyond(event.at))
        };
        let surely_after = (begin..places.len()).find(is_later).unwrap_or(places.len());
        let is_before = |index: &usize| matches!(places[*index], Some(Some(place)) if place <= position);
        let known_before = (begin..surely_after).rfind(is_before).map_or(begin, |last| last + 1);
        let lateness: BTreeMap<&ServiceId, i64> = core.specs().map(|spec| (&spec.id, spec.lateness_ms)).collect();
        let is_after = |index: &usize| match (&self.events[*index].event, places[*index]) {
            (None, _) => true,
            (Some(_), Some(Some(place))) => place > position,
            (Some(event), Some(None)) => beyond(event.at),
            (Some(IncidentEvent { kind: EventKind::Blind { .. }, at, .. }), None) => beyond(*at),
            (Some(event), None) => lateness.get(&event.service).is_some_and(|lateness| beyond(event.at + lateness)),
        };
        (known_before..places.len()).find(is_after).unwrap_or(places.len())
    }

    /// Behind a gap nothing happens before a spec takes effect anew: there, or where the places go back to.
    fn first_behind_gap(&self, gap: i64) -> usize {
        let (mut last, mut begin) = (i64::MIN, None);
        for (index, place) in self.places.iter().enumerate() {
            let Some(place) = place.flatten() else { continue };
            if place < last || (begin.is_none() && place >= gap) {
                begin = Some(index);
            }
            last = place;
        }
        begin.unwrap_or(self.places.len())
    }

    /// What a spec closes lies directly before its event, and happens at its place.
    fn places_with_closes(&self) -> Vec<Option<Option<i64>>> {
        let mut places = self.places.clone();
        for index in (0..places.len().saturating_sub(1)).rev() {
            let (Some(one), Some(next)) = (&self.events[index].event, &self.events[index + 1].event) else { continue };
            let closes = matches!(one.kind, EventKind::Closed { .. } | EventKind::EpisodeEnded { .. });
            if closes && one.service == next.service && one.at == next.at {
                places[index] = places[index + 1];
            }
        }
        places
    }
}

/// A core that is led through a partition's log, specs and all.
#[derive(Debug)]
pub struct Replay {
    core: Core,
    changes: VecDeque<Change>,
    effects: Effects,
}

impl Replay {
    /// `changes`: those that `core` has not seen.
    pub fn new(core: Core, changes: VecDeque<Change>) -> Self {
        Self { core, changes, effects: Effects::default() }
    }

    /// The next record, and before it the specs that take effect there. What both decide is in [`Self::events`].
    pub fn step(&mut self, record: Record<'_>) -> Outcome {
        self.effects.clear();
        while self.changes.front().is_some_and(|next| self.is_due(next, record.offset, record.append_ms)) {
            self.change(record.offset);
        }
        self.core.step(record, &mut self.effects)
    }

    /// The log ends before `end`: the specs that took effect behind the last record.
    pub fn finish(&mut self, end: i64) {
        self.effects.clear();
        while self.changes.front().is_some_and(|next| next.position.is_none_or(|position| position <= end)) {
            self.change(end);
        }
    }

    /// What the last step has decided.
    pub fn events(&self) -> &[IncidentEvent] {
        &self.effects.incidents
    }

    /// Of an end that nothing places only the clock is known. Nothing is decided while that stands still, so the last
    /// place is as good as any, but for the digests of other services, whose values a cut parts.
    fn is_due(&self, next: &Change, offset: i64, append_ms: i64) -> bool {
        match next.position {
            Some(position) => position <= offset,
            None => {
                let later = self.changes.iter().find_map(|change| change.position);
                let clock = self.core.clock();
                later.is_some_and(|position| position <= offset)
                    || (clock.unwrap_or(0) == next.at && clock.is_none_or(|clock| append_ms > clock))
            }
        }
    }

    fn change(&mut self, offset: i64) {
        let Some(Change { position, change, .. }) = self.changes.pop_front() else { return };
        self.core.apply([change], position.unwrap_or(offset), &mut self.effects);
    }
}

/// The first place at which a replay and the log part.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// Of `ops.incidents`; none if an event is missing at the end.
    pub offset: Option<i64>,
    /// The record of `ops.metrics` whose arrival decided what was computed; none if nothing was.
    pub position: Option<i64>,
    /// What is not the same: `key`, `value`, `headers`; empty where one side is missing.
    pub parts: Vec<&'static str>,
    /// The committed event.
    pub committed: Option<Value>,
    /// The computed one.
    pub computed: Option<Value>,
}

/// Computed events beside committed ones, in order.
#[derive(Debug)]
pub struct Comparison<'a> {
    committed: &'a [Committed],
    /// Events that were the same.
    pub equal: usize,
    /// More was computed than is committed so far.
    pub ahead: bool,
}

impl<'a> Comparison<'a> {
    /// Nothing compared yet.
    pub fn new(committed: &'a [Committed]) -> Self {
        Self { committed, equal: 0, ahead: false }
    }

    /// The next computed event, decided by the record at `position`. `settled`: all that this record decides was
    /// committed, so an event that is not there is lost.
    pub fn take(&mut self, event: &IncidentEvent, position: i64, settled: bool) -> Option<Difference> {
        let found = self.committed.get(self.equal);
        let parts = found.map(|found| found.unlike(event));
        match parts {
            Some(parts) if parts.is_empty() => {
                self.equal += 1;
                None
            }
            None if !settled => {
                self.ahead = true;
                None
            }
            parts => Some(Difference {
                offset: found.map(|found| found.offset),
                position: Some(position),
                parts: parts.unwrap_or_default(),
                committed: found.map(Committed::to_json),
                computed: Some(to_json(event)),
            }),
        }
    }

    /// Nothing more is computed: what is committed beyond is too much.
    pub fn finish(&self) -> Option<Difference> {
        let found = self.committed.get(self.equal)?;
        Some(Difference {
            offset: Some(found.offset),
            position: None,
            parts: Vec::new(),
            committed: Some(found.to_json()),
            computed: None,
        })
    }
}

#[cfg(test)]
mod tests;
