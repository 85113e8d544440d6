//! The controls of all checks: one guard after the other is taken away, and somebody must notice. One that nobody
//! notices is reported, with what else holds it, if that is known; if it is not, the campaign has failed.

use std::collections::BTreeSet;

use hms_ops::torture::Sabotage;

use crate::campaign::{Campaign, Trial};
use crate::rig::sabotage::{self, Noticed, Quiet, Scenario};
use crate::rig::{effects, held, vault};

/// See the module. A round plays every sabotage once.
pub const CAMPAIGN: Campaign =
    Campaign { name: "controls", shows: "a guard is missing, and it is noticed", rounds: 1, run };

/// A guard, and the play in which it is missed.
struct Control {
    room: &'static str,
    guard: Sabotage,
    play: Play,
    /// Why nobody can notice.
    held_by: Option<&'static str>,
}

/// Without a guard somebody must notice; with all of them, nobody.
#[derive(Clone, Copy)]
enum Play {
    Processor(fn(Option<Sabotage>) -> Result<Quiet, Noticed>),
    Other(Scenario),
}

/// All of them, by room.
fn controls() -> Vec<Control> {
    let processor = sabotage::PROCESSOR.iter().map(|control| {
        let sabotage::Control { guard, play, held_by } = *control;
        Control { room: "processor", guard, play: Play::Processor(play), held_by }
    });
    let other = |room, list: &[(Sabotage, Scenario)]| -> Vec<Control> {
        let one = |(guard, play): &(_, _)| Control { room, guard: *guard, play: Play::Other(*play), held_by: None };
        list.iter().map(one).collect()
    };
    let held = other("bus", held::CONTROLS);
    let vault = other("archiver", vault::controls::CONTROLS);
    let effects = other("actors", effects::controls::CONTROLS);
    let channels = other("channels", effects::channels::CONTROLS);
    processor.chain(held).chain(vault).chain(effects).chain(channels).collect()
}

fn run(trial: &mut Trial) -> Result<(), String> {
    let controls = controls();
    nothing_is_noticed_with_every_guard(&controls)?;
    let mut missed = BTreeSet::new();
    for _ in 0..trial.rounds {
        for (place, control) in controls.iter().enumerate() {
            let verdict = control.play(Some(control.guard));
            if verdict.is_ok() {
                missed.insert(place);
            }
            let told = control.told(&verdict);
            eprintln!("  {told}");
            trial.figures.notes.push(told);
        }
        trial.round_is_over("every sabotage played once");
    }
    let all = controls.len();
    trial.figures.notes.push(format!("{} of {all} sabotages caught", all - missed.len()));
    let unexplained = missed.iter().map(|place| &controls[*place]).filter(|control| control.held_by.is_none());
    let names: Vec<String> = unexplained.map(Control::name).collect();
    if names.is_empty() { Ok(()) } else { Err(format!("not caught: {}", names.join(", "))) }
}

/// Each play once.
fn nothing_is_noticed_with_every_guard(controls: &[Control]) -> Result<(), String> {
    let mut played = BTreeSet::new();
    for control in controls {
        let play = match control.play {
            Play::Processor(play) => play as usize,
            Play::Other(play) => play as usize,
        };
        if played.insert(play) {
            control.play(None).map_err(|noticed| format!("{}, with every guard: {noticed}", control.name()))?;
        }
    }
    Ok(())
}

impl Control {
    fn name(&self) -> String {
        format!("{} {}", self.room, self.guard.name())
    }

    /// A rig that panics ends the campaign: what broke by itself has noticed nothing.
    fn play(&self, guard: Option<Sabotage>) -> Result<Quiet, Noticed> {
        match self.play {
            Play::Processor(play) => play(guard),
            Play::Other(play) => play(guard)
                .map(|()| Quiet { events: 0, refused: None })
                .map_err(|what| Noticed { by: "the judge", what }),
        }
    }

    fn told(&self, verdict: &Result<Quiet, Noticed>) -> String {
        let name = self.name();
        match (verdict, self.held_by) {
            (Err(noticed), _) => format!("{name}: caught by {noticed}"),
            (Ok(_), None) => format!("{name}: NOT CAUGHT"),
            (Ok(quiet), Some(held_by)) => {
                let seen = quiet.refused.as_deref().map(|line| format!(" ({})", line.trim())).unwrap_or_default();
                format!("{name}: NOT CAUGHT: {held_by}{seen}")
            }
        }
    }
}
