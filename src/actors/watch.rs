//! Watches the pipeline from the pager's process, and says outside that it lives, as long as it does.
//!
//! ```text
//! ticks -> ops.metrics -> processor -> ops.state (`_partition`: the clock) -> [watch] -> ping, while all clocks move
//!                                      ops.incidents, groups' offsets     -> [watch] -> stalls -> the pager's loop
//! ```
//!
//! *Evidence.* A partition is alive if its clock in the committed cuts of `ops.state` moves: only ticks or readings that
//! were appended, judged and committed move it, and a processor that lives cuts every ten seconds, also in silence. An
//! actor is alive if the oldest request that its group has not settled moves, while there is one; those that wait for a
//! human in their time are not its debt ([`bookmark::owed`]). Both cost a few questions every few seconds, whatever the traffic.
//!
//! The ping also needs the pager's own loop to turn ([`Watch::stalls`] is asked by it). When Kafka is gone, nobody can be
//! paged through it: then the ping stays away, and whoever waits for it tells people.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;

use super::bookmark;
use super::stall::{Progress, Stall};
use crate::bus::onlooker::Onlooker;
use crate::bus::{self, Isolation, Next, Offsets, Reader, Settings};
use crate::codec::{self, state::StateRecord};
use crate::model::topics::Topics;
use crate::telemetry::clock::now_ms;
use crate::world::ping::Ping;

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Groups are asked about so often.
const ASK_EVERY_MS: i64 = 5_000;
/// First and longest pause after an error of the bus.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The clock is in the last record of a cut: of a partition that stands still it is among so many of the last.
const LAST_RECORDS: i64 = 2_000;
/// One wait for the next record.
const WAIT: Duration = Duration::from_millis(200);

/// What the watch is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster.
    pub bus: Settings,
    /// Names of the topics.
    pub topics: Topics,
    /// Groups of actors that are to make progress; one that has never committed anything is not there.
    pub actors: Vec<String>,
    /// How long a partition's clock may stand still, ms: more than the ten seconds between two cuts.
    pub partition_patience_ms: i64,
    /// How long an actor may owe an answer, ms: longer than any action takes.
    pub actor_patience_ms: i64,
    /// Whom to tell that the pipeline lives, and how often.
    pub ping: Option<(Ping, Duration)>,
    /// Where the ping is sent.
    pub runtime: Handle,
}

/// A running watch; dropped, it ends.
pub struct Watch {
    shared: Arc<Shared>,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    partition_patience_ms: i64,
    actor_patience_ms: i64,
    known: Mutex<Known>,
    /// When the pager's loop last asked, ms.
    turned_ms: AtomicI64,
}

/// What was seen.
#[derive(Debug, Default)]
struct Known {
    /// How many partitions there are; 0: nobody has asked yet.
    partitions: usize,
    /// Clocks of the partitions. Where no processor has ever cut, there is none, and nothing that could stand still.
    clocks: BTreeMap<i32, Progress>,
    /// By group and partition, of those that owe an answer: the oldest request that is not settled.
    owed: BTreeMap<(String, i32), Progress>,
    /// The groups were asked at least once.
    has_asked: bool,
}

impl Known {
    /// Where everything in a partition stands; `None` as long as no cut of it was seen.
    fn stalls(
        &self,
        partition: i32,
        partition_patience_ms: i64,
        actor_patience_ms: i64,
        now_ms: i64,
    ) -> Option<Vec<Stall>> {
        let clock = self.clocks.get(&partition).filter(|_| self.has_asked)?;
        let what = format!("the clock of partition {partition} stands still: nothing in it is judged");
        let clock = clock.stall("partition", partition, what, partition_patience_ms, now_ms);
        let owed = self.owed.iter().filter(|((_, of), _)| *of == partition);
        let owed = owed.filter_map(|((group, _), owed)| {
            let what = format!("{group} answers nothing: offset {} of partition {partition} waits", owed.at());
            owed.stall(group, partition, what, actor_patience_ms, now_ms)
        });
        Some(clock.into_iter().chain(owed).collect())
    }

