//! The campaign `effects` (F2 and F4 of the actors): autoscalers and pagers die or stand still around their effects.
//! After each round the judge counts writes, pages, clears and outcomes (INV-8, INV-9, INV-11).

use std::time::Duration;

use hms_ops::torture::Point;

use crate::campaign::{Campaign, Trial};
use crate::rig::effects::faults::{POINTS, crash, frozen_at_random, killed_at_random, settle, survive, zombie};
use crate::rig::effects::{Effects, Kind};

/// See the module. A round is one fault of one of the two, by turns.
pub const CAMPAIGN: Campaign = Campaign {
    name: "effects",
    shows: "every intent has one outcome and at most one effect, no alert stays open, and repeated pages are counted",
    rounds: 30,
    run,
};

/// Where a zombie may stand still.
const FREEZES: &[Point] = &[Point::ActorIntentCommitted, Point::ActorEffectBegins, Point::ActorEffectDone];

fn run(trial: &mut Trial) -> Result<(), String> {
    for round in 0..trial.rounds {
        let kind = if round % 2 == 0 { Kind::Autoscaler } else { Kind::Pager };
        let mut effects = Effects::new("effects", kind);
        let what = play(&mut effects, trial).map_err(|error| format!("round {round}, {kind:?}, {error}"))?;
        let judged = survive(&effects).map_err(|error| format!("round {round}, {kind:?}, {what}: {error}"))?;
        trial.figures.count("actions", judged.actions);
        trial.figures.count("effects", judged.effects);
        trial.figures.count("announced repeats of pages", judged.repeats);
        trial.figures.count("unknown outcomes", judged.unknown);
        trial.round_is_over(&format!("{kind:?}, {what}"));
    }
    Ok(())
}

/// One fault, by the dice. Says which.
fn play(effects: &mut Effects, trial: &mut Trial) -> Result<String, String> {
    let dice = &mut trial.dice;
    // Around the effect: it comes some 10 ms after the request.
    let after = Duration::from_millis(dice.below(120));
    let (what, played) = match dice.below(4) {
        0 => {
            settle(effects)?;
            let point = dice.pick(POINTS);
            (format!("died at {}:{}", point.0.name(), point.1), crash(effects, point))
        }
        1 => {
            let (point, over) = (dice.pick(FREEZES), effects.kind == Kind::Pager && dice.chance(50));
            (format!("stood still at {}", point.name()), zombie(effects, point, over))
        }
        2 => (format!("stood still after {after:?}"), frozen_at_random(effects, after)),
        _ => (format!("killed after {after:?}"), killed_at_random(effects, after)),
    };
    played.map_err(|error| format!("{what}: {error}"))?;
    Ok(what)
}
