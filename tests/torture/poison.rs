//! F11: a million records, one in ten hostile, one in five away from home, with kills in the midst of it. Nothing
//! crashes, every record has its outcome, and the good ones alone make the same log.

use crate::campaign::{Campaign, Trial};
use crate::rig::poison::play;

const RECORDS: i64 = 1_000_000;
const KILLS: usize = 10;

/// See the module.
pub const CAMPAIGN: Campaign =
    Campaign { name: "poison", shows: "one record in ten of a million is hostile (F11)", rounds: 1, run };

fn run(trial: &mut Trial) -> Result<(), String> {
    for _ in 0..trial.rounds {
        let poisoned = play(RECORDS, KILLS, &mut trial.dice)?;
        trial.figures.count("good records", poisoned.good);
        trial.figures.count("hostile records", poisoned.hostile);
        trial.figures.count("reasons met", poisoned.reasons.len() as u64);
        trial.figures.count("readings forwarded", poisoned.forwarded);
        trial.figures.count("events confirmed", poisoned.events as u64);
        trial.round_is_over(&format!("{:?}", poisoned.reasons));
    }
    Ok(())
}
