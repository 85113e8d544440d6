//! What a page says, and what it is made of. Its JSON form is for machines; `text` makes words of it, `render` the
//! forms that the receivers take. Pure.

mod render;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::ledger::Ledger;
use super::reason::time;
use super::role::{AskedBy, Task};
use crate::model::action::{ActionEvent, ActionKind, Proposal};
use crate::model::incident::{Basis, EventKind, Fresh, Recovered, Verdict};
use crate::model::{ActionId, IncidentId, ServiceId};

/// The service of a test page: of none that is registered.
const TEST: &str = "ops-page-test";

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
    /// Whose service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
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
    /// The command that shows by what it was decided.
    pub explain: String,
    /// Where a person can look, if there is such a place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Why it comes here, if the spec names another channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Somebody tries the channel; nothing is wrong.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
    /// The channel of `ops.toml` that it goes to; `None`: whichever its name leads to.
    #[serde(skip)]
    pub route: Option<String>,
    /// What it follows in its channel.
    #[serde(skip)]
    pub thread: Thread,
}

/// What was sent before for the same alert to the same channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// The first page of it that is known.
    pub first: Option<ActionId>,
    /// Where its thread begins: a Slack channel's id, and the `ts` of a message there.
    pub slack: Option<(String, String)>,
    /// There may have been something before of which nothing is known here.
    pub may_be_older: bool,
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
            owner: args.get("service.owner").cloned().or_else(|| known?.owner.as_deref().map(str::to_owned)),
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
            explain: format!("ops explain {}", task.incident),
            link: None,
            note: None,
            test: false,
            route: None,
            thread: Thread::default(),
        }
    }

    /// A page that tries a channel, and says so; its clear belongs to it. `at_ms` tells one try from another.
    pub fn test(kind: Kind, channel: &str, severity: &str, at_ms: i64) -> Self {
        let service = ServiceId::new(TEST).expect("a name that follows the rule");
        let incident = IncidentId { service, generation: 0 };
        let dedup_key = format!("{TEST}.{at_ms}");
        let first = ActionId::follow_up(&dedup_key, "page", channel);
        let (what, why) = match kind {
            Kind::Page => ("page", "somebody tries this channel; nothing is wrong, and nothing is to be done"),
            Kind::Clear => ("clear", "the test is over"),
        };
        Self {
            kind,
            action_id: ActionId::follow_up(&dedup_key, what, channel),
            dedup_key,
            channel: channel.to_owned(),
            severity: Some(severity.to_owned()),
            service: incident.service.clone(),
            owner: None,
            cause: Some("test".to_owned()),
            why: why.to_owned(),
            opened_at: None,
            requested_at: at_ms,
            age_seconds: 0,
            opened_by: None,
            fresh: None,
            recovered: None,
            flapping_openings: None,
            tried: Vec::new(),
            attributes: BTreeMap::new(),
            attempt: 1,
            explain: "ops page test --help".to_owned(),
            link: None,
            note: None,
            test: true,
            route: Some(channel.to_owned()),
            thread: Thread { first: (kind == Kind::Clear).then_some(first), ..Thread::default() },
            incident,
        }
    }

    /// The body of a webhook.
    pub fn body(&self) -> Value {
        let mut body = self.facts();
        body["text"] = self.headline().into();
        body
    }

    /// All that is known, as JSON.
    fn facts(&self) -> Value {
        // Strings, numbers and maps with text keys: there is nothing that could not be written.
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn why(asked_by: &AskedBy) -> String {
    let event = match asked_by {
        AskedBy::Incident { event, .. } => event,
        AskedBy::Action(of) => {
            let target = of.target.as_deref().unwrap_or_default();
            let reason = match &of.kind {
                ActionKind::Unknown { reason } => reason.as_str(),
                ActionKind::Awaiting(Proposal { why, expires_at, .. }) => {
                    let until = time(*expires_at);
                    let answer =
                        format!("answer with ops approve {0} or ops deny {0}, or in the war room", of.action_id);
                    return format!("{} {target} waits for a human until {until} ({why}): {answer}", of.verb);
                }
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
        // By which means a person was told, not under which number.
        ActionKind::Done { detail } if matches!(event.verb.as_str(), "page" | "clear") => {
            detail.get("channel").cloned().unwrap_or_default()
        }
        ActionKind::Started { goal } => pairs(goal),
        ActionKind::Done { detail } => pairs(detail),
        ActionKind::Failed { reason, .. }
        | ActionKind::Unknown { reason }
        | ActionKind::Suppressed { reason, .. }
        | ActionKind::Denied { reason } => reason.clone(),
        ActionKind::Awaiting(proposal) => proposal.why.clone(),
        ActionKind::Approved(word) | ActionKind::Rejected(word) => word.reason.clone(),
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
