//! F5: the broker is killed under load and comes back with the same data, on a cluster of the campaign's own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hms_ops::local::kafka::{LocalKafka, Options};
use hms_ops::model::reading::RejectReason;

use crate::campaign::{Campaign, Trial};
use crate::rig::cluster::PATIENCE;
use crate::rig::fleet::Fleet;
use crate::rig::load;
use crate::stage::Stage;

/// See the module.
pub const CAMPAIGN: Campaign =
    Campaign { name: "outage", shows: "F5: kill -9 of the broker under load, and its restart", rounds: 30, run };

const NAMES: [&str; 2] = ["one", "two"];
/// The broker is up at least and at most so long after the round before.
const UP: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

fn run(trial: &mut Trial) -> Result<(), String> {
    let mut kafka = LocalKafka::start(&Options::default()).map_err(|error| error.to_string())?;
    let fleet = Arc::new(Fleet::on(kafka.brokers(), "outage"));
    play(trial, &mut kafka, &fleet).map_err(|difference| format!("{difference}\nlogs: {}", fleet.keep_logs()))
}

/// A nervous service whose readings may come ten minutes late: they wait in the producer while the broker is away, and
/// may have to be forwarded after the next outage.
fn patient(id: &str) -> String {
    load::nervous(id).replace("interval: 0.1}", "interval: 0.1, no_data_after: 600}")
}

fn play(trial: &mut Trial, kafka: &mut LocalKafka, fleet: &Arc<Fleet>) -> Result<(), String> {
    let load = load::start_as(fleet, patient);
    let mut stage = Stage::new(fleet);
    let mut processes = NAMES.map(|name| fleet.start(name));
    fleet.wait_until_shared();
    for _ in 0..trial.rounds {
        std::thread::sleep(trial.between(UP.0, UP.1));
        let killed_at = Instant::now();
        kafka.kill_and_restart(PATIENCE).map_err(|error| error.to_string())?;
        trial.figures.time("broker killed to answering again", killed_at.elapsed());
        fleet.wait_until_beyond_now();
        let took = killed_at.elapsed();
        trial.figures.time("broker killed to a commit in all partitions", took);
        for (name, ops) in NAMES.iter().zip(&mut processes) {
            if !ops.is_alive() {
                return Err(format!("{name} has ended\n{}", ops.said()));
            }
            stage.measure(trial, ops);
        }
        stage.advance(trial)?;
        trial.round_is_over(&format!("all partitions commit after {} ms", took.as_millis()));
    }
    load.stop();
    let rejected = stage.finish(trial, processes)?;
    // What the load sends on purpose, and nothing else.
    let wanted = BTreeSet::from([RejectReason::UnknownSensor.name()]);
    if rejected == wanted { Ok(()) } else { Err(format!("rejected as {rejected:?}, and only {wanted:?} was sent")) }
}
