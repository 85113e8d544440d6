//! An [`Explanation`] as people and programs are shown it: by `ops explain` and by the war room, in the same words.

use schemars::JsonSchema;
use serde::Serialize;

use super::explain::{Explanation, Readings};
use super::replay::Difference;
use super::words::{difference_text, sentence};
use crate::model::incident::{EventKind, IncidentEvent, Verdict};
use crate::model::spec::Spec;
use crate::model::{IncidentId, SpecHash};
use crate::telemetry::clock::format_time;

/// One fact: the word that it goes under, and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fact {
    /// `spec`, `window`, `verdict`, `estimate`, `readings`, an event's name, `confirmed` or `differs`.
    pub name: String,
    /// For people.
    pub text: String,
}

/// By what an incident was decided, and whether it is the same when it is computed again.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Evidence {
    /// Which.
    pub incident: IncidentId,
    /// Partition of `ops.metrics` and `ops.incidents`.
    pub partition: i32,
    /// `slo`, or the condition as written.
    pub cause: Option<String>,
    /// Of the spec that it was opened with.
    pub spec_hash: Option<SpecHash>,
    /// The line of its text in which the cause stands, from 1.
    pub spec_line: Option<usize>,
    /// That line.
    pub spec_text: Option<String>,
    /// So many readings of the window may be above the threshold.
    pub allowed: Option<u64>,
    /// What it was decided by.
    pub readings: Counted,
    /// As they were published, in order.
    pub events: Vec<Published>,
    /// The first record that was computed again.
    pub computed_from: i64,
    /// The last one, + 1.
    pub computed_to: i64,
    /// Every byte is the same.
    pub confirmed: bool,
    /// Where it is not.
    pub difference: Option<Difference>,
}

/// The readings that were counted when an incident was opened.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Counted {
    /// How many.
    pub n: u64,
    /// Those above the SLO's threshold.
    pub over: u64,
    /// Offset of the first in `ops.metrics`.
    pub first_offset: Option<i64>,
    /// Offset of the last.
    pub last_offset: Option<i64>,
    /// Event time of the reading by which a comparison or an event holds, ms.
    pub ts: Option<i64>,
    /// Its value.
    pub value: Option<f64>,
}

/// An event of the incident, with its offset in `ops.incidents`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Published {
    /// In the partition of the evidence.
    pub offset: i64,
    /// What it says.
    #[serde(flatten)]
    pub event: IncidentEvent,
}

impl Evidence {
    /// All of it, for programs.
    pub fn of(incident: &IncidentId, explanation: &Explanation) -> Self {
        let opening = opening(explanation);
        let verdict = opening.and_then(|(_, _, verdict)| verdict);
        let line = opening.zip(explanation.spec.as_ref()).and_then(|((_, cause, _), spec)| cause_line(spec, cause));
        let Readings { n, over, first, last, latest } = explanation.readings;
        let events = explanation.events.iter();
        Self {
            incident: incident.clone(),
            partition: explanation.partition,
            cause: opening.map(|(_, cause, _)| cause.to_owned()),
            spec_hash: opening.map(|(event, _, _)| event.spec_hash),
            spec_line: line.as_ref().map(|(number, _)| *number),
            spec_text: line.map(|(_, text)| text),
            allowed: verdict.map(|verdict| verdict.n - verdict.rank),
            readings: Counted {
                n,
                over,
                first_offset: first,
                last_offset: last,
                ts: latest.map(|(ts, _)| ts),
                value: latest.map(|(_, value)| value),
            },
            events: events.map(|(offset, event)| Published { offset: *offset, event: event.clone() }).collect(),
            computed_from: explanation.from,
            computed_to: explanation.to,
            confirmed: explanation.difference.is_none(),
            difference: explanation.difference.clone(),
        }
    }
}

/// All of it, its [`facts`] line by line, for people.
pub fn text(explanation: &Explanation, facts: &[Fact]) -> String {
    let mut text: String = facts.iter().map(|Fact { name, text }| format!("{name:10}  {text}\n")).collect();
    if let Some(difference) = &explanation.difference {
        text.push_str(&difference_text(difference, explanation.partition));
    }
    text
}

