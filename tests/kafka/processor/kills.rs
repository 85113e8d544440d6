//! kill -9 in the midst of it.
//!
//! ```text
//! ops.incidents/p:  e e C e e A e C ...     A: the transaction that was open when the process was killed,
//!                         ^ killed          ended by the next process; its events are published again
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hms_ops::bus::Isolation;
use hms_ops::model::ids::home_partition;

use super::fleet::{Fleet, PARTITIONS, ids, now_ms};
use super::judge::{confirm, judge, stored};
use super::load::Load;
use super::watch::{Watch, is_turn};

const KILLS: usize = 10;

/// A service whose incidents open and resolve within seconds.
pub fn nervous(id: &str) -> String {
    format!(
        "id: {id}\nowner: test\nsensors:\n  - {{name: q, interval: 0.1}}\n\
         slo:\n  target: q\n  threshold: 30\n  window_seconds: 1\n  step: 0.25\n  lateness: 0.25\n  min_samples: 5\n  \
         recover_for: 0\n  flap_limit: 2\n  flap_window: 2\n\
         playbook:\n  - if: slo_breach\n    then: scale_up compute=+1\n  - if: still_breach_after 0.5\n    then: page channel=x\n  \
         - if: recovered\n    then: page channel=y\n"
    )
}

/// Bad for 1.5 s of every 3 s, each service at its own time: several turns a second.
fn restless(place: usize, now: i64) -> f64 {
    let phase = (now + 250 * i64::try_from(place).unwrap()).rem_euclid(3_000);
    if phase < 1_500 { 40.0 } else { 10.0 }
}

/// Three nervous services in each partition, and their readings. One in five arrives away from home, one in twenty is
/// of a sensor that nobody knows: forwards and dead letters are part of the transactions too.
pub fn start(fleet: &Arc<Fleet>) -> Load {
    let services = ids("k", 3);
    services.iter().for_each(|id| fleet.register(&nervous(id)));
    let mut count = 0;
    Load::start(fleet, &services, Duration::from_millis(50), move |fleet, place, id, now| {
        count += 1;
        let away = i32::from(count % 5 == 0);
        let sensor = if count % 20 == 7 { "unheard_of" } else { "q" };
        let partition = (home_partition(id, PARTITIONS) + away) % PARTITIONS;
        fleet.emit_to(partition, id, sensor, now, restless(place, now));
    })
}

/// Both views of `ops.incidents`.
pub struct Views {
    /// What is committed.
    pub committed: Watch,
    uncommitted: Watch,
}

impl Views {
    /// Sees nothing yet.
    pub fn new(fleet: &Fleet) -> Self {
        Self {
            committed: Watch::new(fleet, Isolation::Committed),
            uncommitted: Watch::new(fleet, Isolation::Uncommitted),
        }
    }

    /// One life: starts a process, lets it commit for a while (measured in what it publishes, another stretch each
    /// time), and kills it as soon as the next event is to be seen. Says where that event lies.
    fn kill(&mut self, fleet: &Fleet, round: usize) -> (i32, i64) {
        self.committed.drain();
        let mut ops = fleet.start("one");
        let wanted = self.committed.seen.len() + 1 + 7 * round % 23;
        self.committed.until("committed events of the new process", |seen| {
            assert!(ops.is_alive(), "{}", ops.said());
            seen.len() >= wanted
        });
        let place = self.wait_for_open();
        ops.kill();
        place
    }

    /// Waits for an event of a transaction that is, most likely, still open. Says where it lies.
    pub fn wait_for_open(&mut self) -> (i32, i64) {
        self.uncommitted.drain();
        let seen = self.uncommitted.seen.len();
        self.uncommitted.until("one more event", |all| all.len() > seen);
        let last = self.uncommitted.seen.last().unwrap();
        (last.partition, last.offset)
    }
}

#[test]
fn kill_nine_ten_times() {
    let fleet = Arc::new(Fleet::new("kills"));
    let load = start(&fleet);
    let mut views = Views::new(&fleet);
    let killed_at: Vec<(i32, i64)> = (0..KILLS).map(|round| views.kill(&fleet, round)).collect();

    let survivor = fleet.start("one");
    load.stop();
    fleet.wait_until_caught_up();
    survivor.stop();

    let open = killed_at.iter().filter(|(partition, offset)| !is_committed(&fleet, *partition, *offset)).count();
    println!("{open} of {KILLS} kills were inside an open transaction");
    assert!(open >= 5, "only {open} of {KILLS} kills were inside an open transaction");
    let judged = confirm(&fleet);
    assert!(judged.forwarded > 100 && judged.rejected.len() > 20, "{} {:?}", judged.forwarded, judged.counts);
    let turns: BTreeSet<i64> = judged.events.iter().filter(|event| is_turn(event)).map(|event| event.at).collect();
    assert!(turns.len() > 40, "{} instants with an opening or a resolve", turns.len());
    let longest = turns.iter().zip(turns.iter().skip(1)).map(|(one, next)| next - one).max().unwrap();
    assert!(longest <= 1_000, "{longest} ms without an opening or a resolve");
    println!("{} events, {} forwarded, {:?}", judged.events.len(), judged.forwarded, judged.counts);
}

/// What was seen at the moment of a kill and is not committed in the end, was in a transaction that was open then.
/// Says whether an event is there for good.
pub fn is_committed(fleet: &Fleet, partition: i32, offset: i64) -> bool {
    stored(fleet, &fleet.topics.incidents, partition).iter().any(|record| record.offset == offset)
}

/// The control: offsets that are committed outside of the transaction, after it. What was published between the two
/// is published again by the next process, and the judge sees it.
///
/// No cut may lie between: then the next process would see by itself that offsets and state do not fit together.
#[test]
fn offsets_outside_the_transaction_are_noticed() {
    let fleet = Arc::new(Fleet::new("control"));
    let load = start(&fleet);
    let mut committed = Watch::new(&fleet, Isolation::Committed);
    let honest = fleet.start("one");
    committed.until("the first incidents", |seen| seen.iter().filter(|seen| is_turn(&seen.event)).count() > 8);
    honest.stop();
    for _ in 0..2 {
        committed.drain();
        let mut ops = fleet.start_with("one", &["--offsets-outside-transaction"]);
        let before = committed.seen.len();
        // Cuts are at the multiples of 10 s; a new process begins with what was appended during its start.
        committed.until("a commit far from a cut", |seen| {
            assert!(ops.is_alive(), "{}", ops.said());
            seen.len() > before + 5 && (4_500..9_500).contains(&(now_ms() % 10_000))
        });
        committed.drain();
        let before = committed.seen.len();
        committed.until("one more commit", |seen| seen.len() > before);
        ops.kill();
    }
    let survivor = fleet.start("one");
    load.stop();
    fleet.wait_until_caught_up();
    survivor.stop();
    let difference = judge(&fleet).expect_err("what was published twice was not noticed");
    assert!(difference.contains("of ops.incidents"), "{difference}");
    println!("noticed: {difference}");
}
