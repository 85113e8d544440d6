//! kill -9 in the midst of it.
//!
//! ```text
//! ops.incidents/p:  e e C e e A e C ...     A: the transaction that was open when the process was killed,
//!                         ^ killed          ended by the next process; its events are published again
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use hms_ops::model::incident::IncidentEvent;
use hms_ops::torture::Sabotage;

use crate::rig::fleet::Fleet;
use crate::rig::judge::{Judge, confirm, is_committed};
use crate::rig::load::start;
use crate::rig::sabotage::offsets_apart;
use crate::rig::watch::{Views, is_turn};

const KILLS: usize = 10;

/// One life: starts a process, lets it commit for a while (measured in what it publishes, another stretch each time),
/// and kills it as soon as the next event is to be seen. Says where that event lies. What was committed so far is judged
/// in the midst of it.
fn kill(
    views: &mut Views,
    fleet: &Fleet,
    judge: &mut Judge,
    events: &mut Vec<IncidentEvent>,
    round: usize,
) -> (i32, i64) {
    views.committed.drain();
    let mut ops = fleet.start("one");
    let wanted = views.committed.seen.len() + 1 + 7 * round % 23;
    views.committed.until("committed events of the new process", |seen| {
        assert!(ops.is_alive(), "{}", ops.said());
        seen.len() >= wanted
    });
    events.extend(judge.advance(fleet).unwrap().events);
    let place = views.wait_for_open();
    ops.kill();
    place
}

#[test]
fn kill_nine_ten_times() {
    let fleet = Arc::new(Fleet::new("kills"));
    let load = start(&fleet);
    let mut views = Views::new(&fleet);
    let (mut judge, mut events) = (Judge::new(&fleet), Vec::new());
    let killed_at: Vec<(i32, i64)> =
        (0..KILLS).map(|round| kill(&mut views, &fleet, &mut judge, &mut events, round)).collect();
    let before = events.len();

    let survivor = fleet.start("one");
    load.stop();
    fleet.wait_until_caught_up();
    survivor.stop();

    let open = killed_at.iter().filter(|(partition, offset)| !is_committed(&fleet, *partition, *offset)).count();
    println!("{open} of {KILLS} kills were inside an open transaction");
    assert!(open >= 5, "only {open} of {KILLS} kills were inside an open transaction");
    let rest = judge.finish(&fleet).unwrap();
    events.extend(rest.events);
    let judged = confirm(&fleet);
    assert!(before > 20 && events.len() == judged.events.len(), "{before} and {} events", events.len());
    assert_eq!(rest.counts, judged.counts, "judged bit by bit or at once");
    assert!(judged.forwarded > 100 && judged.rejected.len() > 20, "{} {:?}", judged.forwarded, judged.counts);
    let turns: BTreeSet<i64> = judged.events.iter().filter(|event| is_turn(event)).map(|event| event.at).collect();
    assert!(turns.len() > 40, "{} instants with an opening or a resolve", turns.len());
    println!("{} events, {} forwarded, {:?}", judged.events.len(), judged.forwarded, judged.counts);
}

/// The control: offsets that are committed outside of the transaction, after it.
#[test]
fn offsets_outside_the_transaction_are_noticed() {
    let noticed = offsets_apart(Some(Sabotage::OffsetsOutsideTransaction)).expect_err("nobody noticed");
    // Where a machine was so slow that a cut came between, the next process sees it by itself.
    let said = ["of ops.incidents", "cannot go on where it stopped"];
    assert!(said.iter().any(|said| noticed.what.contains(said)), "{noticed:?}");
    println!("{noticed}");
}
