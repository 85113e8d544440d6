//! `ops status`: how services are. What is shown is worked out in `sdk::status`.

use std::convert::Infallible;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::connect::Connect;
use crate::model::action::{ActionEvent, ActionKind};
use crate::sdk::status::{Board, Phase, Quality, SloState, Status, TargetState, TargetStatus};
use crate::spec::diagnose::harmless;
use crate::telemetry::clock::{format_time, now_ms};

/// `--watch` shows something new at most so often.
const REFRESH: Duration = Duration::from_secs(1);

/// Shows how services are: objective, counts, open incidents, last actions, rejected readings.
///
/// The counts are of the processor's last cut (about 10 s); incidents are of now. What is not known is `unknown`,
/// never healthy: also if the processor has been silent for 30 s.
///
/// Exit code: 0 healthy, 1 breached, 2 unknown or an error; of several services the worst.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  ops status\n  ops status DCA_Luggage_Scanner --json | jq -r .slo_state\n  ops status --watch"
)]
pub struct Args {
    /// The service; all, if none is given.
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// One JSON object a service and line.
    #[arg(long)]
    json: bool,
    /// Show it again whenever something is new, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    connect: Connect,
}

/// Shows; the exit code is the worst state.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (settings, topics) = args.connect.reach("ops-status")?;
    let mut board = Board::open(&settings, &topics, args.id.as_deref())?;
    let statuses = board.view().statuses(now_ms());
    show(args, &board, &statuses)?;
    if args.watch {
        match watch(args, &mut board, statuses)? {}
    }
    Ok(exit_code(&statuses))
}

/// Shows what is new, until Ctrl-C ends the process.
fn watch(args: &Args, board: &mut Board, mut shown: Vec<Status>) -> anyhow::Result<Infallible> {
    loop {
        let began = Instant::now();
        let news = board.wait(REFRESH)?;
        let now = board.view().statuses(now_ms());
        // Silence is news too: a processor that is gone sends none.
        if news || !now.iter().map(essence).eq(shown.iter().map(essence)) {
            show(args, board, &now)?;
            shown = now;
        }
        std::thread::sleep(REFRESH.saturating_sub(began.elapsed()));
    }
}

/// What must not wait for news.
fn essence(status: &Status) -> (&str, SloState, Quality) {
    (status.service.as_str(), status.slo_state, status.quality)
}

/// 0 healthy, 1 breached, 2 unknown; the worst. No service at all is nothing known.
fn exit_code(statuses: &[Status]) -> ExitCode {
    let worst = statuses.iter().map(|status| status.slo_state).max().unwrap_or(SloState::Unknown);
    ExitCode::from(match worst {
        SloState::Healthy => 0,
        SloState::Breached => 1,
        SloState::Unknown => 2,
    })
}

fn show(args: &Args, board: &Board, statuses: &[Status]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let colour = super::colour(&io::stdout());
    for status in statuses {
        if args.json {
            writeln!(out, "{}", serde_json::to_string(status)?)?;
        } else {
            write!(out, "{}", text(status, now_ms(), colour))?;
        }
    }
    out.flush()?;
    if args.id.is_none() && !args.json {
        if statuses.is_empty() {
            eprintln!("no service is registered");
        }
        let strangers: Vec<_> =
            board.view().strangers(now_ms()).iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        if !strangers.is_empty() {
            eprintln!("rejected in the last hour, of no registered service: {}", strangers.join(", "));
        }
    }
    Ok(())
}

/// A few lines for people.
fn text(status: &Status, now: i64, colour: bool) -> String {
    let mut lines = vec![format!("{} ({}): {}", status.service, harmless(&status.owner), headline(status, colour))];
    lines.extend(counts(status));
    lines.extend(status.frozen.iter().map(super::freeze::describe));
    lines.extend(status.state.iter().filter(|phase| phase.phase != "healthy").map(|phase| cause(phase, status, now)));
    lines.extend(status.targets.iter().map(|target| scraped(target, now)));
    lines.extend(status.last_actions.iter().map(|event| action(event, now)));
    if !status.rejected.is_empty() {
        let reasons: Vec<_> = status.rejected.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        lines.push(format!("rejected in the last hour: {}", reasons.join(", ")));
    }
    if let Some(last) = &status.last_rejected {
        let (at, sample) = (ago(now - last.at), harmless(&last.sample));
        lines.push(format!("last rejected {at}: {} at {}@{}: {sample}", last.reason, last.partition, last.offset));
    }
    lines.join("\n  ") + "\n"
}

