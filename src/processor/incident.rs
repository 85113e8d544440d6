//! The machine of one cause: from trouble to `opened`, its playbook's requests, `resolved`, and its episodes.
//! Pure; called by `service` at every instant that is evaluated, and by `core` when a spec ends.
//!
//! ```text
//!             true                true, held for `for`
//!   healthy ------------> pending ----------------------> open <---------+
//!      ^                     | false                       | clear        | not clear
//!      |                     v                             v              |
//!      +<---------------- healthy                      recovering --------+
//!      +<---------------------------------------------- | clear, held for `recover_for`
//!                          resolved
//! ```
//!
//! A held time is 0 at the first step, grows by the step at each further one, stands still at unknown and is
//! lost at the opposite.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::incident::{Basis, CloseReason, EventKind, Fresh, IncidentEvent, Recovered, Verdict};
use crate::model::spec::{Call, Slo, Spec, Step, Trigger};
use crate::model::state::VerdictKind;
use crate::model::{ActionId, IncidentId, ServiceId, SpecHash};
use crate::window::latest::Attributes;
use crate::window::round_up;
use crate::window::steps::Counters;

/// What a cause says at an instant. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signal {
    /// Does the condition hold?
    pub truth: Option<bool>,
    /// Is it clear, as far as recovery is concerned?
    pub clear: Option<bool>,
}

/// One cause of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Where it stands.
    pub phase: Phase,
    /// The episode that another opening may continue; it outlives its incidents.
    pub episode: Option<Box<Episode>>,
    /// An event that was counted and not judged yet: attributes of its first reading. Written when a reading is
    /// counted, ends at the next instant that is evaluated.
    pub occurrence: Option<Attributes>,
}

/// Where a machine stands. Hardly any of 100,000 has an incident or an episode: they lie elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Phase {
    /// Nothing to tell.
    #[default]
    Healthy,
    /// True, not yet for long enough.
    Pending {
        /// ms.
        held: i64,
    },
    /// An incident is open.
    Open(Box<Open>),
    /// It is open, and clear, not yet for long enough.
    Recovering {
        /// The incident.
        open: Box<Open>,
        /// ms.
        held: i64,
    },
}

/// An open incident.
#[derive(Clone, Debug)]
pub struct Open {
    /// Which.
    pub id: IncidentId,
    /// When it opened, ms.
    pub opened_at: i64,
    /// What it was opened with: it keeps these steps and texts.
    pub spec: Arc<Spec>,
    /// Attributes of the reading that opened it; handed to actions.
    pub attributes: Option<Attributes>,
    /// Escalations that have not fired.
    pub looks: Vec<Look>,
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, self.opened_at, self.spec.hash, &self.attributes, &self.looks)
            == (&other.id, other.opened_at, other.spec.hash, &other.attributes, &other.looks)
    }
}

/// One `still_breach_after` step of an open incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// 1-based place in the playbook.
    pub step: u32,
    /// Not before this event time, ms.
    pub due: i64,
}

/// A run of incidents of one cause that follow each other closely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Its first incident.
    pub id: IncidentId,
    /// How often it opened.
    pub openings: u32,
    /// When it last opened, ms.
    pub last_opened: i64,
    /// When it was last resolved, ms.
    pub last_resolved: Option<i64>,
    /// Has it opened `flap_limit` times? Then `episode_ended` is owed.
    pub flapping: bool,
}

impl Episode {
    fn quiet_since(&self) -> i64 {
        self.last_resolved.unwrap_or(self.last_opened).max(self.last_opened)
    }
}

/// All that a machine may look at, at one instant.
pub struct Instant<'a> {
    /// E, ms.
    pub at: i64,
    /// Whose.
    pub service: &'a ServiceId,
    /// The active spec.
    pub spec: &'a Arc<Spec>,
    /// The partition came alive (activation or leap), ms.
    pub alive_since: i64,
    /// The verdict of this instant, if there is an SLO.
    pub verdict: Option<VerdictKind>,
    /// Counters of the SLO's target over the whole window.
    pub window: Counters,
    /// Counters of the SLO's target over `(after, E]`.
    pub counters_after: &'a dyn Fn(i64) -> Counters,
    /// The quantile that is shown; computed only when an event needs it.
    pub estimate: &'a dyn Fn() -> Option<f64>,
}

