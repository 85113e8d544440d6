//! The pager: `page`, to channels by name. Pages pass every guard and wait for nothing; only a page whose incident
//! is over is not sent. What it raised it clears: at `resolved` or `closed`, or, once an episode is flapping, at
//! `episode_ended`. It also pages when another actor does not know what became of its action or waits for a human, and
//! when the pipeline stands still ([`stall`]).
//!
//! A clear is an action like any other, so that it survives a crash: verb `clear`, id by
//! [`ActionId::follow_up`] from the incident (of `episode_ended`, the episode), the name of the event that ends it,
//! and the channel. It covers all pages of that channel up to its incident. The page about an unknown outcome has
//! its id from the action, `unknown`, and the channel.
//!
//! It reads on while a page is under way. If the incident ends meanwhile, the clear waits behind the page in the queue of
//! their channel, for the intent is known from the moment that it is decided: no trigger comes after its clear.
//!
//! Pages are sent at least once: every possible repeat carries the same id and is counted.

use std::collections::BTreeMap;

use super::approval::Approval;
use super::channel::{Channels, DEFAULT, Route};
use super::claim::Claims;
use super::counters::Counters;
use super::delivery::deliver;
use super::error::Error;
use super::frame::{self, Actor};
use super::ledger::{Incident, Ledger};
use super::page::{Page, Thread};
use super::role::{AskedBy, Decision, Role, Task};
use super::stall;
use super::watch::Watch;
use crate::codec;
use crate::model::action::{ActionEvent, ActionKind};
use crate::model::incident::{Basis, EventKind, IncidentEvent};
use crate::model::{ActionId, IncidentId};
use crate::torture::{self, Sabotage};

/// Its name on `ops.actions`.
const NAME: &str = "pager";
/// The group's name if the user gives none.
pub const GROUP: &str = "ops-pager";

/// What the pager is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// As every actor. `dry_run` has no effect: pages pass every guard.
    pub frame: frame::Options,
    /// Who can be paged.
    pub channels: Channels,
    /// An address at which a person can look; `{incident}` and `{service}` in it stand for theirs.
    pub link: Option<String>,
}

/// Starts the pager.
///
/// # Errors
/// As [`Actor::start`].
pub fn start(options: Options) -> Result<Actor, Error> {
    start_with(options, None)
}

/// The same, and it watches the pipeline: what stands still it pages about by itself.
///
/// # Errors
/// As [`Actor::start`].
pub fn start_watching(options: Options, watch: Watch) -> Result<Actor, Error> {
    start_with(options, Some(watch))
}

fn start_with(Options { mut frame, channels, link }: Options, watch: Option<Watch>) -> Result<Actor, Error> {
    frame.dry_run = false;
    Actor::start(Pager { channels, link, claims: Claims::default(), watch }, frame)
}

/// See the module.
struct Pager {
    channels: Channels,
    link: Option<String>,
    claims: Claims,
    watch: Option<Watch>,
}

impl Role for Pager {
    const VERBS: &'static [&'static str] = &["page", "clear"];

    type Seen = ();
    type Order = Page;

    fn name(&self) -> &'static str {
        NAME
    }

    fn asked(&self, offset: i64, event: &IncidentEvent, ledger: &Ledger) -> Vec<Task> {
        asked(offset, event, ledger)
    }

    fn noticed(&self, partition: i32, ledger: &Ledger) -> Vec<IncidentEvent> {
        let found = self.watch.as_ref().and_then(|watch| watch.stalls(partition));
        found.map_or_else(Vec::new, |stalls| stall::news(&stalls, ledger))
    }

    fn asked_by_action(&self, told: &ActionEvent, _: &Ledger) -> Option<Task> {
        if told.actor == NAME {
            return None;
        }
        let action_id = match &told.kind {
            ActionKind::Unknown { .. } | ActionKind::Awaiting(_) => {
                ActionId::follow_up(&told.action_id, told.kind.name(), DEFAULT)
            }
            // A dry run has come to the bounds of the automation, and asks nobody: once an incident and bound.
            ActionKind::Suppressed { reason, .. } if reason.starts_with("budget_") => {
                ActionId::follow_up(&told.incident, reason, DEFAULT)
            }
            _ => return None,
        };
        Some(Task {
            action_id,
            incident: told.incident.clone(),
            verb: "page".to_owned(),
            target: DEFAULT.to_owned(),
            at_ms: told.at,
            asked_by: AskedBy::Action(Box::new(told.clone())),
        })
    }

    fn before_looking(&self, task: &Task, ledger: &Ledger, _: i64) -> Option<ActionKind> {
        suppressed(task, ledger)
    }

    fn claims(&self) -> Option<&Claims> {
        Some(&self.claims)
    }

    async fn look(&self, _: &Task) {}

    fn decide(&self, task: &Task, (): (), ledger: &Ledger, now_ms: i64) -> Decision<Page> {
        let mut decision = decide(task, ledger, now_ms);
        if let Decision::Begin { goal, order: page } = &mut decision {
            self.address(page);
            goal.extend(page.route.clone().map(|route| ("route".to_owned(), route)));
        }
        decision
    }

    async fn act(&self, _: &Task, page: Page, counters: &Counters) -> ActionKind {
        deliver(&self.channels, &page, counters, &self.claims).await
    }
}

