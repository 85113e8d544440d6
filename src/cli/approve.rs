//! `ops approve` and `ops deny`: a human's word on what a guard has handed over. What may be said when is `sdk::approve`'s.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::bail;

use super::connect::Connect;
use super::freeze::reason;
use crate::model::action::ActionEvent;
use crate::sdk::actions::{Deed, Deeds};
use crate::sdk::approve::{self, Pending, Said};
use crate::spec::diagnose::harmless;
use crate::telemetry::clock::format_time;
use crate::telemetry::clock::now_ms;

/// How far back requests are looked for, ms: longer than anything waits.
const PAST_MS: i64 = 86_400_000;

/// Lets an action be done that waits for a human (`ops actions` shows which). Shows what will be done, and asks.
///
/// What is approved is exactly what is shown: the actor decides again, and if anything else would come of it the action
/// is `suppressed`, `changed`. All guards but the one that handed it over are asked again. It is good once.
///
/// Exit code: 0 if it is approved, 1 if it does not wait (any more) or you said no, 2 if something failed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  ops approve 5f0c9a1b\n  ops approve 5f0c9a1b --reason 'agreed with TSA' --yes")]
pub struct Args {
    #[command(flatten)]
    hand: Hand,
    /// Why, for whoever wonders.
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = reason)]
    reason: String,
}

/// Refuses an action that waits for a human. It ends as `denied`, with the reason and your name.
///
/// Exit code: 0 if it is refused, 1 if it does not wait (any more) or you said no, 2 if something failed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  ops deny 5f0c9a1b --reason 'the database is the trouble'")]
pub struct DenyArgs {
    #[command(flatten)]
    hand: Hand,
    /// Why, for whoever wonders.
    #[arg(long, value_name = "TEXT", value_parser = needed)]
    reason: String,
}

/// What both take.
#[derive(clap::Args, Debug)]
struct Hand {
    /// The action's id, or how it begins.
    #[arg(value_name = "ACTION", value_parser = beginning)]
    action: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Who says it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "somebody")]
    by: String,
    #[command(flatten)]
    connect: Connect,
}

/// A reason that is one.
fn needed(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("say why".to_owned()) } else { reason(text) }
}

/// As an id begins.
fn beginning(text: &str) -> Result<String, String> {
    let is_hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex || !(4..=32).contains(&text.len()) {
        return Err("an action's id, or its first 4 hex digits or more".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

/// Approves.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    say(&args.hand, true, &args.reason)
}

/// Refuses.
pub fn deny(args: &DenyArgs) -> anyhow::Result<bool> {
    say(&args.hand, false, &args.reason)
}

fn say(hand: &Hand, is_yes: bool, reason: &str) -> anyhow::Result<bool> {
    let (settings, topics) = hand.connect.reach(if is_yes { "ops-approve" } else { "ops-deny" })?;
    let mut deeds = Deeds::read(&settings, &topics, None, now_ms() - PAST_MS)?;
    let deed = match find(&deeds.all(), &hand.action) {
        Ok(deed) => deed.clone(),
        Err(said) => {
            eprintln!("{said}");
            return Ok(false);
        }
    };
    if let Some(pending) = approve::pending(&deed, now_ms()) {
        eprint!("{}", describe(&pending));
        if !hand.yes && !confirmed(is_yes)? {
            return Ok(false);
        }
    }
    // The question may have taken its time.
    let (asked, proposal) = match approve::open(&deed, None, now_ms()) {
        Ok(open) => open,
        Err(refused) => {
            eprintln!("{}: {refused}", deed.action_id);
            return Ok(false);
        }
    };
    let word = approve::say(&settings, &topics, (asked, proposal), is_yes, &hand.by, reason)?;
    match approve::read_back(&mut deeds, &word)? {
        Said::Counts => {
            println!("{}", told(&word));
            Ok(true)
        }
        Said::Too(refused) => {
            eprintln!("{}: {refused}", word.action_id);
            Ok(false)
        }
        Said::Unseen => bail!("it is written, but was not read back in time: look at `ops actions`"),
    }
}

/// The one that is meant: of several that begin so, the one that waits.
fn find<'a>(all: &[&'a Deed], beginning: &str) -> Result<&'a Deed, String> {
    let mut found: Vec<_> =
        all.iter().copied().filter(|deed| deed.action_id.to_string().starts_with(beginning)).collect();
    if found.len() > 1 {
        found.retain(|deed| deed.is_awaiting());
    }
    match found[..] {
        [one] => Ok(one),
        [] => Err(format!("no action that waits begins with {beginning}; `ops actions` shows them")),
        _ => Err(format!("{} actions that wait begin with {beginning}: give more of the id", found.len())),
    }
}

/// What a human needs to know before they say anything.
fn describe(pending: &Pending) -> String {
    let left = (pending.expires_at - now_ms()).max(0) / 1000;
    let until = format!("{} ({left} s left)", format_time(pending.expires_at));
    let owner = pending.owner.as_deref().unwrap_or("?");
    let lines = [
        ("action", pending.action_id.to_string()),
        ("service", format!("{} of {owner}, incident {}", pending.service, pending.incident)),
        ("what", pending.what.clone()),
        ("touches", pending.blast_radius.clone()),
        ("held by", format!("{}: {}", pending.reason, pending.why)),
        ("until", until),
    ];
    lines.map(|(name, text)| format!("{name:<8} {}\n", harmless(&text))).concat()
}

/// Asks on a terminal.
fn confirmed(is_yes: bool) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask on: say --yes");
    }
    eprint!("{} it? [y/N] ", if is_yes { "Approve" } else { "Deny" });
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(is_consent(&line))
}

fn is_consent(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// `approved: scale_up deployment scanner for scanner.1, by alice: why`.
fn told(word: &ActionEvent) -> String {
    let reason = word.kind.word().map_or("", |word| word.reason.as_str());
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let target = word.target.as_deref().unwrap_or_default();
    let said = format!("{}: {} {target} for {}, by {}{reason}", word.kind.name(), word.verb, word.incident, word.actor);
    harmless(&said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_hex_and_long_enough_and_a_denial_says_why() {
        assert_eq!(beginning("5F0C"), Ok("5f0c".to_owned()));
        for bad in ["5f0", "", "xyz12", "../..", &"0".repeat(33)] {
            assert!(beginning(bad).is_err(), "{bad}");
        }
        assert!(needed(" ").is_err() && needed("a\nb").is_err() && needed("because").is_ok());
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        assert!(
            is_consent("y\n") && is_consent(" YES ") && !is_consent("\n") && !is_consent("no") && !is_consent("yo")
        );
    }
}
