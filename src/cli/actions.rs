//! `ops actions`: what was asked of the actors, and what became of it. What is shown is worked out in `sdk::actions`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::time::Duration;

use super::connect::Connect;
use super::{dta, freeze};
use crate::bus::Offsets;
use crate::model::action::{ActionEvent, ActionKind, Effect, Proposal};
use crate::sdk::Catalog;
use crate::sdk::actions::{Deed, Deeds};
use crate::spec::diagnose::harmless;
use crate::telemetry::clock::{format_time, now_ms};

/// `--watch` looks so often whether it is to end.
const LOOK: Duration = Duration::from_secs(1);
/// Widest column but the last, characters.
const WIDEST: usize = 44;
/// So much of an id tells one from another.
const SHORT: usize = 12;

/// Shows what was asked of the actors, what they did or refused and why, and whether it helped.
///
/// First comes what waits for a human, `awaiting`, with the time that is left: `ops approve`, `ops deny`.
///
/// `waiting` is what a playbook asked for and nobody has answered: its actor does not run, or is busy with the same
/// target, or there is none for the verb.
///
/// Exit code: 0, also if there is nothing to show; 2 if something failed.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  ops actions\n  ops actions --service DCA_Luggage_Scanner --since 7d\n  ops actions --json | jq -r 'select(.state == \"suppressed\") | .reason'\n  ops actions --watch"
)]
pub struct Args {
    /// Of this service alone.
    #[arg(long, value_name = "ID")]
    service: Option<String>,
    /// What was heard of since then: an age (90s, 2h, 7d) or a time (2026-01-31T08:00:00Z).
    #[arg(long, value_name = "AGE|TIME", default_value = "24h")]
    since: String,
    /// One JSON object an action and line.
    #[arg(long)]
    json: bool,
    /// Go on and show whatever changes, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    connect: Connect,
}

/// Shows.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let since = dta::time(&args.since, jiff::Timestamp::now())?;
    let (settings, topics) = args.connect.reach("ops-actions")?;
    let only = match &args.service {
        Some(name) => {
            let catalog = Catalog::read(&settings, &Offsets::new(&settings)?, &topics)?;
            Some(catalog.get(name)?.0.clone())
        }
        None => None,
    };
    let mut deeds = Deeds::read(&settings, &topics, only, since)?;
    show(args, &deeds)?;
    if args.watch {
        match watch(args, &mut deeds)? {}
    }
    Ok(true)
}

fn show(args: &Args, deeds: &Deeds) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let mut all = deeds.all();
    // The rest stays in its order.
    all.sort_by_key(|deed| !deed.is_awaiting());
    if args.json {
        for deed in all {
            writeln!(out, "{}", serde_json::to_string(deed)?)?;
        }
    } else {
        for frozen in deeds.frozen().all() {
            writeln!(out, "{}", freeze::describe(frozen))?;
        }
        if all.is_empty() {
            eprintln!("nothing was asked or done");
        }
        write!(out, "{}", table(all.into_iter().map(row)))?;
    }
    out.flush()?;
    Ok(())
}

/// Shows what changes, until Ctrl-C ends the process.
fn watch(args: &Args, deeds: &mut Deeds) -> anyhow::Result<Infallible> {
    loop {
        for action in deeds.wait(LOOK, |_| {})? {
            let Some(deed) = deeds.get(&action) else { continue };
            let mut out = io::stdout().lock();
            if args.json {
                writeln!(out, "{}", serde_json::to_string(deed)?)?;
            } else {
                write!(out, "{}", table(std::iter::once(row(deed))))?;
            }
            out.flush()?;
        }
    }
}

/// When, for what, what, to what, how far, why.
fn row(deed: &Deed) -> [String; 6] {
    let call = |name: &str| deed.request.as_ref().and_then(|request| request.args.get(name)).cloned();
    let what = match call("compute").or_else(|| call("by")) {
        Some(argument) => format!("{} {argument}", deed.verb),
        None => deed.verb.clone(),
    };
    let dry = if deed.events.iter().any(|event| event.dry_run) { " (dry run)" } else { "" };
    let waits = awaited(deed);
    let state = match (deed.effect, waits) {
        (Some(effect), _) => format!("{}, {effect}", deed.state),
        (None, Some(proposal)) => format!("{}, {}", deed.state, time_left(proposal.expires_at - now_ms())),
        (None, None) => format!("{}{dry}", deed.state),
    };
    let whom = if deed.incident.generation == 0 { deed.service.to_string() } else { deed.incident.to_string() };
    let target = deed.target.clone().or_else(|| call("channel")).unwrap_or_default();
    let texts = [format_time(deed.at()), whom, what, target, state, why(deed)];
    texts.map(|text| harmless(&text))
}

