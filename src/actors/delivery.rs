//! A page on its way to one channel: tried until it is there, or nothing helps. Called by [`super::pager`].
//!
//! ```text
//!           +------------------- refused for now, not reachable: wait ------------------+
//!           v                                                                            |
//! begin -> send --taken--> done          --refused for good, or no patience left--> failed, or unknown
//!           ^   \--no clear answer--> is it there? --yes--> done
//!           |                             | no, or nobody can be asked
//!           +------ counted as a repeat --+
//! ```
//!
//! What was begun before a crash starts at the question. Once an answer was not clear, each further try is preceded by
//! it; and if none succeeds, the outcome is `unknown`, not `failed`: an alert may be open, and is cleared when its time
//! comes. A page that does not get through is shown on the console early, and tried on. Before a later
//! try it is made certain that the page is still ours ([`super::claim`]): this process may have stood still.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::channel::{Channels, Detail};
use super::claim::Claims;
use super::counters::Counters;
use super::page::{Kind, Page};
use crate::model::action::ActionKind;
use crate::torture::{self, Point, Sabotage};
use crate::world::{Hint, WorldError};

/// Pauses between tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How long a receiver is tried.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long until a page that is not delivered is shown on the console too; and how long a question may stay
/// unanswered before the page is sent all the same.
const FIRST_PATIENCE: Duration = Duration::from_secs(30);
/// How long a page that was known to be ours is taken to be so: less than the group waits for a member that stands
/// still. A try that begins later asks first.
const CERTAIN: Duration = Duration::from_secs(4);

/// Delivers a page, and says how it ended.
pub(super) async fn deliver(channels: &Channels, page: &Page, counters: &Counters, claims: &Claims) -> ActionKind {
    let mut delivery = Delivery {
        channels,
        page,
        claims,
        counters,
        began: Instant::now(),
        ours_at: Instant::now(),
        pause: PAUSES.0,
        in_doubt: page.attempt > 1,
        shown: false,
    };
    match delivery.run().await {
        Ok(detail) => ActionKind::Done { detail },
        Err(error) => delivery.give_up(&error),
    }
}

struct Delivery<'a> {
    channels: &'a Channels,
    page: &'a Page,
    claims: &'a Claims,
    counters: &'a Counters,
    began: Instant,
    /// When it was known to be ours.
    ours_at: Instant,
    pause: Duration,
    /// It may be there already.
    in_doubt: bool,
    /// It was shown on the console.
    shown: bool,
}

impl Delivery<'_> {
    async fn run(&mut self) -> Result<Detail, WorldError> {
        loop {
            if self.in_doubt
                && let Some(detail) = self.look().await
            {
                return Ok(detail);
            }
            self.make_certain().await;
            if self.in_doubt {
                self.announce_repeat();
            }
            let error = match self.channels.send(self.page).await {
                Ok(detail) => return Ok(detail),
                Err(error) => error,
            };
            self.in_doubt |= matches!(error, WorldError::Unknown { .. });
            self.wait(error).await?;
        }
    }

    /// Is it there? Asked until there is an answer, for a while: a page that may be missing is worse than one too many.
    async fn look(&mut self) -> Option<Detail> {
        if torture::is_without(Sabotage::NoReadBack) {
            return None;
        }
        let until = Instant::now() + FIRST_PATIENCE;
        loop {
            let error = match self.channels.read_back(self.page).await {
                Ok(found) => return found,
                Err(error) => error,
            };
            let hopeless = error.hint() == Hint::GiveUp;
            tracing::warn!(%error, action = %self.page.action_id, hopeless, "cannot look whether a page is there");
            if hopeless || Instant::now() >= until || self.wait(error).await.is_err() {
                return None;
            }
        }
    }

    /// Waits as long as the error asks for, or gives it back if there is no point in it.
    async fn wait(&mut self, error: WorldError) -> Result<(), WorldError> {
        let after = match error.hint() {
            Hint::Retry { after_ms } => self.pause.max(Duration::from_millis(after_ms)),
            Hint::LookFirst => self.pause,
            Hint::GiveUp => return Err(error),
        };
        let late = self.began.elapsed() + after;
        if late >= PATIENCE {
            return Err(error);
        }
        tracing::warn!(%error, action = %self.page.action_id, channel = self.page.channel, ?after, "not delivered yet");
        if late >= FIRST_PATIENCE && !self.shown {
            self.shown = true;
            self.channels.fall_back(self.page, &format!("{error}; it is tried on"));
        }
        sleep(after).await;
        torture::reached(Point::PagerTriesAgain);
        self.pause = (self.pause * 2).min(PAUSES.1);
        Ok(())
    }

    /// Another may have the page by now, if this process stood still, and may have ended its alert.
    async fn make_certain(&mut self) {
        while self.ours_at.elapsed() >= CERTAIN && !torture::is_without(Sabotage::NoFindingOut) {
            let asked_at = Instant::now();
            self.claims.confirm(self.page.action_id).await;
            self.ours_at = asked_at;
        }
    }

    fn announce_repeat(&self) {
        let Page { action_id, channel, kind, .. } = self.page;
        let verb = if *kind == Kind::Clear { "clear" } else { "page" };
        self.counters.repeated(verb);
        tracing::warn!(action = %action_id, channel, verb, "may be sent twice");
    }

    fn give_up(&self, error: &WorldError) -> ActionKind {
        self.channels.fall_back(self.page, &error.to_string());
        if self.in_doubt {
            return ActionKind::Unknown { reason: format!("it may have been delivered; at last: {error}") };
        }
        let detail = BTreeMap::from([("shown_on".to_owned(), "console".to_owned())]);
        ActionKind::Failed { reason: error.to_string(), detail }
    }
}
