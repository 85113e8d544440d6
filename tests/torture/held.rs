//! The campaign `held` (F7): commits and aborts that are held back for 1 to 40 s, answered late or to nobody, or left
//! behind to meet the next transaction, while their process goes on, dies, or gets company. The rounds are
//! [`crate::rig::held`], the quick form is in `tests/kafka/processor/held.rs`.
//!
//! Waiting costs nothing, so that several fleets wait at once, each behind a proxy of its own.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::campaign::{Campaign, Trial};
use crate::oracle::dice::Dice;
use crate::rig::audit::judge_and_audit;
use crate::rig::fleet::Fleet;
use crate::rig::held::{Fate, Lane, Round, Then};
use crate::rig::judge::{Judged, judge};

/// See the module.
pub const CAMPAIGN: Campaign = Campaign {
    name: "held",
    shows: "a commit or abort that comes late ends nothing but its own transaction (F7)",
    rounds: 100,
    run,
};

/// Fleets at once.
const LANES: usize = 6;
/// A lane is judged after so many of its rounds: a difference is told while it is fresh.
const JUDGED_AFTER: usize = 4;

/// What a lane has to tell.
enum News {
    Played(Round, Duration),
    Judged(Judged),
}

fn run(trial: &mut Trial) -> Result<(), String> {
    let rounds: VecDeque<Round> = (0..trial.rounds).map(|_| throw(&mut trial.dice)).collect();
    let rounds = Mutex::new(rounds);
    std::thread::scope(|scope| {
        let (news, told) = channel();
        let lanes: Vec<_> = (0..LANES.min(trial.rounds as usize))
            .map(|_| {
                let (news, rounds) = (news.clone(), &rounds);
                scope.spawn(move || {
                    // What the rig asserts is a difference too, and the report is still to be written.
                    let done = std::panic::catch_unwind(AssertUnwindSafe(|| lane(rounds, &news)));
                    let done = done.unwrap_or_else(|panic| {
                        let said = panic.downcast_ref::<String>().cloned();
                        Err(said.unwrap_or_else(|| "the rig failed".to_owned()))
                    });
                    // The first difference ends the campaign.
                    done.inspect_err(|_| rounds.lock().unwrap_or_else(PoisonError::into_inner).clear())
                })
            })
            .collect();
        drop(news);
        let mut events = 0;
        for one in told {
            match one {
                News::Played(round, took) => {
                    trial.figures.time("end come through to commits going on", took);
                    trial.figures.time("held", round.hold);
                    trial.figures.count(if round.commit { "commits held" } else { "aborts held" }, 1);
                    trial.round_is_over(&round.to_string());
                }
                News::Judged(judged) => events += judged.events.len() as u64,
            }
        }
        trial.figures.count("events confirmed", events);
        lanes.into_iter().try_for_each(|lane| lane.join().expect("panics are caught inside"))
    })
}

/// A round by dice.
fn throw(dice: &mut Dice) -> Round {
    Round {
        commit: dice.chance(60),
        fate: dice.pick(&[Fate::Held, Fate::AnswerHeld, Fate::AnswerLost, Fate::Stray]),
        then: dice.pick(&[Then::GoesOn, Then::GoesOn, Then::Killed, Then::Joined]),
        hold: Duration::from_millis(1_000 + dice.below(39_001)),
    }
}

/// Plays rounds until there are none left or one was not as it must be.
fn lane(rounds: &Mutex<VecDeque<Round>>, news: &Sender<News>) -> Result<(), String> {
    let mut lane = Lane::new(Fleet::new("held"));
    for played in 1.. {
        let Some(round) = rounds.lock().unwrap().pop_front() else { break };
        let took = lane.play(&round);
        if played % JUDGED_AFTER == 0 {
            lane.pause();
            judge(&lane.fleet)?;
        }
        // Whoever listens outlives the lanes.
        let _ = news.send(News::Played(round, took));
    }
    let judged = judge_and_audit(&lane.finish())?;
    let _ = news.send(News::Judged(judged));
    Ok(())
}
