//! The emitter for programs that have something else to do: a call checks a reading, puts it into a bounded buffer and
//! returns. It never waits for the cluster, nor for its catalog.
//!
//! ```text
//! emit --(numbers, names refused before)--> [ front: readings, names, counts ] --> pump: check names, encode, send --> Kafka
//!                                                      ^----- what became of them: delivered, refused, failed -------+
//! ```
//!
//! Every reading that was taken ends in exactly one count ([`Counts`]). A full buffer drops the new reading, counts it and
//! says so. [`front`] is what callers and the thread share, [`names`] what is known of their names, [`pump`] the thread; [`fork`] knows whether this process is
//! still the one that made the buffer: after a fork the parent goes on, and the child begins with an empty buffer and a
//! client of its own, so that nothing is sent twice.
//!
//! Called by the Python SDK, by [`super::layer`], and by whoever embeds the library.

mod fork;
mod front;
mod names;
mod pump;

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::emit::{Refused, check_numbers, encode};
use crate::bus::Settings;
use crate::codec;
use crate::model::reading::Reading;
use crate::model::topics::Topics;

pub use front::{Counts, Taken};
use front::{Shared, Wake};
use pump::Pump;

/// Readings that may wait or be on their way, unless the caller says otherwise.
pub const DEFAULT_CAPACITY: usize = 100_000;
/// How long the end of a buffer waits for what is still in it.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// See the module. Shared by any number of threads; dropping it flushes, for 5 s at most.
pub struct Buffer {
    settings: Settings,
    topics: Topics,
    capacity: usize,
    /// From [`Box::into_raw`]. A forked child puts its own here and leaks its copy of the parent's, whose lock may be held by
    /// a thread that the child does not have.
    life: AtomicPtr<Life>,
}

/// A buffer in one process.
struct Life {
    process: u64,
    shared: Arc<Shared>,
}

impl Life {
    fn begin(capacity: usize) -> *mut Self {
        Box::into_raw(Box::new(Self { process: fork::process(), shared: Arc::new(Shared::new(capacity)) }))
    }
}

impl Buffer {
    /// An empty buffer of at most `capacity` readings, those included that are on their way. Nothing is asked of the
    /// cluster, and no thread is started, before the first reading.
    pub fn new(settings: &Settings, topics: &Topics, capacity: usize) -> Self {
        fork::watch();
        // Made now: a lazy value that another thread was making at the moment of a fork is never made in the child.
        codec::formats();
        let life = AtomicPtr::new(Life::begin(capacity));
        Self { settings: settings.clone(), topics: topics.clone(), capacity, life }
    }

    /// Takes a reading; never waits. `Ok` says whether there was room for it. A name that turns out to be unknown after this
    /// is counted as refused, and from then on refused here.
    ///
    /// # Errors
    /// What would surely be rejected; the reading is in no count.
    #[inline]
    pub fn emit(&self, reading: &Reading<'_>) -> Result<Taken, Refused> {
        check_numbers(reading)?;
        let encoded = match reading.attributes.is_empty() {
            true => None,
            false => Some(encode(reading)?.into_boxed_slice()),
        };
        let shared = self.shared();
        let (taken, wake) = shared.push(reading, encoded)?;
        match wake {
            Wake::Nothing => {}
            Wake::Notify => shared.notify(),
            Wake::Start => self.start(shared),
        }
        Ok(taken)
    }

    /// Waits up to `timeout` until everything that was taken before is settled. Says what became of the readings since the
    /// last flush; `pending` are those that are still on their way: 0 if all that was taken before is settled.
    pub fn flush(&self, timeout: Duration) -> Counts {
        self.flush_while(timeout, || true)
    }

    /// The same, for who may be interrupted: about ten times a second `goes_on` is asked whether to wait on.
    pub fn flush_while(&self, timeout: Duration, goes_on: impl FnMut() -> bool) -> Counts {
        let shared = self.shared();
        shared.flush(Instant::now() + timeout, || self.start(shared), goes_on)
    }

    /// What became of all readings of this process so far.
    pub fn counts(&self) -> Counts {
        self.shared().counts()
    }

    /// How many readings it may hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Something was registered: names that were refused are looked up again when they come.
    pub fn forget_refusals(&self) {
        self.shared().forget_refusals();
    }

    /// Takes nothing more and flushes for up to `timeout`; what is on its way then may arrive or not. Says what became of the
    /// readings since the last flush.
    pub fn close(&self, timeout: Duration) -> Counts {
        let shared = self.shared();
        shared.close();
        let counts = self.flush(timeout);
        shared.stop();
        counts
    }

