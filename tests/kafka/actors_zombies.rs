//! Actors that were thought dead go on: they stood still between intent and effect, or between effect and outcome,
//! until another had taken over.
//!
//! ```text
//! ops.actions:  started#1 C          started#2 C  done#2 C
//!                           ^ stands still          ^ goes on: nothing of it counts
//! ```

use hms_ops::torture::Point;

use crate::rig::effects::faults::{survive, zombie};
use crate::rig::effects::{Effects, Kind};

fn wakes_at(name: &str, kind: Kind, point: Point, over: bool) {
    let mut effects = Effects::new(name, kind);
    zombie(&mut effects, point, over).unwrap();
    println!("{:?}", survive(&effects).unwrap());
}

#[test]
fn an_autoscaler_that_wakes_before_its_effect_has_none() {
    wakes_at("scaler-intent", Kind::Autoscaler, Point::ActorEffectBegins, false);
}

#[test]
fn an_autoscaler_that_wakes_after_its_effect_adds_no_outcome() {
    wakes_at("scaler-effect", Kind::Autoscaler, Point::ActorEffectDone, false);
}

/// Its page would come after the clear, and nobody would ever clear it.
#[test]
fn a_pager_that_wakes_when_all_is_over_raises_no_alert() {
    wakes_at("pager-over", Kind::Pager, Point::ActorEffectBegins, true);
}

#[test]
fn a_pager_that_wakes_after_its_effect_adds_no_outcome() {
    wakes_at("pager-effect", Kind::Pager, Point::ActorEffectDone, false);
}
