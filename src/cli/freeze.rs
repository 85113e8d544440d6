//! `ops freeze` and `ops thaw`: the human's hand on all actions.

use super::connect::Connect;
use crate::bus::{Offsets, Settings};
use crate::model::ServiceId;
use crate::model::action::{ActionEvent, ActionKind};
use crate::model::topics::Topics;
use crate::sdk::{Catalog, actions, freeze};
use crate::spec::diagnose::harmless;
use crate::telemetry::clock::format_time;

/// Stops all actions, of every service or of one, until somebody thaws them. Pages go out all the same.
///
/// Whatever has not begun when this command ends is not begun: its request is answered `suppressed`, `frozen`. Who did
/// it and why stands on ops.actions, and `ops status` shows it.
///
/// Exit code: 0 if it holds, 1 if no such service is registered, 2 if something failed (it may hold or not; do it
/// again).
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  ops freeze --reason 'migration until 18:00'\n  ops freeze --service DCA_Luggage_Scanner"
)]
pub struct Args {
    #[command(flatten)]
    hand: Hand,
}

/// Lets actions go on that were frozen. What was refused meanwhile stays refused.
///
/// A freeze of all services and that of one are two: thawing all thaws no service that was frozen by itself.
///
/// Exit code: 0 if nothing is frozen by that any more, 1 if nothing was, 2 if something failed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  ops thaw\n  ops thaw --service DCA_Luggage_Scanner")]
pub struct ThawArgs {
    #[command(flatten)]
    hand: Hand,
}

/// What both take.
#[derive(clap::Args, Debug)]
struct Hand {
    /// Of this service alone.
    #[arg(long, value_name = "ID")]
    service: Option<String>,
    /// Why, for whoever wonders.
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = reason)]
    reason: String,
    /// Who does it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "somebody")]
    by: String,
    #[command(flatten)]
    connect: Connect,
}

/// A line that people read: short, and nothing else.
pub(super) fn reason(text: &str) -> Result<String, String> {
    if text.len() > 500 || text.chars().any(char::is_control) {
        return Err("one line of at most 500 bytes".to_owned());
    }
    Ok(text.to_owned())
}

/// Freezes.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let hand = &args.hand;
    let (settings, topics) = hand.connect.reach("ops-freeze")?;
    let Some(service) = hand.registered(&settings, &topics)? else { return Ok(false) };
    let kind = ActionKind::Frozen { reason: hand.reason.clone() };
    let event = freeze::switch(&settings, &topics, service.as_ref(), &hand.by, kind)?;
    println!("{}", describe(&event));
    Ok(true)
}

/// Thaws.
pub fn thaw(args: &ThawArgs) -> anyhow::Result<bool> {
    let hand = &args.hand;
    let (settings, topics) = hand.connect.reach("ops-thaw")?;
    // Of one that was unregistered meanwhile too.
    let service = hand
        .service
        .as_deref()
        .map(|name| ServiceId::new(name).ok_or_else(|| anyhow::anyhow!("{name:?} is no service id")));
    let service = service.transpose()?;
    let of = service.clone().unwrap_or_else(ServiceId::ops);
    let frozen = actions::frozen(&settings, &topics)?;
    if !frozen.all().any(|event| event.service == of) {
        eprintln!("nothing is frozen by that");
        say_what_is_left(frozen.all());
        return Ok(false);
    }
    let kind = ActionKind::Thawed { reason: hand.reason.clone() };
    let event = freeze::switch(&settings, &topics, service.as_ref(), &hand.by, kind)?;
    println!("{}", describe(&event));
    say_what_is_left(frozen.all().filter(|event| event.service != of));
    Ok(true)
}

fn say_what_is_left<'a>(frozen: impl Iterator<Item = &'a ActionEvent>) {
    frozen.for_each(|event| eprintln!("still: {}", describe(event)));
}

impl Hand {
    /// The service, if one is named: `None` if it is not registered, which is said.
    fn registered(&self, settings: &Settings, topics: &Topics) -> anyhow::Result<Option<Option<ServiceId>>> {
        let Some(name) = &self.service else { return Ok(Some(None)) };
        let catalog = Catalog::read(settings, &Offsets::new(settings)?, topics)?;
        match catalog.get(name) {
            Ok((id, _)) => Ok(Some(Some(id.clone()))),
            Err(unknown) => {
                eprintln!("{unknown}");
                Ok(None)
            }
        }
    }
}

/// `FROZEN: all actions, since ... by ...: why`.
pub fn describe(event: &ActionEvent) -> String {
    let what = if event.service == ServiceId::ops() { "all actions".to_owned() } else { event.service.to_string() };
    let (name, reason) = match &event.kind {
        ActionKind::Frozen { reason } => ("FROZEN", reason),
        ActionKind::Thawed { reason } => ("thawed", reason),
        _ => ("", &event.verb),
    };
    let reason = if reason.is_empty() { String::new() } else { format!(": {}", harmless(reason)) };
    format!("{name}: {what}, since {} by {}{reason}", format_time(event.at), harmless(&event.actor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_froze_what_and_why_is_one_line() {
        let frozen = ActionKind::Frozen { reason: "a\nb".to_owned() };
        let said = describe(&ActionEvent::switch(frozen, &ServiceId::ops(), "me", 0));
        assert!(said.starts_with("FROZEN: all actions, since 1970-01-01T00:00:00Z by me: a"), "{said}");
        assert_eq!(said.lines().count(), 1);
        assert!(reason("two\nlines").is_err() && reason(&"x".repeat(501)).is_err() && reason("fine").is_ok());
    }
}
