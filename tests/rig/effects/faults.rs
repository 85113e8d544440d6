//! What befalls actors: deaths between intent, effect and outcome, and zombies that wake after another has taken
//! over. Each a scenario that says what differs; the tests play them once, the campaign `effects` often.

use std::time::{Duration, Instant};

use hms_ops::torture::{Point, Sabotage};

use super::{Effects, Flaw, Judged};
use crate::rig::fleet::Ops;

/// Where an actor can die, and at which time: around the effect, and in its transactions. The first of them takes the
/// partitions over, the second has the intent, the third the outcome.
pub const POINTS: &[(Point, u32)] = &[
    (Point::AfterSendOffsets, 1),
    (Point::ActorIntentWritten, 1),
    (Point::AfterSendOffsets, 2),
    (Point::CommitSent, 2),
    (Point::ActorIntentCommitted, 1),
    (Point::ActorEffectBegins, 1),
    (Point::ActorEffectDone, 1),
    (Point::AfterSendOffsets, 3),
    (Point::CommitSent, 3),
    (Point::AfterCommit, 3),
];

/// Waits for a first actor's first commit, and ends it: everything that is asked from then on is the group's business.
pub fn settle(effects: &Effects) -> Result<(), String> {
    let actor = effects.start("one", Flaw::default());
    effects.wait_until_settled()?;
    actor.stop();
    Ok(())
}

/// It dies at `point` while it does what was asked, and starts again. The group is settled.
pub fn crash(effects: &mut Effects, (point, times): (Point, u32)) -> Result<(), String> {
    let service = effects.ask();
    let mut actor = effects.start("one", Flaw { dies_at: Some((point, times)), ..Flaw::default() });
    effects
        .wait_for("its death", || !actor.is_alive())
        .map_err(|error| format!("{}:{times}: {error}", point.name()))?;
    let actor = effects.start("one", Flaw::default());
    effects.wait_until_done(&service)?;
    // Not asked to end: it may not have begun yet, if all was done before.
    actor.kill();
    Ok(())
}

/// It stands still at `point`, until another has taken over and done what was asked; then it goes on. `over`: the
/// incident is over by then. Whether it lives or not, whoever is left does what is asked next.
pub fn zombie(effects: &mut Effects, point: Point, over: bool) -> Result<(), String> {
    zombie_without(None, effects, point, over)
}

/// The same; the zombie has lost a guard.
pub fn zombie_without(
    without: Option<Sabotage>,
    effects: &mut Effects,
    point: Point,
    over: bool,
) -> Result<(), String> {
    let mut zombie = effects.start("zombie", Flaw { freezes_at: Some(point), without, ..Flaw::default() });
    effects.wait_until_settled()?;
    let service = effects.ask();
    effects.wait_until_intended(&service, 1)?;
    wait_until_frozen(effects, &zombie)?;
    let heir = effects.start("heir", Flaw::default());
    effects.wait_until_done(&service)?;
    if over {
        effects.resolve(&service);
        effects.wait_for_outcome(super::clear(&service))?;
    }
    zombie.resume();
    wait_until_refused(effects, &mut zombie)?;
    let next = effects.ask();
    effects.wait_until_done(&next)?;
    heir.stop();
    zombie.kill();
    Ok(())
}

/// It stands still wherever it is, `after` it started to do what was asked, longer than the group waits for it.
pub fn frozen_at_random(effects: &mut Effects, after: Duration) -> Result<(), String> {
    let mut zombie = effects.start("zombie", Flaw::default());
    effects.wait_until_settled()?;
    let service = effects.ask();
    std::thread::sleep(after);
    zombie.suspend();
    let heir = effects.start("heir", Flaw::default());
    effects.wait_until_done(&service)?;
    // It owns what is asked now, though the first may have done what was asked before.
    let next = effects.ask();
    effects.wait_until_done(&next)?;
    zombie.resume();
    wait_until_refused(effects, &mut zombie)?;
    heir.stop();
    zombie.kill();
    Ok(())
}

/// Killed `after` it was asked, and started again.
pub fn killed_at_random(effects: &mut Effects, after: Duration) -> Result<(), String> {
    let actor = effects.start("one", Flaw::default());
    effects.wait_until_settled()?;
    let service = effects.ask();
    std::thread::sleep(after);
    actor.kill();
    let actor = effects.start("one", Flaw::default());
    effects.wait_until_done(&service)?;
    // Not asked to end: it may not have begun yet, if all was done before.
    actor.kill();
    Ok(())
}

/// A sound actor does what is left, and all of it is judged.
pub fn survive(effects: &Effects) -> Result<Judged, String> {
    let actor = effects.start("one", Flaw::default());
    let judged = effects.finish()?;
    // Not asked to end: it may not have begun yet, if all was done before.
    actor.kill();
    Ok(judged)
}

/// Waits until all of it stands still.
pub fn wait_until_frozen(effects: &Effects, ops: &Ops) -> Result<(), String> {
    let stat = format!("/proc/{}/stat", ops.pid());
    // The state follows the name, which is in parentheses.
    let state =
        || std::fs::read_to_string(&stat).ok()?.rsplit_once(')')?.1.split_whitespace().next().map(str::to_owned);
    effects.wait_for("it to stand still", || state().as_deref() == Some("T"))
}

/// Waits until it knows that its time is over: it has ended, or begun anew.
pub fn wait_until_refused(effects: &Effects, ops: &mut Ops) -> Result<(), String> {
    let began = Instant::now();
    effects.wait_for("the zombie to be refused", || {
        let said = ops.said();
        !ops.is_alive() || said.contains("a new session with the bus") || said.contains("the actor ends")
            // Between two commits it only leaves the group and comes back.
            || began.elapsed() > Duration::from_secs(8)
    })
}
