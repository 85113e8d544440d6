//! The guards of scaling: facts in, a decision with its reason out. Pure: no clock, no client, no bus; the
//! autoscaler gathers the facts, asks, and carries out what comes back.
//!
//! ```text
//! request --parse--> before_looking (age, incident, freeze, data, budgets) --> decide_scale (owner, limits) --> Act
//!             |                          |                                           |
//!          Refuse                     Suppress                               Refuse | Suppress
//! ```
//!
//! What a guard hands to a human (the budgets do) is decided to the end, so that the human sees what would be done:
//! [`Decision::HandOver`]. Once it is approved all of it is asked again, [`Settings::approved`]. What is held up by others
//! than a guard (a breaker over the fleet, policy) has its place between [`decide_scale`] and the intent: it needs the
//! goal, and the intent binds it.
//!
//! Pages never come here: nothing holds up a page.

use std::collections::BTreeMap;
use std::fmt;

use super::intent::Goal;
use super::reason::{Reason, time};
use super::scaling::{BadRequest, Bounds, Nothing, Replicas, ScaleCall, Verb, goal};
use crate::model::incident::{Basis, EventKind, IncidentEvent};
use crate::model::{ActionId, IncidentId};
use crate::world::scale::{Owner, ScaleState};

/// An hour, ms: the time of a service's budget.
const HOUR_MS: i64 = 3_600_000;

/// What the actor was told; the defaults are those of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Decide and say, but touch nothing.
    pub dry_run: bool,
    /// A request older than this is no longer carried out, ms.
    pub max_age_ms: i64,
    /// How long a verb rests after it acted on a service, ms; the service's window if none is given.
    pub cool_down_ms: Option<i64>,
    /// Most actions of one incident.
    pub budget_incident: u32,
    /// Most actions of one service in an hour.
    pub budget_service: u32,
    /// How long what is handed to a human waits for their word, ms.
    pub approval_ms: i64,
}

impl Settings {
    /// The same for what a human has approved: how many there were and how old it is, they knew.
    pub fn approved(self) -> Self {
        Self { max_age_ms: i64::MAX, budget_incident: u32::MAX, budget_service: u32::MAX, ..self }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dry_run: false,
            max_age_ms: 300_000,
            cool_down_ms: None,
            budget_incident: 3,
            budget_service: 6,
            approval_ms: 600_000,
        }
    }
}

/// What the actor knows from `ops.incidents` and `ops.actions` about the service of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The request's incident was resolved or closed since it was opened.
    pub over: bool,
    /// The service's verdict is `no_data` (the last of `no_data` and `data_back`).
    pub no_data: bool,
    /// A human stopped all actions.
    pub frozen: Option<Freeze>,
    /// Actions of the service that were begun, oldest first: those of this incident, and all of the last hour and
    /// cool-down.
    pub acted: Vec<Acted>,
}

/// A human's stop of all actions, of a service or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Of all services.
    pub is_of_all: bool,
    /// Who.
    pub who: String,
    /// Why.
    pub reason: String,
    /// Since when, ms.
    pub at_ms: i64,
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_of_all, who, reason, at_ms } = self;
        let what = if *is_of_all { "all actions are" } else { "the service is" };
        write!(f, "{what} frozen since {} by {who}", time(*at_ms))?;
        if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
    }
}

/// An action that was begun. Pages are none: they count in no budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acted {
    /// Which.
    pub action_id: ActionId,
    /// For which incident.
    pub incident: IncidentId,
    /// What.
    pub verb: String,
    /// When, ms.
    pub at_ms: i64,
    /// Replicas before and after, if it scaled.
    pub scaled: Option<(u32, u32)>,
}

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Do this.
    Act(Goal),
    /// This would be done; a human is to say whether, for this reason.
    HandOver(Goal, Reason),
    /// Not now, or no longer; the request is answered with this reason.
    Suppress(Reason),
    /// Never in this way: somebody has to change the spec or the cluster.
    Refuse(Reason),
}

/// The part of a `requested` event that the guards look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub call: ScaleCall,
    /// The verb as written.
    pub verb: String,
    /// For which incident.
    pub incident: IncidentId,
    /// Same id, same action.
    pub action_id: ActionId,
    /// Why now.
    pub basis: Basis,
    /// The instant that requested it, ms.
    pub at_ms: i64,
    /// The spec wants it said and not done.
    pub dry_run: bool,
}

