//! Follows the topics and keeps what is known where many may read it: `ops status` by itself, the HTTP API from a
//! thread of its own.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::facts::{Facts, Rollups};
use super::tail::{self, Tail};
use super::view::Refusals;
use super::{FULL_CUT_MS, REJECTED_MS, Status, targets, view};
use crate::bus::{self, Offsets, Settings};
use crate::model::ServiceId;
use crate::model::incident::EventKind;
use crate::model::reading::RejectReason;
use crate::model::topics::Topics;
use crate::sdk::catalog::Entry;
use crate::sdk::{Catalog, Error, UnknownService, now_ms};

/// A reading may carry a time so far ahead of its append time, ms; with room.
const AHEAD_MS: i64 = 10_000;
/// Rejected readings of all partitions together that are looked at.
const REJECTED_RECORDS: i64 = 10_000;
/// How long other topics than the one that is waited for may hold up a look for news.
const GLANCE: Duration = Duration::from_millis(5);
/// Fewer services are worked out faster by one thread.
const WORTH_A_THREAD: usize = 500;

/// What is known now.
#[derive(Debug)]
struct Known {
    catalog: Catalog,
    facts: Facts,
}

/// What a [`Board`] knows; as many as you like, from any thread.
#[derive(Clone, Debug)]
pub struct View {
    known: Arc<RwLock<Known>>,
    only: Option<ServiceId>,
}

impl View {
    // Whoever panicked while it was written has left single facts, each of them whole.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every service that is registered, by id; `now` in ms by the host's clock.
    pub fn statuses(&self, now: i64) -> Vec<Status> {
        let Known { catalog, facts } = &*self.read();
        let wanted = |id: &ServiceId| self.only.as_ref().is_none_or(|only| only == id);
        let entries: Vec<_> = catalog.entries().filter(|(id, _)| wanted(id)).collect();
        let refusals = view::refusals(facts, now);
        let status = |(id, entry): &(&ServiceId, &Entry)| status_of(facts, &refusals, id, entry, now);
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let share = entries.len().div_ceil(threads).max(WORTH_A_THREAD);
        thread::scope(|scope| {
            let shares: Vec<_> = entries
                .chunks(share)
                .map(|chunk| scope.spawn(|| chunk.iter().map(status).collect::<Vec<_>>()))
                .collect();
            shares.into_iter().flat_map(|share| share.join().unwrap_or_default()).collect()
        })
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none; says which was probably meant.
    pub fn status(&self, name: &str, now: i64) -> Result<Status, UnknownService> {
        let Known { catalog, facts } = &*self.read();
        let (id, entry) = catalog.get(name)?;
        Ok(status_of(facts, &view::refusals(facts, now), id, entry, now))
    }

    /// A service as it is registered.
    ///
    /// # Errors
    /// There is none; says which was probably meant.
    pub fn entry(&self, name: &str) -> Result<Entry, UnknownService> {
        self.read().catalog.get(name).map(|(_, entry)| entry.clone())
    }

    /// Rejected readings of the last hour that belong to no registered service, by reason.
    pub fn strangers(&self, now: i64) -> BTreeMap<RejectReason, u64> {
        let Known { catalog, facts } = &*self.read();
        let registered = |name: &str| catalog.get(name).is_ok();
        let refusals = facts.rejected_since(now - REJECTED_MS);
        let foreign = refusals.filter(|refusal| !refusal.service.as_deref().is_some_and(registered));
        view::by_reason(foreign)
    }
}

fn status_of(facts: &Facts, refusals: &Refusals<'_>, id: &ServiceId, entry: &Entry, now: i64) -> Status {
    let status = view::status(facts, refusals, id, &entry.registration.owner, now);
    let targets = entry.spec.as_ref().map_or_else(|_| Vec::new(), |spec| targets::of(facts, spec, now));
    Status { targets, ..status }
}

/// See the module.
pub struct Board {
    settings: Settings,
    topics: Topics,
    offsets: Offsets,
    view: View,
    state: Tail,
    rollups: Tail,
    incidents: Tail,
    actions: Tail,
    rejected: Tail,
    /// None on a cluster whose topics were made before there were collectors.
    targets: Option<Tail>,
}

impl Board {
    /// Reads how all services are, or one.
    ///
    /// # Errors
    /// [`Error::UnknownService`]; the bus.
    pub fn open(settings: &Settings, topics: &Topics, service: Option<&str>) -> Result<Self, Error> {
        let (began, now, offsets) = (Instant::now(), now_ms(), Offsets::new(settings)?);
        let count = offsets.partitions(&topics.metrics)?;
        let home = |name: &str| crate::model::ids::home_partition(name, count);
        let partitions = service.map_or_else(|| (0..count).collect(), |name| vec![home(name)]);
        let mut facts = Facts::new(count);
        let (catalog, state) = thread::scope(|scope| {
            let catalog = scope.spawn(|| Catalog::read(settings, &offsets, topics));
            let since = now - FULL_CUT_MS;
            let state = tail::state(settings, &offsets, &topics.state, &partitions, since, &mut facts);
            (catalog.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), state)
        });
        let (catalog, state) = (catalog?, state?);
        let only = service.map(|name| catalog.get(name).map(|(id, _)| id.clone())).transpose()?;
        facts.register(&catalog);
        tracing::debug!(elapsed = ?began.elapsed(), "catalog and states are read");
        let windows = facts.windows_since(&partitions, AHEAD_MS);
        let rollups = restore(settings, &offsets, &topics.rollups, windows, &mut facts)?;
        tracing::debug!(elapsed = ?began.elapsed(), "windows are read");
        let follow = |topic: &str, since| Tail::since(settings, &offsets, topic, since);
        let since = |back: i64| partitions.iter().map(move |partition| (*partition, now - back));
        let targets = targets::follow(settings, &offsets, &topics.targets, only.as_ref(), now)?;
        let mut board = Self {
            targets,
            rollups,
            incidents: follow(&topics.incidents, facts.cuts_since(&partitions))?,
            // All of it: a freeze holds until somebody thaws it, however long ago it was.
            actions: follow(&topics.actions, since(now).collect())?,
            rejected: Tail::last(
                settings,
                &offsets,
                &topics.rejected,
                (0..count).map(|partition| (partition, now - REJECTED_MS)),
                REJECTED_RECORDS / i64::from(count),
            )?,
            settings: settings.clone(),
            topics: topics.clone(),
            offsets,
            view: View { known: Arc::new(RwLock::new(Known { catalog, facts })), only },
            state,
        };
        board.catch_up()?;
        tracing::debug!(elapsed = ?began.elapsed(), "all topics are read");
        Ok(board)
    }

