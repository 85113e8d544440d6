//! What is registered: a thread that follows `ops.services` and keeps the newest spec of every service, for all
//! workers of the process. A text that does not parse changes nothing: the old spec stays.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::bus::{self, Isolation, Next, Offsets, Reader, Settings};
use crate::codec;
use crate::model::ServiceId;
use crate::model::spec::Spec;
use crate::model::topics::Topics;
use crate::processor::error::{Error, Result};

const POLL: Duration = Duration::from_millis(100);
/// A registry that is so far behind its own topic does not answer at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module. Ends its thread when it is dropped.
pub struct Registry {
    shared: Arc<Shared>,
    offsets: Offsets,
    topic: String,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    moved: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    specs: BTreeMap<ServiceId, Arc<Spec>>,
    /// Grows with every change.
    version: u64,
    /// The next offset to be read of each partition of the topic.
    positions: BTreeMap<i32, i64>,
    /// Why the thread has ended, if it has.
    failure: Option<String>,
}

impl Registry {
    /// Begins to read the topic.
    ///
    /// # Errors
    /// No such topic; no answer.
    pub fn start(settings: &Settings, topics: &Topics) -> Result<Self> {
        let (offsets, topic) = (Offsets::new(settings)?, topics.services.clone());
        let starts: Vec<_> = (0..offsets.partitions(&topic)?)
            .map(|partition| Ok((partition, offsets.watermarks(&topic, partition)?.low)))
            .collect::<std::result::Result<_, bus::Error>>()?;
        let shared = Arc::new(Shared::default());
        shared.lock().positions = starts.iter().copied().collect();
        let mut reader = Reader::open(settings, &topic, Isolation::Committed, starts)?;
        let ours = shared.clone();
        let thread = std::thread::Builder::new().name("registry".into()).spawn(move || {
            while !ours.stop.load(Ordering::Relaxed) {
                if let Err(error) = follow(&mut reader, &ours) {
                    tracing::error!(%error, "the registry of specs can not be read");
                    ours.lock().failure = Some(error.to_string());
                    ours.moved.notify_all();
                    return;
                }
            }
        })?;
        Ok(Self { shared, offsets, topic, thread: Some(thread) })
    }

    /// Grows with every change.
    ///
    /// # Errors
    /// `Registry`: the topic can no longer be read, and to go on would be to go on with old specs.
    pub fn version(&self) -> Result<u64> {
        let state = self.shared.lock();
        state.check()?;
        Ok(state.version)
    }

    /// The specs of the services that `wanted` says yes to, and the version they are of.
    pub fn specs(&self, wanted: impl Fn(&ServiceId) -> bool) -> (u64, BTreeMap<ServiceId, Arc<Spec>>) {
        let state = self.shared.lock();
        let specs = state.specs.iter().filter(|(id, _)| wanted(id));
        (state.version, specs.map(|(id, spec)| (id.clone(), spec.clone())).collect())
    }

    /// Waits until everything that is registered now is known. A partition that is taken over must not meet an
    /// older spec than its previous owner has activated.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub fn catch_up(&self) -> Result<()> {
        let partitions: Vec<i32> = self.shared.lock().positions.keys().copied().collect();
        let ends: Vec<_> = partitions
            .into_iter()
            .map(|partition| Ok((partition, self.offsets.watermarks(&self.topic, partition)?.high)))
            .collect::<std::result::Result<_, bus::Error>>()?;
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while ends.iter().any(|(partition, end)| state.positions.get(partition).is_none_or(|at| at < end)) {
            let left = deadline.saturating_duration_since(Instant::now());
            state.check()?;
            if left.is_zero() {
                let place = bus::error::Place::topic(&self.topic);
                let operation = "reading the registered specs to their end";
                return Err(bus::Error::TimedOut { operation, place, waited: PATIENCE }.into());
            }
            state = self.shared.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn check(&self) -> Result<()> {
        match &self.failure {
            Some(reason) => Err(Error::Registry { reason: reason.clone() }),
            None => Ok(()),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what is there, then tells how far it came.
fn follow(reader: &mut Reader, shared: &Shared) -> std::result::Result<(), bus::Error> {
    let mut timeout = POLL;
    for _ in 0..1_000 {
        let Next::Record(message) = reader.next(timeout)? else { break };
        take(message.key(), message.value(), shared);
        timeout = Duration::ZERO;
    }
    shared.lock().positions.extend(reader.positions());
    shared.moved.notify_all();
    Ok(())
}

fn take(key: Option<&[u8]>, value: Option<&[u8]>, shared: &Shared) {
    let Some(id) = key.and_then(|key| std::str::from_utf8(key).ok()).and_then(ServiceId::new) else {
        tracing::warn!("a registration without a service id as its key is passed over");
        return;
    };
    let Some(value) = value else {
        let mut state = shared.lock();
        state.version += u64::from(state.specs.remove(&id).is_some());
        return;
    };
    let parsed = codec::service::decode(value).map_err(|error| error.to_string()).and_then(|registration| {
        let checked = crate::spec::parse(&registration.text).map_err(|findings| findings.to_string())?;
        if checked.spec.id == id { Ok(checked.spec) } else { Err(format!("it is a spec of {}", checked.spec.id)) }
    });
    match parsed {
        Ok(spec) => {
            let mut state = shared.lock();
            state.specs.insert(id, Arc::new(spec));
            state.version += 1;
        }
        Err(reason) => {
            tracing::warn!(service = %id, reason, "a broken registration is passed over, the old spec stays")
        }
    }
}
