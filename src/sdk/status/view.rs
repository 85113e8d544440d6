//! Facts -> [`Status`]. Pure: the host's clock is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::facts::{Facts, LastCut, Service};
use super::{ACTIONS_MS, OpenIncident, Phase, Quality, REJECTED_MS, Refusal, SloState, Status};
use crate::model::ServiceId;
use crate::model::action::ActionEvent;
use crate::model::incident::{EventKind, IncidentEvent};
use crate::model::reading::RejectReason;
use crate::model::spec::{Slo, Spec};
use crate::model::state::{ActiveRecord, Rollup, VerdictKind};
use crate::sdk::measure::Measured;

/// A partition that was not cut for so long (three cuts) has no processor, ms.
const STALE_MS: i64 = 30_000;
/// So many of the last actions are shown.
const ACTIONS: usize = 5;
/// The cause of the SLO's incidents.
const SLO: &str = "slo";

/// Rejected readings of the last hour, by whose they seem to be.
pub(super) type Refusals<'a> = HashMap<&'a str, Vec<&'a Refusal>>;

/// Those that are known at `now` (ms): looked through once, not once a service.
pub(super) fn refusals(facts: &Facts, now: i64) -> Refusals<'_> {
    let mut of = Refusals::new();
    for refusal in facts.rejected_since(now - REJECTED_MS) {
        if let Some(service) = refusal.service.as_deref() {
            of.entry(service).or_default().push(refusal);
        }
    }
    of
}

/// How a registered service is at `now` (ms).
pub(super) fn status(facts: &Facts, refusals: &Refusals<'_>, id: &ServiceId, owner: &str, now: i64) -> Status {
    let refusals = refusals.get(id.as_str()).map_or(&[][..], Vec::as_slice);
    let mut status = Status {
        service: id.clone(),
        owner: owner.to_owned(),
        slo_state: SloState::Unknown,
        state: Vec::new(),
        quality: Quality::Inactive,
        p95_estimate: None,
        n: None,
        over: None,
        rank: None,
        threshold: None,
        window_ms: None,
        age_ms: None,
        late: 0,
        rejected: by_reason(refusals.iter().copied()),
        last_rejected: refusals.iter().max_by_key(|refusal| refusal.at).map(|refusal| (*refusal).clone()),
        open_incidents: Vec::new(),
        last_actions: last_actions(facts.actions(id), now - ACTIONS_MS),
        frozen: facts.frozen(id).cloned(),
        as_of: None,
        targets: Vec::new(),
    };
    if let Some(cut) = facts.cut_of(id)
        && let Some(service) = facts.service(id)
        && let Some(active) = &service.record.active
    {
        fill(&mut status, facts, (cut, service, active), now);
    }
    status
}

/// What the last cut, and the events since, say of an active service.
fn fill(status: &mut Status, facts: &Facts, (cut, service, active): (&LastCut, &Service, &ActiveRecord), now: i64) {
    let clock = cut.record.clock;
    status.as_of = clock;
    let Some(spec) = facts.spec(service) else { return };
    status.owner.clone_from(&spec.owner);

    let mut verdict = active.verdict;
    status.state = phases(spec, active);
    for event in facts.events(&status.service) {
        happened(&mut status.state, &mut verdict, event, service.record.generation, clock, spec.lateness_ms);
    }
    let open = |phase: &Phase| {
        let (incident, opened_at) = phase.open.clone()?;
        Some(OpenIncident { incident, cause: phase.cause.clone(), opened_at })
    };
    status.open_incidents = status.state.iter().filter_map(open).collect();

    let rollups: Vec<_> = facts
        .rollups(&status.service)
        // Those before belong to an older spec.
        .filter(|rollup| rollup.cut_position > active.windows_from)
        .filter(|rollup| spec.slo.as_ref().is_none_or(|slo| *rollup.sensor == *spec.sensors[slo.target].name))
        .collect();
    let newest = rollups.iter().filter(|rollup| rollup.n > 0).map(|rollup| rollup.last_ts).max();
    status.age_ms = newest.map(|ts| now.saturating_sub(ts).max(0));
    if let (Some(slo), Some(clock)) = (&spec.slo, clock) {
        count(status, service, (spec, slo), &rollups, clock);
    }

    let is_old = |ms: i64| now.saturating_sub(ms) > STALE_MS;
    status.quality = if is_old(cut.appended) || clock.is_some_and(is_old) {
        Quality::Stale
    } else if spec.slo.is_none() {
        Quality::NoSlo
    } else {
        match verdict {
            Some(VerdictKind::Healthy | VerdictKind::Breached) => Quality::Fresh,
            Some(VerdictKind::NoData) => Quality::NoData,
            Some(VerdictKind::Insufficient) | None => Quality::Insufficient,
        }
    };
    let in_trouble = status.open_incidents.iter().any(|open| open.cause == SLO);
    // An incident is open until its end is on the log, whether or not anybody is at work; green is only what is known.
    status.slo_state = match status.quality {
        _ if in_trouble => SloState::Breached,
        Quality::Fresh => SloState::Healthy,
        Quality::Stale | Quality::NoSlo | Quality::Inactive | Quality::NoData | Quality::Insufficient => {
            SloState::Unknown
        }
    };
}

