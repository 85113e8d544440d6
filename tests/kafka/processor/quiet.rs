//! What happens without readings, and between two of them: ticks, new specs, the end of a service.

use hms_ops::bus::Isolation;
use hms_ops::model::incident::{CloseReason, EventKind};
use hms_ops::model::reading::RejectReason;

use crate::rig::fleet::Fleet;
use crate::rig::judge::confirm;
use crate::rig::watch::{Watch, opens};

fn spec(id: &str, threshold: f64, more: &str) -> String {
    format!(
        "id: {id}\nowner: test\nsensors:\n  - {{name: q, interval: 0.2}}\n\
         slo:\n  target: q\n  threshold: {threshold}\n  window_seconds: 2\n  step: 0.5\n  lateness: 0.5\n  \
         min_samples: 5\n  no_data_after_seconds: 2\nplaybook:\n{more}"
    )
}

/// Emits `count` readings at once.
fn burst(fleet: &Fleet, id: &str, value: f64, count: usize) {
    (0..count).for_each(|_| fleet.emit(id, "q", value));
    fleet.flush();
}

fn is_activated(kind: &EventKind) -> bool {
    matches!(kind, EventKind::SpecActivated { .. })
}

/// Five readings, then nothing: `no_data` fires by ticks alone.
#[test]
fn a_quiet_partition_is_ticked() {
    let fleet = Fleet::new("quiet");
    fleet.register(&spec("silent", 30.0, "  - if: no_data\n    then: page channel=x\n"));
    let ops = fleet.start("one");
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    watch.until_one("the spec", |event| is_activated(&event.kind));
    burst(&fleet, "silent", 10.0, 5);
    watch.until_one("silence", |event| event.kind == EventKind::NoData);
    watch.until_one("an incident", |event| opens(event, "silent"));
    burst(&fleet, "silent", 10.0, 5);
    watch.until_one("data", |event| event.kind == EventKind::DataBack);
    fleet.wait_until_caught_up();
    ops.stop();

    let judged = confirm(&fleet);
    assert_eq!(judged.counts.counted, 10);
    assert!(judged.counts.ticks >= 2, "{:?}", judged.counts);
}

/// ```text
/// r r r r r | r r r r r | r r r r r   |: threshold 30 -> 5 (anew), other words (goes on), unregistered
/// ```
#[test]
fn a_spec_change_takes_effect_between_two_records() {
    let fleet = Fleet::new("specs");
    let page = "  - if: slo_breach\n    then: page channel=x\n";
    fleet.register(&spec("svc", 30.0, page));
    let ops = fleet.start("one");
    let mut watch = Watch::new(&fleet, Isolation::Committed);
    watch.until_one("the spec", |event| is_activated(&event.kind));
    burst(&fleet, "svc", 10.0, 10);
    fleet.wait_until_caught_up();

    fleet.register(&spec("svc", 5.0, page));
    watch.until("the new spec", |seen| seen.iter().filter(|seen| is_activated(&seen.event.kind)).count() == 2);
    burst(&fleet, "svc", 10.0, 10);
    watch.until_one("an opening by the new threshold", |event| opens(event, "svc"));

    fleet.register(&spec("svc", 5.0, &page.replace("channel=x", "channel=y")));
    watch.until("other words", |seen| seen.iter().filter(|seen| is_activated(&seen.event.kind)).count() == 3);
    burst(&fleet, "svc", 10.0, 10);
    fleet.wait_until_caught_up();

    fleet.unregister("svc");
    watch.until_one("the end", |event| event.kind == EventKind::SpecRetired);
    burst(&fleet, "svc", 10.0, 3);
    fleet.wait_until_caught_up();
    ops.stop();

    let judged = confirm(&fleet);
    let froms: Vec<i64> = judged
        .events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::SpecActivated { from_offset, .. } => Some(from_offset),
            _ => None,
        })
        .collect();
    assert!(froms[0] < froms[1] && froms[1] < froms[2], "{froms:?}");
    let closed = |event: &EventKind| matches!(event, EventKind::Closed { reason: CloseReason::Unregistered, .. });
    assert_eq!(judged.events.iter().filter(|event| closed(&event.kind)).count(), 1, "open until the end");
    let reasons: Vec<RejectReason> = judged.rejected.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [RejectReason::UnknownService; 3]);
}