/// The state and output that the machines of one service share.
pub struct Shared<'a> {
    /// The service's generation, over all causes.
    pub generation: &'a mut u64,
    /// Where events go.
    pub events: &'a mut Vec<IncidentEvent>,
}

impl Instant<'_> {
    fn event(&self, spec_hash: SpecHash, kind: EventKind) -> IncidentEvent {
        IncidentEvent { kind, service: self.service.clone(), spec_hash, at: self.at }
    }

    fn slo_of(&self, cause: usize) -> Option<&Slo> {
        self.spec.slo.as_ref().filter(|_| cause == 0)
    }
}

impl Machine {
    /// It only waits for its condition: while that is not true, and no event occurred, an instant changes nothing.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Healthy
            && self.occurrence.is_none()
            && self.episode.as_ref().is_none_or(|episode| !episode.flapping)
    }

    /// One instant: `resolved` or `opened`, requests by step, `episode_ended`, in this order.
    ///
    /// `cause` is the index into the spec's causes; `trigger` are the attributes of the reading that makes it true.
    pub fn evaluate(
        &mut self,
        cause: usize,
        signal: Signal,
        trigger: Option<Attributes>,
        now: &Instant<'_>,
        shared: &mut Shared<'_>,
    ) {
        let step = now.spec.step_ms;
        let held_true = now.spec.causes[cause].for_ms;
        self.phase = match std::mem::take(&mut self.phase) {
            Phase::Healthy if signal.truth == Some(true) => self.pend(0, held_true, cause, trigger, now, shared),
            Phase::Healthy => Phase::Healthy,
            Phase::Pending { held } => match signal.truth {
                Some(true) => self.pend(held + step, held_true, cause, trigger, now, shared),
                Some(false) => Phase::Healthy,
                None => Phase::Pending { held },
            },
            Phase::Open(open) if signal.clear == Some(true) => self.recover(open, 0, cause, now, shared),
            Phase::Open(open) => Phase::Open(open),
            Phase::Recovering { open, held } => match signal.clear {
                Some(true) => self.recover(open, held + step, cause, now, shared),
                Some(false) => Phase::Open(open),
                None => Phase::Recovering { open, held },
            },
        };
        if let Phase::Open(open) | Phase::Recovering { open, .. } = &mut self.phase {
            if cause == 0 {
                open.look(signal.clear == Some(true), now, shared);
            }
        } else {
            self.end_episode(now, shared);
        }
    }

    /// True, for `held` ms by now: opens if that is long enough.
    fn pend(
        &mut self,
        held: i64,
        needed: i64,
        cause: usize,
        trigger: Option<Attributes>,
        now: &Instant<'_>,
        shared: &mut Shared<'_>,
    ) -> Phase {
        if held < needed {
            return Phase::Pending { held };
        }
        self.end_episode(now, shared);
        *shared.generation += 1;
        let id = IncidentId { service: now.service.clone(), generation: *shared.generation };
        let episode = self.open_episode(&id, now);
        let verdict = now.slo_of(cause).map(|slo| Verdict {
            threshold: slo.threshold,
            window_from: now.at - now.spec.window_ms,
            window_to: now.at,
            n: now.window.n,
            over: now.window.over,
            rank: slo.rank(now.window.n),
            p95_estimate: (now.estimate)(),
        });
        let opened = EventKind::Opened {
            incident: id.clone(),
            cause: now.spec.causes[cause].text.clone(),
            episode: episode.id.clone(),
            openings: episode.openings,
            flapping: episode.flapping,
            verdict,
        };
        shared.events.push(now.event(now.spec.hash, opened));
        let looks = escalations(now.spec)
            .filter(|_| now.slo_of(cause).is_some())
            .map(|(step, after)| Look { step, due: now.at + after })
            .collect();
        let open = Box::new(Open { id, opened_at: now.at, spec: now.spec.clone(), attributes: trigger, looks });
        open.request(Trigger::Opened { cause }, Basis::Opened, now, shared);
        Phase::Open(open)
    }

    /// Continues the episode if the cause was not quiet for long enough, else begins one.
    fn open_episode(&mut self, id: &IncidentId, now: &Instant<'_>) -> &Episode {
        let continued = self.episode.take().filter(|episode| now.at - episode.quiet_since() < now.spec.flap_window_ms);
        let first =
            || Episode { id: id.clone(), openings: 0, last_opened: now.at, last_resolved: None, flapping: false };
        let mut episode = continued.unwrap_or_else(|| Box::new(first()));
        episode.openings += 1;
        episode.last_opened = now.at;
        episode.flapping = episode.openings >= now.spec.flap_limit;
        self.episode.insert(episode)
    }

    /// Clear, for `held` ms by now: resolves if that is long enough.
    fn recover(
        &mut self,
        open: Box<Open>,
        held: i64,
        cause: usize,
        now: &Instant<'_>,
        shared: &mut Shared<'_>,
    ) -> Phase {
        if held < now.spec.recover_for_ms {
            return Phase::Recovering { open, held };
        }
        let recovered = now.slo_of(cause).map(|slo| Recovered {
            n: now.window.n,
            over: now.window.over,
            rank: slo.rank(now.window.n),
            p95_estimate: (now.estimate)(),
        });
        let resolved = EventKind::Resolved {
            incident: open.id.clone(),
            cause: open.spec.causes[cause].text.clone(),
            opened_at: open.opened_at,
            recovered,
        };
        shared.events.push(now.event(open.spec.hash, resolved));
        if let Some(episode) = &mut self.episode {
            episode.last_resolved = Some(now.at);
        }
        if recovered.is_some() {
            open.request(Trigger::Recovered, Basis::Resolved, now, shared);
        }
        Phase::Healthy
    }

    /// A flapping episode with nothing open ends when it has been quiet for the flap window.
    fn end_episode(&mut self, now: &Instant<'_>, shared: &mut Shared<'_>) {
        let over = self.episode.as_ref().is_some_and(|episode| {
            episode.flapping
                && episode.last_resolved.is_some_and(|resolved| now.at - resolved >= now.spec.flap_window_ms)
        });
        if let Some(episode) = self.episode.take_if(|_| over) {
            shared.events.push(now.event(now.spec.hash, episode.ended()));
        }
    }

    /// The spec ends: an open incident is closed, a flapping episode with nothing open ends.
    pub fn close(self, cause: usize, reason: CloseReason, at: i64, spec: &Spec, events: &mut Vec<IncidentEvent>) {
        let service = spec.id.clone();
        match (self.phase, self.episode) {
            (Phase::Open(open) | Phase::Recovering { open, .. }, _) => {
                let kind = EventKind::Closed {
                    cause: open.spec.causes[cause].text.clone(),
                    opened_at: open.opened_at,
                    incident: open.id,
                    reason,
                };
                events.push(IncidentEvent { kind, service, spec_hash: open.spec.hash, at });
            }
            (_, Some(episode)) if episode.flapping => {
                events.push(IncidentEvent { kind: episode.ended(), service, spec_hash: spec.hash, at });
            }
            _ => {}
        }
    }
}

