//! What the callers of a buffer and its pump share, under one lock that is held for moments: readings that wait, the names
//! that were seen, and what became of every reading. Nothing here knows the bus.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::names::{Names, SeriesId, Unchecked};
use crate::model::reading::{Reading, RejectReason};
use crate::sdk::emit::Refused;

/// After the first reading the pump waits for more, so that it is not woken for each.
const LINGER: Duration = Duration::from_millis(5);
/// While readings are on their way and nothing else happens, it looks so often what became of them.
const LOOK: Duration = Duration::from_millis(10);

/// Who waits for a flush is asked so often whether it goes on.
const ASK: Duration = Duration::from_millis(100);

/// Was there room?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// It will be sent.
    Yes,
    /// The buffer was full, or closed: the reading is lost, and counted as dropped.
    Dropped,
}

/// What became of the readings that a buffer was given: each is in one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged by the cluster.
    pub delivered: u64,
    /// Not sent, because their names turned out to be unknown.
    pub refused: BTreeMap<RejectReason, u64>,
    /// Not taken by the cluster, by reason.
    pub failed: BTreeMap<String, u64>,
    /// The buffer was full.
    pub dropped: u64,
    /// Waiting, or on their way: they may arrive or not.
    pub pending: u64,
}

impl Counts {
    /// All readings that were given.
    pub fn emitted(&self) -> u64 {
        self.delivered + self.undelivered()
    }

    /// Those that are not known to have arrived.
    pub fn undelivered(&self) -> u64 {
        self.refused.values().sum::<u64>() + self.failed.values().sum::<u64>() + self.dropped + self.pending
    }

    /// What is new since `before`; `pending` is that of now.
    fn since(&self, before: &Self) -> Self {
        Self {
            delivered: self.delivered - before.delivered,
            refused: grown(&self.refused, &before.refused),
            failed: grown(&self.failed, &before.failed),
            dropped: self.dropped - before.dropped,
            pending: self.pending,
        }
    }
}

fn grown<K: Clone + Ord>(now: &BTreeMap<K, u64>, before: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    let growth = |(key, n): (&K, &u64)| (key.clone(), n - before.get(key).copied().unwrap_or(0));
    now.iter().map(growth).filter(|(_, n)| *n > 0).collect()
}

/// A reading that waits.
#[derive(Debug, PartialEq)]
pub(super) struct Waiting {
    pub series: SeriesId,
    /// Event time, ms.
    pub ts: i64,
    pub value: f64,
    /// The value on the bus of a reading with attributes.
    pub encoded: Option<Box<[u8]>>,
}

/// What a caller has to do after a reading was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    Nothing,
    /// The pump sleeps.
    Notify,
    /// There is none yet.
    Start,
}

/// What the pump is to do next.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Series whose names are to be looked up before anything of them is sent.
    pub unchecked: Vec<Unchecked>,
    /// Something was registered: a catalog that was read before may lack it.
    pub reread: bool,
    /// Somebody waits until all of this, and all before it, is settled.
    pub flush: Option<u64>,
    /// The last turn.
    pub stop: bool,
}

/// See the module.
pub(super) struct Shared {
    capacity: u64,
    front: Mutex<Front>,
    /// For the pump.
    news: Condvar,
    /// For those who wait for a flush.
    flushed: Condvar,
}

#[derive(Default)]
struct Front {
    waiting: Vec<Waiting>,
    names: Names,
    reread: bool,
    counts: Counts,
    /// As of the last flush.
    reported: Counts,
    flush: Flush,
    pump: Pump,
    closed: bool,
    stop: bool,
}

/// Rounds of flushes, numbered.
#[derive(Default)]
struct Flush {
    asked: u64,
    /// The pump has done what it could.
    served: u64,
    /// All that was taken before is settled.
    complete: u64,
    /// The latest deadline of those who wait.
    until: Option<Instant>,
}

/// Where the pump is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pump {
    #[default]
    Absent,
    Awake,
    Asleep,
}

