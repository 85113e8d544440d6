//! F1: kill -9 of a processor at a random time under a heavy load, again and again.
//!
//! ```text
//! one:  --------x |------------------------------x      |------
//! two:  ----------------------x        |-----------------------
//!               restarted at once      restarted after `one` took over
//! ```

use std::sync::Arc;
use std::time::Duration;

use hms_ops::local::kafka::{Options, Profile, from_env_or_start};

use crate::campaign::{Campaign, Trial};
use crate::heavy::Heavy;
use crate::rig::fleet::{Fleet, Ops};
use crate::stage::{FIRST_COMMIT, Stage, is_of, wait};

/// See the module.
pub const CAMPAIGN: Campaign = Campaign {
    name: "kills",
    shows: "F1: kill -9 of one of two processors at a random time, under load",
    rounds: 200,
    run,
};

const NAMES: [&str; 2] = ["one", "two"];
/// A process lives at least and at most so long after the round before.
const LIFE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(4));

fn run(trial: &mut Trial) -> Result<(), String> {
    let cluster = from_env_or_start(&Options { profile: Profile::Bench, ..Options::default() });
    let cluster = cluster.map_err(|error| error.to_string())?;
    let fleet = Arc::new(Fleet::on(cluster.brokers(), "kills"));
    play(trial, &fleet).map_err(|difference| format!("{difference}\nlogs: {}", fleet.keep_logs()))
}

fn play(trial: &mut Trial, fleet: &Arc<Fleet>) -> Result<(), String> {
    let seed = trial.dice.below(u64::MAX);
    let load = Heavy::start(fleet, trial.weight, seed);
    let mut stage = Stage::new(fleet);
    let mut processes = NAMES.map(|name| fleet.start(name));
    fleet.wait_until_shared();
    for _ in 0..trial.rounds {
        std::thread::sleep(trial.between(LIFE.0, LIFE.1));
        let victim = usize::from(trial.dice.chance(50));
        let what = if trial.dice.chance(50) {
            restart_at_once(trial, &mut stage, &mut processes, victim)
        } else {
            take_over(trial, &mut stage, &mut processes, victim)
        };
        fleet.wait_until_beyond_now();
        processes.iter_mut().for_each(|ops| stage.measure(trial, ops));
        stage.advance(trial)?;
        trial.round_is_over(&format!("{what}, {} readings/s", load.rate()));
    }
    trial.figures.count("readings sent", load.sent());
    trial.figures.notes.push(format!("{} readings/s over {} series", load.rate(), trial.weight.series));
    load.stop();
    stage.finish(trial, processes).map(drop)
}

/// Within its session it gets its own partitions back, without a rebalance.
fn restart_at_once(trial: &mut Trial, stage: &mut Stage, processes: &mut [Ops; 2], victim: usize) -> String {
    let (killed_at, _) = stage.kill(NAMES[victim], &mut processes[victim]);
    processes[victim] = stage.fleet.start(NAMES[victim]);
    wait(&mut processes[victim], "a first commit", |ops| ops.said().contains(FIRST_COMMIT));
    let took = killed_at.elapsed();
    trial.figures.time("kill to first commit of itself, restarted", took);
    format!("{} restarted at once: {} ms", NAMES[victim], took.as_millis())
}

/// The other takes over, and shares again when it comes back.
fn take_over(trial: &mut Trial, stage: &mut Stage, processes: &mut [Ops; 2], victim: usize) -> String {
    let fleet = stage.fleet.clone();
    let (killed_at, partitions) = stage.kill(NAMES[victim], &mut processes[victim]);
    let other = &mut processes[1 - victim];
    wait(other, "a takeover", |_| {
        let writers = fleet.writers();
        partitions.iter().all(|partition| is_of(&writers[*partition as usize], NAMES[1 - victim]))
    });
    let took = killed_at.elapsed();
    trial.figures.time("kill to first commit of another", took);
    processes[victim] = fleet.start(NAMES[victim]);
    fleet.wait_until_shared();
    format!("{} taken over: {} ms", NAMES[victim], took.as_millis())
}
