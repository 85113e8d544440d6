//! The campaign `archive` (F2 of the archiver): deaths at every point, and at random in company. After each round the
//! vault is compared with the topics.

use crate::campaign::{Campaign, Trial};
use crate::rig::vault::faults::{POINTS, crash, kill_at_random, survive};
use crate::rig::vault::{Archive, Writing};

/// See the module. A round takes every point once.
pub const CAMPAIGN: Campaign = Campaign {
    name: "archive",
    shows: "the vault is the committed log, whoever of its archivers dies at whichever point",
    rounds: 10,
    run,
};

fn run(trial: &mut Trial) -> Result<(), String> {
    for round in 0..trial.rounds {
        let archive = Archive::new("archive");
        let writing = Writing::start(&archive, trial.dice.below(1 << 32));
        for point in POINTS {
            crash(&archive, *point, &mut trial.dice).map_err(|error| format!("round {round}: {error}"))?;
        }
        writing.stop();
        let alone = survive(&archive).map_err(|error| format!("round {round}: {error}"))?;

        let archive = Archive::new("archives");
        let kills = 10;
        let together = kill_at_random(&archive, kills, &mut trial.dice);
        let together = together.map_err(|error| format!("round {round}, in company: {error}"))?;
        trial.figures.count("deaths", POINTS.len() as u64 + u64::from(kills));
        trial.figures.count("records compared", alone.records + together.records);
        trial.figures.count("segments", alone.segments + together.segments);
        trial.round_is_over(&format!("{} records", alone.records + together.records));
    }
    Ok(())
}
