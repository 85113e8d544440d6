//! Rounds in which the end of a transaction does not arrive when it should (F7): held back and let go, answered late,
//! answered to nobody, or left behind and delivered in the midst of the next transaction; while the process goes on,
//! is killed, or gets company.
//!
//! ```text
//! ops.incidents/p:  e e C e e ~C e e C ...     ~: held back by the proxy; nothing of what comes after it may be ended
//!                                              by it
//! ```
//!
//! Played by the quick form in `tests/kafka` and by the campaign `held`. Who plays judges.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hms_ops::torture::Sabotage;

use super::fleet::{Fleet, Ops, now_ms};
use super::judge::judge;
use super::load::{self, Load};
use super::proxy::{Caught, Orphan, Proxy, Request, key};
use super::sabotage::{Noticed, Scenario, settle};

/// `UNKNOWN_SERVER_ERROR`: the client calls the transaction abortable.
pub const UNKNOWN: i16 = -1;

/// So often a process is started that ends before it has joined the group.
const STARTS: u32 = 5;

/// What becomes of the end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The request waits on its way.
    Held,
    /// The cluster has it at once; the answer waits.
    AnswerHeld,
    /// The cluster has it at once; the connection is lost with the answer on it.
    AnswerLost,
    /// The connection is lost before the cluster has it. It arrives while the next transaction is open.
    Stray,
}

/// What becomes of the process meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It waits, or mends itself.
    GoesOn,
    /// `kill -9` while the end is under way, and another start under the same name.
    Killed,
    /// A second process joins the group.
    Joined,
}

/// One round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// A commit, or else an abort.
    pub commit: bool,
    /// What becomes of it.
    pub fate: Fate,
    /// What becomes of the process.
    pub then: Then,
    /// How long it takes.
    pub hold: Duration,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commit, fate, then, hold } = self;
        let end = if *commit { "commit" } else { "abort" };
        write!(f, "{end} {fate:?} {:.1} s, {then:?}", hold.as_secs_f64())
    }
}

/// A fleet with load, whose process speaks to the cluster through a proxy of its own.
pub struct Lane {
    /// Its topics and its group.
    pub fleet: Arc<Fleet>,
    /// What stands in between.
    pub proxy: Proxy,
    load: Load,
    ops: Option<Ops>,
}

impl Lane {
    /// Nothing runs yet but the load.
    pub fn new(fleet: Fleet) -> Self {
        let fleet = Arc::new(fleet);
        let proxy = Proxy::new(fleet.settings.brokers());
        let load = load::start(&fleet);
        Self { fleet, proxy, load, ops: None }
    }

    /// Starts the process, which takes its own place if it was killed, and waits until it has joined the group. On a
    /// busy machine it may not find the cluster in time, and end: whoever keeps it alive starts it again.
    pub fn start(&self, environment: &[(&str, &str)]) -> Ops {
        let joins = self.proxy.catch(|request| request.key() == key::JOIN_GROUP);
        for _ in 0..STARTS {
            let mut ops = self.fleet.start_at(&self.proxy.brokers(), "one", &[], environment);
            while ops.is_alive() {
                if let Some(join) = joins.wait_for(Duration::from_millis(50)) {
                    join.pass();
                    return ops;
                }
            }
        }
        panic!("{} does not start", self.fleet.prefix);
    }

    /// Plays one round, at the end of which commits go on as if nothing had been. Says how long that took after the end
    /// had come through.
    pub fn play(&mut self, round: &Round) -> Duration {
        let ops = self.ops.take().unwrap_or_else(|| self.start(&[]));
        self.fleet.wait_until_beyond_now();
        let end = self.catch(round);
        let (ops, other) = self.meet(round, end, ops);
        let began = Instant::now();
        self.ops = Some(ops);
        self.fleet.wait_until_beyond_now();
        let took = began.elapsed();
        if let Some(mut other) = other {
            match other.is_alive() {
                true => other.stop(),
                false => assert!(other.said().contains("no Kafka answers"), "{}", other.said()),
            }
        }
        took
    }

