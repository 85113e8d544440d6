//! Partitions move from one process to another while incidents are open and others are pending.
//!
//! ```text
//! one: p0 p1 | SIGTERM or kill -9
//! two: p2 p3 | p0 p1 p2 p3: what was open goes on, what was held so far was not held in vain
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hms_ops::bus::Isolation;
use hms_ops::model::incident::EventKind;

use crate::rig::fleet::{Fleet, Ops, ids, now_ms};
use crate::rig::judge::confirm;
use crate::rig::load::Load;
use crate::rig::watch::Watch;

/// Held so long before it opens, s.
const HELD_S: i64 = 12;

fn spec(id: &str, held_s: i64) -> String {
    format!(
        "id: {id}\nowner: test\nsensors:\n  - {{name: q, interval: 0.5}}\n\
         slo:\n  target: q\n  threshold: 30\n  window_seconds: 4\n  step: 0.5\n  lateness: 0.5\n  min_samples: 5\n  \
         for: {held_s}\n  recover_for: 1\n\
         playbook:\n  - if: slo_breach\n    then: scale_up compute=+1\n"
    )
}

/// Ids of the services for which `wanted` holds.
fn services(watch: &Watch, wanted: impl Fn(&EventKind) -> bool) -> BTreeSet<String> {
    watch.seen.iter().filter(|seen| wanted(&seen.event.kind)).map(|seen| seen.event.service.to_string()).collect()
}

fn opened(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Opened { .. })
}

/// 20 services are open and 20 pending when one of two processes ends by `end`; all open and resolve once.
fn partitions_move(name: &str, end: impl FnOnce(Ops)) {
    let fleet = Arc::new(Fleet::new(name));
    let (quick, slow) = (ids("open", 5), ids("held", 5));
    quick.iter().for_each(|id| fleet.register(&spec(id, 0)));
    slow.iter().for_each(|id| fleet.register(&spec(id, HELD_S)));
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    let (one, two) = (fleet.start("one"), fleet.start("two"));
    let all: Vec<String> = [quick.clone(), slow.clone()].concat();
    watch.until("all specs", |seen| {
        let active = seen.iter().filter(|seen| matches!(seen.event.kind, EventKind::SpecActivated { .. }));
        active.count() == all.len()
    });
    fleet.wait_until_shared();
    let trouble = Arc::new(AtomicBool::new(true));
    let bad = trouble.clone();
    let load = Load::start(&fleet, &all, Duration::from_millis(200), move |fleet, _, id, _| {
        fleet.emit(id, "q", if bad.load(Ordering::Relaxed) { 40.0 } else { 10.0 });
    });
    watch.until("the first openings", |seen| seen.iter().filter(|seen| opened(&seen.event.kind)).count() >= 20);
    assert_eq!(services(&watch, opened), quick.iter().cloned().collect(), "the others are pending");

    let (ended_at, began) = (now_ms(), Instant::now());
    end(one);
    fleet.wait_until_beyond_now();
    println!("{name}: every partition is evaluated again after {:?}", began.elapsed());
    watch.until("the openings that were pending", |seen| {
        seen.iter().filter(|seen| opened(&seen.event.kind)).count() >= all.len()
    });
    trouble.store(false, Ordering::Relaxed);
    watch.until("the end of all incidents", |seen| {
        seen.iter().filter(|seen| matches!(seen.event.kind, EventKind::Resolved { .. })).count() >= all.len()
    });
    load.stop();
    fleet.wait_until_caught_up();
    two.stop();

    let judged = confirm(&fleet);
    let openings: Vec<_> = judged.events.iter().filter(|event| opened(&event.kind)).collect();
    assert_eq!(openings.len(), all.len(), "nothing opens twice");
    for event in openings.iter().filter(|event| slow.iter().any(|id| id == event.service.as_str())) {
        assert!((event.at - 1_000 * HELD_S..event.at).contains(&ended_at), "not pending at {ended_at}: {event:?}");
    }
}

#[test]
fn partitions_move_with_open_incidents() {
    partitions_move("moves-in-order", Ops::stop);
}

#[test]
fn partitions_move_after_kill_nine() {
    partitions_move("moves-killed", Ops::kill);
}