/// What waits for a human, if it does.
fn awaited(deed: &Deed) -> Option<&Proposal> {
    deed.asked().and_then(ActionEvent::proposal).filter(|_| deed.is_awaiting())
}

/// What is to be said besides: the change, the reason, the effect.
fn why(deed: &Deed) -> String {
    let mut said = Vec::new();
    let has_goal = |kind: &ActionKind| matches!(kind, ActionKind::Started { .. } | ActionKind::Awaiting(_));
    let change = |map: &BTreeMap<String, String>| Some(format!("replicas {} -> {}", map.get("from")?, map.get("to")?));
    match deed.last(has_goal).map(|event| &event.kind) {
        Some(ActionKind::Started { goal }) => said.extend(change(goal)),
        Some(ActionKind::Awaiting(proposal)) => said.extend(change(&proposal.goal)),
        _ => {}
    }
    if let Some(proposal) = awaited(deed) {
        let id = deed.action_id.to_string();
        said.push(format!("{}: {}; ops approve {}", proposal.reason, proposal.why, &id[..SHORT]));
        return said.join("; ");
    }
    if let Some(word) = deed.word() {
        said.push(format!("{} by {}", word.kind.name(), word.actor));
    }
    match deed.last(|kind| kind.is_outcome() || kind.is_switch()).map(|event| (&event.kind, &event.actor)) {
        Some((ActionKind::Suppressed { reason, detail }, _)) => {
            let why = detail.get("why").map_or(String::new(), |why| format!(": {why}"));
            said.push(format!("{reason}{why}"));
        }
        Some((ActionKind::Frozen { .. } | ActionKind::Thawed { .. }, who)) => said.push(format!("by {who}")),
        _ => {}
    }
    if deed.state != "suppressed" {
        said.extend(deed.reason.clone().filter(|reason| !reason.is_empty()));
    }
    if let Some(ActionKind::Verified(effect) | ActionKind::Ineffective(effect)) =
        deed.last(ActionKind::is_effect).map(|event| &event.kind)
    {
        said.extend(compare(effect));
    }
    said.join("; ")
}

/// `9 min left`.
fn time_left(ms: i64) -> String {
    match ms {
        ..=0 => "its time is over".to_owned(),
        1..120_000 => format!("{} s left", ms / 1000),
        _ => format!("{} min left", ms / 60_000),
    }
}

/// `p95 ~ 38.2 -> 12.1, 9 of 40 over -> 0 of 41`.
fn compare(effect: &Effect) -> Option<String> {
    let p95 = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |value| format!("{value:.4}"));
    let (before, after) = (effect.before_over.zip(effect.before_n)?, effect.after_over.zip(effect.after_n)?);
    Some(format!(
        "p95 ~ {} -> {}, {} of {} over -> {} of {}",
        p95(effect.before),
        p95(effect.after),
        before.0,
        before.1,
        after.0,
        after.1
    ))
}

/// Rows whose columns stand below each other; the last may be as long as it likes.
fn table(rows: impl Iterator<Item = [String; 6]>) -> String {
    let rows: Vec<_> = rows.collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count()).min(WIDEST);
        }
    }
    let mut text = String::new();
    for row in rows {
        let line: Vec<_> = row.iter().zip(widths).map(|(text, width)| format!("{text:width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_no_line_ends_in_blanks() {
        let row = |first: &str, last: &str| [first, "b", "c", "d", "e", last].map(str::to_owned);
        let text = table([row("a", "last"), row("aaaa", "")].into_iter());
        assert_eq!(text, "a     b  c  d  e  last\naaaa  b  c  d  e\n");
    }

    #[test]
    fn what_waits_for_a_human_says_how_long() {
        let told = [-1, 0, 119_999, 120_000, 599_000].map(time_left);
        assert_eq!(told, ["its time is over", "its time is over", "119 s left", "2 min left", "9 min left"]);
    }

    #[test]
    fn an_effect_is_told_by_counts() {
        let effect = Effect {
            before: Some(38.25),
            before_n: Some(40),
            before_over: Some(9),
            after_n: Some(41),
            after_over: Some(0),
            ..Effect::default()
        };
        assert_eq!(compare(&effect).unwrap(), "p95 ~ 38.2500 -> ?, 9 of 40 over -> 0 of 41");
        assert_eq!(compare(&Effect::default()), None);
    }
}
