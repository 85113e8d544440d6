//! F8: the clocks of sensors, host and broker are off by hours, forwards and back; the bus is silent for minutes; and
//! processes are killed in the midst of it. Every second round is calm: its sensors measure good values all the time,
//! and nothing may be opened.

use hms_ops::model::incident::EventKind;

use crate::campaign::{Campaign, Trial};
use crate::rig::audit::judge_and_audit;
use crate::rig::story::{Story, by_dice};

/// Turns of a story.
const ACTS: usize = 15;

/// See the module.
pub const CAMPAIGN: Campaign =
    Campaign { name: "clocks", shows: "clocks are off by hours, the bus is silent for minutes (F8)", rounds: 20, run };

fn run(trial: &mut Trial) -> Result<(), String> {
    for round in 0..trial.rounds {
        let calm = round % 2 == 0;
        let mut story = Story::new("clocks");
        by_dice(&mut story, &mut trial.dice, ACTS, calm);
        let judged = judge_and_audit(&story.end())?;
        let opened = judged.events.iter().filter(|event| matches!(event.kind, EventKind::Opened { .. })).count();
        let blind = judged.events.iter().filter(|event| matches!(event.kind, EventKind::Blind { .. })).count();
        if calm && opened > 0 {
            return Err(format!("{opened} incidents that no sensor has caused"));
        }
        trial.figures.count("events confirmed", judged.events.len() as u64);
        trial.figures.count("incidents opened", opened as u64);
        trial.figures.count("blind spans", blind as u64);
        trial.round_is_over(if calm { "calm: nothing opened" } else { "restless" });
    }
    Ok(())
}
