//! Plays in which a guard of the processor is missing, to show that somebody notices: the judge, the audit by
//! `ops replay --verify`, or the processor itself, which refuses to go on. With every guard in its place the same plays
//! show nothing. Called by the tests of `controls` and by the campaign of that name.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hms_ops::bus::Isolation;
use hms_ops::model::ids::home_partition;
use hms_ops::torture::{Point, Sabotage};

use super::audit::audit;
use super::fleet::{Fleet, Ops, PARTITIONS, ids, now_ms};
use super::judge::judge;
use super::load;
use super::watch::{Watch, is_turn};
use crate::oracle::dice::Dice;

/// A guard, and the play in which it is missed.
#[derive(Clone, Copy)]
pub struct Control {
    /// What is taken away.
    pub guard: Sabotage,
    /// Plays; with `None` every guard is there.
    pub play: fn(Option<Sabotage>) -> Result<Quiet, Noticed>,
    /// Why nobody can notice: another guard holds what this one would let pass.
    pub held_by: Option<&'static str>,
}

/// A guard of another room is missing, or with `None` none is; the error is what the judge of that room has found.
pub type Scenario = fn(Option<Sabotage>) -> Result<(), String>;

/// Plays a scenario with its guard, which must be the one called `name`, and without.
///
/// # Panics
/// If something is found with every guard in place, or nothing without.
pub fn assert_noticed((guard, scenario): (Sabotage, Scenario), name: &str) {
    assert_eq!(guard.name(), name);
    scenario(None).unwrap_or_else(|difference| panic!("with every guard: {difference}"));
    let difference = scenario(Some(guard)).expect_err("it was not noticed");
    println!("{name}: {difference}");
}

/// The guards of the processor.
pub const PROCESSOR: &[Control] = &[
    Control::noticed(Sabotage::OffsetsOutsideTransaction, offsets_apart),
    Control::noticed(Sabotage::AutoCommit, stream),
    Control::noticed(Sabotage::CountLost, stream),
    Control::noticed(Sabotage::ReadUncommittedInput, stream),
    Control::noticed(Sabotage::ForwardsOutsideTransaction, stream),
    Control::noticed(Sabotage::DeadLettersDropped, stream),
    Control::noticed(Sabotage::NoRewind, stream),
    Control::noticed(Sabotage::RestoreWithoutReplay, stream),
    Control::noticed(Sabotage::RestoreWithoutRollups, stream),
    Control::noticed(Sabotage::HostClock, stream),
    Control::noticed(Sabotage::DigestAtCommit, stream),
    Control::noticed(Sabotage::NoFence, frozen_in_its_commit),
    Control {
        guard: Sabotage::CommitLost,
        play: lost,
        held_by: Some("the coordinator refuses offsets of an old generation, and the next owner has fenced the writer"),
    },
];

impl Control {
    const fn noticed(guard: Sabotage, play: fn(Option<Sabotage>) -> Result<Quiet, Noticed>) -> Self {
        Self { guard, play, held_by: None }
    }
}

/// Nobody noticed anything.
#[derive(Debug)]
pub struct Quiet {
    /// So many events are as they must be.
    pub events: usize,
    /// What the processes themselves were refused, if anything.
    pub refused: Option<String>,
}

/// Somebody noticed.
#[derive(Debug)]
pub struct Noticed {
    /// Who.
    pub by: &'static str,
    /// What.
    pub what: String,
}

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line: String = self.what.lines().next().unwrap_or_default().chars().take(160).collect();
        write!(f, "{}: {line}", self.by)
    }
}

/// So long a process may take to commit what the log holds; after that it is for the judge to say what is missing.
const SETTLE: Duration = Duration::from_secs(20);
/// Between two seconds of readings it gets so long, so that they are several transactions however fast it is.
const BREATH: Duration = Duration::from_secs(1);
/// Of every so many transactions one is given up.
const ABORT_EVERY: &str = "5";

fn start(fleet: &Fleet, guard: Option<Sabotage>, instance: &str, more: &[(&str, &str)]) -> Ops {
    let sabotage = guard.map(|guard| ("OPS_SABOTAGE", guard.name()));
    fleet.start_in(instance, &[], &[more, sabotage.as_slice()].concat())
}

