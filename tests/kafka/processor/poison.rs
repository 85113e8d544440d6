//! Poison: what strangers write on `ops.metrics` is kept with its reason, harms nobody else, and stops nothing.

use hms_ops::bus::Isolation;
use hms_ops::model::ids::home_partition;
use hms_ops::model::incident::EventKind;
use hms_ops::model::reading::RejectReason;

use crate::oracle::dice::Dice;
use crate::rig::fleet::{Fleet, PARTITIONS, ids, now_ms};
use crate::rig::judge::confirm;
use crate::rig::poison::{play, reading, spec};
use crate::rig::watch::Watch;

/// One record in ten is hostile, one in five away from home, and the process is killed in the midst of it.
#[test]
fn one_record_in_ten_is_poison() {
    let poisoned = play(20_000, 1, &mut Dice::new(11)).unwrap_or_else(|difference| panic!("{difference}"));
    println!("{} good, {} hostile, {} forwarded", poisoned.good, poisoned.hostile, poisoned.forwarded);
    assert!(poisoned.reasons.len() >= 13, "{:?}", poisoned.reasons);
    assert!(poisoned.events > 50, "{} events", poisoned.events);
}

/// A record that the bus took but would not take with one header more: it can not be forwarded.
#[test]
fn a_record_too_large_to_go_home_stops_nothing() {
    let fleet = Fleet::new("heavy");
    let id = ids("heavy", 1).remove(0);
    fleet.register(&spec(&id));
    let ops = fleet.start("one");
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    watch.until_one("the spec", |event| matches!(event.kind, EventKind::SpecActivated { .. }));
    let away = (home_partition(&id, PARTITIONS) + 1) % PARTITIONS;
    let value = reading(&id, "q", now_ms(), 31.2);
    // The largest that the client lets pass.
    let sizes = (0..2_000).map(|less| 1_000_000 - less);
    let sent = sizes.into_iter().find(|size| {
        let weight = vec![b'x'; *size];
        fleet.try_append(away, 0, Some(id.as_bytes()), Some(&value), &[("weight", Some(&weight))]).is_ok()
    });
    assert!(sent.is_some(), "no size passes");
    fleet.emit_to(away, &id, "q", now_ms(), 31.2);
    fleet.flush();
    fleet.wait_until_caught_up();
    fleet.wait_until_caught_up();
    ops.stop();

    let judged = confirm(&fleet);
    assert_eq!((judged.counts.counted, judged.forwarded), (1, 1));
    let reasons: Vec<_> = judged.rejected.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [RejectReason::TooLarge]);
}