    /// Do all clocks move?
    fn is_alive(&self, patience_ms: i64, now_ms: i64) -> bool {
        let moves = |clock: &Progress| !clock.is_ripe(patience_ms, now_ms);
        self.partitions > 0 && self.clocks.len() == self.partitions && self.clocks.values().all(moves)
    }
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// No thread.
    pub fn start(options: Options) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            partition_patience_ms: options.partition_patience_ms,
            actor_patience_ms: options.actor_patience_ms,
            known: Mutex::default(),
            turned_ms: AtomicI64::new(0),
        });
        let (stop, stopped) = channel();
        let seen = shared.clone();
        let body = move || run(&options, &seen, &stopped);
        let thread = std::thread::Builder::new().name("ops-watch".to_owned()).spawn(body)?;
        Ok(Self { shared, stop, thread: Some(thread) })
    }

    /// All that stands in a partition, ripe or not; `None` if nothing is known of it yet. Asked by the pager's loop once a
    /// second, which shows that it turns.
    pub fn stalls(&self, partition: i32) -> Option<Vec<Stall>> {
        let now_ms = now_ms();
        self.shared.turned_ms.store(now_ms, Ordering::Relaxed);
        let Shared { known, partition_patience_ms, actor_patience_ms, .. } = &*self.shared;
        let known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.stalls(partition, *partition_patience_ms, *actor_patience_ms, now_ms)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.stop.send(());
        // A panic in it was said by its own thread; there is nothing to add.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Looks, again and again, until it is told to stop.
fn run(options: &Options, shared: &Shared, stop: &Receiver<()>) {
    let mut pause = PAUSES.0;
    loop {
        match look(options, shared, stop) {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, ?pause, "the watch cannot see the pipeline"),
        }
        match stop.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(PAUSES.1),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Looks until it is told to stop, or an error of the bus.
fn look(options: &Options, shared: &Shared, stop: &Receiver<()>) -> Result<(), bus::Error> {
    let offsets = Offsets::new(&options.bus)?;
    let mut cuts = Cuts::open(options, &offsets, shared)?;
    let mut debts = Debts::open(options, cuts.partitions)?;
    let mut pinged_ms = None;
    loop {
        cuts.read(shared)?;
        debts.read(options, &offsets, shared)?;
        if let Some((ping, every)) = &options.ping {
            let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
            if is_alive(shared) && pinged_ms.is_none_or(|at| now_ms() >= at + every_ms) {
                pinged_ms = Some(now_ms());
                if let Err(error) = options.runtime.block_on(ping.send()) {
                    tracing::warn!(%error, "nobody took the ping");
                }
            }
        }
        match stop.recv_timeout(ROUND) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn is_alive(shared: &Shared) -> bool {
    let (now_ms, patience_ms) = (now_ms(), shared.partition_patience_ms);
    let turns = now_ms.saturating_sub(shared.turned_ms.load(Ordering::Relaxed)) <= patience_ms;
    turns && shared.known.lock().unwrap_or_else(PoisonError::into_inner).is_alive(patience_ms, now_ms)
}

/// Follows `ops.state` for the clocks.
struct Cuts {
    reader: Reader,
    partitions: i32,
}

impl Cuts {
    fn open(options: &Options, offsets: &Offsets, shared: &Shared) -> Result<Self, bus::Error> {
        let topic = &options.topics.state;
        let partitions = offsets.partitions(topic)?;
        let start = |partition| {
            let marks = offsets.watermarks(topic, partition)?;
            Ok((partition, marks.low.max(marks.high - LAST_RECORDS)))
        };
        let starts = (0..partitions).map(start).collect::<Result<Vec<_>, bus::Error>>()?;
        shared.known.lock().unwrap_or_else(PoisonError::into_inner).partitions = starts.len();
        let reader = Reader::open(&options.bus, topic, Isolation::Committed, starts)?;
        Ok(Self { reader, partitions })
    }

    /// Takes what has come.
    fn read(&mut self, shared: &Shared) -> Result<(), bus::Error> {
        while let Next::Record(message) = self.reader.next(WAIT)? {
            let record = message.value().and_then(|value| codec::state::decode_state(value).ok());
            let Some(StateRecord::Partition(cut)) = record else { continue };
            let mut known = shared.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(clock) = cut.clock {
                known
                    .clocks
                    .entry(message.partition())
                    .or_insert_with(|| Progress::new(clock, now_ms()))
                    .see(clock, now_ms());
            }
        }
        Ok(())
    }
}

/// Asks what the groups of the actors have not settled.
struct Debts {
    groups: Vec<(String, Onlooker)>,
    partitions: i32,
    asked_ms: i64,
    /// Ends before which there is no request, by partition and committed offset: markers alone.
    hollow: BTreeMap<(i32, i64), i64>,
}

impl Debts {
    fn open(options: &Options, partitions: i32) -> Result<Self, bus::Error> {
        let topic = &options.topics.incidents;
        let look = |group: &String| Ok((group.clone(), Onlooker::new(&options.bus, group, topic, partitions)?));
        let groups = options.actors.iter().map(look).collect::<Result<_, bus::Error>>()?;
        Ok(Self { groups, partitions, asked_ms: 0, hollow: BTreeMap::new() })
    }

    fn read(&mut self, options: &Options, offsets: &Offsets, shared: &Shared) -> Result<(), bus::Error> {
        if now_ms() < self.asked_ms + ASK_EVERY_MS {
            return Ok(());
        }
        self.asked_ms = now_ms();
        let topic = &options.topics.incidents;
        let marks = |partition| offsets.watermarks(topic, partition);
        let marks = (0..self.partitions).map(marks).collect::<Result<Vec<_>, bus::Error>>()?;
        let mut owed = Vec::new();
        for (group, onlooker) in &self.groups {
            for ((partition, committed), marks) in (0..).zip(onlooker.committed()?).zip(&marks) {
                let at = committed.map(|(offset, metadata)| bookmark::owed(offset, &metadata, self.asked_ms));
                let Some(at) = at.filter(|at| *at < marks.high) else { continue };
                let at = at.max(marks.low);
                // What is asked about is there before the end; behind the last record stand markers.
                if self.hollow.get(&(partition, at)) == Some(&marks.high) {
                    continue;
                }
                if has_record(options, partition, at, marks.high)? {
                    owed.push(((group.clone(), partition), at));
                } else {
                    self.hollow.retain(|(of, _), _| *of != partition);
                    self.hollow.insert((partition, at), marks.high);
                }
            }
        }
        let mut known = shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.has_asked = true;
        known.owed.retain(|whose, _| owed.iter().any(|(owing, _)| owing == whose));
        for (whose, at) in owed {
            known.owed.entry(whose).or_insert_with(|| Progress::new(at, now_ms())).see(at, now_ms());
        }
        Ok(())
    }
}

/// Is there a committed record in `[from, to)`? If that cannot be told in a moment, there is none yet.
fn has_record(options: &Options, partition: i32, from: i64, to: i64) -> Result<bool, bus::Error> {
    let mut reader = Reader::open(&options.bus, &options.topics.incidents, Isolation::Committed, [(partition, from)])?;
    reader.until([(partition, to)]);
    let deadline = now_ms() + 1_000;
    loop {
        match reader.next(WAIT)? {
            Next::Record(_) => return Ok(true),
            Next::End => return Ok(false),
            Next::Idle if now_ms() >= deadline => return Ok(false),
            Next::Idle => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lives_while_every_clock_moves_and_says_what_stands_still() {
        let mut known = Known::default();
        assert!(!known.is_alive(30, 0) && known.stalls(0, 30, 100, 0).is_none(), "nothing is known");
        (known.partitions, known.has_asked) = (2, true);
        known.clocks.insert(0, Progress::new(5, 0));
        assert!(!known.is_alive(30, 10) && known.stalls(1, 30, 100, 99).is_none(), "partition 1 was never cut");
        known.clocks.insert(1, Progress::new(7, 10));
        assert!(known.is_alive(30, 30) && !known.is_alive(30, 31));
        known.owed.insert(("ops-autoscaler".to_owned(), 1), Progress::new(3, 0));
        let stalls = |partition, now_ms| -> Vec<String> {
            let stalls = known.stalls(partition, 30, 100, now_ms).unwrap();
            stalls.iter().filter(|stall| stall.is_ripe).map(|stall| stall.incident.to_string()).collect()
        };
        assert_eq!(stalls(0, 30), [] as [&str; 0]);
        assert_eq!(stalls(0, 31), ["_ops.partition.0.5"]);
        assert_eq!(stalls(1, 101), ["_ops.partition.1.7", "_ops.ops-autoscaler.1.3"]);
    }
}