/// The machines at the cut.
fn phases(spec: &Spec, active: &ActiveRecord) -> Vec<Phase> {
    let machines = active.machines.iter().zip(&spec.causes);
    machines
        .map(|(machine, cause)| Phase {
            cause: cause.text.to_string(),
            phase: machine.phase.clone(),
            held_ms: machine.held_ms,
            open: machine.incident.as_ref().map(|incident| (incident.id.clone(), incident.opened_at)),
        })
        .collect()
}

/// What an event changes that came after the cut; one that the cut holds already changes nothing.
fn happened(
    phases: &mut [Phase],
    verdict: &mut Option<VerdictKind>,
    event: &IncidentEvent,
    generation: u64,
    clock: Option<i64>,
    lateness_ms: i64,
) {
    let mut turn = |is_it: &dyn Fn(&Phase) -> bool, name: &str, open| {
        if let Some(phase) = phases.iter_mut().find(|phase| is_it(phase)) {
            (phase.phase, phase.held_ms, phase.open) = (name.to_owned(), 0, open);
        }
    };
    // Evaluated before the cut?
    let is_known = clock.is_some_and(|clock| event.at.saturating_add(lateness_ms) <= clock);
    match &event.kind {
        EventKind::Opened { incident, cause, .. } if incident.generation > generation => {
            turn(&|phase| *phase.cause == **cause, "open", Some((incident.clone(), event.at)));
        }
        EventKind::Resolved { incident, .. } | EventKind::Closed { incident, .. } => {
            let is_it = |phase: &Phase| phase.open.as_ref().is_some_and(|(open, _)| open == incident);
            turn(&is_it, "healthy", None);
        }
        EventKind::NoData if !is_known => *verdict = Some(VerdictKind::NoData),
        // What the verdict is now, the next cut says.
        EventKind::DataBack if !is_known => *verdict = None,
        _ => {}
    }
}

/// The counts and the estimate at the last instant before the cut.
fn count(status: &mut Status, service: &Service, (spec, slo): (&Spec, &Slo), rollups: &[&Rollup], clock: i64) {
    let to = clock.saturating_sub(spec.lateness_ms).div_euclid(spec.step_ms) * spec.step_ms;
    let after = to.saturating_sub(spec.window_ms);
    let cut = (clock, rollups.last().map_or(-1, |rollup| rollup.cut_position));
    let measured = service.measured(cut, || Measured::of(rollups, (after, to), slo.objective_ppm));
    status.p95_estimate = measured.p95_estimate;
    status.n = Some(measured.n);
    status.over = Some(measured.over);
    status.rank = Some(slo.rank(measured.n));
    status.threshold = Some(slo.threshold);
    status.window_ms = Some(spec.window_ms);
    status.late = rollups.iter().filter(|rollup| rollup.cut_clock > after).map(|rollup| rollup.late).sum();
}

/// The last event of each action, the newest first.
fn last_actions<'a>(events: impl DoubleEndedIterator<Item = &'a ActionEvent>, since: i64) -> Vec<ActionEvent> {
    let mut seen = BTreeSet::new();
    let events = events.rev().filter(|event| event.at >= since);
    events.filter(|event| seen.insert(event.action_id)).take(ACTIONS).cloned().collect()
}

