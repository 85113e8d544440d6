//! Ends of transactions that do not arrive when they should (F7), and what happens without the guards against it.
//! The rounds are [`crate::rig::held`]; the long form is the campaign `held` of `cargo torture`.

use std::time::Duration;

use hms_ops::torture::Sabotage;

use crate::rig::fleet::{Fleet, now_ms};
use crate::rig::held::{Fate, Lane, Round, Then, UNKNOWN};
use crate::rig::judge::{confirm, judge};
use crate::rig::proxy::{Caught, Orphan, Request};

/// Three fleets at once: what they do most is wait.
#[test]
fn late_ends_of_transactions_end_nothing_else() {
    let round = |commit, fate, then, ms| Round { commit, fate, then, hold: Duration::from_millis(ms) };
    let lanes = [
        vec![
            round(true, Fate::Held, Then::GoesOn, 1_500),
            round(true, Fate::Stray, Then::GoesOn, 0),
            round(false, Fate::Held, Then::GoesOn, 1_000),
            round(false, Fate::Stray, Then::GoesOn, 0),
            round(true, Fate::AnswerLost, Then::GoesOn, 0),
        ],
        vec![
            round(true, Fate::AnswerLost, Then::Killed, 0),
            round(true, Fate::Held, Then::Killed, 1_000),
            round(false, Fate::Held, Then::Killed, 1_000),
            round(true, Fate::AnswerHeld, Then::Joined, 1_000),
        ],
        // Longer than the transaction may live, and than the client waits.
        vec![round(true, Fate::Held, Then::GoesOn, 12_000)],
    ];
    std::thread::scope(|scope| {
        for rounds in lanes {
            scope.spawn(move || {
                let mut lane = Lane::new(Fleet::new("held"));
                for round in &rounds {
                    lane.play(round);
                    println!("{} {round}", lane.fleet.prefix);
                }
                confirm(&lane.finish());
            });
        }
    });
}

/// A process without a guard, which leaves the end of one transaction behind by `leave`; that arrives when the next
/// is complete but for its offsets, and then the process is killed. Says what the judge finds.
fn stray(name: &str, guard: Sabotage, leave: fn(Caught) -> Orphan) -> String {
    let lane = Lane::new(Fleet::new(name));
    let ops = lane.start(&[("OPS_SABOTAGE", guard.name())]);
    lane.fleet.wait_until_beyond_now();
    // Cuts are at the multiples of 10 s. With one in between the next process would see by itself that offsets and
    // state do not fit together.
    while !(1_500..6_000).contains(&(now_ms() % 10_000)) {
        lane.fleet.wait_until_beyond_now();
    }
    let orphan = leave(lane.proxy.catch(Request::commits).wait("commit"));
    let next = lane.proxy.catch_offsets_behind_records().wait("next transaction");
    assert_eq!(orphan.deliver(), 0, "{guard:?} changes nothing: the cluster refuses what comes late\n{}", ops.said());
    ops.kill();
    drop(next);
    judge(&lane.finish()).expect_err("outputs without offsets were not noticed")
}

/// The control: the producer goes on although the end of its last transaction was sent twice.
#[test]
fn a_producer_that_is_used_on_in_doubt_is_noticed() {
    let difference = stray("used-on", Sabotage::NoRecreate, Caught::cut);
    println!("noticed: {difference}");
}

/// The control: a commit that seems to have failed is followed by an abort, and arrives after it.
#[test]
fn an_abort_after_a_commit_is_noticed() {
    let difference = stray("abort-after", Sabotage::AbortAfterCommit, |end| end.refuse_and_keep(UNKNOWN));
    println!("noticed: {difference}");
}
