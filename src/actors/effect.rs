//! Did an action have its effect? One window after `done` the *fresh* readings are judged by the objective's own rule,
//! as `still_breach_after` does it: those of the last quarter of that window, or all since `done` if they are fewer
//! than [`FEW`]; beside them stand as many seconds right before the intent. Pure: the autoscaler measures and asks.
//!
//! ```text
//!        before            started  done                                 after
//! --|<---- W/4 ---->|---------|------|---------------------------|<---- W/4 ---->|---> event time
//!                                    |<----------------- W ------------------->  due
//! ```
//!
//! What the readings were comes from `ops.rollups` and the times from `ops.actions`, so that whoever looks says the
//! same. Where the incident is of another cause than the SLO, no reading tells: it is asked whether it was over.

use std::collections::BTreeMap;

use super::role::Task;
use super::role::{AskedBy, EFFECT};
use crate::model::action::{ActionEvent, ActionKind, Effect};
use crate::model::{ActionId, ServiceId};
use crate::sdk::measure::Measured;

/// What a goal says for the check, as in the arguments of the request.
const WINDOW: &str = "window_seconds";
const TARGET: &str = "slo.target";
const OBJECTIVE: &str = "slo.objective_ppm";
/// When the intent was written, for [`Check::of`]; stands nowhere on the bus.
const STARTED: &str = "started_at";
/// Fewer fresh readings say nothing.
const FEW: u64 = 3;
/// A reading that comes later than this is not waited for, ms.
pub const LATENESS_MS: i64 = 5_000;
/// How long after it is due a check waits for a processor that stands still, ms.
const PATIENCE_MS: i64 = 3_600_000;

/// What a goal takes over from the arguments of its request, so that its effect can be checked.
pub fn terms(args: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let wanted = |name: &&String| [WINDOW, TARGET, OBJECTIVE].contains(&name.as_str());
    args.keys().filter(wanted).map(|name| (name.clone(), args[name].clone())).collect()
}

/// The task to check what `done` did, that was begun by `intent`; `None` if the goal does not say by which terms.
pub fn task(done: &ActionEvent, intent: &ActionEvent) -> Option<Task> {
    let (ActionKind::Started { goal }, ActionKind::Done { detail }) = (&intent.kind, &done.kind) else { return None };
    let mut known = detail.clone();
    known.extend(terms(goal));
    known.insert(STARTED.to_owned(), intent.at.to_string());
    let action_id = ActionId::follow_up(&done.action_id, EFFECT, done.target.as_deref().unwrap_or_default());
    let asked_by = AskedBy::Action(Box::new(ActionEvent { kind: ActionKind::Done { detail: known }, ..done.clone() }));
    let task = Task {
        action_id,
        incident: done.incident.clone(),
        verb: EFFECT.to_owned(),
        // It holds up nobody, and nobody it.
        target: format!("effect of {}", done.action_id),
        at_ms: done.at,
        asked_by,
    };
    let due_ms = Check::of(&task)?.due_ms();
    Some(Task { at_ms: due_ms, ..task })
}

/// What is to be looked at, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Whose readings.
    pub service: ServiceId,
    /// Of which sensor; `None` without an objective.
    pub sensor: Option<String>,
    /// The share of readings that must be good, parts per million.
    pub objective_ppm: u32,
    started_ms: i64,
    done_ms: i64,
    window_ms: i64,
}

/// A stretch of event time, `(after, to]`, ms.
pub type Stretch = (i64, i64);

impl Check {
    /// Reads a task back.
    pub fn of(task: &Task) -> Option<Self> {
        let AskedBy::Action(done) = &task.asked_by else { return None };
        let ActionKind::Done { detail } = &done.kind else { return None };
        let number = |name: &str| detail.get(name)?.parse::<f64>().ok();
        Some(Self {
            service: done.service.clone(),
            sensor: detail.get(TARGET).filter(|_| detail.contains_key(OBJECTIVE)).cloned(),
            objective_ppm: number(OBJECTIVE).unwrap_or_default() as u32,
            started_ms: detail.get(STARTED)?.parse().ok()?,
            done_ms: done.at,
            window_ms: (number(WINDOW)? * 1000.0).round() as i64,
        })
    }

    /// One window after `done`, ms.
    pub fn due_ms(&self) -> i64 {
        self.done_ms.saturating_add(self.window_ms)
    }

