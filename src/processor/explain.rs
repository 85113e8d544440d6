//! The evidence of one incident: what was published of it, the readings that it was decided by, and whether they
//! lead to the same when they are computed again. Called by `ops explain` and tests.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::model::IncidentId;
use crate::model::incident::{EventKind, IncidentEvent, Verdict};
use crate::model::reading::Reading;
use crate::model::spec::{Condition, Spec};
use crate::processor::audit::{Ledger, Progress};
use crate::processor::core::{FUTURE_MS, Outcome};
use crate::processor::error::{Error, Result};
use crate::processor::replay::{Committed, Comparison, Difference, Replay};

/// All that can be said about an incident.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Partition of `ops.metrics` and `ops.incidents`.
    pub partition: i32,
    /// Its events as they were published, in order, with their offsets.
    pub events: Vec<(i64, IncidentEvent)>,
    /// The spec it was opened with; none if its text is not on the topic any more.
    pub spec: Option<Arc<Spec>>,
    /// What it was decided by.
    pub readings: Readings,
    /// The first record that was computed again.
    pub from: i64,
    /// The last record that was computed again, + 1.
    pub to: i64,
    /// Computed is not what was published.
    pub difference: Option<Difference>,
}

/// The readings that were counted when an incident was opened. Of the SLO those in the window; of a comparison the
/// latest; of an event the last occurrence; of silence none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// How many.
    pub n: u64,
    /// Those above the SLO's threshold.
    pub over: u64,
    /// Offset of the first in `ops.metrics`.
    pub first: Option<i64>,
    /// Offset of the last.
    pub last: Option<i64>,
    /// Event time and value of the reading by which a comparison or an event holds.
    pub latest: Option<(i64, f64)>,
}

/// Whose readings are evidence.
struct Witness {
    service: String,
    sensor: String,
    /// The end of the window, ms.
    at: i64,
    verdict: Option<Verdict>,
    is_event: bool,
    readings: Readings,
}

impl Witness {
    fn of(opened: &IncidentEvent, spec: &Spec) -> Option<Self> {
        let EventKind::Opened { cause, verdict, .. } = &opened.kind else { return None };
        let cause = spec.causes.iter().find(|known| known.text == *cause)?;
        let (sensor, is_event) = match cause.condition {
            Condition::Slo => (spec.slo.as_ref()?.target, false),
            Condition::Comparison { sensor, .. } => (sensor, false),
            Condition::Event { sensor } => (sensor, true),
            Condition::NoData => return None,
        };
        Some(Self {
            service: spec.id.to_string(),
            sensor: spec.sensors[sensor].name.to_string(),
            at: opened.at,
            verdict: *verdict,
            is_event,
            readings: Readings::default(),
        })
    }

    /// A reading that was counted before the incident was opened.
    fn hear(&mut self, reading: &Reading<'_>, offset: i64) {
        if reading.service != self.service || reading.sensor != self.sensor {
            return;
        }
        let readings = &mut self.readings;
        if let Some(verdict) = &self.verdict {
            if reading.ts <= verdict.window_from || reading.ts > verdict.window_to {
                return;
            }
            readings.n += 1;
            readings.over += u64::from(reading.value > verdict.threshold);
            readings.first.get_or_insert(offset);
            readings.last = Some(offset);
            return;
        }
        let wanted = if self.is_event {
            reading.value > 0.0
        } else {
            reading.ts <= self.at && readings.latest.is_none_or(|(ts, _)| reading.ts >= ts)
        };
        if wanted {
            let latest = Some((reading.ts, reading.value));
            *readings = Readings { n: 1, over: 0, first: Some(offset), last: Some(offset), latest };
        }
    }
}

impl Ledger<'_> {
    /// The evidence of an incident whose service lives in this partition; none if nothing was published of it.
    ///
    /// # Errors
    /// The readings or the state that it takes are gone; the bus does not answer.
    pub fn explain(&self, incident: &IncidentId, progress: Progress<'_>) -> Result<Option<Explanation>> {
        let own: Vec<Committed> =
            self.published.events.iter().filter(|found| is_of(found, incident)).cloned().collect();
        let opened = own.iter().filter_map(|found| found.event.as_ref());
        let Some(opened) = opened.into_iter().find(|event| matches!(event.kind, EventKind::Opened { .. })) else {
            return Ok(None);
        };
        let spec = self.spec_of(opened);
        let window_ms = spec.as_ref().map_or(0, |spec| spec.window_ms);
        // All readings of the window come after a cut whose clock is older than it.
        let before = opened.at - window_ms - FUTURE_MS;
        let early = |limit: i64| self.last_cut("before the incident", |mark| mark.clock.is_some_and(|at| at < limit));
        let start = early(before).or_else(|_: Error| early(opened.at))?;
        let (core, first) = self.stand(start.as_ref())?;
        let mut replay = Replay::new(core, self.published.changes(first));
        let mut comparison = Comparison::new(&own);
        let mut witness = spec.as_ref().and_then(|spec| Witness::of(opened, spec));
        let from = start.map_or(self.log.low, |mark| mark.position);
        let (mut to, mut is_open, mut is_over, mut difference) = (from, false, false, None);
        self.each_record(from, |offset, decoded| {
            progress(offset, self.log.high);
            to = offset + 1;
            let outcome = replay.step(decoded.record());
            for event in replay.events().iter().filter(|event| concerns(event, incident)) {
                is_open |= matches!(event.kind, EventKind::Opened { .. });
                is_over |= matches!(event.kind, EventKind::Resolved { .. } | EventKind::Closed { .. });
                let found = comparison.take(event, offset, offset < self.settled);
                difference = difference.take().or(found);
            }
            if let (false, Outcome::Counted { .. }, Some(witness), Ok(reading)) =
                (is_open, outcome, &mut witness, decoded.reading())
            {
                witness.hear(reading, offset);
            }
            if is_over || difference.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if !is_over && difference.is_none() {
            replay.finish(self.log.high);
            let mut events = replay.events().iter().filter(|event| concerns(event, incident));
            difference = events.find_map(|event| comparison.take(event, self.log.high, false));
        }
        let difference = difference.or_else(|| comparison.finish());
        let readings = witness.map(|witness| witness.readings).unwrap_or_default();
        let events = own.iter().filter_map(|found| Some((found.offset, found.event.clone()?))).collect();
        Ok(Some(Explanation { partition: self.partition, events, spec, readings, from, to, difference }))
    }

    /// The text of a spec is in the event that told of it.
    fn spec_of(&self, opened: &IncidentEvent) -> Option<Arc<Spec>> {
        let told = self.published.events.iter().filter_map(|found| found.event.as_ref());
        let mut texts = told
            .filter(|event| event.service == opened.service && event.spec_hash == opened.spec_hash)
            .filter_map(|event| match &event.kind {
                EventKind::SpecActivated { text, .. } => Some(text),
                _ => None,
            });
        crate::spec::parse(texts.next()?).ok().map(|checked| Arc::new(checked.spec))
    }
}

fn is_of(found: &Committed, incident: &IncidentId) -> bool {
    found.event.as_ref().is_some_and(|event| concerns(event, incident))
}

/// Is it an event of this incident? The end of an episode is one of several.
fn concerns(event: &IncidentEvent, wanted: &IncidentId) -> bool {
    match &event.kind {
        EventKind::Opened { incident, .. }
        | EventKind::Requested { incident, .. }
        | EventKind::Resolved { incident, .. }
        | EventKind::Closed { incident, .. } => incident == wanted,
        _ => false,
    }
}
