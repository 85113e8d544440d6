//! Pagers as child processes, and the twins of PagerDuty and Slack that they page: deaths and zombies as for
//! [`super::faults`], bad weather on the way, and the judge of what the twins have: INV-9 (one alert, none left open),
//! INV-11 (one outcome), and no repeat that was not announced, in Slack none at all of what is there.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hms_ops::model::ActionId;
use hms_ops::model::action::{ActionEvent, ActionKind};
use hms_ops::model::incident::{Basis, EventKind};
use hms_ops::torture::{Point, Sabotage};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::faults::{POINTS, crash, settle, zombie_without};
use super::{Effects, Flaw, Judged, Kind, action, clear, incident};
use crate::oracle::dice::Dice;
use crate::rig::cluster::PATIENCE;
use crate::rig::fleet::kept_file;
use crate::rig::sabotage::Scenario;
use crate::twins::{Calls, Fault, pagerduty, slack};

/// Who is paged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// See [`pagerduty`].
    PagerDuty,
    /// See [`slack`].
    Slack,
}

/// Guards of the pager that only its channels show.
pub const CONTROLS: &[(Sabotage, Scenario)] =
    &[(Sabotage::NoReadBack, unclear_post), (Sabotage::NoFindingOut, zombie_between_two_tries)];

/// What a call can meet, and how often out of 100.
const WEATHER: [(Fault, u64); 6] = [
    (Fault::TooMany(1), 6),
    (Fault::Status(503), 8),
    (Fault::Status(500), 8),
    (Fault::Garbage, 6),
    (Fault::TakeAndFail, 10),
    (Fault::TakeAndHang, 6),
];

/// See the module. The pagers' channel is one of the twins; what [`Effects`] has beside it is not used.
pub struct Paging {
    /// The topics, and what is asked.
    pub effects: Effects,
    /// Whom it is about.
    pub service: Service,
    /// The one.
    pub pagerduty: pagerduty::PagerDuty,
    /// The other.
    pub slack: slack::Slack,
    /// Takes connections and never says a word: the channel `deaf`.
    deaf: TcpListener,
    // Last: the twins run on it.
    runtime: Runtime,
}

impl Paging {
    /// Nothing is asked yet.
    pub fn new(name: &str, service: Service) -> Self {
        let effects = Effects::new(name, Kind::Pager);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (pagerduty, slack, deaf) = runtime.block_on(async {
            let deaf = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            (pagerduty::PagerDuty::start().await, slack::Slack::start().await, deaf)
        });
        let prefix = &effects.fleet.prefix;
        let (kind, url, extra, secret) = match service {
            Service::PagerDuty => ("pagerduty", &pagerduty.url, String::new(), ("routing_key", pagerduty::ROUTING_KEY)),
            Service::Slack => {
                ("slack", &slack.url, format!("channel = \"{}\"\n", slack::CHANNEL), ("token", slack::TOKEN))
            }
        };
        let file = kept_file(&format!("{prefix}secret"));
        std::fs::write(&file, secret.1).unwrap();
        let config = format!(
            "[channels.sink]\nkind = \"{kind}\"\nurl = \"{url}\"\n{}_file = {file:?}\ntimeout_seconds = 1\n{extra}\n\
             [channels.deaf]\nkind = \"webhook\"\nurl = \"http://{}\"\ntimeout_seconds = 60\n",
            secret.0,
            deaf.local_addr().unwrap()
        );
        std::fs::write(kept_file(&format!("{prefix}ops.toml")), config).unwrap();
        Self { effects, service, pagerduty, slack, deaf, runtime }
    }

    /// What its pages and clears meet.
    pub fn calls(&self) -> &Calls {
        match self.service {
            Service::PagerDuty => &self.pagerduty.calls,
            Service::Slack => &self.slack.posts,
        }
    }

    /// Faults for so many calls, by the dice.
    pub fn bad_weather(&self, calls: u32, dice: &mut Dice) {
        let mut draw = || {
            let mut left = dice.below(100);
            WEATHER.iter().find_map(|(fault, share)| {
                let hit = left < *share;
                left = left.saturating_sub(*share);
                hit.then_some(*fault)
            })
        };
        let faults: Vec<_> = (0..calls).map(|_| draw()).collect();
        self.calls().meet_some(faults);
    }

    /// A page to the channel that never answers, until it hangs there.
    fn ask_the_deaf(&self) {
        let service = self.effects.services.last().unwrap();
        let kind = EventKind::Requested {
            incident: incident(service),
            step: 1,
            call: 1,
            verb: Arc::from("page"),
            args: BTreeMap::from([("channel".to_owned(), "deaf".to_owned())]),
            basis: Basis::Opened,
            action_id: action(service),
            fresh: None,
        };
        self.effects.tell(service, kind);
        let (stream, _) =
            self.runtime.block_on(async { timeout(PATIENCE, self.deaf.accept()).await }).unwrap().unwrap();
        // It stays open as long as this process lives.
        std::mem::forget(stream);
    }

    /// Ends everything that was asked, waits for the outcomes, and judges. A sound pager is there.
    pub fn finish(&self) -> Result<Judged, String> {
        for service in &self.effects.asked {
            self.effects.wait_until_done(service)?;
            self.effects.resolve(service);
        }
        for service in &self.effects.asked {
            self.effects.wait_for_outcome(clear(service))?;
        }
        self.judge()
    }