    /// Reads every topic to its end, `ops.state` last: an event that it holds already is not counted again, and
    /// one that it does not hold yet is.
    fn catch_up(&mut self) -> Result<(), bus::Error> {
        let Self { offsets, view, state, rollups, incidents, actions, rejected, targets, .. } = self;
        if let Some(targets) = targets {
            targets.catch_up(offsets, |message| view.write().facts.take_target(message))?;
        }
        rollups.catch_up(offsets, |message| view.write().facts.take_rollup(message))?;
        actions.catch_up(offsets, |message| view.write().facts.take_action(message))?;
        rejected.catch_up(offsets, |message| view.write().facts.take_rejected(message))?;
        incidents.catch_up(offsets, |message| drop(view.write().facts.take_incident(message)))?;
        state.catch_up(offsets, |message| view.write().facts.take_state(message))
    }

    /// What is known, as it is whenever it is asked.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Waits up to `timeout` for something new. Was there anything?
    ///
    /// # Errors
    /// The bus.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, Error> {
        let Self { view, state, rollups, incidents, actions, rejected, targets, .. } = self;
        let mut catalog_moved = false;
        let mut news = incidents.glance(timeout, |message| {
            let kind = view.write().facts.take_incident(message);
            catalog_moved |= matches!(kind, Some(EventKind::SpecActivated { .. } | EventKind::SpecRetired));
        })?;
        news |= rollups.glance(GLANCE, |message| view.write().facts.take_rollup(message))?;
        news |= actions.glance(GLANCE, |message| view.write().facts.take_action(message))?;
        news |= rejected.glance(GLANCE, |message| view.write().facts.take_rejected(message))?;
        if let Some(targets) = targets {
            news |= targets.glance(GLANCE, |message| view.write().facts.take_target(message))?;
        }
        news |= state.glance(GLANCE, |message| view.write().facts.take_state(message))?;
        if catalog_moved {
            let catalog = Catalog::read(&self.settings, &self.offsets, &self.topics)?;
            let mut known = self.view.write();
            known.facts.register(&catalog);
            known.catalog = catalog;
        }
        Ok(news)
    }
}

/// The rollups since the given times (ms) of each partition; they are most of what there is to read, so each core
/// takes its share of the partitions. Returns what follows them.
fn restore(
    settings: &Settings,
    offsets: &Offsets,
    topic: &str,
    since: Vec<(i32, i64)>,
    facts: &mut Facts,
) -> Result<Tail, bus::Error> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = since.len().div_ceil(threads).max(1);
    let shares = thread::scope(|scope| {
        let read = |since: Vec<(i32, i64)>| {
            let mut rollups = Rollups::default();
            let mut tail = Tail::since(settings, offsets, topic, since)?;
            tail.catch_up(offsets, |message| facts.set_aside(message, &mut rollups))?;
            Ok((rollups, tail.positions()))
        };
        let threads: Vec<_> = since.chunks(share).map(|share| scope.spawn(move || read(share.to_vec()))).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|read| read.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect::<Vec<_>>()
    });
    let mut starts = Vec::new();
    for read in shares {
        let (rollups, positions): (Rollups, Vec<_>) = read?;
        facts.join(rollups);
        starts.extend(positions);
    }
    Tail::from(settings, topic, starts)
}
