//! A spec in plain words: what is judged, what opens incidents, what is done when, and which bounds were assumed
//! because the file does not give them. Called by `ops check --explain`.

use std::fmt::Write;

use super::diagnose::harmless;
use super::number::Decimal;
use super::read::duration_text;
use crate::model::spec::{Call, Cause, Condition, Sensor, Slo, Spec, Step, Trigger};

/// What will happen when, as text of several lines.
pub fn explain(spec: &Spec) -> String {
    let mut told = format!("{}, owned by {}\n", spec.id, harmless(&spec.owner));
    heading(&mut told, "Readings");
    for sensor in &spec.sensors {
        line(&mut told, &sensor_text(sensor));
    }
    heading(&mut told, "Verdict");
    match &spec.slo {
        Some(slo) => verdict(&mut told, spec, slo),
        None => line(&mut told, "None: the file has no `slo`."),
    }
    heading(&mut told, "Incidents");
    for cause in &spec.causes {
        line(&mut told, &cause_text(spec, cause));
    }
    if spec.causes.is_empty() {
        line(&mut told, "None: nothing opens one.");
    } else {
        recovery(&mut told, spec);
    }
    heading(&mut told, "Playbook");
    for (index, step) in spec.playbook.iter().enumerate() {
        line(&mut told, &format!("{}. {}", index + 1, step_text(spec, step)));
    }
    if spec.playbook.is_empty() {
        line(&mut told, "No steps: incidents are published and kept, and nothing is done.");
    }
    if spec.dry_run {
        line(&mut told, "Dry run: actors say what they would do, and touch nothing. Pages go out all the same.");
    }
    heading(&mut told, "Bounds of scaling");
    limits(&mut told, spec);
    told
}

fn heading(told: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(told, "\n{text}");
}

fn line(told: &mut String, text: &str) {
    let _ = writeln!(told, "  {}", harmless(text));
}

fn sensor_text(sensor: &Sensor) -> String {
    if sensor.is_event {
        return format!("{} is an event: each reading above 0 is one occurrence.", sensor.name);
    }
    let unit = super::unit_name(sensor.unit);
    let source = sensor.scrape_url.as_ref().map_or(String::new(), |url| format!(", scraped from {url}"));
    format!(
        "{} ({unit}): one about every {}{source}; silence of {} is no data.",
        sensor.name,
        duration_text(sensor.interval_ms),
        duration_text(sensor.no_data_after_ms)
    )
}

fn verdict(told: &mut String, spec: &Spec, slo: &Slo) {
    let target = &spec.sensors[slo.target].name;
    let (step, window) = (duration_text(spec.step_ms), duration_text(spec.window_ms));
    let percent = percent_text(slo.objective_ppm);
    line(told, &format!("Every {step}, over the readings of {target} of the last {window}:"));
    line(
        told,
        &format!("breached if the {percent} % nearest-rank percentile is above {}; equal is healthy;", slo.threshold),
    );
    line(
        told,
        &format!(
            "insufficient with fewer than {} readings. Each instant waits {} for late readings.",
            slo.min_samples,
            duration_text(spec.lateness_ms)
        ),
    );
}

fn percent_text(ppm: u32) -> String {
    Decimal::parse(&format!("{}.{:04}", ppm / 10_000, ppm % 10_000)).map_or_else(String::new, Decimal::canonical)
}

fn cause_text(spec: &Spec, cause: &Cause) -> String {
    let held = match cause.for_ms {
        0 => "as soon as".to_owned(),
        ms => format!("once for {}", duration_text(ms)),
    };
    match &cause.condition {
        Condition::Slo => format!("`slo` opens {held} the verdict is breached."),
        Condition::NoData => format!("`{}` opens {held} the verdict is no data.", cause.text),
        Condition::Comparison { sensor, .. } => {
            format!("`{}` opens {held} the latest reading of {} satisfies it.", cause.text, spec.sensors[*sensor].name)
        }
        Condition::Event { .. } => format!("`{}` opens at an occurrence.", cause.text),
    }
}

fn recovery(told: &mut String, spec: &Spec) {
    let clear = match &spec.slo {
        Some(slo) => format!(" (the SLO: the percentile is at or below {})", slo.recover_threshold),
        None => String::new(),
    };
    line(
        told,
        &format!("Each is resolved once its cause was clear for {}{clear}.", duration_text(spec.recover_for_ms)),
    );
    line(
        told,
        &format!(
            "Another opening within {} continues the episode; from opening {} on it is flapping, and its alert stays.",
            duration_text(spec.flap_window_ms),
            spec.flap_limit
        ),
    );
}

fn step_text(spec: &Spec, step: &Step) -> String {
    match step {
        Step::Always { log_to } => format!("Always: everything is kept in {log_to} (with or without this line)."),
        Step::If { trigger, calls } => {
            let when = match trigger {
                Trigger::Opened { cause } => format!("When `{}` opens", spec.causes[*cause].text),
                Trigger::Recovered => "When the SLO's incident is resolved".to_owned(),
                Trigger::StillBreachAfter { after_ms } => format!(
                    "When the SLO's incident is {} old, or later, and fresh readings are still bad or missing",
                    duration_text(*after_ms)
                ),
            };
            let what: Vec<String> = calls.iter().map(|call| call_text(spec, call)).collect();
            format!("{when}: {}.", what.join("; "))
        }
    }
}

fn call_text(spec: &Spec, call: &Call) -> String {
    let arg = |name: &str| call.args.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let workload = format!("{} {}", spec.workload.kind, spec.workload.name);
    let replicas = arg("compute").trim_start_matches(['+', '-']);
    match call.verb.as_str() {
        "scale_up" => format!("add {replicas} replicas to {workload}"),
        "scale_down" => format!("take {replicas} replicas from {workload}"),
        "scale" => format!("set {workload} to {replicas} replicas"),
        "page" => format!("page channel {} ({})", arg("channel"), arg("severity")),
        "throttle" => format!("shed {} of the traffic", arg("by")),
        "rollback" => format!("roll {workload} back to its revision before"),
        "isolate" => "isolate the pod that the reading names".to_owned(),
        verb => verb.to_owned(),
    }
}

fn limits(told: &mut String, spec: &Spec) {
    let workload = &spec.workload;
    let namespace = workload.namespace.as_deref().unwrap_or("the connection's namespace");
    let context = workload.context.as_ref().map_or(String::new(), |context| format!(", context {context}"));
    line(told, &format!("Of {} {} in {namespace}{context}:", workload.kind, workload.name));
    let bounds = [
        ("at least", spec.limits.min, "1"),
        ("at most", spec.limits.max, "the larger of 10 and twice the replicas seen"),
        ("in one action at most", spec.limits.max_step, "4"),
    ];
    for (what, given, assumed) in bounds {
        match given {
            Some(value) => line(told, &format!("{what} {value}.")),
            None => line(told, &format!("{what} {assumed} (assumed: `limits` does not say).")),
        }
    }
}
