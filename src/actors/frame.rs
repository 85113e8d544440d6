//! The frame of every actor that acts on requests: a consumer group over `ops.incidents`, a transactional producer
//! for `ops.actions`, one thread that talks to the bus (which blocks), and a runtime for the world.
//!
//! ```text
//!        ok                        session with the bus            AbortAndRewind, Recreate, Retry
//! start ----> take id over, join --> turn, turn, turn ... --error--> pause, new session
//!                                        | stop                    Fatal, Fenced
//!                                        v                         --> end with the error
//!                       let effects end, commit "released", leave
//! ```
//!
//! What differs between actors is a [`Role`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::counters::Counters;
use super::desk::Desk;
use super::error::Error;
use super::role::Role;
use super::work::Work;
use crate::bus::{self, GroupConsumer, Member, Offsets, Settings, TransactionalProducer, Verdict};
use crate::model::topics::Topics;

/// How long effects that are under way may take when the actor is stopped: longer than one call into the world.
const STOP_GRACE: Duration = Duration::from_secs(12);
/// First and longest pause before a new session.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What every actor is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster.
    pub bus: Settings,
    /// Names of the topics.
    pub topics: Topics,
    /// Name of the consumer group: who shares the work.
    pub group: String,
    /// Name of this member in its group, the same after a restart.
    pub instance: String,
    /// Decide and say, but touch nothing.
    pub dry_run: bool,
    /// Where calls into the world run.
    pub runtime: Handle,
}

/// A running actor. Dropped, it ends as soon as it can; [`Actor::stop`] waits for it.
pub struct Actor {
    name: &'static str,
    counters: Arc<Counters>,
    stop: Stop,
    ended: watch::Receiver<()>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// Asks the loop to end, and wakes it from a pause.
struct Stop {
    asked: Arc<AtomicBool>,
    wake: Sender<()>,
}

impl Stop {
    fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        // The loop has ended already.
        let _ = self.wake.send(());
    }
}

impl Actor {
    /// Starts an actor of that role.
    ///
    /// # Errors
    /// Names that cannot be ones; no thread.
    pub fn start<R: Role>(role: R, options: Options) -> Result<Self, Error> {
        for (what, name) in [("group", &options.group), ("instance", &options.instance)] {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            if name.is_empty() || name.len() > 100 || !name.bytes().all(plain) {
                return Err(Error::Name { what, name: name.clone() });
            }
        }
        let (wake, woken) = channel();
        let stop = Stop { asked: Arc::default(), wake };
        let (alive, ended) = watch::channel(());
        let (name, counters) = (role.name(), Arc::new(Counters::new(role.name(), R::VERBS)));
        counters.reads([&options.topics.incidents, &options.topics.actions]);
        let asked = stop.asked.clone();
        let work = Work::new(Arc::new(role), counters.clone(), options.runtime.clone());
        let counts = counters.clone();
        let body = move || {
            let result = run(work, &options, &counts, &asked, &woken);
            if let Err(error) = &result {
                tracing::error!(actor = name, %error, "the actor ends");
            }
            drop(alive);
            result
        };
        let thread = std::thread::Builder::new().name(format!("ops-{name}")).spawn(body);
        let thread = thread.map_err(|cause| Error::Thread { actor: name, cause })?;
        Ok(Self { name, counters, stop, ended, thread: Some(thread) })
    }

    /// What it has done so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Has it ended, by itself or because it was told to?
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until it has ended; [`Self::stop`] says why.
    pub async fn ended(&self) {
        // An error means that the loop has dropped its end.
        while self.ended.clone().changed().await.is_ok() {}
    }

    /// Ends it in order: what is under way ends, what is known is committed, the partitions are given up.
    ///
    /// # Errors
    /// Why it had ended before, or could not end in order.
    pub fn stop(mut self) -> Result<(), Error> {
        self.stop.ask();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::Panicked { actor: self.name }),
            None => Ok(()),
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.stop.ask();
    }
}

/// Sessions, until the actor is stopped or nothing helps.
fn run<R: Role>(
    mut work: Work<R>,
    options: &Options,
    counters: &Counters,
    stop: &AtomicBool,
    woken: &Receiver<()>,
) -> Result<(), Error> {
    let mut pause = PAUSES.0;
    loop {
        let began = Instant::now();
        let error = match session(&mut work, options, counters, stop) {
            Ok(()) => return Ok(()),
            Err(Error::Bus(error)) if !is_final(&error) => error,
            Err(error) => return Err(error),
        };
        if stop.load(Ordering::Acquire) {
            return Err(error.into());
        }
        counters.session(error.verdict());
        if began.elapsed() > PAUSES.1 * 4 {
            pause = PAUSES.0;
        }
        tracing::warn!(actor = work.name(), %error, ?pause, "a new session with the bus");
        match woken.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(PAUSES.1),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn is_final(error: &bus::Error) -> bool {
    matches!(error.verdict(), Verdict::Fatal | Verdict::Fenced)
}

/// One session: from taking the transactional id over to leaving the group.
fn session<R: Role>(
    work: &mut Work<R>,
    options: &Options,
    counters: &Counters,
    stop: &AtomicBool,
) -> Result<(), Error> {
    check_topics(options)?;
    // Before joining: this also ends what a predecessor of this name left open.
    let producer = TransactionalProducer::new(&options.bus, &format!("{}.{}", options.group, options.instance))?;
    let member = Member { group: options.group.clone(), instance: options.instance.clone() };
    let consumer = GroupConsumer::subscribe(&options.bus, &options.topics.incidents, &member)?;
    let mut desk = Desk::new(work.role(), options, counters, work, producer);
    while !stop.load(Ordering::Acquire) {
        desk.turn(&consumer, true)?;
    }
    let deadline = Instant::now() + STOP_GRACE;
    while desk.is_acting() && Instant::now() < deadline {
        desk.turn(&consumer, false)?;
    }
    consumer.close(&mut desk)?;
    desk.result()
}

/// What is done for partition p of `ops.incidents` goes to partition p of `ops.actions`.
fn check_topics(options: &Options) -> Result<(), Error> {
    let offsets = Offsets::new(&options.bus)?;
    let Topics { incidents, actions, .. } = &options.topics;
    let (wanted, found) = (offsets.partitions(incidents)?, offsets.partitions(actions)?);
    if wanted == found {
        return Ok(());
    }
    Err(Error::Partitions { actions: actions.clone(), found, incidents: incidents.clone(), wanted })
}
