//! Crash equivalence: whatever comes in and wherever workers die, what is committed in the end is what a run would
//! have committed that was never interrupted: every incident, rollup, state record and dead letter byte by byte and in
//! order, every forward exactly once.
//!
//! Two workers share one to three partitions of a bus in memory. They commit wherever chance has it, die at every step
//! of their loop and of a takeover (also twice in a row), lose partitions in order or as zombies, and leave commits
//! under way that arrive late or never.
//!
//! **What equal means.** Two things depend on when a worker looks, and the log says how it went: where a spec took
//! effect (committed with what it led to), and where a forwarded reading was appended to its home. So the
//! uninterrupted run takes the partition's final log, forwards included, and the changes of specs where the committed
//! run had them; it is one core that steps from the first record to the last. That every registered change took
//! effect in the end, and that the forwards in the log are exactly those that were due, is looked at by itself.
//!
//! 300 cases in `cargo test`; `OPS_CASES=10000 cargo test --test core crashes` is the long run. A case that fails is
//! kept in the file of regressions beside this one.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use hms_ops::processor::core::{Core, Effects, Outcome, SpecChange};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

use super::bus::{Bus, Log, Metric, Partition};
use super::script::{Event, script};
use super::worker::{End, Point, Without, Worker, letter, publish, step};

const NAMES: [&str; 2] = ["ops-0", "ops-1"];

/// What befalls the fleet between two events of the world.
#[derive(Clone, Copy, Debug)]
enum What {
    /// A turn of a worker over so many records of each of its partitions.
    Turn(usize, usize),
    Commit(usize),
    /// A worker dies there; its partitions go to the other one, or wait until it is back.
    Crash {
        who: usize,
        at: Point,
        hand_over: bool,
    },
    /// A partition changes hands: given up in order, or taken from a zombie.
    Move {
        partition: usize,
        released: bool,
    },
}

fn what() -> impl Strategy<Value = What> {
    use Point::*;
    let points = vec![
        AfterPoll,
        AfterStep,
        AfterProduce,
        AfterForwards,
        CommitInFlight,
        AfterCommit,
        Fenced,
        Read,
        Replayed,
        FirstCommit,
    ];
    let crash = (0..2_usize, prop::sample::select(points), any::<bool>());
    prop_oneof![
        5 => (0..2_usize, 1..40_usize).prop_map(|(who, records)| What::Turn(who, records)),
        2 => (0..2_usize).prop_map(What::Commit),
        3 => crash.prop_map(|(who, at, hand_over)| What::Crash { who, at, hand_over }),
        1 => (0..3_usize, any::<bool>()).prop_map(|(partition, released)| What::Move { partition, released }),
    ]
}

/// One run: what the world does, and what befalls the fleet after how many events.
#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    size: usize,
    partitions: usize,
    fate: Vec<(usize, What)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let fate = prop::collection::vec((0..16_usize, what()), 1..60);
    (any::<u64>(), 30..300_usize, 1..4_usize, fate).prop_map(|(seed, size, partitions, fate)| Case {
        seed,
        size,
        partitions,
        fate,
    })
}

struct Fleet {
    bus: Bus,
    workers: [Worker; 2],
    without: Option<Without>,
}

impl Fleet {
    fn new(partitions: usize, without: Option<Without>) -> Self {
        let mut bus = Bus::new(partitions);
        for (partition, owner) in bus.owners.iter_mut().enumerate() {
            NAMES[partition % 2].clone_into(owner);
        }
        let workers = NAMES.map(|name| Worker::start(name, without, &mut bus));
        Self { bus, workers, without }
    }

    fn ours(&self, who: usize) -> BTreeSet<usize> {
        (0..self.bus.owners.len()).filter(|partition| self.bus.owners[*partition] == NAMES[who]).collect()
    }

    /// A worker that has died or was fenced begins again.
    fn lived<T>(&mut self, who: usize, life: Result<T, End>) -> Option<T> {
        if life.is_err() {
            self.workers[who] = Worker::start(NAMES[who], self.without, &mut self.bus);
        }
        life.ok()
    }

    fn turn(&mut self, who: usize, records: usize) -> usize {
        let ours = self.ours(who);
        let life = self.workers[who].turn(&ours, records, &mut self.bus);
        self.lived(who, life).unwrap_or(1)
    }

    fn commit(&mut self, who: usize) -> bool {
        let life = self.workers[who].commit(&BTreeSet::new(), &mut self.bus);
        self.lived(who, life).is_some()
    }