/// Waits until everything is committed, or the process ends by itself.
pub fn settle(fleet: &Fleet, ops: &mut Ops) -> Result<(), Noticed> {
    // What was forwarded last is a record too.
    (0..2).try_for_each(|_| settle_within(fleet, ops, SETTLE))
}

/// Waits so long until what the log holds now is committed.
fn settle_within(fleet: &Fleet, ops: &mut Ops, patience: Duration) -> Result<(), Noticed> {
    let (ends, deadline) = (fleet.ends(), Instant::now() + patience);
    let is_done = || fleet.committed().iter().zip(&ends).all(|((at, _), end)| *end == 0 || *at >= Some(*end));
    while !is_done() && Instant::now() < deadline {
        if !ops.is_alive() {
            return Err(Noticed { by: "the processor", what: last_words(ops) });
        }
        // Nothing tells of a commit.
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The error with which it ended.
fn last_words(ops: &Ops) -> String {
    let said = ops.said();
    said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("said nothing").trim().to_owned()
}

/// In order, however it ends.
fn end(ops: Ops) {
    ops.terminate();
    ops.wait();
}

/// All who can notice.
fn verify(fleet: &Fleet, refused: Option<String>) -> Result<Quiet, Noticed> {
    let judged = judge(fleet).map_err(|what| Noticed { by: "the judge", what })?;
    match audit(fleet) {
        Ok(_) => Ok(Quiet { events: judged.events.len(), refused }),
        Err(said) => {
            let lines = said.lines().skip_while(|line| !line.contains("differs")).take(6).collect::<Vec<_>>().join(" ");
            Err(Noticed { by: "ops replay --verify", what: if lines.is_empty() { said } else { lines } })
        }
    }
}

/// Services, and readings in simulated time.
struct Feed {
    nervous: Vec<String>,
    wide: Vec<String>,
    now: i64,
    dice: Dice,
    /// One in so many readings arrives away from home; none if nothing does.
    away: Option<u64>,
}

impl Feed {
    fn new(fleet: &Fleet, away: Option<u64>) -> Self {
        let (nervous, wide) = (ids("k", 2), ids("w", 1));
        nervous.iter().for_each(|id| fleet.register(&load::nervous(id)));
        wide.iter().for_each(|id| {
            let spec =
                load::nervous(id).replace("window_seconds: 1", "window_seconds: 20").replace("after 0.5", "after 4");
            fleet.register(&spec);
        });
        Self { nervous, wide, now: 1_700_000_000_000, dice: Dice::new(5), away }
    }

    /// So many seconds with ten readings each of every service: bad for half of every three seconds, those of the wide
    /// windows for eight seconds of every forty, each at its own time.
    fn seconds(&mut self, fleet: &Fleet, count: i64) {
        for _ in 0..10 * count {
            self.now += 100;
            let turns = [(&self.nervous, 3_000, 1_500, 250), (&self.wide, 40_000, 8_000, 10_000)];
            for (services, every, bad_for, apart) in turns {
                for (place, id) in (0..).zip(services) {
                    let phase = (self.now + apart * place).rem_euclid(every);
                    let value = if phase < bad_for { 40.0 } else { 10.0 } + self.dice.between(0, 999) as f64 / 100.0;
                    let sensor = if self.dice.chance(5) { "unheard_of" } else { "q" };
                    let away = self.away.is_some_and(|one_in| self.dice.below(one_in) == 0);
                    let partition = (home_partition(id, PARTITIONS) + i32::from(away)) % PARTITIONS;
                    fleet.emit_to(partition, id, sensor, self.now, value);
                }
            }
        }
        fleet.flush();
    }
}

/// Two lives, each killed far from a cut when all is committed, in which one transaction in five is given up; then an
/// honest one.
pub fn stream(guard: Option<Sabotage>) -> Result<Quiet, Noticed> {
    let fleet = Fleet::simulated("stream");
    let mut feed = Feed::new(&fleet, Some(5));
    for _ in 0..2 {
        let mut ops = start(&fleet, guard, "one", &[("OPS_ABORT_EVERY", ABORT_EVERY)]);
        for _ in 0..17 {
            feed.seconds(&fleet, 1);
            settle_within(&fleet, &mut ops, BREATH)?;
        }
        settle(&fleet, &mut ops)?;
        ops.kill();
    }
    let mut honest = fleet.start("one");
    settle(&fleet, &mut honest)?;
    end(honest);
    verify(&fleet, None)
}

/// A process stands still inside its commit, its outputs delivered, until another has taken over and published them;
/// then it goes on.
///
/// Nothing of it lies on the topics that a takeover reads to the end, or the other would wait for its end: no forwards,
/// and no cut, which come at the multiples of ten seconds.
pub fn frozen_in_its_commit(guard: Option<Sabotage>) -> Result<Quiet, Noticed> {
    let fleet = Fleet::simulated("frozen");
    let mut feed = Feed::new(&fleet, None);
    let mut one = start(&fleet, guard, "one", &[]);
    feed.seconds(&fleet, 31);
    settle(&fleet, &mut one)?;
    end(one);
    // The first transaction is that of the takeover, the second holds what is fed now.
    let freeze = format!("{}:2", Point::AfterProduce.name());
    let sabotage = guard.map(|guard| ("OPS_SABOTAGE", guard.name()));
    // However long it stands still: the cluster itself is not to end its transaction.
    let patient = ["--kafka", "transaction.timeout.ms=600000"];
    let mut one = fleet.start_in("one", &patient, &[&[("OPS_FREEZE_AT", &*freeze)], sabotage.as_slice()].concat());
    feed.seconds(&fleet, 6);
    one.wait_until_frozen();
    let mut two = start(&fleet, guard, "two", &[]);
    settle(&fleet, &mut two)?;
    one.resume();
    feed.seconds(&fleet, 6);
    settle(&fleet, &mut two)?;
    let refused = refusal(&one);
    end(one);
    end(two);
    verify(&fleet, refused)
}

/// A process stands still with everything committed, until another has taken over; then it goes on, and is told that its
/// partitions were lost.
pub fn lost(guard: Option<Sabotage>) -> Result<Quiet, Noticed> {
    let fleet = Fleet::simulated("lost");
    let mut feed = Feed::new(&fleet, Some(5));
    let mut one = start(&fleet, guard, "one", &[]);
    feed.seconds(&fleet, 13);
    settle(&fleet, &mut one)?;
    one.suspend();
    let mut two = start(&fleet, guard, "two", &[]);
    feed.seconds(&fleet, 4);
    settle(&fleet, &mut two)?;
    one.resume();
    fleet.wait_until_shared();
    feed.seconds(&fleet, 4);
    settle(&fleet, &mut two)?;
    let refused = refusal(&one);
    end(one);
    end(two);
    verify(&fleet, refused)
}

/// The commit that failed, in the words of the process.
fn refusal(ops: &Ops) -> Option<String> {
    ops.said().lines().find(|line| line.contains("commit failed")).map(str::to_owned)
}

/// Offsets are committed outside of the transaction, after it. What was published between the two is published again by
/// the next process.
///
/// No cut may lie between: then the next process would see by itself that offsets and state do not fit together.
pub fn offsets_apart(guard: Option<Sabotage>) -> Result<Quiet, Noticed> {
    let fleet = Arc::new(Fleet::new("apart"));
    let load = load::start(&fleet);
    let mut committed = Watch::new(&fleet, Isolation::Committed);
    let honest = fleet.start("one");
    committed.until("the first incidents", |seen| seen.iter().filter(|seen| is_turn(&seen.event)).count() > 8);
    honest.stop();
    // The offsets come with the next commit, which an incident hurries: seldom enough that the kill comes first.
    let seldom = [("OPS_COMMIT_INTERVAL_MS", "2000")];
    for _ in 0..2 {
        committed.drain();
        let mut ops = start(&fleet, guard, "one", &seldom);
        let before = committed.seen.len();
        // Cuts are at the multiples of 10 s; a new process begins with what was appended during its start.
        committed.until("a commit far from a cut", |seen| {
            let far = (4_500..8_000).contains(&(now_ms() % 10_000));
            !ops.is_alive() || seen.len() > before + 5 && far
        });
        // On a slow machine a cut came between all the same.
        if !ops.is_alive() {
            load.stop();
            return Err(Noticed { by: "the processor", what: last_words(&ops) });
        }
        committed.drain();
        let before = committed.seen.len();
        committed.until("one more commit", |seen| seen.len() > before);
        ops.kill();
    }
    let mut survivor = fleet.start("one");
    load.stop();
    settle(&fleet, &mut survivor)?;
    end(survivor);
    verify(&fleet, None)
}
