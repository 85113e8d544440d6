//! What stands still, and who is told: pure, for the pager. A stall is an incident of ourselves (service
//! `_ops.partition.3`, `_ops.ops-autoscaler.3`), so that it is paged once and cleared by the rules of every page; it
//! stands on no topic, because who would write it is who stands still. Its generation is where it stands, and the same
//! after a restart.
//!
//! ```text
//!          value moves              no move for `patience`
//!  known ------------> known      known --------------------> ripe: paged
//!                                   ^------- moves -------------| cleared
//! ```
//!
//! What has stood for a shorter time is known too, though it is not told: whoever has just started must not clear what its
//! predecessor paged before it has seen a move.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::channel::DEFAULT;
use super::ledger::Ledger;
use crate::model::incident::{Basis, EventKind, IncidentEvent};
use crate::model::{ActionId, IncidentId, ServiceId, SpecHash};

/// Something that should move, and stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Whose incident it is.
    pub incident: IncidentId,
    /// What stands still, for people.
    pub what: String,
    /// Since when, ms by the host's clock.
    pub since_ms: i64,
    /// For so long that people are told.
    pub is_ripe: bool,
}

/// Something that should move: where it is, and since when by the host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    at: i64,
    since_ms: i64,
}

impl Progress {
    /// It is at `at`, seen now.
    pub fn new(at: i64, now_ms: i64) -> Self {
        Self { at, since_ms: now_ms }
    }

    /// It is at `at` now.
    pub fn see(&mut self, at: i64, now_ms: i64) {
        if at != self.at {
            *self = Self::new(at, now_ms);
        }
    }

    /// Where it is.
    pub fn at(&self) -> i64 {
        self.at
    }

    /// Has it not moved for `patience_ms`?
    pub fn is_ripe(&self, patience_ms: i64, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.since_ms) > patience_ms
    }

    /// It as a stall of `part` in a partition, ripe after `patience_ms`.
    pub fn stall(&self, part: &str, partition: i32, what: String, patience_ms: i64, now_ms: i64) -> Option<Stall> {
        let service = ServiceId::of_ops(&format!("{part}.{partition}"))?;
        let generation = u64::try_from(self.at).unwrap_or_default();
        let (incident, is_ripe) = (IncidentId { service, generation }, self.is_ripe(patience_ms, now_ms));
        Some(Stall { incident, what, since_ms: self.since_ms, is_ripe })
    }
}

/// What the pager does not know yet of the stalls of a partition: those that are ripe and new, and those that are over.
/// `stalls` are all that there are.
pub fn news(stalls: &[Stall], ledger: &Ledger) -> Vec<IncidentEvent> {
    let mut news = Vec::new();
    let is_new = |stall: &&Stall| stall.is_ripe && ledger.incident(&stall.incident).is_none();
    for stall in stalls.iter().filter(is_new) {
        let (incident, cause) = (stall.incident.clone(), Arc::from(stall.what.as_str()));
        let episode = incident.clone();
        let opened = EventKind::Opened { incident, cause, episode, openings: 1, flapping: false, verdict: None };
        news.push(event(&stall.incident, opened, stall.since_ms));
        news.push(event(&stall.incident, page(&stall.incident), stall.since_ms));
    }
    let current: BTreeSet<_> = stalls.iter().map(|stall| &stall.incident).collect();
    for incident in ledger.open_of_ops().into_iter().filter(|incident| !current.contains(incident)) {
        let known = ledger.incident(incident);
        let (cause, opened_at) =
            known.map_or_else(|| (Arc::from(""), 0), |known| (known.cause.clone(), known.opened_at_ms));
        let resolved = EventKind::Resolved { incident: incident.clone(), cause, opened_at, recovered: None };
        news.push(event(incident, resolved, opened_at));
    }
    news
}

fn page(incident: &IncidentId) -> EventKind {
    let args = [("channel", DEFAULT), ("severity", "critical")];
    EventKind::Requested {
        incident: incident.clone(),
        step: 1,
        call: 1,
        verb: Arc::from("page"),
        args: args.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect::<BTreeMap<_, _>>(),
        basis: Basis::Opened,
        action_id: ActionId::of(incident, 1, 1),
        fresh: None,
    }
}

fn event(incident: &IncidentId, kind: EventKind, at: i64) -> IncidentEvent {
    IncidentEvent { kind, service: incident.service.clone(), spec_hash: SpecHash::of(""), at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::incident::name;
    use crate::model::action::{ActionEvent, ActionKind};

    fn stall(at: i64) -> Stall {
        Progress::new(at, 1_000).stall("partition", 3, "it stands still".to_owned(), 30, 9_999).unwrap()
    }

    fn names(events: &[IncidentEvent]) -> Vec<&'static str> {
        events.iter().map(|event| name(&event.kind)).collect()
    }

    /// Folds what is new, as the actor's loop does.
    fn tell(ledger: &mut Ledger, stalls: &[Stall]) -> Vec<&'static str> {
        let events = news(stalls, ledger);
        events.iter().for_each(|event| ledger.fold_incident(0, event));
        names(&events)
    }

    #[test]
    fn what_moves_is_not_stalled_and_what_stood_too_long_is() {
        let mut progress = Progress::new(7, 0);
        progress.see(7, 900);
        assert!(!progress.is_ripe(1_000, 1_000) && progress.is_ripe(1_000, 1_001));
        progress.see(8, 1_001);
        assert!(!progress.is_ripe(1_000, 2_001));
        assert_eq!(stall(42).incident.to_string(), "_ops.partition.3.42");
    }

    #[test]
    fn a_stall_is_told_once_and_its_end_once() {
        let mut ledger = Ledger::new(0, 0);
        assert_eq!(tell(&mut ledger, &[]), [] as [&str; 0]);
        assert_eq!(tell(&mut ledger, &[stall(7)]), ["opened", "requested"]);
        assert_eq!(tell(&mut ledger, &[stall(7)]), [] as [&str; 0]);
        // It moved on and stands again.
        assert_eq!(tell(&mut ledger, &[stall(9)]), ["opened", "requested", "resolved"]);
        assert_eq!(tell(&mut ledger, &[]), ["resolved"]);
        assert_eq!(tell(&mut ledger, &[]), [] as [&str; 0]);
    }

    #[test]
    fn whoever_takes_over_ends_what_its_predecessor_paged() {
        let stall = stall(7);
        let incident = stall.incident.clone();
        let goal = [("channel", "default"), ("episode", "_ops.partition.3.7")];
        let goal = goal.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let started = ActionEvent {
            kind: ActionKind::Started { goal },
            action_id: ActionId::of(&incident, 1, 1),
            service: incident.service.clone(),
            incident,
            verb: "page".to_owned(),
            actor: "pager".to_owned(),
            at: 5,
            target: Some("default".to_owned()),
            attempt: 1,
            dry_run: false,
        };
        let mut ledger = Ledger::new(0, 0);
        ledger.fold_action(Some(0), &started);
        assert_eq!(names(&news(&[], &ledger)), ["resolved"]);
        let young = Stall { is_ripe: false, ..stall.clone() };
        assert_eq!(names(&news(&[young], &ledger)), [] as [&str; 0], "it may stand where it stood");
        assert_eq!(names(&news(std::slice::from_ref(&stall), &ledger)), ["opened", "requested"]);
    }
}