impl Pager {
    /// Says where a page goes, and where a person can look.
    fn address(&self, page: &mut Page) {
        let asked = page.route.as_deref().unwrap_or(&page.channel);
        let Route { name, note } = self.channels.route(asked, page.owner.as_deref());
        if let Some(note) = &note {
            tracing::warn!(action = %page.action_id, "{note}");
        }
        (page.route, page.note) = (name, note);
        page.link = self.link.as_ref().map(|link| {
            link.replace("{incident}", &page.incident.to_string()).replace("{service}", page.service.as_str())
        });
    }
}

/// What an event asks of the pager: a page, or to clear what is raised.
pub(super) fn asked(offset: i64, event: &IncidentEvent, ledger: &Ledger) -> Vec<Task> {
    let asked_by = AskedBy::Incident { offset, event: Box::new(event.clone()) };
    let clear = |of: &IncidentId, incident: &IncidentId, channel: &str| Task {
        action_id: ActionId::follow_up(of, codec::incident::name(&event.kind), channel),
        incident: incident.clone(),
        verb: "clear".to_owned(),
        target: channel.to_owned(),
        at_ms: event.at,
        asked_by: asked_by.clone(),
    };
    match &event.kind {
        EventKind::Requested { incident, verb, args, action_id, .. } if &**verb == "page" => vec![Task {
            action_id: *action_id,
            incident: incident.clone(),
            verb: verb.to_string(),
            target: args.get("channel").map_or(DEFAULT, String::as_str).to_owned(),
            at_ms: event.at,
            asked_by: asked_by.clone(),
        }],
        // It may open again in a moment: the alert stays until the episode ends.
        EventKind::Resolved { incident, .. } if ledger.incident(incident).is_some_and(|known| known.flapping) => {
            Vec::new()
        }
        EventKind::Resolved { incident, .. } | EventKind::Closed { incident, .. } => {
            let alerts = ledger.alerts(incident, cleared_episode(event, ledger).as_deref(), None);
            let pages = alerts.iter().filter_map(|id| ledger.action(id)?.intent.as_ref());
            by_channel(pages).into_keys().map(|channel| clear(incident, incident, &channel)).collect()
        }
        EventKind::EpisodeEnded { episode, .. } => by_channel(ledger.alerts_of_episode(&episode.to_string()))
            .into_iter()
            .map(|(channel, last)| clear(episode, &last, &channel))
            .collect(),
        _ => Vec::new(),
    }
}

/// The channels of pages, with the last incident of each.
fn by_channel<'a>(pages: impl Iterator<Item = &'a ActionEvent>) -> BTreeMap<String, IncidentId> {
    let mut channels: BTreeMap<String, IncidentId> = BTreeMap::new();
    for page in pages {
        let last = channels.entry(page.target.clone().unwrap_or_default()).or_insert_with(|| page.incident.clone());
        if page.incident.generation > last.generation {
            *last = page.incident.clone();
        }
    }
    channels
}

/// The only reasons not to send: nobody needs it any more.
pub(super) fn suppressed(task: &Task, ledger: &Ledger) -> Option<ActionKind> {
    let reason = match &task.asked_by {
        AskedBy::Incident { event, .. } if task.verb == "clear" => {
            let episode = cleared_episode(event, ledger);
            ledger.alerts(&task.incident, episode.as_deref(), Some(&task.target)).is_empty().then_some("no_alert")
        }
        AskedBy::Incident { event, .. } => {
            // What a resolve itself requests (`if: recovered`) belongs to an incident that is over, always.
            let resolved = matches!(event.kind, EventKind::Requested { basis: Basis::Resolved, .. });
            let over = is_over(ledger, &task.incident) && !torture::is_without(Sabotage::ActOnHistory);
            (over && !resolved).then_some("over")
        }
        // Somebody has answered meanwhile, or it needs no answer any more.
        AskedBy::Action(of) if of.proposal().is_some() => {
            ledger.approval(&of.action_id).is_none_or(Approval::is_answered).then_some("answered")
        }
        AskedBy::Action(_) => None,
    };
    reason.map(ActionKind::suppressed)
}

