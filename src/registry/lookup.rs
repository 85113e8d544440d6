//! The table of schema ids of a running process. The ids by which we write are looked up once, at the start, and stay; of
//! others, by which strangers write, the registry is asked when they are met, by one thread of its own: nobody else waits
//! for HTTP, and while the registry is down it goes on asking.
//!
//! An id never changes its meaning, so an answer is kept as long as the process lives; only "there is none" is asked for
//! again after a while, for a number may be given out later.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::{Access, Client, Error};
use super::subjects::{Subject, subjects};
use crate::bus::Schemas;
use crate::codec::ids::Ids;
use crate::model::topics::Topics;

/// How long a registry that is down is left alone.
const RETRY: Duration = Duration::from_secs(1);
/// How long "there is no such id" is believed.
const BELIEVED: Duration = Duration::from_secs(60);
/// So many ids that name nothing are remembered: anybody can make them up.
const NOTHINGS: usize = 1_000;

/// See the module. Dropped, it waits for the call under way.
pub struct Lookup {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ids: Arc<Ids>,
    wanted: BTreeSet<u32>,
    /// The last call had no answer.
    is_down: bool,
    is_over: bool,
}

impl Lookup {
    /// Looks up the ids of our schemas, and of every version of our subjects.
    ///
    /// # Errors
    /// [`Error::Missing`] if a schema is not registered; the registry does not answer, or refuses.
    pub fn start(access: &Access, topics: &Topics) -> Result<Self, Error> {
        let client = Client::new(access)?;
        let ids = ours(&client, &subjects(topics))?;
        let state = State { ids: Arc::new(ids), wanted: BTreeSet::new(), is_down: false, is_over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let asked = shared.clone();
        let thread =
            std::thread::Builder::new().name("schema registry".to_owned()).spawn(move || asked.answer(&client))?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

/// What is written, and what may lie on our topics.
fn ours(client: &Client, subjects: &[Subject]) -> Result<Ids, Error> {
    let (mut ids, mut missing) = (Ids::default(), Vec::new());
    for Subject { name, format } in subjects {
        match client.find(name, format.text())? {
            Some(id) => ids.write(format, id),
            None => missing.push(name.clone()),
        }
        for version in client.versions(name)? {
            ids.learn(version.id, Some(&version.schema));
        }
    }
    match missing.is_empty() {
        true => Ok(ids),
        false => Err(Error::Missing { url: client.url().to_owned(), subjects: missing }),
    }
}

impl Schemas for Lookup {
    fn ids(&self) -> Arc<Ids> {
        self.shared.lock().ids.clone()
    }

    fn ask(&self, wanted: &BTreeSet<u32>, patience: Duration) -> Arc<Ids> {
        let mut state = self.shared.lock();
        let unknown: Vec<u32> = wanted.iter().copied().filter(|id| !state.ids.knows(*id)).collect();
        if unknown.is_empty() {
            return state.ids.clone();
        }
        state.wanted.extend(unknown.iter().copied());
        self.shared.changed.notify_all();
        let waits = |state: &mut State| !unknown.iter().all(|id| state.ids.knows(*id));
        let waited = self.shared.changed.wait_timeout_while(state, patience, waits);
        waited.unwrap_or_else(PoisonError::into_inner).0.ids.clone()
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        // A panic there was told by itself.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: one question after the other.
    fn answer(&self, client: &Client) {
        let mut believed = Instant::now();
        loop {
            let waits = |state: &mut State| state.wanted.is_empty() && !state.is_over;
            let waited = self.changed.wait_timeout_while(self.lock(), BELIEVED, waits);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.is_over {
                return;
            }
            if believed.elapsed() >= BELIEVED {
                believed = Instant::now();
                Arc::make_mut(&mut state.ids).forget_nothing();
            }
            let Some(id) = state.wanted.first().copied() else { continue };
            drop(state);
            match client.schema(id) {
                Ok(schema) => self.learn(id, schema.as_deref(), client.url()),
                Err(error) => self.wait_out(&error),
            }
        }
    }

    fn learn(&self, id: u32, schema: Option<&str>, url: &str) {
        let mut state = self.lock();
        if std::mem::take(&mut state.is_down) {
            tracing::info!(url, "the schema registry answers again");
        }
        state.wanted.remove(&id);
        let ids = Arc::make_mut(&mut state.ids);
        if ids.nothing() >= NOTHINGS {
            ids.forget_nothing();
        }
        ids.learn(id, schema);
        self.changed.notify_all();
    }

    /// Told once; then it is tried again until it answers.
    fn wait_out(&self, error: &Error) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.is_down, true) {
            tracing::warn!(%error, "what needs the schema registry waits for it");
        }
        let waits = |state: &mut State| !state.is_over;
        drop(self.changed.wait_timeout_while(state, RETRY, waits));
    }
}
