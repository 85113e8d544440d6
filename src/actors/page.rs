//! What a page says: to a machine as JSON, to a human as a block of text. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::ledger::Ledger;
use super::role::{AskedBy, Task};
use crate::model::action::{ActionEvent, ActionKind};
use crate::model::incident::{Basis, EventKind, Fresh, Recovered, Verdict};
use crate::model::{ActionId, IncidentId, ServiceId};

/// Width of the block's frame, characters.
const WIDTH: usize = 72;

/// Raise or clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody is to look.
    Page,
    /// Nobody needs to look any more.
    Clear,
}

/// A page, or the notice that clears it. Its JSON form is the body of a webhook; absent numbers are left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page {
    /// Raise or clear.
    pub kind: Kind,
    /// Also the `Idempotency-Key`: the same id is the same page.
    pub action_id: ActionId,
    /// Pages with the same key belong to one alert (the episode's), and a clear with it ends the alert.
    pub dedup_key: String,
    /// As the spec calls it.
    pub channel: String,
    /// As the spec says (`severity=critical`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Whose trouble.
    pub service: ServiceId,
    /// Which.
    pub incident: IncidentId,
    /// `slo`, or the condition as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Why now, in words.
    pub why: String,
    /// When the incident was opened, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<i64>,
    /// When the page was requested, ms.
    pub requested_at: i64,
    /// How old the request was when the page went out, s.
    pub age_seconds: i64,
    /// The numbers by which the incident was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<Verdict>,
    /// The numbers of the fresh readings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh: Option<Fresh>,
    /// The recovered numbers, of a clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered: Option<Recovered>,
    /// It opens and resolves again and again: this is opening number so and so of its episode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flapping_openings: Option<u32>,
    /// What was tried for the incident, oldest first.
    pub tried: Vec<Tried>,
    /// The attributes of the reading that opened it.
    pub attributes: BTreeMap<String, String>,
    /// From 1; a repeat has the next number.
    pub attempt: u32,
}

/// An action of the same incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// What.
    pub verb: String,
    /// To what.
    pub target: String,
    /// How far it got: `started`, `done`, `failed`, `suppressed`, ...
    pub event: String,
    /// Why, or with which result.
    pub detail: String,
    /// When, ms.
    pub at: i64,
}

impl Page {
    /// The page of a task, from what the ledger knows.
    pub fn of(task: &Task, ledger: &Ledger, episode: String, attempt: u32, now_ms: i64) -> Self {
        let known = ledger.incident(&task.incident);
        let (args, fresh, recovered) = match &task.asked_by {
            AskedBy::Incident { event, .. } => match &event.kind {
                EventKind::Requested { args, fresh, .. } => (args.clone(), *fresh, None),
                EventKind::Resolved { recovered, .. } => (BTreeMap::new(), None, *recovered),
                _ => (BTreeMap::new(), None, None),
            },
            AskedBy::Action(_) => (BTreeMap::new(), None, None),
        };
        let attribute =
            |(name, value): (&String, &String)| Some((name.strip_prefix("attr.")?.to_owned(), value.clone()));
        let others = ledger.tried(&task.incident).into_iter();
        Self {
            kind: if task.verb == "clear" { Kind::Clear } else { Kind::Page },
            action_id: task.action_id,
            dedup_key: episode,
            channel: task.target.clone(),
            severity: args.get("severity").cloned(),
            service: task.incident.service.clone(),
            incident: task.incident.clone(),
            cause: known.map(|known| known.cause.to_string()),
            why: why(&task.asked_by),
            opened_at: known.map(|known| known.opened_at_ms),
            requested_at: task.at_ms,
            age_seconds: now_ms.saturating_sub(task.at_ms).max(0) / 1000,
            opened_by: known.and_then(|known| known.verdict),
            fresh,
            recovered,
            flapping_openings: known.filter(|known| known.flapping).map(|known| known.openings),
            tried: others.filter(|event| event.action_id != task.action_id).map(tried).collect(),
            attributes: args.iter().filter_map(attribute).collect(),
            attempt,
        }
    }

    /// The body of a webhook.
    pub fn body(&self) -> Value {
        // Strings, numbers and maps with text keys: there is nothing that could not be written.
        let mut body = serde_json::to_value(self).unwrap_or_default();
        body["text"] = self.headline().into();
        body
    }

    /// One line.
    pub fn headline(&self) -> String {
        let cause = self.cause.as_deref().unwrap_or("unknown cause");
        match self.kind {
            Kind::Page => format!("{}: {cause}, incident {}: {}", self.service, self.incident, self.why),
            Kind::Clear => format!("{}: {cause}, incident {} is over: {}", self.service, self.incident, self.why),
        }
    }

