//! Lives that end at a point of death: one after the other in one fleet under load. Called by the quick form in
//! `cargo test` and by the campaign `points`.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;

use hms_ops::torture::Point;

use super::fleet::{Fleet, kept_file};
use super::load;
use crate::oracle::dice::Dice;

/// The points of the processor, in the order of a life: how often each is passed at most before it is the last, and
/// whether another member takes over there.
pub const POINTS: [(Point, i64, bool); 12] = [
    (Point::AfterPoll, 400, false),
    (Point::AfterStep, 400, false),
    (Point::EffectsHeld, 15, false),
    (Point::AfterProduce, 15, false),
    (Point::AfterSendOffsets, 15, false),
    (Point::CommitSent, 15, false),
    (Point::AfterCommit, 15, false),
    // The first of another name waits for the session of the last; the others restart under its name, and still take
    // over from the last, since nothing is committed under theirs.
    (Point::AfterFence, 1, true),
    (Point::AfterRestore, 1, true),
    (Point::AfterFirstCommit, 1, true),
    (Point::RevokedCommitted, 1, true),
    (Point::AfterRewind, 3, true),
];

/// One life: `instance` dies when it reaches `point` for the `times`-th time.
///
/// # Panics
/// If it ends in another way.
fn die_at(fleet: &Fleet, instance: &str, point: Point, times: i64) {
    let crash = format!("{}:{times}", point.name());
    let mut environment = vec![("OPS_CRASH_AT", crash.as_str())];
    if point == Point::AfterRewind {
        environment.push(("OPS_ABORT_EVERY", "4"));
    }
    let ops = fleet.start_in(instance, &[], &environment);
    if point == Point::RevokedCommitted {
        // It has something to give up.
        fleet.wait_until_beyond_now();
        ops.terminate();
    }
    let status = ops.wait();
    let said = || std::fs::read_to_string(kept_file(&format!("{}{instance}.log", fleet.prefix))).unwrap_or_default();
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{}: {status}\n{}", point.name(), said());
}

/// A life and a death at each of the first `count` points, under load, and a survivor who commits all. Says where and
/// at which passing each died.
pub fn lives(fleet: &Arc<Fleet>, count: usize, dice: &mut Dice) -> Vec<String> {
    let load = load::start(fleet);
    let name = |takes_over| if takes_over { "two" } else { "one" };
    let mut lives = Vec::new();
    for (point, most, takes_over) in &POINTS[..count] {
        let times = dice.between(1, *most);
        die_at(fleet, name(*takes_over), *point, times);
        lives.push(format!("{}:{times}", point.name()));
    }
    let survivor = fleet.start(name(POINTS[count - 1].2));
    fleet.wait_until_beyond_now();
    load.stop();
    fleet.wait_until_caught_up();
    // What was forwarded last is a record too.
    fleet.wait_until_caught_up();
    survivor.stop();
    lives
}