    /// Catches the end that the round is about. To have an abort, the cluster is made to refuse a transaction first.
    fn catch(&self, round: &Round) -> Caught {
        if round.commit {
            return self.proxy.catch(Request::commits).wait("commit");
        }
        let offsets = self.proxy.catch(|request| request.key() == key::ADD_OFFSETS).wait("offsets");
        let end = self.proxy.catch(Request::aborts);
        offsets.refuse(UNKNOWN);
        end.wait("abort")
    }

    fn meet(&self, round: &Round, end: Caught, ops: Ops) -> (Ops, Option<Ops>) {
        match round.fate {
            Fate::Held => {
                let running = self.meanwhile(round, ops);
                end.pass();
                running
            }
            Fate::AnswerHeld => {
                let answer = end.pass_and_keep_answer();
                let running = self.meanwhile(round, ops);
                answer.deliver();
                running
            }
            Fate::AnswerLost => {
                let answer = end.pass_and_keep_answer();
                let running = self.meanwhile(round, ops);
                answer.lose();
                running
            }
            Fate::Stray => {
                let stray = end.cut();
                let running = self.meanwhile(round, ops);
                let next = self.proxy.catch_offsets_behind_records().wait("next transaction");
                let error = stray.deliver();
                assert_ne!(error, 0, "the end of an earlier transaction has ended this one: {round}");
                next.pass();
                running
            }
        }
    }

    /// What happens while the end is on its way: the process, and its company.
    fn meanwhile(&self, round: &Round, ops: Ops) -> (Ops, Option<Ops>) {
        let running = match round.then {
            Then::GoesOn => (ops, None),
            Then::Killed => {
                ops.kill();
                (self.start(&[]), None)
            }
            Then::Joined => (ops, Some(self.fleet.start("two"))),
        };
        // How long it takes is the point.
        std::thread::sleep(round.hold);
        running
    }

    /// The process gives up what it has, in order; the load goes on.
    pub fn pause(&mut self) {
        if let Some(ops) = self.ops.take() {
            ops.stop();
        }
    }

    /// The load ends, the process catches up and stops. Says what there is to be judged.
    pub fn finish(self) -> Arc<Fleet> {
        self.end().unwrap_or_else(|noticed| panic!("{noticed}"))
    }

    /// The same where a guard was missing: the process may have found that offsets and state do not fit together.
    fn end(mut self) -> Result<Arc<Fleet>, Noticed> {
        let mut ops = self.ops.take().unwrap_or_else(|| self.start(&[]));
        let Self { fleet, proxy, load, .. } = self;
        load.stop();
        settle(&fleet, &mut ops)?;
        fleet.wait_until_caught_up();
        ops.stop();
        drop(proxy);
        Ok(fleet)
    }
}

/// The guards against ends that come late.
pub const CONTROLS: &[(Sabotage, Scenario)] = &[
    (Sabotage::NoRecreate, |guard| stray("used-on", guard, Caught::cut)),
    (Sabotage::AbortAfterCommit, |guard| stray("abort-after", guard, |end| end.refuse_and_keep(UNKNOWN))),
];

/// A process that leaves the end of one transaction behind by `leave`; that arrives when the next is complete but for
/// its offsets, and then the process is killed. The error is what the judge finds.
fn stray(name: &str, guard: Option<Sabotage>, leave: fn(Caught) -> Orphan) -> Result<(), String> {
    let lane = Lane::new(Fleet::new(name));
    let sabotage = guard.map(|guard| ("OPS_SABOTAGE", guard.name()));
    let ops = lane.start(sabotage.as_slice());
    lane.fleet.wait_until_beyond_now();
    // Cuts are at the multiples of 10 s. With one in between the next process would see by itself that offsets and
    // state do not fit together.
    while !(1_500..6_000).contains(&(now_ms() % 10_000)) {
        lane.fleet.wait_until_beyond_now();
    }
    let orphan = leave(lane.proxy.catch(Request::commits).wait("commit"));
    let next = lane.proxy.catch_offsets_behind_records().wait("next transaction");
    let refused = orphan.deliver();
    if guard.is_some() && refused != 0 {
        return Ok(());
    }
    ops.kill();
    drop(next);
    let fleet = lane.end().map_err(|noticed| noticed.to_string())?;
    judge(&fleet).map(drop)
}