fn headline(status: &Status, colour: bool) -> String {
    let (name, code) = match status.slo_state {
        SloState::Healthy => ("healthy", "32"),
        SloState::Breached => ("breached", "1;31"),
        SloState::Unknown => ("unknown", "33"),
    };
    let name = if colour { format!("\u{1b}[{code}m{name}\u{1b}[0m") } else { name.to_owned() };
    let why = match status.quality {
        Quality::Fresh => return name,
        Quality::Stale => "stale: the processor has not been heard of for 30 s",
        Quality::NoData => "no data: its target is silent",
        Quality::Insufficient => "insufficient: too few readings yet",
        Quality::Inactive => "inactive: no processor has taken it up",
        Quality::NoSlo => "it has no slo",
    };
    format!("{name} ({why})")
}

/// `p95 ~ 38.2; 6.1 % of 812 readings above 30 over 300 s`.
fn counts(status: &Status) -> Option<String> {
    let (n, over, threshold, window) = (status.n?, status.over?, status.threshold?, status.window_ms?);
    let share = if n > 0 { 100.0 * over as f64 / n as f64 } else { 0.0 };
    let mut line = format!("{share:.1} % of {n} readings above {threshold} over {} s", window as f64 / 1000.0);
    if let Some(estimate) = status.p95_estimate {
        line.insert_str(0, &format!("p95 ~ {estimate:.4}; "));
    }
    if let Some(age) = status.age_ms {
        line.push_str(&format!("; newest {}", ago(age)));
    }
    if status.late > 0 {
        line.push_str(&format!("; {} late", status.late));
    }
    Some(line)
}

/// `scraped queue_time_seconds: down: status 503; http://scanner.local/metrics, 3 s ago`.
fn scraped(target: &TargetStatus, now: i64) -> String {
    let reason = harmless(target.reason.as_deref().unwrap_or_default());
    let state = match target.state {
        TargetState::Up => format!("up, {} samples on the page", target.samples),
        TargetState::Down => format!("down: {reason}"),
        TargetState::Stale => format!("stale: {reason}"),
    };
    let at = target.scraped_at.map_or_else(String::new, |at| format!(", {}", ago(now - at)));
    format!("scraped {}: {state}; {}{at}", target.sensor, harmless(&target.url))
}

fn cause(phase: &Phase, status: &Status, now: i64) -> String {
    let name = harmless(&phase.cause);
    match status.open_incidents.iter().find(|open| open.cause == phase.cause) {
        Some(open) => {
            let since = format!("since {} ({})", format_time(open.opened_at), ago(now - open.opened_at));
            format!("{name}: {}, incident {} {since}", phase.phase, open.incident)
        }
        None => format!("{name}: {} for {} s", phase.phase, phase.held_ms as f64 / 1000.0),
    }
}

fn action(event: &ActionEvent, now: i64) -> String {
    let reason = match &event.kind {
        ActionKind::Failed { reason, .. }
        | ActionKind::Unknown { reason }
        | ActionKind::Suppressed { reason, .. }
        | ActionKind::Denied { reason } => format!(" ({})", harmless(reason)),
        ActionKind::Awaiting(proposal) => format!(" ({})", harmless(&proposal.reason)),
        _ => String::new(),
    };
    let dry = if event.dry_run { ", dry run" } else { "" };
    let (verb, target) = (harmless(&event.verb), event.target.as_deref().map_or_else(String::new, harmless));
    let what = [verb, target].join(" ");
    format!("{}: {}{reason}{dry}, {} for {}", what.trim(), event.kind.name(), ago(now - event.at), event.incident)
}

/// `12 s ago`.
fn ago(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_the_unit_that_fits() {
        assert_eq!(
            [ago(-5), ago(119_999), ago(120_000), ago(7_200_000)],
            ["0 s ago", "119 s ago", "2 min ago", "2 h ago"]
        );
    }

    #[test]
    fn unknown_is_worse_than_breached() {
        assert!(SloState::Healthy < SloState::Breached && SloState::Breached < SloState::Unknown);
        assert_eq!(format!("{:?}", exit_code(&[])), format!("{:?}", ExitCode::from(2)));
    }
}