impl Episode {
    fn ended(&self) -> EventKind {
        EventKind::EpisodeEnded { episode: self.id.clone(), openings: self.openings }
    }
}

impl Open {
    /// Looks that are due: is it still bad, by the readings since it should have become better?
    fn look(&mut self, clear: bool, now: &Instant<'_>, shared: &mut Shared<'_>) {
        // The incident's own spec throughout: a compatible one may name its sensors in another order.
        let spec = self.spec.clone();
        let Some(slo) = &spec.slo else { return };
        let mut looks = std::mem::take(&mut self.looks);
        looks.retain_mut(|look| {
            let Some((_, after)) = escalations(&spec).find(|(step, _)| *step == look.step) else { return false };
            let fresh_ms = fresh_ms(after, &spec, slo);
            if now.at < look.due || now.at < now.alive_since + fresh_ms {
                return true;
            }
            let bad =
                (now.verdict != Some(VerdictKind::Healthy) && !clear).then(|| self.judge(after, slo, now)).flatten();
            let Some((basis, fresh)) = bad else {
                look.due = self.opened_at + ((now.at - self.opened_at) / after + 1) * after;
                return true;
            };
            self.request_step(look.step, basis, Some(fresh), now, shared);
            false
        });
        self.looks = looks;
    }

    /// The fresh readings, and whether they (or their absence) call for the step.
    fn judge(&self, after: i64, slo: &Slo, now: &Instant<'_>) -> Option<(Basis, Fresh)> {
        let window_ms = self.spec.window_ms;
        let interval = self.spec.sensors[slo.target].interval_ms;
        let fresh_ms = fresh_ms(after, &self.spec, slo);
        let from = (now.at - fresh_ms).min(self.opened_at + after).max(now.at - window_ms);
        let Counters { n, over, .. } = (now.counters_after)(from);
        let fresh = Fresh { n, over, rank: slo.rank(n) };
        if i128::from(n) * 2 * i128::from(interval) < i128::from(fresh_ms) {
            return Some((Basis::InsufficientFreshData, fresh));
        }
        let breached = over > n - fresh.rank;
        let no_outlier = over >= 3 || over == n || now.at >= self.opened_at + window_ms + after;
        (breached && no_outlier).then_some((Basis::FreshData, fresh))
    }

