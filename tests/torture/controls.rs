//! The controls of all checks: one guard after the other is taken away, and somebody must notice. One that nobody
//! notices is reported, with what else holds it, if that is known; if it is not, the campaign has failed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::campaign::{Campaign, Trial};
use crate::rig::sabotage::{self, Control, Noticed, Quiet};

/// By room. What other rooms can be robbed of is added here.
const CONTROLS: &[&[Control]] = &[sabotage::PROCESSOR];

/// See the module. A round plays every sabotage once.
pub const CAMPAIGN: Campaign =
    Campaign { name: "controls", shows: "a guard is missing, and it is noticed", rounds: 1, run };

fn run(trial: &mut Trial) -> Result<(), String> {
    // With every guard in its place nothing may be noticed.
    for (name, play) in [
        ("stream", sabotage::stream as fn(_) -> _),
        ("frozen in its commit", sabotage::frozen_in_its_commit),
        ("lost", sabotage::lost),
        ("offsets apart", sabotage::offsets_apart),
    ] {
        let quiet = play(None).map_err(|noticed| format!("{name}, with every guard: {noticed}"))?;
        trial.figures.count("events confirmed", quiet.events as u64);
    }
    let mut caught: BTreeMap<&'static str, u32> = BTreeMap::new();
    for _ in 0..trial.rounds {
        for control in CONTROLS.concat() {
            let verdict = played(control);
            *caught.entry(control.guard.name()).or_default() += u32::from(verdict.is_err());
            trial.figures.notes.push(told(&control, &verdict));
        }
        trial.round_is_over("every sabotage played once");
    }
    let all = CONTROLS.concat();
    let missed: Vec<_> = all.iter().filter(|control| caught[control.guard.name()] < trial.rounds).collect();
    trial.figures.notes.push(format!("{} of {} sabotages caught", all.len() - missed.len(), all.len()));
    let unexplained: Vec<_> =
        missed.iter().filter(|control| control.held_by.is_none()).map(|control| control.guard.name()).collect();
    match unexplained.as_slice() {
        [] => Ok(()),
        names => Err(format!("not caught: {}", names.join(", "))),
    }
}

/// A rig that gives up waiting has noticed something too.
fn played(control: Control) -> Result<Quiet, Noticed> {
    catch_unwind(AssertUnwindSafe(|| (control.play)(Some(control.guard)))).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned());
        Err(Noticed { by: "the rig", what })
    })
}

fn told(control: &Control, verdict: &Result<Quiet, Noticed>) -> String {
    let name = control.guard.name();
    match (verdict, control.held_by) {
        (Err(noticed), _) => format!("{name}: caught by {noticed}"),
        (Ok(_), None) => format!("{name}: NOT CAUGHT"),
        (Ok(quiet), Some(held_by)) => {
            let seen = quiet.refused.as_deref().map(|line| format!(" ({})", line.trim())).unwrap_or_default();
            format!("{name}: NOT CAUGHT: {held_by}{seen}")
        }
    }
}
