//! F2: the processor dies at each of its points of death, at times by dice. A round is one death; after each pass over
//! all points, in a fleet of its own, the log is judged.

use std::sync::Arc;

use crate::campaign::{Campaign, Trial};
use crate::rig::audit::judge_and_audit;
use crate::rig::crash::{POINTS, lives};
use crate::rig::fleet::Fleet;

/// See the module.
pub const CAMPAIGN: Campaign = Campaign {
    name: "points",
    shows: "the processor dies at each point of its life (F2)",
    rounds: 10 * POINTS.len() as u32,
    run,
};

fn run(trial: &mut Trial) -> Result<(), String> {
    while trial.figures.rounds < trial.rounds {
        let left = usize::try_from(trial.rounds - trial.figures.rounds).unwrap_or(usize::MAX);
        let fleet = Arc::new(Fleet::new("points"));
        let lives = lives(&fleet, left.min(POINTS.len()), &mut trial.dice);
        let judged = judge_and_audit(&fleet)?;
        trial.figures.count("events confirmed", judged.events.len() as u64);
        trial.figures.count("records", judged.counts.consumed);
        trial.figures.count("readings forwarded", judged.forwarded);
        lives.iter().for_each(|life| trial.round_is_over(life));
    }
    Ok(())
}