pub(super) fn by_reason<'a>(refusals: impl Iterator<Item = &'a Refusal>) -> BTreeMap<RejectReason, u64> {
    let mut counts = BTreeMap::new();
    refusals.for_each(|refusal| *counts.entry(refusal.reason).or_default() += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::state::StateRecord;
    use crate::model::action::ActionKind;
    use crate::model::incident::Recovered;
    use crate::model::rejected::{Kept, Rejected};
    use crate::model::state::{MachineRecord, OpenRecord, PartitionRecord, RollupPane, ServiceRecord};
    use crate::model::{ActionId, IncidentId, SpecHash};

    const TEXT: &str =
        "id: s\nowner: TSA\nsensors:\n  - name: q\nslo:\n  target: q\n  threshold: 30\n  window_seconds: 30\n";
    /// The clock of the last cut, and a moment after it.
    const CUT: i64 = 1_000_010_000;
    const NOW: i64 = CUT + 2_000;

    fn id() -> ServiceId {
        ServiceId::new("s").unwrap()
    }

    fn incident(generation: u64) -> IncidentId {
        IncidentId { service: id(), generation }
    }

    fn machine(phase: &str, open: Option<u64>) -> MachineRecord {
        let open = open.map(|generation| OpenRecord {
            id: incident(generation),
            opened_at: CUT - 5_000,
            spec: None,
            attributes: BTreeMap::new(),
            looks: Vec::new(),
        });
        MachineRecord { phase: phase.to_owned(), incident: open, ..MachineRecord::default() }
    }

    /// One partition, cut at [`CUT`], with the one service.
    fn facts(verdict: Option<VerdictKind>, machine: MachineRecord) -> Facts {
        let mut facts = Facts::new(1);
        let active = ActiveRecord {
            spec: TEXT.to_owned(),
            windows_from: 100,
            over_limit: false,
            alive_since: Some(0),
            verdict,
            machines: vec![machine],
        };
        let record = ServiceRecord { service: id(), generation: 3, cut_position: 300, active: Some(active) };
        facts.state(StateRecord::Service(record), CUT);
        let partition = PartitionRecord { cut_position: 300, clock: Some(CUT), ..PartitionRecord::default() };
        facts.state(StateRecord::Partition(partition), CUT);
        facts
    }

    fn event(at: i64, kind: EventKind) -> IncidentEvent {
        IncidentEvent { kind, service: id(), spec_hash: SpecHash::of(TEXT), at }
    }

    fn opened(generation: u64) -> EventKind {
        let (incident, episode) = (incident(generation), incident(generation));
        EventKind::Opened { incident, cause: SLO.into(), episode, openings: 1, flapping: false, verdict: None }
    }

    fn resolved(generation: u64) -> EventKind {
        let recovered = Recovered { n: 1, over: 0, rank: 1, p95_estimate: None };
        let (incident, cause) = (incident(generation), SLO.into());
        EventKind::Resolved { incident, cause, opened_at: 1, recovered: Some(recovered) }
    }

    fn at(facts: &Facts, now: i64) -> Status {
        status(facts, &refusals(facts, now), &id(), "TSA", now)
    }

    fn shown(facts: &Facts) -> (SloState, Quality, usize) {
        let status = at(facts, NOW);
        (status.slo_state, status.quality, status.open_incidents.len())
    }

    #[test]
    fn healthy_and_pending_are_healthy_open_and_recovering_are_breached() {
        let healthy = Some(VerdictKind::Healthy);
        let bad = Some(VerdictKind::Breached);
        assert_eq!(shown(&facts(healthy, machine("healthy", None))), (SloState::Healthy, Quality::Fresh, 0));
        assert_eq!(shown(&facts(bad, machine("pending", None))), (SloState::Healthy, Quality::Fresh, 0));
        assert_eq!(shown(&facts(bad, machine("open", Some(3)))), (SloState::Breached, Quality::Fresh, 1));
        assert_eq!(shown(&facts(healthy, machine("recovering", Some(3)))), (SloState::Breached, Quality::Fresh, 1));
        let silent = Some(VerdictKind::NoData);
        assert_eq!(shown(&facts(silent, machine("open", Some(3)))), (SloState::Breached, Quality::NoData, 1));
    }

    #[test]
    fn what_is_not_known_is_never_green() {
        let healthy = || facts(Some(VerdictKind::Healthy), machine("healthy", None));
        assert_eq!(shown(&facts(None, machine("healthy", None))).0, SloState::Unknown);
        assert_eq!(shown(&facts(Some(VerdictKind::NoData), machine("healthy", None))).0, SloState::Unknown);
        assert_eq!(shown(&Facts::new(1)), (SloState::Unknown, Quality::Inactive, 0));
        // The processor is down, with an incident open or not.
        let open = facts(Some(VerdictKind::Breached), machine("open", Some(3)));
        for (facts, state) in [(healthy(), SloState::Unknown), (open, SloState::Breached)] {
            let late = at(&facts, CUT + STALE_MS + 1);
            assert_eq!((late.slo_state, late.quality), (state, Quality::Stale));
        }
        // It runs, but far behind.
        let mut behind = healthy();
        let partition = PartitionRecord { clock: Some(CUT - STALE_MS), ..PartitionRecord::default() };
        behind.state(StateRecord::Partition(partition), NOW);
        assert_eq!(shown(&behind).1, Quality::Stale);
    }

    #[test]
    fn events_after_the_cut_count_and_those_before_it_do_not_again() {
        let mut facts = facts(Some(VerdictKind::Healthy), machine("healthy", None));
        facts.incident(event(CUT - 9_000, opened(3)));
        facts.incident(event(CUT - 3_000, EventKind::NoData));
        assert_eq!(shown(&facts), (SloState::Healthy, Quality::Fresh, 0), "both are in the cut");
        facts.incident(event(CUT, opened(4)));
        assert_eq!(shown(&facts), (SloState::Breached, Quality::Fresh, 1));
        facts.incident(event(CUT + 1_000, resolved(4)));
        assert_eq!(shown(&facts), (SloState::Healthy, Quality::Fresh, 0));
        facts.incident(event(CUT + 1_000, EventKind::NoData));
        assert_eq!(shown(&facts), (SloState::Unknown, Quality::NoData, 0));
    }

    /// The window is `(CUT - 31 s, CUT - 1 s]`: lateness is a second.
    #[test]
    fn counts_are_of_the_window_and_of_the_active_spec() {
        let mut facts = facts(Some(VerdictKind::Healthy), machine("healthy", None));
        let rollup = |cut_position, ends: &[(i64, u64)]| {
            let panes = ends.iter().map(|&(end, over)| RollupPane { end, n: 1, over, ..RollupPane::default() });
            let panes: Vec<_> = panes.collect();
            let values = vec![40.0; panes.len()];
            Rollup {
                service: "s".into(),
                sensor: "q".into(),
                cut_position,
                cut_clock: CUT,
                n: panes.len() as u64,
                late: 1,
                min: 40.0,
                max: 40.0,
                sum: 40.0 * panes.len() as f64,
                first_ts: ends[0].0,
                last_ts: ends[ends.len() - 1].0,
                panes,
                values,
                ..Rollup::default()
            }
        };
        facts.rollup(rollup(100, &[(CUT - 1_000, 1)]));
        facts.rollup(rollup(300, &[(CUT - 31_000, 1), (CUT - 30_000, 1), (CUT - 1_000, 0), (CUT, 1)]));
        facts.rollup(Rollup { sensor: "other".into(), ..rollup(300, &[(CUT - 1_000, 1)]) });
        let status = at(&facts, NOW);
        assert_eq!((status.n, status.over, status.rank), (Some(2), Some(1), Some(2)));
        assert_eq!((status.p95_estimate, status.age_ms, status.late), (Some(40.0), Some(2_000), 1));
        assert_eq!((status.threshold, status.window_ms, status.as_of), (Some(30.0), Some(30_000), Some(CUT)));
    }

    #[test]
    fn each_action_shows_its_last_event_and_rejected_readings_their_owner() {
        let mut facts = facts(None, machine("healthy", None));
        let act = |call, kind, at| ActionEvent {
            kind,
            action_id: ActionId::of(&incident(1), 1, call),
            incident: incident(1),
            service: id(),
            verb: "page".to_owned(),
            actor: "pager".to_owned(),
            at,
            target: None,
            attempt: 1,
            dry_run: false,
        };
        facts.action(act(3, ActionKind::Done { detail: BTreeMap::new() }, NOW - ACTIONS_MS - 1));
        facts.action(act(1, ActionKind::Started { goal: BTreeMap::new() }, NOW - 3));
        facts.action(act(2, ActionKind::Started { goal: BTreeMap::new() }, NOW - 2));
        facts.action(act(1, ActionKind::Done { detail: BTreeMap::new() }, NOW - 1));
        let frozen = ActionKind::Frozen { reason: "a deploy".to_owned() };
        facts.action(ActionEvent::switch(frozen, &ServiceId::ops(), "me", 1));
        let reject = |reason, key: &[u8], value: &[u8], append_time| Rejected {
            reason,
            topic: "ops.metrics".to_owned(),
            partition: 0,
            offset: 1,
            append_time,
            value: Kept::of(Some(value)),
            key: Kept::of(Some(key)),
            headers: Vec::new(),
            headers_left_out: 0,
        };
        let wrong = br#"{"service":"s","sensor":"nope","value":1}"#;
        facts.reject(&reject(RejectReason::UnknownSensor, b"x", wrong, NOW - REJECTED_MS - 1));
        facts.reject(&reject(RejectReason::UnknownSensor, b"x", wrong, NOW - 2));
        facts.reject(&reject(RejectReason::BadMagic, b"s", b"\xff\xff", NOW - 1));
        facts.reject(&reject(RejectReason::BadMagic, b"x", b"\xff", NOW));
        let status = at(&facts, NOW);
        let actions: Vec<_> = status.last_actions.iter().map(|event| (event.kind.name(), event.at)).collect();
        assert_eq!(actions, [("done", NOW - 1), ("started", NOW - 2)]);
        assert_eq!(status.frozen.map(|frozen| frozen.actor), Some("me".to_owned()));
        assert_eq!(status.rejected, [(RejectReason::BadMagic, 1), (RejectReason::UnknownSensor, 1)].into());
        assert_eq!(status.last_rejected.map(|refusal| refusal.at), Some(NOW - 1));
        let json = serde_json::to_value(status.rejected).unwrap();
        assert_eq!(json["unknown_sensor"], 1);
    }
}
