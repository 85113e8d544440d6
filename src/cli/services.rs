//! `ops services` and `ops unregister`: what is registered, and an end to it.

use std::io::{self, Write};

use serde_json::json;

use super::connect::Connect;
use super::register::{Wait, answer};
use crate::bus::Offsets;
use crate::model::spec::{Slo, Spec};
use crate::sdk::catalog::Entry;
use crate::sdk::{self, Catalog, Error};
use crate::telemetry::clock::format_time;

/// Lists the registered services: id, owner, objective, sensors.
///
/// What is registered is what `ops.services` says; whether the processor judges by it, `ops status` tells.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  ops services\n  ops services --json | jq -r .service")]
pub struct Args {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

/// Retires a service: its readings are rejected from then on, its open incidents are closed.
///
/// Its history stays, and the numbers of its incidents go on if it is registered again.
///
/// Exit code: 0 if it is retired, 1 if no such service is registered, 2 if something failed.
#[derive(clap::Args, Debug)]
pub struct UnregisterArgs {
    /// The service.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    connect: Connect,
}

/// Lists.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let (settings, topics) = args.connect.reach("ops-services")?;
    let catalog = Catalog::read(&settings, &Offsets::new(&settings)?, &topics)?;
    catalog.unreadable().for_each(|what| eprintln!("warning: a record of {} is none: {what}", topics.services));
    let mut out = io::stdout().lock();
    let width = catalog.entries().map(|(id, _)| id.as_str().len()).max().unwrap_or(0);
    for (id, entry) in catalog.entries() {
        if args.json {
            writeln!(out, "{}", to_json(entry))?;
        } else {
            let owner = &entry.registration.owner;
            writeln!(out, "{:width$}  {owner}  {}", id.as_str(), entry.spec.as_ref().map_or_else(unread, summary))?;
        }
    }
    Ok(true)
}

fn unread(findings: &crate::spec::Findings) -> String {
    format!("(this release refuses its spec: {findings})")
}

/// `p95 of queue_time_seconds <= 30 over 300 s; sensors: ...`.
fn summary(spec: &Spec) -> String {
    let objective = spec.slo.as_ref().map_or_else(|| "no slo".to_owned(), |slo| objective(spec, slo));
    let sensors: Vec<_> = spec.sensors.iter().map(|sensor| &*sensor.name).collect();
    format!("{objective}; sensors: {}", if sensors.is_empty() { "none".to_owned() } else { sensors.join(", ") })
}

fn objective(spec: &Spec, slo: &Slo) -> String {
    let target = &spec.sensors[slo.target].name;
    let quantile = f64::from(slo.objective_ppm) / 10_000.0;
    format!("p{quantile} of {target} <= {} over {} s", slo.threshold, spec.window_ms as f64 / 1000.0)
}

fn to_json(entry: &Entry) -> serde_json::Value {
    let registration = &entry.registration;
    let mut json = json!({
        "service": registration.service,
        "owner": registration.owner,
        "spec_hash": entry.hash(),
        "registered_at": registration.registered_at,
        "registered": format_time(registration.registered_at),
        "by": registration.by,
    });
    match &entry.spec {
        Ok(spec) => {
            json["sensors"] = spec.sensors.iter().map(|sensor| json!(&*sensor.name)).collect();
            json["slo"] = json!(spec.slo.as_ref().map(|slo| json!({
                "target": &*spec.sensors[slo.target].name,
                "threshold": slo.threshold,
                "objective": f64::from(slo.objective_ppm) / 1e6,
                "window_ms": spec.window_ms,
            })));
        }
        Err(findings) => json["error"] = json!(findings.to_string()),
    }
    json
}

/// Retires; `Ok(false)` if there is no such service.
pub fn unregister(args: &UnregisterArgs) -> anyhow::Result<bool> {
    let (settings, topics) = args.connect.reach("ops-unregister")?;
    match sdk::unregister(&settings, &topics, &args.id, args.wait.timeout()) {
        Ok((id, activation)) => {
            eprintln!("{id}: unregistered; {}", answer(activation));
            Ok(true)
        }
        Err(error @ Error::UnknownService(_)) => {
            eprintln!("{error}");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_summed_up_in_a_line() {
        let text = "id: s\nowner: o\nsensors:\n  - name: q\n  - name: r\nslo:\n  target: q\n  threshold: 30\n";
        let spec = crate::spec::parse(text).unwrap().spec;
        assert_eq!(summary(&spec), "p95 of q <= 30 over 300 s; sensors: q, r");
        let spec = crate::spec::parse("id: s\nowner: o\n").unwrap().spec;
        assert_eq!(summary(&spec), "no slo; sensors: none");
    }
}
