//! `ops replay --verify`: the incidents of a range computed again from the readings, beside what was published.

use std::io::{self, Write};

use anyhow::{Context, bail};
use serde_json::json;

use super::connect::Connect;
use super::history::parse_time;
use super::progress::Progress;
use crate::processor::audit::{Auditor, Finding};
use crate::processor::words::difference_text;

/// Compute the incidents of a range again from ops.metrics, and compare them with ops.incidents, byte by byte.
///
/// Reads only, and needs nobody's word: the readings go through the same core as in `ops process`. It begins at the
/// last cut at or before --from (windows and open incidents are restored there), by default at the beginning of the
/// log, else at the first cut that is kept. With processors running, it ends where they have committed.
///
/// Exit code: 0 if every event is equal, 1 if one differs, is missing or is too much, 2 if something failed.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  ops replay --verify\n  ops replay --verify --partition 3 --from 2026-11-24T12:00:00Z --to 2026-11-24T13:00:00Z"
)]
pub struct Args {
    /// Compare. Required: nothing else is done with what is computed.
    #[arg(long, required = true)]
    verify: bool,
    /// One partition; all by default.
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
    /// Where to begin: an offset of ops.metrics, or a time of appending (2026-11-24T12:00:00Z).
    #[arg(long, value_name = "POS|TIME", value_parser = place)]
    from: Option<Place>,
    /// Where to end, likewise; the record there is not part of the range.
    #[arg(long, value_name = "POS|TIME", value_parser = place)]
    to: Option<Place>,
    /// One JSON object a partition and line.
    #[arg(long)]
    json: bool,
    /// Consumer group of the processors.
    #[arg(long, env = "OPS_PROCESSOR_GROUP", default_value = "ops-processor")]
    group: String,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Offset(i64),
    Time(i64),
}

/// A bare number is an offset.
fn place(text: &str) -> Result<Place, String> {
    match text.parse() {
        Ok(offset) if offset >= 0 => Ok(Place::Offset(offset)),
        Ok(_) => Err("an offset is not negative".to_owned()),
        Err(_) => parse_time(text).map(Place::Time).map_err(|error| format!("no offset, and {error:#}")),
    }
}

/// Compares; `Ok(false)` at a difference.
///
/// # Errors
/// What the audit needs is gone, or the cluster does not answer.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let (settings, topics) = args.connect.reach("ops-replay")?;
    let auditor = Auditor::new(settings, topics, &args.group)?;
    let partitions = match args.partition {
        None => 0..auditor.partitions(),
        Some(one) if (0..auditor.partitions()).contains(&one) => one..one + 1,
        Some(one) => bail!("there is no partition {one}: there are {}", auditor.partitions()),
    };
    let mut out = io::stdout().lock();
    let (mut equal, mut differ) = (0, Vec::new());
    for partition in partitions {
        let finding = verify(args, &auditor, partition).with_context(|| format!("partition {partition}"))?;
        equal += finding.equal;
        if finding.difference.is_some() {
            differ.push(partition);
        }
        if args.json {
            writeln!(out, "{}", to_json(&finding))?;
        } else {
            write!(out, "{}", to_text(&finding))?;
        }
    }
    if !args.json {
        match differ.as_slice() {
            [] => writeln!(out, "equal: {equal} events")?,
            differ => writeln!(out, "differs: partitions {differ:?}; {equal} events are equal")?,
        }
    }
    Ok(differ.is_empty())
}

fn verify(args: &Args, auditor: &Auditor, partition: i32) -> anyhow::Result<Finding> {
    let offset = |place: Option<Place>| match place {
        None => Ok(None),
        Some(Place::Offset(offset)) => Ok(Some(offset)),
        Some(Place::Time(ms)) => auditor.offset_at(partition, ms).map(Some),
    };
    let (from, to) = (offset(args.from)?, offset(args.to)?);
    let mut progress = Progress::new();
    let ledger = auditor.open(partition)?;
    let finding = ledger.verify(from, to, &mut |at, end| {
        progress.show(|| format!("partition {partition}: record {at} of {end}"));
    });
    progress.clear();
    Ok(finding?)
}

fn to_json(finding: &Finding) -> serde_json::Value {
    json!({
        "partition": finding.partition,
        "from": finding.from,
        "to": finding.to,
        "from_cut": finding.from_cut,
        "records": finding.records,
        "equal": finding.equal,
        "unplaced": finding.unplaced,
        "gap": finding.gap,
        "difference": finding.difference,
    })
}

fn to_text(finding: &Finding) -> String {
    let Finding { partition, from, to, records, equal, .. } = finding;
    let begin = if finding.from_cut { "a cut" } else { "the beginning" };
    let mut text = format!("partition {partition}: ");
    match &finding.difference {
        None => text.push_str(&format!("equal: {equal} events")),
        Some(_) => text.push_str(&format!("differs after {equal} equal events")),
    }
    text.push_str(&format!(" ({records} records from {begin} at offset {from} to {to})\n"));
    if let Some(gap) = finding.gap {
        text.push_str(&format!("  windows were started anew at offset {gap} (--accept-gap): nothing before it\n"));
    }
    if finding.unplaced > 0 {
        let n = finding.unplaced;
        text.push_str(&format!("  {n} services ended at places that ops.state does not keep any more: by the clock\n"));
    }
    if let Some(difference) = &finding.difference {
        text.push_str(&difference_text(difference, *partition));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_an_offset_and_all_else_a_time() {
        assert_eq!(place("17"), Ok(Place::Offset(17)));
        assert_eq!(place("1970-01-01T00:00:02Z"), Ok(Place::Time(2_000)));
        assert!(place("-1").is_err() && place("yesterday").is_err());
    }
}
