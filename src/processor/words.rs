//! What was decided, and where two decisions differ, in words for people. Used by the commands and the war room.

use serde_json::Value;

use crate::model::incident::{Basis, EventKind, IncidentEvent};
use crate::processor::replay::Difference;
use crate::telemetry::clock::format_time;

/// One event as a line for people.
pub fn sentence(event: &IncidentEvent) -> String {
    let what = match &event.kind {
        EventKind::SpecActivated { .. } => "spec activated".to_owned(),
        EventKind::SpecRetired => "spec retired".to_owned(),
        EventKind::Blind { from, to } => format!("blind from {} to {}", format_time(*from), format_time(*to)),
        EventKind::NoData => "no data".to_owned(),
        EventKind::DataBack => "data is back".to_owned(),
        EventKind::Opened { incident, cause, verdict, flapping, .. } => {
            let numbers = verdict.map(|v| format!(": {}", share(v.over, v.n, v.threshold))).unwrap_or_default();
            let flapping = if *flapping { " (flapping)" } else { "" };
            format!("opened {incident} by {cause}{numbers}{flapping}")
        }
        EventKind::Requested { incident, verb, args, basis, .. } => {
            let own: Vec<_> = args.iter().filter(|(name, _)| !name.contains(['.', '_'])).collect();
            let args: String = own.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            format!("requested {verb}{args} for {incident} ({})", basis_name(*basis))
        }
        EventKind::Resolved { incident, opened_at, recovered, .. } => {
            let n = recovered.map(|r| format!(", {} of {} over", r.over, r.n)).unwrap_or_default();
            format!("resolved {incident} after {} s{n}", (event.at - opened_at) / 1000)
        }
        EventKind::Closed { incident, reason, .. } => format!("closed {incident}: {reason:?}").to_lowercase(),
        EventKind::EpisodeEnded { episode, openings } => format!("episode {episode} ended after {openings} openings"),
    };
    format!("{} {} {what}", format_time(event.at), event.service)
}

fn share(over: u64, n: u64, threshold: f64) -> String {
    format!("{:.1} % of {n} readings over {threshold}", over as f64 * 100.0 / n as f64)
}

fn basis_name(basis: Basis) -> &'static str {
    match basis {
        Basis::Opened => "opened",
        Basis::Resolved => "resolved",
        Basis::FreshData => "still bad by fresh readings",
        Basis::InsufficientFreshData => "too few fresh readings to say that it is better",
    }
}

/// A difference for people: where, what, and both sides.
pub fn difference_text(difference: &Difference, partition: i32) -> String {
    let at = |offset: i64| format!("offset {offset} of ops.incidents/{partition}");
    let decided = |position: i64| format!("record {position} of ops.metrics/{partition}");
    let what = match (difference.offset, difference.position, difference.parts.as_slice()) {
        (Some(offset), Some(position), parts) => {
            format!("{}, decided by {}: another {}", at(offset), decided(position), parts.join(", "))
        }
        (Some(offset), None, _) => format!("{}: an event that nothing has led to", at(offset)),
        (None, position, _) => {
            format!("an event is missing, decided by {}", decided(position.unwrap_or_default()))
        }
    };
    let mut text = format!("  {what}\n");
    for (name, side) in [("committed", &difference.committed), ("computed", &difference.computed)] {
        let side = side.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        text.push_str(&format!("    {name:9}  {side}\n"));
    }
    if let (Some(committed), Some(computed)) = (&difference.committed, &difference.computed) {
        let fields = fields_that_differ(committed, computed);
        if !fields.is_empty() {
            text.push_str(&format!("    in         {}\n", fields.join(", ")));
        }
        let at = computed["at"].as_i64().map_or_else(String::new, format_time);
        text.push_str(&format!("    at         {at}\n"));
    }
    text
}

fn fields_that_differ(one: &Value, other: &Value) -> Vec<String> {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else { return Vec::new() };
    let mut names: Vec<String> = one.keys().chain(other.keys()).cloned().collect();
    names.sort();
    names.dedup();
    names.retain(|name| one.get(name) != other.get(name));
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_names_its_place_and_its_fields() {
        let difference = Difference {
            offset: Some(7),
            position: Some(90),
            parts: vec!["value"],
            committed: Some(json!({"event": "opened", "n": 5, "at": 1000})),
            computed: Some(json!({"event": "opened", "n": 6, "at": 1000})),
        };
        let text = difference_text(&difference, 2);
        assert!(text.contains("offset 7 of ops.incidents/2, decided by record 90"), "{text}");
        assert!(text.contains("in         n\n"), "{text}");
        let missing = Difference { offset: None, committed: None, parts: Vec::new(), ..difference };
        assert!(difference_text(&missing, 2).contains("committed  nothing"));
    }
}
