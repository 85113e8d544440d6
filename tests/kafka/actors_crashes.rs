//! Actors that die at every point around an effect: it is had once, and every intent has one outcome; a page may come
//! twice, and that is said. The long form is the campaign `effects`.

use crate::rig::effects::faults::{POINTS, crash, settle, survive};
use crate::rig::effects::{Effects, Kind};

fn dies_at_every_point(name: &str, kind: Kind) -> (u64, u64) {
    let mut effects = Effects::new(name, kind);
    settle(&effects).unwrap();
    for point in POINTS {
        crash(&mut effects, *point).unwrap();
    }
    let judged = survive(&effects).unwrap();
    println!("{judged:?}");
    assert_eq!(judged.unknown, 0, "{judged:?}");
    (judged.actions, judged.effects)
}

#[test]
fn an_autoscaler_that_dies_at_any_point_scales_once() {
    let points = POINTS.len() as u64;
    assert_eq!(dies_at_every_point("scaler-crashes", Kind::Autoscaler), (points, points));
}

/// A page and its clear each.
#[test]
fn a_pager_that_dies_at_any_point_leaves_no_alert_open() {
    let points = POINTS.len() as u64;
    assert_eq!(dies_at_every_point("pager-crashes", Kind::Pager), (2 * points, 2 * points));
}
