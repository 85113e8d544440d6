//! The directory: the catalog of `ops.services`, kept up by a thread that follows the topic. For what runs long and asks
//! often: receivers, and whoever else answers by it. A spec that was registered shows a moment later.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use super::catalog::{Catalog, Latest};
use super::status::tail::Tail;
use super::{Error, bus};
use crate::bus::{Offsets, Settings};
use crate::model::topics::Topics;

/// How long the thread waits for news before it looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(100);
/// After an error, until it tries again.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module. Ends when it is dropped.
pub struct Directory {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    catalog: RwLock<Arc<Catalog>>,
    stop: AtomicBool,
}

impl Directory {
    /// Reads what is registered now, and follows from there.
    ///
    /// # Errors
    /// No such topic; no answer.
    pub fn follow(settings: &Settings, topics: &Topics) -> Result<Self, Error> {
        let follower = Follower::open(settings, topics)?;
        let shared = Arc::<Shared>::default();
        shared.show(&follower.catalog);
        let (settings, topics, seen) = (settings.clone(), topics.clone(), shared.clone());
        let thread = std::thread::Builder::new().name("directory".into()).spawn(move || {
            run(&settings, &topics, &seen, Some(follower));
        });
        let thread = thread.map_err(|error| {
            bus::Error::rewind("starting a thread", bus::error::Place::topic("ops.services"), error)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// As it is now. The same one until something changes.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn show(&self, catalog: &Catalog) {
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog.clone());
    }
}

fn run(settings: &Settings, topics: &Topics, shared: &Shared, mut follower: Option<Follower>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let looked = match &mut follower {
            Some(follower) => follower.look(),
            None => Follower::open(settings, topics).map(|fresh| {
                follower = Some(fresh);
                true
            }),
        };
        match (looked, &follower) {
            (Ok(true), Some(follower)) => shared.show(&follower.catalog),
            (Ok(_), _) => {}
            (Err(error), _) => {
                tracing::warn!(%error, "ops.services is not followed now; what was registered before still counts");
                follower = None;
                std::thread::park_timeout(PAUSE);
            }
        }
    }
}

struct Follower {
    tail: Tail,
    latest: Latest,
    catalog: Catalog,
}

impl Follower {
    fn open(settings: &Settings, topics: &Topics) -> Result<Self, Error> {
        let offsets = Offsets::new(settings)?;
        let mut tail = Tail::all(settings, &offsets, &topics.services)?;
        let (mut latest, mut last) = (Latest::default(), std::collections::BTreeMap::new());
        tail.catch_up(&offsets, |message| {
            if let Some(service) = latest.is_about(message) {
                last.insert(service, message.value().map(<[u8]>::to_vec));
            }
        })?;
        Ok(Self { tail, latest, catalog: Catalog::of(last) })
    }

    /// Has anything changed?
    fn look(&mut self) -> Result<bool, Error> {
        let Self { tail, latest, catalog } = self;
        Ok(tail.glance(GLANCE, |message| {
            if let Some(service) = latest.is_about(message) {
                catalog.put(service, message.value());
            }
        })?)
    }
}