    fn befall(&mut self, what: What) {
        match what {
            What::Turn(who, records) => drop(self.turn(who, records)),
            What::Commit(who) => drop(self.commit(who)),
            What::Crash { who, at, hand_over } => self.crash(who, at, hand_over),
            What::Move { partition, released } => {
                let partition = partition % self.bus.owners.len();
                let old = usize::from(self.bus.owners[partition] == NAMES[1]);
                if released {
                    let life = self.workers[old].commit(&BTreeSet::from([partition]), &mut self.bus);
                    self.lived(old, life);
                }
                NAMES[1 - old].clone_into(&mut self.bus.owners[partition]);
            }
        }
    }

    fn crash(&mut self, who: usize, at: Point, hand_over: bool) {
        let ours = self.ours(who);
        if matches!(at, Point::Fenced | Point::Read | Point::Replayed | Point::FirstCommit) {
            // Only who has lost its state takes over.
            self.workers[who] = Worker::start(NAMES[who], self.without, &mut self.bus);
        }
        let worker = &mut self.workers[who];
        worker.die_at = Some(at);
        // Whether it comes so far or not: this is its last turn.
        let _ = worker.turn(&ours, 7, &mut self.bus).and_then(|_| worker.commit(&BTreeSet::new(), &mut self.bus));
        if hand_over {
            ours.iter().for_each(|partition| NAMES[1 - who].clone_into(&mut self.bus.owners[*partition]));
            self.turn(1 - who, 3);
            self.bus.land();
        }
        self.workers[who] = Worker::start(NAMES[who], self.without, &mut self.bus);
        self.bus.land();
    }

    /// Works until nothing is left to do: nothing was read, and no commit forwarded anything or failed.
    fn drain(&mut self) {
        for _ in 0..20 {
            let ends = |bus: &Bus| bus.partitions.iter().map(|partition| partition.metrics.end()).sum::<i64>();
            let before = ends(&self.bus);
            let done: usize = [0, 1].map(|who| self.turn(who, usize::MAX)).iter().sum();
            let committed = [0, 1].map(|who| self.commit(who));
            if done == 0 && committed == [true, true] && ends(&self.bus) == before {
                return;
            }
        }
        panic!("the fleet does not come to rest");
    }
}

/// What is committed after a run.
fn run(case: &Case, without: Option<Without>) -> Bus {
    let mut fleet = Fleet::new(case.partitions, without);
    let mut fate = case.fate.iter().cycle();
    let mut next = fate.next().copied();
    for event in script(case.seed, case.size, case.partitions) {
        event.happen(&mut fleet.bus);
        while let Some((0, what)) = next {
            fleet.befall(what);
            next = fate.next().copied();
            // A fate of zeros alone would never let the world go on.
            if let Some((gap, _)) = &mut next {
                *gap = (*gap).max(usize::from(matches!(event, Event::Hole(_))));
                break;
            }
        }
        next = next.map(|(gap, what)| (gap.saturating_sub(1), what));
    }
    fleet.drain();
    fleet.bus
}

/// Forwards by source and home, in order: offset and bytes.
type Forwards = BTreeMap<(usize, usize), Vec<(i64, Option<Vec<u8>>)>>;

/// Is what was committed what one core says that was never interrupted?
fn check(bus: &Bus) -> Result<(), String> {
    let (mut due, mut done) = (Forwards::new(), Forwards::new());
    for (number, partition) in bus.partitions.iter().enumerate() {
        let expected = uninterrupted(bus, number, &mut due)?;
        same(bus, number, "incidents", &expected.incidents, &partition.incidents)?;
        same(bus, number, "rollups", &expected.rollups, &partition.rollups)?;
        same(bus, number, "state", &expected.state, &partition.state)?;
        same(bus, number, "rejected", &expected.rejected, &partition.rejected)?;
        for (_, metric) in bus.committed(&partition.metrics, 0) {
            if let Some((source, offset, _)) = metric.from {
                done.entry((source, number)).or_default().push((offset, metric.value.clone()));
            }
        }
        let position = partition.committed.as_ref().map_or(0, |(offset, _)| *offset);
        if position != partition.metrics.end() {
            return Err(format!("p{number}: committed {position}, the log ends at {}", partition.metrics.end()));
        }
    }
    if due == done { Ok(()) } else { Err(format!("forwards due {due:?}\ndone {done:?}")) }
}

