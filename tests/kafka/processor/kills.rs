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

use super::fleet::{Fleet, Watch, ids, is_turn};
use super::judge::{confirm, stored};
use super::load::Load;

const KILLS: usize = 10;

/// A service whose incidents open and resolve within seconds.
fn nervous(id: &str) -> String {
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
    let phase = (now + 375 * i64::try_from(place).unwrap()).rem_euclid(3_000);
    if phase < 1_500 { 40.0 } else { 10.0 }
}

/// Takes the next event that appears in `watch` (the uncommitted view) and kills the process at once.
fn kill_at_the_next_event(fleet: &Fleet, watch: &mut Watch, round: usize, more: &[&str]) -> (i32, i64) {
    watch.drain();
    let mut ops = fleet.start_with("one", more);
    // A different stretch of life each time, measured in what it publishes.
    let wanted = watch.seen.len() + 1 + 7 * round % 23;
    watch.until("events of the new process", |seen| {
        assert!(ops.is_alive(), "{}", ops.said());
        seen.len() >= wanted
    });
    ops.kill();
    let last = watch.seen.last().unwrap();
    (last.partition, last.offset)
}

#[test]
fn kill_nine_ten_times() {
    let fleet = Arc::new(Fleet::new("kills"));
    let services = ids("k", 2);
    services.iter().for_each(|id| fleet.register(&nervous(id)));
    let load = Load::start(&fleet, &services, "q", Duration::from_millis(50), restless);

    let mut uncommitted = Watch::new(&fleet, Isolation::Uncommitted);
    let killed_at: Vec<(i32, i64)> =
        (0..KILLS).map(|round| kill_at_the_next_event(&fleet, &mut uncommitted, round, &[])).collect();

    let survivor = fleet.start("one");
    load.stop();
    fleet.wait_until_caught_up();
    survivor.stop();

    let open = killed_at.iter().filter(|(partition, offset)| !is_committed(&fleet, *partition, *offset)).count();
    println!("{open} of {KILLS} kills were inside an open transaction");
    assert!(open >= 5, "only {open} of {KILLS} kills were inside an open transaction");
    let judged = confirm(&fleet);
    let turns: BTreeSet<i64> = judged.events.iter().filter(|event| is_turn(event)).map(|event| event.at).collect();
    let longest = turns.iter().zip(turns.iter().skip(1)).map(|(one, next)| next - one).max();
    assert!(longest <= Some(1_000), "{longest:?} ms without an opening or a resolve");
    println!("{} events, {} readings", judged.events.len(), judged.counts.counted);
}

/// What was seen at the moment of a kill and is not committed in the end, was in a transaction that was open then.
fn is_committed(fleet: &Fleet, partition: i32, offset: i64) -> bool {
    stored(&fleet.topics.incidents, partition).iter().any(|record| record.offset == offset)
}