/// The episode all of whose alerts an event clears; `None` if only those of its incident.
fn cleared_episode(event: &IncidentEvent, ledger: &Ledger) -> Option<String> {
    match &event.kind {
        EventKind::EpisodeEnded { episode, .. } => Some(episode.to_string()),
        EventKind::Closed { incident, .. } => {
            ledger.incident(incident).filter(|known| known.flapping).map(|known| known.episode.to_string())
        }
        _ => None,
    }
}

fn is_over(ledger: &Ledger, incident: &IncidentId) -> bool {
    ledger.incident(incident).is_some_and(Incident::is_over)
}

pub(super) fn decide(task: &Task, ledger: &Ledger, now_ms: i64) -> Decision<Page> {
    let begun = ledger.intent(&task.action_id);
    if let Some(ActionKind::Suppressed { reason, .. }) = suppressed(task, ledger) {
        return Decision::Settle(match begun {
            None => ActionKind::suppressed(&reason),
            // It may have been sent before a crash; nobody needs it now, and it will be cleared.
            Some(_) => ActionKind::Unknown { reason: format!("it may have been sent before a restart; now {reason}") },
        });
    }
    let attempt = begun.map_or(1, |begun| begun.attempt + 1);
    let known = ledger.incident(&task.incident);
    let of_incident = known.map_or_else(|| task.incident.to_string(), |known| known.episode.to_string());
    // The key of the alert, and the episode for the ledger: of a page, the one with which it will be cleared; of a
    // clear, the one all of whose alerts it clears.
    let (key, episode) = match &task.asked_by {
        AskedBy::Incident { event, .. } if task.verb == "clear" => {
            let cleared = cleared_episode(event, ledger);
            (cleared.clone().unwrap_or(of_incident), cleared)
        }
        // About an incident that is over: nothing will clear it.
        AskedBy::Incident { .. } if is_over(ledger, &task.incident) => (of_incident, None),
        // Of which nothing is known, or that is over: an alert of its own, for a human to close.
        AskedBy::Action(_) if known.is_none_or(Incident::is_over) => (task.action_id.to_string(), None),
        _ => (of_incident.clone(), Some(of_incident)),
    };
    let mut goal = BTreeMap::from([("channel".to_owned(), task.target.clone())]);
    let mut page = Page::of(task, ledger, key, attempt, now_ms);
    if task.verb == "clear" {
        page.route = raised_at(task, ledger, episode.as_deref());
    }
    page.thread = thread(task, ledger, &page);
    goal.extend(episode.map(|episode| ("episode".to_owned(), episode)));
    Decision::Begin { goal, order: page }
}

/// Where the alerts went that a clear is about: it follows them, whatever leads where by now.
fn raised_at(task: &Task, ledger: &Ledger, episode: Option<&str>) -> Option<String> {
    let alerts = ledger.alerts(&task.incident, episode, Some(&task.target));
    alerts.iter().find_map(|id| match &ledger.action(id)?.intent.as_ref()?.kind {
        ActionKind::Started { goal } => goal.get("route").cloned(),
        _ => None,
    })
}

/// What the channel has of the same alert.
fn thread(task: &Task, ledger: &Ledger, page: &Page) -> Thread {
    let pages = ledger.pages_of_episode(&page.dedup_key, &task.target);
    let others = || pages.iter().filter(|action| action.last().is_some_and(|last| last.action_id != task.action_id));
    let first = others().find_map(|action| action.intent.as_ref()).map(|intent| intent.action_id);
    let slack = others().find_map(|action| match &action.outcome.as_ref()?.kind {
        ActionKind::Done { detail } => Some((detail.get("slack_channel")?.clone(), detail.get("thread")?.clone())),
        _ => None,
    });
    let alone = page.dedup_key == task.action_id.to_string();
    let openings = ledger.incident(&task.incident).map(|known| known.openings);
    let begins = alone || (task.verb != "clear" && first.is_none() && openings == Some(1));
    Thread { first, slack, may_be_older: !begins }
}
