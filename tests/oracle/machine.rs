//! The machine of one cause: healthy, pending, open, recovering; its episodes and its looks.

use std::collections::BTreeMap;
use std::sync::Arc;

use hms_ops::model::ids::{ActionId, IncidentId};
use hms_ops::model::spec::{Call, Spec, Step, Trigger};
use serde_json::{Value, json};

use super::Told;
use super::estimate::Held;
use super::service::Counted;
use super::verdict::{Judged, Sample, Verdict};

/// What a cause looks like at one instant.
pub struct Instant<'a> {
    pub at: i64,
    pub alive_since: i64,
    /// The active spec.
    pub spec: &'a Arc<Spec>,
    /// Which of its causes.
    pub cause: usize,
    /// True, false, or unknown.
    pub holds: Option<bool>,
    /// Clear, not clear, or unknown.
    pub clear: Option<bool>,
    /// The verdict, for the SLO's cause alone.
    pub judged: Option<&'a Judged>,
    /// All counted readings of the service.
    pub readings: &'a [Counted],
}

/// The machine of one cause.
#[derive(Default)]
pub struct Machine {
    phase: Phase,
    episode: Option<Episode>,
}

#[derive(Clone, Default)]
enum Phase {
    #[default]
    Healthy,
    Pending {
        held: i64,
    },
    Open(Incident),
    Recovering {
        incident: Incident,
        held: i64,
    },
}

#[derive(Clone)]
struct Incident {
    id: IncidentId,
    opened_at: i64,
    /// The spec that it was opened with: its steps and texts stay.
    spec: Arc<Spec>,
    /// The text of the cause.
    cause: Arc<str>,
    /// By index of an escalation: the largest k whose look was taken; `None` once it has fired.
    looks: BTreeMap<usize, Option<i64>>,
}

struct Episode {
    first: IncidentId,
    openings: u32,
    last_opened: i64,
    last_resolved: Option<i64>,
    flapping: bool,
    /// `episode_ended` was told.
    ended: bool,
}

impl Instant<'_> {
    /// What the SLO's numbers are held against.
    fn with_estimate(&self, told: Told) -> Told {
        let slo = self.spec.slo.as_ref().filter(|_| self.judged.is_some());
        Told {
            p95: self.judged.and_then(|judged| judged.window.p95),
            estimate: slo.and_then(|slo| Held::at(self.at, self.readings, self.spec, slo)),
            ..told
        }
    }
}

impl Machine {
    /// One instant: `resolved` or `opened`, `requested` by step, `episode_ended`.
    pub fn evaluate(&mut self, now: &Instant, generation: &mut u64, told: &mut Vec<Told>) {
        let for_ms = now.spec.causes[now.cause].for_ms;
        let (recover_for, step) = (now.spec.recover_for_ms, now.spec.step_ms);
        self.phase = match std::mem::take(&mut self.phase) {
            Phase::Healthy => match now.holds {
                Some(true) if for_ms == 0 => self.open(now, generation, told),
                Some(true) => Phase::Pending { held: 0 },
                _ => Phase::Healthy,
            },
            Phase::Pending { held } => match now.holds {
                Some(true) if held + step >= for_ms => self.open(now, generation, told),
                Some(true) => Phase::Pending { held: held + step },
                Some(false) => Phase::Healthy,
                None => Phase::Pending { held },
            },
            Phase::Open(incident) => match now.clear {
                Some(true) if recover_for == 0 => self.resolve(incident, now, told),
                Some(true) => Phase::Recovering { incident, held: 0 },
                _ => Phase::Open(incident),
            },
            Phase::Recovering { incident, held } => match now.clear {
                Some(true) if held + step >= recover_for => self.resolve(incident, now, told),
                Some(true) => Phase::Recovering { incident, held: held + step },
                Some(false) => Phase::Open(incident),
                None => Phase::Recovering { incident, held },
            },
        };
        if let Phase::Open(incident) | Phase::Recovering { incident, .. } = &mut self.phase {
            look_again(incident, now, told);
        } else {
            self.end_episode(now, told);
        }
    }

