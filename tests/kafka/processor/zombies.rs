//! A process that was thought dead goes on: it stood still inside an open transaction, longer than anybody waits.
//!
//! ```text
//! ops.incidents/p:  e e C e e A e e C e C ...     A: what the sleeper had open, ended by who took over
//!                         ^ stands still    ^ goes on, is refused, joins again
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::rig::fleet::{Fleet, Ops};
use crate::rig::judge::{confirm, is_committed};
use crate::rig::load::start;
use crate::rig::watch::Views;
use hms_ops::bus::settings::TRANSACTION_TIMEOUT;

/// Lets a process stand still in the midst of a transaction. Says where an event of that transaction lies.
fn suspend_in_transaction(views: &mut Views, ops: &Ops) -> (i32, i64) {
    loop {
        let (partition, offset) = views.wait_for_open();
        ops.suspend();
        // A commit that was on its way is there by then.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(500) {
            views.committed.one(Duration::from_millis(50));
        }
        if !views.committed.seen.iter().any(|seen| (seen.partition, seen.offset) == (partition, offset)) {
            return (partition, offset);
        }
        ops.resume();
    }
}

/// Waits for `more` events that are committed.
fn wait_for_events(views: &mut Views, more: usize) {
    views.committed.drain();
    let before = views.committed.seen.len();
    views.committed.until("more events", |seen| seen.len() >= before + more);
}

#[test]
fn a_zombie_commits_nothing_and_joins_again() {
    let fleet = Arc::new(Fleet::new("zombies"));
    let load = start(&fleet);
    let mut views = Views::new(&fleet);
    let mut one = fleet.start("one");
    wait_for_events(&mut views, 20);

    // It wakes as soon as another has taken over.
    let mut places = vec![suspend_in_transaction(&mut views, &one)];
    let mut two = fleet.start("two");
    fleet.wait_until_beyond_now();
    one.resume();
    fleet.wait_until_shared();
    assert!(one.is_alive() && two.is_alive(), "{}\n{}", one.said(), two.said());

    // It wakes long after its transaction has ended by its own timeout.
    wait_for_events(&mut views, 20);
    places.push(suspend_in_transaction(&mut views, &two));
    let began = Instant::now();
    while began.elapsed() < TRANSACTION_TIMEOUT + Duration::from_secs(2) {
        views.committed.one(Duration::from_millis(100));
    }
    fleet.wait_until_beyond_now();
    two.resume();
    fleet.wait_until_shared();
    assert!(one.is_alive() && two.is_alive(), "{}\n{}", one.said(), two.said());

    wait_for_events(&mut views, 20);
    load.stop();
    fleet.wait_until_caught_up();
    one.stop();
    two.stop();
    confirm(&fleet);
    for (partition, offset) in places {
        assert!(!is_committed(&fleet, partition, offset), "{partition}@{offset} was committed by a zombie");
    }
}