impl Shared {
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1) as u64;
        Self { capacity, front: Mutex::default(), news: Condvar::new(), flushed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Front> {
        // A panic while it was held cannot leave it half written.
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a reading, if there is room.
    pub fn push(&self, reading: &Reading<'_>, encoded: Option<Box<[u8]>>) -> Result<(Taken, Wake), Refused> {
        let mut front = self.lock();
        let series = front.names.find(&reading.service, &reading.sensor)?;
        if front.closed || front.counts.pending >= self.capacity {
            front.counts.dropped += 1;
            return Ok((Taken::Dropped, Wake::Nothing));
        }
        front.counts.pending += 1;
        front.waiting.push(Waiting { series, ts: reading.ts, value: reading.value, encoded });
        Ok((Taken::Yes, front.wake()))
    }

    pub fn notify(&self) {
        self.news.notify_one();
    }

    /// The pump could not be started: the next reading tries again.
    pub fn no_pump(&self) {
        self.lock().pump = Pump::Absent;
    }

    pub fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }

    pub fn forget_refusals(&self) {
        let mut front = self.lock();
        front.names.forget_refusals();
        front.reread = true;
    }

    /// Nothing more is taken. Was it open?
    pub fn close(&self) -> bool {
        !std::mem::replace(&mut self.lock().closed, true)
    }

    /// The pump ends, whatever is left.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.news.notify_one();
    }

    /// Waits until everything that was taken before is settled, until the deadline, or until `goes_on` says no. `start` starts
    /// a pump that is not there. Says what is new since the last flush.
    pub fn flush(&self, deadline: Instant, start: impl FnOnce(), goes_on: impl FnMut() -> bool) -> Counts {
        let mut front = self.lock();
        let mut is_settled = front.counts.pending == 0;
        if !is_settled {
            front.flush.asked += 1;
            front.flush.until = front.flush.until.max(Some(deadline));
            let round = front.flush.asked;
            let wake = front.wake();
            drop(front);
            match wake {
                Wake::Start => start(),
                Wake::Notify | Wake::Nothing => self.notify(),
            }
            is_settled = self.wait_for(round, deadline, goes_on);
            front = self.lock();
        }
        let mut counts = front.counts.since(&front.reported);
        front.reported = front.counts.clone();
        if is_settled {
            // What is pending was taken after this call.
            counts.pending = 0;
        }
        counts
    }

    /// Waits for a round; was it settled? The lock is free while `goes_on` is asked, which may take other locks.
    fn wait_for(&self, round: u64, deadline: Instant, mut goes_on: impl FnMut() -> bool) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).min(ASK);
            let is_open = |front: &mut Front| front.flush.complete < round;
            let waited = self.flushed.wait_timeout_while(self.lock(), left, is_open);
            let (front, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let is_settled = front.flush.complete >= round;
            drop(front);
            if is_settled || Instant::now() >= deadline || !goes_on() {
                return is_settled;
            }
        }
    }

    /// The pump waits for something to do. What waits is moved to the end of `batch`, unless that holds something still.
    pub fn next(&self, batch: &mut Vec<Waiting>) -> Work {
        let mut front = self.lock();
        let is_whole = batch.is_empty();
        if is_whole {
            front = self.wait(front);
            std::mem::swap(batch, &mut front.waiting);
        }
        let now = Instant::now();
        if front.flush.until.is_some_and(|until| until <= now) {
            front.flush.served = front.flush.asked;
            front.flush.until = None;
        }
        // With an old batch, readings that were taken before somebody asked are still here.
        let flush = (is_whole && front.flush.asked > front.flush.served).then_some(front.flush.asked);
        let reread = std::mem::take(&mut front.reread);
        Work { unchecked: front.names.take_unchecked(), reread, flush, stop: front.stop }
    }

    fn wait<'a>(&'a self, mut front: MutexGuard<'a, Front>) -> MutexGuard<'a, Front> {
        let for_a_while = |front, time| self.news.wait_timeout(front, time).unwrap_or_else(PoisonError::into_inner).0;
        loop {
            if front.stop || front.flush.asked > front.flush.served {
                return front;
            }
            if !front.waiting.is_empty() {
                return for_a_while(front, LINGER);
            }
            if front.counts.pending > 0 {
                return for_a_while(front, LOOK);
            }
            front.pump = Pump::Asleep;
            front = self.news.wait(front).unwrap_or_else(PoisonError::into_inner);
            front.pump = Pump::Awake;
        }
    }

    /// The pump waits before it tries again; the end of the buffer cuts it short.
    pub fn pause(&self, time: Duration) {
        let front = self.lock();
        let is_waiting = |front: &mut Front| !front.stop;
        drop(self.news.wait_timeout_while(front, time, is_waiting));
    }

    /// What the pump has found out about names.
    pub fn judge(&self, series: SeriesId, judged: Result<(), Refused>) {
        self.lock().names.judge(series, judged);
    }

    /// What became of readings.
    pub fn settle(&self, settled: &Counts) {
        let mut front = self.lock();
        front.counts.delivered += settled.delivered;
        for (reason, n) in &settled.refused {
            *front.counts.refused.entry(*reason).or_default() += n;
        }
        for (reason, n) in &settled.failed {
            *front.counts.failed.entry(reason.clone()).or_default() += n;
        }
        front.counts.pending -= settled.emitted();
    }

    /// Until when somebody waits for a flush; `None` if nobody does any more.
    pub fn flush_until(&self) -> Option<Instant> {
        let front = self.lock();
        front.flush.until.filter(|_| !front.stop)
    }

    /// All that was taken before this round is settled.
    pub fn complete(&self, round: u64) {
        let mut front = self.lock();
        front.flush.served = front.flush.served.max(round);
        front.flush.complete = front.flush.complete.max(round);
        if front.flush.asked == front.flush.complete {
            front.flush.until = None;
        }
        self.flushed.notify_all();
    }
}

