//! F4: a processor stands still inside an open transaction, longer than its session and mostly longer than its
//! transaction may last, and goes on when another has long taken over. Nothing that it had open may be committed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hms_ops::bus::settings::TRANSACTION_TIMEOUT;

use crate::campaign::{Campaign, Trial};
use crate::rig::fleet::{Fleet, Ops};
use crate::rig::judge::is_committed;
use crate::rig::load;
use crate::rig::watch::Views;
use crate::stage::{Stage, is_of};

/// See the module.
pub const CAMPAIGN: Campaign = Campaign {
    name: "zombies",
    shows: "F4: SIGSTOP of a processor inside an open transaction beyond all timeouts, then SIGCONT",
    rounds: 30,
    run,
};

const NAMES: [&str; 2] = ["one", "two"];
/// A commit that was on its way is there by then.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

fn run(trial: &mut Trial) -> Result<(), String> {
    let fleet = Arc::new(Fleet::new("zombies"));
    play(trial, &fleet).map_err(|difference| format!("{difference}\nlogs: {}", fleet.keep_logs()))
}

fn play(trial: &mut Trial, fleet: &Arc<Fleet>) -> Result<(), String> {
    let load = load::start(fleet);
    let (mut stage, mut views) = (Stage::new(fleet), Views::new(fleet));
    let mut processes = NAMES.map(|name| fleet.start(name));
    fleet.wait_until_shared();
    for _ in 0..trial.rounds {
        let (sleeper, place) = suspend_in_transaction(fleet, &mut views, &processes);
        let began = Instant::now();
        // The other takes over after the session; some sleep until the transaction has ended by its own timeout too.
        fleet.wait_until_beyond_now();
        trial.figures.time("standing still to a commit of all by the other", began.elapsed());
        let longest = TRANSACTION_TIMEOUT + Duration::from_secs(5);
        let asleep = trial.between(Duration::ZERO, longest);
        std::thread::sleep(asleep.saturating_sub(began.elapsed()));
        // The takeover has decided: a commit that was still on its way when its sender stood still may have come first.
        let was_first = is_committed(fleet, place.0, place.1);
        trial.figures.count("stood still with an event in the open transaction", (!was_first).into());
        let slept = began.elapsed();
        processes[sleeper].resume();
        fleet.wait_until_shared();
        for (name, ops) in NAMES.iter().zip(&mut processes) {
            if !ops.is_alive() {
                return Err(format!("{name} has ended\n{}", ops.said()));
            }
            stage.measure(trial, ops);
        }
        if is_committed(fleet, place.0, place.1) != was_first {
            return Err(format!("event {}@{} has changed its fate when {} went on", place.0, place.1, NAMES[sleeper]));
        }
        stage.advance(trial)?;
        trial.round_is_over(&format!("{} stood still for {:.1} s", NAMES[sleeper], slept.as_secs_f64()));
    }
    load.stop();
    stage.finish(trial, processes).map(drop)
}

/// Lets the owner of an event that is not committed yet stand still. Says who it is, and where that event lies.
fn suspend_in_transaction(fleet: &Fleet, views: &mut Views, processes: &[Ops; 2]) -> (usize, (i32, i64)) {
    views.forget();
    loop {
        let writers = fleet.writers();
        let (partition, offset) = views.wait_for_open();
        let Some(sleeper) = NAMES.iter().position(|name| is_of(&writers[partition as usize], name)) else { continue };
        processes[sleeper].suspend();
        let began = Instant::now();
        while began.elapsed() < ON_ITS_WAY {
            views.committed.one(Duration::from_millis(50));
        }
        if !views.committed.seen.iter().any(|seen| (seen.partition, seen.offset) == (partition, offset)) {
            return (sleeper, (partition, offset));
        }
        processes[sleeper].resume();
    }
}
