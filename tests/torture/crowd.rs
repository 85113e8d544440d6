//! F3: processes come and go: one, then four, two of them killed at once in the midst of the rebalance, then one again.
//!
//! ```text
//! a:  ------------------------x        the survivor of the round before
//! b:      |-------------------|----    survives
//! c:      |-----x (at once    |--stop
//! d:      |-----x  with c)    |-x
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::campaign::{Campaign, Trial};
use crate::rig::fleet::{Fleet, Ops};
use crate::rig::load;
use crate::stage::Stage;

/// See the module.
pub const CAMPAIGN: Campaign = Campaign {
    name: "crowd",
    shows: "F3: 1 -> 4 -> 1 processors, two killed at once in the midst of a rebalance",
    rounds: 50,
    run,
};

const NAMES: [&str; 4] = ["ann", "bob", "cid", "dot"];
/// A rebalance among processes that have just started is somewhere in here.
const REBALANCE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(4));

fn run(trial: &mut Trial) -> Result<(), String> {
    let fleet = Arc::new(Fleet::new("crowd"));
    play(trial, &fleet).map_err(|difference| format!("{difference}\nlogs: {}", fleet.keep_logs()))
}

fn play(trial: &mut Trial, fleet: &Arc<Fleet>) -> Result<(), String> {
    let load = load::start(fleet);
    let mut stage = Stage::new(fleet);
    let mut processes: [Option<Ops>; 4] = [None, None, None, None];
    processes[0] = Some(start(trial, fleet, 0));
    fleet.wait_until_beyond_now();
    for _ in 0..trial.rounds {
        grow(trial, fleet, &mut processes);
        std::thread::sleep(trial.between(REBALANCE.0, REBALANCE.1));
        let one = trial.dice.below(4) as usize;
        let other = (one + 1 + trial.dice.below(3) as usize) % 4;
        for victim in [one, other] {
            kill(&mut stage, &mut processes, victim);
        }
        fleet.wait_until_beyond_now();

        grow(trial, fleet, &mut processes);
        fleet.wait_until_beyond_now();
        processes.iter_mut().flatten().for_each(|ops| stage.measure(trial, ops));
        let survivor = trial.dice.below(4) as usize;
        shrink(trial, &mut stage, &mut processes, survivor);
        fleet.wait_until_beyond_now();
        processes.iter_mut().flatten().for_each(|ops| stage.measure(trial, ops));
        stage.advance(trial)?;
        trial.round_is_over(&format!("{} and {} killed, {} left", NAMES[one], NAMES[other], NAMES[survivor]));
    }
    load.stop();
    stage.finish(trial, processes.into_iter().flatten()).map(drop)
}

/// One or two workers: those of one process meet each other in a rebalance too.
fn start(trial: &mut Trial, fleet: &Fleet, place: usize) -> Ops {
    fleet.start_with(NAMES[place], &["--workers", trial.dice.pick(&["1", "2"])])
}

/// All that are not there, at once.
fn grow(trial: &mut Trial, fleet: &Fleet, processes: &mut [Option<Ops>; 4]) {
    for (place, process) in processes.iter_mut().enumerate() {
        process.get_or_insert_with(|| start(trial, fleet, place));
    }
}

/// All but one go, in order or not.
fn shrink(trial: &mut Trial, stage: &mut Stage, processes: &mut [Option<Ops>; 4], survivor: usize) {
    for place in (0..4).filter(|place| *place != survivor) {
        if trial.dice.chance(50) {
            kill(stage, processes, place);
        } else {
            processes[place].take().into_iter().for_each(Ops::stop);
        }
    }
}

fn kill(stage: &mut Stage, processes: &mut [Option<Ops>; 4], place: usize) {
    if let Some(mut ops) = processes[place].take() {
        stage.kill(NAMES[place], &mut ops);
    }
}