impl Request {
    /// Reads a `requested` event; `None` if it is none of scaling.
    pub fn of(event: &IncidentEvent) -> Option<Result<Self, BadRequest>> {
        let EventKind::Requested { incident, verb, args, basis, action_id, .. } = &event.kind else { return None };
        Verb::of(verb)?;
        Some(ScaleCall::parse(verb, args).map(|call| Self {
            call,
            verb: verb.to_string(),
            incident: incident.clone(),
            action_id: *action_id,
            basis: *basis,
            at_ms: event.at,
            dry_run: is_dry_run(args),
        }))
    }
}

/// Does the spec of a request want it said and not done?
pub fn is_dry_run(args: &BTreeMap<String, String>) -> bool {
    args.get("dry_run").is_some_and(|dry_run| dry_run == "true")
}

/// The guards that need no look at the world, in the order of their reasons; `None`: go and look.
pub fn before_looking(request: &Request, history: &History, now_ms: i64, settings: &Settings) -> Option<Reason> {
    let age_ms = now_ms.saturating_sub(request.at_ms);
    if age_ms > settings.max_age_ms {
        return Some(Reason::Stale { age_ms });
    }
    if let Some(reason) = withdrawn(request, history.over, history.frozen.as_ref()) {
        return Some(reason);
    }
    if request.basis == Basis::InsufficientFreshData {
        return Some(Reason::Insufficient);
    }
    if history.no_data {
        return Some(Reason::NoData);
    }
    // The same action tried again (after a crash) is no second one.
    let others = || history.acted.iter().filter(|acted| acted.action_id != request.action_id);
    let rest_ms = settings.cool_down_ms.unwrap_or(request.call.window_ms);
    let until_ms =
        others().filter(|acted| acted.verb == request.verb).map(|acted| acted.at_ms.saturating_add(rest_ms)).max();
    if let Some(until_ms) = until_ms.filter(|until| now_ms < *until) {
        return Some(Reason::CoolDown { until_ms });
    }
    let used = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let of_incident = used(others().filter(|acted| acted.incident == request.incident).count());
    if of_incident >= settings.budget_incident {
        return Some(Reason::BudgetIncident { used: of_incident });
    }
    let of_hour = used(others().filter(|acted| now_ms.saturating_sub(acted.at_ms) < HOUR_MS).count());
    (of_hour >= settings.budget_service).then_some(Reason::BudgetService { used: of_hour })
}

/// Why a request is not to be done any more, whoever it waits for: its incident is over, or a human stopped it.
pub fn withdrawn(request: &Request, is_over: bool, frozen: Option<&Freeze>) -> Option<Reason> {
    // What a resolve itself requests (`if: recovered`) belongs to an incident that is over, always.
    if is_over && request.basis != Basis::Resolved {
        return Some(Reason::Over);
    }
    frozen.cloned().map(Reason::Frozen)
}

/// All guards over all facts: what is to be done with this request, now.
pub fn decide_scale(
    request: &Request,
    world: &ScaleState,
    history: &History,
    now_ms: i64,
    settings: &Settings,
) -> Decision {
    let for_a_human = match before_looking(request, history, now_ms, settings) {
        Some(reason) if reason.is_for_a_human() => Some(reason),
        Some(reason) => return Decision::Suppress(reason),
        None => None,
    };
    match &world.managed_by {
        Some(Owner::Hpa(name)) => return Decision::Refuse(Reason::ManagedByHpa(name.clone())),
        Some(Owner::Keda(name)) => return Decision::Refuse(Reason::ManagedByKeda(name.clone())),
        None => {}
    }
    let bounds = Bounds::of(&request.call.limits, replicas_seen(world, history));
    let Replicas { to, asked, bound } = match goal(request.call.verb, request.call.compute, world.replicas, bounds) {
        Ok(replicas) => replicas,
        Err(nothing) => return Decision::Suppress(nothing_to_do(nothing, bounds)),
    };
    let goal = Goal {
        from: world.replicas,
        to,
        uid: world.uid.clone(),
        generation: world.generation,
        resource_version: world.resource_version.clone(),
        clamped: bound.map(|bound| (asked, bound)),
    };
    // Last, so that a dry run says all that the real one would. It asks nobody: there is nothing to approve.
    match (settings.dry_run || request.dry_run, for_a_human) {
        (true, Some(reason)) => Decision::Suppress(reason),
        (true, None) => Decision::Suppress(Reason::DryRun(goal)),
        (false, Some(reason)) => Decision::HandOver(goal, reason),
        (false, None) => Decision::Act(goal),
    }
}

