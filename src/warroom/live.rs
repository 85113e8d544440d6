//! Follows the topics on a thread of its own and tells the streams what changed; requests read what it knows.
//!
//! ```text
//!   reading --all is read--> following --the bus fails--> waiting --2 s--> reading
//! ```
//!
//! What was known stays to be read meanwhile; its quality says how old it is.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::feed::{self, Feed, Streams};
use crate::bus::Settings;
use crate::model::ServiceId;
use crate::model::topics::Topics;
use crate::sdk::actions::Deeds;
use crate::sdk::incidents::Incidents;
use crate::sdk::status::{Board, Status, View};
use crate::sdk::{self, status};
use crate::telemetry;
use crate::telemetry::clock::now_ms;
use crate::telemetry::http::text_of;
use crate::telemetry::parts::number;

/// How far back incidents and actions are shown, ms: as far as they can be computed again.
const PAST_MS: i64 = 7 * 86_400_000;
/// What is new is looked for so often at least.
const LOOK: Duration = Duration::from_millis(200);
/// Services are compared with what was told at most so often,
const COMPARE: Duration = Duration::from_millis(500);
/// and at least so often: silence is news too.
const COMPARE_ANYWAY: Duration = Duration::from_secs(2);
/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(5);
/// After the bus has failed.
const PAUSE: Duration = Duration::from_secs(2);

/// Live graphs at once.
const EDGES: usize = 32;

/// Streams that begin within it are told the same first.
const FIRST: Duration = Duration::from_secs(1);

/// What was read from the topics.
pub struct Knowledge {
    /// How services are.
    pub view: View,
    /// What happened.
    pub incidents: Mutex<Incidents>,
    /// What was done.
    pub deeds: Mutex<Deeds>,
}

/// How services are: all of them, or those that somebody may see.
#[derive(Serialize, JsonSchema)]
pub struct Services {
    /// The host's clock, ms.
    pub now: i64,
    /// By id.
    pub services: Vec<Status>,
}

/// Services that are another way than was told before.
#[derive(Serialize, JsonSchema)]
pub struct Moved {
    /// The host's clock, ms.
    pub now: i64,
    /// How each is now.
    pub statuses: Vec<Status>,
}

/// Services that are not registered any more.
#[derive(Serialize, JsonSchema)]
pub struct Gone {
    /// Their ids.
    pub services: Vec<ServiceId>,
}

/// A sign of life.
#[derive(Serialize, JsonSchema)]
pub struct Beat {
    /// The host's clock, ms.
    pub now: i64,
}

/// What a stream begins with: how all services are.
#[derive(Clone)]
pub struct First {
    at: Instant,
    /// The id of the last event before it was put together.
    pub id: String,
    /// The event `reset`.
    pub frame: Bytes,
}

/// See the module.
pub struct Live {
    /// Of the cluster that is shown.
    pub settings: Settings,
    /// Its topics.
    pub topics: Topics,
    /// For the streams.
    pub feed: Feed,
    /// What was answered.
    pub answers: Answers,
    /// Places for live graphs, each of which reads a partition.
    pub edges: Arc<Semaphore>,
    knowledge: RwLock<Option<Arc<Knowledge>>>,
    first: Mutex<Option<First>>,
    is_following: AtomicBool,
    stop: AtomicBool,
}