    /// What callers and pump of this process share.
    #[inline]
    fn shared(&self) -> &Arc<Shared> {
        let life = self.life.load(Ordering::Acquire);
        // SAFETY: made by `Box::into_raw`; only `drop` frees it, which nobody runs while `self` is borrowed. What a child of
        // a fork exchanges it for is as good, and the old one is leaked.
        let Life { process, shared } = unsafe { &*life };
        if *process == fork::process() { shared } else { self.begin_anew(life) }
    }

    /// The first call in a forked child.
    #[cold]
    fn begin_anew(&self, parents: *mut Life) -> &Arc<Shared> {
        let ours = Life::begin(self.capacity);
        let life = match self.life.compare_exchange(parents, ours, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => ours,
            Err(theirs) => {
                // SAFETY: made above, and seen by nobody else.
                drop(unsafe { Box::from_raw(ours) });
                theirs
            }
        };
        // SAFETY: as in `shared`.
        unsafe { &(*life).shared }
    }

    #[cold]
    fn start(&self, shared: &Arc<Shared>) {
        let pump = Pump::new(shared.clone(), self.settings.clone(), self.topics.clone(), self.capacity);
        let started = thread::Builder::new().name("ops-emit".to_owned()).spawn(|| pump.run());
        if let Err(error) = started {
            tracing::error!(%error, "no thread to send readings: they wait in the buffer");
            shared.no_pump();
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let life = *self.life.get_mut();
        // SAFETY: as in `shared`.
        let Life { process, shared } = unsafe { &*life };
        if *process != fork::process() {
            // The parent's, which sends what is in it.
            return;
        }
        // Whoever closed it before has waited, and knows the counts.
        if shared.close() {
            let counts = self.close(LAST_FLUSH);
            if counts.undelivered() > 0 {
                let Counts { dropped, refused, failed, pending, .. } = counts;
                tracing::warn!(dropped, ?refused, ?failed, pending, "readings were not delivered");
            }
        }
        // SAFETY: made by `Box::into_raw`, and this is the end of the only owner.
        drop(unsafe { Box::from_raw(life) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::Attributes;

    /// A port on which nobody answers: what is taken stays.
    fn buffer() -> Buffer {
        Buffer::new(&Settings::new("127.0.0.1:9", "test"), &Topics::new(""), 3)
    }

    fn reading(value: f64) -> Reading<'static> {
        Reading { service: "s".into(), sensor: "x".into(), ts: 1, value, attributes: Attributes::new() }
    }

    #[test]
    fn without_a_cluster_the_caller_goes_on_and_everything_is_counted() {
        let buffer = buffer();
        let taken: Vec<_> = (0..5).map(|n| buffer.emit(&reading(f64::from(n))).unwrap()).collect();
        assert_eq!(taken.iter().filter(|taken| **taken == Taken::Yes).count(), 3);
        assert!(matches!(buffer.emit(&reading(f64::NAN)), Err(Refused::NotFinite { .. })));
        let counts = buffer.close(Duration::from_millis(50));
        assert_eq!((counts.pending, counts.dropped, counts.emitted()), (3, 2, 5));
        assert_eq!(buffer.emit(&reading(1.0)), Ok(Taken::Dropped), "it is closed");
    }

    #[test]
    fn what_is_too_large_is_told_at_the_call() {
        let mut large = reading(1.0);
        large.attributes.insert("note".into(), "x".repeat(40_000).into());
        assert!(matches!(buffer().emit(&large), Err(Refused::TooLarge { .. })));
    }

    #[test]
    fn a_forked_child_begins_with_an_empty_buffer_and_the_parent_goes_on() {
        let buffer = buffer();
        let _ = buffer.emit(&reading(1.0)).unwrap();
        // SAFETY: the child only looks at the buffer and ends at once.
        match unsafe { libc::fork() } {
            0 => {
                let is_empty = buffer.counts() == Counts::default();
                unsafe { libc::_exit(i32::from(!is_empty)) }
            }
            child => {
                let mut status = -1;
                unsafe { libc::waitpid(child, &mut status, 0) };
                assert_eq!(status, 0, "the child saw readings of its parent");
                assert_eq!(buffer.counts().pending, 1);
            }
        }
        // Not dropped, which would wait for a cluster.
        std::mem::forget(buffer);
    }
}
