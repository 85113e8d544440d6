//! Actors without one of their guards, in scenarios of which the judge must say that something is wrong. With the
//! guard it must not: each scenario is also played with `None`.

use hms_ops::torture::{Point, Sabotage};

use hms_ops::model::action::ActionKind;
use hms_ops::sdk::{approve, freeze};

use super::faults::{settle, wait_until_frozen};
use super::{Effects, Flaw, Kind, NAMESPACE, months};
use crate::rig::sabotage::Scenario;

/// All of them.
pub const CONTROLS: &[(Sabotage, Scenario)] = &[
    (Sabotage::NoResourceVersion, late_write),
    (Sabotage::NoLookBeforeRetry, repeated_write),
    (Sabotage::RestoreWithoutActions, forgotten_outcome),
    (Sabotage::RestoreWithoutActions, forgotten_alert),
    (Sabotage::ActWhileFrozen, stopped_in_time),
    (Sabotage::ActOnHistory, months::read_again),
    (Sabotage::ActUnapproved, never_approved),
];

/// A write is held back by the API server until a person has scaled the same deployment.
fn late_write(guard: Option<Sabotage>) -> Result<(), String> {
    let mut effects = Effects::new("late", Kind::Autoscaler);
    let actor = effects.start("one", Flaw { without: guard, ..Flaw::default() });
    effects.wait_until_settled()?;
    effects.gate.close();
    let service = effects.ask();
    effects.wait_for("a write that is held back", || effects.gate.held() == 1)?;
    assert!(effects.cluster.scale_by_hand(NAMESPACE, &service, 7));
    effects.gate.open();
    let judged = effects.finish();
    actor.stop();
    judged.map(drop)
}

/// A crash when the write is done and its outcome is not written.
fn repeated_write(guard: Option<Sabotage>) -> Result<(), String> {
    let mut effects = Effects::new("repeated", Kind::Autoscaler);
    settle(&effects)?;
    let service = effects.ask();
    let mut actor = effects.start("one", Flaw { dies_at: Some((Point::ActorEffectDone, 1)), ..Flaw::default() });
    effects.wait_for("its death", || !actor.is_alive())?;
    let actor = effects.start("one", Flaw { without: guard, ..Flaw::default() });
    effects.wait_until_done(&service)?;
    actor.stop();
    effects.judge().map(drop)
}

/// `asked(1) asked(2)`: the write of 1 is held back, that of 2 is done and settled; then it is killed. What comes
/// after 1 is asked again, and only `ops.actions` knows that it has its outcome.
fn forgotten_outcome(guard: Option<Sabotage>) -> Result<(), String> {
    let mut effects = Effects::new("forgotten", Kind::Autoscaler);
    let actor = effects.start("one", Flaw::default());
    effects.wait_until_settled()?;
    effects.gate.close();
    effects.ask();
    effects.wait_for("a write that is held back", || effects.gate.held() == 1)?;
    // The first is held already; the gate knows which.
    effects.gate.open_for_others();
    let second = effects.ask();
    effects.wait_until_done(&second)?;
    actor.kill();
    effects.gate.open();
    let actor = effects.start("one", Flaw { without: guard, ..Flaw::default() });
    let third = effects.ask();
    effects.wait_until_done(&third)?;
    let judged = effects.finish();
    actor.stop();
    judged.map(drop)
}

/// A page is sent and settled, then its pager is killed; the next one must clear what it raised.
fn forgotten_alert(guard: Option<Sabotage>) -> Result<(), String> {
    let mut effects = Effects::new("open", Kind::Pager);
    let actor = effects.start("one", Flaw::default());
    effects.wait_until_settled()?;
    let first = effects.ask();
    effects.wait_until_done(&first)?;
    actor.kill();
    let actor = effects.start("one", Flaw { without: guard, ..Flaw::default() });
    effects.resolve(&first);
    // Of the same channel, so that it comes after the clear.
    let second = effects.ask();
    effects.wait_until_done(&second)?;
    effects.resolve(&second);
    effects.wait_for_outcome(super::clear(&second))?;
    actor.stop();
    effects.judge().map(drop)
}

/// The incident has had its actions: the fourth waits for a human, who approves something else; its time runs out.
///
/// ```text
/// ops.actions:  done done done  awaiting C  approved(another hash)  expired C
/// ```
fn never_approved(guard: Option<Sabotage>) -> Result<(), String> {
    let mut effects = Effects::new("unapproved", Kind::Autoscaler);
    settle(&effects)?;
    let service = effects.ask();
    effects.had_its_actions(&service);
    let actor = effects.start("one", Flaw { without: guard, waits_seconds: Some(3), ..Flaw::default() });
    let asked = || effects.actions().into_iter().find(|event| event.proposal().is_some());
    effects.wait_for("what is asked", || asked().is_some())?;
    let asked = asked().unwrap();
    let mut proposal = asked.proposal().unwrap().clone();
    proposal.hash = "0".repeat(64);
    let topics = &effects.fleet.topics;
    approve::say(&effects.fleet.settings, topics, (&asked, &proposal), true, "a test", "of another").unwrap();
    effects.wait_until_done(&service)?;
    actor.stop();
    match effects.judge()?.effects {
        0 => Ok(()),
        writes => Err(format!("{writes} writes that nobody approved")),
    }
}

/// It stands still with its intent in the open transaction, while a human stops everything; then it goes on.
///
/// ```text
/// ops.actions p0:  started#1          C  suppressed#1 C
/// ops.actions all:           frozen
/// ```
fn stopped_in_time(guard: Option<Sabotage>) -> Result<(), String> {
    let mut effects = Effects::new("stopped", Kind::Autoscaler);
    settle(&effects)?;
    let flaw = Flaw { freezes_at: Some(Point::ActorIntentWritten), without: guard, ..Flaw::default() };
    let actor = effects.start("one", flaw);
    let service = effects.ask();
    wait_until_frozen(&effects, &actor)?;
    let frozen = ActionKind::Frozen { reason: "a test".to_owned() };
    freeze::switch(&effects.fleet.settings, &effects.fleet.topics, None, "a test", frozen).unwrap();
    actor.resume();
    effects.wait_until_done(&service)?;
    actor.stop();
    match effects.judge()?.effects {
        0 => Ok(()),
        writes => Err(format!("{writes} writes after everything was frozen")),
    }
}