    /// Before and after, fresh; then the same, all of a window.
    pub fn stretches(&self) -> [(Stretch, Stretch); 2] {
        let of = |ms: i64| ((self.started_ms - ms, self.started_ms), (self.due_ms() - ms, self.due_ms()));
        [of(self.window_ms / 4), of(self.window_ms)]
    }

    /// Is nothing more to come of a processor that has been silent since it was due?
    pub fn is_too_late(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.due_ms()) > PATIENCE_MS
    }
}

/// Of the two pairs that were measured: the fresh ones if they are enough, else those of the whole window.
pub fn choose([fresh, whole]: [(Measured, Measured); 2]) -> (Measured, Measured) {
    if fresh.1.n >= FEW { fresh } else { whole }
}

/// What the readings before and after say.
pub fn by_readings((before, after): (Measured, Measured), objective_ppm: u32) -> ActionKind {
    let basis = if after.n == 0 { "no_readings" } else { "readings" };
    let effect = Effect {
        before: before.p95_estimate,
        before_n: Some(before.n),
        before_over: Some(before.over),
        after: after.p95_estimate,
        after_n: Some(after.n),
        after_over: Some(after.over),
        basis: basis.to_owned(),
    };
    // Nothing read is nothing known, and that is not well.
    let is_well = after.n > 0 && !after.is_breached(objective_ppm);
    if is_well { ActionKind::Verified(effect) } else { ActionKind::Ineffective(effect) }
}

/// Without an objective: was its incident over by then?
pub fn by_incident(is_over: bool) -> ActionKind {
    let effect = Effect { basis: "incident".to_owned(), ..Effect::default() };
    if is_over { ActionKind::Verified(effect) } else { ActionKind::Ineffective(effect) }
}

/// Nobody has measured anything since it was due.
pub fn unseen() -> ActionKind {
    ActionKind::Ineffective(Effect { basis: "no_readings".to_owned(), ..Effect::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[(&str, &str)]) -> Option<Task> {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let started = ActionEvent::scaling(ActionKind::Started { goal: terms(&args) }, 1_000_000);
        let done = ActionEvent::scaling(ActionKind::Done { detail: BTreeMap::new() }, 1_001_000);
        task(&done, &started)
    }

    const TERMS: [(&str, &str); 4] =
        [("window_seconds", "40"), ("slo.target", "q"), ("slo.objective_ppm", "950000"), ("compute", "+2")];

    #[test]
    fn a_check_is_due_one_window_after_done_and_looks_at_its_last_quarter() {
        let task = of(&TERMS).unwrap();
        assert_eq!((task.verb.as_str(), task.at_ms), ("effect", 1_041_000));
        let check = Check::of(&task).unwrap();
        assert_eq!((check.sensor.as_deref(), check.objective_ppm, check.due_ms()), (Some("q"), 950_000, task.at_ms));
        let [fresh, whole] = check.stretches();
        assert_eq!(fresh, ((990_000, 1_000_000), (1_031_000, 1_041_000)));
        assert_eq!(whole, ((960_000, 1_000_000), (1_001_000, 1_041_000)));
        assert!(!check.is_too_late(task.at_ms + PATIENCE_MS) && check.is_too_late(task.at_ms + PATIENCE_MS + 1));
    }

    #[test]
    fn without_an_objective_there_is_no_sensor_and_without_a_window_no_check() {
        assert_eq!(Check::of(&of(&TERMS[..1]).unwrap()).unwrap().sensor, None);
        assert!(of(&TERMS[1..]).is_none(), "an intent of an older release says nothing");
    }

    #[test]
    fn the_verdict_is_the_objectives_own_and_nothing_known_is_not_well() {
        let measured = |n, over| Measured { n, over, p95_estimate: Some(1.0) };
        let verdict = |n, over| by_readings((measured(20, 9), measured(n, over)), 950_000).name();
        assert_eq!(
            [verdict(20, 1), verdict(20, 2), verdict(1, 0), verdict(0, 0)].map(|name| name == "verified"),
            [true, false, true, false]
        );
        assert_eq!((by_incident(true).name(), by_incident(false).name()), ("verified", "ineffective"));
        let few = [(measured(9, 9), measured(2, 0)), (measured(90, 9), measured(80, 70))];
        assert_eq!(choose(few).1.n, 80);
        let enough = [(measured(9, 9), measured(3, 0)), (measured(90, 9), measured(80, 70))];
        assert_eq!(choose(enough).1.n, 3);
    }
}
