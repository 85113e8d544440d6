//! Facts in words, a line each. Pure; the [`story`](super::story) decides what is told, this how.

use std::collections::BTreeMap;

use crate::model::IncidentId;
use crate::model::action::{ActionEvent, ActionKind, Effect};
use crate::model::incident::{Basis, EventKind, Fresh, IncidentEvent, Recovered, Verdict};

/// Seconds of queue that one character of the bar stands for, and its longest.
const BAR: (f64, usize) = (2.0, 20);

/// The incident that an event is about.
pub fn incident_of(kind: &EventKind) -> Option<&IncidentId> {
    match kind {
        EventKind::Opened { incident, .. }
        | EventKind::Requested { incident, .. }
        | EventKind::Resolved { incident, .. }
        | EventKind::Closed { incident, .. } => Some(incident),
        _ => None,
    }
}

/// The name of an event that an instant brought about and that somebody waits for.
pub fn verdict(kind: &EventKind) -> Option<&'static str> {
    match kind {
        EventKind::Opened { .. } => Some("opened"),
        EventKind::Resolved { .. } => Some("resolved"),
        EventKind::Requested { basis: Basis::FreshData | Basis::InsufficientFreshData, .. } => Some("page requested"),
        _ => None,
    }
}

/// A queue as a number and as a bar; what lies above the threshold is drawn another way.
pub fn queue(queue_s: f64, threshold_s: f64, lanes: u32) -> String {
    let (unit, longest) = BAR;
    let cells = |seconds: f64| ((seconds / unit).round().max(0.0) as usize).min(longest);
    let below = cells(queue_s.min(threshold_s));
    let bar = format!("{}{}", "▒".repeat(below), "█".repeat(cells(queue_s).saturating_sub(below)));
    let lanes = if lanes == 1 { "1 lane".to_owned() } else { format!("{lanes} lanes") };
    format!("{queue_s:>3.0} s {bar:<longest$} {lanes}")
}

/// An event of `ops.incidents`.
pub fn incident(event: &IncidentEvent) -> String {
    match &event.kind {
        EventKind::SpecActivated { from_partition, from_offset, .. } => {
            let hash = event.spec_hash.to_string();
            format!("spec {} judges from record {from_partition}/{from_offset} of ops.metrics on", &hash[..8])
        }
        EventKind::SpecRetired => format!("{} is unregistered", event.service),
        EventKind::Blind { from, to } => {
            format!("the bus stood still for {}: nothing is judged there", seconds(to - from))
        }
        EventKind::NoData => format!("{} has fallen silent", event.service),
        EventKind::DataBack => format!("{} is heard again", event.service),
        EventKind::Opened { incident, verdict: Some(verdict), .. } => format!("{incident}: {}", opened(verdict)),
        EventKind::Opened { incident, cause, .. } => format!("{incident}: {cause}"),
        EventKind::Requested { verb, args, basis, step, fresh, .. } => {
            format!("{} (step {step}{})", call(verb, args), why(*basis, fresh.as_ref()))
        }
        EventKind::Resolved { incident, opened_at, recovered, .. } => {
            let numbers = recovered.as_ref().map_or(String::new(), |numbers| format!(": {}", resolved(numbers)));
            format!("{incident} after {}{numbers}", seconds(event.at - opened_at))
        }
        EventKind::Closed { incident, .. } => format!("{incident}: its spec has ended"),
        EventKind::EpisodeEnded { episode, openings } => format!("{episode} and what followed: {openings} openings"),
    }
}

