//! `ops explain`: the evidence of one incident, and whether it leads to the same when it is computed again.

use std::io::{self, Write};

use anyhow::Context;

use super::connect::Connect;
use super::progress::Progress;
use crate::model::IncidentId;
use crate::processor::audit::Auditor;
use crate::processor::evidence::{self, Evidence};

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
        writeln!(out, "{}", serde_json::to_string(&Evidence::of(incident, &explanation))?)?;
    } else {
        write!(out, "{}", evidence::text(&explanation, &evidence::facts(&explanation)))?;
    }
    Ok(explanation.difference.is_none())
}