    /// Requests every step with this trigger, in file order.
    fn request(&self, trigger: Trigger, basis: Basis, now: &Instant<'_>, shared: &mut Shared<'_>) {
        for (place, step) in self.spec.playbook.iter().enumerate() {
            if matches!(step, Step::If { trigger: own, .. } if *own == trigger) {
                self.request_step(place as u32 + 1, basis, None, now, shared);
            }
        }
    }

    /// Requests every call of one step.
    fn request_step(&self, step: u32, basis: Basis, fresh: Option<Fresh>, now: &Instant<'_>, shared: &mut Shared<'_>) {
        let Some(Step::If { calls, .. }) = self.spec.playbook.get(step as usize - 1) else { return };
        for (place, call) in calls.iter().enumerate() {
            let number = place as u32 + 1;
            let kind = EventKind::Requested {
                incident: self.id.clone(),
                step,
                call: number,
                verb: call.verb.as_str().into(),
                args: self.args(call),
                basis,
                action_id: ActionId::of(&self.id, step, number),
                fresh,
            };
            shared.events.push(now.event(self.spec.hash, kind));
        }
    }

    /// All that an actor needs, so that it never reads specs.
    fn args(&self, call: &Call) -> BTreeMap<String, String> {
        let mut args: BTreeMap<String, String> = call.args.iter().cloned().collect();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                args.insert(name.to_owned(), value);
            }
        };
        let (workload, limits) = (&self.spec.workload, self.spec.limits);
        put("service.owner", Some(self.spec.owner.clone()));
        put("workload.kind", Some(workload.kind.clone()));
        put("workload.name", Some(workload.name.clone()));
        put("workload.namespace", workload.namespace.clone());
        put("workload.context", workload.context.clone());
        put("limits.min", limits.min.map(|n| n.to_string()));
        put("limits.max", limits.max.map(|n| n.to_string()));
        put("limits.max_step", limits.max_step.map(|n| n.to_string()));
        put("window_seconds", Some((self.spec.window_ms as f64 / 1000.0).to_string()));
        if let Some(slo) = &self.spec.slo {
            put("slo.target", Some(self.spec.sensors[slo.target].name.to_string()));
            put("slo.threshold", Some(slo.threshold.to_string()));
            put("slo.objective_ppm", Some(slo.objective_ppm.to_string()));
        }
        put("dry_run", self.spec.dry_run.then(|| true.to_string()));
        for (name, value) in self.attributes.iter().flat_map(|attributes| attributes.iter()) {
            put(&format!("attr.{name}"), Some(value.clone()));
        }
        args
    }
}

/// The `still_breach_after` steps of a spec: 1-based place, d in ms.
fn escalations(spec: &Spec) -> impl Iterator<Item = (u32, i64)> + '_ {
    spec.playbook.iter().enumerate().filter_map(|(place, step)| match step {
        Step::If { trigger: Trigger::StillBreachAfter { after_ms }, .. } => Some((place as u32 + 1, *after_ms)),
        _ => None,
    })
}

/// F: how much of the end of the window is fresh at a look, ms; a multiple of the step.
fn fresh_ms(after: i64, spec: &Spec, slo: &Slo) -> i64 {
    let interval = spec.sensors[slo.target].interval_ms;
    // In quarters of a millisecond, so that d / 4 is exact.
    let quarters = after.max(16 * interval).min(4 * after).min(4 * spec.window_ms);
    round_up(quarters, 4 * spec.step_ms) / 4
}