/// How an action went on; `goal` is what was written down before it was begun.
pub fn action(event: &ActionEvent, goal: Option<&BTreeMap<String, String>>) -> String {
    let target = event.target.as_deref().unwrap_or("nothing");
    let verb = &event.verb;
    let of = |map: Option<&BTreeMap<String, String>>, name: &str| map.and_then(|map| map.get(name)).cloned();
    match &event.kind {
        ActionKind::Done { detail } => match (of(goal, "from"), of(goal, "to"), of(Some(detail), "channel")) {
            (Some(from), Some(to), _) => {
                let part = |name: &str| of(goal, name).unwrap_or_default();
                let uid = part("uid");
                let uid = uid.split('-').next().unwrap_or_default();
                format!("{target}: {from} -> {to} replicas (uid {uid}.., generation {})", part("generation"))
            }
            (_, _, Some(kind)) => format!("{target}, by {kind}"),
            _ => target.to_owned(),
        },
        ActionKind::Started { .. } => format!("{verb} {target} is begun"),
        ActionKind::Failed { reason, .. } | ActionKind::Unknown { reason } | ActionKind::Denied { reason } => {
            format!("{verb} {target}: {reason}")
        }
        ActionKind::Suppressed { reason, .. } => format!("{verb} {target}: {reason}"),
        ActionKind::Awaiting(proposal) => format!("{verb} {target} waits for a human: {}", proposal.why),
        ActionKind::Approved(word) | ActionKind::Rejected(word) => {
            format!("{verb} {target}, by {}: {}", event.actor, word.reason)
        }
        ActionKind::Expired => format!("{verb} {target}: nobody approved it in time"),
        ActionKind::Frozen { reason } | ActionKind::Thawed { reason } => format!("{}: {reason}", event.service),
        ActionKind::Verified(Effect { before, after, .. }) | ActionKind::Ineffective(Effect { before, after, .. }) => {
            let p95 = |value: &Option<f64>| value.map_or("?".to_owned(), |value| format!("{value:.1} s"));
            format!("{verb} {target}: p95 {} -> {}", p95(before), p95(after))
        }
    }
}

/// The estimate is left out: it also covers what is older than the window.
fn resolved(Recovered { n, over, .. }: &Recovered) -> String {
    format!("{over} of {n} readings over the threshold")
}

/// The whole proof in words: so many over, so few allowed.
fn opened(Verdict { threshold, window_from, window_to, n, over, rank, p95_estimate }: &Verdict) -> String {
    let p95 = p95_estimate.map_or(String::new(), |p95| format!(" (p95 ~{p95:.0} s)"));
    let window = seconds(window_to - window_from);
    format!("{over} of {n} readings in {window} over {threshold} s, {} allowed{p95}", n.saturating_sub(*rank))
}

fn why(basis: Basis, fresh: Option<&Fresh>) -> String {
    match (basis, fresh) {
        (Basis::Opened, _) => String::new(),
        (Basis::Resolved, _) => ", because it is over".to_owned(),
        (Basis::FreshData, Some(fresh)) => format!(", {} of {} fresh readings are over it", fresh.over, fresh.n),
        (Basis::FreshData, None) => ", still breached".to_owned(),
        (Basis::InsufficientFreshData, _) => ", too few fresh readings".to_owned(),
    }
}

/// A call as in the playbook. What the actor needs besides has a dot in its name.
fn call(verb: &str, args: &BTreeMap<String, String>) -> String {
    let ours = ["window_seconds", "dry_run"];
    let own = args.iter().filter(|(name, _)| !name.contains('.') && !ours.contains(&name.as_str()));
    own.fold(verb.to_owned(), |call, (name, value)| format!("{call} {name}={value}"))
}

fn seconds(ms: i64) -> String {
    let seconds = ms as f64 / 1000.0;
    if ms % 1000 == 0 { format!("{seconds:.0} s") } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_drawn_to_scale_and_its_excess_stands_out() {
        assert_eq!(queue(12.2, 30.0, 2), " 12 s ▒▒▒▒▒▒               2 lanes");
        assert_eq!(queue(38.0, 30.0, 1), " 38 s ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒████  1 lane");
        assert!(queue(600.0, 30.0, 0).chars().count() < 45, "a closed scanner must not break the line");
    }

    #[test]
    fn a_call_is_shown_as_it_was_written() {
        let args = [("compute", "+2"), ("workload.name", "x"), ("window_seconds", "10")];
        let args = args.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(call("scale_up", &args), "scale_up compute=+2");
    }
}
