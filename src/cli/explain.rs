//! `ops explain`: the evidence of one incident, and whether it leads to the same when it is computed again.

use std::io::{self, Write};

use anyhow::Context;
use serde_json::{Value, json};

use super::backtest::sentence;
use super::connect::Connect;
use super::history::format_time;
use super::progress::Progress;
use super::replay::{difference_json, difference_text};
use crate::model::IncidentId;
use crate::model::incident::{EventKind, IncidentEvent, Verdict};
use crate::model::spec::Spec;
use crate::processor::audit::Auditor;
use crate::processor::explain::{Explanation, Readings};

/// Show by what an incident was decided: spec, window, counts, the readings' offsets, requests, resolve.
///
/// All of it is computed again from the log, from a cut before the incident; the last line says `confirmed`, or where
/// it differs from what was published.
///
/// Exit code: 0 if it is confirmed, 1 if it differs, 2 if there is no such incident or its readings are gone.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  ops explain DCA_Luggage_Scanner.1")]
pub struct Args {
    /// Such as DCA_Luggage_Scanner.1.
    #[arg(value_name = "INCIDENT")]
    incident: IncidentId,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// Consumer group of the processors.
    #[arg(long, env = "OPS_PROCESSOR_GROUP", default_value = "ops-processor")]
    group: String,
    #[command(flatten)]
    connect: Connect,
}

/// Explains; `Ok(false)` at a difference.
///
/// # Errors
/// There is no such incident; its readings are gone; the cluster does not answer.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let (settings, topics) = args.connect.reach("ops-explain")?;
    let auditor = Auditor::new(settings, topics.clone(), &args.group)?;
    let incident = &args.incident;
    let ledger = auditor.open(incident.service.home(auditor.partitions()))?;
    let mut progress = Progress::new();
    let explained = ledger.explain(incident, &mut |at, end| progress.show(|| format!("record {at} of {end}")));
    progress.clear();
    let explanation = explained?.with_context(|| {
        format!("{} holds no opening of {incident} (ops status shows what is open)", topics.incidents)
    })?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", to_json(incident, &explanation))?;
    } else {
        write!(out, "{}", to_text(&explanation))?;
    }
    Ok(explanation.difference.is_none())
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

fn to_json(incident: &IncidentId, explanation: &Explanation) -> Value {
    let opening = opening(explanation);
    let verdict = opening.and_then(|(_, _, verdict)| verdict);
    let line = opening.zip(explanation.spec.as_ref()).and_then(|((_, cause, _), spec)| cause_line(spec, cause));
    let Readings { n, over, first, last, latest } = &explanation.readings;
    let events: Vec<Value> = explanation
        .events
        .iter()
        .map(|(offset, event)| {
            let mut event = serde_json::to_value(event).unwrap_or_default();
            event["offset"] = json!(offset);
            event
        })
        .collect();
    json!({
        "incident": incident,
        "partition": explanation.partition,
        "cause": opening.map(|(_, cause, _)| cause),
        "spec_hash": opening.map(|(event, _, _)| event.spec_hash),
        "spec_line": line.as_ref().map(|(number, _)| number),
        "spec_text": line.map(|(_, text)| text),
        "allowed": verdict.map(|verdict| verdict.n - verdict.rank),
        "readings": {
            "n": n, "over": over, "first_offset": first, "last_offset": last,
            "ts": latest.map(|(ts, _)| ts), "value": latest.map(|(_, value)| value),
        },
        "events": events,
        "computed_from": explanation.from,
        "computed_to": explanation.to,
        "confirmed": explanation.difference.is_none(),
        "difference": explanation.difference.as_ref().map(difference_json),
    })
}

fn to_text(explanation: &Explanation) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, text: String| lines.push(format!("{name:10}  {text}\n"));
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
    let computed = format!("records {from}..{} of ops.metrics/{partition}", to - 1);
    match &explanation.difference {
        None => line("confirmed", format!("computed again from {computed}: every byte is the same")),
        Some(difference) => {
            line("differs", format!("computed again from {computed}"));
            lines.push(difference_text(difference, *partition));
        }
    }
    lines.concat()
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
