//! A month of incidents on the real topic, in simulated time: every day the services open, ask for replicas and for a
//! page, and resolve; of the last day one has not resolved. And the actors that come to it: a group that was away for
//! all of it, and a group that never was there before.

use std::collections::BTreeSet;
use std::sync::Arc;

use hms_ops::model::action::{ActionEvent, ActionKind};
use hms_ops::model::incident::{Basis, EventKind, IncidentEvent};
use hms_ops::model::{ActionId, IncidentId, ServiceId, SpecHash};
use hms_ops::torture::Sabotage;

use super::faults::settle;
use super::{Effects, Flaw, Kind};
use crate::rig::fleet::now_ms;

const DAY_MS: i64 = 24 * 3_600_000;
const DAYS: u64 = 30;

fn event(incident: &IncidentId, kind: EventKind, at: i64) -> IncidentEvent {
    IncidentEvent { kind, service: incident.service.clone(), spec_hash: SpecHash::of(""), at }
}

fn of(service: &str, generation: u64) -> IncidentId {
    IncidentId { service: ServiceId::new(service).unwrap(), generation }
}

fn opened(incident: &IncidentId, at: i64) -> IncidentEvent {
    let (cause, episode) = (Arc::from("slo"), incident.clone());
    let incident_id = incident.clone();
    let kind = EventKind::Opened { incident: incident_id, cause, episode, openings: 1, flapping: false, verdict: None };
    event(incident, kind, at)
}

/// What an actor of this kind would do for the incident.
pub fn asked(kind: Kind, incident: &IncidentId, at: i64) -> IncidentEvent {
    let (verb, step, args) = match kind {
        Kind::Autoscaler => ("scale_up", 1, [("compute", "+2"), ("workload.name", incident.service.as_str())]),
        Kind::Pager => ("page", 2, [("channel", "sink"), ("severity", "critical")]),
    };
    let usual = [("workload.kind", "deployment"), ("window_seconds", "300")];
    let args = args.into_iter().chain(usual).map(|(name, value)| (name.to_owned(), value.to_owned()));
    let kind = EventKind::Requested {
        incident: incident.clone(),
        step,
        call: 1,
        verb: Arc::from(verb),
        args: args.collect(),
        basis: Basis::Opened,
        action_id: ActionId::of(incident, step, 1),
        fresh: None,
    };
    event(incident, kind, at)
}

fn resolved(incident: &IncidentId, opened_at: i64, at: i64) -> IncidentEvent {
    let kind = EventKind::Resolved { incident: incident.clone(), cause: Arc::from("slo"), opened_at, recovered: None };
    event(incident, kind, at)
}

/// All events in order, and the one incident that is still open.
pub fn month(services: &[String]) -> (Vec<IncidentEvent>, IncidentId) {
    let begin = now_ms() - DAYS as i64 * DAY_MS;
    let mut events = Vec::new();
    let still_open = of(&services[0], DAYS);
    for day in 0..DAYS {
        let at = begin + day as i64 * DAY_MS;
        let incidents: Vec<_> = services.iter().map(|service| of(service, day + 1)).collect();
        for incident in &incidents {
            events.push(opened(incident, at));
            events.extend([Kind::Autoscaler, Kind::Pager].map(|kind| asked(kind, incident, at)));
        }
        let over = incidents.iter().filter(|incident| **incident != still_open);
        events.extend(over.map(|incident| resolved(incident, at, at + 600_000)));
    }
    (events, still_open)
}

/// What the actors of one kind did about the month: outcomes by incident.
fn outcomes(effects: &Effects) -> Vec<ActionEvent> {
    let acted = effects.actions().into_iter().filter(|event| event.verb != "clear");
    acted.filter(|event| event.kind.is_outcome()).collect()
}

/// A group that was away for the month comes back: it answers everything, and pages the one that is open.
pub fn read_again(guard: Option<Sabotage>) -> Result<(), String> {
    let effects = Effects::new("month", Kind::Pager);
    settle(&effects)?;
    let (events, still_open) = month(effects.services());
    effects.tell_all(&events);
    let requests =
        events.iter().filter(|event| matches!(&event.kind, EventKind::Requested { verb, .. } if &**verb == "page"));
    let requests = requests.count();
    let actor = effects.start("one", Flaw { without: guard, ..Flaw::default() });
    // Or one page too many: it says enough.
    let too_many = || effects.sink.all().iter().any(|post| post.alert != still_open.to_string());
    effects.wait_for("every request's outcome", || too_many() || outcomes(&effects).len() >= requests)?;
    actor.kill();
    let sent: BTreeSet<_> = effects.sink.all().into_iter().map(|post| post.alert).collect();
    let is_over =
        |event: &ActionEvent| matches!(&event.kind, ActionKind::Suppressed { reason, .. } if reason == "over");
    let (over, others): (Vec<_>, Vec<_>) = outcomes(&effects).into_iter().partition(is_over);
    if sent == BTreeSet::from([still_open.to_string()]) && (over.len(), others.len()) == (requests - 1, 1) {
        return Ok(());
    }
    Err(format!("of {requests} pages {} were held back as over; {others:?}; paged were {sent:?}", over.len()))
}

/// A group that never was there before comes to the month. It acts on what is asked from then on, and on nothing else.
pub fn new_group(kind: Kind) -> Result<(), String> {
    let effects = Effects::new("newcomer", kind);
    let (events, _) = month(effects.services());
    effects.tell_all(&events);
    let actor = effects.start("one", Flaw::default());
    effects.wait_until_settled()?;
    let service = effects.ask_of_generation(DAYS + 1);
    let id = asked(kind, &of(&service, DAYS + 1), 0);
    let EventKind::Requested { action_id, .. } = id.kind else { unreachable!("it asks") };
    effects.wait_for_outcome(action_id)?;
    actor.stop();
    let acted: BTreeSet<_> = effects.actions().into_iter().map(|event| event.incident).collect();
    let expected = BTreeSet::from([of(&service, DAYS + 1)]);
    let (writes, pages) = (effects.cluster.writes().len(), effects.sink.all().len());
    match (acted == expected, writes + pages) {
        (true, 1) => Ok(()),
        (_, effects) => Err(format!("{effects} effects, and acted on {acted:?}")),
    }
}