    /// The block for people; `note` says why it is shown here.
    pub fn block(&self, note: Option<&str>) -> String {
        let title = match (self.kind, self.severity.as_deref()) {
            (Kind::Page, Some(severity)) => format!(" PAGE {} ({severity}) ", self.channel),
            (Kind::Page, None) => format!(" PAGE {} ", self.channel),
            (Kind::Clear, _) => format!(" ALL CLEAR {} ", self.channel),
        };
        let mut block = format!("\n{:=^WIDTH$}\n", harmless(&title));
        let mut line = |name: &str, text: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(block, "{name:<9} {}", harmless(text));
        };
        line("service", &format!("{}   incident {}", self.service, self.incident));
        if let Some(cause) = &self.cause {
            line("cause", cause);
        }
        line("why", &self.why);
        if let Some(opened_at) = self.opened_at {
            let open = self.requested_at.saturating_add(self.age_seconds * 1000).saturating_sub(opened_at);
            line("since", &format!("{} ({} ago)", time(opened_at), span(open)));
        }
        if let Some(Verdict { threshold, window_from, window_to, n, over, p95_estimate, .. }) = self.opened_by {
            let p95 = p95_estimate.map_or(String::new(), |p95| format!(", p95 about {p95:.1}"));
            let window = span(window_to.saturating_sub(window_from));
            line("how bad", &format!("{over} of {n} readings over {threshold} in {window}{p95}"));
        }
        if let Some(Fresh { n, over, .. }) = self.fresh {
            line("now", &format!("{over} of the {n} freshest readings over it"));
        }
        if let Some(Recovered { n, over, .. }) = self.recovered {
            line("now", &format!("{over} of {n} readings over it"));
        }
        if let Some(openings) = self.flapping_openings {
            line("flapping", &format!("opening number {openings} of this episode"));
        }
        for Tried { verb, target, event, detail, .. } in &self.tried {
            line("tried", &format!("{verb} {target}: {event} {detail}"));
        }
        for (name, value) in &self.attributes {
            line("attribute", &format!("{name} = {value}"));
        }
        if self.age_seconds >= 60 && self.kind == Kind::Page {
            line("late", &format!("this page was requested {} ago", span(self.age_seconds * 1000)));
        }
        if let Some(note) = note {
            line("note", note);
        }
        block.push_str(&"=".repeat(WIDTH));
        block.push('\n');
        block
    }
}

fn why(asked_by: &AskedBy) -> String {
    let event = match asked_by {
        AskedBy::Incident { event, .. } => event,
        AskedBy::Action(of) => {
            let target = of.target.as_deref().unwrap_or_default();
            let reason = match &of.kind {
                ActionKind::Unknown { reason } => reason.as_str(),
                ActionKind::Suppressed { reason, detail } => {
                    let why = detail.get("why").unwrap_or(reason);
                    return format!("{} {target} was held back ({why}); please look", of.verb);
                }
                _ => "",
            };
            return format!("nobody can tell whether {} {target} was done ({reason}); please look", of.verb);
        }
    };
    match &event.kind {
        EventKind::Requested { basis, .. } => match basis {
            Basis::Opened => "the incident was opened",
            Basis::Resolved => "the incident was resolved",
            Basis::FreshData => "it did not get better: the fresh readings are bad too",
            Basis::InsufficientFreshData => "too few fresh readings to say that it got better",
        },
        EventKind::Resolved { .. } => "resolved",
        EventKind::Closed { .. } => "closed with its spec",
        EventKind::EpisodeEnded { .. } => "quiet again after flapping",
        _ => "",
    }
    .to_owned()
}

fn tried(event: &ActionEvent) -> Tried {
    let pairs = |map: &BTreeMap<String, String>| {
        map.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    };
    let detail = match &event.kind {
        ActionKind::Started { goal } => pairs(goal),
        ActionKind::Done { detail } => pairs(detail),
        ActionKind::Failed { reason, .. }
        | ActionKind::Unknown { reason }
        | ActionKind::Suppressed { reason, .. }
        | ActionKind::Denied { reason } => reason.clone(),
        ActionKind::Expired
        | ActionKind::Verified(_)
        | ActionKind::Ineffective(_)
        | ActionKind::Frozen { .. }
        | ActionKind::Thawed { .. } => String::new(),
    };
    Tried {
        verb: event.verb.clone(),
        target: event.target.clone().unwrap_or_default(),
        event: event.kind.name().to_owned(),
        detail,
        at: event.at,
    }
}

/// What comes from specs, readings and targets cannot move the cursor or forge lines.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.0}"))
}

/// `1 h 5 min`, `65 s`.
fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 if seconds % 60 == 0 => format!("{} min", seconds / 60),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
