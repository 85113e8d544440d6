//! Ends of transactions that do not arrive when they should (F7), and what happens without the guards against it.
//! The rounds are [`crate::rig::held`]; the long form is the campaign `held` of `cargo torture`.

use std::time::Duration;

use hms_ops::torture::Sabotage;

use crate::rig::fleet::Fleet;
use crate::rig::held::{CONTROLS, Fate, Lane, Round, Then};
use crate::rig::judge::confirm;

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

/// Plays a scenario with its guard and without.
fn assert_noticed(wanted: Sabotage) {
    let (guard, scenario) = CONTROLS.iter().find(|(guard, _)| *guard == wanted).unwrap();
    scenario(None).unwrap_or_else(|difference| panic!("with every guard: {difference}"));
    let difference = scenario(Some(*guard)).expect_err("outputs without offsets were not noticed");
    println!("noticed: {difference}");
}

/// The control: the producer goes on although the end of its last transaction was sent twice.
#[test]
fn a_producer_that_is_used_on_in_doubt_is_noticed() {
    assert_noticed(Sabotage::NoRecreate);
}

/// The control: a commit that seems to have failed is followed by an abort, and arrives after it.
#[test]
fn an_abort_after_a_commit_is_noticed() {
    assert_noticed(Sabotage::AbortAfterCommit);
}