    fn open(&mut self, now: &Instant, generation: &mut u64, told: &mut Vec<Told>) -> Phase {
        self.end_episode(now, told);
        *generation += 1;
        let id = IncidentId { service: now.spec.id.clone(), generation: *generation };
        let continues = |episode: &Episode| {
            let last = episode.last_resolved.map_or(episode.last_opened, |at| at.max(episode.last_opened));
            now.at - last < now.spec.flap_window_ms
        };
        let (first, openings, last_resolved) = match &self.episode {
            Some(episode) if continues(episode) => (episode.first.clone(), episode.openings + 1, episode.last_resolved),
            _ => (id.clone(), 1, None),
        };
        let flapping = openings >= now.spec.flap_limit;
        let spec = now.spec.clone();
        let cause = spec.causes[now.cause].text.clone();

        let mut event = json!({
            "event": "opened", "service": spec.id.as_str(), "at": now.at, "incident": id.to_string(), "cause": &*cause,
            "episode": first.to_string(), "openings": openings, "flapping": flapping,
        });
        if let (Some(judged), Some(slo)) = (now.judged, &spec.slo) {
            event["threshold"] = json!(slo.threshold);
            event["window_from"] = json!(now.at - spec.window_ms);
            event["window_to"] = json!(now.at);
            put_numbers(&mut event, &judged.window);
        }
        told.push(now.with_estimate(Told::plain(event, &spec)));

        let incident = Incident { id, opened_at: now.at, spec: spec.clone(), cause, looks: BTreeMap::new() };
        for (place, trigger, calls) in steps(&spec) {
            if trigger == (Trigger::Opened { cause: now.cause }) {
                request(&incident, place, calls, now.at, "opened", None, told);
            }
        }
        self.episode = Some(Episode { first, openings, last_opened: now.at, last_resolved, flapping, ended: false });
        Phase::Open(incident)
    }

    fn resolve(&mut self, incident: Incident, now: &Instant, told: &mut Vec<Told>) -> Phase {
        let mut event = ending("resolved", &incident, now.at);
        if let Some(judged) = now.judged {
            put_numbers(&mut event, &judged.window);
        }
        told.push(now.with_estimate(Told::plain(event, &incident.spec)));
        if now.judged.is_some() {
            for (place, trigger, calls) in steps(&incident.spec) {
                if trigger == Trigger::Recovered {
                    request(&incident, place, calls, now.at, "resolved", None, told);
                }
            }
        }
        if let Some(episode) = &mut self.episode {
            episode.last_resolved = Some(now.at);
        }
        Phase::Healthy
    }

    /// Called while nothing of the episode is open.
    fn end_episode(&mut self, now: &Instant, told: &mut Vec<Told>) {
        if let Some(episode) = &mut self.episode
            && let Some(resolved) = episode.last_resolved
            && now.at - resolved >= now.spec.flap_window_ms
        {
            episode.tell_end(now.at, now.spec, told);
        }
    }

    /// The service starts anew or is unregistered.
    pub fn close(&mut self, reason: &str, at: i64, spec: &Spec, told: &mut Vec<Told>) {
        match std::mem::take(&mut self.phase) {
            Phase::Open(incident) | Phase::Recovering { incident, .. } => {
                let mut event = ending("closed", &incident, at);
                event["reason"] = json!(reason);
                told.push(Told::plain(event, &incident.spec));
            }
            Phase::Healthy | Phase::Pending { .. } => {
                if let Some(episode) = &mut self.episode {
                    episode.tell_end(at, spec, told);
                }
            }
        }
    }
}

impl Episode {
    /// Only a flapping episode gets `episode_ended`, and gets it once.
    fn tell_end(&mut self, at: i64, spec: &Spec, told: &mut Vec<Told>) {
        if self.flapping && !self.ended {
            self.ended = true;
            let event = json!({
                "event": "episode_ended", "service": spec.id.as_str(), "at": at,
                "episode": self.first.to_string(), "openings": self.openings,
            });
            told.push(Told::plain(event, spec));
        }
    }
}