    fn judge(&self) -> Result<Judged, String> {
        let mut judged = Judged::default();
        let mut outcomes: BTreeMap<ActionId, Vec<ActionEvent>> = BTreeMap::new();
        for event in self.effects.actions().into_iter().filter(|event| event.kind.is_outcome()) {
            outcomes.entry(event.action_id).or_default().push(event);
        }
        for service in &self.effects.asked {
            for id in [action(service), clear(service)] {
                let found = outcomes.get(&id).map(Vec::as_slice).unwrap_or_default();
                let [outcome] = found else { return Err(format!("{id} of {service} has the outcomes {found:#?}")) };
                let unknown = matches!(outcome.kind, ActionKind::Unknown { .. });
                judged.actions += 1;
                judged.unknown += u64::from(unknown);
                if !unknown && !matches!(outcome.kind, ActionKind::Done { .. }) {
                    return Err(format!("{service} was not told: {outcome:#?}"));
                }
                judged.effects += match self.service {
                    Service::PagerDuty => 0,
                    Service::Slack => self.judge_message(service, id, unknown)?,
                };
            }
            if self.service == Service::PagerDuty {
                judged.effects += self.judge_alert(service)?;
            }
        }
        judged.repeats = self.calls().repeats();
        let announced = self.announced();
        if judged.repeats > announced {
            return Err(format!("{} repeats, of which {announced} were announced", judged.repeats));
        }
        Ok(judged)
    }

    /// How many repeats the pagers announced, crashes and all.
    pub fn announced(&self) -> u64 {
        self.effects.said().lines().filter(|line| line.contains("may be sent twice")).count() as u64
    }

    /// One alert, and it is over.
    fn judge_alert(&self, service: &str) -> Result<u64, String> {
        let alert = self.pagerduty.alert(&incident(service).to_string());
        if alert.is_open || alert.openings > 1 {
            return Err(format!("{service} is over, and its alert is {alert:#?}\n{:#?}", self.pagerduty.events()));
        }
        Ok(alert.openings + alert.resolves.min(1))
    }

    /// One message, unless nobody knows.
    fn judge_message(&self, service: &str, id: ActionId, unknown: bool) -> Result<u64, String> {
        let count = self.slack.actions().iter().filter(|action| **action == id.to_string()).count();
        match count {
            1 => Ok(1),
            0 if unknown => Ok(0),
            _ => Err(format!("{service} has {count} messages of {id}")),
        }
    }
}

/// Dies at every point around a page, and starts again.
pub fn dies_everywhere(paging: &mut Paging) -> Result<Judged, String> {
    settle(&paging.effects)?;
    for point in POINTS {
        crash(&mut paging.effects, *point)?;
    }
    survive(paging)
}

/// So many pages and clears in bad weather: what was announced is what the twin counts.
pub fn through_bad_weather(paging: &mut Paging, pages: u32, dice: &mut Dice) -> Result<Judged, String> {
    let actor = paging.effects.start("one", Flaw::default());
    paging.effects.wait_until_settled()?;
    paging.bad_weather(pages * 3, dice);
    for _ in 0..pages {
        paging.effects.ask();
    }
    let judged = paging.finish()?;
    actor.stop();
    let announced = paging.announced();
    if judged.repeats != announced {
        return Err(format!("the twin counts {} repeats, the pager {announced}", judged.repeats));
    }
    Ok(judged)
}

/// Pages while another channel hangs: how long each took from its request to the twin.
pub fn beside_a_hung_channel(paging: &mut Paging, pages: u32) -> Result<Vec<Duration>, String> {
    let actor = paging.effects.start("one", Flaw::default());
    paging.effects.wait_until_settled()?;
    paging.ask_the_deaf();
    let mut took = Vec::new();
    for page in 1..=pages {
        let began = Instant::now();
        paging.effects.ask();
        let there = paging.calls().reached(u64::from(page));
        paging.runtime.block_on(async { timeout(PATIENCE, there).await }).map_err(|_| "a page never came")?;
        took.push(began.elapsed());
    }
    let deaf = action(paging.effects.services.last().unwrap());
    if paging.effects.actions().iter().any(|event| event.action_id == deaf && event.kind.is_outcome()) {
        return Err("the channel that is to hang has answered".to_owned());
    }
    // Not asked to end: that would wait for the deaf one.
    actor.kill();
    Ok(took)
}

/// A sound pager does what is left, and all of it is judged.
pub fn survive(paging: &Paging) -> Result<Judged, String> {
    let actor = paging.effects.start("one", Flaw::default());
    let judged = paging.finish()?;
    // Not asked to end: it may not have begun yet, if all was done before.
    actor.kill();
    Ok(judged)
}

/// A message is taken, and its answer lost.
fn unclear_post(guard: Option<Sabotage>) -> Result<(), String> {
    let mut paging = Paging::new("unclear", Service::Slack);
    let actor = paging.effects.start("one", Flaw { without: guard, ..Flaw::default() });
    paging.effects.wait_until_settled()?;
    paging.slack.posts.meet(&[Fault::TakeAndFail]);
    paging.effects.ask();
    let judged = paging.finish();
    actor.stop();
    judged.map(drop)
}

/// PagerDuty wants to be asked later; the pager stands still meanwhile. Another sends the page, and clears it; then the
/// first wakes up.
fn zombie_between_two_tries(guard: Option<Sabotage>) -> Result<(), String> {
    let mut paging = Paging::new("between", Service::PagerDuty);
    paging.pagerduty.calls.meet(&[Fault::TooMany(1)]);
    zombie_without(guard, &mut paging.effects, Point::PagerTriesAgain, true)?;
    survive(&paging).map(drop)
}