impl Front {
    fn wake(&mut self) -> Wake {
        match std::mem::replace(&mut self.pump, Pump::Awake) {
            Pump::Absent => Wake::Start,
            Pump::Asleep => Wake::Notify,
            Pump::Awake => Wake::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(value: f64) -> Reading<'static> {
        Reading { service: "s".into(), sensor: "x".into(), ts: 1, value, attributes: BTreeMap::new() }
    }

    #[test]
    fn every_reading_is_in_exactly_one_count() {
        let shared = Shared::new(3);
        let taken: Vec<_> = (0..5).map(|n| shared.push(&reading(f64::from(n)), None).unwrap().0).collect();
        assert_eq!(taken, [Taken::Yes, Taken::Yes, Taken::Yes, Taken::Dropped, Taken::Dropped]);
        let counts = shared.counts();
        assert_eq!((counts.pending, counts.dropped, counts.emitted()), (3, 2, 5));
        shared.settle(&Counts {
            delivered: 1,
            refused: [(RejectReason::UnknownSensor, 1)].into(),
            ..Counts::default()
        });
        let counts = shared.counts();
        assert_eq!((counts.delivered, counts.undelivered(), counts.pending), (1, 4, 1));
        assert_eq!(shared.push(&reading(9.0), None).unwrap().0, Taken::Yes, "what is settled makes room");
        assert_eq!(shared.counts().emitted(), 6);
    }

    #[test]
    fn a_flush_reports_what_is_new_and_what_is_still_on_its_way() {
        let shared = Shared::new(2);
        for n in 0..3 {
            let _ = shared.push(&reading(f64::from(n)), None).unwrap();
        }
        let first = shared.flush(Instant::now(), || (), || true);
        assert_eq!((first.pending, first.dropped), (2, 1));
        shared.settle(&Counts { delivered: 2, ..Counts::default() });
        let second = shared.flush(Instant::now(), || unreachable!("nothing is pending"), || true);
        assert_eq!(second, Counts { delivered: 2, ..Counts::default() }, "the dropped one was reported before");
    }

    #[test]
    fn a_batch_that_is_not_done_keeps_its_place_before_what_comes_after() {
        let shared = Shared::new(9);
        let _ = shared.push(&reading(1.0), None).unwrap();
        let mut batch = Vec::new();
        assert_eq!(shared.next(&mut batch).unchecked.len(), 1);
        let _ = shared.push(&reading(2.0), None).unwrap();
        assert!(shared.next(&mut batch).unchecked.is_empty());
        assert_eq!(batch.iter().map(|waiting| waiting.value).collect::<Vec<_>>(), [1.0]);
        batch.clear();
        let _ = shared.next(&mut batch);
        assert_eq!(batch.iter().map(|waiting| waiting.value).collect::<Vec<_>>(), [2.0]);
    }

    #[test]
    fn a_flush_is_not_complete_before_what_waits_behind_an_old_batch() {
        let shared = Shared::new(9);
        let _ = shared.push(&reading(1.0), None).unwrap();
        let mut batch = Vec::new();
        let _ = shared.next(&mut batch);
        let _ = shared.push(&reading(2.0), None).unwrap();
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(shared.flush(later, || (), || false).pending, 2, "who is interrupted has not flushed");
        assert_eq!(shared.next(&mut batch).flush, None);
        batch.clear();
        assert_eq!((shared.next(&mut batch).flush, batch.len()), (Some(1), 1));
        shared.complete(1);
        let _ = shared.push(&reading(3.0), None).unwrap();
        assert!(shared.wait_for(1, later, || true));
    }

    #[test]
    fn only_a_pump_that_is_not_there_is_started_and_only_one_that_sleeps_is_woken() {
        let shared = Shared::new(9);
        let wakes: Vec<_> = (0..2).map(|_| shared.push(&reading(1.0), None).unwrap().1).collect();
        assert_eq!(wakes, [Wake::Start, Wake::Nothing]);
        shared.lock().pump = Pump::Asleep;
        let wakes: Vec<_> = (0..2).map(|_| shared.push(&reading(1.0), None).unwrap().1).collect();
        assert_eq!(wakes, [Wake::Notify, Wake::Nothing]);
    }
}