/// The replicas that others chose: our own scaling is taken back, or it would raise its own default maximum from
/// action to action.
fn replicas_seen(world: &ScaleState, history: &History) -> u32 {
    let scaled = history.acted.iter().rev().filter_map(|acted| acted.scaled);
    scaled.fold(world.replicas, |seen, (from, to)| if to == seen { from } else { seen })
}

fn nothing_to_do(nothing: Nothing, bounds: Bounds) -> Reason {
    match nothing {
        Nothing::AtGoal => Reason::AtGoal,
        Nothing::AtMin => Reason::AtMin(bounds),
        Nothing::AtMax => Reason::AtMax(bounds),
        Nothing::NeverLowers => Reason::NeverLowers,
        Nothing::NeverRaises => Reason::NeverRaises,
        Nothing::NoStep => Reason::NoStep,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::actors::scaling::Bound;
    use crate::model::{ServiceId, SpecHash};

    const NOW: i64 = 10_000_000;
    const WINDOW_MS: i64 = 300_000;

    fn incident(generation: u64) -> IncidentId {
        IncidentId { service: ServiceId::new("scanner").unwrap(), generation }
    }

    fn event(verb: &str, compute: &str, basis: Basis) -> IncidentEvent {
        let args = [
            ("compute", compute),
            ("workload.kind", "deployment"),
            ("workload.name", "scanner"),
            ("window_seconds", "300"),
        ];
        IncidentEvent {
            kind: EventKind::Requested {
                incident: incident(9),
                step: 1,
                call: 1,
                verb: Arc::from(verb),
                args: args.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                basis,
                action_id: ActionId::of(&incident(9), 1, 1),
                fresh: None,
            },
            service: ServiceId::new("scanner").unwrap(),
            spec_hash: SpecHash::of(""),
            at: NOW - 2000,
        }
    }

    fn request(verb: &str, compute: &str) -> Request {
        Request::of(&event(verb, compute, Basis::Opened)).unwrap().unwrap()
    }

    fn world(replicas: u32) -> ScaleState {
        ScaleState {
            uid: "u".into(),
            generation: 3,
            resource_version: "100".into(),
            replicas,
            ready: Some(replicas),
            managed_by: None,
        }
    }

    /// An action of incident `generation`, `ago_ms` before now.
    fn acted(generation: u64, verb: &str, ago_ms: i64) -> Acted {
        let action_id = ActionId::of(&incident(generation), 2, ago_ms as u32);
        Acted { action_id, incident: incident(generation), verb: verb.into(), at_ms: NOW - ago_ms, scaled: None }
    }

    fn decide(request: &Request, world: &ScaleState, history: &History) -> Decision {
        decide_scale(request, world, history, NOW, &Settings::default())
    }

    fn freeze() -> Freeze {
        Freeze { is_of_all: true, who: "me".into(), reason: "a deploy".into(), at_ms: NOW }
    }

    #[track_caller]
    fn assert_suppressed(decision: Decision, code: &str) {
        assert!(matches!(&decision, Decision::Suppress(reason) if reason.name() == code), "{decision:?} for {code}");
    }

    #[test]
    fn a_request_in_order_becomes_an_absolute_goal() {
        let goal =
            Goal { from: 2, to: 4, uid: "u".into(), generation: 3, resource_version: "100".into(), clamped: None };
        assert_eq!(decide(&request("scale_up", "+2"), &world(2), &History::default()), Decision::Act(goal.clone()));
        let clamped = Goal { to: 6, clamped: Some((11, Bound::MaxStep)), ..goal };
        assert_eq!(decide(&request("scale_up", "+9"), &world(2), &History::default()), Decision::Act(clamped));
    }

    #[test]
    fn every_guard_says_its_reason() {
        let facts = |change: fn(&mut Request, &mut ScaleState, &mut History)| {
            let (mut request, mut world, mut history) = (request("scale_up", "+2"), world(2), History::default());
            change(&mut request, &mut world, &mut history);
            decide(&request, &world, &history)
        };
        assert_suppressed(facts(|request, _, _| request.at_ms = NOW - 300_001), "stale");
        assert_suppressed(facts(|_, _, history| history.over = true), "over");
        assert_suppressed(facts(|_, _, history| history.frozen = Some(freeze())), "frozen");
        assert_suppressed(facts(|request, _, _| request.basis = Basis::InsufficientFreshData), "insufficient");
        assert_suppressed(facts(|_, _, history| history.no_data = true), "no_data");
        assert_suppressed(facts(|_, _, history| history.acted = vec![acted(8, "scale_up", 299_999)]), "cool_down");
        assert_suppressed(facts(|request, _, _| request.call.limits.max = Some(2)), "at_max");
        assert_suppressed(
            facts(|request, world, _| {
                *request = self::request("scale_down", "-1");
                world.replicas = 1;
            }),
            "at_min",
        );
        assert_suppressed(facts(|request, _, _| *request = self::request("scale_up", "1")), "never_lowers");
        assert_suppressed(facts(|request, _, _| *request = self::request("scale_down", "4")), "never_raises");
        assert_suppressed(facts(|request, _, _| *request = self::request("scale", "2")), "at_goal");
        assert_suppressed(facts(|request, _, _| request.call.limits.max_step = Some(0)), "no_step");
    }

    #[test]
    fn a_workload_that_another_controller_owns_is_refused() {
        for (owner, code) in [(Owner::Hpa("h".into()), "managed_by_hpa"), (Owner::Keda("k".into()), "managed_by_keda")]
        {
            let owned = ScaleState { managed_by: Some(owner), ..world(2) };
            let decision = decide(&request("scale_up", "+2"), &owned, &History::default());
            assert!(matches!(&decision, Decision::Refuse(reason) if reason.name() == code), "{decision:?}");
        }
    }

    #[test]
    fn the_edges_of_time_are_where_they_are_said_to_be() {
        let history = |acted| History { acted, ..History::default() };
        let up = request("scale_up", "+2");
        let acts = |decision| matches!(decision, Decision::Act(_));
        assert!(acts(decide(&Request { at_ms: NOW - 300_000, ..up.clone() }, &world(2), &History::default())));
        assert!(acts(decide(&Request { at_ms: NOW + 60_000, ..up.clone() }, &world(2), &History::default())));
        assert!(acts(decide(&up, &world(2), &history(vec![acted(8, "scale_up", WINDOW_MS)]))));
        assert!(acts(decide(&up, &world(2), &history(vec![acted(8, "scale_down", 1)]))));
        let short = Settings { cool_down_ms: Some(1000), ..Settings::default() };
        let rested = history(vec![acted(8, "scale_up", 1000)]);
        assert!(acts(decide_scale(&up, &world(2), &rested, NOW, &short)));
    }

    #[test]
    fn budgets_count_what_was_begun_by_incident_and_by_hour() {
        let history = |acted| History { acted, ..History::default() };
        let up = request("scale_up", "+2");
        let of_incident = |count| (0..count).map(|i| acted(9, "rollback", 4 * HOUR_MS + i)).collect();
        assert!(matches!(decide(&up, &world(2), &history(of_incident(2))), Decision::Act(_)));
        assert_handed_over(decide(&up, &world(2), &history(of_incident(3))), "budget_incident");
        let of_hour = |count, ago_ms| (0..count).map(|i| acted(8 - i as u64, "throttle", ago_ms + i)).collect();
        assert!(matches!(decide(&up, &world(2), &history(of_hour(5, 600_000))), Decision::Act(_)));
        assert_handed_over(decide(&up, &world(2), &history(of_hour(6, 600_000))), "budget_service");
        assert!(matches!(decide(&up, &world(2), &history(of_hour(6, HOUR_MS))), Decision::Act(_)));
    }

    #[track_caller]
    fn assert_handed_over(decision: Decision, code: &str) {
        let Decision::HandOver(goal, reason) = &decision else { panic!("{decision:?} for {code}") };
        assert_eq!((goal.from, goal.to, reason.name()), (2, 4, code), "the human sees what would be done");
    }

    #[test]
    fn what_a_human_has_approved_passes_age_and_budgets_and_no_other_guard() {
        let mut up = request("scale_up", "+2");
        up.at_ms = NOW - 400_000;
        let acted = (0..9).map(|i| acted(9, "rollback", 600_000 + i)).collect();
        let used_up = History { acted, ..History::default() };
        let settings = Settings::default().approved();
        let approved = |up: &Request, history: &History| decide_scale(up, &world(2), history, NOW, &settings);
        assert!(matches!(approved(&up, &used_up), Decision::Act(_)));
        assert_suppressed(decide(&up, &world(2), &used_up), "stale");
        assert_suppressed(approved(&up, &History { over: true, ..used_up.clone() }), "over");
        assert_suppressed(approved(&up, &History { frozen: Some(freeze()), ..used_up.clone() }), "frozen");
        assert_suppressed(approved(&up, &History { no_data: true, ..used_up.clone() }), "no_data");
        let acting = History { acted: vec![self::acted(8, "scale_up", 1)], ..History::default() };
        assert_suppressed(approved(&up, &acting), "cool_down");
        up.call.limits.max = Some(2);
        assert_suppressed(approved(&up, &used_up), "at_max");
        // A dry run asks nobody.
        let dry = Settings { dry_run: true, ..Settings::default() };
        let asked = request("scale_up", "+2");
        assert_suppressed(decide_scale(&asked, &world(2), &used_up, NOW, &dry), "budget_incident");
    }

    #[test]
    fn the_same_action_again_is_no_second_one() {
        let up = request("scale_up", "+2");
        let own = Acted { action_id: up.action_id, ..acted(9, "scale_up", 10) };
        let history = History { acted: vec![own], ..History::default() };
        assert!(matches!(decide(&up, &world(2), &history), Decision::Act(_)));
    }

    #[test]
    fn what_a_resolve_requests_is_not_held_up_by_the_incident_being_over() {
        let history = History { over: true, ..History::default() };
        let down = Request { basis: Basis::Resolved, ..request("scale_down", "-2") };
        assert!(matches!(decide(&down, &world(4), &history), Decision::Act(Goal { to: 2, .. })));
    }

    #[test]
    fn our_own_scaling_does_not_raise_its_own_maximum() {
        let scaled = |from, to| Acted { scaled: Some((from, to)), ..acted(8, "scale", 600_000) };
        let history = |acted| History { acted, ..History::default() };
        let to = |world, history| match decide(&request("scale_up", "+4"), &world, &history) {
            Decision::Act(goal) => Some(goal.to),
            _ => None,
        };
        // 20 that a person chose: up to 40. 20 that we made of 6 by 10: up to 12.
        assert_eq!(to(world(20), History::default()), Some(24));
        assert_eq!(to(world(20), history(vec![scaled(6, 10), scaled(10, 20)])), None);
        // We made 10 of them, a person 20 since.
        assert_eq!(to(world(20), history(vec![scaled(6, 10)])), Some(24));
    }

    #[test]
    fn a_dry_run_says_what_it_would_have_done_and_all_that_would_have_stopped_it() {
        let dry = Settings { dry_run: true, ..Settings::default() };
        let up = request("scale_up", "+2");
        let decision = decide_scale(&up, &world(2), &History::default(), NOW, &dry);
        assert!(matches!(&decision, Decision::Suppress(Reason::DryRun(goal)) if goal.to == 4), "{decision:?}");
        // Of the spec alone, the same.
        let of_spec = Request { dry_run: true, ..up.clone() };
        assert_eq!(decide(&of_spec, &world(2), &History::default()), decision);
        let frozen = History { frozen: Some(freeze()), ..History::default() };
        assert_suppressed(decide_scale(&up, &world(2), &frozen, NOW, &dry), "frozen");
    }

    #[test]
    fn only_requests_of_scaling_are_read_and_bad_ones_say_why() {
        assert!(Request::of(&event("page", "+2", Basis::Opened)).is_none());
        let retired = IncidentEvent { kind: EventKind::SpecRetired, ..event("scale_up", "+2", Basis::Opened) };
        assert!(Request::of(&retired).is_none());
        let bad = Request::of(&event("scale_up", "two", Basis::Opened)).unwrap().unwrap_err();
        assert_eq!(bad.to_string(), "compute = \"two\" makes no sense here");
        assert_eq!(Reason::BadRequest(bad).name(), "bad_request");
    }
}
