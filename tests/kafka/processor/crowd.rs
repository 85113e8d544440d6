//! Processes come and go under load, some of them in the midst of a rebalance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hms_ops::torture::Point;

use crate::harness::PATIENCE;
use crate::rig::fleet::{Fleet, Ops};
use crate::rig::judge::confirm;
use crate::rig::load::start;

/// Waits until a process has written `words` to its log `times` times.
fn wait_until_said(ops: &mut Ops, words: &str, times: usize) {
    let deadline = Instant::now() + PATIENCE;
    while ops.said().matches(words).count() < times {
        assert!(ops.is_alive() && Instant::now() < deadline, "{words:?} is not said {times} times\n{}", ops.said());
        // Nothing tells of a line in a file.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// ```text
/// one:    |--------------------x (killed while its partitions are asked for)
/// two:          |--x (killed while it is given partitions)  |-----------stop
/// three:        |------------------------------------------------x
/// four:                                                     |---------------- until the end
/// ```
#[test]
fn processes_come_and_go_in_the_midst_of_rebalances() {
    let fleet = Arc::new(Fleet::new("crowd"));
    let load = start(&fleet);
    let mut one = fleet.start("one");
    wait_until_said(&mut one, "taken over", 4);
    let (mut two, mut three) = (fleet.start("two"), fleet.start("three"));
    wait_until_said(&mut two, "assigned", 1);
    two.kill();
    wait_until_said(&mut three, "taken over", 1);
    fleet.wait_until_beyond_now();

    let (mut two, four) = (fleet.start("two"), fleet.start("four"));
    wait_until_said(&mut one, "revoked", 2);
    one.kill();
    wait_until_said(&mut two, "taken over", 1);
    fleet.wait_until_beyond_now();
    // One in order and one at once.
    three.kill();
    two.stop();
    fleet.wait_until_beyond_now();
    load.stop();
    fleet.wait_until_caught_up();
    four.stop();
    confirm(&fleet);
}

/// A member that is asked for partitions has to join the group once more after it has given them up: only then are they
/// shared out. If it dies in between and comes back under its name, the group takes it in as it was, without sharing
/// anything out, and nobody would ever have the partitions.
///
/// ```text
/// one: p0 p1 p2 p3 | asked for p2 p3: x | p0 p1
/// two:             | -                  | -     | p2 p3
/// ```
#[test]
fn partitions_that_nobody_was_given_find_an_owner() {
    let fleet = Arc::new(Fleet::new("orphans"));
    let load = start(&fleet);
    let mut one = fleet.start_to_crash("one", Point::RevokedCommitted, 1);
    wait_until_said(&mut one, "taken over", 4);
    fleet.wait_until_beyond_now();
    let two = fleet.start("two");
    one.wait();
    let one = fleet.start("one");
    fleet.wait_until_beyond_now();
    load.stop();
    fleet.wait_until_caught_up();
    one.stop();
    two.stop();
    confirm(&fleet);
}

/// Whoever dies inside its very first transaction has said before whose it is: the next one fences it, and need not wait
/// until the cluster gives the transaction up (here: longer than the test waits).
///
/// ```text
/// one: p0..p3 stop | released
/// two:             | takes over, its first transaction is open: x
/// three:           |                                            | fences two, goes on
/// ```
#[test]
fn who_dies_in_its_first_transaction_is_fenced() {
    const PATIENT: [&str; 2] = ["--kafka", "transaction.timeout.ms=600000"];
    let fleet = Arc::new(Fleet::new("firsts"));
    let load = start(&fleet);
    let one = fleet.start_with("one", &PATIENT);
    fleet.wait_until_beyond_now();
    one.stop();
    let crash = format!("{}:1", Point::AfterSendOffsets.name());
    fleet.start_in("two", &PATIENT, &[("OPS_CRASH_AT", &crash)]).wait();
    let three = fleet.start_with("three", &PATIENT);
    fleet.wait_until_beyond_now();
    load.stop();
    fleet.wait_until_caught_up();
    three.stop();
    confirm(&fleet);
}

/// Workers of one process share the partitions as processes do, and are killed together.
#[test]
fn workers_of_one_process() {
    let fleet = Arc::new(Fleet::new("workers"));
    let load = start(&fleet);
    let crew = |fleet: &Fleet| fleet.start_with("crew", &["--workers", "3"]);
    let mut first = crew(&fleet);
    wait_until_said(&mut first, "taken over", 4);
    fleet.wait_until_beyond_now();
    first.kill();
    let second = crew(&fleet);
    fleet.wait_until_beyond_now();
    let owners: std::collections::BTreeSet<String> = fleet.owners().into_iter().collect();
    assert_eq!(owners.len(), 3, "{owners:?}");
    let lone = fleet.start("lone");
    second.kill();
    fleet.wait_until_beyond_now();
    load.stop();
    fleet.wait_until_caught_up();
    lone.stop();
    confirm(&fleet);
}