/// All of it, fact by fact; a difference is only named.
pub fn facts(explanation: &Explanation) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut line = |name: &str, text: String| facts.push(Fact { name: name.to_owned(), text });
    if let Some((event, cause, verdict)) = opening(explanation) {
        line("spec", spec_text(explanation, event, cause));
        if let Some(verdict) = verdict {
            verdict_lines(&verdict, &mut line);
        }
    }
    line("readings", readings_text(explanation));
    for (offset, event) in &explanation.events {
        line(
            crate::codec::incident::name(&event.kind),
            format!("{}, offset {offset}{}", sentence(event), numbers(event)),
        );
    }
    let Explanation { from, to, partition, .. } = explanation;
    let computed = format!("computed again from records {from}..{} of ops.metrics/{partition}", to - 1);
    match &explanation.difference {
        None => line("confirmed", format!("{computed}: every byte is the same")),
        Some(_) => line("differs", computed),
    }
    facts
}

/// The cause and the numbers of the opening.
fn opening(explanation: &Explanation) -> Option<(&IncidentEvent, &str, Option<Verdict>)> {
    explanation.events.iter().find_map(|(_, event)| match &event.kind {
        EventKind::Opened { cause, verdict, .. } => Some((event, &**cause, *verdict)),
        _ => None,
    })
}

/// The line of the spec's text in which the cause stands: of the SLO its threshold.
fn cause_line(spec: &Spec, cause: &str) -> Option<(usize, String)> {
    let word = if cause == "slo" { "threshold" } else { cause };
    let mut lines = (1..).zip(spec.text.lines());
    lines.find(|(_, line)| line.contains(word)).map(|(number, line)| (number, line.trim().to_owned()))
}

fn spec_text(explanation: &Explanation, opened: &IncidentEvent, cause: &str) -> String {
    let place = match &explanation.spec {
        Some(spec) => cause_line(spec, cause).map(|(number, text)| format!(", line {number}: {text}")),
        None => Some(", whose text is not on the topic any more".to_owned()),
    };
    format!("{}{}", opened.spec_hash, place.unwrap_or_default())
}

fn verdict_lines(verdict: &Verdict, line: &mut impl FnMut(&str, String)) {
    let Verdict { threshold, window_from, window_to, n, over, rank, p95_estimate } = verdict;
    line("window", format!("({}, {}]", format_time(*window_from), format_time(*window_to)));
    let allowed = n - rank;
    line("verdict", format!("{over} of {n} over {threshold}; the rank is {rank}, so {allowed} are allowed: breached"));
    if let Some(estimate) = p95_estimate {
        line("estimate", format!("the quantile is about {estimate:.4}; the counts decide, not this"));
    }
}

fn readings_text(explanation: &Explanation) -> String {
    let Readings { n, over, first, last, latest } = &explanation.readings;
    let partition = explanation.partition;
    match (first, last, latest) {
        (Some(first), _, Some((ts, value))) => {
            format!("offset {first} of ops.metrics/{partition}: {value} at {}", format_time(*ts))
        }
        (Some(first), Some(last), None) => {
            format!("offsets {first}..{last} of ops.metrics/{partition}: {n} counted in the window, {over} over")
        }
        _ => "none: it is their absence".to_owned(),
    }
}

/// What the sentence leaves out.
fn numbers(event: &IncidentEvent) -> String {
    match &event.kind {
        EventKind::Requested { step, call, action_id, fresh, .. } => {
            let fresh = fresh.map_or_else(String::new, |fresh| {
                format!(", {} of {} fresh readings over (rank {})", fresh.over, fresh.n, fresh.rank)
            });
            format!(", step {step}.{call}, action {action_id}{fresh}")
        }
        EventKind::Resolved { recovered: Some(numbers), .. } => {
            let estimate = numbers.p95_estimate.map_or_else(String::new, |p95| format!(", quantile about {p95:.4}"));
            format!(", rank {}{estimate}", numbers.rank)
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_found_in_the_text_of_its_spec() {
        let text = "id: s\nowner: o\nsensors:\n  - name: q\n  - {name: e, unit: ratio}\nslo:\n  target: q\n  threshold: 30\n\
                    playbook:\n  - if: e > 2 % for 5 min\n    then: page channel=x\n";
        let spec = crate::spec::parse(text).unwrap().spec;
        assert_eq!(cause_line(&spec, "slo"), Some((8, "threshold: 30".to_owned())));
        assert_eq!(cause_line(&spec, &spec.causes[1].text).map(|(line, _)| line), Some(10));
    }
}