/// The escalations of an incident that is not resolved.
fn look_again(incident: &mut Incident, now: &Instant, told: &mut Vec<Told>) {
    let spec = incident.spec.clone();
    let Some(judged) = now.judged else { return };
    for (place, trigger, calls) in steps(&spec) {
        let Trigger::StillBreachAfter { after_ms: d } = trigger else { continue };
        // Looks are due at opened_at + k d, k = 1, 2, ...; this is the last k that is due.
        let k = (now.at - incident.opened_at).div_euclid(d);
        let Some(taken) = *incident.looks.entry(place).or_insert(Some(0)) else { continue };
        if k <= taken || now.at < now.alive_since + fresh_ms(&spec, d) {
            continue;
        }
        let fires = look(incident, now, judged, d);
        incident.looks.insert(place, if fires.is_some() { None } else { Some(k) });
        if let Some((basis, fresh)) = fires {
            request(incident, place, calls, now.at, basis, Some(&fresh), told);
        }
    }
}

/// Does the look fire, and on which basis?
fn look(incident: &Incident, now: &Instant, judged: &Judged, d: i64) -> Option<(&'static str, Sample)> {
    let spec = &incident.spec;
    let slo = spec.slo.as_ref()?;
    if judged.verdict == Verdict::Healthy || judged.clear == Some(true) {
        return None;
    }
    let f = fresh_ms(spec, d);
    let after = (now.at - f).min(incident.opened_at + d).max(now.at - spec.window_ms);
    let fresh = Sample::of(now.readings, spec, slo, after, now.at);
    if 2 * fresh.n as i64 * spec.sensors[slo.target].interval_ms < f {
        return Some(("insufficient_fresh_data", fresh));
    }
    let proven = fresh.over >= 3 || fresh.over == fresh.n || now.at >= incident.opened_at + spec.window_ms + d;
    (fresh.p95_above(slo.threshold) && proven).then_some(("fresh_data", fresh))
}

/// `F = min(max(d / 4, 4 x interval), d, W)`, rounded up to a multiple of S. Counted in quarters of a
/// millisecond, so that `d / 4` is exact.
fn fresh_ms(spec: &Spec, d: i64) -> i64 {
    let interval = spec.slo.as_ref().map_or(0, |slo| spec.sensors[slo.target].interval_ms);
    let quarters = d.max(4 * 4 * interval).min(4 * d).min(4 * spec.window_ms);
    (quarters + 4 * spec.step_ms - 1).div_euclid(4 * spec.step_ms) * spec.step_ms
}

/// The steps with a trigger: index in the playbook, trigger, calls.
fn steps(spec: &Spec) -> impl Iterator<Item = (usize, Trigger, &[Call])> {
    spec.playbook.iter().enumerate().filter_map(|(place, step)| match step {
        Step::If { trigger, calls } => Some((place, *trigger, calls.as_slice())),
        Step::Always { .. } => None,
    })
}

/// One `requested` for each call of a step.
fn request(
    incident: &Incident,
    place: usize,
    calls: &[Call],
    at: i64,
    basis: &str,
    fresh: Option<&Sample>,
    told: &mut Vec<Told>,
) {
    let step = place as u32 + 1;
    for (number, call) in (1..).zip(calls) {
        let mut event = json!({
            "event": "requested", "service": incident.spec.id.as_str(), "at": at, "incident": incident.id.to_string(),
            "step": step, "call": number, "verb": call.verb, "basis": basis,
            "action_id": ActionId::of(&incident.id, step, number).to_string(),
        });
        if let Some(fresh) = fresh {
            put_numbers(&mut event, fresh);
        }
        told.push(Told::plain(event, &incident.spec));
    }
}

fn ending(event: &str, incident: &Incident, at: i64) -> Value {
    json!({
        "event": event, "service": incident.spec.id.as_str(), "at": at, "incident": incident.id.to_string(),
        "cause": &*incident.cause, "opened_at": incident.opened_at,
    })
}

fn put_numbers(event: &mut Value, sample: &Sample) {
    event["n"] = json!(sample.n);
    event["over"] = json!(sample.over);
    event["rank"] = json!(sample.rank);
}