/// One core from the first record to the last.
fn uninterrupted(bus: &Bus, number: usize, forwards: &mut Forwards) -> Result<Partition, String> {
    let (partition, count) = (&bus.partitions[number], bus.partitions.len() as i32);
    let (mut core, mut effects) = (Core::new(number as i32, count), Effects::default());
    let mut expected = Partition::default();
    core.cut(0, &mut effects);
    let mut changes = bus.committed(&partition.changes, 0).map(|(_, change)| change.clone()).peekable();
    let mut apply = |before: i64, core: &mut Core, effects: &mut Effects| {
        while let Some((position, change)) = changes.next_if(|(position, _)| *position <= before) {
            core.apply([change], position, effects);
        }
    };
    for (offset, metric) in bus.committed(&partition.metrics, 0) {
        apply(offset, &mut core, &mut effects);
        let outcome = step(&mut core, offset, metric, &mut effects);
        publish(&mut expected, &mut effects, None);
        letter(number, offset, metric, outcome).map(|letter| expected.rejected.append(letter, None));
        if let Outcome::Forwarded { home } = outcome {
            forwards.entry((number, home as usize)).or_default().push((offset, metric.value.clone()));
        }
    }
    apply(i64::MAX, &mut core, &mut effects);
    publish(&mut expected, &mut effects, None);
    let wanted: Vec<_> = bus
        .specs
        .iter()
        .filter(|(id, _)| id.home(count) == number as i32)
        .filter_map(|(_, change)| if let SpecChange::Register(spec) = change { Some(spec.hash) } else { None })
        .collect();
    let active: Vec<_> = core.specs().map(|spec| spec.hash).collect();
    if wanted == active { Ok(expected) } else { Err(format!("p{number}: active {active:?}, registered {wanted:?}")) }
}

fn same<T: PartialEq + std::fmt::Debug>(
    bus: &Bus,
    number: usize,
    topic: &str,
    expected: &Log<T>,
    found: &Log<T>,
) -> Result<(), String> {
    let (expected, found) = (bus.committed(expected, 0), bus.committed(found, 0));
    let expected: Vec<_> = expected.map(|(_, record)| record).collect();
    let found: Vec<_> = found.map(|(_, record)| record).collect();
    match (0..expected.len().max(found.len())).find(|at| expected.get(*at) != found.get(*at)) {
        None => Ok(()),
        Some(at) => Err(format!(
            "p{number} {topic}: record {at} of {} is {:?}\nuninterrupted (of {}): {:?}",
            found.len(),
            found.get(at),
            expected.len(),
            expected.get(at)
        )),
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("OPS_CASES").map_or(300, |cases| cases.parse().expect("OPS_CASES is a number"));
    let kept = FileFailurePersistence::Direct("tests/core/crashes.proptest-regressions");
    ProptestConfig { cases, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn crashes_change_nothing_that_is_committed(case in cases()) {
        check(&run(&case, None)).map_err(TestCaseError::fail)?;
    }
}

/// The cases are worth something: they hold all that can be committed, and far more than a few of each.
#[test]
fn the_runs_hold_everything_that_can_go_wrong() {
    let mut runner = TestRunner::deterministic();
    let mut sums = BTreeMap::<&str, usize>::new();
    for _ in 0..60 {
        let case = cases().new_tree(&mut runner).expect("a case").current();
        let bus = run(&case, None);
        for partition in &bus.partitions {
            let forwarded = |(_, metric): &(i64, &Metric)| metric.from.is_some();
            for (what, number) in [
                ("incidents", bus.committed(&partition.incidents, 0).count()),
                ("rollups", bus.committed(&partition.rollups, 0).count()),
                ("rejected", bus.committed(&partition.rejected, 0).count()),
                ("changes", bus.committed(&partition.changes, 0).count()),
                ("forwards", bus.committed(&partition.metrics, 0).filter(forwarded).count()),
                ("holes", partition.metrics.end() as usize - bus.committed(&partition.metrics, 0).count()),
                ("aborted or markers", partition.state.end() as usize - bus.committed(&partition.state, 0).count()),
            ] {
                *sums.entry(what).or_default() += number;
            }
        }
    }
    assert!(sums.values().all(|sum| *sum >= 100), "{sums:?}");
}

/// The controls: each guard that is taken away is noticed, by a difference or by a restore that refuses.
#[test]
fn every_guard_that_is_missing_is_noticed() {
    use Without::*;
    let guards = [
        Rollups,
        Replay,
        NewestState,
        OffsetsInTransaction,
        LastReplayed,
        StopOfReplay,
        Fencing,
        ForwardsInTransaction,
        PartitionsState,
    ];
    let unnoticed: Vec<_> = guards.into_iter().filter(|guard| noticed_after(*guard).is_none()).collect();
    assert!(unnoticed.is_empty(), "nothing shows that these are missing: {unnoticed:?}");
}

/// After how many runs it is noticed that a guard is missing.
fn noticed_after(guard: Without) -> Option<usize> {
    let mut runner = TestRunner::deterministic();
    let mut case = || cases().new_tree(&mut runner).expect("a case").current();
    (0..200).find(|_| {
        let case = case();
        catch_unwind(AssertUnwindSafe(|| check(&run(&case, Some(guard))))).map_or(true, |checked| checked.is_err())
    })
}