impl Live {
    /// Knows nothing yet.
    pub fn new(settings: &Settings, topics: &Topics) -> Self {
        Self {
            settings: settings.clone(),
            topics: topics.clone(),
            feed: Feed::new(now_ms()),
            answers: Answers::default(),
            edges: Arc::new(Semaphore::new(EDGES)),
            knowledge: RwLock::default(),
            first: Mutex::default(),
            is_following: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    /// None until everything was read once.
    pub fn knowledge(&self) -> Option<Arc<Knowledge>> {
        self.knowledge.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How all services are, for streams that begin: put together once for all who come at the same time.
    pub fn first(&self, knowledge: &Knowledge) -> First {
        let mut kept = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = kept.as_ref().filter(|first| first.at.elapsed() < FIRST) {
            return first.clone();
        }
        // Before the look: what happens meanwhile is told again.
        let (id, now) = (self.feed.last(), now_ms());
        let frame = feed::frame(Some(&id), "reset", &Services { now, services: knowledge.view.statuses(now) });
        kept.insert(First { at: Instant::now(), id, frame }).clone()
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Reads everything, then follows until it is told to stop or the bus fails.
    fn follow(&self) -> Result<(), sdk::Error> {
        let began = Instant::now();
        let mut board = Board::open(&self.settings, &self.topics, None)?;
        let since = now_ms() - PAST_MS;
        let knowledge = Arc::new(Knowledge {
            view: board.view().clone(),
            incidents: Mutex::new(Incidents::read(&self.settings, &self.topics, since)?),
            deeds: Mutex::new(Deeds::read(&self.settings, &self.topics, None, since)?),
        });
        let mut told = Told::default();
        // Streams that were open over a failure are told what changed meanwhile.
        told.tell(&self.feed, knowledge.view.statuses(now_ms()));
        *self.knowledge.write().unwrap_or_else(PoisonError::into_inner) = Some(knowledge.clone());
        self.is_following.store(true, Ordering::Release);
        tracing::info!(elapsed = ?began.elapsed(), services = told.0.len(), "the topics are read");
        let (mut beat, mut compared, mut news) = (Instant::now(), Instant::now(), false);
        while !self.is_over() {
            news |= board.wait(LOOK)?;
            self.tell_what_happened(&knowledge)?;
            let since = compared.elapsed();
            if (news && since >= COMPARE) || since >= COMPARE_ANYWAY {
                told.tell(&self.feed, knowledge.view.statuses(now_ms()));
                (compared, news) = (Instant::now(), false);
            }
            if beat.elapsed() >= BEAT {
                self.feed.mention("beat", &Beat { now: now_ms() });
                beat = Instant::now();
            }
        }
        Ok(())
    }

    fn tell_what_happened(&self, knowledge: &Knowledge) -> Result<(), sdk::Error> {
        let mut incidents = knowledge.incidents.lock().unwrap_or_else(PoisonError::into_inner);
        incidents.wait(Duration::ZERO, |told| self.feed.publish("incident", &told))?;
        drop(incidents);
        let mut deeds = knowledge.deeds.lock().unwrap_or_else(PoisonError::into_inner);
        deeds.wait(Duration::ZERO, |event| self.feed.publish("action", event))?;
        Ok(())
    }
}

/// What the streams were told of each service, without what changes by itself.
#[derive(Default)]
struct Told(HashMap<ServiceId, Status>);

impl Told {
    /// Tells which services changed since the last time, and which are gone.
    fn tell(&mut self, feed: &Feed, statuses: Vec<Status>) {
        let mut before = std::mem::take(&mut self.0);
        let mut changed = Vec::new();
        for status in statuses {
            // Ages grow by themselves.
            let ageless = Status { age_ms: None, ..status.clone() };
            if before.remove(&status.service).as_ref() != Some(&ageless) {
                changed.push(status);
            }
            self.0.insert(ageless.service.clone(), ageless);
        }
        if !before.is_empty() {
            feed.publish("gone", &Gone { services: before.into_keys().collect() });
        }
        if !changed.is_empty() {
            feed.publish("statuses", &Moved { now: now_ms(), statuses: changed });
        }
    }
}

impl telemetry::http::Source for Live {
    fn text(&self) -> String {
        let mut registry = Registry::with_prefix("ops_warroom");
        let mut gauge = |name: &str, help: &str, value: i64| {
            let gauge: Gauge = Gauge::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        };
        gauge("streams", "Streams that are open", number(self.feed.open()));
        let graphs = EDGES.saturating_sub(self.edges.available_permits());
        gauge("live_graphs", "Live graphs that are open; each reads a partition", number(graphs));
        gauge("following", "1 while the topics are followed", self.is_following.load(Ordering::Acquire).into());
        if let Some(knowledge) = self.knowledge() {
            let statuses = knowledge.view.statuses(now_ms());
            let of = |state: status::SloState| statuses.iter().filter(|status| status.slo_state == state).count();
            gauge("services_breached", "Services whose incident is open", number(of(status::SloState::Breached)));
            gauge("services_healthy", "Services that are known to be well", number(of(status::SloState::Healthy)));
            gauge("services_unknown", "Services of which neither is known", number(of(status::SloState::Unknown)));
        }
        let Streams { taken, refused, dropped } = self.feed.streams();
        registry.register("streams_taken", "Streams that were opened", taken.clone());
        registry.register("streams_refused", "Streams for which there was no place", refused.clone());
        registry.register("streams_dropped", "Streams that were ended for being slow; they come back", dropped.clone());
        registry.register(
            "answers",
            "Answers of the paths that there are, by class of their status",
            self.answers.0.clone(),
        );
        text_of(&registry)
    }

    fn is_ready(&self) -> bool {
        self.is_following.load(Ordering::Acquire)
    }
}

/// How often was answered what, by class of the status.
#[derive(Clone, Debug)]
pub struct Answers(Family<[(&'static str, &'static str); 1], Counter>);

/// The classes of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Default for Answers {
    fn default() -> Self {
        let family = Family::default();
        CLASSES.iter().for_each(|class| drop(family.get_or_create(&[("class", *class)])));
        Self(family)
    }
}

impl Answers {
    /// One more; of a stream, its beginning.
    pub fn count(&self, status: u16) {
        let class = usize::from(status / 100).checked_sub(1).and_then(|class| CLASSES.get(class));
        if let Some(class) = class {
            self.0.get_or_create(&[("class", *class)]).inc();
        }
    }
}

/// The thread; ends, and all streams with it, when it is dropped.
pub struct Follower {
    live: Arc<Live>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Follows until it is dropped, again and again if the bus fails.
    ///
    /// # Errors
    /// No thread.
    pub fn start(live: Arc<Live>) -> io::Result<Self> {
        let follows = live.clone();
        let thread = std::thread::Builder::new().name("follower".into()).spawn(move || {
            while !follows.is_over() {
                let ended = follows.follow();
                follows.is_following.store(false, Ordering::Release);
                if let Err(error) = ended {
                    tracing::warn!(%error, "the topics are not followed; another try in 2 s");
                    std::thread::park_timeout(PAUSE);
                }
            }
        })?;
        Ok(Self { live, thread: Some(thread) })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.live.stop.store(true, Ordering::Release);
        self.live.feed.end();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
